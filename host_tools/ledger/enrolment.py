"""Many devices of one operator at a time: registered, and their loads ordered, in a few statements for all of them.

The rules are those of `registry` and `loads`, and the rows that come of them are the same; what is different is only
that the database is asked about all devices together.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, Table, func, select, update

from host_tools.crypto import Signer
from host_tools.ledger import books, bulk, loads, locks, registry, revocation
from host_tools.ledger.errors import UnknownDevice
from host_tools.ledger.guarantee import watched
from host_tools.ledger.schema import accounts, certificates, devices
from host_tools.ledger.schema import loads as ordered
from protocol.objects import Acknowledgement, Certificate, Load

AT_ONCE = 1_000  # devices of one transaction: a commit costs little beside them, and nobody waits long for their locks

_T = TypeVar("_T")


class NewDevice(NamedTuple):
    """A device to register, as `registry.register` is told of one."""

    key: bytes
    kind: int
    mcc: int
    account: int
    name: str


def shares(wanted: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """What goes into one transaction after the other."""
    return (wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE))


def register(
    connection: Connection, signer: Signer, operator: int, wanted: Sequence[NewDevice], now: int
) -> list[tuple[Certificate, Acknowledgement]]:
    """Register each as `registry.register` does; who is registered already gets the same stored objects again."""
    registry.signing_operator(connection, signer, operator, now)
    ids = [registry.checked_id(one.key, one.kind, one.mcc, one.name) for one in wanted]
    for account in sorted({one.account for one in wanted}):
        registry.check_account_of(connection, account, operator)
    known = registry.devices_of(connection, ids)
    new: dict[bytes, NewDevice] = {}
    for who, one in zip(ids, wanted, strict=True):
        if who not in known:
            new.setdefault(who, one)
    pairs = _register_new(connection, signer, operator, new, now) if new else {}
    revocation.publish_blocked(connection, signer, operator, now)
    return [
        pairs[who] if new.get(who) is one else registry.register(connection, signer, operator, *one, now)
        for who, one in zip(ids, wanted, strict=True)
    ]


def _register_new(
    connection: Connection, signer: Signer, operator: int, new: Mapping[bytes, NewDevice], now: int
) -> dict[bytes, tuple[Certificate, Acknowledgement]]:
    registry.check_operator_good(connection, operator)
    named = {who.hex(): one.name for who, one in new.items()}
    purses = _opened(connection, books.PURSE, operator, named)
    shown = registry.shown_before(connection, new)

    def row(who: bytes, one: NewDevice) -> dict[str, Any]:
        purse, seq = purses[who.hex()], shown[who]
        return registry.new_row(operator, one.key, one.kind, one.mcc, one.account, purse, one.name, seq, now)

    _insert(connection, devices, [row(who, one) for who, one in new.items()])
    rows = registry.devices_of(connection, list(new))
    pairs = {who: registry.next_pair(signer, rows[who], 0, registry.limits_of(rows[who]), now) for who in new}
    _insert(connection, certificates, [registry.issued_row(*pair) for pair in pairs.values()])
    (same,) = {tuple(registry.newest(certificate).items()) for certificate, _ in pairs.values()}
    connection.execute(update(devices).where(devices.c.id.in_(list(new))).values(**dict(same)))
    return pairs


def order_loads(connection: Connection, signer: Signer, wanted: Sequence[tuple[bytes, int]], now: int) -> list[Load]:
    """Order a Load for each, by device and amount, as `loads.order` does; all of them or none.

    Raises `UnknownDevice`, `InsufficientFunds`, `DeviceFrozen`, `DeviceRevoked`, `InvalidInput`.
    """
    ids = list(dict.fromkeys(who for who, _ in wanted))
    locks.devices(connection, ids)
    rows = registry.devices_of(connection, ids)
    for who in ids:
        if who not in rows:
            raise UnknownDevice(f"Device {who.hex()} is not registered", "Personalise it first")
    for operator in sorted({row.operator for row in rows.values()}):
        registry.signing_operator(connection, signer, operator, now)
        registry.check_operator_good(connection, operator)
    usual = [(who, amount) for who, amount in wanted if not watched(rows[who])]
    made = iter(_order_usual(connection, signer, rows, usual, now)) if usual else iter(())
    return [
        loads.order(connection, signer, who, amount, now) if watched(rows[who]) else next(made)
        for who, amount in wanted
    ]


def _order_usual(
    connection: Connection, signer: Signer, rows: Mapping[bytes, Row], wanted: Sequence[tuple[bytes, int]], now: int
) -> list[Load]:
    """For devices whose loads concern nobody but their owners."""
    waiting, last = _ordered_before(connection, list(rows))
    made: list[Load] = []
    for who, amount in wanted:
        loads.check_loadable(rows[who], amount, waiting.get(who, 0))
        waiting[who] = waiting.get(who, 0) + 1
        last[who] = last.get(who, 0) + 1
        made.append(loads.signed(signer, rows[who], last[who], amount))
    taken: dict[int, int] = {}
    for load in made:
        account = rows[load.device].account
        taken[account] = taken.get(account, 0) + load.amount
    locks.accounts(connection, taken)
    for account, amount in taken.items():
        registry.check_funds(connection, account, amount)
    _take(connection, rows, made, now)
    return made


def _take(connection: Connection, rows: Mapping[bytes, Row], made: list[Load], now: int) -> None:
    """From the accounts, and on the way into the devices."""
    transits: dict[str, int] = {}
    for operator in sorted({load.operator for load in made}):
        named = {load.device.hex(): rows[load.device].name for load in made if load.operator == operator}
        transits |= _opened(connection, books.LOADS_IN_TRANSIT, operator, named)
    values = [loads.new_row(load, rows[load.device].account) for load in made]
    _insert(connection, ordered, values)
    moved = [
        (row["account"], transits[load.device.hex()], load.amount, row["hash"])
        for load, row in zip(made, values, strict=True)
    ]
    books.post(connection, moved, loads.ORDERED, now)


def _ordered_before(connection: Connection, ids: list[bytes]) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Of each device, how many loads wait for it, and the number of the last one."""
    per_device = select(ordered.c.device, func.count(), func.max(ordered.c.number)).group_by(ordered.c.device)
    known = per_device.where(ordered.c.device.in_(ids))
    last = {row[0]: row[2] for row in connection.execute(known)}
    waiting = {row[0]: row[1] for row in connection.execute(known.where(ordered.c.state == loads.OUTSTANDING))}
    return waiting, last


def _opened(connection: Connection, kind: str, operator: int, named: Mapping[str, str]) -> dict[str, int]:
    """The accounts of this kind, by their owners, which are `named`; new ones are opened as by `books.account_of`."""
    query = select(accounts.c.owner, accounts.c.id).where(accounts.c.kind == kind, accounts.c.owner.in_(list(named)))

    def open_ones() -> dict[str, int]:
        return {owner: number for owner, number in connection.execute(query)}

    known = open_ones()
    missing = [books.new_row(kind, owner, operator, name) for owner, name in named.items() if owner not in known]
    if not missing:
        return known
    _insert(connection, accounts, missing)
    return open_ones()


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Rows that all have the same columns, some of which are words of SQL."""
    bulk.insert(connection, table, list(rows[0]), [tuple(row.values()) for row in rows])
