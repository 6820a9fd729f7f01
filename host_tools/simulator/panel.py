"""The other end of `firmware/drivers/panel.py`: what a simulated front panel shows, sounds and sends. Sans-IO.

Message formats stand there. Pictures are 1024 bytes in the order of MicroPython's framebuf.MONO_VLSB: eight pages of
128 columns, each byte eight pixels from top to bottom, the lowest bit on top.
"""

from typing import TYPE_CHECKING

from protocol.framing import FrameDecoder, encode_frame

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 128
HEIGHT = 64
KEYS = "0123456789*#ABCD"

_PICTURE_BYTES = WIDTH * HEIGHT // 8
_MAXIMUM_MESSAGE_BYTES = 1 + 2 + 255 + _PICTURE_BYTES
_KEYS_PER_FRAME = 16  # what the device takes at once
_LIT = (0x9F, 0xE8, 0xFF)  # a blue-white OLED
_DARK = (0x0A, 0x10, 0x16)
# Unicode 1.1, block "Braille Patterns": the bit of each dot of a 2x4 cell, by column and row.
_BRAILLE = 0x2800
_DOT_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


class PanelDecoder:
    """Follows what the device sends. `text` and `picture` are the last whole screen; `sounds` grows, True for a
    good one.
    """

    def __init__(self) -> None:
        self._frames = FrameDecoder(_MAXIMUM_MESSAGE_BYTES)
        self.text = ""
        self.picture = bytes(_PICTURE_BYTES)
        self.screens = 0  # whole screens so far
        self.sounds: list[bool] = []
        self.bad_messages = 0  # well-framed, but no message of the panel's

    @property
    def dropped_frames(self) -> int:
        return self._frames.dropped_frames

    def feed(self, data: bytes) -> bool:
        """Takes what arrived; True if there is a new screen."""
        screens = self.screens
        for _, message in self._frames.feed(data):
            self._take(message)
        return self.screens != screens

    def _take(self, message: bytes) -> None:
        kind, body = message[:1], message[1:]
        if kind == b"B" and body in (b"\x00", b"\x01"):
            self.sounds.append(body == b"\x01")
            return
        length = int.from_bytes(body[:2], "big")
        if kind != b"S" or len(body) != 2 + length + _PICTURE_BYTES:
            self.bad_messages += 1
            return
        self.text = body[2 : 2 + length].decode("utf-8", errors="replace")
        self.picture = body[2 + length :]
        self.screens += 1


def encode_keys(keys: str) -> bytes:
    """The bytes that press `keys` one after the other. Raises ValueError for a key the panel does not have."""
    for key in keys:
        if key not in KEYS:
            raise ValueError(f"the panel has no key {key!r}; it has {KEYS}")
    starts = range(0, len(keys), _KEYS_PER_FRAME)
    return b"".join(encode_frame(0, keys[start : start + _KEYS_PER_FRAME].encode()) for start in starts)


def pixel(picture: bytes, x: int, y: int) -> bool:
    """Whether the pixel at column `x`, row `y` is lit."""
    return bool(picture[y // 8 * WIDTH + x] >> y % 8 & 1)


def render_braille(picture: bytes) -> str:
    """The picture as 16 lines of 64 Braille characters, a dot per pixel."""
    return "\n".join(
        "".join(
            chr(
                _BRAILLE
                + sum(
                    bit
                    for column, bits in enumerate(_DOT_BITS)
                    for row, bit in enumerate(bits)
                    if pixel(picture, x + column, y + row)
                )
            )
            for x in range(0, WIDTH, 2)
        )
        for y in range(0, HEIGHT, 4)
    )


def render_png(picture: bytes, scale: int = 4) -> "Image":
    """The picture as a Pillow image with `scale` pixels a dot and a dark edge. Raises ImportError without Pillow."""
    from PIL import Image  # only for pictures; the run-time part does without

    dots = Image.new("RGB", (WIDTH + 8, HEIGHT + 8), _DARK)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if pixel(picture, x, y):
                dots.putpixel((x + 4, y + 4), _LIT)
    return dots.resize((dots.width * scale, dots.height * scale), Image.Resampling.NEAREST)
