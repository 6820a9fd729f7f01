"""Who takes part: the root, operators, customer accounts, devices and every Certificate issued to them."""

import json

from sqlalchemy import Connection, Row, select, update

from host_tools.crypto import Signer, sha256, verify
from host_tools.ledger import books
from host_tools.ledger.errors import (
    AlreadyRegistered,
    BadSignature,
    BooksBroken,
    InsufficientFunds,
    InvalidInput,
    UnknownAccount,
    UnknownDevice,
    UnknownOperator,
    WrongSigner,
)
from host_tools.ledger.revocation import current_epoch, operator_revoked
from host_tools.ledger.schema import accounts, certificates, devices, info, operators
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

MAX_NAME = 100
MAX_MCC = 9999


def root_key(connection: Connection) -> bytes:
    """The central bank's public key. Raises `UnknownOperator` before it is set."""
    key = connection.execute(select(info.c.root_key)).scalar_one()
    if key is None:
        raise UnknownOperator("This ledger has no root key yet", "Set the central bank's key first")
    return key


def set_root(connection: Connection, public_key: bytes) -> None:
    """The central bank's key, once. Raises `AlreadyRegistered`."""
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
    root = connection.execute(select(info.c.root_key)).scalar_one()
    if root is None or not certificate.verified_by(root, verify):
        raise BadSignature(
            "The operator's certificate is not signed by this ledger's root", "Ask the central bank for it"
        )
    values = {"issue": certificate.issue, "key": certificate.key, "certificate": certificate.encode()}
    known = connection.execute(select(operators).where(operators.c.operator == certificate.operator)).one_or_none()
    if known is None:
        connection.execute(operators.insert().values(operator=certificate.operator, **values))
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
    if not 0 < len(name) <= 50:
        raise InvalidInput("An account needs a name of 1 to 50 characters", "Choose another name")
    return books.account_of(connection, books.ACCOUNT, f"{operator}:{name}", operator, name)


def issue(connection: Connection, account: int, amount: int, now: int) -> None:
    """The central bank issues `amount` minor units into a customer account. Raises `InvalidInput`."""
    customer_account(connection, account)
    issued = books.issued_account(connection)
    if amount - books.balance(connection, issued) > books.MAX_AMOUNT:
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
    """Raises `InsufficientFunds`."""
    held = books.balance(connection, account)
    if held < amount:
        raise InsufficientFunds(f"The account holds {held}, less than {amount}", "Choose a smaller amount")


def device(connection: Connection, who: bytes) -> Row:
    """Raises `UnknownDevice`."""
    found = find_device(connection, who)
    if found is None:
        raise UnknownDevice(f"Device {who.hex()} is not registered", "Personalise it first")
    return found


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
    if len(public_key) != KEY_BYTES or kind not in limits.DEFAULT_LIMITS or not 0 <= mcc <= MAX_MCC:
        raise InvalidInput("The key, kind or merchant category is none that a device can have", "Check the command")
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidInput(f"A device needs a name of 1 to {MAX_NAME} characters", "Choose another name")
    if customer_account(connection, account).operator != operator:
        raise UnknownAccount(f"Account {account} is another operator's", "Choose an account of the device's operator")
    who = device_id(public_key, sha256)
    known = find_device(connection, who)
    if known is not None:
        if (known.operator, known.kind, known.mcc, known.account) != (operator, kind, mcc, account):
            raise AlreadyRegistered("This device's key is registered otherwise", "Wipe the device: it makes a new key")
        first = certificate_of(connection, who, 1)
        if first is None:
            raise BooksBroken(f"Device {who.hex()} has no Certificate", books.STOP)
        return first
    check_operator_good(connection, operator)
    genesis = records.genesis(public_key, sha256)
    connection.execute(
        devices.insert().values(
            id=who,
            operator=operator,
            key=public_key,
            kind=kind,
            mcc=mcc,
            account=account,
            purse=books.account_of(connection, books.PURSE, who.hex(), operator, name),
            name=name,
            registered_at=now,
            issue=0,
            head_seq=0,
            head_hash=genesis,
            watermark=0,
            load_floor=0,
            next_load_floor=0,
            revoked=False,
            valid_until=0,
            guaranteed=0,
            passed_on=0,
            cleared=0,
        )
    )
    row = device(connection, who)
    return certify(connection, signer, row, 0, limits_of(row), now)


def certify(
    connection: Connection, signer: Signer, device: Row, epoch: int | None, carried: dict[str, int], now: int
) -> tuple[Certificate, Acknowledgement]:
    """Issue the device's next Certificate and Acknowledgement over what the ledger holds of it.

    `epoch` None is the current one; `carried` are its limits.
    """
    today = now // DAY_S
    certificate = Certificate(
        operator=device.operator,
        key=device.key,
        issue=device.issue + 1,
        kind=device.kind,
        mcc=device.mcc,
        valid_from=today,
        valid_until=today + limits.CERTIFICATE_DAYS,
        epoch=current_epoch(connection, device.operator) if epoch is None else epoch,
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
    connection.execute(
        certificates.insert().values(
            device=device.id,
            issue=certificate.issue,
            certificate=certificate.encode(),
            acknowledgement=acknowledgement.encode(),
        )
    )
    newest = {"issue": certificate.issue, "valid_until": certificate.valid_until}
    connection.execute(update(devices).where(devices.c.id == device.id).values(**newest))
    return certificate, acknowledgement


def limits_of(device: Row) -> dict[str, int]:
    """The limits that its operator gives the device; a new terminal's Certificate may carry less (`holds`)."""
    return limits.default_limits(device.kind) | json.loads(device.limits or "{}")


def set_limits(connection: Connection, who: bytes, changes: dict[str, int]) -> dict[str, int]:
    """Change some of a device's limits (names of `limits.LIMIT_FIELDS`) from its next Certificate on.

    Returns all of them. Raises `InvalidInput`.
    """
    row = device(connection, who)
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
