"""host_tools.carrier between a real ledger and a simulated device: every flow cut at every exchange and run again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from host_tools import carrier
from host_tools.cli.exits import Exit, of_error
from host_tools.crypto import Signer, sha256
from host_tools.devices import Link
from host_tools.devices.client import DeviceClient
from host_tools.devices.errors import CardRemoved
from host_tools.devices.serial_link import SerialLink
from host_tools.ledger import Ledger
from host_tools.ledger.errors import InsufficientFunds, LedgerUnavailable, UnknownDevice
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.world import WALLET_BOARD, World
from protocol import apdu
from protocol.errors import ALREADY_PERSONALISED, BALANCE_LIMIT, NOT_PERSONALISED, SERVICE, Refused
from protocol.objects import DAY_S, OPERATOR_PAYEE, WALLET, Load, OperatorCertificate

NOW = 1_800_000_000
KIND = WALLET << 4 | 3
OPERATOR = 1
MOST_EXCHANGES = 40  # more than any flow here makes; a flow that never gets through fails the test


class CutLink:
    """A link that breaks once, at exchange number `at`: before the device hears the command, or before its answer
    comes back.
    """

    def __init__(self, link: Link, at: int, heard: bool, error: type[BaseException] = CardRemoved):
        self._link = link
        self._error = error
        self._left = at
        self._heard = heard
        self.broke = False
        self.cut_command = b""

    def transceive(self, apdu: bytes) -> bytes:
        self._left -= 1
        if self._left or self.broke:
            return self._link.transceive(apdu)
        self.broke = True
        self.cut_command = apdu
        if self._heard:
            self._link.transceive(apdu)
        raise self._error("cut")

    def close(self) -> None:
        self._link.close()


class RefusingLink:
    """A link whose device answers one command, `ins`, with `cause`, after it did what was asked or before.

    A device that could not finish a write answers SERVICE, and does not know itself which of the two it was. With
    `first_byte` only commands whose data begin so are refused.
    """

    def __init__(self, link: Link, ins: int, first_byte: int | None, cause: int, done: bool):
        self._link = link
        self._ins = ins
        self._first_byte = first_byte
        self._answer = apdu.refusal(cause)
        self._done = done

    def transceive(self, apdu: bytes) -> bytes:
        is_last_part = not apdu[0] & 0x10  # ISO/IEC 7816-4, 5.4.1: command chaining
        if apdu[1] != self._ins or self._first_byte not in (None, apdu[5]) or not is_last_part:
            return self._link.transceive(apdu)
        if self._done:
            self._link.transceive(apdu)
        return self._answer

    def close(self) -> None:
        self._link.close()


@dataclass
class Bench:
    """A ledger with one operator and one account of 1,000.00, and a wallet on a cable."""

    ledger: Ledger
    signer: Signer
    payee: Signer
    account: int
    device: SimulatedDevice
    link: SerialLink

    def client(
        self, at: int = 0, heard: bool = False, error: type[BaseException] = CardRemoved
    ) -> tuple[DeviceClient, CutLink]:
        link = CutLink(self.link, 0, heard, error)
        client = DeviceClient(link)  # its SELECT is not among the exchanges that are cut
        link._left = at
        return client, link

    def personalise(self, client: DeviceClient) -> bytes:
        return carrier.personalise(
            client, self.ledger, self.signer, OPERATOR, KIND, 0, self.account, "Ana's wallet", NOW
        )

    def load(self, client: DeviceClient, amount: int) -> carrier.Moved:
        return carrier.load(client, self.ledger, self.signer, amount, NOW)

    def redeem(self, client: DeviceClient, amount: int) -> carrier.Moved:
        return carrier.redeem(client, self.ledger, self.signer, self.payee, amount, NOW)

    def sync(self, client: DeviceClient) -> carrier.SyncReport:
        return carrier.sync(client, self.ledger, self.signer, NOW)

    def money(self) -> tuple[int, int]:
        """What account and device (by its own word) hold, after the books were brought up to date and checked."""
        client, _ = self.client()
        self.sync(client)
        self.ledger.check()
        books = self.ledger.reconciliation()
        assert books["difference"] == 0
        said = client.info()
        assert said.in_doubt == 0
        assert self.ledger.device(said.device)["purse"] == said.balance
        return self.ledger.balance(self.account), said.balance


def _ledger(path: Path, root: Signer, signer: Signer, payee: Signer) -> tuple[Ledger, int]:
    ledger = Ledger.create(f"sqlite:///{path}")
    ledger.set_root(root.public)
    today = NOW // DAY_S
    ledger.add_operator(
        OperatorCertificate(
            operator=OPERATOR,
            issue=1,
            key=signer.public,
            currency=156,
            exponent=2,
            valid_from=today,
            valid_until=today + 1000,
        ).sign(root.sign)
    )
    bank = ledger.open_account(OPERATOR, "Bank")
    ledger.register_device(signer, OPERATOR, payee.public, OPERATOR_PAYEE << 4, 0, bank, "Bank", NOW)
    account = ledger.open_account(OPERATOR, "Ana")
    ledger.issue(account, 100_000, NOW)
    return ledger, account


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    root, signer, payee = (Signer(sha256(name)) for name in (b"root", b"operator", b"payee"))
    ledger, account = _ledger(tmp_path / "ledger.db", root, signer, payee)
    with World(tmp_path / "world") as world:
        device = world.add("Ana", WALLET_BOARD)
        with SerialLink(device.link_path) as link:
            yield Bench(ledger, signer, payee, account, device, link)
    ledger.close()


@pytest.fixture
def wallet(bench: Bench) -> Bench:
    """The bench with the wallet set up and 200.00 in it."""
    client, _ = bench.client()
    bench.personalise(client)
    assert bench.load(client, 20_000).balance == 20_000
    return bench


def test_a_device_is_personalised_once_whatever_is_cut_and_repeated(bench: Bench):
    for at in range(1, MOST_EXCHANGES):
        for heard in (False, True):
            client, link = bench.client(at, heard)
            try:
                who = bench.personalise(client)
            except CardRemoved:
                client, _ = bench.client()
                who = bench.personalise(client)
            assert [row["id"] for row in bench.ledger.devices() if row["kind"] == KIND] == [who.hex()]
            assert bench.client()[0].info().device == who
        if not link.broke:
            return
    pytest.fail("personalising never got through")


def test_what_is_cut_anywhere_and_repeated_is_loaded_once(wallet: Bench):
    account, held = wallet.money()
    for at in range(1, MOST_EXCHANGES):
        for heard in (False, True):
            client, link = wallet.client(at, heard)
            try:
                moved = wallet.load(client, 300)
            except CardRemoved:
                moved = wallet.load(wallet.client()[0], 300)
            assert moved.amount == 300
            account, held = account - 300, held + 300
            assert wallet.money() == (account, held), f"cut at exchange {at}, heard: {heard}"
        if not link.broke:
            return
    pytest.fail("loading never got through")


def test_what_is_cut_anywhere_and_repeated_is_redeemed_once(wallet: Bench):
    account, held = wallet.money()
    for at in range(1, MOST_EXCHANGES):
        for heard in (False, True):
            client, link = wallet.client(at, heard)
            try:
                moved = wallet.redeem(client, 200)
            except CardRemoved:
                moved = wallet.redeem(wallet.client()[0], 200)
            assert moved.amount == 200
            account, held = account + 200, held - 200
            assert wallet.money() == (account, held), f"cut at exchange {at}, heard: {heard}"
        if not link.broke:
            return
    pytest.fail("redeeming never got through")


@pytest.mark.parametrize(("at", "command", "earlier"), [(1, apdu.PAY, False), (2, apdu.CONFIRM, True)])
def test_a_host_that_dies_in_a_redemption_and_repeats_it_redeems_once(
    wallet: Bench, at: int, command: int, earlier: bool
):
    """Before CONFIRM the ledger has credited the account and nobody was told: the device repeats that Transfer."""
    account, held = wallet.money()
    client, link = wallet.client(at, heard=False, error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        wallet.redeem(client, 200)
    assert link.cut_command[1] == command
    assert wallet.redeem(wallet.client()[0], 200).earlier == earlier
    assert wallet.money() == (account + 200, held - 200)


def test_a_sync_that_is_cut_anywhere_changes_no_money(wallet: Bench):
    expected = wallet.money()
    for at in range(1, MOST_EXCHANGES):
        for heard in (False, True):
            client, link = wallet.client(at, heard)
            try:
                assert wallet.sync(client).certified
            except CardRemoved:
                assert wallet.sync(wallet.client()[0]).certified
            assert wallet.money() == expected
        if not link.broke:
            return
    pytest.fail("syncing never got through")


def test_another_amount_is_not_loaded_while_a_load_is_on_its_way(wallet: Bench):
    device = carrier.own_id(wallet.client()[0])
    wallet.ledger.order_load(wallet.signer, device, 700, NOW)
    before = wallet.ledger.balance(wallet.account)
    with pytest.raises(carrier.LoadWaiting, match="Load 2 is still on its way"):
        wallet.load(wallet.client()[0], 300)
    assert wallet.ledger.balance(wallet.account) == before
    assert wallet.load(wallet.client()[0], 700).earlier
    assert wallet.money() == (before, 20_700)


def test_a_load_that_does_not_fit_the_device_is_not_ordered(wallet: Bench):
    before = wallet.ledger.loads(carrier.own_id(wallet.client()[0]))
    with pytest.raises(Refused) as refusal:
        wallet.load(wallet.client()[0], 500_000)
    assert refusal.value.cause == BALANCE_LIMIT
    assert wallet.ledger.loads(carrier.own_id(wallet.client()[0])) == before


def test_a_load_that_the_device_refuses_keeps_nobody_from_a_certificate_and_can_be_cancelled(wallet: Bench):
    client, _ = wallet.client()
    device = carrier.own_id(client)
    wallet.ledger.issue(wallet.account, 1_000_000, NOW)
    account, held = wallet.money()
    wallet.ledger.order_load(wallet.signer, device, 490_000, NOW)  # with what it holds, over its limit of 5,000.00
    report = wallet.sync(client)
    assert report.certified
    assert report.refused == (("load 2", BALANCE_LIMIT),)
    with pytest.raises(carrier.LoadWaiting, match="does not take it"):
        wallet.load(client, 490_000)
    wallet.ledger.cancel_load(device, 2)
    wallet.sync(client)  # tells the device that it may never take it; the next one tells the ledger that it knows
    assert wallet.money() == (account, held)


@pytest.mark.parametrize("done", [False, True])
def test_a_device_that_fails_while_it_takes_a_load_has_it_once_after_repeating(wallet: Bench, done: bool):
    account, held = wallet.money()
    client = DeviceClient(RefusingLink(wallet.link, apdu.PUT, Load.TYPE, SERVICE, done))
    with pytest.raises(carrier.LoadWaiting, match="has left the account as load 2; whether the device has it") as said:
        wallet.load(client, 300)
    assert "No money moved" not in str(said.value)
    assert wallet.load(wallet.client()[0], 300).earlier
    assert wallet.money() == (account - 300, held + 300)


def test_a_refused_load_is_named_and_said_to_be_on_its_way(wallet: Bench):
    client = DeviceClient(RefusingLink(wallet.link, apdu.PUT, Load.TYPE, BALANCE_LIMIT, done=False))
    with pytest.raises(carrier.LoadWaiting, match=r"take the load \(over balance limit\).*waits as load 2"):
        wallet.load(client, 300)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("ins", [apdu.PUT, apdu.INSTALL])
def test_a_device_that_fails_after_its_upload_was_settled_is_told_so(wallet: Bench, ins: int, done: bool):
    """The first thing after settling that the device can refuse: what a load left behind, or the new Certificate."""
    wallet.ledger.order_load(wallet.signer, carrier.own_id(wallet.client()[0]), 300, NOW)
    client = DeviceClient(RefusingLink(wallet.link, ins, Load.TYPE if ins == apdu.PUT else None, SERVICE, done))
    with pytest.raises(carrier.NotDelivered, match="What it uploaded is in the books") as said:
        wallet.sync(client)
    assert said.value.cause == SERVICE and "No money moved" not in str(said.value)
    assert of_error(said.value) == Exit.SERVICE
    wallet.sync(wallet.client()[0])
    assert wallet.money() == (79_700, 20_300)


@pytest.mark.parametrize("done", [False, True])
def test_a_redemption_whose_receipt_the_device_failed_to_store_is_done(wallet: Bench, done: bool):
    account, held = wallet.money()
    client = DeviceClient(RefusingLink(wallet.link, apdu.CONFIRM, None, SERVICE, done))
    moved = wallet.redeem(client, 200)
    assert (moved.amount, moved.balance) == (200, None)
    assert wallet.money() == (account + 200, held - 200)


def test_money_that_the_device_paid_is_not_said_to_have_stayed(wallet: Bench, monkeypatch: pytest.MonkeyPatch):
    def gone(*_: object) -> bytes:
        raise LedgerUnavailable("The ledger's database did not answer", "Run it again")

    monkeypatch.setattr(wallet.ledger, "take_redemption", gone)
    with pytest.raises(carrier.CarrierError, match="has paid, but the ledger did not take it") as said:
        wallet.redeem(wallet.client()[0], 200)
    assert "No money moved" not in str(said.value) and "did not answer. The device shows" in str(said.value)


def test_a_renewed_operator_certificate_travels_with_the_sync(wallet: Bench):
    client, _ = wallet.client()
    old = wallet.ledger.operator_certificate(OPERATOR)
    new = OperatorCertificate.decode(old.encode())
    new.issue, new.valid_until = 2, old.valid_until + 1000
    wallet.ledger.add_operator(new.sign(Signer(sha256(b"root")).sign))
    wallet.sync(client)
    answer = apdu.parse_response(wallet.link.transceive(apdu.command(apdu.OPERATORS, new.encode())))
    assert OperatorCertificate.decode(answer).issue == 2


def test_a_device_that_is_not_set_up_is_told_apart(bench: Bench):
    client, _ = bench.client()
    for flow in (lambda: bench.sync(client), lambda: bench.load(client, 1), lambda: bench.redeem(client, 1)):
        with pytest.raises(Refused) as refusal:
            flow()
        assert refusal.value.cause == NOT_PERSONALISED


def test_a_device_of_another_ledger_is_told_apart_and_never_registered(wallet: Bench, tmp_path: Path):
    root, signer, payee = (Signer(sha256(name)) for name in (b"other root", b"other operator", b"other payee"))
    foreign, account = _ledger(tmp_path / "other.db", root, signer, payee)
    other = Bench(foreign, signer, payee, account, wallet.device, wallet.link)
    client, _ = wallet.client()
    for flow in (lambda: other.sync(client), lambda: other.load(client, 100), lambda: other.redeem(client, 100)):
        with pytest.raises(UnknownDevice):
            flow()
    with pytest.raises(Refused) as refusal:
        other.personalise(client)
    assert refusal.value.cause == ALREADY_PERSONALISED
    assert [row["name"] for row in foreign.devices()] == ["Bank"]
    assert foreign.balance(account) == 100_000
    foreign.close()


def test_more_than_the_account_or_the_books_hold_is_refused(wallet: Bench):
    client, _ = wallet.client()
    with pytest.raises(InsufficientFunds):
        wallet.load(client, 90_000)
    with pytest.raises(InsufficientFunds):
        wallet.redeem(client, 20_001)
    assert wallet.money() == (80_000, 20_000)


def test_another_operators_device_is_named(wallet: Bench):
    with pytest.raises(carrier.WrongOperator, match="operator 1, not to operator 2"):
        carrier.own_certificate(wallet.client()[0], operator=2)
