"""What stands in one unit of the journal's flash: notes and records. Why it is so: docs/storage.md.

A unit is 32 bytes, which flash encryption can write by itself; units are counted for ever, not per lap. Big-endian.
CRCs begin with `start`, which is the device's secret: what others put into a payload never passes for an entry.

    note    twice: magic u16 | own unit u32 | units back to the end u16 | sectors on to the limit u16 |
            sectors back to the tail u16 | CRC-32 of these
    record  magic u16 | payload length u16 | CRC-32 of unit number, length and payload | payload | FF to a whole unit
"""

import struct
from binascii import crc32

from micropython import const

UNIT_BYTES = 32
RECORD_HEADER_BYTES = 8
RECORD_MAX_BYTES = 2304  # an installation with all its debits in doubt is the longest: 2,252
SEQ_BYTES = 4  # how every payload starts

_NOTE = ">HIHHHI"
_NOTE_BYTES = const(16)
_NOTE_CRC_AT = const(12)
_NOTE_MAGIC = const(0x4A4E)
_RECORD_MAGIC = const(0x4A5A)


def units_of(payload_bytes: int) -> int:
    """Units that a record takes."""
    return (RECORD_HEADER_BYTES + payload_bytes + UNIT_BYTES - 1) // UNIT_BYTES


def note(unit: int, back: int, ahead: int, behind: int, start: int = 0) -> bytes:
    body = struct.pack(_NOTE[:-1], _NOTE_MAGIC, unit, back, ahead, behind)
    return (body + crc32(body, start).to_bytes(4, "big")) * 2


def note_in(data: bytes, at: int, start: int = 0) -> tuple[int, int, int, int] | None:
    """(unit, back, ahead, behind) of the note at `at`; one whole copy is enough."""
    for copy in (at, at + _NOTE_BYTES):
        magic, unit, back, ahead, behind, crc = struct.unpack_from(_NOTE, data, copy)
        if magic == _NOTE_MAGIC and crc32(data[copy : copy + _NOTE_CRC_AT], start) == crc:
            return unit, back, ahead, behind
    return None


def record_crc(unit: int, payload: bytes, start: int = 0) -> int:
    return crc32(payload, crc32(struct.pack(">IH", unit, len(payload)), start))


def stored_record(unit: int, payload: bytes, start: int = 0) -> bytes:
    header = struct.pack(">HHI", _RECORD_MAGIC, len(payload), record_crc(unit, payload, start))
    return header + payload + b"\xff" * (units_of(len(payload)) * UNIT_BYTES - RECORD_HEADER_BYTES - len(payload))


def record_in(data: bytes, at: int, room: int) -> tuple[int, int, int] | None:
    """(length, CRC, seq) that a record at `at` would have, if it looks like one with its note in `room` units."""
    magic, length, crc, seq = struct.unpack_from(">HHII", data, at)
    if magic == _RECORD_MAGIC and SEQ_BYTES <= length <= RECORD_MAX_BYTES and units_of(length) < room:
        return length, crc, seq
    return None
