"""Row locks: what a call decides on stays as it was read until the call commits. The one place that knows their order.

Transactions are READ COMMITTED: a read sees what others have committed, and does not keep them from changing it. So
whoever reads, decides and writes locks first, then reads. In this order, and never an earlier kind after a later one,
so that no two wait for each other:

    1. devices, by id       what is said of a device: its row, purse, journal, Certificates, loads, Requests, Orders and
                            syncs; and of a Transfer, which both its parties' locks are for
    2. accounts, by number  balances that several devices' owners draw on: customers', the guarantees', what is issued
    3. issuers              the numbers of revocation lists, and an operator's own certificate

What only adds to an account (`books.move`) decides nothing on its balance and locks nothing before. The update itself
locks the account until the commit, though, so two that move between the same shared accounts in other orders can meet:
the database ends one of them, which is run again (`retries`). So it is where two make the same thing at once, which no
row stands for yet: unique keys let one do it, and the other, run again, finds it done.

SQLite has one writer at a time (`engines`), so nothing is locked there.
"""

from collections.abc import Callable, Iterable

from sqlalchemy import ColumnElement, Connection, Select, select

from host_tools.ledger import bulk
from host_tools.ledger.schema import accounts as accounts_table
from host_tools.ledger.schema import devices as devices_table
from host_tools.ledger.schema import info, operators


def needed(connection: Connection) -> bool:
    """Not where there is one writer at a time."""
    return connection.dialect.name != "sqlite"


def devices(connection: Connection, wanted: Iterable[bytes]) -> None:
    """Nobody else changes anything of these devices until the transaction ends; unknown ones are passed over."""
    _lock(connection, devices_table.c.id, wanted)


def parties(connection: Connection, found: Callable[[], set[bytes]]) -> None:
    """Lock the devices that a call finds it is about, and ask again: others may have become parties while it waited.

    Those come out of their order, so two may meet, and one is run again; but that is rare.
    """
    locked: set[bytes] = set()
    while needed(connection) and not (wanted := found()) <= locked:
        devices(connection, wanted - locked)
        locked |= wanted


def accounts(connection: Connection, wanted: Iterable[int]) -> None:
    """Nobody else changes these balances until the transaction ends."""
    _lock(connection, accounts_table.c.id, wanted)


def issuer(connection: Connection, number: int) -> None:
    """Nobody else publishes lists of this issuer, or changes its certificate. An operator's number, or 0, the root."""
    if number:
        _lock(connection, operators.c.operator, (number,))
    else:
        _lock(connection, info.c.id, (1,))


# No stronger than an update's own: rows that only name one of these (foreign keys) need not wait
_LOCKED: dict[ColumnElement, Select] = {
    key: select(key).order_by(key).with_for_update(key_share=True)
    for key in (devices_table.c.id, accounts_table.c.id, operators.c.operator, info.c.id)
}


def _lock(connection: Connection, key: ColumnElement, wanted: Iterable[bytes] | Iterable[int]) -> None:
    if needed(connection):
        for _ in bulk.fetch(connection, _LOCKED[key], key, sorted(set(wanted))):
            pass
