"""Which claims are not posted: only those that no honest payee would have."""

import pytest

from protocol import apdu, effects, records
from protocol.limits import CERTIFICATE_DAYS
from protocol.objects import DAY_S, REVOKED_ALTOGETHER, Receipt, Revocations, Transfer
from tests.ledger.world import LOST_CONFIRM, Link, meet, sale, sale_tap, unregistered
from tests.unit.world import LinkLost, sha256


def careless_sale(shop, wallet, amount):
    """A cracked payer pays whatever it likes, a cracked terminal takes it: signatures and chain are right."""
    shop.open(amount)
    request = shop.payee.request
    transfer = Transfer(
        seq=wallet.purse.head_seq + 1,
        previous=wallet.purse.head_hash,
        payer=wallet.id,
        payee=shop.id,
        amount=request.amount,
        lot=0,
        lot_amount=0,
        request=shop.payee.request_hash,
        number=request.number,
        payer_issue=wallet.certificate.issue,
        payee_issue=shop.certificate.issue,
        cumulative=wallet.purse.cumulative + request.amount,
    ).sign(wallet.party.sign)
    head = shop.purse
    receipt = Receipt(seq=head.head_seq + 1, previous=head.head_hash, transfer=sha256(transfer.body()))
    shop.perform([effects.Commit(records.credit(receipt.sign(shop.party.sign), transfer))])


def test_payer_that_is_not_registered_is_a_dead_letter_and_blocks_nothing(town, shop):
    stranger = unregistered(town, "stranger", "wallet")
    stranger.send(apdu.PUT, town.operators[1].load(stranger.id, 1, 100).encode())
    sale(shop, stranger, 100)
    settlement = town.sync(shop)
    assert settlement.dead_letters == ("the payer is not registered",)
    assert (settlement.certified, town.purse(shop)) == (True, 0)


def test_payee_that_is_not_registered_is_not_paid_but_the_payer_has_paid(town, wallet):
    stranger = unregistered(town, "stranger", "terminal")
    with pytest.raises(LinkLost):
        sale(stranger, wallet, 100, link=Link(cut_at=LOST_CONFIRM))
    assert town.sync(wallet).dead_letters == ()
    assert (town.purse(wallet), town.pending()) == (800, 100)
    meet(sale_tap(stranger), wallet)
    settlement = town.sync(wallet)
    assert settlement.dead_letters == ("the payee is not registered",)
    assert (settlement.certified, town.purse(wallet), town.pending(), town.sums()["suspense"]) == (True, 800, 0, 100)


def test_over_the_limit_in_the_transfer_itself_is_refused_into_suspense(town, shop, wallet):
    limit = wallet.certificate.payment_limit
    careless_sale(shop, wallet, limit)
    settlement = town.sync(shop)
    assert (settlement.dead_letters, town.purse(shop), town.sums()["suspense"]) == ((), limit, 0)
    other = town.device("other", balance=100)
    careless_sale(shop, other, limit + 1)
    settlement = town.sync(shop)
    assert settlement.dead_letters == ("over payment limit",)
    assert settlement.certified
    assert (town.purse(shop), town.purse(other), town.sums()["suspense"]) == (limit, 100 - limit - 1, limit + 1)
    assert town.states(other) == ["refused"]


@pytest.mark.parametrize(
    ("days_limit", "days", "refusal"),
    [
        (255, CERTIFICATE_DAYS, ()),
        (255, CERTIFICATE_DAYS + 1, ("the payer's Certificate expired before the payee's began",)),
        (7, 7, ()),
        (7, 8, ("too long without sync",)),
    ],
)
def test_payer_that_the_payees_own_certificate_shows_to_be_too_old_is_refused(
    town, shop, wallet, days_limit, days, refusal
):
    town.ledger.set_limits(wallet.id, {"days_limit": days_limit})
    town.sync(wallet)
    town.now += days * DAY_S
    town.sync(shop)
    careless_sale(shop, wallet, 300)
    assert town.sync(shop).dead_letters == refusal
    assert (town.purse(shop), town.sums()["suspense"]) == ((0, 300) if refusal else (300, 0))


@pytest.mark.parametrize("told", [True, False])
def test_payee_is_refused_only_if_its_certificate_proves_that_it_knew_of_the_revocation(town, shop, wallet, told):
    town.ledger.revoke(town.operators[1].key, 1, wallet.id, town.now)
    if told:
        settlement = town.sync(shop)
        assert Revocations.decode(settlement.objects[0]).entries == ((wallet.id, REVOKED_ALTOGETHER),)
        assert shop.certificate.epoch == 1
        shop.party.trust.judge = lambda *_: None  # a cracked terminal that takes revoked money
    sale(shop, wallet, 300)
    settlement = town.sync(shop)
    assert (town.purse(shop), town.sums()["suspense"]) == ((0, 300) if told else (300, 0))
    assert bool(settlement.dead_letters) is told
