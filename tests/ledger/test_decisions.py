"""What people decide: money in suspense, and disputes. Also what the payer is told of a claim that was refused."""

import pytest
from sqlalchemy import select

from host_tools.ledger.errors import Disputed, InvalidInput, NotToDecide, UnknownDevice, UnknownTransfer, WrongSigner
from host_tools.ledger.holds import HOLD_DAYS
from host_tools.ledger.schema import from_frozen
from host_tools.ledger.transfers import FOR_PAYEE, FOR_PAYER
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, PAID, VOID, Resolution
from tests.ledger.test_accomplice import mint, most_of_an_honest
from tests.ledger.test_redeem import PAYEE, open_for, redeem
from tests.ledger.world import LOST_CONFIRM, Link, clone, sale, unregistered
from tests.unit.world import KINDS, LinkLost, signer

WHY = "her passport and the till roll"


@pytest.fixture
def town(town):
    """With the operator's own payee registered."""
    account, key = town.ledger.open_account(1, "redemptions"), town.operators[1].key
    town.ledger.register_device(key, 1, signer(PAYEE).public, KINDS["operator payee"], 0, account, "payee", town.now)
    return town


def refused(town, shop, wallet, torn=True) -> bytes:
    """The terminal takes 300 of a wallet that it knows to be revoked. Returns the payment's hash."""
    town.ledger.revoke(town.operators[1].key, 1, wallet.id, town.now)
    town.sync(shop)
    shop.party.trust.judge = lambda *_: None
    try:
        sale(shop, wallet, 300, link=Link(cut_at=LOST_CONFIRM) if torn else None)
    except LinkLost:
        assert torn
    town.sync(shop)
    assert town.sums()["suspense"] == 300
    (waiting,) = town.ledger.suspense()
    assert (waiting["payer"], waiting["payee"], waiting["amount"]) == (wallet.id.hex(), shop.id.hex(), 300)
    assert waiting["refusal"] == "the payer was revoked, and the payee's Certificate says so"
    return bytes.fromhex(waiting["hash"])


def decide(town, payment, whose, by=1):
    town.ledger.decide(town.operators[by].key, payment, whose, WHY, town.now)
    town.check()


def told(town, wallet) -> list[int]:
    """What the next sync tells the payer of its payments."""
    settlement = town.sync(wallet)
    return [Resolution.decode(data).outcome for data in settlement.objects if data[0] == Resolution.TYPE]


def void(town, shop, wallet, payment):
    """The payee's Void comes with the wallet's journal, or past it."""
    town.void(shop, payment)
    town.check()


# What the payer is told


def test_payer_of_a_refused_claim_has_paid_and_its_slot_is_free_again(town, shop, wallet):
    refused(town, shop, wallet)
    assert wallet.purse.in_doubt_sum == 300
    town.sync(wallet)
    assert (told(town, wallet), wallet.purse.in_doubt_sum, wallet.purse.balance) == ([], 0, 600)
    assert (town.purse(wallet), town.sums()["suspense"]) == (600, 300)


def test_payer_that_was_told_paid_is_told_void_if_the_void_comes_before_its_journal_says_so(town, shop, wallet):
    payment = refused(town, shop, wallet)
    settlement = town.settle(wallet, *town.statement(wallet))  # the host keeps the answer
    assert [Resolution.decode(data).outcome for data in settlement.objects if data[0] == Resolution.TYPE] == [PAID]
    void(town, shop, wallet, payment)
    assert told(town, wallet) == [VOID]
    assert (wallet.purse.balance, town.purse(wallet), town.sums()["suspense"]) == (900, 900, 0)


# Money in suspense


@pytest.mark.parametrize("torn", [True, False])
def test_decided_for_the_payee(town, shop, wallet, torn):
    payment = refused(town, shop, wallet, torn)
    for _ in range(2):
        decide(town, payment, FOR_PAYEE)
        assert (town.purse(shop), town.purse(wallet), town.sums()["suspense"]) == (300, 600, 0)
    town.sync(shop)
    town.sync(wallet)
    assert (shop.purse.balance, wallet.purse.balance, wallet.purse.in_doubt_sum) == (300, 600, 0)
    assert (town.states(wallet), town.ledger.suspense()) == (["posted"], [])
    (decision,) = town.ledger.decisions()
    assert decision == {
        "at": town.now,
        "operator": 1,
        "what": "payee",
        "device": shop.id.hex(),
        "transfer": payment.hex(),
        "amount": 300,
        "reason": WHY,
    }


def test_decided_for_the_payer_that_is_still_in_doubt(town, shop, wallet):
    """Its device gets the money back, since it is told VOID."""
    payment = refused(town, shop, wallet)
    for _ in range(2):
        decide(town, payment, FOR_PAYER)
        assert (town.purse(shop), town.purse(wallet), town.sums()["suspense"]) == (0, 900, 0)
    assert told(town, wallet) == [VOID]
    town.sync(wallet)
    town.book_overdue()
    assert (wallet.purse.balance, town.purse(wallet), town.account(wallet)) == (900, 900, 1_000)
    assert town.states(wallet) == ["returned"]


def test_decided_for_the_payer_whose_device_has_let_go_is_passed_on_to_its_owner(town, shop, wallet):
    """The journal says paid, so the device never has it again."""
    payment = refused(town, shop, wallet, torn=False)
    town.sync(wallet)
    decide(town, payment, FOR_PAYER)
    for _ in range(2):
        town.book_overdue()
        assert (wallet.purse.balance, town.purse(wallet), town.account(wallet)) == (600, 600, 1_300)
    void(town, shop, wallet, payment)  # says what was decided
    town.book_overdue()
    assert (town.purse(wallet), town.account(wallet), town.states(wallet)) == (600, 1_300, ["void"])


def test_void_that_comes_after_its_payer_had_shown_it_as_paid_is_passed_on_as_well(town, shop, wallet):
    payment = refused(town, shop, wallet)
    town.sync(wallet)
    town.sync(wallet)
    void(town, shop, wallet, payment)
    town.book_overdue()
    assert (wallet.purse.balance, town.purse(wallet), town.account(wallet)) == (600, 600, 1_300)


@pytest.mark.parametrize("redeemed", [True, False])
def test_void_that_comes_after_a_decision_for_the_payee_gives_the_money_to_the_payer(town, shop, wallet, redeemed):
    payment = refused(town, shop, wallet)
    decide(town, payment, FOR_PAYEE)
    town.now += HOLD_DAYS * DAY_S
    if redeemed:
        redeem(town, shop, 300)
    void(town, shop, wallet, payment)
    assert "claimed and voided" in town.frozen(shop)
    assert (town.purse(wallet), town.purse(shop), town.loss()) == (900, 0, 300 if redeemed else 0)
    assert town.states(wallet)[0] == "void"
    decide(town, payment, FOR_PAYEE)  # again changes nothing
    assert town.purse(wallet) == 900


def test_decided_for_a_lost_payer_goes_to_its_owner(town, shop, wallet):
    payment = refused(town, shop, wallet)
    town.ledger.report_lost(town.signer_of(wallet), wallet.id, town.now)
    town.now += (CERTIFICATE_DAYS + GRACE_DAYS + 1) * DAY_S
    town.book_overdue()
    assert town.account(wallet) == 1_600
    decide(town, payment, FOR_PAYER)
    town.book_overdue()
    assert (town.account(wallet), town.purse(wallet)) == (1_900, 0)


def test_decided_for_a_frozen_payer_repays_the_guarantee_first(town, wallet):
    shop, kiosk = town.device("shop", "terminal"), town.device("kiosk", "terminal")
    twin = clone(wallet)
    sale(kiosk, twin, 800)
    payment = refused(town, shop, wallet, torn=False)
    town.sync(kiosk)
    assert (town.frozen(wallet) is not None, town.loss()) == (True, 200)
    decide(town, payment, FOR_PAYER)
    town.book_overdue()
    assert (town.loss(), town.purse(wallet), town.account(wallet)) == (0, 100, 1_000)


def test_what_people_gave_a_payee_of_a_cheat_puts_it_in_no_dispute(town, wallet):
    shop, kiosk = town.device("shop", "terminal"), town.device("kiosk", "terminal")
    twin = clone(wallet)
    sale(kiosk, twin, 800)
    payment = refused(town, shop, wallet, torn=False)
    town.sync(kiosk)
    assert town.frozen(wallet)
    decide(town, payment, FOR_PAYEE)
    counted = town.ledger._read(lambda connection: connection.execute(select(from_frozen.c.payee)).scalars().all())
    assert (town.purse(shop), town.loss(), counted) == (300, 200, [kiosk.id])


def test_decisions_that_cannot_be_made(town, shop, wallet):
    payment = refused(town, shop, wallet)
    good = town.operators[1].key
    for signed_by, which, whose, why, error in (
        (good, bytes(32), FOR_PAYEE, WHY, UnknownTransfer),
        (town.operators[2].key, payment, FOR_PAYEE, WHY, WrongSigner),
        (good, payment, "me", WHY, InvalidInput),
        (good, payment, FOR_PAYEE, " ", InvalidInput),
        (good, payment, FOR_PAYEE, "x" * 201, InvalidInput),
    ):
        with pytest.raises(error, match="No money moved"):
            town.ledger.decide(signed_by, which, whose, why, town.now)
    assert (town.sums()["suspense"], town.ledger.decisions()) == (300, [])
    decide(town, payment, FOR_PAYER)
    with pytest.raises(NotToDecide, match="decided for the payer already"):
        decide(town, payment, FOR_PAYEE)
    other = town.device("other", balance=100)
    sale(shop, other, 100)
    town.sync(shop)
    with pytest.raises(NotToDecide, match="not in suspense, but posted"):
        decide(town, bytes.fromhex(town.ledger.transfers(other.id)[0]["hash"]), FOR_PAYER)
    assert len(town.ledger.decisions()) == 1


def test_payee_that_is_not_registered_has_no_purse_to_decide_for(town, wallet):
    stranger = unregistered(town, "stranger", "terminal")
    sale(stranger, wallet, 100)
    town.sync(wallet)
    payment = bytes.fromhex(town.ledger.suspense()[0]["hash"])
    with pytest.raises(UnknownDevice, match="Decide for the payer"):
        decide(town, payment, FOR_PAYEE)
    decide(town, payment, FOR_PAYER)
    town.book_overdue()
    assert (town.account(wallet), town.purse(wallet)) == (1_100, 800)
    assert [line["reason"] for line in town.ledger.postings(town.accounts["wallet"])][-1] == "passed on to its owner"


# Disputes


def test_dispute_is_lifted_up_to_what_it_stands_at(town, shop):
    payer = town.device("payer")
    town.now += HOLD_DAYS * DAY_S
    limit = payer.certificate.payment_limit
    mint(payer, shop, most_of_an_honest(shop) // limit + 1)
    town.settle(shop, *town.statement(shop))
    held = town.purse(shop)
    assert (town.ledger.device(shop.id)["disputed"], held > most_of_an_honest(shop)) == (True, True)
    with pytest.raises(Disputed):
        open_for(town, shop, 1)
    with pytest.raises(WrongSigner):
        town.ledger.clear(town.operators[2].key, shop.id, WHY, town.now)
    with pytest.raises(InvalidInput):
        town.ledger.clear(town.operators[1].key, shop.id, "", town.now)
    for _ in range(2):
        assert town.ledger.clear(town.operators[1].key, shop.id, WHY, town.now) == held
    (decision,) = town.ledger.decisions()
    assert (decision["what"], decision["device"], decision["amount"]) == ("clear", shop.id.hex(), held)
    assert not town.ledger.device(shop.id)["disputed"]
    redeem(town, shop, limit)
    assert town.settle(shop, *town.statement(shop)).certified
    assert town.account(shop) == 1_000 + limit

    mint(payer, shop, 2)  # more than it was cleared for
    assert not town.settle(shop, *town.statement(shop)).certified
    with pytest.raises(Disputed):
        open_for(town, shop, 1)
    assert town.ledger.clear(town.operators[1].key, shop.id, WHY, town.now) > held
    assert len(town.ledger.decisions()) == 2


def test_device_that_is_not_in_dispute_cannot_be_cleared(town, wallet):
    with pytest.raises(NotToDecide, match="not in dispute"):
        town.ledger.clear(town.operators[1].key, wallet.id, WHY, town.now)
    assert town.ledger.decisions() == []
