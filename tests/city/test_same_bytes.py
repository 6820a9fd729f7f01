"""The city's devices beside the protocol's own engine: the same keys and the same events give the same journals.

Each pair of a real device (`tests.ledger.world`, the code that the firmware runs) and a city's device lives through the
same taps, torn taps and syncs with one ledger; after each of them the stored records are compared byte for byte.
"""

from random import Random

import pytest

from host_tools.city import encoding
from host_tools.city.device import Device as CityDevice
from host_tools.city.lists import Lists
from host_tools.city.taps import Tap, Torn, spread
from host_tools.crypto import sha256
from protocol import apdu, objects, records
from protocol.errors import CONFIRM, Refused, name_of
from protocol.layout import Layout
from protocol.limits import check_payment, needs_confirmation
from protocol.objects import PERSON, REFUND, SALE, Statement, Transfer
from protocol.tap import Payment, PaymentTap
from tests.ledger.world import Link, Town, clone, meet, sale_tap
from tests.unit import world
from tests.unit.world import CURRENCY, KINDS, REFERENCE, LinkLost

LAYOUTS = [
    kind
    for module in (objects, records)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Layout) and kind.FIELDS and kind is not objects.Revocations
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiled_layout_writes_the_bytes_that_the_protocol_reads(layout):
    random = Random(layout.TYPE)
    for _ in range(200):
        values = {
            name: random.randbytes(-size) if size < 0 else random.randrange(1 << random.randint(0, 8 * size))
            for name, size in layout.FIELDS
        }
        body = encoding.compiled(layout)(*values.values())
        assert len(body) == layout.body_size()
        assert body[:2] == bytes((layout.TYPE, 1))
        at = 2
        for name, size in layout.FIELDS:
            field = body[at : at + abs(size)]
            assert (field if size < 0 else int.from_bytes(field, "big")) == values[name]
            at += abs(size)


class Pair:
    """A device of the protocol's engine, and the city's with the same key."""

    last_random = bytes(8)  # of the real device's last Request

    def __init__(self, town: Town, name: str, kind: str, balance: int, operator: int):
        self.real = world.Device(name, town.clock)
        self.city = CityDevice(sha256(name.encode()), Lists())
        self._town = town
        self._key = town.operators[operator].key.public
        key = self.real.generate_key()
        bank = town.operators[operator]
        town._operator_of[name] = operator
        account = town.ledger.open_account(operator, name)
        town.ledger.issue(account, 100_000_000, town.now)
        mcc = 5411 if kind == "terminal" else 0
        pair = town.ledger.register_device(bank.key, operator, key, KINDS[kind], mcc, account, name, town.now)
        objects_ = b"".join(signed.encode() for signed in pair)
        self.real.send(apdu.PERSONALISE, town.root.public + bank.certificate.encode() + objects_)
        self.city.install(*pair, self._key)
        if balance:
            town.ledger.order_load(bank.key, self.real.id, balance, town.now)

    @classmethod
    def of_copies(cls, other: "Pair") -> "Pair":
        twin = object.__new__(cls)
        twin.__dict__.update(other.__dict__)
        twin.real, twin.city = clone(other.real), other.city.copy()
        return twin

    @property
    def now(self) -> int:
        return self._town.now

    def sync(self) -> None:
        town = self._town
        self.real.payee.close()
        nonce, first = town.ledger.begin_sync(self.city.id, town.now)
        statement = self.real.send(apdu.STATEMENT, nonce)
        assert self.city.statement(nonce, town.now) == statement
        head = Statement.decode(statement).seq
        wanted = range(max(first, self.real.journal.first_seq), head + 1)
        uploaded = [self.real.send(apdu.JOURNAL, seq.to_bytes(4, "big")) for seq in wanted]
        assert self.city.records_from(first) == uploaded
        settlement = town.settle(self.real, statement, uploaded)
        town.install(self.real, settlement)
        self.city.take(settlement.objects, self._key)
        self.check()

    def check(self) -> None:
        real, city = self.real, self.city
        assert city.journal == real.journal.stored
        assert city.journal_first == real.journal.first_seq
        assert (city.head_seq, city.head_hash) == (real.purse.head_seq, real.purse.head_hash)
        assert (city.balance, city.cumulative) == (real.purse.balance, real.purse.cumulative)
        assert (city.unconfirmed, city.load_floor) == (real.purse.unconfirmed, real.purse.load_floor)
        assert [debit.hash for debit in city.in_doubt] == [debit.hash for debit in real.purse.in_doubt]
        assert city.next_number == real.numbers.next
        assert list(city.payers) == [known[0] for known in real.purse._payers]
        assert city.lists.epoch(city.certificate.operator) == real.party.trust.epoch


UNTORN = Torn.NOWHERE
CUTS = {Torn.BEFORE_CREDIT: 3, Torn.BEFORE_CONFIRM: 4}  # of a sale; the reader's own payment is one message later


def pay(payer: Pair, payee: Pair, amount: int, purpose: int, torn: Torn) -> str:
    """One tap on both sides of the comparison. Returns what the engine said of it."""
    said = real_tap(payer, payee, amount, purpose, torn)
    random = payee.last_random + REFERENCE
    assert city_tap(payer, payee, amount, purpose, random, torn) == said
    if not said:
        real_spread(payer, payee, purpose)
    for pair in (payer, payee):
        pair.check()
    return said


def pays_at_once(payer: Pair, payee: Pair, amount: int) -> bool:
    """Whether the third message of a tap is the Transfer of a new payment: that is where torn ones are cut."""
    try:
        check_payment(payer.city, payer.city.certificate, amount, payer.now)
    except Refused:
        return False
    return all(debit.payee != payee.city.id for debit in payer.city.in_doubt)


def city_tap(payer: Pair, payee: Pair, amount: int, purpose: int, random: bytes, torn: Torn) -> str:
    try:
        Tap(CURRENCY).pay(payer.city, payee.city, amount, purpose, random, payer.now, torn)
    except Refused as refusal:
        return name_of(refusal.cause)
    return "torn" if torn in CUTS else ""


def real_spread(payer, payee, purpose):
    reader, card = (payee, payer) if purpose == SALE else (payer, payee)
    tap = sale_tap(reader.real) if purpose == SALE else None
    if tap is not None:
        tap.card, tap.epochs = card.real.certificate, apdu.decode_hello(card.real.select())[1:3]
        world.spread(tap, card.real)
        spread(reader.city, card.city)


def real_tap(payer, payee, amount, purpose, torn):
    random = payee.real.random
    payee.last_random = bytes(8)

    def remembered(count):
        payee.last_random = random(count)
        return payee.last_random

    payee.real.random = remembered
    try:
        link = Link(cut_at=CUTS[torn] + (purpose != SALE)) if torn in CUTS else None
        if purpose != SALE:
            payment = Payment(amount, purpose, REFERENCE)
            meet(PaymentTap(payer.real.party, payer.real.perform, payer.real.payer, payment), payee.real, link)
            return ""
        payee.real.open(amount)
        if needs_confirmation(payer.real.purse, payer.real.certificate, amount):
            try:
                meet(sale_tap(payee.real), payer.real)
            except Refused as refusal:
                if refusal.cause != CONFIRM:
                    raise
            payer.real.payer.approve()
        meet(sale_tap(payee.real), payer.real, link)
        return ""
    except LinkLost:
        payee.real.payee.close()
        return "torn"
    except Refused as refusal:
        payee.real.payee.close()
        return name_of(refusal.cause)
    finally:
        payee.real.random = random


@pytest.fixture
def town(tmp_path):
    town = Town(tmp_path)
    yield town
    town.ledger.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_life_of_taps_and_syncs_writes_the_journals_of_the_protocols_engine(town, seed):
    random = Random(seed)
    wallets = [Pair(town, f"wallet {i}", "wallet", 1_000_000, 1 + i % 2) for i in range(4)]
    shops = [Pair(town, f"shop {i}", "terminal", 0, 1 + i % 2) for i in range(2)]
    everybody = wallets + shops
    met = [real.real.party.trust for real in everybody]
    for trust in met:  # both operators are known, as after the first tap between their devices
        for operator in town.operators.values():
            trust.add_operator(operator.certificate)
    for pair in everybody:
        pair.sync()
    said: set[str] = set()
    torn_taps = 0
    for _ in range(100):
        town.now += random.randint(1, 7_200)
        what = random.random()
        if what < 0.15:
            random.choice(everybody).sync()
            continue
        payer = random.choice(wallets)
        payee, purpose = random.choice(shops), SALE
        if what < 0.25:
            payee, purpose = random.choice([wallet for wallet in wallets if wallet is not payer]), PERSON
        elif what < 0.35:
            payer, payee, purpose = random.choice(shops), payer, REFUND
        amount = random.choice((random.randint(1, 5_000), random.randint(1, 600_000)))
        torn = random.choice(list(CUTS)) if random.random() < 0.25 and pays_at_once(payer, payee, amount) else UNTORN
        torn_taps += torn is not UNTORN
        said.add(pay(payer, payee, amount, purpose, torn))
    for pair in everybody + everybody:
        pair.sync()
    assert {"", "torn"} < said, "some must be paid, torn and refused"
    assert torn_taps > 10


def test_two_copies_of_a_wallet_write_what_two_copies_of_the_engine_write(town):
    wallet = Pair(town, "wallet", "wallet", 500_000, 1)
    shops = [Pair(town, f"shop {i}", "terminal", 0, 1) for i in range(2)]
    other = Pair(town, "other", "wallet", 500_000, 1)
    for pair in (wallet, other, *shops):
        pair.sync()
    pay(wallet, shops[0], 1_000, SALE, UNTORN)
    twin = Pair.of_copies(wallet)
    pay(other, twin, 300, PERSON, UNTORN)
    pay(wallet, shops[0], 2_000, SALE, UNTORN)
    pay(twin, shops[0], 2_500, SALE, UNTORN)  # the shop remembers the other copy: a Void
    pay(twin, shops[1], 2_500, SALE, UNTORN)
    assert twin.city.journal is not None and twin.city.journal[-3][4] == 0x21
    for pair in (other, *shops):
        pair.sync()
    assert town.frozen(wallet.real)
    shops[1].sync()
    assert pay(wallet, shops[1], 100, SALE, UNTORN) == "revoked"
    assert pay(wallet, other, 100, PERSON, UNTORN) == "", "it has not heard"
    other.sync()
    assert pay(wallet, other, 100, PERSON, UNTORN) == "revoked"
    journal = wallet.city.journal or []
    assert Transfer.decode(journal[-2][4 : 4 + Transfer.size()]).payee == other.city.id
