"""The reader side of a tap, sans-IO: which command comes next, what a response means, how it ended.

Tables: `states.SALE` and `states.PAYMENT`.

The owner of the link does, until `command()` is None:

    link.send(tap.command()); tap.meanwhile(); tap.response(link.receive()); ...; tap.after()

`exchanges` names every exchange that was made. When the link is gone or something is refused, `moved` tells a person
where the money is. A tap is thrown away at its end; what must outlive it stands in the journal, in the payee's open
Request, or in a `Payment`.
"""

from protocol import apdu
from protocol.errors import (
    ASK_LEDGER,
    LOCKED,
    MISMATCH,
    NOT_PERSONALISED,
    RETIRED,
    SERVICE,
    UNKNOWN_OPERATOR,
    WRONG_PARTY,
    LocalError,
    Refused,
    RefusedByPeer,
)
from protocol.limits import MAX_IN_DOUBT
from protocol.objects import (
    REDEEM,
    Certificate,
    OperatorCertificate,
    Receipt,
    Request,
    Transfer,
    Void,
    decode_answer,
    device_id,
)
from protocol.party import Party
from protocol.payee import Payee
from protocol.payer import Payer
from protocol.purse import Debit
from protocol.states import DONE, PAYMENT, SALE, advance
from protocol.trust import check_parties

# Where the money is
NOT_PAID = "not paid"  # nothing was committed on either side, or what was is voided
PAID = "paid"
NOT_KNOWN = "not known"  # a write failed: only the next start of this device finds out
TAP_AGAIN = "tap again"  # the other side may have committed: the same two devices must meet again


class Tap:
    """What a sale and a payment have in common: selecting the card, judging its Certificate, unknown operators.

    `perform(effects) -> bytes` does what a state machine of ours asks for.
    """

    TABLE: dict = {}

    card: Certificate  # the card's, in every stage after "select"

    def __init__(self, party: Party, perform):
        self._party = party
        self._perform = perform
        self.stage = "select"
        self.exchanges: list[str] = []
        self.card_id = b""
        self.epochs: tuple = ()  # those of the card's lists: its operator's and the root's
        self.moved = NOT_PAID
        self.earlier = 0  # amount of an older payment that this tap found paid, instead of making another

    def command(self) -> bytes | None:
        """The next command APDU, or None at the end."""
        if self.stage == DONE:
            return None
        self.exchanges.append(self.stage)
        return self._command()

    def meanwhile(self) -> None:
        """Work that fits while the card works: the signature of its Certificate.

        A bad one is refused when it matters.
        """
        if self.stage != "select":
            try:
                self._party.check_signature(self.card)
            except Refused:
                pass

    def response(self, raw: bytes) -> None:
        """Take the card's response.

        Raises `Refused` (`RefusedByPeer` if the card did) or `DecodeError`; the tap is over then.
        """
        self._HANDLERS[self.stage](self, raw)

    def after(self) -> None:
        """What may be done when the card has left."""

    def _go(self, event: str) -> None:
        self.stage = advance(self.TABLE, self.stage, event)

    def _command(self) -> bytes:
        if self.stage == "select":
            return apdu.select(apdu.AID)
        return apdu.command(apdu.OPERATORS, self._party.trust.own.encode())

    def _selected(self, raw: bytes) -> None:
        flags, epoch, root_epoch, certificate = apdu.decode_hello(apdu.parse_response(raw))
        if flags & apdu.OUT_OF_SERVICE:
            raise RefusedByPeer(SERVICE)
        if certificate is None:
            raise RefusedByPeer(NOT_PERSONALISED)
        self.card = certificate
        self.epochs = epoch, root_epoch
        if flags & apdu.LOCKED:
            raise RefusedByPeer(LOCKED)
        if flags & apdu.RETIRED:
            raise RefusedByPeer(RETIRED)
        self.card_id = device_id(certificate.key, self._party.sha256)
        self._check_card()
        try:
            self._party.judge(certificate)
        except Refused as refusal:
            if refusal.cause != UNKNOWN_OPERATOR:
                raise
            self._go("unknown operator")
            return
        self._known()

    def _got_operator(self, raw: bytes) -> None:
        """Both sides know each other's operator from here on."""
        certificate = OperatorCertificate.decode(apdu.parse_response(raw))
        if certificate.operator != self.card.operator:
            raise Refused(MISMATCH)
        self._party.trust.add_operator(certificate)
        self._party.judge(self.card)
        self._known()

    def _check_card(self) -> None:
        """Refuse a card that this tap cannot be with."""

    def _known(self) -> None:
        self._go("known")

    _HANDLERS: dict = {"select": _selected, "operators": _got_operator}


class SaleTap(Tap):
    """The reader is paid for the payee's open Request."""

    TABLE = SALE

    def __init__(self, party: Party, perform, payee: Payee):
        Tap.__init__(self, party, perform)
        self._payee = payee
        self._evidence = b""
        self._settle_older = True
        self._earlier = 0
        payee.refusal = 0

    def _command(self):
        if self.stage == "pay":
            data = self._party.certificate.encode() + self._payee.request.encode()
            self.moved = TAP_AGAIN
            return apdu.command(apdu.PAY, data, p1=0 if self._settle_older else apdu.PAY_WITHOUT_OLDER)
        if self.stage in ("confirm", "confirm void", "settle older"):
            return apdu.command(apdu.CONFIRM, self._evidence)
        return Tap._command(self)

    def _check_card(self):
        purpose = self._payee.request.purpose
        check_parties(self.card, self._party.certificate, purpose)
        if purpose != REDEEM:
            self._party.check_days(self.card)

    def _paid(self, raw: bytes) -> None:
        try:
            data = apdu.parse_response(raw)
        except RefusedByPeer as refusal:
            if refusal.cause != SERVICE:  # then nobody knows what the card has committed
                self.moved = NOT_PAID  # a payer that refuses has committed nothing
            if refusal.cause != UNKNOWN_OPERATOR or "operators" in self.exchanges:
                raise
            self._go("unknown operator")
            return
        transfer = Transfer.decode(data)
        current = transfer.request == self._payee.request_hash
        try:
            self._evidence = self._perform(self._payee.receive(transfer, self.card))
        except Refused as refusal:
            if current or refusal.cause != ASK_LEDGER or not self._settle_older:
                raise
            self._settle_older = False
            self._go("ask ledger")
            return
        if not current:
            if self.exchanges.count("settle older") == MAX_IN_DOUBT:
                raise Refused(MISMATCH)  # no honest payer has more
            older = decode_answer(self._evidence)
            if isinstance(older, Receipt) and self._payee.may_be_unseen(older):
                self._earlier = transfer.amount
            self._go("older transfer")
        elif self._evidence[0] == Receipt.TYPE:
            self.moved = PAID
            self._go("credited")
        else:
            self.moved = NOT_PAID
            self._go("voided")

    def _settled(self, raw: bytes) -> None:
        """An older payment that turns out to be received, when nobody may have seen that, ends the tap.

        Somebody who thinks it failed is about to pay a second time, and must be told first.
        """
        apdu.parse_response(raw)
        self.earlier = self._earlier
        if self.earlier:
            self.moved = NOT_PAID
        self._go("received unseen" if self.earlier else "settled")

    def _confirmed(self, raw: bytes) -> None:
        self._go("accepted")  # whatever the card says of it, we have committed

    _HANDLERS = dict(Tap._HANDLERS)
    _HANDLERS.update({"pay": _paid, "settle older": _settled, "confirm": _confirmed, "confirm void": _confirmed})


class Payment:
    """What a person wants to pay, over as many taps as it takes: paid at most once.

    `transfer` is set when it is committed. `confirmed` says that the person was asked for the PIN, or that there is
    none: only then it may be one that a person must confirm.
    """

    def __init__(self, amount: int, purpose: int, reference: bytes, confirmed: bool = True):
        self.amount = amount
        self.purpose = purpose
        self.reference = reference
        self.confirmed = confirmed
        self.transfer: Transfer | None = None
        self.transfer_hash = b""


class PaymentTap(Tap):
    """The reader pays a `Payment` to the card, after settling what is in doubt between the two."""

    TABLE = PAYMENT

    _older: Debit  # in stage "settle older"
    _outgoing: bytes  # the Transfer to hand over, in stages "settle older" and "transfer"

    def __init__(self, party: Party, perform, payer: Payer, payment: Payment):
        Tap.__init__(self, party, perform)
        self._payer = payer
        self.payment = payment
        self._evidence: Receipt | Void | None = None
        if payment.transfer is not None:
            if party.purse.debit_of(payment.transfer_hash) is None:
                raise LocalError("this payment has ended")
            self.moved = TAP_AGAIN

    def _command(self):
        payment = self.payment
        if self.stage == "request":
            ask = payment.amount.to_bytes(4, "big") + bytes((payment.purpose,)) + payment.reference
            return apdu.command(apdu.REQUEST, self._party.certificate.encode() + ask)
        if self.stage in ("transfer", "settle older"):
            return apdu.command(apdu.TRANSFER, self._outgoing)
        return Tap._command(self)

    def _check_card(self):
        payment = self.payment
        if payment.transfer is not None and payment.transfer.payee != self.card_id:
            raise Refused(WRONG_PARTY)
        check_parties(self._party.certificate, self.card, payment.purpose)

    def _known(self):
        purse = self._party.purse
        older = purse.debit_of(self.payment.transfer_hash) or purse.debit_to(self.card_id)
        if older:
            self._older = older
            self._outgoing = older.transfer.encode()
        self._go("older transfer" if older else "known")

    def _is_mine(self) -> bool:
        return self._older.hash == self.payment.transfer_hash

    def _settled(self, raw: bytes) -> None:
        try:
            evidence = decode_answer(apdu.parse_response(raw))
        except RefusedByPeer as refusal:
            if refusal.cause != ASK_LEDGER or self._is_mine():
                raise
            self._go("ask ledger")
            return
        if evidence.transfer != self._older.hash:
            raise Refused(MISMATCH)
        self._perform(self._payer.close(evidence))
        if isinstance(evidence, Receipt):
            if self._is_mine():
                self.moved = PAID
            else:
                self.earlier = self._older.transfer.amount  # see SaleTap._settled
            self._go("paid")
            return
        if self._is_mine():
            self.payment.transfer = None
            self.payment.transfer_hash = b""
            self.moved = NOT_PAID
        self._go("voided")

    def _asked(self, raw: bytes) -> None:
        try:
            data = apdu.parse_response(raw)
        except RefusedByPeer as refusal:
            if refusal.cause != UNKNOWN_OPERATOR or "operators" in self.exchanges:
                raise
            self._go("unknown operator")
            return
        payment = self.payment
        request = Request.decode(data)
        same = request.amount == payment.amount and request.purpose == payment.purpose
        if not same or request.reference != payment.reference:
            raise Refused(MISMATCH)
        wanted = self._payer.pay(self.card, request, True, by_user=payment.confirmed, settle_older=False)
        self.moved = TAP_AGAIN  # from here on a failed write may turn out to have happened
        self._outgoing = self._perform(wanted)
        payment.transfer = Transfer.decode(self._outgoing)
        payment.transfer_hash = self._party.sha256(payment.transfer.body())
        self._go("committed")

    def _answered(self, raw: bytes) -> None:
        evidence = decode_answer(apdu.parse_response(raw))
        if evidence.transfer != self.payment.transfer_hash:
            raise Refused(MISMATCH)
        self._evidence = evidence
        self._go("answered")

    def after(self):
        """Check the Receipt or Void and close the debit: only now is it known how the payment ended.

        Raises `Refused`.
        """
        evidence, self._evidence = self._evidence, None
        if evidence is None:
            return
        self._perform(self._payer.close(evidence))
        self.moved = PAID if isinstance(evidence, Receipt) else NOT_PAID

    _HANDLERS = dict(Tap._HANDLERS)
    _HANDLERS.update({"settle older": _settled, "request": _asked, "transfer": _answered})
