"""The payee: one open Request at a time, what it credits, and what it answers about everything else.

The table is `states.REQUEST`. Rules: a Transfer is credited only if number and hash both match the one open Request;
closing comes before a Void and before "not paid"; a credited Transfer is answered with its stored Receipt for ever;
below the request floor only the ledger knows.
"""

from protocol import effects, limits, records
from protocol.errors import (
    ASK_LEDGER,
    BAD_SIGNATURE,
    MISMATCH,
    NOT_FOR_THIS_DEVICE,
    REQUEST_OPEN,
    UNKNOWN_REQUEST,
    Refused,
)
from protocol.objects import NO_HASH, REDEEM, REFUND, Certificate, Receipt, Request, Transfer, Void, device_id
from protocol.party import Party
from protocol.states import OPEN, REQUEST, advance
from protocol.trust import check_parties


class RequestNumbers:
    """Growing numbers that survive power loss: `save(limit)` makes a block durable before its first number is used."""

    def __init__(self, stored_limit: int, save):
        self.next = stored_limit
        self._limit = stored_limit
        self._save = save

    @property
    def low(self) -> bool:
        """So few are left that `refill` should be called before the next tap."""
        return self._limit - self.next < limits.REQUESTS_LOW

    def refill(self) -> None:
        """Make one more block durable."""
        limit = self._limit + limits.REQUEST_BLOCK
        self._save(limit)
        self._limit = limit

    def take(self) -> int:
        if self.next >= self._limit:
            self.refill()
        self.next += 1
        return self.next - 1


class Payee:
    """Gets paid for one `Party`.

    `find_receipt(transfer hash) -> Receipt | None` looks through the journal for a credit.
    """

    request: Request  # the last that was opened; there is none while `state` is None

    def __init__(self, party: Party, numbers: RequestNumbers, find_receipt):
        self._party = party
        self._numbers = numbers
        self._find_receipt = find_receipt
        self.state = None
        self.request_hash = NO_HASH
        self.payer: Certificate | None = None  # the one a Request was bound to
        self.by_user = False
        self._first_head = party.purse.head_seq
        self.refusal = 0  # why the last Transfer was voided, a cause of protocol.errors

    @property
    def watermark(self) -> int:
        """No Transfer numbered below it can ever be credited, unless the journal credits it already."""
        return self.request.number if self.state == OPEN else self._numbers.next

    @property
    def busy(self) -> bool:
        """A person has opened a Request here that is still open."""
        return self.state == OPEN and self.by_user

    @property
    def expected(self) -> int:
        """The amount of the open Request, for which headroom is reserved."""
        return self.request.amount if self.state == OPEN else 0

    def may_be_unseen(self, receipt: Receipt) -> bool:
        """Power may have gone between this credit and the screen: it was our last record when we were started."""
        return receipt.seq == self._first_head

    def check_not_busy(self) -> None:
        """Raises `Refused(REQUEST_OPEN)` while a person's Request is open."""
        if self.busy:
            raise Refused(REQUEST_OPEN)

    def open(
        self,
        amount: int,
        purpose: int,
        reference: bytes,
        random: bytes,
        payer: Certificate | None = None,
        by_user: bool = False,
    ) -> list:
        """Sign a Request and make it the open one. Returns effects; the last answers with the Request's bytes.

        `payer` binds it to that payer. A Request that no person opened here never replaces one that a person did. Space
        and headroom for the credit are reserved first. Raises `Refused`.
        """
        party = self._party
        if not by_user:
            self.check_not_busy()
        own = party.certificate
        if purpose != REFUND:  # a refund only returns what was paid: the limit held before
            limits.check_headroom(party.purse, own, amount)
        request = Request(
            amount=amount,
            number=self._numbers.take(),
            random=random,
            time=party.clock(),
            purpose=purpose,
            reference=reference,
            lot=0,
        )
        bound = party.certificate_hash(payer) if payer else NO_HASH
        message = party.request_message(request, party.purse.certificate_hash, bound)
        request.signature = party.sign(message)

        def opened():
            self.close()
            self.state = advance(REQUEST, self.state, "open")
            self.request = request
            self.request_hash = party.sha256(message)
            self.payer = payer
            self.by_user = by_user
            self.refusal = 0

        return [
            records.reservation(len(party.purse.in_doubt)),
            effects.Then(opened),
            effects.Answer(request.encode()),
        ]

    def close(self) -> None:
        """Cancel: no Transfer for the open Request can be credited from here on. Does nothing to a credited one."""
        self.state = advance(REQUEST, self.state, "close")

    def receive(self, transfer: Transfer, payer: Certificate | None) -> list:
        """Effects that answer a Transfer: commit and Receipt, the stored Receipt, or a Void.

        Raises `Refused`; nothing is credited then.

        `payer` is the Certificate this tap showed, or None; a Request bound to a payer remembers its own. A Transfer
        that is truly the payer's but cannot be accepted closes the Request and is voided, so that an honest payer gets
        its money back; `refusal` then says why.
        """
        party = self._party
        self.refusal = 0
        if transfer.payee != party.id:
            raise Refused(NOT_FOR_THIS_DEVICE)
        transfer_hash = party.sha256(transfer.body())
        last = party.purse.last_receipt
        if last and last.transfer == transfer_hash:
            return [effects.Answer(last.encode())]
        is_open = self.state == OPEN and transfer.number == self.request.number
        # An open Request has never been credited: no need to look through a long journal, with the payer waiting.
        stored = None if is_open and transfer.request == self.request_hash else self._find_receipt(transfer_hash)
        if stored:
            return [effects.Answer(stored.encode())]
        if transfer.number < party.purse.request_floor:
            raise Refused(ASK_LEDGER)
        if is_open:
            if transfer.request != self.request_hash:
                raise Refused(MISMATCH)
            return self._credit(transfer, transfer_hash, self.payer or payer)
        if transfer.number >= self._numbers.next:
            raise Refused(UNKNOWN_REQUEST)
        return [effects.Answer(Void(transfer=transfer_hash).sign(party.sign).encode())]

    def _credit(self, transfer: Transfer, transfer_hash: bytes, payer: Certificate | None) -> list:
        party = self._party
        purse = party.purse
        if payer is None or device_id(payer.key, party.sha256) != transfer.payer:
            raise Refused(MISMATCH)
        party.check_signature(payer)
        if not transfer.verified_by(payer.key, party.verify):
            raise Refused(BAD_SIGNATURE)
        party.keep_alive()
        try:
            self._check_acceptable(transfer, payer)
        except Refused as refusal:
            self.refusal = refusal.cause
            self.close()
            return [effects.Answer(Void(transfer=transfer_hash).sign(party.sign).encode())]
        receipt = Receipt(seq=purse.head_seq + 1, previous=purse.head_hash, transfer=transfer_hash)
        receipt.sign(party.sign)
        return [
            effects.Commit(records.credit(receipt, transfer)),
            effects.Then(self._credited),
            effects.Answer(receipt.encode()),
        ]

    def _credited(self) -> None:
        self.state = advance(REQUEST, self.state, "credit")

    def _check_acceptable(self, transfer: Transfer, payer: Certificate) -> None:
        """The rules for a Transfer whose signatures are right.

        Our own limits are not among them: they held when we asked.
        """
        party = self._party
        party.judge(payer)
        check_parties(payer, party.certificate, self.request.purpose)
        if transfer.amount != self.request.amount or transfer.lot or not party.purse.follows(transfer):
            raise Refused(MISMATCH)
        redeeming = self.request.purpose == REDEEM
        if not redeeming:
            party.check_days(payer)
        limits.check_visible(transfer, payer, party.certificate, redeeming)
