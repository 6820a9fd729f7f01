"""A small world in memory: a root, operators, devices with real engines and real signatures, and a link between two of
them that fails.

Runs on CPython and on MicroPython. `Device` is what `protocol.card` calls `device`; its journal and settings are all
that survives `restart()`. `meet` joins a reader's tap and a card over a link that loses, repeats or cuts at any
message.
"""

try:
    from host_tools.crypto import Signer, sha256, verify
except ImportError:  # on the device
    from hashlib import sha256 as _sha256

    from crypto.ed25519 import SigningKey as Signer  # pyright: ignore[reportMissingImports]
    from crypto.ed25519 import verify  # pyright: ignore[reportMissingImports]

    def sha256(data):
        return _sha256(data).digest()


from protocol import apdu, effects, info, limits, management, records
from protocol.card import Card
from protocol.errors import LOCKED, MISMATCH, NOT_FOUND, NOT_PERSONALISED, SERVICE, DecodeError, Refused
from protocol.objects import (
    DAY_S,
    MAX_LOAD_MCCS,
    NO_HASH,
    NO_ID,
    OPERATOR_PAYEE,
    SALE,
    TERMINAL,
    WALLET,
    Acknowledgement,
    Certificate,
    Load,
    OperatorCertificate,
    Order,
    Resolution,
    Revocations,
    Statement,
    device_id,
)
from protocol.party import Party
from protocol.payee import Payee, RequestNumbers
from protocol.payer import Payer
from protocol.purse import Purse
from protocol.spread import Spread
from protocol.tap import PAID, SaleTap
from protocol.trust import OPERATORS, Trust

TODAY = 20_000  # 4 October 2024, a Unix day
NOW = TODAY * DAY_S + 3_600
CURRENCY = 156
REFERENCE = b"sale0001"
NO_MCCS = bytes(2 * MAX_LOAD_MCCS)

KINDS = {"wallet": WALLET << 4 | 2, "terminal": TERMINAL << 4, "operator payee": OPERATOR_PAYEE << 4}


def signer(name: str) -> Signer:
    """The same key for the same name, everywhere."""
    return Signer(sha256(name.encode()))


def cause_of(function, *args, **kwargs) -> int:
    """The cause with which `function` refuses; fails if it does not refuse."""
    try:
        function(*args, **kwargs)
    except Refused as refusal:
        return refusal.cause
    raise AssertionError("was not refused")


def raises(kind, function, *args, **kwargs):
    """The exception of type `kind` that `function` raises; fails if it raises none."""
    try:
        function(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError("raised nothing")


class LinkLost(Exception):
    """The other device left the field."""


class PowerCut(Exception):
    """The device died at this write."""


class Operator:
    """A bank: certifies, loads, resolves, orders."""

    def __init__(self, number: int, root: Signer, name: str = "", currency: int = CURRENCY, issue: int = 1):
        self.number = number
        self.key = signer(name or "operator %d" % number)
        self.certificate = OperatorCertificate(
            operator=number,
            issue=issue,
            key=self.key.public,
            currency=currency,
            exponent=2,
            valid_from=TODAY - 100,
            valid_until=TODAY + 1_000,
        ).sign(root.sign)

    def certify(self, key: bytes, kind: int, issue: int = 1, **changes) -> Certificate:
        values = dict(
            operator=self.number,
            key=key,
            issue=issue,
            kind=kind,
            mcc=5411 if kind >> 4 == TERMINAL else 0,
            valid_from=TODAY,
            valid_until=TODAY + limits.CERTIFICATE_DAYS,
            epoch=0,
            base_seq=0,
        )
        values.update(limits.default_limits(kind))
        values.update(changes)
        return Certificate(**values).sign(self.key.sign)

    def acknowledge(self, certificate: Certificate, base_hash: bytes, **changes) -> Acknowledgement:
        values = dict(
            operator=self.number,
            device=device_id(certificate.key, sha256),
            issue=certificate.issue,
            base_seq=certificate.base_seq,
            base_hash=base_hash,
            request_floor=0,
            load_floor=0,
            time=NOW,
        )
        values.update(changes)
        return Acknowledgement(**values).sign(self.key.sign)

    def load(self, device: bytes, number: int, amount: int, **changes) -> Load:
        values = dict(
            operator=self.number,
            device=device,
            number=number,
            amount=amount,
            lot=0,
            lot_valid_until=0,
            lot_mccs=NO_MCCS,
            lot_payee=NO_ID,
        )
        values.update(changes)
        return Load(**values).sign(self.key.sign)

    def resolve(self, payer: bytes, transfer_hash: bytes, outcome: int) -> Resolution:
        values = dict(operator=self.number, payer=payer, transfer=transfer_hash, outcome=outcome)
        return Resolution(**values).sign(self.key.sign)

    def revoke(self, epoch: int, entries: list, since: Revocations | None = None) -> Revocations:
        return revocations(self.key, self.number, epoch, entries, since)

    def order(self, device: bytes, number: int, what: int, argument: int = 0) -> Order:
        values = dict(operator=self.number, device=device, number=number, what=what, argument=argument)
        return Order(**values).sign(self.key.sign)


def revocations(key: Signer, issuer: int, epoch: int, entries: list, since: Revocations | None = None) -> Revocations:
    """A complete list, or the delta to the complete list `since`."""
    values: dict = dict(predecessor=0, predecessor_hash=NO_HASH)
    if since:
        values = dict(predecessor=since.epoch, predecessor_hash=sha256(since.body()))
    return Revocations.of(entries, issuer=issuer, epoch=epoch, **values).sign(key.sign)


class Journal:
    """Records in memory. `fail` makes the next append die: "before" or "after" the record is durable."""

    def __init__(self):
        self.stored: list[bytes] = []
        self.first_seq = 1
        self.capacity_bytes = 1 << 20
        self.fail = ""

    @property
    def head_seq(self) -> int:
        return self.first_seq + len(self.stored) - 1

    def used_bytes(self) -> int:
        return sum([len(data) for data in self.stored])

    def reserve(self, n_records: int, n_bytes: int, promised: bool = False) -> bool:
        return self.used_bytes() + n_bytes <= self.capacity_bytes

    def append(self, record: bytes) -> None:
        assert int.from_bytes(record[:4], "big") == self.head_seq + 1, "seqs must be consecutive"
        assert self.used_bytes() + len(record) <= self.capacity_bytes, "the space was not reserved"
        fail, self.fail = self.fail, ""
        if fail == "before":
            raise PowerCut
        self.stored.append(bytes(record))
        if fail == "after":
            raise PowerCut

    def record(self, seq: int):
        at = seq - self.first_seq
        return self.stored[at] if 0 <= at < len(self.stored) else None

    def records(self, from_seq: int):
        return iter(self.stored[max(0, from_seq - self.first_seq) :])

    def drop_below(self, seq: int) -> None:
        if seq > self.first_seq:
            self.stored = self.stored[seq - self.first_seq :]
            self.first_seq = seq


class Settings:
    """Values that survive a restart, written in one atomic step."""

    def __init__(self):
        self.values: dict = {}
        self.writes = 0

    def get(self, name: str, may_forget: bool = False):
        return self.values.get(name)

    def update(self, values: dict) -> None:
        alone = [name for name in values if name.startswith("revoked ")]
        assert not alone or len(values) == 1, "a list has a file of its own: not one atomic step with others"
        self.writes += 1
        self.values.update(values)


def replay(purse: Purse, stored) -> None:
    """Rebuild a purse from all the records of a journal."""
    for index, data in enumerate(stored):
        purse.take(data, index == 0)
    purse.check_replayed()


class Device:
    """The duck-typed `device` of `protocol.card`, over memory that `restart()` keeps."""

    # None while there is no key; tests of such a device know it, and all others need not ask.
    party: Party
    payer: Payer
    payee: Payee

    def __init__(self, name: str, clock):
        self.name = name
        self._clock = clock
        self.journal = Journal()
        self.settings = Settings()
        self.fault = ""
        self.locked = False  # its owner has not entered the PIN yet
        self.seed_made = False
        self.restart()

    def restart(self) -> None:
        """Power off and on: only journal, settings and key are left."""
        self.fault = ""
        self.events: list = []
        self.party = self.payer = self.payee = None  # pyright: ignore[reportAttributeAccessIssue]
        self._randoms = 0
        if self.seed_made:
            self._use_key()
        self.card = Card(self)

    def _use_key(self) -> None:
        key = signer(self.name)
        purse = Purse(key.public, sha256)
        replay(purse, self.journal.records(self.journal.first_seq))
        self.party = Party(key.public, purse, None, sha256, self._sign, verify, self._clock)
        self.payer = Payer(self.party)
        self.numbers = RequestNumbers(self.settings.values.get("requests", 1), self._save_request_limit)
        self.payee = Payee(self.party, self.numbers, self._find_receipt)
        self.reload_trust()

    def _sign(self, message: bytes) -> bytes:
        if self.locked:
            raise Refused(LOCKED)
        return signer(self.name).sign(message)

    def _save_request_limit(self, limit: int) -> None:
        self.settings.update({"requests": limit})

    def _find_receipt(self, transfer_hash: bytes):
        for stored in self.journal.stored:
            record = records.decode(stored)
            if stored[4] == 0x06 and record.receipt.transfer == transfer_hash:
                return record.receipt
        return None

    @property
    def purse(self) -> Purse:
        return self.party.purse

    @property
    def id(self) -> bytes:
        return self.party.id

    @property
    def flags(self) -> int:
        flags = apdu.OUT_OF_SERVICE if self.fault else 0
        flags |= apdu.LOCKED if self.locked else 0
        if self.party and self.party.trust and self.purse.certificate:
            flags |= apdu.PERSONALISED
            if self.settings.values.get(management.RETIRED):
                flags |= apdu.RETIRED
            if self.settings.values.get(management.CLOSED):
                flags |= apdu.CLOSED
            if self.payee.busy:
                flags |= apdu.BUSY
        return flags

    @property
    def certificate(self) -> Certificate:
        if self.party is None:
            raise Refused(NOT_PERSONALISED)
        return self.party.certificate

    @property
    def order_number(self) -> int:
        return int.from_bytes(self.settings.values.get(management.ORDER_NUMBER, b""), "big")

    def perform(self, wanted: list) -> bytes:
        try:
            return effects.perform(wanted, self.journal, self.settings, self.purse)
        except PowerCut:
            self.fault = "a write failed"
            raise Refused(SERVICE)  # noqa: B904 - MicroPython does not chain

    def generate_key(self, more: bytes = b"") -> bytes:
        if self.party is None:
            self.seed_made = True
            self._use_key()
        return self.party.public_key

    def reload_trust(self) -> None:
        values = self.settings.values
        if management.ROOT in values:
            own = OperatorCertificate.decode(values[management.OWN_OPERATOR])
            trust = Trust(values[management.ROOT], own, sha256, verify, verify)
            trust.restore(self.settings.get)
            self.party.trust = trust

    def unblock_pin(self, argument: int) -> dict:
        """`settings.values["pin"]` is the tries left, there is none without a PIN."""
        if not self.settings.values.get("pin"):
            raise Refused(NOT_FOUND)
        if argument and self.settings.values.get("pin at power-on"):
            raise Refused(MISMATCH)
        return {"pin": b"" if argument else b"\x05"}

    def tidy(self) -> None:
        """What is done while nobody waits."""
        trust = self.party.trust
        if trust and trust.operators_changed:
            self.settings.update({OPERATORS: trust.stored_operators()})
            trust.operators_changed = False
        if self.numbers.low:
            self.numbers.refill()

    def record(self, seq: int):
        return self.journal.record(seq)

    def records(self, from_seq: int):
        return self.journal.records(from_seq)

    def random(self, count: int) -> bytes:
        self._randoms += 1
        return sha256(b"%s %d %d" % (self.name.encode(), self.journal.head_seq, self._randoms))[:count]

    def counters(self) -> bytes:
        return info.Counters(crypto_us=0, storage_us=0, exchanges=0, programs=0, pages=0, erases=0).body()

    def notify(self, event: str, value) -> None:
        self.events.append((event, value))

    # --- what tests ask and do

    def durable(self):
        """Everything that outlives power."""
        return (tuple(self.journal.stored), sorted(self.settings.values.items()), self.journal.first_seq)

    def total(self) -> int:
        """What the device has: to spend, and in doubt."""
        return self.purse.balance + self.purse.in_doubt_sum

    def send(self, ins: int, data: bytes = b"", p1: int = 0) -> bytes:
        """A host's command, chained as needed; the response data. Raises `RefusedByPeer`."""
        self.select()
        answer = b""
        for raw in apdu.chained(ins, data) if not p1 else [apdu.command(ins, data, p1=p1)]:
            answer = self.card.process(raw)
            self.card.after()
        data = apdu.parse_response(answer)
        while answer[-2] == apdu.SW_MORE >> 8:
            answer = self.card.process(apdu.command(apdu.GET_RESPONSE, cla=apdu.CLA_ISO))
            data += apdu.parse_response(answer)
        return data

    def select(self) -> bytes:
        return apdu.parse_response(self.card.process(apdu.select(apdu.AID)))

    def open(self, amount: int, purpose: int = SALE) -> bytes:
        """A person asks for money here: the Request's bytes."""
        return self.perform(self.payee.open(amount, purpose, REFERENCE, self.random(8), by_user=True))


class World:
    """A root, its operators and devices, and one clock (`now`, Unix seconds) that tests move."""

    def __init__(self):
        self.now = NOW
        self.root = signer("root")
        self.operator = Operator(1, self.root)
        self.devices: list[Device] = []

    def clock(self) -> int:
        return self.now

    def blank(self, name: str) -> Device:
        return Device(name, self.clock)

    def personalisation(self, device: Device, kind: int, operator: Operator | None = None, **changes) -> bytes:
        """PERSONALISE's data for a device that has its key."""
        operator = operator or self.operator
        certificate = operator.certify(device.party.public_key, kind, **changes)
        acknowledgement = operator.acknowledge(certificate, records.genesis(certificate.key, sha256))
        objects = operator.certificate.encode() + certificate.encode() + acknowledgement.encode()
        return self.root.public + objects

    def device(
        self, name: str, kind: str = "wallet", balance: int = 0, operator: Operator | None = None, **changes
    ) -> Device:
        """A personalised device; `changes` go into its Certificate."""
        device = self.blank(name)
        device.generate_key()
        device.send(apdu.PERSONALISE, self.personalisation(device, KINDS[kind], operator, **changes))
        if balance:
            device.send(apdu.PUT, (operator or self.operator).load(device.id, 1, balance).encode())
        device.events.clear()
        self.devices.append(device)
        return device

    def total(self) -> int:
        """All the money there is, once no Transfer is in doubt at a payer whose payee has credited it."""
        return sum([device.total() for device in self.devices])

    def sync(self, device: Device, **changes) -> Certificate:
        """Statement, then a new Certificate and Acknowledgement with the head as base, as the ledger would answer."""
        statement = Statement.decode(device.send(apdu.STATEMENT, bytes(16)))
        certificate, acknowledgement = self.base_for(device, statement, **changes)
        device.send(apdu.INSTALL, certificate.encode() + acknowledgement.encode())
        return certificate

    def base_for(self, device: Device, statement: Statement, **changes):
        own = device.certificate
        values = dict(base_seq=statement.seq, valid_from=self.now // DAY_S, valid_until=self.now // DAY_S + 90)
        values.update(changes)
        certificate = self.operator.certify(own.key, own.kind, own.issue + 1, **values)
        acknowledgement = self.operator.acknowledge(
            certificate,
            statement.head,
            request_floor=statement.watermark,
            load_floor=statement.load_floor,
            time=self.now,
        )
        return certificate, acknowledgement


class Link:
    """Carries messages between a reader and a card, numbered 0, 1, 2...: even ones are commands, odd ones responses.

    `cut_at` n: message n never arrives and nothing after it. `repeat` carries every command twice, as a radio does
    after a lost response that the card's block protocol could not re-send. `lose_power` also restarts the card where
    the cut is, before its deferred work.
    """

    def __init__(self, cut_at: int = -1, repeat: bool = False, lose_power: bool = False):
        self.cut_at = cut_at
        self.repeat = repeat
        self.lose_power = lose_power
        self.carried = 0

    def _carry(self, card: Device) -> None:
        if self.carried == self.cut_at:
            if self.lose_power:
                card.restart()
            card.card.reset()
            raise LinkLost
        self.carried += 1

    def exchange(self, command: bytes, card: Device) -> bytes:
        self._carry(card)
        response = b""
        for _ in range(2 if self.repeat else 1):
            response = card.card.process(command)
            if self.carried != self.cut_at or not self.lose_power:
                card.card.after()
        self._carry(card)
        return response


def meet(tap, card: Device, link: Link | None = None):
    """One tap to its end. Raises what ended it early: `LinkLost`, `Refused`, `DecodeError`."""
    link = link or Link()
    while True:
        command = tap.command()
        if command is None:
            break
        if len(command) > 255 + 6:
            raise AssertionError("no short APDU")
        response = link.exchange(command, card)
        tap.meanwhile()
        tap.response(response)
    tap.after()
    card.card.reset()
    return tap


def spread(tap, card: Device, link: Link | None = None) -> Spread:
    """What follows a tap that is decided, as `apps.collect` does it: nothing comes out of a lost link or a lie."""
    link = link or Link()
    this = Spread(tap._party, tap._perform, tap.card, *tap.epochs, may_evict=tap.moved == PAID)
    try:
        card.select()
        while True:
            command = this.command()
            if command is None:
                break
            this.response(link.exchange(command, card))
    except (LinkLost, Refused, DecodeError):
        pass
    card.card.reset()
    return this


def sale_tap(terminal: Device) -> SaleTap:
    return SaleTap(terminal.party, terminal.perform, terminal.payee)


def sale(terminal: Device, wallet: Device, amount: int, purpose: int = SALE, link: Link | None = None):
    """Ask for `amount` and tap once."""
    terminal.open(amount, purpose)
    return meet(sale_tap(terminal), wallet, link)
