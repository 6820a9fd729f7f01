"""Reports over the service: an operator's own figures, page by page, the same as the ledger's."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from host_tools.cli.exits import Exit
from host_tools.ledger.reports.span import MAX_DAYS, Span
from host_tools.server import figures
from host_tools.server.client import RemoteLedger
from protocol.objects import DAY_S
from tests.host.command import failed, in_json, jiaozi
from tests.ledger.world import pay_person, sale
from tests.server.bank import Bank
from tests.server.test_tokens import NOBODY, error_of


@pytest.fixture(scope="module")
def street(bank: Bank) -> Bank:
    """A shop of operator 1, and people of both who paid it and each other."""
    shop = bank.device("shop", "terminal")
    ann, ben = bank.device("ann", balance=500), bank.device("ben", balance=500, operator=2)
    sale(shop, ann, 120)
    sale(shop, ben, 200)
    pay_person(ann, ben, 50)
    for device in (shop, ann, ben):
        bank.sync(device)
    return bank


@pytest.fixture(scope="module")
def days(bank: Bank) -> Span:
    return Span(bank.now // DAY_S - 1, bank.now // DAY_S)


@pytest.fixture
def service(street: Bank) -> Iterator[RemoteLedger]:
    """As a program of operator 1 has it."""
    remote = RemoteLedger(street.service, street.token("reports"))
    yield remote
    remote.close()


def test_figures_are_the_ledgers_own_and_of_one_operator(street: Bank, service: RemoteLedger, days: Span):
    ledger = street.ledger
    (own,) = service.by_operator(days)
    assert [own] == ledger.by_operator(days, 1) and own["received"] == 320
    assert service.by_day(days) == ledger.by_day(days, 1)
    assert service.by_device(days) == ledger.by_device(days, 1)
    assert {line["name"] for line in service.by_device(days)} >= {"shop", "ann"}
    assert {line["operator"] for line in service.by_device(days)} == {1}
    found = service.positions(days)
    assert found == ledger.positions(days, 1)
    assert [(pair["operator"], pair["other"], pair["owed"]) for pair in found["pairs"]] == [(1, 2, -150)]
    assert found["net"] == [{"operator": 1, "net": 150}] != ledger.positions(days)["net"]
    shop = street.named("shop")
    assert service.by_day(days, device=shop.id) == ledger.by_day(days, device=shop.id)


def test_another_operators_device_is_as_unknown_as_none(street: Bank, days: Span):
    query = {"day": days.first, "days": 2}
    with street.client(street.token("reports")) as client:
        foreign, nobody = (
            client.get(f"/v1/reports/devices/{device}/days", params=query)
            for device in (street.named("ben").id.hex(), NOBODY)
        )
    assert error_of(foreign) == error_of(nobody)
    assert (foreign.status_code, foreign.json()["error"]) == (404, "unknown_device")


@pytest.mark.parametrize("endpoint", figures.REPORTS, ids=lambda row: row.name)
def test_only_the_scope_reports_opens_them(street: Bank, days: Span, endpoint):
    path = endpoint.path.format(device=street.named("shop").id.hex())
    query = {"day": days.first, "days": 2}
    for scope, status in (("read", 403), ("books", 403), ("reports", 200)):
        with street.client(street.token(scope)) as client:
            assert client.get(path, params=query).status_code == status
            assert client.get(path, params={"day": days.first}).status_code in (400, 403)
            assert client.get(path, params=query | {"days": MAX_DAYS + 1}).status_code in (400, 403)


def test_days_come_in_pages(street: Bank, service: RemoteLedger):
    last = street.now // DAY_S
    long = Span(last - 2 * figures.PAGE, last)
    lines = service.by_day(long)
    assert [line["day"] for line in lines] == list(range(long.first, long.last + 1))
    assert lines[-1] == street.ledger.by_day(Span(last, last), 1)[0]


def test_devices_come_in_pages(street: Bank, service: RemoteLedger, days: Span):
    whole = service.by_device(days)
    after = bytes.fromhex(whole[0]["device"])
    assert service.by_device(days, after=after) == whole[1:]
    assert service.by_device(days, after=bytes.fromhex(whole[-1]["device"])) == []


def test_the_command_shows_what_the_service_tells(
    street: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: httpx.Client
):
    monkeypatch.setenv("JIAOZI_TOKEN", street.token("reports"))
    at = ("--ledger", street.service, "--home", tmp_path)
    (line,) = in_json("report", "--by", "operator", *at)["lines"]
    assert (line["operator"], line["received"]) == (1, 320)
    shop = street.named("shop").id.hex()
    lines = in_json("report", "--by", "day", "--device", shop, *at)["lines"]
    assert len(lines) == 30 and lines[-1]["received"] == 320
    assert in_json("report", "--positions", *at)["net"] == [{"operator": 1, "net": 150}]
    rows = list(csv.DictReader(io.StringIO(jiaozi("report", "--by", "device", "--csv", "-", *at).out)))
    assert shop in {row["device"] for row in rows}
    assert "1.50 CNY" in jiaozi("report", "--positions", *at).out
    failed(jiaozi("report", "--by", "day", "--operator", 1, *at), Exit.USAGE, "--operator")
    failed(jiaozi("report", "--by", "day", "--device", "shop", *at), Exit.USAGE, "32 hex digits")
    monkeypatch.setenv("JIAOZI_TOKEN", street.token("read"))
    failed(jiaozi("report", "--by", "day", *at), Exit.LEDGER_REFUSED, "reports")
