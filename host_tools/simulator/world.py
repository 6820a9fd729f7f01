"""A table with simulated devices on it, and hands that tap them together.

Everything a test, the demo or `jiaozi sim` needs to play: firmware built once per board, one air, one reactor.
"""

from pathlib import Path
from types import TracebackType

from host_tools.images.boards import load_board
from host_tools.images.compile import shared_build
from host_tools.simulator.air import Tap
from host_tools.simulator.device import SimulatedDevice, SimulatorError
from host_tools.simulator.endpoints import PtyEndpoint
from host_tools.simulator.named_air import HostedAir
from host_tools.simulator.reactor import Reactor
from host_tools.simulator.virtual_pn532 import VirtualPn532

WALLET_BOARD = "sim-wallet"
TERMINAL_BOARD = "sim-terminal"


class World:
    """Use as a context manager. `state` is the folder under which each device keeps its flash and settings.

    With `air_name`, other processes may join their chips to this air (`named_air`).
    """

    def __init__(self, state: Path, air_name: str | None = None) -> None:
        self.reactor = Reactor()
        self._hosted = HostedAir(self.reactor)
        self.air = self._hosted.air
        if air_name is not None:
            self._hosted.open_to_others(air_name)
        self.devices: dict[str, SimulatedDevice] = {}
        self._state = state

    def __enter__(self) -> "World":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Switch everything off."""
        for device in self.devices.values():
            device.stop()
        self.reactor.close()

    def add(self, name: str, board: str) -> SimulatedDevice:
        """A new device of this board, switched on. Its state folder may hold an earlier life."""
        if name in self.devices:
            raise SimulatorError(f"there is a {name} already")
        chip = self._hosted.add_chip(name)
        folder = name.lower().replace(" ", "-")
        nfc_kind = load_board(board).nfc["kind"]
        device = SimulatedDevice(name, self.firmware(board), self._state / folder, self.reactor, chip, nfc_kind)
        self.devices[name] = device
        device.start()
        return device

    def add_reader(self, name: str = "reader") -> tuple[VirtualPn532, str]:
        """A PN532 at this computer's serial port; returns the chip and the path that nfcpy opens."""
        chip = self._hosted.add_chip(name)
        endpoint = PtyEndpoint()
        self.reactor.attach(chip, endpoint)
        return chip, endpoint.path

    def firmware(self, board: str) -> Path:
        """The folder with the compiled firmware of a board."""
        return shared_build(board)

    def bring_together(self, one: SimulatedDevice | VirtualPn532, other: SimulatedDevice | VirtualPn532) -> None:
        """Hold two devices together, until `separate`."""
        self.air.bring_together(_chip(one), _chip(other))

    def separate(self) -> None:
        self.air.separate()

    @property
    def last_tap(self) -> Tap:
        """What the air saw of the latest tap."""
        return self.air.last_tap


def _chip(thing: SimulatedDevice | VirtualPn532) -> VirtualPn532:
    return thing.chip if isinstance(thing, SimulatedDevice) else thing
