"""Redeeming from a real wallet, torn after any byte of any frame, in the air or on the cable.

The wallet pays its operator's own payee, whose side is the ledger: Transfer there, Receipt back. Money is in the wallet
or on its owner's account, and on its way only as long as the wallet says so.
"""

from host_tools import carrier
from host_tools.crypto import sha256
from host_tools.devices.client import DeviceClient
from protocol.objects import device_id
from tests.device import torn_host
from tests.device.table import ANY_KEY
from tests.device.torn import shown
from tests.device.torn_host import FUNDS, TornHost

AMOUNT = 30_00

KINDS = {"redeem-nfc": torn_host.AIR, "redeem-cable": torn_host.CABLE}

# What follows a cut
SYNC = "sync"  # they do not redeem again, but sync
AFTER = (*torn_host.AFTER, SYNC)


class TornRedeem(TornHost):
    """A wallet whose owner wants a part of its money on the account."""

    def prepare(self) -> None:
        with self.table.on_cable(self.wallet) as client:
            assert client.certificate is not None
            self._id = device_id(client.certificate.key, sha256)
        self._account = self.table.bank.ledger.device(self._id)["account"]
        self._before = self._on_account()
        self._redeemed = AMOUNT

    def talk(self, way: str, cut: tuple[int, int] | None = None) -> None:
        self._is_told = False
        super().talk(way, cut)

    def carry(self, client: DeviceClient) -> None:
        bank = self.table.bank
        carrier.redeem(client, bank.ledger, bank.operators[1], bank.payees[1], AMOUNT, self.table.now)
        self._is_told = True

    def check_torn(self) -> None:
        """The Request, whose answer is the Transfer, is the longest command; the Receipt the longest after it."""
        commands = range(0, len(self.lengths), 2)
        request = max(commands, key=self.lengths.__getitem__)
        receipt = max((frame for frame in commands if frame > request), key=self.lengths.__getitem__)
        debited, credited, closed = self.reached(request), self.arrived(receipt - 1), self.reached(receipt)
        text = self.wallet.panel.text  # before the cable is used, which draws it again
        info = self.table.info(self.wallet)
        assert self._is_told == credited  # whoever was told "not now" finds nothing on the account
        assert self._on_account() - self._before == AMOUNT * credited
        assert (info.balance, info.in_doubt) == (FUNDS - AMOUNT * debited, AMOUNT * (debited and not closed))
        if debited:
            assert text.startswith(f"{'PAID' if closed else 'IN DOUBT'}\n{shown(AMOUNT)}\n"), text
        else:
            assert f"\n{shown(FUNDS)}\n" in text and "doubt" not in text, text

    def follow(self, after: str) -> None:
        self._redeemed = AMOUNT
        if not self._is_told:
            if after == SYNC:
                self._redeemed = 0
            else:
                self.talk(self.way_after(after))
                assert self._is_told
        self.check_settled()

    def check_settled(self) -> None:
        """After a sync wallet, account and ledger say the same, and nothing is on its way."""
        table, ledger, left = self.table, self.table.bank.ledger, FUNDS - self._redeemed
        report = table.sync(self.wallet)
        assert report.certified and not report.dead_letters and not report.refused, report
        info = table.info(self.wallet)
        assert (info.balance, info.in_doubt) == (left, 0)
        assert (self._on_account(), table.purse(self.wallet)) == (self._before + self._redeemed, left)
        self.wallet.panel.press(ANY_KEY)
        self.wallet.panel.wait_for(f"\n{shown(left)}\n")
        assert "doubt" not in self.wallet.panel.text
        ledger.check()
        books = ledger.reconciliation()
        assert (books["difference"], books["pending"], books["suspense"]) == (0, {}, {})
        assert not ledger.evidence()

    def _on_account(self) -> int:
        return self.table.bank.ledger.balance(self._account)
