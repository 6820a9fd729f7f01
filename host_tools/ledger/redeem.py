"""Redeeming: a device pays its operator's own certified payee, and the money lands on the device's account only.

The payee is a party of the protocol whose journal is the ledger's own `journals`. Its Requests stand one per device:
opening a new one closes the older, and what is paid on a closed one is voided, as on any payee. A Receipt leaves only
after record and posting are committed; the same Transfer again is answered with the same bytes.

A new terminal redeems less than its purse holds (`holds`), one in dispute nothing.
"""

import time

from sqlalchemy import Connection, Row, func, select, update

from host_tools.crypto import Signer, sha256, verify
from host_tools.ledger import books, history, holds, locks, registry, transfers
from host_tools.ledger.disputes import disputed
from host_tools.ledger.errors import (
    BadSignature,
    DeviceFrozen,
    DeviceRevoked,
    Disputed,
    HeldBack,
    InsufficientFunds,
    InvalidInput,
    UnknownDevice,
    UnknownRequest,
    WrongSigner,
)
from host_tools.ledger.holds import HOLD_DAYS
from host_tools.ledger.parse import parse
from host_tools.ledger.revocation import current_epoch, publish_blocked
from host_tools.ledger.schema import devices, redemptions
from protocol.errors import DecodeError
from protocol.objects import (
    DAY_S,
    NO_HASH,
    OPERATOR_PAYEE,
    REDEEM,
    Certificate,
    Receipt,
    Request,
    Transfer,
    Void,
    device_id,
)
from protocol.records import credit

OPEN = "open"
CREDITED = transfers.CREDITED_REQUEST
CLOSED = transfers.CLOSED_REQUEST

RENEW_DAYS = 30  # a payee's Certificate is used so long, a third of its life


def open_request(
    connection: Connection, signer: Signer, payee_signer: Signer, device: bytes, amount: int, random: bytes, now: int
) -> tuple[Certificate, Request]:
    """A Request for the device to pay.

    Raises `InsufficientFunds` when the device must sync first, `DeviceFrozen`, `DeviceRevoked`, `Disputed`,
    `HeldBack`, `WrongSigner`.
    """
    locks.devices(connection, (device, _payee_id(payee_signer)))
    row = registry.device(connection, device)
    operator = registry.signing_operator(connection, signer, row.operator, now)
    payee = _payee(connection, payee_signer)
    if payee.operator != row.operator:
        raise WrongSigner("The payee is another operator's", "Use the payee of the device's operator")
    if row.frozen:
        raise DeviceFrozen(f"Device {row.name} is frozen: {row.frozen}", "Its owner's claim is for people to settle")
    if row.revoked:  # said before it pays: its payment would be refused, since our payee knows the list
        raise DeviceRevoked(f"Device {row.name} is revoked", "Its owner's claim is for people to settle")
    if not 0 < amount < 1 << 32:
        raise InvalidInput(f"{amount} cannot be redeemed", "Choose an amount of 1 to 4294967295 minor units")
    held = books.balance(connection, row.purse)
    if disputed(connection, row):
        raise Disputed(
            f"{row.name} took more of a frozen device's money than an honest device can",
            "Sync it; if that does not help, it is for people to settle",
            free=0,
        )
    if held < amount:
        raise InsufficientFunds(
            f"The ledger knows of {held} in this purse, less than {amount}", "Sync the device first"
        )
    _check_confirmed(connection, row, amount, now)
    for older in _open_ones(connection, payee.id, device):
        _close(connection, older, now)
    publish_blocked(connection, signer, row.operator, now)
    certificate = _certificate(connection, signer, payee, now)
    last = select(func.coalesce(func.max(redemptions.c.number), 0)).where(redemptions.c.payee == payee.id)
    request = Request(
        amount=amount,
        number=connection.execute(last).scalar_one() + 1,
        random=random,
        time=now,
        purpose=REDEEM,
        reference=bytes(8),
        lot=0,
    )
    message = request.signed_message(sha256(certificate.body()), NO_HASH, operator.currency)
    request.signature = payee_signer.sign(message)
    connection.execute(
        redemptions.insert().values(
            payee=payee.id,
            number=request.number,
            device=device,
            amount=amount,
            request_hash=sha256(message),
            state=OPEN,
        )
    )
    return certificate, request


def _check_confirmed(connection: Connection, device: Row, amount: int, now: int) -> None:
    """Raises `HeldBack`."""
    free = redeemable(connection, device, now)
    if free >= amount:
        return
    first = time.strftime("%Y-%m-%d", time.gmtime(device.registered_at + HOLD_DAYS * DAY_S))
    raise HeldBack(
        f"{device.name} is new, and the payers have not confirmed all that it took",
        f"Choose less, or wait until they have synced, at the latest until {first} (UTC)",
        free,
    )


def redeemable(connection: Connection, device: Row, now: int) -> int:
    """What may leave the purse for the account: what is in it and, of a new terminal, the payers have confirmed.

    Nothing of a purse in dispute.
    """
    held = holds.redeemable(device, books.balance(connection, device.purse), now)
    return 0 if held <= 0 or disputed(connection, device) else held


def take(connection: Connection, payee_signer: Signer, transfer_bytes: bytes, now: int) -> bytes:
    """The Receipt for a Transfer to the operator's payee, or its Void. Raises `BadSignature`, `UnknownRequest`."""
    try:
        transfer = Transfer.decode(transfer_bytes)
    except DecodeError as error:
        raise BadSignature(f"This is no Transfer ({error})", "Tap the device again") from error
    payee = _payee(connection, payee_signer)
    payer = registry.device(connection, transfer.payer)
    if transfer.payee != payee.id or not transfer.verified_by(payer.key, verify):
        raise BadSignature("The Transfer is not this device's for this payee", "Tap the device again")
    locks.devices(connection, (payer.id, payee.id))
    payee = registry.device(connection, payee.id)
    wanted = select(redemptions).where(redemptions.c.payee == payee.id, redemptions.c.number == transfer.number)
    request = connection.execute(wanted).one_or_none()
    if request is None or request.request_hash != transfer.request:
        raise UnknownRequest("The Transfer answers no Request of this ledger", "Sync the device")
    key = transfers.learn(connection, transfer, now)
    payer = registry.device(connection, payer.id)  # this very Transfer may have frozen it
    if request.state == CREDITED and request.transfer == key.hash:
        return request.receipt
    if request.state == OPEN and _acceptable(connection, request, transfer, payer, now):
        return _credit(connection, payee_signer, payee, request, transfer, now)
    if request.state == OPEN and request.device == payer.id:
        _close(connection, request, now)
    void = Void(transfer=key.hash).sign(payee_signer.sign).encode()
    transfers.void(connection, key, void, now)
    return void


def close_torn(connection: Connection, transfer: Transfer, now: int) -> None:
    """A journal shows a debit for a Request that is still open: the tap was torn.

    The Request is closed and the money goes back.
    """
    wanted = select(redemptions).where(
        redemptions.c.payee == transfer.payee,
        redemptions.c.number == transfer.number,
        redemptions.c.request_hash == transfer.request,
        redemptions.c.device == transfer.payer,
        redemptions.c.state == OPEN,
    )
    request = connection.execute(wanted).one_or_none()
    if request is not None:
        _close(connection, request, now)


def _acceptable(connection: Connection, request: Row, transfer: Transfer, payer: Row, now: int) -> bool:
    """Only funded money leaves for an account: a device whose own credits are still to come syncs first."""
    if request.device != payer.id or request.amount != transfer.amount or payer.frozen:
        return False
    known = transfers.find(connection, transfers.key_of(transfer))
    if known is None or known.state != transfers.KNOWN:
        return False
    funded = redeemable(connection, payer, now) >= transfer.amount
    return funded and transfers.refusal_of(connection, transfer, 0) is None


def _credit(
    connection: Connection, payee_signer: Signer, payee: Row, request: Row, transfer: Transfer, now: int
) -> bytes:
    transfer_hash = sha256(transfer.body())
    receipt = Receipt(seq=payee.head_seq + 1, previous=payee.head_hash, transfer=transfer_hash).sign(payee_signer.sign)
    head = sha256(receipt.body())
    history.write(connection, [(payee.id, [parse(credit(receipt, transfer))])])
    connection.execute(update(devices).where(devices.c.id == payee.id).values(head_seq=receipt.seq, head_hash=head))
    transfers.claim(connection, receipt, transfer, True, now)
    _set(connection, request, state=CREDITED, transfer=transfer_hash, receipt=receipt.encode())
    return receipt.encode()


def _payee_id(payee_signer: Signer) -> bytes:
    return device_id(payee_signer.public, sha256)


def _payee(connection: Connection, payee_signer: Signer) -> Row:
    payee = registry.find_device(connection, _payee_id(payee_signer))
    if payee is None or payee.kind >> 4 != OPERATOR_PAYEE:
        raise UnknownDevice("The operator's own payee is not registered", "Register it before devices redeem")
    return payee


def _certificate(connection: Connection, signer: Signer, payee: Row, now: int) -> Certificate:
    latest = registry.certificate_of(connection, payee.id, payee.issue)
    if latest is not None:
        young = now // DAY_S <= latest[0].valid_from + RENEW_DAYS
        if young and latest[0].epoch == current_epoch(connection, payee.operator):
            return latest[0]
    return registry.certify(connection, signer, payee, None, registry.limits_of(payee), now)[0]


def _open_ones(connection: Connection, payee: bytes, device: bytes) -> list[Row]:
    wanted = select(redemptions).where(
        redemptions.c.payee == payee, redemptions.c.device == device, redemptions.c.state == OPEN
    )
    return list(connection.execute(wanted).all())


def _close(connection: Connection, request: Row, now: int) -> None:
    """No Transfer is credited for it from here on; what a journal has already shown of it goes back."""
    _set(connection, request, state=CLOSED)
    transfers.request_closed(connection, request.payee, request.number, now)


def _set(connection: Connection, request: Row, **values) -> None:
    connection.execute(
        update(redemptions)
        .where(redemptions.c.payee == request.payee, redemptions.c.number == request.number)
        .values(**values)
    )
