"""What is not honest: copied and rolled-back devices, payees that claim and void, carriers that spoil and make up."""

import pytest

from host_tools.ledger.errors import BadSignature, DeviceFrozen, UnknownDevice, UnknownNonce, WrongSigner
from host_tools.ledger.evidence import OUTSIDE_CHAIN
from protocol import apdu, effects, records
from protocol.limits import CERTIFICATE_DAYS
from protocol.objects import (
    DAY_S,
    REVOKED_ALTOGETHER,
    Acknowledgement,
    Certificate,
    Receipt,
    Resolution,
    Revocations,
    Statement,
    Transfer,
    Void,
)
from protocol.records import Closing, Loading
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, clone, meet, pay_person, sale, sale_tap
from tests.unit.world import KINDS, Device, LinkLost, sha256


@pytest.fixture
def shop(town):
    return town.device("shop", "terminal")


@pytest.fixture
def wallet(town):
    return town.device("wallet", balance=900)


def reasons(town):
    return [letter["reason"] for letter in town.ledger.dead_letters()]


def broken(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def test_two_histories_shown_by_two_honest_payees_freeze_the_payer_and_pay_both(town, shop, wallet):
    other = town.device("kiosk", "terminal")
    twin = clone(wallet)
    sale(shop, wallet, 300)
    sale(other, twin, 700)
    town.sync(shop)
    assert town.frozen(wallet) is None
    town.sync(other)
    assert "two histories" in town.frozen(wallet)
    assert (town.purse(shop), town.purse(other), town.purse(wallet)) == (300, 700, -100)
    proof = town.ledger.evidence()[0]
    first, second = (Transfer.decode(bytes.fromhex(proof[name])) for name in ("first", "second"))
    assert (first.payer, first.seq) == (second.payer, second.seq)
    assert first.encode() != second.encode()


def test_frozen_device_gets_nothing_signed_but_its_payees_are_still_paid(town, shop, wallet):
    twin = clone(wallet)
    sale(shop, wallet, 300)
    sale(shop, twin, 700)
    town.sync(shop)
    settlement = town.sync(wallet)
    assert (settlement.certified, settlement.objects) == (False, ())
    assert settlement.note.startswith("frozen")
    with pytest.raises(DeviceFrozen, match="No money moved"):
        town.ledger.order_load(town.signer_of(wallet), wallet.id, 10, town.now)
    sale(shop, wallet, 50)
    town.sync(shop)
    assert town.purse(shop) == 1_050


def test_two_histories_in_the_devices_own_uploads(town, shop, wallet):
    twin = clone(wallet)
    sale(shop, wallet, 300)
    town.sync(wallet)
    sale(shop, twin, 700)
    twin_upload = town.statement(twin)
    settlement = town.settle(twin, *twin_upload)
    assert "two histories" in settlement.note
    assert not settlement.certified
    town.sync(shop)
    assert (town.purse(shop), town.purse(wallet)) == (1_000, -100)


@pytest.mark.parametrize("whole", [True, False])
def test_second_history_that_is_longer_is_posted_but_never_followed(town, shop, wallet, whole):
    twin = clone(wallet)
    sale(shop, wallet, 300)
    town.sync(wallet)
    head = town.ledger.device(wallet.id)["head_seq"]
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
    sale(shop, wallet, 100)
    town.sync(shop)
    assert "cumulative" in town.frozen(wallet)
    assert town.purse(shop) == 400


def test_forgotten_nonces_are_bounded_and_the_latest_still_works(town, wallet):
    old, _ = town.ledger.begin_sync(wallet.id, town.now)
    for _ in range(20):
        town.ledger.begin_sync(wallet.id, town.now)
    with pytest.raises(UnknownNonce):
        town.settle(wallet, wallet.send(apdu.STATEMENT, old), [])
    assert town.sync(wallet).certified


def test_one_transfer_credited_twice_is_paid_once_and_freezes_the_payee(town, shop, wallet):
    sale(shop, wallet, 300)
    credited = records.decode(shop.journal.stored[-1])
    again = Receipt(
        seq=shop.purse.head_seq + 1, previous=shop.purse.head_hash, transfer=sha256(credited.transfer.body())
    ).sign(shop.party.sign)
    shop.perform([effects.Commit(records.credit(again, credited.transfer))])
    assert shop.purse.balance == 600
    town.sync(shop)
    assert (town.purse(shop), town.purse(wallet)) == (300, 600)
    assert "credited twice" in town.frozen(shop)


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


def test_load_that_the_ledger_never_issued_is_a_dead_letter_and_blocks_nothing(town, shop, wallet):
    forged = town.operators[1].load(wallet.id, 77, 5_000)  # the operator's key, outside the ledger
    wallet.send(apdu.PUT, forged.encode())
    sale(shop, wallet, 300)
    settlement = town.sync(wallet)
    assert settlement.dead_letters == ("the ledger issued no such load to this device",)
    assert settlement.certified
    assert (town.purse(wallet), town.purse(shop)) == (600, 300)
    assert len(reasons(town)) == 1


def unregistered(town, name, kind):
    """Personalised with the operator's true key, but past the ledger."""
    bank = town.operators[1]
    stranger = Device(name, town.clock)
    certificate = bank.certify(stranger.generate_key(), KINDS[kind])
    acknowledgement = bank.acknowledge(certificate, stranger.purse.head_hash)
    objects = bank.certificate.encode() + certificate.encode() + acknowledgement.encode()
    stranger.send(apdu.PERSONALISE, town.root.public + objects)
    return stranger


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


@pytest.mark.parametrize(("days", "paid"), [(CERTIFICATE_DAYS, True), (CERTIFICATE_DAYS + 1, False)])
def test_payer_that_had_expired_when_the_payees_certificate_began_is_refused(town, shop, wallet, days, paid):
    town.now += days * DAY_S
    town.sync(shop)
    careless_sale(shop, wallet, 300)
    settlement = town.sync(shop)
    assert (town.purse(shop), town.sums()["suspense"]) == ((300, 0) if paid else (0, 300))
    assert bool(settlement.dead_letters) is not paid


@pytest.mark.parametrize("told", [True, False])
def test_payee_is_refused_only_if_its_certificate_proves_that_it_knew_of_the_revocation(town, shop, wallet, told):
    town.ledger.revoke(town.operators[1].key, 1, wallet.id, town.now)
    if told:
        settlement = town.sync(shop)
        assert Revocations.decode(settlement.objects[0]).entries == ((wallet.id, REVOKED_ALTOGETHER),)
        assert shop.certificate.epoch == 1
        shop.party.trust.minimum_issues = {}  # a cracked terminal that takes revoked money
    sale(shop, wallet, 300)
    settlement = town.sync(shop)
    assert (town.purse(shop), town.sums()["suspense"]) == ((0, 300) if told else (300, 0))
    assert bool(settlement.dead_letters) is told


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


def test_honest_person_to_person_chain_freezes_nobody(town):
    people = [town.device(name, balance=100) for name in ("ann", "ben", "cid")]
    for payer, payee in ((0, 1), (1, 2), (2, 0), (0, 2)):
        pay_person(people[payer], people[payee], 60)
    for person in people + people:
        town.sync(person)
    assert [town.frozen(person) for person in people] == [None] * 3
    assert [town.purse(person) for person in people] == [person.purse.balance for person in people]
