"""Fraud proofs: what the ledger holds against a device, made so that anybody can check it with only the root key.

A proof is two objects that the device signed and, for two histories, the bodies of the records that hash into them,
from the signed one down to the position of the conflict. The ledger has them all: the chain is in `records`, what lies
outside it among the dead letters, and each position names the object that committed to it.
"""

import json
from collections.abc import Callable

from sqlalchemy import Connection, Row, func, select

from host_tools.crypto import sha256, verify
from host_tools.ledger import evidence, registry
from host_tools.ledger.errors import NotProven
from host_tools.ledger.schema import dead_letters, devices, positions, submitted_proofs
from host_tools.ledger.schema import evidence as evidence_table
from host_tools.ledger.schema import records as records_table
from protocol import fraud, records
from protocol.errors import DecodeError
from protocol.fraud import Commitment, FraudProof
from protocol.objects import Receipt, Statement, Transfer

_KINDS: dict[int, type[Transfer] | type[Receipt] | type[Statement]] = {
    kind.TYPE: kind for kind in (Transfer, Receipt, Statement)
}
_PREVIOUS = slice(6, 38)  # in the body of every record


def against(connection: Connection, who: bytes | None) -> list[FraudProof]:
    """The proofs against one device, or against all: at most one of two histories for each, and all others.

    None are among them against who went back behind what only this ledger has seen.
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
    device = registry.device(connection, finding.device)
    text = json.dumps(_to_json(proof))
    digest = sha256(text.encode())
    if connection.execute(select(submitted_proofs.c.id).where(submitted_proofs.c.digest == digest)).first() is None:
        values = {"digest": digest, "device": device.id, "proof": text, "at": now}
        connection.execute(submitted_proofs.insert().values(**values))
    first, second = proof.first.signed, proof.second.signed
    evidence.freeze(connection, device.id, evidence.SUBMITTED, f"proven to it: {finding.kind}", first, second, now)
    return device.id


def _against(connection: Connection, device: Row) -> list[FraudProof]:
    operator = registry.operator_certificate(connection, device.operator)
    newest = registry.certificate_of(connection, device.id, device.issue)
    if newest is None:
        return []

    def proof(first: Commitment, second: Commitment) -> FraudProof:
        signed = [_decoded(one.signed) for one in (first, second)]
        later = max([one for one in signed if isinstance(one, Transfer)], key=lambda one: one.seq, default=None)
        named = registry.certificate_of(connection, device.id, later.payer_issue) if later else None
        return FraudProof(operator.encode(), (named or newest)[0].encode(), first, second)

    pairs = _two_histories(connection, device.id)
    kept = select(evidence_table).where(
        evidence_table.c.device == device.id,
        evidence_table.c.kind.in_((evidence.RECEIPT_AND_VOID, evidence.CUMULATIVE)),
    )
    for row in connection.execute(kept.order_by(evidence_table.c.id)):
        pairs.append((Commitment(row.first, ()), Commitment(row.second, ())))
    brought = select(submitted_proofs.c.proof).where(submitted_proofs.c.device == device.id)
    others = connection.execute(brought.order_by(submitted_proofs.c.id)).scalars().all()
    found: dict[frozenset[Commitment], FraudProof] = {}
    for one in [proof(*pair) for pair in pairs] + [_from_json(json.loads(text)) for text in others]:
        found.setdefault(frozenset((one.first, one.second)), one)
    return list(found.values())


def _two_histories(connection: Connection, who: bytes) -> list[tuple[Commitment, Commitment]]:
    """The shortest proof that the device committed to two records at one position, if it did."""
    of_device = select(positions.c.seq).where(positions.c.device == who).group_by(positions.c.seq)
    torn = of_device.having(func.count() > 1).subquery()
    rows = connection.execute(
        select(positions).where(positions.c.device == who, positions.c.seq.in_(select(torn.c.seq)))
    ).all()
    at: dict[int, list[Row]] = {}
    for row in sorted(rows, key=_distance):
        at.setdefault(row.seq, []).append(row)
    for first, second, *_ in sorted(at.values(), key=lambda there: _distance(there[0]) + _distance(there[1])):
        body_of = _bodies(connection, who)
        commitments = [_commitment(row, body_of) for row in (first, second)]
        if commitments[0] and commitments[1]:
            return [(commitments[0], commitments[1])]
    return []


def _distance(row: Row) -> int:
    """How many records lie between what the object names itself and the position it commits to."""
    signed = _decoded(row.proof)
    return max(signed.seq - row.seq, 0) if signed else 1 << 32


def _decoded(signed: bytes) -> Transfer | Receipt | Statement | None:
    kind = _KINDS.get(signed[0] if signed else 0)
    try:
        return kind.decode(signed) if kind else None
    except DecodeError:
        return None


def _commitment(row: Row, body_of: Callable[[int, bytes], bytes | None]) -> Commitment | None:
    """The object with the bodies that lead from it to the position; None if nothing signed leads there."""
    signed = _decoded(row.proof)
    if signed is None:
        return None
    if isinstance(signed, Statement):
        seq, digest = signed.seq, signed.head
    elif signed.seq == row.seq:
        return Commitment(row.proof, ())
    else:
        seq, digest = signed.seq - 1, signed.previous
    bodies = []
    while (seq, digest) != (row.seq, row.hash):
        body = body_of(seq, digest) if seq > row.seq else None
        if body is None:
            return None
        bodies.append(body)
        seq, digest = seq - 1, body[_PREVIOUS]
    return Commitment(row.proof, tuple(bodies))


def _bodies(connection: Connection, who: bytes) -> Callable[[int, bytes], bytes | None]:
    """Finds the body of a device's record by position and hash, wherever the ledger keeps it."""
    aside: dict[bytes, bytes] = {}
    for raw in connection.execute(select(dead_letters.c.record).where(dead_letters.c.device == who)).scalars():
        try:
            body = records.decode(raw).body_bytes
        except DecodeError:
            continue
        aside[sha256(body)] = body

    def body_of(seq: int, digest: bytes) -> bytes | None:
        held = select(records_table.c.record).where(
            records_table.c.device == who, records_table.c.seq == seq, records_table.c.hash == digest
        )
        raw = connection.execute(held).scalar_one_or_none()
        if raw is not None:
            return records.decode(raw).body_bytes
        if digest in aside:
            return aside[digest]
        named = select(positions.c.proof).where(
            positions.c.device == who, positions.c.seq == seq, positions.c.hash == digest
        )
        signed = _decoded(connection.execute(named).scalar_one_or_none() or b"")
        if isinstance(signed, Transfer | Receipt) and sha256(signed.body()) == digest:
            return signed.body()
        return None

    return body_of


def _to_json(proof: FraudProof) -> list:
    pair = [[one.signed.hex(), [body.hex() for body in one.bodies]] for one in (proof.first, proof.second)]
    return [proof.operator_certificate.hex(), proof.certificate.hex(), *pair]


def _from_json(kept: list) -> FraudProof:
    operator, certificate, *pair = kept
    pair = [Commitment(bytes.fromhex(signed), tuple(map(bytes.fromhex, bodies))) for signed, bodies in pair]
    return FraudProof(bytes.fromhex(operator), bytes.fromhex(certificate), *pair)
