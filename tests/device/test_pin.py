"""The PIN on real devices: typed on the keypad, asked for above the no-confirm sum and at power-on, kept over power
loss, given back by the operator. Nobody ever sees a digit of it.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from host_tools.simulator.device import SimulatedDevice
from protocol import apdu
from protocol.errors import CONFIRM, LOCKED, MISMATCH, NOT_FOUND, SERVICE, RefusedByPeer
from protocol.objects import RETIRE, TAKE_PIN_AWAY, UNBLOCK_PIN, Order
from tests import micropython
from tests.device.table import ANY_KEY, Table, words
from tests.device.test_true_screens import request_command

FUNDS = 1_000_00
PIN, WRONG, OTHER = "1234", "4321", "86420000"
READING_S = 0.8  # a key that is pressed sooner than a person can read the question is no answer to it
NO_PIN, WITH_PIN, AT_POWER_ON = "PIN: none", "PIN: payments", "PIN: + power-on"


class Owner:
    """The hands of somebody with a wallet."""

    def __init__(self, table: Table, device: SimulatedDevice) -> None:
        self.table = table
        self.device = device
        self.panel = device.panel
        self.order = 0

    def type(self, keys: str, shows: str) -> None:
        seen = self.panel.screens
        self.panel.press(keys)
        self.panel.wait_for(shows, after=seen)

    def set_pin(self, pin: str = PIN) -> None:
        self.type("D", NO_PIN)
        self.type("1", "NEW PIN\n")
        self.type(pin + "#", "NEW PIN AGAIN\n")
        self.type(pin + "#", WITH_PIN)
        self.type("*", "WALLET\n")

    def choose(self, key: str, pin: str, shows: str) -> None:
        self.type("D", "2 remove")
        self.type(key, "PRESENT PIN\n")
        self.type(pin + "#", shows)

    def ask_at_power_on(self, pin: str = PIN) -> None:
        self.choose("3", pin, AT_POWER_ON)
        self.type("*", "WALLET\n")

    def restart(self, shows: str) -> None:
        assert self.device.stop() == ""
        self.device.start()
        self.panel.wait_for(shows)

    def put_order(self, what: int, argument: int) -> None:
        self.order += 1
        with self.table.on_cable(self.device) as client:
            order = Order(operator=1, device=client.info().device, number=self.order, what=what, argument=argument)
            client.put(order.sign(self.table.bank.operators[1].sign).encode())

    def refusal_of_order(self, argument: int) -> int:
        with pytest.raises(RefusedByPeer) as refusal:
            self.put_order(UNBLOCK_PIN, argument)
        return refusal.value.cause

    @property
    def certificate_key(self) -> bytes:
        with self.table.on_cable(self.device) as client:
            return client.info().key

    @property
    def flags(self) -> int:
        with self.table.on_cable(self.device) as client:
            return client.flags


@pytest.fixture
def owner(table: Table) -> Iterator[Owner]:
    owner = Owner(table, table.wallet("wallet", FUNDS))
    yield owner
    assert owner.device.stop() == ""


def the_seed(state: Path, pin: str) -> bytes:
    """Opened with all that a thief would need: the files, the device's secret and the PIN."""
    settings = micropython.import_on_cpython("storage.settings").Settings(str(state / "settings"))
    vault = micropython.import_on_cpython("storage.vault")
    stored = settings.get("pin")
    stretched = vault.stretch(pin, vault.PinState(stored).salt) if stored else b""
    return bytes(
        vault.unseal((state / "secret").read_bytes(), stretched, settings.get("public"), settings.get("vault"))
    )


def test_above_the_no_confirm_sum_the_pin_is_asked_and_the_next_tap_pays(table: Table, owner: Owner) -> None:
    terminal = table.terminal("terminal")
    owner.set_pin()
    table.hands.ask(terminal, "60000#")
    table.tap(terminal, owner.device, f"NOT PAID\n{words(CONFIRM)}", "CONFIRM PAYMENT\n600.00")
    time.sleep(READING_S)
    owner.type("#", "PAY 600.00\n\n\n\n5 tries left")
    owner.type("12", "PAY 600.00\n\n**\n")
    owner.type("*", "PAY 600.00\n\n*\n")
    owner.type("2#", "4 to 8 digits")
    owner.type(WRONG + "#", "wrong PIN\n4 tries left")
    table.notice_empty_field(terminal)
    assert table.info(owner.device).balance == FUNDS
    owner.type(PIN + "#", "CONFIRMED\n600.00")
    table.tap(terminal, owner.device, "RECEIVED\n600.00", "PAID\n600.00")
    assert (table.info(owner.device).balance, table.info(terminal).balance) == (FUNDS - 600_00, 600_00)


def test_a_pin_that_is_given_up_pays_nothing(table: Table, owner: Owner) -> None:
    terminal = table.terminal("terminal")
    owner.set_pin()
    table.hands.ask(terminal, "60000#")
    table.tap(terminal, owner.device, f"NOT PAID\n{words(CONFIRM)}", "CONFIRM PAYMENT\n600.00")
    time.sleep(READING_S)
    owner.type("#", "PAY 600.00")
    owner.type("*", "WALLET\n1000.00")
    table.notice_empty_field(terminal)
    table.tap(terminal, owner.device, f"NOT PAID\n{words(CONFIRM)}", "CONFIRM PAYMENT\n600.00")
    assert table.info(owner.device).balance == FUNDS


def test_a_payment_typed_here_asks_for_it_too(table: Table, owner: Owner) -> None:
    other = table.wallet("other")
    owner.set_pin()
    owner.type("A60000#", "PAY 600.00")
    owner.type(PIN + "#", "hold the other")
    table.tap(owner.device, other, "PAID\n600.00", "RECEIVED\n600.00")
    owner.type(ANY_KEY, "WALLET\n400.00")
    owner.type("A100#", "hold the other")  # a small one does not


def test_small_payments_typed_here_ask_for_it_once_they_reach_the_sum(table: Table, owner: Owner) -> None:
    other = table.wallet("other")
    owner.set_pin()
    for left in ("800.00", "600.00"):
        owner.type("A20000#", "hold the other")
        table.tap(owner.device, other, "PAID\n200.00", "RECEIVED\n200.00")
        owner.type(ANY_KEY, f"WALLET\n{left}")
    owner.type("A20000#", "PAY 200.00")


def test_a_host_cannot_spend_until_a_typed_payment_needs_the_pin(table: Table, owner: Owner) -> None:
    """What nobody was asked for is not paid once it must be confirmed: it is typed again, and then asked for."""
    other = table.wallet("other")
    owner.set_pin()
    owner.type("A20000#", "hold the other")
    with table.on_cable(owner.device) as client:
        client._send(request_command(table, 400_00))
    table.tap(owner.device, other, f"NOT PAID\n{words(CONFIRM)}")
    assert (table.info(owner.device).balance, table.info(other).balance) == (FUNDS - 400_00, 0)
    owner.type(ANY_KEY, "WALLET\n600.00")
    owner.type("A20000#", "PAY 200.00")
    owner.type(PIN + "#", "hold the other")
    table.tap(owner.device, other, "PAID\n200.00", "RECEIVED\n200.00")


def test_without_a_pin_the_key_press_is_the_confirmation_of_whatever_is_typed(table: Table, owner: Owner) -> None:
    other = table.wallet("other")
    owner.type("A20000#", "hold the other")
    with table.on_cable(owner.device) as client:
        client._send(request_command(table, 400_00))
    table.tap(owner.device, other, "PAID\n200.00", "RECEIVED\n200.00")


def test_blocked_after_five_wrong_ones_until_the_operator_says_otherwise(table: Table, owner: Owner) -> None:
    owner.set_pin()
    owner.choose("1", WRONG, "wrong PIN\n4 tries left")
    for left in ("3 tries left", "2 tries left", "1 try left"):
        owner.type(WRONG + "#", left)
    owner.type(WRONG + "#", "PIN BLOCKED\nMoney is safe.\nSee your bank.")
    owner.type("*", "WALLET\n")
    owner.restart("WALLET\n1000.00")
    owner.type("D", WITH_PIN)
    owner.type("1", "PIN BLOCKED")
    owner.type(PIN + "#", "PIN BLOCKED")  # not even the right one
    owner.type("*", "WALLET\n")
    owner.put_order(UNBLOCK_PIN, 0)
    owner.choose("1", PIN, "NEW PIN\n")
    owner.type(OTHER + "#", "NEW PIN AGAIN")
    owner.type(PIN + "#", "NEW PIN\n\n\nnot the same")
    owner.type(OTHER + "#", "NEW PIN AGAIN")
    owner.type(OTHER + "#", WITH_PIN)
    owner.type("*", "WALLET\n")
    owner.put_order(UNBLOCK_PIN, TAKE_PIN_AWAY)
    owner.type("D", NO_PIN)
    assert owner.refusal_of_order(0) == NOT_FOUND


def test_asked_at_power_on_it_signs_nothing_before(table: Table, owner: Owner) -> None:
    terminal = table.terminal("terminal")
    owner.set_pin()
    owner.ask_at_power_on()
    assert not owner.flags & apdu.LOCKED  # until power goes, its owner has shown the PIN
    owner.restart("LOCKED\n\n\n\n5 tries left")
    assert owner.flags & apdu.LOCKED and owner.flags & apdu.PERSONALISED
    with table.on_cable(owner.device) as client:
        assert client.info().balance == FUNDS
        head = client.info().head_seq
        assert client.journal(head, head)
        with pytest.raises(RefusedByPeer) as refusal:
            client.statement(bytes(16))
        assert refusal.value.cause == LOCKED
    for keys in ("A", "D", "*", "#"):  # neither its menus nor its reader
        owner.panel.press(keys)
    table.hands.ask(terminal, "100#")
    table.tap(terminal, owner.device, f"NOT PAID\n{words(LOCKED)}")
    table.notice_empty_field(terminal)
    owner.type(WRONG + "#", "wrong PIN\n4 tries left")
    owner.type(PIN + "#", "WALLET\n1000.00")
    assert not owner.flags & apdu.LOCKED
    table.tap(terminal, owner.device, "RECEIVED\n1.00", "PAID\n1.00")
    assert table.sync(owner.device).certified


def test_a_locked_device_still_hears_its_operator(table: Table, owner: Owner) -> None:
    owner.set_pin()
    owner.ask_at_power_on()
    owner.restart("LOCKED")
    for left in ("4 tries left", "3 tries left", "2 tries left", "1 try left", "PIN BLOCKED"):
        owner.type(WRONG + "#", left)
    owner.restart("PIN BLOCKED")
    assert owner.refusal_of_order(TAKE_PIN_AWAY) == MISMATCH  # without the PIN nobody opens the key
    owner.put_order(UNBLOCK_PIN, 0)
    owner.panel.wait_for("LOCKED\n\n\n\n5 tries left")
    owner.type(PIN + "#", "WALLET\n1000.00")
    owner.choose("3", PIN, WITH_PIN)  # and now no more
    owner.restart("WALLET\n1000.00")
    owner.put_order(RETIRE, 0)
    assert owner.flags & apdu.RETIRED


def test_power_that_goes_while_a_pin_is_checked_costs_no_try(owner: Owner) -> None:
    """Killed at whatever moment after OK: either there is no verdict or it is the wrong one, and no key is open."""
    owner.set_pin()
    owner.ask_at_power_on()
    owner.restart("LOCKED")
    for delay_ms in (0, 4, 8, 12):
        owner.panel.press(WRONG + "#")
        time.sleep(delay_ms / 1000)
        owner.restart("LOCKED")
        assert owner.flags & apdu.LOCKED
    left = next(number for number in range(1, 6) if f"{number} tr" in owner.panel.text)
    for expected in range(left - 1, 0, -1):
        owner.type(WRONG + "#", f"wrong PIN\n{expected} tr")
    owner.type(PIN + "#", "WALLET\n1000.00")
    owner.restart("LOCKED\n\n\n\n5 tries left")


def lose(secret: Path) -> None:
    secret.unlink()


def shorten(secret: Path) -> None:
    secret.write_bytes(secret.read_bytes()[:31])


def break_the_drive(secret: Path) -> None:
    """Reading it fails as a chip's NVS may: with an OSError."""
    secret.unlink()
    secret.mkdir()


@pytest.mark.parametrize("damage", [lose, shorten, break_the_drive])
def test_without_its_secret_a_device_is_out_of_service_and_says_nothing(
    table: Table, owner: Owner, damage: Callable[[Path], None]
) -> None:
    """While it runs: the PIN can be neither checked nor changed, and nothing is printed (`owner` looks at its end)."""
    damage(owner.device.state / "secret")
    owner.type("D", NO_PIN)
    owner.type("1", "NEW PIN\n")
    owner.type(PIN + "#", "NEW PIN AGAIN\n")
    owner.type(PIN + "#", "SERVICE\nMoney is safe.")
    assert owner.flags & apdu.OUT_OF_SERVICE
    with table.on_cable(owner.device) as client, pytest.raises(RefusedByPeer) as refusal:
        client.statement(bytes(16))
    assert refusal.value.cause == SERVICE


@pytest.mark.parametrize("damage", [lose, shorten, break_the_drive])
def test_nor_can_a_pin_be_checked_without_it(owner: Owner, damage: Callable[[Path], None]) -> None:
    owner.set_pin()
    damage(owner.device.state / "secret")
    owner.choose("1", PIN, "SERVICE\nMoney is safe.")
    assert owner.flags & apdu.OUT_OF_SERVICE


def test_a_pin_that_was_removed_is_asked_no_more(table: Table, owner: Owner) -> None:
    owner.set_pin()
    owner.ask_at_power_on()
    owner.choose("2", PIN, NO_PIN)
    owner.restart("WALLET\n1000.00")
    owner.type("D", NO_PIN)
    with table.on_cable(owner.device) as client:
        assert client.statement(bytes(16))


def test_no_file_holds_the_key_in_plain(owner: Owner) -> None:
    before = the_seed(owner.device.state, "")
    owner.set_pin()
    owner.ask_at_power_on()
    seed = the_seed(owner.device.state, PIN)
    assert seed == before and SigningKey(seed).verify_key.encode() == owner.certificate_key
    for path in owner.device.state.iterdir():
        data = path.read_bytes()
        assert not any(seed[at : at + 8] in data or seed[at : at + 8].hex().encode() in data for at in range(25))
    with pytest.raises(Exception, match="service"):
        the_seed(owner.device.state, WRONG)


def test_no_digit_is_ever_shown(owner: Owner) -> None:
    said = []
    panel = owner.panel
    take = panel._take
    panel._take = lambda message: (take(message), said.append(panel.text))[0]  # type: ignore[method-assign]
    owner.set_pin("7777")
    owner.choose("1", "7777", "NEW PIN\n")
    owner.type("777", "***")
    assert said and not any("7" in text for text in said)
