"""protocol.payer: committing, answering again, confirming, closing. Runs on MicroPython too."""

from protocol import apdu, effects, limits, records
from protocol.errors import (
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    CONFIRM,
    EXPIRED,
    IN_DOUBT_FULL,
    INSUFFICIENT_BALANCE,
    JOURNAL_FULL,
    LOT,
    NOT_FOR_THIS_DEVICE,
    OTHER_CURRENCY,
    OVER_PAYMENT_LIMIT,
    OVER_SUM_LIMIT,
    REVOKED,
    SERVICE,
    STALE,
    TOO_LONG_OFFLINE,
    TOO_MANY_RECORDS,
    UNKNOWN_OPERATOR,
    UNKNOWN_TRANSFER,
    WRONG_PARTY,
    LocalError,
    Refused,
)
from protocol.objects import (
    DAY_S,
    NO_HASH,
    PAID,
    PERSON,
    REDEEM,
    SALE,
    VOID,
    Certificate,
    Receipt,
    Request,
    Transfer,
    Void,
)
from protocol.tap import NOT_PAID, Payment, PaymentTap
from protocol.tap import PAID as TAP_PAID
from tests.unit.world import (
    REFERENCE,
    TODAY,
    Link,
    LinkLost,
    Operator,
    World,
    cause_of,
    meet,
    raises,
    sale,
    sale_tap,
    sha256,
)


def shop(balance=50_000, **changes):
    """A world, its terminal, and a wallet with `changes` in its Certificate."""
    world = World()
    return world, world.device("terminal", "terminal"), world.device("wallet", balance=balance, **changes)


def ask(terminal, amount, purpose=SALE):
    return Request.decode(terminal.open(amount, purpose))


def pay(wallet, terminal, amount, certificate=None, **options):
    """What the wallet answers to the terminal's new Request, as PAY would."""
    request = ask(terminal, amount)
    return wallet.perform(wallet.payer.pay(certificate or terminal.certificate, request, False, **options))


def refused(wallet, terminal, amount):
    """The cause of a refused payment; checks that it changed nothing."""
    before = wallet.durable()
    cause = cause_of(pay, wallet, terminal, amount)
    assert wallet.durable() == before
    return cause


def in_doubt(terminal, wallet, amount):
    """A payment whose Receipt never arrived: the Transfer."""
    terminal.open(amount)
    raises(LinkLost, meet, sale_tap(terminal), wallet, Link(cut_at=3))
    return wallet.purse.in_doubt[-1].transfer


def test_rule_the_debit_is_durable_before_the_transfer_is_answered():
    _, terminal, wallet = shop()
    request = ask(terminal, 1_000)
    wallet.journal.fail = "before"
    assert cause_of(wallet.perform, wallet.payer.pay(terminal.certificate, request, False)) == SERVICE
    wallet.restart()
    assert wallet.purse.balance == 50_000
    assert wallet.purse.in_doubt == []


def test_rule_the_commit_stands_before_the_answer():
    _, terminal, wallet = shop()
    wanted = wallet.payer.pay(terminal.certificate, ask(terminal, 1_000), False)
    kinds = [type(effect) for effect in wanted]
    assert kinds == [effects.Reserve, effects.Commit, effects.Then, effects.Answer]


def test_what_is_reserved_is_the_sum_of_all_that_is_promised():
    space = records.reservation(3, 100, n_closings=1)
    promised = records.CREDIT_RECORD_BYTES + 4 * records.CLOSING_MAX_BYTES + records.INSTALLATION_MAX_BYTES
    assert (space.n_records, space.n_bytes) == (1 + 1 + 4 + 1, 100 + promised)


def test_a_payer_that_dies_after_its_commit_answers_with_the_same_transfer():
    _, terminal, wallet = shop()
    request = ask(terminal, 1_000)
    wallet.journal.fail = "after"
    assert cause_of(wallet.perform, wallet.payer.pay(terminal.certificate, request, False)) == SERVICE
    wallet.restart()
    assert wallet.purse.in_doubt_sum == 1_000
    answer = wallet.perform(wallet.payer.pay(terminal.certificate, request, False))
    assert answer == wallet.purse.in_doubt[0].transfer.encode()


def test_a_transfer_says_all_that_its_payee_and_the_ledger_need():
    _, terminal, wallet = shop()
    head = (wallet.purse.head_seq, wallet.purse.head_hash)
    transfer = Transfer.decode(pay(wallet, terminal, 1_234))
    assert (transfer.seq - 1, transfer.previous) == head
    assert (transfer.payer, transfer.payee, transfer.amount) == (wallet.id, terminal.id, 1_234)
    assert (transfer.request, transfer.number) == (terminal.payee.request_hash, terminal.payee.request.number)
    assert (transfer.payer_issue, transfer.payee_issue, transfer.cumulative) == (1, 1, 1_234)
    assert transfer.verified_by(wallet.party.public_key, wallet.party.verify)
    assert Transfer.decode(pay(wallet, world_terminal(), 100)).cumulative == 1_334


def world_terminal():
    return World().device("another terminal", "terminal")


def test_rule_a_retap_answers_with_the_identical_transfer_whatever_changed_since():
    world, terminal, wallet = shop(balance=1_000)
    transfer = in_doubt(terminal, wallet, 1_000)
    request = terminal.payee.request
    # Everything that a new payment would be refused for: balance, certificate, revocation, time.
    world.sync(wallet, payment_limit=1)
    wallet.send(apdu.PUT, world.operator.revoke(1, [(terminal.id, 9)]).encode())
    world.now += 1_000 * DAY_S
    answer = wallet.perform(wallet.payer.pay(terminal.certificate, request, False))
    assert answer == transfer.encode()
    assert len(wallet.purse.in_doubt) == 1


def test_rule_an_older_transfer_to_this_payee_is_answered_instead_of_paying():
    _, terminal, wallet = shop()
    older = in_doubt(terminal, wallet, 1_000)
    assert pay(wallet, terminal, 2_000) == older.encode()
    assert wallet.purse.in_doubt_sum == 1_000


def test_the_transfer_of_this_very_request_comes_before_an_older_one():
    _, terminal, wallet = shop()
    older = in_doubt(terminal, wallet, 1_000)
    request = ask(terminal, 2_000)
    newer = wallet.perform(wallet.payer.pay(terminal.certificate, request, False, settle_older=False))
    assert newer != older.encode()
    assert wallet.perform(wallet.payer.pay(terminal.certificate, request, False)) == newer


def test_an_older_transfer_to_another_payee_does_not_stand_in_the_way():
    _, terminal, wallet = shop()
    in_doubt(terminal, wallet, 1_000)
    other = world_terminal()
    assert Transfer.decode(pay(wallet, other, 2_000)).payee == other.id


def test_limit_one_payment():
    _, terminal, wallet = shop(payment_limit=500)
    assert refused(wallet, terminal, 501) == OVER_PAYMENT_LIMIT
    assert pay(wallet, terminal, 500)


def test_limit_sum_since_base_counts_voided_payments_too():
    _, terminal, wallet = shop(sum_limit=1_000)
    transfer = in_doubt(terminal, wallet, 600)
    terminal.payee.close()
    void = terminal.perform(terminal.payee.receive(transfer, None))
    wallet.perform(wallet.payer.close(Void.decode(void)))
    assert wallet.purse.balance == 50_000
    assert refused(wallet, terminal, 401) == OVER_SUM_LIMIT
    assert pay(wallet, terminal, 400)


def test_limit_records_since_base():
    _, terminal, wallet = shop(record_limit=3)  # installation and load are 1 and 2
    assert pay(wallet, terminal, 1)
    assert refused(wallet, world_terminal(), 1) == TOO_MANY_RECORDS


def test_limit_days_since_base():
    world, terminal, wallet = shop(days_limit=10)
    world.now = (TODAY + 11) * DAY_S
    assert refused(wallet, terminal, 1) == TOO_LONG_OFFLINE
    world.now -= 1
    assert pay(wallet, terminal, 1)


def test_limit_balance_of_the_purse():
    _, terminal, wallet = shop(balance=999)
    assert refused(wallet, terminal, 1_000) == INSUFFICIENT_BALANCE
    assert pay(wallet, terminal, 999)


def test_limit_payments_in_doubt_full_slots_ask_for_confirmation_first():
    world, _, wallet = shop(in_doubt_limit=2)
    terminals = [world.device("terminal %d" % n, "terminal") for n in range(limits.MAX_IN_DOUBT + 1)]
    for terminal in terminals[:2]:
        in_doubt(terminal, wallet, 10)
    for terminal in terminals[2:-1]:
        assert refused(wallet, terminal, 10) == CONFIRM
        wallet.payer.approve()
        assert pay(wallet, terminal, 10)
    assert refused(wallet, terminals[-1], 10) == IN_DOUBT_FULL
    # It can still be paid, and every slot can be freed.
    wallet.perform(wallet.payee.open(5, SALE, REFERENCE, bytes(8)))
    for debit in list(wallet.purse.in_doubt):
        resolution = world.operator.resolve(wallet.id, debit.hash, VOID)
        wallet.perform(wallet.payer.close(resolution))
    assert wallet.purse.balance == 50_000


def test_limit_sum_without_confirmation_counts_what_is_in_doubt():
    _, terminal, wallet = shop(no_confirm_sum=1_000)
    in_doubt(terminal, wallet, 600)
    other = world_terminal()
    assert refused(wallet, other, 401) == CONFIRM
    assert pay(wallet, other, 400)


def test_a_confirmed_payment_starts_the_unconfirmed_sum_again():
    _, terminal, wallet = shop(no_confirm_sum=1_000)
    sale(terminal, wallet, 1_000)
    assert refused(wallet, terminal, 1) == CONFIRM
    wallet.payer.approve()
    sale(terminal, wallet, 1)
    sale(terminal, wallet, 1_000)
    assert wallet.purse.unconfirmed == 1_000
    wallet.restart()
    assert wallet.purse.unconfirmed == 1_000


def test_rule_confirming_approves_one_request():
    _, terminal, wallet = shop(no_confirm_sum=0)
    request = ask(terminal, 500)
    assert cause_of(wallet.payer.pay, terminal.certificate, request, False) == CONFIRM
    wanted = wallet.payer.wanted
    assert wanted is not None
    assert (wanted.amount, wanted.payee) == (500, terminal.id)
    wallet.payer.approve()
    assert wallet.perform(wallet.payer.pay(terminal.certificate, request, False))


def test_rule_confirming_approves_one_payee_and_amount_if_the_request_is_issued_again():
    _, terminal, wallet = shop(no_confirm_sum=0)
    assert refused(wallet, terminal, 500) == CONFIRM
    wallet.payer.approve()
    assert refused(wallet, terminal, 501) == CONFIRM  # another amount
    assert refused(wallet, world_terminal(), 500) == CONFIRM  # another payee
    assert pay(wallet, terminal, 500)  # a new Request of the same payee and amount


def test_rule_a_confirmation_counts_once():
    _, terminal, wallet = shop(no_confirm_sum=0)
    assert refused(wallet, terminal, 500) == CONFIRM
    wallet.payer.approve()
    sale(terminal, wallet, 500)
    assert refused(wallet, terminal, 500) == CONFIRM


def test_rule_a_confirmation_lasts_sixty_seconds():
    world, terminal, wallet = shop(no_confirm_sum=0)
    assert refused(wallet, terminal, 500) == CONFIRM
    wallet.payer.approve()
    world.now += limits.APPROVAL_S + 1
    assert refused(wallet, terminal, 500) == CONFIRM
    wallet.payer.approve()
    world.now += limits.APPROVAL_S
    assert pay(wallet, terminal, 500)


def test_a_confirmation_outlives_a_payment_that_was_refused_for_space():
    _, terminal, wallet = shop(no_confirm_sum=0)
    assert refused(wallet, terminal, 500) == CONFIRM
    wallet.payer.approve()
    wallet.journal.capacity_bytes = wallet.journal.used_bytes()
    assert refused(wallet, terminal, 500) == JOURNAL_FULL
    wallet.journal.capacity_bytes = 1 << 20
    assert pay(wallet, terminal, 500)


def test_nothing_to_confirm_is_our_own_error():
    _, terminal, wallet = shop(no_confirm_sum=0)
    raises(LocalError, wallet.payer.approve)
    refused(wallet, terminal, 500)
    wallet.payer.decline()
    raises(LocalError, wallet.payer.approve)


def test_rule_nobody_is_asked_to_confirm_for_an_uncertified_payee():
    _, terminal, wallet = shop(no_confirm_sum=0)
    request = ask(terminal, 500)
    forged = Certificate.decode(terminal.certificate.encode()[:-1] + b"\x00")
    assert cause_of(wallet.payer.pay, forged, request, False) == BAD_CERTIFICATE
    request.signature = bytes(64)
    assert cause_of(wallet.payer.pay, terminal.certificate, request, False) == BAD_SIGNATURE
    assert wallet.payer.wanted is None


def test_a_payment_entered_by_a_person_here_needs_no_second_confirmation():
    _, terminal, wallet = shop(no_confirm_sum=0)
    assert pay(wallet, terminal, 500, by_user=True)
    assert wallet.purse.unconfirmed == 0


def test_rule_small_payments_entered_here_count_until_a_person_confirms():
    _, terminal, wallet = shop(no_confirm_sum=1_000)
    for unconfirmed in (400, 800):
        pay(wallet, terminal, 400, by_user=True, settle_older=False)
        assert wallet.purse.unconfirmed == unconfirmed
    certificate = wallet.party.certificate
    assert limits.needs_confirmation(wallet.purse, certificate, 400)  # where the wallet asks for its PIN
    pay(wallet, terminal, 400, by_user=True, settle_older=False)
    assert wallet.purse.unconfirmed == 0


def test_rule_a_typed_payment_nobody_was_asked_for_is_none_that_a_person_must_confirm():
    """Whether the PIN is asked is judged when it is typed; by the commit a host may have spent below the sum."""
    world, terminal, wallet = shop(no_confirm_sum=1_000)
    friend = world.device("friend")
    typed = Payment(400, PERSON, REFERENCE, confirmed=False)
    assert not limits.needs_confirmation(wallet.purse, wallet.party.certificate, 400)
    pay(wallet, terminal, 900, settle_older=False)
    before = wallet.journal.stored[:]
    tap = PaymentTap(wallet.party, wallet.perform, wallet.payer, typed)
    assert cause_of(meet, tap, friend) == CONFIRM
    assert (tap.moved, typed.transfer, wallet.journal.stored) == (NOT_PAID, None, before)
    small = Payment(100, PERSON, REFERENCE, confirmed=False)
    assert meet(PaymentTap(wallet.party, wallet.perform, wallet.payer, small), friend).moved == TAP_PAID
    assert wallet.purse.unconfirmed == 1_000
    asked = Payment(400, PERSON, REFERENCE)
    assert meet(PaymentTap(wallet.party, wallet.perform, wallet.payer, asked), friend).moved == TAP_PAID
    assert wallet.purse.unconfirmed == 0


def test_redeeming_is_bounded_by_the_purse_only():
    world, _, wallet = shop(payment_limit=1, sum_limit=1, no_confirm_sum=0)
    bank = world.device("bank", "operator payee")
    request = ask(bank, 50_001, REDEEM)
    assert cause_of(wallet.payer.pay, bank.certificate, request, False) == INSUFFICIENT_BALANCE
    request = ask(bank, 50_000, REDEEM)
    transfer = Transfer.decode(wallet.perform(wallet.payer.pay(bank.certificate, request, False)))
    assert wallet.purse.balance == 0
    assert Receipt.decode(bank.perform(bank.payee.receive(transfer, wallet.certificate))).transfer
    assert bank.purse.balance == 50_000


def test_redeeming_is_with_ones_own_operator_only():
    world, _, wallet = shop()
    other = Operator(2, world.root)
    bank = world.device("bank", "operator payee", operator=other)
    wallet.send(apdu.PUT, other.certificate.encode())
    request = ask(bank, 100, REDEEM)
    assert cause_of(wallet.payer.pay, bank.certificate, request, False) == WRONG_PARTY


def test_a_request_for_lot_money_is_refused():
    _, terminal, wallet = shop()
    request = ask(terminal, 100)
    request.lot = 3
    message = terminal.party.request_message(request, terminal.purse.certificate_hash, NO_HASH)
    request.signature = terminal.party.sign(message)
    assert cause_of(wallet.payer.pay, terminal.certificate, request, False) == LOT


def test_every_bit_of_a_request_is_signed():
    _, terminal, wallet = shop()
    good = ask(terminal, 100).encode()
    for at, changed in ((5, 0x01), (9, 0x01), (12, 0x80), (20, 0x01), (25, 0x40), (40, 0x01), (98, 0x01)):
        data = good[:at] + bytes((good[at] ^ changed,)) + good[at + 1 :]
        assert cause_of(wallet.payer.pay, terminal.certificate, Request.decode(data), False) == BAD_SIGNATURE
    assert wallet.perform(wallet.payer.pay(terminal.certificate, Request.decode(good), False))


def test_a_request_signed_under_another_certificate_of_the_payee_is_refused():
    world, terminal, wallet = shop()
    request = ask(terminal, 100)
    newer = world.operator.certify(terminal.party.public_key, 0x20, issue=2)
    assert cause_of(wallet.payer.pay, newer, request, False) == BAD_SIGNATURE


def test_a_request_bound_to_one_payer_is_no_request_to_another():
    world, terminal, wallet = shop()
    other = world.device("other", balance=1_000)
    answer = terminal.perform(terminal.payee.open(100, SALE, REFERENCE, bytes(8), payer=wallet.certificate))
    request = Request.decode(answer)
    assert cause_of(other.payer.pay, terminal.certificate, request, True) == BAD_SIGNATURE
    assert cause_of(other.payer.pay, terminal.certificate, request, False) == BAD_SIGNATURE
    assert wallet.perform(wallet.payer.pay(terminal.certificate, request, True))


def test_a_payee_is_judged_before_money_moves():
    world, terminal, wallet = shop()
    wallet.send(apdu.PUT, world.operator.revoke(1, [(terminal.id, 2)]).encode())
    assert refused(wallet, terminal, 100) == REVOKED
    wallet.send(apdu.PUT, world.operator.revoke(2, []).encode())
    assert pay(wallet, terminal, 100)


def test_an_expired_payee_is_refused():
    world, _, wallet = shop(days_limit=255)
    terminal = world.device("old", "terminal", valid_until=TODAY + 5)
    world.now += 6 * DAY_S
    assert refused(wallet, terminal, 100) == EXPIRED


def test_an_operator_that_is_not_known_or_has_another_currency_is_refused():
    world, _, wallet = shop()
    for number, currency, cause in ((2, 156, None), (3, 978, OTHER_CURRENCY)):
        other = Operator(number, world.root, currency=currency)
        terminal = world.device("terminal %d" % number, "terminal", operator=other)
        assert refused(wallet, terminal, 100) == UNKNOWN_OPERATOR
        wallet.send(apdu.PUT, other.certificate.encode())
        if cause:
            assert refused(wallet, terminal, 100) == cause
        else:
            assert pay(wallet, terminal, 100)


def test_a_certificate_that_no_known_operator_signed_is_refused():
    world, terminal, wallet = shop()
    cheat = Operator(1, world.root, name="cheat")
    forged = cheat.certify(terminal.party.public_key, 0x20)
    assert cause_of(pay, wallet, terminal, 100, certificate=forged) == BAD_CERTIFICATE


def test_nobody_pays_itself():
    world, _, _ = shop()
    terminal = world.device("rich", "terminal", balance=1_000)
    assert cause_of(pay, terminal, terminal, 100) == WRONG_PARTY
    assert terminal.purse.balance == 1_000


def evidence_for(world, terminal, wallet, transfer):
    """Every kind of answer to this Transfer, each signed by who may: name -> object."""
    transfer_hash = sha256(transfer.body())
    receipt = Receipt(seq=2, previous=terminal.purse.head_hash, transfer=transfer_hash)
    return {
        "receipt": receipt.sign(terminal.party.sign),
        "void": Void(transfer=transfer_hash).sign(terminal.party.sign),
        "resolved paid": world.operator.resolve(wallet.id, transfer_hash, PAID),
        "resolved void": world.operator.resolve(wallet.id, transfer_hash, VOID),
    }


def test_rule_a_debit_closes_exactly_once_whichever_evidence_comes_first():
    for first in ("receipt", "void", "resolved paid", "resolved void"):
        world, terminal, wallet = shop()
        transfer = in_doubt(terminal, wallet, 1_000)
        evidence = evidence_for(world, terminal, wallet, transfer)
        wallet.perform(wallet.payer.close(evidence[first]))
        ended = 50_000 if first in ("void", "resolved void") else 49_000
        assert wallet.purse.balance == ended
        durable = wallet.durable()
        for later in evidence.values():  # what comes later changes nothing
            assert wallet.payer.close(later) == []
        wallet.restart()
        assert (wallet.durable(), wallet.purse.balance) == (durable, ended)


def test_rule_a_payer_never_takes_money_back_on_its_own_word():
    _, terminal, wallet = shop()
    transfer = in_doubt(terminal, wallet, 1_000)
    before = wallet.durable()
    forged = Void(transfer=sha256(transfer.body())).sign(wallet.party.sign)
    assert cause_of(wallet.payer.close, forged) == BAD_SIGNATURE
    wallet.restart()
    assert wallet.durable() == before
    assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (49_000, 1_000)


def test_evidence_signed_by_anybody_else_closes_nothing():
    world, terminal, wallet = shop()
    other = world.device("other", "terminal")
    transfer = in_doubt(terminal, wallet, 1_000)
    for good in evidence_for(world, terminal, wallet, transfer).values():
        forged = type(good).decode(good.encode()).sign(other.party.sign)
        assert cause_of(wallet.payer.close, forged) == BAD_SIGNATURE
    assert wallet.purse.in_doubt_sum == 1_000


def test_rule_a_resolution_is_of_the_payer_s_own_operator():
    world, terminal, wallet = shop()
    transfer = in_doubt(terminal, wallet, 1_000)
    foreign = Operator(2, world.root)
    wallet.send(apdu.PUT, foreign.certificate.encode())
    resolution = foreign.resolve(wallet.id, sha256(transfer.body()), VOID)
    assert cause_of(wallet.payer.close, resolution) == NOT_FOR_THIS_DEVICE
    resolution = world.operator.resolve(terminal.id, sha256(transfer.body()), VOID)
    assert cause_of(wallet.payer.close, resolution) == NOT_FOR_THIS_DEVICE


def test_a_receipt_for_a_transfer_that_was_never_made_is_refused():
    _, terminal, wallet = shop()
    void = Void(transfer=b"x" * 32).sign(terminal.party.sign)
    assert cause_of(wallet.payer.close, void) == UNKNOWN_TRANSFER


def test_two_resolutions_of_one_sync_can_be_carried_twice():
    world, terminal, wallet = shop()
    other = world.device("other", "terminal")
    for payee in (terminal, other):
        in_doubt(payee, wallet, 1_000)
    resolutions = [world.operator.resolve(wallet.id, debit.hash, PAID).encode() for debit in wallet.purse.in_doubt]
    for resolution in resolutions + resolutions:
        wallet.send(apdu.PUT, resolution)
    assert (wallet.purse.balance, wallet.purse.in_doubt) == (48_000, [])


def test_a_closing_finds_its_space_on_a_full_journal():
    world, terminal, wallet = shop()
    transfer = in_doubt(terminal, wallet, 1_000)
    wallet.journal.capacity_bytes = wallet.journal.used_bytes() + 300  # less than any other command needs
    assert refused(wallet, world.device("other", "terminal"), 1) == JOURNAL_FULL
    wallet.perform(wallet.payer.close(evidence_for(world, terminal, wallet, transfer)["receipt"]))
    assert wallet.purse.in_doubt == []


def test_rule_what_is_reserved_before_a_debit_lasts_for_everything_promised():
    """As many debits as fit; then every closing, the credit of the open Request and an installation must still fit."""
    world, _, wallet = shop()
    terminals = [world.device("terminal %d" % n, "terminal") for n in range(limits.MAX_IN_DOUBT)]
    payer = world.device("payer", balance=1_000)
    wallet.open(70, PERSON)
    wallet.journal.capacity_bytes = wallet.journal.used_bytes() + 6_000
    made, causes = [], []
    for terminal in terminals:
        request = ask(terminal, 10)
        try:
            wallet.perform(wallet.payer.pay(terminal.certificate, request, False, by_user=True))
        except Refused as refusal:
            causes.append(refusal.cause)
        else:
            made.append(terminal)
    assert causes == [JOURNAL_FULL] * len(causes)
    assert 0 < len(made) < len(terminals)
    transfer = Transfer.decode(payer.perform(payer.payer.pay(wallet.certificate, wallet.payee.request, False)))
    wallet.perform(wallet.payee.receive(transfer, payer.certificate))
    assert len(wallet.purse.in_doubt) == len(made)
    for debit, terminal in list(zip(wallet.purse.in_doubt, made)):  # noqa: B905 - MicroPython has no strict
        wallet.perform(wallet.payer.close(evidence_for(world, terminal, wallet, debit.transfer)["receipt"]))
    world.sync(wallet)


def test_a_stale_operator_certificate_is_refused():
    world, _, wallet = shop()
    world.operator.certificate = Operator(1, world.root, issue=3).certificate
    wallet.send(apdu.PUT, world.operator.certificate.encode())
    older = Operator(1, world.root, issue=2).certificate
    assert cause_of(wallet.send, apdu.PUT, older.encode()) == STALE
    wallet.restart()
    assert wallet.party.trust.own.issue == 3
