"""A cracked payer: copies of a device, backups brought back, sums left out, money that never was.

Honest payees are paid every time; what is missing is booked to the guarantee of the cheat's operator.
"""

import pytest

from host_tools.ledger.errors import InsufficientFunds
from protocol import limits
from protocol.errors import BALANCE_LIMIT, MISMATCH, OVER_SUM_LIMIT, REVOKED, TOO_LONG_OFFLINE
from protocol.limits import default_limits
from protocol.objects import TERMINAL
from protocol.tap import NOT_PAID, PAID
from tests.ledger.world import clone, forget_payers, pay_person
from tests.threats import bounds
from tests.threats.scenes import DEADLINE, LEFT_ON_ACCOUNT, buy, lists, redeem, spend_all, tell
from tests.unit.world import KINDS, cause_of


@pytest.mark.parametrize(
    ("kind", "copies", "loss"),
    [
        ("wallet", bounds.COPIES, bounds.COPIES * bounds.BRANCH - bounds.HELD),
        ("terminal", 2, bounds.TILL_BRANCH),
    ],
)
def test_cloned_device(town, kind, copies, loss):
    """Every copy pays its whole sum at a terminal of its own, before the first of them syncs."""
    branch = default_limits(KINDS[kind])["sum_limit"]
    ann = town.device("ann", balance=100)
    far, *shops = [town.device(f"shop {number}", "terminal") for number in range(copies + 1)]
    cheat = town.device("cheat", kind, balance=branch)
    bodies = [clone(cheat) for _ in range(copies)]
    for shop, body in zip(shops, bodies, strict=True):
        assert spend_all(shop, body) == (branch, OVER_SUM_LIMIT)
    town.sync(shops[0])
    assert (town.frozen(cheat), town.purse(cheat), town.loss()) == (None, 0, 0)
    for number, shop in enumerate(shops[1:], start=1):
        town.sync(shop)
        assert "two histories" in town.frozen(cheat)
        assert town.loss() == number * branch
        assert lists(shop, cheat)
    assert town.loss() == loss == copies * branch - branch
    assert [town.purse(shop) for shop in shops] == [branch] * copies
    assert (town.purse(cheat), town.account(cheat)) == (0, LEFT_ON_ACCOUNT)

    another = clone(cheat)
    assert cause_of(buy, shops[1], another, 1) == REVOKED
    town.sync(ann)
    assert not lists(far, cheat)
    tell(ann, far)  # that terminal has never synced
    assert cause_of(buy, far, another, 1) == REVOKED
    assert not town.sync(another).certified
    assert town.loss() == loss


def test_branch_that_is_spent_before_the_list_comes_is_paid_too(town):
    """The bound counts branches, not time: a terminal that has heard nothing takes one more."""
    shops = [town.device(f"shop {number}", "terminal") for number in range(3)]
    cheat = town.device("cheat", balance=bounds.HELD)
    bodies = [clone(cheat) for _ in shops]
    for shop, body in zip(shops[:2], bodies, strict=False):
        spend_all(shop, body)
        town.sync(shop)
    assert town.loss() == bounds.BRANCH
    assert spend_all(shops[2], bodies[2]) == (bounds.BRANCH, OVER_SUM_LIMIT)
    assert town.sync(shops[2]).dead_letters == ()
    assert (town.purse(shops[2]), town.loss()) == (bounds.BRANCH, 2 * bounds.BRANCH)
    assert cause_of(buy, shops[2], clone(cheat), 1) == REVOKED


@pytest.mark.parametrize(("kind", "branch"), [("wallet", bounds.BRANCH), ("terminal", bounds.TILL_BRANCH)])
def test_rolled_back_device(town, shop, kind, branch):
    """A backup brought back once spends one more branch; with it a sync gives nothing."""
    kiosk = town.device("kiosk", "terminal")
    cheat = town.device("cheat", kind, balance=branch)
    backup = clone(cheat)
    spend_all(shop, cheat)
    town.sync(shop)
    assert not town.sync(backup).certified
    assert "rolled back" in town.frozen(cheat)
    assert town.loss() == 0
    assert spend_all(kiosk, backup) == (branch, OVER_SUM_LIMIT)  # it has heard of nothing
    town.sync(kiosk)
    assert (town.purse(shop), town.purse(kiosk), town.loss()) == (branch, branch, branch)
    assert town.proven(cheat.id) == {"two histories"}
    assert cause_of(buy, kiosk, clone(backup), 1) == REVOKED


def lie_to(payee, cheat, amount):
    """The cheat pays as if it had spent nothing so far; the payee's refusal, if it voids it."""
    cheat.purse.cumulative, cheat.purse.balance = 0, bounds.HELD
    if payee.certificate.role == TERMINAL:
        tap = buy(payee, cheat, amount)
    else:
        tap = pay_person(cheat, payee, amount)
    return 0 if tap.moved == PAID else payee.payee.refusal


@pytest.mark.parametrize("kind", ["terminal", "wallet"])
def test_payer_that_leaves_out_what_it_spent(town, kind):
    """A payee remembers what its last payers said: at each it gets one sum. Their syncs show it all."""
    payees = [town.device(f"payee {number}", kind) for number in range(2)]
    cheat = town.device("cheat", balance=bounds.HELD)
    for payee in payees:
        assert lie_to(payee, cheat, bounds.PAYMENT) == 0
        assert lie_to(payee, cheat, bounds.PAYMENT) == MISMATCH
        cheat.purse.cumulative = bounds.PAYMENT  # so it has to say what it spent here
        for _ in range(bounds.BRANCH // bounds.PAYMENT - 1):
            cheat.purse.balance = bounds.HELD
            paid = buy(payee, cheat, bounds.PAYMENT) if kind == "terminal" else pay_person(cheat, payee, bounds.PAYMENT)
            assert paid.moved == PAID
    for payee in payees:
        assert town.sync(payee).dead_letters == ()
        assert town.purse(payee) == bounds.BRANCH
    assert "cumulative falls" in town.proven(cheat.id)
    assert town.loss() == 2 * bounds.BRANCH - bounds.HELD
    assert lists(payees[-1], cheat)


@pytest.mark.parametrize("kind", ["terminal", "wallet"])
def test_payer_that_leaves_out_what_it_spent_at_a_payee_that_forgot_it(town, kind):
    """After MAX_PAYERS others the payee's balance limit ends it, and its next sync shows it all."""
    payee = town.device("payee", kind)
    cheat = town.device("cheat", balance=bounds.HELD)
    most = default_limits(KINDS[kind])["balance_limit"]
    for _ in range(most // bounds.PAYMENT):
        forget_payers(payee)
        assert lie_to(payee, cheat, bounds.PAYMENT) == 0
    assert cause_of(lie_to, payee, cheat, 1) == BALANCE_LIMIT
    assert town.sync(payee).dead_letters == ()
    assert town.proven(cheat.id) == {"cumulative falls"}
    assert (town.purse(payee), town.loss()) == (most, most - bounds.HELD)
    assert lists(payee, cheat)
    assert cause_of(payee.party.judge, cheat.certificate) == REVOKED


@pytest.mark.parametrize("said", [0, bounds.PAYMENT])
def test_payer_of_money_it_never_had_with_certificates_that_it_saved_up(town, shop, said):
    """Each carries a sum: no payee can see the lie. Its payments under two of them show it, also if it counts one."""
    cheat = town.device("cheat")
    saved = [town.settle(cheat, *town.statement(cheat)) for _ in range(3)]
    for settlement, before in zip(saved[:2], (0, said), strict=True):
        assert town.frozen(cheat) is None
        town.install(cheat, settlement)
        cheat.purse.cumulative, cheat.purse.balance = before, bounds.BRANCH
        assert spend_all(shop, cheat) == (bounds.BRANCH - before, OVER_SUM_LIMIT)
        town.sync(shop)
    assert "leaves out" in town.frozen(cheat)
    assert lists(shop, cheat)
    town.install(cheat, saved[2])
    cheat.purse.cumulative, cheat.purse.balance = 0, bounds.BRANCH
    assert cause_of(buy, shop, cheat, 1) == REVOKED
    assert (town.purse(shop), town.loss()) == (2 * bounds.BRANCH - said, 2 * bounds.BRANCH - said)
    assert not town.sync(cheat).certified
    assert town.proven(cheat.id) == {"cumulative falls"}  # if not before, then by its own journal


@pytest.mark.parametrize(
    ("kind", "branch"), [("wallet", bounds.BRANCH), ("terminal", bounds.TILL_BRANCH)], ids=["wallet", "terminal"]
)
def test_payer_of_money_it_never_had(town, shop, monkeypatch, kind, branch):
    """One history, with true sums: the limit ends it once and for all."""
    cheat = town.device("cheat", kind)
    cheat.purse.balance = branch + 1
    assert spend_all(shop, cheat) == (branch, OVER_SUM_LIMIT)
    with monkeypatch.context() as cracked:
        cracked.setattr(limits, "check_payment", lambda *_: None)  # its own firmware lets it go on
        assert buy(shop, cheat, 1).moved == NOT_PAID
        assert shop.payee.refusal == OVER_SUM_LIMIT
    town.sync(shop)
    assert (town.purse(shop), town.purse(cheat), town.loss()) == (branch, -branch, 0)
    settlement = town.sync(cheat)
    assert (settlement.certified, settlement.note) == (False, "it has spent more than it received")
    assert cause_of(buy, shop, cheat, 1) == OVER_SUM_LIMIT
    town.now += DEADLINE
    assert town.book_overdue().unfunded == 1
    assert (town.purse(cheat), town.loss(), town.account(cheat)) == (0, branch, LEFT_ON_ACCOUNT)
    town.sync(shop)
    assert cause_of(buy, shop, cheat, 1) == TOO_LONG_OFFLINE


def test_payer_of_money_it_never_had_with_a_load_in_transit(town, shop):
    """The load may have been taken, so the cheat is not frozen for what it covers, until it swears it never took it."""
    cheat = town.device("cheat", "wallet")
    town.ledger.issue(town.accounts[cheat.name], bounds.BRANCH, town.now)
    town.ledger.order_load(town.signer_of(cheat), cheat.id, bounds.BRANCH, town.now)
    cheat.purse.balance = bounds.BRANCH
    assert spend_all(shop, cheat)[0] == bounds.BRANCH
    town.sync(shop)
    town.now += DEADLINE
    assert (town.book_overdue().unfunded, town.loss(), town.frozen(cheat)) == (0, 0, None)
    cheat.purse.load_floor = 1  # says its cracked firmware
    settlement = town.settle(cheat, *town.statement(cheat))
    assert (settlement.certified, settlement.note) == (False, "it has spent more than it received")
    with pytest.raises(InsufficientFunds):
        redeem(town, cheat, 1)
    assert town.account(cheat) == bounds.BRANCH + LEFT_ON_ACCOUNT
    assert town.book_overdue().unfunded == 1
    assert (town.purse(cheat), town.loss()) == (0, bounds.BRANCH)
