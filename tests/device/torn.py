"""Two real devices whose taps are torn after any byte of any frame, and what people do then.

The air log of an untorn tap says how long each frame is; `Air.cut` takes the card away after any byte of any frame.
What must hold then follows from which frames had arrived: that is what `torn_kinds` says. Then people tap again, one of
the two loses power before they do, or they give up and sync. Every check is an assertion; a `Pair` is not used after
one has failed.
"""

import time
from collections.abc import Iterator
from itertools import count

from host_tools.crypto import sha256
from host_tools.simulator.air import Tap
from host_tools.simulator.device import SimulatedDevice
from host_tools.story.hands import exchanges_of
from protocol import apdu
from protocol.info import DeviceInfo
from protocol.objects import REVOKED_ALTOGETHER, Revocations, device_id
from tests.device import torn_kinds as kinds
from tests.device.kept import Kept, switch_off
from tests.device.table import ANY_KEY, Table
from tests.device.torn_kinds import Kind

CRC_BYTES = 2
FUNDS = (100_00, 50_00)  # of payer and payee
TOTAL = sum(FUNDS)
READING_S = 0.8  # a key that is pressed sooner than a person can read the question is no answer to it

# What follows a cut
TAP = "tap"
READER_OFF = "reader-off"  # the reader loses power, then they tap again
CARD_OFF = "card-off"
PAYER_SYNCS = "payer-syncs"  # they give up, and the payer syncs first
PAYEE_SYNCS = "payee-syncs"
AFTER = (TAP, READER_OFF, PAYER_SYNCS, CARD_OFF, PAYEE_SYNCS)

_OLDER = 50  # amount of the older payment; those of now are less
_HEALING = 10  # what a sale more costs that brings the card a lost Receipt
_TAPS = 6  # more than any person should need
_LISTED = 12  # revocations: two commands, two answers
_NAMES = {f"command {apdu.PUT:02x}": "put", f"command {apdu.REVOCATIONS:02x}": "revocations", "command c0": "rest"}
_I_BLOCK_MASK, _I_BLOCK, _CHAINING = 0xE2, 0x02, 0x10  # ISO/IEC 14443-4, 7.1.1.1


def names_of(tap: Tap) -> tuple[str, ...]:
    return tuple(_NAMES.get(name, name) for name in exchanges_of(tap))


def marks_of(tap: Tap) -> dict[str, int]:
    """The frames of a tap by the names of `torn_kinds`."""
    marks = {"ats": 1}
    names = iter(names_of(tap))
    seen: dict[str, int] = {}
    name, begins = "", True
    for index, frame in enumerate(tap.frames):
        if not frame.data or frame.data[0] & _I_BLOCK_MASK != _I_BLOCK:
            continue
        if frame.sender == "reader" and begins:
            name = next(names)
            seen[name] = seen.get(name, 0) + 1
            name += str(seen[name]) if seen[name] > 1 else ""
        begins = not frame.data[0] & _CHAINING
        marks[name + ("?" if frame.sender == "reader" else "!")] = index
    return marks


def shown(amount: int) -> str:
    return f"{amount // 100}.{amount % 100:02}"


class Pair:
    """A reader and a card that tap in one kind; with `prepare`, `tear` and `follow` for each cut point."""

    def __init__(self, table: Table, kind: Kind) -> None:
        self.table = table
        self.kind = kind
        funds = FUNDS if kind.reader_pays else FUNDS[::-1]
        new = table.wallet if kind.reader == "wallet" else table.terminal
        self.reader = new("reader", funds[0])
        self.card = table.wallet("card", funds[1], operator=2 if kind.before == kinds.FIRST_MEETING else 1)
        self.payer, self.payee = (self.reader, self.card) if kind.reader_pays else (self.card, self.reader)
        if kind.asks or kind.before == kinds.ASKED:
            table.bank.ledger.set_limits(self._id(self.card), {"no_confirm_sum": 0})
            table.sync(self.card)
        self._epoch = 0
        self._amounts = self._all_amounts()
        if kind.before == kinds.FIRST_MEETING:
            self._kept = Kept(table, self.reader, self.card)
        self.prepare()
        tap = self._untorn()
        assert names_of(tap) == kind.exchanges, f"{kind.name}: {names_of(tap)}"
        self.marks = marks_of(tap)
        self.lengths = [len(frame.data) + CRC_BYTES for frame in tap.frames]
        self._told = self._sum(kind.about) if self._done else 0
        self._heal(self._done)

    @staticmethod
    def _all_amounts() -> Iterator[int]:
        """No two points in a row have the same, so that no screen can be an old one."""
        for number in count():
            yield 1 + number % 9

    # --- a cut point

    def play(self, frame: int, byte: int, after: str) -> None:
        self.prepare()
        self.tear(frame, byte)
        self.follow(after)

    def prepare(self) -> None:
        """Bring about what comes before the tap, and ask for the payment."""
        before = self.kind.before
        self.older = 0
        if before == kinds.FIRST_MEETING:
            self._kept.go_back()
        elif before in (kinds.LOST_TRANSFER, kinds.LOST_RECEIPT, kinds.LOST_TRANSFER_AND_POWER):
            self._lose(before)
        elif before in (kinds.READER_KNOWS, kinds.CARD_KNOWS):
            self._publish(self.reader if before == kinds.READER_KNOWS else self.card)
        payer, payee = self.money()
        assert payer.in_doubt == self.older and payee.in_doubt == 0
        self.held = payer.balance, payer.in_doubt, payee.balance
        # What an older payment still has to move, if anything
        self.moving = 0 if before == kinds.LOST_RECEIPT else self.older
        assert sum(self.held) == TOTAL + self.older - self.moving
        self.ask(next(self._amounts))
        if before == kinds.ASKED:
            self.table.tap(self.reader, self.card, kinds.ASK.reader_ends_with, f"CONFIRM PAYMENT\n{shown(self.amount)}")
            self._confirm()
            self.table.notice_empty_field(self.reader)

    def tear(self, frame: int, byte: int) -> None:
        """Tear the tap for what was asked, and check money and screens on both sides."""
        kind = self.kind
        self._cut = frame, byte
        tap = self.table.torn_tap(self.reader, self.card, frame, byte)
        assert [len(sent.data) + CRC_BYTES for sent in tap.frames] == self.lengths[: len(tap.frames)]
        expected = list(self.held)
        for step in kind.steps:
            if self.arrived(step.mark):
                for index, factor in enumerate((step.payer, step.in_doubt, step.payee)):
                    expected[index] += factor * self._sum(step.of)
        payer, payee = self.money()
        assert [payer.balance, payer.in_doubt, payee.balance, payee.in_doubt] == [*expected, 0]
        self.reader.panel.wait_for(self._says(kind.reader_shows) or self._ending)
        on_card = self._says(kind.card_shows)
        if on_card is None:
            on_card = f"{kind.card_ends_with}\n{shown(self._sum(kind.about))}"
        if on_card:
            self.card.panel.wait_for(on_card)
        else:
            assert f"\n{shown(self._sum(kind.about))}" not in self.card.panel.text  # it knows of nothing, says nothing

    def follow(self, after: str) -> None:
        """What people do then, and what must come of it."""
        credited = sum(step.payee * self._sum(step.of) for step in self.kind.steps if self.arrived(step.mark))
        done = self._done = self._says(self.kind.reader_shows) is None and not self.kind.asks
        self._credited = credited > 0
        if after in (PAYER_SYNCS, PAYEE_SYNCS):
            if not done:
                self._give_up()
            self._settle(after == PAYER_SYNCS, credited)
            return
        self._told = self._sum(self.kind.about) if done else 0
        if after != TAP:
            device = self.reader if after == READER_OFF else self.card
            switch_off(device)
            device.start()
            if device is self.reader and not done:
                self.ask(self.amount)
        self._heal(done, asking=after != READER_OFF)

    def arrived(self, mark: str) -> bool:
        """Whether this frame came through before the tap was torn."""
        frame = self.marks[mark]
        torn, byte = self._cut
        return torn > frame or (torn == frame and byte >= self.lengths[frame])

    # --- hands

    def money(self) -> tuple[DeviceInfo, DeviceInfo]:
        return self.table.info(self.payer), self.table.info(self.payee)

    def ask(self, amount: int) -> None:
        self.amount = amount
        self.table.hands.ask(self.reader, f"{self.kind.keys}{amount}#")

    def _untorn(self) -> Tap:
        kind = self.kind
        tap = self.table.tap(
            self.reader, self.card, self._ending, f"{kind.card_ends_with}\n{shown(self._sum(kind.about))}"
        )
        self._cut = len(tap.frames), 0
        self.marks = marks_of(tap)
        self._done, self._credited = not kind.asks, False
        return tap

    def _heal(self, done: bool, asking: bool = True) -> None:
        """Hold the two together, as the screens say, until everybody has been told how it ended."""
        if not done:
            self._tap_until_told()
        elif self.kind.about == kinds.OLDER and asking:
            self._stop_asking()
        if self.table.info(self.payer).in_doubt:
            # The reader has its money and asks for nothing; its next sale brings the card the Receipt of this one.
            assert not self.kind.reader_pays
            self.ask(_HEALING + self.amount)
            self._tap_until_told()
        self._check_paid_once()

    def _tap_until_told(self) -> None:
        kind = self.kind
        finished = f"{kinds.PERSON.reader_ends_with if kind.reader_pays else kinds.SALE.reader_ends_with}\n"
        finished += shown(self.amount)
        for _ in range(_TAPS):
            if "CONFIRM PAYMENT" in self.card.panel.text:
                self._confirm()
            if "hold the other" not in self.reader.panel.text:
                self.table.notice_empty_field(self.reader)
            seen = self.reader.panel.screens
            self.table.world.bring_together(self.reader, self.card)
            word = self.reader.panel.wait_for(finished, "EARLIER", "NOT PAID", "TAP AGAIN", after=seen)
            if word == finished:
                if not kind.reader_pays:
                    self.card.panel.wait_for(f"PAID\n{shown(self.amount)}")
                elif not self._credited:  # else it has said so already
                    self.card.panel.wait_for(f"RECEIVED\n{shown(self.amount)}")
                self.table.world.separate()
                self._told += self.amount
                return
            self.table.world.separate()
            if word == "EARLIER":
                if self._is_told_earlier():
                    return
            else:
                assert word == "NOT PAID", self.reader.panel.text
                # What became of an older payment is shown before anything is asked: then the next tap asks.
                self.card.panel.wait_for("CONFIRM PAYMENT", "money is back", "\nthank you")
        raise AssertionError("nobody is told how it ended")

    def _is_told_earlier(self) -> bool:
        """Whether what was paid earlier is what they want to pay: then they stop."""
        text = self.reader.panel.text
        if f"EARLIER\n{shown(self.amount)}" in text and not self._told:
            self._told = self.amount
        elif f"EARLIER\n{shown(self.older)}" in text and self.kind.about == kinds.OLDER:
            self._told = self.older
        else:
            return False
        self._stop_asking()
        return True

    def _stop_asking(self) -> None:
        self.reader.panel.press("*")
        self.reader.panel.wait_for("NOT PAID")

    def _confirm(self) -> None:
        self.card.panel.wait_for(f"CONFIRM PAYMENT\n{shown(self.amount)}")
        time.sleep(READING_S)
        self.card.panel.press("#")
        self.card.panel.wait_for(f"CONFIRMED\n{shown(self.amount)}")

    def _check_paid_once(self) -> None:
        payer, payee = self.money()
        assert payer.in_doubt == payee.in_doubt == 0
        assert payee.balance == self.held[2] + self._told
        assert payer.balance + payee.balance == TOTAL
        if self._epoch:
            assert self._epochs() == (self._epoch, self._epoch) or self._spreads_next()

    def _give_up(self) -> None:
        self.reader.panel.press("*")
        self.reader.panel.wait_for(self._says(self.kind.stops_with) or "NOT PAID")

    def _settle(self, payer_first: bool, credited: int) -> None:
        """Sync both, and check that the ledger and both devices agree on who has the money."""
        table = self.table
        for device in (self.payer, self.payee, self.payer) if payer_first else (self.payee, self.payer, self.payer):
            report = table.sync(device)
            assert report.certified and not report.dead_letters and not report.refused, report
        table.bank.ledger.check()
        books = table.bank.ledger.reconciliation()
        assert (books["difference"], books["pending"], books["suspense"]) == (0, {}, {})
        payer, payee = self.money()
        assert (payee.balance, payer.balance + payee.balance) == (self.held[2] + credited, TOTAL)
        assert payer.in_doubt == payee.in_doubt == 0
        assert (table.purse(self.payer), table.purse(self.payee)) == (payer.balance, payee.balance)
        for device, info in ((self.payer, payer), (self.payee, payee)):
            if "CONFIRM" in device.panel.text:
                time.sleep(READING_S)
                device.panel.press("*")
            elif "hold the other" in device.panel.text or "EARLIER" in device.panel.text:
                device.panel.press("*")
            device.panel.press(ANY_KEY)  # away with what it showed of the tap
            device.panel.wait_for(f"\n{shown(info.balance)}\n")
            assert "doubt" not in device.panel.text

    # --- what comes before

    def _lose(self, before: str) -> None:
        """An older payment whose Transfer, or Receipt, is lost on its way, and that nobody taps again for."""
        base = kinds.PERSON if self.kind.reader_pays else kinds.SALE
        self.older = _OLDER + next(self._amounts)
        self.ask(self.older)
        # RATS, ATS, select, its answer, PAY or REQUEST, its answer, CONFIRM or TRANSFER
        self.table.torn_tap(
            self.reader, self.card, 5 if not base.reader_pays and before != kinds.LOST_RECEIPT else 6, 0
        )
        if before == kinds.LOST_RECEIPT:
            self.reader.panel.wait_for(f"RECEIVED\n{shown(self.older)}")
            return
        self.reader.panel.wait_for("TAP AGAIN")
        self.reader.panel.press("*")
        self.reader.panel.wait_for("IN DOUBT" if base.reader_pays else "Card in doubt?")
        if before == kinds.LOST_TRANSFER_AND_POWER:
            switch_off(self.card)
            self.card.start()

    def _publish(self, device: SimulatedDevice) -> None:
        """Give one device newer revocations: a complete list and a delta."""
        signer = self.table.bank.operators[1]
        entries = [(sha256(bytes([number]))[:16], REVOKED_ALTOGETHER) for number in range(_LISTED)]
        whole = Revocations.of(entries, issuer=1, epoch=self._epoch + 1, predecessor=0, predecessor_hash=bytes(32))
        whole.sign(signer.sign)
        delta = Revocations.of(
            entries[:1], issuer=1, epoch=self._epoch + 2, predecessor=whole.epoch, predecessor_hash=sha256(whole.body())
        )
        with self.table.on_cable(device) as client:
            client.put(whole.encode())
            client.put(delta.sign(signer.sign).encode())
        self._epoch += 2

    def _epochs(self) -> tuple[int, int]:
        with self.table.on_cable(self.reader) as client:
            reader = client.epoch
        with self.table.on_cable(self.card) as client:
            return reader, client.epoch

    def _spreads_next(self) -> bool:
        """A tap that was torn while revocations spread leaves them to the next one."""
        self.ask(self.amount)
        self.table.tap(self.reader, self.card, self._ending, f"{self.kind.card_ends_with}\n{shown(self.amount)}")
        return self._epochs() == (self._epoch, self._epoch)

    def _id(self, device: SimulatedDevice) -> bytes:
        with self.table.on_cable(device) as client:
            assert client.certificate is not None
            return device_id(client.certificate.key, sha256)

    # --- words

    def _sum(self, of: str) -> int:
        return self.older if of == kinds.OLDER else self.amount

    @property
    def _ending(self) -> str:
        ending = self.kind.reader_ends_with
        return ending if self.kind.asks else f"{ending}\n{shown(self._sum(self.kind.about))}"

    def _says(self, screens: tuple[tuple[str, str], ...]) -> str | None:
        """What stands there after this cut, None for the end of the tap."""
        for mark, text in screens:
            if not self.arrived(mark):
                return text.format(amount=shown(self.amount))
        return None
