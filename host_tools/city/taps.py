"""One payment between two devices of the city, with everything that both commit.

What is decided here is decided by the same rules and in the same order as in `protocol.payer`, `protocol.payee` and
`protocol.tap`. Left out is what leaves no trace in a journal: a Request's own signature, which its hash does not cover,
and the verification of signatures that this very process has made.
"""

from enum import Enum, auto

from host_tools.city import encoding
from host_tools.city.device import Debit, Device
from host_tools.crypto import sha256
from protocol.errors import EXPIRED, REVOKED, Refused
from protocol.layout import SIGNATURE_BYTES
from protocol.limits import MAX_IN_DOUBT, check_days, check_headroom, check_payment, needs_confirmation
from protocol.objects import DAY_S, NO_HASH, PAID, REFUND, SALE, VOID
from protocol.records import CONFIRMED
from protocol.trust import ROOT_ISSUER


class Torn(Enum):
    """Where a tap ends too early."""

    NOWHERE = auto()
    BEFORE_CREDIT = auto()  # the payer has committed, the payee knows nothing
    BEFORE_CONFIRM = auto()  # the payee has credited, the payer is in doubt


class Outcome(Enum):
    """What the two people have seen."""

    PAID = auto()
    VOIDED = auto()
    IN_DOUBT = auto()
    SETTLED_OLDER = auto()  # a payment in doubt between the two turned out to be paid, which the payer is told first


class Tap:
    """Payments in one currency (ISO 4217 number)."""

    def __init__(self, currency: int):
        self._currency = encoding.currency_bytes(currency)

    def pay(
        self,
        payer: Device,
        payee: Device,
        amount: int,
        purpose: int,
        random: bytes,
        now: int,
        torn: Torn = Torn.NOWHERE,
    ) -> Outcome:
        """The payee asks for `amount`, the payer pays. `random` are the 16 random bytes of Request and reference.

        For a sale the payee is the reader, else the payer. Raises `Refused` if either device refuses: nothing was paid.
        """
        if purpose == SALE:
            number = self._open(payee, amount, purpose)  # before the card is there
            judge(payee, payer, now)
            check_days(payer.certificate, payee.day(now))
            if payer.in_doubt:
                self._settle_older(payer, payee, MAX_IN_DOUBT)
            judge(payer, payee, now)
            bound = NO_HASH
        else:
            judge(payer, payee, now)
            if payer.in_doubt and self._settle_older(payer, payee, 1):
                return Outcome.SETTLED_OLDER
            judge(payee, payer, now)
            check_days(payer.certificate, payee.day(now))
            number = self._open(payee, amount, purpose)
            bound = payer.certificate_hash  # a reader that pays is named
        check_payment(payer, payer.certificate, amount, payer.clock(now))
        request = encoding.request_body(amount, number, random[:8], payee.clock(now), purpose, random[8:16], 0)
        request_hash = sha256(request + payee.certificate_hash + bound + self._currency)
        return self._transfer(payer, payee, amount, number, request_hash, torn)

    def _open(self, payee: Device, amount: int, purpose: int) -> int:
        """The number of a new Request. One that comes to nothing is closed, and its number used up."""
        if purpose != REFUND:
            check_headroom(payee, payee.certificate, amount)
        payee.next_number += 1
        return payee.next_number - 1

    def _transfer(
        self, payer: Device, payee: Device, amount: int, number: int, request_hash: bytes, torn: Torn
    ) -> Outcome:
        flags = CONFIRMED if needs_confirmation(payer, payer.certificate, amount) else 0
        seq, issue, cumulative = payer.head_seq + 1, payer.certificate.issue, payer.cumulative + amount
        body = encoding.transfer_body(
            seq,
            payer.head_hash,
            payer.id,
            payee.id,
            amount,
            0,
            0,
            request_hash,
            number,
            issue,
            payee.certificate.issue,
            cumulative,
        )
        transfer = body + payer.sign(body)
        payer.commit(body, encoding.seq_bytes(seq) + transfer + payee.key + bytes((flags,)))
        transfer_hash = payer.head_hash
        payer.balance -= amount
        payer.cumulative = cumulative
        payer.unconfirmed = 0 if flags else payer.unconfirmed + amount
        accepted = credited_seq = 0
        answer_body = answer = b""
        if torn is not Torn.BEFORE_CREDIT:
            accepted = payee.follows(payer.id, issue, seq, cumulative, amount)
            if accepted:
                credited_seq = payee.head_seq + 1
                answer_body, answer = credit(payee, transfer_hash, transfer, amount)
                payee.remember(payer.id, issue, seq, cumulative)
            else:
                answer_body, answer = void_of(payee, transfer_hash)
        if torn is Torn.NOWHERE:
            payer.closing(transfer_hash, PAID if accepted else VOID, answer_body, answer)
            if not accepted:
                payer.balance += amount
            return Outcome.PAID if accepted else Outcome.VOIDED
        receipt = answer if accepted else b""
        payer.in_doubt.append(
            Debit(transfer_hash, transfer, payee.id, payee.key, flags, amount, number, credited_seq, receipt)
        )
        return Outcome.IN_DOUBT

    def _settle_older(self, payer: Device, payee: Device, most: int) -> bool:
        """End what is in doubt between the two, as far as the payee can. Returns whether any of it was paid."""
        paid = False
        for debit in [debit for debit in payer.in_doubt if debit.payee == payee.id][:most]:
            if payee.has_receipt(debit):
                payer.close(debit, PAID, debit.receipt[:-SIGNATURE_BYTES], debit.receipt)
                paid = True
            elif debit.number < payee.acknowledgement.request_floor:
                break  # "ask the ledger": its record may be gone
            else:
                payer.close(debit, VOID, *void_of(payee, debit.hash))
        return paid


def credit(payee: Device, transfer_hash: bytes, transfer: bytes, amount: int) -> tuple[bytes, bytes]:
    """Commit the credit. Returns the Receipt's body and the Receipt."""
    seq = payee.head_seq + 1
    body = encoding.receipt_body(seq, payee.head_hash, transfer_hash)
    receipt = body + payee.sign(body)
    payee.commit(body, encoding.seq_bytes(seq) + receipt + transfer)
    payee.balance += amount
    payee.last_credited = transfer_hash
    return body, receipt


def void_of(payee: Device, transfer_hash: bytes) -> tuple[bytes, bytes]:
    body = encoding.void_body(transfer_hash)
    return body, body + payee.sign(body)


def spread(reader: Device, card: Device) -> None:
    """After a tap each side has the newer of both sides' lists, of the root and of the card's operator."""
    if reader.lists is card.lists:
        return
    for issuer in (ROOT_ISSUER, card.certificate.operator):
        reader.lists = reader.lists.with_list_of(card.lists, issuer)
        card.lists = card.lists.with_list_of(reader.lists, issuer)


def judge(judging: Device, other: Device, now: int) -> None:
    """The cheap rules for the other's Certificate. Raises `Refused`."""
    certificate = other.certificate
    if judging.clock(now) // DAY_S > certificate.valid_until:
        raise Refused(EXPIRED)
    lists = judging.lists
    own = judging.certificate.operator
    issuers = (own,) if own == certificate.operator else (own, certificate.operator)
    for issuer in issuers:
        if lists.revokes(issuer, other.id, certificate.issue):
            raise Refused(REVOKED)
