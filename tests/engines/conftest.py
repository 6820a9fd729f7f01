"""The town, on the engine that a test names."""

from tests.engines.fixtures import empty_ledger, engine, servers
from tests.ledger.conftest import shop, town, wallet

__all__ = ["empty_ledger", "engine", "servers", "shop", "town", "wallet"]
