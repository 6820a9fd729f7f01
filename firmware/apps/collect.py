"""A tap in which we are the reader (sale, refund, payment to another wallet), from the typed amount to the result.

One `Collection` lives from OK to the result, over as many taps as it takes. It asks once (one Request, or one
Payment), so that tapping again heals what was torn and never pays twice.
"""

from micropython import const

from drivers.errors import CardGone
from protocol.errors import NOT_FOUND, DecodeError, Refused, RefusedByPeer
from protocol.states import CLOSED, CREDITED, DONE
from protocol.tap import NOT_PAID, PAID, TAP_AGAIN, Payment, PaymentTap, SaleTap

_PATIENCE_MS = const(120_000)  # a request nobody taps is closed after two minutes
_EMPTY_MS = const(100)  # a card in the field answers within a few milliseconds: after so long it was taken away

# What `step` says
WAITING = "waiting"
TAPPED = "tapped"  # a tap has ended early, look at `moved` and `cause`
ENDED = "ended"


class Collection:
    """`device`, the radio, what is wanted. `pays` says that the money leaves us.

    `moved` tells where the money is (protocol.tap), `cause` why the last tap ended early (0: the card left), `by_peer`
    who refused, `left_open` that it was stopped while the card may have a payment to us in doubt, which we never
    credit now.
    """

    def __init__(self, device, nfc, pays: bool, purpose: int, amount: int, reference: bytes):
        self._device = device
        self._nfc = nfc
        self.pays = pays
        self.amount = amount
        self.moved = NOT_PAID
        self.cause = 0
        self.by_peer = False
        self.left_open = False
        self.exchanges: list[str] = []
        self.ended = False
        self._same_card = False  # the card of the last tap may still lie there: nobody asked for another tap
        self._since = device.port.ticks_ms()
        self._payment = Payment(amount, purpose, reference)
        if not pays:
            try:
                device.perform(device.payee.open(amount, purpose, reference, device.random(8), by_user=True))
            except Refused:
                device.payee.close()
                raise
        nfc.start_polling()

    def step(self) -> str:
        """Look for a card and serve the one that comes; without one it takes 100 ms at most."""
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

    def cancel(self) -> None:
        """Stop asking. A Request is closed: nothing of it can be credited later. A committed payment stays in doubt."""
        self._nfc.stop()
        self.ended = True
        if not self.pays:
            payee = self._device.payee
            payee.close()
            self.left_open = self.moved == TAP_AGAIN
            self.moved = PAID if payee.state == CREDITED else NOT_PAID

    def _tap(self) -> None:
        device = self._device
        self.cause, self.by_peer = 0, False
        if self.pays:
            tap = PaymentTap(device.party, device.perform, device.payer, self._payment)
        else:
            tap = SaleTap(device.party, device.perform, device.payee)
        try:
            self._exchange(tap)
            self._nfc.release()
            tap.after()
        except CardGone:
            pass
        except Refused as refusal:
            self._refused(refusal.cause, isinstance(refusal, RefusedByPeer))
        except DecodeError:
            self._refused(NOT_FOUND, True)
        self.exchanges = tap.exchanges
        device.exchanges += len(tap.exchanges)
        self.moved = tap.moved
        if not self.pays and device.payee.refusal:
            self.cause = device.payee.refusal
        # Ended when paid, and when what was asked for can no longer be paid.
        self.ended = self.moved == PAID or tap.stage == DONE or (not self.pays and device.payee.state == CLOSED)
        if not self.ended:
            self._nfc.start_polling()

    def _refused(self, cause: int, by_peer: bool) -> None:
        self.cause, self.by_peer = cause, by_peer
        self._same_card = True
        self._nfc.release()

    def _exchange(self, tap) -> None:
        while True:
            command = tap.command()
            if command is None:
                return
            self._nfc.send(command)
            tap.meanwhile()
            tap.response(self._nfc.receive())
