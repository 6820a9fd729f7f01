"""PN532 over SPI (UM0701-02, 6.2.5): mode 0, least significant bit first; the first byte says what follows."""

from micropython import const

from drivers.pn532_bus import HEAD_BYTES, frame_bytes

_WRITE = b"\x01"
_STATUS = b"\x02"
_READ = b"\x03"
_READY = const(1)  # the whole byte: a line that nobody drives reads FF
_WAKE_MS = const(2)  # select is low so long until a sleeping chip's clock runs


class SpiBus:
    """The chip where `spec` says, for `pn532_bus.BusLine`. `open_spi` is `ports.*_spi`'s."""

    def __init__(self, open_spi, spec: dict, port) -> None:
        self._spi, self._select = open_spi(spec, mode=0, lsb_first=True)
        self._port = port
        self._status = bytearray(1)

    def wake(self) -> None:
        """A sleeping chip wakes when it is selected."""
        self._select(0)
        self._port.sleep_ms(_WAKE_MS)
        self._select(1)

    def is_ready(self) -> bool:
        """Whether the chip has a frame for us."""
        self._begin(_STATUS)
        self._spi.readinto(self._status)
        self._select(1)
        return self._status[0] == _READY

    def read(self) -> bytes:
        """The frame that is ready. It is fetched whole while the chip stays selected, else it stays ready."""
        self._begin(_READ)
        head = self._spi.read(HEAD_BYTES)
        count = frame_bytes(head)
        rest = self._spi.read(count - HEAD_BYTES) if count > HEAD_BYTES else b""
        self._select(1)
        return (head + rest)[:count]

    def write(self, frame: bytes) -> None:
        self._begin(_WRITE)
        self._spi.write(frame)
        self._select(1)

    def _begin(self, what: bytes) -> None:
        self._select(0)
        self._spi.write(what)
