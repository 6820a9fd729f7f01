"""`jiaozi` and one device: not set up, another's, blocked, busy, taken away, waiting for its PIN."""

import contextlib
import functools
import sqlite3
import time
from pathlib import Path

import pytest

from host_tools.cli.exits import Exit
from host_tools.devices import nfc_reader
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.world import TERMINAL_BOARD
from tests.host.command import failed, in_json, jiaozi
from tests.host.town import Town


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


def _till_with_pin(town: Town, home: Path, name: str) -> tuple[SimulatedDevice, tuple]:
    """A new terminal whose PIN is 1234, and where the commands find it."""
    till = town.world.add(name, TERMINAL_BOARD)
    cable = ("--home", home, "--port", till.link_path)
    what = ("--account", "Tea House", "--kind", "terminal", "--mcc", 5814, "--name", name, "--operator", 1)
    in_json("device", "personalise", *what, *cable)
    _type(till, "D", "1 set", "1", "NEW PIN", "1234#", "NEW PIN AGAIN", "1234#", "1 change", "*", "type an amount")
    return till, cable


def test_the_operator_gives_a_blocked_pin_new_tries_or_takes_it_away(town: Town, tmp_path: Path):
    till, cable = _till_with_pin(town, town.copy_of_home(tmp_path), "Pin")
    order = ("operator", "unblock-pin", "Pin", *cable)
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
    till, cable = _till_with_pin(town, town.copy_of_home(tmp_path), "Locked")
    _type(till, "D", "3 also", "3", "PRESENT PIN", "1234#", "1 change", "*", "type an amount")
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


def test_the_operator_closes_the_prompt_of_a_device_for_good(town: Town, tmp_path: Path):
    home = town.copy_of_home(tmp_path)
    till = town.world.add("Closed", TERMINAL_BOARD)
    cable = ("--home", home, "--port", till.link_path)
    what = ("--account", "Tea House", "--kind", "terminal", "--mcc", 5814, "--name", "Closed", "--operator", 1)
    in_json("device", "personalise", *what, *cable)
    assert in_json("device", "info", *cable)["prompt_closed"] is False
    assert "jiaozi device lock" in jiaozi("device", "info", *cable).out
    failed(jiaozi("device", "lock", "Ana", *cable), Exit.WRONG_CARD, "not Ana", "Connect Ana")
    assert in_json("device", "lock", "Closed", *cable)["order"] == 1
    assert in_json("device", "info", *cable)["prompt_closed"] is True
    _wait_for(till.state / "closed")
    (till.state / "closed").unlink()  # as new code on a chip does
    till.stop()
    till.start()
    _wait_for(till.state / "closed")
    assert in_json("device", "info", *cable)["prompt_closed"] is True
    assert in_json("sync", "--operator", 1, *cable)["certified"]


def _wait_for(path: Path) -> None:
    """It is done in a quiet moment of the device's."""
    while not path.exists():
        time.sleep(0.01)


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
