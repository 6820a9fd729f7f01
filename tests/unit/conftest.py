"""A world with a wallet and a terminal."""

import pytest

from tests.unit.world import World


@pytest.fixture
def world():
    return World()


@pytest.fixture
def wallet(world):
    return world.device("wallet", balance=50_000)


@pytest.fixture
def terminal(world):
    return world.device("terminal", "terminal")
