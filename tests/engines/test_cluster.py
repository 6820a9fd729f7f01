"""A cluster of three nodes loses the one that settles: `make test-cluster`."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from host_tools.ledger import Ledger
from tests.engines import kills
from tests.engines.galera import NODES, Galera
from tests.engines.server import NotHere

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROUNDS = 6  # syncs before the node is killed in the middle of one, and as many after
TRIES = 20  # at meeting the middle of one; it is met every second time or so


@pytest.fixture
def cluster() -> Iterator[Galera]:
    try:
        cluster = Galera()
    except NotHere as reason:
        pytest.skip(str(reason))
    yield cluster
    cluster.close()


@pytest.mark.parametrize("seed", range(3))
def test_node_in_use_is_killed_while_it_settles_and_nothing_is_lost_or_twice_on_the_others(cluster, seed):
    url = cluster.database()
    with kills.market(random.Random(seed), url) as place:
        town = place.town
        for _ in range(ROUNDS):
            place.trade(place.anybody(), town.settle)
        assert _node_of(town.ledger) == cluster.nodes[0].port

        def settle(who, statement, records):
            with ThreadPoolExecutor(1) as other:
                answer = other.submit(town.ledger.settle, town.signer_of(who), statement, records, town.now)
                time.sleep(place.moment())
                if not answer.done():
                    cluster.nodes[0].kill()
                return answer.result()

        for _ in range(TRIES):
            if cluster.nodes[0].runs:
                place.trade(place.anybody(), settle)
        assert not cluster.nodes[0].runs, "no settlement was under way at its moment"
        for _ in range(ROUNDS):
            place.trade(place.anybody(), town.settle)
        assert _node_of(town.ledger) == cluster.nodes[1].port
        books = town.ledger.reconciliation()
        for node in cluster.nodes[1:NODES]:
            with closing(Ledger.open(node.url(url.rpartition("/")[2].partition("?")[0]))) as there:
                place.check(there)
                assert there.reconciliation() == books


def _node_of(ledger: Ledger) -> int:
    return ledger._read(lambda connection: connection.exec_driver_sql("SELECT @@port").scalar_one())
