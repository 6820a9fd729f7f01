"""What `make torture` runs is everything at full length, shared by processes that miss nothing."""

import json

import pytest

from tests.torture import __main__ as torture
from tests.torture.stages import part_of

FULL = torture.parts(small=False, seed=7)


def option(part: list[str], name: str) -> str:
    return part[part.index(name) + 1]


@pytest.mark.parametrize("module", ["tests.torture.frames", "tests.torture.cuts"])
def test_every_byte_is_some_part_s(module: str) -> None:
    halves = [part for part in FULL if part[0] == module]
    assert [option(part, "--points") for part in halves] == ["0", "0"]
    assert [part_of(option(part, "--part")) for part in halves] == [(0, 2), (1, 2)]
    assert not any({"--only", "--kind"} & set(part) for part in halves)


def test_memory_is_short_in_every_scene_of_some_part() -> None:
    memory = [part for part in FULL if "memory" in part]
    assert [part_of(option(part, "--part")) for part in memory] == [(0, 2), (1, 2)]
    assert any("day,year" in part for part in FULL) and not any("--small" in part for part in FULL)


def test_a_million_steps_are_hypothesis_s() -> None:
    chosen = [part for part in FULL if "--hypothesis" in part]
    assert sum(int(option(part, "--steps")) for part in chosen) >= 1_000_000
    assert len({option(part, "--seed") for part in chosen}) == len(chosen)


def test_the_seed_reaches_all_that_chance_decides() -> None:
    others = torture.parts(small=False, seed=8)
    assert [part for part in FULL if part in others] == [["tests.model"]]


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "0/0", "a/b"])
def test_no_part_is_misread(text: str) -> None:
    with pytest.raises(ValueError, match=".+"):
        part_of(text)


@pytest.mark.parametrize(
    ("line", "code", "violations"),
    [
        ({"steps": 5, "violations": 0}, 0, 0),
        ({"steps": 5, "violations": 3}, 1, 3),
        ({"model_states": 5, "errors": 1}, 1, 1),
        ({"steps": 5, "violations": 0}, 1, 1),  # it failed, whatever it says
        ({"steps": 5, "violations": 2}, 0, 1),
        ({"steps": 5}, 0, 1),
        ("", 0, 1),
    ],
)
def test_a_part_is_believed_only_if_line_and_exit_agree(
    tmp_path, monkeypatch, line, code: int, violations: int
) -> None:
    (tmp_path / "a_part.py").write_text(f"import sys\nprint({json.dumps(line)!r})\nsys.exit({code})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert torture.run(["a_part"])["violations"] == violations
