"""The service itself: its document, its errors, its limits, its log, its end."""

import asyncio
import json
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from host_tools.ledger import Ledger, LedgerError
from host_tools.ledger.opening import create
from host_tools.server import limits, logs
from host_tools.server.app import application
from host_tools.server.endpoints import ENDPOINTS
from host_tools.server.errors import OF_LEDGER, OF_SERVICE, ServiceError, failure
from host_tools.server.keyring import Keyring
from host_tools.server.limits import Buckets, Rate
from host_tools.server.service import Service
from host_tools.server.store import Store
from host_tools.server.tokens import OPERATOR_SCOPES, ROOT_SCOPES
from tests.host.command import PASSPHRASE
from tests.ledger.world import sale
from tests.server.bank import Bank, send, settlement_of
from tests.server.test_uploads import upload_of
from tests.unit.world import sha256

DOCUMENT = Path(__file__).parents[2] / "docs" / "service.md"


def kinds_below(kind: type) -> set[type]:
    return {kind} | {below for child in kind.__subclasses__() for below in kinds_below(child)}


# Tables


def test_every_error_of_the_ledger_and_of_the_service_has_one_row_and_one_word():
    ours = {kind for kind in kinds_below(LedgerError) if kind.__module__ == "host_tools.ledger.errors"} | {LedgerError}
    assert OF_LEDGER.keys() == ours
    assert set(OF_SERVICE) == kinds_below(ServiceError) - {ServiceError}
    rows = [*OF_LEDGER.values(), *(kind.said for kind in OF_SERVICE)]
    words = [said.word for said in rows]
    assert len(words) == len(set(words))
    assert all(400 <= said.status < 600 for said in rows)
    server_side = {said.word for said in rows if said.status >= 500}
    assert server_side == {
        *("defect", "books_broken"),
        *("busy", "key_not_here", "ledger_missing", "ledger_unavailable", "not_a_ledger", "outcome_unknown"),
    }


def test_an_exception_that_nobody_foresaw_tells_nothing_of_itself():
    said = failure(ValueError("secret")).body("1")
    assert said["error"] == "defect" and "secret" not in json.dumps(said)


def test_every_endpoint_stands_once_and_every_scope_is_of_use():
    assert len({(row.method, row.path) for row in ENDPOINTS}) == len({row.name for row in ENDPOINTS}) == len(ENDPOINTS)
    assert {row.scope for row in ENDPOINTS} == {"", *OPERATOR_SCOPES, *ROOT_SCOPES}
    for row in ENDPOINTS:
        assert (row.run is None) != (row.stream is None)


def test_docs_list_every_endpoint_error_and_scope():
    page = DOCUMENT.read_text(encoding="utf-8")
    for row in ENDPOINTS:
        assert f"`{row.method} {row.path}`" in page
    for said in [*OF_LEDGER.values(), *(kind.said for kind in OF_SERVICE)]:
        assert f"`{said.word}`" in page
    for scope in OPERATOR_SCOPES | ROOT_SCOPES:
        assert f"`{scope}`" in page


# A running service


def test_health_metrics_and_the_document(bank: Bank, client: httpx.Client):
    assert client.get("/health").json() == {"status": "ok", "database": True}
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert sum(map(len, document["paths"].values())) == len(ENDPOINTS)
    shop = bank.device(bank.new_name(), "terminal")
    assert settlement_of(send(client, upload_of(bank, client, shop))).certified
    text = client.get("/metrics").text
    for line in ('jiaozi_uploads_total{outcome="settled"} 1.0', "jiaozi_uploads_waiting 0.0"):
        assert line in text
    assert shop.id.hex() not in text


def test_what_is_not_there_is_said_in_the_same_shape(client: httpx.Client):
    for response, status, word in (
        (client.get("/v2"), 404, "not_found"),
        (client.get("/v1/accounts/"), 404, "not_found"),
        (client.put("/health"), 405, "method_not_allowed"),
        (client.get("/v1/operators/0"), 400, "bad_request"),
        (client.get("/v1/operators/99"), 404, "unknown_operator"),
        (client.get("/health", params={"x": 1}), 400, "bad_request"),
    ):
        assert (response.status_code, response.json()["error"]) == (status, word)
    assert response.json().keys() == {"error", "what", "advice", "money_moved", "request_id"}
    assert client.put("/health").headers["Allow"] == "GET"


def test_a_json_body_is_bounded_and_checked(bank: Bank):
    json_type = {"Content-Type": "application/json"}
    with bank.client(bank.token("accounts")) as client:
        for body, status in (
            (b'{"name": "' + b"a" * limits.JSON_MAX_BYTES + b'"}', 413),
            (b"", 400),
            (b"[" * 3_000, 400),
            (b'{"name": "Ana", "x": 1}', 400),
            (b'{"name": " Ana"}', 400),
            (b'{"name": "An\\u0000a"}', 400),
            (b'{"name": 1}', 400),
            (b"\xff", 400),
        ):
            assert client.post("/v1/accounts", content=body, headers=json_type).status_code == status, body[:40]


def asked(app: ASGIApp, *requests: tuple[str, dict[str, str]]) -> list[httpx.Response]:
    """The answers of an application in this process to GETs of paths with headers."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return [await client.get(path, headers=headers) for path, headers in requests]

    return asyncio.run(ask())


def service_in(folder: Path) -> Service:
    engine = create(f"sqlite:///{folder / 'ledger.db'}")
    return Service(Ledger(engine), Store(engine), Keyring({}))


def test_too_many_requests_are_put_off_by_address_and_by_token(tmp_path: Path):
    app = application(service_in(tmp_path), per_address=Rate(12, 0.001), per_token=Rate(5, 0.001))
    guesses = asked(app, *[("/v1/report", {"Authorization": "Bearer guess"})] * 7)
    assert [response.status_code for response in guesses] == [401] * 5 + [429] * 2
    others = asked(app, *[("/health", {})] * 7)
    assert [response.status_code for response in others] == [200] * 5 + [429] * 2
    assert others[-1].json()["error"] == "too_many_requests" and int(others[-1].headers["Retry-After"]) >= 1


def test_buckets_fill_up_again_and_forget_whoever_was_quiet_longest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "CLIENTS_MAX", 2)
    now = [0.0]
    buckets = Buckets(Rate(2, 0.5), lambda: now[0])
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 2]
    now[0] += 2
    assert [buckets.take("a") for _ in range(2)] == [0, 2]
    assert [buckets.take(name) for name in ("b", "c", "a", "a")] == [0, 0, 0, 0], "a was forgotten and begins anew"
    assert limits.client_of("2001:db8::1") == limits.client_of("2001:db8::ffff:1") != limits.client_of("2001:db8:1::1")


def test_as_many_calls_wait_as_may_and_more_are_told_so(tmp_path: Path):
    service = service_in(tmp_path)
    service.workers._waiting_max = 0
    (busy,) = asked(application(service), ("/health", {}))
    assert (busy.status_code, busy.json()["error"]) == (503, "busy")
    assert busy.headers["Retry-After"]


# Its log


def test_the_log_of_a_whole_run_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JIAOZI_PASSPHRASE", PASSPHRASE)
    with Bank(tmp_path) as bank:
        bank.start()
        texts = [bank.token(*OPERATOR_SCOPES), bank.token(*ROOT_SCOPES), "jiaozi_guessed-by-somebody"]
        shop, wallet = bank.device("Ana Li", "terminal"), bank.device("Tea House", balance=500)
        sale(shop, wallet, 300)
        for text in texts:
            with bank.client(text) as client:
                for row in ENDPOINTS:
                    path = row.path.format(
                        device=wallet.id.hex(), account=1, load=1, operator=1, statement=(b"s" * 32).hex()
                    )
                    client.request(row.method, path, json={"name": "Ben Wu"}, params={"name": "Ben Wu"})
                client.get(f"/nothing?token={text}")
                client.post("/v1/accounts", json={"name": "Ben Wu"})
                client.post("/v1/accounts", content=text, headers={"Content-Type": "application/json"})
        with bank.client() as client:
            uploads = [upload_of(bank, client, device) for device in (shop, wallet)]
            for upload in uploads:
                assert settlement_of(send(client, upload)).certified
        assert bank.stop() == 0
        log = bank.log.read_text()
        assert all(line["event"] for line in bank.log_lines()) and '"token"' in log
    seeds = [sha256(name.encode()) for name in ("root", "operator 1", "operator 2", "payee of operator 1")]
    secrets = [*texts, PASSPHRASE, *(seed.hex() for seed in seeds), *(repr(seed) for seed in seeds)]
    private = [*(device.id.hex() for device in (shop, wallet)), "Ana Li", "Tea House", "Ben Wu"]
    assert [text for text in [*secrets, *private] if text in log] == []
    assert "Authorization" not in log and "Bearer" not in log


def test_an_exception_in_the_log_is_its_type_and_its_place(caplog: pytest.LogCaptureFixture):
    try:
        raise ValueError("a secret") from KeyError("another")
    except ValueError as error:
        line = logs.raised(error)
    assert line["raised"] == ["ValueError", "KeyError"]
    assert "secret" not in json.dumps(line) and "test_service.py" in json.dumps(line)


# Its end


def test_a_stop_settles_what_is_under_way_and_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """SIGTERM while uploads are on their way: each is either answered and in the books, or was never taken."""
    monkeypatch.setenv("JIAOZI_PASSPHRASE", PASSPHRASE)
    with Bank(tmp_path) as bank:
        bank.start()
        devices = [bank.device(f"shop {at}", "terminal") for at in range(20)]
        with bank.client() as client:
            uploads = [upload_of(bank, client, device) for device in devices]
        answers: list[httpx.Response | None] = [None] * len(devices)
        begun = threading.Barrier(len(devices) + 1)

        def carry(at: int) -> None:
            with bank.client() as client:
                begun.wait()
                try:
                    answers[at] = send(client, uploads[at])
                except httpx.TransportError:
                    pass  # came too late

        threads = [threading.Thread(target=carry, args=(at,)) for at in range(len(devices))]
        for thread in threads:
            thread.start()
        begun.wait()
        time.sleep(0.05)
        assert bank.stop(signal.SIGTERM) == 0
        for thread in threads:
            thread.join()
        answered = [at for at, response in enumerate(answers) if response is not None]
        assert all(settlement_of(answers[at]).certified for at in answered)  # pyright: ignore[reportArgumentType]
        heads = [bank.ledger.device(device.id)["head_seq"] for device in devices]
        assert all(heads[at] > 0 for at in answered)
        assert "stopped" in [line["event"] for line in bank.log_lines()]
        with pytest.raises(httpx.TransportError):
            bank.client().get("/health")
        bank.check()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_ends_it_as_soon_as_it_has_said_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    monkeypatch.setenv("JIAOZI_PASSPHRASE", PASSPHRASE)
    with Bank(tmp_path) as bank:
        bank.start()
        assert bank.stop(number) == 0
