"""protocol.tap: whom a reader meets, and hostile cards. Runs on MicroPython too."""

from protocol import apdu
from protocol.errors import (
    BAD_CERTIFICATE,
    EXPIRED,
    LOCKED,
    MISMATCH,
    NOT_PERSONALISED,
    OTHER_CURRENCY,
    REQUEST_OPEN,
    RETIRED,
    REVOKED,
    SERVICE,
    TOO_LONG_OFFLINE,
    UNKNOWN_OPERATOR,
    WRONG_PARTY,
    DecodeError,
    Refused,
    RefusedByPeer,
    name_of,
)
from protocol.objects import DAY_S, PERSON, REFUND, RETIRE, Certificate, Receipt, Void
from protocol.tap import NOT_PAID, PAID, TAP_AGAIN, Payment
from tests.unit.taps import EVERYTHING, friends, give, next_command, payment_tap, shop, torn
from tests.unit.world import REFERENCE, TODAY, Operator, World, cause_of, meet, raises, sale, sale_tap, sha256, signer

# --- whom a reader meets


def test_rule_the_reader_judges_the_card_before_money_is_asked_for():
    cases = (
        (REVOKED, {}, lambda world, terminal, card: terminal.send(apdu.PUT, revoked(world, card))),
        (EXPIRED, {"valid_until": TODAY + 1}, lambda world, terminal, card: later(world)),
        (TOO_LONG_OFFLINE, {"days_limit": 1}, lambda world, terminal, card: later(world)),
        (LOCKED, {}, lambda world, terminal, card: lock(card)),
    )
    for cause, changes, spoil in cases:
        for reader_pays in (False, True):
            if reader_pays and cause == TOO_LONG_OFFLINE:
                continue  # a matter of payers
            world, terminal, wallet = shop(**changes)
            sale(terminal, world.device("customer", balance=5_000), 5_000)
            spoil(world, terminal, wallet)
            before = (wallet.durable(), terminal.durable())
            if reader_pays:
                tap = payment_tap(terminal, Payment(100, REFUND, REFERENCE))
            else:
                terminal.open(100)
                before = (wallet.durable(), terminal.durable())
                tap = sale_tap(terminal)
            assert cause_of(meet, tap, wallet) == cause
            assert (tap.exchanges, tap.moved) == (["select"], NOT_PAID)
            assert (wallet.durable(), terminal.durable()) == before


def revoked(world, card):
    return world.operator.revoke(1, [(card.id, 2)]).encode()


def later(world):
    world.now += 2 * DAY_S


def lock(card):
    card.locked = True


def test_rule_a_card_signs_no_request_for_a_reader_too_long_without_a_sync():
    world = World()
    payer, payee = world.device("payer", balance=500, days_limit=1), world.device("payee")
    later(world)
    before = (payer.durable(), payee.durable())
    assert cause_of(give, payer, payee, 5) == TOO_LONG_OFFLINE
    assert (payer.durable(), payee.durable()) == before
    assert cause_of(sale, payee, payer, 5, PERSON) == TOO_LONG_OFFLINE


def test_a_tap_knows_what_the_card_said_of_its_lists():
    world, terminal, wallet = shop()
    wallet.send(apdu.PUT, world.operator.revoke(3, []).encode())
    assert sale(terminal, wallet, 5).epochs == (3, 0)
    terminal.open(5)
    assert sale_tap(terminal).epochs == ()


def test_rule_the_reader_judges_the_class_before_money_is_asked_for():
    world, terminal, wallet = shop()
    other = world.device("other terminal", "terminal", balance=5_000)
    bank = world.device("bank", "operator payee")
    wallet.open(10, PERSON)
    for tap, card in (
        (sale_tap(wallet), other),  # a terminal does not pay a person
        (sale_tap(wallet), bank),
        (payment_tap(terminal, Payment(10, REFUND, REFERENCE)), other),  # a refund goes to a wallet
        (payment_tap(wallet, Payment(10, PERSON, REFERENCE)), other),
    ):
        assert cause_of(meet, tap, card) == WRONG_PARTY
        assert tap.exchanges == ["select"]


def test_a_card_that_cannot_pay_says_so_at_the_first_exchange():
    world, terminal, wallet = shop()
    terminal.open(10)
    blank = world.blank("blank")
    assert cause_of(meet, sale_tap(terminal), blank) == NOT_PERSONALISED
    broken = world.device("broken")
    broken.fault = "journal corrupt"
    assert cause_of(meet, sale_tap(terminal), broken) == SERVICE
    wallet.send(apdu.PUT, world.operator.order(wallet.id, 1, RETIRE).encode())
    assert cause_of(meet, sale_tap(terminal), wallet) == RETIRED


def test_an_unknown_operator_costs_one_more_exchange_once_on_each_side():
    world, terminal, _ = shop()
    other = Operator(2, world.root)
    foreign = world.device("foreign", balance=5_000, operator=other)
    tap = sale(terminal, foreign, 100)
    assert tap.exchanges == ["select", "operators", "pay", "confirm"]
    assert sale(terminal, foreign, 100).exchanges == ["select", "pay", "confirm"]
    tap = give(terminal, foreign, 50, REFUND)
    assert tap.exchanges == ["select", "request", "transfer"]
    assert (terminal.purse.balance, foreign.purse.balance) == (150, 4_850)


def test_an_unknown_operator_when_the_reader_pays():
    world, payer, _ = friends()
    foreign = world.device("foreign", operator=Operator(2, world.root))
    tap = give(payer, foreign, 100)
    assert tap.exchanges == ["select", "operators", "request", "transfer"]
    assert tap.moved == PAID


def test_an_operator_of_another_root_or_currency_is_no_operator():
    world, terminal, _ = shop()
    terminal.open(100)
    euro = world.device("euro", balance=500, operator=Operator(3, world.root, currency=978))
    assert cause_of(meet, sale_tap(terminal), euro) == OTHER_CURRENCY
    elsewhere = World()
    elsewhere.root = signer("nobody")
    elsewhere.operator = Operator(4, elsewhere.root)
    stranger = elsewhere.device("stranger", balance=500)
    tap = sale_tap(terminal)
    assert cause_of(meet, tap, stranger) == BAD_CERTIFICATE
    assert tap.exchanges == ["select", "operators"]


def test_a_forged_certificate_of_a_card_is_never_credited():
    _world, terminal, wallet = shop()
    terminal.open(100)
    tap = sale_tap(terminal)
    tap.response(wallet.card.process(next_command(tap)))
    tap.card = Certificate.decode(tap.card.encode()[:-1] + b"\x00")
    response = wallet.card.process(next_command(tap))
    assert cause_of(tap.response, response) == BAD_CERTIFICATE
    assert (tap.moved, terminal.purse.balance) == (TAP_AGAIN, 0)


def test_a_card_that_a_person_uses_signs_no_request_for_a_reader():
    _, payer, payee = friends()
    payee.open(5, PERSON)
    assert cause_of(give, payer, payee, 10) == REQUEST_OPEN
    assert payee.payee.request.amount == 5


def test_a_card_that_answers_another_request_is_refused():
    for changes in ({"amount": 101}, {"purpose": REFUND}, {"reference": b"another."}):
        _, payer, payee = friends()
        tap = payment_tap(payer, Payment(100, PERSON, REFERENCE))
        tap.response(payee.card.process(next_command(tap)))
        tap.command()
        values = {"amount": 100, "purpose": PERSON, "reference": REFERENCE}
        values.update(changes)
        wanted = payee.payee.open(values["amount"], values["purpose"], values["reference"], bytes(8), payer.certificate)
        assert cause_of(tap.response, apdu.respond(payee.perform(wanted))) == MISMATCH
        assert payer.purse.balance == 50_000


def test_evidence_about_another_transfer_is_refused():
    _, payer, payee = friends()
    tap = payment_tap(payer, Payment(100, PERSON, REFERENCE))
    while tap.stage != "transfer":
        tap.response(payee.card.process(next_command(tap)))
    tap.command()
    for other in (Void(transfer=b"x" * 32), Receipt(seq=9, previous=bytes(32), transfer=b"x" * 32)):
        assert cause_of(tap.response, apdu.respond(other.sign(payee.party.sign).encode())) == MISMATCH
    assert payer.purse.in_doubt_sum == 100


def test_a_void_of_another_payment_does_not_settle_this_one():
    _, payer, payee = friends()
    torn(payment_tap(payer, Payment(1_000, PERSON, REFERENCE)), payee, 4, False, False)
    tap = payment_tap(payer, Payment(10, PERSON, REFERENCE))
    tap.response(payee.card.process(next_command(tap)))
    assert tap.stage == "settle older"
    tap.command()
    other = Void(transfer=b"x" * 32).sign(payee.party.sign).encode()
    assert cause_of(tap.response, apdu.respond(other)) == MISMATCH
    assert payer.purse.in_doubt_sum == 1_000


# --- hostile cards


def garbage(n):
    """The n-th of many wrong responses."""
    stream = sha256(b"garbage %d" % n) * 8
    length = (0, 1, 2, 3, 4, 9, 100, 147, 196, 256, 258, 300)[n % 12]
    data = (stream * 2)[:length]
    return data if n % 3 else data[: max(length - 2, 0)] + b"\x90\x00"


def test_hostile_answers_never_break_a_reader_and_never_credit():
    for stage in range(3):
        for n in range(0, 36, 1 if EVERYTHING else 11):
            _, terminal, wallet = shop()
            terminal.open(100)
            tap = sale_tap(terminal)
            for _ in range(stage):
                tap.response(wallet.card.process(next_command(tap)))
            paid = terminal.purse.balance
            tap.command()
            try:
                tap.response(garbage(n))
            except (Refused, DecodeError):
                pass
            assert terminal.purse.balance == paid == (100 if stage == 2 else 0)
            assert (tap.moved == PAID) == (stage == 2)


def test_hostile_answers_never_make_a_paying_reader_pay_twice_or_believe_it_has_not():
    for stage in range(3):
        for n in range(0, 36, 1 if EVERYTHING else 11):
            _, payer, payee = friends()
            payment = Payment(100, PERSON, REFERENCE)
            tap = payment_tap(payer, payment)
            for _ in range(stage):
                tap.response(payee.card.process(next_command(tap)))
            tap.command()
            try:
                tap.response(garbage(n))
            except (Refused, DecodeError):
                pass
            assert payer.purse.in_doubt_sum == (100 if stage == 2 else 0)
            assert tap.moved == (TAP_AGAIN if stage == 2 else NOT_PAID)
            assert payer.total() == 50_000


def test_a_foreign_card_is_not_one_of_ours():
    _, terminal, _ = shop()
    terminal.open(100)
    for answer, cause in ((b"\x6a\x82", "not found"), (b"\x6d\x00", "unknown command"), (b"\x6e\x00", "unknown class")):
        tap = sale_tap(terminal)
        tap.command()
        assert name_of(raises(RefusedByPeer, tap.response, answer).cause) == cause


def test_unknown_operator_twice_is_a_refusal():
    world, terminal, _ = shop()
    foreign = world.device("foreign", balance=5_000, operator=Operator(2, world.root))
    terminal.open(100)
    tap = sale_tap(terminal)
    for _ in range(2):
        tap.response(foreign.card.process(next_command(tap)))
    tap.command()
    assert tap.stage == "pay"
    assert cause_of(tap.response, apdu.refusal(UNKNOWN_OPERATOR)) == UNKNOWN_OPERATOR
    assert tap.moved == NOT_PAID
