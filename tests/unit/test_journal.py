"""The journal under power cuts at every byte of every flash operation, decayed bits, and a full flash.

`NorFlash` is flash as it behaves: programming only clears bits, an operation that is cut leaves bits half done, and
such bits may read differently every time until they are programmed or erased again.
"""

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import micropython

journal_module = micropython.import_on_cpython("storage.journal")
errors = micropython.import_on_cpython("storage.errors")
FlashError = micropython.import_on_cpython("ports.errors").FlashError
Journal = journal_module.Journal

SECTOR_BYTES = 128  # small, so that every byte of a whole history can be tried; the real port has 4096
FLASH_BYTES = 8 * SECTOR_BYTES


class PowerCut(Exception):
    pass


class NorFlash:
    """Counts the bytes it changes and loses power after `cut_after` of them (None: never)."""

    def __init__(self, size_bytes: int = FLASH_BYTES, sector_size_bytes: int = SECTOR_BYTES) -> None:
        self.size_bytes = size_bytes
        self.sector_size_bytes = sector_size_bytes
        self.cells = bytearray(b"\xff" * size_bytes)
        self.unstable: dict[int, int] = {}  # offset -> bits that read as they like
        self.noise = random.Random(1)
        self.cut_after: int | None = None
        self.changed_bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size_bytes
        data = bytearray(self.cells[offset : offset + length])
        for place, bits in self.unstable.items():
            if offset <= place < offset + length:
                data[place - offset] ^= bits & self.noise.getrandbits(8)
        return bytes(data)

    def _change(self, offset: int, byte: int) -> None:
        if self.cut_after is not None and self.changed_bytes >= self.cut_after:
            self.unstable[offset] = self.cells[offset] ^ byte
            raise PowerCut
        self.changed_bytes += 1
        self.cells[offset] = byte
        self.unstable.pop(offset, None)

    def program(self, offset: int, data: bytes) -> None:
        assert 0 <= offset <= offset + len(data) <= self.size_bytes
        for place, byte in enumerate(data, offset):
            if byte & ~(self.cells[place] | self.unstable.get(place, 0)):
                raise FlashError("program would set a bit")
            if byte != 0xFF:  # FF moves no charge
                self._change(place, byte & self.cells[place])

    def erase(self, offset: int) -> None:
        assert offset % self.sector_size_bytes == 0
        assert 0 <= offset < self.size_bytes
        for place in range(offset, offset + self.sector_size_bytes):
            self._change(place, 0xFF)


def record(seq: int, length: int = 20) -> bytes:
    return struct.pack(">I", seq) + bytes((seq * 31 + n) & 0xFF for n in range(length - 4))


def contents(journal: object) -> list[bytes]:
    return list(journal.records(journal.first_seq))  # type: ignore[attr-defined]


class History:
    """What a device did with its journal, and what it may find after a power cut."""

    def __init__(self, flash: NorFlash) -> None:
        self.flash = flash
        self.first, self.head = 1, 0
        self.may_be = [(1, 0)]  # (first, head) allowed after a cut: before or after the operation in flight

    def run(self) -> None:
        """Fills more than a bank, with records of several lengths, moving twice, once keeping nothing."""
        journal = Journal(self.flash)
        for seq in range(1, 15):
            self._step(lambda seq=seq: journal.append(record(seq, 4 + seq * 3 % 23)), (self.first, seq))
            if seq == 7:
                self._step(lambda: journal.drop_below(5), (5, 7))
            if seq == 12:
                self._step(lambda: journal.drop_below(13), (13, 12))
        assert (journal.first_seq, journal.head_seq) == (self.first, self.head) == (13, 14)

    def _step(self, operation: Callable[[], None], after: tuple[int, int]) -> None:
        self.may_be = [(self.first, self.head), after]
        operation()
        self.first, self.head = after
        self.may_be = [after]


def expected(first: int, head: int) -> list[bytes]:
    return [record(seq, 4 + seq * 3 % 23) for seq in range(first, head + 1)]


def whole_history_bytes() -> int:
    flash = NorFlash()
    History(flash).run()
    return flash.changed_bytes


def cut_history(cut_after: int) -> History:
    history = History(NorFlash())
    history.flash.cut_after = cut_after
    with pytest.raises(PowerCut):
        history.run()
    history.flash.cut_after = None
    return history


@pytest.mark.parametrize("part", range(8))
def test_power_cut_at_every_byte_loses_nothing_that_returned(part: int) -> None:
    total = whole_history_bytes()
    assert total > 1500  # appends, two moves with their erases
    for cut_after in range(part, total, 8):
        history = cut_history(cut_after)
        journal = Journal(history.flash)
        found = (journal.first_seq, journal.head_seq)
        assert found in history.may_be, cut_after
        assert contents(journal) == expected(*found), cut_after
        assert not history.flash.unstable, f"{cut_after}: bits left that may read differently next time"
        # What was found stays so for ever, and the journal goes on.
        again = Journal(history.flash)
        assert contents(again) == expected(*found), cut_after
        again.append(record(found[1] + 1))
        assert contents(Journal(history.flash))[:-1] == expected(*found), cut_after


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_cuts_during_recovery_from_cuts(data: st.DataObject) -> None:
    """Opening is cut again and again before it succeeds once."""
    history = cut_history(data.draw(st.integers(0, whole_history_bytes() - 1)))
    history.flash.noise.seed(data.draw(st.integers(0, 1000)))
    for _ in range(data.draw(st.integers(1, 4))):
        history.flash.cut_after = history.flash.changed_bytes + data.draw(st.integers(0, 700))
        try:
            Journal(history.flash)
        except PowerCut:
            pass
        else:
            break
    history.flash.cut_after = None
    journal = Journal(history.flash)
    found = (journal.first_seq, journal.head_seq)
    assert found in history.may_be
    assert contents(journal) == expected(*found)
    assert contents(Journal(history.flash)) == expected(*found)


def test_every_decayed_bit_of_committed_data_is_noticed_or_harmless() -> None:
    """A bit that flips in records or headers is an error or changes nothing; it never drops or alters a record."""
    flash = NorFlash()
    journal = Journal(flash)
    records = [record(seq, 4 + seq % 9) for seq in range(1, 8)]
    for item in records:
        journal.append(item)
    noticed = 0
    for place in range(flash.size_bytes):
        for bit in range(8):
            damaged = NorFlash()
            damaged.cells[:] = flash.cells
            damaged.cells[place] ^= 1 << bit
            try:
                found = contents(Journal(damaged))
            except errors.JournalCorrupt:
                noticed += 1
            else:
                assert found == records, (place, bit)
    # Every bit of the bank's header (16 bytes) and of each record's header (8) and payload must count. A bit cleared
    # where the next mark will be looks like a mark without its record: service rather than a guess.
    assert noticed == 8 * (16 + sum(8 + len(item) for item in records) + 4)


def test_corrupt_is_refused_without_touching_the_flash() -> None:
    flash = NorFlash()
    journal = Journal(flash)
    journal.append(record(1))
    journal.append(record(2))
    place = flash.cells.find(record(1))
    flash.cells[place + 6] ^= 4
    before = bytes(flash.cells)
    with pytest.raises(errors.JournalCorrupt, match="record 1"):
        Journal(flash)
    with pytest.raises(errors.JournalCorrupt):
        list(journal.records(1))
    assert bytes(flash.cells) == before


def test_flash_with_something_else_on_it_is_not_taken_for_new() -> None:
    flash = NorFlash()
    flash.cells[600] = 0x12
    with pytest.raises(errors.JournalCorrupt, match="service"):
        Journal(flash)
    assert flash.changed_bytes == 0


def test_two_records_without_mark_are_damage_and_not_a_torn_tail() -> None:
    flash = NorFlash(size_bytes=16384, sector_size_bytes=4096)
    journal = Journal(flash)
    for seq in (1, 2, 3):
        journal.append(record(seq, 1500))
    place = flash.cells.find(record(2, 1500))
    flash.cells[place - 4 : place] = b"\xff" * 4
    with pytest.raises(errors.JournalCorrupt, match="without mark"):
        Journal(flash)


def test_reserve_and_full() -> None:
    flash = NorFlash()
    journal = Journal(flash)
    seq = 1
    while journal.reserve(2, 40):
        journal.append(record(seq, 21))
        seq += 1
    assert seq > 5
    # What was promised fits, in the worst split of lengths.
    if journal.reserve(1, 21):
        journal.append(record(seq, 21))
        seq += 1
    while journal.reserve(1, 4):
        journal.append(record(seq, 4))
        seq += 1
    before = bytes(flash.cells)
    with pytest.raises(errors.JournalFull):
        journal.append(record(seq, 30))
    assert bytes(flash.cells) == before
    journal.drop_below(seq - 1)
    journal.append(record(seq, 30))
    assert contents(Journal(flash))[-1] == record(seq, 30)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(4, 60), min_size=1, max_size=6))
def test_reserve_true_means_that_the_records_fit(lengths: list[int]) -> None:
    flash = NorFlash()
    journal = Journal(flash)
    while journal.reserve(len(lengths) + 1, sum(lengths) + 5):
        journal.append(record(journal.head_seq + 1, 5))
    assert journal.reserve(len(lengths), sum(lengths))
    for length in lengths:
        journal.append(record(journal.head_seq + 1, length))


@pytest.mark.parametrize("bad", [record(1), record(3), record(0), b"\0\0\0", b"", record(2, 2305)])
def test_wrong_records_are_refused_and_nothing_is_written(bad: bytes) -> None:
    flash = NorFlash(size_bytes=32768, sector_size_bytes=4096)
    journal = Journal(flash)
    journal.append(record(1))
    before = bytes(flash.cells)
    with pytest.raises(ValueError, match="record"):
        journal.append(bad)
    assert bytes(flash.cells) == before
    journal.append(record(2, 2304))
    assert contents(Journal(flash)) == [record(1), record(2, 2304)]


def test_single_records_and_iteration_from_anywhere() -> None:
    flash = NorFlash(size_bytes=16384, sector_size_bytes=4096)
    journal = Journal(flash)
    assert (journal.first_seq, journal.head_seq, contents(journal)) == (1, 0, [])
    for seq in range(1, 60):
        journal.append(record(seq, 4 + seq))
    journal.drop_below(10)
    for opened in (journal, Journal(flash)):
        assert (opened.first_seq, opened.head_seq) == (10, 59)
        for seq in range(10, 60):
            assert opened.record(seq) == record(seq, 4 + seq)
            assert next(opened.records(seq)) == record(seq, 4 + seq)
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
    journal.drop_below(11)
    with pytest.raises(ValueError, match="moved"):
        next(reading)


def test_dropping_everything_keeps_the_count() -> None:
    flash = NorFlash()
    journal = Journal(flash)
    journal.append(record(1))
    journal.append(record(2))
    journal.drop_below(3)
    opened = Journal(flash)
    assert (opened.first_seq, opened.head_seq, contents(opened)) == (3, 2, [])
    with pytest.raises(ValueError, match="next"):
        opened.append(record(1))
    opened.append(record(3))
    assert contents(Journal(flash)) == [record(3)]


@pytest.mark.parametrize("lies", [False, True])
def test_failing_flash_makes_the_journal_refuse_until_it_is_opened_again(lies: bool) -> None:
    class Failing(NorFlash):
        is_failing = False

        def program(self, offset: int, data: bytes) -> None:
            if not self.is_failing:
                super().program(offset, data)
            elif lies:  # reports success and keeps only half
                super().program(offset, data[: len(data) // 2])
            else:
                raise FlashError("failed")

    flash = Failing()
    journal = Journal(flash)
    journal.append(record(1))
    flash.is_failing = True
    with pytest.raises(errors.JournalUncertain):
        journal.append(record(2))
    flash.is_failing = False
    for operation in (
        lambda: journal.append(record(2)),
        lambda: journal.record(1),
        lambda: journal.records(1),
        lambda: journal.drop_below(2),
    ):
        with pytest.raises(errors.JournalUncertain):
            operation()
    opened = Journal(flash)
    assert contents(opened) == [record(1)]
    opened.append(record(2))


def test_on_micropython_with_its_flash_file(tmp_path: object) -> None:
    """Compiled, on the unix port's flash: 300 records, a move, a torn tail, within the device's heap."""
    script = """
import gc, json
from ports import unix as port
from storage.errors import JournalCorrupt
from storage.journal import Journal
flash = port.open_flash({"label": "journal", "size_bytes": 131072})
def record(seq):
    return seq.to_bytes(4, "big") + bytes([seq & 0xFF]) * (100 + seq % 7)
journal = Journal(flash)
for seq in range(1, 301):
    journal.append(record(seq))
programs_per_append = (flash.program_count - 2) / 300
journal.drop_below(120)
journal.append(record(301))
flash.program(journal._end, b"\\x4a\\x5a\\x00\\x40torn")
gc.collect()
before = gc.mem_alloc()
journal = Journal(flash)
gc.collect()
kept_bytes = gc.mem_alloc() - before
ok = all(item == record(seq) for seq, item in enumerate(journal.records(120), 120))
journal.append(record(302))
first = (journal.first_seq, journal.head_seq)
place = journal._place(200) + 40
byte = flash.read(place, 1)[0]
flash.program(place, bytes([byte & byte - 1]))
try:
    Journal(flash)
    refused = ""
except JournalCorrupt as error:
    refused = str(error)
print(json.dumps([programs_per_append, ok, first, refused, kept_bytes]))
"""
    programs, ok, found, refused, kept_bytes = micropython.run_json(script, environment={"JIAOZI_STATE": str(tmp_path)})
    assert programs == pytest.approx(2, abs=0.02)  # the record and its mark; erasing is never on the payment path
    assert ok
    assert found == [120, 302]
    assert "record 200" in refused
    assert kept_bytes < 2000
