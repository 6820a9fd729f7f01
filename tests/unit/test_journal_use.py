"""The journal in use: appending, reading, dropping, a flash that is full, foreign or failing."""

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.journal_history import (
    FLASH_BYTES,
    SECTOR_BYTES,
    SECTORS,
    UNIT_BYTES,
    Journal,
    both_kinds,
    contents,
    errors,
    filled,
    of_history,
    open_journal,
    record,
    small,
)
from tests.unit.nor_flash import FlashError, NorFlash


def test_flash_without_a_journal_is_left_alone_unless_it_may_be_made_new() -> None:
    for filling in (b"\xff", b"\x00", b"JZJ1"):
        flash = small()
        flash.cells[:] = (filling * FLASH_BYTES)[:FLASH_BYTES]
        with pytest.raises(errors.JournalCorrupt, match="no journal found"):
            Journal(flash, None, False)
        assert flash.changed_bytes == 0
        open_journal(flash).append(record(1))
        assert contents(open_journal(flash, False)) == [record(1)]


def test_a_journal_opens_with_its_own_secret_only() -> None:
    flash = small()
    Journal(flash, salt=b"mine").append(record(1))
    assert Journal(flash, None, False, b"mine").record(1) == record(1)
    with pytest.raises(errors.JournalCorrupt):
        Journal(flash, None, False, b"other")


@both_kinds
def test_an_append_is_two_programs_and_no_erase_and_each_unit_is_programmed_once(kind: type[NorFlash]) -> None:
    """`NorFlash` itself refuses to program a unit twice."""
    flash = small(kind)
    journal = open_journal(flash)
    for seq in range(1, 200):
        before = (flash.program_count, flash.erase_count)
        journal.append(of_history(seq))
        assert (flash.program_count - before[0], flash.erase_count - before[1]) == (2, 0)
        if seq % 4 == 0:
            journal.drop_below(seq - 3)
        journal.tidy()
    assert min(flash.erase_counts) > 5


@both_kinds
def test_wear_is_level(kind: type[NorFlash]) -> None:
    flash = small(kind)
    journal = open_journal(flash)
    for seq in range(1, 800):
        journal.append(of_history(seq))
        if seq % 5 == 0:
            journal.drop_below(seq)
        journal.tidy()
        if seq % 7 == 0:
            journal = open_journal(flash)
    assert min(flash.erase_counts) > 20
    assert max(flash.erase_counts) - min(flash.erase_counts) <= 1


def test_reserve_and_full() -> None:
    flash = small()
    journal = open_journal(flash)
    seq = 1
    while journal.reserve(2, 40):
        journal.append(record(seq, 21))
        seq += 1
    assert seq > 5
    while journal.reserve(1, 4):
        journal.append(record(seq, 4))
        seq += 1
    # What was promised may go further than new promises.
    before = b""
    with contextlib.suppress(errors.JournalFull):
        while before != flash.cells:
            before = bytes(flash.cells)
            journal.append(record(journal.head_seq + 1, 30))
    assert before == flash.cells
    assert journal.head_seq > seq
    # Dropping makes some space at once, tidying the rest of it.
    erased = flash.erase_count
    journal.drop_below(journal.head_seq)
    assert journal.reserve(1, 30)
    for _ in range(SECTORS):
        before_one = flash.erase_count
        if not journal.tidy():
            break
        assert flash.erase_count == before_one + 1
    assert flash.erase_count - erased > SECTORS - 4
    assert not journal.tidy()
    journal.append(record(journal.head_seq + 1, 30))
    assert contents(open_journal(flash))[-1] == record(journal.head_seq, 30)


@both_kinds
def test_a_full_journal_can_be_opened_hundreds_of_times(kind: type[NorFlash]) -> None:
    """And what it had promised is there after 250 of them, whatever was written in between."""
    flash = kind(12 * 4096)
    journal = open_journal(flash)
    while journal.reserve(3, 332 + 241 + 2252):
        journal.append(record(journal.head_seq + 1, 332))
    for _ in range(250):
        journal = Journal(flash)
    assert not journal.reserve(1, 4)
    assert journal.reserve(2, 241 + 2252, True)
    journal.append(record(journal.head_seq + 1, 241))
    assert journal.reserve(1, 2252, True)
    journal.append(record(journal.head_seq + 1, 2252))
    head = journal.head_seq
    openings = 0
    with contextlib.suppress(errors.JournalFull):
        while openings < 1000:
            journal = Journal(flash)
            assert (journal.head_seq, journal.first_seq) == (head, 1)
            openings += 1
    assert 100 <= openings < 1000


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(4, 120), min_size=1, max_size=9), filling=st.integers(4, 60), notes=st.integers(0, 3)
)
def test_reserve_true_means_that_the_records_fit(lengths: list[int], filling: int, notes: int) -> None:
    flash = NorFlash(20 * SECTOR_BYTES, SECTOR_BYTES)
    journal = open_journal(flash)
    for _ in range(notes):
        journal._write_note()
    while journal.reserve(len(lengths) + 1, sum(lengths) + filling):
        journal.append(record(journal.head_seq + 1, filling))
    if journal.head_seq:
        for length in lengths:
            journal.append(record(journal.head_seq + 1, length))


@pytest.mark.parametrize("bad", [record(1), record(3), record(0), b"\0\0\0", b"", record(2, 2305)])
def test_wrong_records_are_refused_and_nothing_is_written(bad: bytes) -> None:
    flash = NorFlash(10 * 4096)
    journal = open_journal(flash)
    journal.append(record(1))
    before = bytes(flash.cells)
    with pytest.raises(ValueError, match="record"):
        journal.append(bad)
    assert bytes(flash.cells) == before
    journal.append(record(2, 2304))
    assert contents(open_journal(flash)) == [record(1), record(2, 2304)]


@pytest.mark.parametrize("sectors", [8, 512])
def test_a_journal_of_a_size_that_cannot_be_is_refused(sectors: int) -> None:
    with pytest.raises(errors.StorageError, match="sectors"):
        Journal(NorFlash(sectors * SECTOR_BYTES, SECTOR_BYTES))


def test_single_records_and_iteration_from_anywhere() -> None:
    flash = NorFlash(16 * 4096)
    journal = open_journal(flash)
    assert (journal.first_seq, journal.head_seq, contents(journal)) == (1, 0, [])
    for seq in range(1, 60):
        journal.append(record(seq, 4 + seq * 7))
        if seq % 9 == 0:
            journal = open_journal(flash)
    journal.drop_below(10)
    again = open_journal(flash)
    again.drop_below(10)
    order = list(range(10, 60))
    for opened in (journal, again):
        random.Random(1).shuffle(order)
        assert (opened.first_seq, opened.head_seq) == (10, 59)
        for seq in order:
            assert opened.record(seq) == record(seq, 4 + seq * 7)
            assert next(opened.records(seq)) == record(seq, 4 + seq * 7)
        assert list(opened.records(60)) == []
        for seq in (9, 61):
            with pytest.raises(ValueError, match="no such record"):
                list(opened.records(seq))
        with pytest.raises(ValueError, match="no such record"):
            opened.record(60)
        with pytest.raises(ValueError, match="no such record"):
            opened.drop_below(61)
    reading = journal.records(10)
    next(reading)
    journal.drop_below(12)
    with pytest.raises(ValueError, match="no such record"):
        next(reading)


def test_dropping_everything_keeps_the_count() -> None:
    flash = small()
    journal = filled(flash, 7)
    journal.drop_below(8)
    assert (journal.first_seq, journal.head_seq, contents(journal)) == (8, 7, [])
    while journal.tidy():
        pass
    opened = open_journal(flash)
    assert opened.head_seq == 7
    opened.drop_below(8)
    with pytest.raises(ValueError, match="next"):
        opened.append(of_history(7))
    opened.append(of_history(8))
    assert contents(opened) == [of_history(8)]


@pytest.mark.parametrize("failure", ["lies", "loses notes", "reports"])
def test_failing_flash_makes_the_journal_refuse_until_it_is_opened_again(failure: str) -> None:
    class Failing(NorFlash):
        is_failing = False

        def program(self, offset: int, data: bytes) -> None:
            if not self.is_failing or failure == "loses notes" and len(data) != UNIT_BYTES:
                super().program(offset, data)
            elif failure == "loses notes":
                super().program(offset, b"\x11" * UNIT_BYTES)
            elif failure == "lies":  # reports success and keeps only half
                super().program(offset, data[: len(data) // 2] + b"\xff" * (len(data) - len(data) // 2))
            else:
                raise FlashError("failed")

    flash = Failing(FLASH_BYTES, SECTOR_BYTES)
    journal = open_journal(flash)
    journal.append(record(1))
    flash.is_failing = True
    with pytest.raises(errors.JournalUncertain):
        journal.append(record(2, 60))
    flash.is_failing = False
    for operation in (
        lambda: journal.append(record(2)),
        lambda: journal.record(1),
        lambda: journal.records(1),
        lambda: journal.drop_below(2),
        lambda: journal.tidy(),
        lambda: journal.reserve(1, 4),
    ):
        with pytest.raises(errors.JournalUncertain):
            operation()
    opened = open_journal(flash)
    assert contents(opened) == [record(1)]
    opened.append(record(2))


def test_a_failing_erase_makes_the_journal_refuse() -> None:
    class Failing(NorFlash):
        def erase(self, offset: int) -> None:
            if self.erase_count == SECTORS:
                raise FlashError("failed")
            super().erase(offset)

    flash = Failing(FLASH_BYTES, SECTOR_BYTES)
    journal = open_journal(flash)
    while journal.reserve(1, 60):
        journal.append(record(journal.head_seq + 1, 60))
    head = journal.head_seq
    with pytest.raises(errors.JournalUncertain):
        journal.drop_below(head)
    assert contents(open_journal(flash))[-1] == record(head, 60)


def test_what_the_owner_finds_wrong_leaves_the_flash_alone() -> None:
    flash = small()
    open_journal(flash).append(record(1))
    changed = flash.changed_bytes

    def refuse(payload: bytes, first: bool) -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        Journal(flash, refuse)
    assert flash.changed_bytes == changed
