"""A town whose first operator can redeem."""

import pytest

from tests.engines.fixtures import empty_ledger, engine, servers
from tests.ledger.world import Town
from tests.threats.scenes import PAYEE
from tests.unit.world import KINDS

__all__ = ["empty_ledger", "engine", "servers"]


@pytest.fixture
def town(tmp_path, empty_ledger):
    town = Town(tmp_path, empty_ledger)
    account, key = town.ledger.open_account(1, "redemptions"), town.operators[1].key
    town.ledger.register_device(key, 1, PAYEE.public, KINDS["operator payee"], 0, account, "payee", town.now)
    yield town
    town.ledger.close()


@pytest.fixture
def shop(town):
    return town.device("shop", "terminal")
