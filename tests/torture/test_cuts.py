"""Power cuts on the device's own code: a sample of every kind of tap and of sync, the same each time.

`make torture` tries them all.
"""

import pytest

from tests.torture.cuts import SCENES, cut, replay, replay_line

POINTS_PER_SCENE = 40

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_lost_made_or_stuck(scene: str) -> None:
    result = cut(POINTS_PER_SCENE, seed=1, scenes=[scene], processes=1)
    assert [replay_line(violation) for violation in result["found"]] == []
    assert result["cut_points"] == POINTS_PER_SCENE


def test_every_byte_that_is_written_can_be_cut() -> None:
    """Twenty thousand points are asked for; with every byte of every write there are many more."""
    assert sum(cut(1, scenes=SCENES, processes=1)["of"].values()) >= 150_000


def test_parts_are_the_whole() -> None:
    tried = [cut(30, scenes=["redeem"], processes=1, part=(part, 4))["cut_points"] for part in range(4)]
    assert sum(tried) == 30 and max(tried) - min(tried) <= 1


def test_a_replayed_point_that_holds_says_nothing() -> None:
    assert replay("sale:payer:0:40:tap") == []
