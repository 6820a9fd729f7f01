"""Flashing virtual chips through a pty with esptool: whole, again, onto a device with money, and what is refused."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.flashing.errors import (
    ImageNeeded,
    MoneyThere,
    NoBootLoader,
    NotVerified,
    Stopped,
    WrongChip,
)
from host_tools.flashing.flash import carry_out, look
from host_tools.flashing.plan import make_plan
from host_tools.images.image import CODE
from host_tools.simulator import virtual_esp_chips
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
from tests.host.stand_in import FACTORY_TABLE, stand_in

EVERY_CHIP = pytest.mark.parametrize("chip", ["esp32", "esp32s3", "esp32c3"])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[EspBench]:
    """The chip that needs the least time to connect to."""
    with EspBench(tmp_path, "esp32c3") as made:
        yield made


def nobody(_done: int, _total: int) -> None:
    """Looks at the progress."""


# Whole


@EVERY_CHIP
@pytest.mark.parametrize(("use_stub", "block_bytes"), [(False, ROM_BLOCK_BYTES), (True, STUB_BLOCK_BYTES)])
def test_a_new_chip_holds_the_image_and_a_second_time_nothing_is_written(
    tmp_path: Path, images: Path, chip: str, use_stub: bool, block_bytes: int
):
    image = image_for(chip, images)
    with EspBench(tmp_path, chip) as bench:
        bench.flash(image, use_stub=use_stub)
        merged = image.merged()
        assert bench.contents(image.offset_bytes, len(merged)) == merged
        before, after = bench.contents(0, image.offset_bytes), bench.contents(image.offset_bytes + len(merged))
        assert before.strip(b"\xff") == after.strip(b"\xff") == b""
        assert bench.rom.data_packets == sum(packets(segment, block_bytes) for segment in all_segments(image))
        bench.plug_in()
        assert not bench.flash(image, use_stub=use_stub).steps
        assert bench.rom.flash_packets == 0 and bench.rom.flash.changes == []


def test_a_new_version_of_the_code_leaves_the_rest(bench: EspBench, images: Path):
    bench.flash(image_for("esp32c3", images))
    money = bench.use()
    image = image_for("esp32c3", images, text="other")
    bench.plug_in()
    plan = bench.flash(image)
    assert {step.name for step in plan.steps} == {"code"}
    assert bench.money() == money and not bench.touched_money()
    code = image.board.partition("vfs")
    assert bench.contents(code.offset_bytes, code.size_bytes) == next(
        part.data for part in image.parts if part.name == CODE
    )


def test_the_whole_of_an_update_keeps_money_byte_for_byte(bench: EspBench, images: Path):
    bench.flash(image_for("esp32c3", images))
    money = bench.use()
    bench.plug_in()
    plan = bench.flash(image_for("esp32c3", images, text="other", version="v1.29.0"))
    assert {step.name for step in plan.steps} == {"code", "micropython"}
    assert bench.money() == money and not bench.touched_money()


def test_a_chip_with_official_micropython_needs_no_image(bench: EspBench, images: Path):
    """Flashed by hand before: the table is replaced, and MicroPython stays as it is."""
    bench.overwrite(0, stand_in("esp32c3", table=(*FACTORY_TABLE, ("vfs", "fat", 0x200000))))
    image = without_micropython(image_for("esp32c3", images))
    plan = bench.flash(image)
    assert plan.is_first
    assert [name for name in dict.fromkeys(step.name for step in plan.steps)] == ["code", "settings", "partition table"]
    merged = dataclasses.replace(image_for("esp32c3", images)).merged()
    assert bench.contents(0x8000, len(merged) - 0x8000) == merged[0x8000:]


@pytest.mark.parametrize(
    ("on_chip", "words"),
    [
        (b"", "has no MicroPython yet"),
        (stand_in("esp32c3", version="v1.20.0"), "has MicroPython 1.20.0, and esp32c3-card needs 1.24 or newer"),
        (stand_in("esp32c3", project="blink", banner="hello"), "has no MicroPython yet"),
        (stand_in("esp32s3"), "has no MicroPython yet"),
    ],
)
def test_a_chip_without_the_right_micropython_needs_one(bench: EspBench, images: Path, on_chip: bytes, words: str):
    bench.overwrite(0, on_chip)
    with pytest.raises(ImageNeeded, match=words):
        bench.flash(without_micropython(image_for("esp32c3", images)))
    assert bench.rom.flash.changes == []


def test_another_programs_chip_is_taken_over(bench: EspBench, images: Path):
    bench.overwrite(0x8000, stand_in("esp32c3", table=(("nvs", "nvs", 0x5000), ("app", "factory", 0x100000)))[0x8000:])
    bench.overwrite(0x9000, b"somebody's wifi" * 50)
    bench.overwrite(0x300000, bytes(100_000))
    image = image_for("esp32c3", images)
    bench.flash(image)
    end = image.board.partition("vfs").end_bytes
    assert bench.contents(0x10000, end - 0x10000) == image.merged()[0x10000:end]
    assert bench.contents(0x9000, 750) == b"somebody's wifi" * 50


def test_a_chip_full_of_zeros_is_new(bench: EspBench, images: Path):
    """As a file for an emulated chip is made. Nothing that was ever a device's looks like that."""
    image = image_for("esp32c3", images)
    end = image.board.partition("journal").end_bytes
    bench.overwrite(0, bytes(end))
    bench.flash(image)
    for part in (*image.parts, image.settings):
        assert bench.contents(part.offset_bytes, len(part.data)) == part.data, part.name
    for name in ("nvs", "journal"):
        partition = image.board.partition(name)
        assert not bench.contents(partition.offset_bytes, partition.size_bytes).strip(b"\xff"), name
    written = len(bench.rom.flash.changes)
    bench.flash(image)
    assert len(bench.rom.flash.changes) == written


@pytest.mark.parametrize("written", [1, 12, 60, 4096, 4120, 5000])
def test_settings_and_a_table_that_were_begun_are_no_money(bench: EspBench, images: Path, written: int):
    """As a cut of power leaves them, at any byte."""
    image = image_for("esp32c3", images)
    bench.overwrite(image.settings.offset_bytes, image.settings.data[:written])
    bench.overwrite(0x8000, image.parts[1].data[: written % 200])
    assert bench.flash(image).is_first
    assert bench.contents(0, len(image.merged())) == image.merged()


# Money


def test_a_device_that_official_micropython_was_flashed_over_gets_its_money_back(bench: EspBench, images: Path):
    image = image_for("esp32c3", images)
    bench.flash(image)
    money = bench.use()
    bench.overwrite(0x8000, stand_in("esp32c3", table=(*FACTORY_TABLE, ("vfs", "fat", 0x200000)))[0x8000:0x9000])
    bench.plug_in()
    assert not bench.flash(image).is_first
    assert bench.money() == money and not bench.touched_money()


@pytest.mark.parametrize(
    ("what", "offset", "data", "words"),
    [
        ("a damaged table", 0x8000, b"\xaa\x50\x01\x02garbage", "nobody can say where money is"),
        ("files where settings are", 0x3A0000 + 0x5000, b"x", "could not start with them"),
        ("something where the journal is", 0x3C0000 + 0x1F000, b"x", "could not start with them"),
    ],
)
def test_what_may_be_money_is_not_written_over(
    bench: EspBench, images: Path, what: str, offset: int, data: bytes, words: str
):
    bench.overwrite(offset, data)
    with pytest.raises(MoneyThere, match=words):
        bench.flash(image_for("esp32c3", images))
    assert bench.rom.flash.changes == []
    bench.flash(image_for("esp32c3", images), lose_money=True)
    merged = image_for("esp32c3", images).merged()
    assert bench.contents(0, len(merged)) == merged


def test_money_of_another_board_is_not_written_over(bench: EspBench, images: Path):
    entries = (*FACTORY_TABLE, ("vfs", "fat", 0x100000), ("journal", "fat", 0x10000))
    bench.overwrite(0x8000, stand_in("esp32c3", table=entries)[0x8000:0x9000])
    bench.overwrite(0x300000, b"money")
    with pytest.raises(MoneyThere, match="`journal` of another board, at 0x300000"):
        bench.flash(image_for("esp32c3", images))
    assert bench.rom.flash.changes == []
    bench.flash(image_for("esp32c3", images), lose_money=True)
    merged = image_for("esp32c3", images).merged()
    assert bench.contents(0, len(merged)) == merged


def test_erased_money_leaves_a_new_device(bench: EspBench, images: Path):
    image = image_for("esp32c3", images)
    bench.flash(image)
    bench.use()
    bench.plug_in()
    plan = bench.flash(image, lose_money=True)
    assert [lost.name for lost in plan.lost] == ["nvs", "settings", "journal"]
    merged = image.merged()
    assert bench.contents() == merged.ljust(4 << 20, b"\xff")


# Interrupted: see test_flash_interrupted.py. What else goes wrong:


def test_a_chip_that_goes_away_during_the_check(bench: EspBench, images: Path):
    image = image_for("esp32c3", images)
    with bench.connect() as link:
        plan = make_plan(image, look(link, image, nobody))

        ends = []

        def report(done: int, total: int) -> None:
            if done == total:
                ends.append(done)  # first esptool's own, before it has checked what it wrote last; then ours
            bench.rom.is_silent = len(ends) == 2

        with pytest.raises(Stopped, match="Everything is written, and not all of it is checked. Repeat"):
            carry_out(link, plan, report)


def test_what_reads_back_otherwise_is_said(bench: EspBench, images: Path):
    """A cell dies between the last write and the check of the whole."""
    image = image_for("esp32c3", images)
    with bench.connect() as link:
        plan = make_plan(image, look(link, image, nobody))

        def report(done: int, total: int) -> None:
            if done == total:
                bench.overwrite(0x10400, bytes(64))

        with pytest.raises(NotVerified, match=r"The micropython reads back otherwise.*Repeat the same command"):
            carry_out(link, plan, report)


def test_money_that_changes_meanwhile_is_said(bench: EspBench, images: Path):
    image = image_for("esp32c3", images)
    bench.flash(image)
    bench.use()
    bench.plug_in()
    with bench.connect() as link:
        plan = make_plan(image, look(link, image, nobody))
        bench.overwrite(0x3C0100, b"\0")
        with pytest.raises(NotVerified, match="`journal` has changed"):
            carry_out(link, plan, nobody)


@pytest.mark.parametrize("chip", ["esp32", "esp32s3"])
def test_the_wrong_chip_is_refused(tmp_path: Path, chip: str):
    with EspBench(tmp_path, chip) as bench:
        bench.chip = "esp32c3"
        with pytest.raises(
            WrongChip, match=r"This is an ESP32(-S3)?, and the board has an ESP32-C3. Nothing was written"
        ):
            bench.connect()
        assert bench.rom.flash.changes == []


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"chip_id": 13}, "This is an ESP32-C6"),
        ({"chip_id": 77}, r"none that any board has \(Unexpected chip ID value 77"),
    ],
)
def test_chips_of_other_kinds_are_refused(tmp_path: Path, says: dict, words: str):
    other = dataclasses.replace(virtual_esp_chips.CHIPS["esp32c3"], **says)
    with EspBench(tmp_path, "esp32c3") as bench:
        bench.rom.chip = other
        bench.rom.reset()
        with pytest.raises(WrongChip, match=words):
            bench.connect()


@EVERY_CHIP
def test_a_smaller_flash_is_refused(tmp_path: Path, chip: str):
    with (
        EspBench(tmp_path, chip, flash_size_bytes=2 << 20) as bench,
        pytest.raises(WrongChip, match=r"has 2 MB, and the board needs \d+. Nothing was written"),
    ):
        bench.connect()


def test_a_larger_flash_is_taken(tmp_path: Path, images: Path):
    image = image_for("esp32c3", images)
    with EspBench(tmp_path, "esp32c3", flash_size_bytes=16 << 20) as bench:
        bench.flash(image)
        assert bench.contents(0, len(image.merged())) == image.merged()


@EVERY_CHIP
@pytest.mark.parametrize(
    ("lock", "words"),
    [("is_encrypted", "encrypted"), ("has_secure_boot", "secure boot"), ("is_secure_download", "secure")],
)
def test_a_locked_chip_is_refused(tmp_path: Path, chip: str, lock: str, words: str):
    if (chip, lock) == ("esp32", "is_secure_download"):
        pytest.skip("ESP32 has no such mode")
    with EspBench(tmp_path, chip, **{lock: True}) as bench, pytest.raises(WrongChip, match=words):
        bench.connect()


def test_a_micropython_for_other_revisions_is_refused(bench: EspBench, images: Path):
    image = image_for("esp32c3", images)
    bootloader = bytearray(image.parts[0].data)
    bootloader[15:17] = (101).to_bytes(2, "little")  # least revision 1.1; this chip is 0.4
    newer = dataclasses.replace(
        image, parts=(dataclasses.replace(image.parts[0], data=bytes(bootloader)), *image.parts[1:])
    )
    with pytest.raises(WrongChip, match=r"not for revision 0.4 of the chip. Nothing was written"):
        bench.flash(newer)
    assert bench.rom.flash.changes == []


def test_a_chip_that_goes_silent_has_its_message(bench: EspBench, images: Path):
    faults = Faults(end_after=9, on_gone=lambda: None)
    bench.plug_in(faults)
    with pytest.raises(
        Stopped, match=r"Flashing stopped.*bare MicroPython, or not.*money was not touched.*Repeat the same command"
    ):
        bench.flash(image_for("esp32c3", images))


def test_a_chip_that_goes_away_before_anything_is_written(bench: EspBench, images: Path):
    with bench.connect() as link:
        bench.rom.is_silent = True
        with pytest.raises(NoBootLoader, match="before anything was written"):
            look(link, image_for("esp32c3", images), nobody)


def test_a_byte_that_the_chip_misses_is_sent_again(bench: EspBench, images: Path):
    image = image_for("esp32c3", images)
    with bench.connect() as link:
        look(link, image, nobody)
        looked = bench.rom.received_bytes
    bench.plug_in(Faults(lost_received=frozenset({looked + 5000})))
    bench.flash(image)
    assert bench.contents(0, len(image.merged())) == image.merged()


def test_an_answer_that_we_miss_stops_it_and_the_next_time_goes_on(bench: EspBench, images: Path):
    image = image_for("esp32c3", images)
    with bench.connect() as link:
        look(link, image, nobody)
        looked = bench.rom.sent_bytes
    bench.plug_in(Faults(lost_sent=frozenset(range(looked + 200, looked + 230))))
    with pytest.raises(Stopped, match="no whole code"):
        bench.flash(image)
    bench.plug_in()
    bench.flash(image)
    assert bench.contents(0, len(image.merged())) == image.merged()
