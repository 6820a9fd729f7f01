"""Operator endpoints: who may what, and what everybody else learns, which is nothing."""

import httpx
import pytest
from sqlalchemy import select, update

from host_tools.ledger.schema import tokens
from host_tools.server import store
from host_tools.server.endpoints import ENDPOINTS, FOR_OPERATORS, FOR_THE_ROOT
from host_tools.server.tokens import OPERATOR_SCOPES, ROOT_SCOPES, digest_of, id_of
from tests.host.command import in_json, jiaozi
from tests.server.bank import Bank

NOBODY = "00" * 16


@pytest.fixture(scope="module")
def all_scopes(bank: Bank) -> str:
    return bank.token(*OPERATOR_SCOPES)


def error_of(response: httpx.Response) -> dict:
    """What the answer says, but for the request's id."""
    said = response.json()
    return {"status": response.status_code, **{name: said[name] for name in ("error", "what", "advice", "money_moved")}}


def filled(path: str, device: str = NOBODY, account: int = 1) -> str:
    return path.format(device=device, account=account, load=1)


@pytest.mark.parametrize("endpoint", [row for row in ENDPOINTS if row.scope], ids=lambda row: row.name)
def test_without_a_good_token_every_operator_endpoint_refuses_alike(bank: Bank, endpoint):
    expired, revoked = bank.token(endpoint.scope), bank.token(endpoint.scope)
    with bank.engine.begin() as connection:
        connection.execute(update(tokens).where(tokens.c.digest == digest_of(expired)).values(expires_at=bank.now - 1))
    assert bank.store.revoke_token(id_of(revoked), bank.now)
    said = []
    for text in ("", "nonsense", "jiaozi_" + "A" * 43, "x" * 1_000, expired, revoked):
        with bank.client(text) as client:
            response = client.request(endpoint.method, filled(endpoint.path))
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            said.append(error_of(response))
    assert said[0]["error"] == "unauthorized" and said[0]["status"] == 401
    assert all(each == said[0] for each in said)


@pytest.mark.parametrize("endpoint", [*FOR_OPERATORS, *FOR_THE_ROOT], ids=lambda row: row.name)
def test_a_token_is_good_for_its_scopes_only(bank: Bank, endpoint):
    for scopes in (OPERATOR_SCOPES.keys() - {endpoint.scope}, ROOT_SCOPES.keys() - {endpoint.scope}):
        with bank.client(bank.token(*scopes)) as client:
            response = client.request(endpoint.method, filled(endpoint.path))
            assert (response.status_code, response.json()["error"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        (row.method, row.path, body)
        for row in FOR_OPERATORS
        if "{device}" in row.path
        for body in [
            {
                "set_limits": {"payment_limit": 1},
                "order": {"order": "retire"},
                "order_load": {"amount": 5},
                "open_redemption": {"amount": 5},
                "take_redemption": {"transfer": "00" * 194},
            }.get(row.name)
        ]
    ],
)
def test_another_operators_device_is_as_unknown_as_none(bank: Bank, all_scopes: str, method: str, path: str, body):
    foreign = bank.device(bank.new_name(), operator=2)
    before = bank.ledger.device(foreign.id), bank.ledger.loads(foreign.id)
    with bank.client(all_scopes) as client:
        told, nobody = (
            client.request(method, filled(path, device), json=body) for device in (foreign.id.hex(), NOBODY)
        )
    assert error_of(told) == error_of(nobody)
    assert (told.status_code, told.json()["error"]) == (404, "unknown_device")
    assert (bank.ledger.device(foreign.id), bank.ledger.loads(foreign.id)) == before
    line = bank.line_of(told.json()["request_id"])
    assert (line["error"], line["foreign"], line["operator"]) == ("unknown_device", True, 1)


def test_another_operators_accounts_are_neither_listed_nor_shown_nor_used(bank: Bank, all_scopes: str):
    bank.device(bank.new_name(), operator=2)
    name = bank.devices[-1].name
    with bank.client(all_scopes) as client:
        rows = client.get("/v1/accounts").json()["accounts"]
        assert rows and {row["operator"] for row in rows} == {1}
        assert client.get("/v1/accounts", params={"name": name}).json()["accounts"] == []
        foreign, nobody = (
            error_of(client.get(f"/v1/accounts/{number}")) for number in (bank.accounts[name], 1_000_000)
        )
        assert foreign == nobody and foreign["error"] == "unknown_account"
        body = {"key": "11" * 32, "kind": 0x12, "mcc": 0, "account": bank.accounts[name], "name": "mine"}
        assert error_of(client.post("/v1/devices", json=body)) == nobody
        listed = client.get("/v1/devices").json()["devices"]
    own = {device.id.hex() for device in bank.devices if bank.signer_of(device) is bank.operators[1].key}
    payee = {row["id"] for row in bank.ledger.devices() if row["operator"] == 1} - own
    assert {row["device"] for row in listed} <= own | payee


def test_a_day_at_the_bank(bank: Bank, all_scopes: str):
    """Open, issue, register, load, limit, report lost: what an operator does, and each again without effect."""
    wallet = bank.device(bank.new_name())
    at = f"/v1/devices/{wallet.id.hex()}"
    with bank.client(all_scopes) as client, bank.client(bank.token("issue", "books")) as root:
        account = client.post("/v1/accounts", json={"name": "Ana Li"}).json()
        assert client.post("/v1/accounts", json={"name": "Ana Li"}).json() == account
        issued = root.get("/v1/books").json()["issued"]
        order = {"amount": 500, "issued_before": issued}
        path = f"/v1/accounts/{account['account']}/issues"
        assert root.post(path, json=order).json()["issued"] == issued + 500
        assert error_of(root.post(path, json=order))["error"] == "issued_meanwhile"
        assert client.get(f"/v1/accounts/{account['account']}").json()["balance"] == 500
        key = {"key": bank.root.public.hex(), "kind": 0x12, "mcc": 0, "account": account["account"], "name": "Ana"}
        registered = client.post("/v1/devices", json=key).json()
        assert client.post("/v1/devices", json=key).json() == registered
        load = client.put(f"{at}/loads/1", json={"amount": 100}).json()
        assert client.put(f"{at}/loads/1", json={"amount": 100}).json() == load
        assert error_of(client.put(f"{at}/loads/1", json={"amount": 99}))["error"] == "already_registered"
        assert error_of(client.put(f"{at}/loads/3", json={"amount": 100}))["error"] == "already_registered"
        assert error_of(client.put(f"{at}/loads/2", json={"amount": 1_000_000}))["error"] == "insufficient_funds"
        assert client.get(f"{at}/loads").json()["loads"] == [{"number": 1, "amount": 100, "state": "outstanding"}]
        assert client.delete(f"{at}/loads/1").json() == {"cancelled_to": 1}
        limits = client.patch(f"{at}/limits", json={"payment_limit": 77}).json()["limits"]
        assert limits["payment_limit"] == 77 and client.get(at).json()["limits"] == limits
        assert client.post(f"{at}/loss", json={}).status_code == 200
        assert error_of(client.put(f"{at}/loads/2", json={"amount": 1}))["error"] == "device_revoked"
        report, books = client.get("/v1/report").json(), root.get("/v1/books").json()
        assert report["account"] <= books["account"] and books["difference"] == 0
    bank.check()


def test_lists_come_in_pages(bank: Bank, all_scopes: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "PAGE", 2)  # in this process: the service's pages are too long to fill here
    rows, after = [], 0
    while page := bank.store.accounts(1, after):
        assert len(page) <= 2
        rows += page
        after = page[-1]["account"]
    with bank.client(all_scopes) as client:
        assert client.get("/v1/accounts").json() == {"accounts": rows, "more": False}
        assert client.get("/v1/accounts", params={"after": rows[0]["account"]}).json()["accounts"] == rows[1:]


def test_tokens_are_made_listed_and_revoked_by_command(bank: Bank):
    at = ("--home", bank.home, "--ledger", bank.url)
    made = in_json("token", "create", "--scope", "read", "--name", "till", "--operator", 2, "--days", 3, *at)
    text = made.pop("token")
    assert made == {
        **{"id": id_of(text), "operator": 2, "name": "till", "scopes": ["read"], "state": "good"},
        **{"expires_at": made["expires_at"]},
    }
    with bank.client(text) as client:
        assert client.get("/v1/accounts").status_code == 200
        listed = in_json("token", "list", *at)["tokens"]
        assert made in listed and text not in repr(listed)
        in_json("token", "revoke", made["id"], *at)
        assert client.get("/v1/accounts").status_code == 401
    assert made | {"state": "revoked"} in in_json("token", "list", *at)["tokens"]
    assert jiaozi("token", "revoke", "nothing", *at).code == 2


def test_the_table_has_no_token(bank: Bank):
    text = bank.token("read")
    with bank.engine.begin() as connection:
        rows = connection.execute(select(tokens)).all()
    assert digest_of(text) in [row.digest for row in rows]
    assert text not in repr(rows) and text.removeprefix("jiaozi_") not in repr(rows)


def test_tokens_are_made_with_the_key_of_whom_they_speak_for(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    at = ("--home", bank.home, "--ledger", bank.url, "--name", "x")
    for scopes in (("--scope", "everything"), ("--scope", "read", "--scope", "issue")):
        assert jiaozi("token", "create", *scopes, *at, "--operator", 1).code == 2
    monkeypatch.setenv("JIAOZI_PASSPHRASE", "wrong")
    for scope in ("read", "issue"):
        refused = jiaozi("token", "create", "--scope", scope, *at, "--operator", 1)
        assert refused.code == 6 and "wrong passphrase" in refused.err
