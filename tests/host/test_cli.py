"""The `jiaozi` command, in this process and as a process of its own, against simulated devices with real firmware."""

import contextlib
import functools
import json
import os
import pty
import select
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools import causes, keys
from host_tools.cli import currencies, money, reference
from host_tools.cli import home as homes
from host_tools.cli.exits import OF_CAUSE, BadInput, Exit, of_error
from host_tools.devices import nfc_reader
from host_tools.ledger import Ledger
from host_tools.simulator.device import SimulatedDevice, SimulatorError
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD, World
from host_tools.story.play import Play, StoryError
from protocol import errors as protocol_errors
from protocol.errors import Refused
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, REVOKED_ALTOGETHER, Revocations
from tests.host.command import PASSPHRASE, failed, in_json, jiaozi
from tests.ledger import world as ledger_world
from tests.unit.world import LinkLost

PROJECT = Path(__file__).parents[2]
CNY = currencies.Currency("CNY", 156, 2)
PROMPT_TIMEOUT_S = 20


class Town(NamedTuple):
    """A home with two operators, and two devices of the first: a wallet with 200.00 in it and a terminal."""

    home: Path
    world: World
    wallet: SimulatedDevice
    terminal: SimulatedDevice
    new_device: SimulatedDevice

    def copy_of_home(self, folder: Path) -> Path:
        return Path(shutil.copytree(self.home, folder / "copy"))


@pytest.fixture(scope="module")
def cheap_keys() -> Iterator[None]:
    """Key files whose passphrase costs a tenth of a second to try; everything else about them is as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "create", functools.partial(keys.create, cost=keys.INTERACTIVE))
        patch.setenv("JIAOZI_PASSPHRASE", PASSPHRASE)
        patch.delenv("JIAOZI_HOME", raising=False)
        patch.delenv("JIAOZI_LEDGER", raising=False)
        patch.delenv("JIAOZI_DEBUG", raising=False)
        yield


@pytest.fixture(scope="module")
def town(cheap_keys: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    home = folder / "home"
    at = ("--home", home)
    in_json("ledger", "init", *at)
    in_json("operator", "root", *at)
    for number, name in ((1, "Bank of Spring"), (2, "Bank of Autumn")):
        in_json("operator", "create", number, "--currency", "CNY", "--name", name, *at)
    for name in ("Ana", "Tea House"):
        in_json("ledger", "account", "open", name, "--operator", 1, *at)
    in_json("ledger", "issue", "Ana", "1000.00", "--operator", 1, *at)
    with World(folder / "world") as world:
        wallet, terminal = world.add("Ana", WALLET_BOARD), world.add("Tea House", TERMINAL_BOARD)
        at = (*at, "--operator", 1)
        personalise = ("device", "personalise", *at)
        in_json(*personalise, "--account", "Ana", "--kind", "wallet-3", "--port", wallet.link_path)
        in_json(
            *personalise, "--account", "Tea House", "--kind", "terminal", "--mcc", 5814, "--port", terminal.link_path
        )
        in_json("device", "load", "200.00", "--port", wallet.link_path, *at)
        yield Town(home, world, wallet, terminal, world.add("New", WALLET_BOARD))


def test_a_day_from_an_empty_folder_to_redeemed_money(cheap_keys: None, tmp_path: Path):
    at = ("--home", tmp_path / "home")
    in_json("ledger", "init", *at)
    assert len(bytes.fromhex(in_json("operator", "root", *at)["public_key"])) == 32
    made = in_json("operator", "create", 7, "--currency", "kwd", "--name", "Bank of Spring", *at)
    assert (made["operator"], made["currency"]) == (7, {"code": "KWD", "number": 414, "exponent": 3})
    assert in_json("ledger", "account", "open", "Ana", *at)["new"]
    assert not in_json("ledger", "account", "open", "Ana", *at)["new"]
    in_json("ledger", "account", "open", "Tea House", *at)
    assert in_json("ledger", "issue", "Ana", "50.125", *at)["balance"] == 50_125
    with World(tmp_path / "world") as world:
        wallet, terminal = world.add("Ana", WALLET_BOARD), world.add("Tea", TERMINAL_BOARD)
        cable, till = ("--port", wallet.link_path, *at), ("--port", terminal.link_path, *at)
        assert not in_json("device", "info", *cable)["personalised"]
        first = in_json("device", "personalise", "--account", "Ana", "--kind", "wallet-2", *cable)
        again = in_json("device", "personalise", "--account", "Ana", "--kind", "wallet-2", *cable)
        assert first == again
        in_json("device", "personalise", "--account", "Tea House", "--kind", "terminal", "--mcc", 5814, *till)
        loaded = in_json("device", "load", "20", *cable)
        assert (loaded["device_balance"], loaded["account_balance"]) == (20_000, 30_125)

        terminal.panel.press("1850#")
        terminal.panel.wait_for("hold the other")
        world.bring_together(wallet, terminal)
        terminal.panel.wait_for("RECEIVED")
        world.separate()

        kinds = [record["kind"] for record in in_json("device", "journal", *cable)["records"]]
        assert kinds[-2:] == ["debit", "closing"]
        assert in_json("sync", *till)["purse"] == 1_850
        failed(
            jiaozi("device", "redeem", "1.850", *till),
            Exit.HELD_BACK,
            "is new",
            "0.000 ",
            "No money moved",
            "have synced",
        )
        reader, path = world.add_reader()
        world.bring_together(reader, wallet)
        tapped = in_json("sync", "--reader", path, *at)
        world.separate()
        assert (tapped["device_balance"], tapped["purse"], tapped["in_doubt"]) == (18_150, 18_150, 0)
        redeemed = in_json("device", "redeem", "1.850", *till)
        assert (redeemed["device_balance"], redeemed["account_balance"]) == (0, 1_850)
        in_json("sync", *till)
        assert in_json("device", "journal", *till)["records"][-1]["kind"] == "certificate"
    assert in_json("ledger", "check", *at)["balanced"]
    status = in_json("ledger", "status", *at)
    assert (status["issued"], status["accounts"], status["purses"]) == (50_125, 31_975, 18_150)
    assert (status["pending"], status["loads_in_transit"], status["difference"]) == (0, 0, 0)
    states = [transfer["state"] for transfer in in_json("report", "--device", "Tea House", *at)["transfers"]]
    assert states == ["posted", "posted"]


# What is printed


@pytest.mark.parametrize(
    "words",
    [
        ("operator", "list"),
        ("ledger", "status"),
        ("ledger", "check"),
        ("ledger", "account", "list"),
        ("report",),
        ("report", "--device", "Ana"),
        ("report", "--account", "Ana", "--operator", 1),
    ],
)
def test_facts_are_one_json_object_or_words_that_fit_80_columns(
    town: Town, monkeypatch: pytest.MonkeyPatch, words: tuple
):
    facts = jiaozi(*words, "--home", town.home, "--json")
    assert isinstance(facts.facts, dict)
    assert facts.out.count("\n") == 1 and facts.err == ""
    monkeypatch.setenv("COLUMNS", "80")
    shown = jiaozi(*words, "--home", town.home)
    assert (shown.code, shown.err) == (Exit.OK, "")
    assert shown.out.strip() and "…" not in shown.out
    assert max(len(line.rstrip()) for line in shown.out.splitlines()) <= 80


def test_amounts_are_shown_in_the_currency_and_given_in_minor_units(town: Town):
    shown = jiaozi("device", "info", "--port", town.wallet.link_path, "--home", town.home)
    assert "200.00 CNY" in shown.out
    facts = in_json("device", "info", "--port", town.wallet.link_path, "--home", town.home)
    assert (facts["balance"], facts["currency"]["exponent"]) == (20_000, 2)


def test_a_device_is_looked_at_without_any_ledger(town: Town, tmp_path: Path):
    shown = jiaozi("device", "info", "--port", town.wallet.link_path, "--home", tmp_path)
    assert shown.code == Exit.OK
    assert "20000 minor units" in shown.out


def test_ids_are_whole_for_programs_and_short_for_people(town: Town):
    (name,) = [name for name in in_json("report", "--home", town.home)["purses"] if name.startswith("Ana")]
    shown = jiaozi("report", "--home", town.home).out
    assert len(name) == len("Ana ()") + 32
    assert name[: len("Ana (") + 8] + ")" in shown and name not in shown


def test_names_are_never_read_as_markup(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    in_json("ledger", "account", "open", "[red]Eve[/] :smile:", "--operator", 1, "--home", home)
    assert "[red]Eve[/] :smile:" in jiaozi("ledger", "account", "list", "--home", home).out


# What goes wrong: one line, a code, no traceback


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
    failed(jiaozi("ledger", "check", "--home", home), Exit.CHECK_FAILED, "off by 1")


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


# The operator's daily work


def test_a_revoked_device_is_on_its_operators_next_list(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    revoke = ("operator", "revoke", "Ana", "--operator", 1, "--home", home)
    first = in_json(*revoke)
    assert (first["name"], first["operator"], first["epoch"]) == ("Ana", 1, 1)
    assert in_json(*revoke) == first
    assert in_json("operator", "revoke", "Tea House", "--operator", 1, "--home", home)["epoch"] == 2
    with contextlib.closing(sqlite3.connect(home / "ledger.db")) as database:
        lists = [Revocations.decode(row[0]) for row in database.execute("SELECT revocations FROM revocations")]
    assert [revocations.epoch for revocations in lists] == [1, 2]
    assert (bytes.fromhex(first["device"]), REVOKED_ALTOGETHER) in lists[0].entries
    assert "list number 2" in jiaozi(*revoke).out


def test_a_revoked_device_settles_and_gets_nothing(town: Town, tmp_path: Path):
    home, device = town.copy_of_home(tmp_path), town.world.add("Lost", WALLET_BOARD)
    cable = ("--operator", 1, "--home", home, "--port", device.link_path)
    in_json("device", "personalise", "--account", "Ana", "--kind", "wallet-4", "--name", "Lost", *cable)
    in_json("device", "load", 5, *cable)
    in_json("operator", "revoke", "Lost", "--operator", 1, "--home", home)
    failed(jiaozi("sync", *cable), Exit.REVOKED, "revoked by its operator", "What it uploaded is in the books")
    for words in (("load", 1), ("redeem", 1)):
        failed(jiaozi("device", *words, *cable), Exit.REVOKED, "No money moved")
    assert "1 revoked: Lost" in jiaozi("ledger", "status", "--home", home).out
    lost = in_json("device", "lost", "Lost", "--home", home)  # what was only blocked may be reported lost later
    failed(
        jiaozi("sync", *cable), Exit.REVOKED, "Lost is lost", f"to its owner's account from {lost['pay_back_from']} on"
    )
    assert "1 lost: Lost" in jiaozi("ledger", "status", "--home", home).out
    assert "paid back from" in jiaozi("report", "--device", "Lost", "--home", home).out


def test_what_stays_pending_is_booked_to_the_payees_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    village = ledger_world.Town(tmp_path)
    terminal, wallet = village.device("shop", "terminal"), village.device("wallet", balance=900)
    with pytest.raises(LinkLost):
        ledger_world.sale(terminal, wallet, 300, link=ledger_world.Link(cut_at=ledger_world.LOST_TRANSFER))
    village.sync(wallet)
    account = village.account(terminal)
    book = ("ledger", "book-overdue", "--ledger", village.url)
    monkeypatch.setattr(homes, "now", lambda: village.now)
    assert in_json(*book) == {"transfers": 0, "unfunded": 0, "paid_back": 0}
    assert "Nothing is overdue" in jiaozi(*book).out
    village.now += (CERTIFICATE_DAYS + GRACE_DAYS + 1) * DAY_S
    assert in_json(*book)["transfers"] == 1
    assert (village.account(terminal), village.pending()) == (account + 300, 0)


def test_status_asks_for_the_devices_as_often_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    village = ledger_world.Town(tmp_path)
    asked = 0
    devices = Ledger.devices

    def counted(ledger: Ledger, *now: int) -> list[dict]:
        nonlocal asked
        asked += 1
        return devices(ledger, *now)

    monkeypatch.setattr(Ledger, "devices", counted)
    times = []
    for name in ("one", "two", "three"):
        village.device(name)
        asked = 0
        in_json("ledger", "status", "--ledger", village.url)
        times.append(asked)
    assert times[0] == times[1] == times[2] > 0


# Keys and passphrases


def test_a_wrong_passphrase_is_told(town: Town, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JIAOZI_PASSPHRASE", "wrong")
    failed(jiaozi("ledger", "issue", "Ana", 1, "--operator", 1, "--home", town.home), Exit.KEY, "wrong passphrase")


def test_a_passphrase_file_is_used_unless_others_can_read_it(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JIAOZI_PASSPHRASE", "wrong")
    home, file = town.copy_of_home(tmp_path), tmp_path / "passphrase"
    issue = ("ledger", "issue", "Ana", 1, "--operator", 1, "--home", home, "--passphrase-file", file)
    file.touch(mode=0o600)
    failed(jiaozi(*issue), Exit.KEY, "no passphrase in its first line")
    file.write_text(f"{PASSPHRASE}\r\na note\n")
    assert in_json(*issue)["issued"] == 100
    file.chmod(0o640)
    failed(jiaozi(*issue), Exit.KEY, "chmod 600")


def test_another_central_banks_root_key_issues_nothing(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    (home / "root.key").unlink()
    in_json("operator", "root", "--home", home)
    result = jiaozi("ledger", "issue", "Ana", 1, "--operator", 1, "--home", home)
    failed(result, Exit.USAGE, "not the ledger's", "No money moved")


def test_an_operator_whose_creation_was_cut_off_is_finished_by_repeating(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    made = keys.create(home / "operator-3.key", "operator", PASSPHRASE)
    create = ("operator", "create", 3, "--currency", "CNY", "--name", "Bank of Winter", "--home", home)
    assert in_json(*create)["public_key"] == made.public.hex()
    assert [row["operator"] for row in in_json("operator", "list", "--home", home)["operators"]] == [1, 2, 3]


def test_a_renewed_operator_has_the_next_certificate(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    old = in_json("operator", "list", "--home", home)["operators"][0]
    new = in_json("operator", "renew", 1, "--years", 9, "--home", home)
    assert (new["issue"], new["public_key"], new["name"]) == (2, old["public_key"], "Bank of Spring")
    assert new["valid_until"] > old["valid_until"]


# Devices


def test_a_device_that_is_not_set_up(town: Town):
    for words in (("sync",), ("device", "load", "1"), ("device", "redeem", "1"), ("device", "journal")):
        operator = () if "journal" in words else ("--operator", 1)
        result = jiaozi(*words, *operator, "--port", town.new_device.link_path, "--home", town.home)
        failed(result, Exit.NOT_SET_UP, "not set up yet", "No money moved", "jiaozi device personalise")


def test_another_operators_and_another_ledgers_device(town: Town, tmp_path: Path):
    cable = ("--port", town.wallet.link_path)
    result = jiaozi("device", "load", 1, "--operator", 2, "--home", town.home, *cable)
    failed(result, Exit.UNKNOWN_OPERATOR, "operator 1, not to operator 2", "No money moved")
    home = ("--home", tmp_path)
    in_json("ledger", "init", *home)
    in_json("operator", "root", *home)
    in_json("operator", "create", 1, "--currency", "CNY", "--name", "B", *home)
    in_json("ledger", "account", "open", "Ana", *home)
    for words in (("sync",), ("device", "load", 1), ("device", "redeem", 1)):
        failed(jiaozi(*words, *home, *cable), Exit.WRONG_CARD, "not registered")
    result = jiaozi("device", "personalise", "--account", "Ana", "--kind", "wallet-3", *home, *cable)
    failed(result, Exit.NOT_SET_UP, "set up already", "No money moved")


def test_an_order_goes_to_the_device_that_was_named_and_a_pin_that_is_not_there_is_told(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    cable = ("--home", home, "--port", town.wallet.link_path)
    result = jiaozi("operator", "unblock-pin", "Tea House", *cable)
    failed(result, Exit.WRONG_CARD, "not Tea House", "Connect Tea House")
    failed(jiaozi("operator", "unblock-pin", "Ana", *cable), Exit.WRONG_CARD, "has no PIN", "No money moved")
    failed(jiaozi("operator", "unblock-pin", "Ana", "--forget", *cable), Exit.WRONG_CARD, "has no PIN")
    failed(jiaozi("operator", "unblock-pin", "Ana", "--home", home), Exit.USAGE, "Which device?")
    failed(jiaozi("operator", "unblock-pin", "Nobody", *cable), Exit.WRONG_CARD, "Nobody")


def _type(device: SimulatedDevice, *pairs: str) -> None:
    """Keys and the words that must be on the screen after them, by turns."""
    for keys_to_press, word in zip(pairs[::2], pairs[1::2], strict=True):
        seen = device.panel.screens
        device.panel.press(keys_to_press)
        device.panel.wait_for(word, after=seen)


def test_the_operator_gives_a_blocked_pin_new_tries_or_takes_it_away(town: Town, tmp_path: Path):
    home, till = town.copy_of_home(tmp_path), town.world.add("Pin", TERMINAL_BOARD)
    cable = ("--home", home, "--port", till.link_path)
    in_json(
        "device", "personalise", "--account", "Tea House", "--kind", "terminal", "--mcc", 5814, "--name", "Pin",
        "--operator", 1, *cable,
    )  # fmt: skip
    order = ("operator", "unblock-pin", "Pin", *cable)
    _type(till, "D", "1 set", "1", "NEW PIN", "1234#", "NEW PIN AGAIN", "1234#", "1 change", "*", "type an amount")
    _type(till, "D", "1 change", "1", "5 tries left")
    _type(till, "9999#", "4 tries left", "9999#", "3 tries", "9999#", "2 tries", "9999#", "1 try", "9999#", "BLOCKED")
    assert in_json(*order)["order"] == 1
    _type(till, "*", "type an amount", "D", "1 change", "1", "5 tries left", "1234#", "NEW PIN")
    _type(till, "*", "type an amount")
    said = in_json(*order, "--forget")
    assert (said["order"], said["forgotten"]) == (2, True)
    _type(till, "D", "PIN: none", "*", "type an amount")
    failed(jiaozi(*order), Exit.WRONG_CARD, "has no PIN")
    assert in_json("sync", "--operator", 1, *cable)["certified"]


def test_a_device_that_waits_for_its_pin_signs_nothing_and_nobody_takes_that_pin_away(town: Town, tmp_path: Path):
    home, till = town.copy_of_home(tmp_path), town.world.add("Locked", TERMINAL_BOARD)
    cable = ("--home", home, "--port", till.link_path)
    in_json(
        "device", "personalise", "--account", "Tea House", "--kind", "terminal", "--mcc", 5814, "--name", "Locked",
        "--operator", 1, *cable,
    )  # fmt: skip
    _type(till, "D", "1 set", "1", "NEW PIN", "1234#", "NEW PIN AGAIN", "1234#", "1 change", "*", "type an amount")
    _type(till, "D", "3 ask at", "3", "PRESENT PIN", "1234#", "1 change", "*", "type an amount")
    till.stop()
    till.start()
    till.panel.wait_for("LOCKED")
    facts = in_json("device", "info", *cable)
    assert facts["locked"] and facts["states"] == ["locked: it waits for its PIN"]
    sync = ("sync", "--operator", 1, *cable)
    failed(jiaozi(*sync), Exit.CONFIRM, "waits for its PIN", "No money moved", "Enter the PIN on the device")
    order = ("operator", "unblock-pin", "Locked", *cable)
    failed(jiaozi(*order, "--forget"), Exit.REFUSED, "encrypted under it", "jiaozi device lost")
    assert in_json(*order)["order"] == 2
    _type(till, "1234#", "type an amount")
    assert not in_json("device", "info", *cable)["locked"]
    assert in_json(*sync)["certified"]


def test_too_much_for_the_device_and_too_much_for_the_account(town: Town):
    where = ("--operator", 1, "--home", town.home, "--port", town.wallet.link_path)
    failed(jiaozi("device", "load", "4900.00", *where), Exit.TOO_MUCH, "more than it may", "No money moved")
    failed(jiaozi("device", "load", "900.00", *where), Exit.NOT_ENOUGH, "The account holds 800.00 CNY")
    failed(jiaozi("device", "redeem", "200.01", *where), Exit.NOT_ENOUGH, "The device holds 200.00 CNY")


def test_a_terminal_that_asks_for_money_is_busy(town: Town):
    where = ("--operator", 1, "--home", town.home, "--port", town.terminal.link_path)
    town.terminal.panel.press("500#")
    town.terminal.panel.wait_for("hold the other")
    try:
        failed(jiaozi("sync", *where), Exit.CONFIRM, "busy", "cancel")
        assert "busy" in in_json("device", "info", "--home", town.home, "--port", town.terminal.link_path)["states"]
    finally:
        town.terminal.panel.press("*")
    town.terminal.panel.wait_for("NOT PAID")
    assert in_json("sync", *where)["certified"]


def test_a_frozen_device_gets_nothing(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    with contextlib.closing(sqlite3.connect(home / "ledger.db")) as database, database:
        database.execute("UPDATE devices SET frozen = 'two histories at record 3' WHERE name = 'Ana'")
    where = ("--operator", 1, "--home", home, "--port", town.wallet.link_path)
    for words in (("sync",), ("device", "load", 1), ("device", "redeem", 1)):
        result = jiaozi(*words, *where)
        failed(result, Exit.REVOKED, "two histories at record 3")
        if "sync" in words:  # its upload was settled, whatever the answer
            assert "in the books" in result.err and "No money moved" not in result.err
    assert "frozen: Ana" in jiaozi("ledger", "status", "--home", home).out


def test_a_card_that_is_taken_away_is_not_a_wrong_card(town: Town, monkeypatch: pytest.MonkeyPatch):
    reader, path = town.world.add_reader()
    where = ("--operator", 1, "--home", town.home, "--reader", path)
    town.world.air.cut(after_frame=4, after_byte=3)
    town.world.bring_together(reader, town.wallet)
    failed(jiaozi("sync", *where), Exit.CARD_REMOVED, "taken away", "repeating is safe")
    town.world.separate()
    town.world.bring_together(reader, town.wallet)
    assert in_json("sync", *where)["certified"]
    town.world.separate()
    impatient = functools.partial(nfc_reader.NfcReader, card_timeout_s=0.3)
    monkeypatch.setattr(nfc_reader, "NfcReader", impatient)
    failed(jiaozi("sync", *where), Exit.WRONG_CARD, "No card came")


# As a process of its own


def process(*arguments: object, home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JIAOZI_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    environment.pop("JIAOZI_PASSPHRASE", None)
    command = [sys.executable, "-m", "host_tools.cli.main", *(str(argument) for argument in arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **options)


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
    environment = {**os.environ, "JIAOZI_HOME": str(home), "PYTHONPATH": str(PROJECT), **variables}
    line = f'jiaozi() {{ "{sys.executable}" -m host_tools.cli.main "$@"; }}; {command}'
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
    environment = {**os.environ, "JIAOZI_HOME": str(home), "PYTHONPATH": str(PROJECT), "COLUMNS": "80"}
    environment.pop("JIAOZI_PASSPHRASE", None)
    child, descriptor = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-m", "host_tools.cli.main", *words], environment)
    seen = ""

    def screen(until: str) -> str:
        nonlocal seen
        deadline = time.monotonic() + PROMPT_TIMEOUT_S
        while until not in " ".join(seen.split()) + " ":
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{until!r} does not appear: {seen!r}"
            seen += os.read(descriptor, 4096).decode()
        return seen

    def exit_code() -> int:
        nonlocal child
        _, status = os.waitpid(child, 0)
        child = 0
        return os.waitstatus_to_exitcode(status)

    try:
        yield screen, lambda line: void(os.write(descriptor, line.encode() + b"\n")), exit_code
    finally:
        if child:
            os.kill(child, 9)
            os.waitpid(child, 0)
        os.close(descriptor)


def void(_: object) -> None:
    pass


# Tables


def test_every_cause_of_a_refusal_says_what_happened_whether_money_moved_and_what_to_do():
    assert causes.EXPLANATIONS.keys() == protocol_errors.NAMES.keys()
    texts = [str(explanation) for explanation in causes.EXPLANATIONS.values()]
    assert len(set(texts)) == len(texts)
    for explanation in causes.EXPLANATIONS.values():
        assert all(explanation)
    assert "cause 200" in str(causes.explain(200)) and causes.NO_MONEY_MOVED in str(causes.explain(200))


def test_causes_that_need_different_actions_have_different_exit_codes():
    e = protocol_errors
    apart = (
        e.NOT_FOUND,  # a wrong or foreign card
        e.STALE,  # a refused command without a code of its own
        e.EXPIRED,
        e.OVER_PAYMENT_LIMIT,
        e.TOO_MANY_RECORDS,
        e.JOURNAL_FULL,
        e.UNKNOWN_OPERATOR,
        e.INSUFFICIENT_BALANCE,
        e.CONFIRM,
        e.BAD_SIGNATURE,
        e.REVOKED,
        e.SERVICE,
        e.NOT_PERSONALISED,
    )
    codes = [of_error(Refused(cause)) for cause in apart]
    assert len(set(codes)) == len(apart) and None not in codes
    assert Exit.CARD_REMOVED not in codes and Exit.LINK_GONE not in codes
    assert OF_CAUSE.keys() <= e.NAMES.keys()


def test_exit_codes_are_what_scripts_rely_on():
    """Append-only: a code that was published never changes its meaning."""
    published = (
        "0 OK, 1 CHECK_FAILED, 2 USAGE, 3 REFUSED, 4 LINK_GONE, 5 LEDGER_REFUSED, 6 KEY, 7 CARD_REMOVED, 8 WRONG_CARD,"
        " 9 UNKNOWN_OPERATOR, 10 EXPIRED, 11 TOO_MUCH, 12 TOO_OFTEN, 13 JOURNAL_FULL, 14 NOT_ENOUGH, 15 CONFIRM,"
        " 16 NOT_GENUINE, 17 REVOKED, 18 SERVICE, 19 NOT_SET_UP, 20 LOAD_WAITING, 21 NOT_SHOWN, 22 NOT_PROVEN,"
        " 23 HELD_BACK, 70 DEFECT, 130 INTERRUPTED"
    )
    assert ", ".join(f"{int(code)} {code.name}" for code in Exit) == published


def test_the_page_of_commands_is_what_the_program_says():
    page = (PROJECT / "docs" / "commands.md").read_text()
    assert page == reference.markdown(), "Run: python -m host_tools.cli.reference > docs/commands.md"


@given(
    st.integers(1, money.MAX_LEDGER_AMOUNT),
    st.sampled_from(currencies.CURRENCIES),
)
def test_what_is_shown_can_be_typed_and_is_the_same_amount(amount: int, currency: currencies.Currency):
    assert money.parse(money.format_amount(amount, currency), currency, money.MAX_LEDGER_AMOUNT) == amount


@pytest.mark.parametrize(("text", "amount"), [("18.50", 1850), ("18.5", 1850), ("18", 1800), ("0.01", 1), ("007", 700)])
def test_amounts_are_exact(text: str, amount: int):
    assert money.parse(text, CNY) == amount


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.", ".5", "1.234", "1 000", "1,000", "１", "1e2", "0", "0.00", "inf", "42949672.96"]
)
def test_what_is_no_amount_is_refused(text: str):
    with pytest.raises(BadInput):
        money.parse(text, CNY)


def test_currencies_are_those_of_iso_4217():
    known = {currency.code: currency[1:] for currency in currencies.CURRENCIES}
    for code, number, exponent in (("CNY", 156, 2), ("EUR", 978, 2), ("USD", 840, 2), ("JPY", 392, 0), ("KWD", 414, 3)):
        assert known[code] == (number, exponent)
    numbers = [currency.number for currency in currencies.CURRENCIES]
    assert len(set(numbers)) == len(set(known)) == len(currencies.CURRENCIES)
    assert currencies.by_number(999, 1) == ("ISO 999", 999, 1)
