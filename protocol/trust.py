"""Whom a device believes: root keys, operators' certificates, revocations; and the rules a certificate is judged by.

Judging (operator known, currency, validity, revocation) is cheap and happens when a card shows its Certificate, before
money is asked for; checking the signature is dear and is done while the other side works. Neither moves money.

Time is a lower bound: it can show that something has expired, never that it is not valid yet.
"""

from protocol.errors import (
    BAD_CERTIFICATE,
    EXPIRED,
    OTHER_CURRENCY,
    REVOKED,
    STALE,
    UNKNOWN_OPERATOR,
    WRONG_PARTY,
    Refused,
)
from protocol.objects import (
    CASH_OUT,
    DAY_S,
    ID_BYTES,
    OPERATOR_PAYEE,
    PERSON,
    REDEEM,
    REFUND,
    REVOKED_ALTOGETHER,
    SALE,
    TERMINAL,
    WALLET,
    Certificate,
    OperatorCertificate,
    Revocations,
    device_id,
)

MAX_OPERATORS = 8  # certificates of operators kept: the own one and seven met in taps

# purpose: (payer's roles, payee's roles)
PARTIES = {
    SALE: ((WALLET, TERMINAL), (TERMINAL,)),
    REFUND: ((TERMINAL,), (WALLET,)),
    CASH_OUT: ((TERMINAL,), (WALLET,)),
    PERSON: ((WALLET,), (WALLET,)),
    REDEEM: ((WALLET, TERMINAL), (OPERATOR_PAYEE,)),
}


def check_parties(payer: Certificate, payee: Certificate, purpose: int) -> None:
    """Roles must fit the purpose; nobody pays itself; redeeming is with one's own operator.

    Raises `Refused(WRONG_PARTY)`.
    """
    payers, payees = PARTIES[purpose]
    good = payer.role in payers and payee.role in payees and payer.key != payee.key
    if not good or (purpose == REDEEM and payer.operator != payee.operator):
        raise Refused(WRONG_PARTY)


def operator_entry_id(operator: int) -> bytes:
    """How an operator is named in Revocations."""
    return operator.to_bytes(2, "big") + bytes(ID_BYTES - 2)


class Trust:
    """What is believed, and the judge; nothing here stores anything durably.

    `sha256`, `verify` and `verify_operator` are passed in. The last has the verdicts of `verify` and is asked about
    operators' signatures on certificates: few keys, and mostly what it was asked before.
    """

    def __init__(self, root_key: bytes, own: OperatorCertificate, sha256, verify, verify_operator):
        self.root_key = root_key
        self.own = own
        self.operators = {own.operator: own}
        self.epoch = 0
        self.minimum_issues: dict[bytes, int] = {}
        self._sha256 = sha256
        self._verify = verify
        self._verify_operator = verify_operator

    def add_operator(self, certificate: OperatorCertificate) -> None:
        """Believe another operator, or a newer certificate of a known one. Raises `Refused`."""
        if not certificate.verified_by(self.root_key, self._verify):
            raise Refused(BAD_CERTIFICATE)
        known = self.operators.get(certificate.operator)
        if known and known.issue > certificate.issue:
            raise Refused(STALE)
        if certificate.operator == self.own.operator:
            self.own = certificate
        elif not known and len(self.operators) >= MAX_OPERATORS:
            del self.operators[[number for number in self.operators if number != self.own.operator][0]]
        self.operators[certificate.operator] = certificate

    def check_revocations(self, revocations: Revocations) -> None:
        """A complete list of the own operator, not older than the installed one? Raises `Refused`."""
        if revocations.issuer != self.own.operator or not revocations.verified_by(self.own.key, self._verify):
            raise Refused(BAD_CERTIFICATE)
        if revocations.predecessor or revocations.epoch < self.epoch:
            raise Refused(STALE)

    def install_revocations(self, revocations: Revocations) -> None:
        """Judge by this list from here on: one that was checked, now or before it was stored."""
        self.epoch = revocations.epoch
        self.minimum_issues = dict(revocations.entries)

    def judge(self, certificate: Certificate, now: int) -> None:
        """Everything but the signature, at lower-bound time `now` (Unix seconds). Raises `Refused`."""
        operator = self.operators.get(certificate.operator)
        if operator is None:
            raise Refused(UNKNOWN_OPERATOR)
        if operator.currency != self.own.currency or operator.exponent != self.own.exponent:
            raise Refused(OTHER_CURRENCY)
        if not operator.valid_from <= certificate.valid_from <= operator.valid_until:
            raise Refused(BAD_CERTIFICATE)
        today = now // DAY_S
        if today > certificate.valid_until or today > operator.valid_until:
            raise Refused(EXPIRED)
        if self._revoked(operator_entry_id(certificate.operator), operator.issue):
            raise Refused(REVOKED)
        if self._revoked(device_id(certificate.key, self._sha256), certificate.issue):
            raise Refused(REVOKED)

    def _revoked(self, who: bytes, issue: int) -> bool:
        minimum = self.minimum_issues.get(who, 0)
        return minimum == REVOKED_ALTOGETHER or issue < minimum

    def check_signature(self, certificate: Certificate) -> None:
        """The operator's signature on a certificate that was judged. Raises `Refused(BAD_CERTIFICATE)`."""
        operator = self.operators.get(certificate.operator)
        if operator is None:
            raise Refused(UNKNOWN_OPERATOR)
        if not certificate.verified_by(operator.key, self._verify_operator):
            raise Refused(BAD_CERTIFICATE)
