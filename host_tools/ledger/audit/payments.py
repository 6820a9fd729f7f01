"""Each Transfer: what it says, what the payee said of it, why a claim was refused, and so whose its money is.

The rules are `transfers`' own. What nearly all rows are, claimed by an honest payee of an honest payer, is decided here
from their Certificates at once, as the rules would; they are asked for every other row, one by one.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress

from sqlalchemy import Connection, Row, func, select, tuple_

from host_tools.crypto import sha256
from host_tools.ledger import books, bulk, transfers
from host_tools.ledger.audit.findings import SHOWN, Findings
from host_tools.ledger.audit.reading import PAGE, decoded, rows, shares
from host_tools.ledger.audit.signatures import Signatures
from host_tools.ledger.evidence import RECEIPT_AND_VOID
from host_tools.ledger.guarantee import fraudulent
from host_tools.ledger.schema import accounts, certificates, decisions, devices, revoked
from host_tools.ledger.schema import transfers as table
from protocol.errors import DecodeError, Refused
from protocol.limits import check_days, check_visible
from protocol.objects import OPERATOR_PAYEE, PAID, Certificate, Receipt, Statement, Transfer, Void, device_id

# What a refusal may rest on that was so then and need not be so any more: devices are registered, Certificates issued
# and lists changed later.
_OF_THEN = (
    transfers.UNREGISTERED,
    "it names a Certificate that the ledger did not issue",
    "the payer was revoked, and the payee's Certificate says so",
)


def check(connection: Connection, signatures: Signatures, findings: Findings, went_on: Callable[[int], None]) -> None:
    for page in _pages(connection):
        _Page(connection, page, signatures, findings).check()
        findings.checked["payments"] += len(page)
        went_on(len(page))


def _pages(connection: Connection) -> Iterator[list[Row]]:
    """In the order of their payers, whom a page holds whole or a stretch of."""
    counted = select(table.c.payer, func.count().label("count")).group_by(table.c.payer)
    for payers in rows(connection, counted, table.c.payer):
        some: list[bytes] = []
        held = 0
        for who, count in payers:
            if count > PAGE:
                yield from _of_one(connection, who)
                continue
            if held + count > PAGE:
                yield _of(connection, some)
                some, held = [], 0
            some.append(who)
            held += count
        if some:
            yield _of(connection, some)


def _of(connection: Connection, payers: list[bytes]) -> list[Row]:
    return list(connection.execute(select(table).where(table.c.payer.in_(payers))).all())


def _of_one(connection: Connection, payer: bytes) -> Iterator[list[Row]]:
    """A stretch ends where a position does, so that two at one position stay together."""
    after = -1
    while True:
        following = select(table.c.seq).where(table.c.payer == payer, table.c.seq > after).order_by(table.c.seq)
        last = connection.execute(following.limit(1).offset(PAGE - 1)).scalar_one_or_none()
        stretch = select(table).where(table.c.payer == payer, table.c.seq > after)
        yield list(connection.execute(stretch if last is None else stretch.where(table.c.seq <= last)).all())
        if last is None:
            return
        after = last


def _where(row: Row) -> str:
    return f"payment {row.hash.hex()} of device {row.payer.hex()}"


class _Page:
    """Some Transfers, and what is needed of their parties."""

    def __init__(self, connection: Connection, page: list[Row], signatures: Signatures, findings: Findings):
        self._connection = connection
        self._signatures = signatures
        self._findings = findings
        self._rows = [(row, said) for row in page if (said := self._said(row)) is not None]
        ids = {row.payer for row in page} | {row.payee for row in page}
        wanted = (select(devices).where(devices.c.id.in_(share)) for share in shares(ids))
        self._devices: dict[bytes, Row] = {row.id: row for query in wanted for row in connection.execute(query)}
        payers = {row.payer for row in page}
        self._listed = {bytes(who) for (who,) in bulk.fetch(connection, select(revoked.c.who), revoked.c.who, payers)}
        self._limits = self._certificates()
        self._decided = self._decisions([row.hash for row in page if row.decided is not None])
        shared = select(accounts.c.kind, accounts.c.operator).where(
            accounts.c.kind.in_((books.PENDING, books.SUSPENSE))
        )
        self._shared = {tuple(row) for row in connection.execute(shared)}

    def _said(self, row: Row) -> Transfer | None:
        """The kept bytes; None where they are not the Transfer of this hash."""
        where = _where(row)
        said = decoded(self._findings, Transfer, row.transfer, where)
        if said is not None and not self._findings.same("its hash", where, row.hash, sha256(said.body())):
            return None
        return said

    def _certificates(self) -> dict[tuple[bytes, int], Certificate]:
        named = {(row.payer, said.payer_issue) for row, said in self._rows}
        named |= {(row.payee, said.payee_issue) for row, said in self._rows}
        key = tuple_(certificates.c.device, certificates.c.issue)
        found = {}
        for share in shares(named, 1_000):
            query = select(certificates.c.device, certificates.c.issue, certificates.c.certificate)
            for who, issue, signed in self._connection.execute(query.where(key.in_(share))):
                with suppress(DecodeError):  # `journals` names it
                    found[who, issue] = Certificate.decode(signed)
        return found

    def _decisions(self, hashes: list[bytes]) -> dict[bytes, str]:
        query = select(decisions.c.transfer, decisions.c.what).where(decisions.c.transfer.in_(hashes))
        return {digest: what for digest, what in self._connection.execute(query)} if hashes else {}

    def check(self) -> None:
        for row, said in self._rows:
            payer, payee = self._devices.get(row.payer), self._devices.get(row.payee)
            if payer is None:
                continue  # `sums` names it
            where = _where(row)
            self._columns(row, said, where)
            if said.payer_issue != payer.issue and row.seq > max(payer.base_seq, payer.other_seq):
                self._findings.differ("up to where it paid under other Certificates", where, payer.other_seq, row.seq)
            self._signatures.check(said, payer.key, where)
            payee_key = payee.key if payee is not None else row.payee_key or b""
            if row.receipt is not None:
                self._receipt(row, payee_key, where)
                if payee is not None and not row.credited and row.receipt_seq > max(payee.head_seq, payee.shown_seq):
                    self._findings.differ(SHOWN, where, payee.shown_seq, row.receipt_seq)
            self._findings.same("what people decided", where, row.decided, self._decided.get(row.hash))
            try:
                self._void(row, payee, payee_key, where)
                self._refusal(row, said, payer, payee, where)
                self._place(row, payer, payee, where)
            except DecodeError as error:  # of an object that the rules look at, and that is named where it is kept
                self._findings.differ("what it follows from", where, "unreadable", str(error))

    def _columns(self, row: Row, said: Transfer, where: str) -> None:
        for name in ("payer", "seq", "payee", "amount", "number", "payer_issue"):
            self._findings.same(f"its {name.replace('_', ' ')}", where, getattr(row, name), getattr(said, name))
        if row.payee_key is not None:
            self._findings.same("its payee's key", where, device_id(row.payee_key, sha256), row.payee)
        if row.debited:
            self._findings.same("whether the payee's key is there", where, row.payee_key is not None, True)
        facts = (row.closed_seq is None, row.receipt is None, row.credited and row.receipt is None)
        others = (row.closed_as is None, row.receipt_seq is None, False)
        self._findings.same("which of its facts are there", where, facts, others)

    def _receipt(self, row: Row, key: bytes, where: str) -> None:
        said = decoded(self._findings, Receipt, row.receipt, where)
        if said is not None:
            self._findings.same("what its Receipt says", where, (row.receipt_seq, row.hash), (said.seq, said.transfer))
            self._signatures.check(said, key, where)

    def _void(self, row: Row, payee: Row | None, key: bytes, where: str) -> None:
        """A Void names it; a Statement of the payee's has a watermark above it; of our own payee nothing is needed."""
        if row.void is None:
            if not row.credited and transfers.unspoken_void(self._connection, row, payee) is not None:
                self._findings.differ("whether it is void", where, None, "the payee will never credit it")
            return
        if row.void == b"" and payee is not None and payee.kind >> 4 == OPERATOR_PAYEE:
            if transfers.unspoken_void(self._connection, row, payee) is None:
                self._findings.differ("whether it is void", where, "its Request was closed", "not closed")
            return
        kind = Void if transfers.names_transfer(row.void) else Statement
        said = decoded(self._findings, kind, row.void, where)
        if said is None:
            return
        self._signatures.check(said, key, where)
        if isinstance(said, Void):
            self._findings.same("what its Void says", where, row.hash, said.transfer)
            claimed = row.receipt is not None and row.refusal != transfers.UNREGISTERED
            if claimed and payee is not None and not fraudulent(payee):
                self._findings.differ("whether the device is frozen", where, payee.frozen, RECEIPT_AND_VOID)
        elif said.device != row.payee or row.number >= said.watermark:
            self._findings.differ("whether it is void", where, said.encode(), "a Statement of its payee's above it")

    def _refusal(self, row: Row, said: Transfer, payer: Row, payee: Row | None, where: str) -> None:
        """It is asked when the payee claims it, and what was found then stays."""
        if row.receipt is None:
            self._findings.same("why it is refused", where, row.refusal, None)
            return
        if row.refusal is None and row.credited and self._is_plain(said, payer, payee):
            return
        now = transfers.refusal_of(self._connection, said, row.receipt_seq)
        if (row.refusal is None) != (now is None) and not (now is None and row.refusal in _OF_THEN):
            self._findings.differ("why it is refused", where, row.refusal, now)

    def _is_plain(self, said: Transfer, payer: Row, payee: Row | None) -> bool:
        """Whether `refusal_of` has nothing to say; whether it was outdated is seen in the payee's journal."""
        paying = self._limits.get((said.payer, said.payer_issue))
        paid = self._limits.get((said.payee, said.payee_issue))
        if payee is None or paying is None or paid is None or said.lot or payer.id in self._listed:
            return False
        redeeming = payee.kind >> 4 == OPERATOR_PAYEE
        try:
            if not redeeming:
                check_days(paying, paid.valid_from)
            check_visible(said, paying, paid, redeeming)
        except Refused:
            return False
        return paying.valid_until >= paid.valid_from

    def _place(self, row: Row, payer: Row, payee: Row | None, where: str) -> None:
        shared = self._shared_place(row, payee)
        if shared is not None and (shared, payer.operator) not in self._shared:
            # The rule would open the account, and an audit writes nothing
            if row.void is None and row.decided is None:
                kept = f"account {row.held_by}"
                self._findings.differ("whose its money is", where, kept, f"{shared} of operator {payer.operator}")
            return
        state, holder = transfers.holder_of(self._connection, row, payer, payee)
        self._findings.same("its state", where, row.state, state)
        self._findings.same("whose its money is", where, f"account {row.held_by}", f"account {holder}")
        is_open = state == transfers.POSTED and row.closed_as != PAID
        kept = (row.unconfirmed, row.left_open)
        self._findings.same("whether it is confirmed", where, kept, (is_open, is_open and row.debited))

    def _shared_place(self, row: Row, payee: Row | None) -> str | None:
        """Which of its payer's operator's accounts it may lie in."""
        if row.receipt is None:
            return books.PENDING if row.debited else None
        return books.SUSPENSE if row.refusal is not None or payee is None else None
