"""Rules of a tap: each is needed, since its scenario fails without it.

`RULES` holds the sentence of docs/protocol.md that each test is about.
"""

import contextlib

import pytest

from protocol import apdu, limits
from protocol.errors import Refused
from protocol.management import Management
from protocol.objects import (
    DAY_S,
    PAID,
    PERSON,
    REFUND,
    RETIRE,
    REVOKED_ALTOGETHER,
    Receipt,
    Request,
    Statement,
    Transfer,
    Void,
)
from protocol.payee import Payee
from protocol.payer import Payer
from protocol.tap import SaleTap, Tap
from protocol.trust import ROOT_ISSUER, Trust, operator_entry_id
from tests.ledger.world import LOST_TRANSFER
from tests.rules.rule import check_needed, without
from tests.rules.scenes import commit, give_void, receive, refused, shop, tap
from tests.rules.signatures import sign_otherwise
from tests.unit.world import (
    CURRENCY,
    KINDS,
    REFERENCE,
    TODAY,
    Device,
    Operator,
    Signer,
    World,
    meet,
    revocations,
    sale_tap,
    sha256,
    signer,
)

RULES = {
    "test_a_device_is_pinned_to_one_operator": (
        "It takes Certificates, Acknowledgements, Loads, Resolutions and Orders of this operator only."
    ),
    "test_a_transfer_s_hash_leaves_its_signature_out": (
        "Hash is SHA-256 (FIPS 180-4) of the body: everything without the signature."
    ),
    "test_the_reader_judges_revocation_before_money_is_asked_for": (
        "done when a card shows it, before money is asked for"
    ),
    "test_the_reader_judges_the_operator_before_money_is_asked_for": "its operator is known (11)",
    "test_the_reader_judges_validity_before_money_is_asked_for": (
        "neither it nor the operator certificate has expired (15)"
    ),
    "test_the_reader_judges_roles_before_money_is_asked_for": "The reader also checks the roles (17).",
    "test_the_reader_judges_days_before_money_is_asked_for": (
        "A reader checks it when a card that is to pay shows its Certificate"
    ),
    "test_what_cannot_be_accepted_is_voided": "the Request is closed and the answer is a Void",
    "test_a_request_is_closed_before_its_void": "A Request is closed before a Void is signed",
    "test_headroom_is_reserved_before_a_request": (
        "How a payee applies them before it signs a Request: balance + in doubt + amount <= `balance_limit` (23)"
    ),
    "test_in_doubt_amounts_count_towards_the_cap": "balance + in doubt + amount <= `balance_limit`",
    "test_a_refund_is_never_refused_by_limits": "but for refunds",
    "test_a_credit_of_a_signed_request_is_never_refused_by_limits": (
        "Credits of a signed Request and refunds are never refused by the payee's own limits"
    ),
    "test_space_for_the_credit_is_reserved_before_a_request": (
        "before a debit, a Load or a signed Request, space is free for that record, the credit of an open Request"
    ),
    "test_space_for_the_closing_is_reserved_before_a_debit": (
        "the closing of every debit in doubt, and one installation"
    ),
    "test_a_card_signs_no_request_while_a_person_s_is_open": (
        "A card signs a Request for a reader only while no Request of a person is open on it (26)."
    ),
    "test_a_load_counts_the_open_request": "a Load counts the open Request too",
    "test_a_device_is_pinned_to_one_operator_s_certificates": "A device is pinned to one operator at personalisation.",
}


# --- parties


OWN_KEY = ("party.trust.own.key", "party.trust.operators[signed.operator].key")
OTHERS = {
    "load": without(
        Management._check_order, ("signed.operator != party.trust.own.operator", "not signed.operator"), OWN_KEY
    ),
    "order": without(
        Management._check_order, ("signed.operator != party.trust.own.operator", "not signed.operator"), OWN_KEY
    ),
    "resolution": without(
        Payer.close,
        ("evidence.operator != party.trust.own.operator", "not evidence.operator"),
        ("signer = party.trust.own.key", "signer = party.trust.operators[evidence.operator].key"),
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_device_is_pinned_to_one_operator(kind: str) -> None:
    def scenario() -> None:
        world, terminal, wallet = shop()
        other = Operator(2, world.root)
        wallet.send(apdu.PUT, other.certificate.encode())
        transfer = commit(terminal, wallet, 300)
        objects = {
            "load": other.load(wallet.id, 2, 500),
            "order": other.order(wallet.id, 1, RETIRE),
            "resolution": other.resolve(wallet.id, sha256(transfer.body()), PAID),
        }
        before = wallet.durable()
        refused(wallet.send, apdu.PUT, objects[kind].encode())
        assert wallet.durable() == before, "another operator's object was taken"

    check_needed(scenario, OTHERS[kind], outcome="another operator's object was taken")


def test_a_device_is_pinned_to_one_operator_s_certificates() -> None:
    def scenario() -> None:
        world, _, wallet = shop()
        other = Operator(2, world.root)
        wallet.send(apdu.PUT, other.certificate.encode())
        statement = Statement.decode(wallet.send(apdu.STATEMENT, bytes(16)))
        certificate = other.certify(wallet.party.public_key, KINDS["wallet"], 2, base_seq=statement.seq)
        pair = certificate.encode() + other.acknowledge(certificate, statement.head, request_floor=1).encode()
        refused(wallet.send, apdu.INSTALL, pair)
        assert wallet.certificate.operator == 1, "another operator's Certificate was installed"

    taken_out = without(
        Management.install,
        ("party.trust.own, party.sha256", "party.trust.operators[certificate.operator], party.sha256"),
    )
    check_needed(scenario, taken_out, outcome="another operator's Certificate was installed")


def test_a_transfer_s_hash_leaves_its_signature_out() -> None:
    """A dishonest payer can sign one body in many ways; they are one Transfer all the same."""

    def scenario() -> None:
        _, terminal, wallet = shop()
        transfer = commit(terminal, wallet, 300)
        assert receive(terminal, transfer, wallet) == Receipt.TYPE
        twin = Transfer.decode(transfer.body() + sign_otherwise(wallet.name, transfer.body()))
        assert twin.signature != transfer.signature and twin.verified_by(wallet.party.public_key, wallet.party.verify)
        assert receive(terminal, twin, wallet) != Void.TYPE, "an honest payee signed a Receipt and a Void of one body"

    taken_out = without(Payee.receive, ("party.sha256(transfer.body())", "party.sha256(transfer.encode())"))
    check_needed(scenario, taken_out, outcome="a Receipt and a Void of one body")


# --- before money is asked for


def test_the_reader_judges_revocation_before_money_is_asked_for() -> None:
    def scenario() -> None:
        world, terminal, wallet = shop()
        terminal.send(apdu.PUT, world.operator.revoke(1, [(wallet.id, REVOKED_ALTOGETHER)]).encode())
        terminal.open(300)
        tap(terminal, wallet, LOST_TRANSFER)
        assert wallet.purse.balance == 1_000, "committed for nothing"

    taken_out = without(Tap._selected, ("self._party.judge(certificate)", "pass"))
    check_needed(scenario, taken_out, outcome="committed for nothing")


def asked_for_money(terminal: Device, card: Device) -> bool:
    terminal.open(300)
    this = sale_tap(terminal)
    with contextlib.suppress(Refused):
        meet(this, card)
    return "pay" in this.exchanges


def foreign_card(world: World, operator: Operator, root: Signer) -> Device:
    """Of another operator; it knows ours already."""
    home = World()
    home.root = root
    card = home.device("card", balance=1_000, operator=operator)
    card.party.trust.operators[1] = world.operator.certificate
    return card


OPERATORS = {
    "forged": without(Trust.add_operator, ("not certificate.verified_by(self.root_key, self._verify)", "False")),
    "of another currency": without(Trust.judge, ("raise Refused(OTHER_CURRENCY)", "pass")),
    "revoked": without(Trust.judge, ("self._check_operator(operator)", "pass")),
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_the_reader_judges_the_operator_before_money_is_asked_for(kind: str) -> None:
    def scenario() -> None:
        world, terminal, _ = shop()
        root = signer("another root") if kind == "forged" else world.root
        operator = Operator(2, root, currency=978 if kind == "of another currency" else CURRENCY)
        if kind == "revoked":
            listed = revocations(world.root, ROOT_ISSUER, 1, [(operator_entry_id(2), REVOKED_ALTOGETHER)])
            terminal.send(apdu.PUT, listed.encode())
        card = foreign_card(world, operator, root)
        assert not asked_for_money(terminal, card), "asked a card of an operator that is not good"

    check_needed(scenario, OPERATORS[kind], outcome="asked a card of an operator that is not good")


# What is wrong: days from today of the terminal's clock, of the card's first and last day; what sees it
VALIDITY = {
    "expired": (11, 0, 10, ("today > certificate.valid_until", "False")),
    "of an operator that expired": (1_001, 990, 1_080, ("today > operator.valid_until", "False")),
    "begun before its operator": (0, -101, 90, ("raise Refused(BAD_CERTIFICATE)", "pass")),
}


@pytest.mark.parametrize("kind", VALIDITY)
def test_the_reader_judges_validity_before_money_is_asked_for(kind: str) -> None:
    today, first, last, seen = VALIDITY[kind]

    def scenario() -> None:
        world = World()
        terminal = world.device("terminal", "terminal")
        begin, end = TODAY + first, TODAY + last
        card = world.device("card", balance=1_000, days_limit=255, valid_from=begin, valid_until=end)
        now = world.now + today * DAY_S
        terminal.party.clock = lambda: now
        assert not asked_for_money(terminal, card), "asked a card that nobody may take money of"

    check_needed(scenario, without(Trust.judge, seen), outcome="asked a card that nobody may take money of")


def test_the_reader_judges_roles_before_money_is_asked_for() -> None:
    """Person to person is between wallets: a terminal that asks for it is never paid."""

    def scenario() -> None:
        _, terminal, wallet = shop()
        terminal.open(300, PERSON)
        tap(terminal, wallet)
        assert not wallet.events, "asked a card that cannot pay"

    taken_out = without(SaleTap._check_card, ("check_parties(self.card, self._party.certificate, purpose)", "pass"))
    check_needed(scenario, taken_out, outcome="asked a card that cannot pay")


def test_the_reader_judges_days_before_money_is_asked_for() -> None:
    """The payer's clock may be behind the payee's: it would still commit."""

    def scenario() -> None:
        world, terminal, wallet = shop()
        late = world.now + 61 * 86_400
        terminal.party.clock = lambda: late
        terminal.open(300)
        tap(terminal, wallet, LOST_TRANSFER)
        assert wallet.purse.balance == 1_000, "committed for nothing"

    taken_out = without(SaleTap._check_card, ("self._party.check_days(self.card)", "pass"))
    check_needed(scenario, taken_out, outcome="committed for nothing")


# --- Void


def renewed_between_two_taps() -> tuple[Device, Device, Transfer]:
    """The wallet pays, the answer is lost, and the wallet syncs: it shows another Certificate then."""
    world, terminal, wallet = shop()
    terminal.open(300)
    tap(terminal, wallet, LOST_TRANSFER)
    transfer = wallet.purse.in_doubt[0].transfer
    world.sync(wallet)
    return terminal, wallet, transfer


def test_what_cannot_be_accepted_is_voided() -> None:
    def scenario() -> None:
        terminal, wallet, _ = renewed_between_two_taps()
        tap(terminal, wallet)
        assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (1_000, 0), "the money is stuck"

    taken_out = without(Payee._credit, ("self.close()", "raise"))
    check_needed(scenario, taken_out, outcome="the money is stuck")


def test_a_request_is_closed_before_its_void() -> None:
    def scenario() -> None:
        terminal, wallet, transfer = renewed_between_two_taps()
        shown_before = World().device("wallet").certificate  # the one that the Transfer names
        tap(terminal, wallet)
        assert wallet.purse.balance == 1_000
        answer = terminal.perform(terminal.payee.receive(transfer, shown_before))
        assert answer[0] == Void.TYPE, "credited after its Void"

    check_needed(scenario, without(Payee._credit, ("self.close()", "pass")), outcome="credited after its Void")


# --- what is reserved first


def test_headroom_is_reserved_before_a_request() -> None:
    def scenario() -> None:
        world = World()
        rich, wallet = world.device("rich", balance=900, balance_limit=1_000), world.device("wallet", balance=500)
        refused(commit_person, rich, wallet, 200)
        assert rich.total() <= 1_000, "over its limit"

    taken_out = without(Payee.open, ("limits.check_headroom(party.purse, own, amount)", "pass"))
    check_needed(scenario, taken_out, outcome="over its limit")


def commit_person(payee: Device, payer: Device, amount: int) -> None:
    """Wallet to wallet: the payee's Request, the payer's Transfer, the payee's credit."""
    request = Request.decode(payee.open(amount, PERSON))
    paid = payer.perform(payer.payer.pay(payee.certificate, request, False, by_user=True, settle_older=False))
    assert receive(payee, Transfer.decode(paid), payer) == Receipt.TYPE


def test_in_doubt_amounts_count_towards_the_cap() -> None:
    def scenario() -> None:
        world = World()
        terminal = world.device("terminal", "terminal")
        wallet = world.device("wallet", balance=900, balance_limit=1_000)
        transfer = commit(terminal, wallet, 300)
        terminal.payee.close()
        refused(wallet.send, apdu.PUT, world.operator.load(wallet.id, 2, 350).encode())
        assert receive(terminal, transfer, wallet) == Void.TYPE
        give_void(terminal, wallet, sha256(transfer.body()))
        assert wallet.purse.balance <= 1_000, "over its limit"

    taken_out = without(limits.check_headroom, (" + purse.in_doubt_sum", ""))
    check_needed(scenario, taken_out, outcome="over its limit")


def test_a_load_counts_the_open_request() -> None:
    def scenario() -> None:
        world = World()
        payee = world.device("payee", balance=500, balance_limit=1_000)
        payer = world.device("payer", balance=500)
        request = Request.decode(payee.open(300, PERSON))
        refused(payee.send, apdu.PUT, world.operator.load(payee.id, 2, 400).encode())
        paid = payer.perform(payer.payer.pay(payee.certificate, request, False, by_user=True))
        assert receive(payee, Transfer.decode(paid), payer) == Receipt.TYPE
        assert payee.purse.balance <= 1_000, "over its limit"

    taken_out = without(Management._put_load, (" + self._device.payee.expected", ""))
    check_needed(scenario, taken_out, outcome="over its limit")


def test_a_refund_is_never_refused_by_limits() -> None:
    def scenario() -> None:
        wallet = World().device("wallet", balance=1_000, balance_limit=1_000)
        assert not refused(wallet.open, 300, REFUND), "a refund was refused"

    taken_out = without(Payee.open, ("if purpose != REFUND:", "if True:"))
    check_needed(scenario, taken_out, outcome="a refund was refused")


def test_a_credit_of_a_signed_request_is_never_refused_by_limits() -> None:
    """A refund to a wallet that is full: it was asked for, so it is taken."""

    def scenario() -> None:
        world = World()
        terminal = world.device("terminal", "terminal", balance=500)
        wallet = world.device("wallet", balance=1_000, balance_limit=1_000)
        request = Request.decode(wallet.open(300, REFUND))
        paid = terminal.perform(terminal.payer.pay(wallet.certificate, request, False, by_user=True))
        assert receive(wallet, Transfer.decode(paid), terminal) == Receipt.TYPE, "asked for a refund and refused it"

    judged = (
        "party.judge(payer)",
        "party.judge(payer); limits.check_headroom(party.purse, party.certificate, transfer.amount)",
    )
    check_needed(scenario, without(Payee._check_acceptable, judged), outcome="asked for a refund and refused it")


def test_space_for_the_credit_is_reserved_before_a_request() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        terminal.journal.capacity_bytes = terminal.journal.used_bytes() + 100
        if not refused(terminal.open, 300):
            tap(terminal, wallet)  # the world's journal asserts that the space was reserved

    taken_out = without(Payee.open, ("records.reservation(len(party.purse.in_doubt)),", ""))
    check_needed(scenario, taken_out, outcome="the space was not reserved")


def test_space_for_the_closing_is_reserved_before_a_debit() -> None:
    """Payments until the journal takes no more, and their Voids: an installation must still fit."""

    def scenario() -> None:
        world, terminal, wallet = shop(balance=10_000)
        wallet.journal.capacity_bytes = wallet.journal.used_bytes() + 5_000
        try:
            while True:
                transfer = commit(terminal, wallet, 100)
                terminal.payee.close()
                assert receive(terminal, transfer, wallet) == Void.TYPE
        except Refused:
            pass
        for debit in list(wallet.purse.in_doubt):
            give_void(terminal, wallet, debit.hash)
        assert not refused(world.sync, wallet), "no space is left for a sync"

    taken_out = without(
        Payer.pay,
        ("len(purse.in_doubt), records.DEBIT_RECORD_BYTES, n_closings=1", "0, records.DEBIT_RECORD_BYTES"),
    )
    check_needed(scenario, taken_out, outcome="no space is left for a sync|the space was not reserved")


def test_a_card_signs_no_request_while_a_person_s_is_open() -> None:
    def scenario() -> None:
        world = World()
        card, reader = world.device("card"), world.device("reader", balance=500)
        mine = Request.decode(card.open(200, PERSON)).number
        data = reader.certificate.encode() + (300).to_bytes(4, "big") + bytes((PERSON,)) + REFERENCE
        refused(card.send, apdu.REQUEST, data)
        assert card.payee.request.number == mine and card.payee.busy, "a person's Request was replaced"

    taken_out = without(Payee.open, ("self.check_not_busy()", "pass"))
    check_needed(scenario, taken_out, outcome="a person's Request was replaced")
