"""I2C on the unix port, with the methods of `machine.I2C` that our drivers use.

A message is u16 big-endian count, then the bytes that the master sends after START, the first of them address and
direction; for a read, u16 count of the bytes wanted. The answer begins with 1 if the part acknowledged its address.
"""

from micropython import const

from ports.unix_wire import Wire

_ENODEV = const(19)


class I2c:
    """The bus's master. Every method raises OSError if nobody acknowledges the address."""

    def __init__(self, spec: dict) -> None:
        self._wire = Wire(spec)

    def writeto(self, address: int, data: bytes) -> int:
        self._start(bytes((address << 1,)) + data)
        return len(data)

    def readfrom(self, address: int, count: int) -> bytes:
        self._start(bytes((address << 1 | 1,)), count.to_bytes(2, "big"))
        return self._wire.take(count)

    def readfrom_into(self, address: int, buffer: bytearray) -> None:
        buffer[:] = self.readfrom(address, len(buffer))

    def _start(self, data: bytes, wanted: bytes = b"") -> None:
        self._wire.send(len(data).to_bytes(2, "big") + data + wanted)
        if self._wire.take(1) == b"\x00":
            raise OSError(_ENODEV)
