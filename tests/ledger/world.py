"""A town: one ledger, two operators, devices with real engines and signatures, and the host between.

The devices and the link between two of them are those of `tests.unit.world`; what is personalised, loaded and synced
here goes through the ledger and the device's own commands, so no object in these tests is made by hand unless a test
forges it.
"""

import shutil
from pathlib import Path

from sqlalchemy import Connection

from host_tools.crypto import sha256, verify
from host_tools.ledger import Ledger, Overdue, Settlement, transfers
from host_tools.ledger.guarantee import UNFUNDED
from host_tools.ledger.loads import OUTSTANDING
from host_tools.ledger.transfers import LEFT_OUT_SOME
from protocol import apdu, fraud
from protocol.errors import UNKNOWN_TRANSFER, RefusedByPeer
from protocol.objects import PERSON, Certificate, Resolution, Statement, Void
from protocol.tap import Payment, PaymentTap
from tests.unit.world import KINDS, NOW, REFERENCE, Device, Link, Operator, meet, sale, sale_tap, signer

__all__ = [
    "LOST_CONFIRM",
    "LOST_TRANSFER",
    "Link",
    "Town",
    "clone",
    "forget_payers",
    "meet",
    "pay_person",
    "refund",
    "sale",
    "sale_tap",
    "unregistered",
]

LOST_TRANSFER = 3  # Link.cut_at in a sale: the payer has committed, the payee knows nothing
LOST_CONFIRM = 4  # the payee has credited, the payer is in doubt

MCC = 5411


def clone(device: Device) -> Device:
    """A second device with the same key, journal and settings: what a flash clip makes, or a state kept for later."""
    twin = Device(device.name, device._clock)
    twin.seed_made = True
    twin.journal.stored = list(device.journal.stored)
    twin.journal.first_seq = device.journal.first_seq
    twin.settings.values = dict(device.settings.values)
    twin.restart()
    return twin


def forget_payers(payee: Device) -> None:
    """So many others have paid since that the payee does not remember what any payer said before."""
    payee.purse._payers = []


def pay_person(
    payer: Device, payee: Device, amount: int, purpose: int = PERSON, link: Link | None = None
) -> PaymentTap:
    """The payer's device reads the payee's and pays."""
    tap = PaymentTap(payer.party, payer.perform, payer.payer, Payment(amount, purpose, REFERENCE))
    return meet(tap, payee, link)


class Town:
    """Everything a test needs, by name. `now` is the one clock."""

    def __init__(self, folder: Path, empty: str | None = None):
        """`empty` is the URL of an empty ledger; without one the town's is a new file in the folder."""
        self.now = NOW
        self._file = folder / "ledger.sqlite"
        self.url = empty or f"sqlite:///{self._file}"
        self.ledger = Ledger.open(empty) if empty else Ledger.create(self.url)
        self.root = signer("root")
        self.ledger.set_root(self.root.public)
        self.operators = {number: Operator(number, self.root) for number in (1, 2)}
        for operator in self.operators.values():
            self.ledger.add_operator(operator.certificate)
        self.devices: list[Device] = []
        self.accounts: dict[str, int] = {}
        self._operator_of: dict[str, int] = {}

    def clock(self) -> int:
        return self.now

    def signer_of(self, device: Device):
        return self.operators[self._operator_of[device.name]].key

    def device(self, name: str, kind: str = "wallet", balance: int = 0, operator: int = 1) -> Device:
        """Registered, personalised and loaded, all through the ledger; its account keeps 1,000 more."""
        device = Device(name, self.clock)
        self.admit(device, KINDS[kind], operator, balance, balance + 1_000)
        return device

    def admit(self, device: Device, kind: int, operator: int, balance: int, funds: int) -> None:
        """Register, personalise and load; `funds` are what its account is issued first."""
        name = device.name
        self._operator_of[name] = operator
        self.accounts[name] = account = self.ledger.open_account(operator, name)
        self.ledger.issue(account, funds, self.now)
        key = device.generate_key()
        bank = self.operators[operator]
        mcc = MCC if kind == KINDS["terminal"] else 0
        pair = self.ledger.register_device(bank.key, operator, key, kind, mcc, account, name, self.now)
        objects = b"".join(signed.encode() for signed in pair)
        device.send(apdu.PERSONALISE, self.root.public + bank.certificate.encode() + objects)
        self.devices.append(device)
        if balance:
            self.ledger.order_load(bank.key, device.id, balance, self.now)
            self.sync(device)
            self.sync(device)

    # A sync, in the steps at which a host can stop

    def statement(self, device: Device) -> tuple[bytes, list[bytes]]:
        """What a host reads from the device: its Statement over a fresh nonce and the records that the ledger wants.

        A person cancels an open Request first, as the device asks for.
        """
        if device.payee is not None:
            device.payee.close()
        nonce, first = self.ledger.begin_sync(device.id, self.now)
        statement = device.send(apdu.STATEMENT, nonce)
        head = Statement.decode(statement).seq
        return statement, [device.send(apdu.JOURNAL, seq.to_bytes(4, "big")) for seq in range(first, head + 1)]

    def settle(self, device: Device, statement: bytes, records: list[bytes]) -> Settlement:
        """Hand an upload to the ledger; the books must balance after every one."""
        settlement = self.ledger.settle(self.signer_of(device), statement, records, self.now)
        self.check()
        return settlement

    def book_overdue(self) -> Overdue:
        booked = self.ledger.book_overdue(self.now)
        self.check()
        return booked

    def check(self) -> None:
        """What holds after every step: the books balance, no loss lies about, and who is frozen for fraud is proven.

        What takes more than two signatures may wait for the cheat's own journal.
        """
        self.ledger.check()
        report = self.ledger.reconciliation()
        assert report["difference"] == 0
        rows = self.ledger.devices()
        assert sum(row["guaranteed"] for row in rows) == -sum(report["guarantee"].values())
        for row in rows:
            frozen = row["frozen"]
            spare = row["purse"] + self.in_transit(bytes.fromhex(row["id"]))
            assert not frozen or spare >= 0, "the guarantee bears what a frozen purse lacks"
            assert spare <= 0 or not row["guaranteed"], "the guarantee bears what a purse or a load in transit has"
            private = frozen in (None, UNFUNDED, LEFT_OUT_SOME) or frozen.startswith("rolled back")
            kinds = self.proven(bytes.fromhex(row["id"]))
            assert kinds or private, f"{row['name']} is {frozen}, and nothing proves it"
            assert frozen or not kinds, f"{row['name']} is proven guilty, and not frozen"

    def proven(self, who: bytes) -> set[str]:
        """What anybody who has the root key finds proven against a device."""
        found = [fraud.check(proof, self.root.public, sha256, verify) for proof in self.ledger.fraud_proofs(who)]
        assert all(finding.device == who for finding in found)
        return {finding.kind for finding in found}

    def install(self, device: Device, settlement: Settlement) -> None:
        """Hand the ledger's objects to the device, in order."""
        single = settlement.objects[:-2] if settlement.certified else settlement.objects
        for data in single:
            try:
                device.send(apdu.PUT, data)
            except RefusedByPeer as refusal:
                # The payee's own word closed it between the Statement and now
                if data[0] != Resolution.TYPE or refusal.cause != UNKNOWN_TRANSFER:
                    raise
        if settlement.certified:
            device.send(apdu.INSTALL, b"".join(settlement.objects[-2:]))

    def sync(self, device: Device) -> Settlement:
        settlement = self.settle(device, *self.statement(device))
        self.install(device, settlement)
        return settlement

    # What the books say

    def void(self, payee: Device, payment: bytes) -> None:
        """The payee's Void of a payment, named by its hash, past any journal."""
        signed = Void(transfer=payment).sign(payee.party.sign).encode()

        def take(connection: Connection) -> None:
            known = transfers.find_by_hash(connection, payment)
            assert known is not None
            transfers.void(connection, transfers.key_in(known), signed, self.now)

        self.ledger._run(take)

    def purse(self, device: Device) -> int:
        return self.ledger.device(device.id)["purse"]

    def account(self, device: Device) -> int:
        return self.ledger.balance(self.accounts[device.name])

    def frozen(self, device: Device) -> str | None:
        return self.ledger.device(device.id)["frozen"]

    def states(self, device: Device) -> list[str]:
        """The states of the Transfers this device paid or was paid."""
        return [transfer["state"] for transfer in self.ledger.transfers(device.id)]

    def sums(self) -> dict[str, int]:
        """The parts of the reconciliation, added up."""
        report = self.ledger.reconciliation()
        return {part: sum(values.values()) for part, values in report.items() if isinstance(values, dict)}

    def pending(self) -> int:
        return self.sums()["pending"]

    def in_transit(self, who: bytes) -> int:
        """In loads on their way into a device."""
        return sum(load["amount"] for load in self.ledger.loads(who) if load["state"] == OUTSTANDING)

    def loss(self) -> int:
        """What the operators' guarantees bear."""
        return -self.sums()["guarantee"]

    # A second history of the same town

    def fork(self, folder: Path) -> "Town":
        """A copy of the ledger and of every device as they are now."""
        other = object.__new__(Town)
        other.__dict__.update(self.__dict__)
        folder.mkdir()
        other._file = folder / "ledger.sqlite"
        other.url = f"sqlite:///{other._file}"
        self.ledger.close()
        shutil.copy(self._file, other._file)
        other.ledger = Ledger.open(other.url)
        other.devices = [clone(device) for device in self.devices]
        return other

    def named(self, name: str) -> Device:
        return next(device for device in self.devices if device.name == name)


def refund(terminal: Device, wallet: Device, amount: int, purpose: int) -> PaymentTap:
    """The terminal reads the wallet and pays."""
    return pay_person(terminal, wallet, amount, purpose)


def certificate_in(settlement: Settlement) -> Certificate:
    return Certificate.decode(settlement.objects[-2])


def unregistered(town, name, kind):
    """Personalised with the operator's true key, but past the ledger."""
    bank = town.operators[1]
    stranger = Device(name, town.clock)
    certificate = bank.certify(stranger.generate_key(), KINDS[kind])
    acknowledgement = bank.acknowledge(certificate, stranger.purse.head_hash)
    objects = bank.certificate.encode() + certificate.encode() + acknowledgement.encode()
    stranger.send(apdu.PERSONALISE, town.root.public + objects)
    return stranger
