"""What looks plain and is not: each of these ends by the rules, with or without the short way past them."""

import copy
from pathlib import Path

import pytest

from host_tools.crypto import sha256
from host_tools.ledger import Upload, plain
from host_tools.ledger.settlement import Settler
from protocol import effects, records
from protocol.objects import PAID, VOID, Receipt, Transfer, Void
from protocol.records import Closing
from tests.ledger.world import Town, clone, pay_person, sale, unregistered
from tests.unit.world import KINDS, Device


@pytest.fixture(params=["plain", "rules"])
def town(request, tmp_path: Path, monkeypatch):
    if request.param == "rules":
        monkeypatch.setattr(plain, "STAGES", ())
    town = Town(tmp_path)
    yield town
    town.ledger.close()


def transfer(payer: Device, payee: Device, amount: int, **other) -> Transfer:
    """What the payer's own code would sign next, but for `other`."""
    said = {
        "seq": payer.purse.head_seq + 1,
        "previous": payer.purse.head_hash,
        "payer": payer.id,
        "payee": payee.id,
        "amount": amount,
        "lot": 0,
        "lot_amount": 0,
        "request": sha256(b"request"),
        "number": payee.numbers.take(),
        "payer_issue": payer.certificate.issue,
        "payee_issue": payee.certificate.issue,
        "cumulative": amount,
    }
    return Transfer(**said | other).sign(payer.party.sign)


def credit(payee: Device, paid: Transfer) -> Receipt:
    head = payee.purse
    receipt = Receipt(seq=head.head_seq + 1, previous=head.head_hash, transfer=sha256(paid.body()))
    payee.perform([effects.Commit(records.credit(receipt.sign(payee.party.sign), paid))])
    return receipt


def debit(payer: Device, payee: Device, paid: Transfer) -> None:
    payer.perform([effects.Commit(records.debit(paid, payee.party.public_key, 0))])


def close(payer: Device, evidence: Receipt | Void, outcome: int) -> None:
    doubts = copy.copy(payer.purse.in_doubt)
    head = payer.purse
    body = Closing(
        seq=head.head_seq + 1,
        previous=head.head_hash,
        transfer=evidence.transfer,
        outcome=outcome,
        evidence=sha256(evidence.body()),
    )
    payer.perform([effects.Commit(records.closing(body, evidence))])
    payer.purse.in_doubt = doubts  # it closes it once more


@pytest.mark.parametrize("order", ["one first", "other first"])
def test_second_history_that_another_brings_in_the_same_batch(town, order):
    """It was paid at the place at which its clone paid, and both come at once."""
    wallet, friend, shop = town.device("x", balance=800), town.device("f", balance=800), town.device("s", "terminal")
    for one in (wallet, friend, shop, wallet):
        town.sync(one)
    twin = clone(wallet)
    pay_person(friend, wallet, 10)
    sale(shop, twin, 300)
    uploads = [Upload(town.signer_of(one), *town.statement(one)) for one in (wallet, shop)]
    town.ledger.settle_many(uploads if order == "one first" else uploads[::-1], town.now)
    assert town.frozen(wallet)
    town.sync(friend)
    assert town.proven(wallet.id) == {"two histories"}


def test_payer_that_is_registered_while_its_signature_would_be_checked(town, monkeypatch):
    """Nobody has checked it: whoever was paid may have written the Transfer himself."""
    shop = town.device("shop", "terminal")
    town.sync(shop)
    victim = unregistered(town, "x", "wallet")
    paid = transfer(victim, shop, 300, payer_issue=1)
    paid.signature = bytes(64)
    credit(shop, paid)
    upload = Upload(town.signer_of(shop), *town.statement(shop))
    prepare = Settler._prepare

    def late(settler, uploads, now):
        batch = prepare(settler, uploads, now)
        account = town.ledger.open_account(1, "x")
        key = victim.party.public_key
        town.ledger.register_device(town.operators[1].key, 1, key, KINDS["wallet"], 0, account, "x", town.now)
        return batch

    monkeypatch.setattr(Settler, "_prepare", late)
    (answer,) = town.ledger.settle_many([upload], town.now)
    assert answer.dead_letters == ("the payer is not registered",)
    assert (town.purse(shop), town.purse(victim), town.frozen(victim)) == (0, 0, None)


@pytest.fixture
def outdated(town) -> tuple[Device, Device]:
    """A terminal that goes on under a Certificate after the next one, and a wallet that paid it."""
    mule, wallet = town.device("mule", "terminal"), town.device("wallet", balance=900)
    town.sync(wallet)
    first = mule.purse.certificate, mule.purse.certificate_hash
    town.sync(mule)
    mule.purse.certificate, mule.purse.certificate_hash = first
    sale(mule, wallet, 300)
    return mule, wallet


def test_credit_under_an_older_certificate_whose_installation_comes_after_it(town, outdated):
    mule, _ = outdated
    statement, uploaded = town.statement(mule)
    town.settle(mule, statement, uploaded[1:])
    town.settle(mule, *town.statement(mule))
    assert (town.purse(mule), town.sums()["suspense"]) == (0, 300)


def test_credits_under_an_older_certificate_are_refused_with_their_reasons(town, outdated):
    mule, wallet = outdated
    other = town.device("other", balance=900)
    town.sync(other)
    sale(mule, other, 200)
    town.sync(wallet)
    answer = town.settle(mule, *town.statement(mule))
    assert (town.purse(mule), town.sums()["suspense"], len(answer.dead_letters)) == (0, 500, 2)


@pytest.mark.parametrize("known", [False, True])
def test_debit_that_is_closed_twice(town, known):
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=800)
    town.sync(shop)
    town.sync(wallet)
    paid = transfer(wallet, shop, 200)
    debit(wallet, shop, paid)
    head = shop.purse
    receipt = Receipt(seq=head.head_seq + 1, previous=head.head_hash, transfer=sha256(paid.body()))
    receipt.sign(shop.party.sign)
    if known:
        credit(shop, paid)
        town.settle(shop, *town.statement(shop))
    close(wallet, Void(transfer=sha256(paid.body())).sign(shop.party.sign), VOID)
    close(wallet, receipt, PAID)
    town.settle(wallet, *town.statement(wallet))
    assert town.states(wallet) == ["void"]
    assert (town.purse(wallet), town.purse(shop)) == (800, 0)
    assert town.frozen(shop)


def test_payment_under_a_certificate_that_is_still_to_come(town):
    """It is refused, but its sum counts: what comes later under that Certificate may not fall below it."""
    shop, other = town.device("shop", "terminal"), town.device("other", "terminal")
    wallet = town.device("wallet", balance=800)
    for one in (shop, other, wallet):
        town.sync(one)
    debit(wallet, shop, transfer(wallet, shop, 200, payer_issue=wallet.certificate.issue + 1))
    assert town.sync(wallet).certified
    wallet.purse.cumulative = 0
    sale(other, wallet, 50)
    town.sync(other)
    assert town.proven(wallet.id) == {"cumulative falls"}


def test_what_a_payee_credited_before_it_was_registered_is_held_against_its_journal(town):
    """Its payer has brought the Receipt, and the payee's journal ends below that."""
    wallet = town.device("x", balance=800)
    town.sync(wallet)
    stranger = unregistered(town, "s", "terminal")
    sale(stranger, wallet, 100)
    twin = clone(stranger)
    sale(stranger, wallet, 300)
    town.sync(wallet)
    account, key = town.ledger.open_account(1, "s"), stranger.party.public_key
    town.ledger.register_device(town.operators[1].key, 1, key, KINDS["terminal"], 0, account, "s", town.now)
    town._operator_of["s"] = 1
    assert not town.ledger.audit().differences
    town.sync(twin)
    assert town.frozen(twin)
