"""The ESP32 family on stock MicroPython: UARTs, a raw flash partition, pins, I2C.

`import esp32` inside means MicroPython's own module: this file is `ports.esp32`, imports are absolute.
"""

import os
import select
import sys
from hashlib import sha256
from time import sleep_ms, ticks_diff, ticks_ms, ticks_us  # this module's own names, like on every port

import machine
import micropython
import vfs
from esp32 import NVS, Partition
from micropython import const

from ports.errors import FlashError, UartClosed

_RECEIVE_BUFFER_BYTES = const(1024)  # three PN532 extended frames: 11 ms of 921600 baud while flash is being erased
_SECTOR_BYTES = const(4096)
_PAGE_BYTES = const(256)
_ERASE_SECTOR = const(6)  # MP_BLOCKDEV_IOCTL_BLOCK_ERASE
_CTRL_C = const(3)
_SECRET_BYTES = const(32)
_DRAWS = const(256)
_SETTINGS = "/settings"
LINE_DELAY_MS = const(0)  # on top of what a chip at the other end of a line takes by its data sheet
# `import` does not arm Ctrl-C again, as MicroPython does where it runs main.py itself.
_CLOSED = """\
import micropython
micropython.kbd_intr(-1)
import machine
try:
    import main
finally:
    machine.reset()
"""
_NVS_NOT_FOUND = const(-4354)  # ESP_ERR_NVS_NOT_FOUND, 0x1102, as MicroPython's OSError names it


class Uart:
    """A hardware UART, eight bits, no parity, one stop bit."""

    def __init__(self, spec: dict, baudrate: int) -> None:
        self.stream = machine.UART(
            spec["id"],
            baudrate=baudrate,
            tx=spec["tx"],
            rx=spec["rx"],
            rxbuf=_RECEIVE_BUFFER_BYTES,
            timeout=0,
            timeout_char=0,
        )

    def read(self) -> bytes:
        """What has arrived, `b""` if nothing has; never waits."""
        count = self.stream.any()
        return (self.stream.read(count) or b"") if count else b""

    def write(self, data: bytes) -> None:
        """Sends all of `data`."""
        view = memoryview(data)
        while len(view):
            view = view[self.stream.write(view) or 0 :]

    def set_baudrate(self, rate: int) -> None:
        """Bits per second, after what was written has left at the old rate: `init` waits for that, a second at most."""
        self.stream.init(baudrate=rate)

    def close(self) -> None:
        self.stream.deinit()


class Console:
    """The USB line that otherwise is MicroPython's prompt (UART 0, or USB-Serial-JTAG).

    On many boards it is the only way to a host. Control-C is plain data while it is open; the rate is fixed.
    """

    def __init__(self) -> None:
        micropython.kbd_intr(-1)
        self.stream = sys.stdin.buffer
        self._poll = select.poll()
        self._poll.register(self.stream, select.POLLIN)

    def read(self) -> bytes:
        """What has arrived, `b""` if nothing has; never waits."""
        received = bytearray()
        while len(received) < _RECEIVE_BUFFER_BYTES and self._poll.poll(0):
            received += self.stream.read(1)  # more would wait until all of it is there
        return bytes(received)

    def write(self, data: bytes) -> None:
        """Sends all of `data`."""
        sys.stdout.buffer.write(data)

    def set_baudrate(self, rate: int) -> None:
        """Nothing to do: the console's rate belongs to the boot loader and the prompt too."""

    def close(self) -> None:
        micropython.kbd_intr(_CTRL_C)


def open_uart(spec: dict, baudrate: int) -> Uart | Console:
    """`spec`: `{"id": 2, "tx": 17, "rx": 16}` or `{"console": True}`.

    Raises UartClosed if the chip has no such UART.
    """
    if spec.get("console"):
        return Console()
    try:
        return Uart(spec, baudrate)
    except (ValueError, OSError):
        raise UartClosed(f"no UART as the board says: {spec}")


def wait(uarts: list[Uart | Console], timeout_ms: int) -> None:
    """Returns within a millisecond when one of `uarts` has input, or after `timeout_ms`.

    A poll with a timeout looks only at every tick, of 10 ms in stock MicroPython: a reader's RATS is lost after 5.
    """
    poll = select.poll()
    for uart in uarts:
        poll.register(uart.stream, select.POLLIN)
    since = ticks_ms()
    while not poll.poll(0) and ticks_diff(ticks_ms(), since) < timeout_ms:
        sleep_ms(1)


class Flash:
    """A data partition as raw NOR flash. With `encrypted`, writes must be of whole blocks of 16 bytes, each once.

    The counters are since the start.
    """

    sector_size_bytes = _SECTOR_BYTES

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        info = partition.info()
        self.size_bytes = info[3]
        self.encrypted = info[5]
        self.program_count = 0
        self.page_count = 0  # pages of 256 bytes that were programmed
        self.erase_count = 0

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise FlashError("outside the flash")

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        data = bytearray(length)
        if length:
            try:
                self._partition.readblocks(offset // _SECTOR_BYTES, data, offset % _SECTOR_BYTES)
            except OSError:
                raise FlashError(f"read at {offset} failed")
        return bytes(data)

    def program(self, offset: int, data: bytes) -> None:
        """Clears the bits that are 0 in `data`; returns when the chip has done it."""
        self._check(offset, len(data))
        try:
            # With a byte offset MicroPython does not erase first.
            self._partition.writeblocks(offset // _SECTOR_BYTES, data, offset % _SECTOR_BYTES)
        except OSError:
            raise FlashError(f"program at {offset} failed")
        self.program_count += 1
        self.page_count += (offset + len(data) - 1) // _PAGE_BYTES + 1 - offset // _PAGE_BYTES

    def erase(self, offset: int) -> None:
        """Sets the sector that starts at `offset` to FF: 45 ms typically, 400 ms at worst."""
        self._check(offset, _SECTOR_BYTES)
        if offset % _SECTOR_BYTES:
            raise FlashError("erase in the middle of a sector")
        try:
            self._partition.ioctl(_ERASE_SECTOR, offset // _SECTOR_BYTES)
        except OSError:
            raise FlashError(f"erase at {offset} failed")
        self.erase_count += 1


def open_flash(spec: dict) -> Flash:
    """`spec`: `{"label": "journal", "size_bytes": 65536}`: the data partition of that label and size."""
    label = spec["label"]
    found = Partition.find(Partition.TYPE_DATA, label=label)
    if not found:
        raise FlashError(f"no data partition '{label}': flash the board's own image")
    flash = Flash(found[0])
    if flash.size_bytes != spec["size_bytes"]:
        raise FlashError(f"partition '{label}' has {flash.size_bytes} bytes, not what the board says")
    return flash


def data_path(name: str) -> str:
    """Where the small file `name` lives: in a partition of its own, so that new code never touches it.

    It comes with the first image and is never made here, since one that cannot be read may hold a key. Raises
    FlashError.
    """
    try:
        os.stat(_SETTINGS)
    except OSError:
        try:
            vfs.mount(vfs.VfsLfs2(Partition.find(Partition.TYPE_DATA, label=_SETTINGS[1:])[0]), _SETTINGS)
        except (OSError, IndexError):
            raise FlashError("no readable partition 'settings': flash the board's own image, or service needed")
    return _SETTINGS + "/" + name


def random_bytes(count: int) -> bytes:
    """`count` unpredictable bytes for numbers used once (ESP-IDF `esp_fill_random`); keys come from `key_bytes`."""
    return os.urandom(count)


def key_bytes(count: int) -> bytes:
    """`count` bytes fit to be a key, at most 32, in about half a second.

    With the radio off, the chip's generator holds the noise that the boot loader gave it, and goes on with that of one
    oscillator, for which alone its maker does not vouch (ESP-IDF, "Random Number Generation"). So much more is drawn
    than is needed, over a time in which that oscillator drifts, and all of it is hashed.
    """
    pool = sha256()
    for _ in range(_DRAWS):
        pool.update(os.urandom(_SECRET_BYTES))
        pool.update((ticks_us() & 0xFFFF).to_bytes(2, "big"))
        sleep_ms(1)
    return pool.digest()[:count]


def device_secret(may_make: bool) -> bytes:
    """32 bytes that this chip alone has, apart from its settings; made the first time if `may_make`.

    In the NVS partition, which an image of the file system does not hold and flash encryption can cover.
    """
    storage = NVS("jiaozi")
    secret = bytearray(_SECRET_BYTES)
    try:
        if storage.get_blob("secret", secret) == _SECRET_BYTES:
            return bytes(secret)
    except OSError as error:
        if error.errno == _NVS_NOT_FOUND and may_make:
            made = key_bytes(_SECRET_BYTES)
            storage.set_blob("secret", made)
            storage.commit()
            return made
    raise FlashError("the device's secret is lost: service needed")


def close_prompt() -> None:
    """From the first statement after each start on, Ctrl-C is data, and no error ends at the prompt."""
    with open("/boot.py") as file:
        if file.read() == _CLOSED:
            return
    with open("/closed.py", "w") as file:
        file.write(_CLOSED)
    os.rename("/closed.py", "/boot.py")


def set_clock(hz: int) -> None:
    """The processor's; on ESP32, MicroPython starts with 160 of its 240 MHz."""
    if machine.freq() != hz:
        machine.freq(hz)


def reset() -> None:
    """Starts the chip again; does not return."""
    machine.reset()


def output_pin(number: int) -> machine.Pin:
    return machine.Pin(number, machine.Pin.OUT)


def input_pin(number: int, pull_up: bool) -> machine.Pin:
    if pull_up:
        return machine.Pin(number, machine.Pin.IN, machine.Pin.PULL_UP)
    return machine.Pin(number, machine.Pin.IN)


def i2c(spec: dict) -> machine.I2C:
    """`spec`: `{"id": 0, "scl": 22, "sda": 21, "frequency_hz": 400000}`."""
    return machine.I2C(
        spec["id"], scl=machine.Pin(spec["scl"]), sda=machine.Pin(spec["sda"]), freq=spec["frequency_hz"]
    )
