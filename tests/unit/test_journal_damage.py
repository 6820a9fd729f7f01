"""The journal on flash that has decayed or lost a part: noticed, or of no account."""

import pytest

from tests import micropython
from tests.unit.journal_history import (
    FLASH_BYTES,
    SECTOR_BYTES,
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
from tests.unit.nor_flash import NorFlash

journal_format = micropython.import_on_cpython("storage.journal_format")


def test_every_decayed_bit_of_committed_data_is_noticed_or_harmless() -> None:
    """A bit that flips in a record is an error; in a note, in a sector's head or where nothing is, it is nothing."""
    flash = small()
    journal = open_journal(flash)
    records = [record(seq, 4 + seq * 9) for seq in range(1, 9)]
    for item in records:
        journal.append(item)
    noticed = 0
    for place in range(6 * SECTOR_BYTES):
        for bit in range(8):
            damaged = flash.copy()
            damaged.cells[place] ^= 1 << bit
            try:
                found = contents(Journal(damaged))
            except errors.JournalCorrupt:
                noticed += 1
            else:
                assert found == records, (place, bit)
    assert noticed == 8 * sum(8 + len(item) for item in records)


def test_a_lost_note_is_made_up_for_by_what_follows() -> None:
    """Both copies of one note destroyed, head units included; only that of the very last record cannot be missed."""
    flash = small()
    filled(flash, 8).append(record(9))
    notes = [
        unit
        for unit in range(FLASH_BYTES // UNIT_BYTES)
        if journal_format.note_in(flash.cells[unit * UNIT_BYTES : (unit + 1) * UNIT_BYTES], 0)
    ]
    assert len(notes) > 12
    for unit in notes:
        damaged = flash.copy()
        damaged.cells[unit * UNIT_BYTES : (unit + 1) * UNIT_BYTES] = bytes(UNIT_BYTES)
        head = open_journal(damaged).head_seq
        assert head == (9 if unit != notes[-1] else 8)


@both_kinds
def test_corrupt_is_refused_without_touching_the_flash(kind: type[NorFlash]) -> None:
    """Each record in turn: the first one, those in the middle, the first and last of a sector, the newest."""
    flash = small(kind)
    journal = filled(flash, 12)
    for seq in range(1, 13):
        damaged = flash.copy()
        unit = journal._find(seq)[0]
        damaged.cells[unit * UNIT_BYTES + 13] ^= 4
        for may_format in (False, True):
            with pytest.raises(errors.JournalCorrupt, match=f"record {seq} "):
                Journal(damaged, None, may_format)
        assert damaged.changed_bytes == 0
        flash.cells[unit * UNIT_BYTES + 13] ^= 4
        with pytest.raises(errors.JournalCorrupt, match=f"record {seq} "):
            journal.record(seq)
        flash.cells[unit * UNIT_BYTES + 13] ^= 4


@both_kinds
def test_a_record_lost_with_its_note_is_damage_if_another_follows(kind: type[NorFlash]) -> None:
    flash = small(kind)
    journal = filled(flash, 12)
    for seq in range(1, 12):
        damaged = flash.copy()
        unit = journal._find(seq)[0]
        count = journal_format.units_of(len(of_history(seq))) + 1
        damaged.cells[unit * UNIT_BYTES : (unit + count) * UNIT_BYTES] = bytes(count * UNIT_BYTES)
        with pytest.raises(errors.JournalCorrupt, match=f"record {seq} "):
            Journal(damaged)
        assert damaged.changed_bytes == 0


@both_kinds
def test_a_lost_sector_is_damage_and_not_the_end(kind: type[NorFlash]) -> None:
    flash = small(kind)
    journal = filled(flash, 12)
    newest = (journal._next - 1) * UNIT_BYTES // SECTOR_BYTES
    assert newest >= 4
    for sector in range(newest):
        damaged = flash.copy()
        damaged.cells[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = b"\xff" * SECTOR_BYTES
        with pytest.raises(errors.JournalCorrupt, match="cannot be read"):
            Journal(damaged)


def test_damage_in_what_was_dropped_is_of_no_account() -> None:
    for damaged_sector in range(4):
        flash = small()
        journal = filled(flash, 12)
        journal.drop_below(12)
        assert journal._tail >= 4
        damaged = flash.copy()
        for place in range(damaged_sector * SECTOR_BYTES, (damaged_sector + 1) * SECTOR_BYTES):
            damaged.unstable[place] = damaged.noise.getrandbits(8)
        assert contents(open_journal(damaged))[-1] == of_history(12)


def test_a_dropped_sector_that_is_erased_half_way_ends_where_it_ends() -> None:
    """Its first records can be read, the next ones not, and those of the sector after it count."""
    flash = small()
    journal = open_journal(flash)
    while journal.head_seq < 30 and len(journal._places) < 5:
        journal.append(record(journal.head_seq + 1, 4))
    head = journal.head_seq
    journal.drop_below(head)
    tail = journal._tail
    assert tail >= 3
    damaged = flash.copy()
    for place in range((tail - 1) * SECTOR_BYTES + 3 * UNIT_BYTES, tail * SECTOR_BYTES):
        damaged.cells[place] = 0x55
    again = open_journal(damaged)
    assert (again.head_seq, contents(again)[-1]) == (head, record(head, 4))
