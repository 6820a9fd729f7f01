"""The lines to a PN532 that a board can have: its UART, SPI or I2C, with the pins checked alike."""

import re
from pathlib import Path

import pytest

from host_tools.images.boards import BOARDS, Board, BoardError, load_board

# Ready-made: what stands in esp32-pos's description instead of `uarts.nfc`.
SPI = """
[nfc]
kind = "spi"
id = 2
sck = 18
mosi = 19
miso = 35
cs = 16
frequency_hz = 1000000
"""
I2C = """
[nfc]
kind = "i2c"
id = 1
sda = 18
scl = 19
frequency_hz = 400000
"""
SHARED_I2C = """
[nfc]
kind = "i2c"
id = 0
sda = 21
scl = 22
frequency_hz = 400000
"""


def board_with(nfc: str, folder: Path, base: str = "esp32-pos") -> Board:
    """Board `example` in `folder`: `base` with the PN532 on another line."""
    text, count = re.subn("^nfc = .*\n", "", (BOARDS / base / "board.toml").read_text(encoding="utf-8"), flags=re.M)
    assert count == 1
    (folder / "example").mkdir()
    (folder / "example/board.toml").write_text(text + nfc, encoding="utf-8")
    return load_board("example", folder)


def test_a_pn532_on_spi(tmp_path: Path):
    expected = {"kind": "spi", "id": 2, "sck": 18, "mosi": 19, "miso": 35, "cs": 16, "frequency_hz": 1_000_000}
    board = board_with(SPI, tmp_path)
    assert board.nfc == expected
    assert f"NFC = {expected!r}\n" in board.source()


@pytest.mark.parametrize("nfc", [I2C, SHARED_I2C])
def test_a_pn532_on_i2c_alone_or_with_the_display(tmp_path: Path, nfc: str):
    board = board_with(nfc, tmp_path)
    assert list(board.nfc) == ["kind", "id", "sda", "scl", "frequency_hz"]
    assert board.nfc["kind"] == "i2c"
    assert board.display
    assert (board.nfc["sda"] == board.display["i2c"]["sda"]) == (nfc == SHARED_I2C)


@pytest.mark.parametrize(
    ("nfc", "old", "new", "message"),
    [
        (SPI, "cs = 16", "cs = 5", "nfc.cs GPIO 5 of the ESP32 is read at reset"),
        (SPI, "cs = 16", "cs = 20", "nfc.cs the ESP32 has no GPIO 20"),
        (SPI, "cs = 16", "cs = 18", "nfc.cs GPIO 18 is already nfc.sck"),
        (SPI, "cs = 16", "cs = 22", "display.i2c.scl GPIO 22 is already nfc.cs"),
        (SPI, "cs = 16", "ss = 16", "nfc.cs is missing"),
        (SPI, "cs = 16", "cs = 16\nirq = 17", "nfc.irq is not known"),
        (SPI, "mosi = 19", "mosi = 34", "nfc.mosi GPIO 34 of the ESP32 is an input without pull-up"),
        (SPI, "sck = 18", "sck = 6", "nfc.sck GPIO 6 of the ESP32 is wired to its flash"),
        (SPI, "id = 2", "id = 0", "nfc.id must be 1 or 2, not 0"),
        (SPI, "1000000", "5000001", "nfc.frequency_hz must be at most 5000000"),
        (SPI, "1000000", "0", "nfc.frequency_hz must be above 0"),
        (SPI, '"spi"', '"uart"', "nfc.kind must be 'spi' or 'i2c', not 'uart'"),
        (I2C, "400000", "1000000", "nfc.frequency_hz must be at most 400000"),
        (I2C, "sda = 18", "sda = 35", "nfc.sda GPIO 35 of the ESP32 is an input without pull-up"),
        (I2C, "sda = 18", "sda = 1", "nfc.sda GPIO 1 of the ESP32 is the line to the host"),
        (I2C, "id = 1", "id = 2", "nfc.id must be 0 or 1, not 2"),
        (I2C, "id = 1", "id = 0", "display.i2c shares I2C 0 with nfc, and says other pins or another frequency"),
        (SHARED_I2C, "400000", "100000", "display.i2c shares I2C 0 with nfc, and says other pins or another frequency"),
        (SHARED_I2C, "id = 0", "id = 1", "display.i2c.sda GPIO 21 is already nfc.sda"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path: Path, nfc: str, old: str, new: str, message: str):
    assert nfc.count(old) == 1
    with pytest.raises(BoardError) as caught:
        board_with(nfc.replace(old, new), tmp_path)
    assert f"example/board.toml: {message}" in str(caught.value)


def test_one_bus_for_both_is_all_that_a_c3_has(tmp_path: Path):
    board = board_with(SHARED_I2C.replace("21", "6").replace("22", "7"), tmp_path, base="esp32c3-card")
    assert (board.nfc["sda"], board.nfc["scl"]) == (6, 7)


def test_a_line_too_many_or_none_at_all_is_refused(tmp_path: Path):
    with pytest.raises(BoardError, match=r"board.toml: uarts.nfc is missing"):
        board_with("", tmp_path)
    text = (BOARDS / "esp32-pos/board.toml").read_text(encoding="utf-8")
    (tmp_path / "example/board.toml").write_text(text + SPI, encoding="utf-8")
    with pytest.raises(BoardError, match=r"board.toml: nfc is in \[uarts\] too"):
        load_board("example", tmp_path)


def test_a_process_has_no_pins_for_it(tmp_path: Path):
    with pytest.raises(BoardError, match=r"board.toml: nfc needs pins, and the unix port has none"):
        board_with(SPI, tmp_path, base="sim-wallet")
