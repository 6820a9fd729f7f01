"""Revocation lists: one complete list per operator and epoch. What a Certificate's `epoch` proves its device knew."""

from sqlalchemy import Connection, Row, func, select, update

from host_tools.crypto import Signer
from host_tools.ledger.errors import InvalidInput
from host_tools.ledger.schema import certificates, devices, revocations
from protocol.objects import DAY_S, MAX_REVOCATIONS, NO_HASH, REVOKED_ALTOGETHER, Certificate, Revocations


def current_epoch(connection: Connection, operator: int) -> int:
    """0 while the operator has revoked nothing."""
    return connection.execute(
        select(func.coalesce(func.max(revocations.c.epoch), 0)).where(revocations.c.operator == operator)
    ).scalar_one()


def list_of(connection: Connection, operator: int, epoch: int) -> Revocations | None:
    found = connection.execute(
        select(revocations.c.revocations).where(revocations.c.operator == operator, revocations.c.epoch == epoch)
    ).scalar_one_or_none()
    return Revocations.decode(found) if found else None


def minimum_issue(connection: Connection, operator: int, epoch: int, who: bytes) -> int:
    """The lowest Certificate issue of `who` (a device's or operator's entry id) that is good in this epoch.

    0 if it is not revoked.
    """
    revoked = list_of(connection, operator, epoch)
    return dict(revoked.entries).get(who, 0) if revoked else 0


def revoke(connection: Connection, signer: Signer, operator: int, device: Row, now: int) -> Revocations:
    """Put a device on the operator's list. Returns the new list, or the current one if it stands there.

    The new list leaves out whom every clock knows to have expired. Raises `InvalidInput` when it is full.
    """
    if device.operator == operator:
        connection.execute(update(devices).where(devices.c.id == device.id).values(revoked=True))
    epoch = current_epoch(connection, operator)
    current = list_of(connection, operator, epoch)
    entries = dict(current.entries) if current else {}
    if current and entries.get(device.id) == REVOKED_ALTOGETHER:
        return current
    entries = {who: minimum for who, minimum in entries.items() if not _expired(connection, who, now // DAY_S)}
    entries[device.id] = REVOKED_ALTOGETHER
    if len(entries) > MAX_REVOCATIONS:
        raise InvalidInput(f"A list holds {MAX_REVOCATIONS} entries", "Wait until older ones have expired")
    new = Revocations.of(
        list(entries.items()), issuer=operator, epoch=epoch + 1, predecessor=0, predecessor_hash=NO_HASH
    ).sign(signer.sign)
    connection.execute(revocations.insert().values(operator=operator, epoch=new.epoch, revocations=new.encode()))
    return new


def _expired(connection: Connection, who: bytes, today: int) -> bool:
    """Whether a device's last Certificate has expired and its own operator issues no other.

    What another operator may still renew stays on the list.
    """
    last = (
        select(certificates.c.certificate)
        .join(devices, (devices.c.id == certificates.c.device) & (devices.c.issue == certificates.c.issue))
        .where(devices.c.id == who, devices.c.revoked.is_(True))
    )
    found = connection.execute(last).scalar_one_or_none()
    return found is not None and Certificate.decode(found).valid_until < today
