"""What people, proofs and redemptions add: evidence and who is frozen for it, who is revoked, decisions, Requests."""

from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from host_tools.crypto import sha256
from host_tools.ledger import decisions as deciding
from host_tools.ledger import redeem
from host_tools.ledger.audit import reasons
from host_tools.ledger.audit.findings import Findings
from host_tools.ledger.audit.reading import decoded, rows
from host_tools.ledger.audit.signatures import Signatures
from host_tools.ledger.guarantee import UNFUNDED
from host_tools.ledger.schema import (
    decisions,
    devices,
    evidence,
    redemptions,
    resolutions,
    revoked,
    submitted_proofs,
    transfers,
    unlisted,
)
from protocol.objects import OPERATOR_PAYEE, Receipt, Resolution, Statement, Transfer, Void

SIGNED: dict[int, Any] = {kind.TYPE: kind for kind in (Transfer, Receipt, Void, Statement)}


def check(connection: Connection, keys: dict[int, bytes], signatures: Signatures, findings: Findings) -> None:
    """`keys` are the operators'."""
    _frozen(connection, findings)
    _revoked(connection, findings)
    _waiting(connection, findings)
    _evidence(connection, signatures, findings)
    _decisions(connection, findings)
    _resolutions(connection, keys, signatures, findings)
    _redemptions(connection, signatures, findings)


def _frozen(connection: Connection, findings: Findings) -> None:
    """Who is frozen for what it signed, for what is kept of it."""
    why = select(evidence.c.id).where(evidence.c.device == devices.c.id, evidence.c.what == devices.c.frozen).exists()
    unproven = select(devices.c.id, devices.c.frozen).where(
        devices.c.frozen.is_not(None), devices.c.frozen != UNFUNDED, ~why
    )
    for who, what in connection.execute(unproven):
        findings.differ("why it is frozen", f"device {who.hex()}", what, "evidence of it")


def _revoked(connection: Connection, findings: Findings) -> None:
    """Its own operator's list names a device once it is revoked or frozen for fraud; who is lost is revoked at once,
    though a full list may not name it yet.
    """
    listed = select(revoked.c.who).where(revoked.c.who == devices.c.id, revoked.c.issuer == devices.c.operator).exists()
    good = or_(devices.c.frozen.is_(None), devices.c.frozen == UNFUNDED)
    is_lost = devices.c.lost_at.is_not(None)
    whose = select(devices.c.id, devices.c.revoked)
    for query, why in (
        (
            whose.where(devices.c.revoked.is_(False), or_(is_lost, and_(listed, good))),
            "lost, or on its operator's list",
        ),
        (whose.where(devices.c.revoked.is_(True), ~is_lost, ~listed), "neither lost nor on its operator's list"),
    ):
        for who, kept in connection.execute(query):
            findings.differ("whether it is revoked", f"device {who.hex()}", kept, why)


def _waiting(connection: Connection, findings: Findings) -> None:
    """Only who is frozen for fraud waits for a list, and who was lost for its own operator's."""
    for row in connection.execute(
        select(unlisted, devices.c.operator, devices.c.frozen, devices.c.lost_at).outerjoin(
            devices, devices.c.id == unlisted.c.who
        )
    ):
        theirs = row.operator != row.issuer
        belongs = row.frozen not in (None, UNFUNDED) or (row.lost_at is not None and not theirs)
        if not belongs or row.theirs != theirs:
            where = f"device {row.who.hex()}, operator {row.issuer}"
            findings.differ("whether it waits for a list", where, "waits", "as it is frozen or lost, and whose it is")


def _evidence(connection: Connection, signatures: Signatures, findings: Findings) -> None:
    whose = select(evidence, devices.c.key.label("key_of"), devices.c.frozen).join(
        devices, devices.c.id == evidence.c.device
    )
    submitted = select(submitted_proofs.c.device, submitted_proofs.c.kind)
    brought = {(who, kind) for who, kind in connection.execute(submitted)}
    for page in rows(connection, whose, evidence.c.id):
        for row in page:
            where = f"evidence {row.id} against device {row.device.hex()}"
            findings.checked["evidence"] += 1
            digest = sha256(row.device + b"".join(sorted((sha256(row.first), sha256(row.second)))))
            findings.same("its digest", where, row.digest, digest)
            if row.frozen in (None, UNFUNDED):
                findings.differ("whether the device is frozen", where, row.frozen, row.what)
            signed = [_signed(row, data, where, signatures, findings) for data in (row.first, row.second)]
            if not reasons.is_so(row, signed[0], signed[1], brought):
                kept = f"{row.kind}, {row.position}, {row.what}"
                findings.differ("what it proves", where, kept, "what its objects show")


def _signed(row: Row, data: bytes, where: str, signatures: Signatures, findings: Findings) -> Any:
    """One of the two objects; None where there is none."""
    signed = decoded(findings, SIGNED.get(data[0], Statement), data, where) if data else None
    if signed is not None:
        signatures.check(signed, row.key_of, where)
    return signed


def _decisions(connection: Connection, findings: Findings) -> None:
    """As many payments were decided as decisions say (each was compared with its own), and disputes lifted so far."""
    decided = select(func.count()).select_from(transfers).where(transfers.c.decided.is_not(None))
    made = select(func.count()).select_from(decisions).where(decisions.c.transfer.is_not(None))
    kept, follows = connection.execute(decided).scalar_one(), connection.execute(made).scalar_one()
    findings.same("how many were decided by people", "payments", kept, follows)
    findings.checked["decisions"] += follows
    lifted = (
        select(decisions.c.device, func.max(decisions.c.amount).label("amount"))
        .where(decisions.c.what == deciding.CLEAR)
        .group_by(decisions.c.device)
        .subquery()
    )
    cleared = func.coalesce(lifted.c.amount, 0)
    odd = select(devices.c.id, devices.c.cleared, cleared).outerjoin(lifted, lifted.c.device == devices.c.id)
    for who, there, right in connection.execute(odd.where(devices.c.cleared != cleared)):
        findings.differ("up to where its dispute is lifted", f"device {who.hex()}", there, right)


def _resolutions(connection: Connection, keys: dict[int, bytes], signatures: Signatures, findings: Findings) -> None:
    for page in rows(connection, select(resolutions), resolutions.c.transfer):
        for row in page:
            where = f"Resolution of payment {row.transfer.hex()}"
            findings.checked["resolutions"] += 1
            said = decoded(findings, Resolution, row.resolution, where)
            if said is not None:
                findings.same("its payment", where, row.transfer, said.transfer)
                signatures.check(said, keys.get(said.operator, b""), where)


def _redemptions(connection: Connection, signatures: Signatures, findings: Findings) -> None:
    """A Request of the ledger's own payees that was paid has the Receipt which that payee's journal and the payment
    have."""
    payees = select(devices).where(devices.c.kind >= OPERATOR_PAYEE << 4)
    for payee in connection.execute(payees).all():
        of_payee = select(redemptions).where(redemptions.c.payee == payee.id)
        for page in rows(connection, of_payee, redemptions.c.number):
            for row in page:
                findings.checked["redemptions"] += 1
                where = f"Request {row.number} of the payee {payee.name}"
                paid = row.state == redeem.CREDITED
                findings.same(
                    "whether it was paid", where, (row.transfer is not None, row.receipt is not None), (paid, paid)
                )
                if row.receipt is not None:
                    _paid(connection, payee, row, where, signatures, findings)


def _paid(
    connection: Connection, payee: Row, request: Row, where: str, signatures: Signatures, findings: Findings
) -> None:
    receipt = decoded(findings, Receipt, request.receipt, where)
    if receipt is None:
        return
    signatures.check(receipt, payee.key, where)
    findings.same("the payment", where, request.transfer, receipt.transfer)
    there = select(transfers.c.payer, transfers.c.amount, transfers.c.receipt).where(
        transfers.c.payee == payee.id, transfers.c.receipt_seq == receipt.seq, transfers.c.hash == receipt.transfer
    )
    row = connection.execute(there).first()
    kept = (row.payer, row.amount, row.receipt) if row else None
    findings.same("the payment", where, kept, (request.device, request.amount, request.receipt))
