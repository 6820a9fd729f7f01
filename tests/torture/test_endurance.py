"""The small sizes of a terminal's day, of a year and of memory that runs out, and replays of what they find."""

import pytest

from tests.torture import endurance
from tests.torture.endurance import MEMORY_SCENES, SMALL_SCENES, STAGES, commands_of, endure, replay

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stage", STAGES)
def test_a_small_one_holds(stage: str) -> None:
    assert endure((stage,), small=True)["violations"] == 0


def test_memory_runs_out_in_every_tap_and_sync_whatever_the_parts() -> None:
    parts = [commands_of("memory", False, 0, (part, 3)) for part in range(3)]
    assert sorted(scene for part in parts for _, _, scene in part) == sorted(MEMORY_SCENES)
    assert set(SMALL_SCENES) < set(MEMORY_SCENES)


@pytest.mark.parametrize("name", ["memory:sale:4096", "year:2:30:1048576", "day:2:65536"])
def test_a_replay_of_what_holds_says_nothing(name: str) -> None:
    assert replay(name) == []


# Too small a journal for so many payments: what a stage cannot do is a violation.
@pytest.mark.parametrize(("stage", "size"), [("year", (1, 900, 36_864)), ("day", (60, 36_864))])
def test_what_is_found_is_named_by_what_replays_it(monkeypatch, capfd, stage: str, size: tuple[int, ...]) -> None:
    monkeypatch.setitem(endurance.SIZES, stage, (size, size))
    assert endure((stage,))["violations"] == 1
    name = ":".join([stage, *map(str, size)])
    assert f"--replay {name}" in capfd.readouterr().err
    assert replay(name)
