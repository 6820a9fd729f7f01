"""Cheap keys, and a town whose devices run real firmware, made once for a file of tests."""

import functools
from collections.abc import Iterator

import pytest

from host_tools import keys
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD, World
from tests.host.command import PASSPHRASE, in_json
from tests.host.town import Town


@pytest.fixture(scope="module")
def cheap_keys() -> Iterator[None]:
    """Key files whose passphrase costs a tenth of a second to try; everything else about them is as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "create", functools.partial(keys.create, cost=keys.INTERACTIVE))
        patch.setenv("JIAOZI_PASSPHRASE", PASSPHRASE)
        patch.delenv("JIAOZI_HOME", raising=False)
        patch.delenv("JIAOZI_LEDGER", raising=False)
        patch.delenv("JIAOZI_DEBUG", raising=False)
        yield


@pytest.fixture(scope="module")
def town(cheap_keys: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    home = folder / "home"
    at = ("--home", home)
    in_json("ledger", "init", *at)
    in_json("operator", "root", *at)
    for number, name in ((1, "Bank of Spring"), (2, "Bank of Autumn")):
        in_json("operator", "create", number, "--currency", "CNY", "--name", name, *at)
    for name in ("Ana", "Tea House"):
        in_json("ledger", "account", "open", name, "--operator", 1, *at)
    in_json("ledger", "issue", "Ana", "1000.00", "--operator", 1, *at)
    with World(folder / "world") as world:
        wallet, terminal = world.add("Ana", WALLET_BOARD), world.add("Tea House", TERMINAL_BOARD)
        at = (*at, "--operator", 1)
        personalise = ("device", "personalise", *at)
        in_json(*personalise, "--account", "Ana", "--kind", "wallet-3", "--port", wallet.link_path)
        in_json(
            *personalise, "--account", "Tea House", "--kind", "terminal", "--mcc", 5814, "--port", terminal.link_path
        )
        in_json("device", "load", "200.00", "--port", wallet.link_path, *at)
        yield Town(home, world, wallet, terminal, world.add("New", WALLET_BOARD))
