"""Payments that are booked at the deadline: the payee's owner is kept whole, and no loss goes past the guarantee."""

import pytest

from protocol import apdu
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, PERSON
from tests.engines.fixtures import every_engine
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, clone, forget_payers, meet, sale, sale_tap
from tests.unit.world import KINDS, Device, LinkLost

pytestmark = every_engine

PAST = (CERTIFICATE_DAYS + GRACE_DAYS + 1) * DAY_S


def pay_torn(payer, payee, amount, cut_at):
    payee.open(amount, PERSON)
    with pytest.raises(LinkLost):
        meet(sale_tap(payee), payer, Link(cut_at=cut_at))


@pytest.fixture
def ann(town):
    return town.device("ann", balance=500)


@pytest.fixture
def ben(town):
    return town.device("ben")


@pytest.mark.parametrize("lost", [False, True])
def test_it_fills_the_purse_of_a_payee_that_had_spent_it_and_makes_no_money(town, ann, ben, shop, lost):
    pay_torn(ann, ben, 200, LOST_CONFIRM)
    sale(shop, ben, 150)
    town.sync(shop)
    town.sync(ann)
    if lost:
        town.ledger.report_lost(town.signer_of(ben), ben.id, town.now)
    town.now += PAST
    assert town.book_overdue() == (1, 0, int(lost))
    assert (town.account(ben), town.purse(ben), town.loss(), town.frozen(ben)) == (1_050, 0, 0, None)
    assert town.book_overdue() == (0, 0, 0)
    town.sync(ben)
    assert (town.account(ben), town.purse(ben)) == ((1_050, 0) if lost else (1_000, 50))
    assert ben.purse.balance == 50


def test_claim_that_comes_after_it_is_asked_of_what_went_to_the_account(town, ann, ben, shop):
    pay_torn(ann, ben, 200, LOST_CONFIRM)
    sale(shop, ben, 150)
    town.sync(ann)
    town.now += PAST
    assert town.book_overdue() == (1, 0, 0)
    assert town.account(ben) == 1_200
    town.sync(shop)
    assert (town.purse(shop), town.book_overdue()) == (150, (0, 0, 0))
    assert (town.account(ben), town.purse(ben), town.loss(), town.frozen(ben)) == (1_050, 0, 0, None)


def test_frozen_cheat_gets_nothing_of_it_on_its_account(town, ann, shop):
    cheat, kiosk = town.device("cheat", balance=300), town.device("kiosk", "terminal")
    pay_torn(ann, cheat, 200, LOST_CONFIRM)
    town.sync(ann)
    twin = clone(cheat)
    sale(shop, cheat, 500)
    sale(kiosk, twin, 500)
    town.sync(shop)
    town.sync(kiosk)
    assert town.loss() == 700
    town.now += PAST
    town.book_overdue()
    assert (town.account(cheat), town.purse(cheat), town.loss()) == (1_000, 0, 500)


def test_what_a_frozen_cheat_got_before_it_was_frozen_is_asked_before_the_guarantee(town, ann, shop):
    cheat, kiosk = town.device("cheat", balance=300), town.device("kiosk", "terminal")
    pay_torn(ann, cheat, 200, LOST_CONFIRM)
    town.sync(ann)
    twin = clone(cheat)
    sale(shop, cheat, 500)
    sale(kiosk, twin, 500)
    town.now += PAST
    town.book_overdue()
    assert (town.account(cheat), town.purse(cheat)) == (1_200, 300)
    town.sync(shop)
    town.sync(kiosk)
    assert (town.account(cheat), town.purse(cheat), town.loss()) == (1_000, 0, 500)


def test_void_takes_back_what_is_there_and_no_account_falls_below_zero(town, ann, ben):
    pay_torn(ann, ben, 200, LOST_TRANSFER)
    town.sync(ann)
    town.now += PAST
    town.book_overdue()
    empty(town, ben, left=30)
    town.sync(ben)  # it never credited it
    assert (town.purse(ann), town.ledger.balance(town.accounts["ben"]), town.purse(ben)) == (500, 0, -170)
    assert not town.sync(ben).certified
    assert town.book_overdue() == (0, 1, 0)
    assert (town.purse(ben), town.loss()) == (0, 170)


def empty(town, device, left):
    """Its owner has moved on: the money of the account is on the way into another device."""
    key, account = town.signer_of(device), town.accounts[device.name]
    new = Device("new", town.clock)
    pair = town.ledger.register_device(key, 1, new.generate_key(), KINDS["wallet"], 0, account, "new", town.now)
    town.ledger.order_load(key, pair[1].device, town.account(device) - left, town.now)


def test_device_that_is_frozen_for_fraud_and_reported_lost_is_for_people_to_settle(town, shop):
    cheat, kiosk = town.device("cheat", balance=900), town.device("kiosk", "terminal")
    twin = clone(cheat)
    sale(shop, cheat, 100)
    sale(kiosk, twin, 200)
    town.sync(shop)
    town.sync(kiosk)
    town.ledger.report_lost(town.signer_of(cheat), cheat.id, town.now)
    town.now += PAST
    assert town.book_overdue() == (0, 0, 0)
    assert (town.account(cheat), town.purse(cheat)) == (1_000, 600)


def test_money_booked_to_a_payee_that_forgot_its_payers_is_its_own_once(town, shop, ann):
    """It comes back after the deadline and shows the credit: from the account into the purse."""
    with pytest.raises(LinkLost):
        sale(shop, ann, 300, link=Link(cut_at=LOST_CONFIRM))
    forget_payers(shop)
    town.sync(ann)
    town.now += PAST
    town.book_overdue()
    assert (town.account(shop), town.purse(shop)) == (1_300, 0)
    town.sync(shop)
    assert (town.account(shop), town.purse(shop), shop.purse.balance) == (1_000, 300, 300)
    assert shop.send(apdu.INFO)
