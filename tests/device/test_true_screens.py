"""A person always sees where the money is, whatever a hostile reader, a second card or a lying host does in between."""

import time
from typing import Any

import pytest

from host_tools.crypto import sha256
from host_tools.devices.nfc_reader import NfcReader
from host_tools.simulator.device import SimulatedDevice
from protocol import apdu
from protocol.errors import CONFIRM, INSUFFICIENT_BALANCE, RETIRED, RefusedByPeer
from protocol.framing import encode_frame
from protocol.objects import MAX_REVOCATIONS, REVOKED_ALTOGETHER, Order, Request, Revocations, Transfer
from protocol.objects import RETIRE as RETIRE_ORDER
from protocol.objects import SALE as SALE_PURPOSE
from protocol.tap import SaleTap
from tests import micropython
from tests.device.table import ANY_KEY, Table, words
from tests.unit.world import World

apps_app = micropython.import_on_cpython("apps.app")

FUNDS = 1_000_00
ABOVE_NO_CONFIRM = 600_00  # a class 2 wallet pays 500.00 without asking
READING_S = 0.8  # a key that is pressed sooner than a person can read the question is no answer to it
TRANSFER_FRAME = 5  # RATS, ATS, SELECT, its answer, PAY, the Transfer


@pytest.fixture
def wallet(table: Table) -> SimulatedDevice:
    return table.wallet("wallet", FUNDS)


def refusal_of(table: Table, device: SimulatedDevice, command: bytes) -> int:
    """The cause with which a device on the cable refuses a command."""
    with table.on_cable(device) as client, pytest.raises(RefusedByPeer) as refusal:
        client._send(command)
    return refusal.value.cause


def request_command(table: Table, amount: int) -> bytes:
    """PAY by a certified terminal in this process."""
    terminal = table.host_terminal(f"merchant {amount}")
    request = Request.decode(
        terminal.perform(terminal.payee.open(amount, SALE_PURPOSE, bytes(8), bytes(8), by_user=True))
    )
    return apdu.command(apdu.PAY, terminal.certificate.encode() + request.encode())


def test_a_terminal_that_nobody_watches_pays_nobody(table: Table) -> None:
    """As a card, a terminal pays only after a key press: its own keypad is how it pays."""
    till, thief = table.terminal("till", FUNDS), table.terminal("thief")
    table.hands.ask(thief, "100#")
    table.tap(thief, till, f"NOT PAID\n{words(CONFIRM)}", "CONFIRM PAYMENT\n1.00")
    assert (table.info(till).balance, table.info(thief).balance) == (FUNDS, 0)


def test_junk_after_a_payment_does_not_hide_it(table: Table, wallet: SimulatedDevice) -> None:
    """A reader that took the Transfer and then sends nonsense leaves the wallet in doubt, and that is what it shows."""
    merchant = table.host_terminal("merchant")
    merchant.perform(merchant.payee.open(3_00, SALE_PURPOSE, bytes(8), bytes(8), by_user=True))
    chip, path = table.world.add_reader()
    table.world.bring_together(chip, wallet)
    with NfcReader(path) as reader:
        tap = SaleTap(merchant.party, merchant.perform, merchant.payee)
        answer = b""
        for _ in range(2):
            command = tap.command()
            assert command is not None
            answer = reader.transceive(command)
            if tap.stage == "select":
                tap.response(answer)
        assert Transfer.decode(apdu.parse_response(answer)).amount == 3_00
        reader.transceive(apdu.command(0x77))
    table.world.separate()
    wallet.panel.wait_for("IN DOUBT\n3.00")
    assert table.info(wallet).in_doubt == 3_00


def test_a_host_that_asks_for_money_is_seen(table: Table, wallet: SimulatedDevice) -> None:
    """PAY over the cable asks on the screen like a tap; a key pressed before it could be read is no answer."""
    command = request_command(table, ABOVE_NO_CONFIRM)
    assert refusal_of(table, wallet, command) == CONFIRM
    wallet.panel.wait_for("CONFIRM PAYMENT\n600.00")
    wallet.panel.press("#")
    assert refusal_of(table, wallet, command) == CONFIRM
    time.sleep(READING_S)
    wallet.panel.press("#")
    wallet.panel.wait_for("CONFIRMED\n600.00")
    with table.on_cable(wallet) as client:
        assert Transfer.decode(client._send(command)).amount == ABOVE_NO_CONFIRM


class Still:
    """An App's surroundings without a radio: time passes, keys are pressed, the host says what it likes at once."""

    def __init__(self) -> None:
        self.now = 0
        self.keys: list[str] = []
        self.said: list[bytes] = []
        self.shown: list[tuple[str, Any]] = []
        self.fresh = False

    def ticks_ms(self) -> int:
        return self.now

    def ticks_diff(self, late: int, early: int) -> int:
        return late - early

    def wait(self, _uarts: object, ms: int) -> None:
        self.now += ms

    def read_key(self) -> str | None:
        return self.keys.pop(0) if self.keys else None

    def read(self) -> bytes:
        return self.said.pop(0) if self.said else b""

    def write(self, data: bytes) -> None:
        pass

    def start_listening(self) -> None:
        pass

    def poll(self) -> bool:
        return False

    def money(self, amount: int) -> str:
        return str(amount)

    def idle(self, hint: str) -> None:
        self.shown.append(("idle", hint))

    def confirm(self, wanted: Any) -> None:
        self.shown.append(("confirm", wanted.amount))

    def confirmed(self, amount: int) -> None:
        self.shown.append(("confirmed", amount))

    def in_doubt(self, amount: int) -> None:
        self.shown.append(("in doubt", amount))

    # as a PIN pad
    is_set = True

    def ask(self, title: str) -> None:
        self.shown.append(("pin", title))

    def press(self, key: str) -> bool | None:
        return key == "#" or None


@pytest.mark.parametrize("when", ["shown", "with the key", "PIN"])
def test_a_host_cannot_put_another_payment_in_the_place_of_the_one_shown(when: str) -> None:
    """A refusal in the same breath hides the second question; OK is for what is on the screen, or for nothing."""
    world = World()
    wallet: Any = world.device("wallet", "wallet", balance=5_000_00)
    shop, thief = world.device("shop", "terminal"), world.device("thief", "terminal")
    still: Any = Still()
    wallet.port, wallet.events, wallet.keep_alive = still, {}, None
    wallet.notify = wallet.events.__setitem__
    wallet.tidy = lambda: False
    app = apps_app.App(wallet, still, still, still, still, None, [still], [], "", still if when == "PIN" else None)
    numbers = iter(range(1, 100))

    def say(payee: Any, amount: int, *more: bytes) -> None:
        commands = apdu.chained(apdu.PAY, payee.certificate.encode() + payee.open(amount))
        still.said.append(b"".join(encode_frame(next(numbers), command) for command in [*commands, *more]))

    def press(key: str) -> None:
        still.keys.append(key)
        app.step()

    still.said.append(encode_frame(next(numbers), apdu.select(apdu.AID)))
    app.step()
    say(shop, ABOVE_NO_CONFIRM)
    app.step()
    still.now += 1000
    assert still.shown[-1] == ("confirm", ABOVE_NO_CONFIRM)
    if when == "PIN":
        press("#")
        assert still.shown[-1] == ("pin", f"PAY {ABOVE_NO_CONFIRM}")
    say(thief, 4_900_00, apdu.command(0x77))
    if when == "shown":
        app.step()
    press("#")
    assert ("confirmed", 4_900_00) not in still.shown
    say(thief, 4_900_00)
    app.step()
    assert wallet.purse.balance == 5_000_00


def test_a_question_ends_with_the_next_tap(table: Table, wallet: SimulatedDevice) -> None:
    """OK after something else has happened is no yes to a question of before."""
    giver = table.wallet("giver", 10_00)
    command = request_command(table, ABOVE_NO_CONFIRM)
    assert refusal_of(table, wallet, command) == CONFIRM
    wallet.panel.wait_for("CONFIRM PAYMENT")
    table.hands.ask(giver, "A100#")
    table.tap(giver, wallet, "PAID\n1.00", "RECEIVED\n1.00")
    time.sleep(READING_S)
    wallet.panel.press("#")
    assert refusal_of(table, wallet, command) == CONFIRM  # asked again, not paid


def test_a_second_card_does_not_hide_that_the_first_may_have_paid(table: Table, wallet: SimulatedDevice) -> None:
    terminal, poor = table.terminal("terminal"), table.wallet("poor")
    table.hands.ask(terminal, "300#")
    table.torn_tap(terminal, wallet, TRANSFER_FRAME, 50)
    terminal.panel.wait_for("TAP AGAIN\n3.00")
    refusal = words(INSUFFICIENT_BALANCE).split("\n")[0]
    table.tap(terminal, poor, f"TAP AGAIN\n3.00\n{refusal}")
    table.notice_empty_field(terminal)
    table.tap(terminal, wallet, "RECEIVED\n3.00", "PAID\n3.00")
    assert (table.info(wallet).balance, table.info(terminal).balance) == (FUNDS - 3_00, 3_00)


def test_a_full_list_of_revocations_is_kept_over_power_loss(table: Table, wallet: SimulatedDevice) -> None:
    signer = table.bank.operators[1]
    revoked = [(sha256(bytes([number]))[:16], REVOKED_ALTOGETHER) for number in range(MAX_REVOCATIONS)]
    whole = Revocations.of(revoked, issuer=1, epoch=7, predecessor=0, predecessor_hash=bytes(32)).sign(signer.sign)
    with table.on_cable(wallet) as client:
        client.put(whole.encode())
    wallet.stop()
    wallet.start()
    with table.on_cable(wallet) as client:
        answer = client._send(apdu.select(apdu.AID))
    assert apdu.decode_hello(answer)[1] == 7


def test_a_retired_device_asks_for_nothing_any_more(table: Table) -> None:
    terminal = table.terminal("terminal")
    with table.on_cable(terminal) as client:
        device = client.info().device
        retire = Order(operator=1, device=device, number=1, what=RETIRE_ORDER, argument=0)
        client.put(retire.sign(table.bank.operators[1].sign).encode())
    terminal.panel.press("100#")
    terminal.panel.wait_for(f"NOT PAID\n{words(RETIRED)}")


def test_a_device_whose_storage_fails_says_that_it_does_not_know(table: Table, wallet: SimulatedDevice) -> None:
    """A write that fails in the middle of a credit: neither "received" nor "not paid" would be true."""
    terminal = table.terminal("terminal")
    table.hands.ask(terminal, "300#")
    flash = next(terminal.state.glob("*.flash"))
    size = flash.stat().st_size
    with flash.open("r+b") as file:
        whole = file.read()
        file.truncate(64)  # the chip under the journal is gone
    table.tap(terminal, wallet, "NOT KNOWN", "IN DOUBT\n3.00")
    terminal.stop()
    flash.write_bytes(whole)  # it was the wire, and is mended
    assert flash.stat().st_size == size
    terminal.start()
    wallet.panel.press(ANY_KEY)
    table.hands.ask(terminal, "100#")
    table.tap(terminal, wallet, "RECEIVED\n1.00", "PAID\n1.00")
    info = table.info(wallet)
    assert (info.in_doubt, table.info(terminal).balance + info.balance) == (0, FUNDS)


def test_after_a_start_a_person_sees_how_the_last_payment_ended(table: Table, wallet: SimulatedDevice) -> None:
    """Power may have gone between the commit and the screen: whoever believes a payment lost would pay twice."""
    shop = table.terminal("shop")
    table.hands.ask(shop, "1850#")
    table.tap(shop, wallet, "RECEIVED", "PAID")
    for device, shown in ((wallet, "last -18.50"), (shop, "last 18.50")):
        device.stop()
        device.start()
        device.panel.wait_for(shown)
    table.hands.ask(shop, "200#")
    table.tap(shop, wallet, "RECEIVED", "PAID")
    wallet.panel.press(ANY_KEY)
    wallet.panel.wait_for(f"\n{(FUNDS - 20_50) / 100:.2f}\n\n")
