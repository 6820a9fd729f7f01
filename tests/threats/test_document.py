"""docs/threat-model.md cannot drift: its amounts are what the limits give, and the tests that it names exist."""

import re
from pathlib import Path

import pytest

from host_tools.ledger.holds import HOLD_DAYS
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS, REQUEST_BLOCK
from protocol.purse import MAX_PAYERS
from protocol.spread import MAX_EXCHANGES
from tests.threats import bounds

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "threat-model.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| attack |", "| --- |"))
]
AMOUNT = re.compile(r"\b\d[\d,]*\.\d\d\b")
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def amounts(text: str) -> list[str]:
    return AMOUNT.findall(text)


def test_every_attack_is_listed_once_and_has_its_four_columns():
    assert {len(row) for row in ROWS} == {4}
    found = [[attack for attack in bounds.BOUNDS if row[0].startswith(attack)] for row in ROWS]
    assert sorted(found) == sorted([attack] for attack in bounds.BOUNDS)
    assert all(row[1] and row[2] for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_bounds_are_what_the_limits_give(row):
    expected = next(amounts for attack, amounts in bounds.BOUNDS.items() if row[0].startswith(attack))
    assert amounts(row[2]) == [bounds.written(amount) for amount in expected]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_tests_that_are_named_exist(row):
    named = NAMED.findall(row[3])
    assert named
    for file, test in named:
        assert re.search(rf"^def {test}\(", (TESTS / file).read_text(), re.MULTILINE), f"{file}::{test}"


def test_every_test_of_an_attack_is_named():
    named = set(NAMED.findall(PAGE))
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if file.name != Path(__file__).name:
            for test in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE):
                assert (f"threats/{file.name}", test) in named


def test_limits_that_the_page_explains():
    stated = {name: (wallet, till) for name, wallet, till in re.findall(r"^- (.+): ([\d,.]+), ([\d,.]+)$", PAGE, re.M)}
    names = ("balance_limit", "payment_limit", "sum_limit", "no_confirm_sum")
    assert list(stated) == ["held at once", "one payment", "spent between two syncs", "without confirmation"]
    for (wallet, till), name in zip(stated.values(), names, strict=True):
        assert (wallet, till) == (bounds.written(bounds.WALLET[name]), bounds.written(bounds.TERMINAL[name]))


def test_no_other_amount_is_on_the_page():
    known = {bounds.written(amount) for expected in bounds.BOUNDS.values() for amount in expected}
    known |= {bounds.written(limits[name]) for limits in (bounds.WALLET, bounds.TERMINAL) for name in limits}
    assert set(amounts(PAGE)) <= known


def test_days_that_the_page_names():
    days = CERTIFICATE_DAYS + GRACE_DAYS
    assert re.findall(r"(\d+) days after its last sync", PAGE) == [str(days)] * 2
    assert f"in a terminal's first {HOLD_DAYS} days" in PAGE
    assert f"ends after {MAX_EXCHANGES} commands" in PAGE
    assert re.findall(r"its last (\d+) payers", PAGE) == [str(MAX_PAYERS)] * 2
    assert f"A payee that {MAX_PAYERS} others have paid since" in PAGE
    assert f"one settings write per {REQUEST_BLOCK}" in PAGE
