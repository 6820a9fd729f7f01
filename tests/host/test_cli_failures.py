"""What goes wrong in the `jiaozi` command: one line, a code, no traceback."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from host_tools.cli.exits import Exit
from host_tools.ledger import Ledger
from host_tools.simulator.device import SimulatorError
from host_tools.story.play import Play, StoryError
from tests.host.command import failed, jiaozi
from tests.host.town import Town


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("bogus", Exit.USAGE, ["bogus", "--help"]),
        ("device bogus", Exit.USAGE, ["bogus", "jiaozi device --help"]),
        ("ledger status --bogus", Exit.USAGE, ["--bogus", "jiaozi ledger status --help"]),
        ("ledger issue Ana", Exit.USAGE, ["AMOUNT"]),
        ("operator create one --currency CNY --name B", Exit.USAGE, ["NUMBER", "integer"]),
        ("operator create 0 --currency CNY --name B", Exit.USAGE, ["1 to 65535"]),
        ("operator create 65536 --currency CNY --name B", Exit.USAGE, ["1 to 65535"]),
        ("operator create 3 --currency XXQ --name B", Exit.USAGE, ["XXQ", "CNY"]),
        ("operator create 3 --currency EUR --name B", Exit.USAGE, ["keeps CNY"]),
        ("operator create 3 --currency CNY --name B --years 90", Exit.USAGE, ["1 to 50"]),
        ("operator create 3 --currency CNY --name \x1b[31m", Exit.USAGE, ["printable"]),
        ("operator create 1 --currency CNY --name B", Exit.LEDGER_REFUSED, ["exists already", "No money moved"]),
        ("operator renew 9", Exit.UNKNOWN_OPERATOR, ["not registered"]),
        ("operator root", Exit.KEY, ["never overwritten"]),
        ("ledger init", Exit.LEDGER_REFUSED, ["already"]),
        ("ledger account open Ana", Exit.USAGE, ["operators 1, 2", "--operator"]),
        ("ledger account open Ana --operator 9", Exit.UNKNOWN_OPERATOR, ["9 is not registered"]),
        ("ledger issue Ana 1.005 --operator 1", Exit.USAGE, ["too many decimals", "2 decimals"]),
        ("ledger issue Ana 1,50 --operator 1", Exit.USAGE, ["no amount", "18.50"]),
        ("ledger issue Ana 0 --operator 1", Exit.USAGE, ["amount is 0"]),
        ("ledger issue Ana 1e3 --operator 1", Exit.USAGE, ["no amount"]),
        ("ledger issue Ana 99999999999999.99 --operator 1", Exit.USAGE, ["too much", "10000000000000.00 CNY"]),
        ("ledger issue Bob 1 --operator 1", Exit.LEDGER_REFUSED, ["no account 'Bob'", "Ana", "Open it with"]),
        ("ledger cancel-load Ana 9", Exit.LEDGER_REFUSED, ["not outstanding"]),
        ("ledger cancel-load Nobody 1", Exit.WRONG_CARD, ["Nobody"]),
        ("report --device Nobody", Exit.WRONG_CARD, ["Nobody"]),
        ("report --device Ana --account Ana", Exit.USAGE, ["one: --device or --account"]),
        ("ledger status --ledger nonsense", Exit.USAGE, ["no database URL"]),
        ("ledger status --ledger sqlite:///ledger.db?timeout=abc", Exit.USAGE, ["no database URL"]),
        ("ledger status --ledger postgresql://host:port/x", Exit.USAGE, ["no database URL"]),
        ("operator revoke Nobody --operator 1", Exit.WRONG_CARD, ["Nobody"]),
        ("operator revoke Ana", Exit.USAGE, ["operators 1, 2", "--operator"]),
        ("ledger status --ledger sqlite:////nowhere/ledger.db", Exit.LEDGER_REFUSED, ["no ledger at"]),
        ("ledger init --ledger sqlite:////nowhere/ledger.db", Exit.LEDGER_REFUSED, ["No ledger can be made at"]),
        ("ledger init --home /dev/null/x", Exit.USAGE, ["cannot be made"]),
        ("device info", Exit.USAGE, ["Which device?", "--port", "--reader"]),
        ("device info --port /dev/null --reader usb", Exit.USAGE, ["Both"]),
        ("device info --port /dev/nothing-here", Exit.LINK_GONE, ["is not there"]),
        ("device info --reader /dev/nothing-here", Exit.LINK_GONE, ["No NFC reader"]),
        ("device load 5 --port /dev/nothing-here --operator 1", Exit.LINK_GONE, ["is not there"]),
        ("device load 42949672.96 --port /dev/nothing-here --operator 1", Exit.USAGE, ["42949672.95 CNY"]),
        ("device load 5 --port /dev/nothing-here --operator 9", Exit.UNKNOWN_OPERATOR, ["9 is not registered"]),
        ("device personalise --account Ana --kind card --port x", Exit.USAGE, ["'card'", "wallet-1"]),
        ("device personalise --account Ana --kind terminal --port x", Exit.USAGE, ["--mcc"]),
        ("device personalise --account Ana --kind wallet-1 --mcc 5 --port x", Exit.USAGE, ["--mcc"]),
        ("device personalise --kind wallet-1 --port x", Exit.USAGE, ["--account"]),
        ("sync --operator 70000 --port x", Exit.USAGE, ["1 to 65535"]),
        ("sync --passphrase-file /nothing --operator 1 --port x", Exit.KEY, ["/nothing"]),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(town: Town, arguments: str, code: Exit, words: list[str]):
    where = () if "--home" in arguments else ("--home", town.home)
    failed(jiaozi(*arguments.split(" "), *where), code, *words)


def test_failure_in_json_is_one_object_too(town: Town):
    result = jiaozi("ledger", "issue", "Bob", "1", "--operator", 1, "--home", town.home, "--json")
    error = json.loads(result.out)["error"]
    assert result.code == error["exit"] == Exit.LEDGER_REFUSED
    assert error["name"] == "ledger_refused" and error["message"] in result.err


def test_a_folder_without_a_ledger_and_a_file_that_is_none(cheap_keys: None, tmp_path: Path):
    failed(jiaozi("ledger", "status", "--home", tmp_path), Exit.LEDGER_REFUSED, "no ledger at", "No money moved")
    (tmp_path / "ledger.db").write_text("this is a letter to my aunt, not a database" * 30)
    failed(jiaozi("ledger", "status", "--home", tmp_path), Exit.LEDGER_REFUSED, "cannot be read as a ledger")


def test_books_that_were_tampered_with_fail_the_check(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    assert jiaozi("ledger", "check", "--home", home).code == Exit.OK
    with contextlib.closing(sqlite3.connect(home / "ledger.db")) as database, database:
        database.execute("UPDATE accounts SET balance = balance + 1 WHERE name = 'Ana' AND kind = 'account'")
    found = jiaozi("ledger", "check", "--home", home)
    assert found.code == Exit.CHECK_FAILED and found.err == "✗ 2 differences. Stop, and keep a copy of the database.\n"
    assert "1:Ana" in found.out and "its balance is" in found.out
    facts = json.loads(jiaozi("ledger", "check", "--home", home, "--json").out)
    assert (facts["balanced"], facts["differences"]) == (False, 2)
    assert [row["what"] for row in facts["named"]] == ["its balance", "all that is issued"]


def test_a_defect_is_one_line_and_its_traceback_only_for_who_asks(town: Town, monkeypatch: pytest.MonkeyPatch):
    def broken(_: Ledger) -> dict:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(Ledger, "reconciliation", broken)
    result = jiaozi("report", "--home", town.home)
    failed(result, Exit.DEFECT, "RuntimeError", "JIAOZI_DEBUG=1")
    assert "42" not in result.err
    monkeypatch.setenv("JIAOZI_DEBUG", "1")
    assert "Traceback" in jiaozi("report", "--home", town.home).err


@pytest.mark.parametrize("error", [StoryError("Ana holds 1"), SimulatorError("Ana does not start")])
def test_a_demo_that_fails_is_one_line_one_object_and_a_code(monkeypatch: pytest.MonkeyPatch, error: Exception):
    def fail(_: Play) -> dict:
        raise error

    monkeypatch.setattr(Play, "run", fail)
    result = jiaozi("demo", "--json")
    assert json.loads(result.out)["error"]["exit"] == result.code == Exit.CHECK_FAILED
    assert str(error) in result.err and result.err.count("\n") == 1
    failed(jiaozi("demo"), Exit.CHECK_FAILED, "The demo failed", str(error))
