"""Power cuts in the middle of taps: the process is killed and started again from its state folder.

What a device has said in the air binds it for ever: after a restart it may say the same again, and never anything else
in its place.
"""

import time

import pytest

from host_tools.simulator.air import AirFrame
from host_tools.simulator.device import SimulatedDevice
from protocol import apdu
from protocol.errors import DecodeError
from protocol.objects import Certificate, Receipt, Request, Transfer
from tests.device.table import ANY_KEY, Table

FUNDS = 100_00
FIRST, SECOND = 3_00, 1_00
# When the power goes: so many milliseconds after this frame was sent (RATS is 0, the payment's own command 4). Work on
# a frame takes 5 to 30 ms, so that the cuts fall before, into and after its commit.
WORK_MS = range(0, 32, 4)
MOMENTS = [(2, 0), (3, 0), *[(4, ms) for ms in WORK_MS], *[(5, ms) for ms in WORK_MS], (6, 0), (6, 10), (7, 0)]
_END_S = 30

pytestmark = pytest.mark.slow


class Listener:
    """Hears everything that is said in the air, and checks that nobody contradicts itself."""

    def __init__(self) -> None:
        self._requests: dict[int, bytes] = {}
        self._transfers: dict[tuple[bytes, int], bytes] = {}
        self._receipts: dict[int, bytes] = {}

    def hear(self, frames: list[AirFrame]) -> None:
        for frame in frames:
            if frame.data[:1] not in (b"\x02", b"\x03") or len(frame.data) < 4:
                continue
            if frame.sender == "card":
                data = frame.data[1:-2]
            else:
                command = apdu.decode_command(frame.data[1:])
                data = command.data[Certificate.size() :] if command.ins == apdu.PAY else command.data
            self._take(data)

    def _take(self, data: bytes) -> None:
        if (request := _decoded(Request, data)) is not None:
            highest = max(self._requests, default=0)
            assert request.number > highest or self._requests.get(request.number) == data, "a number was used again"
            self._requests[request.number] = data
        elif (transfer := _decoded(Transfer, data)) is not None:
            assert self._transfers.setdefault((transfer.payer, transfer.seq), data) == data, "two histories"
        elif (receipt := _decoded(Receipt, data)) is not None:
            assert self._receipts.setdefault(receipt.seq, data) == data, "two histories"

    @property
    def requests(self) -> int:
        return len(self._requests)


def _decoded(kind, data: bytes):
    try:
        return kind.decode(data)
    except DecodeError:
        return None


class Scene:
    """A payer and a payee; the reader asks with `keys`."""

    def __init__(self, table: Table, reader_pays: bool) -> None:
        self.table = table
        self.reader_pays = reader_pays
        if reader_pays:
            self.reader, self.card = table.wallet("reader", FUNDS), table.wallet("card")
            self.payer, self.payee = self.reader, self.card
        else:
            self.reader, self.card = table.terminal("reader"), table.wallet("card", FUNDS)
            self.payer, self.payee = self.card, self.reader
        self.listener = Listener()

    def ask(self, amount: int) -> None:
        self.table.hands.ask(self.reader, f"{'A' if self.reader_pays else ''}{amount}#")

    def cut_power(self, victims: list[SimulatedDevice], frame: int, delay_ms: int) -> None:
        """A tap in which the victims' power goes `delay_ms` after `frame` was sent; then they are switched on again."""
        taps = self.table.world.air.taps
        before = taps[-1] if taps else None
        self.table.world.bring_together(self.reader, self.card)
        deadline = time.monotonic() + _END_S
        while not taps or taps[-1] is before or (len(taps[-1].frames) <= frame and not taps[-1].ended):
            assert time.monotonic() < deadline
        until = time.monotonic() + delay_ms / 1000
        while time.monotonic() < until:
            pass
        for victim in victims:
            assert victim.stop() == ""
        self.table.world.separate()
        self.listener.hear(taps[-1].frames)
        for victim in victims:
            victim.start()

    def check_money(self) -> int:
        """Money may be in doubt but is never made or lost. Returns the sum in doubt."""
        payer, payee = self.table.info(self.payer), self.table.info(self.payee)
        assert payer.balance + payee.balance <= FUNDS <= payer.balance + payer.in_doubt + payee.balance
        return payer.in_doubt

    def pay(self, amount: int) -> None:
        """Pay again, whatever is left of before; both devices end without doubt.

        If what was in doubt turns out to be paid, the reader says so first, and the two are held together once more.
        """
        in_doubt = self.table.info(self.payer).in_doubt
        self.ask(amount)
        on_reader, on_card = ("PAID", "RECEIVED") if self.reader_pays else ("RECEIVED", "PAID")
        if self._tap(f"{on_reader}\n{_money(amount)}", "EARLIER") == "EARLIER":
            assert in_doubt and f"EARLIER\n{_money(in_doubt)}" in self.reader.panel.text
            self.table.notice_empty_field(self.reader)
            self._tap(f"{on_reader}\n{_money(amount)}")
        self.card.panel.wait_for(f"{on_card}\n{_money(amount)}")
        assert self.check_money() == 0

    def _tap(self, *words: str) -> str:
        seen = self.reader.panel.screens
        self.table.world.bring_together(self.reader, self.card)
        shown = self.reader.panel.wait_for(*words, after=seen)
        self.table.world.separate()
        self.listener.hear(self.table.world.last_tap.frames)
        return shown

    def check_settled(self) -> None:
        for device in (self.payee, self.payer):
            report = self.table.sync(device)
            assert report.certified and not report.dead_letters
        ledger = self.table.bank.ledger
        ledger.check()
        books = ledger.reconciliation()
        assert (books["difference"], books["pending"]) == (0, {}) and not ledger.evidence()
        for device in (self.payer, self.payee):
            assert self.table.purse(device) == self.table.info(device).balance


@pytest.mark.parametrize("who", ["reader", "card", "both"])
@pytest.mark.parametrize("reader_pays", [False, True], ids=["sale", "wallet to wallet"])
def test_power_that_goes_during_a_tap(table: Table, reader_pays: bool, who: str) -> None:
    scene = Scene(table, reader_pays)
    victims = {"reader": [scene.reader], "card": [scene.card], "both": [scene.reader, scene.card]}[who]
    in_doubt = []
    for frame, delay_ms in MOMENTS:
        scene.ask(FIRST)
        scene.cut_power(victims, frame, delay_ms)
        in_doubt.append(scene.check_money() > 0)
        if scene.reader not in victims:
            scene.reader.panel.press("*" + ANY_KEY)  # stop asking, if it still does; away with the outcome
            scene.reader.panel.wait_for("WALLET\n", "TERMINAL\n")
        scene.pay(SECOND)
    assert True in in_doubt and False in in_doubt  # cuts fell on both sides of the commit
    assert scene.listener.requests >= len(MOMENTS)
    scene.check_settled()


def test_a_wallet_without_power_pays_the_same_request_once(table: Table) -> None:
    """The card's power goes right after its Transfer was sent into nothing; the open sale is paid once."""
    scene = Scene(table, reader_pays=False)
    scene.ask(FIRST)
    table.torn_tap(scene.reader, scene.card, frame=5, byte=10)
    scene.card.panel.wait_for("IN DOUBT\n3.00")
    sent = _transfer_in(table.world.last_tap.frames)
    assert scene.card.stop() == ""
    scene.card.start()
    scene.card.panel.wait_for("WALLET\n97.00\ndoubt 3.00")
    table.tap(scene.reader, scene.card, "RECEIVED\n3.00", "PAID\n3.00")
    assert _transfer_in(table.world.last_tap.frames) == sent
    info = table.info(scene.card)
    assert (info.balance, info.in_doubt, table.info(scene.reader).balance) == (FUNDS - FIRST, 0, FIRST)
    scene.check_settled()


def test_a_terminal_without_power_gives_a_receipt_for_what_it_credited(table: Table) -> None:
    """It had credited and lost its power before the wallet heard of it.

    The next tap brings the Receipt, and who is about to pay a second time is told first.
    """
    scene = Scene(table, reader_pays=False)
    scene.ask(FIRST)
    table.torn_tap(scene.reader, scene.card, frame=6, byte=10)
    scene.reader.panel.wait_for("RECEIVED\n3.00")
    assert scene.reader.stop() == ""
    scene.reader.start()
    scene.reader.panel.wait_for("TERMINAL\n3.00")
    scene.ask(FIRST)
    table.tap(scene.reader, scene.card, "HAD EARLIER\n3.00", "PAID\n3.00")
    scene.reader.panel.press("*")
    scene.reader.panel.wait_for("NOT PAID")
    info = table.info(scene.card)
    assert (info.balance, info.in_doubt) == (FUNDS - FIRST, 0)
    scene.check_settled()


def test_a_terminal_without_power_voids_what_it_never_saw(table: Table) -> None:
    """Its open Request died with the power: the money of the lost Transfer comes back at the next sale."""
    scene = Scene(table, reader_pays=False)
    scene.ask(FIRST)
    table.torn_tap(scene.reader, scene.card, frame=5, byte=10)
    assert scene.reader.stop() == ""
    scene.reader.start()
    scene.pay(SECOND)
    assert table.info(scene.card).balance == FUNDS - SECOND
    scene.check_settled()


def _money(amount: int) -> str:
    return f"{amount // 100}.{amount % 100:02}"


def _transfer_in(frames: list[AirFrame]) -> bytes:
    (transfer,) = [frame.data[1:-2] for frame in frames if frame.sender == "card" and frame.data[1:2] == b"\x05"]
    Transfer.decode(transfer)
    return transfer


def test_request_numbers_are_never_given_out_again(table: Table) -> None:
    restarts = 3
    terminal, wallet = table.terminal("terminal"), table.wallet("wallet", FUNDS)
    listener = Listener()
    watermarks = []
    for _ in range(restarts):
        for _ in range(2):
            table.hands.ask(terminal, "1#")
            table.tap(terminal, wallet, "RECEIVED", "PAID")
            listener.hear(table.world.last_tap.frames)
        watermarks.append(table.info(terminal).watermark)
        assert terminal.stop() == ""
        terminal.start()
        assert table.info(terminal).watermark >= watermarks[-1]
    assert listener.requests == 2 * restarts and watermarks == sorted(set(watermarks))
