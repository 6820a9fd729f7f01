"""`jiaozi operator decide` and `clear`, and where `jiaozi report` shows what waits for people."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools import keys
from host_tools.cli import home as homes
from host_tools.cli.exits import Exit
from host_tools.ledger.holds import HOLD_DAYS
from protocol.objects import DAY_S
from tests.host.command import PASSPHRASE, failed, in_json, jiaozi
from tests.ledger.test_accomplice import mint, most_of_an_honest
from tests.ledger.test_refused import careless_sale
from tests.ledger.world import Town
from tests.unit.world import sha256

WHY = "the till roll [of 3 May]"


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """A town whose ledger and keys lie in a home, with a clock that the commands share."""
    town = Town(tmp_path)
    monkeypatch.setattr(homes, "now", lambda: town.now)
    monkeypatch.setenv("COLUMNS", "160")  # no cell is broken
    for name, value in (("PASSPHRASE", PASSPHRASE), ("HOME", str(tmp_path / "home")), ("LEDGER", town.url)):
        monkeypatch.setenv(f"JIAOZI_{name}", value)
    home = tmp_path / "home"
    home.mkdir()
    keys.create(home / "operator-1.key", "operator", PASSPHRASE, seed=sha256(b"operator 1"), cost=keys.INTERACTIVE)
    yield town
    town.ledger.close()


@pytest.fixture
def payment(town: Town) -> str:
    """A payment over the payer's limit, in suspense: its hash."""
    shop, ana = town.device("Tea", "terminal"), town.device("Ana", balance=900)
    careless_sale(shop, ana, ana.certificate.payment_limit + 1)
    town.sync(shop)
    return town.ledger.suspense()[0]["hash"]


@pytest.mark.parametrize("whose", ["payee", "payer"])
def test_money_in_suspense_is_shown_decided_and_recorded(town: Town, payment: str, whose: str):
    shown = " ".join(jiaozi("report").out.split())
    for words in ("In suspense", payment[:8], "Ana", "Tea", "over payment limit"):
        assert words in shown
    assert [row["hash"] for row in in_json("report")["waiting"]] == [payment]
    for _ in range(2):
        said = in_json("operator", "decide", payment[:8], "--to", whose, "--reason", WHY)
        assert (said["transfer"], said["name"]) == (payment, "Tea" if whose == "payee" else "Ana")
    report = in_json("report")
    assert (report["waiting"], len(report["decisions"])) == ([], 1)
    assert (report["decisions"][0]["reason"], report["decisions"][0]["operator"]) == (WHY, 1)
    shown = " ".join(jiaozi("report").out.split())
    assert "In suspense" not in shown
    assert "Decided by people" in shown and "[of 3" in shown
    assert f"decided for the {whose}" in " ".join(jiaozi("report", "--device", "Tea").out.split())
    assert in_json("ledger", "check")["balanced"]
    other = "payer" if whose == "payee" else "payee"
    failed(
        jiaozi("operator", "decide", payment, "--to", other, "--reason", WHY),
        Exit.LEDGER_REFUSED,
        f"decided for the {whose} already",
    )


def test_what_cannot_be_decided(town: Town, payment: str):
    at = ("--to", "payee", "--reason", WHY)
    failed(jiaozi("operator", "decide", "ffff" * 16, *at), Exit.LEDGER_REFUSED, "No payment in suspense begins with")
    failed(jiaozi("operator", "decide", payment, "--to", "me", "--reason", WHY), Exit.USAGE, "payee or payer")
    failed(jiaozi("operator", "decide", payment, "--to", "payee"), Exit.USAGE, "--reason")
    failed(
        jiaozi("operator", "decide", payment, "--to", "payee", "--reason", ""), Exit.LEDGER_REFUSED, "needs a reason"
    )
    failed(jiaozi("operator", "clear", "Tea", "--reason", WHY), Exit.LEDGER_REFUSED, "not in dispute")
    assert in_json("report")["decisions"] == []


def test_a_dispute_is_shown_and_cleared(town: Town):
    cheat, mule = town.device("cheat"), town.device("Tea", "terminal")
    town.now += HOLD_DAYS * DAY_S
    mint(cheat, mule, most_of_an_honest(mule) // cheat.certificate.payment_limit + 1)
    town.settle(mule, *town.statement(mule))
    assert "disputed: for people to settle" in " ".join(jiaozi("report", "--device", "Tea").out.split())
    assert "is cleared up to" in " ".join(jiaozi("operator", "clear", "Tea", "--reason", WHY).out.split())
    said = in_json("operator", "clear", "Tea", "--reason", WHY)
    assert (said["device"], said["amount"]) == (mule.id.hex(), town.purse(mule))
    assert len(in_json("report")["decisions"]) == 1
    assert "disputed" not in jiaozi("report", "--device", "Tea").out
    assert "dispute lifted" in " ".join(jiaozi("report").out.split())
    assert town.settle(mule, *town.statement(mule)).certified
