"""SPI on the unix port, with the methods of `machine.SPI` and `machine.Pin` that our drivers use.

Messages: `M` and the mode; `L` and `H`, the level of the selecting pin; `X`, u16 big-endian count and so many bytes,
answered by as many. Bytes are as on the wire: what is clocked first is the highest bit.
"""

from ports.unix_wire import Wire


class Select:
    """The pin that selects the part."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __call__(self, level: int) -> None:
        self._wire.send(b"H" if level else b"L")


class Spi:
    """The bus's master."""

    def __init__(self, wire: Wire, lsb_first: bool) -> None:
        self._wire = wire
        self._order = bytes([_reversed(byte) if lsb_first else byte for byte in range(256)])

    def write(self, data: bytes) -> None:
        self._exchange(data)

    def read(self, count: int, write: int = 0) -> bytes:
        return self._exchange(bytes((write,)) * count)

    def readinto(self, buffer: bytearray, write: int = 0) -> None:
        buffer[:] = self._exchange(bytes((write,)) * len(buffer))

    def _exchange(self, data: bytes) -> bytes:
        order = self._order
        self._wire.send(b"X" + len(data).to_bytes(2, "big") + bytes([order[byte] for byte in data]))
        return bytes([order[byte] for byte in self._wire.take(len(data))])


def _reversed(byte: int) -> int:
    """Its bits in the other order."""
    result = 0
    for _ in range(8):
        result = result << 1 | byte & 1
        byte >>= 1
    return result


def open_spi(spec: dict, mode: int, lsb_first: bool) -> tuple[Spi, Select]:
    """The bus, and the pin that selects the part. `spec`: `{"env": name}`; `mode` is SPI's 0 to 3."""
    wire = Wire(spec)
    wire.send(bytes((ord("M"), mode)))
    return Spi(wire, lsb_first), Select(wire)
