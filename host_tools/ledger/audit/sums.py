"""What the database adds up: balances from postings, and the postings of each payment, load and loss from the facts.

Each check puts what is kept and what follows, the latter negative, into one pile, adds it up by what it is about, and
asks for what does not add up to nothing. So an honest ledger answers with no rows, however large it is. Where a pile
would be large it is made in slices.
"""

from collections.abc import Iterator

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    Table,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    union_all,
)

from host_tools.ledger import books
from host_tools.ledger import loads as load_states
from host_tools.ledger.audit.findings import MAX_DIFFERENCES, Findings
from host_tools.ledger.reports.figures import REFUSED_CLAIM, TO_PAYEE, TO_PAYER
from host_tools.ledger.schema import (
    accounts,
    certificates,
    dead_letters,
    devices,
    journals,
    loads,
    positions,
    postings,
    transfers,
)
from host_tools.ledger.transfers import KNOWN, PENDING, REASONS

_SLICE = 500_000  # postings whose references are looked at together

_OF_TRANSFERS = TO_PAYEE | TO_PAYER | REFUSED_CLAIM | {REASONS[KNOWN]}
_PLACES = frozenset((books.PURSE, books.PENDING, books.SUSPENSE, books.ACCOUNT))
# Which kinds of accounts each other reason moves money between
_ENDS = {
    "issue": (books.ISSUED, books.ACCOUNT),
    "load ordered": (books.ACCOUNT, books.LOADS_IN_TRANSIT),
    "loaded": (books.LOADS_IN_TRANSIT, books.PURSE),
    "load returned": (books.LOADS_IN_TRANSIT, books.ACCOUNT),
    "loss guaranteed": (books.GUARANTEE, books.PURSE),
    "guarantee repaid": (books.PURSE, books.GUARANTEE),
    "passed on to its owner": (books.PURSE, books.ACCOUNT),
    "taken back": (books.ACCOUNT, books.PURSE),
    "lost device paid back": (books.PURSE, books.ACCOUNT),
    "late claim": (books.ACCOUNT, books.PURSE),
}
_OF_LOADS = ("load ordered", "loaded", "load returned")


def check(connection: Connection, findings: Findings) -> None:
    findings.checked["accounts"] = _count(connection, accounts)
    findings.checked["postings"] = _count(connection, postings)
    findings.issued = _issued(connection)
    _balances(connection, findings)
    _ends(connection, findings)
    _places(connection, findings)
    _loads(connection, findings)
    _defaults(connection, findings)
    _carried(connection, findings)
    _open_sums(connection, findings)
    _orphans(connection, findings)


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _issued(connection: Connection) -> int:
    issued = select(func.coalesce(func.sum(postings.c.amount), 0)).where(postings.c.reason == "issue")
    return int(connection.execute(issued).scalar_one())


def _odd(connection: Connection, *parts: Select) -> Iterator[tuple]:
    """Adds up the last column of all parts by the others; what is not 0, with its sum."""
    pile = union_all(*parts).subquery()
    *about, net = pile.c
    wrong = select(*about, func.sum(net)).group_by(*about).having(func.sum(net) != 0).limit(MAX_DIFFERENCES)
    for *which, off in connection.execute(wrong):
        yield (*which, int(off))


def _moved(*wanted: ColumnElement[bool], by: tuple[ColumnElement, ...] = ()) -> tuple[Select, Select]:
    """What postings bring to accounts and take from them."""
    return (
        select(*by, postings.c.destination.label("account"), postings.c.amount.label("net")).where(*wanted),
        select(*by, postings.c.source, -postings.c.amount).where(*wanted),
    )


def _balances(connection: Connection, findings: Findings) -> None:
    """Each account's, kept with the postings; and all of them together, which are nothing."""
    for account, off in _odd(connection, *_moved(), select(accounts.c.id, -accounts.c.balance)):
        row = connection.execute(select(accounts).where(accounts.c.id == account)).one_or_none()
        where = f"account {account} ({row.kind} {row.owner})" if row else f"account {account}, which is not there"
        kept = row.balance if row else 0
        findings.differ("its balance", where, kept, kept + off if isinstance(kept, int) else "a whole number")
    if connection.dialect.name == "sqlite":  # which alone keeps whatever it is given
        odd = select(accounts.c.id, accounts.c.balance).where(func.typeof(accounts.c.balance) != "integer")
        for account, kept in connection.execute(odd):
            findings.differ("its balance", f"account {account}", repr(kept), "a whole number")
    total = connection.execute(select(func.coalesce(func.sum(accounts.c.balance), 0))).scalar_one()
    findings.same("all that is issued", "all accounts", int(total), 0)


def _ends(connection: Connection, findings: Findings) -> None:
    """Every reason moves money between accounts of its own kinds, and only payments between operators."""
    source, destination = accounts.alias("source"), accounts.alias("destination")
    abroad = case((source.c.operator != destination.c.operator, 1), else_=0).label("abroad")
    columns = (postings.c.reason, source.c.kind, destination.c.kind)
    found = (
        select(*columns, func.max(abroad), func.min(postings.c.amount), func.min(postings.c.id))
        .select_from(postings)
        .outerjoin(source, source.c.id == postings.c.source)
        .outerjoin(destination, destination.c.id == postings.c.destination)
        .group_by(*columns)
    )
    for reason, out_of, into, crosses, least, first in connection.execute(found):
        where = f"postings from posting {first} on, {reason!r}"
        if reason in _OF_TRANSFERS:
            good = out_of in _PLACES and into in _PLACES
        else:
            good = _ENDS.get(reason) == (out_of, into) and not crosses
        if not good:
            ends = _ENDS.get(reason)
            findings.differ("what it is between", where, f"{out_of} and {into}", ends and " and ".join(ends))
        if least <= 0:
            findings.differ("their amounts", where, least, "above 0")


def _places(connection: Connection, findings: Findings) -> None:
    """Each payment's postings take it from its payer's purse to where the facts say that it is."""
    slices = 1 + _count(connection, postings) // _SLICE
    moved_on = transfers.c.held_by != devices.c.purse
    for begin, end in _stretches(slices):
        by_reference = _within(postings.c.reference, begin, end)
        by_hash = _within(transfers.c.hash, begin, end)
        held = select(transfers.c.hash, transfers.c.held_by, -transfers.c.amount)
        left = select(transfers.c.hash, devices.c.purse, transfers.c.amount)
        of_payer = transfers.join(devices, devices.c.id == transfers.c.payer)
        wanted = postings.c.reason.in_(sorted(_OF_TRANSFERS))
        for digest, account, off in _odd(
            connection,
            *_moved(wanted, by_reference, by=(postings.c.reference,)),
            held.select_from(of_payer).where(moved_on, by_hash),
            left.select_from(of_payer).where(moved_on, by_hash),
        ):
            where = f"payment {digest.hex()}, account {account}"
            findings.differ("its postings", where, f"{off:+} beside its place", "its place")


def _stretches(slices: int) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Of all hashes, by their beginnings; the first has no beginning and the last no end."""
    edges = [(at << 32) // slices for at in range(1, slices)]
    marks = [None, *[edge.to_bytes(4, "big") for edge in edges], None]
    yield from zip(marks, marks[1:], strict=False)


def _within(column: ColumnElement, begin: bytes | None, end: bytes | None) -> ColumnElement[bool]:
    edges = [column >= begin] if begin is not None else []
    return and_(True, *edges, *([column < end] if end is not None else []))


def _loads(connection: Connection, findings: Findings) -> None:
    """Each load's postings take it from its account to where its state says that it is."""
    transit = accounts.alias("transit")
    arrived = loads.c.state.in_((load_states.LOADED, load_states.PAID_BACK))
    underway = loads.c.state == load_states.OUTSTANDING
    hexed = _hex(connection, loads.c.device)
    on_its_way = and_(transit.c.kind == books.LOADS_IN_TRANSIT, transit.c.owner == hexed)
    to_purse = loads.join(devices, devices.c.id == loads.c.device)
    for digest, account, off in _odd(
        connection,
        *_moved(postings.c.reason.in_(_OF_LOADS), by=(postings.c.reference,)),
        select(loads.c.hash, loads.c.account, loads.c.amount).where(or_(arrived, underway)),
        select(loads.c.hash, devices.c.purse, -loads.c.amount).select_from(to_purse).where(arrived),
        select(loads.c.hash, transit.c.id, -loads.c.amount)
        .select_from(loads.join(transit, on_its_way))
        .where(underway),
    ):
        where = f"load {digest.hex()}, account {account}"
        findings.differ("its postings", where, f"{off:+} beside its place", "its place")


def _hex(connection: Connection, column: ColumnElement) -> ColumnElement[str]:
    if connection.dialect.name == "postgresql":
        return func.encode(column, "hex", type_=String)
    return func.lower(func.hex(column), type_=String)


def _defaults(connection: Connection, findings: Findings) -> None:
    """What was booked to a payee at the deadline is marked, and nothing else is."""
    purses = accounts.alias("purses")
    booked = select(postings.c.reference.label("hash"), literal(1).label("net"))
    for digest, off in _odd(
        connection,
        booked.join_from(postings, purses, purses.c.id == postings.c.destination).where(
            postings.c.reason == REASONS[PENDING], purses.c.kind == books.PURSE
        ),
        select(transfers.c.hash, literal(-1)).where(transfers.c.defaulted.is_(True)),
    ):
        where = f"payment {digest.hex()}"
        findings.differ("whether it was booked at the deadline", where, off < 0, off > 0)


def _carried(connection: Connection, findings: Findings) -> None:
    """What guarantees bear for devices, and what their owners have got of their purses."""
    borne = {"loss guaranteed": 1, "guarantee repaid": -1}
    owned = {"passed on to its owner": 1, "taken back": -1, "lost device paid back": 1, "late claim": -1}
    of_owner = func.coalesce(devices.c.paid_back, 0) + devices.c.passed_on
    for what, signs, kept in (("guaranteed", borne, devices.c.guaranteed), ("paid to its owner", owned, of_owner)):
        sign = case(signs, value=postings.c.reason, else_=0)
        moved = select(postings.c.reference.label("device"), (sign * postings.c.amount).label("net"))
        for who, off in _odd(
            connection, moved.where(postings.c.reason.in_(list(signs))), select(devices.c.id, -kept).where(kept != 0)
        ):
            findings.differ(f"what was {what}", f"device {who.hex()}", f"{-off:+} beside its postings", "its postings")


def _open_sums(connection: Connection, findings: Findings) -> None:
    """What was posted to and from devices and not confirmed yet."""
    for name, whose in (("unconfirmed", transfers.c.payee), ("left_open", transfers.c.payer)):
        kept = devices.c[name]
        counted = select(whose.label("device"), transfers.c.amount.label("net")).where(transfers.c[name].is_(True))
        for who, off in _odd(connection, counted, select(devices.c.id, -kept).where(kept != 0)):
            where = f"device {who.hex()}"
            findings.differ(f"what is {name.replace('_', ' ')}", where, f"{-off:+} beside its payments", "its payments")


def _orphans(connection: Connection, findings: Findings) -> None:
    """Rows of devices that are none: tables that lie apart by device have no foreign keys."""
    for table, column in (
        (journals, journals.c.device),
        (transfers, transfers.c.payer),
        (positions, positions.c.device),
        (dead_letters, dead_letters.c.device),
        (certificates, certificates.c.device),
    ):
        whose = select(column).distinct().subquery()
        unknown = whose.outerjoin(devices, devices.c.id == whose.c[column.key])
        lost = select(whose.c[column.key]).select_from(unknown).where(devices.c.id.is_(None)).limit(MAX_DIFFERENCES)
        for who in connection.execute(lost).scalars():
            findings.differ("the device of a row", f"{table.name}, device {who.hex()}", None, "registered")
