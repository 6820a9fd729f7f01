"""The town that most of these tests live in."""

import pytest

from tests.engines.fixtures import empty_ledger, engine, servers
from tests.ledger.world import Town

__all__ = ["empty_ledger", "engine", "servers"]


@pytest.fixture
def town(tmp_path, empty_ledger):
    town = Town(tmp_path, empty_ledger)
    yield town
    town.ledger.close()


@pytest.fixture
def shop(town):
    return town.device("shop", "terminal")


@pytest.fixture
def wallet(town):
    """With 900; its account keeps 1,000."""
    return town.device("wallet", balance=900)
