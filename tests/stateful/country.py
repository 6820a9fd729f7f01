"""The country of the stateful tests: the town of `tests.ledger.world` with eleven devices, made once and then copied.

Eight devices are honest and watched by a `Shadow`; three are cheats, each of which may have several bodies (clones and
restored backups with one key). Nothing here replaces a rule of `protocol` or of the ledger: the devices only tell what
they committed and what they said.
"""

import sqlite3
from functools import cache

from host_tools.crypto import sha256
from host_tools.ledger import Ledger, opening
from protocol import apdu
from protocol.errors import BALANCE_LIMIT, JOURNAL_FULL, SERVICE, UNKNOWN_TRANSFER, Refused, RefusedByPeer
from protocol.objects import DAY_S, TERMINAL, WALLET, Load, Receipt, Resolution
from protocol.records import SEQ_BYTES
from tests.ledger.world import Town
from tests.stateful.shadow import Shadow, demand
from tests.unit.world import KINDS, NOW, Device, Journal, Operator, signer

CLASS_4 = WALLET << 4 | 4  # its limits are low enough to be met
CLASS_2 = WALLET << 4 | 2
POS = TERMINAL << 4

#       name, kind, operator, loaded at first
PEOPLE = (
    ("shop", POS, 1, 0),
    ("kiosk", POS, 1, 30_000),
    ("stall", POS, 2, 20_000),
    ("ann", CLASS_2, 1, 60_000),
    ("ben", CLASS_4, 1, 40_000),
    ("cid", CLASS_2, 1, 0),
    ("dan", CLASS_4, 2, 50_000),
    ("eva", CLASS_2, 2, 30_000),
)
CHEATS = (("mal", CLASS_2, 1, 40_000), ("max", CLASS_4, 2, 30_000), ("moe", POS, 1, 20_000))
HONEST = len(PEOPLE)
OLD_CLOCKS = ("kiosk", "ben", "eva", "max")  # these know only what their operator told them last
SMALL_JOURNALS = {"stall": 14_000, "dan": 12_000}
RECEIPT_TRANSFER = SEQ_BYTES + 2 + 4 + 32  # where a credit record names its Transfer


class WatchedJournal(Journal):
    """Tells what became durable, and finds a Receipt without reading through everything."""

    def __init__(self, device: "Citizen"):
        super().__init__()
        self._device = device
        self._credits: dict[bytes, int] = {}

    def fill(self, stored: list[bytes], first_seq: int) -> None:
        self.stored = list(stored)
        self.first_seq = first_seq
        self._credits.clear()
        for at, record in enumerate(stored):
            self._note(first_seq + at, record)

    def _note(self, seq: int, record: bytes) -> None:
        if record[SEQ_BYTES] == Receipt.TYPE:
            self._credits[record[RECEIPT_TRANSFER : RECEIPT_TRANSFER + 32]] = seq

    def append(self, record: bytes) -> None:
        before = len(self.stored)
        try:
            super().append(record)
        finally:
            if len(self.stored) > before:
                self._note(self.head_seq, record)
                if self._device.shadow is not None:
                    self._device.shadow.committed(self._device, record)

    def credit_of(self, transfer_hash: bytes) -> Receipt | None:
        seq = self._credits.get(transfer_hash)
        stored = None if seq is None else self.record(seq)
        return None if stored is None else Receipt.decode(stored[SEQ_BYTES : SEQ_BYTES + Receipt.size()])


class Citizen(Device):
    """A device that its `shadow` watches (None for a cheat's)."""

    def __init__(self, name: str, country: "Country", shadow: Shadow | None = None):
        self.country = country
        self.shadow = shadow
        self.save_fails = ""
        super().__init__(name, self._lower_bound if name in OLD_CLOCKS else country.clock)
        self.journal: WatchedJournal = WatchedJournal(self)
        self.journal.capacity_bytes = SMALL_JOURNALS.get(name, self.journal.capacity_bytes)

    def _lower_bound(self) -> int:
        """What its operator's objects say of the time."""
        purse = self.party.purse
        if purse.certificate is None or purse.acknowledgement is None:
            return 0
        return max(purse.acknowledgement.time, purse.certificate.valid_from * DAY_S)

    def copy(self) -> "Citizen":
        """Another body with this key, journal and settings."""
        twin = Citizen(self.name, self.country)
        twin.become(self.journal.stored, self.journal.first_seq, self.settings.values)
        return twin

    def become(self, stored: list[bytes], first_seq: int, values: dict) -> None:
        """Go on from another state of this device."""
        self.seed_made = True
        self.journal.fill(stored, first_seq)
        self.settings.values = dict(values)
        self.restart()

    def _find_receipt(self, transfer_hash: bytes):
        return self.journal.credit_of(transfer_hash)

    def _save_request_limit(self, limit: int) -> None:
        fails, self.save_fails = self.save_fails, ""
        if fails != "before":
            super()._save_request_limit(limit)
        if fails:
            self.fault = "a write failed"
            raise Refused(SERVICE)

    def random(self, count: int) -> bytes:
        return self.country.random(count)

    def perform(self, wanted: list) -> bytes:
        answer = super().perform(wanted)
        if answer and self.shadow is not None:
            self.shadow.revealed(self, answer)
        return answer


class Country(Town):
    """A town whose ledger is in memory and whose devices are copies of those made first."""

    def __init__(self):
        self.now = NOW
        self.engine = opening.create("sqlite://")
        self.ledger = Ledger(self.engine)
        self.root = signer("root")
        self.ledger.set_root(self.root.public)
        self.operators = {number: Operator(number, self.root) for number in (1, 2)}
        self.devices = []
        self.accounts = {}
        self._operator_of = {}
        self._randoms = 0
        for number, operator in self.operators.items():
            self.ledger.add_operator(operator.certificate)
            account = self.ledger.open_account(number, "redemptions")
            payee = self.payee_signer(number)
            self.ledger.register_device(
                operator.key, number, payee.public, KINDS["operator payee"], 0, account, "payee", self.now
            )

    def payee_signer(self, operator: int):
        return signer(f"payee of operator {operator}")

    def random(self, count: int) -> bytes:
        self._randoms += 1
        return sha256(b"%d" % self._randoms)[:count]

    def operator_of(self, device: Device) -> int:
        return self._operator_of[device.name]

    # Copies

    def database(self) -> sqlite3.Connection:
        connection = self.engine.raw_connection().driver_connection
        assert isinstance(connection, sqlite3.Connection)
        return connection

    def start_over(self) -> tuple[list[Citizen], list[Citizen], Shadow]:
        """Everything as after the first syncs. Returns the honest devices, the cheats and the honest ones' shadow."""
        first = _first_country()
        first.backup.backup(self.database())
        self.now = NOW
        self._randoms = 0
        self.accounts = dict(first.accounts)
        self._operator_of = dict(first.operator_of)
        shadow = Shadow()
        bodies = []
        for at, (name, stored, first_seq, values) in enumerate(first.devices):
            device = Citizen(name, self)
            device.become(stored, first_seq, values)
            if at < HONEST:
                shadow.add(device)
                device.shadow = shadow
            bodies.append(device)
        self.devices = bodies[:HONEST]
        return bodies[:HONEST], bodies[HONEST:], shadow

    # Syncs

    def settle(self, device, statement, records):
        """As in the town, without the checks, which the machine makes after every step that asks the ledger."""
        return self.ledger.settle(self.signer_of(device), statement, records, self.now)

    def take(self, device: Citizen, objects: tuple[bytes, ...], certified: bool) -> int:
        """Hand a settlement to an honest device at once and in order. Returns the loads that it took."""
        loaded = 0
        for data in objects[:-2] if certified else objects:
            before = device.purse.last_load
            try:
                device.send(apdu.PUT, data)
            except RefusedByPeer as refusal:
                allowed = {Resolution.TYPE: (UNKNOWN_TRANSFER,), Load.TYPE: (BALANCE_LIMIT, JOURNAL_FULL)}
                demand(refusal.cause in allowed.get(data[0], ()), f"{device.name} refuses type {data[0]}: {refusal}")
            if data[0] == Load.TYPE and device.purse.last_load != before:
                loaded += Load.decode(data).amount
        if certified:
            device.send(apdu.INSTALL, b"".join(objects[-2:]))
        return loaded


class _First:
    """What `Country.start_over` copies from."""

    def __init__(self):
        country = Country()
        for name, kind, operator, balance in (*PEOPLE, *CHEATS):
            country.admit(Citizen(name, country), kind, operator, balance, 1_000_000)
        self.accounts = country.accounts
        self.operator_of = {device.name: country.operator_of(device) for device in country.devices}
        self.devices = [
            (device.name, device.journal.stored, device.journal.first_seq, device.settings.values)
            for device in country.devices
        ]
        self.backup = sqlite3.connect(":memory:")
        country.database().backup(self.backup)
        country.ledger.close()


@cache
def _first_country() -> _First:
    return _First()
