"""What a host does between a device and the ledger: personalise, load, sync, redeem. It carries; it can neither forge nor keep anything.

Every flow can be cut anywhere and run again with the same result: the ledger repeats its answers, the device repeats its own.
`now` is Unix seconds, `signer` the key of the device's operator.
"""

from collections.abc import Callable
from dataclasses import dataclass

from host_tools.crypto import Signer, sha256
from host_tools.devices.client import DeviceClient
from host_tools.ledger.ledger import Ledger
from protocol.limits import MAX_IN_DOUBT
from protocol.objects import Receipt, device_id


class CarrierError(Exception):
    """The flow could not be finished; the message says whether money moved and what to do."""


@dataclass(frozen=True)
class SyncReport:
    """What one sync carried: records up, objects down; the reasons of records that were not taken; why no Certificate came, if none did."""

    device: bytes
    records: int
    objects: int
    dead_letters: tuple[str, ...]
    note: str


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
    nonce, from_seq = ledger.begin_sync(device, now)
    statement = client.statement(nonce)
    count = max(0, statement.seq + 1 - from_seq)
    told = (lambda done: progress(done, count)) if progress else None
    records = client.journal(from_seq, statement.seq, told)
    settlement = ledger.settle(signer, statement.encode(), records, now)
    objects = settlement.objects
    for signed in objects[:-2] if settlement.certified else objects:
        client.put(signed)
    if settlement.certified:
        client.install(objects[-2], objects[-1])
    return SyncReport(device, len(records), len(objects), settlement.dead_letters, settlement.note)


def load(client: DeviceClient, ledger: Ledger, signer: Signer, amount: int, now: int) -> bytes:
    """Move `amount` from the owner's account into the device. The money is in transit until the next sync shows its record."""
    device = own_id(client)
    client.put(ledger.order_load(signer, device, amount, now).encode())
    return device


def redeem(client: DeviceClient, ledger: Ledger, signer: Signer, payee_signer: Signer, amount: int, now: int) -> None:
    """Pay `amount` from the device to its operator's own payee, which credits the owner's account.

    Redemptions that were cut earlier are settled first: the device answers with their Transfers until all have their Receipt or Void.
    """
    certificate, request = ledger.open_redemption(signer, payee_signer, own_id(client), amount, now)
    for _ in range(MAX_IN_DOUBT + 1):
        transfer = client.pay(certificate, request)
        evidence = ledger.take_redemption(payee_signer, transfer.encode(), now)
        client.confirm(evidence)
        if transfer.number != request.number:
            continue
        if evidence[0] != Receipt.TYPE:
            raise CarrierError("The ledger did not accept this redemption. The money is back on the device. Sync it, then redeem again.")
        return
    raise CarrierError("The device keeps answering with older payments. Sync it, then redeem again; no money is lost.")
