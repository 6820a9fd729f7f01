"""A payee that helps a cracked payer: what it can use of that money, and that no honest payee is taken for one."""

import pytest

from host_tools.ledger.errors import Disputed
from protocol import effects, records
from protocol.objects import Receipt, Transfer
from tests.engines.fixtures import every_engine
from tests.ledger.world import clone, forget_payers, pay_person, sale
from tests.unit.world import KINDS, sha256, signer

pytestmark = every_engine

NOTE = "it took more from a frozen device than an honest one can: for people to settle"
OUTDATED = "it names a Certificate that the payee had replaced"
PAYEE = signer("payee of operator 1")


@pytest.fixture
def town(town):
    """With the operator's own payee registered."""
    account, key = town.ledger.open_account(1, "redemptions"), town.operators[1].key
    town.ledger.register_device(key, 1, PAYEE.public, KINDS["operator payee"], 0, account, "payee", town.now)
    return town


def mint(payer, mule, branches, issue=None):
    """A cracked payer signs that many debits of its limit at one position, all to an accomplice that credits them."""
    amount = payer.certificate.payment_limit
    for _ in range(branches):
        transfer = Transfer(
            seq=payer.purse.head_seq + 1,
            previous=payer.purse.head_hash,
            payer=payer.id,
            payee=mule.id,
            amount=amount,
            lot=0,
            lot_amount=0,
            request=sha256(b"request %d" % mule.purse.head_seq),
            number=mule.numbers.take(),
            payer_issue=payer.certificate.issue,
            payee_issue=issue or mule.certificate.issue,
            cumulative=amount,
        ).sign(payer.party.sign)
        head = mule.purse
        receipt = Receipt(seq=head.head_seq + 1, previous=head.head_hash, transfer=sha256(transfer.body()))
        mule.perform([effects.Commit(records.credit(receipt.sign(mule.party.sign), transfer))])


def most_of_an_honest(device) -> int:
    return device.certificate.balance_limit + device.certificate.sum_limit


def settle(town, device):
    """The host drops what the ledger answers."""
    return town.settle(device, *town.statement(device))


def open_redemption(town, device, amount):
    return town.ledger.open_redemption(town.signer_of(device), PAYEE, device.id, amount, town.now)


def row(town, device) -> dict:
    return town.ledger.device(device.id, town.now)


# A Certificate that was replaced


@pytest.mark.parametrize("payer_first", [True, False])
def test_credit_that_names_a_certificate_which_the_payee_had_replaced_is_refused_in_any_order(town, payer_first):
    mule, wallet = town.device("mule", "terminal"), town.device("wallet", balance=900)
    first = (mule.purse.certificate, mule.purse.certificate_hash)
    town.sync(mule)
    mule.purse.certificate, mule.purse.certificate_hash = first  # cracked: as if it had installed nothing
    sale(mule, wallet, 300)
    if payer_first:
        town.sync(wallet)
        assert (town.purse(mule), town.states(wallet)) == (300, ["posted"])
    settle(town, mule)
    town.sync(wallet)
    assert (town.states(mule), town.purse(mule), town.purse(wallet)) == (["refused"], 0, 600)
    assert town.sums()["suspense"] == 300
    assert town.ledger.transfers(mule.id)[0]["refusal"] == OUTDATED
    assert town.frozen(mule) is None


def test_credit_before_the_newer_certificate_is_installed_is_paid_however_old_the_answer(town, shop):
    """Two answers were dropped on their way: the terminal goes on under the Certificate that it has."""
    wallet = town.device("wallet", balance=900)
    for amount in (100, 200):
        sale(shop, wallet, amount)
        settle(town, shop)
    sale(shop, wallet, 50)
    assert town.sync(shop).dead_letters == ()
    sale(shop, wallet, 40)
    town.sync(wallet)
    assert town.sync(shop).dead_letters == ()
    assert (town.purse(shop), town.sums()["suspense"]) == (390, 0)


# More than an honest payee can take


def test_purse_that_holds_more_of_frozen_payers_than_an_honest_one_gets_nothing_signed(town):
    payer, mule = town.device("payer", balance=100), town.device("mule")
    mint(payer, mule, most_of_an_honest(mule) // payer.certificate.payment_limit + 1)
    settlement = settle(town, mule)
    assert (settlement.certified, settlement.note) == (False, NOTE)
    assert town.frozen(payer) and town.purse(mule) > most_of_an_honest(mule)
    for amount in (town.purse(mule), 1):
        with pytest.raises(Disputed, match="for people to settle") as refused:
            open_redemption(town, mule, amount)
        assert refused.value.free == 0
    assert row(town, mule)["held"] == row(town, mule)["purse"]
    assert town.account(mule) == 1_000


def test_what_left_the_purse_again_counts_as_well(town):
    """It is never too full: what it took of one frozen payer is added up."""
    payer, mule, friend = town.device("payer", balance=100), town.device("mule"), town.device("friend")
    payment = payer.certificate.payment_limit
    full = mule.certificate.balance_limit // payment
    mint(payer, mule, full)
    for _ in range(full):
        pay_person(mule, friend, payment)
    mint(payer, mule, most_of_an_honest(mule) // payment - full + 1)  # the very first came before the freeze
    assert settle(town, mule).certified
    mint(payer, mule, 1)
    assert settle(town, mule).note == NOTE
    assert town.purse(mule) < most_of_an_honest(mule)
    with pytest.raises(Disputed):
        open_redemption(town, mule, 1)


def test_honest_payee_that_took_all_it_can_from_copies_before_it_heard_is_paid_and_certified(town):
    """Full, spent its whole sum, full again, all from copies of one wallet that was frozen in the meantime."""
    ben, friend = town.device("ben"), town.device("friend")
    cheat = town.device("cheat", balance=ben.certificate.balance_limit)
    kiosks = [town.device(f"kiosk {number}", "terminal") for number in (1, 2)]
    payment, branch = cheat.certificate.payment_limit, cheat.certificate.sum_limit
    copies = [clone(cheat) for _ in range(3)]
    for kiosk, copy in zip(kiosks, (cheat, copies[0]), strict=True):
        sale(kiosk, copy, 100)
        town.sync(kiosk)
    assert town.frozen(cheat)
    for copy in copies[1:]:
        forget_payers(ben)
        for _ in range(branch // payment):
            pay_person(copy, ben, payment)
        if ben.purse.cumulative == 0:
            for _ in range(branch // payment):
                pay_person(ben, friend, payment)
    settlement = town.sync(ben)
    assert (settlement.certified, settlement.dead_letters) == (True, ())
    assert (ben.purse.balance, town.purse(ben), row(town, ben)["held"]) == (branch, branch, 0)
    taken = sum(one["amount"] for one in town.ledger.transfers(ben.id) if one["payer"] == cheat.id.hex())
    assert taken == most_of_an_honest(ben)
    town.ledger.set_limits(ben.id, {"balance_limit": payment, "sum_limit": payment})
    for _ in range(2):
        assert town.sync(ben).certified  # its operator lowered what it may hold: what it took was honest then
    open_redemption(town, ben, branch)
