"""Redeeming torn in the air and on the cable: the money is in the wallet or on the account, and there once."""

import pytest

from tests.device.cut_points import try_kind
from tests.device.torn_redeem import KINDS

POINTS = 64  # every long frame is followed by everything

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_a_torn_redemption_reaches_the_account_once(kind: str) -> None:
    ended = try_kind(kind, POINTS)
    assert ended.tried == POINTS
    assert not ended.found, "\n".join(f"{found.what}{found.point}" for found in ended.found)
