"""Fraud proofs: what the ledger holds against a device, made so that anybody can check it with only the root key.

A proof is two objects that the device signed and, for two histories, the bodies of the records that hash into them,
from the signed one down to the position of the conflict. The ledger has them all: the chain is in `journals`, what lies
outside it among the dead letters, and each position names the object that committed to it.
"""

import json
from collections.abc import Iterator

from sqlalchemy import Connection, Row, select, text

from host_tools.crypto import sha256, verify
from host_tools.ledger import evidence, history, registry
from host_tools.ledger.errors import NotProven
from host_tools.ledger.parse import parse
from host_tools.ledger.schema import UNCREDITED, dead_letters, devices, positions, submitted_proofs, transfers
from host_tools.ledger.schema import evidence as evidence_table
from protocol import fraud
from protocol.errors import DecodeError
from protocol.fraud import Commitment, FraudProof
from protocol.objects import SIGNATURE_BYTES, Receipt, Statement, Transfer

_KINDS: dict[int, type[Transfer] | type[Receipt] | type[Statement]] = {
    kind.TYPE: kind for kind in (Transfer, Receipt, Statement)
}
_PREVIOUS = slice(6, 38)  # in the body of every record

# Of what a cheat can make any number of, so many are looked at: one is enough.
_MAX_TORN = 100  # positions with two records, the lowest
_MAX_SUMS = 4  # Transfers that leave out some of what was paid, the newest

_Pair = tuple[Commitment, Commitment]


def against(connection: Connection, who: bytes | None) -> list[FraudProof]:
    """The proofs against one device, or against all: at most one of two histories for each, and all others.

    None are among them against who went back behind what only this ledger has seen, or left out of its sum what no two
    signatures that the ledger has of it show together.
    """
    if who is None:
        accused = select(devices).where(devices.c.frozen.is_not(None)).order_by(devices.c.id)
        return [proof for device in connection.execute(accused).all() for proof in _against(connection, device)]
    return _against(connection, registry.device(connection, who))


def submit(connection: Connection, proof: FraudProof, now: int) -> bytes:
    """Freeze the device that the proof convicts. Returns its id. Raises `NotProven`, `UnknownDevice`."""
    try:
        finding = fraud.check(proof, registry.root_key(connection), sha256, verify)
    except fraud.NotProven as error:
        raise NotProven(f"This proves no fraud: {error}", "Nobody is frozen for it") from error
    device = registry.locked(connection, finding.device)
    if finding.kind in [kind for kind, _ in _found(connection, device)]:
        return device.id  # frozen for that already: of one kind one proof is enough
    values = {"device": device.id, "kind": finding.kind, "proof": json.dumps(_to_json(proof)), "at": now}
    connection.execute(submitted_proofs.insert().values(**values))
    first, second = proof.first.signed, proof.second.signed
    evidence.freeze(connection, device.id, evidence.SUBMITTED, f"proven to it: {finding.kind}", first, second, now)
    return device.id


def _against(connection: Connection, device: Row) -> list[FraudProof]:
    return [proof for _, proof in _found(connection, device)]


def _found(connection: Connection, device: Row) -> list[tuple[str, FraudProof]]:
    """With the kind of each: the ledger's own, and those that others brought of other kinds."""
    operator = registry.operator_certificate(connection, device.operator)
    newest = registry.certificate_of(connection, device.id, device.issue)
    if newest is None:
        return []

    def proof(pair: _Pair) -> FraudProof:
        signed = [_decoded(one.signed) for one in pair]
        later = max([one for one in signed if isinstance(one, Transfer)], key=lambda one: one.seq, default=None)
        named = registry.certificate_of(connection, device.id, later.payer_issue) if later else None
        return FraudProof(operator.encode(), (named or newest)[0].encode(), *pair)

    found = [(fraud.TWO_HISTORIES, proof(pair)) for pair in _two_histories(connection, device.id)]
    kept = select(evidence_table).where(
        evidence_table.c.device == device.id,
        evidence_table.c.kind.in_((evidence.RECEIPT_AND_VOID, evidence.CUMULATIVE)),
    )
    for row in connection.execute(kept.order_by(evidence_table.c.id)):
        found.append((row.kind, proof((Commitment(row.first, ()), Commitment(row.second, ())))))
    if fraud.CUMULATIVE not in dict(found):
        root = registry.root_key(connection)
        sums = (proof(pair) for pair in _sums(connection, device.id))
        found += [(fraud.CUMULATIVE, one) for one in sums if _proves_sum(one, root)][:1]
    own = dict(found)
    brought = select(submitted_proofs).where(submitted_proofs.c.device == device.id).order_by(submitted_proofs.c.kind)
    for row in connection.execute(brought):
        if row.kind not in own:
            found.append((row.kind, _from_json(json.loads(row.proof))))
    return found


def _two_histories(connection: Connection, who: bytes) -> list[_Pair]:
    """The shortest proof that the device committed to two records at one position, if it did."""
    at: dict[int, list[evidence.Commitment]] = {}
    for one in evidence.commitments(connection, who, _torn_positions(connection, who)):
        if one.proof is None:
            one = one._replace(proof=evidence.vouching(connection, who, one.seq))
        at.setdefault(one.seq, []).append(one)
    pairs = []
    for there in at.values():
        nearest: dict[bytes, evidence.Commitment] = {}
        for one in sorted(there, key=_distance):
            nearest.setdefault(one.hash, one)
        if len(nearest) > 1:
            pairs.append(tuple(nearest.values())[:2])
    for pair in sorted(pairs, key=lambda pair: sum(map(_distance, pair))):
        first, second = (_commitment(connection, who, one) for one in pair)
        if first and second:
            return [(first, second)]
    return []


def _torn_positions(connection: Connection, who: bytes) -> list[int]:
    """Where it was seen to commit to two records, the lowest, and beside them: one step may make a shorter proof."""
    seen = select(evidence_table.c.position).where(
        evidence_table.c.device == who, evidence_table.c.kind == evidence.TWO_HISTORIES
    )
    torn = connection.execute(seen.order_by(evidence_table.c.position).limit(_MAX_TORN)).scalars()
    return sorted({near for at in torn for near in (at - 1, at, at + 1)})


def _sums(connection: Connection, who: bytes) -> Iterator[_Pair]:
    """What may prove that a Transfer leaves out some of what was paid above its base.

    It commits to the records that lead down from it, as far as the ledger has them; beside it stands the one Transfer
    that with those below it says the most of what is missing there.
    """
    kept = select(evidence_table.c.second).where(
        evidence_table.c.device == who, evidence_table.c.kind == evidence.LEAVES_OUT_SOME
    )
    newest = kept.order_by(evidence_table.c.id.desc()).limit(_MAX_SUMS)
    for signed in connection.execute(newest).scalars().all():
        later = Transfer.decode(signed)
        certificate = registry.certificate_of(connection, who, later.payer_issue)
        base = certificate[0].base_seq if certificate else 0
        paid = select(transfers.c.transfer, transfers.c.hash).where(
            transfers.c.payer == who, transfers.c.seq > base, transfers.c.seq < later.seq
        )
        own = _led_by(connection, later, base)
        said = {sha256(body) for body in own.bodies}
        beside, most = Commitment(signed, ()), 0
        for row in connection.execute(paid.order_by(transfers.c.seq.desc())).all():
            if row.hash not in said:
                run = _led_by(connection, Transfer.decode(row.transfer), base)
                said |= {sha256(body) for body in run.bodies}
                amount = _amount(run)
                if amount > most:
                    beside, most = run, amount
        yield beside, own


def _led_by(connection: Connection, transfer: Transfer, base: int) -> Commitment:
    """The Transfer with the bodies of all records below it and above `base` that the ledger has in one run."""
    bodies = _bodies(connection, transfer.payer, transfer.seq - 1, transfer.previous, base)
    return Commitment(transfer.encode(), tuple(bodies))


def _amount(run: Commitment) -> int:
    bodies = [body + bytes(SIGNATURE_BYTES) for body in run.bodies if body[0] == Transfer.TYPE]
    return sum(Transfer.decode(signed).amount for signed in (run.signed, *bodies))


def _proves_sum(proof: FraudProof, root: bytes) -> bool:
    try:
        return fraud.check(proof, root, sha256, verify).kind == fraud.CUMULATIVE
    except fraud.NotProven:
        return False


def _distance(one: evidence.Commitment) -> int:
    """How many records lie between what the object names itself and the position it commits to."""
    signed = _decoded(one.proof or b"")
    return max(signed.seq - one.seq, 0) if signed else 1 << 32


def _decoded(signed: bytes) -> Transfer | Receipt | Statement | None:
    kind = _KINDS.get(signed[0] if signed else 0)
    try:
        return kind.decode(signed) if kind else None
    except DecodeError:
        return None


def _commitment(connection: Connection, who: bytes, one: evidence.Commitment) -> Commitment | None:
    """The object with the bodies that lead from it to the position; None if nothing signed leads there."""
    proof = one.proof or b""
    signed = _decoded(proof)
    if signed is None:
        return None
    if isinstance(signed, Statement):
        seq, digest = signed.seq, signed.head
    elif signed.seq == one.seq:
        return Commitment(proof, ())
    else:
        seq, digest = signed.seq - 1, signed.previous
    bodies = _bodies(connection, who, seq, digest, one.seq)
    reached = (seq - len(bodies), bodies[-1][_PREVIOUS] if bodies else digest)
    return Commitment(proof, tuple(bodies)) if reached == (one.seq, one.hash) else None


def _bodies(connection: Connection, who: bytes, seq: int, digest: bytes, down_to: int) -> list[bytes]:
    """The bodies from this position to the one above `down_to`, newest first, as far as the ledger has them."""
    bodies: list[bytes] = []
    while seq > down_to and len(bodies) < fraud.MAX_BODIES:
        body = _body(connection, who, seq, digest)
        if body is None:
            break
        bodies.append(body)
        seq, digest = seq - 1, body[_PREVIOUS]
    return bodies


def _body(connection: Connection, who: bytes, seq: int, digest: bytes) -> bytes | None:
    """Of a device's record, by position and hash, wherever the ledger keeps it."""
    for held in history.at(connection, who, (seq,)):
        if held.hash == digest:
            return held.body
    aside = select(dead_letters.c.record).where(dead_letters.c.device == who, dead_letters.c.body_hash == digest)
    raw = connection.execute(aside).scalars().first()
    if raw is not None:
        return parse(raw).body
    paid = select(transfers.c.transfer).where(
        transfers.c.payer == who, transfers.c.seq == seq, transfers.c.hash == digest
    )
    took = select(transfers.c.receipt).where(transfers.c.payee == who, transfers.c.receipt_seq == seq, text(UNCREDITED))
    named = select(positions.c.proof).where(
        positions.c.device == who, positions.c.seq == seq, positions.c.hash == digest
    )
    for query in (paid, took, named):
        for proof in connection.execute(query).scalars().all():
            signed = _decoded(proof)
            if isinstance(signed, Transfer | Receipt) and sha256(signed.body()) == digest:
                return signed.body()
    return None


def _to_json(proof: FraudProof) -> list:
    pair = [[one.signed.hex(), [body.hex() for body in one.bodies]] for one in (proof.first, proof.second)]
    return [proof.operator_certificate.hex(), proof.certificate.hex(), *pair]


def _from_json(kept: list) -> FraudProof:
    operator, certificate, *pair = kept
    pair = [Commitment(bytes.fromhex(signed), tuple(map(bytes.fromhex, bodies))) for signed, bodies in pair]
    return FraudProof(bytes.fromhex(operator), bytes.fromhex(certificate), *pair)
