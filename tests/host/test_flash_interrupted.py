"""Flashing that ends after every packet: what is on the chip then, and that the next time ends it and no more."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.flashing.errors import ImageNeeded, Stopped
from host_tools.flashing.plan import HEAD_BYTES
from host_tools.images.filesystem import code_filesystem
from host_tools.images.image import BOOTLOADER, CODE, MICROPYTHON, Image
from host_tools.simulator.virtual_esp_rom import Faults
from tests.host.esp_bench import (
    ROM_BLOCK_BYTES,
    STUB_BLOCK_BYTES,
    EspBench,
    all_segments,
    image_for,
    packets,
    without_micropython,
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


def missing(bench: EspBench, image: Image, is_first: bool) -> list:
    """The segments that are not on the chip; with them those heads that have to come back last."""
    wanted = [segment for segment in all_segments(image) if is_first or segment.part != image.settings.name]
    flash = bench.contents()
    absent = [piece for piece in wanted if flash[piece.offset_bytes : piece.end_bytes] != piece.data]
    again = {CODE} if absent else set()
    if any(piece.part in (BOOTLOADER, MICROPYTHON) for piece in absent):
        again.add(MICROPYTHON)
    return [piece for piece in wanted if piece in absent or piece.is_head and piece.part in again]


def check_half_done(bench: EspBench, image: Image, is_first: bool) -> None:
    """A head is there only if all is there that it leads to."""
    absent = {piece.part for piece in missing(bench, image, is_first)}
    flash = bench.contents()
    heads = {
        piece.part
        for piece in all_segments(image)
        if piece.is_head and flash[piece.offset_bytes : piece.end_bytes] == piece.data
    }
    if MICROPYTHON in heads:
        assert not absent & {BOOTLOADER, MICROPYTHON}
    if CODE in heads:
        assert absent == set()


def start_without_code(bench: EspBench) -> None:
    """What MicroPython does with a blank `vfs`: it makes a file system of its own there."""
    vfs = bench.board.partition("vfs")
    if bench.contents(vfs.offset_bytes, HEAD_BYTES[CODE]).strip(b"\xff") == b"":
        bench.overwrite(vfs.offset_bytes, code_filesystem({"boot.py": b"# boot\n"}, vfs.size_bytes)[: HEAD_BYTES[CODE]])


def interrupted(
    bench: EspBench,
    image: Image,
    stride: int,
    use_stub: bool,
    torn_bytes: int | None = None,
    lose_money: bool = False,
) -> Iterator[int]:
    """Flash what is there now, each time cut after one packet more; yields when it is cut.

    Of the last packet another part is done each time, `torn_bytes` at most.
    """
    start = bench.contents()
    for end_after in itertools.count(1, stride):
        bench.overwrite(0, start)
        torn = end_after * torn_bytes * 37 // 100 % torn_bytes if torn_bytes else None
        bench.plug_in(Faults(end_after=end_after, torn_bytes=torn))
        try:
            bench.flash(image, use_stub=use_stub, lose_money=lose_money)
        except Stopped:
            assert bench.rom.flash_packets == end_after
            yield end_after
        else:
            assert bench.rom.flash_packets < end_after
            assert end_after > 5 * stride  # it was cut at all
            return


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chip", "use_stub", "stride", "torn_bytes"),
    [
        ("esp32c3", False, 3, None),
        ("esp32c3", True, 1, 16_000),
        ("esp32s3", False, 8, 1_000),
        ("esp32", False, 13, 1_000),
    ],
)
def test_a_first_flashing_goes_on_where_it_was_cut(
    tmp_path: Path, images: Path, chip: str, use_stub: bool, stride: int, torn_bytes: int | None
):
    image = image_for(chip, images)
    block_bytes = STUB_BLOCK_BYTES if use_stub else ROM_BLOCK_BYTES
    merged = image.merged()
    with EspBench(tmp_path, chip) as bench:
        for _ in interrupted(bench, image, stride, use_stub, torn_bytes):
            check_half_done(bench, image, is_first=True)
            lacks = missing(bench, image, is_first=True)
            bench.plug_in()
            bench.flash(image, use_stub=use_stub)
            assert bench.rom.data_packets == sum(packets(segment, block_bytes) for segment in lacks)
            assert bench.contents(image.offset_bytes, len(merged)) == merged


@pytest.mark.slow
@pytest.mark.parametrize(("use_stub", "stride"), [(True, 1), (False, 5)])
def test_an_update_never_touches_money_wherever_it_is_cut(tmp_path: Path, images: Path, use_stub: bool, stride: int):
    first = image_for("esp32c3", images)
    image = image_for("esp32c3", images, text="other", version="v1.29.0")
    block_bytes = STUB_BLOCK_BYTES if use_stub else ROM_BLOCK_BYTES
    with EspBench(tmp_path, "esp32c3") as bench:
        bench.flash(first)
        money = bench.use()
        for _ in interrupted(bench, image, stride, use_stub, 1_000):
            assert bench.money() == money and not bench.touched_money()
            check_half_done(bench, image, is_first=False)
            lacks = missing(bench, image, is_first=False)
            start_without_code(bench)
            bench.plug_in()
            assert not bench.flash(image, use_stub=use_stub).is_first
            assert bench.money() == money and not bench.touched_money()
            assert bench.rom.data_packets == sum(packets(segment, block_bytes) for segment in lacks)
            assert missing(bench, image, is_first=False) == []


@pytest.mark.parametrize("use_stub", [True, False])
@pytest.mark.parametrize("torn_bytes", [None, 100_000])
def test_half_erased_money_never_has_its_key(tmp_path: Path, images: Path, use_stub: bool, torn_bytes: int | None):
    """And the code is away: a device in this state is none, and a repetition makes a new one of it."""
    image = image_for("esp32c3", images)
    merged = image.merged()
    with EspBench(tmp_path, "esp32c3") as bench:
        bench.flash(image)
        money = bench.use()
        for _ in interrupted(bench, image, 1, use_stub, torn_bytes, lose_money=True):
            now = bench.money()
            if now["journal"] != money["journal"]:
                assert now["settings"] != money["settings"]
            if now["settings"] != money["settings"]:
                assert now["nvs"].strip(b"\xff") == b""
            check_half_done(bench, image, is_first=True)
            bench.plug_in()
            bench.flash(image, use_stub=use_stub, lose_money=True)
            assert bench.contents() == merged.ljust(4 << 20, b"\xff")


def test_half_of_micropython_is_none(tmp_path: Path, images: Path):
    """Who repeats without the image is told that it is needed again."""
    image = image_for("esp32c3", images)
    with EspBench(tmp_path, "esp32c3") as bench:
        bench.plug_in(Faults(end_after=40))
        with pytest.raises(Stopped):
            bench.flash(image)
        assert any(piece.part == MICROPYTHON for piece in missing(bench, image, is_first=True))
        bench.plug_in()
        with pytest.raises(ImageNeeded, match="has no MicroPython yet"):
            bench.flash(without_micropython(image))
