"""The loop's turns: what a person leaves standing ends, and a host that never pauses does not keep a device untidy."""

from typing import Any

import pytest

from protocol import apdu
from protocol.framing import encode_frame
from protocol.objects import PERSON
from tests.device.test_true_screens import Still, apps_app
from tests.unit.world import World

PATIENCE_MS = 30_000


class Surroundings(Still):
    """With a radio in whose field nothing ever is, a PIN pad, and a host that talks in every turn if it may."""

    def __init__(self) -> None:
        super().__init__()
        self.talks = False
        self._number = 0

    def read(self) -> bytes:
        if not self.talks:
            return b""
        self._number = self._number % 255 + 1
        return encode_frame(self._number, apdu.command(apdu.INFO))

    def start_listening(self) -> None:
        self.shown.append(("listens", 0))

    def start_polling(self) -> None:
        pass

    stop = start_polling

    def find_card(self, _timeout_ms: int) -> bool:
        return False

    def entry(self, what: str, amount: int) -> None:
        self.shown.append((what, amount))

    present = entry

    def ended(self, collection: Any) -> None:
        self.shown.append((collection.moved, collection.amount))

    def menu(self) -> None:
        self.shown.append(("menu", 0))


class Seat:
    """A wallet's App in these surroundings."""

    def __init__(self) -> None:
        self.still: Any = Surroundings()
        wallet: Any = World().device("wallet", "wallet", balance=5_000_00)
        wallet.port, wallet.events, wallet.keep_alive = self.still, {}, None
        wallet.notify = wallet.events.__setitem__
        wallet.tidy = self._tidy
        self.tidied = 0
        modes = [apps_app.Mode("A", "PAY", True, PERSON)]
        self.app = apps_app.App(wallet, self.still, self.still, self.still, self.still, None, [], modes, "", self.still)
        self.turns(3)

    def _tidy(self) -> bool:
        self.tidied += 1
        return True

    def press(self, keys: str) -> None:
        self.still.keys += keys
        self.app.step()

    def turns(self, count: int) -> int:
        """Go on for so many turns; how often it tidied in them."""
        before = self.tidied
        for _ in range(count):
            self.app.step()
        return self.tidied - before

    def pass_ms(self, ms: int) -> None:
        end = self.still.now + ms
        while self.still.now < end:
            self.app.step()

    @property
    def is_idle(self) -> bool:
        return self.still.shown[-1][0] == "idle"


@pytest.fixture
def seat() -> Seat:
    return Seat()


@pytest.mark.parametrize(("keys", "shows"), [("D", "menu"), ("A12", "PAY"), ("A60000#", "pin")])
def test_what_a_person_leaves_standing_ends(seat: Seat, keys: str, shows: str) -> None:
    """And only then is there time to tidy."""
    seat.press(keys)
    assert seat.still.shown[-1][0] == shows
    seat.pass_ms(PATIENCE_MS - 1_000)
    seat.press("1")
    tidied = seat.tidied
    seat.pass_ms(PATIENCE_MS - 1_000)
    assert not seat.is_idle and seat.tidied == tidied
    seat.pass_ms(2_000)
    assert seat.is_idle and seat.tidied > tidied


def test_a_host_that_never_pauses_leaves_some_turns_for_tidying(seat: Seat) -> None:
    seat.still.talks = True
    assert 2 <= seat.turns(200) <= 8
    seat.still.talks = False
    assert seat.turns(10) == 10


def test_nothing_is_tidied_while_a_card_is_awaited(seat: Seat) -> None:
    """An erase takes up to 400 ms, for which nobody would be served."""
    tidied = seat.tidied
    seat.press("A100#")
    assert seat.still.shown[-1] == ("PAY", 100)
    seat.still.talks = True
    assert seat.turns(300) == 0
    seat.press("*")
    assert seat.still.shown[-1] == ("listens", 0) and seat.tidied == tidied  # first things first
    assert seat.turns(60) >= 1
