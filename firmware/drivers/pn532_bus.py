"""A PN532 on SPI or I2C as a line with a UART's methods, so that `pn532` need not know where its chip hangs.

Owns what both buses have in common (UM0701-02, 6.2.4 and 6.2.5): the chip never speaks by itself, it has to be asked
whether a frame is ready, and one is fetched at a time. How, knows `pn532_spi` or `pn532_i2c`: an object with `wake()`,
`is_ready()`, `read()` (the frame that is ready) and `write(frame)`.
"""

import io

from micropython import const

from drivers.pn532 import MAX_ANSWER

_POLL = const(3)  # the `ioctl` by which select.poll asks a stream
_POLL_IN = const(1)
_NOT_SUPPORTED = const(-22)  # -EINVAL
# MicroPython on ESP32 looks at its streams once in a tick of 10 ms, and a reader's RATS is to be answered within 5 ms:
# so each look lasts most of a tick. That costs the processor's idle time, a few mA beside the chip's 25 as a card.
_LOOK_MS = const(8)
_SETTLE_MS = const(1)  # after a frame was written: asked earlier, some chips lose it and never acknowledge

_START = b"\x00\x00\xff"
_SET_SERIAL_BAUD_RATE = b"\xd4\x10"
_RATE_IS_SET = b"\x00\x00\xff\x00\xff\x00\x00\x00\xff\x02\xfe\xd5\x11\x1a\x00"  # ACK, and the command's answer

HEAD_BYTES = const(8)  # tell a frame's length; only an ACK is shorter


def frame_bytes(head: bytes) -> int:
    """How long the frame is that begins with `head`: ACK, normal or extended (6.2.1).

    A damaged one is taken for the longest, so that nothing of it is left in the chip; `pn532` will see what it is.
    """
    length = MAX_ANSWER
    if head[3:5] == b"\x00\xff":
        return 6
    if head[3:5] == b"\xff\xff":
        if sum(head[5:8]) & 0xFF == 0:
            length = 10 + (head[5] << 8 | head[6])
    elif head[3] + head[4] == 0x100:
        length = 7 + head[3]
    return min(length, MAX_ANSWER)


class BusLine(io.IOBase):
    """`read`, `write`, `set_baudrate`, `close` and `stream` like `ports.*.Uart`: one can `wait` for both together."""

    def __init__(self, bus, port) -> None:
        self.stream = self
        self._bus = bus
        self._port = port
        self._is_ready = False  # was seen last, and nothing was done since
        self._own_answer = b""

    def read(self) -> bytes:
        """The next frame, `b""` if none is ready; never waits."""
        answer, self._own_answer = self._own_answer, b""
        if not answer and (self._is_ready or self._bus.is_ready()):
            self._is_ready = False
            answer = self._bus.read()
        return answer

    def write(self, data: bytes) -> None:
        """Sends the frame in `data`. What wakes a chip on a UART stands before it, or alone, and is done as here."""
        start = data.find(_START)
        if start:
            self._bus.wake()
        if start < 0:
            return
        frame = data[start:]
        if frame[5:7] == _SET_SERIAL_BAUD_RATE:
            # It sets the rate of the UART (7.2.7). Here is none, so the chip is not asked: the line itself says "done".
            self._own_answer = _RATE_IS_SET
            return
        self._is_ready = False
        self._own_answer = b""
        self._bus.write(frame)
        self._port.sleep_ms(_SETTLE_MS)

    def ioctl(self, request: int, argument: int) -> int:
        """Whether a frame is ready, within `_LOOK_MS`: MicroPython's select.poll asks so."""
        if request != _POLL:
            return _NOT_SUPPORTED
        port = self._port
        since = port.ticks_ms()
        while not (self._own_answer or self._bus.is_ready()):
            if port.ticks_diff(port.ticks_ms(), since) >= _LOOK_MS:
                return 0
            port.sleep_ms(1)
        self._is_ready = not self._own_answer
        return argument & _POLL_IN

    def set_baudrate(self, rate: int) -> None:
        """Nothing to do: the bus has the clock that the board's description says."""

    def close(self) -> None:
        """Nothing to do: a bus may be shared."""
