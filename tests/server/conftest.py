"""A bank whose service runs, made once for a file of tests; its devices are each test's own."""

from collections.abc import Iterator

import httpx
import pytest

from tests.host.command import PASSPHRASE
from tests.server.bank import Bank


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    with pytest.MonkeyPatch.context() as patch, Bank(tmp_path_factory.mktemp("bank")) as bank:
        patch.setenv("JIAOZI_PASSPHRASE", PASSPHRASE)
        for name in ("JIAOZI_HOME", "JIAOZI_LEDGER", "JIAOZI_TOKEN"):
            patch.delenv(name, raising=False)
        bank.start("--proxy", "127.0.0.1")
        yield bank


@pytest.fixture
def client(bank: Bank) -> Iterator[httpx.Client]:
    with bank.client() as client:
        yield client
