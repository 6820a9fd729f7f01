"""PN532 over I2C (UM0701-02, 6.2.4): every read begins with a byte that says whether a frame is ready.

A frame is fetched in one read: what is left of it then is lost. The chip stretches the clock, and its address wakes it.
"""

from micropython import const

from drivers.pn532_bus import BusLine

_ADDRESS = const(0x24)
_READY = const(0x01)
# It may not acknowledge its address right after an exchange, nor while it wakes; Linux gives it 10 ms.
_TRIES = const(10)
_PAUSE_MS = const(1)


class I2cLine(BusLine):
    """The chip at `bus`, a `machine.I2C`. One that does not acknowledge its address has nothing to say."""

    def _wake(self) -> None:
        """Nothing to do: what is sent next wakes it."""

    def _fetch(self, count: int) -> bytes | None:
        try:
            data = self._bus.readfrom(_ADDRESS, 1 + count)
        except OSError:
            return None
        return data[1:] if data[0] & _READY else None

    def _send(self, frame: bytes) -> None:
        for _ in range(_TRIES):
            try:
                self._bus.writeto(_ADDRESS, frame)
                return
            except OSError:
                self._port.sleep_ms(_PAUSE_MS)
