"""protocol.management: the Statement, the journal read over the air, and the base that a sync installs."""

import pytest

from protocol import apdu, records
from protocol.errors import (
    BAD_CERTIFICATE,
    JOURNAL_FULL,
    MISMATCH,
    NOT_FOR_THIS_DEVICE,
    NOT_FOUND,
    REVOCATIONS_MISSING,
    SERVICE,
    STALE,
    WRONG_BASE,
)
from protocol.objects import PERSON, Acknowledgement
from tests.unit.commands import install_refused, pair, refusal, statement_of
from tests.unit.world import KINDS, Link, LinkLost, cause_of, meet, raises, sale, sale_tap, sha256, signer, verify

# --- statement and journal


def test_a_statement_says_where_the_journal_stands(wallet, terminal):
    sale(terminal, wallet, 1_000)
    statement = statement_of(wallet, b"n" * 16)
    assert (statement.nonce, statement.device, statement.issue) == (b"n" * 16, wallet.id, 1)
    assert (statement.seq, statement.head) == (4, wallet.purse.head_hash)
    assert statement.load_floor == 1
    assert statement.verified_by(wallet.party.public_key, verify)


def test_the_journal_read_record_by_record_is_a_chain_up_to_the_statement(wallet, terminal):
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
