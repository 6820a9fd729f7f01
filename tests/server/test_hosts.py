"""Two hundred hosts at once, each with a device: nobody sees an error, and the books are what they should be."""

import threading
from collections.abc import Callable

import pytest

from host_tools.ledger import Settlement
from host_tools.server.client import RemoteLedger
from protocol import apdu
from protocol.objects import Statement
from tests.ledger.world import sale
from tests.server.bank import Bank
from tests.unit.world import Device

PAIRS = 100  # of a wallet and the shop that it pays
LOADED = 500
PAID = 120


def at_once(work: Callable[[Device], None], devices: list[Device]) -> list[Exception]:
    """Do it for each device in a thread of its own, all begun together. Returns what was raised."""
    raised: list[Exception] = []
    begun = threading.Barrier(len(devices))

    def one(device: Device) -> None:
        begun.wait()
        try:
            work(device)
        except Exception as error:  # noqa: BLE001 - shown by the test
            raised.append(error)

    threads = [threading.Thread(target=one, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def synced(bank: Bank, device: Device) -> Settlement:
    """A whole sync, as a host does it."""
    ledger = RemoteLedger(bank.service)
    try:
        nonce, first = ledger.begin_sync(device.id, 0)
        statement = device.send(apdu.STATEMENT, nonce)
        wanted = range(first, Statement.decode(statement).seq + 1)
        records = [device.send(apdu.JOURNAL, seq.to_bytes(4, "big")) for seq in wanted]
        settlement = ledger.settle(None, statement, records, 0)
    finally:
        ledger.close()
    bank.install(device, settlement)
    return settlement


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_hosts_sync_at_once_without_an_error(bank: Bank):
    shops = [bank.device(f"shop {at}", "terminal") for at in range(PAIRS)]
    wallets = [bank.device(f"wallet {at}") for at in range(PAIRS)]
    for wallet in wallets:
        bank.ledger.order_load(bank.signer_of(wallet), wallet.id, LOADED, bank.now)
    answers: list[Settlement] = []

    def sync(device: Device) -> None:
        answers.append(synced(bank, device))

    assert at_once(sync, shops + wallets) == []
    for shop, wallet in zip(shops, wallets, strict=True):
        sale(shop, wallet, PAID)
    assert at_once(sync, shops + wallets) == []
    assert len(answers) == 4 * PAIRS and all(answer.certified and not answer.dead_letters for answer in answers)
    assert [bank.purse(shop) for shop in shops] == [PAID] * PAIRS
    assert [bank.purse(wallet) for wallet in wallets] == [LOADED - PAID] * PAIRS
    statuses = {line["status"] for line in bank.log_lines() if line["event"] == "request"}
    assert statuses == {200}
    groups = [line["uploads"] for line in bank.log_lines() if line["event"] == "settled"]
    assert sum(groups) == 4 * PAIRS and max(groups) > 1, "under load uploads are settled together"
    bank.check()
