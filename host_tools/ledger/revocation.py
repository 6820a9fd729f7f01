"""Revocation lists: one complete list per operator and epoch. What a Certificate's `epoch` proves its device knew."""

from sqlalchemy import Connection, func, select

from host_tools.crypto import Signer
from host_tools.ledger.errors import InvalidInput
from host_tools.ledger.schema import revocations
from protocol.objects import MAX_REVOCATIONS, NO_HASH, REVOKED_ALTOGETHER, Revocations


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


def revoke(connection: Connection, signer: Signer, operator: int, who: bytes) -> Revocations:
    """Put `who` on the operator's list as revoked. Returns the new list, or the current one if it stands there."""
    epoch = current_epoch(connection, operator)
    current = list_of(connection, operator, epoch)
    entries = dict(current.entries) if current else {}
    if current and entries.get(who) == REVOKED_ALTOGETHER:
        return current
    entries[who] = REVOKED_ALTOGETHER
    if len(entries) > MAX_REVOCATIONS:
        raise InvalidInput(f"A list holds {MAX_REVOCATIONS} entries", "Wait until older ones have expired")
    new = Revocations.of(
        list(entries.items()), issuer=operator, epoch=epoch + 1, predecessor=0, predecessor_hash=NO_HASH
    ).sign(signer.sign)
    connection.execute(revocations.insert().values(operator=operator, epoch=new.epoch, revocations=new.encode()))
    return new
