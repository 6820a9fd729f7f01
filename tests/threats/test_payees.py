"""A cracked payee: it claims what it voids, launders for a cracked payer, or says that a payment failed."""

import pytest

from host_tools.ledger.errors import DeviceFrozen, Disputed, HeldBack
from host_tools.ledger.holds import HOLD_DAYS
from protocol import apdu, records
from protocol.errors import OVER_SUM_LIMIT, REVOKED
from protocol.objects import CASH_OUT, DAY_S, PAID, VOID, Receipt, Resolution, Void
from tests.ledger.test_accomplice import mint
from tests.ledger.world import LOST_CONFIRM, pay_person
from tests.threats import bounds
from tests.threats.scenes import DEADLINE, LEFT_ON_ACCOUNT, buy, lists, redeem, spend_all, torn
from tests.unit.world import cause_of, sha256

# A payee that voids and claims


def claim_and_void(shop, wallet):
    """The terminal credits each payment, keeps its Receipt back and gives the wallet a Void."""
    before = shop.purse.balance
    while wallet.purse.cumulative < bounds.BRANCH:
        torn(shop, wallet, bounds.PAYMENT, LOST_CONFIRM)
        void = Void(transfer=wallet.purse.in_doubt[0].hash).sign(shop.party.sign)
        wallet.send(apdu.CONFIRM, void.encode())
    assert (wallet.purse.balance, shop.purse.balance) == (bounds.HELD, before + bounds.BRANCH)
    assert cause_of(buy, shop, wallet, 1) == OVER_SUM_LIMIT  # voided payments count
    shop.payee.close()


def test_payee_that_voids_and_claims_redeems_nothing_while_it_is_new(town, shop):
    wallet = town.device("wallet", balance=bounds.HELD)
    claim_and_void(shop, wallet)
    town.sync(shop)
    with pytest.raises(HeldBack):
        redeem(town, shop, 1)
    town.sync(wallet)
    assert town.proven(shop.id) == {"receipt and void"}
    assert (town.purse(wallet), town.purse(shop), town.loss()) == (bounds.HELD, 0, 0)


def test_payee_that_voids_and_claims_passes_on_one_sum_limit_while_it_is_new(town, shop):
    """To accomplices, who redeem at once: what it sent away unconfirmed its next Certificates take off its sum."""
    payers = [
        town.device(f"payer {number}", balance=bounds.HELD) for number in range(bounds.TILL_BRANCH // bounds.HELD)
    ]
    late, kiosk = town.device("late", balance=bounds.HELD), town.device("kiosk", "terminal")
    for payer in payers:
        claim_and_void(shop, payer)
    assert town.sync(shop).certified
    mules = [town.device(f"mule {number}") for number in range(len(payers) + 1)]
    for mule in mules[:-1]:
        pay_person(shop, mule, bounds.HELD, CASH_OUT)
        town.sync(mule)
        redeem(town, mule, bounds.HELD)
    passed_on = sum(town.account(mule) - LEFT_ON_ACCOUNT for mule in mules)
    assert passed_on == bounds.TILL_BRANCH
    claim_and_void(shop, late)
    for _ in range(2):
        assert town.sync(shop).certified
        assert (shop.certificate.sum_limit, shop.purse.cumulative) == (0, 0)
        assert cause_of(pay_person, shop, mules[-1], 1, CASH_OUT) == OVER_SUM_LIMIT
        with pytest.raises(HeldBack):
            redeem(town, shop, 1)
    for payer in (*payers, late):
        town.sync(payer)
        assert town.purse(payer) == bounds.HELD
    assert (town.purse(shop), town.loss()) == (0, bounds.TILL_BRANCH)
    assert town.proven(shop.id) == {"receipt and void"}
    town.sync(kiosk)
    assert lists(kiosk, shop)


@pytest.mark.parametrize("payers", [1, 3])
def test_payee_that_voids_and_claims_takes_what_its_payers_have_not_shown(town, shop, payers):
    """Of a terminal that is known: one sum limit for each payer that has not synced, to the guarantee."""
    wallets = [town.device(f"wallet {number}", balance=bounds.HELD) for number in range(payers)]
    town.now += HOLD_DAYS * DAY_S
    for wallet in wallets:
        claim_and_void(shop, wallet)
    town.sync(shop)
    redeem(town, shop, payers * bounds.BRANCH)
    assert (town.account(shop), town.loss()) == (payers * bounds.BRANCH + LEFT_ON_ACCOUNT, 0)
    for number, wallet in enumerate(wallets, start=1):
        town.sync(wallet)
        assert (town.purse(wallet), town.loss()) == (bounds.HELD, number * bounds.BRANCH)
    assert town.proven(shop.id) == {"receipt and void"}
    assert lists(wallets[0], shop)
    assert cause_of(buy, shop, wallets[0], 1) == REVOKED
    shop.payee.close()
    assert not town.sync(shop).certified


def test_payee_that_voids_and_claims_after_its_payer_synced_gets_nothing(town, shop):
    wallet = town.device("wallet", balance=bounds.HELD)
    town.now += HOLD_DAYS * DAY_S
    claim_and_void(shop, wallet)
    town.sync(wallet)
    settlement = town.sync(shop)
    assert set(settlement.dead_letters) == {"the payee has voided this Transfer"}
    assert (town.purse(wallet), town.purse(shop), town.loss()) == (bounds.HELD, 0, 0)
    with pytest.raises(DeviceFrozen):
        redeem(town, shop, 1)


def void_past_the_journal(town, shop, wallet, payments):
    """The wallet's host makes up records that bring the terminal's Voids."""
    made = []
    for seq, payment in enumerate(payments, start=1_000):
        void = Void(transfer=payment).sign(shop.party.sign)
        body = records.Closing(
            seq=seq, previous=bytes(32), transfer=payment, outcome=VOID, evidence=sha256(void.body())
        )
        made.append(records.closing(body, void))
    statement, uploaded = town.statement(wallet)
    town.settle(wallet, statement, uploaded + made)
    town.book_overdue()


@pytest.mark.parametrize("closed_by", ["receipt", "resolution"])
def test_void_of_what_the_payer_has_shown_as_paid_gives_nothing_back(town, shop, closed_by):
    """An accomplice pays, the terminal redeems, the money goes round; in the end it voids every payment."""
    wallet = town.device("wallet", balance=bounds.PAYMENT)
    town.now += HOLD_DAYS * DAY_S
    payments = []
    for _ in range(3):
        if closed_by == "receipt":
            buy(shop, wallet, bounds.PAYMENT)
            payments.append(wallet.purse.last_closing[0])
        else:
            torn(shop, wallet, bounds.PAYMENT, LOST_CONFIRM)
            payments.append(wallet.purse.in_doubt[0].hash)
            shop.payee.close()
        town.sync(shop)
        town.sync(wallet)
        redeem(town, shop, bounds.PAYMENT)
        town.ledger.issue(town.accounts["wallet"], bounds.PAYMENT, town.now)
        town.ledger.order_load(town.signer_of(wallet), wallet.id, bounds.PAYMENT, town.now)
        town.sync(wallet)
        town.sync(wallet)
    void_past_the_journal(town, shop, wallet, payments)
    assert town.proven(shop.id) == {"receipt and void"}
    assert (town.account(wallet), town.purse(wallet), town.loss()) == (LEFT_ON_ACCOUNT, bounds.PAYMENT, 0)


def test_void_that_comes_before_the_payer_shows_it_as_paid_gives_nothing_back_either(town, shop):
    """The host keeps the end of the wallet's journal back, until the Void has had its turn."""
    wallet = town.device("wallet", balance=bounds.PAYMENT)
    buy(shop, wallet, bounds.PAYMENT)
    payment = wallet.purse.last_closing[0]
    town.sync(shop)
    statement, uploaded = town.statement(wallet)
    town.settle(wallet, statement, uploaded[:-1])
    town.void(shop, payment)
    assert (town.states(wallet), town.purse(wallet), town.purse(shop)) == (["void"], bounds.PAYMENT, 0)
    assert town.sync(wallet).certified
    assert (town.states(wallet), town.purse(wallet), town.purse(shop)) == (["posted"], 0, bounds.PAYMENT)


def test_payer_that_leaves_its_debits_open_gets_one_sum_limit_back(town, shop):
    """Cracked as its payee is: it hears no Resolution, and after many rounds closes all of them with Voids."""
    wallet = town.device("wallet", balance=bounds.HELD)
    town.now += HOLD_DAYS * DAY_S
    refused = 0
    for _ in range(6):
        older, wallet.purse.in_doubt = wallet.purse.in_doubt, []  # so that neither taps nor loads mind it
        if wallet.purse.cumulative + bounds.PAYMENT > wallet.certificate.sum_limit:
            refused += cause_of(buy, shop, wallet, bounds.PAYMENT) == OVER_SUM_LIMIT
        else:
            torn(shop, wallet, bounds.PAYMENT, LOST_CONFIRM)
            town.ledger.issue(town.accounts["wallet"], bounds.PAYMENT, town.now)
            town.ledger.order_load(town.signer_of(wallet), wallet.id, bounds.PAYMENT, town.now)
        older, wallet.purse.in_doubt = older + wallet.purse.in_doubt, []
        shop.payee.close()
        town.sync(shop)
        answer = town.settle(wallet, *town.statement(wallet))
        for data in answer.objects[:-2]:
            if data[0] != Resolution.TYPE:
                wallet.send(apdu.PUT, data)
        wallet.purse.in_doubt = older
        wallet.send(apdu.INSTALL, b"".join(answer.objects[-2:]))
    assert refused == 2
    redeem(town, shop, bounds.BRANCH)
    for debit in list(wallet.purse.in_doubt):
        wallet.perform(wallet.payer.close(Void(transfer=debit.hash).sign(shop.party.sign)))
    town.settle(wallet, *town.statement(wallet))
    assert town.loss() == bounds.BRANCH


def test_debit_in_doubt_confirms_nothing_to_a_new_terminal(town, shop):
    """Its payer has synced, and can still bring a Void."""
    wallet = town.device("wallet", balance=bounds.PAYMENT)
    torn(shop, wallet, bounds.PAYMENT, LOST_CONFIRM)
    town.sync(wallet)
    town.sync(shop)
    with pytest.raises(HeldBack):
        redeem(town, shop, 1)
    town.sync(wallet)
    town.sync(wallet)  # told that it is paid, its journal says so
    redeem(town, shop, bounds.PAYMENT)


# An accomplice

OF_ACCOMPLICES = [
    ("wallet", bounds.ACCOMPLICE, bounds.BRANCH),
    ("terminal", bounds.TILL_ACCOMPLICE, bounds.TILL_BRANCH),
]


@pytest.mark.parametrize(("kind", "most", "branch"), OF_ACCOMPLICES, ids=["wallet", "terminal"])
def test_accomplice_redeems_no_more_than_an_honest_payee_at_once(town, kind, most, branch):
    payer, mule = town.device("payer"), town.device("mule", kind)
    town.now += HOLD_DAYS * DAY_S
    mint(payer, mule, most // bounds.PAYMENT + 1)
    assert not town.settle(mule, *town.statement(mule)).certified
    assert "two histories" in town.frozen(payer)
    for amount in (most, 1):
        with pytest.raises(Disputed, match="for people to settle"):
            redeem(town, mule, amount)
    assert (town.account(mule), town.purse(mule)) == (LEFT_ON_ACCOUNT, most + bounds.PAYMENT)


@pytest.mark.parametrize(("kind", "most", "branch"), OF_ACCOMPLICES, ids=["wallet", "terminal"])
def test_accomplice_uses_no_more_than_an_honest_payee_over_all_its_syncs(town, shop, kind, most, branch):
    """It redeems at once what it took, so that it never holds much, and installs no list that names the payer."""
    payer, mule = town.device("payer", balance=bounds.PAYMENT), town.device("mule", kind)
    town.now += HOLD_DAYS * DAY_S
    mint(payer, mule, 1)  # what the payer has is no loss
    certificates = []
    for part in (most - branch, branch):
        mint(payer, mule, part // bounds.PAYMENT)
        certificates.append(town.settle(mule, *town.statement(mule)))
        assert certificates[-1].certified
        redeem(town, mule, town.purse(mule))
    assert (town.account(mule), town.loss()) == (most + bounds.PAYMENT + LEFT_ON_ACCOUNT, most)

    mint(payer, mule, 2 * branch // bounds.PAYMENT)
    assert not town.settle(mule, *town.statement(mule)).certified
    with pytest.raises(Disputed):
        redeem(town, mule, 1)
    town.install(mule, certificates[-1])  # the last that it has
    mule.purse.cumulative, mule.purse.balance = 0, branch
    assert spend_all(shop, mule) == (branch, OVER_SUM_LIMIT)
    assert not town.sync(mule).certified
    assert cause_of(buy, shop, mule, 1) == OVER_SUM_LIMIT


@pytest.mark.parametrize("kind", ["wallet", "terminal"])
def test_accomplice_gets_nothing_under_a_certificate_that_it_had_replaced(town, kind):
    """What it installs it cannot deny: a credit that names the Certificate of before is none of an honest payee."""
    payer, mule = town.device("payer", balance=bounds.PAYMENT), town.device("mule", kind)
    town.now += HOLD_DAYS * DAY_S
    first = mule.certificate.issue
    mint(payer, mule, 2)
    assert town.sync(mule).certified
    redeem(town, mule, town.purse(mule))
    assert town.loss() == bounds.PAYMENT
    mint(payer, mule, 4, issue=first)
    mint(payer, mule, 4)
    town.sync(mule)
    assert (town.purse(mule), town.account(mule)) == (0, 2 * bounds.PAYMENT + LEFT_ON_ACCOUNT)


# A merchant that is paid and says it was not


def test_merchant_that_credits_and_shows_failed_has_given_a_receipt(town, shop):
    wallet = town.device("wallet", balance=bounds.HELD)
    buy(shop, wallet, bounds.PAYMENT)
    evidence = records.decode(wallet.journal.stored[-1]).evidence
    debit = records.decode(wallet.journal.stored[-2]).transfer
    assert isinstance(evidence, Receipt)
    assert evidence.verified_by(shop.certificate.key, shop.party.verify)
    assert (evidence.transfer, debit.amount, debit.payee) == (sha256(debit.body()), bounds.PAYMENT, shop.id)
    town.sync(wallet)  # the merchant never comes
    assert town.states(wallet) == ["posted"]
    assert (town.purse(wallet), town.purse(shop)) == (bounds.HELD - bounds.PAYMENT, bounds.PAYMENT)


@pytest.mark.parametrize("comes", [True, False])
def test_merchant_that_keeps_its_receipt_back(town, shop, comes):
    """The wallet shows "in doubt"; the merchant's own upload, or the deadline, says that it was paid."""
    wallet = town.device("wallet", balance=bounds.HELD)
    torn(shop, wallet, bounds.PAYMENT, LOST_CONFIRM)
    assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (bounds.HELD - bounds.PAYMENT, bounds.PAYMENT)
    if comes:
        town.sync(shop)
    else:
        town.sync(wallet)
        assert town.pending() == bounds.PAYMENT
        town.now += DEADLINE
        assert town.book_overdue().transfers == 1
    settlement = town.sync(wallet)
    outcomes = [Resolution.decode(data).outcome for data in settlement.objects if data[0] == Resolution.TYPE]
    assert outcomes == [PAID]
    assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (bounds.HELD - bounds.PAYMENT, 0)
    got = (town.purse(shop), town.account(shop) - LEFT_ON_ACCOUNT)
    assert got == ((bounds.PAYMENT, 0) if comes else (0, bounds.PAYMENT))
    assert town.ledger.transfers(wallet.id)[0]["payee"] == shop.id.hex()
