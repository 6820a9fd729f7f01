"""Taps torn after every byte, in every kind of payment: money moves once, and screens never lie.

Sale and person to person are tried after every byte, the other kinds here and there; `python -m tests.torture.frames`
tries them all.
"""

import pytest

from tests.device import torn, torn_kinds
from tests.device.cut_points import Tried, try_kind

EVERY_BYTE = (torn_kinds.SALE.name, torn_kinds.PERSON.name)
PARTS = 10  # for processes to share
POINTS = 24  # more than frames, so that each frame has some
SLOW_POINTS = 10
SLOW = (torn_kinds.ASK.name, torn_kinds.CONFIRMED.name)  # a person must have had the time to read

pytestmark = pytest.mark.slow


def check(ended: Tried) -> None:
    assert ended.tried
    assert not ended.found, "\n".join(f"{found.what}{found.point}" for found in ended.found)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", EVERY_BYTE)
def test_a_payment_torn_after_any_byte_is_paid_once(kind: str, part: int) -> None:
    check(try_kind(kind, part=part, parts=PARTS))


@pytest.mark.parametrize("kind", [kind for kind in torn_kinds.KINDS if kind not in EVERY_BYTE])
def test_every_kind_of_tap_is_paid_once_however_it_is_torn(kind: str) -> None:
    check(try_kind(kind, SLOW_POINTS if kind in SLOW else POINTS))


@pytest.mark.parametrize("first", [torn.PAYER_SYNCS, torn.PAYEE_SYNCS])
@pytest.mark.parametrize("kind", [torn_kinds.SALE.name, torn_kinds.PERSON.name, torn_kinds.REFUND.name])
def test_a_torn_tap_that_nobody_heals_is_settled_by_the_ledger(kind: str, first: str) -> None:
    check(try_kind(kind, POINTS, after=(first,)))
