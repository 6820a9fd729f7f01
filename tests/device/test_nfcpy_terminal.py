"""A wallet at a terminal that is not our firmware: nfcpy's PN532 driver, `protocol.tap` on CPython, libsodium.

Proves that what is on the air is the protocol and not a private habit of two copies of our own drivers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nfc
import nfc.clf
import pytest
from nfc.clf import pn532, transport

from host_tools import carrier
from host_tools.devices.client import DeviceClient
from host_tools.devices.errors import CardRemoved
from host_tools.devices.nfc_reader import NfcReader
from host_tools.simulator.device import SimulatedDevice
from protocol.objects import SALE
from protocol.tap import PAID, TAP_AGAIN, SaleTap
from tests.device.table import Memory, Table

FUNDS = 50_00
PRICE = 12_34
TRANSFER_FRAME = 5  # of a sale: RATS, ATS, SELECT and answer, PAY and answer


class Shop:
    """A wallet, a PN532 at this computer's serial port, and a terminal in memory that the operator certified."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.wallet: SimulatedDevice = table.wallet("wallet", FUNDS)
        self.chip, self.path = table.world.add_reader()
        self.terminal = table.host_terminal("terminal")

    @contextmanager
    def reader(self) -> Iterator[NfcReader]:
        self.table.world.bring_together(self.chip, self.wallet)
        with NfcReader(self.path) as reader:
            yield reader
        self.table.world.separate()

    def tap(self, reader: NfcReader) -> SaleTap:
        """One tap for the open Request, as far as it comes: to its end, or until the card is gone."""
        tap = SaleTap(self.terminal.party, self.terminal.perform, self.terminal.payee)
        try:
            while (command := tap.command()) is not None:
                answer = reader.transceive(command)
                tap.meanwhile()
                tap.response(answer)
        except CardRemoved:
            pass
        return tap

    def ask(self) -> None:
        self.terminal.perform(self.terminal.payee.open(PRICE, SALE, bytes(8), self.terminal.random(8), by_user=True))

    def check_settled(self) -> None:
        """Both sides sync; the ledger finds the money where the devices say it is."""
        ledger, signer = self.table.bank.ledger, self.table.bank.operators[1]
        reports = (
            carrier.sync(DeviceClient(Memory(self.terminal)), ledger, signer, self.table.now),
            self.table.sync(self.wallet),
        )
        assert all(report.certified and not report.dead_letters for report in reports)
        ledger.check()
        assert ledger.reconciliation()["difference"] == 0 and ledger.reconciliation()["pending"] == {}
        held = {row["name"]: row["purse"] for row in ledger.devices()}
        assert (held["wallet"], held["terminal"]) == (FUNDS - PRICE, PRICE)
        assert self.terminal.purse.balance == PRICE
        info = self.table.info(self.wallet)
        assert (info.balance, info.in_doubt) == (FUNDS - PRICE, 0)


@pytest.fixture
def shop(table: Table) -> Shop:
    return Shop(table)


@contextmanager
def frontend(path: str) -> Iterator[Any]:
    """nfcpy's own API on the chip; opened by hand because its path syntax knows no ptys."""
    tty = transport.TTY(path)
    driver: Any = pn532.init(tty)
    driver._path = tty.port
    clf = nfc.clf.ContactlessFrontend()
    clf.device = driver
    try:
        yield clf
    finally:
        clf.close()


def test_nfcpy_reads_the_wallets_public_id_as_an_ndef_uri(shop: Shop) -> None:
    public_id = shop.table.info(shop.wallet).device
    shop.table.world.bring_together(shop.chip, shop.wallet)
    with frontend(shop.path) as clf:
        tag = clf.connect(rdwr={"targets": ["106A"], "on-connect": lambda tag: False})
        assert tag.type == "Type4Tag"
        assert tag.ndef is not None and not tag.ndef.is_writeable
        (record,) = tag.ndef.records
        assert record.uri == "jiaozi:" + public_id.hex()


def test_the_wallet_pays_and_the_ledger_settles(shop: Shop) -> None:
    shop.ask()
    with shop.reader() as reader:
        tap = shop.tap(reader)
    assert (tap.moved, tap.exchanges) == (PAID, ["select", "pay", "confirm"])
    shop.wallet.panel.wait_for("PAID\n12.34")
    shop.check_settled()


def test_a_wallet_torn_away_from_it_pays_once(shop: Shop) -> None:
    shop.ask()
    with shop.reader() as reader:
        shop.table.world.air.cut(TRANSFER_FRAME, 100)
        torn = shop.tap(reader)
        assert torn.moved == TAP_AGAIN and shop.terminal.purse.balance == 0
        shop.wallet.panel.wait_for("IN DOUBT\n12.34")
        shop.table.world.bring_together(shop.chip, shop.wallet)
        reader.wait_for_card()
        healed = shop.tap(reader)
    assert (healed.moved, healed.exchanges) == (PAID, ["select", "pay", "confirm"])
    shop.wallet.panel.wait_for("PAID\n12.34")
    shop.check_settled()
