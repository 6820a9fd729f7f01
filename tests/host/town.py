"""What the tests of the `jiaozi` command share: a home with keys and a ledger, and simulated devices beside it."""

import shutil
from pathlib import Path
from typing import NamedTuple

from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.world import World


class Town(NamedTuple):
    """A home with two operators, and two devices of the first: a wallet with 200.00 in it and a terminal."""

    home: Path
    world: World
    wallet: SimulatedDevice
    terminal: SimulatedDevice
    new_device: SimulatedDevice

    def copy_of_home(self, folder: Path) -> Path:
        return Path(shutil.copytree(self.home, folder / "copy"))
