"""Lost and broken devices: blocked at once, paid back after their time, and honest payees are paid all the same."""

import pytest

from host_tools.ledger.errors import DeviceRevoked, InvalidInput, WrongSigner
from protocol import apdu
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, REVOKED_ALTOGETHER, Load, Revocations
from tests.ledger.test_accomplice import mint, most_of_an_honest
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, clone, pay_person, sale
from tests.unit.world import KINDS, TODAY, LinkLost, signer

PAY_BACK_DAY = TODAY + CERTIFICATE_DAYS + GRACE_DAYS + 1


def lose(town, device) -> int:
    return town.ledger.report_lost(town.signer_of(device), device.id, town.now)


def come_to_the_day(town):
    town.now = PAY_BACK_DAY * DAY_S
    return town.book_overdue()


def test_lost_device_is_blocked_at_once_and_for_good(town, shop, wallet):
    town.ledger.order_load(town.signer_of(wallet), wallet.id, 10, town.now)
    assert lose(town, wallet) == PAY_BACK_DAY
    reported = town.now
    town.now += 2 * DAY_S
    assert lose(town, wallet) == PAY_BACK_DAY
    row = town.ledger.device(wallet.id)
    assert (row["lost_at"], row["pay_back_day"], row["revoked"]) == (reported, PAY_BACK_DAY, True)
    assert (town.ledger.device(shop.id)["lost_at"], town.ledger.device(shop.id)["pay_back_day"]) == (None, None)
    listed = Revocations.decode(town.sync(shop).objects[0])
    assert listed.entries == ((wallet.id, REVOKED_ALTOGETHER),)
    with pytest.raises(DeviceRevoked):
        town.ledger.order_load(town.signer_of(wallet), wallet.id, 10, town.now)
    settlement = town.sync(wallet)
    assert (settlement.certified, settlement.note) == (False, "it was reported lost")
    assert [data for data in settlement.objects if data[0] == Load.TYPE] == []
    assert town.ledger.device(wallet.id)["pay_back_day"] == PAY_BACK_DAY


def test_only_its_own_operator_reports_a_device_lost_and_never_a_payee_of_its_own(town, wallet):
    with pytest.raises(WrongSigner):
        town.ledger.report_lost(town.operators[2].key, wallet.id, town.now)
    key, payee = town.operators[1].key, signer("payee of operator 1")
    account = town.ledger.open_account(1, "redemptions")
    pair = town.ledger.register_device(key, 1, payee.public, KINDS["operator payee"], 0, account, "payee", town.now)
    with pytest.raises(InvalidInput, match="Only wallets and terminals"):
        town.ledger.report_lost(key, pair[1].device, town.now)


def test_what_is_left_is_paid_back_on_its_day_with_what_was_in_transit(town, shop, wallet):
    town.ledger.order_load(town.signer_of(wallet), wallet.id, 70, town.now)
    sale(shop, wallet, 300)
    lose(town, wallet)
    town.sync(shop)
    town.now = PAY_BACK_DAY * DAY_S - 1
    assert town.book_overdue() == (0, 0, 0)
    assert (town.account(wallet), town.purse(wallet), town.sums()["loads_in_transit"]) == (930, 600, 70)
    assert come_to_the_day(town) == (0, 0, 1)
    assert (town.account(wallet), town.purse(wallet), town.sums()["loads_in_transit"]) == (1_600, 0, 0)
    assert town.book_overdue() == (0, 0, 0)
    assert town.loss() == 0


def test_late_claim_is_paid_and_charged_to_the_owners_account(town, shop, wallet):
    sale(shop, wallet, 300)
    lose(town, wallet)
    assert come_to_the_day(town).paid_back == 1
    assert town.account(wallet) == 1_900
    assert town.sync(shop).dead_letters == ()
    assert (town.purse(shop), town.account(wallet), town.purse(wallet), town.loss()) == (300, 1_600, 0, 0)


def test_owner_is_charged_no_more_than_the_device_held_and_the_guarantee_bears_the_rest(town, shop, wallet):
    """Whoever found it copied it: the owner's other money is not touched."""
    kiosk = town.device("kiosk", "terminal")
    twin = clone(wallet)
    sale(shop, wallet, 800)
    sale(kiosk, twin, 700)
    lose(town, wallet)
    come_to_the_day(town)
    town.sync(shop)
    assert (town.account(wallet), town.loss()) == (1_100, 0)
    town.sync(kiosk)
    assert (town.purse(kiosk), town.account(wallet), town.loss()) == (700, 1_000, 600)
    assert town.frozen(wallet)


def test_account_that_was_emptied_is_charged_as_far_as_it_goes_and_the_guarantee_is_repaid_first(town, shop, wallet):
    with pytest.raises(LinkLost):
        sale(shop, wallet, 800, link=Link(cut_at=LOST_TRANSFER))
    lose(town, wallet)
    come_to_the_day(town)
    key, account = town.signer_of(wallet), town.accounts["wallet"]
    new = signer("new wallet")
    pair = town.ledger.register_device(key, 1, new.public, KINDS["wallet"], 0, account, "new wallet", town.now)
    town.ledger.order_load(key, pair[1].device, 1_850, town.now)  # the owner has moved on
    assert town.account(wallet) == 50
    town.sync(wallet)  # found: it shows the torn payment
    assert (town.account(wallet), town.loss(), town.pending()) == (0, 750, 800)
    town.sync(shop)  # which its payee never credited
    assert (town.account(wallet), town.loss(), town.pending()) == (50, 0, 0)


def test_found_device_settles_what_it_brings_and_the_owner_ends_with_what_it_holds(town, shop, wallet):
    friend = town.device("friend", balance=500)
    sale(shop, wallet, 250)
    pay_person(friend, wallet, 100)
    with pytest.raises(LinkLost):
        sale(shop, wallet, 30, link=Link(cut_at=LOST_CONFIRM))
    lose(town, wallet)
    come_to_the_day(town)
    assert town.account(wallet) == 1_900
    for _ in range(2):
        assert not town.sync(wallet).certified
    assert town.account(wallet) == 1_000 + wallet.purse.balance
    for device in (shop, friend, wallet):
        town.sync(device)
    assert (wallet.purse.balance, town.account(wallet)) == (720, 1_720)
    assert (town.purse(shop), town.purse(friend), town.purse(wallet), town.loss()) == (280, 400, 0, 0)


@pytest.mark.parametrize("claim_first", [True, False])
def test_load_that_was_paid_back_and_that_the_device_took_all_the_same_makes_no_money(town, shop, claim_first):
    """It went to the owner once, with the purse: the journal that shows it moves nothing more."""
    wallet = town.device("wallet")
    load = town.ledger.order_load(town.signer_of(wallet), wallet.id, 400, town.now)
    wallet.send(apdu.PUT, load.encode())
    sale(shop, wallet, 150)
    lose(town, wallet)
    assert come_to_the_day(town).paid_back == 1
    assert town.ledger.loads(wallet.id) == [{"number": 1, "amount": 400, "state": "paid back"}]
    assert (town.account(wallet), town.sums()["loads_in_transit"]) == (1_000, 0)
    for device in (shop, wallet) if claim_first else (wallet, shop):
        assert town.sync(device).dead_letters == ()
    assert town.ledger.loads(wallet.id) == [{"number": 1, "amount": 400, "state": "loaded"}]
    assert (town.account(wallet), town.purse(wallet), town.purse(shop)) == (850, 0, 150)
    town.sync(wallet)
    assert (town.account(wallet), town.loss()) == (850, 0)


def test_load_that_was_paid_back_and_never_taken_is_not_paid_back_again(town):
    wallet = town.device("wallet")
    first = town.ledger.order_load(town.signer_of(wallet), wallet.id, 400, town.now)
    second = town.ledger.order_load(town.signer_of(wallet), wallet.id, 60, town.now)
    wallet.send(apdu.PUT, second.encode())  # the first can never be taken now
    lose(town, wallet)
    come_to_the_day(town)
    assert town.account(wallet) == 1_000
    for _ in range(2):
        town.sync(wallet)
    assert (town.account(wallet), town.sums()["loads_in_transit"], town.purse(wallet)) == (1_000, 0, 0)
    states = {load["number"]: load["state"] for load in town.ledger.loads(wallet.id)}
    assert states == {first.number: "paid back", second.number: "loaded"}


def test_load_that_went_back_before_is_not_paid_back(town):
    wallet = town.device("wallet")
    town.ledger.order_load(town.signer_of(wallet), wallet.id, 400, town.now)
    town.ledger.cancel_load(wallet.id, 1)
    town.sync(wallet)
    town.sync(wallet)
    lose(town, wallet)
    assert come_to_the_day(town).paid_back == 0
    assert town.account(wallet) == 1_000


def test_money_that_a_lost_device_was_paid_comes_to_its_owner_whenever_it_surfaces(town, wallet):
    friend, late = town.device("friend", balance=500), town.device("late", balance=500)
    pay_person(friend, wallet, 100)
    pay_person(late, wallet, 20)
    lose(town, wallet)
    town.sync(friend)
    come_to_the_day(town)
    assert town.account(wallet) == 2_000
    town.sync(late)
    assert (town.account(wallet), town.purse(wallet)) == (2_020, 0)


def test_disputed_money_of_a_lost_device_stays_where_it_is(town):
    """Reporting an accomplice lost is no way around the question how it came to hold so much."""
    payer, mule = town.device("payer", balance=100), town.device("mule")
    mint(payer, mule, most_of_an_honest(mule) // payer.certificate.payment_limit + 1)
    town.settle(mule, *town.statement(mule))
    lose(town, mule)
    held = town.purse(mule)
    assert come_to_the_day(town).paid_back == 0
    assert (town.account(mule), town.purse(mule)) == (1_000, held)
