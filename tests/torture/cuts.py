"""Cuts power at every flash operation and byte, and every message, of every kind of tap, of sync and of redeeming.

    python -m tests.torture.cuts --points 1000 --seed 3 --only sale,person
    python -m tests.torture.cuts --points 0 --part 0/2
    python -m tests.torture.cuts --replay sale:payer:12:40:tap

A point is `scene:side:operation:byte:route`: the device on that side loses power at that byte of its n-th flash
operation of the play ("air": message n is lost instead), starts again, and then people tap again or sync. `--points 0`
tries all of them, `--part 0/2` every second one of those that are to be tried. Ends with one JSON line; exit 1 if there
were violations, each with the line that replays it.

Every byte is one of a program of the journal or of a write below littlefs. An erase has no order of bytes on a chip: it
is cut at seven of its bytes (both ends, both sides of the first unit, the middle, the last unit) and so that its whole
sector reads anyhow.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.torture.stages import BOARDS, STAGE, finish, part_of, run, start, tell

SCENES = tuple(re.findall(r'^    "([a-z-]+)": \w+,$', (STAGE / "scenes.py").read_text(), re.MULTILINE))


def cut(
    points: int = 0,
    seed: int = 0,
    scenes: Sequence[str] = SCENES,
    processes: int = 2,
    part: tuple[int, int] = (0, 1),
) -> dict[str, Any]:
    """Tries about `points` cut points of `scenes` together (0: all), or this part of them. The processes, also those of
    other parts, run the boards' images in turn.
    """
    started = time.monotonic()
    common = [str(processes * part[1]), str(points), str(seed), ",".join(scenes)]
    shares = [part[0] * processes + number for number in range(processes)]
    running = [start("run_cuts.py", [str(share), *common], BOARDS[share % len(BOARDS)]) for share in shares]
    found: list[dict[str, Any]] = []
    tried: dict[str, int] = {}
    kinds: dict[str, int] = {}
    try:
        for process in running:
            violations, end = finish(process)
            found += violations
            kinds |= end["kinds"]
            for name, count in end["tried"].items():
                tried[name] = tried.get(name, 0) + count
    finally:
        for process in running:
            process.kill()
    return {
        "cut_points": sum(tried.values()),
        "violations": len(found),
        "seconds": round(time.monotonic() - started, 1),
        "of": kinds,
        "found": found,
    }


def replay(point: str) -> list[dict[str, Any]]:
    """The violations of one point, on each board's image."""
    found = []
    for board in BOARDS:
        violations, _ = run("run_cuts.py", "replay", point, board=board)
        found += violations
    return found


def replay_line(violation: dict[str, Any]) -> str:
    return f"{violation['what']}\n    python -m tests.torture.cuts --replay {violation['violation']}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.cuts", description="Cuts power and messages.")
    parser.add_argument("--points", type=int, default=2_000, help="how many to try, 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--only", default=",".join(SCENES), help="scenes, separated by commas")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--part", type=part_of, default=(0, 1), metavar="I/N", help="of what is to be tried, from 0/N")
    parser.add_argument("--replay", metavar="POINT", help="play one point")
    arguments = parser.parse_args()
    if arguments.replay:
        found = replay(arguments.replay)
        for violation in found:
            print(violation["what"], violation["trace"], sep="\n")
        return 1 if found else 0
    scenes = arguments.only.split(",")
    unknown = set(scenes) - set(SCENES)
    if unknown:
        parser.error(f"no scene {', '.join(sorted(unknown))}; there are {', '.join(SCENES)}")
    result = cut(arguments.points, arguments.seed, scenes, arguments.processes, arguments.part)
    for violation in result.pop("found"):
        tell(replay_line(violation))
    print(json.dumps(result))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
