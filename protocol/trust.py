"""Whom a device believes: root keys, operators' certificates, revocations; and the rules a certificate is judged by.

Judging (operator known, currency, validity, revocation) is cheap and happens when a card shows its Certificate, before
money is asked for; checking the signature is dear and is done while the other side works. Neither moves money.

Time is a lower bound: it can show that something has expired, never that it is not valid yet.
"""

from protocol import effects
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
from protocol.revocations import RevocationList, epoch_of, setting

ROOT_ISSUER = 0  # of revocations
OPERATORS = "operators"  # the setting of the operators met in taps
MAX_OPERATORS = 8  # certificates of operators kept: the own one and seven met in taps
MAX_FOREIGN_LISTS = 2  # revocations kept of other operators: 3 KB each, in memory as well

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

    `lists` are the revocations by issuer: those of the root and of the own operator always, and of MAX_FOREIGN_LISTS
    other operators at most. `operators_changed` says that the settings do not have what `stored_operators` gives.

    `sha256`, `verify` and `verify_operator` are passed in. The last has the verdicts of `verify` and is asked about
    operators' signatures on certificates: few keys, and mostly what it was asked before.
    """

    def __init__(self, root_key: bytes, own: OperatorCertificate, sha256, verify, verify_operator):
        self.root_key = root_key
        self.own = own
        self.operators = {own.operator: own}
        self.operators_changed = False
        self.lists = {ROOT_ISSUER: RevocationList(), own.operator: RevocationList()}
        self._foreign: list[int] = []  # the other issuers among `lists`, the one updated last at the end
        self._floors: dict[int, int] = {}  # of issuers that gave way: epochs of the complete objects they had
        self._sha256 = sha256
        self._verify = verify
        self._verify_operator = verify_operator

    def restore(self, get) -> None:
        """Take over what outlived power: `get(name, may_forget) -> bytes | None` reads a setting.

        It was checked before. Another operator's list is forgotten if it cannot be read: it is learnt again.
        """
        stored = get(OPERATORS, False) or b""
        size = OperatorCertificate.size()
        issuers = [ROOT_ISSUER, self.own.operator]
        for at in range(0, len(stored), size):
            certificate = OperatorCertificate.decode(stored[at : at + size])
            self.operators[certificate.operator] = certificate
            issuers.append(certificate.operator)
        for issuer in issuers:
            listed = get(setting(issuer), issuer not in self.lists)
            if listed:
                self._use(issuer, RevocationList(listed))
        self.operators_changed = False

    def stored_operators(self) -> bytes:
        """The other operators' certificates, for the setting OPERATORS: last those with lists, as updated."""
        without = [number for number in self.operators if number not in self.lists]
        return b"".join([self.operators[number].encode() for number in without + self._foreign])

    @property
    def epoch(self) -> int:
        """Of the own operator's list."""
        return self.list_of(self.own.operator).epoch

    def list_of(self, issuer: int) -> RevocationList:
        """An empty one, if there is none."""
        return self.lists.get(issuer) or RevocationList()

    def add_operator(self, certificate: OperatorCertificate) -> None:
        """Believe another operator, or a newer certificate of a known one. Raises `Refused`."""
        known = self.operators.get(certificate.operator)
        if known and known.encode() == certificate.encode():
            return
        if not certificate.verified_by(self.root_key, self._verify):
            raise Refused(BAD_CERTIFICATE)
        if known and known.issue > certificate.issue:
            raise Refused(STALE)
        if certificate.operator == self.own.operator:
            self.own = certificate
        else:
            self.operators_changed = True
            if not known and len(self.operators) >= MAX_OPERATORS:
                forgotten = [number for number in self.operators if number not in self.lists][0]
                del self.operators[forgotten]
                self._floors.pop(forgotten, 0)
        self.operators[certificate.operator] = certificate

    def has_place(self, issuer: int) -> bool:
        """Whether a list of this issuer is kept, or can be without another's giving way."""
        return issuer in self.lists or len(self._foreign) < MAX_FOREIGN_LISTS

    def put_revocations(self, revocations: Revocations, may_evict: bool = False) -> list:
        """The effects of an object of the root or of an operator that is known.

        None if it is not newer, or if there is no place for it and the list updated longest ago must not give way
        (`may_evict`): nobody may take a list from us that we did not ask. Raises `Refused`.
        """
        issuer = revocations.issuer
        operator = self.operators.get(issuer)
        if issuer != ROOT_ISSUER and operator is None:
            raise Refused(UNKNOWN_OPERATOR)
        held = self.list_of(issuer)
        if revocations.epoch <= held.epoch or revocations.epoch < self._floors.get(issuer, 0):
            return []
        if not (may_evict or self.has_place(issuer)):
            return []
        if operator and operator is not self.own:
            self._check_operator(operator)
        if not revocations.verified_by(operator.key if operator else self.root_key, self._verify):
            raise Refused(BAD_CERTIFICATE)
        newer = held.with_newer(revocations, self._sha256)
        wanted = []
        if not self.has_place(issuer):
            wanted.append(effects.Save({setting(self._foreign[0]): b""}))
        if issuer not in self.lists and self.operators_changed:
            # A list on flash counts only if its operator stands there too.
            wanted.append(effects.Save({OPERATORS: self.stored_operators()}))
        return wanted + [
            effects.Save({setting(issuer): newer.stored}),
            effects.Then(lambda: self._use(issuer, newer)),
        ]

    def _use(self, issuer: int, newer: RevocationList) -> None:
        if issuer not in (ROOT_ISSUER, self.own.operator):
            if issuer in self._foreign:
                self._foreign.remove(issuer)
            elif not self.has_place(issuer):
                evicted = self._foreign.pop(0)
                self._floors[evicted] = epoch_of(self.lists.pop(evicted).complete)
            self._foreign.append(issuer)
            self.operators_changed = True  # their order is theirs
        self.lists[issuer] = newer

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
        self._check_operator(operator)
        issuers = self.own.operator, certificate.operator
        self._check_lists(issuers, device_id(certificate.key, self._sha256), certificate.issue)

    def _check_operator(self, operator: OperatorCertificate) -> None:
        self._check_lists((ROOT_ISSUER, self.own.operator), operator_entry_id(operator.operator), operator.issue)

    def _check_lists(self, issuers, who: bytes, issue: int) -> None:
        """Raises `Refused(REVOKED)` if one of them says that `who` is not good any more under this issue number."""
        for issuer in issuers:
            minimum = self.list_of(issuer).entry(who)
            if minimum == REVOKED_ALTOGETHER or issue < minimum:
                raise Refused(REVOKED)

    def check_signature(self, certificate: Certificate) -> None:
        """The operator's signature on a certificate that was judged. Raises `Refused(BAD_CERTIFICATE)`."""
        operator = self.operators.get(certificate.operator)
        if operator is None:
            raise Refused(UNKNOWN_OPERATOR)
        if not certificate.verified_by(operator.key, self._verify_operator):
            raise Refused(BAD_CERTIFICATE)
