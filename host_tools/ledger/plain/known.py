"""Transfers that the ledger knows, and what plain records add to them."""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, select, text

from host_tools.ledger import books, bulk
from host_tools.ledger.schema import DEBITED, UNCREDITED, devices, transfers
from host_tools.ledger.transfers import POSTED, REASONS
from protocol.objects import PAID

_KEY = ("payer", "seq", "hash")
# What plain records change
_FACTS = (
    *("debited", "payee_key", "closed_seq", "closed_as", "credited", "receipt", "receipt_seq"),
    *("state", "held_by", "unconfirmed", "left_open"),
)
_READ = (*_KEY, "payee", "payer_issue", "amount", "transfer", *_FACTS)
_ODD = "void IS NOT NULL OR refusal IS NOT NULL OR decided IS NOT NULL OR defaulted IS TRUE"


class Known:
    """One of them. `is_odd` if there is more to it than a plain record may change."""

    __slots__ = (*_READ, "is_odd")

    payer: bytes
    seq: int
    hash: bytes
    payee: bytes
    payer_issue: int
    amount: int
    transfer: bytes
    debited: bool
    payee_key: bytes | None
    closed_seq: int | None
    closed_as: int | None
    credited: bool
    receipt: bytes | None
    receipt_seq: int | None
    state: str
    held_by: int
    unconfirmed: bool
    left_open: bool
    is_odd: bool

    def __init__(self, row: Iterable):
        for name, value in zip(self.__slots__, row, strict=True):
            setattr(self, name, value)

    @property
    def is_open(self) -> bool:
        """Posted, and its payer's journal has not shown it as paid."""
        return self.state == POSTED and self.closed_as != PAID


_KNOWN = select(*[transfers.c[name] for name in _READ], text(f"({_ODD}) AS is_odd")).select_from(transfers)
_UNCREDITED = _KNOWN.where(text(UNCREDITED))
_UNENDED = _KNOWN.where(text(DEBITED), transfers.c.closed_seq.is_(None))
_ABOVE = _KNOWN.join(devices, devices.c.id == transfers.c.payer).where(transfers.c.seq > devices.c.head_seq)


def uncredited(connection: Connection, payees: Iterable[bytes]) -> dict[bytes, Known]:
    """By their hashes, those of which these payees' journals have not shown the credits."""
    found = bulk.fetch(connection, _UNCREDITED, transfers.c.payee, payees)
    return {known.hash: known for known in map(Known, found)}


def unpaid(connection: Connection, payers: Iterable[bytes]) -> dict[bytes, Known]:
    """By their hashes, those that these payers' journals, as they are held, do not show, or not how they ended."""
    wanted = set(payers)
    rows = (row for query in (_UNENDED, _ABOVE) for row in bulk.fetch(connection, query, transfers.c.payer, wanted))
    return {known.hash: known for known in map(Known, rows)}


class Changes:
    """What the plain records of a batch change, to be written together."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self._moved: list[tuple[int, int, int, bytes]] = []
        self._sums: dict[str, Counter[bytes]] = {"unconfirmed": Counter(), "left_open": Counter()}

    def move(self, source: int, destination: int, amount: int, transfer: bytes) -> None:
        """From one account to another, for the Transfer of this hash."""
        self._moved.append((source, destination, amount, transfer))

    def count(self, sum_of: str, device: bytes, amount: int) -> None:
        """Add to what is open of a device: `unconfirmed` or `left_open`."""
        self._sums[sum_of][device] += amount

    def add(self, known: Known) -> None:
        """Something was added to this one; its sums are counted anew."""
        self._known[known.hash] = known
        for sum_of, device, is_open in (
            ("unconfirmed", known.payee, known.is_open),
            ("left_open", known.payer, known.is_open and known.debited),
        ):
            if getattr(known, sum_of) != is_open:
                self.count(sum_of, device, known.amount if is_open else -known.amount)
                setattr(known, sum_of, is_open)

    def write(self, connection: Connection, now: int) -> None:
        rows = [tuple(getattr(known, name) for name in (*_FACTS, *_KEY)) for known in self._known.values()]
        bulk.update(connection, transfers, _KEY, _FACTS, rows)
        for sum_of, changes in self._sums.items():
            changed = {device: change for device, change in changes.items() if change}
            bulk.add(connection, devices, "id", sum_of, changed)
        if self._moved:
            books.post(connection, self._moved, REASONS[POSTED], now)
