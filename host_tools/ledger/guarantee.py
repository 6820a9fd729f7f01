"""Who bears it when a purse has less than nothing: the books of frozen, unfunded and lost devices.

While a device is in good standing its purse may be negative, since its own credits may still be on their way. From the
moment it is frozen, and at the deadline for an unfunded one, the operator's guarantee account bears what is missing;
what comes in later repays it. The purse of a lost device is emptied into its owner's account on its pay-back day, and
stays empty: what surfaces later is taken from what the owner got, and the rest from the guarantee. The same holds for
what was passed on to the owner of payments that the device itself cannot spend any more. So whenever the news comes,
and in whatever order, the owner ends with what the purse held, and the guarantee with what it lacked.

Loads in transit are funding, since the device may have taken them: a purse lacks what it is below zero beyond them.
Nothing moves for that, so a load counts once, on its way or in the purse, and no more when it has gone back.
"""

from typing import Protocol

from sqlalchemy import Connection, Row, select, update

from host_tools.ledger import books, locks
from host_tools.ledger.schema import accounts, devices

UNFUNDED = "unfunded: it paid more than it ever received"  # devices.frozen; the one reason that is ever lifted


def fraudulent(device: Row) -> bool:
    """Frozen for good, not only until its funding arrives."""
    return device.frozen not in (None, UNFUNDED)


class Watchable(Protocol):
    @property
    def frozen(self) -> str | None: ...
    @property
    def paid_back(self) -> int | None: ...


def watched(device: Row | Watchable) -> bool:
    """Whether what happens to its purse concerns anybody but its owner: not while it is in good standing."""
    return device.frozen is not None or device.paid_back is not None


def lock(connection: Connection, device: Row) -> None:
    """The accounts whose balances decide who bears what of the device's: nobody else draws on them from here on."""
    guarantees = select(accounts.c.id).where(
        accounts.c.kind == books.GUARANTEE, accounts.c.owner == str(device.operator)
    )
    shared = [device.account]
    if watched(device):
        shared += connection.execute(guarantees).scalars()
    locks.accounts(connection, shared)


def in_transit(connection: Connection, who: bytes) -> int:
    """What is on its way into a device in loads that it may have taken, or may still take."""
    lies = select(accounts.c.balance).where(accounts.c.kind == books.LOADS_IN_TRANSIT, accounts.c.owner == who.hex())
    found = connection.execute(lies).scalar_one_or_none()
    return 0 if found is None else books.whole(found)


def lacking(connection: Connection, device: Row, now: int) -> int:
    """What the purse lacks once it has back what was passed on; below 0 is what it has to spare, loads included."""
    held = books.balance(connection, device.purse)
    if held < 0:
        held += take_back(connection, device, -held, now)
    return -held - in_transit(connection, device.id)


def cover(connection: Connection, who: bytes, now: int) -> None:
    """Bring the books of a device in line after its purse or its standing changed; one in good standing is left alone.

    Whoever moves money into or out of a purse, puts a load on its way into the device or takes one back, or freezes the
    device, calls this.
    """
    device = connection.execute(select(devices).where(devices.c.id == who)).one()
    if not watched(device):
        return
    lock(connection, device)
    missing = lacking(connection, device, now)
    if missing > 0:
        _bear(connection, device, missing, now)
    elif missing < 0:
        _repay(connection, device, -missing, now)


def _bear(connection: Connection, device: Row, missing: int, now: int) -> None:
    """What the purse lacks: from what a lost device's owner was paid back, while it is there; else the guarantee."""
    charged = 0
    if device.paid_back:
        charged = max(0, min(missing, device.paid_back, books.balance(connection, device.account)))
    if charged:
        books.move(connection, device.account, device.purse, charged, "late claim", device.id, now)
        _set(connection, device, paid_back=device.paid_back - charged)
    if missing > charged:
        guarantee = books.operator_account(connection, books.GUARANTEE, device.operator)
        books.move(connection, guarantee, device.purse, missing - charged, "loss guaranteed", device.id, now)
        _set(connection, device, guaranteed=device.guaranteed + missing - charged)


def pass_on(connection: Connection, device: Row, amount: int, now: int) -> None:
    """To the owner's account, of what the purse holds and its device cannot spend."""
    books.move(connection, device.purse, device.account, amount, "passed on to its owner", device.id, now)
    _set(connection, device, passed_on=device.passed_on + amount)


def take_back(connection: Connection, device: Row, most: int, now: int) -> int:
    """Of what was passed on, as far as the account goes. Returns how much."""
    if device.passed_on <= 0:
        return 0
    lock(connection, device)
    amount = max(0, min(most, device.passed_on, books.balance(connection, device.account)))
    if amount:
        books.move(connection, device.account, device.purse, amount, "taken back", device.id, now)
        _set(connection, device, passed_on=device.passed_on - amount)
    return amount


def _repay(connection: Connection, device: Row, spare: int, now: int) -> None:
    """What the purse has to spare: the guarantee gets back what it bore, a lost device's owner the rest.

    It may be on its way still; the purse is below zero by so much then. To a device that was paid back nothing is.
    """
    repaid = min(spare, device.guaranteed)
    if repaid:
        guarantee = books.operator_account(connection, books.GUARANTEE, device.operator)
        books.move(connection, device.purse, guarantee, repaid, "guarantee repaid", device.id, now)
        _set(connection, device, guaranteed=device.guaranteed - repaid)
    if device.paid_back is not None and spare > repaid:
        books.move(connection, device.purse, device.account, spare - repaid, "lost device paid back", device.id, now)
        _set(connection, device, paid_back=device.paid_back + spare - repaid)
    if device.frozen == UNFUNDED and repaid == device.guaranteed:
        _set(connection, device, frozen=None)


def _set(connection: Connection, device: Row, **values) -> None:
    connection.execute(update(devices).where(devices.c.id == device.id).values(**values))
