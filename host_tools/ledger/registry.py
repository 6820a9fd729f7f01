"""Who takes part: the root, operators, customer accounts, devices and every Certificate issued to them."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from host_tools.crypto import Signer, sha256, verify
from host_tools.ledger import books, bulk, locks, names
from host_tools.ledger.errors import (
    AlreadyRegistered,
    BadSignature,
    BooksBroken,
    InsufficientFunds,
    InvalidInput,
    IssuedMeanwhile,
    UnknownAccount,
    UnknownDevice,
    UnknownOperator,
    WrongSigner,
)
from host_tools.ledger.parse import Limits, limits_in
from host_tools.ledger.revocation import await_first_list, current_epoch, operator_revoked
from host_tools.ledger.schema import accounts, certificates, devices, info, operators, transfers
from protocol import limits, records
from protocol.objects import (
    DAY_S,
    KEY_BYTES,
    TERMINAL,
    WALLET,
    Acknowledgement,
    Certificate,
    OperatorCertificate,
    device_id,
)
from protocol.trust import ROOT_ISSUER

MAX_NAME = 100
NOTHING_SHOWN = -1  # a new device's `shown_seq`: its journal starts at 0
MAX_ACCOUNT_NAME = 50
MAX_MCC = 9999


def root_key(connection: Connection) -> bytes:
    """The central bank's public key. Raises `UnknownOperator` before it is set."""
    key = connection.execute(select(info.c.root_key)).scalar_one()
    if key is None:
        raise UnknownOperator("This ledger has no root key yet", "Set the central bank's key first")
    return key


def set_root(connection: Connection, public_key: bytes) -> None:
    """The central bank's key, once. Raises `AlreadyRegistered`."""
    locks.issuer(connection, ROOT_ISSUER)
    if len(public_key) != KEY_BYTES:
        raise InvalidInput(f"A root key has {KEY_BYTES} bytes", "Give the public key of the central bank")
    known = connection.execute(select(info.c.root_key)).scalar_one()
    if known not in (None, public_key):
        raise AlreadyRegistered("This ledger has another root key", "Use the ledger of this root, or create a new one")
    connection.execute(update(info).values(root_key=public_key))


def add_operator(connection: Connection, certificate: OperatorCertificate) -> None:
    """Take an operator's certificate, or its newer one with the same key and currency.

    Raises `BadSignature`, `AlreadyRegistered`.
    """
    locks.issuer(connection, certificate.operator)
    root = connection.execute(select(info.c.root_key)).scalar_one()
    if root is None or not certificate.verified_by(root, verify):
        raise BadSignature(
            "The operator's certificate is not signed by this ledger's root", "Ask the central bank for it"
        )
    values = {"issue": certificate.issue, "key": certificate.key, "certificate": certificate.encode()}
    known = connection.execute(select(operators).where(operators.c.operator == certificate.operator)).one_or_none()
    if known is None:
        connection.execute(operators.insert().values(operator=certificate.operator, **values))
        await_first_list(connection, certificate.operator)
        return
    if known.certificate == values["certificate"]:
        return
    old = OperatorCertificate.decode(known.certificate)
    same = old.key == certificate.key and (old.currency, old.exponent) == (certificate.currency, certificate.exponent)
    if certificate.issue <= old.issue or not same:
        raise AlreadyRegistered(
            f"Operator {certificate.operator} is registered with issue {old.issue}",
            "Give a certificate with a higher issue number, the same key and the same currency",
        )
    connection.execute(update(operators).where(operators.c.operator == certificate.operator).values(**values))


def operator_certificate(connection: Connection, operator: int) -> OperatorCertificate:
    """Raises `UnknownOperator`."""
    found = connection.execute(
        select(operators.c.certificate).where(operators.c.operator == operator)
    ).scalar_one_or_none()
    if found is None:
        raise UnknownOperator(f"Operator {operator} is not registered", "Add its certificate first")
    return OperatorCertificate.decode(found)


def signing_operator(connection: Connection, signer: Signer, operator: int, now: int) -> OperatorCertificate:
    """The operator that `signer` is to sign for today. Raises `WrongSigner`, `UnknownOperator`."""
    certificate = operator_certificate(connection, operator)
    if signer.public != certificate.key:
        raise WrongSigner(f"The key is not operator {operator}'s", "Use that operator's key file")
    if not certificate.valid_from <= now // DAY_S <= certificate.valid_until:
        raise UnknownOperator(
            f"The certificate of operator {operator} is not valid today",
            "Ask the central bank for a new one and add it",
        )
    return certificate


def check_operator_good(connection: Connection, operator: int) -> None:
    """Raises `UnknownOperator` if the root has revoked it: it takes on no new devices and loads none."""
    if operator_revoked(connection, operator):
        raise UnknownOperator(
            f"The central bank has revoked operator {operator}", "Its devices still settle; ask the central bank"
        )


def check_root(connection: Connection, signer: Signer) -> None:
    """Raises `WrongSigner` unless it is the central bank's key."""
    if signer.public != root_key(connection):
        raise WrongSigner("The key is not the central bank's", "Use the root's key file")


def open_account(connection: Connection, operator: int, name: str) -> int:
    """The account of this name at the operator; the same one if it is open already. Returns its number."""
    operator_certificate(connection, operator)
    names.check(name, "an account", MAX_ACCOUNT_NAME)
    return books.account_of(connection, books.ACCOUNT, f"{operator}:{name}", operator, name)


def issue(connection: Connection, account: int, amount: int, now: int, issued_before: int | None = None) -> None:
    """The central bank issues `amount` minor units into an account. Raises `InvalidInput`, `IssuedMeanwhile`."""
    customer_account(connection, account)
    issued = books.issued_account(connection)
    locks.accounts(connection, (issued, account))
    before = -books.balance(connection, issued)
    if issued_before not in (None, before):
        raise IssuedMeanwhile(
            f"{before} minor units are issued by now, not {issued_before}",
            "Look whether this issue is among them, then issue on that sum",
        )
    if amount + before > books.MAX_AMOUNT:
        raise InvalidInput(
            f"With {amount} more, the issued money would exceed {books.MAX_AMOUNT} minor units",
            "Choose a smaller amount",
        )
    books.move(connection, issued, account, amount, "issue", b"", now)


def customer_account(connection: Connection, account: int) -> Row:
    """Raises `UnknownAccount` for anything but a customer account."""
    found = connection.execute(
        select(accounts).where(accounts.c.id == account, accounts.c.kind == books.ACCOUNT)
    ).one_or_none()
    if found is None:
        raise UnknownAccount(f"There is no customer account {account}", "Open it first")
    return found


def check_funds(connection: Connection, account: int, amount: int) -> None:
    """Raises `InsufficientFunds`. Until the transaction ends nobody else takes anything from the account."""
    locks.accounts(connection, [account])
    held = books.balance(connection, account)
    if held < amount:
        raise InsufficientFunds(f"The account holds {held}, less than {amount}", "Choose a smaller amount")


def device(connection: Connection, who: bytes) -> Row:
    """Raises `UnknownDevice`."""
    found = find_device(connection, who)
    if found is None:
        raise unknown(who)
    return found


def unknown(who: bytes) -> UnknownDevice:
    return UnknownDevice(f"Device {who.hex()} is not registered", "Personalise it first")


def locked(connection: Connection, who: bytes) -> Row:
    """`device`, of which nobody else changes anything until the transaction ends."""
    locks.devices(connection, [who])
    return device(connection, who)


_DEVICES = select(devices)


def devices_of(connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, Row]:
    """The rows of those that are registered."""
    return {row.id: row for row in bulk.rows(connection, _DEVICES, devices.c.id, wanted)}


def find_device(connection: Connection, who: bytes) -> Row | None:
    return connection.execute(select(devices).where(devices.c.id == who)).one_or_none()


def certificate_of(connection: Connection, device: bytes, issue: int) -> tuple[Certificate, Acknowledgement] | None:
    """What was issued to the device under this number, or None."""
    found = connection.execute(
        select(certificates).where(certificates.c.device == device, certificates.c.issue == issue)
    ).one_or_none()
    if found is None:
        return None
    return Certificate.decode(found.certificate), Acknowledgement.decode(found.acknowledgement)


def issued(connection: Connection, wanted: Iterable[tuple[bytes, int]]) -> dict[tuple[bytes, int], tuple[bytes, bytes]]:
    """What was issued to devices under these numbers, by both: Certificates and their Acknowledgements, encoded."""
    row = ("device", "issue", "certificate", "acknowledgement")
    found = bulk.exactly(connection, certificates, ("device", "issue"), row, wanted)
    return {(bytes(who), issue): (bytes(first), bytes(second)) for who, issue, first, second in found}


_IS_NEWEST = (certificates.c.device == devices.c.id) & (certificates.c.issue == devices.c.issue)
_NEWEST = select(devices.c.id, certificates.c.certificate).select_from(devices).join(certificates, _IS_NEWEST)


def newest_certificates(connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, Limits]:
    """What the newest Certificate of each of these devices says."""
    return {bytes(who): limits_in(data) for who, data in bulk.fetch(connection, _NEWEST, devices.c.id, wanted)}


def certificates_of(connection: Connection, device: bytes) -> list[Certificate]:
    """All that were ever issued to the device."""
    issued = select(certificates.c.certificate).where(certificates.c.device == device)
    return [Certificate.decode(data) for data in connection.execute(issued).scalars()]


def register(
    connection: Connection,
    signer: Signer,
    operator: int,
    public_key: bytes,
    kind: int,
    mcc: int,
    account: int,
    name: str,
    now: int,
) -> tuple[Certificate, Acknowledgement]:
    """Register a device's key, once, and issue its first Certificate.

    The same call again returns the same stored objects.
    """
    signing_operator(connection, signer, operator, now)
    who = checked_id(public_key, kind, mcc, name)
    check_account_of(connection, account, operator)
    known = find_device(connection, who)
    if known is not None:
        if (known.operator, known.kind, known.mcc, known.account) != (operator, kind, mcc, account):
            raise AlreadyRegistered("This device's key is registered otherwise", "Wipe the device: it makes a new key")
        first = certificate_of(connection, who, 1)
        if first is None:
            raise BooksBroken(f"Device {who.hex()} has no Certificate", books.STOP)
        return first
    check_operator_good(connection, operator)
    purse = books.account_of(connection, books.PURSE, who.hex(), operator, name)
    shown = shown_before(connection, [who])[who]
    new = new_row(operator, public_key, kind, mcc, account, purse, name, shown, now)
    connection.execute(devices.insert().values(**new))
    row = device(connection, who)
    return certify(connection, signer, row, 0, limits_of(row), now)


def checked_id(public_key: bytes, kind: int, mcc: int, name: str) -> bytes:
    """The id of a device that is to be registered so. Raises `InvalidInput`."""
    if len(public_key) != KEY_BYTES or kind not in limits.DEFAULT_LIMITS or not 0 <= mcc <= MAX_MCC:
        raise InvalidInput("The key, kind or merchant category is none that a device can have", "Check the command")
    names.check(name, "a device", MAX_NAME)
    return device_id(public_key, sha256)


def check_account_of(connection: Connection, account: int, operator: int) -> None:
    """Raises `UnknownAccount` unless it is a customer account of this operator."""
    if customer_account(connection, account).operator != operator:
        raise UnknownAccount(f"Account {account} is another operator's", "Choose an account of the device's operator")


_SHOWN = (
    select(transfers.c.payee, func.max(transfers.c.receipt_seq).label("seq"))
    .where(transfers.c.receipt_seq.is_not(None))
    .group_by(transfers.c.payee)
)


def shown_before(connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, int]:
    """The `shown_seq` of devices that are to be registered: only what is not honest has credited something before."""
    found = dict.fromkeys(wanted, NOTHING_SHOWN)
    found.update((row.payee, row.seq) for row in bulk.rows(connection, _SHOWN, transfers.c.payee, list(found)))
    return found


def new_row(
    operator: int, public_key: bytes, kind: int, mcc: int, account: int, purse: int, name: str, shown_seq: int, now: int
) -> dict[str, Any]:
    """A device that has no Certificate yet and has uploaded nothing: its columns, those left out being NULL."""
    return {
        "id": device_id(public_key, sha256),
        "operator": operator,
        "key": public_key,
        "kind": kind,
        "mcc": mcc,
        "account": account,
        "purse": purse,
        "name": name,
        "registered_at": now,
        "issue": 0,
        "head_seq": 0,
        "head_hash": records.genesis(public_key, sha256),
        "watermark": 0,
        "load_floor": 0,
        "next_load_floor": 0,
        "revoked": False,
        "valid_until": 0,
        "base_seq": 0,
        "guaranteed": 0,
        "passed_on": 0,
        "cleared": 0,
        "unconfirmed": 0,
        "left_open": 0,
        "other_seq": 0,
        "shown_seq": shown_seq,
    }


def certify(
    connection: Connection, signer: Signer, device: Row, epoch: int | None, carried: dict[str, int], now: int
) -> tuple[Certificate, Acknowledgement]:
    """Issue the device's next Certificate and Acknowledgement over what the ledger holds of it.

    `epoch` None is the current one; `carried` are its limits.
    """
    if epoch is None:
        epoch = current_epoch(connection, device.operator)
    pair = next_pair(signer, device, epoch, carried, now)
    keep_issued(connection, [pair])
    return pair


def keep_issued(connection: Connection, pairs: Sequence[tuple[Certificate, Acknowledgement]]) -> None:
    """Pairs of `next_pair`, of different devices, are issued."""
    rows = [issued_row(*pair) for pair in pairs]
    said = [(*newest(certificate).values(), of.device) for certificate, of in pairs]
    if rows:
        bulk.insert(connection, certificates, list(rows[0]), [tuple(row.values()) for row in rows])
        bulk.update(connection, devices, ("id",), list(newest(pairs[0][0])), said)


def issued_row(certificate: Certificate, acknowledgement: Acknowledgement) -> dict[str, Any]:
    """What is kept of a pair that was issued: its columns."""
    return {
        "device": acknowledgement.device,
        "issue": certificate.issue,
        "certificate": certificate.encode(),
        "acknowledgement": acknowledgement.encode(),
    }


def newest(certificate: Certificate) -> dict[str, int]:
    """What a device's row says of its newest Certificate."""
    return {"issue": certificate.issue, "valid_until": certificate.valid_until, "base_seq": certificate.base_seq}


def next_pair(
    signer: Signer, device: Row, epoch: int, carried: dict[str, int], now: int
) -> tuple[Certificate, Acknowledgement]:
    """What the device would be issued next, signed and not kept yet."""
    today = now // DAY_S
    certificate = Certificate(
        operator=device.operator,
        key=device.key,
        issue=device.issue + 1,
        kind=device.kind,
        mcc=device.mcc,
        valid_from=today,
        valid_until=today + limits.CERTIFICATE_DAYS,
        epoch=epoch,
        base_seq=device.head_seq,
        **carried,
    ).sign(signer.sign)
    acknowledgement = Acknowledgement(
        operator=device.operator,
        device=device.id,
        issue=device.issue + 1,
        base_seq=device.head_seq,
        base_hash=device.head_hash,
        request_floor=device.watermark,
        load_floor=max(device.load_floor, device.next_load_floor),
        time=now,
    ).sign(signer.sign)
    return certificate, acknowledgement


def limits_of(device: Row) -> dict[str, int]:
    """The limits that its operator gives the device; a new terminal's Certificate may carry less (`holds`)."""
    return limits.default_limits(device.kind) | json.loads(device.limits or "{}")


def set_limits(connection: Connection, who: bytes, changes: dict[str, int]) -> dict[str, int]:
    """Change some of a device's limits (names of `limits.LIMIT_FIELDS`) from its next Certificate on.

    Returns all of them. Raises `InvalidInput`.
    """
    row = locked(connection, who)
    if row.kind >> 4 not in (WALLET, TERMINAL):
        raise InvalidInput(f"{row.name} is no wallet or terminal", "Only those have limits of their own")
    largest = {name: (1 << 8 * size) - 1 for name, size in Certificate.FIELDS if name in limits.LIMIT_FIELDS}
    largest["in_doubt_limit"] = limits.MAX_IN_DOUBT
    for name, value in changes.items():
        if name not in largest:
            raise InvalidInput(f"There is no limit {name!r}", f"Choose among {', '.join(limits.LIMIT_FIELDS)}")
        if not 0 <= value <= largest[name]:
            raise InvalidInput(f"{value} is no {name}", f"Choose 0 to {largest[name]}")
    defaults = limits.default_limits(row.kind)
    changed = {name: value for name, value in (limits_of(row) | changes).items() if value != defaults[name]}
    kept = json.dumps(changed) if changed else None
    connection.execute(update(devices).where(devices.c.id == who).values(limits=kept))
    return defaults | changed
