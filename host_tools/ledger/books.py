"""The books: accounts, postings and the invariant. Knows amounts, not what they are for.

Money only ever moves from one account to another. `issued` is the central bank's contra account, the negative of all
the others, so the balances add up to 0; that is the invariant `accounts + purses + pending + loads in transit +
guarantee + suspense = issued`.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select, update

from host_tools.ledger import bulk
from host_tools.ledger.errors import BooksBroken, InvalidInput
from host_tools.ledger.schema import accounts, postings

ISSUED = "issued"
ACCOUNT = "account"
PURSE = "purse"
PENDING = "pending"
LOADS_IN_TRANSIT = "loads in transit"
GUARANTEE = "guarantee"
SUSPENSE = "suspense"

MAX_AMOUNT = (1 << 63) - 1  # BIGINT

STOP = "Stop, keep a copy of the database and report it"


def account_of(connection: Connection, kind: str, owner: str, operator: int | None, name: str) -> int:
    """The id of the one account of this kind and owner, opened if it is new."""
    found = connection.execute(
        select(accounts.c.id).where(accounts.c.kind == kind, accounts.c.owner == owner)
    ).scalar_one_or_none()
    if found is not None:
        return found
    key = connection.execute(accounts.insert().values(**new_row(kind, owner, operator, name))).inserted_primary_key
    if key is None:
        raise BooksBroken("The database numbered no new account", "Check the database engine")
    return key[0]


def new_row(kind: str, owner: str, operator: int | None, name: str) -> dict[str, Any]:
    """An account with nothing in it: its columns."""
    return {"kind": kind, "owner": owner, "operator": operator, "name": name, "balance": 0}


def operator_account(connection: Connection, kind: str, operator: int) -> int:
    """The operator's account of a kind of which each operator has one."""
    return account_of(connection, kind, str(operator), operator, f"operator {operator}")


def issued_account(connection: Connection) -> int:
    return account_of(connection, ISSUED, "", None, "central bank")


def balance(connection: Connection, account: int) -> int:
    """Minor units; negative for `issued` and for an unfunded purse."""
    return whole(connection.execute(select(accounts.c.balance).where(accounts.c.id == account)).scalar_one())


def whole(kept: object) -> int:
    """A kept balance, which SQLite would let be a text. Raises `BooksBroken`."""
    if not isinstance(kept, int):
        raise BooksBroken(f"An account's balance is {kept!r}, which is no whole number", STOP)
    return kept


def move(
    connection: Connection, source: int, destination: int, amount: int, reason: str, reference: bytes, now: int
) -> None:
    """Post `amount` from one account to another. Whether the source may go below zero is the caller's rule."""
    if not 0 < amount <= MAX_AMOUNT or source == destination:
        raise InvalidInput(
            f"{amount} cannot be moved from account {source} to {destination}", "Choose a positive amount"
        )
    connection.execute(
        postings.insert().values(
            at=now, source=source, destination=destination, amount=amount, reason=reason, reference=reference
        )
    )
    for account, change in sorted(((source, -amount), (destination, amount))):  # in the order of locks
        changed = update(accounts).where(accounts.c.id == account).values(balance=accounts.c.balance + change)
        _check_all_changed(connection.execute(changed).rowcount, 1)


def post(connection: Connection, moved: Sequence[tuple[int, int, int, bytes]], reason: str, now: int) -> None:
    """Post many movements, `(source, destination, amount, reference)`; each account is changed once, by all of them."""
    changes: dict[int, int] = {}
    for source, destination, amount, _ in moved:
        changes[source] = changes.get(source, 0) - amount
        changes[destination] = changes.get(destination, 0) + amount
    same = {"at": now, "reason": reason}
    bulk.insert(connection, postings, ("source", "destination", "amount", "reference"), moved, same)
    _check_all_changed(bulk.add(connection, accounts, "id", "balance", changes), len(changes))


def _check_all_changed(changed: int, wanted: int) -> None:
    """What one account gives another gets, in one transaction. Raises `BooksBroken` if one of them is not there."""
    if changed != wanted:
        raise BooksBroken(f"A movement names {wanted} accounts, and {changed} are in the books", STOP)


def check(connection: Connection) -> None:
    """The invariant, and every account added up from its postings beside its kept balance. Raises `BooksBroken`."""
    total = connection.execute(select(func.coalesce(func.sum(accounts.c.balance), 0))).scalar_one()
    if total != 0:
        raise BooksBroken(f"The books are off by {total}", STOP)
    added: dict[int, int] = dict.fromkeys(connection.execute(select(accounts.c.id)).scalars(), 0)
    for account, sign in ((postings.c.source, -1), (postings.c.destination, 1)):
        for number, total in connection.execute(select(account, func.sum(postings.c.amount)).group_by(account)):
            if number not in added:
                raise BooksBroken(f"A posting names account {number}, which is not in the books", STOP)
            added[number] += sign * int(total)
    for number, kept in connection.execute(select(accounts.c.id, accounts.c.balance)):
        if added[number] != kept:
            raise BooksBroken(f"Account {number} says {kept}, its postings say {added[number]}", STOP)
