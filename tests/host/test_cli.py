"""The `jiaozi` command in this process, on simulated devices with real firmware: a whole day, and what is printed."""

from pathlib import Path

import pytest

from host_tools.cli.exits import Exit
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD, World
from tests.host.command import failed, in_json, jiaozi
from tests.host.town import Town


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
