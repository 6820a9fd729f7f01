"""`jiaozi report --by` and `--positions`, and `ledger check`: of a ledger with some days in it."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.cli.exits import Exit
from host_tools.ledger import Ledger
from host_tools.ledger.reports.span import Span
from protocol.objects import DAY_S
from tests.host.command import failed, in_json, jiaozi
from tests.ledger.world import Town, pay_person, sale
from tests.unit.world import KINDS, TODAY, signer

FIRST, SECOND = "2024-10-04", "2024-10-05"  # TODAY and the next
DAYS = ("--from", FIRST, "--to", SECOND)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Two operators, sales on two days, one of them between the operators."""
    town = Town(tmp_path_factory.mktemp("town"))
    account = town.ledger.open_account(1, "Bank One")
    payee = signer("payee").public
    town.ledger.register_device(
        town.operators[1].key, 1, payee, KINDS["operator payee"], 0, account, "Bank One", town.now
    )
    shop, ann = town.device("shop", "terminal"), town.device("ann", balance=1_000)
    ben = town.device("ben", operator=2)
    sale(shop, ann, 100)
    town.sync(shop)
    town.now += DAY_S
    pay_person(ann, ben, 250)
    for device in (ann, ben):
        town.sync(device)
    yield town
    town.ledger.close()


@pytest.fixture
def at(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple:
    for name in ("JIAOZI_HOME", "JIAOZI_LEDGER", "JIAOZI_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return ("--ledger", town.url, "--home", tmp_path)


def lines_of(*words: object) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(jiaozi(*words).out)))


def test_json_has_the_ledgers_own_lines(town: Town, at: tuple):
    span = Span(TODAY, TODAY + 1)
    found = in_json("report", "--by", "operator", *DAYS, *at)
    assert (found["from"], found["to"], found["by"]) == (FIRST, SECOND, "operator")
    assert found["currency"]["code"] == "CNY"
    assert found["lines"] == town.ledger.by_operator(span)
    assert in_json("report", "--by", "device", *DAYS, *at)["lines"] == town.ledger.by_device(span)
    days = in_json("report", "--by", "day", *DAYS, *at)["lines"]
    assert [line["day"] for line in days] == [FIRST, SECOND]
    assert [line["received"] for line in days] == [100, 250]
    found = in_json("report", "--positions", *DAYS, *at)
    assert {"pairs": found["pairs"], "net": found["net"]} == town.ledger.positions(span)
    assert [pair["owed"] for pair in found["pairs"]] == [250]


def test_one_operators_and_one_devices(town: Town, at: tuple):
    (line,) = in_json("report", "--by", "operator", "--operator", 2, *DAYS, *at)["lines"]
    assert (line["operator"], line["received"]) == (2, 250)
    assert [line["paid"] for line in in_json("report", "--by", "day", "--device", "ann", *DAYS, *at)["lines"]] == [
        100,
        250,
    ]
    names = [line["name"] for line in in_json("report", "--by", "device", "--operator", 2, *DAYS, *at)["lines"]]
    assert names == ["ben"]


def test_csv_has_a_line_for_each_in_minor_units(town: Town, at: tuple, tmp_path: Path):
    rows = lines_of("report", "--by", "day", "--csv", "-", *DAYS, *at)
    assert [(row["day"], row["received"], row["received_count"]) for row in rows] == [
        (FIRST, "100", "1"),
        (SECOND, "250", "1"),
    ]
    (pair,) = lines_of("report", "--positions", "--csv", "-", *DAYS, *at)
    assert (pair["operator"], pair["other"], pair["paid"], pair["owed"]) == ("1", "2", "250", "250")
    file = tmp_path / "days.csv"
    facts = in_json("report", "--by", "day", "--csv", file, *DAYS, *at)
    assert facts == {"file": str(file), "lines": 2}
    assert list(csv.DictReader(file.open(encoding="utf-8", newline=""))) == rows
    failed(jiaozi("report", "--by", "day", "--csv", file, *DAYS, *at), Exit.USAGE, "exists", "nothing is overwritten")
    failed(jiaozi("report", "--by", "day", "--csv", tmp_path / "no" / "x", *DAYS, *at), Exit.USAGE, "cannot be used")


@pytest.mark.parametrize("report", [("--positions",), ("--by", "operator"), ("--by", "device"), ("--by", "day")])
def test_csv_without_lines_has_the_same_first_row(town: Town, at: tuple, tmp_path: Path, report: tuple):
    empty = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger.create(empty).close()
    row, *lines = jiaozi("report", *report, "--csv", "-", *DAYS, "--ledger", empty, "--home", tmp_path).out.splitlines()
    assert len(lines) == (2 if "day" in report else 0)
    assert row == jiaozi("report", *report, "--csv", "-", *DAYS, *at).out.splitlines()[0]


def test_people_see_what_moved_in_80_columns(at: tuple, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    for words, shown in (
        (("--by", "operator"), ("Operator 1, 2024-10-04 to 2024-10-05", "left payers' purses", "3.50 CNY (2)")),
        (("--by", "day"), (FIRST, "2.50")),
        (("--by", "device"), ("ann (", "10.00", "3.50")),
        (("--positions",), ("1 and 2", "operator 1", "-2.50 CNY")),
    ):
        found = jiaozi("report", *words, *DAYS, *at)
        assert (found.code, found.err) == (Exit.OK, "")
        assert max(len(line.rstrip()) for line in found.out.splitlines()) <= 80 and "…" not in found.out
        assert all(text in found.out for text in shown), found.out


def test_without_days_it_is_about_the_last_30(at: tuple):
    assert len(in_json("report", "--by", "day", *at)["lines"]) == 30
    assert len(in_json("report", "--by", "day", "--to", SECOND, *at)["lines"]) == 30
    assert jiaozi("report", "--positions", *at).out.startswith("No operator's devices paid another's")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", "day", "--from", "yesterday"), "'yesterday' is no day"),
        (("--by", "day", "--from", SECOND, "--to", FIRST), "is after"),
        (("--by", "day", "--from", "1990-01-01", "--to", SECOND), "3660 days"),
        (("--by", "week"), "week"),
        (("--by", "day", "--positions"), "--by or --positions"),
        (("--from", FIRST), "--by or --positions"),
        (("--csv", "-"), "--by or --positions"),
        (("--by", "device", "--device", "ann"), "--by day"),
        (("--positions", "--account", "ann"), "--account"),
        (("--by", "day", "--csv", "-", "--json"), "stdout"),
    ],
)
def test_what_does_not_go_together_is_said(at: tuple, words: tuple, said: str):
    found = jiaozi("report", *words, *at)
    assert found.code == Exit.USAGE and said in found.err + found.out


def test_the_check_counts_what_it_has_checked(town: Town, at: tuple):
    facts = in_json("ledger", "check", *at)
    assert (facts["balanced"], facts["differences"], facts["named"]) == (True, 0, [])
    assert facts["checked"]["devices"] == 4 and facts["checked"]["payments"] == 2
    assert facts["issued"] == 1_000 + 2_000 + 1_000
    assert "every unit is there" in jiaozi("ledger", "check", *at).out
