"""Rules of what a person confirms on the device: each is needed, since its scenario fails without it.

`RULES` holds the sentence of docs/protocol.md that each test is about.
"""

from protocol import limits
from protocol.payer import Approval, Payer
from tests.rules.rule import check_needed, without
from tests.rules.scenes import tap
from tests.unit.world import Device, World

RULES = {
    "test_a_confirmation_is_for_one_payee_and_amount": "one payee and amount if the Request is issued again",
    "test_a_confirmation_holds_for_the_request_issued_again": "one payee and amount if the Request is issued again",
    "test_a_confirmation_counts_once": "once, for `APPROVAL_S` seconds",
    "test_a_confirmation_ends": "for `APPROVAL_S` seconds",
    "test_a_person_confirms_above_the_no_confirm_sum": "`unconfirmed` + amount <= `no_confirm_sum`",
}


def asked(no_confirm_sum: int = 100) -> tuple[World, Device, Device]:
    """A wallet that has just asked a person to confirm 300, who did."""
    world = World()
    terminal = world.device("terminal", "terminal")
    wallet = world.device("wallet", balance=1_000, no_confirm_sum=no_confirm_sum)
    terminal.open(300)
    tap(terminal, wallet)
    assert wallet.purse.balance == 1_000
    wallet.payer.approve()
    return world, terminal, wallet


def test_a_confirmation_is_for_one_payee_and_amount() -> None:
    def scenario() -> None:
        _, terminal, wallet = asked()
        terminal.open(900)
        tap(terminal, wallet)
        assert wallet.purse.balance == 1_000, "paid what nobody confirmed"

    taken_out = without(Approval.covers, ("amount == self.amount", "True"))
    check_needed(scenario, taken_out, outcome="paid what nobody confirmed")


def test_a_confirmation_holds_for_the_request_issued_again() -> None:
    def scenario() -> None:
        _, terminal, wallet = asked()
        terminal.restart()
        terminal.open(300)
        tap(terminal, wallet)
        assert wallet.purse.balance == 700, "a person has to confirm it again"

    taken_out = without(Approval.covers, (" or (payee == self.payee and amount == self.amount)", ""))
    check_needed(scenario, taken_out, outcome="a person has to confirm it again")


def test_a_confirmation_counts_once() -> None:
    def scenario() -> None:
        _, terminal, wallet = asked()
        for _ in range(2):
            terminal.open(300)
            tap(terminal, wallet)
        assert wallet.purse.balance == 700, "paid twice for one confirmation"

    taken_out = without(Payer._use_approval, ("self._approval = None", "pass"))
    check_needed(scenario, taken_out, outcome="paid twice for one confirmation")


def test_a_confirmation_ends() -> None:
    def scenario() -> None:
        world, terminal, wallet = asked()
        world.now += limits.APPROVAL_S + 1
        terminal.open(300)
        tap(terminal, wallet)
        assert wallet.purse.balance == 1_000, "paid long after it was confirmed"

    taken_out = without(Approval.covers, ("same and now <= self.until", "same"))
    check_needed(scenario, taken_out, outcome="paid long after it was confirmed")


def test_a_person_confirms_above_the_no_confirm_sum() -> None:
    def scenario() -> None:
        world = World()
        terminal = world.device("terminal", "terminal")
        wallet = world.device("wallet", balance=1_000, no_confirm_sum=100)
        for _ in range(5):
            terminal.open(50)
            tap(terminal, wallet)
        assert wallet.purse.balance >= 900, "a thief emptied it in a pocket"

    taken_out = without(limits.needs_confirmation, ("purse.unconfirmed + amount > certificate.no_confirm_sum", "False"))
    check_needed(scenario, taken_out, outcome="a thief emptied it in a pocket")
