"""What people decide where signatures leave it open, in the name of a device's operator: recorded with their reason.

Money in suspense goes to the payee or back to the payer, and a dispute is lifted. A decision stands; only a Void that
comes after all still gives the money to the payer.
"""

from sqlalchemy import Connection, Row, select

from host_tools.crypto import Signer
from host_tools.ledger import disputes, locks, registry, transfers
from host_tools.ledger.errors import InvalidInput, NotToDecide, UnknownDevice, UnknownTransfer
from host_tools.ledger.schema import decisions
from host_tools.ledger.transfers import FOR_PAYEE, FOR_PAYER

CLEAR = "clear"  # decisions.what, beside FOR_PAYEE and FOR_PAYER
MAX_REASON = 200


def decide(connection: Connection, signer: Signer, transfer_hash: bytes, whose: str, reason: str, now: int) -> None:
    """Give a payment in suspense to its FOR_PAYEE or back to its FOR_PAYER. The same again changes nothing.

    `signer` is the payer's operator, whose suspense it is. Raises `UnknownTransfer`, `NotToDecide`, `WrongSigner`,
    `InvalidInput`, `UnknownDevice`.
    """
    known = transfers.find_by_hash(connection, transfer_hash)
    if known is None:
        raise UnknownTransfer("The ledger knows of no such payment", "List what is in suspense")
    payer = registry.device(connection, known.payer)
    registry.signing_operator(connection, signer, payer.operator, now)
    locks.devices(connection, (known.payer, known.payee))
    known = transfers.find(connection, transfers.key_in(known)) or known
    if whose not in (FOR_PAYEE, FOR_PAYER):
        raise InvalidInput(f"Nobody is called {whose!r}", f"Decide for the {FOR_PAYEE} or the {FOR_PAYER}")
    if known.decided == whose:
        return
    if known.decided is not None:
        raise NotToDecide(f"It was decided for the {known.decided} already", "A decision stands")
    if known.state != transfers.REFUSED:
        raise NotToDecide(f"The payment is not in suspense, but {known.state}", "List what is in suspense")
    gets = known.payee if whose == FOR_PAYEE else known.payer
    if registry.find_device(connection, gets) is None:
        raise UnknownDevice("The payee is not registered, so it has no purse", "Decide for the payer")
    _record(connection, payer.operator, whose, gets, known.amount, reason, now, transfer_hash)
    transfers.decide(connection, transfers.key_in(known), whose, now)


def clear(connection: Connection, signer: Signer, who: bytes, reason: str, now: int) -> int:
    """Lift a device's dispute up to what it has taken by now, which is returned. The same again changes nothing.

    Raises `NotToDecide`, `WrongSigner`, `InvalidInput`.
    """
    device = registry.locked(connection, who)
    registry.signing_operator(connection, signer, device.operator, now)
    if not disputes.suspect(connection, device):
        raise NotToDecide(f"{device.name} is not in dispute", "There is nothing to clear")
    amount = disputes.taken(connection, device)
    if amount <= device.cleared:
        return device.cleared
    _record(connection, device.operator, CLEAR, who, amount, reason, now, None)
    disputes.clear(connection, device, amount)
    return amount


def made(connection: Connection) -> list[Row]:
    """All of them, oldest first."""
    return list(connection.execute(select(decisions).order_by(decisions.c.id)).all())


def _record(
    connection: Connection,
    operator: int,
    what: str,
    device: bytes,
    amount: int,
    reason: str,
    now: int,
    transfer_hash: bytes | None,
) -> None:
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidInput(f"A decision needs a reason of 1 to {MAX_REASON} printable characters", "Say why")
    connection.execute(
        decisions.insert().values(
            at=now,
            operator=operator,
            what=what,
            device=device,
            transfer=transfer_hash,
            amount=amount,
            reason=reason,
        )
    )
