"""One device in the audit: who it is, its Certificates, its Statements, and what it posted from outside its chain."""

from typing import Any

from sqlalchemy import Connection, Row, or_, select

from host_tools.crypto import sha256
from host_tools.ledger import books, evidence
from host_tools.ledger.audit.answers import Answers
from host_tools.ledger.audit.findings import SHOWN, Findings
from host_tools.ledger.audit.histories import Commitments
from host_tools.ledger.audit.reading import decoded
from host_tools.ledger.audit.signatures import Signatures
from host_tools.ledger.parse import parse
from host_tools.ledger.schema import dead_letters, positions, syncs
from protocol.errors import DecodeError
from protocol.objects import OPERATOR_PAYEE, Acknowledgement, Certificate, Receipt, Statement, Transfer, device_id
from protocol.records import Closing, Installation, Loading

_SIGNED: dict[bytes, Any] = {bytes((kind.TYPE,)): kind for kind in (Transfer, Receipt, Statement)}

_Fact = tuple[str, int, bytes]  # what, at which record, of which hash


class Party:
    """A device while its journal is read. `row` is of `devices`, with its purse and account beside it; `committed` is
    what it committed to beside its journal.
    """

    def __init__(self, row: Row, operator_key: bytes, committed: Commitments):
        self.row = row
        self.operator_key = operator_key
        self.committed = committed
        self.where = f"device {row.id.hex()}"
        self.statement = _statement(row)
        self.read_to = 0  # the record up to which it has been compared
        self.loaded: set[bytes] = set()  # hashes of the loads that its journal shows
        self.newest_installed = 0
        self.issued: set[bytes] = set()  # Certificates, Acknowledgements, Loads
        self.synced: dict[bytes, str] = {}  # Certificates that only a sync can have brought, and where they are
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
        party.issued |= {kept.certificate, kept.acknowledgement}
        if kept.issue > 1 and row.kind >> 4 != OPERATOR_PAYEE:
            party.synced[kept.certificate] = where
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


def check_standing(
    connection: Connection, party: Party, answers: Answers, signatures: Signatures, findings: Findings
) -> None:
    """Its syncs: each Statement that was settled is signed by it, what was answered is kept, and the watermark and
    floors are those of one of them.
    """
    row, where = party.row, party.where
    floors = [0]
    settled: dict[bytes, Statement] = {}
    kept = select(syncs.c.nonce, syncs.c.statement, syncs.c.answer).where(
        syncs.c.device == row.id, or_(syncs.c.statement.is_not(None), syncs.c.answer.is_not(None))
    )
    for nonce, signed, answer in connection.execute(kept.order_by(syncs.c.id)):
        sync = f"sync {nonce.hex()} of {where}"
        findings.checked["statements"] += 1
        said = decoded(findings, Statement, signed, sync)
        if said is not None:
            signatures.check(said, row.key, sync)
            findings.same("whose Statement it is", f"sync {nonce.hex()}", (said.device, said.nonce), (row.id, nonce))
            floors.append(said.load_floor)
            settled[signed] = said
        for answered in answers.check(answer, party.issued, party.operator_key, sync):
            party.synced.pop(answered, None)
    for issued in party.synced.values():
        findings.differ("the sync that it was issued in", issued, None, "kept")
    _check_positions(connection, party, settled, signatures, findings)
    if row.statement is None:
        findings.same("its watermark", where, row.watermark, 0)
    else:
        statement = decoded(findings, Statement, row.statement, f"the Statement of {where}")
        if statement is None:
            return
        signatures.check(statement, row.key, f"the Statement of {where}")
        if row.statement not in settled:
            findings.differ("the sync of its Statement", where, None, row.statement)
        findings.same("its watermark", where, (row.id, row.watermark), (statement.device, statement.watermark))
        if statement.seq > row.head_seq:
            findings.differ("the Statement's head", where, statement.seq, f"{row.head_seq} or less")
        floors.append(statement.load_floor)
        if row.load_floor < statement.load_floor:
            findings.differ("its load floor", where, row.load_floor, statement.load_floor)
    if row.load_floor > max(floors):
        findings.differ("its load floor", where, row.load_floor, max(floors))


def _check_positions(
    connection: Connection, party: Party, settled: dict[bytes, Statement], signatures: Signatures, findings: Findings
) -> None:
    """What it committed to by objects that it signed: each Statement that was settled, and whatever else is kept.

    Those Statements have been checked.
    """
    proofs: dict[bytes, Any] = dict(settled)
    heads = {(said.seq, said.head) for said in settled.values()}
    kept = select(positions).where(positions.c.device == party.row.id)
    for row in connection.execute(kept):
        where = f"position {row.seq} of {party.where}"
        findings.checked["positions"] += 1
        heads.discard((row.seq, row.hash))
        is_held = row.seq < party.row.head_seq or (row.seq, row.hash) == (party.row.head_seq, party.row.head_hash)
        if not is_held and row.seq > party.row.shown_seq:
            findings.differ(SHOWN, where, party.row.shown_seq, row.seq)
        if row.proof not in proofs:
            proofs[row.proof] = signed = decoded(findings, _SIGNED.get(row.proof[:1], Statement), row.proof, where)
            if signed is not None:
                signatures.check(signed, party.row.key, where)
            if isinstance(signed, Statement):
                findings.differ("the sync of its Statement", where, None, row.proof)
        if proofs[row.proof] is not None:
            named = named_by(proofs[row.proof], row.seq)
            if named is not None:
                findings.same("what its proof commits to", where, row.hash, named)
    for seq, head in heads:
        findings.differ("a Statement's head", f"position {seq} of {party.where}", None, head)


def named_by(signed: Transfer | Receipt | Statement, seq: int) -> bytes | None:
    """The hash that the object itself names at a position, empty if it cannot say any; None where only the records
    between the two would tell.
    """
    if seq > signed.seq:
        return b""
    if isinstance(signed, Statement):
        return signed.head if seq == signed.seq else None
    if seq == signed.seq:
        return sha256(signed.body())
    return signed.previous if seq == signed.seq - 1 else None
