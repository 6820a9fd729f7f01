"""`jiaozi board`: listing, showing, making and checking boards."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from host_tools.cli.exits import Exit
from host_tools.images.boards import BOARDS, PROJECT, board_names, load_board
from tests.host.command import failed, in_json, jiaozi


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project's boards."""
    shutil.copytree(BOARDS, tmp_path / "boards")
    return tmp_path / "boards"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_list_tells_chip_flash_app_and_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "120")
    boards = {board["name"]: board for board in in_json("board", "list")["boards"]}
    assert list(boards) == board_names()
    assert boards["esp32s3-pos"] == {
        "name": "esp32s3-pos",
        "chip": "esp32s3",
        "flash_size_bytes": 8 << 20,
        "app": "terminal",
        "parts": ["PN532 on UART", "OLED", "4x4 keypad", "buzzer"],
    }
    assert boards["esp32c3-card"]["parts"][-3:] == ["button", "buzzer", "battery"]
    assert boards["sim-wallet"]["flash_size_bytes"] is None
    lines = jiaozi("board", "list").out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == board_names()
    assert any("ESP32-C3" in line and "4 MB" in line and "wallet" in line for line in lines)


def test_a_broken_board_does_not_hide_the_others(folder: Path):
    change(folder / "esp32-pos/board.toml", "pin = 23", "pin = 12")
    boards = in_json("board", "list", "--folder", folder)["boards"]
    assert "buzzer.pin GPIO 12 of the ESP32 is read at reset" in boards[0]["error"]
    assert [board["name"] for board in boards if "error" not in board] == board_names()[1:]
    assert "cannot be used: " in jiaozi("board", "list", "--folder", folder).out


def test_show_tells_every_wire_and_partition():
    facts = in_json("board", "show", "esp32c3-card")
    assert {"part": "Push button", "part_pin": "1", "board_pin": "GPIO3", "wire": "yellow"} in facts["wires"]
    assert facts["partitions"][-1] == {
        "name": "journal",
        "type": "data",
        "subtype": 0x40,
        "offset_bytes": 0x3C0000,
        "size_bytes": 0x40000,
    }
    shown = jiaozi("board", "show", "esp32c3-card").out
    assert all(
        word in shown for word in ("ESP32-C3-DevKitM-1", "GPIO10", "0x3c0000", "ESP32_GENERIC_C3, 1.24 or newer")
    )
    assert "GPIO" not in jiaozi("board", "show", "sim-wallet").out
    failed(jiaozi("board", "show", "nope"), Exit.USAGE, "there is no board 'nope'; there are: esp32-pos")


@pytest.mark.parametrize("source", board_names())
def test_a_new_board_is_a_sound_copy_with_every_comment(folder: Path, source: str):
    before = contents(folder)
    facts = in_json("board", "new", "my-shop2", "--from", source, "--folder", folder)
    assert (facts["name"], facts["folder"]) == ("my-shop2", str(folder / "my-shop2"))
    assert contents(folder).items() >= before.items()
    new, old = folder / "my-shop2", folder / source
    assert (new / "board.toml").read_bytes() == (old / "board.toml").read_bytes()
    assert sorted(path.name for path in new.iterdir()) == sorted(path.name for path in old.iterdir())
    page = (new / "README.md").read_text(encoding="utf-8")
    assert page.startswith("# my-shop2: ") and source not in page
    if source.startswith("esp32"):
        assert "jiaozi flash my-shop2 --port" in page and "![Wiring of my-shop2]" in page
        assert "Wiring of my-shop2" in (new / "wiring.svg").read_text(encoding="utf-8")
    assert in_json("board", "check", "my-shop2", "--folder", folder) == {"checked": ["my-shop2"]}
    expected, made = load_board(source, folder), load_board("my-shop2", folder)
    assert made.constants() == expected.constants() | {"NAME": "my-shop2"}


def test_a_new_board_in_a_folder_of_ones_own_is_made_of_a_project_board(tmp_path: Path):
    said = jiaozi("board", "new", "kiosk", "--from", "esp32-pos", "--folder", tmp_path)
    assert f"jiaozi board check kiosk --folder {tmp_path}" in said.out.replace("\n", "")
    in_json("board", "new", "kiosk-two", "--from", "kiosk", "--folder", tmp_path)
    assert board_names(tmp_path) == ["kiosk", "kiosk-two"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["kiosk", "kiosk-two"]


@pytest.mark.parametrize("name", ["My-pos", "my_pos", "../pos", "", "pos-", "p" * 33, "esp32/pos"])
def test_a_bad_name_is_refused(folder: Path, name: str):
    before = contents(folder)
    result = jiaozi("board", "new", name, "--from", "esp32-pos", "--folder", folder)
    failed(result, Exit.USAGE, "is no name for a board: a-z, 0-9 and single hyphens", "No board was made.")
    assert contents(folder) == before


def test_what_cannot_be_made_changes_nothing(folder: Path, tmp_path: Path):
    (folder / "taken").write_text("a file")
    change(folder / "esp32c3-card/board.toml", "pin = 10", "pin = 9")
    (folder / "esp32s3-pos/README.md").unlink()
    before = contents(folder)
    for name, source, words in (
        ("esp32-pos", "esp32c3-card", "esp32-pos is already there"),
        ("taken", "esp32-pos", "taken is already there"),
        ("mine", "esp32-poss", "there is no board 'esp32-poss'; there are: esp32-pos"),
        ("mine", "esp32c3-card", "buzzer.pin GPIO 9 of the ESP32-C3 is read at reset"),
        ("mine", "esp32s3-pos", "README.md: cannot be read, and a new board's page is made of it"),
        ("mine", "../boards/esp32-pos", "there is no board '../boards/esp32-pos'"),
    ):
        result = jiaozi("board", "new", name, "--from", source, "--folder", folder)
        failed(result, Exit.USAGE, words, "No board was made.")
    assert contents(folder) == before
    assert sorted(path.name for path in folder.iterdir()) == sorted([*board_names(folder), "board.pyi", "taken"])
    result = jiaozi("board", "new", "mine", "--from", "esp32-pos", "--folder", tmp_path / "none")
    failed(result, Exit.USAGE, f"there is no folder {tmp_path / 'none'}. No board was made.")


_WITH_LITTLE_ROOM = """
import resource, signal, sys
from host_tools.cli.main import run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.parametrize("words", [("new", "mine", "--from", "esp32-pos"), ("wiring", "esp32-pos")])
def test_where_the_disk_takes_no_more_nothing_is_half_done(folder: Path, words: tuple[str, ...]):
    change(folder / "esp32-pos/board.toml", "pin = 23", "pin = 19")
    before = contents(folder)
    command = [sys.executable, "-c", _WITH_LITTLE_ROOM, "board", *words, "--folder", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert (
        f"{folder} cannot be used: File too large" in done.stderr
        and "then repeat" in done.stderr
        and done.stderr.count("\n") == 1
    )
    assert contents(folder) == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_check_finds_all_boards_sound_and_writes_nothing(folder: Path):
    before = {path: path.stat().st_mtime_ns for path in BOARDS.rglob("*")}
    assert in_json("board", "check") == {"checked": board_names()}
    assert jiaozi("board", "check", "esp32-pos", "sim-wallet").out == "✓ sound: esp32-pos, sim-wallet\n"
    assert {path: path.stat().st_mtime_ns for path in BOARDS.rglob("*")} == before


def test_check_tells_everything_that_is_wrong_and_changes_nothing(folder: Path):
    change(folder / "esp32-pos/board.toml", "sda = 21", "sda = 12")
    change(folder / "esp32c3-card/board.toml", "pin = 10", "pin = 1")
    (folder / "esp32s3-pos/wiring.svg").unlink()
    before = contents(folder)
    told = (
        f"{folder}/esp32-pos/board.toml: display.i2c.sda GPIO 12 of the ESP32 is read at reset",
        f"{folder}/esp32c3-card/wiring.svg does not follow from board.toml any more",
        f"{folder}/esp32c3-card/README.md does not follow from board.toml any more",
        "esp32s3-pos/wiring.svg does not follow from board.toml any more",
        f"jiaozi board wiring esp32s3-pos --folder {folder}",
    )
    failed(jiaozi("board", "check", "--folder", folder), Exit.CHECK_FAILED, *told)
    assert contents(folder) == before
    failed(jiaozi("board", "check", "nope", "--folder", folder), Exit.USAGE, "There is no board nope in ")
    failed(jiaozi("board", "check", "--folder", folder / "none"), Exit.USAGE, "There is no folder ")


def test_wiring_draws_again_what_changed(folder: Path):
    diagram = folder / "esp32-pos/wiring.svg"
    at = ("board", "wiring", "esp32-pos", "--folder", folder)
    assert in_json(*at) == {"diagram": str(diagram), "written": []}
    change(folder / "esp32-pos/board.toml", "pin = 23", "pin = 19")
    assert in_json(*at)["written"] == [str(diagram), str(folder / "esp32-pos/README.md")]
    assert "GPIO19" in diagram.read_text(encoding="utf-8")
    assert "up to date" in jiaozi(*at).out
    failed(jiaozi("board", "wiring", "sim-wallet"), Exit.USAGE, "nothing of it is wired")
