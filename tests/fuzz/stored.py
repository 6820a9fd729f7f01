"""Inputs for what lies on flash: files of settings, and journals that the firmware itself has written."""

from collections.abc import Iterator

from tests.fuzz.targets.inputs import joined
from tests.fuzz.targets.storage import (
    CRC_START,
    ENCRYPTED,
    FLASH_BYTES,
    NOTE,
    PER_SECTOR,
    RAW,
    RECORD,
    SALT,
    SECTOR,
    SECTOR_BYTES,
    SECTORS,
    UNIT_BYTES,
    Nor,
    journal_format,
    journals,
    stored_settings,
)


def settings_files() -> list[bytes]:
    values = {"public": bytes(32), "requests": b"\0\0\1\1", "operators": bytes(range(200)), "n" * 24: b"", "pin": b"x"}
    made = [dict(list(values.items())[:count]) for count in range(len(values) + 1)] + [{"revoked 1": bytes(500)}]
    whole = [stored_settings._encode(generation, one) for generation, one in enumerate(made, 1)]
    # A value shorter than it says, half a length, a name longer than the file, one that is no text, one twice
    entries = ("0161ffff31", "016100", "ff61000131", "01ff000131", "0161000131" * 2)
    return whole + [whole[0][:8] + bytes.fromhex(one) + bytes(4) for one in entries]


def entries() -> list[bytes]:
    units = [journal_format.note(unit, 3, 2, 1, CRC_START) for unit in (0, 5, 70_000)]
    units += [journal_format.stored_record(9, bytes(length), CRC_START)[:UNIT_BYTES] for length in (4, 20, 300, 2304)]
    return [bytes((room,)) + unit for unit in units for room in (1, 8, 128)]


def journal_inputs() -> list[bytes]:
    """Each as it lies on flash, and as pieces that a generator can change with their checksums left right."""
    found = []
    for number, cells in enumerate(_history()):
        sectors = [bytes((RAW,)) + cells[at : at + SECTOR_BYTES] for at in range(0, FLASH_BYTES, SECTOR_BYTES)]
        taken_apart = [piece for sector in range(SECTORS) for piece in _taken_apart(cells, sector)]
        for messages in (sectors, taken_apart):
            if number % 3 == 2:
                messages[0] = bytes((messages[0][0] | ENCRYPTED,)) + messages[0][1:]
            found.append(joined(messages))
    return found


def _history() -> Iterator[bytes]:
    """The flash after each step: records of several lengths, drops, tidying and starts, three times round the flash."""
    flash = Nor()
    this = journals.Journal(flash, None, True, SALT)
    for step in range(60):
        length = 8 + step * 29 % 120
        this.append((this.head_seq + 1).to_bytes(4, "big") + bytes(length))
        yield bytes(flash.cells)
        if step % 5 == 4:
            this.drop_below(this.head_seq - 1)
            yield bytes(flash.cells)
        if step % 2:
            while this.tidy():
                pass
        if step % 7 == 3:
            flash = flash.again()
            this = journals.Journal(flash, None, False, SALT)
            yield bytes(flash.cells)


def _taken_apart(cells: bytes, place: int) -> list[bytes]:
    """The pieces of `flash_of` that make the sector at this place; none if it is blank."""
    data = cells[place * SECTOR_BYTES : (place + 1) * SECTOR_BYTES]
    notes = [journal_format.note_in(data, at, CRC_START) for at in range(0, SECTOR_BYTES, UNIT_BYTES)]
    sector = next((note[0] // PER_SECTOR for note in notes if note), place)
    found = [bytes((SECTOR,)) + (sector & 0xFFFF).to_bytes(2, "big")]
    at = 0
    while at < SECTOR_BYTES and data[at:].strip(b"\xff"):
        unit = data[at : at + UNIT_BYTES]
        note = notes[at // UNIT_BYTES]
        record = journal_format.record_in(data, at, PER_SECTOR)
        if note:
            found.append(bytes((NOTE,)) + b"".join(number.to_bytes(2, "big") for number in note[1:]))
        elif record:
            start = at + journal_format.RECORD_HEADER_BYTES
            found.append(bytes((RECORD,)) + data[start : start + record[0]])
            at += (journal_format.units_of(record[0]) - 1) * UNIT_BYTES
        else:
            found.append(bytes((RAW,)) + unit)
        at += UNIT_BYTES
    return found if len(found) > 1 else []
