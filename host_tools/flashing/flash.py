"""Flashing one chip: look at it, do what the plan says, check all of it. Repeating goes on where it ended."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from mp_image_tool_esp32.image_header import ImageHeader

from host_tools.flashing.errors import ChipGone, NoBootLoader, NotVerified, Stopped
from host_tools.flashing.plan import (
    HEAD_BYTES,
    Found,
    Place,
    Plan,
    Region,
    Step,
    blank_md5,
    is_begun,
    places,
    segments,
    zero_md5,
)
from host_tools.images import micropython_image, partition_table
from host_tools.images.chips import CHIPS
from host_tools.images.filesystem import BLOCK_BYTES
from host_tools.images.flash_layout import SECTOR_BYTES
from host_tools.images.image import BOOTLOADER, TABLE, Image, Part
from host_tools.images.partition_table import TableError
from protocol.management import PERSONALISED

if TYPE_CHECKING:
    from host_tools.flashing.chip_link import ChipLink

Report = Callable[[int, int], None]

_APP_HEAD_BYTES = 512  # headers of the image and of its first segment, and the app's description
_LITTLEFS = b"littlefs"  # in both blocks of the root, behind a revision and a tag (littlefs SPEC.md, "Superblock")
_LITTLEFS_AT = 8


def look(link: "ChipLink", image: Image, report: Report) -> Found:
    """What is on the chip, by MD5 sums and a few small readings. Changes nothing.

    Raises `NoBootLoader` if the chip goes away, `WrongChip` if it is too old for this MicroPython.
    """
    try:
        return _look(link, image, report)
    except ChipGone as error:
        raise _gone_before(error) from error


def is_chip_of(link: "ChipLink", image: Image, key: bytes | None) -> bool:
    """Whether the `settings` on the chip are those of the device with this public key; of one that is not set up, if
    None. So somebody is told apart who has plugged in another board meanwhile: no device says its chip's MAC.

    Looks for the bytes as they lie in the flash, also in copies that were replaced: a file of settings is no longer
    than a block and lies in one piece (firmware/storage/settings.py). Raises `NoBootLoader` if the chip goes away.
    """
    wanted = image.settings
    mark = PERSONALISED.encode() if key is None else key
    try:
        is_there = any(
            mark in _contents(link, wanted.offset_bytes + at, BLOCK_BYTES, wanted.data[at : at + BLOCK_BYTES])
            for at in range(0, len(wanted.data), BLOCK_BYTES)
        )
    except ChipGone as error:
        raise _gone_before(error) from error
    return is_there == (key is not None)


def carry_out(link: "ChipLink", plan: Plan, report: Report) -> None:
    """All steps, then a check of every part and of everything that was to be kept. Raises `Stopped`, `NotVerified`."""
    done_bytes = 0

    def report_step(done: int, total: int) -> None:
        report(done_bytes + step.size_bytes * done // total, plan.size_bytes)

    try:
        for step in plan.steps:
            _do(link, step, report_step)
            done_bytes += step.size_bytes
            report(done_bytes, plan.size_bytes)
        _check(link, plan)
    except ChipGone as error:
        raise Stopped(f"Flashing stopped ({error}) {_half_way(plan, done_bytes)}") from error
    except KeyboardInterrupt:
        raise Stopped(f"Interrupted. {_half_way(plan, done_bytes)}") from None


def _gone_before(error: ChipGone) -> NoBootLoader:
    return NoBootLoader(
        f"The chip stopped answering before anything was written ({error}) It is as before. Check the cable and start"
        " again, with --baud 115200 if it happens again."
    )


def _half_way(plan: Plan, done_bytes: int) -> str:
    """What is so, and to do, when a plan was begun and not ended."""
    again = "Repeat the same command: it goes on where it was."
    if done_bytes == plan.size_bytes:
        return f"Everything is written, and not all of it is checked. {again}"
    money = "Its money is erased in part." if plan.lost else "What is worth money was not touched."
    return (
        f"The device has no whole code now: it starts as bare MicroPython, or not at all. {money} Its boot loader can"
        f" always be reached. {again}"
    )


def _do(link: "ChipLink", step: Step, report: Report) -> None:
    if step.segment is None or step.segment.is_blank:
        link.erase(step.offset_bytes, -(-step.size_bytes // SECTOR_BYTES) * SECTOR_BYTES)
    else:
        link.write(step.offset_bytes, step.segment.data, report)


def _check(link: "ChipLink", plan: Plan) -> None:
    for part in plan.parts:
        if link.md5(part.offset_bytes, len(part.data)) != hashlib.md5(part.data).hexdigest():
            raise NotVerified(
                f"The {part.name} reads back otherwise than it was written: do not use the device. Repeat the same"
                " command; if it happens again, the chip's flash is worn out."
            )
    for region in plan.kept:
        if link.md5(region.offset_bytes, region.size_bytes) != region.md5:
            raise NotVerified(f"`{region.name}` has changed, which nothing wrote to: the chip's flash is failing.")


def _look(link: "ChipLink", image: Image, report: Report) -> Found:
    for part in image.parts:
        if part.name == BOOTLOADER:
            link.check_revision(part.data)
    pieces = [segment for part in (*image.parts, image.settings) for segment in segments(part)]
    matching = set()
    for done, segment in enumerate(pieces):
        report(done, len(pieces))
        if link.md5(segment.offset_bytes, len(segment.data)) == segment.md5:
            matching.add(segment)
    table_is_readable, present = _table(link, image)
    own, elsewhere = places(image, present)
    settings_are_new, settings_have_files = _settings(link, image.settings)
    return Found(
        table_is_readable=table_is_readable,
        money=tuple(_region(link, place) for place in own),
        elsewhere=tuple(_region(link, place) for place in elsewhere),
        settings_are_new=settings_are_new,
        settings_have_files=settings_have_files,
        matching=frozenset(matching),
        blank_heads=frozenset(part.name for part in image.parts if _has_blank_head(link, part)),
        micropython=_micropython(link, image),
    )


def _table(link: "ChipLink", image: Image) -> tuple[bool, list[Place]]:
    """Whether the present table says where things are, and where. Blank, or begun as ours, it names nothing."""
    ours = next(part.data for part in image.parts if part.name == TABLE)
    data = _contents(link, partition_table.OFFSET_BYTES, partition_table.SIZE_BYTES, ours)
    try:
        return True, [(entry.name, entry.offset, entry.size) for entry in partition_table.read_table(data)]
    except TableError:
        return is_begun(data, ours) or not any(data), []


def _settings(link: "ChipLink", wanted: Part) -> tuple[bool, bool]:
    """Whether they are new, and whether they begin as a file system does."""
    if link.md5(wanted.offset_bytes, len(wanted.data)) == zero_md5(len(wanted.data)):
        return True, False
    root = _contents(link, wanted.offset_bytes, 2 * BLOCK_BYTES, wanted.data)
    rest = wanted.data[len(root) :]
    rest_md5 = link.md5(wanted.offset_bytes + len(root), len(rest))
    rest_is_new = rest_md5 in (blank_md5(len(rest)), hashlib.md5(rest).hexdigest())
    return (
        rest_is_new and is_begun(root, wanted.data[: len(root)]),
        any(root[at : at + len(_LITTLEFS)] == _LITTLEFS for at in (_LITTLEFS_AT, BLOCK_BYTES + _LITTLEFS_AT)),
    )


def _contents(link: "ChipLink", offset: int, size: int, likely: bytes) -> bytes:
    """What is there; read, which takes time, only if it is neither blank nor what is likely."""
    md5 = link.md5(offset, size)
    for guess in (b"\xff" * size, likely[:size]):
        if md5 == hashlib.md5(guess).hexdigest():
            return guess
    return link.read(offset, size)


def _region(link: "ChipLink", place: Place) -> Region:
    name, offset_bytes, size_bytes = place
    return Region(name, offset_bytes, size_bytes, link.md5(offset_bytes, size_bytes))


def _has_blank_head(link: "ChipLink", part: Part) -> bool:
    size = min(HEAD_BYTES.get(part.name, 0), len(part.data))
    return bool(size) and link.md5(part.offset_bytes, size) == blank_md5(size)


def _micropython(link: "ChipLink", image: Image) -> tuple[str, tuple[int, int]] | None:
    """Of the app where the board has MicroPython; its head is there only if it is whole."""
    head = link.read(image.board.partition("factory").offset_bytes, _APP_HEAD_BYTES)
    try:
        is_ours = ImageHeader.from_bytes(head).chip_id == CHIPS[image.board.chip].image_chip_id
    except ValueError:
        return None
    return micropython_image.version_of(head) if is_ours else None
