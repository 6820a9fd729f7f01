"""The ledger takes less than 500 MB whatever is brought, its processes that check signatures included."""

import random
from contextlib import closing

import pytest

from host_tools.ledger.settlement import MAX_RECORDS
from protocol.records import INSTALLATION_MAX_BYTES
from tests.benchmarks.processes import Child, Settling
from tests.benchmarks.uploads import Source, read, write

MOST_BYTES = 500_000_000
UPLOADS = 3  # of the largest size: one is read while another is posted, and the third shows whether they pile up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def settled(folder, change) -> dict:
    """What became of uploads with as many records as there may be, after `change` has done something to them."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    with closing(Source(url, folder, seed=1)) as source:
        credits_ = MAX_RECORDS - 1  # before them stands the installation of the first Certificate
        path = source.make(UPLOADS * credits_, credits_, 100 * UPLOADS, smallest=credits_, terminals=1)
        brought = [change(one) for one in read(path)]
        assert [len(one.records) for one in brought] == [MAX_RECORDS, *[credits_] * (UPLOADS - 1)]
        write(path, brought)
        del brought
        with closing(Child(Settling, url, True)) as child:
            return child.do(path) | child.finish()


def test_many_of_the_largest_uploads(tmp_path):
    facts = settled(tmp_path, lambda one: one)
    assert facts["accepted"] > UPLOADS * (MAX_RECORDS - 1) and facts["refused"] == 0
    assert 50_000_000 < facts["peak_memory_bytes"] < MOST_BYTES


def test_many_of_the_largest_uploads_of_which_nothing_can_be_read(tmp_path):
    noise = random.Random(1)

    def spoilt(one):
        return one._replace(records=[noise.randbytes(INSTALLATION_MAX_BYTES) for _ in one.records])

    facts = settled(tmp_path, spoilt)
    assert facts["accepted"] == 0 and facts["refused"] > UPLOADS * (MAX_RECORDS - 1)
    assert 50_000_000 < facts["peak_memory_bytes"] < MOST_BYTES
