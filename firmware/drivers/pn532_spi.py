"""PN532 over SPI (UM0701-02, 6.2.5): mode 0, least significant bit first; the first byte says what follows."""

from micropython import const

from drivers.pn532_bus import BusLine

_WRITE = b"\x01"
_STATUS = b"\x02"
_READ = b"\x03"
_READY = b"\x01"  # the whole byte: a line that nobody drives reads FF
_WAKE_MS = const(2)  # select is low so long until a sleeping chip's clock runs


class SpiLine(BusLine):
    """The chip where `spec` says. `open_spi` is `ports.*_spi`'s."""

    def __init__(self, open_spi, spec: dict, port) -> None:
        BusLine.__init__(self, open_spi(spec, mode=0, lsb_first=True), port)

    def _wake(self) -> None:
        select = self._bus[1]
        select(0)
        self._port.sleep_ms(_WAKE_MS)
        select(1)

    def _fetch(self, count: int) -> bytes | None:
        if count:
            return self._transfer(_READ, count)
        return b"" if self._transfer(_STATUS, 1) == _READY else None

    def _send(self, frame: bytes) -> None:
        self._transfer(_WRITE + frame, 0)

    def _transfer(self, data: bytes, count: int) -> bytes:
        spi, select = self._bus
        select(0)
        spi.write(data)
        answer = spi.read(count) if count else b""  # nothing cannot be read
        select(1)
        return answer
