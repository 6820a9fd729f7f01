"""`Ledger`: every call is one database transaction, checked for balance before it commits; what raises leaves no trace.

Amounts are integers in minor units, `now` is Unix seconds, `device` the 16-byte id of a device, `operator` an
operator's number and `account` the number of a customer account. `signer` is the operator's
`host_tools.crypto.Signer`; the ledger keeps no private key.
"""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from host_tools.crypto import Signer
from host_tools.ledger import (
    books,
    deadlines,
    decisions,
    loads,
    lost,
    orders,
    proofs,
    redeem,
    registry,
    reports,
    revocation,
    schema,
    settlement,
)
from host_tools.ledger.deadlines import Overdue
from host_tools.ledger.errors import BooksBroken, LedgerUnavailable
from host_tools.ledger.settlement import Settlement
from protocol.errors import DecodeError
from protocol.fraud import FraudProof
from protocol.objects import (
    NONCE_BYTES,
    Acknowledgement,
    Certificate,
    Load,
    OperatorCertificate,
    Order,
    Request,
    Revocations,
)


class Ledger:
    """One ledger in one database. Made by `Ledger.create` or `Ledger.open`."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._reader = schema.reader(engine)

    @classmethod
    def create(cls, url: str) -> "Ledger":
        """Make an empty ledger at a SQLAlchemy URL (`sqlite:///path`). Raises `LedgerExists`."""
        return cls(schema.create(url))

    @classmethod
    def open(cls, url: str) -> "Ledger":
        """Raises `LedgerMissing`, `LedgerUnavailable`, `NotALedger`."""
        return cls(schema.open_existing(url))

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self, engine: Engine | None = None) -> Iterator[Connection]:
        try:
            with (engine or self._engine).begin() as connection:
                yield connection
                books.check_balanced(connection)
        except OperationalError as error:
            raise LedgerUnavailable(
                "The ledger's database did not answer or could not be written", "Close other programs and run it again"
            ) from error
        except DecodeError as error:  # what devices and people bring is decoded with errors of its own
            raise BooksBroken(f"The ledger holds what it never wrote ({error})", books.STOP) from error

    def _reading(self) -> AbstractContextManager[Connection]:
        return self._transaction(self._reader)

    # Parties

    def set_root(self, public_key: bytes) -> None:
        """The central bank's key, once."""
        with self._transaction() as connection:
            registry.set_root(connection, public_key)

    def root_key(self) -> bytes:
        """The central bank's public key. Raises `UnknownOperator` before `set_root`."""
        with self._reading() as connection:
            return registry.root_key(connection)

    def add_operator(self, certificate: OperatorCertificate) -> None:
        """Take an operator's certificate, signed by the root."""
        with self._transaction() as connection:
            registry.add_operator(connection, certificate)

    def operator_certificate(self, operator: int) -> OperatorCertificate:
        with self._reading() as connection:
            return registry.operator_certificate(connection, operator)

    def open_account(self, operator: int, name: str) -> int:
        """The number of the customer account of this name, opened if it is new."""
        with self._transaction() as connection:
            return registry.open_account(connection, operator, name)

    def issue(self, account: int, amount: int, now: int) -> None:
        """The central bank issues money into a customer account."""
        with self._transaction() as connection:
            registry.issue(connection, account, amount, now)

    def balance(self, account: int) -> int:
        with self._reading() as connection:
            registry.customer_account(connection, account)
            return books.balance(connection, account)

    def register_device(
        self,
        signer: Signer,
        operator: int,
        public_key: bytes,
        kind: int,
        mcc: int,
        account: int,
        name: str,
        now: int,
    ) -> tuple[Certificate, Acknowledgement]:
        """Register a key, once, and issue its first Certificate; the same call again returns the same bytes.

        `kind` as in Certificate.
        """
        with self._transaction() as connection:
            pair = registry.register(connection, signer, operator, public_key, kind, mcc, account, name, now)
            revocation.publish_blocked(connection, signer, operator, now)
            return pair

    def set_limits(self, device: bytes, changes: dict[str, int]) -> dict[str, int]:
        """Change some of a device's limits (names of `limits.LIMIT_FIELDS`) from its next Certificate on.

        Returns all of its limits.
        """
        with self._transaction() as connection:
            return registry.set_limits(connection, device, changes)

    def order(self, signer: Signer, device: bytes, what: int, argument: int, now: int) -> Order:
        """Sign the device's next Order, for a host to carry to it."""
        with self._transaction() as connection:
            return orders.sign(connection, signer, device, what, argument, now)

    def revoke(self, signer: Signer, operator: int, device: bytes, now: int) -> Revocations:
        """Put a device (of any operator) on the operator's revocation list; devices get it with their next sync.

        The operator's own device gets no Certificates and Loads any more, for good; it still settles what it brings.
        """
        with self._transaction() as connection:
            registry.signing_operator(connection, signer, operator, now)
            return revocation.revoke(connection, signer, operator, registry.device(connection, device), now)

    def revoke_operator(self, root_signer: Signer, operator: int, now: int) -> Revocations:
        """Put an operator on the root's list. Its devices still settle, but get no Certificates and Loads any more."""
        with self._transaction() as connection:
            registry.check_root(connection, root_signer)
            registry.operator_certificate(connection, operator)
            return revocation.revoke_operator(connection, root_signer, operator, now)

    def operator_revoked(self, operator: int) -> bool:
        """Whether the operator is on the root's list. Raises `UnknownOperator`."""
        with self._reading() as connection:
            registry.operator_certificate(connection, operator)
            return revocation.operator_revoked(connection, operator)

    def report_lost(self, signer: Signer, device: bytes, now: int) -> int:
        """Block a lost or broken device for good. Returns the Unix day from which `book_overdue` pays it back."""
        with self._transaction() as connection:
            return lost.report(connection, signer, device, now)

    # Fraud

    def fraud_proofs(self, device: bytes | None = None) -> list[FraudProof]:
        """What proves to anybody that this device, or any, has cheated (`proofs.against`)."""
        with self._reading() as connection:
            return proofs.against(connection, device)

    def submit_fraud_proof(self, proof: FraudProof, now: int) -> bytes:
        """Freeze the device that a proof from elsewhere convicts. Returns its id. Raises `NotProven`."""
        with self._transaction() as connection:
            return proofs.submit(connection, proof, now)

    # What people decide

    def decide(self, signer: Signer, transfer: bytes, whose: str, reason: str, now: int) -> None:
        """Give a payment in suspense, named by its hash, to its "payee" or its "payer" (`decisions.decide`)."""
        with self._transaction() as connection:
            decisions.decide(connection, signer, transfer, whose, reason, now)

    def clear(self, signer: Signer, device: bytes, reason: str, now: int) -> int:
        """Lift a device's dispute, up to what it has taken by now, which is returned (`decisions.clear`)."""
        with self._transaction() as connection:
            return decisions.clear(connection, signer, device, reason, now)

    # Money into and out of devices

    def order_load(self, signer: Signer, device: bytes, amount: int, now: int) -> Load:
        """Take an amount from the device's account and sign a Load; the next sync carries it to the device."""
        with self._transaction() as connection:
            load = loads.order(connection, signer, device, amount, now)
            revocation.publish_blocked(connection, signer, load.operator, now)
            return load

    def cancel_load(self, device: bytes, number: int) -> None:
        """Stop offering this load and lower ones.

        The money returns when a later sync proves that the device never took it.
        """
        with self._transaction() as connection:
            loads.cancel(connection, device, number)

    def open_redemption(
        self, signer: Signer, payee_signer: Signer, device: bytes, amount: int, now: int
    ) -> tuple[Certificate, Request]:
        """The payee's Certificate and a Request for the device to pay. Closes the device's older Request."""
        with self._transaction() as connection:
            return redeem.open_request(connection, signer, payee_signer, device, amount, secrets.token_bytes(8), now)

    def take_redemption(self, payee_signer: Signer, transfer: bytes, now: int) -> bytes:
        """The bytes of the Receipt (committed before it is returned), or of a Void."""
        with self._transaction() as connection:
            return redeem.take(connection, payee_signer, transfer, now)

    # Syncs

    def begin_sync(self, device: bytes, now: int) -> tuple[bytes, int]:
        """A fresh nonce for the device's Statement, and the first seq whose record the ledger wants."""
        with self._transaction() as connection:
            return settlement.begin(connection, device, secrets.token_bytes(NONCE_BYTES), now)

    def settle(self, signer: Signer, statement: bytes, records: list[bytes], now: int) -> Settlement:
        """Settle one upload. The same Statement again returns the same answer."""
        with self._transaction() as connection:
            return settlement.settle(connection, signer, statement, records, now)

    def book_overdue(self, now: int) -> Overdue:
        """Book what is past its deadline: pending Transfers, unfunded purses, lost devices. Returns how many."""
        with self._transaction() as connection:
            return deadlines.book_overdue(connection, now)

    # Reports

    def check(self) -> None:
        """Add everything up from the postings. Raises `BooksBroken`."""
        with self._reading() as connection:
            books.check(connection)

    def reconciliation(self) -> dict:
        """Where every issued unit is (`reports.reconciliation`)."""
        with self._reading() as connection:
            return reports.reconciliation(connection)

    def devices(self, now: int = 0) -> list[dict]:
        """Every device (`reports.device_list`); without `now` no time has passed that would free what is held."""
        with self._reading() as connection:
            return reports.device_list(connection, None, now)

    def device(self, device: bytes, now: int = 0) -> dict:
        """One of `devices`. Raises `UnknownDevice`."""
        with self._reading() as connection:
            registry.device(connection, device)
            return reports.device_list(connection, device, now)[0]

    def transfers(self, device: bytes) -> list[dict]:
        with self._reading() as connection:
            return reports.transfer_list(connection, device)

    def loads(self, device: bytes) -> list[dict]:
        with self._reading() as connection:
            return reports.load_list(connection, device)

    def postings(self, account: int) -> list[dict]:
        with self._reading() as connection:
            registry.customer_account(connection, account)
            return reports.statement_of_account(connection, account)

    def dead_letters(self) -> list[dict]:
        with self._reading() as connection:
            return reports.dead_letter_list(connection)

    def suspense(self) -> list[dict]:
        """What waits for people to decide (`reports.suspense_list`)."""
        with self._reading() as connection:
            return reports.suspense_list(connection)

    def decisions(self) -> list[dict]:
        """What people have decided (`reports.decision_list`)."""
        with self._reading() as connection:
            return reports.decision_list(connection)

    def evidence(self) -> list[dict]:
        with self._reading() as connection:
            return reports.evidence_list(connection)
