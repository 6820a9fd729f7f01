"""Rules of the journal, of starting, and of what a screen says: each is needed, since its scenario fails without it.

`RULES` holds the sentence of docs/protocol.md that each test is about. The firmware's own modules run here: the journal
on flash that forgets what was cut, the device on that flash, the collection of a payment.
"""

import contextlib
import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protocol import apdu, effects
from protocol.card import Card
from protocol.objects import SALE, Receipt, Transfer, Void
from protocol.tap import NOT_PAID
from tests import micropython
from tests.rules.rule import check_needed, without
from tests.rules.scenes import receive, refused, shop, tap
from tests.unit.nor_flash import FlashError, NorFlash, PowerCut
from tests.unit.world import KINDS, REFERENCE, Device, World
from tests.unit.world import PowerCut as DevicePowerCut

journal_module = micropython.import_on_cpython("storage.journal")
recovery = micropython.import_on_cpython("storage.journal_recovery")
errors = micropython.import_on_cpython("storage.errors")
collect = micropython.import_on_cpython("apps.collect")
firmware = micropython.import_on_cpython("apps.device")
Journal = journal_module.Journal

RULES = {
    "test_a_start_settles_the_last_record_for_good": (
        "the last accepted record is made durable again and a rejected tail is invalidated for good"
    ),
    "test_a_failed_write_is_settled_before_anything_leaves": (
        "After a start or a failed write, before any message leaves"
    ),
    "test_a_device_whose_write_failed_signs_nothing": "Nothing that reveals it leaves the device earlier.",
    "test_a_device_with_unreadable_records_stops": "A device whose committed records cannot be read stops signing.",
    "test_key_and_journal_die_together": (
        "Key and journal live and die together: a wiped or restored journal means a new key."
    ),
    "test_a_journal_without_its_key_is_not_used": "Key and journal live and die together",
    "test_a_payer_commits_before_it_answers": "**commits the debit and only then answers.**",
    "test_a_payee_commits_before_it_says_paid": '**commits the credit and only then shows "paid"**',
    "test_a_request_is_closed_before_anybody_reads_not_paid": 'before anybody reads "not paid"',
    "test_cancelling_finds_a_commit_that_was_made": "cancelling waits for a commit in progress",
}

SECTOR_BYTES = 1024
FLASH_BYTES = 12 * SECTOR_BYTES
BOARD_FLASH_BYTES = 32 * 4096
STARTS = 40
COPY_BYTES = 16  # of a note, which stands there twice


def record(seq: int, length: int = 60) -> bytes:
    return seq.to_bytes(4, "big") + bytes((seq * 31 + n) & 0xFF for n in range(length - 4))


def small_flash() -> NorFlash:
    return NorFlash(FLASH_BYTES, SECTOR_BYTES)


# --- the journal


def test_a_start_settles_the_last_record_for_good() -> None:
    """Power goes in the first copy of a note: the cell that was cut reads as it likes.

    What the first start says, every later start must say.
    """

    def scenario() -> None:
        for before in range(1, 7):
            for left in range(COPY_BYTES, COPY_BYTES + 4):  # bytes of the append that are not programmed
                flash = small_flash()
                journal = Journal(flash)
                for seq in range(1, before + 1):
                    journal.append(record(seq))
                uncut = copy.deepcopy(journal)
                uncut.append(record(before + 1))
                flash.cut_after = uncut._flash.changed_bytes - left - 1
                with contextlib.suppress(PowerCut):
                    journal.append(record(before + 1))
                flash.cut_after = None
                found = {Journal(flash).head_seq for _ in range(STARTS)}
                assert len(found) == 1, f"{left} bytes left: read once as valid and once as not"

    taken_out = without(Journal.__init__, ("self._write_note()", "pass"))
    check_needed(scenario, taken_out, outcome="read once as valid and once as not")


class TiredFlash(NorFlash):
    """Fails at its next program, once, half way."""

    fails = False

    def program(self, offset: int, data: bytes) -> None:
        if self.fails:
            self.fails = False
            super().program(offset, data[: len(data) // 2 // 32 * 32])
            raise FlashError("no power for this program")
        super().program(offset, data)


def test_a_failed_write_is_settled_before_anything_leaves() -> None:
    def scenario() -> None:
        flash = TiredFlash(FLASH_BYTES, SECTOR_BYTES)
        journal = Journal(flash)
        journal.append(record(1))
        flash.fails = True
        with pytest.raises(errors.JournalUncertain):
            journal.append(record(2))
        try:
            journal.reserve(1, 60)
            goes_on = True
        except errors.JournalUncertain:
            goes_on = False
        assert not goes_on, "goes on though nobody knows what is stored"

    taken_out = without(Journal.append, ("self._certain = False", "pass"))
    check_needed(scenario, taken_out, outcome="goes on though nobody knows what is stored")


def test_a_device_with_unreadable_records_stops() -> None:
    def scenario() -> None:
        flash = small_flash()
        journal = Journal(flash)
        for seq in range(1, 6):
            journal.append(record(seq))
        place = flash.cells.index(record(3)[:20]) + 10
        flash.cells[place] ^= 0x55
        try:
            head = Journal(flash).head_seq
        except errors.JournalCorrupt:
            head = 0
        assert head == 0, "started without a payment that it had made"

    taken_out = without(
        recovery.Recovery.__init__,
        ('raise JournalCorrupt("record %d cannot be read: service needed" % self._lost)', "pass"),
    )
    check_needed(scenario, taken_out, outcome="started without a payment that it had made")


# --- the device on its flash


class Board:
    """What a device needs of a port, on this computer: flash that was cut, files, and no chip."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.flash = NorFlash(BOARD_FLASH_BYTES)
        self.flash.page_count = 0  # pyright: ignore[reportAttributeAccessIssue]

    def data_path(self, name: str) -> str:
        return str(self._folder / name)

    def open_flash(self, spec: dict) -> NorFlash:
        return self.flash

    def key_bytes(self, count: int) -> bytes:
        return bytes(range(count))

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)

    def device_secret(self, may_make: bool) -> bytes:
        return b"s" * 32

    def ticks_ms(self) -> int:
        return 0

    def ticks_us(self) -> int:
        return 0

    def ticks_diff(self, later: int, earlier: int) -> int:
        return later - earlier

    def start(self) -> Any:
        """The device as it starts on this board."""
        return firmware.Device(self, {})


def used_board(folder: Path) -> Board:
    """A board whose device has its key and is personalised."""
    board = Board(folder / str(len(list(folder.iterdir()))))
    board._folder.mkdir()
    device = board.start()
    assert not device.fault, device.fault
    device.generate_key(b"")
    send = firmware_send(device)
    send(apdu.PERSONALISE, World().personalisation(device, KINDS["wallet"]))
    assert not board.start().fault
    return board


def firmware_send(device: Any) -> Any:
    card = Card(device)

    def send(ins: int, data: bytes) -> bytes:
        apdu.parse_response(card.process(apdu.select(apdu.AID)))
        answer = b""
        for raw in apdu.chained(ins, data):
            answer = card.process(raw)
        return apdu.parse_response(answer)

    return send


def test_key_and_journal_die_together(tmp_path: Path) -> None:
    """A flash clip wipes the journal: the purse would be empty, and its old payments forgotten."""

    def scenario() -> None:
        board = used_board(tmp_path)
        board.flash = NorFlash(BOARD_FLASH_BYTES)
        board.flash.page_count = 0  # pyright: ignore[reportAttributeAccessIssue]
        assert board.start().fault, "signs under its old key"

    new_journal = without(
        firmware.Device._start, ("purse.take, False", "purse.take, True"), ("raise LocalError", "str")
    )
    check_needed(scenario, new_journal, outcome="signs under its old key")


def test_a_journal_without_its_key_is_not_used(tmp_path: Path) -> None:
    def scenario() -> None:
        board = used_board(tmp_path)
        for file in board._folder.iterdir():
            file.unlink()
        device = board.start()
        assert device.fault, "another key goes on with this journal"

    taken_out = without(firmware.Device.__init__, ("if self._journal.head_seq:", "if False:"))
    check_needed(scenario, taken_out, outcome="another key goes on with this journal")


def test_a_device_whose_write_failed_signs_nothing(tmp_path: Path) -> None:
    def scenario() -> None:
        board = used_board(tmp_path)
        device = board.start()
        send = firmware_send(device)
        load = World().operator.load(device.party.id, 1, 500).encode()
        board.flash.cut_after = board.flash.changed_bytes + 100
        assert refused(send, apdu.PUT, load)
        board.flash.cut_after = None
        assert refused(send, apdu.STATEMENT, bytes(16)), "signed without knowing what its journal holds"

    taken_out = without(firmware.Device.guarded, ("self._fail(error)", "pass"))
    check_needed(scenario, taken_out, outcome="signed without knowing what its journal holds")


# --- commit first


WITHOUT_COMMIT = ("journal.append(effect.record)", "answers_all_the_same(journal, effect.record)")


def answers_all_the_same(journal: Any, stored: bytes) -> None:
    """As if the answer left before the commit: power that goes at the commit does not stop it."""
    # AssertionError: of the journal in memory, for what follows the record that it does not have.
    with contextlib.suppress(DevicePowerCut, AssertionError):
        journal.append(stored)


def test_a_payer_commits_before_it_answers() -> None:
    def scenario() -> None:
        world, terminal, wallet = shop()
        terminal.open(300)
        wallet.journal.fail = "before"
        tap(terminal, wallet)
        wallet.restart()
        assert world.total() <= 1_000, "money out of nothing"

    taken_out = without(effects.perform, WITHOUT_COMMIT, answers_all_the_same=answers_all_the_same)
    check_needed(scenario, taken_out, outcome="money out of nothing")


def test_a_payee_commits_before_it_says_paid() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        terminal.open(300)
        terminal.journal.fail = "before"
        said = tap(terminal, wallet)
        terminal.restart()
        assert said != "paid" and terminal.purse.balance == 0, "showed paid, and has nothing"

    taken_out = without(effects.perform, WITHOUT_COMMIT, answers_all_the_same=answers_all_the_same)
    check_needed(scenario, taken_out, outcome="showed paid, and has nothing")


# --- what a person reads


class Radio:
    """A radio with no card near it."""

    def start_polling(self) -> None:
        pass

    def stop(self) -> None:
        pass


def collecting(terminal: Device) -> Any:
    """The payee's side of a payment as the firmware runs it, on a device of `tests.unit.world`."""
    terminal.port = SimpleNamespace(ticks_ms=lambda: 0)  # pyright: ignore[reportAttributeAccessIssue]
    return collect.Collection(terminal, Radio(), False, SALE, 300, REFERENCE)


def commit_to_open(terminal: Device, wallet: Device) -> Transfer:
    paid = wallet.payer.pay(terminal.certificate, terminal.payee.request, False, by_user=True)
    return Transfer.decode(wallet.perform(paid))


def test_a_request_is_closed_before_anybody_reads_not_paid() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        collection = collecting(terminal)
        transfer = commit_to_open(terminal, wallet)
        collection.cancel()
        assert collection.moved == NOT_PAID
        assert receive(terminal, transfer, wallet) == Void.TYPE, "paid after somebody read not paid"

    taken_out = without(collect.Collection.cancel, ("payee.close()", "pass"))
    check_needed(scenario, taken_out, outcome="paid after somebody read not paid")


@pytest.mark.parametrize("fail", ["", "after"])
def test_cancelling_finds_a_commit_that_was_made(fail: str) -> None:
    """Whether the commit returned or the device only finds out at its next start."""

    def scenario() -> None:
        _, terminal, wallet = shop()
        collection = collecting(terminal)
        transfer = commit_to_open(terminal, wallet)
        terminal.journal.fail = fail
        assert receive(terminal, transfer, wallet) == (0 if fail else Receipt.TYPE)
        collection.cancel()
        assert collection.moved != NOT_PAID, "not paid, says the screen of what the journal credits"

    taken_out = without(
        collect.Collection.cancel,
        ("PAID if payee.state == CREDITED else NOT_PAID", "NOT_PAID"),
        ("if self._device.fault:", "if False:"),
    )
    check_needed(scenario, taken_out, outcome="says the screen of what the journal credits")
