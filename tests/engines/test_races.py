"""Two processes' worth of calls that meet on the same rows: one waits, and then decides on what the other has done.

Each case is played on every engine; SQLite shows what the outcome must be, since it has one writer at a time.
"""

import pytest
from sqlalchemy import select

from host_tools.ledger import Ledger, Settlement, locks
from host_tools.ledger.errors import (
    AlreadyRegistered,
    DeviceRevoked,
    InsufficientFunds,
    IssuedMeanwhile,
    NotToDecide,
)
from host_tools.ledger.loads import RETURNED
from host_tools.ledger.schema import redemptions
from host_tools.ledger.settlement import MAX_OPEN_SYNCS
from protocol.fraud import Commitment, FraudProof
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, UNBLOCK_PIN, Receipt, Transfer
from protocol.records import decode
from tests.engines.fixtures import KINDS, every_engine
from tests.engines.races import Outcome, Work, race
from tests.ledger.test_decisions import WHY, refused
from tests.ledger.test_redeem import PAYEE, open_for, pay
from tests.ledger.world import LOST_TRANSFER, Link, Town, sale
from tests.unit.world import KINDS as DEVICE_KINDS
from tests.unit.world import Device, LinkLost, signer

servers_only = pytest.mark.parametrize("engine", KINDS, indirect=True)


def meet(town: Town, first: Work, second: Work) -> Outcome:
    """Both, with the books balanced afterwards; the second must have waited."""
    outcome = race(town.url, first, second)
    assert outcome.waited
    town.check()
    return outcome


def both(town: Town, work: Work) -> Outcome:
    """The same twice."""
    return meet(town, work, work)


def load(town: Town, device: Device, amount: int, number: int | None = None) -> Work:
    return lambda ledger: ledger.order_load(town.signer_of(device), device.id, amount, town.now, number)


@pytest.fixture
def payee(town: Town) -> bytes:
    """The operator's own is registered; its key."""
    account, key = town.ledger.open_account(1, "redemptions"), town.operators[1].key
    public = signer(PAYEE).public
    town.ledger.register_device(key, 1, public, DEVICE_KINDS["operator payee"], 0, account, "payee", town.now)
    return public


def second_device(town: Town, owner: Device, name: str) -> Device:
    """On the same account."""
    device = Device(name, town.clock)
    bank, account = town.operators[1].key, town.accounts[owner.name]
    town._operator_of[name] = 1
    town.ledger.register_device(bank, 1, device.generate_key(), DEVICE_KINDS["wallet"], 0, account, name, town.now)
    return device


# Loads


@every_engine
def test_two_loads_take_no_more_from_an_account_than_it_holds(town: Town, wallet: Device):
    other = second_device(town, wallet, "other")
    held = town.account(wallet)
    outcome = meet(town, load(town, wallet, held - 100), load(town, other, held - 100))
    assert outcome.first.amount == held - 100
    assert isinstance(outcome.second, InsufficientFunds) and "holds 100" in str(outcome.second)
    assert (town.account(wallet), town.ledger.loads(other.id)) == (100, [])


@servers_only
def test_without_the_lock_they_would(town: Town, wallet: Device, monkeypatch: pytest.MonkeyPatch):
    """The test above can fail."""
    other = second_device(town, wallet, "other")
    held = town.account(wallet)
    monkeypatch.setattr(locks, "_lock", lambda *_: None)
    race(town.url, load(town, wallet, held - 100), load(town, other, held - 100))
    assert town.account(wallet) == 200 - held < 0


@every_engine
def test_one_load_ordered_twice_at_once_is_ordered_once(town: Town, wallet: Device):
    outcome = both(town, load(town, wallet, 70, 2))
    assert outcome.first.encode() == outcome.second.encode()
    assert [row["amount"] for row in town.ledger.loads(wallet.id)] == [900, 70]


@every_engine
def test_two_loads_of_a_device_have_two_numbers(town: Town, wallet: Device):
    outcome = both(town, load(town, wallet, 70))
    assert (outcome.first.number, outcome.second.number) == (2, 3)


@every_engine
def test_loads_that_are_cancelled_at_once_are_both_cancelled(town: Town, wallet: Device):
    for number in (2, 3):
        town.ledger.order_load(town.signer_of(wallet), wallet.id, 10, town.now, number)
    meet(
        town,
        lambda ledger: ledger.cancel_load(wallet.id, 3),
        lambda ledger: ledger.cancel_load(wallet.id, 2),
    )
    for _ in range(3):
        town.sync(wallet)
    assert [row["state"] for row in town.ledger.loads(wallet.id)][1:] == [RETURNED] * 2


@every_engine
def test_no_load_is_ordered_for_a_device_that_is_being_reported_lost(town: Town, wallet: Device):
    outcome = meet(
        town,
        lambda ledger: ledger.report_lost(town.signer_of(wallet), wallet.id, town.now),
        load(town, wallet, 70),
    )
    assert isinstance(outcome.second, DeviceRevoked)


# Redeeming


@every_engine
def test_request_that_is_being_paid_is_not_closed(town: Town, wallet: Device, payee: bytes):
    """Else the same Transfer would be answered with a Receipt, and then with a Void."""
    transfer = pay(wallet, open_for(town, wallet, 300))
    first, outcome = _paid_while_another_is_opened(town, wallet, transfer)
    assert outcome.waited
    again = town.ledger.take_redemption(signer(PAYEE), transfer, town.now)
    assert first == again and first[0] == Receipt.TYPE
    assert town.purse(wallet) == 600
    assert _request_states(town) == ["credited", "open"]
    town.check()


@servers_only
def test_without_the_lock_it_would_be(town: Town, wallet: Device, payee: bytes, monkeypatch: pytest.MonkeyPatch):
    """The test above can fail."""
    transfer = pay(wallet, open_for(town, wallet, 300))
    with monkeypatch.context() as patch:
        patch.setattr(locks, "_lock", lambda *_: None)
        first, _ = _paid_while_another_is_opened(town, wallet, transfer)
    assert first[0] == Receipt.TYPE
    assert _request_states(town)[0] == "closed"
    assert town.ledger.take_redemption(signer(PAYEE), transfer, town.now)[0] != Receipt.TYPE


def _paid_while_another_is_opened(town: Town, wallet: Device, transfer: bytes) -> tuple[bytes, Outcome]:
    outcome = race(
        town.url,
        lambda ledger: ledger.take_redemption(signer(PAYEE), transfer, town.now),
        lambda ledger: ledger.open_redemption(town.signer_of(wallet), signer(PAYEE), wallet.id, 100, town.now),
    )
    return outcome.first, outcome


def _request_states(town: Town) -> list[str]:
    with town.ledger._engine.connect() as connection:
        return list(connection.execute(select(redemptions.c.state).order_by(redemptions.c.number)).scalars())


@every_engine
def test_one_transfer_brought_twice_at_once_has_one_receipt(town: Town, wallet: Device, payee: bytes):
    transfer = pay(wallet, open_for(town, wallet, 300))
    outcome = both(town, lambda ledger: ledger.take_redemption(signer(PAYEE), transfer, town.now))
    assert outcome.first == outcome.second and outcome.first[0] == Receipt.TYPE
    assert town.purse(wallet) == 600


@every_engine
def test_two_devices_that_redeem_at_once_lie_one_behind_the_other_in_the_payees_journal(
    town: Town, wallet: Device, payee: bytes
):
    other = town.device("other", balance=400)
    paid = [pay(device, open_for(town, device, 300)) for device in (wallet, other)]
    outcome = meet(
        town,
        lambda ledger: ledger.take_redemption(signer(PAYEE), paid[0], town.now),
        lambda ledger: ledger.take_redemption(signer(PAYEE), paid[1], town.now),
    )
    first, second = Receipt.decode(outcome.first), Receipt.decode(outcome.second)
    assert (first.seq, second.seq) == (1, 2)
    assert (town.purse(wallet), town.purse(other)) == (600, 100)


@every_engine
def test_of_two_requests_opened_at_once_one_stays_open(town: Town, wallet: Device, payee: bytes):
    outcome = both(
        town,
        lambda ledger: ledger.open_redemption(town.signer_of(wallet), signer(PAYEE), wallet.id, 100, town.now),
    )
    assert (outcome.first[1].number, outcome.second[1].number) == (1, 2)
    assert _request_states(town) == ["closed", "open"]


@every_engine
def test_redemption_and_the_sync_of_its_torn_tap_agree(town: Town, wallet: Device, payee: bytes):
    """The device syncs with its payment in doubt while another host brings the payment."""
    transfer = pay(wallet, open_for(town, wallet, 300))
    statement, records = town.statement(wallet)
    outcome = meet(
        town,
        lambda ledger: ledger.settle(town.signer_of(wallet), statement, records, town.now),
        lambda ledger: ledger.take_redemption(signer(PAYEE), transfer, town.now),
    )
    assert outcome.second[0] != Receipt.TYPE
    assert (town.purse(wallet), town.states(wallet)) == (900, ["void"])


# What an operator says of a device


@every_engine
def test_limits_changed_at_once_are_all_changed(town: Town, wallet: Device):
    meet(
        town,
        lambda ledger: ledger.set_limits(wallet.id, {"payment_limit": 700}),
        lambda ledger: ledger.set_limits(wallet.id, {"days_limit": 9}),
    )
    limits = town.ledger.device(wallet.id)["limits"]
    assert (limits["payment_limit"], limits["days_limit"]) == (700, 9)


@every_engine
def test_orders_signed_at_once_have_two_numbers(town: Town, wallet: Device):
    outcome = both(town, lambda ledger: ledger.order(town.signer_of(wallet), wallet.id, UNBLOCK_PIN, 0, town.now))
    assert (outcome.first.number, outcome.second.number) == (1, 2)


@every_engine
def test_devices_revoked_at_once_are_both_on_the_list(town: Town, wallet: Device):
    other, bank = town.device("other"), town.operators[1].key
    outcome = meet(
        town,
        lambda ledger: ledger.revoke(bank, 1, wallet.id, town.now),
        lambda ledger: ledger.revoke(bank, 1, other.id, town.now),
    )
    assert (outcome.first.epoch, outcome.second.epoch) == (1, 2)
    assert {who for who, _ in outcome.second.entries} >= {other.id}
    listed = town.ledger.revoke(bank, 1, wallet.id, town.now)
    assert listed.epoch == 2


@every_engine
def test_decision_that_is_made_twice_at_once_stands(town: Town, shop: Device, wallet: Device):
    payment = refused(town, shop, wallet)
    bank = town.operators[1].key
    outcome = meet(
        town,
        lambda ledger: ledger.decide(bank, payment, "payee", WHY, town.now),
        lambda ledger: ledger.decide(bank, payment, "payer", WHY, town.now),
    )
    assert isinstance(outcome.second, NotToDecide) and "for the payee already" in str(outcome.second)
    assert (town.purse(shop), len(town.ledger.decisions())) == (300, 1)


# What is made once


@every_engine
def test_account_opened_twice_at_once_is_one(town: Town):
    outcome = both(town, lambda ledger: ledger.open_account(1, "Ana"))
    assert outcome.first == outcome.second


@every_engine
def test_device_registered_twice_at_once_has_one_certificate(town: Town):
    key, account = signer("new").public, town.ledger.open_account(1, "Ana")
    bank, kind = town.operators[1].key, DEVICE_KINDS["wallet"]
    outcome = both(town, lambda ledger: ledger.register_device(bank, 1, key, kind, 0, account, "Ana's", town.now))
    first, second = [[signed.encode() for signed in pair] for pair in outcome[:2]]
    assert first == second
    assert [row["issue"] for row in town.ledger.devices()] == [1]


@every_engine
def test_issue_repeated_at_once_is_issued_once(town: Town):
    account = town.ledger.open_account(1, "Ana")
    town.ledger.issue(account, 1, town.now)
    outcome = both(town, lambda ledger: ledger.issue(account, 500, town.now, 1))
    assert isinstance(outcome.second, IssuedMeanwhile)
    assert town.ledger.balance(account) == 501


@every_engine
def test_first_issue_of_all_twice_at_once_is_both(town: Town):
    account = town.ledger.open_account(1, "Ana")
    outcome = both(town, lambda ledger: ledger.issue(account, 500, town.now))
    assert outcome[:2] == (None, None)
    assert town.ledger.balance(account) == 1_000


@every_engine
def test_ledger_has_one_root(town: Town):
    with town.ledger._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ledger_info SET root_key = NULL")
    outcome = race(town.url, lambda ledger: ledger.set_root(bytes(32)), lambda ledger: ledger.set_root(b"\1" * 32))
    assert outcome.waited and isinstance(outcome.second, AlreadyRegistered)
    assert town.ledger.root_key() == bytes(32)


@every_engine
def test_fraud_proof_submitted_twice_at_once_is_kept_once(town: Town, shop: Device, wallet: Device):
    proof = _proof_against(town, wallet, shop)
    outcome = both(town, lambda ledger: ledger.submit_fraud_proof(proof, town.now))
    assert outcome[:2] == (wallet.id, wallet.id)
    assert len(town.ledger.fraud_proofs(wallet.id)) == 1


# Syncs


@every_engine
def test_upload_that_is_being_settled_keeps_its_nonce(town: Town, wallet: Device):
    """However many others begin to sync the device meanwhile."""
    statement, records = town.statement(wallet)
    for _ in range(MAX_OPEN_SYNCS - 1):
        town.ledger.begin_sync(wallet.id, town.now)

    def settle(ledger: Ledger) -> Settlement:
        return ledger.settle(town.signer_of(wallet), statement, records, town.now)

    outcome = meet(town, settle, lambda ledger: ledger.begin_sync(wallet.id, town.now))
    assert settle(town.ledger) == outcome.first


@every_engine
def test_one_upload_brought_twice_at_once_has_one_answer(town: Town, shop: Device, wallet: Device):
    sale(shop, wallet, 300)
    statement, records = town.statement(shop)
    outcome = both(town, lambda ledger: ledger.settle(town.signer_of(shop), statement, records, town.now))
    assert outcome.first == outcome.second and outcome.first.certified
    assert (town.purse(shop), town.purse(wallet), town.states(shop)) == (300, 600, ["posted"])


@every_engine
@pytest.mark.parametrize("shop_first", [True, False])
def test_both_sides_of_a_payment_that_sync_at_once_post_it_once(
    town: Town, shop: Device, wallet: Device, shop_first: bool
):
    sale(shop, wallet, 300)
    uploads = {device: town.statement(device) for device in (shop, wallet)}

    def settle(device: Device) -> Work:
        return lambda ledger: ledger.settle(town.signer_of(device), *uploads[device], town.now)

    order = (shop, wallet) if shop_first else (wallet, shop)
    outcome = meet(town, *map(settle, order))
    assert outcome.first.certified and outcome.second.certified
    assert (town.purse(shop), town.purse(wallet), town.states(shop)) == (300, 600, ["posted"])


@every_engine
@pytest.mark.parametrize("payer_first", [True, False])
def test_watermark_and_the_payment_it_voids_that_come_at_once(
    town: Town, shop: Device, wallet: Device, payer_first: bool
):
    """The payer's journal shows a debit that the payee's Statement, on its way as well, says was never credited."""
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_TRANSFER))
    uploads = {device: town.statement(device) for device in (shop, wallet)}

    def settle(device: Device) -> Work:
        return lambda ledger: ledger.settle(town.signer_of(device), *uploads[device], town.now)

    order = (wallet, shop) if payer_first else (shop, wallet)
    race(town.url, *map(settle, order))
    town.check()
    assert (town.pending(), town.purse(wallet), town.states(wallet)) == (0, 900, ["void"])


# The deadlines


@every_engine
def test_what_is_overdue_is_booked_once(town: Town, shop: Device, wallet: Device):
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_TRANSFER))
    town.sync(wallet)
    town.now += (CERTIFICATE_DAYS + GRACE_DAYS + 2) * DAY_S
    outcome = both(town, lambda ledger: ledger.book_overdue(town.now))
    assert (outcome.first.transfers, outcome.second.transfers) == (1, 0)
    assert (town.account(shop), town.pending()) == (1_300, 0)


@every_engine
def test_payee_that_comes_while_its_overdue_payments_are_booked(town: Town, shop: Device, wallet: Device):
    """Its watermark says that it never took the money: it goes back, whoever is first."""
    with pytest.raises(LinkLost):
        sale(shop, wallet, 300, link=Link(cut_at=LOST_TRANSFER))
    town.sync(wallet)
    late = town.statement(shop)
    town.now += (CERTIFICATE_DAYS + GRACE_DAYS + 2) * DAY_S
    meet(
        town,
        lambda ledger: ledger.book_overdue(town.now),
        lambda ledger: ledger.settle(town.signer_of(shop), *late, town.now),
    )
    assert (town.account(shop), town.pending(), town.states(wallet)) == (1_000, 0, ["void"])


def _proof_against(town: Town, wallet: Device, shop: Device) -> FraudProof:
    """Two payments of which the later one does not count the earlier; the ledger has seen neither."""
    sale(shop, wallet, 100)
    shown = [decode(raw) for raw in town.statement(wallet)[1]]
    (first,) = [record.transfer for record in shown if isinstance(record.body, Transfer)]
    second = Transfer.decode(first.encode())
    second.seq, second.cumulative = first.seq + 2, second.amount
    pair = [Commitment(one.sign(wallet.party.sign).encode(), ()) for one in (first, second)]
    return FraudProof(town.operators[1].certificate.encode(), wallet.certificate.encode(), *pair)
