"""The long runs of Hypothesis's machine: they count, find what is broken, and find it again."""

import pytest
from hypothesis import Phase

from tests.stateful import by_hypothesis, long_run
from tests.stateful.machine import Machine
from tests.stateful.shadow import Violation


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(by_hypothesis, "EXAMPLES", 4)
    monkeypatch.setattr(by_hypothesis, "STEPS", 40)
    monkeypatch.setattr(by_hypothesis, "PHASES", (Phase.generate,))  # shrinking takes minutes


class Untidy(Machine):
    """Breaks a promise when it tidies."""

    def tidy(self, choices):
        raise Violation("it tidied")


def test_a_run_ends_with_what_it_did() -> None:
    result = by_hypothesis.run(200, 3)
    assert result["violations"] == 0 and result["seed"] == 3
    assert result["steps"] == sum(result["rules"].values()) >= 200
    assert set(result["rules"]) == set(Machine.RULES)
    assert result["facts"]["debits"] and result["facts"]["installations"]


def test_what_is_found_is_shown_and_found_again(capsys, monkeypatch) -> None:
    monkeypatch.setattr(long_run, "ENOUGH", 1)
    result = by_hypothesis.run(1_000_000, 3, make=Untidy)
    said = capsys.readouterr().err
    assert result["found"] == [{"replay": "3/0", "what": "Violation: it tidied"}]
    assert "--hypothesis --replay 3/0" in said
    assert said.count("state.tidy(") == 1
    assert by_hypothesis.replay("3/0", make=Untidy) == 1
    assert "Violation: it tidied" in capsys.readouterr().err


def test_the_same_seed_does_the_same() -> None:
    first, second, other = (by_hypothesis.run_batch(name) for name in ("1/0", "1/0", "1/1"))
    assert (first.rules, first.facts) == (second.rules, second.facts)
    assert first.rules != other.rules
