"""The service on every engine: chunks, tokens, syncs at once, and the books afterwards."""

from pathlib import Path

import pytest

from host_tools.ledger import Settlement
from tests.engines.fixtures import empty_ledger, engine, every_engine, servers
from tests.host.command import PASSPHRASE
from tests.ledger.world import sale
from tests.server.bank import Bank, send, settlement_of
from tests.server.test_hosts import at_once, synced
from tests.server.test_uploads import arrived, long, upload_of
from tests.unit.world import Device

__all__ = ["empty_ledger", "engine", "servers"]

PAIRS = 10


@pytest.mark.slow
@pytest.mark.timeout(300)
@every_engine
def test_hosts_sync_at_once_and_cut_uploads_go_on(
    tmp_path: Path, empty_ledger: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JIAOZI_PASSPHRASE", PASSPHRASE)
    with Bank(tmp_path, empty_ledger) as bank:
        bank.start()
        shops = [bank.device(f"shop {at}", "terminal") for at in range(PAIRS)]
        wallets = [bank.device(f"wallet {at}", balance=500) for at in range(PAIRS)]
        for shop, wallet in zip(shops, wallets, strict=True):
            sale(shop, wallet, 120)
        cut = shops[0]
        with bank.client() as client:
            upload = long(upload_of(bank, client, cut))
            half = len(upload) // 2
            assert send(client, upload, 0, half).json() == {"offset": half} and arrived(client, upload) == half
            assert send(client, upload, half + 1).json()["error"] == "wrong_offset"
            settlement = settlement_of(send(client, upload, half))
            assert settlement.certified and arrived(client, upload) == 0
            bank.install(cut, settlement)
        answers: list[Settlement] = []

        def sync(device: Device) -> None:
            answers.append(synced(bank, device))

        assert at_once(sync, shops + wallets) == []
        assert all(answer.certified for answer in answers)
        assert [bank.purse(shop) for shop in shops] == [120] * PAIRS
        assert [bank.purse(wallet) for wallet in wallets] == [380] * PAIRS
        with bank.client(bank.token("read")) as client:
            report = client.get("/v1/report").json()
            assert report["purse"] == PAIRS * 500 and report["pending"] == 0
            assert len(client.get("/v1/devices").json()["devices"]) == 2 * PAIRS + 1
        assert {line["status"] for line in bank.log_lines() if line["event"] == "request"} == {200, 202, 204, 409}
        assert bank.stop() == 0
        bank.check()
