"""Cuts power at every operation and byte of every scene. Runs on MicroPython; `tests/torture/cuts.py` starts it.

    run_cuts.py SHARE SHARES POINTS SEED SCENE,SCENE...     a share of a sample of the points, 0 for all
    run_cuts.py replay SCENE:SIDE:OP:BYTE:ROUTE             one point, with the traceback

Prints one JSON line for each violation and one at the end.
"""

import gc
import io
import json
import sys

import image
import remember
import wish
from bank import Refusal
from nor import Broken, Cut
from theatre import Theatre


def name_of(scene: str, point) -> str:
    return "%s:%s:%d:%d:%s" % ((scene,) + tuple(point))


def text_of(error) -> str:
    if isinstance(error, Refusal):
        return "refused with cause %d" % error.cause
    return "%s: %s" % (type(error).__name__, error)


def chosen(points: list, count: int, seed: int) -> list:
    """A sample that is spread evenly; the seed moves it."""
    if not count or count >= len(points):
        return points
    first = seed * 7919 % len(points)
    return [points[(first + index * len(points) // count) % len(points)] for index in range(count)]


def run(share: int, shares: int, count: int, seed: int, scenes: list) -> None:
    watch = image.Stopwatch()
    kinds, tried, violations = {}, {}, 0
    for scene in scenes:
        remember.forget()
        theatre = None
        try:
            theatre = Theatre(scene)
            points = theatre.points()
        except (Exception, Broken, Cut) as error:  # noqa: BLE001  (not even an uncut play goes well)
            violations += 1
            print(json.dumps({"violation": name_of(scene, ("air", 99, 0, "tap")), "what": text_of(error)}))
            if theatre:
                theatre.close()
            continue
        kinds[scene] = len(points)
        mine = chosen(points, -(-count // len(scenes)), seed)[share::shares]
        for point in mine:
            try:
                theatre.play(point)
            except (Exception, Broken, Cut) as error:  # noqa: BLE001  (every one is a violation)
                violations += 1
                print(json.dumps({"violation": name_of(scene, point), "what": text_of(error)}))
        tried[scene] = len(mine)
        theatre.close()
        theatre = None
        gc.collect()
    print(json.dumps({"kinds": kinds, "tried": tried, "violations": violations, "seconds": watch.seconds()}))


def replay(name: str) -> None:
    taps = []
    wish.trace = lambda *what: taps.append(repr(what))
    scene, side, op, byte, route = name.split(":")
    try:
        Theatre(scene).play((side, int(op), int(byte), route))
    except (Exception, Broken, Cut) as error:  # noqa: BLE001  (as in `run`)
        text = io.StringIO()
        image.print_exception(error, text)
        print(json.dumps({"violation": name, "what": text_of(error), "taps": taps, "trace": text.getvalue()}))
    print(json.dumps({"replayed": name}))


if sys.argv[1] == "replay":
    replay(sys.argv[2])
else:
    run(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5].split(","))
