"""A payer that counts some of what it paid under another Certificate, and leaves out the rest.

No two of its payments prove it; all that stand above its base do (`protocol.fraud`).
"""

import random
from itertools import permutations

import pytest
from sqlalchemy import update

from host_tools.crypto import sha256, verify
from host_tools.ledger import registry, transfers
from host_tools.ledger.plain import standing
from host_tools.ledger.schema import certificates, devices
from host_tools.ledger.transfers import LEFT_OUT_SOME
from protocol import fraud
from protocol.fraud import Commitment, FraudProof
from protocol.objects import Transfer
from tests.ledger.world import LOST_CONFIRM, Link, sale
from tests.unit.world import LinkLost


@pytest.fixture
def shops(town):
    return [town.device(name, "terminal") for name in ("one", "two", "three", "four")]


def pay_and_leave_out(town, wallet, shops, torn=False):
    """Three payments of 100 at three shops; then a Certificate that it saved up, under which it admits to one."""
    saved = town.settle(wallet, *town.statement(wallet))
    for shop in shops[:3]:
        if torn:
            with pytest.raises(LinkLost):
                sale(shop, wallet, 100, link=Link(cut_at=LOST_CONFIRM))
        else:
            sale(shop, wallet, 100)
    town.install(wallet, saved)
    assert wallet.purse.cumulative == 300  # an honest one counts them all
    wallet.purse.cumulative = 100
    sale(shops[3], wallet, 50)


def test_what_the_sum_leaves_out_freezes_in_any_order_and_the_payers_journal_proves_it(town, wallet, shops, tmp_path):
    """Between its payments lie closings, which only its own journal shows."""
    pay_and_leave_out(town, wallet, shops)
    for number, order in enumerate(permutations(shops)):
        if number % 5:
            continue
        other = town.fork(tmp_path / str(number))
        for shop in order[:2]:
            other.sync(other.named(shop.name))
            assert other.frozen(wallet) is None  # what one of three leaves no room for is still to come
        for shop in order[2:]:
            other.sync(other.named(shop.name))
        assert other.frozen(wallet) == LEFT_OUT_SOME
        assert other.proven(wallet.id) == set()
        assert not other.sync(other.named("wallet")).certified
        assert other.proven(wallet.id) == {"cumulative falls"}
        assert len(other.ledger.fraud_proofs(wallet.id)) == 1
        other.ledger.close()


def test_payments_that_follow_on_each_other_prove_it_without_the_payers_journal(town, wallet, shops):
    pay_and_leave_out(town, wallet, shops, torn=True)
    for shop in shops:
        town.sync(shop)
    assert town.frozen(wallet) == LEFT_OUT_SOME
    (proof,) = town.ledger.fraud_proofs(wallet.id)
    assert fraud.check(proof, town.root.public, sha256, verify).kind == fraud.CUMULATIVE
    said = [Transfer.decode(one.signed).cumulative for one in (proof.first, proof.second)]
    assert (said, [len(one.bodies) for one in (proof.first, proof.second)]) == ([300, 150], [2, 0])


def test_journal_alone_proves_it(town, wallet, shops):
    pay_and_leave_out(town, wallet, shops)
    assert not town.sync(wallet).certified
    assert (town.frozen(wallet), town.proven(wallet.id)) == (LEFT_OUT_SOME, {"cumulative falls"})


def chain(town, wallet, choices, honest) -> list[Transfer]:
    """Payments one after another under the Certificates 1, 101 and 102, which take effect on the way."""
    head, previous = wallet.purse.head_seq, wallet.purse.head_hash
    bases = {wallet.certificate.issue: wallet.certificate.base_seq} | bases_above(head)
    made: list[Transfer] = []
    for seq in range(head + 1, head + 9):
        known = [issue for issue, base in bases.items() if base < seq]
        oldest = made[-1].payer_issue if honest and made else 0
        issue = choices.choice([one for one in known if one >= oldest])
        amount = choices.randint(1, 5)
        cumulative = amount + sum(one.amount for one in made if one.seq > bases[issue])
        if not honest and choices.random() < 0.3:
            cumulative = max(amount, cumulative + choices.randint(-8, 4))
        transfer = Transfer(
            seq=seq,
            previous=previous,
            payer=wallet.id,
            payee=bytes(16),
            amount=amount,
            lot=0,
            lot_amount=0,
            request=bytes(32),
            number=seq,
            payer_issue=issue,
            payee_issue=1,
            cumulative=cumulative,
        ).sign(wallet.party.sign)
        made.append(transfer)
        previous = sha256(transfer.body())
    return made


def bases_above(head: int) -> dict[int, int]:
    return {101: head + 2, 102: head + 5}


def learn(connection, transfer, newest, now) -> bool:
    """As settlement does: the short way where it takes the Transfer, without any rule. Returns whether it did."""
    payers = standing.payers(connection, standing.Issued(), [transfer.payer]) if newest else {}
    standing.learn_spent(connection, payers, [(transfer.payer, transfer.seq)] if payers else [])
    payer = payers.get(transfer.payer)
    with pytest.MonkeyPatch.context() as patch:
        plain = payer is not None and payer.paid(transfer, sha256(transfer.body()))
        if plain:
            patch.setattr(transfers, "_check_cumulative", lambda *_: None)
            patch.setattr(transfers, "_check_above_base", lambda *_: None)
        transfers.learn(connection, transfer, now)
    return plain


@pytest.mark.parametrize("newest", [None, 101, 102])
def test_whatever_all_payments_together_prove_is_found_in_any_order_and_true_sums_never_are(town, wallet, newest):
    """By the rules alone, and where one of the Certificates is the newest by what goes the short way past them."""
    plain = 0
    operator, key, kind = town.operators[1], wallet.party.public_key, wallet.certificate.kind
    renewed = {
        issue: operator.certify(key, kind, issue, base_seq=base)
        for issue, base in bases_above(wallet.purse.head_seq).items()
    }
    acknowledgement = operator.acknowledge(wallet.certificate, wallet.purse.head_hash).encode()
    choices = random.Random(1)
    found = {True: 0, False: 0}
    for number in range(150):
        honest = number % 3 == 0
        made = chain(town, wallet, choices, honest)
        whole = Commitment(made[-1].encode(), tuple(one.body() for one in reversed(made[:-1])))
        proofs = [
            FraudProof(operator.certificate.encode(), certificate.encode(), whole, whole)
            for certificate in (wallet.certificate, *renewed.values())
        ]
        provable = any(proves(proof, town.root.public) for proof in proofs)
        choices.shuffle(made)
        with town.ledger._engine.connect() as connection:
            for issue, certificate in renewed.items():
                values = {"device": wallet.id, "issue": issue, "certificate": certificate.encode()}
                connection.execute(certificates.insert().values(acknowledgement=acknowledgement, **values))
            if newest:
                of_base = {"base_seq": bases_above(wallet.purse.head_seq)[newest]}
                connection.execute(update(devices).where(devices.c.id == wallet.id).values(issue=newest, **of_base))
            for transfer in made:
                plain += learn(connection, transfer, newest, town.now)
            frozen = registry.device(connection, wallet.id).frozen
            connection.rollback()
        assert frozen or not provable
        assert not (frozen and honest)
        found[provable] += not honest
    assert min(found.values()) > 10
    assert bool(newest) == (plain > 50)


def proves(proof, root) -> bool:
    try:
        return fraud.check(proof, root, sha256, verify).kind == fraud.CUMULATIVE
    except fraud.NotProven:
        return False
