"""What a database does to a transaction that did nothing wrong, and what becomes of it."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, select, update

from host_tools.ledger import Ledger, bulk, engines, retries
from host_tools.ledger.errors import LedgerUnavailable, OutcomeUnknown
from tests.engines.fixtures import KINDS
from tests.engines.proxy import Relay
from tests.ledger.world import Town, sale

servers_only = pytest.mark.parametrize("engine", KINDS, indirect=True)
either_way = pytest.mark.parametrize("lost", ["question", "answer"])

counters = Table("counters", MetaData(), Column("id", BigInteger, primary_key=True), Column("value", BigInteger))


@pytest.fixture
def relay(town: Town, tmp_path: Path) -> Iterator[Relay]:
    """Between the town's ledger and its database, from here on."""
    (tmp_path / "relay").mkdir()
    relay = Relay(town.url, tmp_path / "relay")
    town.ledger.close()
    with closing(relay), closing(Ledger.open(relay.url)) as town.ledger:
        yield relay


@servers_only
@either_way
def test_commit_whose_answer_is_lost_is_done_again_if_that_does_it_once(town, relay, lost):
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=300)
    sale(shop, wallet, 100)
    statement, records = town.statement(shop)
    relay.lose = lost
    settlement = town.settle(shop, statement, records)
    assert relay.lose is None
    town.install(shop, settlement)
    assert (town.purse(shop), town.purse(wallet), town.states(shop)) == (100, 200, ["posted"])
    relay.lose = lost
    account = town.ledger.open_account(1, "new")
    assert relay.lose is None
    assert town.ledger.open_account(1, "new") == account
    assert list(town.ledger.reconciliation()["accounts"]).count("1:new") == 1


@servers_only
@either_way
def test_commit_whose_answer_is_lost_is_not_done_again_if_that_does_it_twice(town, relay, lost):
    account = town.ledger.open_account(1, "Ana")
    relay.lose = lost
    with pytest.raises(OutcomeUnknown, match=r"Nobody knows whether money moved\. Look at the account"):
        town.ledger.issue(account, 500, town.now)
    assert town.ledger.balance(account) == (500 if lost == "answer" else 0)
    wallet = town.device("wallet")
    relay.lose = lost
    with pytest.raises(OutcomeUnknown, match="List the device's loads"):
        town.ledger.order_load(town.signer_of(wallet), wallet.id, 70, town.now)
    assert [load["amount"] for load in town.ledger.loads(wallet.id)] == ([70] if lost == "answer" else [])
    town.ledger.check()


@servers_only
def test_two_that_wait_for_each_other_are_both_done_in_the_end(engine, servers, monkeypatch):
    monkeypatch.setattr(engines, "LOCK_TIMEOUT_S", 2)  # OceanBase finds a deadlock by it
    database = engines.connect(servers.server(engine).database())
    with database.begin() as connection:
        counters.create(connection)
        connection.execute(counters.insert(), [{"id": 1, "value": 0}, {"id": 2, "value": 0}])
    met = threading.Barrier(2)
    tries: list[int] = []

    def crosswise(first: int, second: int) -> None:
        def work(connection) -> None:
            tries.append(first)
            add(connection, first)
            if tries.count(first) == 1:
                met.wait(10)
            add(connection, second)

        retries.transact(database, work, None)

    def add(connection, which: int) -> None:
        connection.execute(update(counters).where(counters.c.id == which).values(value=counters.c.value + 1))

    other = threading.Thread(target=crosswise, args=(2, 1))
    other.start()
    crosswise(1, 2)
    other.join()
    with database.connect() as connection:
        assert connection.execute(select(counters.c.value)).scalars().all() == [2, 2]
    assert len(tries) > 2
    database.dispose()


@servers_only
def test_what_is_written_past_sqlalchemy_is_run_again_too(engine, servers):
    """Many rows go to PostgreSQL by COPY, whose errors are the driver's own."""
    database = engines.connect(servers.server(engine).database())
    with database.begin() as connection:
        counters.create(connection)
    taken = iter((1, 1, 2))

    def work(connection) -> None:
        bulk.insert(connection, counters, ("id", "value"), [(next(taken), 0)])

    retries.transact(database, work, None)
    retries.transact(database, work, None)
    with database.connect() as connection:
        assert connection.execute(select(counters.c.id)).scalars().all() == [1, 2]
    assert next(taken, None) is None
    database.dispose()


@servers_only
def test_server_that_does_not_come_back_is_said_after_a_while(engine, servers, monkeypatch, tmp_path):
    monkeypatch.setitem(retries.MAX_TRIES, retries.LOST, 3)
    with closing(KINDS[engine]()) as server:
        server.start()
        url = server.database()
        with closing(Ledger.create(url)) as ledger:
            ledger.set_root(bytes(32))
            server.kill()
            with pytest.raises(LedgerUnavailable, match="No money moved"):
                ledger.set_root(bytes(32))
            server.start()
            assert ledger.root_key() == bytes(32)
