"""protocol.trust: whom a device believes, and the rules a certificate is judged by. Runs on MicroPython too."""

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
    PERSON,
    REDEEM,
    REFUND,
    REVOKED_ALTOGETHER,
    SALE,
    Certificate,
    OperatorCertificate,
    Revocations,
    device_id,
)
from protocol.trust import MAX_OPERATORS, Trust, check_parties, operator_entry_id
from tests.unit.world import KINDS, NOW, TODAY, Operator, cause_of, sha256, signer, verify

ROOT = signer("root")
OWN = Operator(1, ROOT)
KEY = signer("device").public


def trust():
    return Trust(ROOT.public, OWN.certificate, sha256, verify, verify)


def certificate(operator=OWN, **changes):
    return operator.certify(KEY, KINDS["wallet"], changes.pop("issue", 1), **changes)


def test_a_good_certificate_is_judged_good():
    this = trust()
    this.judge(certificate(), NOW)
    this.check_signature(certificate())


def test_validity_ends_with_its_last_day():
    this = trust()
    good = certificate(valid_until=TODAY + 5)
    this.judge(good, (TODAY + 6) * DAY_S - 1)
    assert cause_of(this.judge, good, (TODAY + 6) * DAY_S) == EXPIRED


def test_rule_time_is_a_lower_bound_and_never_too_early():
    trust().judge(certificate(valid_from=TODAY + 50), 0)


def test_a_certificate_outside_its_operator_s_validity_is_bad():
    this = trust()
    assert cause_of(this.judge, certificate(valid_from=TODAY - 101), NOW) == BAD_CERTIFICATE
    late = certificate(valid_from=TODAY + 1_001, valid_until=TODAY + 1_002)
    assert cause_of(this.judge, late, NOW) == BAD_CERTIFICATE
    outlives = certificate(valid_until=TODAY + 2_000)
    assert cause_of(this.judge, outlives, (TODAY + 1_001) * DAY_S) == EXPIRED


def test_revoked_devices_and_operators():
    this = trust()
    who = device_id(KEY, sha256)
    this.install_revocations(OWN.revoke(1, [(who, 3)]))
    assert cause_of(this.judge, certificate(issue=2), NOW) == REVOKED
    this.judge(certificate(issue=3), NOW)
    this.install_revocations(OWN.revoke(2, [(who, REVOKED_ALTOGETHER)]))
    assert cause_of(this.judge, certificate(issue=REVOKED_ALTOGETHER), NOW) == REVOKED
    this.install_revocations(OWN.revoke(3, [(operator_entry_id(1), 2)]))
    assert cause_of(this.judge, certificate(issue=9), NOW) == REVOKED


def test_revocations_are_of_the_own_operator_complete_and_newer():
    this = trust()
    for _ in range(2):
        this.check_revocations(OWN.revoke(5, []))
        this.install_revocations(OWN.revoke(5, []))
    assert cause_of(this.check_revocations, OWN.revoke(4, [])) == STALE
    delta = Revocations.of([], issuer=1, epoch=6, predecessor=5, predecessor_hash=b"h" * 32).sign(OWN.key.sign)
    assert cause_of(this.check_revocations, delta) == STALE
    other = Operator(2, ROOT)
    this.add_operator(other.certificate)
    assert cause_of(this.check_revocations, other.revoke(9, [])) == BAD_CERTIFICATE
    forged = Revocations.of([], issuer=1, epoch=9, predecessor=0, predecessor_hash=bytes(32)).sign(other.key.sign)
    assert cause_of(this.check_revocations, forged) == BAD_CERTIFICATE
    assert this.epoch == 5


def test_operators_are_certified_by_the_root():
    this = trust()
    other = Operator(2, ROOT)
    assert cause_of(this.judge, certificate(other), NOW) == UNKNOWN_OPERATOR
    assert cause_of(this.check_signature, certificate(other)) == UNKNOWN_OPERATOR
    assert cause_of(this.add_operator, Operator(2, signer("cheat")).certificate) == BAD_CERTIFICATE
    this.add_operator(other.certificate)
    this.judge(certificate(other), NOW)
    this.check_signature(certificate(other))
    newer = Operator(2, ROOT, name="new key", issue=2)
    this.add_operator(newer.certificate)
    assert cause_of(this.add_operator, other.certificate) == STALE
    assert cause_of(this.check_signature, certificate(other)) == BAD_CERTIFICATE  # what was verified under the old key


def test_another_currency_or_exponent_is_refused():
    this = trust()
    euro = Operator(2, ROOT, currency=978)
    this.add_operator(euro.certificate)
    assert cause_of(this.judge, certificate(euro), NOW) == OTHER_CURRENCY
    tenths = Operator(3, ROOT)
    tenths.certificate = OperatorCertificate.decode(tenths.certificate.encode())
    tenths.certificate.exponent = 1
    this.add_operator(tenths.certificate.sign(ROOT.sign))
    assert cause_of(this.judge, certificate(tenths), NOW) == OTHER_CURRENCY


def test_the_operators_kept_are_bounded_and_the_own_one_stays():
    this = trust()
    for number in range(2, 30):
        this.add_operator(Operator(number, ROOT).certificate)
        assert len(this.operators) <= MAX_OPERATORS
        assert {1, number} <= set(this.operators)


def test_operators_signatures_on_certificates_are_asked_of_their_own_judge():
    asked = []

    def verify_operator(public, message, signature):
        asked.append(public)
        return verify(public, message, signature)

    this = Trust(ROOT.public, OWN.certificate, sha256, verify, verify_operator)
    this.check_signature(certificate())
    forged = Certificate.decode(certificate().encode()[:-1] + b"\x00")
    assert cause_of(this.check_signature, forged) == BAD_CERTIFICATE
    this.add_operator(Operator(2, ROOT).certificate)  # the root's signature: seldom seen
    assert asked == [OWN.certificate.key] * 2


# purpose: (may pay, may be paid)
PARTIES = {
    SALE: (("wallet", "terminal"), ("terminal",)),
    REFUND: (("terminal",), ("wallet",)),
    PERSON: (("wallet",), ("wallet",)),
    REDEEM: (("wallet", "terminal"), ("operator payee",)),
    CASH_OUT: (("terminal",), ("wallet",)),
}


def test_every_purpose_has_its_parties():
    made = {}
    for kind, code in KINDS.items():
        made[kind] = [OWN.certify(signer(kind + end).public, code) for end in ("a", "b")]
    for purpose, (payers, payees) in PARTIES.items():
        for payer in KINDS:
            for payee in KINDS:
                try:
                    check_parties(made[payer][0], made[payee][1], purpose)
                    allowed = True
                except Refused as refusal:
                    assert refusal.cause == WRONG_PARTY  # noqa: PT017 - no pytest on MicroPython
                    allowed = False
                assert allowed == (payer in payers and payee in payees), (purpose, payer, payee)
                if allowed:
                    assert cause_of(check_parties, made[payer][0], made[payer][0], purpose) == WRONG_PARTY
