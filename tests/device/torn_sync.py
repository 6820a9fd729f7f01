"""A sync of a real wallet that is torn after any byte of any frame, in the air or on the cable.

There is a bit of everything to sync: a Statement, the journal, newer revocations, a Resolution of each outcome, a Load,
a new Certificate.
"""

import secrets
from itertools import product

from host_tools import carrier
from host_tools.crypto import Signer, sha256
from host_tools.devices.client import DeviceClient
from protocol.info import DeviceInfo
from protocol.objects import SALE, device_id
from tests.device import torn_host
from tests.device.table import ANY_KEY, MCC, TERMINAL_KIND, Memory
from tests.device.torn import shown
from tests.device.torn_host import FUNDS, TornHost

PAID, VOIDED, LOADED = 7_00, 2_00, 5_00

KINDS = {"sync-nfc": torn_host.AIR, "sync-cable": torn_host.CABLE}
AFTER = torn_host.AFTER


class TornSync(TornHost):
    """A wallet with a bit of everything to sync."""

    def carry(self, client: DeviceClient) -> None:
        report = carrier.sync(client, self.table.bank.ledger, self.table.bank.operators[1], self.table.now)
        assert report.certified and not report.dead_letters and not report.refused, report

    def check_torn(self) -> None:
        text = self.wallet.panel.text  # before the cable is used, which draws it again
        info = self.table.info(self.wallet)
        paid, voided, loaded = self._taken(info)
        if self.arrived(len(self.lengths) - 2):  # the last command
            assert paid and voided and loaded  # the Certificate came last
        if text.startswith("WALLET"):
            assert f"\n{shown(info.balance)}\n" in text, text
        elif text.startswith("NOT PAID"):
            assert voided and f"\n{shown(VOIDED)}\n" in text
        else:
            assert paid and text.startswith(f"PAID\n{shown(PAID)}\n"), text

    def follow(self, after: str) -> None:
        self.talk(self.way_after(after))
        self.check_settled()

    def check_settled(self) -> None:
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

    @staticmethod
    def _taken(info: DeviceInfo) -> tuple[int, int, int]:
        """Which of the Resolutions and the Load the wallet has taken, as amounts: nothing else explains its money."""
        for paid, voided, loaded in product((0, PAID), (0, VOIDED), (0, LOADED)):
            in_doubt = PAID + VOIDED - paid - voided
            if (info.balance, info.in_doubt) == (FUNDS - PAID - VOIDED + voided + loaded, in_doubt):
                return paid, voided, loaded
        raise AssertionError(f"balance {info.balance}, in doubt {info.in_doubt}")

    # --- what there is to sync

    def prepare(self) -> None:
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
