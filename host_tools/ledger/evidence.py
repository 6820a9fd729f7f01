"""Which history each device committed to, and what happens to one that committed to two.

Every object that a device signs and that names a journal position commits it: a Transfer and a Receipt to their own
record and the one before, a Statement to its head and every record that hashes into it. Two hashes at one position
prove two histories, whoever brought them. Only signed objects and what hashes into them are ever told to this module,
so a carrier can accuse nobody.

A device is frozen for exactly what `protocol.fraud` can prove to anybody who has all of the device's signatures, and
for going back behind what this ledger has seen, which only a ledger can know. `proofs.py` makes the proofs.
"""

from sqlalchemy import Connection, func, or_, select, update

from host_tools.crypto import sha256
from host_tools.ledger.guarantee import UNFUNDED, cover
from host_tools.ledger.schema import dead_letters, devices, evidence, positions

MAX_REASON = 200
OUTSIDE_CHAIN = "posted, not part of the held chain"  # a dead letter's reason

# evidence.kind
TWO_HISTORIES = "two histories"
RECEIPT_AND_VOID = "receipt and void"
CUMULATIVE = "cumulative falls"
LEAVES_OUT_SOME = "leaves out some"  # a falling cumulative that takes more than these two Transfers to prove
ROLLED_BACK = "rolled back"
SUBMITTED = "submitted"


def commit_to(
    connection: Connection, device: bytes, seq: int, digest: bytes, previous: bytes | None, proof: bytes, now: int
) -> None:
    """`proof`, a signed object, commits the device to `digest` at `seq` and, unless None, to `previous` before it."""
    wanted = {seq: digest} if previous is None else {seq: digest, seq - 1: previous}
    known = connection.execute(select(positions).where(positions.c.device == device, positions.c.seq.in_(wanted))).all()
    for position, hash_there in wanted.items():
        there = [row for row in known if row.seq == position]
        if any(row.hash == hash_there for row in there):
            continue
        connection.execute(positions.insert().values(device=device, seq=position, hash=hash_there, proof=proof))
        if there:
            what = f"two histories at record {position}"
            freeze(connection, device, TWO_HISTORIES, what, there[0].proof, proof, now)


def seen_seq(connection: Connection, device: bytes) -> int:
    """The highest position the ledger has seen the device commit to."""
    return connection.execute(select(func.max(positions.c.seq)).where(positions.c.device == device)).scalar_one() or 0


def freeze_rolled_back(connection: Connection, device: bytes, seq: int, seen: int, statement: bytes, now: int) -> None:
    """The Statement's head is `seq`, though the device had committed to `seen` before its nonce was given out.

    When the nonce was given out is the ledger's word, so this proves nothing to anybody else.
    """
    shown = select(positions.c.proof).where(positions.c.device == device, positions.c.seq == seen)
    proof = connection.execute(shown).scalars().first() or b""
    what = f"rolled back to record {seq} after record {seen} (known to this ledger; no proof for others)"
    freeze(connection, device, ROLLED_BACK, what, proof, statement, now)


def freeze(connection: Connection, device: bytes, kind: str, what: str, first: bytes, second: bytes, now: int) -> None:
    """Keep the two objects and sign nothing for the device any more. The first reason stays.

    The same two objects are kept once, whoever brought them and whichever came first.
    """
    digest = sha256(device + b"".join(sorted((sha256(first), sha256(second)))))
    if connection.execute(select(evidence.c.id).where(evidence.c.digest == digest)).first() is None:
        values = {"device": device, "kind": kind, "what": what[:MAX_REASON], "first": first, "second": second}
        connection.execute(evidence.insert().values(digest=digest, at=now, **values))
    good = or_(devices.c.frozen.is_(None), devices.c.frozen == UNFUNDED)
    connection.execute(update(devices).where(devices.c.id == device, good).values(frozen=what[:MAX_REASON]))
    cover(connection, device, now)


def dead_letter(
    connection: Connection, device: bytes, record: bytes, reason: str, now: int, body_hash: bytes | None = None
) -> None:
    """Keep what was uploaded and not taken; the same for the same reason is kept once.

    `body_hash` is given of what may become part of a proof.
    """
    digest = sha256(record)
    reason = reason[:MAX_REASON]
    same = (dead_letters.c.device == device, dead_letters.c.record_hash == digest, dead_letters.c.reason == reason)
    if connection.execute(select(dead_letters.c.id).where(*same)).first() is None:
        kept = {"device": device, "record_hash": digest, "record": record, "body_hash": body_hash}
        connection.execute(dead_letters.insert().values(reason=reason, at=now, **kept))


def joined_chain(connection: Connection, device: bytes, raw_records: list[bytes]) -> None:
    """These are in `records` now: what was kept of them because they lay outside the chain is not needed any more."""
    outside = (dead_letters.c.device == device, dead_letters.c.reason == OUTSIDE_CHAIN)
    kept = set(connection.execute(select(dead_letters.c.record_hash).where(*outside)).scalars())
    for digest in kept.intersection(map(sha256, raw_records)) if kept else ():
        connection.execute(dead_letters.delete().where(*outside, dead_letters.c.record_hash == digest))
