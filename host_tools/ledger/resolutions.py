"""Resolutions: the operator's word on a debit that its payer has in doubt, once the ledger knows how it ended."""

from collections.abc import Iterable

from sqlalchemy import Connection, Row, and_, or_, select, text, update

from host_tools.crypto import Signer, verify
from host_tools.ledger import bulk, registry
from host_tools.ledger.schema import DEBITED, resolutions, transfers
from host_tools.ledger.transfers import PENDING, POSTED, REFUSED, RETURNED, VOID
from protocol import objects
from protocol.objects import Resolution


def due(connection: Connection, signer: Signer, payer: Row, ended: Iterable[Row]) -> list[bytes]:
    """The Resolutions the payer needs: one for each of those that `ended` has of it.

    One is signed once and repeated until the journal shows the end. What was booked to the payee at the deadline is
    paid, and so is what the payee claims in vain: it took it. A Void that comes later gives the money back, and so do
    people who decide it; that is told unless the journal shows the end by then.
    """
    return [_resolution(connection, signer, payer, row) for row in ended]


_IS_KNOWN = or_(
    transfers.c.state.in_((POSTED, VOID, REFUSED, RETURNED)),
    and_(transfers.c.state == PENDING, transfers.c.defaulted.is_(True)),
)
_ENDED = (
    select(transfers.c.payer, transfers.c.hash, transfers.c.state)
    .where(text(DEBITED), transfers.c.closed_seq.is_(None), _IS_KNOWN)
    .order_by(transfers.c.payer, transfers.c.seq)
)


def ended(connection: Connection, payers: Iterable[bytes]) -> dict[bytes, list[Row]]:
    """By payer, oldest first, the debits of which its journal does not show how they ended, and the ledger knows."""
    found: dict[bytes, list[Row]] = {}
    for row in bulk.rows(connection, _ENDED, transfers.c.payer, payers):
        found.setdefault(row.payer, []).append(row)
    return found


def _resolution(connection: Connection, signer: Signer, payer: Row, transfer: Row) -> bytes:
    outcome = objects.VOID if transfer.state in (VOID, RETURNED) else objects.PAID
    known = find(connection, transfer.hash)
    if known is not None and Resolution.decode(known).outcome == outcome:
        return known
    made = Resolution(operator=payer.operator, payer=payer.id, transfer=transfer.hash, outcome=outcome).sign(
        signer.sign
    )
    if known is None:
        connection.execute(resolutions.insert().values(transfer=transfer.hash, resolution=made.encode()))
    else:
        changed = update(resolutions).where(resolutions.c.transfer == transfer.hash)
        connection.execute(changed.values(resolution=made.encode()))
    return made.encode()


def find(connection: Connection, transfer_hash: bytes) -> bytes | None:
    return connection.execute(
        select(resolutions.c.resolution).where(resolutions.c.transfer == transfer_hash)
    ).scalar_one_or_none()


def is_ours(connection: Connection, resolution: Resolution, payer: Row) -> bool:
    """Whether a Resolution in the payer's journal is one that this ledger signed."""
    key = registry.operator_certificate(connection, payer.operator).key
    return resolution.payer == payer.id and resolution.verified_by(key, verify)
