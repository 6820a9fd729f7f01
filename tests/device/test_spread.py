"""Revocations pass between real devices over the radio, after the outcome is on both screens."""

from collections.abc import Iterator

import pytest

from host_tools.crypto import sha256
from protocol.objects import NO_HASH, Revocations
from tests.device.table import Table

WHO = [(bytes((n,)) * 16, 2) for n in range(1, 100)]


@pytest.fixture
def table(tmp_path) -> Iterator[Table]:
    with Table(tmp_path) as table:
        yield table


def listed(signer, issuer: int, epoch: int, entries, since: Revocations | None = None) -> bytes:
    of = {"predecessor": since.epoch, "predecessor_hash": sha256(since.body())} if since else {}
    values = {"predecessor": 0, "predecessor_hash": NO_HASH, **of}
    return Revocations.of(entries, issuer=issuer, epoch=epoch, **values).sign(signer.sign).encode()


def epochs(table, device):
    with table.on_cable(device) as client:
        return client.epoch, client.root_epoch


def put(table, device, *objects):
    with table.on_cable(device) as client:
        for one in objects:
            client.put(one)


def test_a_sale_carries_news_both_ways(table):
    reader, card = table.terminal("reader"), table.wallet("card", 50_00)
    signer = table.bank.operators[1]
    complete = listed(signer, 1, 7, WHO)
    delta = listed(signer, 1, 8, WHO[:40], since=Revocations.decode(complete))
    put(table, card, complete, delta)
    put(table, reader, listed(table.bank._root, 0, 3, WHO))
    assert (epochs(table, reader), epochs(table, card)) == ((0, 3), (8, 0))
    table.hands.ask(reader, "99#")
    table.tap(reader, card, "RECEIVED\n0.99", "PAID")
    assert (epochs(table, reader), epochs(table, card)) == ((8, 3), (8, 3))
    for device in (reader, card):
        device.stop()
        device.start()
    assert (epochs(table, reader), epochs(table, card)) == ((8, 3), (8, 3))
