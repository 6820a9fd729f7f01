"""What a host does between a device and the ledger: personalise, load, sync, redeem, order. It carries; it can neither
forge nor keep anything.

Every flow can be cut anywhere and run again with the same result: the ledger repeats its answers, the device repeats
its own, and where an earlier run may have done its work unseen (`load`, `redeem`) that is looked for first. `now` is
Unix seconds, amounts are minor units, `signer` is the key of the device's operator, or None where a service has it. All
raise `Refused` (by the device, or here for it), `devices.errors.DeviceError`, `ledger.LedgerError` and `CarrierError`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from host_tools.causes import NO_MONEY_MOVED, explain
from host_tools.crypto import sha256
from host_tools.devices.client import DeviceClient
from host_tools.devices.errors import DeviceError
from host_tools.ledger import LedgerError, loads
from host_tools.ledger.answer import Settlement
from host_tools.ledger.carriers import CarrierLedger, SyncLedger
from host_tools.ledger.errors import UnknownDevice
from protocol.errors import (
    ALREADY_PERSONALISED,
    MISMATCH,
    NOT_FOUND,
    NOT_PERSONALISED,
    SERVICE,
    Refused,
    RefusedByPeer,
    name_of,
)
from protocol.info import DeviceInfo
from protocol.limits import MAX_IN_DOUBT, check_headroom
from protocol.objects import Certificate, Load, Order, Receipt, Resolution, Transfer, device_id

Key = TypeVar("Key")


class CarrierError(Exception):
    """The flow could not be finished; the message says whether money moved and what to do."""


class WrongOperator(CarrierError):
    """The device belongs to another operator than the one this host works for."""


class WrongDevice(CarrierError):
    """The device on the link is not the one that was named."""


class LoadWaiting(CarrierError):
    """A load is on its way to this device and has not arrived; the next sync brings it."""


class Blocked(CarrierError):
    """A sync's upload is in the books, but the device is frozen or revoked and gets no Certificate any more."""


class NotDelivered(CarrierError):
    """A sync's upload is in the books, but the device refused, for `cause`, what the ledger sent it."""

    def __init__(self, cause: int):
        said = explain(cause)
        super().__init__(f"{said.what} What it uploaded is in the books, and no money is lost. {said.advice}")
        self.cause = cause


class NotObeyed(CarrierError):
    """The device refused an Order for `cause`; nothing was changed in it."""

    def __init__(self, cause: int):
        super().__init__(str(_ORDER_REFUSED.get(cause) or explain(cause)))
        self.cause = cause


# What a refusal means of an Order to unblock the PIN, where that is more than it means elsewhere.
_ORDER_REFUSED = {
    NOT_FOUND: f"The device has no PIN, or has no room for one. {NO_MONEY_MOVED} Nothing needs to be done.",
    MISMATCH: (
        "The device asks for its PIN when it is switched on, and its key is encrypted under it: without the PIN nobody"
        f" has the key. {NO_MONEY_MOVED} Give it new tries, without --forget; if the PIN is lost: jiaozi device lost"
    ),
}


@dataclass(frozen=True)
class SyncReport:
    """What one sync did: `records` went up and `accepted` of them moved the ledger's head; `objects` came down.

    `certified`: the device has a new Certificate; if not, `note` says why. `dead_letters` are the ledger's reasons for
    records it did not take, `refused` the causes (`protocol.errors`) why the device did not take a Load or a
    Resolution, by the object's name.
    """

    device: bytes
    records: int
    accepted: int
    objects: int
    certified: bool
    dead_letters: tuple[str, ...]
    refused: tuple[tuple[str, int], ...]
    note: str


@dataclass(frozen=True)
class Moved:
    """An amount went into or out of `device`, which now holds `balance`, None if it left before it could be asked.

    `earlier`: an earlier run, cut short, had begun it and this one only finished it; nothing new was begun.
    """

    device: bytes
    amount: int
    balance: int | None
    earlier: bool


def own_certificate(client: DeviceClient, operator: int | None = None) -> Certificate:
    """The Certificate of the device on the link, which must be `operator`'s.

    Raises `Refused(NOT_PERSONALISED)`, `WrongOperator`.
    """
    certificate = client.certificate
    if certificate is None:
        raise Refused(NOT_PERSONALISED)
    if operator not in (None, certificate.operator):
        raise WrongOperator(
            f"This device belongs to operator {certificate.operator}, not to operator {operator}. No money moved."
            f" Use its own operator's key: --operator {certificate.operator}"
        )
    return certificate


def own_id(client: DeviceClient) -> bytes:
    """The id of the device on the link. Raises `Refused(NOT_PERSONALISED)`."""
    return device_id(own_certificate(client).key, sha256)


def named_device(client: DeviceClient, device: bytes, name: str) -> None:
    """The device on the link must be the one that was named. Raises `WrongDevice`, `Refused(NOT_PERSONALISED)`."""
    here = own_id(client)
    if here != device:
        raise other_device(here.hex(), name)


def other_device(here: str, wanted: str) -> WrongDevice:
    """The device on the link has the id `here`, and `wanted` was named."""
    return WrongDevice(f"This is device {here[:8]}, not {wanted}. {NO_MONEY_MOVED} Connect {wanted}, then repeat.")


def order(client: DeviceClient, ledger: CarrierLedger[Key], signer: Key, what: int, argument: int, now: int) -> Order:
    """Sign the device's next Order and have the device do it. Cut off? The next run signs another, which does the same.

    Raises `NotObeyed`.
    """
    signed = ledger.order(signer, own_id(client), what, argument, now)
    try:
        client.put(signed.encode())
    except RefusedByPeer as refusal:
        if refusal.cause == SERVICE:  # only its next start finds out whether it has done it
            raise
        raise NotObeyed(refusal.cause) from refusal
    return signed


def personalise(
    client: DeviceClient,
    ledger: CarrierLedger[Key],
    signer: Key,
    operator: int,
    kind: int,
    mcc: int,
    account: int,
    name: str,
    now: int,
) -> bytes:
    """Have the device make its key, certify it, open its purse. Returns the device id.

    Safe to repeat until the first sync. Raises `Refused(ALREADY_PERSONALISED)` for a device in use, of this ledger or
    of any other, before anything is registered.
    """
    if client.certificate is not None:
        _check_unfinished(client.certificate, ledger)
    key = client.generate_key()
    certificate, acknowledgement = ledger.register_device(signer, operator, key, kind, mcc, account, name, now)
    client.personalise(ledger.root_key(), ledger.operator_certificate(operator), certificate, acknowledgement)
    return device_id(key, sha256)


def _check_unfinished(certificate: Certificate, ledger: CarrierLedger[Key]) -> None:
    """A device with a Certificate is personalised again only to repeat what the ledger gave it first."""
    try:
        ledger.device(device_id(certificate.key, sha256))
    except UnknownDevice:
        raise Refused(ALREADY_PERSONALISED) from None
    if certificate.issue != 1:
        raise Refused(ALREADY_PERSONALISED)


def sync(
    client: DeviceClient,
    ledger: SyncLedger[Key],
    signer: Key,
    now: int,
    progress: Callable[[int, int], None] | None = None,
) -> SyncReport:
    """Carry the device's journal to the ledger and the ledger's objects to the device.

    `progress(done, all)` counts records. Raises `NotDelivered` for a refusal after the ledger has settled the upload.
    """
    device = own_id(client)
    nonce, from_seq = ledger.begin_sync(device, now)
    # A renewed operator's certificate travels with syncs; one that is known costs the device nothing.
    client.put(ledger.operator_certificate(own_certificate(client).operator).encode())
    statement = client.statement(nonce)
    count = max(0, statement.seq + 1 - from_seq)
    try:
        records = client.journal(from_seq, statement.seq, (lambda done: progress(done, count)) if progress else None)
    except RefusedByPeer as refusal:
        if refusal.cause != NOT_FOUND:
            raise
        raise CarrierError(
            f"The device no longer has records from {from_seq} on that this ledger lacks. No money moved."
            " Is the ledger an older copy? Sync with the one that has them."
        ) from refusal
    settlement = ledger.settle(signer, statement.encode(), records, now)
    try:
        refused = _deliver(client, settlement)
    except Refused as refusal:
        raise NotDelivered(refusal.cause) from refusal
    return SyncReport(
        device=device,
        records=len(records),
        accepted=settlement.accepted,
        objects=len(settlement.objects),
        certified=settlement.certified,
        dead_letters=settlement.dead_letters,
        refused=refused,
        note=settlement.note,
    )


def _deliver(client: DeviceClient, settlement: Settlement) -> tuple[tuple[str, int], ...]:
    """Hand everything over, the new Certificate last. Returns what the device did not take, and why."""
    objects = settlement.objects[:-2] if settlement.certified else settlement.objects
    refused = tuple((_name(signed), cause) for signed in objects if (cause := _put(client, signed)))
    if settlement.certified:
        client.install(*settlement.objects[-2:])
    return refused


def _put(client: DeviceClient, signed: bytes) -> int:
    """Hand one object over. Returns 0, or the cause for which the device refused a Load or Resolution: that must not
    keep it from its new Certificate.
    """
    try:
        client.put(signed)
    except RefusedByPeer as refusal:
        if signed[0] not in (Load.TYPE, Resolution.TYPE) or refusal.cause == SERVICE:
            raise
        return refusal.cause
    return 0


def _name(signed: bytes) -> str:
    return f"load {Load.decode(signed).number}" if signed[0] == Load.TYPE else "resolution"


def load(client: DeviceClient, ledger: CarrierLedger[Key], signer: Key, amount: int, now: int) -> Moved:
    """Move `amount` from the owner's account into the device, and sync it so that the books show it.

    A load that the books still show on its way may have been cut off anywhere, in the device or not: it is finished
    instead of ordering the same amount again. Raises `LoadWaiting` if the one on its way is another amount, or if the
    device does not take it.
    """
    device = own_id(client)
    ledger.device(device)  # raises for a device of another ledger, before it is asked for anything
    waiting = [load for load in ledger.loads(device) if load["state"] == loads.OUTSTANDING]
    if waiting and _finished(client, ledger, signer, device, amount, waiting, now):
        return Moved(device, amount, _balance(client), earlier=True)
    info = client.info()
    check_headroom(_Held(info.balance, info.in_doubt), own_certificate(client), amount)
    order = ledger.order_load(signer, device, amount, now)
    try:
        client.put(order.encode())
    except RefusedByPeer as refusal:
        raise LoadWaiting(_not_taken(order.number, refusal.cause)) from refusal
    try:
        sync(client, ledger, signer, now)
    except (DeviceError, Refused, LedgerError, CarrierError):
        return Moved(device, amount, None, earlier=False)  # it said that it has the money; the books wait for a sync
    return Moved(device, amount, _balance(client), earlier=False)


def _not_taken(number: int, cause: int) -> str:
    if cause == SERVICE:  # after a failed write only the device's next start finds out whether it has the load
        return (
            f"{explain(cause).what} The amount has left the account as load {number}; whether the device has it is not"
            " known, and it counts once. Switch the device off and on, then run the same again."
        )
    return (
        f"The device did not take the load ({name_of(cause)}). The amount has left the account and waits as load"
        f" {number}. Run: jiaozi sync, which delivers it, or give it back with: jiaozi ledger cancel-load"
    )


@dataclass(frozen=True)
class _Held:
    """What `check_headroom` asks of a purse."""

    balance: int
    in_doubt_sum: int


def _finished(
    client: DeviceClient,
    ledger: CarrierLedger[Key],
    signer: Key,
    device: bytes,
    amount: int,
    waiting: list[dict],
    now: int,
) -> bool:
    """Bring an earlier load of this amount to its end: True if the device has it, False if it went back."""
    number = waiting[0]["number"]
    if len(waiting) > 1 or waiting[0]["amount"] != amount:
        numbers = ", ".join(str(load["number"]) for load in waiting)
        raise LoadWaiting(
            f"Load {numbers} is still on its way to this device, so nothing new was ordered. No money moved."
            " Run: jiaozi sync, twice, then load again."
        )
    state = loads.OUTSTANDING
    for _ in range(2):  # the first delivers it, the second shows the ledger its record
        try:
            sync(client, ledger, signer, now)
        except (DeviceError, NotDelivered):
            if _load_state(ledger, device, number) != loads.LOADED:
                raise
        state = _load_state(ledger, device, number)
        if state != loads.OUTSTANDING:
            break
    if state == loads.OUTSTANDING:
        raise LoadWaiting(
            f"Load {number} is on its way to this device, and the device does not take it. No money moved now."
            " Make room in it and sync, or give the load back with: jiaozi ledger cancel-load"
        )
    return state == loads.LOADED


def _load_state(ledger: CarrierLedger[Key], device: bytes, number: int) -> str:
    return next(load["state"] for load in ledger.loads(device) if load["number"] == number)


def redeem(
    client: DeviceClient, ledger: CarrierLedger[Key], signer: Key, payee_signer: Key, amount: int, now: int
) -> Moved:
    """Pay `amount` from the device to its operator's own payee, which credits the owner's account.

    Redemptions in doubt from earlier, cut ones are settled first, since the device answers with their Transfers. If one
    of them turns out to have been credited with this very amount, it was this one, and nothing more is paid.
    """
    device = own_id(client)
    certificate, request = ledger.open_redemption(signer, payee_signer, device, amount, now)
    for _ in range(MAX_IN_DOUBT + 1):
        transfer = client.pay(certificate, request)
        evidence = _take(ledger, payee_signer, transfer, now)
        current = transfer.number == request.number
        done = evidence[0] == Receipt.TYPE and transfer.amount == amount
        try:
            client.confirm(evidence)
        except (DeviceError, Refused):
            if not done:
                raise
            # The account has the money. Whether the device has the Receipt or not, its next sync settles it.
            return Moved(device, amount, None, earlier=not current)
        if done:
            return Moved(device, amount, _balance(client), earlier=not current)
        if current:
            raise CarrierError(
                "The ledger did not accept the payment, and the device has its money back. Sync it, then redeem again."
            )
    raise CarrierError("The device keeps answering with older payments. No money is lost. Sync it, then redeem again.")


def _take(ledger: CarrierLedger[Key], payee_signer: Key, transfer: Transfer, now: int) -> bytes:
    try:
        return ledger.take_redemption(payee_signer, transfer.encode(), now)
    except LedgerError as error:
        reason = str(error).partition(f". {NO_MONEY_MOVED}")[0]  # in the ledger none did, in the device it has
        raise CarrierError(
            f"The device has paid, but the ledger did not take it: {reason}."
            " The device shows the amount as in doubt until a sync settles it."
        ) from error


def last_info(client: DeviceClient) -> DeviceInfo | None:
    """For the person who waits; everything is done, and a device that left or failed by now changes nothing of it."""
    try:
        return client.info()
    except (DeviceError, Refused):
        return None


def _balance(client: DeviceClient) -> int | None:
    said = last_info(client)
    return said.balance if said else None
