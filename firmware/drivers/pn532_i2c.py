"""PN532 over I2C (UM0701-02, 6.2.4): every read begins with a byte that says whether a frame is ready.

A frame is fetched in one read, whose length has to be said before: what is left of it when the read ends is lost. So
the longest one is read where the answer may be long. The chip stretches the clock, and its address wakes it.
"""

from micropython import const

from drivers.errors import ChipError
from drivers.pn532 import IN_COMMUNICATE_THRU, TG_GET_INITIATOR_COMMAND, TG_INIT_AS_TARGET
from drivers.pn532_bus import frame_bytes

_ADDRESS = const(0x24)
_READY = const(0x01)
_ACK_BYTES = const(6)
_SHORT_BYTES = const(32)  # the longest else: a card found, with a UID of 10 bytes, has 25
_LONG_BYTES = const(275)  # extended frame: 8 + 2 around TFI, command and 263 bytes (6.2.1.2)
_LONG_ANSWERS = (IN_COMMUNICATE_THRU, TG_GET_INITIATOR_COMMAND, TG_INIT_AS_TARGET)
# It may not acknowledge its address right after an exchange, nor while it wakes; Linux gives it 10 ms.
_TRIES = const(10)
_PAUSE_MS = const(1)


class I2cBus:
    """The chip at `i2c` (a `machine.I2C`), for `pn532_bus.BusLine`."""

    def __init__(self, i2c, port) -> None:
        self._i2c = i2c
        self._port = port
        self._status = bytearray(1)
        self._next_bytes = self._answer_bytes = _SHORT_BYTES

    def wake(self) -> None:
        """Nothing to do: its address wakes it."""

    def is_ready(self) -> bool:
        """Whether the chip has a frame for us. One that does not acknowledge has not."""
        try:
            self._i2c.readfrom_into(_ADDRESS, self._status)
        except OSError:
            return False
        return self._status[0] & _READY != 0

    def read(self) -> bytes:
        """The frame that is ready, `b""` if it is not any more."""
        try:
            data = self._i2c.readfrom(_ADDRESS, 1 + self._next_bytes)
        except OSError:
            return b""
        if not data[0] & _READY:
            return b""
        self._next_bytes = self._answer_bytes
        return data[1 : 1 + frame_bytes(data[1:])]

    def write(self, frame: bytes) -> None:
        """Raises ChipError if nobody acknowledges the address."""
        if len(frame) > _ACK_BYTES:  # a command: its ACK comes first, then its answer
            code = frame[9] if frame[3:5] == b"\xff\xff" else frame[6]
            self._next_bytes = _ACK_BYTES
            self._answer_bytes = _LONG_BYTES if code in _LONG_ANSWERS else _SHORT_BYTES
        for _ in range(_TRIES):
            try:
                self._i2c.writeto(_ADDRESS, frame)
                return
            except OSError:
                self._port.sleep_ms(_PAUSE_MS)
        raise ChipError("no PN532 at I2C address 24: check wiring, power and I2C jumpers")
