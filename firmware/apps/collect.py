"""A tap in which we are the reader (sale, refund, payment to another wallet), from the typed amount to the result.

One `Collection` lives from OK to the result, over as many taps as it takes. It asks once (one Request, or one
Payment), so that tapping again heals what was torn and never pays twice.
"""

from micropython import const

from drivers.errors import CardGone, ChipError
from protocol.apdu import RETIRED as RETIRED_FLAG
from protocol.errors import CONFIRM, NOT_FOUND, RETIRED, DecodeError, Refused
from protocol.objects import PAID as OUTCOME_PAID
from protocol.spread import Spread
from protocol.states import CLOSED, CREDITED, DONE
from protocol.tap import NOT_KNOWN, NOT_PAID, PAID, TAP_AGAIN, Payment, PaymentTap, SaleTap

_PATIENCE_MS = const(120_000)  # a request nobody taps is closed after two minutes
_SPREAD_MS = const(10_000)  # the longest lists take less; who plays for time is left alone
_EMPTY_MS = const(100)  # a card in the field answers within a few milliseconds: after so long it was taken away

# What `step` says
WAITING = "waiting"
TAPPED = "tapped"  # a tap has ended early, look at `moved`, `cause` and `earlier`
ENDED = "ended"


class Collection:
    """`device`, the radio, what is wanted. `pays` says that the money leaves us, `confirmed` is for `tap.Payment`.

    `moved` tells where the money is, `cause` why the last tap ended early (0: the card left),
    `earlier` the amount of an older payment which the last tap found paid, `left_open` that it was stopped while a card
    may have a payment to us in doubt, which we never credit now.
    """

    def __init__(self, device, nfc, pays: bool, purpose: int, amount: int, reference: bytes, confirmed: bool = True):
        self._device = device
        self._nfc = nfc
        self.pays = pays
        self.amount = amount
        self.moved = NOT_PAID
        self.cause = 0
        self.earlier = 0
        self.left_open = False
        self.ended = False
        self._doubtful: list[bytes] = []  # cards that may have paid our open Request; they must come back
        self._same_card = False  # the card of the last tap may still lie there: nobody asked for another tap
        self._served: PaymentTap | SaleTap | None = None  # a tap whose card is still there
        self._since = device.port.ticks_ms()
        self._payment = Payment(amount, purpose, reference, confirmed)
        if device.flags & RETIRED_FLAG:
            raise Refused(RETIRED)
        if not pays:
            device.perform(device.payee.open(amount, purpose, reference, device.random(8), by_user=True))
        nfc.start_polling()

    def step(self) -> str:
        """Look for a card and serve the one that comes; without one it takes 100 ms at most.

        After a tap the card is still there, until `finish`.
        """
        self.finish()
        port = self._device.port
        if not self.ended and port.ticks_diff(port.ticks_ms(), self._since) > _PATIENCE_MS:
            self.cancel()
        if self.ended:
            return ENDED
        found = self._nfc.find_card(_EMPTY_MS if self._same_card else 0)
        if not found:
            self._same_card = False
            return WAITING
        if self._same_card:
            self._nfc.release()
            self._nfc.start_polling()
            return WAITING
        self._tap()
        self._since = port.ticks_ms()
        return ENDED if self.ended else TAPPED

    def finish(self) -> None:
        """When the outcome of a tap is on the screen: spread revocations, let the card go. Changes no outcome."""
        tap, self._served = self._served, None
        if tap is None:
            return
        try:
            self._spread(tap)
        except (CardGone, ChipError, Refused, DecodeError, MemoryError):
            pass  # the next tap goes on with it
        self._release()
        if not self.ended:
            self._nfc.start_polling()

    def cancel(self) -> None:
        """Stop asking. A Request is closed: nothing of it can be credited later. A committed payment stays in doubt."""
        self.ended = True
        if not self.pays:
            payee = self._device.payee
            payee.close()
            self.left_open = bool(self._doubtful)
            self.moved = PAID if payee.state == CREDITED else NOT_PAID
        if self._device.fault:
            self.moved = NOT_KNOWN
        try:
            self._nfc.stop()
        except ChipError:
            pass  # what can be done about the chip is done when it is needed next

    def _tap(self) -> None:
        self.cause, self.earlier = 0, 0
        if self._closed_meanwhile():
            return
        device = self._device
        tap = self._new_tap()
        try:
            self._exchange(tap)
            self._served = tap
            tap.after()
        except (CardGone, ChipError):
            pass
        except Refused as refusal:
            self._refused(tap, refusal.cause)
        except DecodeError:
            self._refused(tap, NOT_FOUND)
        device.exchanges += len(tap.exchanges)
        self._judge(tap)
        if not (self.ended or self._served):
            self._nfc.start_polling()

    def _closed_meanwhile(self) -> bool:
        """The host brought a Resolution of our payment while we waited for the card: that is how it ended."""
        payment, purse = self._payment, self._device.party.purse
        if payment.transfer is None or purse.debit_of(payment.transfer_hash):
            return False
        closing = purse.last_closing
        paid = closing and closing[0] == payment.transfer_hash and closing[1] == OUTCOME_PAID
        self.moved = PAID if paid else NOT_PAID
        self.ended = True
        return True

    def _new_tap(self) -> PaymentTap | SaleTap:
        device = self._device
        if self.pays:
            return PaymentTap(device.party, device.perform, device.payer, self._payment)
        return SaleTap(device.party, device.perform, device.payee)

    def _judge(self, tap) -> None:
        """Where the money is after this tap, and whether there will be another."""
        payee = self._device.payee
        self.earlier = tap.earlier
        self.moved = tap.moved
        if self.pays:
            # Who was not asked for the PIN and must be now, types again.
            over = self.cause == CONFIRM or tap.stage == DONE and not tap.earlier
            self.ended = self.moved == PAID or self.moved == NOT_PAID and over
        else:
            self.cause = payee.refusal or self.cause
            self._remember(tap)
            if self.moved != PAID and self._doubtful:
                self.moved = TAP_AGAIN
            # What was asked for can no longer be paid: it is, or a Void went out.
            self.ended = self.moved == PAID or payee.state == CLOSED
            if self.ended and self.moved != PAID:
                self.left_open = bool(self._doubtful)
                self.moved = NOT_PAID
        if self._device.fault:
            self.moved = NOT_KNOWN
            self.ended = True
        if tap.earlier:
            self._same_card = True

    def _remember(self, tap) -> None:
        """Which cards may have committed a payment that we have not seen."""
        known = tap.card_id in self._doubtful
        if tap.moved == TAP_AGAIN and not known:
            self._doubtful.append(tap.card_id)
        elif tap.moved != TAP_AGAIN and known and "pay" in tap.exchanges:
            self._doubtful.remove(tap.card_id)

    def _refused(self, tap, cause: int) -> None:
        self.cause = cause
        self._same_card = True
        self._served = tap

    def _release(self) -> None:
        """Let the card go. The tap is decided already, so a chip that fails now changes nothing."""
        try:
            self._nfc.release()
        except ChipError:
            pass

    def _spread(self, tap) -> None:
        if tap.epochs and not self._device.fault:
            device = self._device
            spread = Spread(device.party, device.perform, tap.card, *tap.epochs, may_evict=tap.moved == PAID)
            try:
                self._exchange(spread, _SPREAD_MS)
            finally:
                device.exchanges += spread.exchanges

    def _exchange(self, tap, limit_ms: int = 0) -> None:
        since = self._device.port.ticks_ms()
        while True:
            command = tap.command()
            if command is None:
                return
            self._nfc.send(command)
            tap.meanwhile()
            tap.response(self._nfc.receive(since, limit_ms))
