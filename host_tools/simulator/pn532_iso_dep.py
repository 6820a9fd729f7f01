"""The PN532's built-in ISO/IEC 14443-4 protocol, for hosts that let the chip do it (automatic RATS, card emulation).

Frame size 64 bytes both ways, as the chip's firmware announces. Written apart from the firmware's own `iso_dep`, so
that the two check each other. Sans-IO.
"""

from collections.abc import Callable

RATS = b"\xe0\x50"  # FSDI 5, CID 0
ATS_HEAD = bytes.fromhex("75339203")  # FSCI 5; TA, TB (FWI 9), TC as the chip sends them
MAX_DATA = 262  # of one host command or answer (UM0701-02, 7.3.8)
WAITING_TIME_US = 4949000.0  # the largest that 14443-4 knows; the chip reads the ATS, a simulation need not be strict
_FRAME_SIZES = (16, 24, 32, 40, 48, 64, 96, 128, 256)
_MAX_REPEATS = 3

Send = Callable[[bytes, Callable[[bytes | None], None]], None]


class ChipReader:
    """Exchanges with an activated card. `send(block, done)` transmits one frame and calls back with the answer."""

    def __init__(self, ats: bytes, send: Send) -> None:
        self._block_size = _FRAME_SIZES[min(ats[1] & 15, 8) if len(ats) > 1 else 2] - 3
        self._send = send
        self._toggle = 0
        self._to_send: list[bytes] = []
        self._got = b""
        self._repeats = 0
        self._done: Callable[[bytes | None], None] = lambda _response: None

    def exchange(self, data: bytes, done: Callable[[bytes | None], None]) -> None:
        """`done` gets the response, or None if the card does not answer."""
        size = self._block_size
        self._to_send = [data[i : i + size] for i in range(0, len(data), size)] or [b""]
        self._got = b""
        self._repeats = 0
        self._done = done
        self._send_part()

    def _send_part(self) -> None:
        more = len(self._to_send) > 1
        self._send(bytes((0x02 | more << 4 | self._toggle,)) + self._to_send[0], self._receive)

    def _receive(self, block: bytes | None) -> None:
        if block and block[0] & 0xEE == 0x02 and block[0] & 1 == self._toggle:
            self._toggle ^= 1
            self._repeats = 0
            self._got += block[1:]
            if block[0] & 0x10 and len(self._got) <= MAX_DATA:
                self._send(bytes((0xA2 | self._toggle,)), self._receive)
            else:
                self._done(self._got)
        elif block and block[0] == 0xF2 and len(block) == 2:
            self._send(block, self._receive)
        elif block == bytes((0xA2 | self._toggle,)) and len(self._to_send) > 1:
            self._toggle ^= 1
            self._repeats = 0
            del self._to_send[0]
            self._send_part()
        elif self._repeats == _MAX_REPEATS:
            self._done(None)
        else:
            self._repeats += 1
            if block == bytes((0xA2 | self._toggle ^ 1,)):
                self._send_part()
            else:
                self._send(bytes(((0xA2 if self._got else 0xB2) | self._toggle,)), self._receive)


class ChipCard:
    """Card side. `receive(block)` returns the block to send or None; a complete command stands in `command`."""

    def __init__(self, rats: bytes, historical: bytes) -> None:
        self.ats = bytes((1 + len(ATS_HEAD) + len(historical),)) + ATS_HEAD + historical
        self.command: bytes | None = None
        self.released = False
        self._block_size = _FRAME_SIZES[min(rats[1] >> 4, 8)] - 3
        self._toggle = 1
        self._got = b""
        self._to_send = b""
        self._last: bytes | None = None

    def receive(self, block: bytes) -> bytes | None:
        if not block:
            return None
        if block[0] & 0xEE == 0x02:
            self._toggle ^= 1
            self._got += block[1:]
            if block[0] & 0x10 and len(self._got) <= MAX_DATA:
                self._last = bytes((0xA2 | self._toggle,))
                return self._last
            self.command, self._got, self._last = self._got, b"", None
        elif block[0] & 0xEE == 0xA2:
            if block[0] & 1 == self._toggle:
                return self._last
            if block[0] & 0x10:
                return bytes((0xA2 | self._toggle,))
            if self._to_send:
                self._toggle ^= 1
                return self._part()
        elif block == b"\xc2":
            self.released = True
            return block
        elif block in (b"\xd0\x01", b"\xd0\x11\x00"):
            return b"\xd0"
        return None

    def respond(self, data: bytes) -> bytes:
        self.command = None
        self._to_send = data
        return self._part()

    def _part(self) -> bytes:
        part, self._to_send = self._to_send[: self._block_size], self._to_send[self._block_size :]
        self._last = bytes((0x02 | bool(self._to_send) << 4 | self._toggle,)) + part
        return self._last
