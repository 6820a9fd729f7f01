"""`jiaozi device harden` as it is typed: its plan, its questions, its refusals, and its keys."""

import contextlib
import hashlib
import json
import os
import pty
import re
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from host_tools.cli.exits import Exit
from host_tools.hardening import efuses, hardening, tools
from host_tools.hardening.errors import KeyNotFit, ToolFailed
from host_tools.hardening.keys import Keys
from tests.host import stand_in
from tests.host.command import failed, jiaozi
from tests.host.harden_bench import BOARDS, MAC, made_keys, new_chip, own_build

PROJECT = Path(__file__).parents[2]
HARDEN = ("device", "harden")
BACKED_UP = "they are backed up"
SCREEN_TIMEOUT_S = 110
pytestmark = pytest.mark.timeout(300)


def virtual_chip(folder: Path, chip: str = "esp32c3") -> str:
    """The port of a chip whose id is `MAC`."""
    folder.mkdir()
    new_chip(chip, folder / "efuses.bin")
    return f"virtual:{folder}"


def test_the_plan_says_what_is_burnt_by_which_command_and_that_it_is_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    keys = tmp_path / "keys"
    result = jiaozi(*HARDEN, BOARDS["esp32"], "--keys", keys)
    assert result.code == Exit.OK and result.err == ""
    assert all(len(line.rstrip()) <= 100 for line in result.out.splitlines())
    text = " ".join(result.out.split())
    assert result.out.count("cannot be undone") == 6
    for part in (
        "espefuse --chip esp32 --port PORT --do-not-confirm burn-key flash_encryption flash-key.bin",
        "espefuse --chip esp32 --port PORT --do-not-confirm burn-efuse FLASH_CRYPT_CNT 127 \\ ABS_DONE_1 1",
        "BLOCK1 = the flash key (read and write protected)",
        "its flash can never be written by cable again",
        "13 eFuses end as planned, after 6 burnings",
        "Official MicroPython images cannot be hardened",
        "Nothing was burnt.",
    ):
        assert part in text, part
    assert not keys.exists()  # keys of a plan that is only shown are thrown away


def test_the_commands_that_are_shown_burn_what_is_planned(tmp_path: Path) -> None:
    """Each of espefuse's, typed as it stands there in the folder that is named, on a virtual chip."""
    result = jiaozi(*HARDEN, BOARDS["esp32c3"], "--port", virtual_chip(tmp_path / "chip"), "--json")
    facts = result.facts
    keys = made_keys(tmp_path / "keys")
    for step in facts["steps"]:
        if step["kind"] == "burn":
            (command,) = step["commands"]
            tools.run(tuple(command.split()), keys.own)
    fuses = efuses.virtual("esp32c3", tmp_path / "chip" / "efuses.bin").read()
    for name, end in facts["virtual"].items():
        digest = name == "BLOCK_KEY1"  # of the key that was thrown away
        assert digest or fuses[name].text == end["value"], name
        assert (fuses[name].readable, fuses[name].writeable) == (end["readable"], end["writeable"]), name
    assert facts["id"] == MAC and facts["revision"] == "v0.4" and facts["burnt"] is False


def test_images_are_checked_without_burning(tmp_path: Path) -> None:
    build = own_build(tmp_path / "build", "esp32s3")
    facts = jiaozi(*HARDEN, BOARDS["esp32s3"], "--micropython", build, "--json").facts
    assert set(facts["images"]) == {"bootloader", "partition-table", "micropython", "code", "settings"}
    official = tmp_path / "official.bin"
    official.write_bytes(stand_in.stand_in("esp32c3"))
    result = jiaozi(*HARDEN, BOARDS["esp32c3"], "--micropython", official)
    failed(result, Exit.USAGE, "is not made for secure boot", "CONFIG_SECURE_BOOT=y", "Nothing was burnt")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sim-wallet",), ("has no eFuses", "Nothing was burnt")),
        (("nowhere",), ("there is no board 'nowhere'", "Nothing was burnt")),
        ((BOARDS["esp32"], "--burn"), ("--port, and --micropython", "Nothing was burnt")),
        ((BOARDS["esp32"], "--burn", "--port", "x"), ("--port, and --micropython",)),
        ((BOARDS["esp32"], "--burn", "--port", "x", "--micropython", "y"), ("no terminal to ask on", "Nothing was")),
        ((BOARDS["esp32"], "--micropython", "/nowhere/firmware.bin"), ("/nowhere/firmware.bin", "No such file")),
    ],
)
def test_what_is_typed_wrongly_is_said_in_one_line(arguments: tuple, words: tuple) -> None:
    failed(jiaozi(*HARDEN, *arguments), Exit.USAGE, *words)


def test_a_port_without_a_chip_is_said_in_one_line(tmp_path: Path) -> None:
    result = jiaozi(*HARDEN, BOARDS["esp32"], "--port", tmp_path / "nothing")
    failed(result, Exit.LINK_GONE, "cannot be read", "hardened to the end", "Nothing was burnt")


def test_a_chip_that_is_pulled_out_while_it_is_looked_at_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise ToolFailed("esptool verify-flash failed: Could not open port.")

    monkeypatch.setattr(hardening, "check_flash", gone)
    result = jiaozi(*HARDEN, BOARDS["esp32c3"], "--port", virtual_chip(tmp_path / "chip"))
    failed(result, Exit.LINK_GONE, "Could not open port. Nothing was burnt now. Check the cable", "and repeat")


def test_a_chip_with_other_keys_and_one_in_use_are_refused(tmp_path: Path) -> None:
    port = virtual_chip(tmp_path / "chip")
    folder = Path(port.removeprefix("virtual:"))
    flash = folder / "flash.bin"
    flash.write_bytes(b"\xff" * 0x3C0000 + b"JN" + b"\xff" * (0x40000 - 2))
    arguments = (*HARDEN, BOARDS["esp32c3"], "--port", port, "--keys", tmp_path / "keys")
    failed(jiaozi(*arguments), Exit.REFUSED, "`journal` is in use", "Nothing was burnt")
    flash.unlink()
    folder.joinpath("other.bin").write_bytes(bytes(32))
    chip = efuses.virtual("esp32c3", folder / "efuses.bin")
    tools.run(chip.burning("burn-key", "BLOCK_KEY0", "other.bin", "XTS_AES_128_KEY"), folder)
    failed(jiaozi(*arguments), Exit.REFUSED, "holds a key that nobody can read", "Nothing was burnt")


Terminal = tuple[Callable[[str], str], Callable[[str], None], Callable[[], int]]


@contextlib.contextmanager
def terminal(*words: object) -> Iterator[Terminal]:
    """The command on a terminal of its own: wait for words on its screen, type a line, wait for its exit code."""
    child, descriptor = pty.fork()
    if child == 0:
        path = f"{PROJECT}:{os.environ.get('PYTHONPATH', '')}"
        command = [sys.executable, "-m", "host_tools.cli.main", *HARDEN, *map(str, words)]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path, "COLUMNS": "100"})
    seen = ""

    def read() -> bytes:
        """Nothing when the command has ended."""
        try:
            return os.read(descriptor, 65_536)
        except OSError:
            return b""

    def screen(until: str) -> str:
        nonlocal seen
        deadline = time.monotonic() + SCREEN_TIMEOUT_S
        while until not in " ".join(seen.split()):
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            data = read() if ready else b""
            assert data, f"{until!r} does not appear: {seen!r}"
            seen += data.decode()
        return seen

    def type_line(line: str) -> None:
        os.write(descriptor, line.encode() + b"\n")

    def exit_code() -> int:
        nonlocal child
        while read():
            pass
        _, status = os.waitpid(child, 0)
        child = 0
        return os.waitstatus_to_exitcode(status)

    try:
        yield screen, type_line, exit_code
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(descriptor)


@pytest.mark.slow
def test_only_the_chips_own_id_burns_and_no_key_is_shown(tmp_path: Path) -> None:
    port, build = virtual_chip(tmp_path / "chip"), own_build(tmp_path / "build", "esp32c3")
    memory = tmp_path / "chip" / "efuses.bin"
    new, keys = memory.read_bytes(), Keys(tmp_path / "keys", MAC)
    arguments = (BOARDS["esp32c3"], "--port", port, "--micropython", build, "--keys", keys.folder, "--burn")
    asked = f"type its id ({MAC}):"

    with terminal(*arguments) as (screen, type_line, exit_code):
        screen(BACKED_UP)
        type_line("yes")
        screen("That was not typed. Nothing was burnt")
        assert exit_code() == Exit.USAGE
    assert memory.read_bytes() == new
    first = [path.read_bytes() for path in (keys.signing_key, keys.flash_key)]
    with terminal(*arguments) as (screen, type_line, exit_code):
        screen(BACKED_UP)
        type_line(BACKED_UP)
        screen(asked)
        type_line(MAC[:-1] + "d")
        screen("That is not the id of this chip. Nothing was burnt")
        assert exit_code() == Exit.USAGE
    assert memory.read_bytes() == new
    assert set((tmp_path / "chip" / "flash.bin").read_bytes()) == {0xFF}

    with terminal(*arguments) as (screen, type_line, exit_code):
        screen(BACKED_UP)
        type_line(BACKED_UP)
        screen(asked)
        type_line(MAC.upper())
        shown = screen(f"{MAC} is hardened")
        assert exit_code() == Exit.OK
    fuses = efuses.virtual("esp32c3", memory).read()
    assert (fuses["SPI_BOOT_CRYPT_CNT"].value, fuses["SECURE_BOOT_EN"].value) == (7, 1)
    assert fuses["ENABLE_SECURITY_DOWNLOAD"].value == 1 and not fuses["BLOCK_KEY0"].readable
    assert [path.read_bytes() for path in (keys.signing_key, keys.flash_key)] == first
    for path in (keys.signing_key, keys.flash_key, keys.own / "progress.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    flash_key = keys.flash_key.read_bytes()
    body = keys.signing_key.read_text().splitlines()[1]
    for secret in (flash_key.hex(), flash_key[::-1].hex(), flash_key.hex(" "), flash_key[::-1].hex(" "), body):
        assert secret not in shown
    assert hashlib.sha256(flash_key).hexdigest() in keys.own.joinpath("progress.json").read_text()


@pytest.mark.slow
def test_json_of_a_burning_is_one_object_and_questions_stand_apart(tmp_path: Path) -> None:
    port, build = virtual_chip(tmp_path / "chip", "esp32"), own_build(tmp_path / "build", "esp32")
    arguments = (BOARDS["esp32"], "--port", port, "--micropython", build, "--keys", tmp_path / "keys")
    with terminal(*arguments, "--burn", "--json") as (screen, type_line, exit_code):
        screen(BACKED_UP)
        type_line(BACKED_UP)
        screen(f"type its id ({MAC}):")
        type_line(MAC)
        shown = screen('"states":')
        assert exit_code() == Exit.OK
    facts = json.loads(re.findall(r'^\{"board".*$', shown, re.MULTILINE)[0])
    assert facts["burnt"] is True and list(facts["states"].values()).count("burnt") == 6
    again = jiaozi(*HARDEN, *arguments[:-2], "--keys", tmp_path / "keys", "--json").facts
    assert [step["done_already"] for step in again["steps"] if step["kind"] == "burn"] == [True] * 6


def test_key_files_that_others_can_read_or_that_are_gone_are_refused(tmp_path: Path) -> None:
    keys = made_keys(tmp_path)
    keys.check()
    keys.flash_key.chmod(0o640)
    with pytest.raises(KeyNotFit, match=f"chmod 600 {keys.flash_key}"):
        keys.check()
    keys.flash_key.chmod(0o600)
    keys.flash_key.write_bytes(bytes(31))
    with pytest.raises(KeyNotFit, match="is damaged: it must have 32 bytes"):
        keys.check()
    keys.signing_key.unlink()
    with pytest.raises(KeyNotFit, match="signing-key.pem is not there"):
        keys.check()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    keys = Keys(tmp_path, MAC)
    assert keys.make_missing() == [keys.signing_key, keys.flash_key]
    before = keys.flash_key.read_bytes(), keys.signing_key.read_bytes()
    assert keys.make_missing() == []
    assert (keys.flash_key.read_bytes(), keys.signing_key.read_bytes()) == before
    assert made_keys(tmp_path / "other").flash_key.read_bytes() != before[0]
    assert stat.S_IMODE(tmp_path.joinpath("other").stat().st_mode) == 0o700


def test_ctrl_c_waits_until_a_tool_has_ended(tmp_path: Path) -> None:
    """`timeit` plays a tool that burns for a while."""
    statement = "open('begun', 'w').close(); time.sleep(0.5); open('ended', 'w').close()"
    command = ("timeit", "-n", "1", "-r", "1", "-s", "import time", statement)

    def interrupt() -> None:
        while not tmp_path.joinpath("begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        tools.run(command, tmp_path)
    thread.join()
    assert tmp_path.joinpath("ended").exists()
