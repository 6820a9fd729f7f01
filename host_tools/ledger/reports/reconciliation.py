"""Where every issued unit is, now."""

from sqlalchemy import Connection, select

from host_tools.ledger import books
from host_tools.ledger.schema import accounts, transfers
from host_tools.ledger.transfers import PENDING


def reconciliation(connection: Connection) -> dict:
    """Where every issued unit is. `difference` is 0, or the ledger is broken. A negative guarantee is a loss.

    Accounts are named `operator:name`, purses `name (id)`; `pending` names payer, payee and the Transfer's hash. Ids
    and hashes are whole, so that no two amounts share a name.
    """
    report: dict = {"issued": -_sum(connection, books.ISSUED)}
    report["accounts"] = _balances(connection, books.ACCOUNT)
    report["purses"] = _balances(connection, books.PURSE)
    report["pending"] = _pending(connection)
    report["loads_in_transit"] = _balances(connection, books.LOADS_IN_TRANSIT)
    report["guarantee"] = _balances(connection, books.GUARANTEE)
    report["suspense"] = _balances(connection, books.SUSPENSE)
    parts = ("accounts", "purses", "pending", "loads_in_transit", "guarantee", "suspense")
    report["difference"] = sum(sum(report[part].values()) for part in parts) - report["issued"]
    return report


def _sum(connection: Connection, kind: str) -> int:
    return sum(
        map(books.whole, connection.execute(select(accounts.c.balance).where(accounts.c.kind == kind)).scalars())
    )


def _balances(connection: Connection, kind: str) -> dict[str, int]:
    query = select(accounts.c.owner, accounts.c.name, accounts.c.balance).where(accounts.c.kind == kind)
    named = kind in (books.PURSE, books.LOADS_IN_TRANSIT)
    rows = connection.execute(query.order_by(accounts.c.id)).all()
    return {f"{row.name} ({row.owner})" if named else row.owner: books.whole(row.balance) for row in rows}


def _pending(connection: Connection) -> dict[str, int]:
    """The Transfers that make up the pending accounts; one booked to the payee's account for good is not among them."""
    query = select(transfers).where(transfers.c.state == PENDING, transfers.c.defaulted.is_(False))
    return {
        f"{row.payer.hex()}->{row.payee.hex()} {row.hash.hex()}": row.amount
        for row in connection.execute(query.order_by(transfers.c.payer, transfers.c.seq))
    }
