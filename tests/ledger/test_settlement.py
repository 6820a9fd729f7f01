"""Honest devices: each payment is posted once, from whichever side the ledger hears of it first."""

import pytest

from protocol import apdu
from protocol.objects import CASH_OUT, PAID, REFUND, VOID, Acknowledgement, Load, Resolution, Statement
from tests.engines.fixtures import every_engine
from tests.ledger.world import (
    LOST_CONFIRM,
    LOST_TRANSFER,
    Link,
    certificate_in,
    meet,
    pay_person,
    refund,
    sale,
    sale_tap,
)
from tests.unit.world import LinkLost

pytestmark = every_engine


def torn_sale(terminal, wallet, amount, cut_at):
    with pytest.raises(LinkLost):
        sale(terminal, wallet, amount, link=Link(cut_at=cut_at))


def resolutions_in(settlement):
    return [Resolution.decode(data) for data in settlement.objects if data[0] == Resolution.TYPE]


def test_load_reaches_the_purse_only_through_the_journal(town):
    wallet = town.device("wallet")
    before = town.account(wallet)
    load = town.ledger.order_load(town.signer_of(wallet), wallet.id, 700, town.now)
    assert (town.account(wallet), town.purse(wallet), town.sums()["loads_in_transit"]) == (before - 700, 0, 700)
    settlement = town.sync(wallet)
    assert load.encode() in settlement.objects
    assert (town.purse(wallet), town.sums()["loads_in_transit"], wallet.purse.balance) == (0, 700, 700)
    settlement = town.sync(wallet)
    assert load.encode() not in settlement.objects
    assert (town.purse(wallet), town.sums()["loads_in_transit"]) == (700, 0)


def test_sale_posted_by_the_terminal_first_leaves_an_unfunded_purse_until_the_load_arrives(town):
    terminal = town.device("shop", "terminal")
    wallet = town.device("wallet")
    town.ledger.order_load(town.signer_of(wallet), wallet.id, 900, town.now)
    town.sync(wallet)  # the device holds 900, the ledger has not read it yet
    sale(terminal, wallet, 300)
    town.sync(terminal)
    assert (town.purse(terminal), town.purse(wallet), town.sums()["loads_in_transit"]) == (300, -300, 900)
    assert town.frozen(wallet) is None
    town.sync(wallet)
    assert (town.purse(terminal), town.purse(wallet), town.sums()["loads_in_transit"]) == (300, 600, 0)


def test_sale_posted_by_the_payer_with_the_receipt_before_the_terminal_ever_syncs(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    sale(terminal, wallet, 300)
    town.sync(wallet)
    assert (town.purse(terminal), town.purse(wallet), town.pending()) == (300, 600, 0)
    settlement = town.sync(terminal)
    assert settlement.dead_letters == ()
    assert (town.purse(terminal), town.purse(wallet)) == (300, 600)


def test_debit_alone_is_pending_and_the_payees_credit_posts_it(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    torn_sale(terminal, wallet, 300, LOST_CONFIRM)
    settlement = town.sync(wallet)
    assert resolutions_in(settlement) == []
    assert (town.purse(wallet), town.pending(), town.purse(terminal)) == (600, 300, 0)
    town.sync(terminal)
    assert (town.purse(wallet), town.pending(), town.purse(terminal)) == (600, 0, 300)


def test_resolution_paid_closes_the_debit_and_is_repeated_byte_for_byte_until_it_did(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    torn_sale(terminal, wallet, 300, LOST_CONFIRM)
    town.sync(terminal)
    first = town.settle(wallet, *town.statement(wallet))
    second = town.settle(wallet, *town.statement(wallet))
    assert [resolution.outcome for resolution in resolutions_in(first)] == [PAID]
    assert first.objects[0] == second.objects[0]
    town.install(wallet, second)
    assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (600, 0)
    assert resolutions_in(town.sync(wallet)) == []
    assert town.states(wallet) == ["posted"]


def test_void_by_watermark_gives_the_money_back_through_a_resolution(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    torn_sale(terminal, wallet, 300, LOST_TRANSFER)
    town.sync(wallet)
    assert (town.purse(wallet), town.pending()) == (600, 300)
    town.sync(terminal)
    assert (town.purse(wallet), town.pending(), town.purse(terminal)) == (900, 0, 0)
    settlement = town.sync(wallet)
    assert [resolution.outcome for resolution in resolutions_in(settlement)] == [VOID]
    assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (900, 0)
    town.sync(wallet)
    assert (town.purse(wallet), town.states(wallet)) == (900, ["void"])


def test_void_known_before_the_debit_moves_nothing_when_the_debit_arrives(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    torn_sale(terminal, wallet, 300, LOST_TRANSFER)
    town.sync(terminal)
    settlement = town.sync(wallet)
    assert [resolution.outcome for resolution in resolutions_in(settlement)] == [VOID]
    assert (town.purse(wallet), town.pending(), wallet.purse.balance) == (900, 0, 900)


def test_void_by_the_payers_closing_record(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    torn_sale(terminal, wallet, 300, LOST_TRANSFER)
    town.sync(wallet)
    terminal.payee.close()
    terminal.open(100)
    meet(sale_tap(terminal), wallet)  # the older Transfer is answered with a Void, then 100 are paid
    assert wallet.purse.balance == 800
    town.sync(wallet)
    assert (town.purse(wallet), town.purse(terminal), town.pending()) == (800, 100, 0)
    assert sorted(town.states(wallet)) == ["posted", "void"]
    assert town.sync(terminal).dead_letters == ()
    assert (town.purse(wallet), town.purse(terminal)) == (800, 100)


def test_watermark_does_not_touch_a_payment_made_after_its_statement(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    upload = town.statement(terminal)
    torn_sale(terminal, wallet, 300, LOST_CONFIRM)
    town.settle(terminal, *upload)
    town.sync(wallet)
    assert (town.purse(wallet), town.pending()) == (600, 300)
    town.sync(terminal)
    assert (town.pending(), town.purse(terminal)) == (0, 300)


def test_person_to_person_across_operators(town):
    alice, bob = town.device("alice", balance=500), town.device("bob", operator=2)
    pay_person(alice, bob, 200)
    town.sync(bob)
    assert (town.purse(alice), town.purse(bob)) == (300, 200)
    town.sync(alice)
    assert (town.purse(alice), town.purse(bob), town.pending()) == (300, 200, 0)


def test_money_received_is_spent_on_before_anybody_syncs(town):
    alice, bob, shop = (
        town.device("alice", balance=500),
        town.device("bob"),
        town.device("shop", "terminal", operator=2),
    )
    pay_person(alice, bob, 200)
    sale(shop, bob, 150)
    town.sync(shop)
    assert (town.purse(bob), town.purse(shop)) == (-150, 150)
    town.sync(bob)
    assert (town.purse(alice), town.purse(bob)) == (300, 50)
    town.sync(alice)
    assert [town.purse(device) for device in (alice, bob, shop)] == [300, 50, 150]
    assert [device.purse.balance for device in (alice, bob, shop)] == [300, 50, 150]


@pytest.mark.parametrize("purpose", [REFUND, CASH_OUT])
def test_terminal_pays_wallet(town, purpose):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    sale(terminal, wallet, 300)
    refund(terminal, wallet, 120, purpose)
    town.sync(terminal)
    assert (town.purse(terminal), town.purse(wallet)) == (180, 720)
    town.sync(wallet)
    assert (town.purse(terminal), town.purse(wallet)) == (180, 720)
    assert (terminal.purse.balance, wallet.purse.balance) == (180, 720)


def test_load_comes_back_only_when_the_journal_proves_that_it_was_never_taken(town):
    wallet = town.device("wallet")
    account = town.account(wallet)
    town.ledger.order_load(town.signer_of(wallet), wallet.id, 400, town.now)
    town.ledger.cancel_load(wallet.id, 1)
    settlement = town.sync(wallet)
    assert [data for data in settlement.objects if data[0] == Load.TYPE] == []
    assert Acknowledgement.decode(settlement.objects[-1]).load_floor == 1
    assert (town.account(wallet), town.sums()["loads_in_transit"]) == (account - 400, 400)
    town.sync(wallet)
    assert (town.account(wallet), town.sums()["loads_in_transit"]) == (account, 0)
    assert town.ledger.loads(wallet.id) == [{"number": 1, "amount": 400, "state": "returned"}]


def test_cancelled_load_that_the_device_took_all_the_same_stays_in_its_purse(town):
    wallet = town.device("wallet")
    load = town.ledger.order_load(town.signer_of(wallet), wallet.id, 400, town.now)
    town.ledger.cancel_load(wallet.id, 1)
    wallet.send(apdu.PUT, load.encode())  # another host had it already
    town.sync(wallet)
    town.sync(wallet)
    assert (town.purse(wallet), wallet.purse.balance, town.sums()["loads_in_transit"]) == (400, 400, 0)


def test_load_that_was_skipped_goes_back_when_the_next_one_is_taken(town):
    wallet = town.device("wallet")
    account = town.account(wallet)
    town.ledger.order_load(town.signer_of(wallet), wallet.id, 400, town.now)
    second = town.ledger.order_load(town.signer_of(wallet), wallet.id, 50, town.now)
    wallet.send(apdu.PUT, second.encode())
    town.sync(wallet)
    assert (town.purse(wallet), town.account(wallet), town.sums()["loads_in_transit"]) == (50, account - 50, 0)


def test_the_same_statement_is_answered_with_the_same_bytes_even_by_a_reopened_ledger(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    sale(terminal, wallet, 300)
    statement, records = town.statement(wallet)
    first = town.settle(wallet, statement, records)
    before = town.ledger.reconciliation()
    town.ledger.close()
    town.ledger = type(town.ledger).open(town.url)
    town.now += 1_000
    assert town.settle(wallet, statement, records) == first
    assert town.settle(wallet, statement, []) == first
    assert town.ledger.reconciliation() == before


def test_crash_between_settle_and_install_is_healed_by_the_next_sync(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    sale(terminal, wallet, 300)
    lost = town.settle(terminal, *town.statement(terminal))
    sale(terminal, wallet, 200)
    settlement = town.sync(terminal)
    assert certificate_in(settlement).issue == certificate_in(lost).issue + 1
    assert certificate_in(settlement).base_seq > certificate_in(lost).base_seq
    assert terminal.certificate.issue == certificate_in(settlement).issue
    assert (town.purse(terminal), terminal.purse.balance) == (500, 500)
    town.sync(wallet)
    assert (town.purse(wallet), wallet.purse.balance) == (400, 400)


def test_two_hosts_with_a_nonce_each(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    sale(terminal, wallet, 300)
    early = town.statement(wallet)
    sale(terminal, wallet, 100)
    late = town.statement(wallet)
    assert town.settle(wallet, *late).certified
    stale = town.settle(wallet, *early)
    assert not stale.certified
    assert "sync again" in stale.note
    assert town.frozen(wallet) is None
    assert town.sync(wallet).certified
    assert (town.purse(wallet), town.purse(terminal)) == (500, 400)


def test_statement_overtaken_by_a_newer_payment_gets_no_certificate_but_its_records_are_posted(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    sale(terminal, wallet, 300)
    upload = town.statement(wallet)
    sale(terminal, wallet, 100)
    town.sync(terminal)  # shows the ledger a Transfer that is newer than the Statement
    settlement = town.settle(wallet, *upload)
    assert (settlement.certified, town.frozen(wallet)) == (False, None)
    assert settlement.accepted == len(upload[1])
    assert resolutions_in(settlement) == []  # the newer one is in no journal that the ledger holds
    assert town.sync(wallet).certified
    assert town.purse(wallet) == 500


def test_host_may_send_records_that_the_ledger_has(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    sale(terminal, wallet, 300)
    town.settle(wallet, *town.statement(wallet))
    sale(terminal, wallet, 100)
    statement, records = town.statement(wallet)
    settlement = town.settle(wallet, statement, list(reversed(wallet.journal.stored)))
    assert len(wallet.journal.stored) > len(records)
    assert (settlement.certified, settlement.accepted, settlement.dead_letters) == (True, len(records), ())
    assert town.purse(wallet) == 500


def test_records_dropped_after_an_install_are_not_wanted_again(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    for _ in range(3):
        sale(terminal, wallet, 100)
        town.sync(wallet)
    assert wallet.journal.first_seq > 1
    statement, records = town.statement(wallet)
    assert Statement.decode(statement).seq == wallet.purse.head_seq
    assert len(records) == 1  # the installation of the last sync
    assert town.settle(wallet, statement, records).dead_letters == ()


def test_pending_to_a_payee_that_never_comes_back_is_booked_to_its_account_and_a_later_void_undoes_it(town):
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    torn_sale(terminal, wallet, 300, LOST_TRANSFER)
    town.sync(wallet)
    account = town.account(terminal)
    assert town.book_overdue() == (0, 0, 0)
    town.now += 121 * 86_400
    assert town.book_overdue() == (1, 0, 0)
    assert town.book_overdue() == (0, 0, 0)
    assert (town.account(terminal), town.pending(), town.purse(wallet)) == (account + 300, 0, 600)
    town.sync(terminal)
    assert (town.account(terminal), town.purse(wallet)) == (account, 900)


@pytest.fixture
def overdue(town):
    """A payment of 300 that was booked to the payee's account at the deadline, and the payer still has in doubt."""
    terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    torn_sale(terminal, wallet, 300, LOST_TRANSFER)
    town.sync(wallet)
    town.now += 121 * 86_400
    assert town.book_overdue().transfers == 1
    return terminal, wallet


def test_pending_booked_at_the_deadline_is_resolved_as_paid_and_frees_the_payers_slot(town, overdue):
    terminal, wallet = overdue
    account = town.account(terminal)
    assert [resolution.outcome for resolution in resolutions_in(town.sync(wallet))] == [PAID]
    assert (wallet.purse.in_doubt, wallet.purse.balance) == ([], 600)
    assert resolutions_in(town.sync(wallet)) == []
    assert (town.account(terminal), town.purse(wallet)) == (account, 600)
    town.sync(terminal)  # its watermark voids the payment: the books give the money back all the same
    assert (town.account(terminal), town.purse(wallet)) == (account - 300, 900)


def test_void_after_the_deadline_is_told_to_a_payer_that_was_not_told_paid_yet(town, overdue):
    terminal, wallet = overdue
    lost = town.settle(wallet, *town.statement(wallet))
    assert [resolution.outcome for resolution in resolutions_in(lost)] == [PAID]
    town.sync(terminal)
    assert [resolution.outcome for resolution in resolutions_in(town.sync(wallet))] == [VOID]
    assert (wallet.purse.balance, town.purse(wallet), wallet.purse.in_doubt) == (900, 900, [])
