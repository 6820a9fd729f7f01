"""The cut points of every kind of tap and of sync: which there are, which to try, and trying them on real devices.

A point is `kind:frame:byte:after`; frames count from 0, in both directions. What people do after the cut takes turns
from byte to byte, and another seed begins elsewhere: as many seeds as there are things to do try everything after every
byte.
"""

import os
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.device import torn, torn_kinds, torn_redeem, torn_sync
from tests.device.table import Table
from tests.device.torn_host import TornHost
from tests.device.torn_redeem import TornRedeem
from tests.device.torn_sync import TornSync

KINDS = (*torn_kinds.KINDS, *torn_sync.KINDS, *torn_redeem.KINDS)
# Files lie in memory where that is offered: no computer loses power here, and a ledger waits for its disk at every step
_MEMORY = "/dev/shm"
_STAGE_POINTS = 150  # then new devices: journals and limits are finite
_GOLDEN = 0.618  # spreads what successive seeds choose


class Point(NamedTuple):
    kind: str
    frame: int
    byte: int
    after: str

    def __str__(self) -> str:
        return ":".join(map(str, self))


class Found(NamedTuple):
    """A violation: at which point ("" without any cut), and what it said."""

    point: str
    what: str


class Tried(NamedTuple):
    all: int  # points of this kind
    tried: int
    found: list[Found]


def parse(text: str) -> Point:
    """Raises ValueError."""
    kind, frame, byte, after = text.split(":")
    if kind not in KINDS or after not in after_of(kind):
        raise ValueError(f"there is no point {text}")
    return Point(kind, int(frame), int(byte), after)


def after_of(kind: str) -> tuple[str, ...]:
    """What people do after a cut."""
    return (
        torn_sync.AFTER if kind in torn_sync.KINDS else torn_redeem.AFTER if kind in torn_redeem.KINDS else torn.AFTER
    )


@contextmanager
def stage(kind: str) -> Iterator[torn.Pair | TornHost]:
    """New devices and a new bank for one kind."""
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, Table(Path(folder), operators=(1, 2)) as table:
        if kind in torn_kinds.KINDS:
            yield torn.Pair(table, torn_kinds.KINDS[kind])
            return
        is_sync = kind in torn_sync.KINDS
        make, way = (TornSync, torn_sync.KINDS[kind]) if is_sync else (TornRedeem, torn_redeem.KINDS[kind])
        with closing(make(table, way)) as host:
            yield host


def points_of(kind: str, lengths: Sequence[int], after: Sequence[str], seed: int) -> list[Point]:
    """Every byte of every frame, from 0 (before it) to the last one (it arrives)."""
    cuts = [(frame, byte) for frame, length in enumerate(lengths) for byte in range(length + 1)]
    return [Point(kind, *cut, after[(number + seed) % len(after)]) for number, cut in enumerate(cuts)]


def chosen(points: list[Point], most: int, seed: int) -> list[Point]:
    """At most so many (0: all), evenly spread, others with another seed."""
    if not most or most >= len(points):
        return points
    step = len(points) / most
    return [points[int((index + seed * _GOLDEN % 1) * step)] for index in range(most)]


def play(point: Point) -> None:
    """One point, on new devices. Raises what is found."""
    with stage(point.kind) as devices:
        devices.play(point.frame, point.byte, point.after)


def try_kind(
    kind: str, most: int = 0, seed: int = 0, part: int = 0, parts: int = 1, after: Sequence[str] = ()
) -> Tried:
    """Tries points of one kind: every `parts`-th of those that are chosen. `after`: only these follow a cut."""
    found: list[Found] = []
    todo: list[Point] | None = None
    tried = count = 0
    while todo is None or tried < len(todo):
        at = ""
        try:
            with stage(kind) as devices:
                points = points_of(kind, devices.lengths, after or after_of(kind), seed)
                count = len(points)
                todo = todo or chosen(points, most, seed)[part::parts]
                for point in todo[tried : tried + _STAGE_POINTS]:
                    at = str(point)
                    tried += 1
                    devices.play(point.frame, point.byte, point.after)
        except Exception:  # noqa: BLE001  (whatever goes wrong is what is looked for)
            found.append(Found(at, traceback.format_exc()))
            if not at:  # not even an untorn one works
                break
    return Tried(count, tried, found)
