"""What moved over some days, by operator, by device and by day, and where the money was at the end of them.

Each report adds up the postings of its days once for either end (`figures`), and takes what was posted later off the
kept balances to say what there was at the end.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Label, Select, case, func, select

from host_tools.ledger import books
from host_tools.ledger.reports.figures import IN, NAMES, OUT, name_of
from host_tools.ledger.reports.positions import net_positions
from host_tools.ledger.reports.span import Span, day_of
from host_tools.ledger.schema import accounts, dead_letters, devices, evidence, operators, postings
from protocol.objects import OPERATOR_PAYEE

MOST_DEVICES = 20_000  # lines of one call: 50 MB

# Where money can be, and what a report calls what is there at the end.
AT_END = {
    books.ACCOUNT: "accounts",
    books.PURSE: "purses",
    books.PENDING: "pending",
    books.LOADS_IN_TRANSIT: "loads_in_transit",
    books.GUARANTEE: "guarantee",
    books.SUSPENSE: "suspense",
}
AT_END_OF_DEVICE = {books.PURSE: "purse", books.LOADS_IN_TRANSIT: "loads_in_transit"}

# What a line has, for who shows a report that has none. There is one of each day.
_FIGURES = tuple(f"{name}{field}" for name in NAMES for field in ("", "_count"))
_OPERATORS_ENDS, _DEVICES_ENDS = (
    tuple(f"{name}_at_end" for name in names.values()) for names in (AT_END, AT_END_OF_DEVICE)
)
_CASES = ("dead_letters", "evidence")
OPERATOR_COLUMNS = ("operator", *_FIGURES, *_OPERATORS_ENDS, "net_position", *_CASES, "frozen_devices")
DEVICE_COLUMNS = ("device", "name", "operator", *_FIGURES, *_DEVICES_ENDS, *_CASES, "frozen")

_LATER = -1  # in place of a day: after the span

_Key = Any  # of a line: an operator's number, a Unix day or the hex of a device's id


def by_operator(connection: Connection, span: Span, operator: int | None = None) -> list[dict]:
    """A line for each operator, or for that one. `net_position` is what it gets from the others (`positions`)."""
    sums = _Sums(connection, span, lambda own: own.c.operator, _of_operator(operator))
    letters, found = _cases(connection, span, lambda _at: devices.c.operator, _devices_of(operator))
    frozen = _frozen(connection)
    net = net_positions(connection, span)
    wanted = select(operators.c.operator).order_by(operators.c.operator)
    if operator is not None:
        wanted = wanted.where(operators.c.operator == operator)
    return [
        {"operator": number, **sums.figures(number), **sums.at_end(number, AT_END)}
        | {"net_position": net.get(number, 0), "dead_letters": letters[number], "evidence": found[number]}
        | {"frozen_devices": frozen.get(number, 0)}
        for number in connection.execute(wanted).scalars()
    ]


def by_day(connection: Connection, span: Span, operator: int | None = None, device: bytes | None = None) -> list[dict]:
    """A line for each day, of one operator, of one device, or of the whole ledger."""
    wanted = _of_operator(operator) if device is None else _of_device(device)
    names = AT_END if device is None else AT_END_OF_DEVICE
    whose = _devices_of(operator) if device is None else [devices.c.id == device]
    sums = _Sums(connection, span, None, wanted, by_day=True)
    letters, found = _cases(connection, span, day_of, whose)
    lines = []
    for day in range(span.last, span.first - 1, -1):  # backwards, since it is the end that is known
        line = {"day": day, **sums.figures(day), **sums.at_end(None, names)}
        lines.append(line | {"dead_letters": letters[day], "evidence": found[day]})
        sums.undo(day)
    return lines[::-1]


def by_device(
    connection: Connection, span: Span, operator: int | None = None, after: bytes = b"", most: int = MOST_DEVICES
) -> list[dict]:
    """A line for each wallet and terminal, in the order of their ids: the first `most` of those above `after`."""
    listed = select(devices.c.id, devices.c.name, devices.c.operator, devices.c.frozen).where(
        *_devices_of(operator), devices.c.id > after, devices.c.kind < OPERATOR_PAYEE << 4
    )
    rows = connection.execute(listed.order_by(devices.c.id).limit(most)).all()
    if not rows:
        return []

    def these(own: FromClause) -> list[ColumnElement[bool]]:
        kinds = own.c.kind.in_((books.PURSE, books.LOADS_IN_TRANSIT))
        return [*_of_operator(operator)(own), kinds, own.c.owner > after.hex(), own.c.owner <= rows[-1].id.hex()]

    among = [*_devices_of(operator), devices.c.id > after, devices.c.id <= rows[-1].id]
    sums = _Sums(connection, span, lambda own: own.c.owner, these)
    letters, found = _cases(connection, span, lambda _at: devices.c.id, among)
    return [
        {"device": row.id.hex(), "name": row.name, "operator": row.operator}
        | {**sums.figures(row.id.hex()), **sums.at_end(row.id.hex(), AT_END_OF_DEVICE)}
        | {"dead_letters": letters[row.id], "evidence": found[row.id], "frozen": row.frozen}
        for row in rows
    ]


class _Sums:
    """The postings of a span added up by line. `key` makes a line of the account at one end of a posting.

    With `by_day` lines are days. `wanted` are conditions on that account.
    """

    def __init__(
        self,
        connection: Connection,
        span: Span,
        key: Callable[[FromClause], ColumnElement] | None,
        wanted: Callable[[FromClause], list[ColumnElement[bool]]],
        by_day: bool = False,
    ):
        self._amounts: Counter[tuple[_Key, str]] = Counter()
        self._counts: Counter[tuple[_Key, str]] = Counter()
        self._changes: Counter[tuple[_Key, str]] = Counter()  # of a day, by kinds of accounts
        self._ends: Counter[tuple[_Key, str]] = Counter()
        own, other = accounts.alias("own"), accounts.alias("other")
        line = [] if key is None else [key(own).label("line")]
        now = select(func.sum(own.c.balance), own.c.kind, *line).where(*wanted(own))
        for balance, kind, *found in connection.execute(_grouped(now, own.c.kind, *line)):
            self._ends[_only(found), kind] = int(balance)
        day = day_of(postings.c.at) if by_day else 0
        period = case((postings.c.at >= span.ends_before, _LATER), else_=day).label("period")
        columns = (period, own.c.kind, other.c.kind.label("other_kind"), postings.c.reason, *line)
        for side, own_end, other_end in (
            (OUT, postings.c.source, postings.c.destination),
            (IN, postings.c.destination, postings.c.source),
        ):
            query = (
                select(func.sum(postings.c.amount), func.count(), *columns)
                .select_from(postings)
                .join(own, own.c.id == own_end)
                .join(other, other.c.id == other_end)
                .where(postings.c.at >= span.begins_at, *wanted(own))
            )
            for amount, count, when, kind, other_kind, reason, *found in connection.execute(_grouped(query, *columns)):
                if when == _LATER:
                    self._ends[_only(found), kind] -= side * int(amount)
                else:
                    name = name_of(kind, side, other_kind, reason)
                    self._add(when if by_day else _only(found), kind, side, name, int(amount), count)

    def _add(self, line: _Key, kind: str, side: int, name: str | None, amount: int, count: int) -> None:
        self._changes[line, kind] += side * amount
        if name is not None:
            self._amounts[line, name] += amount
            self._counts[line, name] += count

    def figures(self, line: _Key) -> dict[str, int]:
        """Amounts under their names, and how many postings each is made of."""
        facts = {}
        for name in NAMES:
            facts[name] = self._amounts[line, name]
            facts[f"{name}_count"] = self._counts[line, name]
        return facts

    def at_end(self, whose: _Key, names: dict[str, str]) -> dict[str, int]:
        """Where the money was at the end of the span; of days, of those not undone yet."""
        return {f"{name}_at_end": self._ends[whose, kind] for kind, name in names.items()}

    def undo(self, day: int) -> None:
        """Go back to the end of the day before."""
        for kind in AT_END:
            self._ends[None, kind] -= self._changes[day, kind]


def _only(line: list[_Key]) -> _Key:
    return line[0] if line else None


def _grouped(query: Select, *columns: ColumnElement) -> Select:
    """By columns of its own, by their names: two expressions with parameters are not one to PostgreSQL."""
    return query.group_by(*[column.name if isinstance(column, Label) else column for column in columns])


def _of_operator(operator: int | None) -> Callable[[FromClause], list[ColumnElement[bool]]]:
    """All accounts but the central bank's own, or those of one operator."""
    if operator is None:
        return lambda own: [own.c.kind != books.ISSUED]
    return lambda own: [own.c.operator == operator]


def _of_device(device: bytes) -> Callable[[FromClause], list[ColumnElement[bool]]]:
    return lambda own: [own.c.kind.in_(tuple(AT_END_OF_DEVICE)), own.c.owner == device.hex()]


def _devices_of(operator: int | None) -> list[ColumnElement[bool]]:
    return [] if operator is None else [devices.c.operator == operator]


def _cases(
    connection: Connection,
    span: Span,
    key: Callable[[ColumnElement[int]], ColumnElement],
    wanted: list[ColumnElement[bool]],
) -> tuple[Counter, Counter]:
    """By line: dead letters, and pieces of evidence, of the span."""
    counts = []
    for table in (dead_letters, evidence):
        line = key(table.c.at).label("line")
        query = select(line, func.count()).select_from(table).join(devices, devices.c.id == table.c.device)
        rows = connection.execute(_grouped(query.where(span.holds(table.c.at), *wanted), line))
        counts.append(Counter({found: count for found, count in rows}))
    return counts[0], counts[1]


def _frozen(connection: Connection) -> dict[int, int]:
    """How many devices of each operator are frozen now."""
    query = select(devices.c.operator, func.count()).where(devices.c.frozen.is_not(None))
    return {number: count for number, count in connection.execute(_grouped(query, devices.c.operator))}
