"""protocol.payee: what is credited, what is voided, what only the ledger knows. Runs on MicroPython too."""

from protocol import apdu, effects, limits
from protocol.errors import (
    ASK_LEDGER,
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    BALANCE_LIMIT,
    EXPIRED,
    JOURNAL_FULL,
    MISMATCH,
    NOT_FOR_THIS_DEVICE,
    OVER_PAYMENT_LIMIT,
    OVER_SUM_LIMIT,
    REQUEST_OPEN,
    REVOKED,
    SERVICE,
    TOO_LONG_OFFLINE,
    TOO_MANY_RECORDS,
    UNKNOWN_REQUEST,
    LocalError,
)
from protocol.objects import (
    DAY_S,
    PERSON,
    REDEEM,
    REFUND,
    SALE,
    Certificate,
    Receipt,
    Request,
    Statement,
    Transfer,
    Void,
)
from protocol.payee import RequestNumbers
from protocol.purse import MAX_PAYERS
from protocol.states import CLOSED, CREDITED, OPEN
from tests.unit.world import REFERENCE, TODAY, World, cause_of, raises, sale, sha256


def shop(balance=50_000, **changes):
    world = World()
    return world, world.device("terminal", "terminal", **changes), world.device("wallet", balance=balance)


def transfer_for(terminal, wallet, amount=1_000):
    """A Transfer for the terminal's new Request, committed by the wallet and not yet shown to the terminal."""
    request = Request.decode(terminal.open(amount))
    answer = wallet.perform(wallet.payer.pay(terminal.certificate, request, False, by_user=True, settle_older=False))
    return Transfer.decode(answer)


def receive(terminal, transfer, payer):
    """The payee's evidence, as bytes."""
    return terminal.perform(terminal.payee.receive(transfer, payer))


def refused(terminal, transfer, payer):
    before = (terminal.durable(), terminal.payee.state, terminal.purse.balance)
    cause = cause_of(receive, terminal, transfer, payer)
    assert (terminal.durable(), terminal.payee.state, terminal.purse.balance) == before
    return cause


def changed(transfer, sign, **changes):
    """The Transfer with other values, signed again."""
    again = Transfer.decode(transfer.encode())
    for name, value in changes.items():
        setattr(again, name, value)
    return again.sign(sign)


def assert_void(evidence, transfer, terminal):
    void = Void.decode(evidence)
    assert void.transfer == sha256(transfer.body())
    assert void.verified_by(terminal.party.public_key, terminal.party.verify)


# --- Requests


def test_a_request_is_signed_for_its_certificate_and_currency():
    _, terminal, _ = shop()
    request = Request.decode(terminal.open(1_000))
    message = request.signed_message(sha256(terminal.certificate.body()), bytes(32), 156)
    assert terminal.party.verify(terminal.party.public_key, message, request.signature)
    assert terminal.payee.request_hash == sha256(message)


def test_rule_request_numbers_only_grow_and_survive_power_loss():
    _, terminal, _ = shop()
    numbers = []
    for _ in range(3):
        for _ in range(3):
            terminal.open(1)
            numbers.append(terminal.payee.request.number)
        terminal.restart()
    assert numbers == sorted(set(numbers))
    assert numbers[0] < numbers[3] - limits.REQUEST_BLOCK + 3


def test_rule_a_settings_write_pays_for_256_requests():
    saved = []
    numbers = RequestNumbers(1, saved.append)
    taken = [numbers.take() for _ in range(600)]
    assert taken == list(range(1, 601))
    assert saved == [257, 513, 769]


def test_a_number_is_durable_before_it_is_used():
    def fails(limit):
        raise LocalError("no flash")

    numbers = RequestNumbers(1, fails)
    raises(LocalError, numbers.take)
    assert numbers.next == 1


def test_the_next_block_of_numbers_can_be_reserved_while_nobody_waits():
    saved = []
    numbers = RequestNumbers(1, saved.append)
    assert numbers.low
    numbers.refill()
    taken = []
    for _ in range(limits.REQUEST_BLOCK - limits.REQUESTS_LOW):
        assert not numbers.low
        taken.append(numbers.take())
    assert not numbers.low
    taken.append(numbers.take())
    assert numbers.low
    numbers.refill()
    assert not numbers.low
    taken += [numbers.take() for _ in range(limits.REQUEST_BLOCK)]
    assert (saved, taken) == ([257, 513], list(range(1, len(taken) + 1)))


def test_a_refill_that_fails_reserves_nothing():
    calls = []

    def fails(limit):
        calls.append(limit)
        raise LocalError("no flash")

    numbers = RequestNumbers(1, fails)
    for _ in range(2):
        raises(LocalError, numbers.refill)
        raises(LocalError, numbers.take)
    assert calls == [257] * 4


def test_a_tap_after_the_refill_writes_no_setting():
    _, terminal, wallet = shop()
    terminal.tidy()
    writes = terminal.settings.writes
    assert sale(terminal, wallet, 10).moved == "paid"
    assert terminal.settings.writes == writes
    terminal.restart()
    terminal.tidy()
    terminal.open(1)
    assert terminal.payee.request.number == 1 + limits.REQUEST_BLOCK


def test_rule_an_open_request_dies_with_power():
    _, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    terminal.restart()
    assert_void(receive(terminal, transfer, wallet.certificate), transfer, terminal)
    assert terminal.purse.balance == 0


def test_rule_headroom_is_reserved_before_a_request_is_signed():
    _, terminal, wallet = shop(balance_limit=1_000)
    assert cause_of(terminal.open, 1_001) == BALANCE_LIMIT
    assert terminal.payee.state is None
    sale(terminal, wallet, 600)
    assert cause_of(terminal.open, 401) == BALANCE_LIMIT
    assert terminal.open(400)


def test_rule_what_is_in_doubt_counts_towards_the_balance_limit():
    world, terminal, wallet = shop()
    payee = world.device("friend", balance=900, balance_limit=1_000)
    transfer_for(terminal, payee, 500)
    assert (payee.purse.balance, payee.purse.in_doubt_sum) == (400, 500)
    assert cause_of(payee.open, 101, PERSON) == BALANCE_LIMIT
    assert payee.open(100, PERSON)


def test_rule_a_refund_is_never_refused_by_limits():
    world, terminal, _ = shop()
    wallet = world.device("full", balance=1_000, balance_limit=1_000)
    assert cause_of(wallet.open, 1, PERSON) == BALANCE_LIMIT
    assert wallet.open(1, REFUND)


def test_rule_credits_of_a_signed_request_are_never_refused_by_limits():
    world, terminal, _ = shop()
    payer = world.device("payer", balance=1_000)
    payee = world.device("payee", balance_limit=1_000)
    payee.open(1_000, PERSON)
    transfer = Transfer.decode(payer.perform(payer.payer.pay(payee.certificate, payee.payee.request, False)))
    load = world.operator.load(payee.id, 1, 1_000)
    assert cause_of(payee.send, apdu.PUT, load.encode()) == BALANCE_LIMIT  # the headroom is promised to the Request
    payee.purse.balance = 1_000  # even if it were gone
    assert Receipt.decode(receive(payee, transfer, payer.certificate))
    assert payee.purse.balance == 2_000


def test_rule_journal_space_is_reserved_before_a_request_is_signed():
    _, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    terminal.journal.capacity_bytes = terminal.journal.used_bytes() + 400  # a credit fits, nothing else
    first = terminal.payee.request
    assert cause_of(terminal.open, 1) == JOURNAL_FULL
    # The refused one replaced nothing: the open Request is still paid.
    assert (terminal.payee.state, terminal.payee.request) == (OPEN, first)
    assert Receipt.decode(receive(terminal, transfer, wallet.certificate))


def test_a_new_request_of_a_person_replaces_the_open_one():
    _, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    terminal.open(5)
    assert_void(receive(terminal, transfer, wallet.certificate), transfer, terminal)
    assert terminal.payee.state == OPEN


def test_rule_a_card_signs_requests_only_while_no_request_of_a_person_is_open():
    world, terminal, _ = shop()
    wallet = world.device("payee wallet")
    wallet.open(5, PERSON)
    wanted = (100, REFUND, REFERENCE, bytes(8), terminal.certificate)
    assert cause_of(wallet.payee.open, *wanted) == REQUEST_OPEN
    assert wallet.payee.request.amount == 5
    wallet.payee.close()
    assert wallet.perform(wallet.payee.open(*wanted))
    assert wallet.perform(wallet.payee.open(*wanted))  # one that a tap opened is replaced by the next tap


# --- Transfers


def test_rule_the_credit_is_durable_before_the_receipt_is_sent():
    _, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    terminal.journal.fail = "before"
    assert cause_of(receive, terminal, transfer, wallet.certificate) == SERVICE
    assert terminal.payee.state == OPEN  # not credited: nobody may read "paid"
    terminal.restart()
    assert terminal.purse.balance == 0
    assert_void(receive(terminal, transfer, wallet.certificate), transfer, terminal)


def test_rule_the_commit_stands_before_the_receipt():
    _, terminal, wallet = shop()
    wanted = terminal.payee.receive(transfer_for(terminal, wallet), wallet.certificate)
    assert [type(effect) for effect in wanted] == [effects.Commit, effects.Then, effects.Answer]


def test_a_payee_that_dies_after_its_commit_answers_with_the_receipt():
    _, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    terminal.journal.fail = "after"
    assert cause_of(receive, terminal, transfer, wallet.certificate) == SERVICE
    terminal.restart()
    assert terminal.purse.balance == 1_000
    receipt = Receipt.decode(receive(terminal, transfer, wallet.certificate))
    assert receipt.encode() == terminal.journal.stored[-1][4 : 4 + Receipt.size()]


def test_rule_a_credited_transfer_is_answered_with_the_identical_receipt():
    world, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    receipt = receive(terminal, transfer, wallet.certificate)
    journal = list(terminal.journal.stored)
    assert receive(terminal, transfer, wallet.certificate) == receipt
    sale(terminal, world.device("other", balance=10), 10)
    assert receive(terminal, transfer, None) == receipt
    terminal.restart()
    assert receive(terminal, transfer, None) == receipt
    assert terminal.purse.balance == 1_010
    assert terminal.journal.stored[: len(journal)] == journal


def test_rule_two_payers_one_request_one_is_credited_the_other_voided():
    world, terminal, wallet = shop()
    other = world.device("other", balance=5_000)
    first = transfer_for(terminal, wallet)
    request = terminal.payee.request
    second = Transfer.decode(other.perform(other.payer.pay(terminal.certificate, request, False)))
    assert Receipt.decode(receive(terminal, second, other.certificate))
    assert_void(receive(terminal, first, wallet.certificate), first, terminal)
    wallet.perform(wallet.payer.close(Void.decode(receive(terminal, first, wallet.certificate))))
    assert (terminal.purse.balance, wallet.purse.balance, other.purse.balance) == (1_000, 50_000, 4_000)
    assert terminal.payee.state == CREDITED


def test_rule_number_and_hash_must_both_match_the_open_request():
    _, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    sign = wallet.party.sign
    assert refused(terminal, changed(transfer, sign, request=b"x" * 32), wallet.certificate) == MISMATCH
    ahead = changed(transfer, sign, number=transfer.number + 1)
    assert refused(terminal, ahead, wallet.certificate) == UNKNOWN_REQUEST
    behind = changed(transfer, sign, number=transfer.number - 1)
    assert_void(receive(terminal, behind, wallet.certificate), behind, terminal)
    assert terminal.payee.state == OPEN
    assert Receipt.decode(receive(terminal, transfer, wallet.certificate))


def test_rule_closing_comes_before_the_void():
    _, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    terminal.payee.close()
    assert terminal.payee.state == CLOSED
    assert_void(receive(terminal, transfer, wallet.certificate), transfer, terminal)
    assert_void(receive(terminal, transfer, wallet.certificate), transfer, terminal)
    assert terminal.purse.balance == 0


def test_rule_cancelling_finds_a_credit_that_was_committed():
    _, terminal, wallet = shop()
    receive(terminal, transfer_for(terminal, wallet), wallet.certificate)
    terminal.payee.close()
    assert terminal.payee.state == CREDITED


def test_rule_a_transfer_of_a_closed_request_is_voided_at_any_later_tap():
    _, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    terminal.payee.close()
    for _ in range(3):
        terminal.open(7)
        assert_void(receive(terminal, transfer, wallet.certificate), transfer, terminal)
        terminal.restart()
    assert_void(receive(terminal, transfer, wallet.certificate), transfer, terminal)


def test_rule_below_the_request_floor_only_the_ledger_knows():
    world, terminal, wallet = shop()
    credited = transfer_for(terminal, wallet)
    receive(terminal, credited, wallet.certificate)
    closed = transfer_for(terminal, wallet)
    terminal.payee.close()
    world.sync(terminal)
    assert terminal.journal.first_seq > 1  # the record of the credit is gone
    terminal.restart()
    for transfer in (credited, closed):
        assert refused(terminal, transfer, wallet.certificate) == ASK_LEDGER
    assert Receipt.decode(receive(terminal, transfer_for(terminal, wallet), wallet.certificate))


def test_rule_an_installed_base_brings_its_request_floor_in_the_same_record():
    """A power cut at any write of an installation leaves the old base with the old floor, or the new with the new."""
    for fail in ("before", "after"):
        world, terminal, wallet = shop()
        receipt = receive(terminal, transfer_for(terminal, wallet), wallet.certificate)
        credited = Transfer.decode(terminal.journal.stored[-1][4 + Receipt.size() :])
        terminal.journal.fail = fail
        assert cause_of(world.sync, terminal) == SERVICE
        terminal.restart()
        assert (terminal.purse.base_seq > 0) == (terminal.purse.request_floor > 0) == (fail == "after")
        # The record was not dropped yet in either case, so the Receipt is still at hand: never a Void.
        assert receive(terminal, credited, None) == receipt


def test_the_watermark_is_below_the_open_request_and_above_every_closed_one():
    _, terminal, wallet = shop()
    terminal.open(5)
    assert terminal.payee.watermark == terminal.payee.request.number
    terminal.payee.close()
    assert terminal.payee.watermark == terminal.payee.request.number + 1


def test_rule_a_watermark_voids_only_what_can_never_be_credited():
    """Whatever is numbered below the signed watermark and not credited gets a Void or no answer, never a Receipt."""
    world, _, wallet = shop()
    payee = world.device("payee wallet")
    payer = world.device("payer", balance=5_000)
    request = Request.decode(payee.perform(payee.payee.open(50, PERSON, REFERENCE, bytes(8), payer=payer.certificate)))
    transfer = Transfer.decode(payer.perform(payer.payer.pay(payee.certificate, request, True)))
    statement = Statement.decode(payee.send(apdu.STATEMENT, bytes(16)))
    assert transfer.number < statement.watermark
    assert_void(receive(payee, transfer, payer.certificate), transfer, payee)
    assert payee.purse.balance == 0


def test_a_statement_waits_for_a_request_that_a_person_opened():
    _, terminal, _ = shop()
    terminal.open(5)
    assert cause_of(terminal.send, apdu.STATEMENT, bytes(16)) == REQUEST_OPEN
    assert terminal.payee.state == OPEN
    terminal.payee.close()
    assert terminal.send(apdu.STATEMENT, bytes(16))


def test_an_installation_waits_for_a_request_that_a_person_opened():
    """The Request is signed under the old Certificate: its payer could neither check nor be credited."""
    world, terminal, wallet = shop()
    statement = Statement.decode(terminal.send(apdu.STATEMENT, bytes(16)))
    certificate, acknowledgement = world.base_for(terminal, statement)
    transfer = transfer_for(terminal, wallet)
    pair = certificate.encode() + acknowledgement.encode()
    assert cause_of(terminal.send, apdu.INSTALL, pair) == REQUEST_OPEN
    assert Receipt.decode(receive(terminal, transfer, wallet.certificate))
    terminal.send(apdu.INSTALL, pair)


def test_a_transfer_to_somebody_else_is_not_answered():
    world, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    other = world.device("other", "terminal")
    assert refused(other, transfer, wallet.certificate) == NOT_FOR_THIS_DEVICE


def test_a_transfer_that_its_payer_did_not_sign_is_refused_and_the_request_stays_open():
    world, terminal, wallet = shop()
    other = world.device("other")
    transfer = transfer_for(terminal, wallet)
    assert refused(terminal, changed(transfer, other.party.sign), wallet.certificate) == BAD_SIGNATURE
    assert refused(terminal, changed(transfer, wallet.party.sign, payer=b"x" * 16), wallet.certificate) == MISMATCH
    assert refused(terminal, transfer, other.certificate) == MISMATCH
    assert refused(terminal, transfer, None) == MISMATCH
    forged = Certificate.decode(wallet.certificate.encode()[:-1] + b"\x00")
    assert refused(terminal, transfer, forged) == BAD_CERTIFICATE
    assert Receipt.decode(receive(terminal, transfer, wallet.certificate))


def assert_voided_for(cause, world, terminal, transfer, payer):
    """It was truly signed by its payer and cannot be accepted: the Request is closed, the payer gets its money back."""
    assert_void(receive(terminal, transfer, payer), transfer, terminal)
    assert terminal.payee.refusal == cause
    assert terminal.payee.state == CLOSED
    assert terminal.purse.balance == 0


def test_rule_a_payee_checks_what_it_can_see():
    cases = (
        (OVER_PAYMENT_LIMIT, {"payment_limit": 999}, {}),
        (OVER_SUM_LIMIT, {"sum_limit": 1_500}, {"cumulative": 1_501}),
        (TOO_MANY_RECORDS, {"record_limit": 2}, {}),  # the debit is record 3
        (TOO_MANY_RECORDS, {"base_seq": 3}, {}),  # base < seq
        (MISMATCH, {}, {"payer_issue": 2}),
        (MISMATCH, {}, {"payee_issue": 2}),
        (MISMATCH, {}, {"amount": 999}),
        (MISMATCH, {}, {"lot": 1, "lot_amount": 1}),
    )
    for cause, certificate, values in cases:
        world, terminal, wallet = shop()
        transfer = changed(transfer_for(terminal, wallet), wallet.party.sign, **values)
        shown = world.operator.certify(wallet.party.public_key, 0x12, **certificate)
        assert_voided_for(cause, world, terminal, transfer, shown)


def test_a_payer_whose_sum_or_position_falls_is_voided_also_after_a_restart():
    for values in ({"cumulative": 1_999}, {"cumulative": 5_000, "seq": 3}):
        _, terminal, wallet = shop()
        sale(terminal, wallet, 1_000)
        terminal.restart()
        transfer = changed(transfer_for(terminal, wallet), wallet.party.sign, **values)
        assert_void(receive(terminal, transfer, wallet.certificate), transfer, terminal)
        assert (terminal.payee.refusal, terminal.purse.balance) == (MISMATCH, 1_000)


def test_a_payer_starts_to_count_again_with_its_next_certificate():
    world, terminal, wallet = shop()
    sale(terminal, wallet, 1_000)
    world.sync(wallet)
    sale(terminal, wallet, 10)
    sale(terminal, wallet, 20)
    assert terminal.purse.balance == 1_030


def test_only_the_last_payers_are_remembered():
    world, terminal, wallet = shop()
    sale(terminal, wallet, 1_000)
    transfer = Transfer.decode(transfer_for(terminal, wallet).encode())
    for number in range(MAX_PAYERS):
        assert not terminal.purse.follows(changed(transfer, wallet.party.sign, seq=1))
        sale(terminal, world.device("customer %d" % number, balance=10), 5)
    assert terminal.purse.follows(changed(transfer, wallet.party.sign, seq=1))


def test_rule_the_last_record_under_a_certificate_is_still_paid():
    world, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    shown = world.operator.certify(wallet.party.public_key, 0x12, record_limit=3, payment_limit=1_000, sum_limit=1_000)
    assert Receipt.decode(receive(terminal, transfer, shown))


def test_a_payer_that_is_revoked_or_expired_by_now_is_voided():
    world, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    terminal.send(apdu.PUT, world.operator.revoke(1, [(wallet.id, 2)]).encode())
    assert_voided_for(REVOKED, world, terminal, transfer, wallet.certificate)
    world, terminal, wallet = shop()
    transfer = transfer_for(terminal, wallet)
    world.now = (TODAY + 91) * DAY_S
    assert_voided_for(EXPIRED, world, terminal, transfer, wallet.certificate)


def test_rule_a_payer_too_many_days_without_a_sync_is_voided():
    """Known by the clock, or by our own Certificate: then the ledger knows that we knew."""
    days = limits.default_limits(0x12)["days_limit"]
    for late in (False, True):
        world, terminal, wallet = shop()
        transfer = transfer_for(terminal, wallet)
        world.now = (TODAY + days + late) * DAY_S
        if late:
            assert_voided_for(TOO_LONG_OFFLINE, world, terminal, transfer, wallet.certificate)
        else:
            assert Receipt.decode(receive(terminal, transfer, wallet.certificate))
    for late in (False, True):
        world, terminal, wallet = shop(valid_from=TODAY + days + late, valid_until=TODAY + days + 90)
        transfer = transfer_for(terminal, wallet)
        assert world.now // DAY_S == TODAY
        if late:
            assert_voided_for(TOO_LONG_OFFLINE, world, terminal, transfer, wallet.certificate)
        else:
            assert Receipt.decode(receive(terminal, transfer, wallet.certificate))


def test_a_redemption_is_never_too_late():
    world, _, wallet = shop()
    bank = world.device("bank", "operator payee")
    world.now += 70 * DAY_S
    assert sale(bank, wallet, 500, REDEEM).moved == "paid"


def test_a_void_is_for_this_request_only_the_next_one_is_paid():
    world, terminal, wallet = shop()
    transfer = changed(transfer_for(terminal, wallet), wallet.party.sign, amount=999)
    receive(terminal, transfer, wallet.certificate)
    other = world.device("other", balance=100)
    assert sale(terminal, other, 100).moved == "paid"


def test_a_receipt_continues_the_payee_s_own_chain():
    _, terminal, wallet = shop()
    head = (terminal.purse.head_seq, terminal.purse.head_hash)
    transfer = transfer_for(terminal, wallet)
    receipt = Receipt.decode(receive(terminal, transfer, wallet.certificate))
    assert (receipt.seq - 1, receipt.previous) == head
    assert receipt.transfer == sha256(transfer.body())
    assert terminal.purse.head_hash == sha256(receipt.body())


def test_rule_never_receipt_and_void_of_one_transfer():
    """Whatever the order of closing, restarting, asking anew and answering: the answers never contradict."""
    steps = ("receive", "close", "restart", "open", "receive")
    for first in range(5):
        for second in range(5):
            _, terminal, wallet = shop()
            transfer = transfer_for(terminal, wallet)
            answers = set()
            for step in (steps[first], steps[second], "receive", "restart", "receive"):
                if step == "receive":
                    answers.add(receive(terminal, transfer, wallet.certificate)[0])
                elif step == "close":
                    terminal.payee.close()
                elif step == "open":
                    terminal.open(9)
                else:
                    terminal.restart()
            assert len(answers) == 1
            assert terminal.purse.balance == (1_000 if answers == {Receipt.TYPE} else 0)


def test_a_request_carries_its_purpose_and_reference():
    _, terminal, _ = shop()
    request = Request.decode(terminal.perform(terminal.payee.open(10, SALE, REFERENCE, bytes(8), by_user=True)))
    assert request.purpose == SALE
    assert request.reference == REFERENCE
