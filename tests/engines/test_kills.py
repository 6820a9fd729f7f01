"""What `make torture-engines` does at length, a few times."""

import random
from contextlib import closing

import pytest

from tests.engines import kills
from tests.engines.fixtures import KINDS, every_engine
from tests.engines.server import NotHere

FEW = 3


def test_settling_process_is_killed_and_nothing_is_lost_or_twice():
    assert kills.kill_settling(FEW, random.Random(1)) <= FEW


@pytest.mark.slow
@pytest.mark.timeout(600)
@every_engine
def test_service_is_killed_while_hosts_sync_and_nothing_is_lost_or_twice(empty_ledger):
    assert kills.kill_service(FEW, random.Random(1), empty_ledger) <= 2 * FEW


@pytest.mark.parametrize("name", KINDS)
def test_database_server_is_killed_while_it_settles_and_nothing_is_lost_or_twice(name):
    try:
        server = KINDS[name]()
    except NotHere as reason:
        pytest.skip(str(reason))
    with closing(server):
        server.start()
        assert kills.kill_server(server, FEW, random.Random(1)) <= FEW
