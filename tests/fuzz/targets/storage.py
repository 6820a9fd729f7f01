"""What lies on flash: the settings' files, the journal's entries, and what a start makes of a whole journal."""

from binascii import crc32

from tests.fuzz.targets.firmware import module
from tests.fuzz.targets.inputs import pieces

errors, journals, journal_format, journal_recovery, stored_settings = [
    module("storage." + name) for name in ("errors", "journal", "journal_format", "journal_recovery", "settings")
]

UNIT_BYTES = journal_format.UNIT_BYTES
SALT = b"the salt"
CRC_START = crc32(SALT)
SECTOR_BYTES = 256  # small, so that an input holds a whole journal
SECTORS = 10
PER_SECTOR = SECTOR_BYTES // UNIT_BYTES
FLASH_BYTES = SECTORS * SECTOR_BYTES


def settings(data: bytes) -> None:
    """A file as it is, and under a right checksum."""
    for stored in (data, data[:-4] + crc32(data[:-4]).to_bytes(4, "big")):
        found = stored_settings._decode(stored)
        if found:
            generation, values = found
            assert generation > 0 and stored_settings._encode(generation, values) == stored, "two encodings"


def entry(data: bytes) -> None:
    """What one unit says of itself. The first byte is the room in which a record would have to fit."""
    if not data:
        return
    room, unit = data[0], (data[1:] + bytes(UNIT_BYTES))[:UNIT_BYTES]
    note = journal_format.note_in(unit, 0, CRC_START)
    if note:
        half = UNIT_BYTES // 2
        again = journal_format.note(*note, CRC_START)[:half]
        assert again in (unit[:half], unit[half:]), "two encodings of one note"
    record = journal_format.record_in(unit, 0, room)
    if record:
        length, crc, seq = record
        assert journal_format.SEQ_BYTES <= length <= journal_format.RECORD_MAX_BYTES
        assert journal_format.units_of(length) < room
        assert unit[4:12] == crc.to_bytes(4, "big") + seq.to_bytes(4, "big")


# A whole journal

# What a piece of an input stands for, by its first byte
RAW, RECORD, NOTE, SECTOR = 0, 1, 2, 3
ENCRYPTED = 0x80  # of the first piece's first byte


def flash_of(data: bytes) -> "Nor":
    """Pieces lie one behind the other, each from a new unit on, round the flash.

    SECTOR is followed by the number (u16) of the sector where the next one goes, counted for ever; RECORD by a payload
    and NOTE by three distances (u16 each), for which header and checksum are made; RAW by bytes as they are.
    """
    flash = Nor()
    unit = 0
    for piece in pieces(data):
        kind, content = piece[:1], piece[1:]
        flash.encrypted = flash.encrypted or bool(kind and kind[0] & ENCRYPTED)
        kind = kind[0] & 3 if kind else RAW
        stored = content
        if kind == SECTOR:
            unit = int.from_bytes(content[:2], "big") * PER_SECTOR
            continue
        if kind == RECORD:
            stored = journal_format.stored_record(unit, content, CRC_START)
        elif kind == NOTE:
            numbers = (content + bytes(6))[:6]
            distances = [int.from_bytes(numbers[at : at + 2], "big") for at in (0, 2, 4)]
            stored = journal_format.note(unit, *distances, CRC_START)
        stored = stored[: SECTOR_BYTES * 2]
        for at in range(0, len(stored), UNIT_BYTES):
            part = stored[at : at + UNIT_BYTES]
            place = unit * UNIT_BYTES % FLASH_BYTES
            flash.cells[place : place + len(part)] = part
            unit += 1
    return flash


class Nor:
    """NOR flash in memory: programming clears bits. Counts what is read of each unit, and every change."""

    sector_size_bytes = SECTOR_BYTES
    size_bytes = FLASH_BYTES

    def __init__(self):
        self.cells = bytearray(b"\xff" * FLASH_BYTES)
        self.encrypted = False
        self.reads = bytearray(FLASH_BYTES // UNIT_BYTES)
        self.changes = 0

    def again(self) -> "Nor":
        """The same flash after power loss."""
        other = Nor()
        other.cells[:] = self.cells
        other.encrypted = self.encrypted
        return other

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= FLASH_BYTES and length, "reads outside the flash"
        for unit in range(offset // UNIT_BYTES, (offset + length - 1) // UNIT_BYTES + 1):
            self.reads[unit] = min(255, self.reads[unit] + 1)
        return bytes(self.cells[offset : offset + length])

    def program(self, offset: int, data: bytes) -> None:
        assert 0 <= offset <= offset + len(data) <= FLASH_BYTES, "programs outside the flash"
        assert offset % UNIT_BYTES == len(data) % UNIT_BYTES == 0, "programs half a unit"
        self.changes += 1
        for at in range(len(data)):
            self.cells[offset + at] &= data[at]

    def erase(self, offset: int) -> None:
        assert 0 <= offset < FLASH_BYTES and offset % SECTOR_BYTES == 0, "erases half a sector"
        self.changes += 1
        self.cells[offset : offset + SECTOR_BYTES] = b"\xff" * SECTOR_BYTES


class _Taken:
    """The records that an opening hands out, as their owner keeps them."""

    def __init__(self):
        self.payloads = []

    def __call__(self, payload: bytes, first: bool) -> None:
        assert first or self.payloads, "what came first is not called so"
        if first:
            self.payloads = []
        self.payloads.append(payload)

    def check(self, head_seq: int) -> None:
        seqs = [int.from_bytes(payload[:4], "big") for payload in self.payloads]
        assert seqs == list(range(head_seq + 1 - len(seqs), head_seq + 1)), "records without their neighbours"


def journal(data: bytes) -> None:
    """A start finds one history in whatever lies there, or says that it is damaged.

    It reads each byte once, unless it finds a log that is longer than the flash: that no device has written. What is
    damaged in several places may look otherwise at the next start; that says so as well, or goes on.
    """
    flash = flash_of(data)
    taken = _Taken()
    try:
        found = journal_recovery.Recovery(flash, taken, CRC_START)
    except errors.JournalCorrupt:
        found = None
    assert not flash.changes and max(flash.reads) <= 4, "reads without end"
    if found:
        sectors = (found.used - 1) // PER_SECTOR + 2 - found._start // PER_SECTOR
        assert sectors > SECTORS or max(flash.reads) <= 1, "a byte is read twice"
        taken.check(found.head_seq)
        assert len(found.seqs) == len(found.places) <= FLASH_BYTES // UNIT_BYTES
    this = _opened(flash)
    assert found or not this, "opens what cannot be read"
    if this and _append(this):
        this = _opened(flash.again())
        if this:
            _append(this)


def _opened(flash: Nor):
    """None if the journal says that it is damaged, or has no room to start with."""
    taken = _Taken()
    changes = flash.changes
    try:
        this = journals.Journal(flash, taken, False, SALT)
    except errors.JournalCorrupt:
        assert flash.changes == changes, "changes what it does not understand"
        return None
    except errors.StorageError:
        return None
    kept = list(this.records(this.first_seq))
    taken.check(this.head_seq)
    assert kept == taken.payloads[len(taken.payloads) - len(kept) :], "reads otherwise than it opened"
    return this


def _append(this) -> bool:
    """Whether one more record, and what comes before and after it, goes well or is refused."""
    try:
        this.append((this.head_seq + 1).to_bytes(4, "big") + b"one more")
        assert this.record(this.head_seq)[4:] == b"one more"
        this.drop_below(this.head_seq)
        this.tidy()
    except errors.StorageError:
        return False
    return True


TARGETS = (settings, entry, journal)
