"""What a host does between a device and the ledger: personalise, load, sync, redeem. It carries; it can neither forge nor keep anything.

Every flow can be cut anywhere and run again with the same result: the ledger repeats its answers, the device repeats its own.
`now` is Unix seconds, `signer` the key of the device's operator.
"""

from collections.abc import Callable
from dataclasses import dataclass

from host_tools.crypto import Signer, sha256
from host_tools.devices.client import DeviceClient
from host_tools.ledger.ledger import Ledger
from protocol.errors import RefusedByPeer
from protocol.limits import MAX_IN_DOUBT
from protocol.objects import Receipt, Transfer, device_id


class CarrierError(Exception):
    """The flow could not be finished; the message says whether money moved and what to do."""


@dataclass(frozen=True)
class SyncReport:
    """What one sync carried: records up, objects down, and the ledger's words about records it could not take."""

    device: bytes
    records: int
    objects: int
    refused: list[str]
    frozen: str


def personalise(
    client: DeviceClient, ledger: Ledger, signer: Signer, operator: int, kind: int, mcc: int, account: int, name: str, now: int
) -> bytes:
    """Have the device make its key, certify it, open its purse. Returns the device id. Safe to repeat."""
    key = client.generate_key()
    certificate, acknowledgement = ledger.register_device(signer, operator, key, kind, mcc, account, name, now)
    client.personalise(ledger.root_key(), ledger.operator_certificate(operator), certificate, acknowledgement)
    return device_id(key, sha256)


def own_id(client: DeviceClient) -> bytes:
    """The id of the personalised device on the link."""
    if client.certificate is None:
        raise CarrierError("This device is not personalised yet. Nothing was changed. Run: jiaozi device personalise")
    return device_id(client.certificate.key, sha256)


def sync(
    client: DeviceClient,
    ledger: Ledger,
    signer: Signer,
    now: int,
    progress: Callable[[int, int], None] | None = None,
) -> SyncReport:
    """Carry the device's journal to the ledger and the ledger's objects to the device. `progress(done, all)` counts records."""
    device = own_id(client)
    nonce, from_seq = ledger.begin_sync(device)
    statement = client.statement(nonce)
    count = max(0, statement.seq + 1 - from_seq)
    told = (lambda done: progress(done, count)) if progress else None
    records = client.journal(from_seq, statement.seq, told)
    settlement = ledger.settle(signer, statement.encode(), records, now)
    for signed in settlement.objects:
        client.put(signed)
    if settlement.certificate and settlement.acknowledgement:
        client.install(settlement.certificate, settlement.acknowledgement)
    return SyncReport(device, len(records), len(settlement.objects), settlement.refused, settlement.frozen)


def load(client: DeviceClient, ledger: Ledger, signer: Signer, amount: int, now: int) -> bytes:
    """Move `amount` from the owner's account into the device. The money is in transit until the next sync shows its record."""
    device = own_id(client)
    order = ledger.order_load(signer, device, amount, now)
    client.put(order.encode())
    return device


def redeem(client: DeviceClient, ledger: Ledger, payee_signer: Signer, amount: int, now: int) -> Receipt:
    """Pay `amount` from the device to its operator's own payee, which credits the owner's account.

    Redemptions in doubt from earlier, cut ones are settled first: the device answers with their Transfers.
    """
    device = own_id(client)
    certificate, request = ledger.open_redemption(payee_signer, device, amount, now)
    for _ in range(MAX_IN_DOUBT + 1):
        transfer = client.pay(certificate, request)
        receipt = ledger.take_redemption(payee_signer, transfer.encode(), _certificate(client), now)
        client.confirm(receipt)
        if _answers(transfer, request.number):
            return receipt
    raise CarrierError("The device keeps answering with older payments. Sync it, then redeem again; no money is lost.")


def _certificate(client: DeviceClient) -> bytes:
    if client.certificate is None:
        raise RefusedByPeer(0)
    return client.certificate.encode()


def _answers(transfer: Transfer, number: int) -> bool:
    return transfer.number == number
