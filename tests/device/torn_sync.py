"""A sync of a real wallet that is torn after any byte of any frame, in the air or on the cable.

Every sync starts from copies of the same state folder and ledger file, so that all are of the same frames: a Statement,
the journal, newer revocations, a Resolution of each outcome, a Load, a new Certificate. Every check is an assertion; a
`TornSync` is not used after one has failed.
"""

import secrets
import time
from itertools import product

import serial

from host_tools import carrier
from host_tools.crypto import Signer, sha256
from host_tools.devices.client import DeviceClient
from host_tools.devices.errors import DeviceError, NoCard
from host_tools.devices.nfc_reader import NfcReader
from host_tools.devices.serial_link import SerialLink
from host_tools.simulator.air import Tap
from protocol.info import DeviceInfo
from protocol.objects import SALE, device_id
from tests.device.kept import Kept, switch_off
from tests.device.table import ANY_KEY, MCC, TERMINAL_KIND, Memory, Table
from tests.device.torn import CRC_BYTES, shown

FUNDS = 100_00
PAID, VOIDED, LOADED = 7_00, 2_00, 5_00

AIR = "sync-nfc"
CABLE = "sync-cable"
KINDS = (AIR, CABLE)

# What follows a cut
AGAIN = "again"
POWER_OFF = "power-off"  # the wallet loses power, then they sync again
OTHER_WAY = "other-way"  # over the other of air and cable
AFTER = (AGAIN, POWER_OFF, OTHER_WAY)

_SECONDS = 30  # "never a hang"
_CARD_TIMEOUT_S = 0.25


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


class TornSync:
    """A wallet with a bit of everything to sync; with `play` for each cut point. `lengths` are those of the frames."""

    def __init__(self, table: Table, kind: str) -> None:
        self.table = table
        self.kind = kind
        self.wallet = table.wallet("wallet", FUNDS)
        self._chip, path = table.world.add_reader()
        table.world.bring_together(self._chip, self.wallet)
        self._reader = NfcReader(path)
        table.world.separate()
        try:
            self._prepare()
            self._kept = Kept(table, self.wallet)
            self._sync(kind)
            self.lengths = self._seen
            self._check_settled()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._reader.close()

    def play(self, frame: int, byte: int, after: str) -> None:
        self._kept.go_back()
        self._tear(frame, byte)
        if after == POWER_OFF:
            switch_off(self.wallet)
            self.wallet.start()
        self._sync(self.kind if after != OTHER_WAY else CABLE if self.kind == AIR else AIR)
        self._check_settled()

    def _tear(self, frame: int, byte: int) -> None:
        try:
            self._sync(self.kind, (frame, byte))
        except DeviceError:
            pass
        assert self._seen[:frame] == self.lengths[:frame] and len(self._seen) <= frame + 2
        self._wait_until_idle()
        text = self.wallet.panel.text  # before the cable is used, which draws it again
        info = self.table.info(self.wallet)
        paid, voided, loaded = self._taken(info)
        last_command = len(self.lengths) - 2
        if frame > last_command or (frame == last_command and byte == self.lengths[frame]):
            assert paid and voided and loaded  # the Certificate came last
        if text.startswith("WALLET"):
            assert f"\n{shown(info.balance)}\n" in text, text
        elif text.startswith("NOT PAID"):
            assert voided and f"\n{shown(VOIDED)}\n" in text
        else:
            assert paid and text.startswith(f"PAID\n{shown(PAID)}\n"), text

    def _wait_until_idle(self) -> None:
        """Returns when the wallet has done what it was asked, and its panel what it was told."""
        if self.kind == CABLE:
            self.table.info(self.wallet)
            return
        deadline = time.monotonic() + _SECONDS
        while self.wallet.chip.card_identity() is None:  # it listens again when it has shown how the tap ended
            assert time.monotonic() < deadline
            time.sleep(0.001)
        self.table.world.reactor.call(lambda: None)

    @staticmethod
    def _taken(info: DeviceInfo) -> tuple[int, int, int]:
        """Which of the Resolutions and the Load the wallet has taken, as amounts: nothing else explains its money."""
        for paid, voided, loaded in product((0, PAID), (0, VOIDED), (0, LOADED)):
            in_doubt = PAID + VOIDED - paid - voided
            if (info.balance, info.in_doubt) == (FUNDS - PAID - VOIDED + voided + loaded, in_doubt):
                return paid, voided, loaded
        raise AssertionError(f"balance {info.balance}, in doubt {info.in_doubt}")

    def _sync(self, kind: str, cut: tuple[int, int] | None = None) -> None:
        """Raises `DeviceError` where it was cut."""
        if kind == AIR:
            self._sync_by_air(cut)
        else:
            self._sync_by_cable(cut)

    def _sync_by_cable(self, cut: tuple[int, int] | None) -> None:
        with SerialLink(self.wallet.link_path) as link:
            port = link._port = PulledPort(link._port, cut)  # pyright: ignore[reportAttributeAccessIssue]
            try:
                link._say_hello(0)
                self._carry(DeviceClient(link))
            finally:
                self._seen = port.lengths
        assert cut is None or port.is_pulled

    def _sync_by_air(self, cut: tuple[int, int] | None) -> None:
        air = self.table.world.air
        before = air.taps[-1] if air.taps else None
        if cut:
            air.cut(*cut)
        self.table.world.bring_together(self._chip, self.wallet)
        try:
            self._wait_for_card(before)
            self._carry(DeviceClient(self._reader))
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

    def _carry(self, client: DeviceClient) -> None:
        report = carrier.sync(client, self.table.bank.ledger, self.table.bank.operators[1], self.table.now)
        assert report.certified and not report.dead_letters and not report.refused, report

    def _check_settled(self) -> None:
        """The wallet is up to date, and after one more sync the ledger says the same."""
        table, ledger = self.table, self.table.bank.ledger
        with table.on_cable(self.wallet) as client:
            info, epoch = client.info(), client.epoch
        assert (info.balance, info.in_doubt, epoch) == (FUNDS - PAID + LOADED, 0, self._epoch)
        self.wallet.panel.press(ANY_KEY)
        self.wallet.panel.wait_for(f"\n{shown(info.balance)}\n")
        assert "doubt" not in self.wallet.panel.text
        report = table.sync(self.wallet)
        assert report.certified and not report.dead_letters and not report.refused, report
        ledger.check()
        books = ledger.reconciliation()
        assert (books["difference"], books["pending"], books["suspense"]) == (0, {}, {})
        assert table.purse(self.wallet) == info.balance
        assert not ledger.evidence()

    # --- what there is to sync

    def _prepare(self) -> None:
        table, signer, ledger = self.table, self.table.bank.operators[1], self.table.bank.ledger
        credited, closed = table.host_terminal("credited"), table.host_terminal("closed")
        with table.on_cable(self.wallet) as client:
            assert client.certificate is not None
            wallet = device_id(client.certificate.key, sha256)
            payer = client.certificate
            for terminal, amount in ((credited, PAID), (closed, VOIDED)):
                terminal.perform(terminal.payee.open(amount, SALE, bytes(8), bytes(8), by_user=True))
                transfer = client.pay(terminal.certificate, terminal.payee.request)
                if terminal is credited:
                    terminal.perform(terminal.payee.receive(transfer, payer))
                else:
                    terminal.payee.close()
        for terminal in (credited, closed):
            carrier.sync(DeviceClient(Memory(terminal)), ledger, signer, table.now)
        account = ledger.device(wallet)["account"]
        ledger.issue(account, LOADED, table.now)
        ledger.order_load(signer, wallet, LOADED, table.now)
        stolen = ledger.open_account(1, "stolen")
        key = Signer(secrets.token_bytes(32)).public
        ledger.register_device(signer, 1, key, TERMINAL_KIND, MCC, stolen, "stolen", table.now)
        self._epoch = ledger.revoke(signer, 1, device_id(key, sha256), table.now).epoch
