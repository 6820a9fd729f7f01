"""protocol.limits: each limit at its edge, with its own cause. Runs on MicroPython too."""

from protocol import limits
from protocol.errors import (
    BALANCE_LIMIT,
    IN_DOUBT_FULL,
    INSUFFICIENT_BALANCE,
    MISMATCH,
    OVER_PAYMENT_LIMIT,
    OVER_SUM_LIMIT,
    TOO_LONG_OFFLINE,
    TOO_MANY_RECORDS,
)
from protocol.objects import DAY_S, NO_HASH, Transfer
from tests.unit.world import KINDS, NOW, TODAY, Operator, cause_of, signer

OPERATOR = Operator(1, signer("root"))


class State:
    """The numbers of a purse."""

    def __init__(self, **values):
        self.balance = self.cumulative = self.unconfirmed = self.head_seq = self.in_doubt_sum = 0
        self.in_doubt = []
        for name, value in values.items():
            setattr(self, name, value)


def certificate(**changes):
    return OPERATOR.certify(signer("device").public, KINDS["wallet"], **changes)


def test_every_limit_of_a_payment_at_its_edge():
    cases = (
        (OVER_PAYMENT_LIMIT, {"payment_limit": 9}, {}, NOW),
        (OVER_PAYMENT_LIMIT, {"payment_limit": 10}, {}, None),
        (OVER_SUM_LIMIT, {"sum_limit": 99}, {"cumulative": 90}, NOW),
        (OVER_SUM_LIMIT, {"sum_limit": 100}, {"cumulative": 90}, None),
        (TOO_LONG_OFFLINE, {"days_limit": 2}, {}, (TODAY + 3) * DAY_S),
        (TOO_LONG_OFFLINE, {"days_limit": 3}, {}, None),
        (TOO_MANY_RECORDS, {"base_seq": 5, "record_limit": 7}, {"head_seq": 12}, NOW),
        (TOO_MANY_RECORDS, {"base_seq": 5, "record_limit": 8}, {"head_seq": 12}, None),
        (INSUFFICIENT_BALANCE, {}, {"balance": 9}, NOW),
        (INSUFFICIENT_BALANCE, {}, {"balance": 10}, None),
        (IN_DOUBT_FULL, {}, {"in_doubt": [0] * 8}, NOW),
        (IN_DOUBT_FULL, {}, {"in_doubt": [0] * 7}, None),
    )
    for cause, changes, values, now in cases:
        numbers: dict = {"balance": 1_000}
        numbers.update(values)
        if now is None:
            limits.check_payment(State(**numbers), certificate(**changes), 10, (TODAY + 3) * DAY_S)
        else:
            assert cause_of(limits.check_payment, State(**numbers), certificate(**changes), 10, now) == cause


def test_rule_days_without_a_sync_end_after_the_last_one():
    shown = certificate(days_limit=3)
    for day in (0, TODAY, TODAY + 3):
        limits.check_days(shown, day)
    assert cause_of(limits.check_days, shown, TODAY + 4) == TOO_LONG_OFFLINE


def test_a_redemption_keeps_to_what_can_be_written_only():
    tight = certificate(payment_limit=0, sum_limit=0, days_limit=0)
    limits.check_funds(State(balance=10, cumulative=5), tight, 10)
    assert cause_of(limits.check_funds, State(balance=9), tight, 10) == INSUFFICIENT_BALANCE
    full = State(balance=10, cumulative=(1 << 32) - 10)
    assert cause_of(limits.check_funds, full, tight, 10) == OVER_SUM_LIMIT  # the field has four bytes


def test_confirmation_is_needed_above_the_sum_or_with_full_slots():
    this = certificate(no_confirm_sum=100, in_doubt_limit=2)
    assert not limits.needs_confirmation(State(unconfirmed=90), this, 10)
    assert limits.needs_confirmation(State(unconfirmed=90), this, 11)
    assert not limits.needs_confirmation(State(in_doubt=[0]), this, 1)
    assert limits.needs_confirmation(State(in_doubt=[0, 0]), this, 1)


def test_headroom_counts_what_may_come_back():
    this = certificate(balance_limit=100)
    limits.check_headroom(State(balance=50, in_doubt_sum=40), this, 10)
    assert cause_of(limits.check_headroom, State(balance=50, in_doubt_sum=40), this, 11) == BALANCE_LIMIT


def transfer(**changes):
    values: dict = dict(
        seq=6,
        previous=NO_HASH,
        payer=b"p" * 16,
        payee=b"q" * 16,
        amount=10,
        lot=0,
        lot_amount=0,
        request=NO_HASH,
        number=1,
        payer_issue=1,
        payee_issue=1,
        cumulative=100,
    )
    values.update(changes)
    return Transfer(**values)


def test_rule_base_below_seq_at_most_base_plus_the_record_limit():
    payer = certificate(base_seq=5, record_limit=3, payment_limit=10, sum_limit=100)
    payee = certificate()
    for seq in (6, 8):
        limits.check_visible(transfer(seq=seq), payer, payee, False)
    for seq in (5, 9):
        assert cause_of(limits.check_visible, transfer(seq=seq), payer, payee, False) == TOO_MANY_RECORDS
        assert cause_of(limits.check_visible, transfer(seq=seq), payer, payee, True) == TOO_MANY_RECORDS


def test_rule_what_is_visible_in_a_transfer_is_checked():
    payer = certificate(base_seq=5, record_limit=3, payment_limit=10, sum_limit=100)
    payee = certificate()
    cases = (
        (OVER_PAYMENT_LIMIT, {"amount": 11}),
        (OVER_SUM_LIMIT, {"cumulative": 101}),
        (MISMATCH, {"payer_issue": 2}),
        (MISMATCH, {"payee_issue": 2}),
    )
    for cause, changes in cases:
        assert cause_of(limits.check_visible, transfer(**changes), payer, payee, False) == cause
    for changes in ({"amount": 11}, {"cumulative": 101}):
        limits.check_visible(transfer(**changes), payer, payee, True)  # a redemption ends in its owner's account


def test_defaults_fit_their_certificate_and_each_other():
    for kind in limits.DEFAULT_LIMITS:
        values = limits.default_limits(kind)
        assert OPERATOR.certify(signer("any").public, kind, **values).kind == kind
        assert values["in_doubt_limit"] <= limits.MAX_IN_DOUBT
        assert values["payment_limit"] <= values["sum_limit"] <= values["balance_limit"]


def test_a_better_identified_owner_never_has_lower_limits():
    classes = [limits.DEFAULT_LIMITS[0x10 | n] for n in (1, 2, 3, 4)]
    for better, worse in zip(classes, classes[1:]):  # noqa: B905 - MicroPython has no strict
        assert all([high >= low for high, low in zip(better, worse)])  # noqa: B905
