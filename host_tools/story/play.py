"""The story, step by step, and what must be true at its end. Shows nothing: a `Stage` is told what happens."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from host_tools import carrier
from host_tools.devices.client import DeviceClient
from host_tools.devices.nfc_reader import NfcReader
from host_tools.devices.serial_link import SerialLink
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD, World
from host_tools.story.bank import Bank
from host_tools.story.hands import Hands, MeasuredTap
from protocol.objects import TERMINAL, WALLET

ISSUED = 500_00
LOADED = 200_00
_WALLET_CLASS = 2
# The torn tap: the card is taken away in the middle of the frame that carries its Transfer.
TEAR = (5, 90)


@dataclass(frozen=True)
class Role:
    """A device of the story: whose it is and what it is."""

    name: str
    operator: int
    board: str
    kind: int
    mcc: int


CAST = (
    Role("Ana", 1, WALLET_BOARD, WALLET << 4 | _WALLET_CLASS, 0),
    Role("Ben", 1, WALLET_BOARD, WALLET << 4 | _WALLET_CLASS, 0),
    Role("Chen", 2, WALLET_BOARD, WALLET << 4 | _WALLET_CLASS, 0),
    Role("Tea House", 1, TERMINAL_BOARD, TERMINAL << 4, 5812),
    Role("Metro Gate", 2, TERMINAL_BOARD, TERMINAL << 4, 4111),
)
# What everybody holds at the end, in minor units; the tea house has redeemed its takings to its account.
EXPECTED_PURSES = {"Ana": 146_50, "Ben": 14_00, "Chen": 10_00, "Tea House": 0, "Metro Gate": 14_50}
EXPECTED_ACCOUNTS = {"Ana": ISSUED - LOADED, "Ben": 0, "Chen": 0, "Tea House": 15_00, "Metro Gate": 0}
# Payees first: the ledger hears of every payment from whoever was paid before it hears of the money that paid for it.
SYNC_ORDER = ("Metro Gate", "Tea House", "Chen", "Ben", "Ana")


class Stage(Protocol):
    """Whoever shows the story."""

    def chapter(self, number: int, title: str) -> None: ...

    def say(self, text: str) -> None: ...

    def tapped(self, text: str, tap: MeasuredTap, payer: SimulatedDevice, payee: SimulatedDevice) -> None: ...

    def money(self, balances: dict[str, tuple[int, int]]) -> None: ...


class StoryError(Exception):
    """The story did not end as it must; the message says where."""


class Play:
    """One performance in `folder`. Use `run`; the result is the reconciliation with all taps."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        self._folder = folder
        self._stage = stage
        self._now = int(time.time())
        self._taps: list[MeasuredTap] = []
        self._payments = 0
        self.devices: dict[str, SimulatedDevice] = {}

    def run(self) -> dict:
        """Play all of it. Raises `StoryError` if a balance or the ledger's invariant is not as it must be."""
        started = time.monotonic()
        with World(self._folder / "devices") as self._world:
            self._hands = Hands(self._world)
            self._set_up()
            self._personalise()
            self._pay_offline()
            self._sync_all()
            result = self._reckon()
        result["seconds"] = round(time.monotonic() - started, 2)
        return result

    # --- the chapters

    def _set_up(self) -> None:
        self._stage.chapter(1, "A central bank, two operators, a ledger")
        self._bank = Bank(self._folder / "bank", self._now)
        for operator in (1, 2):
            self._bank.add_operator(operator)
            self._stage.say(f"operator {operator} certified by the root, its keys encrypted in a file")
        self._stage.chapter(2, "Five devices start, each a process of real MicroPython")
        for role in CAST:
            self.devices[role.name] = self._world.add(role.name, role.board)
        self._reader_chip, self._reader_path = self._world.add_reader()

    def _personalise(self) -> None:
        self._stage.chapter(3, "Personalise over serial, open accounts, load Ana's wallet")
        ledger = self._bank.ledger
        for role in CAST:
            account = ledger.open_account(role.operator, role.name)
            with self._on_cable(role.name) as client:
                signer = self._bank.operators[role.operator]
                device = carrier.personalise(
                    client, ledger, signer, role.operator, role.kind, role.mcc, account, role.name, self._now
                )
            self._stage.say(
                f"{role.name}: key made on the device, certified by operator {role.operator}, id {device.hex()}"
            )
        ledger.issue(ledger.open_account(1, "Ana"), ISSUED, self._now)
        with self._on_cable("Ana") as client:
            carrier.load(client, ledger, self._bank.operators[1], LOADED, self._now)
        self._stage.say("500.00 CNY issued into Ana's account, 200.00 loaded into her wallet")
        self._show_money()

    def _pay_offline(self) -> None:
        self._stage.chapter(4, "The ledger is cut off; people pay by tap")
        self._bank.cut_off()
        self._stage.say("the ledger's file is closed and moved away: any access ends the story")
        self._tap("Ana pays the tea house 18.50", "Tea House", "1850#", "Ana", 18_50)
        self._tap("The tea house refunds 3.50", "Tea House", "B350#", "Ana", 3_50, reader_pays=True)
        self._tap("Ana pays Ben 20.00, wallet to wallet", "Ana", "A2000#", "Ben", 20_00, reader_pays=True)
        self._tap("Ben, still offline, spends 6.00 of it at the gate", "Metro Gate", "600#", "Ben", 6_00)
        self._tap("Ana pays Chen 10.00, whose operator is another", "Ana", "A1000#", "Chen", 10_00, reader_pays=True)
        self._torn_tap()
        self._show_money()

    def _torn_tap(self) -> None:
        gate, ana = self.devices["Metro Gate"], self.devices["Ana"]
        self._hands.ask(gate, "850#")
        torn = self._hands.tap(gate, ana, 8_50, cut=TEAR)
        self._note("Ana pays the gate 8.50 and takes her wallet away in the middle", torn, ana, gate, "TAP AGAIN")
        healed = self._hands.tap(gate, ana, 8_50)
        self._note("She taps again: the same Transfer, paid once", healed, ana, gate, "RECEIVED")
        self._payments += 1

    def _sync_all(self) -> None:
        self._stage.chapter(5, "The network is back: sync, payees first")
        self._bank.reconnect()
        for name in SYNC_ORDER:
            wallet = self._role(name).board == WALLET_BOARD
            how = "NFC reader" if wallet else "serial"
            with (self._on_reader if wallet else self._on_cable)(name) as client:
                report = self._sync(client, name)
            self._stage.say(f"{name} by {how}: {report.records} records up, {report.objects} objects down")
        self._check_ledger()

    def _reckon(self) -> dict:
        self._stage.chapter(6, "The tea house redeems; the books are added up")
        operator = self._role("Tea House").operator
        with self._on_cable("Tea House") as client:
            carrier.redeem(
                client,
                self._bank.ledger,
                self._bank.operators[operator],
                self._bank.payees[operator],
                EXPECTED_ACCOUNTS["Tea House"],
                self._now,
            )
            self._sync(client, "Tea House")
        self._payments += 1
        self._stage.say("15.00 CNY paid to its operator, credited to its account")
        self._show_money()
        self._check_ledger()
        result = self._result()
        self._bank.close()
        return result

    # --- helpers

    def _role(self, name: str) -> Role:
        return next(role for role in CAST if role.name == name)

    @contextmanager
    def _on_cable(self, name: str) -> Iterator[DeviceClient]:
        with SerialLink(self.devices[name].link_path) as link:
            yield DeviceClient(link)

    @contextmanager
    def _on_reader(self, name: str) -> Iterator[DeviceClient]:
        self._world.bring_together(self._reader_chip, self.devices[name])
        try:
            with NfcReader(self._reader_path) as link:
                yield DeviceClient(link)
        finally:
            self._world.separate()

    def _sync(self, client: DeviceClient, name: str) -> carrier.SyncReport:
        report = carrier.sync(client, self._bank.ledger, self._bank.operators[self._role(name).operator], self._now)
        if report.dead_letters or report.note:
            raise StoryError(f"the ledger did not take everything of {name}: {report.dead_letters} {report.note}")
        return report

    def _tap(self, text: str, reader: str, keys: str, card: str, amount: int, reader_pays: bool = False) -> None:
        self._hands.ask(self.devices[reader], keys)
        one, other = self.devices[reader], self.devices[card]
        tap = self._hands.tap(one, other, amount)
        payer, payee = (one, other) if reader_pays else (other, one)
        self._note(text, tap, payer, payee, "PAID" if reader_pays else "RECEIVED")
        self._payments += 1

    def _note(self, text: str, tap: MeasuredTap, payer: SimulatedDevice, payee: SimulatedDevice, expected: str) -> None:
        self._taps.append(tap)
        self._stage.tapped(text, tap, payer, payee)
        if tap.outcome != expected:
            raise StoryError(f"{text}: the reader shows {tap.outcome}, not {expected}")

    def _balances(self) -> dict[str, tuple[int, int]]:
        return {name: self._hands.balance(device) for name, device in self.devices.items()}

    def _show_money(self) -> None:
        self._stage.money(self._balances())

    def _check_ledger(self) -> None:
        self._bank.ledger.check()

    def _result(self) -> dict:
        """The reconciliation with plain names, checked against what must be and against what the devices say."""
        books = self._bank.ledger.reconciliation()
        result: dict = {"issued": books["issued"]}
        for part in ("accounts", "purses", "pending", "loads_in_transit", "guarantee", "suspense"):
            result[part] = {_plain_name(name): amount for name, amount in books[part].items()}
        result["difference"] = books["difference"]
        result["payments"] = self._payments
        result["taps"] = [asdict(tap) for tap in self._taps]
        self._require("difference", result["difference"], 0)
        self._require("pending", result["pending"], {})
        for name, amount in EXPECTED_PURSES.items():
            self._require(f"{name}'s purse in the ledger", result["purses"][name], amount)
            self._require(f"{name}'s purse on the device", self._hands.balance(self.devices[name]), (amount, 0))
        for name, amount in EXPECTED_ACCOUNTS.items():
            self._require(f"{name}'s account", result["accounts"][name], amount)
        return result

    @staticmethod
    def _require(what: str, actual: object, expected: object) -> None:
        if actual != expected:
            raise StoryError(f"{what} is {actual}, it must be {expected}")


def _plain_name(name: str) -> str:
    """`1:Ana` and `Ana (3fa7b2c4)` are both Ana: in this story names are unique."""
    return name.rpartition(" (")[0] or name.partition(":")[2] or name
