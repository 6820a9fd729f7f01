"""Redeeming: from the purse to the owner's account, once, however often the tap is torn."""

import pytest

from host_tools.ledger.errors import (
    BadSignature,
    DeviceFrozen,
    HeldBack,
    InsufficientFunds,
    UnknownRequest,
    WrongSigner,
)
from host_tools.ledger.holds import HOLD_DAYS
from protocol import apdu
from protocol.objects import DAY_S, REFUND, VOID, Receipt, Resolution, Transfer, Void
from tests.engines.fixtures import every_engine
from tests.ledger.world import clone, forget_payers, pay_person, sale
from tests.unit.world import KINDS, sha256, signer

pytestmark = every_engine

PAYEE = "payee of operator 1"


@pytest.fixture
def town(town):
    """With the operator's own payee registered."""
    account = town.ledger.open_account(1, "redemptions")
    key = town.operators[1].key
    town.ledger.register_device(key, 1, signer(PAYEE).public, KINDS["operator payee"], 0, account, "payee", town.now)
    return town


def open_for(town, device, amount):
    return town.ledger.open_redemption(town.signer_of(device), signer(PAYEE), device.id, amount, town.now)


def pay(device, opened, p1=0) -> bytes:
    certificate, request = opened
    return device.send(apdu.PAY, certificate.encode() + request.encode(), p1=p1)


def take(town, transfer: bytes) -> bytes:
    answer = town.ledger.take_redemption(signer(PAYEE), transfer, town.now)
    town.ledger.check()
    return answer


def redeem(town, device, amount) -> bytes:
    answer = take(town, pay(device, open_for(town, device, amount)))
    device.send(apdu.CONFIRM, answer)
    return answer


def test_redeemed_money_lands_on_the_account_of_the_device(town):
    wallet = town.device("wallet", balance=900)
    account = town.account(wallet)
    assert redeem(town, wallet, 250)[0] == Receipt.TYPE
    assert (town.account(wallet), town.purse(wallet), wallet.purse.balance) == (account + 250, 650, 650)
    assert town.sync(wallet).dead_letters == ()
    assert (town.account(wallet), town.purse(wallet), town.pending()) == (account + 250, 650, 0)


def test_more_than_any_limit_can_be_redeemed_by_a_terminal(town):
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    sale(shop, wallet, 800)
    town.sync(shop)
    town.sync(wallet)
    redeem(town, shop, 800)
    assert (town.account(shop), town.purse(shop), shop.purse.balance) == (1_800, 0, 0)


def test_repeated_transfer_is_answered_with_the_identical_receipt_and_paid_once(town):
    wallet = town.device("wallet", balance=900)
    transfer = pay(wallet, open_for(town, wallet, 250))
    first = take(town, transfer)
    town.now += 50
    assert take(town, transfer) == first
    assert town.purse(wallet) == 650


def test_torn_redemption_comes_back_with_the_next_sync_and_is_never_paid(town):
    wallet = town.device("wallet", balance=900)
    transfer = pay(wallet, open_for(town, wallet, 900))  # the answer is lost, or the host dies
    settlement = town.sync(wallet)
    assert [Resolution.decode(data).outcome for data in settlement.objects if data[0] == Resolution.TYPE] == [VOID]
    assert (town.pending(), town.purse(wallet), wallet.purse.balance) == (0, 900, 900)
    assert take(town, transfer)[0] == Void.TYPE
    assert redeem(town, wallet, 900)[0] == Receipt.TYPE
    assert (town.account(wallet), town.purse(wallet), wallet.purse.balance) == (1_900, 0, 0)


def test_torn_redemption_is_voided_by_the_next_one(town):
    wallet = town.device("wallet", balance=900)
    pay(wallet, open_for(town, wallet, 600))  # the answer is lost
    opened = open_for(town, wallet, 300)
    older = pay(wallet, opened)
    assert Transfer.decode(older).amount == 600
    void = take(town, older)
    assert void[0] == Void.TYPE
    wallet.send(apdu.CONFIRM, void)
    assert take(town, pay(wallet, opened))[0] == Receipt.TYPE
    town.sync(wallet)
    assert (town.account(wallet), town.purse(wallet), wallet.purse.balance) == (1_300, 600, 600)


def test_unfunded_money_is_not_redeemed_before_its_credits_are_synced(town):
    alice, bob = town.device("alice", balance=500), town.device("bob")
    pay_person(alice, bob, 200)
    with pytest.raises(InsufficientFunds, match="Sync the device first"):
        open_for(town, bob, 200)
    town.sync(bob)
    redeem(town, bob, 200)
    assert town.account(bob) == 1_200


def test_what_became_unfunded_since_the_request_is_voided_and_redeemed_after_a_sync(town):
    alice, bob, shop = (
        town.device("alice", balance=500),
        town.device("bob", balance=500),
        town.device("shop", "terminal"),
    )
    opened = open_for(town, bob, 500)
    pay_person(alice, bob, 300)
    sale(shop, bob, 300)
    town.sync(shop)  # the ledger knows what bob spent, not yet what he received
    void = take(town, pay(bob, opened))
    assert (void[0], town.account(bob), town.purse(bob)) == (Void.TYPE, 1_000, 200)
    bob.send(apdu.CONFIRM, void)
    town.sync(bob)
    assert redeem(town, bob, 500)[0] == Receipt.TYPE
    assert (town.account(bob), town.purse(bob), bob.purse.balance) == (1_500, 0, 0)


def test_request_of_one_device_pays_no_other(town):
    alice, mallory = town.device("alice", balance=500), town.device("mallory", balance=500)
    opened = open_for(town, alice, 100)
    answer = take(town, pay(mallory, opened))
    assert answer[0] == Void.TYPE
    assert (town.account(mallory), town.purse(mallory)) == (1_000, 500)
    assert take(town, pay(alice, opened))[0] == Receipt.TYPE


def test_request_that_is_paid_again_after_it_was_credited_gives_the_second_payment_back(town):
    wallet = town.device("wallet", balance=900)
    opened = open_for(town, wallet, 250)
    wallet.send(apdu.CONFIRM, take(town, pay(wallet, opened)))
    account = town.account(wallet)
    pay(wallet, opened)  # a host that repeats itself
    town.sync(wallet)
    assert (town.account(wallet), town.purse(wallet), town.pending()) == (account, 650, 0)
    assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (650, 0)
    assert town.frozen(wallet) is None


def test_request_that_another_device_paid_gives_it_its_money_back_at_its_sync_and_stays_open(town):
    alice, mallory = town.device("alice", balance=500), town.device("mallory", balance=500)
    opened = open_for(town, alice, 100)
    pay(mallory, opened)
    town.sync(mallory)
    assert (town.purse(mallory), town.pending(), mallory.purse.in_doubt_sum) == (500, 0, 0)
    assert take(town, pay(alice, opened))[0] == Receipt.TYPE


def test_honest_payee_of_a_frozen_payer_redeems_what_it_took(town):
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    twin = clone(wallet)
    sale(shop, wallet, 300)
    forget_payers(shop)
    sale(shop, twin, 700)
    town.sync(shop)
    assert town.frozen(wallet)
    town.now += HOLD_DAYS * DAY_S
    redeem(town, shop, 1_000)
    assert town.account(shop) == 2_000


def test_copy_of_a_device_cannot_redeem_twice(town):
    wallet = town.device("wallet", balance=500)
    twin = clone(wallet)
    redeem(town, wallet, 500)
    with pytest.raises(InsufficientFunds):
        open_for(town, twin, 500)
    shop = town.device("shop", "terminal")
    sale(shop, twin, 300)
    town.sync(shop)
    assert (town.purse(shop), town.purse(wallet), town.loss()) == (300, 0, 300)
    with pytest.raises(DeviceFrozen):
        open_for(town, wallet, 1)


def test_payee_of_another_operator_and_strangers_are_refused(town):
    stranger = town.device("stranger", balance=500, operator=2)
    with pytest.raises(WrongSigner):
        open_for(town, stranger, 100)
    wallet = town.device("wallet", balance=500)
    transfer = pay(wallet, open_for(town, wallet, 100))
    with pytest.raises(BadSignature):
        take(town, transfer[:-1] + bytes((transfer[-1] ^ 1,)))
    forged = Transfer.decode(transfer)
    forged.request = sha256(b"another")
    with pytest.raises(UnknownRequest):
        take(town, forged.sign(wallet.party.sign).encode())
    assert (town.account(wallet), town.purse(wallet)) == (1_000, 500)


def test_new_terminal_redeems_only_what_the_payers_have_confirmed(town):
    """It could credit and void: until the payers come, only its own word says which."""
    shop, ann, ben = town.device("shop", "terminal"), town.device("ann", balance=500), town.device("ben", balance=500)
    sale(shop, ann, 300)
    sale(shop, ben, 200)
    town.sync(shop)
    for synced, free in ((None, 0), (ann, 300)):
        if synced:
            town.sync(synced)
        with pytest.raises(HeldBack, match=r"payers have not confirmed.*No money moved.*2024-11-03") as refused:
            open_for(town, shop, free + 1)
        assert refused.value.free == free
        assert town.ledger.device(shop.id)["held"] == 500 - free
    redeem(town, shop, 300)
    assert (town.account(shop), town.purse(shop)) == (1_300, 200)
    with pytest.raises(HeldBack) as refused:
        open_for(town, shop, 1)
    assert refused.value.free == 0
    town.now += HOLD_DAYS * DAY_S - 1
    with pytest.raises(HeldBack):
        open_for(town, shop, 200)
    town.now += 1
    redeem(town, shop, 200)
    assert town.account(shop) == 1_500
    assert town.ledger.device(shop.id, town.now)["held"] == 0


def test_new_terminal_that_paid_out_what_was_not_confirmed_may_pay_that_much_less_and_does_all_else(town):
    """Refunds before its payers came: it sells, syncs and redeems on, and gets its sum back when they come."""
    shop = town.device("shop", "terminal", balance=50)
    ann, ben = town.device("ann", balance=500), town.device("ben", balance=500)
    whole = shop.certificate.sum_limit
    sale(shop, ann, 300)
    sale(shop, ben, 200)
    pay_person(shop, ben, 50, purpose=REFUND)  # of what it loaded
    town.sync(shop)
    assert shop.certificate.sum_limit == whole
    pay_person(shop, ben, 120, purpose=REFUND)
    town.sync(shop)
    assert shop.certificate.sum_limit == whole - 120
    assert town.ledger.device(shop.id)["limits"]["sum_limit"] == whole
    sale(shop, ann, 100)
    assert town.sync(shop).certified
    assert shop.certificate.sum_limit == whole - 120  # what it keeps of its takings takes nothing off
    town.sync(ann)
    redeem(town, shop, 280)
    town.sync(shop)
    assert (town.account(shop), shop.certificate.sum_limit) == (1_280, whole)


def test_terminal_that_is_known_keeps_its_sum_whatever_it_pays_out(town):
    shop, ann = town.device("shop", "terminal"), town.device("ann", balance=500)
    whole = shop.certificate.sum_limit
    town.ledger.set_limits(shop.id, {"sum_limit": 100})
    for days, left in ((0, 100), (0, 0), (HOLD_DAYS, 100)):
        town.now += days * DAY_S
        assert town.sync(shop).certified
        assert shop.certificate.sum_limit == left < whole
        if left:
            sale(shop, ann, 200)
            pay_person(shop, ann, 100, purpose=REFUND)


def test_load_and_what_was_received_as_a_wallet_are_not_held_back(town):
    shop, ann, ben = town.device("shop", "terminal", balance=100), town.device("ann", balance=500), town.device("ben")
    sale(shop, ann, 300)
    pay_person(ann, ben, 50)
    town.sync(shop)
    town.sync(ben)
    redeem(town, shop, 100)
    redeem(town, ben, 50)
    assert (town.account(shop), town.account(ben)) == (1_100, 1_050)


def test_new_terminal_that_spent_what_was_confirmed_gets_a_void_for_what_was_not(town):
    shop, ann, ben = town.device("shop", "terminal"), town.device("ann", balance=500), town.device("ben", balance=500)
    sale(shop, ann, 300)
    sale(shop, ben, 300)
    for device in (shop, ann):
        town.sync(device)
    opened = open_for(town, shop, 300)
    pay_person(shop, ann, 300, purpose=REFUND)
    town.sync(ann)
    assert town.purse(shop) == 300  # ben's, who has not come
    assert take(town, pay(shop, opened))[0] == Void.TYPE
    assert town.account(shop) == 1_000


def test_transfer_that_itself_proves_a_second_history_is_voided(town):
    """The proof comes with the redemption: what is learnt of the payer there counts for its answer."""
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    opened = open_for(town, wallet, 500)
    twin = clone(wallet)
    sale(shop, wallet, 100)
    town.sync(shop)
    assert town.frozen(wallet) is None
    transfer = pay(twin, opened)
    answer = take(town, transfer)
    assert (answer[0], town.account(wallet)) == (Void.TYPE, 1_000)
    assert town.proven(wallet.id) == {"two histories"}
    assert take(town, transfer) == answer
