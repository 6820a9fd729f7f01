"""Syncs torn in the air and on the cable: what was carried counts once, and the next sync brings the rest."""

import pytest

from tests.device.cut_points import try_kind
from tests.device.torn_sync import KINDS

POINTS = 40  # more than frames, so that each frame has some

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1])  # for two processes
@pytest.mark.parametrize("kind", KINDS)
def test_a_torn_sync_is_finished_by_the_next(kind: str, seed: int) -> None:
    ended = try_kind(kind, POINTS, seed)
    assert ended.tried == POINTS
    assert not ended.found, "\n".join(f"{found.what}{found.point}" for found in ended.found)
