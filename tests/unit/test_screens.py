"""ui.screens and ui.messages: whatever a person is told fits the screen; a line that is cut off is read wrongly."""

from types import SimpleNamespace
from typing import Any

import pytest

from protocol.errors import NAMES
from protocol.tap import NOT_KNOWN, NOT_PAID, PAID, TAP_AGAIN
from tests import micropython

screens = micropython.import_on_cpython("ui.screens")
COLUMNS = micropython.import_on_cpython("ui.text").COLUMNS
IN_FRAME = COLUMNS - 1  # the frame around an outcome takes half a character at both sides
BESIDE_THE_CROSS = 12
BIGGEST = 999_999_999


class Ruler:
    """In the place of `ui.screen.Screen`: measures instead of drawing."""

    def __init__(self) -> None:
        self.shown = 0

    def _measure(self, columns: int, lines: list[str]) -> None:
        self.shown += 1
        too_long = [line for line in lines if len(line) > columns]
        assert not too_long, f"longer than {columns}: {too_long}"

    def show(self, lines: list[str]) -> None:
        assert len(lines) <= 8
        self._measure(COLUMNS, lines)

    def show_amount(self, title: str, amount: str, lines: list[str]) -> None:
        assert amount and len(lines) <= 2
        self._measure(COLUMNS, [title, *lines])

    def show_outcome(self, good: bool, title: str, amount: str, lines: list[str]) -> None:
        assert len(lines) <= (1 if amount else 3) or not any(lines[1:])
        self._measure(BESIDE_THE_CROSS, [title])
        self._measure(IN_FRAME, lines)


@pytest.fixture
def ruler() -> Ruler:
    return Ruler()


@pytest.mark.parametrize("at_power_on", [None, False, True])
def test_no_line_of_the_pin_menu_is_longer_than_the_screen(ruler: Ruler, at_power_on: bool | None) -> None:
    screens.show_pin_menu(ruler, at_power_on)
    assert ruler.shown == 1


@pytest.mark.parametrize("title", ["LOCKED", "PRESENT PIN", "NEW PIN", "NEW PIN AGAIN", "PAY 9999999.99"])
@pytest.mark.parametrize("note", ["4 to 8 digits", "not the same", "wrong PIN", ""])
def test_no_line_of_a_typed_pin_is_longer_than_the_screen(ruler: Ruler, title: str, note: str) -> None:
    for tries in (None, 5, 1, 0):
        screens.show_pin(ruler, title, 8, tries, note)
    assert ruler.shown == 5  # the last one is an outcome: title and lines


def collections() -> list[Any]:
    return [
        SimpleNamespace(moved=moved, cause=cause, earlier=earlier, pays=pays, left_open=left_open, amount=BIGGEST)
        for moved in (PAID, NOT_PAID, NOT_KNOWN, TAP_AGAIN)
        for cause in (0, *NAMES, 255)
        for earlier in (0, BIGGEST)
        for pays in (False, True)
        for left_open in (False, True)
    ]


@pytest.mark.parametrize("exponent", [0, 2, 4])
def test_no_outcome_is_longer_than_the_screen(ruler: Ruler, exponent: int) -> None:
    trust = SimpleNamespace(own=SimpleNamespace(exponent=exponent))
    purse = SimpleNamespace(certificate=True, balance=BIGGEST, last_amount=-BIGGEST, in_doubt=[1], in_doubt_sum=BIGGEST)
    device = SimpleNamespace(fault="", party=SimpleNamespace(trust=trust, purse=purse))
    say = screens.Screens(ruler, device, "TERMINAL")
    for collection in collections():
        say.ended(collection)
        say.again("CASH OUT", collection)
    for cause in (0, *NAMES, 255):
        say.not_paid(cause)
    for tell in (say.confirmed, say.in_doubt, say.paid, say.received, say.returned):
        tell(BIGGEST)
    say.confirm(SimpleNamespace(payee=bytes(16), amount=BIGGEST))
    say.entry("CASH OUT", BIGGEST)
    say.present("CASH OUT", BIGGEST)
    for fault, certificate, in_doubt in (("broken", True, []), ("", None, []), ("", True, []), ("", True, [1])):
        device.fault, purse.certificate, purse.in_doubt = fault, certificate, in_doubt
        say.idle("A pay  B receive")
    assert ruler.shown > 500
