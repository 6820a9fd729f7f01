"""host_tools.images.image and `jiaozi build`: each part in its place, the same bytes wherever and whenever they are
made, and nothing half done.

With JIAOZI_MICROPYTHON_IMAGES naming a folder of official images, those are laid out too.
"""

import hashlib
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from mp_image_tool_esp32.firmware import Firmware
from mp_image_tool_esp32.partition_table import PartitionTable

from host_tools.cli.exits import Exit
from host_tools.images import image as images
from host_tools.images.boards import PROJECT, Board, board_names, load_board
from host_tools.images.chips import CHIPS
from host_tools.images.compile import shared_build
from host_tools.images.filesystem import code_filesystem, empty_filesystem, used_bytes
from host_tools.images.image import Image, ImageError, build_image, write_image
from host_tools.images.micropython_image import read_micropython
from host_tools.images.partition_table import table_bytes
from tests.host.command import failed, in_json, jiaozi
from tests.host.stand_in import read_image, stand_in

BOARDS = [name for name in board_names() if load_board(name).partitions]
_OFFICIAL = os.environ.get("JIAOZI_MICROPYTHON_IMAGES")
_TABLE_OFFSET_BYTES = 0x8000


def _stand_in_for(name: str, folder: Path) -> Path:
    board = load_board(name)
    path = folder / f"{board.micropython_image}-20260406-v1.28.0.bin"
    path.write_bytes(stand_in(board.chip, flash_size_bytes=board.flash_size_bytes or 0))
    return path


def _official() -> list[tuple[str, Path]]:
    """Board and image, of the folder that the environment names: plain ones, no variants."""
    names = {name: load_board(name).micropython_image for name in BOARDS}
    found = sorted(Path(_OFFICIAL).glob("ESP32_GENERIC*.bin")) if _OFFICIAL else []
    return [
        (name, path) for name, image in names.items() for path in found if re.match(rf"{image}-[^A-Z]*$", path.name)
    ]


def _rows(data: bytes) -> list[tuple[int, int, int, int, str]]:
    """A partition table by ESP-IDF's description of it, and by nobody's code."""
    rows = []
    while data[:2] == b"\xaa\x50":
        _, kind, subtype, offset, size, label, flags = struct.unpack("<HBBII16sI", data[:32])
        assert flags == 0
        rows.append((kind, subtype, offset, size, label.rstrip(b"\0").decode()))
        data = data[32:]
    return rows


def _layout(board: Board) -> list[tuple[int, int, int, int, str]]:
    kinds = {"app": 0, "data": 1}
    return [(kinds[p.type], p.subtype, p.offset_bytes, p.size_bytes, p.name) for p in board.partitions]


@pytest.mark.parametrize("name", BOARDS)
def test_the_partition_table_is_the_boards_for_every_reader(name: str):
    board = load_board(name)
    data = table_bytes(board)
    assert len(data) == 0x1000 and _rows(data) == _layout(board)
    rows, rest = data[: 32 * len(board.partitions)], data[32 * len(board.partitions) :]
    assert rest[:32] == b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows).digest() and not rest[32:].strip(b"\xff")
    table = PartitionTable.from_bytes(data, board.flash_size_bytes or 0)
    assert [(p.type, p.subtype, p.offset, p.size, p.name) for p in table] == _layout(board)
    table.check()
    assert {"nvs", "factory", "vfs", "settings", "journal"} <= {entry.name for entry in table}


def _check(image: Image, micropython: Path, folder: Path) -> None:
    """Everything in its place, as those see it who know nothing of us."""
    board, merged, start = image.board, image.merged(), image.offset_bytes
    assert start == CHIPS[board.chip].bootloader_offset_bytes
    given = read_micropython(micropython, board)
    places = {
        "bootloader": (start, given.bootloader),
        "partition table": (_TABLE_OFFSET_BYTES, table_bytes(board)),
        "micropython": (board.partition("factory").offset_bytes, given.app),
        "code": (board.partition("vfs").offset_bytes, _code(board)),
    }
    assert {part.name: (part.offset_bytes, part.data) for part in image.parts} == places
    settings = board.partition("settings")
    assert image.settings.data == empty_filesystem(settings.size_bytes)
    assert len(merged) == board.partition("journal").end_bytes - start
    rest = bytearray(merged)
    for offset, data in (*places.values(), (settings.offset_bytes, image.settings.data)):
        assert merged[offset - start : offset - start + len(data)] == data
        rest[offset - start : offset - start + len(data)] = b"\xff" * len(data)
    assert not rest.strip(b"\xff")
    for offset in (start, places["micropython"][0]):
        found = read_image(board.chip, merged[offset - start :])
        assert found.checksum == found.calculate_checksum() and found.stored_digest == found.calc_digest
    (folder / "whole.bin").write_bytes(merged)
    firmware = Firmware(str(folder / "whole.bin"))
    try:
        assert (firmware.header.chip_name, firmware.header.flash_size) == (board.chip, board.flash_size_bytes)
        assert [(p.type, p.subtype, p.offset, p.size, p.name) for p in firmware.table] == _layout(board)
    finally:
        firmware.file.close()


def _code(board: Board) -> bytes:
    built = shared_build(board.name)
    files = {path.relative_to(built).as_posix(): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    return code_filesystem(files, board.partition("vfs").size_bytes)


@pytest.mark.parametrize("name", BOARDS)
def test_every_part_is_in_its_place(name: str, tmp_path: Path):
    given = _stand_in_for(name, tmp_path)
    image = build_image(name, given)
    assert image.micropython_version == "1.28.0"
    _check(image, given, tmp_path)


@pytest.mark.skipif(not _OFFICIAL, reason="JIAOZI_MICROPYTHON_IMAGES names no folder with official images")
@pytest.mark.parametrize(("name", "path"), _official() or [("", Path())])
def test_official_images_are_laid_out_alike(name: str, path: Path, tmp_path: Path):
    assert name, f"{_OFFICIAL} has no ESP32_GENERIC*-*.bin"
    image = build_image(name, path)
    assert f"v{image.micropython_version}." in path.name
    assert 1 << 20 < image.sizes()["micropython"]["bytes"] < image.sizes()["micropython"]["of"]
    _check(image, path, tmp_path)


@pytest.mark.parametrize("name", BOARDS)
def test_without_micropython_there_are_table_and_code_alone_and_they_are_the_same(name: str, tmp_path: Path):
    alone, whole = build_image(name, None), build_image(name, _stand_in_for(name, tmp_path))
    assert [part.name for part in alone.parts] == ["partition table", "code"]
    assert set(alone.parts) < set(whole.parts) and alone.settings == whole.settings
    assert (alone.micropython_version, alone.file_name) == (None, None)
    assert alone.merged() == whole.merged()[_TABLE_OFFSET_BYTES - whole.offset_bytes :].replace(
        whole.parts[2].data, b"\xff" * len(whole.parts[2].data)
    )


def test_a_board_without_flash_has_no_image():
    with pytest.raises(ImageError, match="^sim-wallet is a process on this computer"):
        build_image("sim-wallet", None)


def test_the_command_prints_what_it_wrote(tmp_path: Path):
    given, out = _stand_in_for("esp32-pos", tmp_path), tmp_path / "out"
    facts = in_json("build", "esp32-pos", "--micropython", given, "--output", out)
    assert (facts["board"], facts["micropython"]) == ("esp32-pos", "1.28.0")
    whole = Path(facts["image"])
    assert whole == out / "esp32-pos.bin" and facts["offset_bytes"] == 0x1000
    assert facts["sha256"] == hashlib.sha256(whole.read_bytes()).hexdigest()
    image = build_image("esp32-pos", given)
    assert facts["sizes"] == image.sizes()
    assert facts["files"] == {
        path.relative_to(shared_build("esp32-pos")).as_posix(): path.stat().st_size
        for path in shared_build("esp32-pos").rglob("*")
        if path.is_file()
    }
    for part, told in zip((*image.parts, image.settings), facts["parts"], strict=True):
        assert (part.name, part.offset_bytes) == (told["name"], told["offset_bytes"])
        assert Path(told["file"]).read_bytes() == part.data
    assert sorted(out.iterdir()) == sorted([whole, *(Path(told["file"]) for told in facts["parts"])])


def test_the_sizes_say_how_full_each_part_is(tmp_path: Path):
    image = build_image("esp32c3-card", _stand_in_for("esp32c3-card", tmp_path))
    sizes, board = image.sizes(), image.board
    assert sizes["bootloader"] == {"bytes": len(image.parts[0].data), "of": 0x8000}
    assert sizes["micropython"]["of"] == board.partition("factory").size_bytes
    assert sizes["code"] == {"bytes": used_bytes(image.parts[-1].data), "of": board.partition("vfs").size_bytes}
    assert sum(image.files.values()) < sizes["code"]["bytes"] < sizes["code"]["of"]
    assert sizes["settings"] == {"bytes": 8192, "of": board.partition("settings").size_bytes}


def test_a_person_sees_each_part_the_bytecode_and_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "120")
    shown = jiaozi("build", "esp32-pos", "--micropython", _stand_in_for("esp32-pos", tmp_path), "--output", tmp_path)
    assert shown.code == Exit.OK and shown.err == ""
    whole = hashlib.sha256((tmp_path / "esp32-pos.bin").read_bytes()).hexdigest()
    image = build_image("esp32-pos", None)
    for words in ("bootloader", "0x1000", "partition table", "micropython", "0x300000", "settings", whole):
        assert words in shown.out
    assert f"{image.bytecode_bytes:,} of 81,920 bytes" in shown.out
    assert "with MicroPython 1.28.0" in shown.out
    assert f"jiaozi flash esp32-pos --micropython {tmp_path}/ESP32_GENERIC-20260406-v1.28.0.bin" in " ".join(
        shown.out.split()
    )
    shown = jiaozi("build", "esp32-pos", "--output", tmp_path)
    assert "give --micropython ESP32_GENERIC-*.bin" in shown.out


def test_what_an_earlier_build_left_and_does_not_go_with_this_code_is_removed(tmp_path: Path):
    given, out = _stand_in_for("esp32-pos", tmp_path), tmp_path / "out"
    write_image(build_image("esp32-pos", given), out)
    (out / "notes.txt").write_text("mine")
    write_image(build_image("esp32-pos", None), out)
    names = {"code.bin", "notes.txt", "partition-table.bin", "settings.bin"}
    assert {path.name for path in out.iterdir()} == names


@pytest.mark.parametrize("app", images.BYTECODE_BUDGET_BYTES)
def test_too_much_bytecode_is_refused_and_nothing_is_written(app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = next(name for name in BOARDS if load_board(name).app == app)
    size = build_image(name, None).bytecode_bytes
    assert 32 * 1024 < size <= images.BYTECODE_BUDGET_BYTES[app]
    monkeypatch.setitem(images.BYTECODE_BUDGET_BYTES, app, size - 1)
    shown = jiaozi("build", name, "--output", tmp_path / "out")
    failed(shown, Exit.USAGE, f"{size:,} bytes of bytecode", f"may have {size - 1:,}", "Nothing was built.")
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(images.BYTECODE_BUDGET_BYTES, app, size)
    assert build_image(name, None).bytecode_bytes == size


def test_code_that_has_no_room_is_refused(monkeypatch: pytest.MonkeyPatch):
    small = load_board("esp32-pos").partition("vfs").size_bytes
    monkeypatch.setattr(images.filesystem, "SPARE_BYTES", small)
    with pytest.raises(ImageError, match="^The code of esp32-pos has no room in `vfs`: "):
        build_image("esp32-pos", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("no-such-board",), "there is no board 'no-such-board'"),
        (("sim-terminal",), "has no flash to make an image for"),
        (("esp32-pos", "--micropython", "none.bin"), "none.bin cannot be used: No such file"),
        (("esp32-pos", "--micropython", "."), "cannot be used: Is a directory"),
        (("esp32-pos", "--micropython", "for-c3.bin"), "for-c3.bin is for an ESP32-C3, and esp32-pos has an ESP32."),
        (("esp32-pos", "--micropython", "short.bin"), "short.bin is cut short"),
    ],
)
def test_bad_input_is_one_line_and_builds_nothing(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "for-c3.bin").write_bytes(stand_in("esp32c3"))
    (tmp_path / "short.bin").write_bytes(stand_in("esp32")[:70_000])
    failed(jiaozi("build", *arguments, "--output", "out"), Exit.USAGE, words, "Nothing was built.")
    assert not (tmp_path / "out").exists()
    told = json.loads(jiaozi("build", *arguments, "--output", "out", "--json").out)
    assert words in told["error"]["message"]


def _command(arguments: list[str], **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "host_tools.cli.main", "build", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, **options)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path):
    """The system refuses to write more than a megabyte into any file, as a full disk would: in the midst of it."""
    given, out = _stand_in_for("esp32-pos", tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "code.bin").write_bytes(b"what an earlier build wrote")
    (out / "bootloader.bin").write_bytes(b"and another")
    shared_build("esp32-pos")
    run = _command(
        ["esp32-pos", "--micropython", str(given), "--output", str(out)],
        cwd=PROJECT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert run.returncode == Exit.USAGE and run.stdout == "" and run.stderr.count("\n") == 1, run
    assert f"cannot be written into {out}: File too large. No file there is half written." in run.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "code.bin": b"what an earlier build wrote",
        "bootloader.bin": b"and another",
    }


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    shown = jiaozi("build", "esp32-pos", "--output", tmp_path / "file" / "out")
    failed(shown, Exit.USAGE, f"cannot be written into {tmp_path}/file/out: Not a directory.")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["esp32-pos", "esp32c3-card"])
def test_anyone_gets_the_same_bytes_anywhere_and_at_any_time(name: str, tmp_path: Path):
    """Two copies of the sources in folders of different names and dates, each with another environment, built cold."""
    given = _stand_in_for(name, tmp_path)
    built = {}
    for folder, seed, zone, language, mask, age_s in (
        ("a", "1", "Asia/Shanghai", "C", 0o077, 0),
        ("other/and-longer", "4242", "America/St_Johns", "de_DE.UTF-8", 0o000, 400_000_000),
    ):
        project = tmp_path / folder
        for part in ("host_tools", "firmware", "protocol", "boards"):
            shutil.copytree(PROJECT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
        for path in project.rglob("*"):
            changed = path.stat().st_mtime - age_s
            os.utime(path, (changed, changed))
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": language, "PYTHONPATH": ""}
        run = _command(
            [name, "--micropython", str(given), "--json"],
            cwd=project,
            env=environment,
            preexec_fn=lambda m=mask: os.umask(m),
        )
        assert run.returncode == 0, run.stderr
        facts = json.loads(run.stdout)
        out = project / "build" / "images" / name
        assert facts.pop("image") == str(out / f"{name}.bin"), "another copy's sources were built"
        del facts["parts"]
        built[folder] = (facts, {path.name: path.read_bytes() for path in sorted(out.iterdir())})
    one, other = built.values()
    assert one == other
    facts, files = one
    assert facts["sha256"] == hashlib.sha256(files[f"{name}.bin"]).hexdigest() == build_image(name, given).sha256
    assert str(tmp_path).encode() not in b"".join(files.values())
