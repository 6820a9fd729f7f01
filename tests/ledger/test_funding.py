"""Loads in transit fund a purse: a device that took one and never came back is not accused, and each counts once."""

import pytest

from host_tools.ledger.errors import InsufficientFunds
from host_tools.ledger.guarantee import UNFUNDED
from protocol import apdu
from protocol.objects import DAY_S, PERSON
from tests.ledger.world import LOST_CONFIRM, Link, clone, forget_payers, meet, pay_person, sale, sale_tap
from tests.unit.world import KINDS, LinkLost, signer

PAST_THE_DEADLINE = 121 * DAY_S
NOTHING = (0, 0, 0)


def load(town, device, amount, taken=True):
    """A Load for the device, which takes it without a sync: its journal shows it, and nobody has read that."""
    ordered = town.ledger.order_load(town.signer_of(device), device.id, amount, town.now)
    if taken:
        device.send(apdu.PUT, ordered.encode())
    return ordered


def books(town, device):
    """What the ledger says of a device: (purse, in transit to it, account, loss of the guarantee, frozen)."""
    at = town.purse(device), town.in_transit(device.id), town.account(device)
    return *at, town.loss(), town.frozen(device)


@pytest.fixture
def ben(town):
    return town.device("ben")


@pytest.fixture
def ann(town):
    return town.device("ann", balance=500)


def test_load_that_was_taken_unseen_funds_the_purse_however_often_the_deadline_is_booked(town, shop, ben):
    load(town, ben, 900)
    sale(shop, ben, 300)
    town.sync(shop)
    town.now += PAST_THE_DEADLINE
    for _ in range(3):
        assert town.book_overdue() == NOTHING
        assert books(town, ben) == (-300, 900, 100, 0, None)
    assert town.sync(ben).certified
    assert books(town, ben) == (600, 0, 100, 0, None)
    assert (town.book_overdue(), ben.purse.balance) == (NOTHING, 600)


def test_load_in_transit_is_not_to_be_redeemed(town, shop, ben):
    key, payee = town.signer_of(ben), signer("payee of operator 1")
    account = town.ledger.open_account(1, "redemptions")
    town.ledger.register_device(key, 1, payee.public, KINDS["operator payee"], 0, account, "payee", town.now)
    load(town, ben, 900)
    sale(shop, ben, 300)
    town.sync(shop)
    with pytest.raises(InsufficientFunds):
        town.ledger.open_redemption(key, payee, ben.id, 1, town.now)


@pytest.fixture
def partly_covered(town, shop, ann, ben):
    """Ben took a load of 200 and 150 of Ann's, and paid 300: 100 are lacking until Ann's come."""
    load(town, ben, 200)
    pay_person(ann, ben, 150)
    sale(shop, ben, 300)
    town.sync(shop)
    town.now += PAST_THE_DEADLINE
    assert town.book_overdue() == (0, 1, 0)
    return ben


def test_only_what_the_load_does_not_cover_is_booked(town, partly_covered):
    for _ in range(2):
        assert books(town, partly_covered) == (-200, 200, 800, 100, UNFUNDED)
        assert town.book_overdue() == NOTHING
    assert town.proven(partly_covered.id) == set()


def test_guarantee_has_all_back_and_the_load_still_counts_when_other_funding_comes_first(town, ann, partly_covered):
    town.sync(ann)
    assert books(town, partly_covered) == (-150, 200, 800, 0, None)
    assert town.book_overdue() == NOTHING
    assert town.sync(partly_covered).certified
    assert books(town, partly_covered) == (50, 0, 800, 0, None)
    assert partly_covered.purse.balance == 50


def test_load_that_arrives_first_repays_nothing_of_what_it_did_not_cover(town, shop, ann, ben):
    """A host held back what it had read of Ben before Ann paid him."""
    load(town, ben, 200)
    held_back = town.statement(ben)
    pay_person(ann, ben, 150)
    sale(shop, ben, 300)
    town.sync(shop)
    town.now += PAST_THE_DEADLINE
    assert town.book_overdue() == (0, 1, 0)
    town.settle(ben, *held_back)
    assert books(town, ben) == (0, 0, 800, 100, UNFUNDED)
    assert town.sync(ben).certified
    assert books(town, ben) == (50, 0, 800, 0, None)


def test_lost_device_that_was_partly_covered_is_paid_back_what_is_its_own_once(town, ann, partly_covered):
    town.ledger.report_lost(town.signer_of(partly_covered), partly_covered.id, town.now)
    assert town.book_overdue() == NOTHING
    assert books(town, partly_covered) == (0, 0, 800, 100, UNFUNDED)
    town.sync(ann)
    assert books(town, partly_covered) == (0, 0, 850, 0, None)
    town.sync(partly_covered)
    assert books(town, partly_covered) == (0, 0, 850, 0, None)


def cracked(device):
    """It pays what it never had, in one history."""
    device.purse.balance += 5_000


def test_load_that_goes_back_funds_nothing_any_more(town, shop, ben):
    """Ben never took the first load: the second closed it. What he paid is found by the next run."""
    load(town, ben, 900, taken=False)
    cracked(ben)
    sale(shop, ben, 300)
    town.sync(shop)
    town.now += PAST_THE_DEADLINE
    assert town.book_overdue() == NOTHING
    load(town, ben, 50)
    settlement = town.sync(ben)
    assert (settlement.certified, settlement.note) == (False, "it has spent more than it received")
    assert books(town, ben) == (-250, 0, 950, 0, None)
    assert town.book_overdue() == (0, 1, 0)
    for _ in range(2):
        assert books(town, ben) == (0, 0, 950, 250, UNFUNDED)
        assert town.book_overdue() == NOTHING


def test_guarantee_bears_at_once_what_a_frozen_device_s_load_covered_until_it_went_back(town, shop, ben):
    load(town, ben, 200, taken=False)
    cracked(ben)
    sale(shop, ben, 300)
    town.sync(shop)
    town.now += PAST_THE_DEADLINE
    assert town.book_overdue() == (0, 1, 0)
    assert books(town, ben) == (-200, 200, 800, 100, UNFUNDED)
    load(town, ben, 30)
    assert books(town, ben) == (-230, 230, 770, 70, UNFUNDED)
    town.sync(ben)
    assert books(town, ben) == (0, 0, 970, 270, UNFUNDED)


def test_what_went_to_the_account_is_asked_before_a_load_in_transit(town, shop, ann, ben):
    """Ben's owner got at the deadline what Ann paid him; then the shop shows what Ben paid of that and of his load."""
    load(town, ben, 200)
    ben.open(150, PERSON)
    with pytest.raises(LinkLost):
        meet(sale_tap(ben), ann, Link(cut_at=LOST_CONFIRM))
    sale(shop, ben, 300)
    town.sync(ann)
    town.now += PAST_THE_DEADLINE
    assert town.book_overdue() == (1, 0, 0)
    assert books(town, ben) == (0, 200, 950, 0, None)
    town.sync(shop)
    assert town.book_overdue() == NOTHING
    assert books(town, ben) == (-150, 200, 800, 0, None)
    assert town.sync(ben).certified
    assert books(town, ben) == (50, 0, 800, 0, None)
    assert ben.purse.balance == 50


def test_load_in_transit_to_a_cheat_bears_its_loss_before_the_guarantee_and_never_goes_back(town, shop):
    cheat, kiosk = town.device("cheat", balance=500), town.device("kiosk", "terminal")
    taken = load(town, cheat, 200)
    twin = clone(cheat)
    sale(shop, cheat, 600)
    sale(kiosk, twin, 700)
    town.sync(shop)
    town.sync(kiosk)
    assert "two histories" in town.frozen(cheat)
    assert books(town, cheat)[:4] == (-200, 200, 800, 600)
    town.now += PAST_THE_DEADLINE
    assert town.book_overdue() == NOTHING
    town.ledger.cancel_load(cheat.id, taken.number)
    town.sync(cheat)
    assert books(town, cheat)[:4] == (0, 0, 800, 600)  # its journal shows it after all


def test_no_statement_of_a_cheat_proves_that_it_did_not_take_a_load(town, shop):
    """The copy that is shown never took it; the other one may have."""
    cheat, kiosk = town.device("cheat", balance=500), town.device("kiosk", "terminal")
    twin = clone(cheat)
    load(town, twin, 200)
    sale(shop, cheat, 400)
    forget_payers(shop)
    sale(kiosk, twin, 600)
    town.sync(shop)
    town.sync(kiosk)
    cheat.purse.load_floor = 99
    town.sync(cheat)
    assert books(town, cheat)[:4] == (-200, 200, 800, 300)
    statement, _ = town.statement(twin)
    town.settle(twin, statement, twin.journal.stored)
    assert books(town, cheat)[:4] == (0, 0, 800, 300)
