"""What the journal's flash says after a start: one walk that reads every byte at most once and changes nothing.

First the head unit of every sector: the newest note among them says where the log begins. From there sector by sector,
until a whole sector has nothing more. Anything may be torn anywhere in between; only what notes and records say, with
their own position in the checksum, counts:

- A record is committed if the last note before the next record says that the log ends with it, or if the next record
  has the next seq; it is void if that note says that the log ends before it, or if the next record has its own seq.
- The head of a sector makes nothing void: it may have been cut, long before what the sector before it says.
- A note that says that the log ends where no record ends, or a seq left out, is damage. It is of no account in sectors
  before the tail of the last note: they were dropped and may be half erased.
"""

from array import array

from micropython import const

from storage.errors import JournalCorrupt
from storage.journal_format import RECORD_HEADER_BYTES, UNIT_BYTES, note_in, record_crc, record_in, units_of

_WHOLE = const(2)
_BLANK_UNIT = b"\xff" * UNIT_BYTES


class Recovery:
    """`found`: whether there is a journal at all. `take(payload, first)` gets the records, see `Journal`.

    `tail` and `limit` are sectors: where the log begins, and the first one that is not erased ahead. `end` is the unit
    behind the newest record, `used` the one behind the last that seems to have been programmed. `seqs` and `places`
    say where the first record of each sector is, and each record before which there is one that is void. `headed` is a
    sector whose head is whole for sure, or the oldest.

    Raises JournalCorrupt.
    """

    def __init__(self, flash, take, crc_start: int) -> None:
        self._flash = flash
        self._crc_start = crc_start
        self._take = take
        self._per_sector = flash.sector_size_bytes // UNIT_BYTES
        self._sectors = flash.size_bytes // flash.sector_size_bytes
        self.found = False
        self.limit = self._sectors
        self.first_seq = 1
        self.head_seq = 0
        self.end = 0
        self.seqs = array("I")
        self.places = array("I")
        # The newest record, not given to `take` yet: seq, payload, unit, unit behind it, whether dirt lay before it.
        self._last = (0, b"", 0, 0, False)
        self._committed = False  # whether it is, by the last note
        self._is_dirty = False  # whether what looks like a record but is none lies between it and the next
        self._lost = 1  # the record that cannot be read, if any
        self._heads = bytearray(self._sectors)  # by place: whether one is there or was torn
        self._damaged = -1  # the last sector in which a committed record cannot be read
        newest = self._newest()
        sector = self.tail = self.headed = newest[0] // self._per_sector - newest[3]
        self.used = self._start = sector * self._per_sector
        if newest[1] >= 0:
            self.limit = newest[0] // self._per_sector + newest[2]
        while sector <= newest[0] // self._per_sector or (
            sector <= (self.used - 1) // self._per_sector + 1 and sector < self.limit
        ):
            if newest[1] >= 0 and sector == newest[0] // self._per_sector:
                self._note(newest)
            self._walk(sector)
            sector += 1
        if self._committed:
            self._give()
        if self._damaged >= self.tail or (self.first_seq > 1 if self.tail == 0 else self.head_seq == 0):
            raise JournalCorrupt("record %d cannot be read: service needed" % self._lost)
        number = 0
        while number + 1 < len(self.places) and self.places[number] // self._per_sector < self.tail:
            number += 1
        if number:  # what was dropped may be half erased, and read otherwise next time
            self.seqs = self.seqs[number:]
            self.places = self.places[number:]
            self.first_seq = self.seqs[0]

    def _newest(self) -> tuple[int, int, int, int]:
        """The newest note in a head unit. Without any (the only one may be torn) the log begins in sector 0."""
        newest = (0, -1, 0, 0)
        for index in range(self._sectors):
            offset = index * self._flash.sector_size_bytes
            unit = self._flash.read(offset, UNIT_BYTES)
            note = self._note_in(unit, 0)
            self._heads[index] = _WHOLE if note else self._is_torn(note, unit)
            if note and note[0] % (self._per_sector * self._sectors) * UNIT_BYTES == offset and note[0] >= newest[0]:
                newest = note
        return newest

    def _note_in(self, data: bytes, at: int) -> tuple[int, int, int, int] | None:
        """The note at `at`, if it can be: no distance is longer than the flash, or goes back beyond unit 0."""
        note = note_in(data, at, self._crc_start)
        if note and note[2] <= self._sectors >= note[3] <= note[0] // self._per_sector:
            return note
        return None

    def _is_torn(self, entry, unit: bytes) -> bool:
        """Whether one can see that a unit without an entry was programmed."""
        return not entry and not self._flash.encrypted and unit != _BLANK_UNIT

    def _walk(self, sector: int) -> None:
        """All units of a sector but the first."""
        per_sector = self._per_sector
        if self._heads[sector % self._sectors]:
            self.used = max(self.used, sector * per_sector + 1)
        data = self._flash.read((sector % self._sectors * per_sector + 1) * UNIT_BYTES, (per_sector - 1) * UNIT_BYTES)
        number = 1
        while number < per_sector:
            at = (number - 1) * UNIT_BYTES
            unit = sector * per_sector + number
            number += 1
            note = self._note_in(data, at)
            if note and note[0] == unit:
                self._note(note)
                continue
            looks = record_in(data, at, per_sector - number + 1)
            if looks:
                length, crc, seq = looks
                payload = data[at + RECORD_HEADER_BYTES : at + RECORD_HEADER_BYTES + length]
                behind = unit + units_of(length)
                self.used = max(self.used, behind)
                if record_crc(unit, payload, self._crc_start) == crc:
                    self._record(seq, payload, unit, behind)
                    number += behind - unit - 1
                else:
                    self._is_dirty = True
            elif self._is_torn(looks, data[at : at + UNIT_BYTES]):
                self.used = max(self.used, unit + 1)

    def _note(self, note: tuple[int, int, int, int]) -> None:
        unit, back, ahead, behind = note
        sector = unit // self._per_sector
        self.found = True
        self.used = max(self.used, unit + 1)
        limit = sector + ahead
        tail = sector - behind
        end = unit - back
        if unit % self._per_sector == 0:
            # A head may have been begun and cut, not have been seen, and be older than the notes before it.
            limit = max(sector + 1, min(limit, self.limit))
            tail = max(tail, self.tail)
            if end < (self._last[3] if self._committed else self.end):
                return
        self.limit = limit
        self.tail = tail
        self._committed = end == self._last[3] and end > 0
        if not self._committed and end != self.end and end > self._start:
            self._lose((end - 1) // self._per_sector)
        if back:  # what is void has such a note behind it
            self._is_dirty = True

    def _record(self, seq: int, payload: bytes, unit: int, behind: int) -> None:
        self.found = True
        last_seq, _, last_unit, last_behind, _ = self._last
        sector = unit // self._per_sector
        if seq == last_seq:
            self._is_dirty = True
        elif last_behind and seq == last_seq + 1:
            self._give()
        elif last_behind:
            self._lose(sector - (last_unit // self._per_sector != sector))
            self.head_seq = 0
        self._last = (seq, payload, unit, behind, self._is_dirty)
        self._is_dirty = self._committed = False

    def _lose(self, sector: int) -> None:
        self._lost = self._last[0] + 1
        self._damaged = max(self._damaged, sector)

    def _give(self) -> None:
        seq, payload, unit, self.end, is_dirty = self._last
        first = not self.head_seq
        if first:
            self.first_seq = seq
            self.seqs = array("I")
            self.places = array("I")
        if first or is_dirty or self.places[-1] // self._per_sector != unit // self._per_sector:
            self.seqs.append(seq)
            self.places.append(unit)
        self.head_seq = seq
        if unit % self._per_sector == 1 and self._heads[unit // self._per_sector % self._sectors] == _WHOLE:
            self.headed = unit // self._per_sector  # one program wrote both, and it was not cut
        self._take(payload, first)
