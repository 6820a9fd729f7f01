"""What a person sees on 128x64 pixels: a title bar, lines of text, big amounts, an outcome nobody can misread.

Owns the pixels and where things stand; knows no display chip and nothing of what is said. A display is anything with
`flush(buffer, text)`: 1024 bytes in the order of `framebuf.MONO_VLSB`, and the same as text for a panel that is read
and not looked at. Text is ASCII: the built-in 8x8 font has nothing else.
"""

import framebuf
from micropython import const

from ui.text import COLUMNS, plain

MAXIMUM_LINES = 8  # title included

_WIDTH = const(128)
_HEIGHT = const(64)
_CELL = const(8)  # one character of the built-in font
_BAR = const(11)
_AMOUNT_TOP = const(18)
_GLYPH_WIDTH = const(11)
_GLYPH_HEIGHT = const(20)
_GLYPH_BYTES = const(33)  # 11 columns, three pages of eight rows
_DIGIT_STEP = const(12)
_POINT_STEP = const(4)
_MINUS_STEP = const(8)
_OUTCOME_COLUMNS = const(12)  # beside the tick or cross

# Digits 0 to 9, drawn after the typeface Aileron (CC0); all equally wide, so that a typed amount does not dance.
_DIGITS = (
    b"\xe0\xfc\xfe\x1e\x07\x07\x07\x1e\xfe\xf8\xc0\x7f\xff\xff\x00\x00\x00\x00\x80\xff\xff\x3f"  # 0
    b"\x00\x03\x07\x0f\x0e\x0e\x0e\x0f\x07\x01\x00"
    b"\x00\x78\x3c\x1c\x1e\x0f\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\x00\x00"  # 1
    b"\x00\x00\x00\x00\x00\x00\x0f\x0f\x0f\x00\x00"
    b"\x40\x78\x7e\x1e\x07\x07\x07\x0f\xfe\xfe\xf8\x00\x00\x80\xc0\xf0\xf8\x3c\x1f\x0f\x03\x00"  # 2
    b"\x0e\x0f\x0f\x0f\x0f\x0e\x0e\x0e\x0e\x0e\x0e"
    b"\x00\x78\x7e\x1e\x07\x07\x07\x8f\xfe\xfc\x30\xe0\xe0\xe0\x00\x06\x07\x0f\x0f\xff\xfd\xf0"  # 3
    b"\x00\x03\x07\x0f\x0e\x0e\x0e\x0e\x07\x03\x01"
    b"\x00\x00\x00\x80\xe0\xf8\x7e\xff\xff\x00\x00\x70\x7c\x7e\x7f\x73\x70\x70\xff\xff\x70\x70"  # 4
    b"\x00\x00\x00\x00\x00\x00\x00\x0f\x0f\x00\x00"
    b"\x00\xff\xff\x87\x87\xc7\xc7\x87\x87\x07\x00\xef\xef\xcf\x03\x01\x01\x03\x07\xff\xff\xfc"  # 5
    b"\x01\x03\x07\x0f\x0e\x0e\x0e\x0f\x07\x03\x00"
    b"\xc0\xf8\xfc\x9e\x87\xc7\xc7\x8f\xbe\x3c\x30\x7f\xff\xff\x03\x01\x01\x01\x03\xff\xff\xfc"  # 6
    b"\x00\x03\x07\x0f\x0e\x0e\x0e\x0f\x07\x03\x00"
    b"\x07\x07\x07\x07\x07\x07\xc7\xff\xff\x1f\x07\x00\x00\x00\xe0\xf8\x7f\x1f\x03\x00\x00\x00"  # 7
    b"\x00\x0c\x0f\x0f\x03\x00\x00\x00\x00\x00\x00"
    b"\x00\xfc\xfe\xdf\x07\x07\x07\x8f\xfe\xfc\x70\xf0\xfc\xff\x0f\x07\x07\x07\x0f\xff\xfd\xf0"  # 8
    b"\x01\x03\x07\x0f\x0e\x0e\x0e\x0e\x07\x03\x01"
    b"\xf0\xfc\xfe\x0f\x07\x07\x07\x0f\xfe\xfc\xe0\xc3\xcf\xdf\x1c\x38\x38\x18\x9c\xff\xff\x3f"  # 9
    b"\x00\x03\x07\x0f\x0e\x0e\x0e\x07\x03\x01\x00"
)


class Screen:
    """Draws one whole picture at a time; every call replaces what was shown."""

    def __init__(self, display):
        self._display = display
        self._buffer = bytearray(_WIDTH * _HEIGHT // 8)
        self._frame = framebuf.FrameBuffer(self._buffer, _WIDTH, _HEIGHT, framebuf.MONO_VLSB)

    def show(self, lines: list[str], inverted: int | None = None) -> None:
        """A title and up to seven lines of 16 characters. Line `inverted` (not 0, the title) is the chosen one of a
        menu.
        """
        lines = [plain(line)[:COLUMNS] for line in lines[:MAXIMUM_LINES]]
        self._frame.fill(0)
        rows = len(lines) - 1
        pitch = _CELL if rows >= 7 else min(11, 54 // max(rows, 1))
        bar = min(_BAR, _HEIGHT - rows * pitch)
        self._title(lines[0] if lines else "", bar)
        y = bar + pitch - _CELL
        for index in range(1, len(lines)):
            if index == inverted:
                self._frame.fill_rect(0, y - (pitch > _CELL), _WIDTH, min(pitch, _CELL + 1), 1)
            self._frame.text(lines[index], 0, y, index != inverted)
            y += pitch
        if inverted and inverted < len(lines):
            lines[inverted] = "> " + lines[inverted]
        self._flush(lines)

    def show_amount(self, title: str, amount: str, lines: list[str]) -> None:
        """A title, one big amount (as `ui.text.format_amount` writes it) and up to two lines below it."""
        self._frame.fill(0)
        self._title(plain(title)[:COLUMNS], _BAR)
        self._amount(amount, _AMOUNT_TOP)
        self._below(lines, 45)
        self._flush([title, amount] + lines[:2])

    def show_outcome(self, good: bool, title: str, amount: str, lines: list[str]) -> None:
        """How it ended, told by shape and brightness too: bright with a tick, or dark with a cross and a frame.

        `title` has up to 12 characters. With an amount one line fits below it, without one (`""`) three.
        """
        self._frame.fill(0)
        self._frame.text(plain(title)[:_OUTCOME_COLUMNS], 28, 8)
        for x in range(4):  # four pixels thick
            if good:
                self._frame.line(4 + x, 11, 9 + x, 16, 1)
                self._frame.line(9 + x, 16, 20 + x, 5, 1)
            else:
                self._frame.line(6 + x, 5, 17 + x, 16, 1)
                self._frame.line(17 + x, 5, 6 + x, 16, 1)
        if not good:
            self._frame.rect(0, 0, _WIDTH, _HEIGHT, 1)
        if amount:
            self._amount(amount, 25)
            self._below(lines[:1], 52)
        else:
            self._below(lines[:3], 28)
        if good:
            for index in range(len(self._buffer)):
                self._buffer[index] ^= 0xFF
        self._flush([title] + ([amount] if amount else []) + lines[: 1 if amount else 3])

    def _title(self, title: str, height: int) -> None:
        if title:
            self._frame.fill_rect(0, 0, _WIDTH, height, 1)
            self._centre(title, (height - _CELL + 1) // 2, 0)

    def _centre(self, text: str, y: int, colour: int) -> None:
        self._frame.text(text, (_WIDTH - len(text) * _CELL) // 2, y, colour)

    def _below(self, lines: list[str], y: int) -> None:
        for line in lines:
            self._centre(plain(line)[:COLUMNS], y, 1)
            y += 10

    def _amount(self, amount: str, y: int) -> None:
        width = sum([_step(character) for character in amount]) - 1
        if width > _WIDTH:  # more digits than a person reads at a glance
            self._centre(amount, y + 6, 1)
            return
        x = (_WIDTH - width) // 2
        for character in amount:
            if character == ".":
                self._frame.fill_rect(x, y + _GLYPH_HEIGHT - 3, 3, 3, 1)
            elif character == "-":
                self._frame.fill_rect(x, y + 9, 6, 3, 1)
            else:
                start = int(character) * _GLYPH_BYTES
                glyph = bytearray(_DIGITS[start : start + _GLYPH_BYTES])
                self._frame.blit(framebuf.FrameBuffer(glyph, _GLYPH_WIDTH, _GLYPH_HEIGHT, framebuf.MONO_VLSB), x, y)
            x += _step(character)

    def _flush(self, lines: list[str]) -> None:
        self._display.flush(self._buffer, "\n".join(lines))


def _step(character: str) -> int:
    return _POINT_STEP if character == "." else _MINUS_STEP if character == "-" else _DIGIT_STEP
