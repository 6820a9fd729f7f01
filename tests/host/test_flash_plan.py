"""What is to be written, erased and kept, decided without a chip."""

import dataclasses
import hashlib

import pytest

from host_tools.flashing.errors import ImageNeeded, MoneyThere
from host_tools.flashing.plan import (
    HEAD_BYTES,
    SEGMENT_BYTES,
    Found,
    Region,
    blank_md5,
    is_begun,
    make_plan,
    money_may_be_there,
    places,
    segments,
)
from host_tools.images.image import CODE, MICROPYTHON, Image, Part
from tests.host.esp_bench import all_segments, image_for, without_micropython

USED = hashlib.md5(b"something").hexdigest()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return image_for("esp32", tmp_path_factory.mktemp("images"))


def region(image: Image, name: str, md5: str | None = None) -> Region:
    partition = image.board.partition(name)
    size = partition.size_bytes
    return Region(name, partition.offset_bytes, size, md5 or blank_md5(size))


def new_chip(image: Image) -> Found:
    return Found(
        table_is_readable=True,
        money=tuple(region(image, name) for name in ("nvs", "settings", "journal")),
        elsewhere=(),
        settings_are_new=True,
        settings_have_files=False,
        matching=frozenset(segment for segment in all_segments(image) if segment.is_blank),
        blank_heads=frozenset({CODE, MICROPYTHON}),
        micropython=None,
    )


def device(image: Image) -> Found:
    """One that works, with this very image on it."""
    return dataclasses.replace(
        new_chip(image),
        money=tuple(region(image, name, USED) for name in ("nvs", "settings", "journal")),
        settings_are_new=False,
        settings_have_files=True,
        matching=frozenset(all_segments(image)),
        blank_heads=frozenset(),
        micropython=("1.28.0", (1, 28)),
    )


def steps(plan) -> list[tuple[str, str]]:
    """Kind and name, repetitions as one."""
    found: list[tuple[str, str]] = []
    for step in plan.steps:
        kind = "erase" if step.segment is None else "head" if step.segment.is_head else "write"
        if not found or found[-1] != (kind, step.name):
            found.append((kind, step.name))
    return found


def test_segments_are_a_part_and_its_head_comes_last():
    part = Part(CODE, 0x200000, bytes(range(256)) * 2500)
    pieces = list(segments(part))
    assert [(piece.offset_bytes - 0x200000, len(piece.data), piece.is_head) for piece in pieces] == [
        (8192, SEGMENT_BYTES - 8192, False),
        (SEGMENT_BYTES, SEGMENT_BYTES, False),
        (2 * SEGMENT_BYTES, 640_000 - 2 * SEGMENT_BYTES, False),
        (0, HEAD_BYTES[CODE], True),
    ]
    ordered = sorted(pieces, key=lambda piece: piece.offset_bytes)
    assert b"".join(piece.data for piece in ordered) == part.data
    assert [len(piece.data) for piece in segments(Part("bootloader", 0x1000, bytes(9)))] == [9]
    assert [len(piece.data) for piece in segments(Part(MICROPYTHON, 0x10000, bytes(4000)))] == [4000]


def test_a_new_chip_gets_everything_heads_after_the_rest_and_code_last(image: Image):
    plan = make_plan(image, new_chip(image))
    assert plan.is_first and plan.lost == ()
    assert steps(plan) == [
        ("write", "bootloader"),
        ("write", "micropython"),
        ("head", "micropython"),
        ("write", "code"),
        ("write", "settings"),
        ("write", "partition table"),
        ("head", "code"),
    ]
    assert [part.name for part in plan.parts][-1] == "settings"
    assert [kept.name for kept in plan.kept] == ["nvs", "journal"]


def test_a_device_that_has_all_of_it_is_not_written_to(image: Image):
    plan = make_plan(image, device(image))
    assert not plan.steps and not plan.is_first
    assert [kept.name for kept in plan.kept] == ["nvs", "settings", "journal"]
    assert "settings" not in [part.name for part in plan.parts]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("code", [("erase", "code"), ("write", "code"), ("head", "code")]),
        ("partition table", [("erase", "code"), ("write", "partition table"), ("head", "code")]),
        (
            "bootloader",
            [
                ("erase", "code"),
                ("erase", "micropython"),
                ("write", "bootloader"),
                ("head", "micropython"),
                ("head", "code"),
            ],
        ),
    ],
)
def test_an_update_takes_the_heads_away_first(image: Image, part: str, expected: list[tuple[str, str]]):
    matching = frozenset(segment for segment in all_segments(image) if segment.part != part)
    assert steps(make_plan(image, dataclasses.replace(device(image), matching=matching))) == expected


def test_nothing_that_is_kept_is_ever_in_a_step(image: Image):
    found = dataclasses.replace(device(image), matching=frozenset())
    plan = make_plan(image, found)
    for step in plan.steps:
        for kept in plan.kept:
            assert step.offset_bytes + step.size_bytes <= kept.offset_bytes or (
                kept.offset_bytes + kept.size_bytes <= step.offset_bytes
            )


@pytest.mark.parametrize("name", ["settings", "journal"])
def test_one_money_partition_in_use_keeps_all_three(image: Image, name: str):
    used = tuple(region(image, each, USED if each == name else None) for each in ("nvs", "settings", "journal"))
    found = dataclasses.replace(
        new_chip(image), money=used, settings_are_new=name != "settings", settings_have_files=True
    )
    plan = make_plan(image, found)
    assert not plan.is_first
    assert [kept.name for kept in plan.kept] == ["nvs", "settings", "journal"]


def test_a_secret_alone_is_no_money(image: Image):
    """MicroPython itself keeps things in `nvs`; it stays all the same."""
    found = new_chip(image)
    found = dataclasses.replace(found, money=(region(image, "nvs", USED), *found.money[1:]))
    plan = make_plan(image, found)
    assert plan.is_first and plan.kept[0].name == "nvs"
    assert not money_may_be_there(found)


def test_settings_that_were_begun_are_finished(image: Image):
    found = new_chip(image)
    found = dataclasses.replace(found, money=(found.money[0], region(image, "settings", USED), found.money[2]))
    assert make_plan(image, found).is_first
    assert ("write", "settings") in steps(make_plan(image, found))


@pytest.mark.parametrize(
    ("present", "is_it"),
    [
        (b"\xff\xff\xff", True),
        (b"\x12\xff\xff", True),
        (b"\x12\x34\xff", True),
        (b"\x12\xff\x56", True),
        (b"\x92\xff\xff", True),  # cut inside a byte
        (b"\x02\xff\xff", False),  # a bit that was not to be cleared
        (b"\x12\x34\x00", False),
    ],
)
def test_what_programming_may_leave_behind(present: bytes, is_it: bool):
    assert is_begun(present, b"\x12\x34\x56") is is_it


# Refused


def test_an_unreadable_table_may_hide_money(image: Image):
    found = dataclasses.replace(new_chip(image), table_is_readable=False)
    assert money_may_be_there(found)
    with pytest.raises(MoneyThere, match=r"nobody can say where money is. Nothing was written.*--erase-money"):
        make_plan(image, found)
    assert make_plan(image, found, lose_money=True).is_first


@pytest.mark.parametrize("name", ["settings", "journal"])
def test_money_of_another_layout_is_not_written_over(image: Image, name: str):
    found = dataclasses.replace(new_chip(image), elsewhere=(Region(name, 0x280000, 0x40000, USED),))
    assert money_may_be_there(found)
    with pytest.raises(MoneyThere, match=f"`{name}` of another board, at 0x280000.*Nothing was written"):
        make_plan(image, found)


def test_a_blank_partition_of_another_layout_is_none(image: Image):
    found = dataclasses.replace(new_chip(image), elsewhere=(Region("journal", 0x280000, 0x40000, blank_md5(0x40000)),))
    assert make_plan(image, found).is_first


def test_a_secret_of_another_layout_counts_when_money_is_there(image: Image):
    other = (Region("nvs", 0x9000, 0x5000, USED),)
    assert make_plan(image, dataclasses.replace(new_chip(image), elsewhere=other)).is_first
    with pytest.raises(MoneyThere, match="`nvs` of another board"):
        make_plan(image, dataclasses.replace(device(image), elsewhere=other))


def test_money_without_settings_to_start_with_is_refused(image: Image):
    with pytest.raises(MoneyThere, match="could not start with them. Nothing was written"):
        make_plan(image, dataclasses.replace(device(image), settings_have_files=False))


def test_a_chip_without_micropython_needs_an_image(image: Image):
    parts = without_micropython(image)
    with pytest.raises(ImageNeeded, match=r"ESP32_GENERIC-<date>-v<version>.bin, 1.23 or newer.*micropython.org/down"):
        make_plan(parts, new_chip(image))
    with pytest.raises(ImageNeeded, match="has MicroPython 1.20.0, and esp32-pos needs 1.23 or newer"):
        make_plan(parts, dataclasses.replace(new_chip(image), micropython=("1.20.0", (1, 20))))
    plan = make_plan(parts, dataclasses.replace(new_chip(image), micropython=("1.23.0", (1, 23))))
    assert {step.name for step in plan.steps} == {"code", "settings", "partition table"}


# Lost


def test_money_is_lost_in_the_order_secret_key_journal_after_the_code(image: Image):
    plan = make_plan(image, device(image), lose_money=True)
    assert plan.is_first
    assert steps(plan) == [
        ("erase", "code"),
        ("erase", "nvs"),
        ("erase", "settings"),
        ("erase", "journal"),
        ("write", "settings"),
        ("head", "code"),
    ]
    assert [lost.name for lost in plan.lost] == ["nvs", "settings", "journal"]
    assert plan.kept == ()


def test_what_is_erased_already_is_not_erased_again(image: Image):
    blank = (region(image, "nvs"), region(image, "settings"), region(image, "journal", USED))
    found = dataclasses.replace(device(image), money=blank, settings_are_new=True, settings_have_files=False)
    assert [step.name for step in make_plan(image, found, lose_money=True).steps if step.segment is None] == [
        "code",
        "journal",
    ]


def test_money_of_another_layout_is_erased_where_it_is(image: Image):
    other = Region("journal", 0x340000, 0x40000, USED)
    found = dataclasses.replace(device(image), elsewhere=(other,))
    plan = make_plan(image, found, lose_money=True)
    assert other in plan.lost
    again = {step.offset_bytes for step in plan.steps if step.segment is not None and step.name == "code"}
    assert 0x340000 in again  # what matched there has been erased with it


def test_nothing_is_lost_where_nothing_is(image: Image):
    plan = make_plan(image, new_chip(image), lose_money=True)
    assert plan.lost == () and steps(plan) == steps(make_plan(image, new_chip(image)))


def test_places_of_a_present_table(image: Image):
    own, elsewhere = places(image, [("nvs", 0x9000, 0x6000), ("journal", 0x300000, 0x1000), ("app0", 0x10000, 0x1000)])
    assert own == (("nvs", 0x9000, 0x6000), ("settings", 0x3A0000, 0x20000), ("journal", 0x3C0000, 0x40000))
    assert elsewhere == (("journal", 0x300000, 0x1000),)
