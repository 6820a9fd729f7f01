"""SSD1306, the controller of small 128x64 OLEDs, over I2C (Solomon Systech, SSD1306 data sheet rev. 1.1, sections 8
to 10).
"""

from micropython import const

from drivers.errors import ChipError

_COMMANDS = const(0x00)  # control byte: only command bytes follow
_DATA = const(0x40)  # control byte: only display memory follows

# The order of the data sheet's application example, "Software initialization flow".
_INITIALISE = bytes(
    (
        _COMMANDS,
        0xAE,  # display off
        0xD5, 0x80,  # clock
        0xA8, 0x3F,  # 64 rows
        0xD3, 0x00,  # no offset
        0x40,  # first line 0
        0x8D, 0x14,  # charge pump on: the panel has no other supply
        0x20, 0x00,  # horizontal addressing: one write fills the memory
        0xA1, 0xC8,  # connector at the top
        0xDA, 0x12,  # rows wired alternately
        0x81, 0xCF,  # contrast
        0xD9, 0xF1,  # precharge
        0xDB, 0x40,  # deselect level
        0xA4, 0xA6,  # show the memory, not inverted
        0x2E,  # no scrolling
        0xAF,  # display on
    )
)  # fmt: skip
_HOME = bytes((_COMMANDS, 0x21, 0, 127, 0x22, 0, 7))  # columns and pages of the whole picture


class Ssd1306:
    """The display at `i2c` (a `machine.I2C`). Raises ChipError when it does not acknowledge."""

    def __init__(self, i2c, address: int):
        self._i2c = i2c
        self._address = address
        self._write([_INITIALISE])

    def flush(self, buffer: bytearray, text: str) -> None:
        """Shows the picture in `buffer`, 23 ms at 400 kHz. `text` is for displays that are read by programs."""
        self._write([_HOME])
        self._write([bytes((_DATA,)), buffer])

    def _write(self, parts: list) -> None:
        try:
            self._i2c.writevto(self._address, parts)
        except OSError:
            raise ChipError("display does not answer: check SDA, SCL and its address")
