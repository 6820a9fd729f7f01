"""Lost and broken devices: blocked at once, and paid back when all that they did has had time to surface.

Until its pay-back day the money stays in the purse, for the claims of honest payees. On that day what is left, and what
was still on its way into the device, goes to its owner's account. Claims that come later are honoured as well
(`guarantee.cover`).
"""

from sqlalchemy import Connection, Row, select, update

from host_tools.crypto import Signer
from host_tools.ledger import loads, registry, revocation
from host_tools.ledger.disputes import disputed
from host_tools.ledger.errors import InvalidInput
from host_tools.ledger.guarantee import cover, fraudulent
from host_tools.ledger.schema import devices
from protocol.limits import GRACE_DAYS
from protocol.objects import DAY_S, OPERATOR_PAYEE


def report(connection: Connection, signer: Signer, who: bytes, now: int) -> int:
    """Block the device for good and put it on its operator's list. Again changes nothing.

    Returns the Unix day from which it is paid back. A full list does not stop this: the entry waits for room.
    """
    device = registry.locked(connection, who)
    registry.signing_operator(connection, signer, device.operator, now)
    if device.kind >> 4 == OPERATOR_PAYEE:
        raise InvalidInput(f"{device.name} is an operator's payee", "Only wallets and terminals can be lost")
    if device.lost_at is None:
        connection.execute(update(devices).where(devices.c.id == who).values(lost_at=now, revoked=True))
        revocation.await_own_list(connection, who)
    revocation.publish_blocked(connection, signer, device.operator, now)
    return pay_back_day(device)


def pay_back_day(device: Row) -> int:
    """The Unix day from which a lost device is paid back. It stands: a lost device gets no new Certificate."""
    return device.valid_until + GRACE_DAYS + 1


def pay_back(connection: Connection, now: int) -> int:
    """Empty the purses of lost devices whose day has come. Returns how many had something to pay back.

    Money in dispute, or of a device that is frozen for fraud, stays where it is, for people to settle.
    """
    due = select(devices).where(
        devices.c.lost_at.is_not(None),
        devices.c.paid_back.is_(None),
        devices.c.valid_until + GRACE_DAYS < now // DAY_S,
    )
    count = 0
    for device in connection.execute(due).all():
        if fraudulent(device) or disputed(connection, device):
            continue
        connection.execute(
            update(devices).where(devices.c.id == device.id).values(paid_back=device.passed_on, passed_on=0)
        )
        loads.arrive_unseen(connection, device, now)
        cover(connection, device.id, now)
        count += registry.device(connection, device.id).paid_back > device.passed_on
    return count
