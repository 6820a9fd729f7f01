"""protocol.fraud: each of the three kinds convicts, nothing else does, and no honest device ever signs one of them."""

from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import apdu, fraud, records
from protocol.errors import DecodeError, Refused
from protocol.fraud import (
    CUMULATIVE,
    MAX_BODIES,
    RECEIPT_AND_VOID,
    TWO_HISTORIES,
    Commitment,
    Finding,
    FraudProof,
    NotProven,
    check,
)
from protocol.objects import NO_HASH, PAID, PERSON, VOID, Receipt, Statement, Transfer, Void
from protocol.tap import Payment, PaymentTap
from tests.unit.world import (
    REFERENCE,
    Device,
    Link,
    LinkLost,
    Operator,
    World,
    meet,
    sale,
    sale_tap,
    sha256,
    signer,
    spread,
    verify,
)

KINDS = {0x05: Transfer, 0x06: Receipt, 0x07: Void, 0x0B: Statement}
known_verdict = cache(verify)


class Witness(Device):
    """A device of which everything that it signed and let go is kept, and every record it ever committed."""

    def restart(self):
        if not hasattr(self, "said"):
            self.said: dict[bytes, None] = {}
            self.bodies: dict[int, bytes] = {}
            self.certificates: dict[int, bytes] = {}
        Device.restart(self)

    def perform(self, wanted):
        try:
            answer = Device.perform(self, wanted)
        finally:
            self.keep_bodies()
        if answer and answer[0] in KINDS:
            self.said[answer] = None
        return answer

    def keep_bodies(self):
        for stored in self.journal.stored:
            record = records.decode(stored)
            known = self.bodies.setdefault(record.seq, record.body_bytes)
            assert known == record.body_bytes
            if isinstance(record.body, records.Installation):
                self.certificates[record.certificate.issue] = record.certificate.encode()


class Watched(World):
    def blank(self, name):
        return Witness(name, self.clock)

    def device(self, *arguments, **changes) -> Witness:
        device = World.device(self, *arguments, **changes)
        assert isinstance(device, Witness)
        return device


def commitment(device, signed, depth=1_000):
    """The object with every body below it."""
    this = KINDS[signed[0]].decode(signed)
    if isinstance(this, Void):
        return Commitment(signed, ())
    top = this.seq if isinstance(this, Statement) else this.seq - 1
    return Commitment(signed, tuple(device.bodies[seq] for seq in range(top, max(0, top - depth), -1)))


def proof(device, first, second, operator=None):
    """Of encoded objects or Commitments."""
    pair = [one if isinstance(one, Commitment) else Commitment(one, ()) for one in (first, second)]
    trust = device.party.trust
    return FraudProof((operator or trust.own).encode(), device.certificate.encode(), *pair)


def convicts(device, first, second):
    """The kind; both ways round are the same."""
    found = [
        check(proof(device, *pair), signer("root").public, sha256, verify)
        for pair in ((first, second), (second, first))
    ]
    assert found[0] == found[1]
    assert found[0].device == device.id
    return found[0].kind


def not_proven(device, first, second):
    with pytest.raises(NotProven) as error:
        check(proof(device, first, second), signer("root").public, sha256, verify)
    return str(error.value)


def assert_innocent(device):
    """No two things it said, with all that stands below them, prove anything."""
    said = [commitment(device, signed) for signed in device.said]
    for first, second in [*combinations(said, 2), *[(one, one) for one in said]]:
        with pytest.raises(NotProven, match="one honest history can hold both"):
            check(proof(device, first, second), signer("root").public, sha256, known_verdict)
    for certificate in device.certificates.values():
        for one in said:
            shown = proof(device, one, said[-1])._replace(certificate=certificate)
            with pytest.raises(NotProven, match="one honest history can hold both"):
                check(shown, signer("root").public, sha256, known_verdict)


# --- the three kinds


@pytest.fixture
def world():
    return Watched()


@pytest.fixture
def wallet(world):
    return world.device("wallet", balance=50_000)


@pytest.fixture
def terminal(world):
    return world.device("terminal", "terminal", balance=9_000)


def clone(device):
    """Somebody copies the flash."""
    copy = Witness(device.name, device._clock)
    copy.journal.stored = list(device.journal.stored)
    copy.journal.first_seq = device.journal.first_seq
    copy.settings.values = dict(device.settings.values)
    copy.seed_made = True
    copy.restart()
    copy.keep_bodies()
    return copy


def statement_of(device):
    return device.send(apdu.STATEMENT, bytes(16))


def said(device, kind, at=-1):
    return [signed for signed in device.said if isinstance(KINDS[signed[0]].decode(signed), kind)][at]


def pay(terminal, wallet, amount):
    sale(terminal, wallet, amount)
    return said(wallet, Transfer), said(terminal, Receipt)


def test_a_clone_that_pays_twice_has_two_histories(terminal, wallet):
    copy = clone(wallet)
    first, _ = pay(terminal, wallet, 100)
    second, _ = pay(terminal, copy, 100)
    assert convicts(wallet, first, second) == TWO_HISTORIES


def test_a_clone_that_is_paid_twice_has_two_histories(world, terminal, wallet):
    copy = clone(terminal)
    _, first = pay(terminal, wallet, 100)
    _, second = pay(copy, wallet, 100)
    assert convicts(terminal, first, second) == TWO_HISTORIES


def test_two_branches_that_met_no_more_are_joined_by_their_records(terminal, wallet):
    pay(terminal, wallet, 5)
    copy = clone(wallet)
    for amount in (1, 2, 3):
        first, _ = pay(terminal, wallet, amount)
    second, _ = pay(terminal, copy, 2)
    assert "one honest history" in not_proven(wallet, first, second)  # a gap is incomplete, never fraud
    assert convicts(wallet, commitment(wallet, first), second) == TWO_HISTORIES
    assert convicts(wallet, commitment(wallet, first), commitment(copy, second)) == TWO_HISTORIES
    statements = statement_of(wallet), statement_of(copy)
    assert "one honest history" in not_proven(wallet, *statements)
    assert convicts(wallet, commitment(wallet, statements[0]), statements[1]) == TWO_HISTORIES
    assert convicts(wallet, commitment(wallet, statements[0]), commitment(copy, second)) == TWO_HISTORIES


def test_what_a_signed_object_says_of_the_record_before_it_counts(terminal, wallet):
    copy = clone(wallet)
    pay(terminal, wallet, 1)
    terminal.open(2)
    one = wallet.perform(wallet.payer.pay(terminal.certificate, terminal.payee.request, False, settle_older=False))
    pay(terminal, copy, 1)
    terminal.open(2)
    other = copy.perform(copy.payer.pay(terminal.certificate, terminal.payee.request, False, settle_older=False))
    a, b = Transfer.decode(one), Transfer.decode(other)
    assert a.seq == b.seq
    at_their_place = proof(wallet, one, other)
    assert check(at_their_place, signer("root").public, sha256, verify) == Finding(wallet.id, TWO_HISTORIES)
    before = Statement.decode(statement_of(clone(wallet)))
    assert before.seq == a.seq
    for head in (statement_of(copy), other):
        assert convicts(wallet, one, head) == TWO_HISTORIES


def test_a_payee_that_voids_what_it_credited(terminal, wallet):
    transfer, receipt = pay(terminal, wallet, 100)
    void = Void(transfer=sha256(transfer[:-64])).sign(signer("terminal").sign).encode()
    assert convicts(terminal, receipt, void) == RECEIPT_AND_VOID
    # The credit as a record below what it signed later proves the same.
    assert convicts(terminal, commitment(terminal, statement_of(terminal)), void) == RECEIPT_AND_VOID
    other = Void(transfer=sha256(b"another")).sign(signer("terminal").sign).encode()
    assert "one honest history" in not_proven(terminal, receipt, other)
    assert "not signed by the device" in not_proven(wallet, receipt, void)


def test_a_payer_whose_cumulative_falls_or_stays(terminal, wallet):
    first, _ = pay(terminal, wallet, 100)
    second, _ = pay(terminal, wallet, 50)
    assert "one honest history" in not_proven(wallet, first, second)

    def changed(**values):
        this = Transfer.decode(second)
        for name, value in values.items():
            setattr(this, name, value)
        return this.sign(signer("wallet").sign).encode()

    for cumulative in (50, 100, 149):
        assert convicts(wallet, first, changed(cumulative=cumulative, seq=9)) == CUMULATIVE
    assert "one honest history" in not_proven(wallet, first, changed(cumulative=150, seq=9))
    # Under another Certificate the count starts anew, and before it nothing was spent.
    assert "one honest history" in not_proven(wallet, first, changed(cumulative=50, seq=9, payer_issue=2))
    assert convicts(wallet, commitment(wallet, second), changed(cumulative=120, seq=9)) == CUMULATIVE


def test_a_payer_that_leaves_out_what_it_paid_above_its_base(terminal, wallet):
    first, _ = pay(terminal, wallet, 100)
    second, _ = pay(terminal, wallet, 50)
    base = Transfer.decode(first).seq - 1

    def under(base_seq, issue=2):
        certificate = wallet.certificate.decode(wallet.certificate.encode())
        certificate.issue, certificate.base_seq = issue, base_seq
        return certificate.sign(signer("operator 1").sign).encode()

    def verdict(cumulative, certificate, below=first):
        later = Transfer.decode(second)
        later.seq, later.payer_issue, later.amount, later.cumulative = base + 9, 2, 10, cumulative
        one = below if isinstance(below, Commitment) else Commitment(below, ())
        other = Commitment(later.sign(signer("wallet").sign).encode(), ())
        shown = proof(wallet, one, other)._replace(certificate=certificate)
        try:
            return check(shown, signer("root").public, sha256, verify).kind
        except NotProven as error:
            return str(error)

    good = "one honest history can hold both"
    assert verdict(109, under(base)) == CUMULATIVE
    assert verdict(110, under(base)) == good
    assert verdict(10, under(base + 1)) == good  # it lies at the base
    assert verdict(10, under(base, issue=1)) == good  # another Certificate says nothing of this base
    both = commitment(wallet, second)
    assert verdict(159, under(base), both) == CUMULATIVE
    assert verdict(160, under(base), both) == good
    assert verdict(59, under(base + 1), both) == CUMULATIVE
    assert verdict(60, under(base + 1), both) == good


def test_the_first_kind_that_is_proven_is_named(terminal, wallet):
    first, _ = pay(terminal, wallet, 100)
    this = Transfer.decode(first)
    this.cumulative += 1
    assert convicts(wallet, first, this.sign(signer("wallet").sign).encode()) == TWO_HISTORIES


# --- and nothing looser


def test_an_overdrawn_or_rolled_back_device_has_signed_nothing_twice(terminal, wallet):
    copy = clone(wallet)
    transfer, _ = pay(terminal, wallet, 100)
    assert "one honest history" in not_proven(wallet, transfer, statement_of(copy))


def test_only_the_root_s_operators_and_their_devices_are_judged(world, terminal, wallet):
    copy = clone(wallet)
    first, second = pay(terminal, wallet, 1)[0], pay(terminal, copy, 1)[0]
    good = proof(wallet, first, second)
    other = Operator(2, world.root)
    impostor = Operator(1, signer("another root"))
    for wrong in (
        good._replace(operator_certificate=other.certificate.encode()),
        good._replace(operator_certificate=impostor.certificate.encode()),
        good._replace(certificate=terminal.certificate.encode()),
        good._replace(certificate=other.certify(wallet.party.public_key, 0x12).encode()),
        good._replace(certificate=good.operator_certificate, operator_certificate=good.certificate),
    ):
        with pytest.raises(NotProven):
            check(wrong, world.root.public, sha256, verify)
    with pytest.raises(NotProven):
        check(good, signer("another root").public, sha256, verify)
    later = world.operator.certify(wallet.party.public_key, 0x12, issue=9)  # any Certificate names the key
    assert check(good._replace(certificate=later.encode()), world.root.public, sha256, verify).kind == TWO_HISTORIES


def test_a_body_counts_only_where_a_signed_hash_names_it(terminal, wallet):
    pay(terminal, wallet, 1)
    copy = clone(wallet)
    first, second = pay(terminal, wallet, 2)[0], pay(terminal, copy, 3)[0]
    bodies = commitment(wallet, first).bodies
    for wrong in (
        bodies[1:],  # a gap
        bodies[::-1],
        (*bodies, bodies[-1][:2] + bytes(4) + bodies[-1][6:]),  # position 0
        (bodies[0][:-1],),
        (b"",),
        (b"\x23" + bodies[0][1:],),
        (copy.bodies[Transfer.decode(second).seq],),  # its own, but of the other branch
        (bytes(64),),
    ):
        not_proven(wallet, Commitment(first, wrong), statement_of(copy))
    assert "no record" in not_proven(wallet, Commitment(first, (wallet.certificate.body(),)), second)


def test_the_bodies_are_bounded(wallet, terminal):
    transfer, _ = pay(terminal, wallet, 1)
    body = wallet.bodies[Transfer.decode(transfer).seq]
    assert "one honest history" in not_proven(wallet, Commitment(transfer, (body,) * MAX_BODIES), transfer)
    assert "more than" in not_proven(wallet, Commitment(transfer, (body,) * (MAX_BODIES + 1)), transfer)


def test_a_void_has_nothing_below_it(terminal, wallet):
    transfer, _ = pay(terminal, wallet, 1)
    void = Void(transfer=NO_HASH).sign(signer("wallet").sign).encode()
    not_proven(wallet, Commitment(void, (wallet.bodies[1],)), transfer)


def test_what_names_another_device_is_not_this_one_s_word(terminal, wallet):
    transfer, _ = pay(terminal, wallet, 1)
    this = Transfer.decode(transfer)
    this.payer, this.amount, this.cumulative = bytes(16), 2, 2
    assert "another payer" in not_proven(wallet, transfer, this.sign(signer("wallet").sign).encode())
    statement = Statement.decode(statement_of(wallet))
    statement.device, statement.head = terminal.id, NO_HASH
    assert "another device" in not_proven(wallet, statement_of(wallet), statement.sign(signer("wallet").sign).encode())


def test_other_signed_objects_commit_to_nothing(terminal, wallet):
    request = terminal.open(5)
    for signed in (request, terminal.certificate.encode(), b"", b"\x05"):
        not_proven(terminal, signed, request)


# --- whatever the bytes are


def _genuine():
    world = Watched()
    wallet, terminal = world.device("wallet", balance=900), world.device("terminal", "terminal")
    copy = clone(wallet)
    pay(terminal, wallet, 1)
    first, second = pay(terminal, wallet, 2)[0], pay(terminal, copy, 3)[0]
    return proof(wallet, commitment(wallet, first), commitment(copy, second))


GENUINE = _genuine()
ROOT = signer("root").public


def _pieces(this):
    return [
        this.operator_certificate,
        this.certificate,
        *[part for one in this[2:] for part in (one.signed, *one.bodies)],
    ]


def _built(pieces):
    at = 3 + len(GENUINE.first.bodies)
    first, second = Commitment(pieces[2], tuple(pieces[3:at])), Commitment(pieces[at], tuple(pieces[at + 1 :]))
    return FraudProof(pieces[0], pieces[1], first, second)


def test_the_genuine_proof_convicts():
    assert _built(_pieces(GENUINE)) == GENUINE
    assert check(GENUINE, ROOT, sha256, verify).kind == TWO_HISTORIES


@settings(max_examples=400, deadline=None)
@given(piece=st.integers(0, len(_pieces(GENUINE)) - 1), at=st.integers(0, 400), flip=st.integers(1, 255))
def test_one_changed_byte_and_nothing_is_proven(piece, at, flip):
    pieces = _pieces(GENUINE)
    data = pieces[piece]
    at %= len(data)
    pieces[piece] = data[:at] + bytes((data[at] ^ flip,)) + data[at + 1 :]
    with pytest.raises(NotProven):
        check(_built(pieces), ROOT, sha256, verify)


_ANY = st.one_of(
    st.binary(max_size=250),
    st.tuples(st.sampled_from([*range(0x0D), 0x20, 0x21, 0x22, 0x23]), st.binary(max_size=250)).map(
        lambda of: bytes((of[0], 1)) + of[1]
    ),
    st.sampled_from(_pieces(GENUINE)),
)
_COMMITMENTS = st.builds(Commitment, _ANY, st.lists(_ANY, max_size=4).map(tuple))


@settings(max_examples=400, deadline=None)
@given(this=st.builds(FraudProof, _ANY, _ANY, _COMMITMENTS, _COMMITMENTS))
def test_whatever_bytes_come_the_answer_is_a_finding_or_not_proven(this):
    try:
        found = check(this, ROOT, sha256, verify)
    except NotProven:
        return
    assert found.kind == TWO_HISTORIES  # put together from the genuine pieces


# --- honest devices

_STEPS = ("sale", "give", "refund", "close", "restart", "sync", "half sync", "old pair", "resolve", "statement", "fail")
_STORIES = st.lists(
    st.tuples(st.sampled_from(_STEPS), st.integers(0, 5), st.integers(1, 40), st.integers(-1, 9)),
    min_size=4,
    max_size=25,
)


class Story:
    """Honest devices among cuts, restarts, failing writes, and a host that carries what it likes, when it likes."""

    def __init__(self):
        self.world = Watched()
        self.wallet = self.world.device("wallet", balance=50_000)
        self.friend = self.world.device("friend", balance=5_000)
        self.terminal = self.world.device("terminal", "terminal", balance=5_000)
        self.devices = [self.wallet, self.friend, self.terminal]
        self.pairs: list = []  # what the ledger has made, for a host that brings it late or again
        self.statements: dict = {device.name: [] for device in self.devices}

    def play(self, steps) -> None:
        for step, which, amount, cut_at in steps:
            device = self.devices[which % 3]
            try:
                getattr(self, "_" + step.replace(" ", "_"))(device, amount, Link(cut_at, lose_power=which > 3))
            except (LinkLost, Refused, DecodeError):
                pass
            for one in self.devices:
                if one.fault:
                    one.restart()

    def _other(self, device):
        return self.wallet if device is not self.wallet else self.friend

    def _sale(self, device, amount, link):
        purpose = 1 if device is self.terminal else PERSON
        device.open(amount, purpose)
        self._meet(sale_tap(device), device, link)

    def _give(self, device, amount, link):
        purpose = 2 if device is self.terminal else PERSON
        payment = Payment(amount, purpose, REFERENCE)
        self._meet(PaymentTap(device.party, device.perform, device.payer, payment), device, link)

    _refund = _give

    def _meet(self, tap, device, link):
        spread(meet(tap, self._other(device), link), self._other(device))

    def _close(self, device, amount, link):
        device.payee.close()

    def _restart(self, device, amount, link):
        device.restart()

    def _fail(self, device, amount, link):
        device.journal.fail = "before" if amount % 2 else "after"

    def _statement(self, device, amount, link):
        device.payee.close()
        self.statements[device.name].append(device.send(apdu.STATEMENT, bytes((amount,)) * 16))

    def _sync(self, device, amount, link):
        self._statement(device, amount, link)
        self._half_sync(device, 0, link)

    def _half_sync(self, device, amount, link):
        """A renewal with the base of any Statement there was: floors that the ledger had then."""
        held = [Statement.decode(signed) for signed in self.statements[device.name]]
        if held:
            statement = held[-1 - amount % len(held)]
            self.pairs.append((device, self.world.base_for(device, statement)))
            self._old_pair(device, len(self.pairs) - 1, link)

    def _old_pair(self, device, amount, link):
        if self.pairs:
            device, pair = self.pairs[amount % len(self.pairs)]
            device.send(apdu.INSTALL, pair[0].encode() + pair[1].encode())

    def _resolve(self, device, amount, link):
        for debit in device.purse.in_doubt[:1]:
            outcome = PAID if amount % 2 else VOID
            device.send(apdu.PUT, self.world.operator.resolve(device.id, debit.hash, outcome).encode())


@settings(max_examples=150, deadline=None)
@given(steps=_STORIES)
def test_rule_an_honest_device_never_looks_guilty(steps):
    story = Story()
    story.play(steps)
    for device in story.devices:
        if device.journal.fail:
            device.journal.fail = ""
        device.payee.close()
        story._statement(device, 7, Link())
        assert_innocent(device)


def test_the_stories_say_enough_to_be_accused_of():
    """Else the test above would prove nothing: everything happens in one, and a copy of its devices is convicted."""
    story = Story()
    steps = [(step, which, 7 + which, cut_at) for cut_at in (-1, 3) for which in (0, 1, 2) for step in _STEPS[:-1]]
    story.play(steps)
    for device in story.devices:
        kinds = {signed[0] for signed in device.said}
        assert {0x05, 0x06, 0x0B} <= kinds
        assert device.certificate.issue > 2
    copy = clone(story.wallet)
    terminal = story.world.device("shop", "terminal")
    first, second = pay(terminal, story.wallet, 1)[0], pay(terminal, copy, 1)[0]
    assert convicts(story.wallet, first, second) == TWO_HISTORIES


@pytest.mark.parametrize("watermark", [0, 1, 2])
def test_rule_a_renewal_cannot_make_a_payee_void_what_it_credited(world, terminal, wallet, watermark):
    """The floor of a lying or careless operator: the record goes with the base, and the Transfer comes again."""
    transfer, receipt = pay(terminal, wallet, 100)
    statement = Statement.decode(statement_of(terminal))
    number = Transfer.decode(transfer).number
    statement.watermark = number + watermark - 1
    certificate, acknowledgement = world.base_for(terminal, statement)
    try:
        terminal.send(apdu.INSTALL, certificate.encode() + acknowledgement.encode())
    except Refused:
        assert watermark < 2
    terminal.restart()
    try:
        answer = terminal.send(apdu.TRANSFER, transfer)
        assert answer == receipt
    except Refused:
        assert watermark == 2
    assert_innocent(terminal)


def test_kinds_have_names_for_people():
    assert {TWO_HISTORIES, RECEIPT_AND_VOID, CUMULATIVE} == {"two histories", "receipt and void", "cumulative falls"}
    assert issubclass(fraud.NotProven, Exception)
