"""The journal under power cuts at every byte of every flash operation, decayed bits, and a full flash.

Sectors are small here, so that every byte of a whole history can be tried; the last tests take the ports' 4096.
"""

import contextlib
import copy
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import micropython
from tests.unit.nor_flash import EncryptedFlash, FlashError, NorFlash, PowerCut

journal_module = micropython.import_on_cpython("storage.journal")
journal_format = micropython.import_on_cpython("storage.journal_format")
errors = micropython.import_on_cpython("storage.errors")
Journal = journal_module.Journal

UNIT_BYTES = 32
SECTOR_BYTES = 256
SECTORS = 14
FLASH_BYTES = SECTORS * SECTOR_BYTES

both_kinds = pytest.mark.parametrize("kind", [NorFlash, EncryptedFlash])


def small(kind: type[NorFlash] = NorFlash) -> NorFlash:
    return kind(FLASH_BYTES, SECTOR_BYTES)


def record(seq: int, length: int = 20) -> bytes:
    return struct.pack(">I", seq) + bytes((seq * 31 + n) & 0xFF for n in range(length - 4))


def of_history(seq: int) -> bytes:
    return record(seq, 4 + seq * 37 % 90)


def contents(journal: Any) -> list[bytes]:
    return list(journal.records(journal.first_seq))


class Taken:
    """What an opening hands out, as an owner keeps it."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def __call__(self, payload: bytes, first: bool) -> None:
        assert first or self.payloads
        if first:
            self.payloads.clear()
        self.payloads.append(payload)


class Bits(random.Random):
    """Noise that is always the same."""

    def __init__(self, bits: int) -> None:
        super().__init__(0)
        self.bits = bits

    def getrandbits(self, k: int, /) -> int:
        return self.bits


def open_journal(flash: NorFlash, may_format: bool = True) -> Any:
    """Opens, and checks what holds for every opening."""
    taken = Taken()
    flash.forget_reads()
    journal = Journal(flash, taken, may_format)
    assert max(flash.reads) <= 1, "a byte was read twice"
    kept = contents(journal)
    assert taken.payloads[len(taken.payloads) - len(kept) :] == kept  # and before them perhaps some that were dropped
    return journal


def cut_in(flash: NorFlash, after: int, operation: Callable[[], object]) -> bool:
    """Whether `operation` was cut, `after` bytes from now on."""
    flash.cut_after = flash.changed_bytes + after
    try:
        operation()
    except PowerCut:
        return True
    finally:
        flash.cut_after = None
    return False


class History:
    """What a device does with its journal: every step, with what may be found if it is cut."""

    def __init__(self, flash: NorFlash) -> None:
        self.flash = flash
        self.first, self.head = 1, 0
        self.journal: Any = None

    def steps(self) -> Iterator[tuple[Callable[["History"], None], int]]:
        """(step, the head after it): appends of several lengths, drops, tidying and openings, round the flash."""
        yield History.open, 0
        for seq in range(1, 31):
            yield History.append, seq
            if seq % 6 == 5:
                yield History.drop, seq
            if seq % 2 == 0:
                yield History.tidy, seq
            if seq % 7 == 3:
                yield History.open, seq
                yield History.open, seq
        yield History.open, 30

    def open(self) -> None:
        self.journal = open_journal(self.flash)
        if self.journal.first_seq < self.first:
            self.journal.drop_below(self.first)

    def append(self) -> None:
        self.journal.append(of_history(self.journal.head_seq + 1))
        self.head = self.journal.head_seq

    def drop(self) -> None:
        self.first = self.head - 2
        self.journal.drop_below(self.first)

    def tidy(self) -> None:
        self.journal.tidy()


def check(flash: NorFlash, first: int, heads: set[int]) -> int:
    """A journal with a head of `heads` is found, with all records from `first` on, and stays. Returns the head."""
    journal = open_journal(flash)
    head = journal.head_seq
    assert head in heads
    assert journal.first_seq <= first
    assert contents(journal) == [of_history(seq) for seq in range(journal.first_seq, head + 1)]
    again = open_journal(flash.copy())  # bits that were left undecided read otherwise now
    assert again.head_seq == head
    assert again.first_seq <= first
    assert contents(again) == [of_history(seq) for seq in range(again.first_seq, head + 1)]
    return head


def go_on(flash: NorFlash, first: int, head: int) -> None:
    """The journal can be used as ever."""
    journal = open_journal(flash)
    journal.drop_below(max(first, head))
    while journal.tidy():
        pass
    for seq in range(head + 1, head + 4):
        journal.append(of_history(seq))
    check(flash, max(first, head), {head + 3})


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


def test_flash_without_a_journal_is_left_alone_unless_it_may_be_made_new() -> None:
    for filling in (b"\xff", b"\x00", b"JZJ1"):
        flash = small()
        flash.cells[:] = (filling * FLASH_BYTES)[:FLASH_BYTES]
        with pytest.raises(errors.JournalCorrupt, match="no journal found"):
            Journal(flash, None, False)
        assert flash.changed_bytes == 0
        open_journal(flash).append(record(1))
        assert contents(open_journal(flash, False)) == [record(1)]


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
    journal = open_journal(flash)
    for seq in range(1, 9):
        journal.append(of_history(seq))
    journal.append(record(9))
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
    journal = open_journal(flash)
    for seq in range(1, 13):
        journal.append(of_history(seq))
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
    journal = open_journal(flash)
    for seq in range(1, 13):
        journal.append(of_history(seq))
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
    journal = open_journal(flash)
    for seq in range(1, 13):
        journal.append(of_history(seq))
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
        journal = open_journal(flash)
        for seq in range(1, 13):
            journal.append(of_history(seq))
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


def test_a_journal_opens_with_its_own_secret_only() -> None:
    flash = small()
    Journal(flash, salt=b"mine").append(record(1))
    assert Journal(flash, None, False, b"mine").record(1) == record(1)
    with pytest.raises(errors.JournalCorrupt):
        Journal(flash, None, False, b"other")


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
    journal = open_journal(flash)
    for seq in range(1, 8):
        journal.append(of_history(seq))
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
