"""protocol.tap with protocol.card: whole taps, torn at every message, both ways round. Runs on MicroPython too."""

from protocol.errors import LOCKED, WRONG_PARTY, LocalError
from protocol.objects import CASH_OUT, PERSON, REDEEM, REFUND
from protocol.states import CREDITED, DONE
from protocol.tap import NOT_PAID, PAID, TAP_AGAIN, Payment
from tests.unit.taps import cuts, friends, give, next_command, payment_tap, shop, torn
from tests.unit.world import REFERENCE, Link, LinkLost, Operator, cause_of, meet, raises, sale, sale_tap

# --- whole taps


def test_a_sale_takes_three_exchanges():
    _world, terminal, wallet = shop()
    tap = sale(terminal, wallet, 1_000)
    assert tap.exchanges == ["select", "pay", "confirm"]
    assert (tap.moved, tap.stage) == (PAID, DONE)
    assert (terminal.purse.balance, wallet.purse.balance, wallet.purse.in_doubt) == (1_000, 49_000, [])
    assert [event for event, _ in wallet.events] == ["debited", "closed"]


def test_a_terminal_pays_back_by_reading_the_card():
    for purpose in (REFUND, CASH_OUT):
        _world, terminal, wallet = shop()
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


def test_taps_with_an_unknown_operator_are_torn_at_every_message():
    for cut in cuts(8):
        world, terminal, _ = shop()
        foreign = world.device("foreign", balance=5_000, operator=Operator(2, world.root))
        terminal.open(1_000)
        tap = torn(sale_tap(terminal), foreign, *cut)
        if tap.moved != PAID or foreign.purse.in_doubt:
            meet(sale_tap(terminal), foreign)
        assert (terminal.purse.balance, foreign.purse.balance, foreign.purse.in_doubt) == (1_000, 4_000, []), cut


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
