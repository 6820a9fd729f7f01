"""Which history each device committed to, and what happens to one that committed to two.

Every object that a device signs and that names a journal position commits it: a Transfer and a Receipt to their own
record and the one before, a Statement to its head and every record that hashes into it. Two hashes at one position
prove two histories, whoever brought them. Only signed objects and what hashes into them are ever told to this module,
so a carrier can accuse nobody.

A device is frozen for exactly what `protocol.fraud` can prove to anybody who has all of the device's signatures, and
for going back behind what this ledger has seen, which only a ledger can know. `proofs.py` makes the proofs.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select, text, update

from host_tools.crypto import sha256
from host_tools.ledger import bulk, history, revocation
from host_tools.ledger.guarantee import UNFUNDED, cover
from host_tools.ledger.parse import links_in
from host_tools.ledger.schema import UNCREDITED, dead_letters, devices, evidence, positions, transfers
from protocol.fraud import MAX_BODIES
from protocol.objects import Receipt, Transfer

MAX_REASON = 200
OUTSIDE_CHAIN = "posted, not part of the held chain"  # a dead letter's reason

# evidence.kind
TWO_HISTORIES = "two histories"
RECEIPT_AND_VOID = "receipt and void"
CUMULATIVE = "cumulative falls"
LEAVES_OUT_SOME = "leaves out some"  # a falling cumulative that takes more than these two Transfers to prove
ROLLED_BACK = "rolled back"
SUBMITTED = "submitted"


class Commitment(NamedTuple):
    """That a device committed to the record with this hash at a position, and the signed object that shows it.

    `proof` is None where the ledger holds the record itself: what vouches for it lies above it (`vouching`).
    """

    seq: int
    hash: bytes
    proof: bytes | None


def commit_to(
    connection: Connection, device: bytes, seq: int, digest: bytes, previous: bytes | None, proof: bytes, now: int
) -> None:
    """`proof`, a signed object, commits the device to `digest` at `seq` and, unless None, to `previous` before it."""
    for_others = torn(connection, device, seq, digest, previous)
    keep(connection, device, seq, digest, previous, proof)
    accuse(connection, device, for_others, proof, now)


def torn(connection: Connection, device: bytes, seq: int, digest: bytes, previous: bytes | None) -> list[Commitment]:
    """What the device committed to at these positions instead; one that it is known to have committed to is no news."""
    wanted = {seq: digest} if previous is None else {seq: digest, seq - 1: previous}
    known = commitments(connection, device, list(wanted))
    found = []
    for position, hash_there in wanted.items():
        there = [one for one in known if one.seq == position]
        if there and all(one.hash != hash_there for one in there):
            found.append(there[0])
    return found


def accuse(connection: Connection, device: bytes, others: list[Commitment], proof: bytes, now: int) -> None:
    """Freeze the device if `proof` commits it to anything else than these."""
    for other in others:
        first = other.proof or vouching(connection, device, other.seq)
        what = f"two histories at record {other.seq}"
        freeze(connection, device, TWO_HISTORIES, what, first, proof, now, other.seq)


def keep(connection: Connection, device: bytes, seq: int, digest: bytes, previous: bytes | None, proof: bytes) -> None:
    """Remember a commitment that neither `journals` nor `transfers` will show."""
    raise_shown(connection, device, seq)
    wanted = {seq: digest} if previous is None else {seq: digest, seq - 1: previous}
    of_device = select(positions.c.seq, positions.c.hash).where(positions.c.device == device)
    known = {tuple(row) for row in connection.execute(of_device.where(positions.c.seq.in_(wanted)))}
    for position, hash_there in wanted.items():
        if (position, hash_there) not in known:
            connection.execute(positions.insert().values(device=device, seq=position, hash=hash_there, proof=proof))


def raise_shown(connection: Connection, device: bytes, seq: int) -> None:
    """Something else than a payment has shown this position of its journal."""
    lower = update(devices).where(devices.c.id == device, devices.c.shown_seq < seq)
    connection.execute(lower.values(shown_seq=seq))


def commitments(connection: Connection, device: bytes, seqs: list[int]) -> list[Commitment]:
    """All that the device is known to have committed to at these positions, wherever the ledger keeps it.

    Of one hash any number; those that a signed object names itself come before those that follow from one above.
    """
    around = sorted({at for seq in seqs for at in (seq, seq + 1)})
    paid = select(transfers.c.seq, transfers.c.hash, transfers.c.transfer)
    took = select(transfers.c.receipt).where(transfers.c.payee == device, text(UNCREDITED))
    kept = select(positions.c.seq, positions.c.hash, positions.c.proof).where(positions.c.device == device)
    own: list[Commitment] = []
    before: list[Commitment] = []
    for row in connection.execute(paid.where(transfers.c.payer == device, transfers.c.seq.in_(around))):
        own.append(Commitment(row.seq, row.hash, row.transfer))
        before.append(Commitment(row.seq - 1, Transfer.decode(row.transfer).previous, row.transfer))
    for signed in connection.execute(took.where(transfers.c.receipt_seq.in_(around))).scalars():
        receipt = Receipt.decode(signed)
        own.append(Commitment(receipt.seq, sha256(receipt.body()), signed))
        before.append(Commitment(receipt.seq - 1, receipt.previous, signed))
    others = [Commitment(*row) for row in connection.execute(kept.where(positions.c.seq.in_(seqs)))]
    others += [Commitment(one.seq, one.hash, None) for one in history.at(connection, device, seqs)]
    return [one for one in own + before + others if one.seq in seqs]


def vouching(connection: Connection, device: bytes, seq: int) -> bytes:
    """The lowest object of the device's that vouches for the record held at `seq`: its own, or a Statement above it."""
    heads = select(positions.c.proof).where(positions.c.device == device)
    for held in history.read(connection, device, seq, seq + MAX_BODIES - 1):
        if held.signed is not None:
            return held.signed
        stated = connection.execute(heads.where(positions.c.seq == held.seq, positions.c.hash == held.hash))
        proof = stated.scalar_one_or_none()
        if proof is not None:
            return proof
    return b""


def shown(connection: Connection, heads: Mapping[bytes, int]) -> Iterator[tuple[bytes, int, bytes]]:
    """What devices have committed to from the ledger's heads on, by what is not in their chains yet.

    That is the device, the position and the hash. `heads` are the positions of the heads.
    """
    yield from shown_unpaid(connection, heads)
    yield from shown_paid(connection, heads)


def shown_paid(connection: Connection, heads: Mapping[bytes, int]) -> Iterator[tuple[bytes, int, bytes]]:
    """The same, only what they have committed to by what they paid."""
    row = ("payer", "seq", "hash", "transfer")
    for who, seq, digest, signed in bulk.above(connection, transfers, ("payer", "seq"), row, heads):
        yield who, seq, digest
        yield who, seq - 1, links_in(signed)[0]


_UNCREDITED = select(transfers.c.payee, transfers.c.receipt_seq, transfers.c.receipt).where(text(UNCREDITED))


def shown_unpaid(connection: Connection, heads: Mapping[bytes, int]) -> Iterator[tuple[bytes, int, bytes]]:
    """The same, without that: nothing of a device whose `shown_seq` is lower than its head."""
    at_head = {who: head - 1 for who, head in heads.items()}
    yield from bulk.above(connection, positions, ("device", "seq"), ("device", "seq", "hash"), at_head)
    # Receipts that others have brought, and the payees' journals have not shown: few
    for who, seq, signed in bulk.fetch(connection, _UNCREDITED, transfers.c.payee, heads):
        if signed is not None and seq > heads[bytes(who)]:
            receipt = Receipt.decode(signed)
            yield who, seq, sha256(receipt.body())
            yield who, seq - 1, receipt.previous


_HIGHEST = (
    select(func.max(transfers.c.seq)).where(transfers.c.payer == devices.c.id),
    select(func.max(transfers.c.receipt_seq)).where(transfers.c.payee == devices.c.id),
    select(func.max(positions.c.seq)).where(positions.c.device == devices.c.id),
)
_SEEN = select(devices.c.id, devices.c.head_seq, *[one.scalar_subquery() for one in _HIGHEST])


def seen_seqs(connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, int]:
    """The highest position the ledger has seen each of these devices commit to."""
    return {
        bytes(who): max(seq or 0 for seq in seen) for who, *seen in bulk.fetch(connection, _SEEN, devices.c.id, wanted)
    }


def freeze_rolled_back(connection: Connection, device: bytes, seq: int, seen: int, statement: bytes, now: int) -> None:
    """The Statement's head is `seq`, though the device had committed to `seen` before its nonce was given out.

    When the nonce was given out is the ledger's word, so this proves nothing to anybody else.
    """
    shown = commitments(connection, device, [seen])
    proof = (shown[0].proof or vouching(connection, device, seen)) if shown else b""
    what = f"rolled back to record {seq} after record {seen} (known to this ledger; no proof for others)"
    freeze(connection, device, ROLLED_BACK, what, proof, statement, now)


def freeze(
    connection: Connection,
    device: bytes,
    kind: str,
    what: str,
    first: bytes,
    second: bytes,
    now: int,
    position: int | None = None,
) -> None:
    """Keep the two objects and sign nothing for the device any more. The first reason stays.

    The same two objects are kept once, whoever brought them and whichever came first.
    """
    digest = sha256(device + b"".join(sorted((sha256(first), sha256(second)))))
    if connection.execute(select(evidence.c.id).where(evidence.c.digest == digest)).first() is None:
        values = {"device": device, "kind": kind, "what": what[:MAX_REASON], "first": first, "second": second}
        values["position"] = position
        connection.execute(evidence.insert().values(digest=digest, at=now, **values))
    good = or_(devices.c.frozen.is_(None), devices.c.frozen == UNFUNDED)
    freezing = update(devices).where(devices.c.id == device, good).values(frozen=what[:MAX_REASON])
    if connection.execute(freezing).rowcount:
        revocation.await_every_list(connection, device)
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
    if connection.execute(select(dead_letters.c.at).where(*same)).first() is None:
        kept = {"device": device, "record_hash": digest, "record": record, "body_hash": body_hash}
        connection.execute(dead_letters.insert().values(reason=reason, at=now, **kept))


def joined_chain(connection: Connection, device: bytes, raw_records: list[bytes]) -> None:
    """These are in `journals` now: what was kept of them because they lay outside the chain is not needed any more."""
    outside = (dead_letters.c.device == device, dead_letters.c.reason == OUTSIDE_CHAIN)
    kept = set(connection.execute(select(dead_letters.c.record_hash).where(*outside)).scalars())
    for digest in kept.intersection(map(sha256, raw_records)) if kept else ():
        connection.execute(dead_letters.delete().where(*outside, dead_letters.c.record_hash == digest))
