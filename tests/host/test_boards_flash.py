"""host_tools.images.flash_layout: a board's partitions are as the chip, MicroPython and the journal need them."""

from pathlib import Path

import pytest
from mp_image_tool_esp32 import partition_table as tool

from host_tools.images import flash_layout
from host_tools.images.boards import BOARDS, BoardError, Partition, board_names, load_board
from host_tools.images.chips import CHIPS, MEGABYTE

ON_CHIPS = [name for name in board_names() if load_board(name).partitions]
_KB = 1024


@pytest.fixture
def load(tmp_path: Path):
    """Loads esp32-pos with texts replaced."""

    def changed(*changes: tuple[str, str]):
        text = (BOARDS / "esp32-pos/board.toml").read_text(encoding="utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} does not name one place"
            text = text.replace(old, new)
        (tmp_path / "esp32-pos").mkdir()
        (tmp_path / "esp32-pos/board.toml").write_text(text, encoding="utf-8")
        return load_board("esp32-pos", tmp_path)

    return changed


def test_boards_of_4_mb_have_the_layout_that_is_flashed():
    for name in ("esp32-pos", "esp32c3-card"):
        board = load_board(name)
        assert board.flash_size_bytes == 4 * MEGABYTE
        assert board.partitions == (
            Partition("nvs", "data", 2, 0x9000, 0x6000),
            Partition("phy_init", "data", 1, 0xF000, 0x1000),
            Partition("factory", "app", 0, 0x10000, 0x2F0000),
            Partition("vfs", "data", 129, 0x300000, 0xA0000),
            Partition("settings", "data", 129, 0x3A0000, 0x20000),
            Partition("journal", "data", 0x40, 0x3C0000, 0x40000),
        )
        assert board.partitions[-1].end_bytes == board.flash_size_bytes


def test_the_s3_differs_in_its_journal_only():
    small, large = load_board("esp32-pos"), load_board("esp32s3-pos")
    assert small.partitions[:-1] == large.partitions[:-1]
    assert large.partition("journal").size_bytes == 1024 * _KB
    assert large.journal == {"label": "journal", "size_bytes": 1024 * _KB}
    with pytest.raises(KeyError):
        load_board("sim-wallet").partition("journal")


@pytest.mark.parametrize("name", ON_CHIPS)
def test_money_has_partitions_of_its_own(name: str):
    board = load_board(name)
    assert {partition.name for partition in board.partitions} >= set(flash_layout.MONEY_PARTITIONS)
    assert board.flash_size_bytes in CHIPS[board.chip].flash_sizes


def test_the_numbers_are_those_of_the_tool_that_reads_tables():
    for kind, names in flash_layout.SUBTYPES.items():
        for name, number in names.items():
            assert tool.SUBTYPES[name] == (tool.NAME_TO_TYPE[kind], number)
    assert flash_layout.FIRST_OFFSET_BYTES == tool.FIRST_PART_OFFSET
    assert flash_layout.APP_OFFSET_BYTES == tool.APP_PART_OFFSET
    assert flash_layout.MAXIMUM_LABEL_BYTES == tool.PART_NAME_LEN - 1


_VFS = "offset_bytes = 0x300000, size_bytes = 0xA0000"
_SETTINGS = "offset_bytes = 0x3A0000, size_bytes = 0x20000"
_JOURNAL = "offset_bytes = 0x3C0000, size_bytes = 0x40000"
_FACTORY = "offset_bytes = 0x10000, size_bytes = 0x2F0000"
_NVS = "offset_bytes = 0x9000, size_bytes = 0x6000"
_FLASH = "flash_size_bytes = 0x400000"
_LARGER = (_FLASH, "flash_size_bytes = 0x800000")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [(_FLASH, "flash_size_bytes = 0x200000")],
            "flash_size_bytes must be one that ESP32 modules have: 0x400000 (4",
        ),
        (
            [(_FLASH, "flash_size_bytes = 0x600000")],
            "flash_size_bytes must be one that ESP32 modules have: 0x400000 (4",
        ),
        (
            [(_VFS, _VFS.replace("0xA0000", "0xA1000"))],
            "partitions.settings.offset_bytes overlaps vfs, which ends at 0x3a1000",
        ),
        ([("vfs = {", "vsf = {")], "partitions.vfs is missing"),
        ([("nvs = {", "nvs2 = {")], "partitions.nvs is missing"),
        ([("factory = {", "ota_0 = {")], "partitions.factory is missing"),
        ([("settings = {", "setting = {")], "partitions.settings is missing"),
        ([("journal = {", "money = {")], "partitions.journal is missing"),
        ([("phy_init = {", "phy_init_of_this_board = {")], "partitions.phy_init_of_this_board is no label: at most 15"),
        ([("phy_init = {", '"phy init" = {')], "partitions.phy init is no label"),
        (
            [(_SETTINGS, _SETTINGS.replace("0x20000", "0x1F800"))],
            "partitions.settings.size_bytes must be whole sectors of 0x1000",
        ),
        ([(_SETTINGS, _SETTINGS.replace("0x20000", "0"))], "partitions.settings.size_bytes must be whole sectors"),
        ([(_SETTINGS, _SETTINGS.replace("0x20000", "-4096"))], "partitions.settings.size_bytes must be whole sectors"),
        (
            [(_SETTINGS, _SETTINGS.replace("0x20000", "0xF000"))],
            "partitions.settings.size_bytes must be at least 0x10000",
        ),
        (
            [(_SETTINGS, _SETTINGS.replace("0x3A0000", "0x3A0800"))],
            "partitions.settings.offset_bytes must be a multiple",
        ),
        (
            [(_FACTORY, _FACTORY.replace("0x10000", "0x18000"))],
            "partitions.factory.offset_bytes must be a multiple of 0x1",
        ),
        (
            [(_FACTORY, "offset_bytes = 0x20000, size_bytes = 0x1E0000")],
            "partitions.factory.offset_bytes must be 0x10000: official images",
        ),
        ([(_NVS, "offset_bytes = 0x8000, size_bytes = 0x7000")], "partitions.nvs.offset_bytes must be at least 0x9000"),
        ([(_NVS, _NVS.replace("0x6000", "0x2000"))], "partitions.nvs.size_bytes must be at least 0x3000"),
        (
            [(_JOURNAL, _JOURNAL.replace("0x40000", "0x41000"))],
            "partitions.journal.size_bytes goes to 0x401000; the flash ends at 0x400000",
        ),
        ([(_JOURNAL, _JOURNAL.replace("0x40000", "0x8000"))], "partitions.journal.size_bytes must be at least 0x9000"),
        (
            [_LARGER, (_JOURNAL, _JOURNAL.replace("0x40000", "0x200000"))],
            "partitions.journal.size_bytes must be at most 0x1ff000, 511 sectors",
        ),
        ([("subtype = 0x40", "subtype = 0x41")], "partitions.journal must be of type data and subtype 0x40"),
        ([("subtype = 0x40", "subtype = 0xFF")], "partitions.journal.subtype must be 0 to 0xfe"),
        ([("subtype = 0x40", 'subtype = "fat"')], "partitions.journal must be of type data and subtype 0x40"),
        ([('subtype = "nvs"', 'subtype = "env"')], "partitions.nvs.subtype must be 'phy' or 'nvs' or 'fat', not 'env'"),
        (
            [('type = "app", subtype = "factory"', 'type = "data", subtype = "fat"')],
            "partitions.factory must be of type app",
        ),
        ([('{ type = "app",', '{ type = "code",')], "partitions.factory.type must be 'app' or 'data', not 'code'"),
        ([("subtype = 0x40,", "subtype = 0x40, size = 1,")], "partitions.journal.size is not known"),
        ([(_JOURNAL, "size_bytes = 0x40000")], "partitions.journal.offset_bytes is missing"),
        ([("[partitions]", "[journal]\nsize_bytes = 0x40000\n[partitions]")], "journal is not known"),
        ([("[partitions]", "[parts]")], "partitions is missing"),
    ],
)
def test_a_layout_that_cannot_work_is_named_with_file_and_key(load, changes: list[tuple[str, str]], message: str):
    with pytest.raises(BoardError) as caught:
        load(*changes)
    assert f"esp32-pos/board.toml: {message}" in str(caught.value)


def test_a_table_out_of_the_flashs_order_is_refused(load):
    text = (BOARDS / "esp32-pos/board.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines(keepends=True) if line.startswith(("settings = ", "journal = "))]
    with pytest.raises(BoardError, match="partitions.settings.offset_bytes lies before journal"):
        load(("".join(lines), "".join(reversed(lines))))


def test_other_layouts_are_possible(load):
    """A larger flash with the longest journal, and a partition of one's own."""
    own = 'extra = { type = "data", subtype = 0x99, offset_bytes = 0x5BF000, size_bytes = 0x1000 }\n'
    board = load(_LARGER, (_JOURNAL + " }\n", _JOURNAL.replace("0x40000", "0x1FF000") + " }\n" + own))
    assert board.journal["size_bytes"] == 511 * 4096
    assert board.partition("extra") == Partition("extra", "data", 0x99, 0x5BF000, 0x1000)
