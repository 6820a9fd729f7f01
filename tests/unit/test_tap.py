"""protocol.tap with protocol.card: whole taps, torn at every message, both ways round. Runs on MicroPython too."""

import sys

from protocol import apdu, limits
from protocol.errors import (
    ASK_LEDGER,
    BAD_CERTIFICATE,
    CONFIRM,
    EXPIRED,
    INSUFFICIENT_BALANCE,
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
    LocalError,
    Refused,
    RefusedByPeer,
    name_of,
)
from protocol.objects import (
    CASH_OUT,
    DAY_S,
    PERSON,
    REDEEM,
    REFUND,
    RETIRE,
    Certificate,
    Receipt,
    Transfer,
    Void,
)
from protocol.states import CLOSED, CREDITED, DONE
from protocol.tap import NOT_PAID, PAID, TAP_AGAIN, Payment, PaymentTap
from tests.unit.world import (
    REFERENCE,
    TODAY,
    Link,
    LinkLost,
    Operator,
    World,
    cause_of,
    meet,
    raises,
    sale,
    sale_tap,
    sha256,
    signer,
)

EVERYTHING = sys.implementation.name == "cpython"


def shop(balance=50_000, **changes):
    world = World()
    return world, world.device("terminal", "terminal"), world.device("wallet", balance=balance, **changes)


def friends():
    """A world and two wallets, the first one with money."""
    world = World()
    return world, world.device("payer", balance=50_000), world.device("payee", balance=500)


def payment_tap(reader, payment):
    return PaymentTap(reader.party, reader.perform, reader.payer, payment)


def next_command(tap) -> bytes:
    """The command of a tap that is not over."""
    command = tap.command()
    assert command is not None
    return command


def give(reader, card, amount, purpose=PERSON, link=None):
    """The reader pays the card in one tap."""
    return meet(payment_tap(reader, Payment(amount, purpose, REFERENCE)), card, link)


# --- whole taps


def test_a_sale_takes_three_exchanges():
    world, terminal, wallet = shop()
    tap = sale(terminal, wallet, 1_000)
    assert tap.exchanges == ["select", "pay", "confirm"]
    assert (tap.moved, tap.stage) == (PAID, DONE)
    assert (terminal.purse.balance, wallet.purse.balance, wallet.purse.in_doubt) == (1_000, 49_000, [])
    assert [event for event, _ in wallet.events] == ["debited", "closed"]


def test_a_terminal_pays_back_by_reading_the_card():
    for purpose in (REFUND, CASH_OUT):
        world, terminal, wallet = shop()
        sale(terminal, wallet, 1_000)
        tap = give(terminal, wallet, 400, purpose)
        assert tap.exchanges == ["select", "request", "transfer"]
        assert tap.moved == PAID
        assert (terminal.purse.balance, wallet.purse.balance) == (600, 49_400)
        assert terminal.purse.in_doubt == []


def test_wallet_pays_wallet_whoever_reads():
    _, payer, payee = friends()
    assert give(payer, payee, 700).moved == PAID
    assert sale(payee, payer, 300, PERSON).moved == PAID
    assert (payer.purse.balance, payee.purse.balance) == (49_000, 1_500)


def test_a_wallet_redeems_at_its_operator_s_payee():
    world, _, wallet = shop()
    bank = world.device("bank", "operator payee")
    assert sale(bank, wallet, 50_000, REDEEM).moved == PAID
    assert (wallet.purse.balance, bank.purse.balance) == (0, 50_000)


def test_many_payments_conserve_money_across_syncs_and_restarts():
    world, terminal, wallet = shop()
    friend = world.device("friend")
    for n in range(1, 13):
        sale(terminal, wallet, n)
        give(wallet, friend, 2 * n)
        give(terminal, wallet, n, REFUND)
        device = (terminal, wallet, friend)[n % 3]
        if n % 2:
            world.sync(device)
        device.restart()
    assert (terminal.purse.balance, friend.purse.balance, wallet.purse.balance) == (0, 156, 49_844)
    assert world.total() == 50_000


# --- torn taps


def cuts(n_messages):
    """Every way a tap of so many messages can end early. MicroPython takes every message, but only one way at each."""
    for cut_at in range(n_messages):
        if EVERYTHING:
            for repeat in (False, True):
                for lose_power in (False, True):
                    yield cut_at, repeat, lose_power
        else:
            yield cut_at, cut_at % 4 > 1, cut_at % 2 == 1


def torn(tap, card, cut_at, repeat, lose_power):
    raises(LinkLost, meet, tap, card, Link(cut_at, repeat, lose_power))
    return tap


def test_torn_sale_tapped_again_is_paid_exactly_once():
    for cut in cuts(6):
        _, terminal, wallet = shop()
        request = terminal.open(1_000)
        tap = torn(sale_tap(terminal), wallet, *cut)
        assert tap.moved == (PAID if cut[0] >= 4 else TAP_AGAIN if cut[0] >= 2 else NOT_PAID)
        assert terminal.payee.request.encode() == request
        again = meet(sale_tap(terminal), wallet) if tap.moved != PAID or wallet.purse.in_doubt else tap
        assert again.moved == PAID
        assert (terminal.purse.balance, wallet.purse.balance, wallet.purse.in_doubt) == (1_000, 49_000, []), cut


def test_torn_sale_that_is_cancelled_gives_the_money_back_or_has_it():
    for cut in cuts(6):
        _, terminal, wallet = shop()
        terminal.open(1_000)
        torn(sale_tap(terminal), wallet, *cut)
        terminal.payee.close()
        paid = terminal.payee.state == CREDITED
        assert paid == (cut[0] >= 4)
        # A later sale to the same wallet settles the older one first, then is paid itself.
        older = bool(wallet.purse.in_doubt)
        tap = sale(terminal, wallet, 77)
        assert (tap.moved, tap.earlier) == (PAID, 0)
        assert ("settle older" in tap.exchanges) == older
        expected = 1_077 if paid else 77
        assert (terminal.purse.balance, wallet.purse.balance, wallet.purse.in_doubt) == (
            expected,
            50_000 - expected,
            [],
        )


def test_torn_sale_whose_terminal_loses_power_heals_at_the_next_sale():
    for cut in cuts(6):
        _, terminal, wallet = shop()
        terminal.open(1_000)
        torn(sale_tap(terminal), wallet, *cut)
        credited = terminal.purse.balance
        terminal.restart()
        assert terminal.purse.balance == credited == (1_000 if cut[0] >= 4 else 0)
        unseen = bool(credited and wallet.purse.in_doubt)
        tap = sale(terminal, wallet, 77)
        assert bool(tap.earlier) == unseen
        if tap.earlier:  # nobody saw the first payment arrive: nobody pays again before being told
            assert (tap.earlier, tap.moved, terminal.purse.balance) == (1_000, NOT_PAID, credited)
            tap = meet(sale_tap(terminal), wallet)
        assert tap.moved == PAID
        assert (terminal.purse.balance, wallet.purse.balance) == (credited + 77, 50_000 - credited - 77)
        assert wallet.purse.in_doubt == []


def test_a_tap_torn_again_and_again_still_pays_once():
    _, terminal, wallet = shop()
    terminal.open(1_000)
    for cut in cuts(5):
        torn(sale_tap(terminal), wallet, *cut)
    assert meet(sale_tap(terminal), wallet).moved == PAID
    assert (terminal.purse.balance, wallet.purse.balance, wallet.purse.in_doubt) == (1_000, 49_000, [])


def test_a_healing_tap_may_be_torn_at_every_message_too():
    for cut in cuts(10):
        _, terminal, wallet = shop()
        terminal.open(1_000)
        torn(sale_tap(terminal), wallet, 3, False, False)
        terminal.payee.close()
        terminal.open(77)
        # select, pay (older), settle older, pay, confirm
        torn(sale_tap(terminal), wallet, *cut)
        while wallet.purse.in_doubt or terminal.purse.balance == 0:
            meet(sale_tap(terminal), wallet)
        assert (terminal.purse.balance, wallet.purse.balance) == (77, 49_923)


def test_torn_payment_tapped_again_is_paid_exactly_once():
    for cut in cuts(6):
        _, payer, payee = friends()
        payment = Payment(1_000, PERSON, REFERENCE)
        tap = torn(payment_tap(payer, payment), payee, *cut)
        assert tap.moved == (TAP_AGAIN if cut[0] >= 4 else NOT_PAID)
        credited = payee.purse.balance == 1_500
        assert credited == (cut[0] == 5)
        tap = payment_tap(payer, payment)
        meet(tap, payee)
        # The card lost its open Request with its power: it voids the first Transfer, and the same tap pays again.
        assert tap.moved == PAID
        assert (payer.purse.balance, payee.purse.balance, payer.purse.in_doubt) == (49_000, 1_500, []), cut


def test_torn_payment_whose_payer_loses_power_is_settled_before_the_next_one():
    for cut in cuts(6):
        _, payer, payee = friends()
        torn(payment_tap(payer, Payment(1_000, PERSON, REFERENCE)), payee, *cut)
        payer.restart()
        older = len(payer.purse.in_doubt)
        assert older == (cut[0] >= 4)
        tap = give(payer, payee, 10)
        assert tap.exchanges.count("settle older") == older
        if tap.earlier:
            assert (tap.earlier, tap.moved, payee.purse.balance) == (1_000, NOT_PAID, 1_500)
            tap = give(payer, payee, 10)
        assert tap.moved == PAID
        assert payer.purse.balance + payee.purse.balance == 50_500
        assert payee.purse.balance in (510, 1_510)
        assert payer.purse.in_doubt == []


def test_rule_a_settling_tap_may_be_torn_at_every_message_too():
    for cut in cuts(8):
        _, payer, payee = friends()
        payment = Payment(1_000, PERSON, REFERENCE)
        torn(payment_tap(payer, payment), payee, 4, False, True)  # committed here, the card has forgotten its Request
        tap = payment_tap(payer, payment)
        torn(tap, payee, *cut)
        while tap.moved != PAID:
            tap = meet(payment_tap(payer, payment), payee)
        assert (payer.purse.balance, payee.purse.balance, payer.purse.in_doubt) == (49_000, 1_500, []), cut


def test_a_receipt_is_checked_after_the_tap_and_a_bad_one_leaves_the_payment_in_doubt():
    _, payer, payee = friends()
    payment = Payment(1_000, PERSON, REFERENCE)
    tap = payment_tap(payer, payment)
    while tap.stage != DONE:
        response = payee.card.process(next_command(tap))
        if tap.stage == "transfer":
            response = response[:-10] + bytes(8) + b"\x90\x00"
        tap.response(response)
    assert tap.moved == TAP_AGAIN
    assert cause_of(tap.after)
    assert payer.purse.in_doubt_sum == 1_000
    assert meet(payment_tap(payer, payment), payee).moved == PAID


def test_a_payment_that_has_ended_is_not_made_again():
    _, payer, payee = friends()
    payment = Payment(1_000, PERSON, REFERENCE)
    meet(payment_tap(payer, payment), payee)
    raises(LocalError, payment_tap, payer, payment)


def test_a_torn_payment_is_settled_with_the_same_card_only():
    world, payer, payee = friends()
    payment = Payment(1_000, PERSON, REFERENCE)
    torn(payment_tap(payer, payment), payee, 5, False, False)
    tap = payment_tap(payer, payment)
    assert cause_of(meet, tap, world.device("other")) == WRONG_PARTY
    assert tap.moved == TAP_AGAIN


# --- older payments that only the ledger knows


def test_an_older_transfer_below_the_floor_does_not_stop_a_new_sale():
    world, terminal, wallet = shop()
    terminal.open(1_000)
    torn(sale_tap(terminal), wallet, 3, False, False)
    terminal.payee.close()
    world.sync(terminal)
    tap = sale(terminal, wallet, 77)
    assert tap.exchanges == ["select", "pay", "pay", "confirm"]
    assert tap.moved == PAID
    assert (terminal.purse.balance, wallet.purse.balance, wallet.purse.in_doubt_sum) == (77, 48_923, 1_000)
    # Torn at the second Transfer: the next tap finds the new one by its Request.
    terminal.open(5)
    torn(sale_tap(terminal), wallet, 5, False, False)
    assert meet(sale_tap(terminal), wallet).moved == PAID
    assert (terminal.purse.balance, wallet.purse.in_doubt_sum) == (82, 1_000)


def test_an_older_payment_below_the_floor_does_not_stop_a_new_payment():
    world, payer, payee = friends()
    torn(payment_tap(payer, Payment(1_000, PERSON, REFERENCE)), payee, 4, False, False)
    world.sync(payee)
    tap = give(payer, payee, 10)
    assert tap.exchanges == ["select", "settle older", "request", "transfer"]
    assert (tap.moved, payer.purse.in_doubt_sum) == (PAID, 1_000)
    payment = Payment(20, PERSON, REFERENCE)
    torn(payment_tap(payer, payment), payee, 6, False, False)
    assert meet(payment_tap(payer, payment), payee).moved == PAID


def test_a_payment_of_which_only_the_ledger_knows_is_not_paid_again():
    world, payer, payee = friends()
    payment = Payment(1_000, PERSON, REFERENCE)
    torn(payment_tap(payer, payment), payee, 4, False, False)
    world.sync(payee)
    tap = payment_tap(payer, payment)
    assert cause_of(meet, tap, payee) == ASK_LEDGER
    assert (tap.moved, payer.purse.in_doubt_sum) == (TAP_AGAIN, 1_000)


def test_every_older_payment_is_settled_in_one_tap():
    _, terminal, wallet = shop()
    for amount in (100, 200, 300):
        terminal.open(amount)
        transfer = wallet.perform(
            wallet.payer.pay(terminal.certificate, terminal.payee.request, False, settle_older=False)
        )
        assert Transfer.decode(transfer).amount == amount
        terminal.payee.close()
    tap = sale(terminal, wallet, 77)
    assert tap.exchanges.count("settle older") == 3
    assert (tap.moved, terminal.purse.balance, wallet.purse.balance) == (PAID, 77, 49_923)


def test_a_card_that_always_has_an_older_transfer_is_given_up():
    _, terminal, wallet = shop()
    terminal.open(1_000)
    torn(sale_tap(terminal), wallet, 3, False, False)
    terminal.payee.close()
    terminal.open(77)
    wallet.card.after = lambda: None  # it takes every Void and closes nothing
    tap = sale_tap(terminal)
    assert cause_of(meet, tap, wallet) == MISMATCH
    assert tap.exchanges.count("settle older") == limits.MAX_IN_DOUBT


# --- two payers, and what ends a Request


def test_two_wallets_tap_one_request_one_is_paid_the_other_gets_its_money_back():
    world, terminal, first = shop()
    second = world.device("second", balance=50_000)
    terminal.open(1_000)
    torn(sale_tap(terminal), first, 3, False, False)
    assert meet(sale_tap(terminal), second).moved == PAID
    tap = meet(sale_tap(terminal), first)
    assert tap.exchanges[-1] == "confirm void"
    assert (terminal.purse.balance, first.purse.balance, second.purse.balance) == (1_000, 50_000, 49_000)
    assert first.purse.in_doubt == []


def test_a_refusal_tells_the_cause_and_that_nothing_was_paid():
    _, terminal, wallet = shop(balance=10)
    terminal.open(1_000)
    tap = sale_tap(terminal)
    error = raises(RefusedByPeer, meet, tap, wallet)
    assert (error.cause, tap.moved) == (INSUFFICIENT_BALANCE, NOT_PAID)


def test_confirm_on_the_device_and_tap_again():
    _, terminal, wallet = shop(no_confirm_sum=0)
    terminal.open(1_000)
    tap = sale_tap(terminal)
    assert cause_of(meet, tap, wallet) == CONFIRM
    assert tap.moved == NOT_PAID
    wallet.payer.approve()
    assert meet(sale_tap(terminal), wallet).moved == PAID


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


def test_a_torn_payment_waits_for_a_locked_card():
    """The card that may have committed is locked: the same two meet again when it is not."""
    _, terminal, wallet = shop()
    terminal.open(100)
    raises(LinkLost, meet, sale_tap(terminal), wallet, Link(cut_at=3))
    wallet.restart()
    wallet.locked = True
    assert cause_of(meet, sale_tap(terminal), wallet) == LOCKED
    wallet.locked = False
    assert meet(sale_tap(terminal), wallet).moved == PAID
    assert (terminal.purse.balance, wallet.total()) == (100, 49_900)


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


def test_taps_with_an_unknown_operator_are_torn_at_every_message():
    for cut in cuts(8):
        world, terminal, _ = shop()
        foreign = world.device("foreign", balance=5_000, operator=Operator(2, world.root))
        terminal.open(1_000)
        tap = torn(sale_tap(terminal), foreign, *cut)
        if tap.moved != PAID or foreign.purse.in_doubt:
            meet(sale_tap(terminal), foreign)
        assert (terminal.purse.balance, foreign.purse.balance, foreign.purse.in_doubt) == (1_000, 4_000, []), cut


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
    world, terminal, wallet = shop()
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


def test_a_request_closed_by_the_payee_is_voided_not_credited():
    """Cancelled between PAY and its answer: the Transfer arrives for a closed Request."""
    _, terminal, wallet = shop()
    terminal.open(100)
    tap = sale_tap(terminal)
    tap.response(wallet.card.process(next_command(tap)))
    response = wallet.card.process(next_command(tap))
    terminal.payee.close()
    tap.response(response)
    assert (tap.stage, tap.moved, terminal.payee.state) == ("confirm void", NOT_PAID, CLOSED)
    tap.response(wallet.card.process(next_command(tap)))
    wallet.card.after()
    assert (terminal.purse.balance, wallet.purse.balance) == (0, 50_000)


def test_the_card_never_signs_the_same_thing_twice():
    _, terminal, wallet = shop()
    signed = []
    key = wallet.party.sign

    def sign(message):
        signed.append(message)
        return key(message)

    wallet.party.sign = sign
    terminal.open(100)
    for cut_at in (3, 3, 3):
        torn(sale_tap(terminal), wallet, cut_at, True, False)
    meet(sale_tap(terminal), wallet)
    assert len(signed) == 1


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
