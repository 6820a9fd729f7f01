"""A front panel at a serial line: screen, keypad and buzzer in one, as a handheld with its own panel controller has.

Frames are `protocol.framing`'s, numbered 0..255 each way. Panel messages, first byte the kind:

- to the panel: `S`, u16 big-endian length of the text, the text (UTF-8, lines ended by LF, what the picture says),
  1024 bytes of picture (128x64, framebuf.MONO_VLSB); `B` and one byte: 1 a good sound, 0 a bad one.
- from the panel: one or more keys, `0`-`9`, `#` = OK, `*` = back (while typing: one digit), `A` to `D` = what the
  application says.

Lost messages are not repeated: the next picture is a whole one, and a key that did nothing is pressed again.
"""

from micropython import const

from protocol.framing import FrameDecoder, encode_frame

_MAXIMUM_TEXT_BYTES = const(255)
_MAXIMUM_MESSAGE_BYTES = const(1282)  # kind, length, text, picture
_MAXIMUM_KEYS = const(16)
_KEYS = "0123456789*#ABCD"


class Panel:
    """Display, keypad and buzzer at `uart` (`ports.*.open_uart`). Its methods raise UartClosed when the panel is
    unplugged.
    """

    def __init__(self, uart):
        self._uart = uart
        self._decoder = FrameDecoder(_MAXIMUM_KEYS)
        self._keys = ""
        self._sequence = 0

    def flush(self, buffer: bytearray, text: str) -> None:
        """Shows the picture in `buffer`, which says `text`."""
        shown = text.encode()[:_MAXIMUM_TEXT_BYTES]
        self._send(b"S" + len(shown).to_bytes(2, "big") + shown + buffer)

    def beep(self, good: bool) -> None:
        """The sound of a payment that went well, or of one that did not."""
        self._send(b"B\x01" if good else b"B\x00")

    def read_key(self) -> str | None:
        """The next key that was pressed, None if there is none; never waits."""
        for _, keys in self._decoder.feed(self._uart.read()):
            for key in keys:
                if chr(key) in _KEYS and len(self._keys) < _MAXIMUM_KEYS:  # a person is never so far ahead
                    self._keys += chr(key)
        key = self._keys[:1]
        self._keys = self._keys[1:]
        return key or None

    def _send(self, message: bytes) -> None:
        self._uart.write(encode_frame(self._sequence, message, _MAXIMUM_MESSAGE_BYTES))
        self._sequence = (self._sequence + 1) & 0xFF
