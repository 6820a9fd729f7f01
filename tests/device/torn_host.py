"""A wallet that a host talks to, in the air or on the cable, where every conversation can be torn after any byte of any
frame. `torn_sync` and `torn_redeem` say what they talk about.

Every conversation starts from copies of the same state folder and ledger file, so that all are of the same frames.
Every check is an assertion; a `TornHost` is not used after one has failed.
"""

import time

import serial

from host_tools.devices.client import DeviceClient
from host_tools.devices.errors import DeviceError, NoCard
from host_tools.devices.nfc_reader import NfcReader
from host_tools.devices.serial_link import SerialLink
from host_tools.simulator.air import Tap
from tests.device.kept import Kept, switch_off
from tests.device.table import Table
from tests.device.torn import CRC_BYTES

FUNDS = 100_00

AIR = "nfc"
CABLE = "cable"

# What follows a cut
AGAIN = "again"
POWER_OFF = "power-off"  # the wallet loses power, then they do it again
OTHER_WAY = "other-way"  # again, over the other of air and cable
AFTER = (AGAIN, POWER_OFF, OTHER_WAY)

_SECONDS = 30  # "never a hang"
_CARD_TIMEOUT_S = 0.25
_TRIES = 3  # to tear a tap: a machine at its limit may give up sooner, or look for the card twice


class PulledPort:
    """An open serial port whose cable is pulled after a byte of a frame, which then looks as pyserial shows it.

    Frames count from 0, the host's first, then in turn; `lengths` are those of the frames so far.
    """

    def __init__(self, port: serial.Serial, cut: tuple[int, int] | None) -> None:
        self._port = port
        self._cut = cut
        self.is_pulled = False
        self.timeout: float | None = None
        self.lengths: list[int] = []

    def write(self, data: bytes) -> int:
        self._check()
        self.lengths.append(len(data))
        self._port.write(data[: self._through()])
        if not self.is_pulled:
            self.lengths.append(0)  # the answer
            self._through()
        return len(data)

    def read(self, size: int = 1) -> bytes:
        if not size:
            return b""
        self._check()
        self._port.timeout = self.timeout
        data = self._port.read(size)
        before = self.lengths[-1]
        self.lengths[-1] += len(data)
        return data[: self._through() - before]

    @property
    def in_waiting(self) -> int:
        return 0 if self.is_pulled else self._port.in_waiting

    def close(self) -> None:
        self._port.close()

    def _check(self) -> None:
        if self.is_pulled:
            raise serial.SerialException("device disconnected")

    def _through(self) -> int:
        """How many bytes of the newest frame, as far as it is there, come through."""
        length = self.lengths[-1]
        if self._cut and self._cut[0] == len(self.lengths) - 1 and self._cut[1] <= length:
            self.is_pulled = True
            return self._cut[1]
        return length


class TornHost:
    """A wallet with something to talk about; with `play` for each cut point. `lengths` are those of the frames."""

    def __init__(self, table: Table, way: str) -> None:
        self.table = table
        self.way = way
        self.wallet = table.wallet("wallet", FUNDS)
        self._chip, path = table.world.add_reader()
        table.world.bring_together(self._chip, self.wallet)
        self._reader = NfcReader(path)
        table.world.separate()
        try:
            self.prepare()
            self._kept = Kept(table, self.wallet)
            self.talk(way)
            self.lengths = self._seen
            self.check_settled()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._reader.close()

    def play(self, frame: int, byte: int, after: str) -> None:
        self._cut, torn = (frame, byte), False
        for _ in range(_TRIES):
            self._kept.go_back()
            try:
                self.talk(self.way, self._cut)
            except DeviceError:
                pass
            torn = self._seen[:frame] == self.lengths[:frame] and len(self._seen) <= frame + 2
            if torn:
                break
        assert torn, (self.lengths, self._seen)
        self._wait_until_idle()
        self.check_torn()
        if after == POWER_OFF:
            switch_off(self.wallet)
            self.wallet.start()
        self.follow(after)

    # --- what they talk about

    def prepare(self) -> None:
        """Bring about what is there to talk about."""

    def carry(self, client: DeviceClient) -> None:
        """The whole conversation. Raises `DeviceError` where it is torn."""
        raise NotImplementedError

    def check_torn(self) -> None:
        """What device, screen and ledger must say now."""
        raise NotImplementedError

    def follow(self, after: str) -> None:
        """What people do then, and what must come of it."""
        raise NotImplementedError

    def check_settled(self) -> None:
        """After a whole conversation, that nothing is left open."""
        raise NotImplementedError

    # --- how

    def arrived(self, frame: int) -> bool:
        """Whether this frame came through before the conversation was torn."""
        torn, byte = self._cut
        return torn > frame or (torn == frame and byte == self.lengths[frame])

    def reached(self, command: int) -> bool:
        """Whether the wallet has this command by now.

        On the cable, a frame that lacks only its delimiter is ended by the first byte of whoever plugs in next.
        """
        return self.arrived(command) or (self.way == CABLE and self._cut == (command, self.lengths[command] - 1))

    def way_after(self, after: str) -> str:
        """Over what they talk when they try again."""
        return self.way if after != OTHER_WAY else CABLE if self.way == AIR else AIR

    def talk(self, way: str, cut: tuple[int, int] | None = None) -> None:
        """Raises `DeviceError` where it was cut."""
        if way == AIR:
            self._by_air(cut)
        else:
            self._by_cable(cut)

    def _by_cable(self, cut: tuple[int, int] | None) -> None:
        with SerialLink(self.wallet.link_path) as link:
            port = link._port = PulledPort(link._port, cut)  # pyright: ignore[reportAttributeAccessIssue]
            try:
                link._say_hello(0)
                self.carry(DeviceClient(link))
            finally:
                self._seen = port.lengths
        assert cut is None or port.is_pulled

    def _by_air(self, cut: tuple[int, int] | None) -> None:
        air = self.table.world.air
        before = air.taps[-1] if air.taps else None
        if cut:
            air.cut(*cut)
        self.table.world.bring_together(self._chip, self.wallet)
        try:
            self._wait_for_card(before)
            self.carry(DeviceClient(self._reader))
        finally:
            self.table.world.separate()
            self._seen = [len(frame.data) + CRC_BYTES for frame in air.last_tap.frames]

    def _wait_for_card(self, before: Tap | None) -> None:
        """For a wallet that listens again after what it did last, but not for one that has left."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                self._reader.wait_for_card(_CARD_TIMEOUT_S)
                return
            except NoCard:
                tap = self.table.world.air.taps[-1]
                if (tap is not before and tap.ended) or time.monotonic() > deadline:
                    raise

    def _wait_until_idle(self) -> None:
        """Returns when the wallet has done what it was asked, and its panel what it was told."""
        if self.way == CABLE:
            self.table.info(self.wallet)
            return
        deadline = time.monotonic() + _SECONDS
        while self.wallet.chip.card_identity() is None:  # it listens again when it has shown how the tap ended
            assert time.monotonic() < deadline
            time.sleep(0.001)
        self.table.world.reactor.call(lambda: None)
