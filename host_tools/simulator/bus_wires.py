"""The unix port's SPI and I2C (firmware/ports/unix_spi.py, unix_i2c.py), from their descriptor to a face of the chip.

A wire is a device of the reactor. The master waits for its answer, so a bus needs no clock here: stretching is waiting.
"""

from collections.abc import Callable

from host_tools.simulator.pn532_bus_faces import I2cFace, SpiFace
from host_tools.simulator.reactor import Device
from host_tools.simulator.virtual_pn532 import VirtualPn532


class _Wire:
    """Gathers the master's bytes; `_take` uses up one message and says how long it was, 0 if it is not whole."""

    def __init__(self) -> None:
        self.on_output: Callable[[], None] | None = None
        self.on_baudrate: Callable[[int], None] | None = None  # a bus has none
        self._input = b""
        self._output = b""

    def receive(self, data: bytes) -> None:
        self._input += data
        while used := self._take(self._input):
            self._input = self._input[used:]

    def take_output(self) -> bytes:
        data, self._output = self._output, b""
        return data

    def _answer(self, data: bytes) -> None:
        self._output += data
        if self.on_output is not None:
            self.on_output()

    def _take(self, message: bytes) -> int:
        raise NotImplementedError


class SpiWire(_Wire):
    """`M` mode, `L`, `H`, `X` u16 count and bytes."""

    def __init__(self, face: SpiFace) -> None:
        super().__init__()
        self.face = face

    def _take(self, message: bytes) -> int:
        kind = message[:1]
        if kind == b"L":
            self.face.select()
            return 1
        if kind == b"H":
            self.face.deselect()
            return 1
        if kind == b"M" and len(message) >= 2:
            self.face.set_mode(message[1])
            return 2
        end = 3 + int.from_bytes(message[1:3], "big")
        if kind != b"X" or len(message) < max(3, end):
            return 0
        self._answer(self.face.exchange(message[3:end]))
        return end


class I2cWire(_Wire):
    """u16 count and bytes from the address on; for a read, u16 count of the bytes wanted."""

    def __init__(self, face: I2cFace) -> None:
        super().__init__()
        self.face = face

    def _take(self, message: bytes) -> int:
        end = 2 + int.from_bytes(message[:2], "big")
        if len(message) < max(3, end):
            return 0
        if not message[2] & 1:
            self._answer(b"\x01" if self.face.write(message[2:end]) else b"\x00")
            return end
        if len(message) < end + 2:
            return 0
        answer = self.face.read(message[2], int.from_bytes(message[end : end + 2], "big"))
        self._answer(b"\x00" if answer is None else b"\x01" + answer)
        return end + 2


def line_to(chip: VirtualPn532, kind: str) -> Device:
    """What hangs at a board's NFC line of this kind: "uart", "spi" or "i2c"."""
    if kind == "spi":
        return SpiWire(SpiFace(chip))
    return I2cWire(I2cFace(chip)) if kind == "i2c" else chip
