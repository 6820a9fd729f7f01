"""`Ledger`: every call is one database transaction that moves money whole or not at all; what raises leaves no trace.

A call may be run several times before it returns (`retries`), so each goes through one of `_run`, `_run_once`, `_read`.

Amounts are integers in minor units, `now` is Unix seconds, `device` the 16-byte id of a device, `operator` an
operator's number and `account` the number of a customer account. `signer` is the operator's
`host_tools.crypto.Signer`; the ledger keeps no private key.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine

from host_tools.crypto import Signer
from host_tools.ledger import (
    audit,
    books,
    deadlines,
    decisions,
    engines,
    enrolment,
    loads,
    locks,
    lost,
    opening,
    orders,
    proofs,
    redeem,
    registry,
    reports,
    retries,
    revocation,
    settlement,
)
from host_tools.ledger.answer import Settlement
from host_tools.ledger.deadlines import Overdue
from host_tools.ledger.enrolment import NewDevice
from host_tools.ledger.errors import BooksBroken, LedgerError
from host_tools.ledger.reports.span import Span
from host_tools.ledger.settlement import Settler, Upload
from host_tools.ledger.verify import Verifier
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

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Ledger:
    """One ledger in one database. Made by `Ledger.create` or `Ledger.open`."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._reader = engines.reader(engine)
        self._settler = Settler(self._run, self._read)

    @classmethod
    def create(cls, url: str) -> "Ledger":
        """Make an empty ledger at a SQLAlchemy URL (`sqlite:///path`). Raises `LedgerExists`."""
        return cls(opening.create(url))

    @classmethod
    def open(cls, url: str) -> "Ledger":
        """Raises `LedgerMissing`, `LedgerUnavailable`, `NotALedger`."""
        return cls(opening.open_existing(url))

    def close(self) -> None:
        self._settler.close()
        self._engine.dispose()

    def _run(self, work: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **named: _P.kwargs) -> _T:
        """Do `work` in one transaction, again if the database asks for it: what is done twice must be done once."""
        return self._transact(self._engine, lambda connection: work(connection, *args, **named), None)

    def _run_once(
        self, if_unknown: str, work: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **named: _P.kwargs
    ) -> _T:
        """Do `work`, which done twice is done twice: never again once it may have been kept.

        `if_unknown` is what the caller does then. Raises `OutcomeUnknown`.
        """
        return self._transact(self._engine, lambda connection: work(connection, *args, **named), if_unknown)

    def _read(self, work: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **named: _P.kwargs) -> _T:
        """Do `work`, which only reads, on one state of the database."""
        return self._transact(self._reader, lambda connection: work(connection, *args, **named), None)

    def _transact(self, engine: Engine, work: Callable[[Connection], _T], if_unknown: str | None) -> _T:
        try:
            return retries.transact(engine, work, if_unknown)
        except DecodeError as error:  # what devices and people bring is decoded with errors of its own
            raise BooksBroken(f"The ledger holds what it never wrote ({error})", books.STOP) from error

    # Parties

    def set_root(self, public_key: bytes) -> None:
        """The central bank's key, once."""
        self._run(registry.set_root, public_key)

    def root_key(self) -> bytes:
        """The central bank's public key. Raises `UnknownOperator` before `set_root`."""
        return self._read(registry.root_key)

    def add_operator(self, certificate: OperatorCertificate) -> None:
        """Take an operator's certificate, signed by the root."""
        self._run(registry.add_operator, certificate)

    def operator_certificate(self, operator: int) -> OperatorCertificate:
        return self._read(registry.operator_certificate, operator)

    def open_account(self, operator: int, name: str) -> int:
        """The number of the customer account of this name, opened if it is new."""
        return self._run(registry.open_account, operator, name)

    def issue(self, account: int, amount: int, now: int, issued_before: int | None = None) -> None:
        """The central bank issues money into a customer account; with `issued_before` only if it had issued so much.

        So a caller that has lost the answer may repeat the call. Raises `IssuedMeanwhile`.
        """
        self._run_once(
            "Look at the account before you issue again", registry.issue, account, amount, now, issued_before
        )

    def balance(self, account: int) -> int:
        def work(connection: Connection) -> int:
            registry.customer_account(connection, account)
            return books.balance(connection, account)

        return self._read(work)

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

        def work(connection: Connection) -> tuple[Certificate, Acknowledgement]:
            pair = registry.register(connection, signer, operator, public_key, kind, mcc, account, name, now)
            revocation.publish_blocked(connection, signer, operator, now)
            return pair

        return self._run(work)

    def register_devices(
        self, signer: Signer, operator: int, wanted: Sequence[NewDevice], now: int
    ) -> list[tuple[Certificate, Acknowledgement]]:
        """Register many, each as `register_device` does, `enrolment.AT_ONCE` in a transaction.

        When one cannot be registered, nobody of its transaction is, and those before stay.
        """
        return [
            pair
            for some in enrolment.shares(wanted)
            for pair in self._run(enrolment.register, signer, operator, some, now)
        ]

    def set_limits(self, device: bytes, changes: dict[str, int]) -> dict[str, int]:
        """Change some of a device's limits (names of `limits.LIMIT_FIELDS`) from its next Certificate on.

        Returns all of its limits.
        """
        return self._run(registry.set_limits, device, changes)

    def order(self, signer: Signer, device: bytes, what: int, argument: int, now: int) -> Order:
        """Sign the device's next Order, for a host to carry to it."""
        return self._run(orders.sign, signer, device, what, argument, now)

    def revoke(self, signer: Signer, operator: int, device: bytes, now: int) -> Revocations:
        """Put a device (of any operator) on the operator's revocation list; devices get it with their next sync.

        The operator's own device gets no Certificates and Loads any more, for good; it still settles what it brings.
        """

        def work(connection: Connection) -> Revocations:
            registry.signing_operator(connection, signer, operator, now)
            return revocation.revoke(connection, signer, operator, registry.locked(connection, device), now)

        return self._run(work)

    def revoke_operator(self, root_signer: Signer, operator: int, now: int) -> Revocations:
        """Put an operator on the root's list. Its devices still settle, but get no Certificates and Loads any more."""

        def work(connection: Connection) -> Revocations:
            registry.check_root(connection, root_signer)
            registry.operator_certificate(connection, operator)
            return revocation.revoke_operator(connection, root_signer, operator, now)

        return self._run(work)

    def operator_revoked(self, operator: int) -> bool:
        """Whether the operator is on the root's list. Raises `UnknownOperator`."""

        def work(connection: Connection) -> bool:
            registry.operator_certificate(connection, operator)
            return revocation.operator_revoked(connection, operator)

        return self._read(work)

    def report_lost(self, signer: Signer, device: bytes, now: int) -> int:
        """Block a lost or broken device for good. Returns the Unix day from which `book_overdue` pays it back."""
        return self._run(lost.report, signer, device, now)

    # Fraud

    def fraud_proofs(self, device: bytes | None = None) -> list[FraudProof]:
        """What proves to anybody that this device, or any, has cheated (`proofs.against`)."""
        return self._read(proofs.against, device)

    def submit_fraud_proof(self, proof: FraudProof, now: int) -> bytes:
        """Freeze the device that a proof from elsewhere convicts. Returns its id. Raises `NotProven`."""
        return self._run(proofs.submit, proof, now)

    # What people decide

    def decide(self, signer: Signer, transfer: bytes, whose: str, reason: str, now: int) -> None:
        """Give a payment in suspense, named by its hash, to its "payee" or its "payer" (`decisions.decide`)."""
        self._run(decisions.decide, signer, transfer, whose, reason, now)

    def clear(self, signer: Signer, device: bytes, reason: str, now: int) -> int:
        """Lift a device's dispute, up to what it has taken by now, which is returned (`decisions.clear`)."""
        return self._run(decisions.clear, signer, device, reason, now)

    # Money into and out of devices

    def order_load(self, signer: Signer, device: bytes, amount: int, now: int, number: int | None = None) -> Load:
        """Take an amount from the device's account and sign a Load; the next sync carries it to the device.

        With `number`, which must be the device's next, a repeated call returns the same bytes and moves nothing.
        """

        def work(connection: Connection) -> Load:
            load = loads.order(connection, signer, device, amount, now, number)
            revocation.publish_blocked(connection, signer, load.operator, now)
            return load

        if number is not None:
            return self._run(work)
        return self._run_once("List the device's loads before you order one again", work)

    def order_loads(self, signer: Signer, wanted: Sequence[tuple[bytes, int]], now: int) -> list[Load]:
        """Order a Load for each device and amount, as `order_load` does, `enrolment.AT_ONCE` in a transaction.

        When one cannot be loaded, none of its transaction is, and those before stay ordered.
        """
        if_unknown = "List the devices' loads before you order them again"
        return [
            load
            for some in enrolment.shares(wanted)
            for load in self._run_once(if_unknown, enrolment.order_loads, signer, some, now)
        ]

    def cancel_load(self, device: bytes, number: int) -> None:
        """Stop offering this load and lower ones.

        The money returns when a later sync proves that the device never took it.
        """
        self._run(loads.cancel, device, number)

    def open_redemption(
        self, signer: Signer, payee_signer: Signer, device: bytes, amount: int, now: int
    ) -> tuple[Certificate, Request]:
        """The payee's Certificate and a Request for the device to pay. Closes the device's older Request."""
        return self._run(redeem.open_request, signer, payee_signer, device, amount, secrets.token_bytes(8), now)

    def take_redemption(self, payee_signer: Signer, transfer: bytes, now: int) -> bytes:
        """The bytes of the Receipt (committed before it is returned), or of a Void."""
        return self._run(redeem.take, payee_signer, transfer, now)

    # Syncs

    def begin_sync(self, device: bytes, now: int) -> tuple[bytes, int]:
        """A fresh nonce for the device's Statement, and the first seq whose record the ledger wants."""

        def work(connection: Connection) -> tuple[bytes, int]:
            registry.locked(connection, device)  # an upload that is being settled keeps its nonce
            (begun,) = settlement.begin(connection, [(device, secrets.token_bytes(NONCE_BYTES))], now)
            return begun

        return self._run(work)

    def begin_syncs(self, devices: Sequence[bytes], now: int) -> list[tuple[bytes, int]]:
        """`begin_sync` for each of them, many in one transaction."""

        def work(connection: Connection, some: Sequence[bytes]) -> list[tuple[bytes, int]]:
            locks.devices(connection, some)
            fresh = [(device, secrets.token_bytes(NONCE_BYTES)) for device in some]
            return settlement.begin(connection, fresh, now)

        return [begun for some in enrolment.shares(devices) for begun in self._run(work, some)]

    def settle(self, signer: Signer, statement: bytes, records: list[bytes], now: int) -> Settlement:
        """Settle one upload. The same Statement again returns the same answer."""
        (result,) = self.settle_many([Upload(signer, statement, records)], now)
        if isinstance(result, LedgerError):
            raise result
        return result

    def settle_many(self, uploads: Iterable[Upload], now: int) -> list[Settlement | LedgerError]:
        """Settle many, about `settlement.BATCH` records in one transaction. An error says why one was not taken."""
        return self._settler.settle_many(uploads, now)

    def book_overdue(self, now: int) -> Overdue:
        """Book what is past its deadline: pending Transfers, unfunded purses, lost devices. Returns how many."""
        return self._run_once("Run it again: what is booked already is not booked twice", deadlines.book_overdue, now)

    # Reports

    def check(self) -> None:
        """Add everything up from the postings. Raises `BooksBroken`."""
        self._read(books.check)

    def audit(self, progress: audit.Progress = lambda _done, _total: None) -> audit.Findings:
        """Recompute everything from what was signed and compare; changes nothing (`audit`)."""
        verifier = Verifier()
        auditor = engines.auditor(self._engine)
        try:
            # Whether the books balance is among what it says
            return retries.transact(auditor, lambda connection: audit.run(connection, verifier, progress), None)
        finally:
            auditor.dispose()
            verifier.close()

    def reconciliation(self) -> dict:
        """Where every issued unit is (`reports.reconciliation`)."""
        return self._read(reports.reconciliation)

    def devices(self, now: int = 0) -> list[dict]:
        """Every device (`reports.device_list`); without `now` no time has passed that would free what is held."""
        return self._read(reports.device_list, None, now)

    def device(self, device: bytes, now: int = 0) -> dict:
        """One of `devices`. Raises `UnknownDevice`."""

        def work(connection: Connection) -> dict:
            registry.device(connection, device)
            return reports.device_list(connection, device, now)[0]

        return self._read(work)

    def transfers(self, device: bytes) -> list[dict]:
        return self._read(reports.transfer_list, device)

    def loads(self, device: bytes) -> list[dict]:
        return self._read(reports.load_list, device)

    def postings(self, account: int) -> list[dict]:
        def work(connection: Connection) -> list[dict]:
            registry.customer_account(connection, account)
            return reports.statement_of_account(connection, account)

        return self._read(work)

    def by_operator(self, span: Span, operator: int | None = None) -> list[dict]:
        """What moved in some days, a line for each operator (`reports.activity`)."""
        return self._read(reports.by_operator, span, operator)

    def by_day(self, span: Span, operator: int | None = None, device: bytes | None = None) -> list[dict]:
        return self._read(reports.by_day, span, operator, device)

    def by_device(
        self, span: Span, operator: int | None = None, after: bytes = b"", most: int = reports.MOST_DEVICES
    ) -> list[dict]:
        """The first `most` devices whose ids are above `after`."""
        return self._read(reports.by_device, span, operator, after, most)

    def positions(self, span: Span, operator: int | None = None) -> dict:
        """What operators owe each other, netted (`reports.positions`)."""
        return self._read(reports.positions, span, operator)

    def dead_letters(self) -> list[dict]:
        return self._read(reports.dead_letter_list)

    def suspense(self) -> list[dict]:
        """What waits for people to decide (`reports.suspense_list`)."""
        return self._read(reports.suspense_list)

    def decisions(self) -> list[dict]:
        """What people have decided (`reports.decision_list`)."""
        return self._read(reports.decision_list)

    def evidence(self) -> list[dict]:
        return self._read(reports.evidence_list)
