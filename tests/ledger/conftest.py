"""The town that most of these tests live in."""

import pytest

from tests.ledger.world import Town


@pytest.fixture
def town(tmp_path):
    town = Town(tmp_path)
    yield town
    town.ledger.close()
