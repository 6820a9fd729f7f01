"""The journal under power cuts, at every byte of every flash operation, and what a cut leaves behind."""

import contextlib
import copy
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import micropython
from tests.unit.journal_history import (
    FLASH_BYTES,
    SECTORS,
    UNIT_BYTES,
    History,
    Journal,
    both_kinds,
    check,
    contents,
    cut_in,
    errors,
    go_on,
    of_history,
    open_journal,
    record,
    small,
)
from tests.unit.nor_flash import EncryptedFlash, NorFlash

journal_format = micropython.import_on_cpython("storage.journal_format")


class Bits(random.Random):
    """Noise that is always the same."""

    def __init__(self, bits: int) -> None:
        super().__init__(0)
        self.bits = bits

    def getrandbits(self, k: int, /) -> int:
        return self.bits


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("sectors", [14, 10])
@both_kinds
def test_power_cut_at_every_byte_loses_nothing_that_returned(kind: type[NorFlash], sectors: int, part: int) -> None:
    sector_bytes = 256 if sectors == 14 else 512  # few records in a sector, or many
    history = History(kind(sectors * sector_bytes, sector_bytes))
    history.open()  # how new flash is made has a test of its own
    cuts = 0
    for step, head in history.steps():
        before = copy.deepcopy(history)
        step(history)
        assert (history.journal.first_seq, history.journal.head_seq) == (history.first, head)
        for after in range(part, history.flash.changed_bytes - before.flash.changed_bytes, 4):
            cut = copy.deepcopy(before)
            assert cut_in(cut.flash, after, lambda cut=cut, step=step: step(cut))
            cuts += 1
            cut.flash.is_strict = not cut.flash.encrypted
            found = check(cut.flash, history.first, {before.head, head})
            if after % 16 < 4:
                go_on(cut.flash, history.first, found)
    assert history.flash.erase_count > sectors + 6
    assert cuts > 1000


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_cuts_during_recovery_from_cuts(data: st.DataObject) -> None:
    """Cut anywhere, then opened with a cut again and again; with whole openings in between, whose word must hold."""
    history = History(small(data.draw(st.sampled_from([NorFlash, EncryptedFlash]))))
    steps = list(history.steps())
    cut_step = data.draw(st.integers(0, len(steps) - 1))
    for step, _ in steps[:cut_step]:
        step(history)
    step, head = steps[cut_step]
    flash, first, heads = history.flash, history.first, {history.head, head}
    flash.noise.seed(data.draw(st.integers(0, 1000)))
    if not cut_in(flash, data.draw(st.integers(0, 300)), lambda: step(history)):
        heads = {head}
    first = history.first
    for _ in range(data.draw(st.integers(1, 8))):
        if not cut_in(flash, data.draw(st.integers(0, 70)), lambda: Journal(flash)):
            heads = {check(flash, first, heads)}
    go_on(flash, first, check(flash, first, heads))


@both_kinds
def test_a_sector_whose_head_was_torn_is_used_without(kind: type[NorFlash]) -> None:
    """The record that entered it did not fit in front of it, and the next one does not either."""
    for cut_after in range(40):
        flash = kind(10 * 4096)
        journal = open_journal(flash)
        journal.append(record(1, 2300))
        assert cut_in(flash, cut_after, lambda journal=journal: journal.append(record(2, 2300)))
        for _ in range(20):
            journal = open_journal(flash)
            assert journal.head_seq == 1
        kept = [record(1, 2300), record(2, 4), record(3, 2300), record(4, 2300)]
        for item in kept[1:]:
            journal.append(item)  # the short one makes the head another than was torn
            journal = open_journal(flash)
        assert contents(journal) == kept


@both_kinds
def test_a_torn_record_that_reads_as_valid_is_decided_once(kind: type[NorFlash]) -> None:
    """Not one opening may hand out a record and the next one not, however the last note before the cut reads."""
    cut_after = 0
    for cut_after in range(100):
        history = History(small(kind))
        history.open()
        history.append()
        if not cut_in(history.flash, cut_after, history.append):
            break
        said = {open_journal(history.flash).head_seq for _ in range(4)}
        assert len(said) == 1, cut_after
    assert cut_after > 30


@both_kinds
def test_a_cut_format_is_completed_and_only_where_it_may_be(kind: type[NorFlash]) -> None:
    whole = small(kind)
    open_journal(whole)
    assert whole.erase_counts == [1] * SECTORS
    for cut_after in range(0, whole.changed_bytes, 7):
        flash = small(kind)
        flash.cells[:] = random.Random(cut_after).randbytes(FLASH_BYTES)
        assert cut_in(flash, cut_after, lambda flash=flash: Journal(flash))
        again = flash.copy()
        changed = flash.changed_bytes
        with contextlib.suppress(errors.JournalCorrupt):
            Journal(flash, None, False)
            changed = -1
        assert flash.changed_bytes == changed or changed < 0
        journal = open_journal(again)
        assert (journal.first_seq, journal.head_seq) == (1, 0)
        journal.append(of_history(1))
        check(again, 1, {1})


@both_kinds
def test_what_stands_inside_a_torn_record_is_no_entry(kind: type[NorFlash]) -> None:
    """A payload may hold whole notes and records, even of this journal, of any other unit."""
    inside = record(2, 24)
    for unit in range(16):
        inside += journal_format.note(unit, 0, 4, 0) + journal_format.stored_record(unit, record(2, 4))
    flash = kind(10 * 4096)
    journal = open_journal(flash)
    journal.append(record(1))
    at = journal._next
    assert at < 16
    assert not any(at + 1 + 2 * unit in (unit, unit - 1) for unit in range(16))
    cut = flash.copy()
    assert cut_in(cut, len(inside), lambda: Journal(cut).append(inside))
    found = open_journal(cut)
    assert (found.head_seq, found._tail) == (1, 0)
    journal.append(inside)
    assert contents(open_journal(flash)) == [record(1), inside]


@both_kinds
def test_a_head_that_was_begun_and_not_seen_takes_nothing_back(kind: type[NorFlash]) -> None:
    """It says of its sector what was true when it was begun; what was committed since then is no less committed."""
    seen = 0
    for seed in range(100):
        flash = kind(9 * 4096)
        flash.noise = random.Random(seed)
        journal = open_journal(flash)
        while journal._next % 128 < 110:
            journal.append(record(journal.head_seq + 1, 600))
        head = journal.head_seq + 1
        assert cut_in(flash, 15, lambda journal=journal, head=head: journal.append(record(head, 1000)))
        journal = open_journal(flash, False)
        if journal._next > 128:
            seen += 1
            continue
        journal.append(record(head))
        for _ in range(8):
            assert open_journal(flash, False).head_seq == head
    assert seen < 50 or kind is NorFlash  # elsewhere a unit that was begun is always seen


def test_who_does_not_know_the_secret_writes_no_entry() -> None:
    """A payer knows what its Transfer will look like in the payee's journal and where; the host cuts the append."""

    def cut_in_a_payload(of_payer: int, salt: bytes) -> int:
        flash = NorFlash(10 * 4096)
        journal = Journal(flash, salt=salt)
        journal.append(record(1))
        unit = journal._next
        filling = struct.pack(">I", 2) + bytes(UNIT_BYTES - 12)
        payload = filling + journal_format.stored_record(unit + 1, record(2), of_payer)
        payload += journal_format.note(unit + 2, 0, 10, 0, of_payer) + bytes(100)
        assert cut_in(flash, 5 * UNIT_BYTES, lambda: journal.append(payload))
        return Journal(flash, None, False, salt).head_seq

    assert [cut_in_a_payload(0, salt) for salt in (b"", b"secret 1", b"secret 2")] == [2, 1, 1]


def test_a_void_record_whose_header_comes_back_is_not_read() -> None:
    flash = NorFlash(10 * 4096)
    journal = open_journal(flash)
    journal.append(record(1))
    void = journal._next * UNIT_BYTES
    assert cut_in(flash, 4 * UNIT_BYTES, lambda: journal.append(record(2, 100)))
    flash.unstable[void] = 0x10  # of its magic
    flash.noise = Bits(0xFF)
    journal = open_journal(flash)
    journal.append(record(2))
    flash.noise = Bits(0)
    assert contents(journal) == [record(1), record(2)]
    for bits in (0xFF, 0):
        flash.noise = Bits(bits)
        journal = open_journal(flash)
        flash.noise = Bits(0)
        assert contents(journal) == [record(1), record(2)]
