"""The journal: an append-only, power-fail-safe log of records on raw NOR flash.

NOR: programming only clears bits, erasing sets a sector of 4096 bytes to FF, either can stop anywhere when power goes.

The flash is two banks. One is active, the other is erased and waits. All numbers are big-endian.

    bank    magic "JZJ1" | generation u32 | first seq u32 | CRC-32 of these | spare mark u32 | records ...
    record  magic u16 | payload length u16 | CRC-32 of these and the payload | commit mark u32 | payload | FF to 4 bytes

A payload starts with its own u32 seq; seqs are consecutive. A new journal starts with seq 1.

- A mark is four bytes, programmed from FF to 00 by an operation of their own. Any cleared bit counts as the whole
  mark, so that no single decayed bit takes it back.
- Append programs the record without its mark, reads it back, then programs the mark. A record with a mark and a wrong
  CRC is therefore damage: JournalCorrupt. What follows the last mark is the torn tail of an append that never
  returned.
- Moving to the other bank copies the records that are kept, reads them back, writes the bank's header last: from then
  on the higher generation counts. The old bank's header is zeroed, the bank erased (the sector with the header last),
  and the active bank's spare mark says that this erase was finished. Until then every opening erases again.
- Opening, before anything is handed out: the header and the last record are programmed once more, because bits of an
  interrupted program may read differently next time; a torn tail is left behind by moving to the other bank.

Whoever keeps a key beside this journal must treat a journal without records (`head_seq` 0) as "service" if the key has
ever been used: key and journal live and die together. The partition must not be encrypted by the chip (marks).
"""

import struct
from array import array
from binascii import crc32

from micropython import const

from ports.errors import FlashError
from storage.errors import JournalCorrupt, JournalFull, JournalUncertain

_BANK_MAGIC = b"JZJ1"
_BANK_FORMAT = ">4sII"  # magic, generation, first seq; then CRC-32 and spare mark
_BANK_CRC_AT = const(12)
_SPARE_MARK_AT = const(16)
_BANK_HEADER_BYTES = const(20)

_RECORD_MAGIC = const(0x4A5A)
_RECORD_CRC_AT = const(4)
_MARK_AT = const(8)
_RECORD_HEADER_BYTES = const(12)
_ALIGNMENT_BYTES = const(4)
_SEQ_BYTES = const(4)
RECORD_MAX_BYTES = 2304  # an installation with all its debits in doubt is the longest: 2,252

_MARK = bytes(4)
_NO_MARK = b"\xff\xff\xff\xff"
_CHUNK_BYTES = const(256)
_BLANK_CHUNK = b"\xff" * _CHUNK_BYTES
_INDEX_STEP = const(16)  # the place of every 16th record is kept in memory
_FIRST_SEQ = const(1)


def _stored_bytes(payload_bytes: int) -> int:
    return (_RECORD_HEADER_BYTES + payload_bytes + _ALIGNMENT_BYTES - 1) & ~(_ALIGNMENT_BYTES - 1)


def _stored(payload: bytes, mark: bytes) -> bytes:
    start = struct.pack(">HH", _RECORD_MAGIC, len(payload))
    return start + crc32(payload, crc32(start)).to_bytes(4, "big") + mark + payload


def _bank_header(generation: int, first_seq: int) -> bytes:
    start = struct.pack(_BANK_FORMAT, _BANK_MAGIC, generation, first_seq)
    return start + crc32(start).to_bytes(4, "big")


class Journal:
    """The records on `flash` (see `ports`). Opening settles what a power cut left behind; it can take seconds then.

    Raises JournalCorrupt if committed records are damaged, JournalUncertain if the flash fails.

    `first_seq` is the oldest record kept, `head_seq` the newest; without records `head_seq` is `first_seq` - 1.
    """

    def __init__(self, flash) -> None:
        self._flash = flash
        sector_bytes = flash.sector_size_bytes
        self._bank_bytes = flash.size_bytes // 2 // sector_bytes * sector_bytes
        if not self._bank_bytes:
            raise ValueError("a journal needs two sectors")
        self._certain = False
        self._bank, self._generation, self.first_seq, spare_is_erased = self._find_bank()
        header = _bank_header(self._generation, self.first_seq)
        self._write(self._bank, header + _MARK if spare_is_erased else header)
        last, is_torn = self._load()
        if not spare_is_erased or not self._is_blank(self._spare(), self._spare() + self._bank_bytes):
            self._erase_spare()
        if is_torn:
            self._move(self.first_seq)
        elif last:
            self._write(last, _stored(self._read_record(last, self.head_seq), _MARK))
        self._certain = True

    # Reading

    def records(self, from_seq: int):
        """Iterates over the payloads from `from_seq` to the newest, one in memory at a time.

        Raises ValueError if that record was dropped or is more than one ahead, JournalCorrupt if one cannot be read.
        """
        self._require_certain()
        return self._iterate(from_seq)

    def record(self, seq: int) -> bytes:
        """The payload of one record; errors as for `records`, and ValueError if it does not exist yet."""
        self._require_certain()
        if seq > self.head_seq:
            raise ValueError("no such record yet")
        return self._read_record(self._place(seq), seq)

    def _iterate(self, from_seq: int):
        generation = self._generation
        offset = self._place(from_seq)
        for seq in range(from_seq, self.head_seq + 1):
            if generation != self._generation:
                raise ValueError("the journal moved while it was being read")
            payload = self._read_record(offset, seq)
            yield payload
            offset += _stored_bytes(len(payload))

    def _place(self, seq: int) -> int:
        """Offset of record `seq`, or of the free space if it is the next one."""
        if not self.first_seq <= seq <= self.head_seq + 1:
            raise ValueError("no such record")
        if seq > self.head_seq:
            return self._end
        number = seq - self.first_seq
        offset = self._index[number // _INDEX_STEP]
        for _ in range(number % _INDEX_STEP):
            offset += _stored_bytes(struct.unpack(">H", self._flash.read(offset + 2, 2))[0])
        return offset

    def _read_record(self, offset: int, seq: int) -> bytes:
        """The payload at `offset`, which is committed and must be record `seq`."""
        header = self._flash.read(offset, _RECORD_HEADER_BYTES)
        magic, length = struct.unpack_from(">HH", header)
        if (
            magic == _RECORD_MAGIC
            and _SEQ_BYTES <= length <= RECORD_MAX_BYTES
            and offset + _stored_bytes(length) <= self._bank + self._bank_bytes
        ):
            payload = self._flash.read(offset + _RECORD_HEADER_BYTES, length)
            crc = crc32(payload, crc32(header[:_RECORD_CRC_AT])).to_bytes(4, "big")
            if crc == header[_RECORD_CRC_AT:_MARK_AT] and payload[:_SEQ_BYTES] == seq.to_bytes(_SEQ_BYTES, "big"):
                return payload
        raise JournalCorrupt("record %d cannot be read: service needed" % seq)

    # Writing

    def append(self, record: bytes) -> None:
        """Returns when the record is durable. It starts with its seq (u32), which is `head_seq` + 1.

        Raises JournalFull (nothing written) or JournalUncertain (see there); ValueError for a wrong seq or length.
        """
        self._require_certain()
        if not _SEQ_BYTES <= len(record) <= RECORD_MAX_BYTES:
            raise ValueError("record too short or too long")
        if int.from_bytes(record[:_SEQ_BYTES], "big") != self.head_seq + 1:
            raise ValueError("record is not the next one")
        if not self.reserve(1, len(record)):
            raise JournalFull("no space for a record of %d bytes" % len(record))
        self._certain = False
        self._write(self._end, _stored(record, _NO_MARK))  # programming FF changes nothing
        self._write(self._end + _MARK_AT, _MARK)
        self._take(self._end, len(record))
        self._certain = True

    def reserve(self, record_count: int, payload_bytes: int) -> bool:
        """Whether `record_count` records with together `payload_bytes` of payload still fit.

        Only a question, nothing is set aside: ask for everything that may still have to be written at once.
        """
        overhead_bytes = _RECORD_HEADER_BYTES + _ALIGNMENT_BYTES - 1
        return self._end + payload_bytes + record_count * overhead_bytes <= self._bank + self._bank_bytes

    def drop_below(self, seq: int) -> None:
        """Forgets the records before `seq` (at most `head_seq` + 1), all of them or, after a power cut, none.

        Takes an erase of half the flash: 45 ms a sector typically. Raises ValueError, JournalCorrupt, JournalUncertain.
        """
        self._require_certain()
        if not self.first_seq <= seq <= self.head_seq + 1:
            raise ValueError("no such record")
        if seq > self.first_seq:
            self._certain = False
            self._move(seq)
            self._certain = True

    def _require_certain(self) -> None:
        if not self._certain:
            raise JournalUncertain("open the journal again")

    def _write(self, offset: int, data: bytes) -> None:
        try:
            self._flash.program(offset, data)
            written = self._flash.read(offset, len(data))
        except FlashError as error:
            raise JournalUncertain(str(error))
        if written != data:
            raise JournalUncertain("the flash did not keep what was written")

    # Banks

    def _spare(self) -> int:
        return self._bank_bytes - self._bank

    def _find_bank(self) -> tuple[int, int, int, bool]:
        """(offset, generation, first seq, whether the spare bank's erase was finished) of the active bank."""
        best = None
        for bank in (0, self._bank_bytes):
            header = self._flash.read(bank, _BANK_HEADER_BYTES)
            _, generation, first_seq = struct.unpack_from(_BANK_FORMAT, header)
            # An older generation may be half erased; it counts for nothing once the newer one is complete.
            if header[:_SPARE_MARK_AT] == _bank_header(generation, first_seq) and (not best or generation > best[1]):
                best = bank, generation, first_seq, header[_SPARE_MARK_AT:] != _NO_MARK
        return best or self._new_bank()

    def _new_bank(self) -> tuple[int, int, int, bool]:
        """The first bank of a blank flash, also if writing its header was interrupted."""
        header = _bank_header(1, _FIRST_SEQ)
        present = self._flash.read(0, _BANK_CRC_AT + 4)
        for index in range(len(header)):
            if header[index] & ~present[index]:
                raise JournalCorrupt("no journal found: service needed")
        if not self._is_blank(_SPARE_MARK_AT, 2 * self._bank_bytes):
            raise JournalCorrupt("no journal found: service needed")
        return 0, 1, _FIRST_SEQ, False

    def _load(self) -> tuple[int, bool]:
        """Checks every record of the active bank. Returns the last one's offset (0: none), whether a tail is torn."""
        limit = self._bank + self._bank_bytes
        self._index = array("I")
        self._end = self._bank + _BANK_HEADER_BYTES
        self.head_seq = self.first_seq - 1
        last = 0
        while self._end + _RECORD_HEADER_BYTES <= limit and self._flash.read(self._end + _MARK_AT, 4) != _NO_MARK:
            last = self._end
            self._take(last, len(self._read_record(last, self.head_seq + 1)))
        is_torn = not self._is_blank(self._end, limit)
        if is_torn and not self._is_blank(self._end + _stored_bytes(RECORD_MAX_BYTES), limit):
            raise JournalCorrupt("more than one record after %d without mark: service needed" % self.head_seq)
        return last, is_torn

    def _take(self, offset: int, payload_bytes: int) -> None:
        """Counts the committed record at `offset`, the next one."""
        self.head_seq += 1
        if (self.head_seq - self.first_seq) % _INDEX_STEP == 0:
            self._index.append(offset)
        self._end = offset + _stored_bytes(payload_bytes)

    def _move(self, first_seq: int) -> None:
        """Makes the spare bank the active one, with the records from `first_seq` on."""
        bank = self._spare()
        offset = bank + _BANK_HEADER_BYTES
        for payload in self._iterate(first_seq):
            self._write(offset, _stored(payload, _MARK))
            offset += _stored_bytes(len(payload))
        self._write(bank, _bank_header(self._generation + 1, first_seq))
        self._bank = bank
        self._generation += 1
        self.first_seq = first_seq
        self._load()
        self._erase_spare()

    def _erase_spare(self) -> None:
        spare = self._spare()
        self._write(spare, bytes(_BANK_HEADER_BYTES))
        sector_bytes = self._flash.sector_size_bytes
        try:
            for offset in range(spare + self._bank_bytes - sector_bytes, spare - 1, -sector_bytes):
                self._flash.erase(offset)
        except FlashError as error:
            raise JournalUncertain(str(error))
        if not self._is_blank(spare, spare + self._bank_bytes):
            raise JournalUncertain("the flash did not erase")
        self._write(self._bank + _SPARE_MARK_AT, _MARK)

    def _is_blank(self, start: int, end: int) -> bool:
        for offset in range(start, end, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, end - offset)
            if self._flash.read(offset, length) != _BLANK_CHUNK[:length]:
                return False
        return True
