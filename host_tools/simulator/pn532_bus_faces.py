"""The SPI and I2C sides of a virtual PN532 (UM0701-02, 6.2.4 and 6.2.5): whole transactions, byte for byte. Sans-IO.

On a bus the chip cannot speak by itself. Its frames wait in an `Outbox`, one at a time, until the host has asked often
enough and fetches them. What the host writes goes to the same `VirtualPn532` that a UART would lead to.
"""

from collections import deque
from collections.abc import Callable

from host_tools.simulator.pn532_frames import ACK, NACK
from host_tools.simulator.virtual_pn532 import VirtualPn532

I2C_ADDRESS = 0x24
READY, NOT_READY = 0x01, 0x00
_SPI_WRITE, _SPI_STATUS, _SPI_READ = 0x01, 0x02, 0x03
_SPI_MODE = 0
_WAKE_UP = b"\x55\x55" + bytes(14)  # edges for the UART's wake-up: the virtual chip has no other


class Outbox:
    """The frames that the chip has for its host.

    Before each of them the host hears `looks` times that none is ready. `damage` may change what is fetched.
    """

    def __init__(self, chip: VirtualPn532) -> None:
        self.looks = 1
        self.damage: Callable[[bytes], bytes] = lambda frame: frame
        self._chip = chip
        self._frames: deque[bytes] = deque()
        self._looked = 0

    @property
    def is_ready(self) -> bool:
        """Whether there is a frame, and the host has looked often enough."""
        self._gather()
        return bool(self._frames) and self._looked >= self.looks

    def look(self) -> bool:
        """Whether a frame is ready, as the host learns it."""
        ready = self.is_ready
        if self._frames:
            self._looked += 1
        return ready

    @property
    def is_asleep(self) -> bool:
        """A chip falls asleep when its host has fetched the answer to PowerDown."""
        self._gather()
        return self._chip.is_asleep and not self._frames

    def wake(self) -> None:
        self._chip.receive(_WAKE_UP)

    def fetch(self) -> bytes:
        """The frame that is ready; it is gone from here then."""
        self._looked = 0
        return self.damage(self._frames.popleft())

    def tell(self, data: bytes) -> None:
        """The host writes: what it has not fetched is dropped."""
        self._chip.take_output()
        self._frames.clear()
        self._looked = 0
        self._chip.receive(data)

    def _gather(self) -> None:
        data = self._chip.take_output()
        while data:
            end = _frame_end(data)
            self._frames.append(data[:end])
            data = data[end:]


def _frame_end(data: bytes) -> int:
    if data[:6] in (ACK, NACK):
        return 6
    if data[3:5] == b"\xff\xff":
        return 10 + int.from_bytes(data[5:7], "big")
    return 7 + data[3]


class SpiFace:
    """Levels of the selecting pin, and bytes both ways while it is low, each as on the wire: first bit highest.

    `log` holds every transaction, what the host and what the chip said, with the chip's order of bits. `fill` is what
    the chip clocks out when it has nothing to say.
    """

    def __init__(self, chip: VirtualPn532) -> None:
        self.outbox = Outbox(chip)
        self.fill = 0x00
        self.log: list[tuple[bytes, bytes]] = []
        self._mode = _SPI_MODE
        self._slept = False
        self._said: bytearray | None = None  # by the host since it selected the chip
        self._answered = bytearray()
        self._frame = b""  # being fetched; what is not fetched before the end stays

    def set_mode(self, mode: int) -> None:
        """SPI's mode 0 to 3 of the master; the chip understands 0 alone."""
        self._mode = mode

    def select(self) -> None:
        """A chip that sleeps is awake by the end, and has heard nothing."""
        self._slept = self.outbox.is_asleep
        self._said = bytearray()
        self._answered = bytearray()

    def deselect(self) -> None:
        said, self._said = self._said, None
        if said is None:
            return
        self.log.append((bytes(said), bytes(self._answered)))
        if self._slept:
            self.outbox.wake()
        elif said[:1] == bytes((_SPI_WRITE,)):
            self.outbox.tell(bytes(said[1:]))

    def exchange(self, mosi: bytes) -> bytes:
        if self._said is None or self._mode != _SPI_MODE or self._slept:
            return b"\xff" * len(mosi)  # nobody drives the line
        miso = bytearray()
        for byte in mosi:
            miso.append(self._next() if self._said else self.fill)
            self._said.append(reversed_bits(byte))
        self._answered += miso
        return bytes(map(reversed_bits, miso))

    def _next(self) -> int:
        assert self._said
        if self._said[0] == _SPI_STATUS:
            return READY if self._frame or self.outbox.look() else NOT_READY
        if self._said[0] != _SPI_READ:
            return self.fill
        if not self._frame and len(self._said) == 1 and self.outbox.is_ready:
            self._frame = self.outbox.fetch()
        byte, self._frame = self._frame[:1], self._frame[1:]
        return byte[0] if byte else self.fill


class I2cFace:
    """Transactions from START to STOP; the first byte is address and direction.

    `log` holds them, what the host and what the chip said, None where it did not acknowledge. It does not the next
    `busy` times, nor the first time when it sleeps. `fill` is what it clocks out when it has nothing to say.
    """

    def __init__(self, chip: VirtualPn532) -> None:
        self.outbox = Outbox(chip)
        self.busy = 0
        self.fill = 0x00
        self.log: list[tuple[bytes, bytes | None]] = []

    def write(self, data: bytes) -> bool:
        """Whether the chip acknowledged its address; then it took all of it."""
        there = self._acknowledges(data[0], 0)
        self.log.append((data, b"" if there else None))
        if there:
            self.outbox.tell(data[1:])
        return there

    def read(self, address: int, count: int) -> bytes | None:
        """`count` bytes, None if the chip did not acknowledge its address."""
        answer = self._answer(count) if self._acknowledges(address, 1) else None
        self.log.append((bytes((address,)), answer))
        return answer

    def _acknowledges(self, address: int, direction: int) -> bool:
        if address != I2C_ADDRESS << 1 | direction:
            return False
        if self.outbox.is_asleep:
            self.outbox.wake()
            return False
        if self.busy:
            self.busy -= 1
            return False
        return True

    def _answer(self, count: int) -> bytes:
        if not self.outbox.look():
            return bytes((NOT_READY,)) + bytes((self.fill,)) * (count - 1)
        if count == 1:
            return bytes((READY,))
        frame = self.outbox.fetch()  # what is left of it after `count` bytes is lost
        return (bytes((READY,)) + frame + bytes((self.fill,)) * count)[:count]


def reversed_bits(byte: int) -> int:
    """The byte with its bits in the other order."""
    return int(f"{byte:08b}"[::-1], 2)
