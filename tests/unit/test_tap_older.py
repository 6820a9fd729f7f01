"""protocol.tap: older payments that only the ledger knows, two payers of one Request, and what ends a Request.

Runs on MicroPython too.
"""

from protocol import limits
from protocol.errors import ASK_LEDGER, CONFIRM, INSUFFICIENT_BALANCE, MISMATCH, RefusedByPeer
from protocol.objects import PERSON, Transfer
from protocol.states import CLOSED
from protocol.tap import NOT_PAID, PAID, TAP_AGAIN, Payment
from tests.unit.taps import friends, give, next_command, payment_tap, shop, torn
from tests.unit.world import REFERENCE, cause_of, meet, raises, sale, sale_tap

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
