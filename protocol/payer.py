"""The payer: from a Request to a committed Transfer, and how an in-doubt Transfer ends.

The table is `states.DEBIT`. Rules: commit before answering; the same open Request is always answered with the
byte-identical Transfer; a payer never takes money back on its own word, only a Receipt, a Void or its operator's
Resolution closes a debit, once.
"""

from protocol import effects, limits, records
from protocol.errors import BAD_SIGNATURE, CONFIRM, LOT, NOT_FOR_THIS_DEVICE, UNKNOWN_TRANSFER, LocalError, Refused
from protocol.objects import (
    NO_HASH,
    PAID,
    REDEEM,
    VOID,
    Certificate,
    Receipt,
    Request,
    Resolution,
    Transfer,
    Void,
    device_id,
)
from protocol.party import Party
from protocol.states import DEBIT, IN_DOUBT, VOIDED, advance
from protocol.trust import check_parties


class Approval:
    """What a person is asked to confirm, or has confirmed until `until` (Unix seconds).

    That is one Request, or another one with the same payee and amount.
    """

    def __init__(self, request_hash: bytes, payee: bytes, amount: int, until: int):
        self.request_hash = request_hash
        self.payee = payee
        self.amount = amount
        self.until = until

    def covers(self, request_hash: bytes, payee: bytes, amount: int, now: int) -> bool:
        same = request_hash == self.request_hash or (payee == self.payee and amount == self.amount)
        return same and now <= self.until


class Payer:
    """Pays for one `Party`."""

    def __init__(self, party: Party):
        self._party = party
        self._wanted: Approval | None = None
        self._approval: Approval | None = None

    @property
    def wanted(self) -> Approval | None:
        """The payment a person is asked to confirm; the question ends after `limits.APPROVAL_S` seconds."""
        if self._wanted and self._wanted.until < self._party.clock():
            self._wanted = None
        return self._wanted

    def approve(self) -> None:
        """A person confirmed `wanted` on the device; the next tap within `limits.APPROVAL_S` seconds pays."""
        wanted = self.wanted
        if wanted is None:
            raise LocalError("nothing to confirm")
        wanted.until = self._party.clock() + limits.APPROVAL_S
        self._approval, self._wanted = wanted, None

    def decline(self) -> None:
        self._wanted = None

    def pay(
        self, payee: Certificate, request: Request, payer_bound: bool, by_user: bool = False, settle_older: bool = True
    ) -> list:
        """Effects that answer a Request with a Transfer. Raises `Refused`; nothing is committed then.

        `payee` is the payee's Certificate; `payer_bound` says that the Request names our Certificate too (we are the
        reader); `by_user` that a person entered this payment here, and was asked for the PIN if there is one: else it
        is paid only where nobody needs to be asked. A debit in doubt to the same payee is answered
        before anything is judged: its stored bytes must come out whatever certificate, limit or clock changed since.
        With `settle_older` false the payee has said that it cannot settle those.
        """
        party = self._party
        purse = party.purse
        own = party.certificate
        bound = purse.certificate_hash if payer_bound else NO_HASH
        message = party.request_message(request, party.certificate_hash(payee), bound)
        request_hash = party.sha256(message)
        payee_id = device_id(payee.key, party.sha256)
        older = purse.debit_for(request_hash)
        if older is None and settle_older:
            older = purse.debit_to(payee_id)
        if older:
            return [effects.Answer(older.transfer.encode())]
        party.judge(payee)
        check_parties(own, payee, request.purpose)
        if request.lot:
            raise Refused(LOT)
        self._check_limits(own, request)
        party.check_signature(payee)
        if not party.verify(payee.key, message, request.signature):
            raise Refused(BAD_SIGNATURE)
        party.keep_alive()
        flags = self._confirmation(own, request, request_hash, payee_id, by_user)
        transfer = Transfer(
            seq=purse.head_seq + 1,
            previous=purse.head_hash,
            payer=party.id,
            payee=payee_id,
            amount=request.amount,
            lot=0,
            lot_amount=0,
            request=request_hash,
            number=request.number,
            payer_issue=own.issue,
            payee_issue=payee.issue,
            cumulative=purse.cumulative + request.amount,
        )
        advance(DEBIT, None, "commit")
        transfer.sign(party.sign)
        return [
            records.reservation(len(purse.in_doubt), records.DEBIT_RECORD_BYTES, n_closings=1),
            effects.Commit(records.debit(transfer, payee.key, flags)),
            effects.Then(self._use_approval),
            effects.Answer(transfer.encode()),
        ]

    def _use_approval(self) -> None:
        self._approval = None

    def _check_limits(self, own: Certificate, request: Request) -> None:
        purse = self._party.purse
        if request.purpose == REDEEM:
            # The money ends in the owner's account: no limit protects anybody.
            limits.check_funds(purse, own, request.amount)
        else:
            limits.check_payment(purse, own, request.amount, self._party.clock())

    def _confirmation(
        self, own: Certificate, request: Request, request_hash: bytes, payee_id: bytes, by_user: bool
    ) -> int:
        """The debit's flags.

        Raises `Refused(CONFIRM)` if a person must confirm first: asked only for a payee whose signature is right.
        """
        purse = self._party.purse
        now = self._party.clock()
        if request.purpose == REDEEM:
            return records.REDEEMED
        if by_user:
            # Below the sum nobody asked for a PIN: it goes on counting.
            return records.CONFIRMED if limits.needs_confirmation(purse, own, request.amount) else 0
        if self._approval and self._approval.covers(request_hash, payee_id, request.amount, now):
            return records.CONFIRMED
        if limits.needs_confirmation(purse, own, request.amount):
            self._wanted = Approval(request_hash, payee_id, request.amount, now + limits.APPROVAL_S)
            raise Refused(CONFIRM)
        return 0

    def close(self, evidence: Receipt | Void | Resolution) -> list:
        """Effects of a Receipt, Void or Resolution. Evidence for a debit that is closed already changes nothing.

        Raises `Refused`.
        """
        party = self._party
        purse = party.purse
        debit = purse.debit_of(evidence.transfer)
        if isinstance(evidence, Resolution):
            if evidence.payer != party.id or evidence.operator != party.trust.own.operator:
                raise Refused(NOT_FOR_THIS_DEVICE)
            signer = party.trust.own.key
            event = "resolved paid" if evidence.outcome == PAID else "resolved void"
        elif debit:
            signer = debit.payee_key
            event = "receipt" if isinstance(evidence, Receipt) else "void"
        elif purse.last_closing and purse.last_closing[0] == evidence.transfer:
            return []
        else:
            raise Refused(UNKNOWN_TRANSFER)
        if not evidence.verified_by(signer, party.verify):
            raise Refused(BAD_SIGNATURE)
        if debit is None:
            return []  # closed long ago: a sync that is run again carries every Resolution again
        state = advance(DEBIT, IN_DOUBT, event)
        body = records.Closing(
            seq=purse.head_seq + 1,
            previous=purse.head_hash,
            transfer=evidence.transfer,
            outcome=VOID if state == VOIDED else PAID,
            evidence=party.sha256(evidence.body()),
        )
        return [effects.Commit(records.closing(body, evidence))]
