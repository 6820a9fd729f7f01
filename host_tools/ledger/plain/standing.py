"""Who is in good standing, and what the ledger knows of them that may speak against a plain record."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from sqlalchemy import Connection, Row, literal_column, select

from host_tools.ledger import bulk, evidence
from host_tools.ledger.guarantee import watched
from host_tools.ledger.parse import Credit, Debit, Limits, limits_in, links_in
from host_tools.ledger.posting import Posting
from host_tools.ledger.schema import certificates, devices, revoked, transfers
from protocol import limits as device_rules
from protocol.errors import Refused
from protocol.objects import OPERATOR_PAYEE

# The rules that devices have, of what `parse` has read, which has the same names
_check_days = cast(Callable[[Limits, int], None], device_rules.check_days)
_check_visible = cast(Callable[[Credit | Debit, Limits, Limits, bool], None], device_rules.check_visible)

MAX_CERTIFICATES = 25_000  # kept in memory: 25 MB; then all are forgotten


class _Row(NamedTuple):
    """What is read of a payer."""

    id: bytes
    issue: int
    frozen: str | None
    paid_back: int | None
    purse: int
    head_seq: int
    head_hash: bytes
    base_seq: int
    other_seq: int
    shown_seq: int


_LISTED = select(revoked.c.who).where(revoked.c.who == devices.c.id).exists()
_ROW = select(*[devices.c[name] for name in _Row._fields]).where(~_LISTED)


class Issued:
    """What Certificates say. It never changes once they are issued, so it is looked up once."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, int], Limits] = {}

    def limits(self, connection: Connection, wanted: Sequence[tuple[bytes, int]]) -> dict[tuple[bytes, int], Limits]:
        """Of those Certificates of devices, by device and issue, that there are."""
        if len(self._known) > MAX_CERTIFICATES:
            self._known = {}
        known = self._known
        missing = [one for one in wanted if one not in known]
        row = ("device", "issue", "certificate")
        for who, issue, certificate in bulk.exactly(connection, certificates, ("device", "issue"), row, missing):
            known[bytes(who), issue] = limits_in(certificate)
        return {one: known[one] for one in wanted if one in known}


class Payer:
    """A payer in good standing, and what the ledger knows of its journal next to the Transfers in question."""

    __slots__ = ("_older", "_seqs", "_shown", "_spent", "base_seq", "head_seq", "limits", "purse")

    def __init__(self, row: "_Row", limits: Limits):
        self.purse = row.purse
        self.limits = limits
        self.base_seq = row.base_seq
        self.head_seq = row.head_seq
        self._shown = {row.head_seq: row.head_hash}
        self._older: dict[int, Limits] = {}
        self._seqs: list[int] = []  # of what it has spent, in order
        self._spent: dict[int, tuple[bytes, bytes, int, int]] = {}  # the hash and `links_in`, by seq

    def had(self, issue: int, certificate: bytes) -> None:
        """An older Certificate."""
        self._older[issue] = limits_in(certificate)

    def limits_under(self, issue: int) -> Limits | None:
        return self.limits if issue == self.limits.issue else self._older.get(issue)

    def signed(self, seq: int, digest: bytes) -> None:
        """What is shown of its journal from the ledger's head on, beside what it spent."""
        self._shown[seq] = digest

    def spent(self, seq: int, digest: bytes, transfer: bytes) -> None:
        """One that it has spent."""
        if seq not in self._spent:
            insort(self._seqs, seq)
            self._spent[seq] = digest, *links_in(transfer)

    def paid(self, said: Credit | Debit, digest: bytes) -> bool:
        """Whether the Transfer, whose hash is `digest`, fits between those next to it; it is known from then on."""
        seq = said.seq
        if seq <= self.head_seq or said.payer_issue != self.limits.issue or seq in self._spent:
            return False
        if self._shown.get(seq, digest) != digest or self._shown.get(seq - 1, said.previous) != said.previous:
            return False
        at = bisect_left(self._seqs, seq)
        below = self._seqs[at - 1] if at else 0
        if below > self.base_seq:  # sums begin anew there
            hash_there, _, _, cumulative = self._spent[below]
            if said.cumulative < cumulative + said.amount:
                return False
            if below == seq - 1 and hash_there != said.previous:
                return False
        if at < len(self._seqs):
            above = self._seqs[at]
            _, previous, amount, cumulative = self._spent[above]
            if cumulative < said.cumulative + amount:
                return False
            if above == seq + 1 and previous != digest:
                return False
        self._seqs.insert(at, seq)
        self._spent[seq] = digest, said.previous, said.amount, said.cumulative
        return True


def payers(connection: Connection, issued: Issued, wanted: Iterable[bytes]) -> dict[bytes, Payer]:
    """In good standing, on nobody's list, and all that they have spent lies under their newest Certificates."""
    rows = map(_Row._make, bulk.fetch(connection, _ROW, devices.c.id, wanted))
    good = {row.id: row for row in rows if not watched(row) and row.other_seq <= row.base_seq}
    newest = issued.limits(connection, [(who, row.issue) for who, row in good.items()])
    found = {who: Payer(good[who], limits) for (who, _), limits in newest.items()}
    heads = {who: payer.head_seq for who, payer in found.items() if good[who].shown_seq > payer.head_seq}
    for who, seq, digest in evidence.shown_unpaid(connection, heads):
        found[who].signed(seq, digest)
    return found


def learn_spent(connection: Connection, found: Mapping[bytes, Payer], wanted: Iterable[tuple[bytes, int]]) -> None:
    """What these payers have spent at these positions of their journals, or next below and above each.

    That is enough under one Certificate: what fits between its neighbours, which fit among all the others, does so too.
    """
    row = ("payer", "seq", "hash", "transfer")
    bases = {who: payer.base_seq for who, payer in found.items()}
    for who, *one in bulk.around(connection, transfers, ("payer", "seq"), row, wanted, bases):
        found[who].spent(*one)


def learn_older(connection: Connection, found: Mapping[bytes, Payer], wanted: Iterable[bytes]) -> None:
    """Older Certificates of these payers."""
    for who, issue, certificate, _ in _certificates(connection, wanted):
        found[who].had(issue, certificate)


class Payee:
    """A payee in good standing, and what others have shown of its journal from the ledger's head on."""

    def __init__(self, device: Row):
        self.purse: int = device.purse
        self.shown_seq: int = device.shown_seq
        self._head_seq: int = device.head_seq
        self._watermark: int = device.watermark
        self._issued: dict[int, Limits] = {}
        self._installed: list[tuple[int, int]] = []
        self._shown: dict[int, bytes] = {device.head_seq: device.head_hash}

    def has(self, issue: int, certificate: bytes, installed_seq: int | None) -> None:
        """One of its Certificates."""
        self._issued[issue] = limits_in(certificate)
        if installed_seq is not None:
            self._installed.append((issue, installed_seq))

    def signed(self, seq: int, digest: bytes) -> None:
        """What others have shown of its journal."""
        self._shown[seq] = digest

    def commits(self, seq: int, digest: bytes, previous: bytes) -> bool:
        """Whether a Receipt above the head fits what it is known to have signed, which it is among from then on."""
        if seq <= self._head_seq or self._shown.get(seq, digest) != digest:
            return False
        if self._shown.get(seq - 1, previous) != previous:
            return False
        self._shown[seq] = digest
        self._shown[seq - 1] = previous
        self.shown_seq = max(self.shown_seq, seq)
        return True

    def takes(self, said: Credit | Debit, receipt_seq: int, paying: Limits | None) -> bool:
        """Whether an honest payee credits it: what `transfers.refusal_of` asks, of a payer that no list names."""
        paid = self._issued.get(said.payee_issue)
        if paid is None or paying is None or said.number < self._watermark or paying.valid_until < paid.valid_from:
            return False
        for issue, seq in self._installed:
            if issue > said.payee_issue and seq < receipt_seq:
                return False
        try:
            _check_days(paying, paid.valid_from)
            _check_visible(said, paying, paid, False)
        except Refused:
            return False
        return True


def payees(connection: Connection, rows: Mapping[bytes, Row]) -> dict[bytes, Payee]:
    """Those of these devices that are in good standing and no operator's."""
    found = {who: Payee(row) for who, row in rows.items() if not watched(row) and row.kind >> 4 != OPERATOR_PAYEE}
    for who, *certificate in _certificates(connection, found):
        found[who].has(*certificate)
    return found


def fitting(connection: Connection, postings: Iterable[Posting]) -> dict[bytes, Posting]:
    """Those that go on where the ledger's head is, and bring all that others have shown of their journals above it."""
    offered = {one.device.id: one for one in postings if one.joins(one.found[0])}
    by_device: dict[bytes, list[tuple[int, bytes]]] = {}
    for who, seq, digest in shown(connection, [(one.device, one.head[0]) for one in offered.values()]):
        by_device.setdefault(who, []).append((seq, digest))
    return {who: one for who, one in offered.items() if one.found[0].fits(one.head, by_device.get(who, ()))}


def shown(connection: Connection, held: Iterable[tuple[Row, int]]) -> Iterator[tuple[bytes, int, bytes]]:
    """`evidence.shown` of these devices with their heads."""
    held = list(held)
    yield from evidence.shown_paid(connection, {device.id: head for device, head in held})
    yield from evidence.shown_unpaid(connection, {one.id: head for one, head in held if one.shown_seq >= head})


_LAST = 30  # Certificates back: a month of syncs whose answers were lost; older ones are for the rules
_IS_RECENT = (certificates.c.device == devices.c.id) & (
    certificates.c.issue > devices.c.issue - literal_column(str(_LAST))
)
_CERTIFICATES = (
    select(devices.c.id, certificates.c.issue, certificates.c.certificate, certificates.c.installed_seq)
    .select_from(devices)
    .join(certificates, _IS_RECENT)
)


def _certificates(connection: Connection, wanted: Iterable[bytes]) -> Iterator[tuple]:
    """Of these devices: `(device, issue, certificate, installed_seq)`."""
    return bulk.fetch(connection, _CERTIFICATES, devices.c.id, wanted)
