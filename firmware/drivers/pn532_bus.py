"""A PN532 on SPI or I2C as a line with a UART's methods, so that `pn532` need not know where its chip hangs.

Owns what both buses have in common (UM0701-02, 6.2.4 and 6.2.5): the chip never speaks by itself, it has to be asked
whether a frame is ready, and one is fetched at a time, by a host that says before how many bytes it wants. What comes
after the frame is no frame and skipped by `pn532`.
"""

import io

from micropython import const

from drivers.pn532 import SET_SERIAL_BAUD_RATE

_POLL = const(3)  # the `ioctl` by which select.poll asks a stream
_POLL_IN = const(1)
_NOT_SUPPORTED = const(-22)  # -EINVAL
# MicroPython on ESP32 looks at its streams once in a tick of 10 ms, and a reader's RATS is to be answered within 5 ms:
# so each look lasts most of a tick. That costs the processor's idle time, a few mA beside the chip's 25 as a card.
_LOOK_MS = const(8)
_SETTLE_MS = const(1)  # after a frame was written: asked earlier, some chips lose it and never acknowledge

_START = b"\x00\x00\xff"
_LENGTH = const(3)  # places in a frame; an extended one has FF there, and 0 to 9 where others have their command
_CODE = const(6)
_RATE_IS_SET = b"\x00\x00\xff\x00\xff\x00\x00\x00\xff\x02\xfe\xd5\x11\x1a\x00"  # ACK, and the command's answer

_ACK_BYTES = const(6)
_LONG_ANSWERS = b"\x42\x88\x8c"  # InCommunicateThru, TgGetInitiatorCommand, TgInitAsTarget
_LONG_BYTES = const(275)  # an extended frame around TFI, command and 263 bytes (6.2.1.2)
_SHORT_BYTES = const(32)  # all others: the longest, a card found with a UID of 10 bytes, has 25


class BusLine(io.IOBase):
    """`read`, `write`, `set_baudrate` and `stream` like `ports.*.Uart`: one can `wait` for both together.

    A bus adds `_wake()`, `_send(frame)` and `_fetch(count)`: the ready frame in so many bytes, None if there is none;
    with 0 it is only asked whether there is one.
    """

    def __init__(self, bus, port) -> None:
        self.stream = self
        self._bus = bus
        self._port = port
        self._input = b""  # fetched, not yet read
        self._next_bytes = self._answer_bytes = _SHORT_BYTES

    def read(self) -> bytes:
        """The next frame, `b""` if none is ready; never waits."""
        data, self._input = self._input, b""
        if data or self._fetch(0) is None:
            return data
        count, self._next_bytes = self._next_bytes, self._answer_bytes
        return self._fetch(count) or b""

    def write(self, data: bytes) -> None:
        """Sends the frame in `data`. What wakes a chip on a UART stands before it, or alone, and is done as here."""
        start = data.find(_START)
        if start:
            self._wake()
        if start < 0:
            return
        frame = data[start:]
        if len(frame) > _ACK_BYTES:  # a command: its ACK comes first
            code = frame[_CODE]
            if code == SET_SERIAL_BAUD_RATE:
                # It sets the rate of the UART (7.2.7). Here is none, so the chip is not asked: the line says "done".
                self._input = _RATE_IS_SET
                return
            self._next_bytes = _ACK_BYTES
            is_long = frame[_LENGTH] == 0xFF or code in _LONG_ANSWERS
            self._answer_bytes = _LONG_BYTES if is_long else _SHORT_BYTES
        self._input = b""
        self._send(frame)
        self._port.sleep_ms(_SETTLE_MS)

    def ioctl(self, request: int, argument: int) -> int:
        """Whether there is something to `read`, within `_LOOK_MS`: MicroPython's select.poll asks so."""
        if request != _POLL:
            return _NOT_SUPPORTED
        for _ in range(_LOOK_MS):
            self._input = self.read()
            if self._input:
                return _POLL_IN
            self._port.sleep_ms(1)
        return 0

    def set_baudrate(self, rate: int) -> None:
        """Nothing to do: the bus has the clock that the board's description says."""
