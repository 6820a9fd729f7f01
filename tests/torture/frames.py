"""Takes the card away, or pulls the cable, after every byte of every frame: of taps, of syncs and of redeeming.

    python -m tests.torture.frames --points 1000 --seed 3 --kind sale,person
    python -m tests.torture.frames --points 0 --part 0/2
    python -m tests.torture.frames --replay sale:5:40:card-off

Real devices: MicroPython processes with a board's image, the virtual air, a real ledger. What a point is says
`tests.device.cut_points`. `--points 0` tries every byte, `--part 0/2` every second point of those that are to be tried,
so that another process can take the others. Ends with one JSON line, `of` says how many points each kind has; exit 1 if
there were violations, each with the line that replays it.
"""

import argparse
import json
import sys
import time
from typing import Any

from tests.device.cut_points import KINDS, Found, parse, play, try_kind
from tests.torture.stages import part_of


def tell(kind: str, found: Found) -> None:
    replay = f"--replay {found.point}" if found.point else f"--kind {kind}, without any cut"
    print(found.what, f"    python -m tests.torture.frames {replay}", sep="\n", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.frames", description="Tears taps and syncs.")
    parser.add_argument("--points", type=int, default=1_000, help="how many to try of all kinds together, 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="which ones, and what follows them")
    parser.add_argument("--kind", default=",".join(KINDS), help="kinds, separated by commas")
    parser.add_argument("--part", type=part_of, default=(0, 1), metavar="I/N", help="of what is to be tried, from 0/N")
    parser.add_argument("--replay", metavar="POINT", help="play one point")
    arguments = parser.parse_args()
    if arguments.replay:
        try:
            point = parse(arguments.replay)
        except ValueError as error:
            parser.error(str(error))
        play(point)
        return 0
    kinds = arguments.kind.split(",")
    unknown = set(kinds) - set(KINDS)
    if unknown:
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    started = time.monotonic()
    result: dict[str, Any] = {"cut_points": 0, "violations": 0, "seconds": 0, "of": {}}
    for kind in kinds:
        ended = try_kind(kind, -(-arguments.points // len(kinds)), arguments.seed, *arguments.part)
        result["cut_points"] += ended.tried
        result["violations"] += len(ended.found)
        result["of"][kind] = ended.all
        for found in ended.found:
            tell(kind, found)
    result["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(result))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
