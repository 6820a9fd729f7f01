"""protocol.card and protocol.management: every command of a card, what it refuses, and that nothing hostile changes
anything.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import apdu, info, records
from protocol.card import ASK_BYTES, Card
from protocol.errors import (
    ALREADY_PERSONALISED,
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    BALANCE_LIMIT,
    JOURNAL_FULL,
    LOCKED,
    LOT,
    MALFORMED,
    MISMATCH,
    NAMES,
    NOT_FOR_THIS_DEVICE,
    NOT_FOUND,
    NOT_PERSONALISED,
    NOT_SELECTED,
    RETIRED,
    REVOCATIONS_MISSING,
    REVOKED,
    SERVICE,
    STALE,
    UNKNOWN_COMMAND,
    UNKNOWN_OPERATOR,
    UNKNOWN_TRANSFER,
    WRONG_BASE,
    WRONG_CLASS,
    WRONG_LENGTH,
    WRONG_PARAMETERS,
    WRONG_PARTY,
    status_word,
)
from protocol.info import DeviceInfo
from protocol.objects import (
    MAX_DELTA,
    NO_HASH,
    PERSON,
    REFUND,
    RETIRE,
    SALE,
    TAKE_PIN_AWAY,
    UNBLOCK_PIN,
    Acknowledgement,
    Certificate,
    Order,
    Receipt,
    Request,
    Statement,
    Void,
)
from tests.unit.world import (
    KINDS,
    REFERENCE,
    TODAY,
    Link,
    LinkLost,
    Operator,
    World,
    cause_of,
    meet,
    raises,
    revocations,
    sale,
    sale_tap,
    sha256,
    signer,
    verify,
)

EVERY_COMMAND = sorted(Card._COMMANDS)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def wallet(world):
    return world.device("wallet", balance=50_000)


@pytest.fixture
def terminal(world):
    return world.device("terminal", "terminal")


def refusal(device, raw):
    """The cause in the answer to one raw command; checks the status word that goes with it."""
    answer = device.card.process(raw)
    assert len(answer) == 3
    assert answer[1] << 8 | answer[2] == status_word(answer[0])
    return answer[0]


def pair(certificate, acknowledgement):
    return certificate.encode() + acknowledgement.encode()


def statement_of(device, nonce=bytes(16)):
    return Statement.decode(device.send(apdu.STATEMENT, nonce))


def install_refused(device, certificate, acknowledgement):
    before = device.durable()
    cause = cause_of(device.send, apdu.INSTALL, pair(certificate, acknowledgement))
    assert device.durable() == before
    return cause


def put_refused(device, signed):
    before = device.durable()
    cause = cause_of(device.send, apdu.PUT, signed.encode())
    assert device.durable() == before
    return cause


# --- selecting


def test_select_answers_with_state_and_certificate(world, wallet):
    flags, epoch, root_epoch, certificate = apdu.decode_hello(wallet.select())
    assert (flags, epoch, root_epoch) == (apdu.PERSONALISED, 0, 0)
    assert certificate is not None
    assert certificate.encode() == wallet.certificate.encode()
    wallet.open(5, PERSON)
    assert apdu.decode_hello(wallet.select())[0] == apdu.PERSONALISED | apdu.BUSY


def test_select_names_the_epochs_of_both_lists(world, wallet):
    wallet.send(apdu.PUT, world.operator.revoke(3, []).encode())
    wallet.send(apdu.PUT, revocations(world.root, 0, 5, []).encode())
    assert apdu.decode_hello(wallet.select())[1:3] == (3, 5)


def test_a_blank_device_can_be_selected_and_says_so(world):
    assert apdu.decode_hello(world.blank("blank").select()) == (0, 0, 0, None)


def test_commands_need_the_application(wallet):
    wallet.card.reset()
    assert refusal(wallet, apdu.command(apdu.INFO)) == NOT_SELECTED
    wallet.select()
    assert apdu.parse_response(wallet.card.process(apdu.command(apdu.INFO)))
    wallet.card.process(apdu.select(apdu.NDEF_AID))
    assert refusal(wallet, apdu.command(apdu.INFO)) == NOT_SELECTED


def test_the_field_s_end_deselects(wallet):
    wallet.select()
    wallet.card.reset()
    assert refusal(wallet, apdu.command(apdu.INFO)) == NOT_SELECTED


def test_what_iso_7816_4_does_not_allow(wallet):
    wallet.select()
    assert refusal(wallet, b"") == WRONG_LENGTH
    assert refusal(wallet, b"\x80\x24\x00") == WRONG_LENGTH
    assert refusal(wallet, b"\x80\x24\x00\x00\x00\x01\x02") == WRONG_LENGTH  # extended length
    assert refusal(wallet, b"\x80\x24\x00\x00\x02\x01") == WRONG_LENGTH
    assert refusal(wallet, b"\x80\x24\x00\x00\x01\x01\x00\x00") == WRONG_LENGTH
    assert refusal(wallet, b"\x84\x24\x00\x00\x00") == WRONG_CLASS
    assert refusal(wallet, b"\x80\xee\x00\x00\x00") == UNKNOWN_COMMAND
    assert refusal(wallet, b"\x00\x24\x00\x00\x00") == UNKNOWN_COMMAND
    assert refusal(wallet, b"\x80\x24\x01\x00\x00") == WRONG_PARAMETERS
    assert refusal(wallet, b"\x80\x24\x00\x01\x00") == WRONG_PARAMETERS
    assert refusal(wallet, apdu.select(b"\xa0\x00\x00\x00\x03\x10\x10")) == NOT_FOUND


# --- keys and personalisation


def test_generating_twice_gives_the_same_key(world):
    blank = world.blank("blank")
    assert blank.send(apdu.GENERATE) == blank.send(apdu.GENERATE) == signer("blank").public


def test_a_blank_device_refuses_everything_else(world):
    blank = world.blank("blank")
    for made in (False, True):
        blank.select()
        for ins in EVERY_COMMAND:
            if ins not in (apdu.GENERATE, apdu.INFO, apdu.COUNTERS, apdu.PERSONALISE):
                data = bytes(4) if ins == apdu.JOURNAL else bytes(16)
                cause = cause_of(blank.send, ins, data)
                assert cause in (NOT_PERSONALISED, WRONG_LENGTH, MALFORMED, NOT_FOUND), hex(ins)
        if not made:
            assert cause_of(blank.send, apdu.PERSONALISE, bytes(418)) == NOT_PERSONALISED
            blank.send(apdu.GENERATE)


def test_info_tells_a_blank_device_from_a_personalised_one(world, wallet):
    blank = DeviceInfo.decode(world.blank("blank").send(apdu.INFO))
    assert (blank.flags, blank.key, blank.balance) == (0, bytes(32), 0)
    info = DeviceInfo.decode(wallet.send(apdu.INFO))
    assert (info.operator, info.device, info.key, info.issue) == (1, wallet.id, wallet.party.public_key, 1)
    assert (info.balance, info.in_doubt, info.head_seq, info.load_floor) == (50_000, 0, 2, 1)


def test_personalising_again_with_the_same_bytes_answers_as_the_first_time(world):
    device = world.blank("device")
    device.generate_key()
    data = world.personalisation(device, KINDS["wallet"])
    device.send(apdu.PERSONALISE, data)
    before = device.durable()
    device.send(apdu.PERSONALISE, data)
    assert device.durable() == before
    other = world.personalisation(device, KINDS["wallet"], issue=2)
    assert cause_of(device.send, apdu.PERSONALISE, other) == ALREADY_PERSONALISED
    assert cause_of(device.send, apdu.PERSONALISE, bytes(32) + data[32:]) == ALREADY_PERSONALISED
    assert device.durable() == before


@pytest.mark.parametrize("fail", ["before", "after"])
def test_a_personalisation_that_is_cut_can_be_run_again(world, fail):
    device = world.blank("device")
    device.generate_key()
    data = world.personalisation(device, KINDS["wallet"])
    device.journal.fail = fail
    assert cause_of(device.send, apdu.PERSONALISE, data) == SERVICE
    device.restart()
    device.send(apdu.PERSONALISE, data)
    assert device.certificate.issue == 1
    assert len(device.journal.stored) == 1


def test_rule_a_device_is_pinned_to_one_operator_at_personalisation(world, wallet):
    other = Operator(2, world.root)
    wallet.send(apdu.PUT, other.certificate.encode())  # believed as a peer's, nothing more
    statement = statement_of(wallet)
    certificate = other.certify(wallet.party.public_key, KINDS["wallet"], 2, base_seq=statement.seq)
    acknowledgement = other.acknowledge(certificate, statement.head)
    assert install_refused(wallet, certificate, acknowledgement) == NOT_FOR_THIS_DEVICE
    assert put_refused(wallet, other.load(wallet.id, 2, 100)) == NOT_FOR_THIS_DEVICE
    assert put_refused(wallet, other.order(wallet.id, 1, RETIRE)) == NOT_FOR_THIS_DEVICE
    assert put_refused(wallet, other.resolve(wallet.id, NO_HASH, 1)) == NOT_FOR_THIS_DEVICE
    theirs = other.revoke(1, [], since=None)  # of a known operator: taken as its own list, never as ours
    wallet.send(apdu.PUT, theirs.encode())
    assert (wallet.party.trust.epoch, wallet.party.trust.list_of(2).epoch) == (0, 1)
    # The same number, but not the key that the root certified.
    cheat = Operator(1, signer("another root"), name="cheat")
    assert put_refused(wallet, cheat.certificate) == BAD_CERTIFICATE
    assert put_refused(wallet, cheat.load(wallet.id, 2, 100)) == BAD_SIGNATURE
    assert put_refused(wallet, cheat.revoke(1, [])) == BAD_CERTIFICATE


def test_personalisation_checks_everything_before_it_writes(world):
    device = world.blank("device")
    device.generate_key()
    good = world.personalisation(device, KINDS["wallet"])
    cheat = Operator(1, signer("another root"), name="cheat")
    stranger = world.operator.certify(signer("stranger").public, KINDS["wallet"])
    key = device.party.public_key
    certificate = world.operator.certify(key, KINDS["wallet"])
    genesis = records.genesis(key, sha256)

    def data(operator=world.operator, first=certificate, **changes):
        acknowledgement = world.operator.acknowledge(first, changes.pop("base_hash", genesis), **changes)
        return world.root.public + operator.certificate.encode() + pair(first, acknowledgement)

    cases = (
        (good[:-1], WRONG_LENGTH),
        (bytes(32) + good[32:], BAD_CERTIFICATE),
        (data(cheat), BAD_CERTIFICATE),
        (data(first=stranger), NOT_FOR_THIS_DEVICE),
        (data(device=bytes(16)), NOT_FOR_THIS_DEVICE),
        (data(issue=2), MISMATCH),
        (data(base_hash=bytes(32)), WRONG_BASE),
        (data(request_floor=1), WRONG_BASE),
        (data(first=world.operator.certify(key, KINDS["wallet"], epoch=1)), REVOCATIONS_MISSING),
        (good[:-1] + bytes((good[-1] ^ 1,)), BAD_CERTIFICATE),
    )
    before = device.durable()
    for wrong, cause in cases:
        assert cause_of(device.send, apdu.PERSONALISE, wrong) == cause
        assert device.durable() == before
    device.send(apdu.PERSONALISE, good)


# --- installing a base


def test_installing_frees_the_journal_and_starts_the_sums_again(world, wallet, terminal):
    for _ in range(3):
        sale(terminal, wallet, 1_000)
    certificate = world.sync(wallet, sum_limit=1_000)
    assert (wallet.purse.cumulative, wallet.purse.balance) == (0, 47_000)
    assert (wallet.journal.first_seq, len(wallet.journal.stored)) == (certificate.base_seq + 1, 1)
    assert sale(terminal, wallet, 1_000).moved == "paid"


def test_rule_the_same_pair_twice_answers_as_the_first_time(world, wallet):
    certificate, acknowledgement = world.base_for(wallet, statement_of(wallet))
    wallet.send(apdu.INSTALL, pair(certificate, acknowledgement))
    before = wallet.durable()
    wallet.send(apdu.INSTALL, pair(certificate, acknowledgement))
    assert wallet.durable() == before


def test_rule_a_certificate_is_installed_only_if_its_issue_is_higher(world, wallet):
    statement = statement_of(wallet)
    certificate, acknowledgement = world.base_for(wallet, statement)
    wallet.send(apdu.INSTALL, pair(certificate, acknowledgement))
    wallet.send(apdu.PUT, world.operator.load(wallet.id, 2, 1).encode())
    again = world.operator.certify(wallet.party.public_key, KINDS["wallet"], 2, base_seq=statement.seq, mcc=1)
    assert install_refused(wallet, again, world.operator.acknowledge(again, statement.head)) == STALE
    older = world.operator.certify(wallet.party.public_key, KINDS["wallet"], 1, base_seq=statement.seq)
    assert install_refused(wallet, older, world.operator.acknowledge(older, statement.head)) == STALE


def test_rule_a_certificate_is_installed_only_if_the_base_hash_is_our_own_record_s(world, wallet):
    statement = statement_of(wallet)
    statement.head = bytes(32)
    assert install_refused(wallet, *world.base_for(wallet, statement)) == WRONG_BASE
    statement = statement_of(wallet)
    statement.seq += 1  # ahead of the journal: a rolled-back device is not healed by a new base
    assert install_refused(wallet, *world.base_for(wallet, statement)) == WRONG_BASE


def test_a_base_below_the_installed_one_is_refused(world, wallet):
    early = statement_of(wallet)
    wallet.send(apdu.PUT, world.operator.load(wallet.id, 2, 1).encode())
    world.sync(wallet)
    certificate = world.operator.certify(wallet.party.public_key, KINDS["wallet"], 3, base_seq=early.seq)
    acknowledgement = world.operator.acknowledge(certificate, early.head)
    assert install_refused(wallet, certificate, acknowledgement) == WRONG_BASE


def test_a_base_inside_the_journal_keeps_what_was_spent_above_it(world, wallet, terminal):
    sale(terminal, wallet, 100)
    statement = statement_of(wallet)
    sale(terminal, wallet, 30)
    wallet.send(apdu.INSTALL, pair(*world.base_for(wallet, statement)))
    assert (wallet.purse.cumulative, wallet.purse.balance) == (30, 49_870)
    wallet.restart()
    assert (wallet.purse.cumulative, wallet.purse.balance) == (30, 49_870)
    assert sale(terminal, wallet, 1).moved == "paid"
    world.sync(wallet)
    assert wallet.purse.cumulative == 0


def test_a_base_that_stays_is_installed_with_new_limits(world, wallet):
    statement = statement_of(wallet)
    for issue in (2, 3):
        certificate = world.operator.certify(
            wallet.party.public_key, KINDS["wallet"], issue, base_seq=statement.seq, sum_limit=issue
        )
        wallet.send(apdu.INSTALL, pair(certificate, world.operator.acknowledge(certificate, statement.head)))
    assert (wallet.certificate.sum_limit, wallet.purse.balance) == (3, 50_000)


def test_installations_never_eat_the_space_of_closings(world, wallet, terminal):
    terminal.open(100)
    raises(LinkLost, meet, sale_tap(terminal), wallet, Link(cut_at=3))
    wallet.journal.capacity_bytes = wallet.journal.used_bytes() + 5_000
    refused = []
    for issue in range(2, 30):
        certificate = world.operator.certify(wallet.party.public_key, KINDS["wallet"], issue, base_seq=0)
        acknowledgement = world.operator.acknowledge(certificate, records.genesis(wallet.party.public_key, sha256))
        try:
            wallet.send(apdu.INSTALL, pair(certificate, acknowledgement))
        except apdu.RefusedByPeer as error:
            refused.append(error.cause)
    assert set(refused) == {JOURNAL_FULL}
    terminal.payee.close()
    terminal.open(1)
    cause = cause_of(
        meet, sale_tap(terminal), wallet
    )  # the Void of the older payment comes through, a new payment does not
    assert (cause, wallet.purse.in_doubt) == (JOURNAL_FULL, [])


def test_rule_the_floors_never_fall_and_never_pass_what_was_signed(world, wallet):
    wallet.open(1, PERSON)
    wallet.payee.close()
    statement = statement_of(wallet)
    statement.watermark += 1
    assert install_refused(wallet, *world.base_for(wallet, statement)) == WRONG_BASE
    world.sync(wallet)
    statement = statement_of(wallet)
    statement.watermark -= 1
    assert install_refused(wallet, *world.base_for(wallet, statement)) == WRONG_BASE


def test_rule_the_revocation_list_comes_before_a_certificate_that_names_its_epoch(world, wallet):
    statement = statement_of(wallet)
    certificate, acknowledgement = world.base_for(wallet, statement, epoch=2)
    assert install_refused(wallet, certificate, acknowledgement) == REVOCATIONS_MISSING
    wallet.send(apdu.PUT, world.operator.revoke(2, []).encode())
    wallet.send(apdu.INSTALL, pair(certificate, acknowledgement))
    assert wallet.certificate.epoch == 2


def test_rule_a_floor_is_above_every_transfer_that_the_base_forgets(world, wallet, terminal):
    """Else the record goes, and an honest device signs the Void of what it has credited."""
    for amount in (100, 200):
        sale(terminal, wallet, amount)
    statement = statement_of(terminal)
    sale(terminal, wallet, 300)
    terminal.send(apdu.PUT, world.operator.load(terminal.id, 1, 5).encode())
    last = statement.watermark - 1  # the number of the second sale
    for watermark in (0, last):
        statement.watermark = watermark
        assert install_refused(terminal, *world.base_for(terminal, statement)) == WRONG_BASE
    statement.watermark = last + 1  # what is credited above the base is still there, whatever the floor
    terminal.send(apdu.INSTALL, pair(*world.base_for(terminal, statement)))
    assert terminal.purse.request_floor == last + 1
    late = statement_of(terminal)
    late.watermark = last + 1  # which the third sale is not below
    assert install_refused(terminal, *world.base_for(terminal, late)) == WRONG_BASE
    world.sync(terminal)
    world.sync(terminal)  # a base that has nothing to forget any more


def test_the_floor_costs_no_walk_through_the_journal(world, wallet, terminal):
    for amount in range(1, 9):
        sale(terminal, wallet, amount)
    statement = statement_of(terminal)
    read = []
    record = terminal.record

    def counted(seq):
        read.append(seq)
        return record(seq)

    terminal.record = counted
    terminal.send(apdu.INSTALL, pair(*world.base_for(terminal, statement)))
    assert read == [statement.seq]


def test_a_certificate_for_another_role_key_or_issue_is_refused(world, wallet):
    statement = statement_of(wallet)
    key = wallet.party.public_key
    role = world.operator.certify(key, KINDS["terminal"], 2, base_seq=statement.seq)
    assert install_refused(wallet, role, world.operator.acknowledge(role, statement.head)) == MISMATCH
    other = world.operator.certify(signer("other").public, KINDS["wallet"], 2, base_seq=statement.seq)
    assert install_refused(wallet, other, world.operator.acknowledge(other, statement.head)) == NOT_FOR_THIS_DEVICE
    good = world.operator.certify(key, KINDS["wallet"], 2, base_seq=statement.seq)
    unpaired = world.operator.acknowledge(good, statement.head, issue=3)
    assert install_refused(wallet, good, unpaired) == MISMATCH
    unpaired = world.operator.acknowledge(good, statement.head, base_seq=1)
    assert install_refused(wallet, good, unpaired) == MISMATCH
    forged = Acknowledgement.decode(world.operator.acknowledge(good, statement.head).encode()[:-1] + b"\x00")
    assert install_refused(wallet, good, forged) == BAD_CERTIFICATE


@pytest.mark.parametrize("fail", ["before", "after"])
def test_rule_a_sync_that_is_cut_and_run_again_gives_the_same(world, wallet, terminal, fail):
    sale(terminal, wallet, 1_000)
    certificate, acknowledgement = world.base_for(wallet, statement_of(wallet))
    wallet.journal.fail = fail
    assert cause_of(wallet.send, apdu.INSTALL, pair(certificate, acknowledgement)) == SERVICE
    wallet.restart()
    wallet.send(apdu.INSTALL, pair(certificate, acknowledgement))
    assert (wallet.purse.balance, wallet.certificate.issue) == (49_000, 2)


# --- statement and journal


def test_a_statement_says_where_the_journal_stands(world, wallet, terminal):
    sale(terminal, wallet, 1_000)
    statement = statement_of(wallet, b"n" * 16)
    assert (statement.nonce, statement.device, statement.issue) == (b"n" * 16, wallet.id, 1)
    assert (statement.seq, statement.head) == (4, wallet.purse.head_hash)
    assert statement.load_floor == 1
    assert statement.verified_by(wallet.party.public_key, verify)


def test_the_journal_read_record_by_record_is_a_chain_up_to_the_statement(world, wallet, terminal):
    for _ in range(4):
        sale(terminal, wallet, 1_000)
    statement = statement_of(wallet)
    previous = records.genesis(wallet.party.public_key, sha256)
    for seq in range(1, statement.seq + 1):
        record = records.decode(wallet.send(apdu.JOURNAL, seq.to_bytes(4, "big")))
        records.check_links(record, sha256)
        assert record.body.previous == previous
        previous = sha256(record.body_bytes)
    assert previous == statement.head
    for seq in (0, statement.seq + 1):
        assert cause_of(wallet.send, apdu.JOURNAL, seq.to_bytes(4, "big")) == NOT_FOUND


def test_the_longest_record_is_read_in_parts(world, wallet):
    for n in range(8):
        terminal = world.device(f"terminal {n}", "terminal")
        terminal.open(1)
        wallet.perform(wallet.payer.pay(terminal.certificate, terminal.payee.request, False, by_user=True))
    world.sync(wallet)
    stored = wallet.journal.stored[-1]
    assert len(stored) == records.INSTALLATION_MAX_BYTES <= apdu.MAX_CHAINED_RESPONSE_BYTES
    assert wallet.send(apdu.JOURNAL, wallet.purse.head_seq.to_bytes(4, "big")) == stored


def test_a_rest_is_forgotten_at_the_next_command(wallet):
    wallet.select()
    answer = wallet.card.process(apdu.command(apdu.JOURNAL, b"\x00\x00\x00\x01"))
    assert answer[-2] == 0x61
    wallet.card.process(apdu.command(apdu.INFO))
    assert refusal(wallet, apdu.command(apdu.GET_RESPONSE, cla=apdu.CLA_ISO)) == NOT_FOUND


# --- PUT


def test_a_load_is_credited_once(world, wallet):
    load = world.operator.load(wallet.id, 2, 700).encode()
    for _ in range(3):
        wallet.send(apdu.PUT, load)
    assert wallet.purse.balance == 50_700
    wallet.restart()
    wallet.send(apdu.PUT, load)
    assert wallet.purse.balance == 50_700


def test_rule_accepting_a_load_closes_all_lower_numbers(world, wallet):
    wallet.send(apdu.PUT, world.operator.load(wallet.id, 5, 100).encode())
    for number in (1, 2, 4, 5):
        assert put_refused(wallet, world.operator.load(wallet.id, number, 1)) == STALE
    assert statement_of(wallet).load_floor == 5
    world.sync(wallet)
    assert put_refused(wallet, world.operator.load(wallet.id, 5, 1)) == STALE


def test_a_load_that_is_not_ours_or_too_much_is_refused(world, wallet):
    assert put_refused(wallet, world.operator.load(bytes(16), 2, 100)) == NOT_FOR_THIS_DEVICE
    assert put_refused(wallet, world.operator.load(wallet.id, 2, 1_950_001)) == BALANCE_LIMIT
    assert put_refused(wallet, world.operator.load(wallet.id, 2, 100, lot=1)) == LOT
    forged = world.operator.load(wallet.id, 2, 100)
    forged.amount = 101
    assert put_refused(wallet, forged) == BAD_SIGNATURE
    wallet.journal.capacity_bytes = wallet.journal.used_bytes()
    assert put_refused(wallet, world.operator.load(wallet.id, 2, 100)) == JOURNAL_FULL
    wallet.journal.capacity_bytes = 1 << 20
    wallet.send(apdu.PUT, world.operator.load(wallet.id, 2, 1_950_000).encode())


def test_rule_revocations_never_fall_in_epoch_and_are_kept_over_power_loss(world, wallet, terminal):
    complete = world.operator.revoke(3, [(terminal.id, 2)])
    wallet.send(apdu.PUT, complete.encode())
    before = wallet.durable()
    for older in (complete, world.operator.revoke(2, []), world.operator.revoke(3, [])):
        wallet.send(apdu.PUT, older.encode())
        assert wallet.durable() == before
    wallet.restart()
    assert apdu.decode_hello(wallet.select())[1] == 3
    terminal.open(10)
    tap = sale_tap(terminal)
    assert cause_of(meet, tap, wallet) == REVOKED


def test_a_delta_is_kept_beside_its_complete_list(world, wallet, terminal):
    complete = world.operator.revoke(3, [(terminal.id, 2)])
    delta = world.operator.revoke(4, [(terminal.id, 0)], since=complete)
    assert put_refused(wallet, delta) == REVOCATIONS_MISSING
    wallet.send(apdu.PUT, complete.encode())
    wallet.send(apdu.PUT, delta.encode())
    assert wallet.settings.values["revoked 1"] == complete.encode() + delta.encode()
    wallet.restart()
    assert apdu.decode_hello(wallet.select())[1] == 4
    assert sale(terminal, wallet, 10).moved == "paid"
    cumulative = world.operator.revoke(6, [(terminal.id, 9)], since=complete)  # the delta in between is not needed
    wallet.send(apdu.PUT, cumulative.encode())
    assert wallet.settings.values["revoked 1"] == complete.encode() + cumulative.encode()
    assert cause_of(sale, terminal, wallet, 10) == REVOKED


def test_revocations_are_only_taken_of_the_root_and_of_known_operators(world, wallet):
    other = Operator(2, world.root)
    assert put_refused(wallet, other.revoke(1, [])) == UNKNOWN_OPERATOR
    wallet.send(apdu.PUT, other.certificate.encode())
    assert put_refused(wallet, revocations(world.operator.key, 2, 1, [])) == BAD_CERTIFICATE
    assert put_refused(wallet, revocations(world.operator.key, 0, 1, [])) == BAD_CERTIFICATE
    assert put_refused(wallet, revocations(world.root, 1, 1, [])) == BAD_CERTIFICATE
    wallet.send(apdu.PUT, other.revoke(1, []).encode())
    wallet.send(apdu.PUT, revocations(world.root, 0, 1, []).encode())
    wallet.tidy()
    wallet.restart()
    assert [wallet.party.trust.list_of(issuer).epoch for issuer in (0, 1, 2)] == [1, 0, 1]


def test_the_longest_revocation_list_is_chained_into_a_device_and_out_again(world, wallet):
    entries = [(bytes((n,)) * 16, 7) for n in range(100)]
    complete = world.operator.revoke(1, entries)
    delta = world.operator.revoke(2, [(bytes((n, 1)) * 8, 8) for n in range(MAX_DELTA)], since=complete)
    for one in (complete, delta):
        assert len(one.encode()) <= apdu.MAX_CHAIN_BYTES
        wallet.send(apdu.PUT, one.encode())
    assert wallet.party.trust.lists[1].entry(bytes((99,)) * 16) == 7
    assert wallet.party.trust.lists[1].entry(bytes((39, 1)) * 8) == 8

    def asked(issuer, epoch):
        return wallet.send(apdu.REVOCATIONS, issuer.to_bytes(2, "big") + epoch.to_bytes(4, "big"))

    assert asked(1, 0) == complete.encode()
    assert asked(1, 1) == delta.encode()
    for issuer, epoch in ((1, 2), (1, 0xFFFFFFFF), (0, 0), (2, 0)):
        assert cause_of(asked, issuer, epoch) == NOT_FOUND
    assert cause_of(wallet.send, apdu.REVOCATIONS, bytes(5)) == WRONG_LENGTH
    assert cause_of(wallet.send, apdu.REVOCATIONS, bytes(7)) == WRONG_LENGTH
    assert cause_of(world.blank("blank").send, apdu.REVOCATIONS, bytes(6)) == NOT_PERSONALISED


def test_a_refused_object_is_no_news_to_the_person_who_holds_the_card(world, wallet, terminal):
    """A reader sends them after the payment: what was said of the payment stays on the screen."""
    wallet.events.clear()
    assert put_refused(wallet, Operator(2, world.root).revoke(1, [])) == UNKNOWN_OPERATOR
    assert cause_of(wallet.send, apdu.REVOCATIONS, bytes(6)) == NOT_FOUND
    assert wallet.events == []
    assert cause_of(wallet.send, apdu.PAY, bytes(9)) == WRONG_LENGTH
    assert wallet.events == [("refused", WRONG_LENGTH)]


def test_an_order_retires_a_device_which_still_settles(world, wallet, terminal):
    terminal.open(1_000)
    raises(LinkLost, meet, sale_tap(terminal), wallet, Link(cut_at=3))
    wallet.send(apdu.PUT, world.operator.order(wallet.id, 4, RETIRE).encode())
    wallet.restart()
    assert apdu.decode_hello(wallet.select())[0] & apdu.RETIRED
    pay = terminal.certificate.encode() + terminal.payee.request.encode()
    assert refusal(wallet, apdu.command(apdu.PAY, pay)) == RETIRED
    evidence = world.operator.resolve(wallet.id, wallet.purse.in_doubt[0].hash, 2)
    wallet.send(apdu.PUT, evidence.encode())
    assert wallet.purse.balance == 50_000
    assert statement_of(wallet)


def test_rule_order_numbers_only_grow(world, wallet):
    order = world.operator.order(wallet.id, 4, RETIRE)
    wallet.send(apdu.PUT, order.encode())
    writes = wallet.settings.writes
    wallet.send(apdu.PUT, order.encode())
    assert wallet.settings.writes == writes
    assert put_refused(wallet, world.operator.order(wallet.id, 3, RETIRE)) == STALE
    forged = Order.decode(order.encode())
    forged.number = 9
    assert put_refused(wallet, forged) == BAD_SIGNATURE


def test_an_order_unblocks_the_pin_or_takes_it_away(world, wallet):
    def order(number, argument):
        return world.operator.order(wallet.id, number, UNBLOCK_PIN, argument)

    wallet.settings.update({"pin": b"\x00"})
    wallet.send(apdu.PUT, order(1, 0).encode())
    assert (wallet.settings.values["pin"], wallet.order_number) == (b"\x05", 1)
    wallet.send(apdu.PUT, order(2, TAKE_PIN_AWAY).encode())
    assert (wallet.settings.values["pin"], wallet.order_number) == (b"", 2)
    wallet.settings.update({"pin": b"\x00"})
    wallet.send(apdu.PUT, order(2, TAKE_PIN_AWAY).encode())  # again: the PIN set since then stays
    assert wallet.settings.values["pin"] == b"\x00"


def test_rule_a_refused_order_is_refused_for_ever(world, wallet):
    """Whoever carried it keeps it, and may bring it again when the owner has set a PIN."""

    def order(number, argument):
        return world.operator.order(wallet.id, number, UNBLOCK_PIN, argument)

    assert cause_of(wallet.send, apdu.PUT, order(1, TAKE_PIN_AWAY).encode()) == NOT_FOUND
    wallet.settings.update({"pin": b"\x00"})
    writes = wallet.settings.writes
    for _ in range(2):
        assert put_refused(wallet, order(1, TAKE_PIN_AWAY)) == NOT_FOUND
        wallet.restart()
    assert (wallet.settings.values["pin"], wallet.order_number, wallet.settings.writes) == (b"\x00", 1, writes)
    wallet.settings.update({"pin at power-on": b"\x01"})
    assert cause_of(wallet.send, apdu.PUT, order(2, TAKE_PIN_AWAY).encode()) == MISMATCH
    wallet.settings.update({"pin at power-on": b""})
    assert put_refused(wallet, order(2, TAKE_PIN_AWAY)) == MISMATCH
    for _ in range(2):
        wallet.send(apdu.PUT, order(3, 0).encode())
    assert (wallet.settings.values["pin"], wallet.order_number) == (b"\x05", 3)


def test_a_locked_device_signs_nothing_and_commits_nothing(world, wallet, terminal):
    world.sync(wallet)
    request = terminal.open(1_000)
    friend = world.device("friend", balance=500)
    wallet.locked = True
    before = (wallet.durable(), wallet.payee.state)
    ask = friend.certificate.encode() + b"\x00\x00\x00\x05" + bytes((PERSON,)) + REFERENCE
    assert cause_of(wallet.send, apdu.PAY, terminal.certificate.encode() + request) == LOCKED
    assert cause_of(wallet.send, apdu.REQUEST, ask) == LOCKED
    assert cause_of(wallet.send, apdu.STATEMENT, bytes(16)) == LOCKED
    assert cause_of(wallet.open, 5, PERSON) == LOCKED
    assert (wallet.durable()[0], wallet.payee.state) == (before[0][0], before[1])
    assert apdu.decode_hello(wallet.select())[0] == apdu.PERSONALISED | apdu.LOCKED
    wallet.send(apdu.PUT, world.operator.load(wallet.id, 2, 100).encode())
    wallet.locked = False
    assert meet(sale_tap(terminal), wallet).moved == "paid"


def test_an_object_that_is_nothing_for_a_device_is_refused(world, wallet, terminal):
    wallet.select()
    for data in (b"", b"\x00", wallet.certificate.encode(), terminal.open(5)):
        assert cause_of(wallet.send, apdu.PUT, data) == MALFORMED


def test_the_own_operator_s_certificate_is_written_only_when_it_is_new(world, wallet):
    writes = wallet.settings.writes
    for _ in range(3):
        wallet.send(apdu.OPERATORS, world.operator.certificate.encode())
    assert wallet.settings.writes == writes
    wallet.send(apdu.OPERATORS, Operator(1, world.root, issue=2).certificate.encode())
    assert wallet.settings.writes == writes + 1
    assert cause_of(wallet.send, apdu.OPERATORS, Operator(1, world.root).certificate.encode()) == STALE


# --- chaining


def test_chained_commands_arrive_whole(world, wallet):
    certificate, acknowledgement = world.base_for(wallet, statement_of(wallet))
    parts = apdu.chained(apdu.INSTALL, pair(certificate, acknowledgement))
    assert [raw[0] for raw in parts] == [0x90, 0x80]
    assert [apdu.parse_response(wallet.card.process(raw)) for raw in parts] == [b"", b""]
    assert wallet.certificate.issue == 2


def test_a_chain_that_is_interrupted_changes_nothing(world, wallet):
    certificate, acknowledgement = world.base_for(wallet, statement_of(wallet))
    first, last = apdu.chained(apdu.INSTALL, pair(certificate, acknowledgement))
    wallet.select()
    for between in (apdu.command(apdu.INFO), apdu.select(apdu.AID), apdu.command(0xEE), b"\x80"):
        before = wallet.durable()
        wallet.card.process(first)
        wallet.card.process(between)
        assert refusal(wallet, last) == WRONG_LENGTH
        assert wallet.durable() == before
    wallet.card.process(first)
    wallet.card.reset()
    wallet.select()
    assert refusal(wallet, last) == WRONG_LENGTH
    for raw in (first, last):
        wallet.card.process(raw)
    assert wallet.certificate.issue == 2


def test_a_chain_has_an_end(wallet):
    wallet.select()
    part = apdu.command(apdu.PUT, bytes(255), cla=0x90)
    for _ in range(9):
        assert wallet.card.process(part) == b"\x90\x00"
    assert refusal(wallet, part) == WRONG_LENGTH
    assert wallet.card.process(part) == b"\x90\x00"  # a new chain


# --- the commands of a tap, out of order


def test_confirm_is_answered_at_once_and_checked_after(world, wallet, terminal):
    terminal.open(100)
    raises(LinkLost, meet, sale_tap(terminal), wallet, Link(cut_at=3))
    debit = wallet.purse.in_doubt[0]
    wallet.select()
    forged = Void(transfer=debit.hash).sign(wallet.party.sign)
    assert wallet.card.process(apdu.command(apdu.CONFIRM, forged.encode())) == b"\x90\x00"
    before = wallet.durable()
    wallet.card.after()
    assert wallet.events[-1] == ("refused", BAD_SIGNATURE)
    assert wallet.durable() == before
    terminal.payee.close()
    good = terminal.perform(terminal.payee.receive(debit.transfer, None))
    for _ in range(2):
        assert wallet.card.process(apdu.command(apdu.CONFIRM, good)) == b"\x90\x00"
        wallet.card.after()
    assert (wallet.purse.in_doubt, wallet.purse.balance) == ([], 50_000)
    unknown = Receipt(seq=1, previous=NO_HASH, transfer=b"x" * 32).sign(terminal.party.sign)
    assert refusal(wallet, apdu.command(apdu.CONFIRM, unknown.encode())) == UNKNOWN_TRANSFER


def test_a_request_is_signed_for_a_judged_payer_only(world, wallet, terminal):
    ask = terminal.certificate.encode() + (500).to_bytes(4, "big")
    wallet.select()
    good = ask + bytes((REFUND,)) + REFERENCE
    assert len(good) == ASK_BYTES
    for purpose in (0, SALE, 4, 6, 255):
        assert refusal(wallet, apdu.command(apdu.REQUEST, ask + bytes((purpose,)) + REFERENCE)) == MALFORMED
    assert refusal(wallet, apdu.command(apdu.REQUEST, ask + bytes((PERSON,)) + REFERENCE)) == WRONG_PARTY
    assert refusal(wallet, apdu.command(apdu.REQUEST, ask[:-4] + bytes(4) + good[-9:])) == MALFORMED
    forged = good[:138] + bytes((good[138] ^ 1,)) + good[139:]
    assert refusal(wallet, apdu.command(apdu.REQUEST, forged)) == BAD_CERTIFICATE
    assert refusal(wallet, apdu.command(apdu.REQUEST, good[:-1])) == WRONG_LENGTH
    request = Request.decode(apdu.parse_response(wallet.card.process(apdu.command(apdu.REQUEST, good))))
    message = request.signed_message(sha256(wallet.certificate.body()), sha256(terminal.certificate.body()), 156)
    assert verify(wallet.party.public_key, message, request.signature)


def test_a_retired_device_is_not_paid_and_does_not_pay(world, wallet, terminal):
    wallet.send(apdu.PUT, world.operator.order(wallet.id, 1, RETIRE).encode())
    ask = terminal.certificate.encode() + b"\x00\x00\x00\x05" + bytes((REFUND,)) + REFERENCE
    assert cause_of(wallet.send, apdu.REQUEST, ask) == RETIRED


def test_rule_out_of_service_signs_nothing(world, wallet, terminal):
    terminal.open(100)
    pay = terminal.certificate.encode() + terminal.payee.request.encode()
    signed = []
    wallet.party.sign = signed.append
    wallet.fault = "journal corrupt"
    before = wallet.durable()
    for ins in EVERY_COMMAND:
        if ins != apdu.INFO:
            assert cause_of(wallet.send, ins, pay if ins == apdu.PAY else bytes(16)) == SERVICE
    assert wallet.send(apdu.INFO)
    assert (signed, wallet.durable()) == ([], before)


def test_pay_has_one_parameter(wallet, terminal):
    wallet.select()
    pay = terminal.certificate.encode() + terminal.open(100)
    assert refusal(wallet, apdu.command(apdu.PAY, pay, p1=2)) == WRONG_PARAMETERS
    assert refusal(wallet, apdu.command(apdu.PAY, pay, p2=1)) == WRONG_PARAMETERS
    assert refusal(wallet, apdu.command(apdu.PAY, pay + b"\x00")) == WRONG_LENGTH
    assert refusal(wallet, apdu.command(apdu.PAY, pay[:-1])) == WRONG_LENGTH


def test_counters_are_a_layout_of_their_own(wallet):
    assert info.Counters.decode(wallet.send(apdu.COUNTERS)).exchanges == 0


# --- hostile input

_WORLD = World()
_TERMINAL = _WORLD.device("terminal", "terminal", balance=10_000)
_FRIEND = _WORLD.device("friend", balance=1_000)


def _target(blank: bool):
    """A device in the richest state: money, one payment in doubt, a Request open. Or one that is not personalised."""
    if blank:
        device = _WORLD.blank("blank")
        device.generate_key()
        return device
    device = _WORLD.device("target", balance=50_000)
    _WORLD.devices.pop()
    _TERMINAL.payee.close()
    _TERMINAL.open(1_000)
    raises(LinkLost, meet, sale_tap(_TERMINAL), device, Link(cut_at=3))
    device.perform(device.payee.open(9, PERSON, REFERENCE, bytes(8), payer=_FRIEND.certificate))
    return device


_RIGHT_LENGTHS = [0, 1, 4, 16, 91, 93, 98, 99, 111, 117, 122, 134, 139, 152, 154, 194, 238]
_TYPES = list(range(0x0D)) + [0x20, 0x30]
_BODIES = st.one_of(
    st.binary(max_size=255),
    # What passes the first checks: a known type, version 1, a length that some command takes.
    st.tuples(st.sampled_from(_TYPES), st.sampled_from(_RIGHT_LENGTHS), st.randoms(use_true_random=False)).map(
        lambda of: (bytes((of[0], 1)) + of[2].randbytes(255))[: of[1]]
    ),
)
_COMMANDS = st.one_of(
    st.binary(max_size=270),
    st.builds(
        apdu.command,
        st.sampled_from([*EVERY_COMMAND, apdu.SELECT, apdu.READ_BINARY, apdu.GET_RESPONSE, 0x11, 0xFF]),
        _BODIES,
        p1=st.sampled_from([0, 1, 4, 0xFF]),
        p2=st.sampled_from([0, 0x0C, 0xFF]),
        cla=st.sampled_from([0x80, 0x80, 0x80, 0x90, 0x00, 0xA0]),
    ),
)


def _assert_an_answer(answer):
    assert len(answer) <= apdu.ONE_FRAME_BYTES
    sw = answer[-2] << 8 | answer[-1]
    if sw != apdu.SW_OK and sw & 0xFF00 != apdu.SW_MORE:
        assert len(answer) == 3
        assert answer[0] in NAMES
        assert sw == status_word(answer[0])


@settings(max_examples=300, deadline=None)
@given(blank=st.booleans(), commands=st.lists(_COMMANDS, min_size=1, max_size=6))
def test_hostile_commands_never_raise_and_never_change_anything(blank, commands):
    device = _target(blank)
    device.select()
    before = device.durable()
    for raw in commands:
        _assert_an_answer(device.card.process(raw))
        device.card.after()
    assert device.durable() == before


def _genuine():
    """One accepted data field of every command that takes data, for `_target(False)`."""
    target = _target(False)
    world = _WORLD
    request = _TERMINAL.perform(_TERMINAL.payee.open(5, SALE, REFERENCE, bytes(8), by_user=True))
    transfer = target.purse.in_doubt[0].transfer
    void = _TERMINAL.perform(_TERMINAL.payee.receive(transfer, None))
    friend = Request.decode(target.payee.request.encode())
    paid = _FRIEND.perform(_FRIEND.payer.pay(target.certificate, friend, True, by_user=True))
    genuine = {
        apdu.PAY: _TERMINAL.certificate.encode() + request,
        apdu.CONFIRM: void,
        apdu.REQUEST: _TERMINAL.certificate.encode() + b"\x00\x00\x00\x05" + bytes((REFUND,)) + REFERENCE,
        apdu.TRANSFER: paid,
        apdu.OPERATORS: Operator(2, world.root).certificate.encode(),
        apdu.PUT: world.operator.load(target.id, 9, 5).encode(),
    }
    return target, genuine


_TARGET, _GENUINE = _genuine()


@settings(max_examples=300, deadline=None)
@given(ins=st.sampled_from(sorted(_GENUINE)), at=st.integers(0, 254), flip=st.integers(1, 255))
def test_a_genuine_message_with_one_changed_byte_moves_nothing(ins, at, flip):
    data = _GENUINE[ins]
    at %= len(data)
    changed = data[:at] + bytes((data[at] ^ flip,)) + data[at + 1 :]
    _TARGET.select()
    before = (_TARGET.durable(), _TARGET.payee.state, _TARGET.purse.balance)
    answer = _TARGET.card.process(apdu.command(ins, changed))
    _TARGET.card.after()
    _assert_an_answer(answer)
    after = (_TARGET.durable(), _TARGET.payee.state, _TARGET.purse.balance)
    if ins == apdu.REQUEST and at >= Certificate.size():
        return  # amount, purpose and reference are the reader's own words: another Request is a Request
    assert after == before


def test_the_genuine_messages_are_accepted():
    """Else the test above would prove nothing."""
    target, genuine = _genuine()
    target.select()
    for ins in (apdu.TRANSFER, apdu.CONFIRM, apdu.OPERATORS, apdu.PUT, apdu.PAY, apdu.REQUEST):
        answer = target.card.process(apdu.command(ins, genuine[ins]))
        target.card.after()
        assert apdu.parse_response(answer) is not None
    assert (target.purse.balance, target.purse.in_doubt_sum) == (50_000 + 9 + 5 - 5, 5)


def test_todays_constant_is_the_certificates_day(wallet):
    assert wallet.certificate.valid_from == TODAY
