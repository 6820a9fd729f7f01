"""docs/storage.md cannot drift: its figures are made again here, by writing all those payments."""

import re
from pathlib import Path

import pytest

from host_tools.images.boards import load_board
from protocol import records
from protocol.limits import REQUEST_BLOCK
from tests import micropython
from tests.persistence import settings_figures, storage_figures

DOCUMENT = (Path(__file__).parents[2] / "docs" / "storage.md").read_text()
TABLE = re.findall(r"^\| (wallet|terminal) \| (\d+) KB \| ([\d,]+) \| ([\d,]+) \|$", DOCUMENT, re.MULTILINE)

journal = micropython.import_on_cpython("storage.journal")
journal_format = micropython.import_on_cpython("storage.journal_format")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[1]}")
def test_payments_and_years_are_as_stated(row: tuple[str, str, str, str]) -> None:
    use = storage_figures.USES[row[0]]
    figures = storage_figures.payments_until_full(use, int(row[1])), storage_figures.years_of_life(use, int(row[1]))
    assert tuple(f"{figure:,}" for figure in figures) == row[2:]


def test_the_table_is_whole() -> None:
    stated = {(device, int(size_kb)) for device, size_kb, _, _ in TABLE}
    assert stated == {(device, kb) for device in storage_figures.USES for kb in storage_figures.PARTITIONS_KB}
    assert len(TABLE) == len(stated)


def test_a_terminal_has_2400_payments_in_a_megabyte() -> None:
    assert storage_figures.payments_until_full(storage_figures.TERMINAL, 1024) >= 2400


def test_the_text_gives_the_code_s_numbers() -> None:
    text = " ".join(DOCUMENT.split())
    assert f"debit {records.DEBIT_RECORD_BYTES} bytes and closing {records.CLOSING_MAX_BYTES}" in text
    assert f"credit {records.CREDIT_RECORD_BYTES})" in text
    assert f"{storage_figures.ERASES_OF_FLASH:,} times" in text
    assert f"makes {storage_figures.WALLET.payments_a_day} payments a day" in text
    assert f"the terminal {storage_figures.TERMINAL.payments_a_day:,} (" in text
    assert storage_figures.STARTS_A_DAY == 10
    assert "ten starts a day" in text
    assert f"128 units of {journal_format.UNIT_BYTES} bytes" in text
    assert 128 * journal_format.UNIT_BYTES == 4096
    for name, words in (("_SPARE_SECTORS", "six sectors that no new"), ("_LAST_SECTORS", "two sectors that no record")):
        assert {"six": 6, "two": 2}[words.split()[0]] == getattr(journal, name)
        assert words in text
    assert f"needs {journal._SECTORS_MIN} sectors ({journal._SECTORS_MIN * 4} KB)" in text
    assert f"{journal._SECTORS_MAX} at most" in text
    note = journal_format.note(1, 0, 0, 0)
    record = journal_format.stored_record(1, b"1234")
    assert f"magic `{note[:2].hex().upper()}`" in text
    assert f"magic `{record[:2].hex().upper()}`" in text
    assert len(note) == journal_format.UNIT_BYTES


def test_years_of_the_settings_are_as_stated() -> None:
    total, most = settings_figures.erases()
    assert round(total) == 2
    changes = settings_figures.changes_until_worn(most)
    stated = 400_000
    assert stated * 0.9 < changes < stated * 1.1  # littlefs begins at a block of its own choice
    text = " ".join(DOCUMENT.split())
    assert "about two erases" in text
    assert f"Of its {settings_figures.PARTITION_KB} KB" in text
    assert f"{stated:,} changes" in text
    assert f"the next {REQUEST_BLOCK} request numbers" in text
    years = stated // (365 * storage_figures.STARTS_A_DAY)
    assert f"ten starts a day that lasts {years} years" in text
    checks = settings_figures.PIN_CHECKS_A_DAY * settings_figures.CHANGES_OF_A_CHECK
    assert f"asked for {settings_figures.PIN_CHECKS_A_DAY} times a day" in text
    assert f"{stated // (365 * (storage_figures.STARTS_A_DAY + checks))} years." in text


@pytest.mark.parametrize("board", ["esp32-pos", "esp32c3-card", "esp32s3-pos"])
def test_boards_have_settings_of_that_size(board: str) -> None:
    assert load_board(board).partition("settings").size_bytes == settings_figures.PARTITION_KB * 1024
