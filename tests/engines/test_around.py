"""What lies next to many rows, asked for at once, beside what a list of them says."""

from bisect import bisect_right
from random import Random

import pytest

from host_tools.ledger import bulk
from host_tools.ledger.bulk.neighbours import NEAR, stretches
from host_tools.ledger.schema import positions
from tests.engines.fixtures import every_engine

KEYS = ("device", "seq")


def device(number: int) -> bytes:
    return bytes((number,)) * 16


def placed(random: Random) -> dict[bytes, list[int]]:
    """Close together, far apart, and a device that has none."""
    dense = random.sample(range(1, 200), 120)
    sparse = random.sample(range(1, 20_000), 40)
    mixed = [1, *range(500, 500 + 2 * NEAR), 3_000, 3_000 + NEAR, 9_000]
    return {device(1): sorted(dense), device(2): sorted(sparse), device(3): mixed, device(4): []}


def next_to(places: list[int], place: int, floor: int) -> set[int]:
    """The one at or below, unless it is no higher than the floor, and the one above."""
    at = bisect_right(places, place)
    found = set(places[at : at + 1])
    if at and places[at - 1] > floor:
        found.add(places[at - 1])
    return found


@every_engine
@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_found_near_and_far(town, seed):
    random = Random(f"around {seed}")
    there = placed(random)
    rows = [(who, seq, bytes(32), b"signed") for who, places in there.items() for seq in places]
    floors = {who: random.choice([0, *places]) for who, places in there.items()}
    wanted = [(who, random.randint(floors[who] + 1, 21_000)) for who in there for _ in range(60)]
    wanted += [(who, seq + off) for who, seq, *_ in rows for off in (0, 1) if seq > floors[who]]

    def ask(connection):
        bulk.insert(connection, positions, (*KEYS, "hash", "proof"), rows)
        found: dict[bytes, set[int]] = {who: set() for who in there}
        for who, seq in bulk.around(connection, positions, KEYS, KEYS, wanted, floors):
            found[bytes(who)].add(seq)
        return found

    found = town.ledger._run(ask)
    for who, place in wanted:
        assert next_to(there[who], place, floors[who]) <= found[who], (who, place)
    assert all(found[who] <= set(places) for who, places in there.items())


@every_engine
def test_few_others_are_read(town):
    """Of a thousand rows, what is asked for in their midst."""
    who = device(1)
    rows = [(who, seq, bytes(32), b"signed") for seq in range(1, 1_001)]

    def ask(connection):
        bulk.insert(connection, positions, (*KEYS, "hash", "proof"), rows)
        return [seq for _, seq in bulk.around(connection, positions, KEYS, KEYS, [(who, 990), (who, 993)], {who: 0})]

    found = town.ledger._run(ask)
    assert {990, 991, 993, 994} <= set(found)
    assert len(found) <= NEAR + 11


def test_stretches_hold_what_lies_together():
    a, b = device(1), device(2)
    wanted = [(b, 7), (a, 50), (a, 10), (a, 10 + NEAR), (a, 11 + 2 * NEAR), (a, 50)]
    assert stretches(wanted) == [(a, 10, 10 + NEAR), (a, 11 + 2 * NEAR, 11 + 2 * NEAR), (a, 50, 50), (b, 7, 7)]
