"""What each situation looks like. Owns words and layout; decides nothing.

Every outcome says where the money is and what to do.
"""

from binascii import hexlify

from protocol.tap import NOT_KNOWN, PAID, TAP_AGAIN
from ui.messages import explain
from ui.text import format_amount


class Screens:
    """Draws for one device on one `ui.screen.Screen`; `exponent` is the currency's."""

    def __init__(self, screen, device, title: str):
        self._screen = screen
        self._device = device
        self._title = title
        self.fresh = True  # nothing has happened since the start

    def money(self, amount: int) -> str:
        trust = self._device.party.trust if self._device.party else None
        return format_amount(amount, trust.own.exponent if trust else 2)

    def idle(self, hint: str) -> None:
        """Balance, what is in doubt shown apart, and what can be done.

        From the start to the first outcome, how the last payment ended: power may have gone before anybody saw that.
        """
        device = self._device
        if device.fault:
            self._screen.show_outcome(False, "SERVICE", "", ["Money is safe.", "Take me to", "your bank."])
        elif not device.party or not device.party.purse.certificate:
            self._screen.show([self._title, "", "Not set up yet", "", "Connect to the", "bank's host"])
        else:
            purse = device.party.purse
            line = "last " + self.money(purse.last_amount) if self.fresh and purse.last_amount else ""
            if purse.in_doubt:
                line = "doubt " + self.money(purse.in_doubt_sum)
            self._screen.show_amount(self._title, self.money(purse.balance), [line, hint])

    def entry(self, what: str, amount: int) -> None:
        self._screen.show_amount(what, self.money(amount), ["# = OK", "* = back"])

    def present(self, what: str, amount: int) -> None:
        self._screen.show_amount(what, self.money(amount), ["hold the other", "device here"])

    def again(self, what: str, collection) -> None:
        """A tap ended early and another is wanted."""
        if collection.earlier:
            title = "SENT EARLIER" if collection.pays else "HAD EARLIER"
            self._screen.show_outcome(True, title, self.money(collection.earlier), ["tap=more *=stop"])
        elif collection.moved == TAP_AGAIN:
            lines = ["same card again" if collection.cause == 0 else explain(collection.cause)[0]]
            self._screen.show_outcome(False, "TAP AGAIN", self.money(collection.amount), lines)
        else:
            self._screen.show_outcome(False, "NOT PAID", "", explain(collection.cause) + ["* = stop"])

    def ended(self, collection) -> None:
        amount = self.money(collection.amount)
        if collection.moved == PAID:
            self._screen.show_outcome(True, "PAID" if collection.pays else "RECEIVED", amount, ["thank you"])
        elif collection.moved == TAP_AGAIN:
            self._screen.show_outcome(False, "IN DOUBT", amount, ["tap again, sync"])
        elif collection.moved == NOT_KNOWN:
            self._screen.show_outcome(False, "NOT KNOWN", "", ["Switch me off", "and on, then", "tap or look."])
        elif collection.left_open:
            self._screen.show_outcome(False, "NOT PAID", "", ["Card in doubt?", "Tap or sync it:", "money returns"])
        else:
            self.not_paid(collection.cause)

    def not_paid(self, cause: int) -> None:
        lines = explain(cause) if cause else ["No money moved.", ""]
        self._screen.show_outcome(False, "NOT PAID", "", lines)

    def confirm(self, wanted) -> None:
        """Ask a person to confirm a payment; the payee's id lets two careful people compare."""
        who = hexlify(wanted.payee[:6]).decode()
        self._screen.show_amount("CONFIRM PAYMENT", self.money(wanted.amount), ["to " + who, "# = yes  * = no"])

    def confirmed(self, amount: int) -> None:
        self._screen.show_amount("CONFIRMED", self.money(amount), ["tap again now", ""])

    def in_doubt(self, amount: int) -> None:
        """As a card: the money left, and no receipt came back yet."""
        self._screen.show_outcome(False, "IN DOUBT", self.money(amount), ["tap there again"])

    def paid(self, amount: int) -> None:
        """As a card: the receipt is here."""
        self._screen.show_outcome(True, "PAID", self.money(amount), ["thank you"])

    def received(self, amount: int) -> None:
        self._screen.show_outcome(True, "RECEIVED", self.money(amount), [""])

    def returned(self, amount: int) -> None:
        """A payment was voided: the money is back."""
        self._screen.show_outcome(False, "NOT PAID", self.money(amount), ["money is back"])


def show_pin(screen, title: str, count: int, tries: int | None, note: str) -> None:
    """`count` digits typed, as stars; `tries` left of the present PIN, None while a new one is typed."""
    if tries == 0:
        screen.show_outcome(False, "PIN BLOCKED", "", ["Money is safe.", "See your bank."])
        return
    left = "" if tries is None else "1 try left" if tries == 1 else "%d tries left" % tries
    screen.show([title, "", "*" * count, note, left, "# = OK  * = back"])


def show_pin_menu(screen, at_power_on: bool | None) -> None:
    """`at_power_on` is None without a PIN."""
    if at_power_on is None:
        lines = ["PIN: none", "1 set"]
    else:
        asked = ["PIN: + power-on", "3 not power-on"] if at_power_on else ["PIN: payments", "3 also power-on"]
        lines = [asked[0], "1 change", "2 remove", asked[1]]
    screen.show(lines + ["* = back"])
