"""A terminal's day, a year in fast motion, and memory that runs out: the stages that cut no power.

    python -m tests.torture.endurance [--small] [--only day,year,memory] [--seed N] [--part 0/2]
    python -m tests.torture.endurance --replay memory:sale:4096

Memory runs out at every allocation of every kind of tap and of sync: `--part 0/2` takes every second kind, so that
another process can take the others. Each stage is one process of MicroPython. Ends with one JSON line; exit 1 on a
violation, which is printed with the command line that shows it again.
"""

import argparse
import json
import sys
import time
from typing import Any

from tests.torture.cuts import SCENES
from tests.torture.stages import part_of, run, tell

MEBIBYTE = 1 << 20
LARGEST_JOURNAL = 511 * 4096  # bytes, see storage/journal.py
# What a stage runs in. For `memory` it is filled up; the others need room for all that a device ever said.
HEAPS = {"day": "32M", "year": "32M", "memory": "4M"}
STAGES = tuple(HEAPS)
# stage: its arguments, in full and small; those of `memory` follow from its scenes
SIZES = {
    "day": ((3000, LARGEST_JOURNAL), (60, LARGEST_JOURNAL)),
    "year": ((365, 300, MEBIBYTE), (40, 300, MEBIBYTE)),
}
# Every tap and sync. What comes before, and a PIN's stretching, are no taps: there a device is not short of memory.
MEMORY_SCENES = tuple(scene for scene in SCENES if scene not in ("personalise", "pin"))
SMALL_SCENES = ("sale", "person")
BLOCK_BYTES = 32  # of a heap, see run_memory.py: a step that misses no allocation
SMALL_STEP_BYTES = 1024
# Takes the way of sync-payer, over and over: here a sector's erase is what memory must suffice for.
LONG_STEPS_BYTES = {"sync-long": 128}


def commands_of(stage: str, small: bool, seed: int, part: tuple[int, int]) -> list[tuple[str, ...]]:
    """The arguments of a stage's processes."""
    if stage != "memory":
        return [tuple(map(str, SIZES[stage][small]))]
    scenes = (SMALL_SCENES if small else MEMORY_SCENES)[part[0] :: part[1]]
    steps = [SMALL_STEP_BYTES if small else LONG_STEPS_BYTES.get(scene, BLOCK_BYTES) for scene in scenes]
    return [(str(step), str(seed), scene) for step, scene in zip(steps, scenes, strict=True)]


def endure(stages: tuple[str, ...], small: bool = False, seed: int = 0, part: tuple[int, int] = (0, 1)) -> dict:
    """Runs them one after the other."""
    started = time.monotonic()
    result: dict[str, Any] = {}
    violations = 0
    for stage in stages:
        for arguments in commands_of(stage, small, seed, part):
            found, end = run(f"run_{stage}.py", *arguments, heap=HEAPS[stage])
            for violation in found:
                tell(replay_line(violation))
            violations += end["violations"]
            result.setdefault(stage, []).append(end)
    return {**result, "violations": violations, "seed": seed, "seconds": round(time.monotonic() - started, 1)}


def replay_line(violation: dict[str, Any]) -> str:
    return f"{violation['what']}\n    python -m tests.torture.endurance --replay {violation['violation']}"


def replay(name: str) -> list[dict[str, Any]]:
    """What `name` of a violation, `stage:argument:...`, finds now. Raises ValueError if there is no such stage."""
    stage, _, arguments = name.partition(":")
    if stage not in STAGES or not arguments:
        raise ValueError(f"there is nothing called {name}; for example memory:sale:4096")
    words = ("replay", arguments) if stage == "memory" else arguments.split(":")
    found, _ = run(f"run_{stage}.py", *words, heap=HEAPS[stage])
    return found


def stages_of(text: str) -> tuple[str, ...]:
    """Raises ValueError."""
    stages = tuple(text.split(","))
    if not set(stages) <= set(STAGES):
        raise ValueError(text)
    return stages


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.endurance", description="A day, a year, no memory.")
    parser.add_argument("--small", action="store_true", help="what fits a quick test")
    parser.add_argument("--only", type=stages_of, default=STAGES, metavar=",".join(STAGES), help="these stages")
    parser.add_argument(
        "--seed", type=int, default=0, help="where the sizes of memory begin, and what flash reads like"
    )
    parser.add_argument("--part", type=part_of, default=(0, 1), metavar="I/N", help="of the scenes of memory, from 0/N")
    parser.add_argument("--replay", metavar="VIOLATION", help="one that was found, again")
    arguments = parser.parse_args()
    if arguments.replay:
        try:
            found = replay(arguments.replay)
        except ValueError as error:
            parser.error(str(error))
        for violation in found:
            print(violation["what"])
        return 1 if found else 0
    result = endure(arguments.only, arguments.small, arguments.seed, arguments.part)
    print(json.dumps(result))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
