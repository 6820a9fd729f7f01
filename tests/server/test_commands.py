"""Real firmware through a real service: `jiaozi sync`, `load`, `redeem`, `personalise`, `lock` and `unblock-pin` with
`--ledger http://...`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from sqlalchemy import update

from host_tools.cli.exits import Exit
from host_tools.ledger.schema import devices
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD, World
from host_tools.story.hands import Hands
from tests.host.command import PASSPHRASE, failed, in_json, jiaozi
from tests.server.bank import Bank

pytestmark = pytest.mark.slow


class Street(NamedTuple):
    """A bank and two devices that do not know each other yet; `token` may do all that an operator does."""

    bank: Bank
    world: World
    wallet: SimulatedDevice
    terminal: SimulatedDevice
    hands: Hands
    token: str


@pytest.fixture(scope="module")
def street(bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    account = bank.ledger.open_account(1, "Ana")
    bank.ledger.issue(account, 100_000, bank.now)
    bank.ledger.open_account(1, "Tea House")
    with World(tmp_path_factory.mktemp("world")) as world:
        wallet, terminal = world.add("Ana", WALLET_BOARD), world.add("Tea House", TERMINAL_BOARD)
        yield Street(bank, world, wallet, terminal, Hands(world), bank.token("read", "devices", "load", "redeem"))


@pytest.fixture(autouse=True)
def without_keys(street: Street, monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A host of somebody's: no home, no passphrase."""
    monkeypatch.delenv("JIAOZI_PASSPHRASE")
    monkeypatch.setenv("JIAOZI_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("JIAOZI_TOKEN", street.token)


def test_devices_live_off_a_service(street: Street, tmp_path, monkeypatch: pytest.MonkeyPatch):
    at = ("--ledger", street.bank.service)
    ana, tea = ("--port", street.wallet.link_path), ("--port", street.terminal.link_path)
    made = in_json("device", "personalise", "--account", "Ana", "--kind", "wallet-2", *ana, *at)
    assert (made["operator"], made["account"]) == (1, "Ana")
    in_json("device", "personalise", "--account", "Tea House", "--kind", "terminal", "--mcc", 5812, *tea, *at)
    moved = in_json("device", "load", "200.00", *ana, *at)
    assert (moved["device_balance"], moved["account_balance"]) == (20_000, 80_000)
    street.hands.ask(street.terminal, "1850#")
    assert street.hands.tap(street.terminal, street.wallet, 1_850).outcome
    monkeypatch.delenv("JIAOZI_TOKEN")  # a sync needs none
    for port in (tea, ana):
        synced = in_json("sync", *port, *at)
        assert synced["certified"] and synced["name"] is None and synced["dead_letters"] == []
    failed(jiaozi("device", "redeem", "50", *ana, *at), Exit.USAGE, "token", "JIAOZI_TOKEN")
    file = tmp_path / "token"
    file.write_text(street.token + "\n")
    file.chmod(0o600)
    moved = in_json("device", "redeem", "50.00", *ana, *at, "--token-file", file)
    assert (moved["device_balance"], moved["account_balance"]) == (13_150, 85_000)
    assert [row["purse"] for row in street.bank.ledger.devices() if row["name"] == "Tea House"] == [1_850]
    street.bank.check()


def new_till(street: Street, name: str) -> tuple[str, ...]:
    """Set up over the service; where commands find it."""
    till = street.world.add(name, TERMINAL_BOARD)
    cable = ("--port", till.link_path, "--ledger", street.bank.service)
    kind = ("--kind", "terminal", "--mcc", 5812, "--name", name)
    in_json("device", "personalise", "--account", "Tea House", *kind, *cable)
    return cable


def test_orders_reach_a_device_over_a_service(street: Street, monkeypatch: pytest.MonkeyPatch):
    cable = new_till(street, "Till")
    for group in ("operator", "device"):
        failed(jiaozi(group, "unblock-pin", "Till", *cable), Exit.WRONG_CARD, "has no PIN", "No money moved")
    failed(jiaozi("device", "lock", "Ana", *cable), Exit.WRONG_CARD, "not Ana", "Connect Ana")
    monkeypatch.setenv("JIAOZI_TOKEN", street.bank.token("read"))
    failed(jiaozi("device", "lock", "Till", *cable), Exit.LEDGER_REFUSED, "scope 'devices'")
    monkeypatch.setenv("JIAOZI_TOKEN", street.bank.token("read", "devices", operator=2))
    failed(jiaozi("device", "lock", "Till", *cable), Exit.WRONG_CARD, "no device of this id")
    monkeypatch.delenv("JIAOZI_TOKEN")
    failed(jiaozi("device", "lock", "Till", *cable), Exit.USAGE, "token")
    assert not in_json("device", "info", *cable)["prompt_closed"]
    monkeypatch.setenv("JIAOZI_TOKEN", street.bank.token("read", "devices"))
    locked = in_json("device", "lock", "Till", *cable)
    assert (locked["name"], locked["order"]) == ("Till", 3)
    assert in_json("device", "info", *cable)["prompt_closed"]


def test_blocked_device_is_told_the_same_over_a_service(street: Street, monkeypatch: pytest.MonkeyPatch):
    bank, cable = street.bank, new_till(street, "Blocked")
    who = bytes.fromhex(in_json("device", "info", *cable)["device"])
    own = ("--port", cable[1], "--ledger", bank.url, "--home", bank.home, "--operator", 1)
    signer = bank.operators[1].key

    def told() -> str:
        """The same words of both, but for the name, which is the operator's to know."""
        with monkeypatch.context() as patch:
            patch.setenv("JIAOZI_PASSPHRASE", PASSPHRASE)
            here = jiaozi("sync", *own)
        there = jiaozi("sync", *cable)
        for result in (here, there):
            failed(result, Exit.REVOKED, "What it uploaded is in the books")
        words = [result.err.partition(" is ")[2] for result in (here, there)]
        assert words[0] == words[1]
        return words[0]

    bank.ledger.revoke(signer, 1, who, bank.now)
    assert "revoked by its operator" in told()
    bank.ledger.report_lost(signer, who, bank.now)
    assert "lost, reported on" in told() and "to its owner's account from" in told()
    with bank.engine.begin() as connection:
        known = update(devices).where(devices.c.id == who)
        connection.execute(known.values(frozen="rolled back, in a test"))
    assert "frozen: rolled back, in a test" in told()


def test_commands_that_need_the_database_say_so(street: Street):
    at = ("--ledger", street.bank.service)
    for words in (("report",), ("ledger", "check"), ("token", "list"), ("ledger", "account", "list")):
        failed(jiaozi(*words, *at), Exit.USAGE, "names a service")
    failed(jiaozi("sync", "--port", "/dev/null", "--ledger", "http://ledger.example"), Exit.USAGE, "not encrypted")
