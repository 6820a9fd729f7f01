"""Disputes: devices that took more of frozen payers' money than any honest one, until people have cleared them."""

from collections.abc import Iterable

from sqlalchemy import Connection, Row, func, select, update

from host_tools.ledger import books, bulk, registry
from host_tools.ledger.parse import Limits
from host_tools.ledger.schema import devices, from_frozen, transfers
from host_tools.ledger.transfers import POSTED
from protocol.objects import Certificate


def disputed(connection: Connection, device: Row) -> bool:
    """Whether the device took more of frozen payers' money than any honest payee, and than people have cleared.

    A cracked payer can sign any number of payments to an accomplice, and all are posted; it must not become the
    accomplice's bank. Under one Certificate an honest device takes no more than its balance limit and what it pays out
    again, at most its sum limit. With its first sync after a payer was frozen it learns the list that names the payer:
    what is posted to it of that payer from then on was taken before, under one Certificate. So that is added up for
    each payer, though it has left the purse; else an accomplice would redeem what it got and begin anew.
    """
    return taken(connection, device) > device.cleared and suspect(connection, device)


def suspect(connection: Connection, device: Row) -> bool:
    """Whether it took more than an honest payee, cleared or not."""
    most = taken(connection, device)
    latest = registry.certificate_of(connection, device.id, device.issue)
    if latest is None or most <= honest(latest[0]):
        return False
    highest = max(map(honest, registry.certificates_of(connection, device.id)))  # an operator may have lowered them
    return most > highest and _paid_by_frozen(connection, device.id)


def taken(connection: Connection, device: Row) -> int:
    """What a dispute is about: the purse, or more that one payer's money brought after that payer was frozen."""
    most = most_from_frozen(connection, [device.id]).get(device.id, 0)
    return max(books.balance(connection, device.purse), most)


_MOST = select(from_frozen.c.payee, func.max(from_frozen.c.amount)).group_by(from_frozen.c.payee)


def most_from_frozen(connection: Connection, payees: Iterable[bytes]) -> dict[bytes, int]:
    """What one payer's money brought each of these payees after that payer was frozen, the most."""
    return {who: amount for who, amount in bulk.rows(connection, _MOST, from_frozen.c.payee, payees)}


def clear(connection: Connection, device: Row, amount: int) -> None:
    """People have looked at what it took, up to this much."""
    connection.execute(update(devices).where(devices.c.id == device.id).values(cleared=amount))


def payees_of_frozen(connection: Connection) -> set[bytes]:
    """Everybody to whom money of a frozen payer was posted."""
    frozen = select(devices.c.id).where(devices.c.frozen > "")  # an index finds these, not "is not null"
    posted = select(transfers.c.payee).where(transfers.c.payer.in_(frozen), transfers.c.state == POSTED)
    return set(connection.execute(posted.distinct()).scalars())


def honest(certificate: Certificate | Limits) -> int:
    """What an honest device takes of frozen payers' money under one Certificate, at most."""
    return certificate.balance_limit + certificate.sum_limit


def _paid_by_frozen(connection: Connection, payee: bytes) -> bool:
    """Whether money of a frozen payer was posted to this payee."""
    theirs = (
        select(transfers.c.hash)
        .join(devices, transfers.c.payer == devices.c.id)
        .where(transfers.c.payee == payee, transfers.c.state == POSTED, devices.c.frozen.is_not(None))
    )
    return connection.execute(theirs.limit(1)).first() is not None
