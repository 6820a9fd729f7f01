"""The ledger takes less than 500 MB whatever is brought, its processes that check signatures included."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from host_tools.ledger.answer import Settlement
from host_tools.ledger.parse import limits_in
from host_tools.ledger.plain.standing import MAX_CERTIFICATES
from host_tools.ledger.reading import MAX_KEYS
from host_tools.ledger.settlement import MAX_RECORDS
from host_tools.server import framing
from protocol.objects import ID_BYTES, KEY_BYTES, Certificate
from protocol.records import INSTALLATION_MAX_BYTES
from tests.benchmarks.memory import peak_bytes
from tests.benchmarks.processes import Child, Settling
from tests.benchmarks.uploads import Source, read, write
from tests.server.bank import Bank, send, settlement_of
from tests.unit.world import Device

MOST_BYTES = 500_000_000
UPLOADS = 3  # of the largest size: one is read while another is posted, and the third shows whether they pile up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Crowded(Settling):
    """After a long life: the ledger keeps as much in memory of devices that it has met as it ever does."""

    def __init__(self, url: str, anything: bool):
        super().__init__(url, anything)
        settler, unknown = self._ledger._settler, random.Random(1).randbytes
        settler._keys._known |= {unknown(ID_BYTES): unknown(KEY_BYTES) for _ in range(MAX_KEYS)}
        settler._issued._known |= {
            (unknown(ID_BYTES), issue): limits_in(unknown(Certificate.size())) for issue in range(MAX_CERTIFICATES)
        }


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
        with closing(Child(Crowded, url, True)) as child:
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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc tells what the service's processes took")
def test_a_service_that_is_brought_the_largest_uploads_at_once(tmp_path):
    noise = random.Random(1)
    with Bank(tmp_path) as bank:
        devices = [bank.device(f"shop {number}", "terminal") for number in range(UPLOADS)]
        bank.start()
        with bank.client() as client, ThreadPoolExecutor(UPLOADS) as hosts:

            def bring(device: Device) -> Settlement:
                statement, records = bank.served_statement(client, device)
                junk = [noise.randbytes(INSTALLATION_MAX_BYTES) for _ in range(MAX_RECORDS - len(records))]
                return settlement_of(send(client, framing.join(statement, records + junk)))

            settled = list(hosts.map(bring, devices))
        assert bank.process is not None
        peak_memory_bytes = peak_bytes(bank.process.pid)
    assert all(one.certified and len(one.dead_letters) > MAX_RECORDS - 100 for one in settled)
    assert peak_memory_bytes is not None and 50_000_000 < peak_memory_bytes < MOST_BYTES
