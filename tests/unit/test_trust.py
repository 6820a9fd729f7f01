"""protocol.trust: whom a device believes, and the rules a certificate is judged by. Runs on MicroPython too."""

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
    PERSON,
    REDEEM,
    REFUND,
    REVOKED_ALTOGETHER,
    SALE,
    Certificate,
    OperatorCertificate,
    device_id,
)
from protocol.trust import MAX_FOREIGN_LISTS, MAX_OPERATORS, Trust, check_parties, operator_entry_id
from tests.unit.world import KINDS, NOW, TODAY, Operator, cause_of, revocations, sha256, signer, verify

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


def take(this, listed, may_evict=False):
    """Install it as a device does, without a place to save it in."""
    for effect in this.put_revocations(listed, may_evict):
        if isinstance(effect, effects.Then):
            effect.action()


def saved(this, listed, may_evict=False):
    """The settings that its installation writes, in order."""
    return [effect.values for effect in this.put_revocations(listed, may_evict) if isinstance(effect, effects.Save)]


def meet(this, *operators):
    """Get to know them, durably."""
    for operator in operators:
        this.add_operator(operator.certificate)
    this.operators_changed = False


def epochs(this):
    return {issuer: this.list_of(issuer).epoch for issuer in this.lists}


def test_revoked_devices_and_operators():
    this = trust()
    who = device_id(KEY, sha256)
    take(this, OWN.revoke(1, [(who, 3)]))
    assert cause_of(this.judge, certificate(issue=2), NOW) == REVOKED
    this.judge(certificate(issue=3), NOW)
    take(this, OWN.revoke(2, [(who, REVOKED_ALTOGETHER)]))
    assert cause_of(this.judge, certificate(issue=REVOKED_ALTOGETHER), NOW) == REVOKED
    take(this, OWN.revoke(3, [(operator_entry_id(1), 2)]))
    assert cause_of(this.judge, certificate(issue=9), NOW) == REVOKED


def test_rule_the_root_revokes_operators_and_an_operator_its_own_devices():
    other, third = Operator(2, ROOT), Operator(3, ROOT)
    who = device_id(KEY, sha256)

    def judging(*lists):
        this = trust()
        for operator in (other, third):
            this.add_operator(operator.certificate)
        for listed in lists:
            take(this, listed)
        return this

    def root_list(entries):
        return revocations(ROOT, 0, 1, entries)

    judging().judge(certificate(other), NOW)
    for refusing in (
        root_list([(operator_entry_id(2), 2)]),  # the root: the operator
        OWN.revoke(1, [(operator_entry_id(2), 2)]),  # our operator: another operator
        OWN.revoke(1, [(who, 2)]),  # our operator: another operator's device
        other.revoke(1, [(who, 2)]),  # the device's operator
    ):
        assert cause_of(judging(refusing).judge, certificate(other), NOW) == REVOKED
    for idle in (
        root_list([(who, 2)]),  # the root names operators
        other.revoke(1, [(operator_entry_id(2), 2)]),  # an operator does not revoke itself, nor another's device
        third.revoke(1, [(who, 2)]),
    ):
        judging(idle).judge(certificate(other), NOW)
    judging(third.revoke(1, [(who, 2)])).judge(certificate(), NOW)


def test_rule_revocations_never_fall_in_epoch():
    this = trust()
    take(this, OWN.revoke(5, []))
    for older in (5, 4, 1):
        assert this.put_revocations(OWN.revoke(older, [(KEY[:16], 9)])) == []
    assert this.epoch == 5


def test_revocations_are_signed_by_the_root_or_an_operator_that_is_known():
    this = trust()
    other = Operator(2, ROOT)
    assert cause_of(this.put_revocations, other.revoke(9, [])) == UNKNOWN_OPERATOR
    this.add_operator(other.certificate)
    take(this, other.revoke(9, []))
    for issuer, key in ((1, other.key), (1, ROOT), (0, OWN.key), (2, OWN.key)):
        assert cause_of(this.put_revocations, revocations(key, issuer, 10, [])) == BAD_CERTIFICATE
    assert [this.list_of(issuer).epoch for issuer in (0, 1, 2, 3)] == [0, 0, 9, 0]


def test_an_operator_that_is_revoked_lists_nobody_any_more():
    """Whoever has its key could name an epoch that nothing ever follows."""
    other, renewed = Operator(2, ROOT), Operator(2, ROOT, name="new key", issue=2)
    this = trust()
    this.add_operator(other.certificate)
    take(this, revocations(ROOT, 0, 1, [(operator_entry_id(2), 2), (operator_entry_id(1), REVOKED_ALTOGETHER)]))
    assert cause_of(this.put_revocations, other.revoke(0xFFFFFFFF, [])) == REVOKED
    this.add_operator(renewed.certificate)
    assert cause_of(this.put_revocations, other.revoke(0xFFFFFFFF, [])) == BAD_CERTIFICATE
    take(this, renewed.revoke(4, []))
    take(this, OWN.revoke(5, []))  # our own goes on with us: its customers still settle
    assert [this.list_of(issuer).epoch for issuer in (1, 2)] == [5, 4]


def test_nothing_is_believed_before_it_is_saved():
    this = trust()
    wanted = this.put_revocations(OWN.revoke(5, []))
    assert [type(effect) for effect in wanted] == [effects.Save, effects.Then]
    assert this.epoch == 0


def test_the_lists_kept_are_bounded_and_those_of_root_and_own_operator_stay():
    this = trust()
    take(this, OWN.revoke(1, []))
    take(this, revocations(ROOT, 0, 1, []))
    kept: list = []
    for number in range(2, 12):
        other = Operator(number, ROOT)
        meet(this, other)
        listed = other.revoke(1, [])
        written = [{"revoked %d" % number: listed.encode()}]
        if len(kept) == MAX_FOREIGN_LISTS:
            written.insert(0, {"revoked %d" % kept.pop(0): b""})
        assert saved(this, listed, True) == written
        take(this, listed, True)
        kept.append(number)
        assert set(this.lists) == {0, 1} | set(kept)
        assert set(kept) <= set(this.operators)


def reading(values):
    """`get` of settings that hold these."""
    return lambda name, may_forget: values.get(name)


def test_what_a_device_has_met_outlives_power():
    this = trust()
    values: dict = {}
    for number in range(2, 7):
        other = Operator(number, ROOT)
        this.add_operator(other.certificate)
        for written in saved(this, other.revoke(number, []), True):
            values.update(written)
        take(this, other.revoke(number, []), True)
    assert this.operators_changed
    values["operators"] = this.stored_operators()
    again = trust()
    again.restore(reading(values))
    assert set(again.operators) == {1, 2, 3, 4, 5, 6}
    assert epochs(again) == {0: 0, 1: 0, 5: 5, 6: 6}
    assert not again.operators_changed
    blank = trust()
    blank.restore(reading({}))
    assert (set(blank.operators), set(blank.lists)) == ({1}, {0, 1})


def test_only_another_operator_s_list_may_be_forgotten():
    """Whoever damages flash must not make a device forget whom the root and its own operator revoke."""
    may_be_forgotten = {}
    values = {"operators": Operator(2, ROOT).certificate.encode() + Operator(3, ROOT).certificate.encode()}

    def get(name, may_forget):
        may_be_forgotten[name] = may_forget
        return values.get(name)

    trust().restore(get)
    kept = {"operators": False, "revoked 0": False, "revoked 1": False}
    assert may_be_forgotten == dict(kept, **{"revoked 2": True, "revoked 3": True})


def test_rule_a_list_on_flash_counts_wherever_power_goes():
    """Its operator is written before it, so there is none whose issuer a device does not know after its start."""
    this = trust()
    values: dict = {}
    for number in (2, 3, 4):
        other = Operator(number, ROOT)
        this.add_operator(other.certificate)
        for written in saved(this, other.revoke(9, []), True):
            values.update(written)
            again = trust()
            again.restore(reading(values))
            on_flash = {int(name[8:]) for name, listed in values.items() if name.startswith("revoked ") and listed}
            assert on_flash == set(again.lists) & set(range(2, 9))
            assert len(on_flash) <= MAX_FOREIGN_LISTS
            for issuer in on_flash:
                assert again.put_revocations(Operator(issuer, ROOT).revoke(8, [])) == []
        take(this, other.revoke(9, []), True)


def test_rule_no_list_gives_way_to_one_that_was_not_asked_for():
    operators = [Operator(number, ROOT) for number in (2, 3, 4)]
    who = device_id(KEY, sha256)
    this = trust()
    meet(this, *operators)
    for operator in operators:
        take(this, operator.revoke(5, [(who, 2)]))
    assert epochs(this) == {0: 0, 1: 0, 2: 5, 3: 5}
    for operator in operators * 9:  # public objects, that anybody has
        for epoch in (4, 5) + ((6,) if operator.number == 4 else ()):
            assert this.put_revocations(operator.revoke(epoch, [])) == []
    assert cause_of(this.judge, certificate(operators[0]), NOW) == REVOKED
    take(this, operators[0].revoke(6, []))  # one that is kept goes on
    assert epochs(this) == {0: 0, 1: 0, 2: 6, 3: 5}


def test_the_list_updated_longest_ago_gives_way_also_after_a_start():
    operators = {number: Operator(number, ROOT) for number in (2, 3, 4, 5)}
    for updated, stays in ((2, 2), (3, 3)):
        this = trust()
        meet(this, *operators.values())
        values: dict = {}
        for listed in (operators[2].revoke(1, []), operators[3].revoke(1, []), operators[updated].revoke(2, [])):
            for written in saved(this, listed):
                values.update(written)
            take(this, listed)
        assert this.operators_changed  # their order is kept while nobody waits
        values["operators"] = this.stored_operators()
        again = trust()
        again.restore(reading(values))
        for one in (this, again):
            take(one, operators[4].revoke(1, []), True)
            assert set(one.lists) == {0, 1, stays, 4}


def test_a_list_that_gave_way_comes_back_no_older():
    operators = [Operator(number, ROOT) for number in (2, 3, 4)]
    this = trust()
    meet(this, *operators)
    complete = operators[0].revoke(5, [])
    for listed in (complete, operators[0].revoke(7, [], since=complete)):
        take(this, listed)
    for operator in operators[1:]:
        take(this, operator.revoke(1, []), True)
    assert set(this.lists) == {0, 1, 3, 4}
    assert this.put_revocations(operators[0].revoke(4, []), True) == []
    take(this, complete, True)
    take(this, operators[0].revoke(7, [], since=complete), True)
    assert epochs(this) == {0: 0, 1: 0, 2: 7, 4: 1}


def test_only_what_is_new_about_operators_has_to_be_stored():
    this = trust()
    other = Operator(2, ROOT)
    this.add_operator(OWN.certificate)
    this.add_operator(Operator(1, ROOT, issue=2).certificate)  # has a setting of its own
    assert not this.operators_changed
    this.add_operator(other.certificate)
    assert this.operators_changed
    this.operators_changed = False
    this.add_operator(other.certificate)  # a reader may send it a thousand times
    assert not this.operators_changed
    this.add_operator(Operator(2, ROOT, issue=2).certificate)
    assert this.operators_changed


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
