"""The loop of a device: keys, the host's link, the radio, the screen.

What wallet and terminal do differently is a table (`Mode`).

One thing at a time: a host's command, a tap and a key never interleave. While nobody asks for anything the device is a
card.
"""

import gc

from micropython import const

from apps.collect import ENDED, WAITING, Collection
from apps.link import HostLink
from drivers.errors import DriverError
from ports.errors import UartClosed
from protocol import card as cards
from protocol.errors import CONFIRM, LOCKED, Refused
from protocol.limits import needs_confirmation
from protocol.tap import PAID
from ui.text import type_digit

_IDLE_MS = const(50)  # keys are scanned so often; everything else wakes the loop
_RESULT_MS = const(5_000)  # how long an outcome stays when nobody presses a key
_RADIO_RETRY_MS = const(2_000)
_PATIENCE_MS = const(30_000)  # what is typed, or a menu, ends when nobody presses a key for so long
_TURNS = const(50)  # a host that talks without pause: after so many turns tidying is due all the same
_SEEN_MS = const(700)  # what is on the screen for less nobody has read: a key pressed earlier was not meant for it

OK = "#"
BACK = "*"
PIN = "D"


class Mode:
    """Something a person can start: the key that starts it, its name on the screen, who pays, the Request's purpose."""

    def __init__(self, key: str, name: str, pays: bool, purpose: int):
        self.key = key
        self.name = name
        self.pays = pays
        self.purpose = purpose


class App:
    """`modes[0]` is what typing digits starts. `pad` is `apps.pin.PinPad`, None on boards without digits."""

    def __init__(self, device, nfc, link_uart, keypad, screens, buzzer, uarts: list, modes: list, hint: str, pad):
        self._device = device
        self._nfc = nfc
        self._link = HostLink(link_uart, device)
        self._card = cards.Card(device)
        self._keypad = keypad
        self._buzzer = buzzer
        self._uarts = uarts
        self._modes = modes
        self._hint = hint
        self._screens = screens
        self._pad = pad
        self._then = None  # a PIN is asked for, or its menu is open; what to do when that is done
        self._mode: Mode | None = None
        self._mode_name = ""
        self._amount = 0
        self._collection: Collection | None = None
        self._shown_since = 0  # an outcome, or a question, is on the screen since then
        self._asking = None  # the payment that is shown with the question whether to pay; no other one is approved
        self._radio_down_since = 0
        self._listening = False
        self._pressed_at = 0  # when a key was pressed last
        self._untidy = 1  # turns since there may be something to tidy, 0 if there is not

    def run(self) -> None:
        """Until one of the lines is gone, which on a chip is never."""
        try:
            self._go_idle()
            while not self._link.gone:
                self.step()
        except UartClosed:
            pass

    def step(self) -> None:
        """One turn: wait for something to happen, then handle it."""
        # Between two taps there is nothing to wait for: until the radio listens again, nobody can pay us.
        busy = self._collection or not (self._listening or self._radio_down_since)
        port = self._device.port
        since = port.ticks_ms()
        port.wait(self._uarts, 0 if busy else _IDLE_MS)
        quiet = self._ms_since(since) * 2 > _IDLE_MS
        if self._link.poll():
            quiet = False
            self._after_host()
        try:
            key = self._keypad.read_key() if self._keypad else None
            while key:
                quiet = False
                self._press(key)
                key = self._keypad.read_key()
            if self._radio():
                quiet = False
        except DriverError:
            self._radio_failed()
        if not quiet:
            self._untidy += 1
        if self._typing:
            if self._ms_since(self._pressed_at) > _PATIENCE_MS:
                self._go_idle()
        elif self._untidy > (0 if quiet else _TURNS) and not (busy or self._collection):
            self._tidy()
        if self._asking:
            if not self._asked():
                self._go_idle()
        elif self._shown_since and self._ms_since(self._shown_since) > _RESULT_MS:
            self._go_idle()

    def _tidy(self) -> None:
        """What would cost time in a tap, one thing at a time."""
        try:
            self._untidy = self._device.tidy()
        except Refused:  # a write failed: out of service
            self._untidy = 0
            self._go_idle()

    # --- keys

    def _press(self, key: str) -> None:
        self._pressed_at = self._device.port.ticks_ms()
        if self._collection:
            if key == BACK:
                self._cancel(self._collection)
        elif self._shown_since and self._ms_since(self._shown_since) < _SEEN_MS and (self._asking or key in (OK, BACK)):
            pass
        elif self._then:
            self._press_pad(key)
        elif self._device.locked:
            self._go_idle()  # away with the outcome of a tap
        elif self._asking:
            self._answer(key)
        elif self._mode:
            self._type(self._mode, key)
        elif self._usable():
            self._choose(key)

    @property
    def _typing(self):
        """Somebody is in the middle of an amount, a PIN or its menu. A locked device asks for the PIN all the time."""
        return self._mode or self._then and not self._device.locked

    def _usable(self) -> bool:
        party = self._device.party
        return not self._device.fault and party is not None and party.purse.certificate is not None

    def _choose(self, key: str) -> None:
        for mode in self._modes:
            if key == mode.key:
                self._begin(mode)
                return
        if key == PIN and self._pad:
            self._pin_menu()
        elif "1" <= key <= "9":
            self._begin(self._modes[0])
            self._type(self._modes[0], key)
        elif self._shown_since:
            self._go_idle()

    def _begin(self, mode: Mode) -> None:
        self._clear()
        self._mode = mode
        self._amount = 0
        self._screens.entry(mode.name, 0)

    def _type(self, mode: Mode, key: str) -> None:
        if key == BACK and not self._amount:
            self._go_idle()
        elif key == OK and self._amount:
            party = self._device.party
            if mode.pays and needs_confirmation(party.purse, party.certificate, self._amount):
                self._with_pin(self._amount, lambda: self._collect(mode, True))
            else:
                self._collect(mode, not self._has_pin)
        else:
            self._amount = type_digit(self._amount, key)
            self._screens.entry(mode.name, self._amount)

    def _answer(self, key: str) -> None:
        asked = self._asked()
        if key == OK and asked:
            self._with_pin(asked.amount, self._approve)
        elif key in (OK, BACK):
            self._device.payer.decline()
            self._go_idle()

    def _approve(self) -> None:
        asked = self._asked()
        if asked:
            self._device.payer.approve()
            self._clear()
            self._screens.confirmed(asked.amount)
            self._show()
        else:
            self._go_idle()

    def _asked(self):
        """The payment that is shown, None if it is over: a host may have put another one in its place."""
        payer = self._device.payer
        wanted = payer.wanted
        if wanted is self._asking:
            return wanted
        payer.decline()
        return None

    # --- the PIN

    @property
    def _has_pin(self) -> bool:
        return self._pad and self._pad.is_set

    def _with_pin(self, amount: int, then) -> None:
        """Do it once the PIN is right, if there is one."""
        if self._has_pin:
            self._pad.ask("PAY " + self._screens.money(amount))
            self._then = then
        else:
            then()

    def _press_pad(self, key: str) -> None:
        try:
            done = self._pad.press(key)
        except Refused:  # a write failed: out of service
            done = False
        if done is not None:
            then, self._then = self._then, None
            if done and then:
                then()
            elif self._asking:
                self._answer(BACK)
            else:
                self._go_idle()

    def _pin_menu(self) -> None:
        """Whose first line tells how it is now."""
        self._clear()
        self._pad.menu()
        self._then = self._pin_menu

    # --- as a reader

    def _collect(self, mode: Mode, confirmed: bool) -> None:
        self._clear()
        self._listening = False
        last = self._device.party.purse.last_receipt
        # A refund names the sale it returns, when that was the last one.
        reference = last.transfer[:8] if mode.pays and last else bytes(8)
        try:
            self._collection = Collection(
                self._device, self._nfc, mode.pays, mode.purpose, self._amount, reference, confirmed
            )
        except Refused as refusal:
            self._screens.not_paid(refusal.cause)
            self._result(False)
            return
        self._mode_name = mode.name
        self._screens.present(mode.name, self._amount)

    def _step(self, collection: Collection) -> None:
        happened = collection.step()
        if happened == WAITING:
            self._device.port.wait(self._uarts, _IDLE_MS)
            return
        if happened == ENDED:
            self._end(collection)
        else:
            self._screens.again(self._mode_name, collection)
            self._beep(False)
        collection.finish()
        gc.collect()

    def _cancel(self, collection: Collection) -> None:
        collection.cancel()
        self._end(collection)

    def _end(self, collection: Collection) -> None:
        self._collection = None
        self._clear()
        self._screens.ended(collection)
        self._result(collection.moved == PAID)

    # --- as a card

    def _radio(self) -> bool:
        """True if there was a tap."""
        if self._collection:
            self._step(self._collection)
            return False
        if self._radio_down_since:
            if self._ms_since(self._radio_down_since) < _RADIO_RETRY_MS:
                return False
            self._radio_down_since = 0
        if not self._listening:
            self._nfc.start_listening()
            self._listening = True
        if not self._nfc.poll():
            return False
        self._serve()
        return True

    def _serve(self) -> None:
        device = self._device
        device.events.clear()
        device.keep_alive = self._nfc.keep_alive
        try:
            self._nfc.serve(self._card.process, self._card.after)
        finally:
            device.keep_alive = None
            self._listening = False
            self._card.reset()
            self._show_events()
            self._after_host()  # what a host brings by radio, a Load for example, is no event of its own
        gc.collect()

    def _show_events(self) -> None:
        """Show how a tap or a host's visit ended: where the money is now, whatever else was said in between."""
        device = self._device
        events = device.events
        debited = events.get(cards.DEBITED)
        paid = events.get(cards.CLOSED)
        credited = events.get(cards.CREDITED)
        cause = events.get(cards.VOIDED) or events.get(cards.REFUSED)
        if cause == CONFIRM and device.locked:
            cause = LOCKED
        asked = cause == CONFIRM and not (debited or paid or credited) and device.payer.wanted
        if events and not asked and device.payer:
            self._asking = None
            device.payer.decline()  # the question of an earlier tap is over
        if debited and device.party.purse.debit_for(debited.request):
            self._screens.in_doubt(debited.amount)
            self._result(False)
        elif paid:
            (self._screens.paid if paid[1] else self._screens.returned)(paid[0])
            self._result(paid[1])
        elif credited:
            self._screens.received(credited.amount)
            self._result(True)
        elif asked:
            self._clear()
            self._asking = asked
            self._screens.confirm(asked)
            self._result(False)
        elif cause:
            self._screens.not_paid(cause)
            self._result(False)
        events.clear()

    def _radio_failed(self) -> None:
        self._listening = False
        self._radio_down_since = self._device.port.ticks_ms() or 1
        if self._collection:
            self._cancel(self._collection)

    # --- screen

    def _after_host(self) -> None:
        """A host changes what the idle screen says; what it pays or asks to be confirmed is shown as after a tap."""
        events = self._device.events
        cause = events.get(cards.REFUSED)
        if cause and cause != CONFIRM:
            del events[cards.REFUSED]  # the host says so itself
        if self._collection:
            events.clear()
        elif events:
            self._show_events()
        elif not (self._shown_since or self._typing):
            self._draw_idle()

    def _result(self, good: bool) -> None:
        self._screens.fresh = False
        self._mode = self._then = None
        self._beep(good)
        self._show()

    def _beep(self, good: bool) -> None:
        if self._buzzer:
            self._buzzer.beep(good)

    def _show(self) -> None:
        self._shown_since = self._device.port.ticks_ms() or 1

    def _ms_since(self, moment: int) -> int:
        port = self._device.port
        return port.ticks_diff(port.ticks_ms(), moment)

    def _clear(self) -> None:
        """Nothing is typed and nothing is shown or asked any more."""
        self._shown_since = 0
        self._asking = None
        self._mode = self._then = None

    def _go_idle(self) -> None:
        self._clear()
        if self._device.locked and self._pad:
            self._pad.ask("LOCKED")
            self._then = self._go_idle
        else:
            self._draw_idle()

    def _draw_idle(self) -> None:
        if self._then:
            self._pad.draw()
        else:
            self._screens.idle(self._hint)
