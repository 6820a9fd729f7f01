"""Everything that can be wrong with a payment, told apart on the screens; no money moves, and they say so."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from host_tools.images.boards import BOARDS
from host_tools.images.compile import build_modules
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.virtual_pn532 import VirtualPn532
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD
from host_tools.story.bank import Bank
from protocol import errors
from protocol.errors import RefusedByPeer
from protocol.objects import DAY_S
from tests.device.foreign import ISO_DEP_CARD, MIFARE_CARD, ForeignCard
from tests.device.table import TERMINAL_KIND, WALLET_KIND, Table, words

FUNDS = 10_00
EUR = 978
FILE_NOT_FOUND = b"\x6a\x82"
REMOVED = 0  # no cause: the card left
READING_S = 0.8  # a key that is pressed sooner than a person can read the question is no answer to it
MAX_SALES = 100  # more than a small journal holds


@pytest.fixture
def terminal(table: Table) -> SimulatedDevice:
    return table.terminal("terminal")


@contextmanager
def nothing_moves(table: Table, *devices: SimulatedDevice) -> Iterator[None]:
    """No balance, nothing in doubt and no journal record may change."""

    def state() -> list[tuple[int, int, int]]:
        infos = [table.info(device) for device in devices]
        return [(info.balance, info.in_doubt, info.head_seq) for info in infos]

    before = state()
    yield
    assert state() == before


def not_paid(cause: int) -> str:
    return f"NOT PAID\n{words(cause)}"


def sell(table: Table, terminal: SimulatedDevice, wallet: SimulatedDevice, amount: int = 1_00) -> None:
    """A sale that goes well."""
    table.hands.ask(terminal, f"{amount}#")
    table.tap(terminal, wallet, "RECEIVED", "PAID")


def refuse(
    table: Table, terminal: SimulatedDevice, wallet: SimulatedDevice, cause: int, by_card: bool, amount: int = 1_00
) -> None:
    """A sale that is refused for this cause, which the terminal shows and, if it is the card that refuses, the card."""
    refusal = not_paid(cause)
    with nothing_moves(table, terminal, wallet):
        table.hands.ask(terminal, f"{amount}#")
        before = wallet.panel.text
        table.tap(terminal, wallet, refusal, refusal if by_card else "")
        assert by_card or wallet.panel.text == before
        seen = terminal.panel.screens
        terminal.panel.press("*")
        terminal.panel.wait_for(refusal, after=seen)


# --- what lies on the reader is no wallet


def test_a_card_that_is_no_wallet(table: Table, terminal: SimulatedDevice) -> None:
    card = ForeignCard(table.world.air, lambda command: FILE_NOT_FOUND)
    with nothing_moves(table, terminal):
        table.hands.ask(terminal, "100#")
        table.world.air.bring_together(terminal.chip, card)
        terminal.panel.wait_for(not_paid(errors.NOT_FOUND))
        assert len(card.commands) == 1  # it was asked once, and for nothing but our application
        table.world.separate()


def test_a_card_without_iso_dep_is_passed_over(table: Table, terminal: SimulatedDevice) -> None:
    card = ForeignCard(table.world.air, lambda command: None, sel_res=MIFARE_CARD)
    wallet = table.wallet("wallet", FUNDS)
    table.hands.ask(terminal, "100#")
    table.world.air.bring_together(terminal.chip, card)
    table.tap(terminal, wallet, "RECEIVED", "PAID")
    assert not card.commands


@pytest.mark.parametrize("answer", [b"", b"\x90", b"\x90\x00", b"\x01\x01\x90\x00", bytes(253), b"\xff\x90\x00"])
def test_a_card_that_answers_nonsense(table: Table, terminal: SimulatedDevice, answer: bytes) -> None:
    card = ForeignCard(table.world.air, lambda command: answer, sel_res=ISO_DEP_CARD)
    wallet = table.wallet("wallet", FUNDS)
    with nothing_moves(table, terminal):
        table.hands.ask(terminal, "100#")
        table.world.air.bring_together(terminal.chip, card)
        terminal.panel.wait_for("NOT PAID\n")
        table.world.separate()
    table.tap(terminal, wallet, "RECEIVED", "PAID")


def test_a_card_that_is_taken_away_too_early(table: Table, terminal: SimulatedDevice) -> None:
    wallet = table.wallet("wallet", FUNDS)
    with nothing_moves(table, terminal, wallet):
        table.hands.ask(terminal, "100#")
        table.torn_tap(terminal, wallet, frame=3, byte=50)
        terminal.panel.wait_for(not_paid(REMOVED))
    table.tap(terminal, wallet, "RECEIVED", "PAID")


# --- limits


def test_not_enough_money(table: Table, terminal: SimulatedDevice) -> None:
    refuse(table, terminal, table.wallet("wallet", 99), errors.INSUFFICIENT_BALANCE, by_card=True)


def test_over_the_payment_limit(table: Table, terminal: SimulatedDevice) -> None:
    wallet = table.wallet("wallet", FUNDS, payment_limit=1_00)
    refuse(table, terminal, wallet, errors.OVER_PAYMENT_LIMIT, by_card=True, amount=1_01)
    sell(table, terminal, wallet, 1_00)


def test_over_the_sum_limit(table: Table, terminal: SimulatedDevice) -> None:
    wallet = table.wallet("wallet", FUNDS, sum_limit=1_50)
    sell(table, terminal, wallet)
    refuse(table, terminal, wallet, errors.OVER_SUM_LIMIT, by_card=True, amount=51)
    sell(table, terminal, wallet, 50)


def test_too_many_records_since_the_last_sync(table: Table, terminal: SimulatedDevice) -> None:
    wallet = table.wallet("wallet", FUNDS, record_limit=4)  # its installation, its load, one debit and its closing
    sell(table, terminal, wallet)
    refuse(table, terminal, wallet, errors.TOO_MANY_RECORDS, by_card=True)


def test_too_long_offline(table: Table, terminal: SimulatedDevice) -> None:
    in_two_days = table.now + 2 * DAY_S
    wallet = table.wallet("wallet", FUNDS, now=in_two_days, valid_from=table.now // DAY_S, days_limit=1)
    refuse(table, terminal, wallet, errors.TOO_LONG_OFFLINE, by_card=True)


def test_a_purse_that_would_be_too_full(table: Table) -> None:
    payer = table.wallet("payer", FUNDS)
    payee = table.wallet("payee", balance_limit=99)
    with nothing_moves(table, payer, payee):
        table.hands.ask(payer, "A100#")
        table.tap(payer, payee, not_paid(errors.BALANCE_LIMIT), not_paid(errors.BALANCE_LIMIT))
        payee.panel.press("B100#")
        payee.panel.wait_for(not_paid(errors.BALANCE_LIMIT), after=payee.panel.screens)


def test_a_payment_that_a_person_has_to_confirm(table: Table, terminal: SimulatedDevice) -> None:
    wallet = table.wallet("wallet", FUNDS, no_confirm_sum=99)
    table.hands.ask(terminal, "100#")
    with nothing_moves(table, terminal, wallet):
        table.tap(terminal, wallet, not_paid(errors.CONFIRM), "CONFIRM PAYMENT\n1.00")
        time.sleep(READING_S)
        wallet.panel.press("*")
        wallet.panel.wait_for("WALLET\n10.00")
        table.notice_empty_field(terminal)
        table.tap(terminal, wallet, not_paid(errors.CONFIRM), "CONFIRM PAYMENT\n1.00")
        table.notice_empty_field(terminal)
    time.sleep(READING_S)
    wallet.panel.press("#")
    wallet.panel.wait_for("CONFIRMED\n1.00\ntap again now")
    table.tap(terminal, wallet, "RECEIVED\n1.00", "PAID\n1.00")


def test_a_full_journal(table: Table, terminal: SimulatedDevice, tmp_path: Path) -> None:
    """A wallet with 12 sectors of flash pays until nothing more fits, then refuses, and pays again after a sync."""
    wallet = table.personalise(_small(table, tmp_path, WALLET_BOARD), WALLET_KIND, FUNDS)
    for _ in range(MAX_SALES):
        table.hands.ask(terminal, "1#")
        seen = wallet.panel.screens
        table.world.bring_together(terminal, wallet)
        ended = wallet.panel.wait_for("PAID\n0.01", "NOT PAID", after=seen)
        table.world.separate()
        if ended == "NOT PAID":
            break
        terminal.panel.wait_for("RECEIVED")
    terminal.panel.wait_for(not_paid(errors.JOURNAL_FULL))
    assert wallet.panel.text.startswith(not_paid(errors.JOURNAL_FULL))
    terminal.panel.press("*")
    info = table.info(wallet)
    assert info.balance + table.info(terminal).balance == FUNDS and info.in_doubt == 0
    table.sync(wallet)
    sell(table, terminal, wallet, 1)


def test_a_terminal_whose_journal_is_full(table: Table, tmp_path: Path) -> None:
    """It says so when it is told to collect, before anybody holds a card to it, and still when power comes back.

    Nothing of it is lost, and what is kept free is enough for the sync that frees the rest.
    """
    wallet = table.wallet("wallet", FUNDS)
    till = table.personalise(_small(table, tmp_path, TERMINAL_BOARD), TERMINAL_KIND)
    sales = 0
    for _ in range(MAX_SALES):
        till.panel.press("1#")
        if till.panel.wait_for("hold the other", "NOT PAID") == "NOT PAID":
            break
        table.tap(till, wallet, "RECEIVED\n0.01", "PAID\n0.01")
        sales += 1
    assert 0 < sales < MAX_SALES
    taps = len(table.world.air.taps)
    with nothing_moves(table, till, wallet):
        for _ in range(3):
            assert till.panel.text.startswith(not_paid(errors.JOURNAL_FULL))
            assert till.stop() == ""
            till.start()
            till.panel.wait_for("TERMINAL")
            till.panel.press("1#")
            till.panel.wait_for("NOT PAID")
    assert len(table.world.air.taps) == taps
    assert (table.info(till).balance, table.info(wallet).balance) == (sales, FUNDS - sales)
    assert table.sync(till).certified
    assert table.purse(till) == sales
    sell(table, till, wallet, 1)


def _small(table: Table, folder: Path, board: str) -> SimulatedDevice:
    """One of these with a journal of 12 sectors."""
    boards = folder / "boards"
    shutil.copytree(BOARDS / board, boards / board)
    described = boards / board / "board.toml"
    text = described.read_text()
    assert "size_bytes = 262144" in text
    described.write_text(text.replace("size_bytes = 262144", "size_bytes = 49152"))
    build_modules(board, folder / "firmware", boards)
    world = table.world
    chip = VirtualPn532(world.air, "small")
    device = SimulatedDevice("small", folder / "firmware", table.state / "small", world.reactor, chip)
    world.devices[device.name] = device
    device.start()
    return device


# --- who the other one is


def test_a_payer_too_long_without_a_sync(table: Table) -> None:
    wallet = table.wallet("wallet", FUNDS)
    terminal = table.terminal("terminal", now=table.now + 61 * DAY_S)
    refuse(table, terminal, wallet, errors.TOO_LONG_OFFLINE, by_card=False)


def test_an_expired_certificate(table: Table) -> None:
    wallet = table.wallet("wallet", FUNDS, days_limit=255)
    terminal = table.terminal("terminal", now=table.now + 91 * DAY_S)
    refuse(table, terminal, wallet, errors.EXPIRED, by_card=False)


def test_an_operator_of_another_root(table: Table, terminal: SimulatedDevice, tmp_path: Path) -> None:
    bank = Bank(tmp_path / "another root", table.now)
    bank.add_operator(7)
    wallet = table.wallet("wallet", FUNDS, operator=7, bank=bank)
    refuse(table, terminal, wallet, errors.BAD_CERTIFICATE, by_card=True)


def test_an_impostor_of_our_own_operator(table: Table, terminal: SimulatedDevice, tmp_path: Path) -> None:
    """Another root's operator that has the number of ours: each side finds the other's signatures wrong."""
    bank = Bank(tmp_path / "another root", table.now)
    bank.add_operator(1)
    wallet = table.wallet("wallet", FUNDS, bank=bank)
    refuse(table, terminal, wallet, errors.BAD_CERTIFICATE, by_card=True)


def test_another_currency(table: Table, terminal: SimulatedDevice) -> None:
    table.add_operator(3, EUR)
    wallet = table.wallet("wallet", FUNDS, operator=3)
    refuse(table, terminal, wallet, errors.OTHER_CURRENCY, by_card=False)


def test_a_revoked_wallet(table: Table, terminal: SimulatedDevice) -> None:
    wallet = table.wallet("wallet", FUNDS)
    sell(table, terminal, wallet)
    table.bank.ledger.revoke(table.bank.operators[1], 1, table.info(wallet).device, table.now)
    table.sync(terminal)
    refuse(table, terminal, wallet, errors.REVOKED, by_card=False)


def test_a_revoked_terminal(table: Table, terminal: SimulatedDevice) -> None:
    wallet = table.wallet("wallet", FUNDS)
    table.bank.ledger.revoke(table.bank.operators[1], 1, table.info(terminal).device, table.now)
    table.sync(wallet)
    refuse(table, terminal, wallet, errors.REVOKED, by_card=True)


def test_the_wrong_kind_of_device(table: Table, terminal: SimulatedDevice) -> None:
    other = table.personalise(table.world.add("other", WALLET_BOARD), TERMINAL_KIND, FUNDS)
    wallet = table.wallet("wallet", FUNDS)
    with nothing_moves(table, other, wallet):
        table.hands.ask(wallet, "A100#")  # person to person
        table.tap(wallet, other, not_paid(errors.WRONG_PARTY))


def test_a_device_that_is_not_set_up(table: Table, terminal: SimulatedDevice) -> None:
    blank = table.world.add("blank", WALLET_BOARD)
    assert blank.panel.text.startswith("WALLET\n\nNot set up yet")
    with nothing_moves(table, terminal):
        table.hands.ask(terminal, "100#")
        table.tap(terminal, blank, "NOT PAID")
    assert terminal.panel.text.startswith(not_paid(errors.NOT_PERSONALISED))


def test_a_device_whose_owner_is_being_paid(table: Table, terminal: SimulatedDevice) -> None:
    """A person's own Request is never replaced by a tap; the host is told as well."""
    payer, payee = table.wallet("payer", FUNDS), table.wallet("payee")
    table.hands.ask(payee, "B100#")
    with pytest.raises(RefusedByPeer) as refusal:
        table.sync(payee)
    assert refusal.value.cause == errors.REQUEST_OPEN
    table.hands.ask(payer, "A100#")
    table.world.bring_together(payer, payee)  # both are readers now: neither sees a card
    table.world.separate()
    payer.panel.press("*")
    payer.panel.wait_for("NOT PAID")
    table.tap(payee, payer, "RECEIVED\n1.00", "PAID\n1.00")


def test_no_two_causes_look_the_same() -> None:
    """Of what a person can meet in a tap; a wrong certificate and a wrong signature are the same thing to a person."""
    shown = [words(cause) for cause in errors.NAMES if cause != errors.BAD_SIGNATURE] + [words(REMOVED)]
    assert len(set(shown)) == len(shown)
