"""One offline day, synced in every order that five devices can come home in: books and devices end the same.

Every order starts from copies of the same state folders and the same ledger file, with freshly started processes: as
after a power cut, so Requests that were open are gone.
"""

import shutil
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from host_tools import carrier
from host_tools.devices.client import DeviceClient
from host_tools.devices.serial_link import SerialLink
from host_tools.ledger import Ledger
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD, World
from protocol.info import DeviceInfo
from tests.device.table import Table

BOARDS = {
    "Ana": WALLET_BOARD,
    "Ben": WALLET_BOARD,
    "Chen": WALLET_BOARD,
    "Tea House": TERMINAL_BOARD,
    "Metro Gate": TERMINAL_BOARD,
}
OPERATORS = {"Ana": 1, "Ben": 1, "Chen": 2, "Tea House": 1, "Metro Gate": 2}
LOADED = {"Ana": 200_00, "Chen": 50_00}
# What the devices say after the day, before any sync: (balance, in doubt).
OFFLINE = {
    "Ana": (146_50, 8_50),
    "Ben": (12_00, 2_00),
    "Chen": (59_00, 1_00),
    "Tea House": (17_00, 0),
    "Metro Gate": (6_00, 0),
}
# Where it ends: Ana's and Chen's payments reached nobody and come back, Ben's had been credited.
SETTLED = {"Ana": 155_00, "Ben": 12_00, "Chen": 60_00, "Tea House": 17_00, "Metro Gate": 6_00}
ORDERS = list(permutations(BOARDS))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """The day, played to its end; the devices are switched off, the ledger has heard of nothing."""
    with Table(tmp_path_factory.mktemp("day"), operators=(1, 2)) as table:
        devices = {}
        for name, board in BOARDS.items():
            new = table.wallet if board == WALLET_BOARD else table.terminal
            devices[name] = new(name, LOADED.get(name, 0), operator=OPERATORS[name])
        table.bank.cut_off()
        _pay_offline(table, devices)
        assert {name: _money(table.info(device)) for name, device in devices.items()} == OFFLINE
        for device in devices.values():
            device.stop()
        yield table


def _pay_offline(table: Table, devices: dict[str, SimulatedDevice]) -> None:
    def pay(keys: str, reader: str, card: str) -> None:
        table.hands.ask(devices[reader], keys)
        table.tap(devices[reader], devices[card], "PAID" if keys[0] in "AB" else "RECEIVED")

    def pay_torn(keys: str, reader: str, card: str, frame: int) -> None:
        table.hands.ask(devices[reader], keys)
        table.torn_tap(devices[reader], devices[card], frame, 30)

    pay("1850#", "Tea House", "Ana")
    pay("B350#", "Tea House", "Ana")
    pay("A2000#", "Ana", "Ben")
    pay("600#", "Metro Gate", "Ben")
    pay("A1000#", "Ana", "Chen")
    pay_torn("850#", "Metro Gate", "Ana", frame=5)  # her Transfer is lost on its way, and the gate gives up
    devices["Metro Gate"].panel.press("*")
    devices["Metro Gate"].panel.wait_for("NOT PAID")
    pay_torn("200#", "Tea House", "Ben", frame=6)  # the Transfer is credited, its Receipt is lost
    devices["Tea House"].panel.wait_for("RECEIVED")
    pay_torn("A100#", "Chen", "Ben", frame=6)  # the reader's Transfer is lost, and Chen gives up
    devices["Chen"].panel.press("*")
    devices["Chen"].panel.wait_for("IN DOUBT")


def _money(info: DeviceInfo) -> tuple[int, int]:
    return info.balance, info.in_doubt


class Homecoming:
    """The five devices and the ledger as they were after the day, as copies in `folder`."""

    def __init__(self, day: Table, folder: Path) -> None:
        self._day = day
        devices = folder / "devices"
        shutil.copytree(day.state, devices)
        shutil.copy(day.folder / "bank" / "cut-off" / "ledger.db", folder / "ledger.db")
        self.ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        self._world = World(devices)
        self._devices = {name: self._world.add(name, board) for name, board in BOARDS.items()}

    def close(self) -> None:
        self._world.close()
        self.ledger.close()

    def sync(self, name: str) -> DeviceInfo:
        """One sync, after which the books must balance whoever is still missing; what the device says then."""
        with SerialLink(self._devices[name].link_path) as link:
            client = DeviceClient(link)
            report = carrier.sync(client, self.ledger, self._day.bank.operators[OPERATORS[name]], self._day.now)
            info = client.info()
        assert report.certified and not report.dead_letters and not report.refused
        self.ledger.check()
        return info


@pytest.mark.parametrize(("first", "second"), list(permutations(BOARDS, 2)))
def test_every_order_of_syncs_ends_the_same(day: Table, tmp_path: Path, first: str, second: str) -> None:
    for number, order in enumerate(order for order in ORDERS if order[:2] == (first, second)):
        home = Homecoming(day, tmp_path / str(number))
        try:
            infos = {name: home.sync(name) for name in order}
            # Who paid and synced before the payee did learns of it the next time.
            infos |= {name: home.sync(name) for name, info in infos.items() if info.in_doubt}
            assert {name: _money(info) for name, info in infos.items()} == {
                name: (amount, 0) for name, amount in SETTLED.items()
            }
            _check_books(home.ledger)
        finally:
            home.close()


def _check_books(ledger: Ledger) -> None:
    books = ledger.reconciliation()
    assert (books["difference"], books["pending"], books["suspense"], books["guarantee"]) == (0, {}, {}, {})
    assert {row["name"]: row["purse"] for row in ledger.devices() if row["name"] in SETTLED} == SETTLED
    assert not ledger.dead_letters() and not ledger.evidence()
