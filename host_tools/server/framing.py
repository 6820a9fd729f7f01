"""An upload as bytes: the Statement, then each record behind its length (16 bits, big-endian).

    Statement (fixed size) | (length | record)*

Whatever the bytes, a list of records comes out: what is wrong with one is the ledger's to say, and keeps no other from
being settled.
"""

from host_tools.crypto import sha256
from host_tools.ledger.settlement import MAX_RECORDS
from protocol.objects import Statement
from protocol.records import INSTALLATION_MAX_BYTES

MEDIA = "application/octet-stream"
OFFSET = "Upload-Offset"  # the header that says how many bytes are there

STATEMENT_BYTES = Statement.size()
_LENGTH_BYTES = 2
UPLOAD_MAX_BYTES = STATEMENT_BYTES + MAX_RECORDS * (_LENGTH_BYTES + INSTALLATION_MAX_BYTES)


def name_of(statement: bytes) -> bytes:
    """What an upload is called: the SHA-256 of its Statement."""
    return sha256(statement)


def join(statement: bytes, records: list[bytes]) -> bytes:
    """Raises `OverflowError` for a record of more than 65,535 bytes, which no device makes."""
    return statement + b"".join(len(raw).to_bytes(_LENGTH_BYTES, "big") + raw for raw in records)


def split(upload: bytes) -> tuple[bytes, list[bytes]]:
    """The Statement and the records.

    A record that is longer than any is cut, and the last may be shorter than its length says: the ledger can read
    neither, keeps both aside and names the reason.
    """
    records = []
    at = STATEMENT_BYTES
    while at < len(upload):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(upload[at:start], "big")
        records.append(upload[start : min(at, start + INSTALLATION_MAX_BYTES)])
    return upload[:STATEMENT_BYTES], records
