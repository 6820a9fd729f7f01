"""The small sizes of a terminal's day, of a year and of memory that runs out."""

import pytest

from tests.torture.endurance import HEAPS, STAGES
from tests.torture.stages import run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("script", STAGES)
def test_a_small_one_holds(script: str) -> None:
    found, end = run(script, *STAGES[script][True], heap=HEAPS[script])
    assert found == []
    assert end["violations"] == 0
