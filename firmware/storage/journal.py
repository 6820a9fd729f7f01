"""The journal: an append-only, power-fail-safe log of records on raw NOR flash, as a ring of sectors.

NOR: programming only clears bits, erasing sets a sector to FF, either can stop anywhere when power goes, and what was
cut may read differently every time. Every unit of 32 bytes is programmed once after its erase, so the chip may encrypt
the flash. What is stored and why it is safe: docs/storage.md; how it is found again: `journal_recovery`.

A payload starts with its own u32 seq; seqs are consecutive, from 1.

Whoever keeps a key beside this journal must treat a journal without records (`head_seq` 0) as "service" if the key has
ever been used: key and journal live and die together.
"""

from binascii import crc32

from micropython import const

from ports.errors import FlashError
from storage.errors import JournalCorrupt, JournalFull, JournalUncertain, StorageError
from storage.journal_format import (
    RECORD_HEADER_BYTES,
    RECORD_MAX_BYTES,
    SEQ_BYTES,
    UNIT_BYTES,
    note,
    record_crc,
    record_in,
    stored_record,
    units_of,
)
from storage.journal_recovery import Recovery

_SECTORS_MIN = const(9)
_SECTORS_MAX = const(511)  # distances in a note are u16, counted in units of 32 bytes
# Erased sectors that are never promised: every opening takes two units of them, so that a full journal can be opened
# more than 250 times and then still take what it had promised before, and more than 100 times after that.
_SPARE_SECTORS = const(6)
_LAST_SECTORS = const(2)
_ERASE_AT_DROP = const(3)  # sectors: one reservation with the longest installation fits


def _ignore(payload: bytes, first: bool) -> None:
    pass


class Journal:
    """The records on `flash` (see `ports`). A cut of power is settled for good before the constructor returns.

    Opening calls `take(payload, first)` for every committed record, oldest first; `first` says that what was taken
    before does not count. Flash without a journal is made new if `may_format`. Another `salt` finds no journal:
    only who knows it writes what passes for an entry.

    Raises JournalCorrupt (nothing was changed), JournalFull if nothing is left to settle with, JournalUncertain if the
    flash fails.

    `first_seq` is the oldest record kept, `head_seq` the newest; without records `head_seq` is `first_seq` - 1. Records
    that were dropped may be there again after a restart: drop again.
    """

    def __init__(self, flash, take=None, may_format: bool = True, salt: bytes = b"") -> None:
        self._flash = flash
        self._crc_start = crc32(salt)
        self._per_sector = flash.sector_size_bytes // UNIT_BYTES
        self._sectors = flash.size_bytes // flash.sector_size_bytes
        if not _SECTORS_MIN <= self._sectors <= _SECTORS_MAX:
            raise StorageError("a journal has from 9 to 511 sectors")
        self._certain = False
        found = Recovery(flash, take or _ignore, self._crc_start)
        if not found.found:
            if not may_format:
                raise JournalCorrupt("no journal found: service needed")
            for sector in range(self._sectors):
                self._erase(sector)
        self.first_seq = found.first_seq
        self.head_seq = found.head_seq
        self._tail = found.tail
        self._headed = found.headed
        self._limit = found.limit
        self._end = found.end
        self._seqs = found.seqs
        self._places = found.places
        self._near = (0, 0)  # a seq, and a unit from which it can be looked for
        self._is_dirty = True  # the next record needs a place in the index
        self._next = 0
        if found.found:
            # The unit behind may have been programmed and read as erased; so may the head unit of the next sector.
            self._next = found.used + 1
            if self._next % self._per_sector == 0:
                self._next += 1
        self._write_note()
        self._certain = True

    # Reading

    def records(self, from_seq: int):
        """Iterates over the payloads from `from_seq` to the newest, one in memory at a time.

        Raises ValueError if a record was dropped or is more than one ahead, JournalCorrupt if one cannot be read.
        """
        if from_seq != self.head_seq + 1:
            self.record(from_seq)
        return self._iterate(from_seq)

    def _iterate(self, from_seq: int):
        for seq in range(from_seq, self.head_seq + 1):
            yield self.record(seq)

    def record(self, seq: int) -> bytes:
        """The payload of one record; errors as for `records`, and ValueError if it does not exist yet."""
        unit, length, crc = self._find(seq)
        payload = self._flash.read(self._offset(unit) + RECORD_HEADER_BYTES, length)
        if record_crc(unit, payload, self._crc_start) != crc:
            raise JournalCorrupt("record %d cannot be read: service needed" % seq)
        return payload

    def _find(self, seq: int) -> tuple[int, int, int]:
        """Unit, length and CRC of record `seq`."""
        self._require_certain()
        if not self.first_seq <= seq <= self.head_seq:
            raise ValueError("no such record")
        number = len(self._seqs) - 1
        while self._seqs[number] > seq:
            number -= 1
        at, unit = self._seqs[number], self._places[number]
        if at < self._near[0] <= seq:
            at, unit = self._near
        while unit < self._next:
            found = record_in(
                self._flash.read(self._offset(unit), RECORD_HEADER_BYTES + SEQ_BYTES),
                0,
                self._per_sector - unit % self._per_sector,
            )
            if not found or found[2] != at:
                unit += 1
                continue
            place = unit
            unit += units_of(found[0])
            at += 1
            if at > seq:
                self._near = (at, unit)
                return place, found[0], found[1]
        raise JournalCorrupt("record %d cannot be found: service needed" % seq)

    # Writing

    def append(self, record: bytes) -> None:
        """Returns when the record is durable. It starts with its seq (u32), which is `head_seq` + 1.

        Raises JournalFull (nothing written) or JournalUncertain (see there); ValueError for a wrong seq or length.
        """
        self._require_certain()
        units = units_of(len(record))
        if not SEQ_BYTES <= len(record) <= RECORD_MAX_BYTES or units > self._per_sector - 2:
            raise ValueError("record too short or too long")
        seq = self.head_seq + 1
        if int.from_bytes(record[:SEQ_BYTES], "big") != seq:
            raise ValueError("record is not the next one")
        unit = self._next
        into = unit % self._per_sector
        if into + units >= self._per_sector:  # with its note it stands in one sector
            unit += self._per_sector - into
            into = 0
        if unit // self._per_sector >= self._limit - _LAST_SECTORS:
            raise JournalFull("no space for a record of %d bytes" % len(record))
        self._certain = False
        head = b""
        if into == 0:
            head = self._note(unit)
            unit += 1
        # A head unit that does not take was torn before; the sector does without.
        if not self._program(unit, head, stored_record(unit, record, self._crc_start)):
            raise JournalUncertain("the flash did not keep a record")
        if head and self._flash.read(self._offset(unit - 1), UNIT_BYTES) == head:
            self._headed = unit // self._per_sector
        self._next = self._end = unit + units
        self._write_note()
        self.head_seq = seq
        if self._is_dirty or self._places[-1] // self._per_sector != unit // self._per_sector:
            self._is_dirty = False
            self._seqs.append(seq)
            self._places.append(unit)
        self._certain = True

    def reserve(self, record_count: int, payload_bytes: int, promised: bool = False) -> bool:
        """Whether `record_count` records with together `payload_bytes` of payload still fit, however long each is.

        In space that is erased: `tidy` makes more of it. Ask with `promised` for what an earlier answer has included:
        openings since then do not count.
        """
        self._require_certain()
        # Every record has a header, a note and at most 31 bytes of filling.
        need = record_count + (payload_bytes + record_count * (RECORD_HEADER_BYTES + UNIT_BYTES - 1)) // UNIT_BYTES
        longest = 1 + units_of(min(RECORD_MAX_BYTES, payload_bytes - SEQ_BYTES * (record_count - 1)))
        rest = -self._next % self._per_sector
        whole = self._limit - (self._next + rest) // self._per_sector - (_LAST_SECTORS if promised else _SPARE_SECTORS)
        # A sector is left when the next record does not fit any more, so at most `longest` - 1 units of it are wasted.
        return whole >= 0 and need <= max(rest, whole * (self._per_sector - longest) + max(0, rest + 1 - longest))

    def drop_below(self, seq: int) -> None:
        """Gives up the records before `seq`. Raises ValueError if there is no such record and it is not the next."""
        self._require_certain()
        if seq != self.head_seq + 1:
            self._find(seq)
        self.first_seq = seq
        if not self._seqs:
            return
        number = 0
        while number + 1 < len(self._seqs) and self._seqs[number + 1] <= seq:
            number += 1
        self._seqs = self._seqs[number:]
        self._places = self._places[number:]
        # The newest record's sector stays: it keeps the count. So does the newest head: the next start needs one.
        tail = min(self._places[0] // self._per_sector, self._headed)
        if tail > self._tail:
            self._certain = False
            self._tail = tail
            self._write_note()
            self._certain = True
            while self._limit - self._next // self._per_sector <= _SPARE_SECTORS + _ERASE_AT_DROP and self.tidy():
                pass

    def tidy(self) -> bool:
        """Erases a dropped sector ahead, if there is one. Whether there is another. Not for a tap: 45 to 400 ms."""
        self._require_certain()
        top = self._tail + self._sectors
        if self._limit < top:
            self._certain = False
            self._erase(self._limit)
            self._limit += 1
            self._write_note()
            self._certain = True
        return self._limit < top

    # The flash

    def _require_certain(self) -> None:
        if not self._certain:
            raise JournalUncertain("the journal failed: restart")

    def _offset(self, unit: int) -> int:
        return unit * UNIT_BYTES % (self._sectors * self._per_sector * UNIT_BYTES)

    def _erase(self, sector: int) -> None:
        try:
            self._flash.erase(self._offset(sector * self._per_sector))
        except FlashError as error:
            raise JournalUncertain(str(error))

    def _note(self, unit: int) -> bytes:
        sector = unit // self._per_sector
        return note(unit, unit - self._end, self._limit - sector, sector - self._tail, self._crc_start)

    def _write_note(self) -> None:
        """Says for good what is committed, erased and dropped. A unit that does not take it was torn: then the next."""
        unit = self._next
        while unit // self._per_sector <= (self._next - 2) // self._per_sector + 1:  # so far recovery looks
            if unit // self._per_sector >= self._limit:
                raise JournalFull("no space left to start with: service needed")
            if self._program(unit, b"", self._note(unit)):
                self._next = unit + 1
                if unit % self._per_sector == 0:
                    self._headed = unit // self._per_sector
                    self._write_note()  # a head alone is not believed when it says something new
                return
            unit += 1
            if unit % self._per_sector == 0:  # what a head says makes nothing void
                unit += 1
        raise JournalUncertain("the flash did not keep a note")

    def _program(self, unit: int, head: bytes, data: bytes) -> bool:
        """Programs `data` at `unit`, together with `head` in the unit before. Whether `data` reads back."""
        offset = self._offset(unit)
        try:
            self._flash.program(offset - len(head), head + data)
            return self._flash.read(offset, len(data)) == data
        except FlashError as error:
            raise JournalUncertain(str(error))
