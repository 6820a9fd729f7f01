"""What has to be done to a chip's flash: a function of the image and of what is on the chip. Nothing is done here.

The rules, each of which keeps money or a device's working:

1. What is worth money (`nvs`, `settings`, `journal`) is in no step, unless it is to be lost or there is none yet.
2. There is none yet if `journal` is blank, and `settings` is blank or begun as an empty file system.
3. Money that is elsewhere than the board has it, or may be, is not written over.
4. A head goes first and comes back last: by that of `code` MicroPython finds its files, by its own the boot loader
   finds MicroPython. What was interrupted never runs half old, half new, and can be told from what is whole.
5. The table comes after `settings`: a chip with our table has some that a device can use.
6. Money is lost in the order secret, key, journal: a journal that is half erased never has its key.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from host_tools.flashing.errors import ImageNeeded, MoneyThere
from host_tools.images.flash_layout import MONEY_PARTITIONS, SECTOR_BYTES
from host_tools.images.image import BOOTLOADER, CODE, MICROPYTHON, TABLE, Image, Part

SEGMENT_BYTES = 256 * 1024  # what is written again after an interruption, at most
# LittleFS has its root in the first two blocks. Of an app, any piece of its first sector would do.
HEAD_BYTES = {CODE: 2 * SECTOR_BYTES, MICROPYTHON: SECTOR_BYTES}

Place = tuple[str, int, int]  # name, offset, size


def zero_md5(size: int) -> str:
    return hashlib.md5(bytes(size)).hexdigest()


def blank_md5(size: int) -> str:
    return hashlib.md5(b"\xff" * size).hexdigest()


def is_begun(present: bytes, wanted: bytes) -> bool:
    """Whether programming `wanted` leads from erased flash to `present`, at whatever byte it was cut."""
    return all(is_now & must == must for is_now, must in zip(present, wanted, strict=True))


@dataclass(frozen=True)
class Segment:
    """A piece of a part, written and checked as one."""

    part: str
    offset_bytes: int
    data: bytes
    is_head: bool = False

    @property
    def end_bytes(self) -> int:
        return self.offset_bytes + len(self.data)

    @property
    def md5(self) -> str:
        return hashlib.md5(self.data).hexdigest()

    @property
    def is_blank(self) -> bool:
        return self.data.count(0xFF) == len(self.data)


def segments(part: Part) -> Iterator[Segment]:
    """All of a part, its head last."""
    head_bytes = HEAD_BYTES.get(part.name, 0)
    for at in range(0, len(part.data), SEGMENT_BYTES):
        start = max(at, head_bytes)
        if data := part.data[start : at + SEGMENT_BYTES]:
            yield Segment(part.name, part.offset_bytes + start, data)
    if head_bytes:
        yield Segment(part.name, part.offset_bytes, part.data[:head_bytes], is_head=True)


@dataclass(frozen=True)
class Region:
    """A partition for money, where a table has it, and what is in it now."""

    name: str
    offset_bytes: int
    size_bytes: int
    md5: str

    @property
    def is_blank(self) -> bool:
        return self.md5 == blank_md5(self.size_bytes)

    @property
    def is_zero(self) -> bool:
        """As nothing leaves it: an emulated chip's flash, newly made."""
        return self.md5 == zero_md5(self.size_bytes)


@dataclass(frozen=True)
class Found:
    """What is on the chip."""

    table_is_readable: bool  # or blank, or begun as ours
    money: tuple[Region, ...]  # as the board has it
    elsewhere: tuple[Region, ...]  # where the chip's present table has it otherwise
    settings_are_new: bool  # blank, or begun as an empty file system
    settings_have_files: bool  # begin as a file system does
    matching: frozenset[Segment]
    blank_heads: frozenset[str]  # parts
    micropython: tuple[str, tuple[int, int]] | None  # where the board has it: its version, for this chip


@dataclass(frozen=True)
class Step:
    """Erase a region, or write a segment, which erases its own."""

    name: str
    offset_bytes: int
    size_bytes: int
    segment: Segment | None = None


@dataclass(frozen=True)
class Plan:
    """`is_first`: the device's settings are made anew. `parts` are what the chip holds at the end."""

    is_first: bool
    steps: tuple[Step, ...]
    parts: tuple[Part, ...]
    kept: tuple[Region, ...]  # of the money
    lost: tuple[Region, ...]

    @property
    def size_bytes(self) -> int:
        return sum(step.size_bytes for step in self.steps)


def places(image: Image, present: Iterable[Place]) -> tuple[tuple[Place, ...], tuple[Place, ...]]:
    """What is worth money: where the board has it, and where the present table has it otherwise."""
    partitions = [image.board.partition(name) for name in MONEY_PARTITIONS]
    own = tuple((partition.name, partition.offset_bytes, partition.size_bytes) for partition in partitions)
    return own, tuple(place for place in present if place[0] in MONEY_PARTITIONS and place not in own)


def used(found: Found) -> tuple[Region, ...]:
    """Where money, or the key to it, may be."""
    own = [region for region in found.money if not (region.name == "settings" and found.settings_are_new)]
    return tuple(
        region
        for region in (*own, *found.elsewhere)
        if region.name in ("settings", "journal") and not (region.is_blank or region.is_zero)
    )


def money_may_be_there(found: Found) -> bool:
    """Whether somebody has to say that it may be lost, before it is."""
    return bool(used(found)) or not found.table_is_readable


def make_plan(image: Image, found: Found, lose_money: bool = False) -> Plan:
    """Raises `MoneyThere` if money is where it cannot stay, `ImageNeeded` if the chip has no MicroPython that fits."""
    _check_micropython(image, found)
    if not lose_money:
        _check_money(found)
    is_first = lose_money or not used(found)
    lost = _lost(found) if lose_money and used(found) else ()
    parts = (*image.parts, image.settings) if is_first else image.parts
    erased = lost or (tuple(r for r in found.money if r.is_zero) if is_first else ())
    kept = tuple(r for r in found.money if r not in erased and not (is_first and r.name == image.settings.name))
    return Plan(is_first, tuple(_steps(image, parts, found, erased)), parts, kept, lost)


def _check_micropython(image: Image, found: Found) -> None:
    if image.micropython_version is not None:
        return
    board = image.board
    minimum = ".".join(map(str, board.micropython_minimum))
    if found.micropython is None:
        there = "The chip has no MicroPython yet"
    elif found.micropython[1] < board.micropython_minimum:
        there = f"The chip has MicroPython {found.micropython[0]}, and {board.name} needs {minimum} or newer"
    else:
        return
    name = board.micropython_image
    raise ImageNeeded(
        f"{there}. Nothing was written. Name an image with --micropython: {name}-<date>-v<version>.bin, {minimum} or"
        f" newer, from https://micropython.org/download/{name}"
    )


def _check_money(found: Found) -> None:
    lost = "Nothing was written. If what is there may be lost, use --erase-money"
    if not found.table_is_readable:
        raise MoneyThere(
            f"The chip's partition table is damaged or of another kind, so nobody can say where money is. {lost}."
        )
    there = used(found)
    moved = next((region for region in found.elsewhere if not region.is_blank and there), None)
    if moved is not None:
        raise MoneyThere(
            f"The chip has `{moved.name}` of another board, at {moved.offset_bytes:#x}: it would be written over. Flash"
            f" the board that it is. {lost}."
        )
    if there and not found.settings_have_files:
        raise MoneyThere(
            f"There is something in `{there[0].name}`, and `settings` are damaged, half erased, or another"
            f" program's data: a device could not start with them. {lost}."
        )


def _lost(found: Found) -> tuple[Region, ...]:
    """What must be erased, in the order in which it may be interrupted."""
    regions = [
        region
        for region in (*found.money, *found.elsewhere)
        if not region.is_blank and not (region in found.money and region.name == "settings" and found.settings_are_new)
    ]
    return tuple(sorted(regions, key=lambda region: MONEY_PARTITIONS.index(region.name)))


def _steps(image: Image, parts: tuple[Part, ...], found: Found, erased: tuple[Region, ...]) -> Iterator[Step]:
    order = (BOOTLOADER, MICROPYTHON, CODE, image.settings.name, TABLE)
    all_segments = [segment for name in order for part in parts if part.name == name for segment in segments(part)]
    writes = [
        segment
        for segment in all_segments
        if segment not in found.matching or any(_overlaps(segment, region) for region in erased)
    ]
    if not writes and not erased:
        return
    again = {CODE}
    if any(segment.part in (BOOTLOADER, MICROPYTHON) for segment in writes):
        again.add(MICROPYTHON)
    heads = {segment.part: segment for segment in all_segments if segment.is_head and segment.part in again}
    for name in (CODE, MICROPYTHON):
        if name in heads and name not in found.blank_heads:
            yield Step(name, heads[name].offset_bytes, len(heads[name].data))
    for region in erased:
        yield Step(region.name, region.offset_bytes, region.size_bytes)
    for segment in all_segments:
        if segment in writes and not segment.is_head or segment == heads.get(MICROPYTHON):
            yield _write(segment)
    yield _write(heads[CODE])


def _write(segment: Segment) -> Step:
    return Step(segment.part, segment.offset_bytes, len(segment.data), segment)


def _overlaps(segment: Segment, region: Region) -> bool:
    return segment.offset_bytes < region.offset_bytes + region.size_bytes and region.offset_bytes < segment.end_bytes
