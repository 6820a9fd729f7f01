"""Who gets no new Certificate though nothing proves fraud: the overdrawn and the revoked."""

import pytest

from host_tools.ledger.errors import DeviceRevoked
from protocol.objects import DAY_S, VOID, Resolution, Revocations
from tests.engines.fixtures import every_engine
from tests.ledger.world import LOST_TRANSFER, Link, sale
from tests.unit.world import KINDS, LinkLost, signer

pytestmark = every_engine


def revoke(town, device, by=1):
    return town.ledger.revoke(town.operators[by].key, by, device.id, town.now)


def test_overdrawn_device_gets_no_certificate_until_it_is_covered(town, shop, wallet):
    """A cracked wallet pays what it never had, in one unbroken history."""
    wallet.purse.balance += 5_000
    sale(shop, wallet, 1_400)
    settlement = town.sync(wallet)
    assert (settlement.certified, settlement.note) == (False, "it has spent more than it received")
    town.sync(shop)
    assert (town.frozen(wallet), town.purse(wallet), town.purse(shop)) == (None, -500, 1_400)
    assert not town.sync(wallet).certified
    town.ledger.order_load(town.signer_of(wallet), wallet.id, 500, town.now)
    assert not town.sync(wallet).certified
    assert town.sync(wallet).certified
    assert town.purse(wallet) == 0


def test_revoked_device_gets_no_certificate_and_no_load(town, wallet):
    town.ledger.order_load(town.signer_of(wallet), wallet.id, 10, town.now)  # and one that waits
    revoke(town, wallet)
    for _ in range(2):
        settlement = town.sync(wallet)
        assert (settlement.certified, settlement.note) == (False, "its operator has revoked it")
        assert [data[0] for data in settlement.objects] == [Revocations.TYPE]
        town.now += 80 * DAY_S
    with pytest.raises(DeviceRevoked, match="No money moved"):
        town.ledger.order_load(town.signer_of(wallet), wallet.id, 10, town.now)
    assert town.sums()["loads_in_transit"] == 10
    assert town.ledger.device(wallet.id)["revoked"] is True


def test_revoked_device_still_settles_and_is_told_how_its_payments_ended(town, shop, wallet):
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_TRANSFER))
    revoke(town, wallet)
    town.sync(shop)
    settlement = town.sync(wallet)
    told = [Resolution.decode(data).outcome for data in settlement.objects if data[0] == Resolution.TYPE]
    assert (told, wallet.purse.balance, town.purse(wallet)) == ([VOID], 900, 900)


def test_revoked_device_is_told_before_it_pays_for_a_redemption(town, wallet):
    payee = signer("payee of operator 1")
    account = town.ledger.open_account(1, "redemptions")
    key = town.operators[1].key
    town.ledger.register_device(key, 1, payee.public, KINDS["operator payee"], 0, account, "payee", town.now)
    revoke(town, wallet)
    with pytest.raises(DeviceRevoked, match="for people to settle"):
        town.ledger.open_redemption(key, payee, wallet.id, 100, town.now)


def test_device_that_only_another_operator_revoked_is_certified_by_its_own(town, wallet):
    revoke(town, wallet, by=2)
    assert town.sync(wallet).certified
    assert town.ledger.order_load(town.signer_of(wallet), wallet.id, 10, town.now).number == 2
