"""Memory runs out: a tap or sync after k bytes of heap, for many k, so that MemoryError comes at many points of it.

    run_memory.py STEP SEED SCENE,SCENE...       k grows by STEP bytes until it works; the seed moves the first
    run_memory.py replay SCENE:BYTES             one k, with the traceback

A heap is made of blocks of `BLOCK_BYTES`: with that as STEP, every allocation is the one that fails. An exception that
nobody handles starts that device again, as `apps.start` does. Whoever goes on without a fault must hold in memory what
its journal says; after a start all must be as after a power cut.
"""

import gc
import json
import sys

import image
import remember
from bank import Wrong
from named import found, run_named, text_of
from nor import Broken, Cut
from seat import Seat
from theatre import Theatre

BLOCK_BYTES = 32  # of a 64-bit MicroPython: four words
_MOST = 1_500_000  # bytes that one play allocates, at most
_MOST_FOUND = 5  # violations after which a scene ends
# What is handled well looks as if there were enough: so many bytes more than the last that were not enough are tried.
_ENOUGH = 8_192


def restart_what_fails() -> None:
    """An exception inside a device ends it; one of the host or the bank, which are as short of memory, does not."""
    for name in ("process", "tidy"):
        setattr(Seat, name, _ending_it(getattr(Seat, name)))


def _ending_it(inside):
    def guarded(seat, *arguments):
        try:
            return inside(seat, *arguments)
        except Exception:
            seat.power.dead = True
            raise

    return guarded


class Ballast:
    """Fills the heap. The list is made beforehand, so that filling needs nothing but what it fills."""

    def __init__(self):
        self._held: list = [None] * 40_000
        self._count = 0

    def fill(self, free_bytes: int) -> None:
        """Leave one piece of `free_bytes`. Nothing is collected until `drop`: each step of a tap takes from it, so
        that the number of bytes says where it fails.
        """
        gc.collect()
        kept = bytearray(free_bytes)
        gc.disable()  # else whatever does not fit any more would collect first
        held, count = self._held, 0
        for size in (1 << 16, 1 << 12):
            try:
                while True:
                    held[count] = bytearray(size)
                    count += 1
            except MemoryError:
                pass
        try:
            while count < len(held):
                held[count] = count + 0.5  # one block; looking for several takes long where there are many holes
                count += 1
        except MemoryError:
            pass
        self._count = count
        kept = None  # noqa: F841
        gc.collect()

    def drop(self) -> None:
        gc.enable()
        for index in range(self._count):
            self._held[index] = None
        self._count = 0
        gc.collect()


def opened(scene: str) -> Theatre:
    """A scene that was played once, so that what is made only the first time is there, in a replay as in a long run."""
    theatre = Theatre(scene)
    theatre.open(0)
    theatre.scene.play(theatre.table)
    return theatre


def play(theatre: Theatre, ballast: Ballast, free_bytes: int) -> bool:
    """One play with so much memory. False if somewhere it was not enough. Raises what is wrong afterwards."""
    table, scene = theatre.table, theatre.scene
    theatre.open(free_bytes)
    failed = False
    table.check = lambda seat: None  # books, too, are kept in memory: they are looked at when there is enough of it
    ballast.fill(free_bytes)
    remember.pause()
    try:
        scene.play(table)
    except Cut:
        failed = True  # a card that started again
    except Exception:  # noqa: BLE001  (any may follow from one that was refused)
        failed = True
        for wish in table.wishes:
            if wish.reader:
                wish.reader.power.dead = True  # nobody handled it: the reader starts again
    finally:
        ballast.drop()
        remember.go_on()
        del table.check
    for seat in table.seats.values():
        if seat.dead or seat.device.fault:
            failed = True
        elif seat.books:
            table.check(seat)
    if failed:
        for seat in table.seats.values():
            if not seat.start():
                raise Wrong("no start")
            scene.started(seat)
    table.crashes = []
    table.check_all()
    scene.again(table)
    table.check_all()
    table.check_wishes()
    scene.next(table)
    table.check_all()
    if scene.by_ledger:
        theatre.sync_all(table, free_bytes)
    table.check_settled()
    return not failed


def main(step: int, seed: int, scenes: list) -> None:
    ballast = Ballast()
    tried, failures, violations = 0, 0, 0
    needs = {}
    for scene in scenes:
        most = violations + _MOST_FOUND
        remember.forget()
        theatre = opened(scene)
        failed_at = 0
        free_bytes = BLOCK_BYTES + seed * 7919 * BLOCK_BYTES % step
        while violations < most and free_bytes < min(_MOST, failed_at + _ENOUGH + step):
            try:
                if not play(theatre, ballast, free_bytes):
                    failures += 1
                    failed_at = free_bytes
            except (Exception, Broken) as error:  # noqa: BLE001  (every one is a violation)
                violations += 1
                failed_at = free_bytes
                found("memory", (scene, free_bytes), text_of(error))
            tried += 1
            free_bytes += step
        needs[scene] = failed_at
        theatre.close()
    print(json.dumps({"tried": tried, "failures": failures, "bytes": needs, "violations": violations}))


def replay(scene: str, free_bytes: int) -> None:
    failed = not play(opened(scene), Ballast(), free_bytes)
    print(json.dumps({"replayed": scene, "bytes": free_bytes, "failed": failed, "violations": 0}))


image.collect_every(1 << 19)  # often: what lives long then stands together, and the rest is one piece
restart_what_fails()
if sys.argv[1] == "replay":
    scene, free_bytes = sys.argv[2].split(":")
    run_named("memory", replay, scene, int(free_bytes))
else:
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","))
