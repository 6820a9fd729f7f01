"""Two processes settle the same uploads at once, each in its own order: all is credited once, and both say so."""

import multiprocessing
import random
from collections.abc import Sequence

import pytest

from host_tools.ledger import Ledger, Settlement
from host_tools.ledger.settlement import Upload
from tests.engines.fixtures import every_engine
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, Town, sale
from tests.unit.world import Device, LinkLost

ROUNDS = 3
TAPS = 12
HELD = 2_000
ENDINGS = (None, None, None, LOST_TRANSFER, LOST_CONFIRM)  # of a tap


def tap(shop: Device, wallet: Device, amount: int, cut_at: int | None) -> int:
    """What the shop has taken by it: perhaps nothing, and perhaps what an earlier tap left in doubt."""
    before = shop.purse.balance
    try:
        sale(shop, wallet, amount, link=Link(cut_at=cut_at) if cut_at else None)
    except LinkLost:
        shop.payee.close()
    return shop.purse.balance - before


def settle_all(url: str, uploads: Sequence[Upload], together: bool, now: int, ready, tell) -> None:
    """In a process of its own: all in one batch, or one after the other."""
    ledger = Ledger.open(url)
    ready.wait()
    if together:
        results = ledger.settle_many(list(uploads), now)
    else:
        results = [ledger.settle(*upload, now) for upload in uploads]
    tell.send([result.to_json() if isinstance(result, Settlement) else repr(result) for result in results])
    ledger.close()


def at_once(town: Town, orders: list[tuple[list[Upload], bool]]) -> list[list[str]]:
    """What each process was answered, in its order."""
    town.ledger.close()  # a connection does not survive a fork
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(len(orders))
    pipes = [context.Pipe(duplex=False) for _ in orders]
    processes = [
        context.Process(target=settle_all, args=(town.url, uploads, together, town.now, ready, tell))
        for (uploads, together), (_, tell) in zip(orders, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    for _, tell in pipes:
        tell.close()
    try:
        return [told.recv() for told, _ in pipes]
    finally:
        for process in processes:
            process.join()


@pytest.mark.timeout(300)
@every_engine
def test_two_processes_settle_the_same_uploads_at_once(town: Town):
    choices = random.Random(7)
    shops = [town.device(f"shop {at}", "terminal") for at in range(2)]
    wallets = [town.device(f"wallet {at}", balance=HELD) for at in range(4)]
    everybody = shops + wallets
    taken: list[int] = []
    for _ in range(ROUNDS):
        for _ in range(TAPS):
            who = choices.choice(shops), choices.choice(wallets)
            taken.append(tap(*who, choices.randint(1, 20), choices.choice(ENDINGS)))
        uploads = {device: Upload(town.signer_of(device), *town.statement(device)) for device in everybody}
        orders = [choices.sample(everybody, len(everybody)) for _ in range(2)]
        asked = [([uploads[device] for device in order], at == 0) for at, order in enumerate(orders)]
        told = at_once(town, asked)
        answers = [dict(zip(order, said, strict=True)) for order, said in zip(orders, told, strict=True)]
        assert answers[0] == answers[1]
        for device in everybody:
            town.install(device, Settlement.from_json(answers[0][device]))
        town.check()
    for device in everybody:  # what a watermark has voided is told at the next sync
        town.sync(device)
    town.check()
    posted = {row["hash"]: row["amount"] for shop in shops for row in town.ledger.transfers(shop.id) if _posted(row)}
    assert sorted(posted.values()) == sorted(amount for amount in taken if amount)
    assert {device.name: town.purse(device) for device in everybody} == {
        device.name: device.purse.balance for device in everybody
    }
    assert sum(shop.purse.balance for shop in shops) == sum(taken)
    assert town.pending() == 0


def _posted(row: dict) -> bool:
    return row["state"] == "posted"
