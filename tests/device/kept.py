"""Devices and the bank's ledger as they are now, to begin again from there: cut points that need the same past."""

import shutil

from host_tools.ledger import Ledger
from host_tools.simulator.device import SimulatedDevice
from tests.device.table import Table


class Kept:
    """Copies of the devices' state folders and of the ledger's file. The devices are switched off and on for it."""

    def __init__(self, table: Table, *devices: SimulatedDevice) -> None:
        self._bank = table.bank
        self._devices = devices
        self._folder = table.folder / "kept"
        for device in devices:
            switch_off(device)
            shutil.copytree(device.state, self._folder / device.name)
            device.start()
        self._copy_ledger(back=False)

    def go_back(self) -> None:
        for device in self._devices:
            switch_off(device)
            shutil.rmtree(device.state)
            shutil.copytree(self._folder / device.name, device.state)
            device.start()
        self._copy_ledger(back=True)

    def _copy_ledger(self, back: bool) -> None:
        bank, kept = self._bank, self._folder / "ledger.db"
        bank.ledger.close()
        shutil.copy(*((kept, bank._path) if back else (bank._path, kept)))
        bank._ledger = Ledger.open(bank._url)


def switch_off(device: SimulatedDevice) -> None:
    """Cut its power. A device prints nothing unless it failed."""
    said = device.stop()
    assert said == "", said
