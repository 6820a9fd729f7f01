"""The protocol's model: no state loses or makes value, and each rule in it is needed."""

import pytest

from tests.model.checking import MODEL, MUTATIONS, SMALL, Result, Size, check, missing_tools

pytestmark = [
    pytest.mark.skipif(
        bool(missing_tools()), reason=f"{' and '.join(missing_tools())} missing: apt install spin gcc libc6-dev"
    ),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def checked() -> Result:
    return check(SMALL)


def test_no_state_breaks_a_rule(checked: Result) -> None:
    assert checked.errors == 0, "\n".join((checked.violation, *checked.trail))
    assert checked.states > 1_000_000


def test_every_step_of_the_model_is_taken(checked: Result) -> None:
    """A model in which nothing happens would break no rule either."""
    assert checked.unreached == 0


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_rule_taken_out_is_found(mutation: str) -> None:
    result = check(SMALL, [mutation])
    assert result.errors == 1
    assert "assert" in result.violation
    assert "invalid array index" not in result.violation, "the model broke, not the protocol"
    assert result.trail


def test_every_rule_of_the_model_is_taken_out_once() -> None:
    text = MODEL.read_text(encoding="utf-8")
    words = [line.split()[1] for line in text.splitlines() if line.startswith(("#ifdef", "#ifndef"))]
    assert set(words) - {name.upper() for name in Size._fields} == set(MUTATIONS)
