"""Which of the uploaded records the device vouches for. Pure: no database, no signatures; those were checked before.

A record's body is what is hashed, and each body names the hash of the one before, so whatever the device signed
vouches for everything below it. We start from what it signed (the Statement's head, or, below a gap, its own
Transfers and Receipts) and walk down; what nothing signed reaches does not count, however well it fits onto what the
ledger holds: a carrier may have written it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from host_tools.ledger.parse import Entry
from protocol.objects import Statement

_SEQ = attrgetter("seq")


@dataclass(frozen=True)
class Piece:
    """An unbroken run of records, oldest first, that one signed object vouches for."""

    entries: tuple[Entry, ...]
    below_seq: int  # the position before the first one
    joins: bool  # the ledger holds the record at `below_seq` that the run continues
    proof: bytes

    @cached_property
    def installations(self) -> list[Entry]:
        """Of Certificates; each stage asks for them."""
        return [one for one in self.entries if one.credit is None and one.is_installation]

    def fits(self, head: tuple[int, bytes], shown: Iterable[tuple[int, bytes]]) -> bool:
        """Whether all that is shown from `head` on, by positions and hashes, is in this run, or lies above it."""
        shown = list(shown)
        chain = {entry.seq: entry.hash for entry in self.entries} | dict([head]) if shown else {}
        return all(chain.get(seq, digest) == digest for seq, digest in shown)


def pieces(statement: Statement, entries: list[Entry], held: Callable[[int], bytes | None]) -> list[Piece]:
    """Cut an upload into the runs that the device vouches for; the first one, possibly empty, is the Statement's own.

    `held(seq)` is the hash of the ledger's record there, or None.
    """
    whole = _whole(statement, entries, held)
    if whole is not None:
        return [whole]
    left = {entry.position: entry for entry in entries}
    heads = sorted(left, reverse=True)
    found = [_run(statement.seq, statement.head, statement.encode(), left, held)]
    for position in heads if left else ():
        entry = left.get(position)
        proof = entry.signed if entry else None
        if proof is not None:
            piece = _run(*position, proof, left, held)
            if piece.entries:
                found.append(piece)
    return found


def _whole(statement: Statement, entries: list[Entry], held: Callable[[int], bytes | None]) -> Piece | None:
    """What nearly every upload is: all that follows what the ledger holds, up to the Statement's head."""
    ordered = sorted(entries, key=_SEQ)
    digest = ordered[0].previous if ordered else statement.head
    below = seq = statement.seq - len(ordered)
    if held(below) != digest:
        return None
    for entry in ordered:
        seq += 1
        if entry.seq != seq or entry.previous != digest:
            return None
        digest = entry.hash
    if digest != statement.head or (ordered and held(below + 1) is not None):
        return None
    return Piece(tuple(ordered), below, True, statement.encode())


def _run(
    seq: int,
    digest: bytes,
    proof: bytes,
    left: dict[tuple[int, bytes], Entry],
    held: Callable[[int], bytes | None],
) -> Piece:
    """From this position down to what the ledger holds or what is missing. Takes what it finds out of `left`."""
    run = []
    known = held(seq)
    while known != digest and (seq, digest) in left:
        entry = left.pop((seq, digest))
        run.append(entry)
        seq, digest = seq - 1, entry.previous
        known = held(seq)
    return Piece(tuple(reversed(run)), seq, known == digest, proof)
