"""protocol.states: the tables are complete, and an illegal event changes nothing. Runs on MicroPython too."""

from protocol.errors import LocalError
from protocol.states import (
    CLOSED,
    CREDITED,
    DEBIT,
    DONE,
    IN_DOUBT,
    OPEN,
    PAID,
    PAYMENT,
    REQUEST,
    SALE,
    VOIDED,
    advance,
)
from protocol.tap import PaymentTap, SaleTap
from tests.unit.world import raises


def events(table):
    return {event for _, event in table}


def test_an_illegal_event_raises():
    for table in (DEBIT, REQUEST, SALE, PAYMENT):
        states = {state for state, _ in table} | set(table.values())
        for state in states:
            for event in events(table):
                if (state, event) in table:
                    assert advance(table, state, event) == table[(state, event)]
                else:
                    raises(LocalError, advance, table, state, event)


def test_rule_a_debit_closes_exactly_once():
    for closed in (PAID, VOIDED):
        assert not [state for state, _ in DEBIT if state == closed]
    assert {DEBIT[key] for key in DEBIT if key[0] == IN_DOUBT} == {PAID, VOIDED}


def test_rule_only_an_open_request_can_be_credited():
    assert [state for state, event in REQUEST if event == "credit"] == [OPEN]


def test_rule_a_credit_is_never_undone():
    assert REQUEST[(CREDITED, "close")] == CREDITED
    assert REQUEST[(CLOSED, "close")] == CLOSED


def test_every_stage_of_a_tap_is_reached_handled_and_left():
    for tap in (SaleTap, PaymentTap):
        stages = {state for state, _ in tap.TABLE}
        assert set(tap.TABLE.values()) - {"select"} == stages - {"select"} | {DONE}
        assert stages == set(tap._HANDLERS)
