"""host_tools.images.micropython_image: of an official image comes out what the board can boot, or one line that says
which file to take instead.
"""

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest

from host_tools.images.boards import Board, board_names, load_board
from host_tools.images.chips import CHIPS
from host_tools.images.micropython_image import ImageError, MicroPython, read_micropython
from tests.host.stand_in import (
    APP_OFFSET_BYTES,
    BOOTLOADER_OFFSET_BYTES,
    FACTORY_TABLE,
    MEGABYTE,
    OTA_TABLE,
    TABLE_OFFSET_BYTES,
    app,
    bootloader,
    read_image,
    stand_in,
    table_of,
)

BOARDS = [name for name in board_names() if load_board(name).partitions]
_DIGEST_BYTES = 32


def _read(data: bytes, board: Board, folder: Path) -> MicroPython:
    path = folder / "image.bin"
    path.write_bytes(data)
    return read_micropython(path, board)


def _refused(data: bytes, board: Board, folder: Path, *words: str) -> None:
    with pytest.raises(ImageError) as raised:
        _read(data, board, folder)
    text = str(raised.value)
    assert text.startswith(str(folder / "image.bin")) and "\n" not in text
    for word in words:
        assert word in text, text


def _for(board: Board) -> bytes:
    return stand_in(board.chip, flash_size_bytes=board.flash_size_bytes or 0)


@pytest.mark.parametrize("name", BOARDS)
def test_loader_and_app_come_out_as_esptool_reads_them(name: str, tmp_path: Path):
    board = load_board(name)
    found = _read(_for(board), board, tmp_path)
    assert (found.version, found.chip) == ("1.28.0", board.chip)
    assert found.app == app(board.chip, flash_size_bytes=board.flash_size_bytes or 0)
    for data in (found.bootloader, found.app):
        image = read_image(board.chip, data)
        assert image.chip_id == CHIPS[board.chip].image_chip_id
        assert image.checksum == image.calculate_checksum()
        assert image.stored_digest == image.calc_digest == data[-_DIGEST_BYTES:]


@pytest.mark.parametrize("name", BOARDS)
def test_the_loader_is_told_the_boards_size_of_flash_and_nothing_else_of_it_changes(name: str, tmp_path: Path):
    board = load_board(name)
    small = bootloader(board.chip, 2 * MEGABYTE)
    found = _read(stand_in(board.chip, flash_size_bytes=2 * MEGABYTE), board, tmp_path).bootloader
    image = read_image(board.chip, found)
    size = f"{(board.flash_size_bytes or 0) // MEGABYTE}MB"
    assert image.flash_size_freq & 0xF0 == image.ROM_LOADER.parse_flash_size_arg(size) != small[3] & 0xF0
    assert found[:3] + found[4:-_DIGEST_BYTES] == small[:3] + small[4:-_DIGEST_BYTES]
    assert found[3] & 0x0F == small[3] & 0x0F
    assert found[-_DIGEST_BYTES:] == hashlib.sha256(found[:-_DIGEST_BYTES]).digest()


@pytest.mark.parametrize("name", BOARDS)
def test_an_image_for_another_chip_is_refused_by_its_name(name: str, tmp_path: Path):
    board = load_board(name)
    others = {"esp32", "esp32s3", "esp32c3"} - {board.chip}
    assert len(others) == 2
    for chip in others:
        words = (f"is for an {CHIPS[chip].title},", f"Take {board.micropython_image}-<date>")
        _refused(stand_in(chip), board, tmp_path, *words)


def test_the_app_must_be_for_the_chip_too(tmp_path: Path):
    data = stand_in("esp32c3")[:APP_OFFSET_BYTES] + app("esp32s3")
    _refused(data, load_board("esp32c3-card"), tmp_path, "its app")


@pytest.mark.parametrize("name", BOARDS)
def test_an_image_that_ends_too_early_is_refused_wherever_it_ends(name: str, tmp_path: Path):
    board = load_board(name)
    data = _for(board)
    start = BOOTLOADER_OFFSET_BYTES[board.chip]
    table, app_start = TABLE_OFFSET_BYTES - start, APP_OFFSET_BYTES - start
    loader = len(bootloader(board.chip))
    edges = {0, 1, 4, 8, 24, 32, loader - _DIGEST_BYTES, loader, table, table + 32, table + 128, app_start}
    edges |= {app_start + 24, app_start + 32, app_start + 288, len(data) - _DIGEST_BYTES}
    ends = {end + near for end in edges for near in (-1, 0, 1)} | set(range(0, len(data), 4001)) | {len(data) - 1}
    for end in sorted(ends - {-1, len(data)}):
        _refused(data[:end], board, tmp_path, "is cut short" if end else "is empty")
    _read(data, board, tmp_path)


@pytest.mark.parametrize("name", BOARDS)
def test_one_wrong_byte_is_found_or_does_not_matter(name: str, tmp_path: Path):
    """What it does not matter in is what nobody reads: blank flash between the parts."""
    board = load_board(name)
    data = _for(board)
    whole = _read(data, board, tmp_path)
    start = BOOTLOADER_OFFSET_BYTES[board.chip]
    loader = range(len(bootloader(board.chip)))
    table = range(TABLE_OFFSET_BYTES - start, TABLE_OFFSET_BYTES - start + 32 * len(FACTORY_TABLE))
    code = range(APP_OFFSET_BYTES - start, len(data))
    chance = random.Random(name)
    for part in (loader, table, code):
        for at in {*part[:48], *part[-48:], *chance.sample(part, 40)}:
            wrong = bytearray(data)
            wrong[at] ^= chance.choice([0x01, 0x80, 0xFF])
            _refused(bytes(wrong), board, tmp_path)
    sums = range(table.stop, table.stop + 64)
    blank = [at for at in range(len(data)) if at not in loader and at not in table and at not in code]
    for at in chance.sample(blank, 100):
        wrong = bytearray(data)
        wrong[at] ^= 0xFF
        try:
            found = _read(bytes(wrong), board, tmp_path)
        except ImageError:
            assert at in sums  # the table's checksum, and the row that ends it
        else:
            assert found == whole


def test_a_header_that_denies_its_hash_is_wrong_and_an_image_made_without_is_not(tmp_path: Path):
    board = load_board("esp32-pos")
    assert _read(stand_in(digest=False), board, tmp_path).version == "1.28.0"
    for at in (0, APP_OFFSET_BYTES - BOOTLOADER_OFFSET_BYTES["esp32"]):
        without = bytearray(stand_in(digest=False))
        without[at + 1000] ^= 0x10  # then the checksum is all there is
        _refused(bytes(without), board, tmp_path, "is damaged")
        denying = bytearray(stand_in())
        assert denying[at + 23] == 1
        denying[at + 23] = 0
        _refused(bytes(denying), board, tmp_path, "is damaged")


def test_what_follows_the_app_is_left_out(tmp_path: Path):
    board = load_board("esp32-pos")
    assert _read(stand_in() + b"\xff" * 5000 + b"romfs", board, tmp_path) == _read(stand_in(), board, tmp_path)


@pytest.mark.parametrize(
    ("version", "banner", "expected"),
    [
        ("v1.28.0", "", "1.28.0"),
        ("1.23.0", "", "1.23.0"),
        ("v1.29.0-preview.12.g1a2b3c", "", "1.29.0-preview.12.g1a2b3c"),
        ("v1.27.0-dirty", "MicroPython v1.26.1 on 2025-09-11", "1.27.0-dirty"),
        ("1a2b3c4", "MicroPython v1.26.1 on 2025-09-11; Generic ESP32 module with ESP32", "1.26.1"),
        ("", "MicroPython (with v2.0 preview) v1.27.0 on 2025-12-09", "1.27.0"),
        ("v2.0.0", "", "2.0.0"),
    ],
)
def test_the_version_is_that_of_the_description_else_of_the_banner(version, banner, expected: str, tmp_path: Path):
    found = _read(stand_in(version=version, banner=banner), load_board("esp32-pos"), tmp_path)
    assert found.version == expected


def test_another_projects_version_is_not_micropythons(tmp_path: Path):
    board = load_board("esp32-pos")
    banner = "MicroPython v1.26.1 on 2025-09-11"
    assert _read(stand_in(version="v5.0", project="radio", banner=banner), board, tmp_path).version == "1.26.1"
    _refused(stand_in(version="v5.0", project="radio", banner=""), board, tmp_path, "does not say which MicroPython")


@pytest.mark.parametrize(("version", "banner"), [("v1.22.2", ""), ("v0.9", ""), ("x", "MicroPython v1.9.4 on 2018")])
def test_an_old_version_is_refused_with_the_one_that_is_needed(version: str, banner: str, tmp_path: Path):
    board = replace(load_board("esp32-pos"), micropython_minimum=(1, 23))
    _refused(stand_in(version=version, banner=banner), board, tmp_path, "is MicroPython ", "needs 1.23 or newer")
    assert _read(stand_in(version="v1.23.0"), board, tmp_path).version == "1.23.0"


def test_the_app_must_have_room_in_factory(tmp_path: Path):
    board = load_board("esp32-pos")
    room = board.partition("factory").size_bytes
    fits = room - 4096
    fits += room - len(app("esp32", app_bytes=fits))
    assert len(_read(stand_in(app_bytes=fits), board, tmp_path).app) == room
    _refused(stand_in(app_bytes=fits + 16), board, tmp_path, f"has an app of {room + 16:,} bytes", f"has {room:,}")


def test_an_image_for_more_flash_than_the_board_has_is_refused(tmp_path: Path):
    data = stand_in("esp32", flash_size_bytes=8 * MEGABYTE)
    _refused(data, load_board("esp32-pos"), tmp_path, "is made for 8 MB of flash, and esp32-pos has 4")


def test_a_variant_for_updates_over_the_air_is_refused(tmp_path: Path):
    _refused(
        stand_in(table=OTA_TABLE),
        load_board("esp32-pos"),
        tmp_path,
        "over the air",
        "Take ESP32_GENERIC-<date>-v<version>.bin",
    )
    nowhere = stand_in()
    data = table_of(FACTORY_TABLE[:2])
    start = TABLE_OFFSET_BYTES - BOOTLOADER_OFFSET_BYTES["esp32"]
    nowhere = nowhere[:start] + data + nowhere[start + len(data) :]
    _refused(nowhere, load_board("esp32-pos"), tmp_path, "without a place for MicroPython")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"UF2\n" + b"WQ]\x9e" + bytes(600), "is a UF2 file"),
        (b"\x7fELF" + bytes(100), "is no image for an ESP32 chip"),
        (b"\xe9", "is cut short"),
        (app("esp32"), "holds the app alone, without boot loader"),
        (bootloader("esp32"), "its partition table is not whole"),
        (b"\xff" * 100, "is no image for an ESP32 chip"),
    ],
    ids=["empty", "uf2", "elf", "a byte", "app-bin", "bootloader", "blank"],
)
def test_other_files_are_refused_by_what_they_are(data: bytes, words: str, tmp_path: Path):
    _refused(data, load_board("esp32-pos"), tmp_path, words, "https://micropython.org/download/ESP32_GENERIC")


def test_a_file_without_end_is_refused():
    with pytest.raises(ImageError, match="is larger than 32 MB"):
        read_micropython(Path("/dev/zero"), load_board("esp32-pos"))


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_micropython(tmp_path / "none.bin", load_board("esp32-pos"))
