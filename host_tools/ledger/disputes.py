"""Disputes: devices that took more of frozen payers' money than any honest one, until people have cleared them."""

from sqlalchemy import Connection, Row, func, select, update

from host_tools.ledger import books, registry
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
    if latest is None or most <= _honest(latest[0]):
        return False
    highest = max(map(_honest, registry.certificates_of(connection, device.id)))  # an operator may have lowered them
    return most > highest and _paid_by_frozen(connection, device.id)


def taken(connection: Connection, device: Row) -> int:
    """What a dispute is about: the purse, or more that one payer's money brought after that payer was frozen."""
    most = select(func.coalesce(func.max(from_frozen.c.amount), 0)).where(from_frozen.c.payee == device.id)
    return max(books.balance(connection, device.purse), connection.execute(most).scalar_one())


def clear(connection: Connection, device: Row, amount: int) -> None:
    """People have looked at what it took, up to this much."""
    connection.execute(update(devices).where(devices.c.id == device.id).values(cleared=amount))


def payees_of_frozen(connection: Connection) -> set[bytes]:
    """Everybody to whom money of a frozen payer was posted."""
    theirs = select(transfers.c.payee).join(devices, transfers.c.payer == devices.c.id)
    posted = theirs.where(devices.c.frozen > "", transfers.c.state == POSTED)  # an index finds these, not "is not null"
    return set(connection.execute(posted.distinct()).scalars())


def _honest(certificate: Certificate) -> int:
    return certificate.balance_limit + certificate.sum_limit


def _paid_by_frozen(connection: Connection, payee: bytes) -> bool:
    """Whether money of a frozen payer was posted to this payee."""
    theirs = (
        select(transfers.c.hash)
        .join(devices, transfers.c.payer == devices.c.id)
        .where(transfers.c.payee == payee, transfers.c.state == POSTED, devices.c.frozen.is_not(None))
    )
    return connection.execute(theirs.limit(1)).first() is not None
