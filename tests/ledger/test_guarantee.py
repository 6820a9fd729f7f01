"""Who bears a loss: the guarantee of the cheat's operator, no more than is missing, and less when money comes in."""

import pytest

from host_tools.ledger.errors import DeviceFrozen
from host_tools.ledger.guarantee import UNFUNDED
from protocol import apdu
from protocol.objects import DAY_S, Void
from tests.engines.fixtures import every_engine
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, clone, forget_payers, pay_person, sale
from tests.unit.world import KINDS, LinkLost, signer

pytestmark = every_engine

PAST_THE_DEADLINE = 121 * DAY_S


def overspend(town, shop, wallet):
    """Wallet and copy pay 1,300 of 900, and the shop shows it."""
    twin = clone(wallet)
    sale(shop, wallet, 600)
    forget_payers(shop)
    sale(shop, twin, 700)
    town.sync(shop)
    assert town.frozen(wallet)
    return twin


def test_loss_of_a_frozen_payer_is_its_operators_and_grows_with_every_payment_that_surfaces(town, shop, wallet):
    kiosk = town.device("kiosk", "terminal")
    twin = overspend(town, shop, wallet)
    assert (town.purse(wallet), town.loss(), town.purse(shop)) == (0, 400, 1_300)
    assert town.ledger.reconciliation()["guarantee"] == {"1": -400}
    sale(kiosk, twin, 100)
    town.sync(kiosk)
    assert (town.loss(), town.ledger.device(wallet.id)["guaranteed"]) == (500, 500)
    assert town.account(wallet) == 1_000


def test_later_funding_of_a_frozen_payer_reduces_the_loss(town, shop, wallet):
    friend = town.device("friend", balance=800)
    pay_person(friend, wallet, 500)
    overspend(town, shop, wallet)
    assert town.loss() == 400
    town.sync(friend)  # with the wallet's Receipt
    assert (town.loss(), town.purse(wallet)) == (0, 100)


def test_void_of_a_frozen_payers_payment_reduces_the_loss(town, shop, wallet):
    kiosk = town.device("kiosk", "terminal")
    with pytest.raises(LinkLost):
        sale(kiosk, wallet, 250, link=Link(cut_at=LOST_TRANSFER))
    twin = clone(wallet)
    sale(shop, wallet, 600)
    forget_payers(shop)
    sale(shop, twin, 600)
    town.sync(wallet)
    town.sync(shop)
    assert town.loss() == 550
    town.sync(kiosk)
    assert (town.loss(), town.purse(wallet)) == (300, 0)


def test_payee_that_claims_redeems_and_voids_leaves_its_loss_to_the_guarantee(town, wallet):
    """A cracked terminal that is no new one any more: until the payer comes, the money has left for its account."""
    payee, key = signer("payee of operator 1"), town.operators[1].key
    account = town.ledger.open_account(1, "redemptions")
    town.ledger.register_device(key, 1, payee.public, KINDS["operator payee"], 0, account, "payee", town.now)
    shop = town.device("shop", "terminal")
    town.now += 30 * DAY_S
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_CONFIRM))
    town.sync(shop)
    certificate, request = town.ledger.open_redemption(key, payee, shop.id, 300, town.now)
    transfer = shop.send(apdu.PAY, certificate.encode() + request.encode())
    shop.send(apdu.CONFIRM, town.ledger.take_redemption(payee, transfer, town.now))
    assert (town.account(shop), town.loss()) == (1_300, 0)
    void = Void(transfer=wallet.purse.in_doubt[0].hash).sign(shop.party.sign)
    wallet.perform(wallet.payer.close(void))
    town.sync(wallet)
    assert (town.purse(wallet), town.loss(), town.purse(shop)) == (900, 300, 0)
    assert town.proven(shop.id) == {"receipt and void"}


@pytest.fixture
def unfunded(town, shop):
    """Ben spent 150 of the 200 that Ann paid him, and neither of them came before the deadline."""
    ann, ben = town.device("ann", balance=500), town.device("ben")
    pay_person(ann, ben, 200)
    sale(shop, ben, 150)
    town.sync(shop)
    assert (town.purse(ben), town.book_overdue()) == (-150, (0, 0, 0))
    town.now += PAST_THE_DEADLINE - DAY_S
    assert town.book_overdue() == (0, 0, 0)
    town.now += DAY_S
    assert town.book_overdue() == (0, 1, 0)
    assert town.book_overdue() == (0, 0, 0)
    assert (town.frozen(ben), town.purse(ben), town.loss()) == (UNFUNDED, 0, 150)
    assert town.proven(ben.id) == set()
    return ann, ben


@pytest.mark.parametrize("by_payer", [True, False])
def test_unfunded_purse_is_good_again_when_its_funding_arrives_from_either_side(town, unfunded, by_payer):
    ann, ben = unfunded
    town.sync(ann if by_payer else ben)
    assert (town.frozen(ben), town.purse(ben), town.loss()) == (None, 50, 0)
    assert town.sync(ben).certified
    assert (ben.purse.balance, town.purse(ann)) == (50, 300)


def test_unfunded_device_may_be_covered_with_a_load_and_is_on_no_list(town, shop, wallet):
    """A cracked wallet that paid what it never had, in one history: overdrawn is not fraud."""
    wallet.purse.balance += 5_000
    sale(shop, wallet, 1_400)
    town.sync(shop)
    town.now += PAST_THE_DEADLINE
    assert town.book_overdue() == (0, 1, 0)
    assert town.loss() == 500
    town.ledger.order_load(town.signer_of(wallet), wallet.id, 700, town.now)
    assert (town.frozen(wallet), town.purse(wallet), town.loss()) == (None, -500, 0)
    settlement = town.sync(wallet)
    assert (settlement.certified, settlement.note) == (False, "it has spent more than it received")
    assert town.sync(wallet).certified
    assert (town.frozen(wallet), town.purse(wallet), town.loss()) == (None, 200, 0)
    assert shop.certificate.epoch == wallet.certificate.epoch == 0


def test_fraud_that_is_proven_of_an_unfunded_device_is_not_forgiven_when_it_is_covered(town, shop):
    ann, ben, kiosk = town.device("ann", balance=500), town.device("ben"), town.device("kiosk", "terminal")
    pay_person(ann, ben, 200)
    twin = clone(ben)
    sale(shop, ben, 150)
    sale(kiosk, twin, 30)
    town.sync(shop)
    town.now += PAST_THE_DEADLINE
    assert town.book_overdue() == (0, 1, 0)
    town.sync(kiosk)
    assert "two histories" in town.frozen(ben)
    town.sync(ann)
    assert (town.loss(), town.purse(ben)) == (0, 20)
    assert "two histories" in town.frozen(ben)
    with pytest.raises(DeviceFrozen):
        town.ledger.order_load(town.signer_of(ben), ben.id, 1, town.now)
