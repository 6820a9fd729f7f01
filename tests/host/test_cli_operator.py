"""The operator's daily work with `jiaozi`: revoking, booking what is overdue, keys and passphrases."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from host_tools import keys
from host_tools.cli import home as homes
from host_tools.cli.exits import Exit
from host_tools.ledger import Ledger
from host_tools.simulator.world import WALLET_BOARD
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, REVOKED_ALTOGETHER, Revocations
from tests.host.command import PASSPHRASE, failed, in_json, jiaozi
from tests.host.town import Town
from tests.ledger import world as ledger_world
from tests.unit.world import LinkLost

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
