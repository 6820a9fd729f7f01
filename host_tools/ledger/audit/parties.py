"""One device in the audit: who it is, its Certificates, its Statements, and what it posted from outside its chain."""

from typing import Any

from sqlalchemy import Connection, Row, select

from host_tools.crypto import sha256
from host_tools.ledger import books, evidence
from host_tools.ledger.audit.findings import SHOWN, Findings
from host_tools.ledger.audit.reading import decoded
from host_tools.ledger.audit.signatures import Signatures
from host_tools.ledger.parse import parse
from host_tools.ledger.schema import dead_letters, positions, syncs
from protocol.errors import DecodeError
from protocol.objects import Acknowledgement, Certificate, Receipt, Statement, Transfer, device_id
from protocol.records import Closing, Installation, Loading

_SIGNED: dict[bytes, Any] = {bytes((kind.TYPE,)): kind for kind in (Transfer, Receipt, Statement)}

_Fact = tuple[str, int, bytes]  # what, at which record, of which hash


class Party:
    """A device while its journal is read. `row` is of `devices`, with its purse and account beside it."""

    def __init__(self, row: Row, operator_key: bytes):
        self.row = row
        self.operator_key = operator_key
        self.where = f"device {row.id.hex()}"
        self.statement = _statement(row)
        self.read_to = 0  # the record up to which it has been compared
        self.loaded: set[bytes] = set()  # hashes of the loads that its journal shows
        self.newest_installed = 0
        self.installed: dict[int, tuple[int, Any]] = {}  # by issue: where first, and the record
        self._outside: set[_Fact] | None = None

    def installs(self, issue: int, seq: int, record: Any) -> None:
        self.newest_installed = max(self.newest_installed, issue)
        self.installed.setdefault(issue, (seq, record))

    def outside(self, connection: Connection) -> set[_Fact]:
        """What records say that were posted and are not part of the chain; of an honest device none are."""
        if self._outside is None:
            kept = select(dead_letters.c.record).where(
                dead_letters.c.device == self.row.id, dead_letters.c.reason == evidence.OUTSIDE_CHAIN
            )
            self._outside = {fact for raw in connection.execute(kept).scalars() for fact in _facts(raw)}
        return self._outside


def _statement(row: Row) -> Statement | None:
    try:
        return Statement.decode(row.statement) if row.statement is not None else None
    except DecodeError:
        return None  # `check_standing` names it


def _facts(raw: bytes) -> list[_Fact]:
    try:
        entry = parse(raw)
    except DecodeError:
        return []
    body = entry.record.body
    if isinstance(body, Transfer):
        return [("debited", entry.seq, entry.hash)]
    if isinstance(body, Receipt):
        return [("credited", entry.seq, body.transfer)]
    if isinstance(body, Closing):
        return [("closed", entry.seq, body.transfer)]
    if isinstance(body, Loading):
        return [("loaded", 0, body.load)]
    assert isinstance(body, Installation)
    return [("installed", entry.seq, entry.record.certificate.issue.to_bytes(4, "big"))]


def check_identity(row: Row, findings: Findings) -> None:
    """Its key makes its id, and its money lies at its operator."""
    where = f"device {row.id.hex()}"
    findings.same("its id", where, row.id, device_id(row.key, sha256))
    purse = (row.purse_kind, row.purse_owner, row.purse_operator)
    findings.same("its purse", where, purse, (books.PURSE, row.id.hex(), row.operator))
    account = (row.account_kind, row.account_operator)
    findings.same("its account", where, account, (books.ACCOUNT, row.operator))


def check_certificates(
    connection: Connection, party: Party, issued: list[Row], signatures: Signatures, findings: Findings
) -> None:
    """All that were issued, without a gap, and where the journal first installs each."""
    row = party.row
    newest: Certificate | None = None
    for number, kept in enumerate(issued, 1):
        where = f"Certificate {kept.issue} of {party.where}"
        findings.checked["certificates"] += 1
        certificate = decoded(findings, Certificate, kept.certificate, where)
        acknowledgement = decoded(findings, Acknowledgement, kept.acknowledgement, where)
        if certificate is None or acknowledgement is None:
            continue
        newest = certificate
        for signed in (certificate, acknowledgement):
            signatures.check(signed, party.operator_key, where)
        said = (certificate.issue, certificate.key, certificate.operator, certificate.kind, certificate.mcc)
        findings.same("whom it is for", where, (kept.issue, row.key, row.operator, row.kind, row.mcc), said)
        findings.same("its number", where, kept.issue, number)
        beside = (acknowledgement.issue, acknowledgement.device, acknowledgement.base_seq)
        findings.same("its Acknowledgement", where, beside, (kept.issue, row.id, certificate.base_seq))
        _check_installed(connection, party, kept, where, findings)
    for issue in party.installed.keys() - {kept.issue for kept in issued}:
        findings.differ("a Certificate", f"{party.where}, issue {issue}", None, "installed by its journal")
    if newest is not None:
        now = (newest.issue, newest.valid_until, newest.base_seq)
        findings.same("its newest Certificate", party.where, (row.issue, row.valid_until, row.base_seq), now)
    else:
        findings.differ("its newest Certificate", party.where, None, row.issue)


def _check_installed(connection: Connection, party: Party, kept: Row, where: str, findings: Findings) -> None:
    seq, record = party.installed.get(kept.issue, (None, None))
    if record is not None:
        pair = (record.certificate.encode(), record.acknowledgement.encode())
        findings.same("its bytes", where, (kept.certificate, kept.acknowledgement), pair)
    if kept.installed_seq != seq:
        fact = ("installed", kept.installed_seq, kept.issue.to_bytes(4, "big"))
        if kept.installed_seq is None or fact not in party.outside(connection):
            findings.differ("where it was installed", where, kept.installed_seq, seq)


def check_standing(connection: Connection, party: Party, signatures: Signatures, findings: Findings) -> None:
    """Its Statements: each that was settled is signed by it, and the watermark and floors are those of one of them."""
    row, where = party.row, party.where
    floors = [0]
    checked = set()
    settled = select(syncs.c.nonce, syncs.c.statement).where(syncs.c.device == row.id, syncs.c.statement.is_not(None))
    for nonce, signed in connection.execute(settled.order_by(syncs.c.id)):
        findings.checked["statements"] += 1
        said = decoded(findings, Statement, signed, f"sync {nonce.hex()} of {where}")
        if said is not None:
            signatures.check(said, row.key, f"sync {nonce.hex()} of {where}")
            findings.same("whose Statement it is", f"sync {nonce.hex()}", (said.device, said.nonce), (row.id, nonce))
            floors.append(said.load_floor)
            checked.add(signed)
    _check_positions(connection, party, checked, signatures, findings)
    if row.statement is None:
        findings.same("its watermark", where, row.watermark, 0)
    else:
        statement = decoded(findings, Statement, row.statement, f"the Statement of {where}")
        if statement is None:
            return
        signatures.check(statement, row.key, f"the Statement of {where}")
        findings.same("its watermark", where, (row.id, row.watermark), (statement.device, statement.watermark))
        if statement.seq > row.head_seq:
            findings.differ("the Statement's head", where, statement.seq, f"{row.head_seq} or less")
        floors.append(statement.load_floor)
        if row.load_floor < statement.load_floor:
            findings.differ("its load floor", where, row.load_floor, statement.load_floor)
    if row.load_floor > max(floors):
        findings.differ("its load floor", where, row.load_floor, max(floors))


def _check_positions(
    connection: Connection, party: Party, checked: set[bytes], signatures: Signatures, findings: Findings
) -> None:
    """What it committed to elsewhere, by objects that it signed; Statements of syncs have been checked."""
    kept = select(positions).where(positions.c.device == party.row.id)
    for row in connection.execute(kept):
        where = f"position {row.seq} of {party.where}"
        findings.checked["positions"] += 1
        is_held = row.seq < party.row.head_seq or (row.seq, row.hash) == (party.row.head_seq, party.row.head_hash)
        if not is_held and row.seq > party.row.shown_seq:
            findings.differ(SHOWN, where, party.row.shown_seq, row.seq)
        if row.proof not in checked:
            checked.add(row.proof)
            signed = decoded(findings, _SIGNED.get(row.proof[:1], Statement), row.proof, where)
            if signed is not None:
                signatures.check(signed, party.row.key, where)
