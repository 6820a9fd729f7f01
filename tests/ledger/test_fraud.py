"""Devices that sign what no honest one does: copied and rolled-back ones, payees that claim and void."""

from itertools import permutations

import pytest

from host_tools.ledger.errors import DeviceFrozen
from host_tools.ledger.evidence import OUTSIDE_CHAIN
from protocol import apdu, effects, records
from protocol.objects import Acknowledgement, Receipt, Statement, Transfer, Void
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, clone, forget_payers, pay_person, sale
from tests.unit.world import LinkLost, sha256


def test_two_histories_shown_by_two_honest_payees_freeze_the_payer_and_pay_both(town, shop, wallet):
    other = town.device("kiosk", "terminal")
    twin = clone(wallet)
    sale(shop, wallet, 300)
    sale(other, twin, 700)
    town.sync(shop)
    assert town.frozen(wallet) is None
    town.sync(other)
    assert "two histories" in town.frozen(wallet)
    assert (town.purse(shop), town.purse(other), town.purse(wallet), town.loss()) == (300, 700, 0, 100)
    proof = town.ledger.evidence()[0]
    first, second = (Transfer.decode(bytes.fromhex(proof[name])) for name in ("first", "second"))
    assert (first.payer, first.seq) == (second.payer, second.seq)
    assert first.encode() != second.encode()


def test_frozen_device_gets_nothing_signed_but_its_payees_are_still_paid(town, shop, wallet):
    twin = clone(wallet)
    sale(shop, wallet, 300)
    forget_payers(shop)
    sale(shop, twin, 700)
    town.sync(shop)
    settlement = town.sync(wallet)
    assert (settlement.certified, settlement.objects) == (False, ())
    assert settlement.note.startswith("frozen")
    with pytest.raises(DeviceFrozen, match="No money moved"):
        town.ledger.order_load(town.signer_of(wallet), wallet.id, 10, town.now)
    shop.party.trust.judge = lambda *_: None  # it has learnt of it; a cracked terminal takes the money
    forget_payers(shop)
    sale(shop, wallet, 50)
    assert town.sync(shop).dead_letters == ("the payer was revoked, and the payee's Certificate says so",)
    assert (town.purse(shop), town.sums()["suspense"]) == (1_000, 50)


def test_two_histories_in_the_devices_own_uploads(town, shop, wallet):
    twin = clone(wallet)
    sale(shop, wallet, 300)
    town.sync(wallet)
    forget_payers(shop)
    sale(shop, twin, 700)
    twin_upload = town.statement(twin)
    settlement = town.settle(twin, *twin_upload)
    assert "two histories" in settlement.note
    assert not settlement.certified
    town.sync(shop)
    assert (town.purse(shop), town.purse(wallet), town.loss()) == (1_000, 0, 100)


@pytest.mark.parametrize("whole", [True, False])
def test_second_history_that_is_longer_is_posted_but_never_followed(town, shop, wallet, whole):
    twin = clone(wallet)
    sale(shop, wallet, 300)
    town.sync(wallet)
    head = town.ledger.device(wallet.id)["head_seq"]
    forget_payers(shop)
    for amount in (100, 20, 30):
        sale(shop, twin, amount)
    statement, uploaded = town.statement(twin)
    settlement = town.settle(twin, statement, list(twin.journal.stored) if whole else uploaded)
    assert (settlement.certified, settlement.accepted) == (False, 0)
    assert "two histories" in town.frozen(wallet)
    assert town.ledger.device(wallet.id)["head_seq"] == head
    above = 20 + 30  # the 100 lie where the ledger holds another record, and are not asked for
    assert town.purse(shop) == 300 + above + (100 if whole else 0)
    town.sync(shop)
    assert (town.purse(shop), town.purse(wallet)) == (450, 450)


def test_journal_restored_to_an_older_state_is_frozen_as_rolled_back(town, shop, wallet):
    old = clone(wallet)
    sale(shop, wallet, 300)
    town.sync(wallet)
    settlement = town.settle(old, *town.statement(old))
    assert not settlement.certified
    assert "rolled back" in town.frozen(wallet)
    assert (town.purse(wallet), town.purse(shop)) == (600, 300)


def test_rollback_below_what_only_a_payee_has_shown(town, shop, wallet):
    old = clone(wallet)
    sale(shop, wallet, 300)
    town.sync(shop)
    settlement = town.settle(old, *town.statement(old))
    assert (settlement.certified, "rolled back" in town.frozen(wallet)) == (False, True)


@pytest.mark.parametrize("claim_first", [True, False])
def test_void_beats_a_claim_in_either_order_and_freezes_the_payee(town, shop, wallet, claim_first):
    """A cracked payee credits a Transfer, and gives the payer a Void for it."""
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_CONFIRM))
    transfer = wallet.purse.in_doubt[0]
    void = Void(transfer=transfer.hash).sign(shop.party.sign)
    wallet.perform(wallet.payer.close(void))
    first, second = (shop, wallet) if claim_first else (wallet, shop)
    town.sync(first)
    settlement = town.sync(second)
    assert (town.purse(wallet), town.purse(shop), town.pending()) == (900, 0, 0)
    assert "claimed and voided" in town.frozen(shop)
    assert town.frozen(wallet) is None
    if not claim_first:
        assert settlement.dead_letters == ("the payee has voided this Transfer",)
    town.sync(wallet)
    assert wallet.purse.balance == 900


def test_cumulative_that_does_not_grow_freezes_the_payer(town, shop, wallet):
    """A cracked payer forgets what it has spent to stay below its limit."""
    sale(shop, wallet, 300)
    wallet.purse.cumulative = 0
    forget_payers(shop)
    sale(shop, wallet, 100)
    town.sync(shop)
    assert "cumulative" in town.frozen(wallet)
    assert town.purse(shop) == 400


def test_one_transfer_credited_twice_is_paid_once_and_is_no_fraud_that_others_could_see(town, shop, wallet):
    sale(shop, wallet, 300)
    credited = records.decode(shop.journal.stored[-1])
    again = Receipt(
        seq=shop.purse.head_seq + 1, previous=shop.purse.head_hash, transfer=sha256(credited.transfer.body())
    ).sign(shop.party.sign)
    shop.perform([effects.Commit(records.credit(again, credited.transfer))])
    assert shop.purse.balance == 600
    settlement = town.sync(shop)
    assert (town.purse(shop), town.purse(wallet)) == (300, 600)
    assert settlement.dead_letters == ("this Transfer is credited in another record already",)
    assert town.frozen(shop) is None
    assert town.sync(wallet).dead_letters == ()


def test_watermark_voids_what_the_payer_closed_with_a_receipt_that_the_journal_lacks(town, shop, wallet):
    """The terminal signs a Receipt and forgets the credit: the payer gets its money back, the terminal is frozen."""
    before = clone(shop)
    sale(shop, wallet, 300)
    town.sync(wallet)
    assert town.purse(shop) == 300
    before.open(100)
    settlement = town.settle(before, *town.statement(before))
    assert not settlement.certified
    assert town.frozen(shop) is not None


def test_watermark_that_was_signed_stays_whatever_the_device_says_later(town, shop, wallet):
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_TRANSFER))
    town.sync(shop)
    floor = Acknowledgement.decode(town.sync(shop).objects[-1]).request_floor
    data, uploaded = town.statement(shop)
    lower = Statement.decode(data)
    lower.watermark = 0
    settlement = town.settle(shop, lower.sign(shop.party.sign).encode(), uploaded)
    assert Acknowledgement.decode(settlement.objects[-1]).request_floor == floor > 0
    town.sync(wallet)
    assert (town.states(wallet), town.purse(wallet)) == (["void"], 900)


def test_records_of_a_second_history_are_kept_as_they_came(town, wallet):
    """They hash into what the evidence names: without them the two objects prove nothing."""
    twin = clone(wallet)
    orders = [town.ledger.order_load(town.signer_of(wallet), wallet.id, amount, town.now) for amount in (10, 20, 30)]
    wallet.send(apdu.PUT, orders[0].encode())
    town.settle(wallet, *town.statement(wallet))
    for order in orders[1:]:
        twin.send(apdu.PUT, order.encode())
    statement, _ = town.statement(twin)
    settlement = town.settle(twin, statement, twin.journal.stored)
    assert "two histories" in settlement.note
    statement, _ = town.statement(twin)
    town.settle(twin, statement, twin.journal.stored)  # again: kept once
    kept = [letter["record"] for letter in town.ledger.dead_letters() if letter["reason"] == OUTSIDE_CHAIN]
    assert kept == [raw.hex() for raw in twin.journal.stored[-2:]]


def test_honest_person_to_person_chain_freezes_nobody(town):
    people = [town.device(name, balance=100) for name in ("ann", "ben", "cid")]
    for payer, payee in ((0, 1), (1, 2), (2, 0), (0, 2)):
        pay_person(people[payer], people[payee], 60)
    for person in people + people:
        town.sync(person)
    assert [town.frozen(person) for person in people] == [None] * 3
    assert [town.purse(person) for person in people] == [person.purse.balance for person in people]


@pytest.mark.parametrize("order", list(permutations(("watermark", "void", "receipt"))))
def test_receipt_and_void_freeze_in_any_order_also_when_a_watermark_said_it_first(town, shop, wallet, order):
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_TRANSFER))
    transfer = wallet.purse.in_doubt[0].transfer
    digest = sha256(transfer.body())
    town.settle(wallet, *town.statement(wallet))
    shop.payee.close()
    void = Void(transfer=digest).sign(shop.party.sign)
    for step in order:
        if step == "watermark":
            town.settle(shop, *town.statement(shop))
        elif step == "void":
            wallet.perform(wallet.payer.close(void))
            town.settle(wallet, *town.statement(wallet))
        else:
            receipt = Receipt(seq=shop.purse.head_seq + 1, previous=shop.purse.head_hash, transfer=digest)
            shop.perform([effects.Commit(records.credit(receipt.sign(shop.party.sign), transfer))])
            town.settle(shop, *town.statement(shop))
    assert town.proven(shop.id) == {"receipt and void"}
    assert (town.purse(wallet), town.purse(shop)) == (900, 0)


def test_payments_under_two_certificates_prove_what_the_later_one_leaves_out_in_any_order(town, wallet, tmp_path):
    """It saved a Certificate up, whose base lies below what it paid in between."""
    shops = [town.device(name, "terminal") for name in ("one", "two")]
    saved = town.settle(wallet, *town.statement(wallet))
    sale(shops[0], wallet, 300)
    town.install(wallet, saved)
    assert wallet.purse.cumulative == 300  # an honest one counts it
    wallet.purse.cumulative = 0
    sale(shops[1], wallet, 100)
    for number, order in enumerate(permutations(shops)):
        other = town.fork(tmp_path / str(number))
        other.sync(other.named(order[0].name))
        assert other.frozen(wallet) is None
        other.sync(other.named(order[1].name))
        assert other.proven(wallet.id) == {"cumulative falls"}
        other.ledger.close()


def test_payments_under_two_certificates_of_an_honest_payer_prove_nothing(town, wallet):
    shops = [town.device(name, "terminal") for name in ("one", "two")]
    saved = town.settle(wallet, *town.statement(wallet))
    sale(shops[0], wallet, 300)
    town.install(wallet, saved)
    sale(shops[1], wallet, 100)
    for device in (shops[1], shops[0], wallet, wallet):
        town.sync(device)
    sale(shops[0], wallet, 5)
    town.sync(shops[0])
    assert (town.frozen(wallet), town.proven(wallet.id)) == (None, set())
