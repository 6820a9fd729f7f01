"""Causes, exit codes and the page of commands: tables that people and scripts rely on."""

from pathlib import Path

from host_tools import causes
from host_tools.cli import reference
from host_tools.cli.exits import OF_CAUSE, Exit, of_error
from protocol import errors as protocol_errors
from protocol.errors import Refused


def test_every_cause_of_a_refusal_says_what_happened_whether_money_moved_and_what_to_do():
    assert causes.EXPLANATIONS.keys() == protocol_errors.NAMES.keys()
    texts = [str(explanation) for explanation in causes.EXPLANATIONS.values()]
    assert len(set(texts)) == len(texts)
    for explanation in causes.EXPLANATIONS.values():
        assert all(explanation)
    assert "cause 200" in str(causes.explain(200)) and causes.NO_MONEY_MOVED in str(causes.explain(200))


def test_causes_that_need_different_actions_have_different_exit_codes():
    e = protocol_errors
    apart = (
        e.NOT_FOUND,  # a wrong or foreign card
        e.STALE,  # a refused command without a code of its own
        e.EXPIRED,
        e.OVER_PAYMENT_LIMIT,
        e.TOO_MANY_RECORDS,
        e.JOURNAL_FULL,
        e.UNKNOWN_OPERATOR,
        e.INSUFFICIENT_BALANCE,
        e.CONFIRM,
        e.BAD_SIGNATURE,
        e.REVOKED,
        e.SERVICE,
        e.NOT_PERSONALISED,
    )
    codes = [of_error(Refused(cause)) for cause in apart]
    assert len(set(codes)) == len(apart) and None not in codes
    assert Exit.CARD_REMOVED not in codes and Exit.LINK_GONE not in codes
    assert OF_CAUSE.keys() <= e.NAMES.keys()


def test_exit_codes_are_what_scripts_rely_on():
    """Append-only: a code that was published never changes its meaning."""
    published = (
        "0 OK, 1 CHECK_FAILED, 2 USAGE, 3 REFUSED, 4 LINK_GONE, 5 LEDGER_REFUSED, 6 KEY, 7 CARD_REMOVED, 8 WRONG_CARD,"
        " 9 UNKNOWN_OPERATOR, 10 EXPIRED, 11 TOO_MUCH, 12 TOO_OFTEN, 13 JOURNAL_FULL, 14 NOT_ENOUGH, 15 CONFIRM,"
        " 16 NOT_GENUINE, 17 REVOKED, 18 SERVICE, 19 NOT_SET_UP, 20 LOAD_WAITING, 21 NOT_SHOWN, 22 NOT_PROVEN,"
        " 23 HELD_BACK, 24 TROUBLE, 25 WRONG_CHIP, 26 MONEY_THERE, 27 HALF_DONE,"
        " 28 NOT_KNOWN, 70 DEFECT, 130 INTERRUPTED"
    )
    assert ", ".join(f"{int(code)} {code.name}" for code in Exit) == published


def test_the_page_of_commands_is_what_the_program_says():
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    assert page == reference.markdown(), "Run: python -m host_tools.cli.reference > docs/commands.md"
