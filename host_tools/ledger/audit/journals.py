"""Each device and its journal: the chain, and that what its records say is what `transfers` and `loads` say they say.

A record is compared with the row that it makes true (a debit, a credit, how a debit was closed), and whatever a row
says of a journal must have its record: in the chain, or among what was posted from outside it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Row, func, select, text

from host_tools.crypto import sha256
from host_tools.ledger import history, resolutions, transfers
from host_tools.ledger import loads as load_states
from host_tools.ledger.audit import histories
from host_tools.ledger.audit.answers import Answers
from host_tools.ledger.audit.findings import Findings
from host_tools.ledger.audit.parties import Party, check_certificates, check_identity, check_standing
from host_tools.ledger.audit.reading import PAGE, decoded, rows
from host_tools.ledger.audit.signatures import Signatures
from host_tools.ledger.parse import Entry
from host_tools.ledger.reading import NO_DEBIT
from host_tools.ledger.schema import DEBITED, accounts, certificates, dead_letters, devices, journals, loads, orders
from host_tools.ledger.schema import transfers as table
from protocol.errors import DecodeError
from protocol.objects import Load, Order, Receipt, Resolution, Transfer, Void
from protocol.records import Closing, Installation, Loading, genesis

_DEVICES = 1_000  # rows at a time; each has a Statement


def check(
    connection: Connection,
    keys: dict[int, bytes],
    signatures: Signatures,
    findings: Findings,
    went_on: Callable[[int], None],
) -> None:
    """`keys` are the operators'."""
    purses = accounts.alias("purses")
    owners = accounts.alias("owners")
    query = (
        select(devices, purses.c.kind, purses.c.owner, purses.c.operator, owners.c.kind, owners.c.operator)
        .outerjoin(purses, purses.c.id == devices.c.purse)
        .outerjoin(owners, owners.c.id == devices.c.account)
        .with_only_columns(
            devices,
            purses.c.kind.label("purse_kind"),
            purses.c.owner.label("purse_owner"),
            purses.c.operator.label("purse_operator"),
            owners.c.kind.label("account_kind"),
            owners.c.operator.label("account_operator"),
        )
    )
    answers = Answers(connection, signatures, findings)
    for page in rows(connection, query, devices.c.id, _DEVICES):
        batch = _Batch(connection, answers, signatures, findings)
        runs, beside = _runs(connection, page), histories.beside(connection, page)
        for row in page:
            findings.checked["devices"] += 1
            check_identity(row, findings)
            party = Party(row, keys.get(row.operator, b""), beside.get(row.id, {}))
            _read(connection, party, runs.get(row.id), batch, findings)
        batch.finish()
        went_on(len(page))
    histories.check_marks(connection, findings)


class _Runs(NamedTuple):
    """Of a device's rows in `journals`."""

    first: int
    last: int
    records: int


def _runs(connection: Connection, page: list[Row]) -> dict[bytes, _Runs]:
    sums = select(
        journals.c.device,
        func.min(journals.c.first_seq),
        func.max(journals.c.last_seq),
        func.sum(journals.c.last_seq - journals.c.first_seq + 1),
    ).where(journals.c.device >= page[0].id, journals.c.device <= page[-1].id)
    found = connection.execute(sums.group_by(journals.c.device))
    return {who: _Runs(first, last, int(count)) for who, first, last, count in found}


def _read(connection: Connection, party: Party, runs: _Runs | None, batch: "_Batch", findings: Findings) -> None:
    """Walk one device's chain, and give its records to the batch."""
    row, where = party.row, party.where
    seq, digest = 0, genesis(row.key, sha256)
    broken = False
    for entry in _entries(connection, row, findings, where):
        findings.checked["records"] += 1
        if not broken and (entry.seq, entry.previous) != (seq + 1, digest):
            findings.differ("the chain", f"{where}, record {entry.seq}", entry.previous, f"{digest.hex()} of {seq}")
            broken = True  # what lies above is named once
        seq, digest = entry.seq, entry.hash
        if party.statement is not None and seq == party.statement.seq:
            findings.same("the Statement's head", where, party.statement.head, digest)
        if seq in party.committed:
            party.committed[seq].add(digest)
        batch.add(party, entry)
    histories.check_one(row, party.committed, where, findings)
    head = (seq, digest)
    findings.same(
        "the head of its journal", where, f"{row.head_seq} {row.head_hash.hex()}", f"{head[0]} {head[1].hex()}"
    )
    kept = runs or _Runs(1, 0, 0)
    findings.same("the runs of its journal", where, tuple(kept), (1, row.head_seq, row.head_seq))
    batch.end(party)


def _entries(connection: Connection, row: Row, findings: Findings, where: str) -> Iterator[Entry]:
    """The records of the chain that can be read; of one that cannot it says so."""
    first = 1
    while first <= row.head_seq:
        try:
            for entry in history.read(connection, row.id, first, row.head_seq):
                yield entry
                first = entry.seq + 1
            return
        except DecodeError as error:
            findings.differ("a record's bytes", f"{where}, record {first}", "unreadable", str(error))
            first += 1


class _Batch:
    """About PAGE records of some devices, and the rows that they should have made."""

    def __init__(self, connection: Connection, answers: Answers, signatures: Signatures, findings: Findings):
        self._connection = connection
        self._answers = answers
        self._signatures = signatures
        self._findings = findings
        self._entries: list[tuple[Party, Entry]] = []
        self._from: dict[bytes, int] = {}  # the first record of each device in this batch
        self._ended: dict[bytes, Party] = {}
        self._parties: dict[bytes, Party] = {}

    def add(self, party: Party, entry: Entry) -> None:
        self._parties[party.row.id] = party
        self._from.setdefault(party.row.id, party.read_to + 1)
        self._entries.append((party, entry))
        party.read_to = entry.seq
        if len(self._entries) >= PAGE:
            self.finish()

    def end(self, party: Party) -> None:
        """All of this device's records have been added."""
        self._parties[party.row.id] = self._ended[party.row.id] = party
        self._from.setdefault(party.row.id, party.read_to + 1)

    def finish(self) -> None:
        """Compare, and begin anew."""
        if not self._parties:
            return
        last = {party.row.id: entry.seq for party, entry in self._entries}
        debits, closed, credits = self._kept(last)
        for party, entry in self._entries:
            record = None if entry.credit is not None else entry.record
            if record is None or isinstance(record.body, Receipt):
                self._credit(party, entry, credits)
            elif isinstance(record.body, Transfer):
                self._debit(party, entry, debits)
            elif isinstance(record.body, Closing):
                self._closing(party, entry, closed)
            elif isinstance(record.body, Loading):
                self._signatures.check(record.load, party.operator_key, f"{party.where}, record {entry.seq}")
                party.loaded.add(record.body.load)
            elif isinstance(record.body, Installation):
                party.installs(record.certificate.issue, entry.seq, record)
        self._unsupported(debits, closed, credits)
        self._ends()
        self._entries, self._from, self._ended, self._parties = [], {}, {}, {}

    def _kept(self, last: dict[bytes, int]) -> tuple[dict, dict, dict]:
        """What `transfers` says of these stretches of these journals, by device and position."""
        whole = [who for who, first in self._from.items() if first == 1 and who in self._ended]
        rest = [who for who in self._parties if who not in whole]
        found: tuple[dict, dict, dict] = (defaultdict(list), defaultdict(list), defaultdict(list))
        for place, (device, seq, query) in zip(found, _SAID, strict=True):
            queries = [query.where(device.in_(whole))] if whole else []
            for who in rest:
                stretch = query.where(device == who, seq >= self._from[who])
                queries.append(stretch if who in self._ended else stretch.where(seq <= last[who]))
            for one in queries:
                for row in self._connection.execute(one):
                    place[getattr(row, device.key), getattr(row, seq.key)].append(row)
        return found

    def _take(self, kept: dict, party: Party, entry: Entry, digest: bytes) -> Row | None:
        """The row that this record supports, which needs no other support."""
        there = kept.get((party.row.id, entry.seq), [])
        for row in there:
            if row.hash == digest:
                there.remove(row)
                return row
        return None

    def _debit(self, party: Party, entry: Entry, kept: dict) -> None:
        where = f"{party.where}, record {entry.seq}, a debit"
        row = self._take(kept, party, entry, entry.hash)
        if row is None:
            known = transfers.find(self._connection, transfers.Key(party.row.id, entry.seq, entry.hash))
            self._findings.differ("the Transfer", where, known and f"known, debited {known.debited}", "debited")
            self._signatures.check(entry.record.transfer, party.row.key, where)
            return
        self._findings.same("the Transfer's bytes", where, row.transfer, entry.record.transfer.encode())
        self._findings.same("its payee's key", where, row.payee_key, entry.record.payee_key)

    def _credit(self, party: Party, entry: Entry, kept: dict) -> None:
        where = f"{party.where}, record {entry.seq}, a credit"
        said = entry.credit or entry.record.transfer
        digest = entry.credit.transfer if entry.credit else sha256(entry.record.transfer.body())
        self._findings.same("its payee", where, said.payee, party.row.id)
        outdated = said.payee_issue < party.newest_installed
        row = self._take(kept, party, entry, digest)
        if row is not None:
            self._findings.same("the Transfer's bytes", where, row.transfer, entry.transfer)
            self._findings.same("the Receipt's bytes", where, row.receipt, entry.receipt)
            if (row.refusal == transfers.OUTDATED and not outdated) or (outdated and row.refusal is None):
                self._findings.differ("why it is refused", where, row.refusal, transfers.OUTDATED if outdated else None)
            return
        self._signatures.check(Receipt.decode(entry.receipt), party.row.key, where)
        known = transfers.find(self._connection, transfers.Key(said.payer, said.seq, digest))
        if known is None and self._find_key(said.payer) is None:
            return  # who is not registered cannot pay: a dead letter
        if known is None or not known.credited:
            self._findings.differ("the Transfer", where, known and "known, not credited", "credited")

    def _find_key(self, who: bytes) -> bytes | None:
        return self._connection.execute(select(devices.c.key).where(devices.c.id == who)).scalar_one_or_none()

    def _closing(self, party: Party, entry: Entry, kept: dict) -> None:
        record, where = entry.record, f"{party.where}, record {entry.seq}, a closing"
        row = self._take(kept, party, entry, record.body.transfer)
        if row is None:
            closes = table.c.payer == party.row.id, table.c.hash == record.body.transfer, text(DEBITED)
            row = self._connection.execute(select(table).where(*closes)).first()
            if row is None:
                if not self._is_dead_letter(party, entry, NO_DEBIT):
                    self._findings.differ("the debit that it closes", where, None, record.body.transfer)
                return
            if row.closed_seq is None:
                self._findings.differ("where it was closed", where, row.closed_seq, entry.seq)
        else:
            self._findings.same("how it was closed", where, row.closed_as, record.body.outcome)
        said = record.evidence
        if isinstance(said, Resolution):
            self._signatures.check(said, party.operator_key, where)
            if resolutions.find(self._connection, said.transfer) is None:
                self._findings.differ("a Resolution", where, None, said.transfer)
            return
        self._signatures.check(said, row.payee_key or b"", where)
        heard = row.void if isinstance(said, Void) else row.receipt
        if heard is None:
            self._findings.differ(f"the payee's {type(said).__name__}", where, None, said.encode())

    def _is_dead_letter(self, party: Party, entry: Entry, reason: str) -> bool:
        same = (dead_letters.c.device == party.row.id, dead_letters.c.record_hash == sha256(entry.raw))
        found = select(dead_letters.c.at).where(*same, dead_letters.c.reason == reason)
        return self._connection.execute(found).first() is not None

    def _unsupported(self, debits: dict, closed: dict, credits: dict) -> None:
        """What is left of the rows: they say of a journal what its chain does not show, so that it lay outside it."""
        for what, kept in (("debited", debits), ("closed", closed), ("credited", credits)):
            for (who, seq), left in kept.items():
                for row in left:
                    if (what, seq, row.hash) not in self._parties[who].outside(self._connection):
                        where = f"payment {row.hash.hex()} of device {row.payer.hex()}"
                        self._findings.differ(f"that it is {what}", where, f"record {seq} of {who.hex()}", None)

    def _ends(self) -> None:
        """Of the devices whose journals have been read to their ends: Certificates, loads, standing."""
        for which, check_all in (
            (certificates, self._certificates),
            (loads, self._loads),
            (orders, self._orders),
        ):
            found: dict[bytes, list[Row]] = defaultdict(list)
            ended = select(which).where(which.c.device.in_(list(self._ended)))
            for row in self._connection.execute(ended.order_by(which.c.device, *list(which.primary_key)[1:])):
                found[row.device].append(row)
            for who, party in self._ended.items():
                check_all(party, found[who])
        for party in self._ended.values():
            check_standing(self._connection, party, self._answers, self._signatures, self._findings)

    def _certificates(self, party: Party, issued: list[Row]) -> None:
        check_certificates(self._connection, party, issued, self._signatures, self._findings)

    def _orders(self, party: Party, signed: list[Row]) -> None:
        for number, row in enumerate(signed, 1):
            where = f"Order {row.number} to {party.where}"
            self._findings.checked["orders"] += 1
            made = decoded(self._findings, Order, row.order, where)
            if made is not None:
                said = (number, made.number, made.device)
                self._findings.same("its number", where, (row.number, row.number, row.device), said)
                self._signatures.check(made, party.operator_key, where)

    def _loads(self, party: Party, ordered: list[Row]) -> None:
        findings = self._findings
        known = set()
        for number, row in enumerate(ordered, 1):
            findings.checked["loads"] += 1
            where = f"load {row.number} of {party.where}"
            load = decoded(findings, Load, row.load, where)
            if load is None:
                continue
            self._signatures.check(load, party.operator_key, where)
            party.issued.add(row.load)
            said = (number, load.device, load.amount, sha256(load.body()))
            findings.same("its columns", where, (row.number, row.device, row.amount, row.hash), said)
            known.add(said[-1])
            shown = said[-1] in party.loaded or ("loaded", 0, said[-1]) in party.outside(self._connection)
            states = _states(party.row, row, shown)
            if row.state not in states:
                findings.differ("its state", where, row.state, " or ".join(states))
        if party.row.next_load_floor > len(ordered):
            findings.differ("its next load floor", party.where, party.row.next_load_floor, f"{len(ordered)} or less")
        for digest in party.loaded - known:
            findings.differ("a load", f"{party.where}, load {digest.hex()}", None, "ordered")


def _states(device: Row, load: Row, shown: bool) -> list[str]:
    """In which a load can be. One that went back stays so, whatever a journal shows afterwards."""
    went_back = [load_states.RETURNED] if load.number <= device.load_floor else []
    if shown:
        return [load_states.LOADED, *went_back]
    paid_back = [load_states.PAID_BACK] if device.paid_back is not None else []
    return went_back + paid_back or [load_states.OUTSTANDING]


# What rows say of journals: whose, where, and the rows that say it
_SAID = (
    (table.c.payer, table.c.seq, select(table.c.payer, table.c.seq, table.c.hash, table.c.transfer, table.c.payee_key)
     .where(text(DEBITED))),
    (table.c.payer, table.c.closed_seq,
     select(table.c.payer, table.c.closed_seq, table.c.hash, table.c.closed_as, table.c.payee_key, table.c.receipt,
            table.c.void).where(text(DEBITED), table.c.closed_seq.is_not(None))),
    (table.c.payee, table.c.receipt_seq,
     select(table.c.payer, table.c.payee, table.c.receipt_seq, table.c.hash, table.c.transfer, table.c.receipt,
            table.c.refusal).where(table.c.credited.is_(True))),
)  # fmt: skip
