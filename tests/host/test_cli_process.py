"""The `jiaozi` command as a process of its own: exit codes, streams that are full or closed, a terminal to type at."""

import contextlib
import json
import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tools import keys
from host_tools.cli.exits import Exit
from tests.host.command import PASSPHRASE, in_json
from tests.host.town import Town

PROJECT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "host_tools.cli.main"]
PROMPT_TIMEOUT_S = 20


def _environment(home: Path, **variables: str) -> dict[str, str]:
    """Without a passphrase, unless `variables` have it."""
    inherited = {name: value for name, value in os.environ.items() if name != "JIAOZI_PASSPHRASE"}
    return {**inherited, "JIAOZI_HOME": str(home), "PYTHONPATH": str(PROJECT), **variables}


def process(*arguments: object, home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *(str(argument) for argument in arguments)]
    return subprocess.run(command, env=_environment(home), capture_output=True, text=True, timeout=60, **options)


def test_the_process_exits_with_the_code_and_keeps_the_streams_apart(town: Town):
    good = process("report", "--json", home=town.home)
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["issued"] == 100_000
    bad = process("report", "--device", "Nobody", home=town.home)
    assert (bad.returncode, bad.stdout) == (Exit.WRONG_CARD, "")
    assert bad.stderr.startswith("✗ No device is called 'Nobody'")


def test_without_terminal_and_passphrase_nothing_hangs(town: Town):
    result = process("ledger", "issue", "Ana", "1", "--operator", 1, home=town.home, stdin=subprocess.DEVNULL)
    assert result.returncode == Exit.KEY
    assert "no terminal" in result.stderr and "JIAOZI_PASSPHRASE" in result.stderr


def test_a_reader_that_has_seen_enough_is_no_error(town: Town):
    result = shell("jiaozi report | true", town.home)
    assert (result.returncode, result.stderr) == (0, "")


def shell(command: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `jiaozi` is the command."""
    environment = _environment(home, JIAOZI_PASSPHRASE=PASSPHRASE, **variables)
    line = f'jiaozi() {{ {shlex.join(COMMAND)} "$@"; }}; {command}'
    options: Any = {"env": environment, "capture_output": True, "text": True, "timeout": 60}
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], **options)


def _full(where: str):
    """A case that needs a device which is always full; macOS has none."""
    missing = not Path("/dev/full").exists()
    return pytest.param(where, marks=pytest.mark.skipif(missing, reason="this system has no /dev/full"))


@pytest.mark.parametrize("where", [_full("> /dev/full"), ">&-", _full("--json > /dev/full"), "--json >&-"])
def test_money_that_was_issued_is_not_called_a_failure_that_may_be_repeated(town: Town, tmp_path: Path, where: str):
    home = town.copy_of_home(tmp_path)
    before = in_json("ledger", "status", "--home", home)["issued"]
    result = shell(f"jiaozi ledger issue Ana 1 --operator 1 {where}", home)
    assert result.returncode == Exit.NOT_SHOWN
    assert result.stderr.count("\n") == 1
    assert "It is done" in result.stderr and "jiaozi report" in result.stderr and "safe" not in result.stderr
    assert in_json("ledger", "status", "--home", home)["issued"] == before + 100


def test_an_answer_that_nobody_reads_any_more_is_done_all_the_same(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    before = in_json("ledger", "status", "--home", home)["issued"]
    for form in ("", "--json"):
        result = shell(f"jiaozi ledger issue Ana 1 --operator 1 {form} | true", home)
        assert (result.returncode, result.stderr) == (0, "")
    assert in_json("ledger", "status", "--home", home)["issued"] == before + 200


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_letters_that_the_output_does_not_have_stop_nothing(town: Town, tmp_path: Path, encoding: str):
    home = town.copy_of_home(tmp_path)
    opened = shell("jiaozi ledger account open 茶馆 --operator 1", home, PYTHONIOENCODING=encoding)
    assert (opened.returncode, opened.stderr) == (0, "")
    assert r"Account \u8336\u9986 opened" in opened.stdout
    listed = shell("jiaozi ledger account list --json", home, PYTHONIOENCODING=encoding)
    assert "茶馆" in [row["account"] for row in json.loads(listed.stdout)["accounts"]]


@pytest.mark.parametrize("where", ["| true", _full("> /dev/full"), ">&-", "2>&-", _full("> /dev/full 2>&1")])
def test_a_failure_that_cannot_be_told_keeps_its_code(town: Town, where: str):
    result = shell(f"jiaozi report --device Nobody --json {where}", town.home)
    assert result.returncode == Exit.WRONG_CARD
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr


def test_a_passphrase_that_is_no_text_is_told(town: Town):
    result = shell(r"JIAOZI_PASSPHRASE=$'\xff' jiaozi ledger issue Ana 1 --operator 1", town.home)
    assert result.returncode == Exit.KEY
    assert "JIAOZI_PASSPHRASE is no UTF-8 text" in result.stderr


def test_a_passphrase_is_asked_for_twice_and_never_shown(tmp_path: Path):
    with terminal_process("operator", "root", home=tmp_path) as (screen, type_line, exit_code):
        assert "New passphrase for the root key" in screen("key: ")
        type_line(PASSPHRASE)
        screen("The same again: ")
        type_line(PASSPHRASE)
        shown = screen("no operator can ever be added")
        assert PASSPHRASE not in shown
        assert exit_code() == Exit.OK
    assert keys.load(tmp_path / "root.key", "root", PASSPHRASE)


def test_two_passphrases_that_differ_make_no_key(tmp_path: Path):
    with terminal_process("operator", "root", home=tmp_path) as (screen, type_line, exit_code):
        screen("key: ")
        type_line("one")
        screen("again: ")
        type_line("two")
        assert "differ" in screen("differ")
        assert exit_code() == Exit.KEY
    assert not (tmp_path / "root.key").exists()


@contextlib.contextmanager
def terminal_process(*words: str, home: Path) -> Iterator[tuple[Callable[[str], str], Callable[[str], None], Callable]]:
    """The command on a terminal of its own: wait for words on its screen, type a line, wait for its exit code."""
    child, descriptor = pty.fork()
    if child == 0:
        os.execve(sys.executable, [*COMMAND, *words], _environment(home, COLUMNS="80"))
    seen = ""

    def screen(until: str) -> str:
        nonlocal seen
        deadline = time.monotonic() + PROMPT_TIMEOUT_S
        while until not in " ".join(seen.split()) + " ":
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{until!r} does not appear: {seen!r}"
            seen += os.read(descriptor, 4096).decode()
        return seen

    def type_line(line: str) -> None:
        os.write(descriptor, line.encode() + b"\n")

    def exit_code() -> int:
        nonlocal child
        _, status = os.waitpid(child, 0)
        child = 0
        return os.waitstatus_to_exitcode(status)

    try:
        yield screen, type_line, exit_code
    finally:
        if child:
            os.kill(child, 9)
            os.waitpid(child, 0)
        os.close(descriptor)
