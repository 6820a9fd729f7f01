"""A host's SPI and I2C on CPython, wired straight to the faces of a virtual PN532; time passes only by waiting."""

from typing import Any

from host_tools.simulator.air import Air
from host_tools.simulator.pn532_bus_faces import I2cFace, SpiFace, reversed_bits
from host_tools.simulator.virtual_pn532 import VirtualPn532
from tests import micropython

pn532 = micropython.import_on_cpython("drivers.pn532")
pn532_spi = micropython.import_on_cpython("drivers.pn532_spi")
pn532_i2c = micropython.import_on_cpython("drivers.pn532_i2c")
ChipError = micropython.import_on_cpython("drivers.errors").ChipError

POLL, POLL_IN = 3, 1  # MicroPython's MP_STREAM_POLL and MP_STREAM_POLL_RD


class Port:
    """What drivers ask of a port. `wait` asks lines as select.poll does, every 10 ms as on ESP32."""

    LINE_DELAY_MS = 0

    def __init__(self) -> None:
        self.now_ms = 0
        self.waits = 0

    def ticks_ms(self) -> int:
        return self.now_ms

    def ticks_diff(self, end: int, start: int) -> int:
        return end - start

    def sleep_ms(self, duration_ms: int) -> None:
        self.now_ms += duration_ms

    def wait(self, lines: list[Any], timeout_ms: int) -> None:
        self.waits += 1
        until = self.now_ms + timeout_ms
        while not any(line.stream.ioctl(POLL, POLL_IN) for line in lines) and self.now_ms < until:
            self.now_ms += 10 - self.now_ms % 10


class Spi:
    """machine.SPI and the selecting machine.Pin, as far as drivers use them."""

    def __init__(self, face: SpiFace | None) -> None:
        self._face = face
        self._lsb_first = False

    def open(self, spec: dict, mode: int, lsb_first: bool) -> tuple["Spi", Any]:
        self._lsb_first = lsb_first
        if self._face:
            self._face.set_mode(mode)
        return self, self._select

    def _select(self, level: int) -> None:
        if self._face and level:
            self._face.deselect()
        elif self._face:
            self._face.select()

    def write(self, data: bytes) -> None:
        self._exchange(data)

    def read(self, count: int) -> bytes:
        if not count:
            raise ValueError("buffer too short")  # as on ESP32
        return self._exchange(bytes(count))

    def _exchange(self, data: bytes) -> bytes:
        if not self._face:
            return b"\xff" * len(data)
        wire = self._face.exchange(self._ordered(data))
        return self._ordered(wire)

    def _ordered(self, data: bytes) -> bytes:
        return bytes(map(reversed_bits, data)) if self._lsb_first else data


class I2c:
    """machine.I2C, as far as drivers use it."""

    def __init__(self, face: I2cFace | None) -> None:
        self._face = face

    def writeto(self, address: int, data: bytes) -> int:
        if not self._face or not self._face.write(bytes((address << 1,)) + data):
            raise OSError(19)
        return len(data)

    def readfrom(self, address: int, count: int) -> bytes:
        data = self._face.read(address << 1 | 1, count) if self._face else None
        if data is None:
            raise OSError(19)
        return data


class Bench:
    """Our driver, a bus, and the chip at its end, which is missing with `is_there` False."""

    def __init__(self, kind: str, is_there: bool = True, air: Air | None = None) -> None:
        self.port = Port()
        self.chip = VirtualPn532(air or Air())
        self.face = SpiFace(self.chip) if kind == "spi" else I2cFace(self.chip)
        face: Any = self.face if is_there else None
        if kind == "spi":
            self.line = pn532_spi.SpiLine(Spi(face).open, {}, self.port)
        else:
            self.line = pn532_i2c.I2cLine(I2c(face), self.port)
        self.driver = pn532.Pn532(self.line, self.port)

    def log(self) -> list[str]:
        """The transactions since the last call as text, "host > chip", a dash for no acknowledgement."""
        lines = [f"{host.hex()} > {'-' if chip is None else chip.hex()}" for host, chip in self.face.log]
        self.face.log.clear()
        return lines
