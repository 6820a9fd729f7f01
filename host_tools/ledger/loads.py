"""Loads: money on its way from an account into a device.

It lies in `loads in transit` from the order until the device's journal shows the load, or until a complete journal
lacks it although its load floor has passed the number: only then can it never be accepted, and only then it goes
back. Expiry proves nothing. Until then it is funding of the device (`guarantee`). Where a lost device is paid back,
what is in transit is taken for accepted: it goes the way of the purse, and moves nothing more when the journal shows it
after all.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from host_tools.crypto import Signer, sha256
from host_tools.ledger import books, bulk, guarantee, registry
from host_tools.ledger.errors import AlreadyRegistered, DeviceFrozen, DeviceRevoked, InvalidInput, UnknownLoad
from host_tools.ledger.guarantee import cover, fraudulent
from host_tools.ledger.schema import devices, loads
from protocol.objects import MAX_LOAD_MCCS, NO_ID, Load

OUTSTANDING = "outstanding"
LOADED = "loaded"
RETURNED = "returned"
PAID_BACK = "paid back"  # with the purse of a lost device, whose journal has not shown it

ORDERED = "load ordered"  # a posting's reason

MAX_OUTSTANDING = 16  # one sync carries them all; more means that nobody collects them


def order(
    connection: Connection, signer: Signer, device: bytes, amount: int, now: int, number: int | None = None
) -> Load:
    """Take `amount` from the device's account and sign a Load, or return the one of this number.

    Raises `InsufficientFunds`, `DeviceFrozen`, `DeviceRevoked`, `AlreadyRegistered` for a number that is not the next.
    """
    row = registry.locked(connection, device)
    registry.signing_operator(connection, signer, row.operator, now)
    registry.check_operator_good(connection, row.operator)
    last = connection.execute(
        select(func.coalesce(func.max(loads.c.number), 0)).where(loads.c.device == device)
    ).scalar_one()
    if number is not None and number != last + 1:
        return _ordered(connection, device, number, amount)
    check_loadable(row, amount, len(outstanding(connection, device)))
    guarantee.lock(connection, row)
    registry.check_funds(connection, row.account, amount)
    load = signed(signer, row, last + 1, amount)
    values = new_row(load, row.account)
    connection.execute(loads.insert().values(**values))
    books.move(connection, row.account, _transit(connection, row), amount, ORDERED, values["hash"], now)
    cover(connection, device, now)
    return load


def check_loadable(device: Row, amount: int, waiting: int) -> None:
    """Whether `amount` may be loaded into it while so many loads wait for it already.

    Raises `DeviceFrozen`, `DeviceRevoked`, `InvalidInput`.
    """
    if fraudulent(device):
        raise DeviceFrozen(f"Device {device.name} is frozen: {device.frozen}", "Register a new device for its owner")
    if device.revoked:
        raise DeviceRevoked(f"Device {device.name} is revoked", "Register a new device for its owner")
    if not 0 < amount < 1 << 32:
        raise InvalidInput(f"{amount} cannot be loaded", "Choose an amount of 1 to 4294967295 minor units")
    if waiting >= MAX_OUTSTANDING:
        raise InvalidInput(f"{MAX_OUTSTANDING} loads wait for this device", "Sync the device, or cancel them")


def signed(signer: Signer, device: Row, number: int, amount: int) -> Load:
    """Money without conditions, for the device."""
    return Load(
        operator=device.operator,
        device=device.id,
        number=number,
        amount=amount,
        lot=0,
        lot_valid_until=0,
        lot_mccs=bytes(2 * MAX_LOAD_MCCS),
        lot_payee=NO_ID,
    ).sign(signer.sign)


def new_row(load: Load, account: int) -> dict[str, Any]:
    """A load that has just been taken from the account: its columns."""
    return {
        "device": load.device,
        "number": load.number,
        "hash": sha256(load.body()),
        "amount": load.amount,
        "account": account,
        "load": load.encode(),
        "state": OUTSTANDING,
    }


def _ordered(connection: Connection, device: bytes, number: int, amount: int) -> Load:
    """The Load that an earlier call has made under this number."""
    known = connection.execute(
        select(loads.c.load).where(loads.c.device == device, loads.c.number == number, loads.c.amount == amount)
    ).scalar_one_or_none()
    if known is None:
        raise AlreadyRegistered(f"Load {number} is not this device's next, or of another amount", "List its loads")
    return Load.decode(known)


def outstanding(connection: Connection, device: bytes) -> list[Row]:
    """In the order of their numbers."""
    wanted = select(loads).where(loads.c.device == device, loads.c.state == OUTSTANDING).order_by(loads.c.number)
    return list(connection.execute(wanted).all())


_OUTSTANDING = select(loads).where(loads.c.state == OUTSTANDING).order_by(loads.c.device, loads.c.number)


def outstanding_of(connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, list[Row]]:
    """`outstanding` of each of these devices that has any."""
    found: dict[bytes, list[Row]] = {}
    for load in bulk.rows(connection, _OUTSTANDING, loads.c.device, wanted):
        found.setdefault(load.device, []).append(load)
    return found


def cancel(connection: Connection, device: bytes, number: int) -> None:
    """Stop offering a load, and all lower ones, and raise the load floor of the next Acknowledgement past it.

    The money goes back at the first sync that proves the device never took it, two syncs from now at the earliest.
    """
    row = registry.locked(connection, device)
    if number not in [load.number for load in outstanding(connection, device)]:
        raise UnknownLoad(f"Load {number} of {row.name} is not outstanding", "List the device's loads")
    connection.execute(
        update(devices).where(devices.c.id == device).values(next_load_floor=max(number, row.next_load_floor))
    )


def take(connection: Connection, device: Row, load: Load, now: int) -> str | None:
    """The device's journal shows a load made out to it. Returns why it is refused, or None; again changes nothing."""
    digest = sha256(load.body())
    known = connection.execute(select(loads).where(loads.c.hash == digest)).one_or_none()
    if known is None:
        return "the ledger issued no such load to this device"
    if known.state == RETURNED:
        return "this load went back to the account: the journal had lacked it"
    if known.state == OUTSTANDING:
        _arrive(connection, device, known, LOADED, now)
        cover(connection, device.id, now)
    elif known.state == PAID_BACK:
        connection.execute(update(loads).where(loads.c.hash == digest).values(state=LOADED))
    return None


def arrive_unseen(connection: Connection, device: Row, now: int) -> None:
    """A lost device is paid back: what is still in transit to it counts as taken."""
    for load in outstanding(connection, device.id):
        _arrive(connection, device, load, PAID_BACK, now)


def _arrive(connection: Connection, device: Row, load: Row, state: str, now: int) -> None:
    books.move(connection, _transit(connection, device), device.purse, load.amount, "loaded", load.hash, now)
    connection.execute(update(loads).where(loads.c.hash == load.hash).values(state=state))


def give_back(connection: Connection, device: Row, waiting: Iterable[Row], now: int) -> None:
    """Return those of its `waiting` loads that the device can never take any more.

    `device.load_floor` is of a complete journal, whose loads were all taken.
    """
    closed = [load for load in waiting if load.number <= device.load_floor]
    for load in closed:
        books.move(connection, _transit(connection, device), load.account, load.amount, "load returned", load.hash, now)
        connection.execute(update(loads).where(loads.c.hash == load.hash).values(state=RETURNED))
    if closed:
        cover(connection, device.id, now)


def _transit(connection: Connection, device: Row) -> int:
    return books.account_of(connection, books.LOADS_IN_TRANSIT, device.id.hex(), device.operator, device.name)
