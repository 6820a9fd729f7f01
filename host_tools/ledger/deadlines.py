"""What happens when nobody comes: nothing is left pending, unfunded or in a lost device for ever.

Each deadline is GRACE_DAYS after the last Certificate of the device it is about expired: nobody accepts its payments
any more, and all that it did before had time to surface. What comes later still counts, and is put right.
"""

from collections import Counter
from typing import NamedTuple

from sqlalchemy import Connection, select, text, update

from host_tools.ledger import books, locks, lost, registry, transfers
from host_tools.ledger.disputes import disputed
from host_tools.ledger.guarantee import UNFUNDED, cover, lacking, pass_on
from host_tools.ledger.schema import UNSETTLED, accounts, devices
from host_tools.ledger.schema import transfers as transfers_table
from protocol.limits import GRACE_DAYS
from protocol.objects import DAY_S


class Overdue(NamedTuple):
    """How many were booked: pending Transfers, purses that lack their funding, lost devices."""

    transfers: int
    unfunded: int
    paid_back: int


def book_overdue(connection: Connection, now: int) -> Overdue:
    """Book what is past its deadline.

    Pending money goes to the payee, not back to the payer: a payee that was destroyed has most likely handed out the
    goods. It goes into the payee's purse, where it first fills what is lacking, and what it leaves above goes on to its
    owner's account. Its Void or watermark, should one still come, moves the money from there to the payer.
    """
    today = now // DAY_S
    locks.parties(connection, lambda: _parties(connection, today))
    booked = transfers.default_overdue(connection, today, now)
    unfunded = _freeze_unfunded(connection, today, now)
    _pass_on(connection, today, now)
    return Overdue(booked, unfunded, lost.pay_back(connection, now))


def _parties(connection: Connection, today: int) -> set[bytes]:
    """Of everything that is booked below."""
    ended = devices.c.valid_until + GRACE_DAYS < today
    pending = (
        select(transfers_table.c.payer, transfers_table.c.payee)
        .join(devices, transfers_table.c.payee == devices.c.id)
        .where(text(UNSETTLED), transfers_table.c.state == transfers.PENDING, ended)
    )
    overdrawn = select(devices.c.id).join(accounts, devices.c.purse == accounts.c.id).where(accounts.c.balance < 0)
    unpaid = select(devices.c.id).where(devices.c.lost_at.is_not(None), devices.c.paid_back.is_(None))
    found = {who for row in connection.execute(pending.distinct()) for who in row}
    found.update(transfers.beyond_the_device(connection))
    for gone in (overdrawn.where(devices.c.frozen.is_(None), devices.c.lost_at.is_(None)), unpaid):
        found.update(connection.execute(gone.where(ended)).scalars())
    return found


def _pass_on(connection: Connection, today: int, now: int) -> None:
    """To their owners' accounts, what no device can spend: what was booked at the deadline to those that have gone, and
    what came back after a journal had shown it as paid.

    A lost device's purse waits for its pay-back day, a frozen or disputed one for people.
    """
    owed = Counter(transfers.defaulted_to(connection, today))
    owed.update(transfers.beyond_the_device(connection))
    for who, sum_of_both in sorted(owed.items()):
        device = registry.device(connection, who)
        amount = min(books.balance(connection, device.purse), sum_of_both - device.passed_on)
        mine = device.frozen is None and device.lost_at is None
        if amount > 0 and mine and not disputed(connection, device):
            pass_on(connection, device, amount, now)


def _freeze_unfunded(connection: Connection, today: int, now: int) -> int:
    """Purses that are negative though their funding had all the time to arrive: frozen until it does.

    Expiry does not say that a load was not taken: what is in transit funds a purse here as well. Should it go back to
    the account, the next run finds the purse; meanwhile its device gets no Certificate and redeems nothing.
    """
    overdrawn = (
        select(devices.c.id)
        .join(accounts, devices.c.purse == accounts.c.id)
        .where(
            accounts.c.balance < 0,
            devices.c.frozen.is_(None),
            devices.c.lost_at.is_(None),
            devices.c.valid_until + GRACE_DAYS < today,
        )
    )
    count = 0
    for who in connection.execute(overdrawn).scalars().all():
        device = registry.device(connection, who)
        if lacking(connection, device, now) <= 0:
            continue
        count += 1
        connection.execute(update(devices).where(devices.c.id == who).values(frozen=UNFUNDED))
        cover(connection, who, now)
    return count
