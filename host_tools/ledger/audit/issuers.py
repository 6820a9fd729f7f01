"""What the root and the operators have signed of themselves: operators' certificates and revocation lists."""

from sqlalchemy import Connection, select

from host_tools.crypto import sha256
from host_tools.ledger.audit.findings import Findings
from host_tools.ledger.audit.reading import decoded
from host_tools.ledger.audit.signatures import Signatures
from host_tools.ledger.schema import info, operators, revocations, revoked
from protocol.objects import NO_HASH, OperatorCertificate, Revocations
from protocol.trust import ROOT_ISSUER


def check(connection: Connection, signatures: Signatures, findings: Findings) -> dict[int, bytes]:
    """Returns the operators' keys by their numbers."""
    roots = connection.execute(select(info.c.root_key)).scalars().all()
    findings.same("how many rows it has", info.name, len(roots), 1)
    root = (roots[0] if roots else None) or b""
    keys: dict[int, bytes] = {}
    for row in connection.execute(select(operators)).all():
        where = f"operator {row.operator}"
        findings.checked["operators"] += 1
        keys[row.operator] = row.key
        certificate = decoded(findings, OperatorCertificate, row.certificate, where)
        if certificate is not None:
            said = (certificate.operator, certificate.issue, certificate.key)
            findings.same("its certificate", where, (row.operator, row.issue, row.key), said)
            signatures.check(certificate, root, where)
    for issuer, key in ((ROOT_ISSUER, root), *keys.items()):
        _lists(connection, issuer, key, signatures, findings)
    _strangers(connection, keys, findings)
    return keys


def _lists(connection: Connection, issuer: int, key: bytes, signatures: Signatures, findings: Findings) -> None:
    """Each list says what changed, and `revoked` has exactly that."""
    whose = f"revocation lists of operator {issuer}" if issuer else "revocation lists of the root"
    listed: dict[bytes, int] = {}
    base: Revocations | None = None
    expected: dict[tuple[int, bytes], int] = {}
    published = select(revocations).where(revocations.c.issuer == issuer).order_by(revocations.c.epoch)
    for epoch, row in enumerate(connection.execute(published).all(), 1):
        where = f"{whose}, epoch {row.epoch}"
        findings.checked["revocation lists"] += 1
        made = decoded(findings, Revocations, row.revocations, where)
        if made is None:
            continue
        signatures.check(made, key, where)
        findings.same("its number", where, (row.epoch, row.complete), (epoch, made.predecessor == 0))
        findings.same("its issuer and epoch", where, (issuer, row.epoch), (made.issuer, made.epoch))
        base = made if made.predecessor == 0 else base
        before = (base.epoch, sha256(base.body())) if base and base is not made else (0, NO_HASH)
        findings.same("the list before it", where, (made.predecessor, made.predecessor_hash), before)
        now = {who: minimum for who, minimum in (_entries(base) | _entries(made)).items() if minimum}
        for who in now.keys() | listed.keys():
            if now.get(who, 0) != listed.get(who, 0):
                expected[row.epoch, who] = now.get(who, 0)
        listed = now
    kept = connection.execute(
        select(revoked.c.epoch, revoked.c.who, revoked.c.minimum).where(revoked.c.issuer == issuer)
    )
    found = {(epoch, who): minimum for epoch, who, minimum in kept}
    for epoch, who in sorted(found.keys() | expected.keys()):
        where = f"{whose}, epoch {epoch}, entry {who.hex()}"
        findings.same("the lowest good issue", where, found.get((epoch, who)), expected.get((epoch, who)))


def _entries(made: Revocations | None) -> dict[bytes, int]:
    return dict(made.entries) if made is not None else {}


def _strangers(connection: Connection, keys: dict[int, bytes], findings: Findings) -> None:
    """Lists of issuers that are none."""
    for table in (revocations, revoked):
        for issuer in connection.execute(select(table.c.issuer).distinct()).scalars():
            if issuer != ROOT_ISSUER and issuer not in keys:
                findings.differ("the issuer of a list", f"{table.name}, operator {issuer}", issuer, "a known operator")
