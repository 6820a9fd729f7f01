"""The unix port of MicroPython: serial lines are descriptors, ptys or TCP, flash is a file that behaves like NOR.

The same firmware runs here as on a chip. What this file may know is the operating system, nothing of what is built on
it. The environment says where things are, so that one image of the firmware serves many processes:

- `JIAOZI_STATE`: folder for flash images and settings (default `./state`);
- the variable that a UART's spec names (`{"env": "JIAOZI_LINK"}`): `fd:5` (an inherited, non-blocking descriptor),
  `/dev/pts/3` (a tty, made raw here) or `tcp://host:port` (connected to);
- `JIAOZI_FLASH_CUT`, `JIAOZI_FLASH_ENCRYPTED`: see `ports.flash_faults`.
"""

import os
import select
import socket
import sys
import termios
from time import sleep_ms, ticks_diff, ticks_ms, ticks_us  # noqa: F401  (this module's own names, like on every port)

from micropython import const

from ports.errors import FlashError, NotOnThisPort, UartClosed

_READ_BYTES = const(512)  # at most so much at once: two PN532 frames; the rest waits in the operating system
_SECTOR_BYTES = const(4096)
_UNIT_BYTES = const(32)  # programmed once after an erase
_PAGE_BYTES = const(256)
_FLASH_KEY = b"flash encryption"
_ECB = const(1)
_WRITE_TIMEOUT_MS = const(2000)  # a peer that takes nothing for so long is gone
_IPPROTO_TCP = const(6)
_TCP_NODELAY = const(1)
_ENOENT = const(2)
_EEXIST = const(17)
_SECRET_BYTES = const(32)
# What is at the other end of a line is a process too, which waits for a core where many are at work.
LINE_DELAY_MS = const(1000)
SHAKY_SUFFIX = ".shaky"  # of the file beside a flash that lost power, see `ports.flash_faults`
# sysexits.h EX_TEMPFAIL: whoever started the process starts it again, as the chip would by itself.
RESET_EXIT_CODE = 75


class Uart:
    """One serial line. Every method but `close` raises UartClosed once the other end is gone."""

    def __init__(self, stream, terminal: bool) -> None:
        self.stream = stream
        self._terminal = terminal
        self._poll = select.poll()
        self._poll.register(stream, select.POLLIN)

    def read(self) -> bytes:
        """What has arrived, `b""` if nothing has; never waits."""
        events = 0
        for ready in self._poll.ipoll(0):
            events = ready[1]
        if not events:
            return b""
        try:
            data = self.stream.read(_READ_BYTES)
        except OSError:
            raise UartClosed("serial line failed")
        # Readable without data is the end of the stream; a tty says the same by POLLHUP.
        if not data and (not self._terminal or events & (select.POLLHUP | select.POLLERR)):
            raise UartClosed("serial line closed")
        return data or b""

    def write(self, data: bytes) -> None:
        """Sends all of `data`."""
        view = memoryview(data)
        while len(view):
            try:
                written = self.stream.write(view)
            except OSError:
                raise UartClosed("serial line failed")
            view = view[written or 0 :]
            if len(view):
                self._wait_writable()

    def _wait_writable(self) -> None:
        poll = select.poll()
        poll.register(self.stream, select.POLLOUT)
        events = poll.poll(_WRITE_TIMEOUT_MS)
        if not events or events[0][1] & (select.POLLHUP | select.POLLERR):
            raise UartClosed("serial line takes nothing more")

    def set_baudrate(self, rate: int) -> None:
        """Bits per second; only a tty has a rate, everything else is as fast as it is."""
        if self._terminal:
            _make_raw(self.stream.fileno(), rate)

    def close(self) -> None:
        self.stream.close()


def _make_raw(descriptor: int, baudrate: int) -> bool:
    """Raw mode in which a read returns at once with what is there. False if `descriptor` is no tty."""
    try:
        termios.setraw(descriptor)
        attributes = termios.tcgetattr(descriptor)
    except OSError:
        return False
    control = attributes[6]
    for index in range(len(control)):
        if isinstance(control[index], int):  # VMIN and VTIME, whose places differ between systems
            control[index] = 0
    # Linux has codes for the rates, macOS takes the number itself.
    attributes[4] = attributes[5] = getattr(termios, f"B{baudrate}", baudrate)
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
    return True


def _connect(address: str):
    host, port = address.rsplit(":", 1)
    stream = socket.socket()
    try:
        stream.connect(socket.getaddrinfo(host, int(port))[0][-1])
    except OSError:
        raise UartClosed("cannot connect to " + address)
    stream.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)  # frames are short and wait for their answer
    stream.setblocking(False)
    return stream


def open_uart(spec: dict, baudrate: int) -> Uart:
    """`spec`: `{"env": name}`; see the header for what the variable holds. Raises UartClosed if it cannot be opened."""
    where = os.getenv(spec["env"])
    if not where:
        raise UartClosed("no serial line in environment variable " + spec["env"])
    if where.startswith("tcp://"):
        return Uart(_connect(where[6:]), False)
    try:
        stream = open(int(where[3:]) if where.startswith("fd:") else where, "r+b", 0)  # noqa: SIM115  (Uart closes it)
    except OSError:
        raise UartClosed("cannot open " + where)
    return Uart(stream, _make_raw(stream.fileno(), baudrate))


def wait(uarts: list[Uart], timeout_ms: int) -> None:
    """Returns as soon as one of `uarts` has input or is gone, or after `timeout_ms`."""
    poll = select.poll()
    for uart in uarts:
        poll.register(uart.stream, select.POLLIN)
    poll.poll(timeout_ms)


class Flash:
    """NOR flash in a file: programming only clears bits, each unit of 32 bytes once after its erase.

    The counters are of this run.
    """

    sector_size_bytes = _SECTOR_BYTES
    encrypted = False

    def __init__(self, path: str, size_bytes: int) -> None:
        if size_bytes <= 0 or size_bytes % _SECTOR_BYTES:
            raise FlashError("flash size is not a whole number of sectors")
        self.size_bytes = size_bytes
        self.program_count = 0
        self.page_count = 0  # pages of 256 bytes that were programmed
        self.erase_count = 0
        self.read_count = 0  # bytes
        _create_erased(path, size_bytes)
        self._file = open(path, "r+b")  # noqa: SIM115  (open as long as the device runs)

    def load(self, offset: int, length: int) -> bytes:
        """What the file holds."""
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise FlashError("outside the flash")
        self._file.seek(offset)
        return self._file.read(length)

    def store(self, offset: int, data: bytes) -> None:
        """Change the file; `data` is there for good on return."""
        self._file.seek(offset)
        self._file.write(data)
        self._file.flush()

    def read(self, offset: int, length: int) -> bytes:
        data = self.load(offset, length)
        self.read_count += length
        return data

    def program(self, offset: int, data: bytes) -> None:
        """Clears the bits that are 0 in `data`; returns when the bytes are in the file for good."""
        end = offset + len(data)
        first = offset // _UNIT_BYTES * _UNIT_BYTES
        length = (end + _UNIT_BYTES - 1) // _UNIT_BYTES * _UNIT_BYTES - first
        if not self.encrypted and self.load(first, length) != b"\xff" * length:
            raise FlashError(f"program at {offset}: not erased")
        self.store(offset, data)
        self.program_count += 1
        self.page_count += (end - 1) // _PAGE_BYTES + 1 - offset // _PAGE_BYTES

    def erase(self, offset: int) -> None:
        """Sets the sector that starts at `offset` to FF."""
        if offset % _SECTOR_BYTES:
            raise FlashError("erase in the middle of a sector")
        self.load(offset, _SECTOR_BYTES)
        self.store(offset, b"\xff" * _SECTOR_BYTES)
        self.erase_count += 1


def _create_erased(path: str, size_bytes: int) -> None:
    """A new file appears complete or not at all; one of another size is somebody else's and is not touched."""
    try:
        present_bytes = os.stat(path)[6]
    except OSError as error:
        if error.errno != _ENOENT:
            raise
    else:
        if present_bytes != size_bytes:
            raise FlashError(f"{path} has {present_bytes} bytes, the board says {size_bytes}")
        return
    with open(path + ".new", "wb") as file:
        for _ in range(size_bytes // _SECTOR_BYTES):
            file.write(b"\xff" * _SECTOR_BYTES)
    os.rename(path + ".new", path)


def _is_there(path: str) -> bool:
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def open_flash(spec: dict) -> Flash:
    """`spec`: `{"label": "journal", "size_bytes": 65536}`; the file is `<label>.flash` in the state folder."""
    kind = Flash
    path = data_path(spec["label"] + ".flash")
    if os.getenv("JIAOZI_FLASH_CUT") or os.getenv("JIAOZI_FLASH_ENCRYPTED") or _is_there(path + SHAKY_SUFFIX):
        from ports.flash_faults import FaultyFlash

        kind = FaultyFlash
    return kind(path, spec["size_bytes"])


def data_path(name: str) -> str:
    """Where the small file `name` lives; the folder exists afterwards."""
    folder = os.getenv("JIAOZI_STATE") or "./state"
    try:
        os.mkdir(folder)
    except OSError as error:
        if error.errno != _EEXIST:
            raise
    return folder + "/" + name


def random_bytes(count: int) -> bytes:
    """`count` bytes of the operating system's random generator."""
    return os.urandom(count)


def key_bytes(count: int) -> bytes:
    """`count` bytes fit to be a key."""
    return os.urandom(count)


def device_secret(may_make: bool) -> bytes:
    """32 bytes that this device alone has, apart from its settings; made the first time if `may_make`."""
    path = data_path("secret")
    try:
        with open(path, "rb") as file:
            secret = file.read()
    except OSError as error:
        if error.errno != _ENOENT:
            raise
        secret = b""
        if may_make:
            secret = key_bytes(_SECRET_BYTES)
            with open(path + ".new", "wb") as file:
                file.write(secret)
            os.rename(path + ".new", path)
    if len(secret) != _SECRET_BYTES:
        raise FlashError("the device's secret is lost: service needed")
    return secret


def set_clock(hz: int) -> None:
    raise NotOnThisPort("no clock to set on unix")


def close_prompt() -> None:
    """A process has no prompt; the file is there to be seen."""
    with open(data_path("closed"), "w"):
        pass


def reset() -> None:
    """Starts the device again; here the process ends with RESET_EXIT_CODE."""
    sys.exit(RESET_EXIT_CODE)


def output_pin(number: int):
    raise NotOnThisPort("no pins on unix")


def input_pin(number: int, pull_up: bool):
    raise NotOnThisPort("no pins on unix")


def i2c(spec: dict):
    """`spec`: `{"env": name}`, whose variable leads to a simulated part; there are no pins for another one."""
    if "env" not in spec:
        raise NotOnThisPort("no I2C on unix")
    from ports.unix_i2c import I2c

    return I2c(spec)
