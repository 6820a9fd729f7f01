"""Carriers that spoil, drop and make up: every record counts for what its device signed, and blocks nothing."""

import pytest

from host_tools.ledger.errors import BadSignature, UnknownDevice, UnknownNonce, WrongSigner
from host_tools.ledger.evidence import OUTSIDE_CHAIN
from protocol import apdu, effects, records
from protocol.objects import Certificate, Receipt, Resolution, Statement, Transfer, Void
from protocol.records import Closing, Loading
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, meet, pay_person, sale, sale_tap
from tests.unit.world import LinkLost, sha256


def reasons(town):
    return [letter["reason"] for letter in town.ledger.dead_letters()]


def broken(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def test_forgotten_nonces_are_bounded_and_the_latest_still_works(town, wallet):
    old, _ = town.ledger.begin_sync(wallet.id, town.now)
    for _ in range(20):
        town.ledger.begin_sync(wallet.id, town.now)
    with pytest.raises(UnknownNonce):
        town.settle(wallet, wallet.send(apdu.STATEMENT, old), [])
    assert town.sync(wallet).certified


def test_spoilt_signature_stops_the_head_below_it_and_the_good_copy_is_taken_later(town, shop, wallet):
    """A carrier flips a bit that no hash covers.

    Were the record acknowledged, the device would drop its only good copy.
    """
    sale(shop, wallet, 300)
    sale(shop, wallet, 100)
    statement, uploaded = town.statement(shop)
    spoilt = [uploaded[0], broken(uploaded[1], len(uploaded[1]) - 1), *uploaded[2:]]
    settlement = town.settle(shop, statement, spoilt)
    assert settlement.dead_letters[0] == "the Transfer's signature is wrong"
    assert (settlement.certified, settlement.accepted) == (False, 0)
    assert town.purse(shop) == 100  # the record above it is vouched for and is not held up
    assert town.sync(shop).certified
    assert town.purse(shop) == 400


@pytest.mark.parametrize("later", ["the same", "void"])
def test_debit_that_a_journal_closes_twice_ended_as_it_was_closed_first(town, shop, wallet, later):
    """No honest device does that. The record counts for the chain; what the payee signed in it convicts the payee."""
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_CONFIRM))
    debit = wallet.purse.in_doubt[0]
    receipt = records.decode(shop.journal.stored[-1]).receipt
    wallet.perform(wallet.payer.close(receipt))
    wallet.purse.in_doubt.append(debit)  # its firmware was changed
    again = receipt if later == "the same" else Void(transfer=debit.hash).sign(shop.party.sign)
    wallet.perform(wallet.payer.close(again))
    settlement = town.settle(wallet, *town.statement(wallet))
    assert settlement.dead_letters == ("this debit is closed in another record already",)
    assert settlement.certified
    assert (town.states(wallet)[0], town.purse(wallet), town.purse(shop)) == ("posted", 600, 300)
    assert (town.frozen(wallet), town.proven(shop.id)) == (None, set() if later == "the same" else {"receipt and void"})
    town.book_overdue()
    assert town.account(wallet) == 1_000  # its journal had shown it as paid


def test_closing_that_is_uploaded_again_is_no_second_one(town, shop, wallet):
    sale(shop, wallet, 300)
    for _ in range(2):
        statement, _ = town.statement(wallet)
        assert town.settle(wallet, statement, list(wallet.journal.stored)).dead_letters == ()


@pytest.mark.parametrize(
    ("kind", "at", "reason"),
    [
        (Transfer, 4 + Transfer.body_size(), "the Transfer's signature is wrong"),
        (Transfer, 4 + Transfer.size(), "the payee's key is not the payee's"),
        (Receipt, 4 + Receipt.body_size(), "the Receipt's signature is wrong"),
        (Receipt, -1, "the Transfer's signature is wrong"),
        (Closing, -1, "the Receipt's signature is wrong"),
        (Loading, -1, "the Load's signature is wrong"),
        (
            records.Installation,
            4 + records.Installation.body_size() + Certificate.body_size(),
            "it installs a Certificate that the ledger did not issue",
        ),
    ],
)
def test_what_no_hash_covers_is_checked_in_every_kind_of_record(town, shop, wallet, kind, at, reason):
    friend = town.device("friend", balance=100)
    sale(shop, wallet, 300)
    pay_person(friend, wallet, 50)
    wallet.send(apdu.PUT, town.ledger.order_load(town.signer_of(wallet), wallet.id, 200, town.now).encode())
    statement, uploaded = town.statement(wallet)
    place = [type(records.decode(raw).body) for raw in uploaded].index(kind)
    uploaded[place] = broken(uploaded[place], at % len(uploaded[place]))
    settlement = town.settle(wallet, statement, uploaded)
    assert reason in settlement.dead_letters
    assert not settlement.certified
    assert town.sync(wallet).certified
    town.sync(shop)
    assert (town.purse(wallet), town.purse(shop), town.purse(friend), town.pending()) == (850, 300, 50, 0)
    assert town.frozen(wallet) is None


@pytest.mark.parametrize("spoil", ["missing", "not a record", "other body"])
def test_gap_holds_back_watermark_and_certificate_but_no_money(town, shop, wallet, spoil):
    sale(shop, wallet, 300)
    sale(shop, wallet, 100)
    with pytest.raises(LinkLost):
        sale(shop, wallet, 70, link=Link(cut_at=LOST_TRANSFER))
    town.sync(wallet)
    statement, uploaded = town.statement(shop)
    middle = {"missing": [], "not a record": [b"\xff" * 40], "other body": [broken(uploaded[1], 50)]}[spoil]
    settlement = town.settle(shop, statement, uploaded[:1] + middle + uploaded[2:])
    assert (settlement.certified, "sync again" in settlement.note) == (False, True)
    assert (
        len(settlement.dead_letters) == len(middle) + 1
    )  # and the record below the gap, which is not signed by itself
    assert town.purse(shop) == 300 + 100  # 300 by the payer's Receipt, 100 above the gap
    assert town.pending() == 70  # not voided: the ledger cannot know yet that the journal lacks it
    assert town.frozen(shop) is None
    assert town.sync(shop).certified
    assert (town.pending(), town.purse(shop)) == (0, 400)


def test_gap_between_a_debit_and_its_closing_loses_neither(town, shop, wallet):
    friend = town.device("friend", balance=100)
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_CONFIRM))
    pay_person(friend, wallet, 50)
    meet(sale_tap(shop), wallet)  # closes the debit
    statement, uploaded = town.statement(wallet)
    kinds = [type(records.decode(raw).body) for raw in uploaded]
    assert kinds[-3:] == [Transfer, Receipt, Closing]
    settlement = town.settle(wallet, statement, uploaded[:-2] + uploaded[-1:])
    assert settlement.dead_letters == ()
    assert settlement.accepted == len(uploaded) - 2
    assert (town.purse(shop), town.purse(wallet), town.pending()) == (300, 600, 0)
    assert town.sync(wallet).accepted == 2
    assert (town.purse(wallet), town.purse(friend)) == (650, 50)


def test_load_above_a_gap_is_loaded_once(town, wallet):
    friend = town.device("friend", balance=100)
    pay_person(friend, wallet, 50)
    wallet.send(apdu.PUT, town.ledger.order_load(town.signer_of(wallet), wallet.id, 200, town.now).encode())
    statement, uploaded = town.statement(wallet)
    assert not town.settle(wallet, statement, uploaded[:-2] + uploaded[-1:]).certified
    assert town.purse(wallet) == 1_100
    assert town.sync(wallet).certified
    assert (town.purse(wallet), town.sums()["loads_in_transit"]) == (1_150, 0)


def test_carrier_cannot_make_up_an_unsigned_record(town, wallet):
    """A true Load in a made-up record that fits onto the ledger's head: nothing signed vouches for it."""
    load = town.ledger.order_load(town.signer_of(wallet), wallet.id, 500, town.now)
    head = wallet.purse
    body = Loading(seq=head.head_seq + 1, previous=head.head_hash, load=sha256(load.body()))
    statement, uploaded = town.statement(wallet)
    assert uploaded
    settlement = town.settle(wallet, statement, [*uploaded, records.loading(body, load)])
    assert settlement.dead_letters == ("nothing that the device signed vouches for it",)
    assert (town.purse(wallet), town.sums()["loads_in_transit"], town.frozen(wallet)) == (900, 500, None)
    assert settlement.certified


def test_what_the_payee_signed_counts_in_a_closing_that_nothing_vouches_for(town, shop, wallet):
    """The carrier keeps the newest record back, so nothing the payer signed reaches down to the closing."""
    sale(shop, wallet, 300)
    wallet.send(apdu.PUT, town.ledger.order_load(town.signer_of(wallet), wallet.id, 200, town.now).encode())
    statement, uploaded = town.statement(wallet)
    settlement = town.settle(wallet, statement, uploaded[:-1])
    assert settlement.dead_letters == ("nothing that the device signed vouches for it",)
    assert (town.purse(shop), settlement.certified) == (300, False)
    assert town.sync(wallet).certified
    assert (town.purse(shop), town.purse(wallet)) == (300, 800)


def test_load_that_the_ledger_never_issued_is_a_dead_letter_and_blocks_nothing(town, shop, wallet):
    forged = town.operators[1].load(wallet.id, 77, 5_000)  # the operator's key, outside the ledger
    wallet.send(apdu.PUT, forged.encode())
    sale(shop, wallet, 300)
    settlement = town.sync(wallet)
    assert settlement.dead_letters == ("the ledger issued no such load to this device",)
    assert settlement.certified
    assert (town.purse(wallet), town.purse(shop)) == (600, 300)
    assert len(reasons(town)) == 1


def test_signatures_nonces_and_signers_are_checked_before_anything_is_stored(town, shop, wallet):
    sale(shop, wallet, 300)
    statement, uploaded = town.statement(wallet)
    key, before = town.signer_of(wallet), town.ledger.reconciliation()
    for bad in (broken(statement, 40), broken(statement, len(statement) - 1), statement[:-1]):
        with pytest.raises(BadSignature, match="No money moved"):
            town.ledger.settle(key, bad, uploaded, town.now)
    with pytest.raises(UnknownDevice):
        town.ledger.settle(key, broken(statement, 3), uploaded, town.now)
    with pytest.raises(WrongSigner):
        town.ledger.settle(town.operators[2].key, statement, uploaded, town.now)
    with pytest.raises(UnknownNonce):
        town.ledger.settle(key, wallet.send(apdu.STATEMENT, bytes(16)), uploaded, town.now)
    assert town.ledger.reconciliation() == before
    town.settle(wallet, statement, uploaded)
    sale(shop, wallet, 10)
    nonce = Statement.decode(statement).nonce
    with pytest.raises(UnknownNonce):
        town.ledger.settle(key, wallet.send(apdu.STATEMENT, nonce), uploaded, town.now)


def test_nonce_of_one_device_is_none_for_another(town, shop, wallet):
    nonce, _ = town.ledger.begin_sync(shop.id, town.now)
    with pytest.raises(UnknownNonce):
        town.ledger.settle(town.signer_of(wallet), wallet.send(apdu.STATEMENT, nonce), [], town.now)


def test_resolution_that_the_operator_did_not_sign_is_unreadable(town, shop, wallet):
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_CONFIRM))
    debit = wallet.purse.in_doubt[0]
    forged = Resolution(operator=1, payer=wallet.id, transfer=debit.hash, outcome=2).sign(wallet.party.sign)
    head = wallet.purse
    body = Closing(
        seq=head.head_seq + 1,
        previous=head.head_hash,
        transfer=debit.hash,
        outcome=2,
        evidence=sha256(forged.body()),
    )
    wallet.perform([effects.Commit(records.closing(body, forged))])
    settlement = town.sync(wallet)
    assert settlement.dead_letters == ("the Resolution is not this operator's for this device",)
    assert not settlement.certified
    town.sync(shop)
    assert (town.purse(shop), town.purse(wallet)) == (300, 600)


def test_records_above_a_gap_are_kept_aside_only_until_they_join_the_chain(town, shop, wallet):
    sale(shop, wallet, 300)
    sale(shop, wallet, 100)
    statement, uploaded = town.statement(shop)
    settlement = town.settle(shop, statement, uploaded[1:])
    assert (settlement.accepted, set(reasons(town))) == (0, {OUTSIDE_CHAIN})
    assert town.sync(shop).accepted == len(uploaded)
    assert reasons(town) == []


def test_same_dead_letter_is_kept_once(town, wallet):
    for _ in range(2):
        statement, uploaded = town.statement(wallet)
        town.settle(wallet, statement, [*uploaded, b"junk"])
    assert len(reasons(town)) == 1
