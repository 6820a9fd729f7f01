"""The hands of the story: they type on devices, hold them together, and measure what each tap took."""

from dataclasses import dataclass, field

from host_tools.devices.client import DeviceClient
from host_tools.devices.serial_link import SerialLink
from host_tools.simulator.air import Tap
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.world import World
from protocol import apdu
from protocol.info import Counters

_ANSWERS = ("PAID", "RECEIVED", "NOT PAID", "TAP AGAIN", "IN DOUBT")
_NAMES = {
    apdu.SELECT: "select",
    apdu.PAY: "pay",
    apdu.CONFIRM: "confirm",
    apdu.REQUEST: "request",
    apdu.TRANSFER: "transfer",
    apdu.OPERATORS: "operators",
}
_I_BLOCK_MASK, _I_BLOCK = 0xE2, 0x02  # ISO/IEC 14443-4, 7.1.1.1: bits 8 to 6 are 000, bit 2 is 1


@dataclass
class MeasuredTap:
    """One meeting of two devices. Milliseconds: `radio_ms` by the air's model, the others on this machine's clock."""

    who: str
    amount: int
    exchange_names: list[str]
    radio_ms: float
    crypto_ms: float
    storage_ms: float
    outcome: str
    exchanges: int = field(init=False)

    def __post_init__(self) -> None:
        self.exchanges = len(self.exchange_names)


def exchanges_of(tap: Tap) -> list[str]:
    """The card exchanges of a tap by name, read off the air: the reader's I-blocks that begin a command."""
    names = []
    chaining = False
    for frame in tap.frames:
        if frame.sender != "reader" or not frame.data or frame.data[0] & _I_BLOCK_MASK != _I_BLOCK:
            continue
        if not chaining and len(frame.data) > 2:
            names.append(_NAMES.get(frame.data[2], f"command {frame.data[2]:02x}"))
        chaining = bool(frame.data[0] & 0x10)
    return names


class Hands:
    """Works the devices of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ask(self, device: SimulatedDevice, keys: str) -> None:
        """Type `keys` until the device asks for the other one."""
        device.panel.press(keys)
        device.panel.wait_for("hold the other")

    def tap(
        self, reader: SimulatedDevice, card: SimulatedDevice, amount: int, cut: tuple[int, int] | None = None
    ) -> MeasuredTap:
        """Hold the card to the asking reader until both say how it ended, or it is torn away at `cut` (frame, byte)."""
        before = [self._counters(device) for device in (reader, card)]
        if cut is not None:
            self._world.air.cut(*cut)
        seen = [device.panel.screens for device in (reader, card)]
        self._world.bring_together(reader, card)
        outcome = reader.panel.wait_for(*_ANSWERS, after=seen[0])
        card.panel.wait_for(*_ANSWERS, after=seen[1])
        self._world.separate()
        tap = self._world.last_tap
        after = [self._counters(device) for device in (reader, card)]
        spent = [
            (new.crypto_us - old.crypto_us, new.storage_us - old.storage_us)
            for old, new in zip(before, after, strict=True)
        ]
        return MeasuredTap(
            who=f"{card.name} at {reader.name}",
            amount=amount,
            exchange_names=exchanges_of(tap),
            radio_ms=round(tap.radio_us / 1000, 2),
            crypto_ms=round(sum(crypto for crypto, _ in spent) / 1000, 2),
            storage_ms=round(sum(storage for _, storage in spent) / 1000, 2),
            outcome=outcome,
        )

    @staticmethod
    def balance(device: SimulatedDevice) -> tuple[int, int]:
        """What the device says it holds, and what it has in doubt."""
        with SerialLink(device.link_path) as link:
            info = DeviceClient(link).info()
        return info.balance, info.in_doubt

    @staticmethod
    def _counters(device: SimulatedDevice) -> Counters:
        with SerialLink(device.link_path) as link:
            return DeviceClient(link).counters()
