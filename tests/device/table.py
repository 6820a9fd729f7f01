"""A table with real devices: MicroPython processes that tap over virtual PN532s, and the bank behind them.

Bank, hands and carrier are the demo's. Here stands only what tests need beside them: devices personalised in one line,
a tap that may be torn, what a device says of itself.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from host_tools import carrier
from host_tools.benchmarks.memory_link import Memory
from host_tools.devices.client import DeviceClient
from host_tools.devices.serial_link import SerialLink
from host_tools.simulator.air import Tap
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.virtual_pn532 import VirtualPn532
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD, World
from host_tools.story.bank import CURRENCY, EXPONENT, Bank
from host_tools.story.hands import Hands
from protocol.info import DeviceInfo
from protocol.objects import DAY_S, TERMINAL, WALLET, OperatorCertificate
from tests import micropython
from tests.unit.world import Device

WALLET_KIND = WALLET << 4 | 2
TERMINAL_KIND = TERMINAL << 4
MCC = 5812
ANY_KEY = "0"  # on no menu: takes the last outcome off the screen
_END_S = 30  # no tap may take longer: "never a hang"


class Table:
    """Use as a context manager. Everything lives in `folder`; `operators` are certified by one root."""

    def __init__(self, folder: Path, operators: tuple[int, ...] = (1,)) -> None:
        self.now = int(time.time())
        self.bank = Bank(folder / "bank", self.now)
        for operator in operators:
            self.bank.add_operator(operator)
        self.folder = folder
        self.state = folder / "devices"
        self.world = World(self.state)
        self.hands = Hands(self.world)
        self._operator_of: dict[str, int] = {}

    def __enter__(self) -> "Table":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.world.close()
        self.bank.close()

    # --- devices

    def wallet(self, name: str, balance: int = 0, **options: Any) -> SimulatedDevice:
        """A new wallet, personalised and loaded; options as for `personalise`."""
        return self.personalise(self.world.add(name, WALLET_BOARD), WALLET_KIND, balance, **options)

    def terminal(self, name: str, balance: int = 0, **options: Any) -> SimulatedDevice:
        return self.personalise(self.world.add(name, TERMINAL_BOARD), TERMINAL_KIND, balance, **options)

    def personalise(
        self,
        device: SimulatedDevice,
        kind: int,
        balance: int = 0,
        operator: int = 1,
        now: int | None = None,
        bank: Bank | None = None,
        **certificate_fields: int,
    ) -> SimulatedDevice:
        """Register `device` and load `balance` into it.

        `certificate_fields` replace what the ledger's first Certificate says: an operator signs limits as it likes.
        Such a device cannot be synced, since the ledger knows no such Certificate.
        """
        now = now or self.now
        bank = bank or self.bank
        ledger, signer = bank.ledger, bank.operators[operator]
        self._operator_of[device.name] = operator
        account = ledger.open_account(operator, device.name)
        mcc = MCC if kind == TERMINAL_KIND else 0
        with self.on_cable(device) as client:
            registration = (signer, operator, client.generate_key(), kind, mcc, account, device.name, now)
            if certificate_fields:
                certificate, acknowledgement = ledger.register_device(*registration)
                for field, value in certificate_fields.items():
                    assert hasattr(certificate, field)
                    setattr(certificate, field, value)
                certificate.sign(signer.sign)
                own = ledger.operator_certificate(operator)
                client.personalise(ledger.root_key(), own, certificate, acknowledgement)
            else:
                carrier.personalise(client, ledger, signer, operator, kind, mcc, account, device.name, now)
            if balance:
                ledger.issue(account, balance, now)
                carrier.load(client, ledger, signer, balance, now)
        return device

    def add_operator(self, number: int, currency: int) -> None:
        """An operator of the same root with another currency, which the demo's bank never has."""
        signer = self.bank.operators[number] = self.bank._key(f"operator-{number}.key", "operator")
        today = self.now // DAY_S
        certificate = OperatorCertificate(
            operator=number,
            issue=1,
            key=signer.public,
            currency=currency,
            exponent=EXPONENT,
            valid_from=today,
            valid_until=today + 365,
        )
        assert currency != CURRENCY
        self.bank.ledger.add_operator(certificate.sign(self.bank._root.sign))

    def host_terminal(self, name: str) -> Device:
        """A terminal of operator 1 in this process: `protocol` on CPython, its journal in memory."""
        terminal = Device(name, lambda: self.now)
        ledger, signer = self.bank.ledger, self.bank.operators[1]
        account = ledger.open_account(1, name)
        client = DeviceClient(Memory(terminal))
        carrier.personalise(client, ledger, signer, 1, TERMINAL_KIND, MCC, account, name, self.now)
        return terminal

    @contextmanager
    def on_cable(self, device: SimulatedDevice) -> Iterator[DeviceClient]:
        with SerialLink(device.link_path) as link:
            yield DeviceClient(link)

    def info(self, device: SimulatedDevice) -> DeviceInfo:
        """What the device says of itself.

        It answers between taps only: with its answer, whatever tap there was is over for it.
        """
        with self.on_cable(device) as client:
            return client.info()

    def sync(self, device: SimulatedDevice) -> carrier.SyncReport:
        operator = self._operator_of[device.name]
        with self.on_cable(device) as client:
            return carrier.sync(client, self.bank.ledger, self.bank.operators[operator], self.now)

    def purse(self, device: SimulatedDevice) -> int:
        """What the ledger says is in the device."""
        return next(row["purse"] for row in self.bank.ledger.devices() if row["name"] == device.name)

    # --- taps

    def tap(self, reader: SimulatedDevice, card: SimulatedDevice, on_reader: str, on_card: str = "") -> Tap:
        """Hold the two together until both show what is expected, then lift. Returns the air's log."""
        seen = reader.panel.screens, card.panel.screens
        self.world.bring_together(reader, card)
        reader.panel.wait_for(on_reader, after=seen[0])
        if on_card:
            card.panel.wait_for(on_card, after=seen[1])
        self.world.separate()
        return self.world.last_tap

    def notice_empty_field(self, reader: SimulatedDevice) -> None:
        """Returns when an asking reader that refused a card has seen that it was lifted: only then it takes it again.

        Between two answers on the cable a device has looked at its radio at least once.
        """
        for _ in range(2):
            self.info(reader)

    def torn_tap(
        self, reader: SimulatedDevice | VirtualPn532, card: SimulatedDevice | VirtualPn532, frame: int, byte: int
    ) -> Tap:
        """A tap in which the card leaves after `byte` of `frame` (`Air.cut`). Returns when the air has parted them."""
        before = self.world.air.taps[-1] if self.world.air.taps else None
        self.world.air.cut(frame, byte)
        self.world.bring_together(reader, card)
        deadline = time.monotonic() + _END_S
        while not self.world.air.taps or self.world.last_tap is before or not self.world.last_tap.ended:
            assert time.monotonic() < deadline, f"the tap torn at {frame}, {byte} does not end"
            time.sleep(0.0005)
        return self.world.last_tap


def words(cause: int) -> str:
    """What a screen says of a cause of `protocol.errors`; of 0 that the card was removed."""
    return "\n".join(micropython.import_on_cpython("ui.messages").explain(cause))
