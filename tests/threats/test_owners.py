"""What an honest person can lose: to a thief, a reader in a crowd, torn taps, destroyed devices, a silent host."""

import pytest

from host_tools.ledger.errors import UnknownNonce
from host_tools.ledger.settlement import MAX_OPEN_SYNCS
from protocol import apdu
from protocol.errors import (
    CONFIRM,
    OVER_SUM_LIMIT,
    REVOKED,
    TOO_LONG_OFFLINE,
    TOO_MANY_RECORDS,
    Refused,
)
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, Certificate
from protocol.tap import PAID
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, clone, pay_person, sale, sale_tap
from tests.threats import bounds
from tests.threats.scenes import DEADLINE, LEFT_ON_ACCOUNT, buy, spend_all, tell, torn
from tests.unit.world import NOW, LinkLost, cause_of, meet


@pytest.fixture
def wallet(town):
    return town.device("wallet", balance=bounds.HELD)


def lose(town, device):
    return town.ledger.report_lost(town.signer_of(device), device.id, town.now)


def cause_of_sale(terminal, wallet, amount, relayed) -> int:
    """0 if it was paid."""
    try:
        sale(terminal, wallet, amount, link=Link(repeat=relayed))
    except Refused as refusal:
        terminal.payee.close()
        return refusal.cause
    return 0


def take_without_consent(terminal, wallet, relayed=False) -> int:
    """Taps at a wallet whose owner does nothing, until it asks: the sum taken."""
    taken = 0
    for amount in (10_000, 1):
        while not (cause := cause_of_sale(terminal, wallet, amount, relayed)):
            taken += amount
        assert cause == CONFIRM
    return taken


# A thief


@pytest.mark.parametrize(
    ("kind", "held", "spent"),
    [("wallet", bounds.HELD, bounds.BRANCH), ("terminal", bounds.TILL_HELD, bounds.TILL_BRANCH)],
)
def test_stolen_device_pays_its_sum_limit(town, shop, kind, held, spent):
    """Without a PIN a key press confirms, so a thief may spend it at terminals that have not heard."""
    stolen = town.device("stolen", kind, balance=held)
    kiosk, ann = town.device("kiosk", "terminal"), town.device("ann", balance=100)
    assert spend_all(shop, stolen) == (spent, OVER_SUM_LIMIT)
    day = lose(town, stolen)
    town.sync(ann)
    tell(ann, kiosk)
    assert cause_of(buy, kiosk, stolen, 1) == REVOKED
    town.sync(shop)
    town.now = day * DAY_S
    town.book_overdue()
    assert (town.account(stolen), town.purse(shop), town.loss()) == (held - spent + LEFT_ON_ACCOUNT, spent, 0)


@pytest.mark.parametrize("late", [True, False])
def test_lost_wallet_that_asks_for_a_pin_loses_the_no_confirm_sum(town, shop, wallet, late):
    """The rest comes back when its last Certificate and the grace are over; a claim that comes later is charged."""
    assert take_without_consent(shop, wallet) == bounds.NO_CONFIRM
    assert lose(town, wallet) == town.now // DAY_S + CERTIFICATE_DAYS + GRACE_DAYS + 1
    if not late:
        town.sync(shop)
    town.now += DEADLINE - DAY_S
    assert town.book_overdue().paid_back == 0
    town.now += DAY_S
    assert town.book_overdue().paid_back == 1
    if late:
        assert town.account(wallet) == bounds.HELD + LEFT_ON_ACCOUNT
        assert town.sync(shop).dead_letters == ()
    assert town.account(wallet) == bounds.HELD - bounds.NO_CONFIRM + LEFT_ON_ACCOUNT
    assert (town.purse(shop), town.purse(wallet), town.loss()) == (bounds.NO_CONFIRM, 0, 0)


def test_copies_of_a_lost_wallet_are_the_guarantees(town, shop, wallet):
    """The owner bears what it held, once; each further copy is a branch like any other."""
    kiosk = town.device("kiosk", "terminal")
    twin = clone(wallet)
    spend_all(shop, wallet)
    spend_all(kiosk, twin)
    lose(town, wallet)
    town.sync(shop)
    town.sync(kiosk)
    assert cause_of(buy, kiosk, clone(twin), 1) == REVOKED
    town.now += DEADLINE
    town.book_overdue()
    assert (town.account(wallet), town.loss()) == (LEFT_ON_ACCOUNT, bounds.BRANCH)
    assert (town.purse(shop), town.purse(kiosk)) == (bounds.HELD, bounds.HELD)


# A reader in a crowd


@pytest.mark.parametrize("relayed", [False, True], ids=["pocket reader", "relay"])
def test_pocket_reader_or_relay_takes_the_no_confirm_sum(town, shop, wallet, relayed):
    """The thief's own terminal, or an honest one to which a wallet in a pocket is relayed, frame by frame and twice."""
    assert take_without_consent(shop, wallet, relayed=relayed) == bounds.NO_CONFIRM
    assert take_without_consent(town.device("kiosk", "terminal"), wallet) == 0
    assert wallet.purse.balance == bounds.HELD - bounds.NO_CONFIRM
    town.sync(wallet)
    assert {row["payee"] for row in town.ledger.transfers(wallet.id)} == {shop.id.hex()}  # the taker has a name
    assert take_without_consent(shop, wallet) == 0  # a sync gives no new sum
    buy(shop, wallet, bounds.PAYMENT)
    assert take_without_consent(shop, wallet) == bounds.NO_CONFIRM  # its owner's consent does


def test_reader_that_never_answers_leaves_the_no_confirm_sum_in_doubt(town):
    wallet = town.device("wallet", balance=bounds.HELD - 100)
    readers = [town.device(f"reader {number}", "terminal") for number in range(bounds.WALLET["in_doubt_limit"] + 1)]
    part = bounds.NO_CONFIRM // (len(readers) - 1)
    for reader in readers[:-1]:
        with pytest.raises(LinkLost):
            sale(reader, wallet, part, link=Link(cut_at=LOST_TRANSFER))
    assert cause_of(sale, readers[-1], wallet, 1) == CONFIRM
    assert wallet.purse.in_doubt_sum == bounds.NO_CONFIRM
    ann = town.device("ann", balance=100)
    pay_person(ann, wallet, 100)  # it is still paid
    readers[-1].payee.close()
    for device in (*readers, wallet, wallet):
        town.sync(device)
    assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (bounds.HELD, 0)


def test_unwatched_till_pays_nothing_to_a_tap(town, shop):
    till = town.device("till", "terminal", balance=bounds.HELD)
    assert cause_of(sale, shop, till, 1) == CONFIRM
    assert till.purse.balance == bounds.HELD


# What is torn, destroyed, withheld


@pytest.mark.parametrize("cut_at", range(6))
@pytest.mark.parametrize("payer_first", [True, False])
def test_torn_tap_costs_nobody_anything(town, shop, wallet, cut_at, payer_first):
    shop.open(bounds.PAYMENT)
    assert cause_of(meet, sale_tap(shop), wallet) == CONFIRM
    wallet.payer.approve()
    with pytest.raises(LinkLost):
        meet(sale_tap(shop), wallet, Link(cut_at=cut_at, lose_power=True))
    shop.payee.close()
    order = (wallet, shop) if payer_first else (shop, wallet)
    for device in order * 2:
        town.sync(device)
    credited = shop.purse.balance
    assert credited == (bounds.PAYMENT if cut_at >= LOST_CONFIRM else 0)
    assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (bounds.HELD - credited, 0)
    assert (town.purse(wallet), town.purse(shop), town.pending()) == (bounds.HELD - credited, credited, 0)


def test_payer_and_payee_destroyed_before_any_sync(town, shop, wallet):
    """Nobody can show the payments: the payer's owner is paid back what the ledger knows, the payee has nothing."""
    spend_all(shop, wallet)
    for device in (shop, wallet):
        lose(town, device)
    town.now += DEADLINE
    assert town.book_overdue() == (0, 0, 1)
    assert (town.account(wallet), town.account(shop)) == (bounds.HELD + LEFT_ON_ACCOUNT, LEFT_ON_ACCOUNT)
    assert town.loss() == 0


def test_payer_torn_before_delivery_to_a_terminal_that_is_destroyed(town, shop, wallet):
    """The terminal never had it, and cannot say so any more: the payer pays at the deadline."""
    torn(shop, wallet, bounds.PAYMENT, LOST_TRANSFER)
    lose(town, shop)
    town.sync(wallet)
    assert (town.pending(), town.purse(wallet)) == (bounds.PAYMENT, bounds.HELD - bounds.PAYMENT)
    town.now += DEADLINE - DAY_S
    assert town.book_overdue().transfers == 0
    town.now += DAY_S
    assert town.book_overdue().transfers == 1
    town.sync(wallet)
    assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (bounds.HELD - bounds.PAYMENT, 0)
    assert (town.account(shop), town.loss()) == (bounds.PAYMENT + LEFT_ON_ACCOUNT, 0)


def test_host_that_withholds_days_run_out(town, shop, wallet):
    town.now += bounds.WALLET["days_limit"] * DAY_S
    buy(shop, wallet, bounds.PAYMENT)
    town.now += DAY_S
    assert cause_of(buy, shop, wallet, 1) == TOO_LONG_OFFLINE
    shop.payee.close()
    settle_all(town, shop, wallet, bounds.PAYMENT)


def test_host_that_withholds_sums_run_out(town, shop, wallet):
    ann = town.device("ann", balance=bounds.HELD)
    assert spend_all(shop, wallet) == (bounds.BRANCH, OVER_SUM_LIMIT)
    pay_person(ann, wallet, bounds.PAYMENT)  # new money does not help
    assert cause_of(buy, shop, wallet, 1) == OVER_SUM_LIMIT
    shop.payee.close()
    town.sync(ann)
    settle_all(town, shop, wallet, bounds.BRANCH - bounds.PAYMENT)


def test_host_that_withholds_records_run_out(town, shop, wallet):
    paid = 0
    while wallet.purse.head_seq < wallet.certificate.base_seq + bounds.WALLET["record_limit"]:
        sale(shop, wallet, 1)
        paid += 1
    assert cause_of(sale, shop, wallet, 1) == TOO_MANY_RECORDS
    shop.payee.close()
    settle_all(town, shop, wallet, paid)


def settle_all(town, shop, wallet, paid):
    """The host gives in: everything is booked, and the wallet pays again."""
    for device in (shop, wallet):
        assert town.sync(device).dead_letters == ()
    assert (town.purse(wallet), town.purse(shop)) == (bounds.HELD - paid, shop.purse.balance)
    assert (wallet.purse.balance, town.pending(), town.loss()) == (bounds.HELD - paid, 0, 0)
    assert buy(shop, wallet, 1).moved == PAID


# Time


def without_clock(device):
    """It knows no later time than that of its Certificate."""
    device._clock = lambda: NOW
    device.restart()
    return device


def test_syncs_that_strangers_begin_make_a_host_begin_again(town, shop, wallet):
    assert MAX_OPEN_SYNCS == 16
    sale(shop, wallet, 300)
    statement, records = town.statement(shop)
    for _ in range(MAX_OPEN_SYNCS):
        town.ledger.begin_sync(shop.id, town.now)
    with pytest.raises(UnknownNonce, match="Begin the sync again"):
        town.settle(shop, statement, records)
    assert town.sync(shop).certified
    assert (town.purse(shop), shop.purse.balance) == (300, 300)


def test_two_wallets_without_a_clock_do_not_enforce_dates(town, wallet):
    """Long expired, and none of the two can know. The ledger does not punish the payee."""
    ann, ben = without_clock(town.device("ann")), without_clock(town.device("ben"))
    without_clock(wallet)
    town.now += 2 * CERTIFICATE_DAYS * DAY_S
    assert town.now // DAY_S > wallet.certificate.valid_until
    for _ in range(bounds.BRANCH // bounds.PAYMENT):
        assert pay_person(wallet, ann, bounds.PAYMENT).moved == PAID
    assert cause_of(pay_person, wallet, ben, 1) == OVER_SUM_LIMIT  # dates are the only limit that is not kept
    assert town.sync(ann).dead_letters == ()
    assert cause_of(pay_person, wallet, ann, 1) == TOO_LONG_OFFLINE  # its new Certificate told it the day
    town.sync(wallet)
    assert (town.frozen(wallet), town.frozen(ann)) == (None, None)
    assert (town.purse(wallet), town.purse(ann), town.loss()) == (0, bounds.HELD, 0)


def test_lost_wallet_that_was_paid_back_pays_a_wallet_without_a_clock(town, wallet):
    """The late claim is the owner's, up to what the wallet held."""
    ann = without_clock(town.device("ann"))
    without_clock(wallet)
    lose(town, wallet)
    town.now += DEADLINE
    town.book_overdue()
    assert town.account(wallet) == bounds.HELD + LEFT_ON_ACCOUNT
    for _ in range(bounds.HELD // bounds.PAYMENT):
        pay_person(wallet, ann, bounds.PAYMENT)
    assert town.sync(ann).dead_letters == ()
    assert (town.purse(ann), town.account(wallet), town.loss()) == (bounds.HELD, LEFT_ON_ACCOUNT, 0)
    assert cause_of(pay_person, wallet, ann, 1) == REVOKED


# Privacy


def shown(device) -> Certificate:
    """What it answers to any reader's SELECT."""
    certificate = apdu.decode_hello(device.select())[3]
    assert certificate is not None
    return certificate


def test_device_followed_by_its_certificate(town, shop, wallet):
    """Every reader sees the same id, and balance and journal as well; whose they are only the operator knows."""
    seen = []
    for _ in range(2):
        seen.append(shown(wallet))
        buy(shop, wallet, bounds.PAYMENT)
    assert seen[0].encode() == seen[1].encode() == wallet.certificate.encode()
    town.sync(wallet)
    renewed = shown(wallet)
    assert renewed.encode() != seen[0].encode()
    assert renewed.key == seen[0].key
    assert wallet.purse.balance.to_bytes(8, "big") in wallet.send(apdu.INFO)
    assert wallet.send(apdu.JOURNAL, wallet.purse.head_seq.to_bytes(4, "big")) == wallet.journal.stored[-1]
    told = wallet.select() + wallet.send(apdu.INFO) + b"".join(wallet.journal.stored)
    assert b"wallet" not in told
    assert town.ledger.device(wallet.id)["name"] == "wallet"
