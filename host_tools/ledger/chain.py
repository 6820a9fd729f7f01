"""Which of the uploaded records the device vouches for. Pure: no database, no signatures; those were checked before.

A record's body is what is hashed, and each body names the hash of the one before, so whatever the device signed
vouches for everything below it. We start from what it signed (the Statement's head, or, below a gap, its own
Transfers and Receipts) and walk down; what nothing signed reaches does not count, however well it fits onto what the
ledger holds: a carrier may have written it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from host_tools.crypto import sha256
from protocol.objects import Receipt, Statement, Transfer
from protocol.records import Record


class Upload(NamedTuple):
    """A record as it came and as it reads."""

    raw: bytes
    record: Record

    @property
    def position(self) -> tuple[int, bytes]:
        return self.record.seq, sha256(self.record.body_bytes)

    @property
    def signed(self) -> bool:
        """Whether the record's own body is an object that its device signed."""
        return isinstance(self.record.body, Transfer | Receipt)


@dataclass(frozen=True)
class Piece:
    """An unbroken run of records, oldest first, that one signed object vouches for."""

    uploads: tuple[Upload, ...]
    below_seq: int  # the position before the first one
    joins: bool  # the ledger holds the record at `below_seq` that the run continues
    proof: bytes


def pieces(statement: Statement, uploads: list[Upload], held: Callable[[int], bytes | None]) -> list[Piece]:
    """Cut an upload into the runs that the device vouches for; the first one, possibly empty, is the Statement's own.

    `held(seq)` is the hash of the ledger's record there, or None.
    """
    by_position = {upload.position: upload for upload in uploads}
    heads = [(*upload.position, upload.record.body.encode()) for upload in by_position.values() if upload.signed]
    heads.sort(key=lambda head: head[0], reverse=True)
    taken: set[tuple[int, bytes]] = set()
    found: list[Piece] = []
    for seq, digest, proof in [(statement.seq, statement.head, statement.encode()), *heads]:
        if found and (seq, digest) in taken:
            continue
        run = []
        while held(seq) != digest and (seq, digest) in by_position and (seq, digest) not in taken:
            upload = by_position[(seq, digest)]
            taken.add((seq, digest))
            run.append(upload)
            seq, digest = seq - 1, upload.record.body.previous
        if run or not found:
            found.append(Piece(tuple(reversed(run)), seq, held(seq) == digest, proof))
    return found
