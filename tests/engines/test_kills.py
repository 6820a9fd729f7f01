"""What `make torture-engines` does at length, a few times."""

import random
from contextlib import closing

import pytest

from tests.engines import kills
from tests.engines.fixtures import KINDS, every_engine
from tests.engines.server import NotHere

FEW = 3
SEED = 4  # one of its moments is near the beginning: a run of which no kill meets a settlement fails


def test_settling_process_is_killed_and_nothing_is_lost_or_twice():
    kills.kill_settling(FEW, random.Random(SEED))


@pytest.mark.slow
@pytest.mark.timeout(600)
@every_engine
def test_service_is_killed_while_hosts_sync_and_nothing_is_lost_or_twice(empty_ledger):
    kills.kill_service(FEW, random.Random(SEED), empty_ledger)


@pytest.mark.parametrize("name", KINDS)
def test_database_server_is_killed_while_it_settles_and_nothing_is_lost_or_twice(name):
    try:
        server = KINDS[name]()
    except NotHere as reason:
        pytest.skip(str(reason))
    with closing(server):
        server.start()
        kills.kill_server(server, FEW, random.Random(SEED))
