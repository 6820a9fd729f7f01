"""Memory runs out: a tap after k bytes of heap, for many k, so that MemoryError comes at many points of it.

    run_memory.py STEP SCENE,SCENE...       k grows by STEP bytes until the taps work

An exception that nobody handles starts that device again, as `apps.start` does. Whoever goes on without a fault must
hold in memory what its journal says; after a start all must be as after a power cut.
"""

import gc
import io
import json
import sys

import image
from bank import Wrong
from nor import Broken, Cut
from theatre import Theatre

_MOST = 1_500_000  # bytes that one play allocates, at most
_LEAST = 128


class Ballast:
    """Fills the heap. The list is made beforehand, so that filling needs nothing but what it fills."""

    def __init__(self):
        self._held: list = [None] * 20_000
        self._count = 0

    def fill(self, free_bytes: int) -> None:
        """Leave one piece of `free_bytes`. Nothing is collected until `drop`: each step of a tap takes from it, so
        that the number of bytes says where it fails.
        """
        gc.collect()
        kept = bytearray(free_bytes)
        size = 1 << 20
        while size >= 32 and self._count < len(self._held):
            try:
                self._held[self._count] = bytearray(size)
                self._count += 1
            except MemoryError:
                size >>= 1
        kept = None  # noqa: F841
        gc.collect()
        gc.disable()

    def drop(self) -> None:
        gc.enable()
        for index in range(self._count):
            self._held[index] = None
        self._count = 0
        gc.collect()


def play(theatre: Theatre, ballast: Ballast, free_bytes: int) -> bool:
    """One play with so much memory. False if somewhere it was not enough. Raises what is wrong afterwards."""
    table = theatre.table
    theatre.open(free_bytes)
    failed = False
    ballast.fill(free_bytes)
    try:
        theatre.scene.play(table)
    except Cut:
        failed = True  # a card that started again
    except Exception:  # noqa: BLE001  (any may follow from one that was refused)
        failed = True
        for wish in table.wishes:
            wish.reader.power.dead = True  # nobody handled it: the reader starts again
    finally:
        ballast.drop()
    for seat in table.seats.values():
        if seat.dead or seat.device.fault:
            failed = True
        elif seat.books:
            table.check(seat)
    if failed:
        for seat in table.seats.values():
            if not seat.start():
                raise Wrong("no start")
    table.crashes = []
    table.check_all()
    theatre.scene.again(table)
    table.check_all()
    table.check_wishes()
    theatre.scene.next(table)
    table.check_all()
    table.check_settled()
    return not failed


def main(step: int, scenes: list) -> None:
    ballast = Ballast()
    tried, failures, violations = 0, 0, 0
    needs = {}
    for scene in scenes:
        theatre = Theatre(scene)
        worked = 0
        free_bytes = _LEAST
        while free_bytes < _MOST and worked < 5:
            try:
                good = play(theatre, ballast, free_bytes)
                worked = worked + 1 if good else 0
                failures += not good
            except (Exception, Broken) as error:  # noqa: BLE001  (every one is a violation)
                violations += 1
                text = io.StringIO()
                image.print_exception(error, text)
                print(json.dumps({"violation": "memory:%s:%d" % (scene, free_bytes), "what": text.getvalue()}))
            tried += 1
            free_bytes += step
        needs[scene] = free_bytes
        theatre.close()
    print(json.dumps({"tried": tried, "failures": failures, "bytes": needs, "violations": violations}))


main(int(sys.argv[1]), sys.argv[2].split(","))
