"""Taps torn after every byte of every frame, in both directions of payment: money moves once, and screens never lie.

The air log of an untorn tap says how long each frame is; `Air.cut` takes the card away after any byte of any frame.
What must hold then follows from which frames had arrived: that is the table `Direction`.
"""

from dataclasses import dataclass

import pytest

from host_tools.simulator.air import Tap
from host_tools.story.hands import exchanges_of
from protocol.info import DeviceInfo
from tests.device.table import ANY_KEY, Table, words

FRAMES = 10  # RATS, ATS, three commands with their answers, S(DESELECT) both ways
CRC_BYTES = 2
FUNDS = 100_00

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Direction:
    """Who pays whom in a tap, and on which frames that turns: by the time the frame of that index has arrived."""

    name: str
    keys: str  # what starts it on the reader, before the amount
    reader_pays: bool
    exchanges: list[str]
    debited: int
    credited: int
    closed: int
    # What the reader shows as long as the frame has not arrived.
    reader_screens: tuple[tuple[int, str], ...]
    reader_ends_with: str
    card_ends_with: str


SALE = Direction(
    name="sale",
    keys="",
    reader_pays=False,
    exchanges=["select", "pay", "confirm"],
    debited=4,  # PAY has reached the card
    credited=5,  # the Transfer has reached the reader
    closed=6,  # CONFIRM has reached the card
    reader_screens=((1, "hold the other"), (3, f"NOT PAID\n{words(0)}"), (5, "TAP AGAIN")),
    reader_ends_with="RECEIVED",
    card_ends_with="PAID",
)
PERSON = Direction(
    name="wallet to wallet",
    keys="A",
    reader_pays=True,
    exchanges=["select", "request", "transfer"],
    debited=5,  # the Request has reached the reader
    credited=6,  # the Transfer has reached the card
    closed=7,  # the Receipt has reached the reader
    reader_screens=((1, "hold the other"), (5, f"NOT PAID\n{words(0)}"), (7, "TAP AGAIN")),
    reader_ends_with="PAID",
    card_ends_with="RECEIVED",
)
REFUND = Direction(**{**vars(PERSON), "name": "refund", "keys": "B"})


def format_amount(amount: int) -> str:
    return f"{amount // 100}.{amount % 100:02}"


class Pair:
    """Two devices of a table that pay each other in one direction, with what they held before the payment at hand."""

    def __init__(self, table: Table, direction: Direction) -> None:
        self.table = table
        self.direction = direction
        funds = (FUNDS, 0) if direction.reader_pays else (0, FUNDS)
        of_reader = table.wallet if direction is PERSON else table.terminal
        self.reader = of_reader("reader", funds[0])
        self.card = table.wallet("card", funds[1])
        self.payer, self.payee = (self.reader, self.card) if direction.reader_pays else (self.card, self.reader)
        self.lengths = [len(frame.data) + CRC_BYTES for frame in self.pay(99).frames]
        assert len(self.lengths) == FRAMES
        self.remember()

    def remember(self) -> None:
        payer, payee = self.money()
        assert payer.in_doubt == 0
        self.held = payer.balance, payee.balance

    def money(self) -> tuple[DeviceInfo, DeviceInfo]:
        return self.table.info(self.payer), self.table.info(self.payee)

    def ask(self, amount: int) -> None:
        self.amount = amount
        self.table.hands.ask(self.reader, f"{self.direction.keys}{amount}#")

    def pay(self, amount: int) -> Tap:
        """An untorn payment."""
        self.ask(amount)
        return self.table.tap(self.reader, self.card, self._shows(self.direction.reader_ends_with), self._paid())

    def tear(self, frame: int, byte: int) -> None:
        """Tear the tap for what was asked, and check money and screens on both sides."""
        self._cut = frame, byte
        self.table.torn_tap(self.reader, self.card, frame, byte)
        direction = self.direction
        debited, credited = self.arrived(direction.debited), self.arrived(direction.credited)
        in_doubt = self.amount if debited and not self.arrived(direction.closed) else 0
        payer, payee = self.money()
        assert (payer.balance, payer.in_doubt) == (self.held[0] - self.amount * debited, in_doubt)
        assert (payee.balance, payee.in_doubt) == (self.held[1] + self.amount * credited, 0)
        self.reader.panel.wait_for(self._reader_shows())
        self._check_card_shows(debited, credited)

    def arrived(self, frame: int) -> bool:
        """Whether this frame came through before the tap was torn."""
        torn, byte = self._cut
        return torn > frame or (torn == frame and byte == self.lengths[frame])

    def tap_again(self) -> None:
        """What a person does who sees that it is not over: hold the same two together once more."""
        direction = self.direction
        if self.arrived(direction.closed):
            return
        if self.arrived(direction.credited) and not direction.reader_pays:
            # The terminal has its money and asks for nothing; its next sale brings the card the receipt of this one.
            torn = self.amount
            healed = self.pay(torn + 9)
            assert exchanges_of(healed) == ["select", "pay", "confirm", "pay", "confirm"]
            self.amount += torn
        else:
            on_card = "" if self.arrived(direction.credited) else self._paid()
            shows = self._shows(direction.reader_ends_with)
            healed = self.table.tap(self.reader, self.card, shows, on_card)
            again = direction.reader_pays and self.arrived(direction.debited)
            assert exchanges_of(healed) == (["select", "transfer"] if again else direction.exchanges)

    def check_paid_once(self) -> None:
        payer, payee = self.money()
        assert (payer.balance, payer.in_doubt) == (self.held[0] - self.amount, 0)
        assert payee.balance == self.held[1] + self.amount
        self.held = payer.balance, payee.balance

    def give_up(self) -> None:
        """What a person does who has had enough: stop the reader, if it still asks."""
        direction = self.direction
        done = direction.closed if direction.reader_pays else direction.credited
        if self.arrived(done):
            return
        self.reader.panel.press("*")
        if direction.reader_pays:
            in_doubt = self.arrived(direction.debited)
            self.reader.panel.wait_for(self._shows("IN DOUBT") if in_doubt else "NOT PAID\nNo money moved")
        else:
            asked = self.arrived(3)  # the card's answer to SELECT: PAY has been sent
            self.reader.panel.wait_for("NOT PAID\nCard in doubt?" if asked else "NOT PAID\nNo money moved")

    def settle(self, payer_first: bool) -> None:
        """Sync both, and check that the ledger and both devices agree on who has the money."""
        syncs = (self.payer, self.payee, self.payer) if payer_first else (self.payee, self.payer)
        for device in syncs:
            report = self.table.sync(device)
            assert report.certified and not report.dead_letters and not report.refused
        ledger = self.table.bank.ledger
        ledger.check()
        books = ledger.reconciliation()
        assert (books["difference"], books["pending"], books["suspense"]) == (0, {}, {})
        paid = self.amount * self.arrived(self.direction.credited)
        payer, payee = self.money()
        assert (payer.balance, payer.in_doubt, payee.balance) == (self.held[0] - paid, 0, self.held[1] + paid)
        assert (self.table.purse(self.payer), self.table.purse(self.payee)) == (payer.balance, payee.balance)
        for device, info in ((self.payer, payer), (self.payee, payee)):
            device.panel.press(ANY_KEY)  # away with what it showed of the tap
            device.panel.wait_for(f"\n{format_amount(info.balance)}\n\n")
        self.held = payer.balance, payee.balance

    def _shows(self, word: str) -> str:
        return f"{word}\n{format_amount(self.amount)}"

    def _paid(self) -> str:
        return self._shows(self.direction.card_ends_with)

    def _reader_shows(self) -> str:
        for frame, text in self.direction.reader_screens:
            if not self.arrived(frame):
                return self._shows(text) if text == "TAP AGAIN" else text
        return self._shows(self.direction.reader_ends_with)

    def _check_card_shows(self, debited: bool, credited: bool) -> None:
        if self.direction.reader_pays:
            expected = "RECEIVED" if credited else None
        else:
            expected = "PAID" if self.arrived(self.direction.closed) else "IN DOUBT" if debited else None
        if expected:
            self.card.panel.wait_for(self._shows(expected))
        else:
            assert f"{format_amount(self.amount)}" not in self.card.panel.text  # it knows of nothing, and says nothing


# Every frame is shared out to two tests, for two processes to work on.
@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("frame", range(FRAMES))
@pytest.mark.parametrize("direction", [SALE, PERSON], ids=lambda direction: direction.name)
def test_a_tap_torn_after_any_byte_is_healed_by_the_next(
    table: Table, direction: Direction, frame: int, half: int
) -> None:
    pair = Pair(table, direction)
    for byte in range(half, pair.lengths[frame] + 1, 2):
        pair.ask(1 + byte % 9)
        pair.tear(frame, byte)
        pair.tap_again()
        pair.check_paid_once()


@pytest.mark.parametrize("payer_first", [True, False], ids=("payer syncs first", "payee syncs first"))
@pytest.mark.parametrize("direction", [SALE, PERSON, REFUND], ids=lambda direction: direction.name)
def test_a_torn_tap_that_nobody_heals_is_settled_by_the_ledger(
    table: Table, direction: Direction, payer_first: bool
) -> None:
    pair = Pair(table, direction)
    for frame, length in enumerate(pair.lengths):
        for byte in (length // 2, length):
            pair.ask(1 + frame % 9)
            pair.tear(frame, byte)
            pair.give_up()
            pair.settle(payer_first)
