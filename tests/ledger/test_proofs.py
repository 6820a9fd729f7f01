"""Fraud proofs that the ledger makes of what it holds, and those that others bring.

That everybody frozen for fraud is proven guilty, and nobody else, is checked after every step of every test here
(`Town.check`); these are the proofs that take more than two payments.
"""

import pytest

from host_tools.crypto import verify
from host_tools.ledger.errors import NotProven, UnknownDevice
from host_tools.ledger.settlement import MAX_RECORDS
from protocol import apdu, effects, fraud, records
from protocol.fraud import Commitment, FraudProof
from protocol.objects import Receipt, Statement, Transfer
from tests.ledger.world import LOST_TRANSFER, Link, clone, forget_payers, sale, unregistered
from tests.unit.world import LinkLost, sha256


def load(town, device, amount):
    device.send(apdu.PUT, town.ledger.order_load(town.signer_of(device), device.id, amount, town.now).encode())


def proofs_of(town, device):
    return town.ledger.fraud_proofs(device.id)


def test_histories_of_unsigned_records_are_proven_by_statements_and_the_bodies_below_them(town, wallet):
    """Neither side of the fork is signed by itself: two Statements, and what hashes into them."""
    twin = clone(wallet)
    load(town, wallet, 10)
    load(town, wallet, 20)
    town.settle(wallet, *town.statement(wallet))
    fork = wallet.purse.head_seq - 1
    load(town, twin, 30)
    load(town, twin, 40)
    load(town, twin, 50)
    town.settle(twin, *town.statement(twin))
    (proof,) = proofs_of(town, wallet)
    kinds = [commitment.signed[0] for commitment in (proof.first, proof.second)]
    assert kinds == [Statement.TYPE, Statement.TYPE]
    bodies = [len(commitment.bodies) for commitment in (proof.first, proof.second)]
    assert sum(bodies) == 1  # the shortest: the position above the fork, which the longer journal reaches by one body
    assert records.Loading.decode(max(proof.first.bodies, proof.second.bodies, key=len)[0]).seq == fork + 2


def test_fork_far_below_what_is_signed_is_proven_over_the_gap(town, shop, wallet):
    twin = clone(wallet)
    sale(shop, wallet, 300)
    town.sync(shop)
    for amount in (10, 20, 30, 40):
        load(town, twin, amount)
    statement, _ = town.statement(twin)
    town.settle(twin, statement, list(twin.journal.stored))
    (proof,) = proofs_of(town, wallet)
    assert [proof.first.signed[0], proof.second.signed[0]] == [Transfer.TYPE, Statement.TYPE]
    assert (len(proof.first.bodies), len(proof.second.bodies)) == (0, 3)


def test_second_history_that_only_a_counterparty_has_is_proven_against_the_chain(town, shop, wallet):
    twin = clone(wallet)
    load(town, wallet, 10)
    town.settle(wallet, *town.statement(wallet))
    sale(shop, twin, 300)
    town.sync(shop)
    assert town.proven(wallet.id) == {fraud.TWO_HISTORIES}


def test_proofs_hold_after_the_certificate_was_renewed_and_records_were_dropped(town, shop, wallet):
    twin = clone(wallet)
    sale(shop, wallet, 100)
    for _ in range(3):
        town.sync(wallet)
        load(town, wallet, 5)
    forget_payers(shop)
    sale(shop, twin, 200)
    town.sync(shop)
    assert town.proven(wallet.id) == {fraud.TWO_HISTORIES}


def test_cumulative_that_falls_is_found_under_its_own_certificate_whatever_lies_between(town, shop, wallet):
    """Back to an older Certificate's count: the neighbours by position are of another one."""
    kiosk = town.device("kiosk", "terminal")
    issue = wallet.certificate.issue
    sale(shop, wallet, 300)
    town.sync(wallet)
    sale(shop, wallet, 10)
    head = wallet.purse
    kiosk.open(50)
    request = kiosk.payee.request
    transfer = Transfer(
        seq=head.head_seq + 1,
        previous=head.head_hash,
        payer=wallet.id,
        payee=kiosk.id,
        amount=50,
        lot=0,
        lot_amount=0,
        request=kiosk.payee.request_hash,
        number=request.number,
        payer_issue=issue,
        payee_issue=kiosk.certificate.issue,
        cumulative=50,
    ).sign(wallet.party.sign)
    receipt = Receipt(seq=kiosk.purse.head_seq + 1, previous=kiosk.purse.head_hash, transfer=sha256(transfer.body()))
    kiosk.perform([effects.Commit(records.credit(receipt.sign(kiosk.party.sign), transfer))])
    town.sync(shop)
    town.sync(kiosk)
    assert town.proven(wallet.id) == {fraud.CUMULATIVE}


def test_payee_that_credits_below_its_own_watermark_hurts_only_itself_and_is_not_accused(town, shop, wallet):
    """A Statement names no Transfer: its watermark and a later Receipt are none of the three proofs."""
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_TRANSFER))
    town.sync(shop)
    transfer = wallet.purse.in_doubt[0].transfer
    head = shop.purse
    receipt = Receipt(seq=head.head_seq + 1, previous=head.head_hash, transfer=sha256(transfer.body()))
    shop.perform([effects.Commit(records.credit(receipt.sign(shop.party.sign), transfer))])
    settlement = town.settle(shop, *town.statement(shop))
    assert settlement.dead_letters == ("the payee has voided this Transfer",)
    assert (town.frozen(shop), town.purse(shop)) == (None, 0)
    town.sync(wallet)
    assert (town.purse(wallet), wallet.purse.balance) == (900, 900)


def test_going_back_behind_what_the_ledger_saw_is_no_proof_for_others_and_says_so(town, shop, wallet):
    old = clone(wallet)
    sale(shop, wallet, 300)
    town.sync(wallet)
    town.settle(old, *town.statement(old))
    assert "no proof for others" in town.frozen(wallet)
    assert proofs_of(town, wallet) == []


def test_all_proofs_are_those_of_every_device(town, shop, wallet):
    kiosk, other = town.device("kiosk", "terminal"), town.device("other", balance=900)
    for payer in (wallet, other):
        twin = clone(payer)
        sale(shop, payer, 100)
        sale(kiosk, twin, 200)
    town.sync(shop)
    town.sync(kiosk)
    found = [fraud.check(proof, town.root.public, sha256, verify).device for proof in town.ledger.fraud_proofs()]
    assert sorted(found) == sorted([wallet.id, other.id])
    assert proofs_of(town, shop) == []


@pytest.fixture
def proof(town, shop, wallet, tmp_path) -> FraudProof:
    """From another ledger of the same root, where the same wallet was cloned."""
    elsewhere = town.fork(tmp_path / "elsewhere")
    payer, payee = elsewhere.named("wallet"), elsewhere.named("shop")
    twin = clone(payer)
    sale(payee, payer, 100)
    forget_payers(payee)
    sale(payee, twin, 200)
    elsewhere.sync(payee)
    (proof,) = proofs_of(elsewhere, payer)
    elsewhere.ledger.close()
    return proof


def test_proof_from_elsewhere_freezes_the_device_and_is_handed_on(town, wallet, proof):
    assert town.frozen(wallet) is None
    for _ in range(2):
        assert town.ledger.submit_fraud_proof(proof, town.now) == wallet.id
        town.check()
    assert town.frozen(wallet) == "proven to it: two histories"
    assert proofs_of(town, wallet) == [proof]
    (kept,) = town.ledger.evidence()
    assert kept["first"] == proof.first.signed.hex()
    settlement = town.sync(wallet)
    assert (settlement.certified, settlement.note) == (False, "frozen: proven to it: two histories")


@pytest.mark.parametrize("turned", [False, True])
def test_proof_that_the_ledger_has_made_itself_is_not_shown_twice_when_it_is_brought(town, shop, wallet, turned):
    twin = clone(wallet)
    sale(shop, wallet, 100)
    forget_payers(shop)
    sale(shop, twin, 200)
    town.sync(shop)
    before = (proofs_of(town, wallet), town.ledger.evidence())
    (proof,) = before[0]
    brought = proof._replace(first=proof.second, second=proof.first) if turned else proof
    assert town.ledger.submit_fraud_proof(brought, town.now) == wallet.id
    assert (proofs_of(town, wallet), town.ledger.evidence()) == before
    assert len(before[1]) == 1


def test_of_one_kind_the_first_proof_that_is_brought_is_kept(town, shop, wallet, proof, tmp_path):
    """Anybody can make many of one: of other objects of the same two histories, with longer lists of bodies."""
    elsewhere = town.fork(tmp_path / "another")
    payer, payee = elsewhere.named("wallet"), elsewhere.named("shop")
    twin = clone(payer)
    sale(payee, payer, 70)
    forget_payers(payee)
    sale(payee, twin, 60)
    elsewhere.sync(payee)
    (other,) = proofs_of(elsewhere, payer)
    elsewhere.ledger.close()
    mixed = proof._replace(second=other.second)
    for one in (proof, other, mixed, other):
        assert town.ledger.submit_fraud_proof(one, town.now) == wallet.id
        assert proofs_of(town, wallet) == [proof]
        assert len(town.ledger.evidence()) == 1


def test_proof_that_was_brought_gives_way_to_the_ledgers_own(town, shop, wallet, proof):
    town.ledger.submit_fraud_proof(proof, town.now)
    twin = clone(wallet)
    sale(shop, wallet, 10)
    forget_payers(shop)
    sale(shop, twin, 20)
    town.sync(shop)
    (own,) = proofs_of(town, wallet)
    assert own != proof


def test_proof_of_another_kind_is_kept_beside_the_ledgers_own(town, shop, wallet):
    """The ledger knows two histories; that a sum falls as well, it is told."""
    twin = clone(wallet)
    sale(shop, wallet, 100)
    forget_payers(shop)
    sale(shop, twin, 200)
    town.sync(shop)
    first = Transfer.decode(proofs_of(town, wallet)[0].first.signed)
    second = Transfer.decode(first.encode())
    second.seq, second.cumulative = first.seq + 2, second.amount
    pair = [Commitment(one.sign(wallet.party.sign).encode(), ()) for one in (first, second)]
    brought = FraudProof(town.operators[1].certificate.encode(), wallet.certificate.encode(), *pair)
    for _ in range(2):
        town.ledger.submit_fraud_proof(brought, town.now)
        assert town.proven(wallet.id) == {fraud.TWO_HISTORIES, fraud.CUMULATIVE}
        assert brought in proofs_of(town, wallet)
        assert (len(proofs_of(town, wallet)), len(town.ledger.evidence())) == (2, 2)


def test_two_long_histories_are_proven_without_reading_all_that_was_put_aside(town, shop, wallet, monkeypatch):
    """Each position above the fork would do: one proof is looked for, and a record is looked up where it is needed."""
    twin = clone(wallet)
    for amount in range(1, 9):
        load(town, wallet, amount)
    town.settle(wallet, *town.statement(wallet))
    for amount in range(11, 19):
        load(town, twin, amount)
    statement, _ = town.statement(twin)
    town.settle(twin, statement, list(twin.journal.stored))
    decoded = []
    decode = records.decode
    monkeypatch.setattr(records, "decode", lambda data: decoded.append(data) or decode(data))
    (proof,) = proofs_of(town, wallet)
    bodies = len(proof.first.bodies) + len(proof.second.bodies)
    assert bodies <= len(decoded) < 4 * bodies < len(twin.journal.stored) * bodies


def test_what_proves_nothing_freezes_nobody(town, wallet, proof):
    wrong = [
        proof._replace(second=proof.first),
        proof._replace(operator_certificate=town.operators[2].certificate.encode()),
        proof._replace(first=Commitment(proof.first.signed[:-1] + bytes((proof.first.signed[-1] ^ 1,)), ())),
        proof._replace(certificate=b""),
    ]
    for bad in wrong:
        with pytest.raises(NotProven, match="No money moved"):
            town.ledger.submit_fraud_proof(bad, town.now)
    assert town.frozen(wallet) is None
    assert proofs_of(town, wallet) == []


def test_proof_against_a_device_of_another_ledger_is_good_and_freezes_nobody_here(town):
    stranger = unregistered(town, "stranger", "wallet")
    stranger.send(apdu.PUT, town.operators[1].load(stranger.id, 1, 100).encode())
    shop = town.device("shop", "terminal")
    twin = clone(stranger)
    sale(shop, stranger, 10)
    forget_payers(shop)
    sale(shop, twin, 20)
    pair = [Commitment(records.decode(raw).transfer.encode(), ()) for raw in shop.journal.stored[-2:]]
    proof = FraudProof(town.operators[1].certificate.encode(), stranger.certificate.encode(), *pair)
    with pytest.raises(UnknownDevice):
        town.ledger.submit_fraud_proof(proof, town.now)


def test_proof_has_room_for_every_record_of_an_upload():
    """Else a cheat could put its two histories so far apart that the ledger freezes it and cannot prove it."""
    assert fraud.MAX_BODIES >= MAX_RECORDS
