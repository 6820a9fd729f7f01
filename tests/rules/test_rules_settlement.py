"""Rules of settlement: each is needed, since its scenario fails without it.

`RULES` holds the sentence of docs/protocol.md that each test is about.
"""

from sqlalchemy import Connection, select, update

from host_tools.ledger import answer, deadlines, guarantee, loads, post, registry, transfers
from host_tools.ledger.errors import AlreadyRegistered
from host_tools.ledger.schema import devices
from protocol import apdu, limits
from protocol.management import Management
from protocol.objects import DAY_S, Load
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Town, clone, sale
from tests.rules.rule import check_needed, without
from tests.rules.scenes import NewTown, refused, torn_sale, town_with_shop
from tests.unit.world import KINDS, Device, signer

RULES = {
    "test_a_key_is_registered_once": "Its key is registered once.",
    "test_posting_needs_the_payee_s_signature": "Posting needs the payee's signature",
    "test_the_payer_s_upload_with_the_receipt_is_enough": "The payer's upload with the Receipt is enough.",
    "test_pending_goes_to_the_payee_s_account_at_the_deadline": "is booked to the payee's purse",
    "test_what_a_purse_has_left_at_the_deadline_goes_on_to_the_account": (
        "what is left of it above zero goes on to the owner's account"
    ),
    "test_a_void_after_the_deadline_moves_it_to_the_payer": (
        "a later Void or watermark moves it from there to the payer"
    ),
    "test_a_watermark_voids_what_comes_later": "also one that reaches the ledger later",
    "test_loads_are_accepted_in_growing_number": (
        "Loads are accepted in growing number: accepting n closes all lower ones"
    ),
    "test_a_load_goes_back_only_when_it_is_closed": "whose complete chain lacks it has a load floor at or above it",
    "test_expiry_alone_refunds_no_load": "expiry alone never refunds",
    "test_a_load_in_transit_counts_as_funding": "Until then it is *load in transit* and counts as funding",
    "test_a_watermark_needs_every_record": "Watermark and new base take effect only when the ledger holds every record",
    "test_a_base_needs_every_record": "take effect only when the ledger holds every record up to the Statement's head",
    "test_who_goes_back_is_frozen": (
        "with a fresh nonce the device is frozen as rolled back, and no Certificate is issued"
    ),
    "test_an_old_nonce_accuses_nobody": "with a fresh nonce",
    "test_a_redemption_credits_the_registered_account": "It credits only the account registered for the payer.",
}


def deadline(town: Town) -> None:
    town.now += (limits.CERTIFICATE_DAYS + limits.GRACE_DAYS + 1) * DAY_S
    town.book_overdue()


def test_a_key_is_registered_once(new_town: NewTown) -> None:
    def scenario() -> None:
        town, _, wallet = town_with_shop(new_town)
        stranger = town.ledger.open_account(1, "stranger")
        key = wallet.party.public_key
        try:
            town.ledger.register_device(
                town.signer_of(wallet), 1, key, KINDS["wallet"], 0, stranger, "mine now", town.now
            )
            registered = True
        except AlreadyRegistered:
            registered = False
        assert not registered, "a second owner"

    taken_out = without(
        registry.register,
        ("(known.operator, known.kind, known.mcc, known.account) != (operator, kind, mcc, account)", "0"),
    )
    check_needed(scenario, taken_out, outcome="a second owner")


# --- posting


def test_posting_needs_the_payee_s_signature(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        torn_sale(terminal, wallet, 300, LOST_TRANSFER)
        town.sync(wallet)
        assert (town.purse(terminal), town.pending()) == (0, 300), "posted on the payer's word alone"

    taken_out = without(
        transfers.holder_of,
        ("if row.receipt is not None and payee is not None:", "if row.debited and payee is not None:"),
    )
    check_needed(scenario, taken_out, outcome="posted on the payer's word alone")


def test_the_payer_s_upload_with_the_receipt_is_enough(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        sale(terminal, wallet, 300)  # and then the terminal burns
        town.sync(wallet)
        assert town.purse(terminal) == 300, "the takings of a destroyed terminal are lost"

    taken_out = without(post.Posting._hear, ("if isinstance(evidence, Receipt):", "if False:"))
    check_needed(scenario, taken_out, outcome="the takings of a destroyed terminal are lost")


def test_pending_goes_to_the_payee_s_account_at_the_deadline(new_town: NewTown) -> None:
    """The terminal credited it, handed out the goods and burnt."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        torn_sale(terminal, wallet, 300, LOST_CONFIRM)
        town.sync(wallet)
        deadline(town)
        assert town.account(terminal) == 1_300, "an honest payee is not paid"

    taken_out = without(transfers.holder_of, ("return PENDING, payee.purse", "return PENDING, payer.purse"))
    check_needed(scenario, taken_out, outcome="an honest payee is not paid")


def test_what_a_purse_has_left_at_the_deadline_goes_on_to_the_account(new_town: NewTown) -> None:
    """The terminal burnt: no device can spend what is in its purse."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        torn_sale(terminal, wallet, 300, LOST_CONFIRM)
        town.sync(wallet)
        deadline(town)
        assert (town.purse(terminal), town.account(terminal)) == (0, 1_300), "the money is stuck in a burnt terminal"

    taken_out = without(deadlines.book_overdue, ("_pass_on(connection, today, now)", "pass"))
    check_needed(scenario, taken_out, outcome="the money is stuck in a burnt terminal")


def test_a_void_after_the_deadline_moves_it_to_the_payer(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        torn_sale(terminal, wallet, 300, LOST_TRANSFER)
        town.sync(wallet)
        deadline(town)
        town.sync(terminal)
        assert (town.account(terminal), town.purse(wallet)) == (1_000, 900), "paid for what was never credited"

    taken_out = without(
        transfers.holder_of, ("if row.void is not None:", "if row.void is not None and not row.defaulted:")
    )
    check_needed(scenario, taken_out, outcome="paid for what was never credited")


def test_a_watermark_voids_what_comes_later(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        torn_sale(terminal, wallet, 300, LOST_TRANSFER)
        town.sync(terminal)
        town.sync(wallet)
        assert (town.purse(wallet), town.pending()) == (900, 0), "the money is stuck"

    taken_out = without(transfers.unspoken_void, ("if payee.statement is not None:", "if False:"))
    check_needed(scenario, taken_out, outcome="the money is stuck")


# --- Loads


def skipped_load(town: Town, wallet: Device) -> Load:
    """Two Loads, of which a host brings the second; the sync after that closes the first and gives it back."""
    first = town.ledger.order_load(town.signer_of(wallet), wallet.id, 100, town.now)
    second = town.ledger.order_load(town.signer_of(wallet), wallet.id, 50, town.now)
    wallet.send(apdu.PUT, second.encode())
    upload = town.statement(wallet)
    town.settle(wallet, *upload)
    return first


def test_loads_are_accepted_in_growing_number(new_town: NewTown) -> None:
    def scenario() -> None:
        town, _, wallet = town_with_shop(new_town)
        first = skipped_load(town, wallet)
        refused(wallet.send, apdu.PUT, first.encode())
        assert wallet.purse.balance == 950, "loaded what went back to the account"

    taken_out = without(Management._put_load, ("if load.number <= purse.load_floor:", "if False:"))
    check_needed(scenario, taken_out, outcome="loaded what went back to the account")


def test_a_load_goes_back_only_when_it_is_closed(new_town: NewTown) -> None:
    def scenario() -> None:
        town, _, wallet = town_with_shop(new_town)
        load = town.ledger.order_load(town.signer_of(wallet), wallet.id, 100, town.now)
        town.settle(wallet, *town.statement(wallet))  # whose chain lacks it
        wallet.send(apdu.PUT, load.encode())
        town.settle(wallet, *town.statement(wallet))
        assert town.purse(wallet) == wallet.purse.balance == 1_000, "the device has what its account has too"

    taken_out = without(loads.give_back, ("load.number <= device.load_floor", "True"))
    check_needed(scenario, taken_out, outcome="the device has what its account has too")


def test_expiry_alone_refunds_no_load(new_town: NewTown) -> None:
    def scenario() -> None:
        town, _, wallet = town_with_shop(new_town)
        town.ledger.order_load(town.signer_of(wallet), wallet.id, 100, town.now)
        deadline(town)
        assert (town.sums()["loads_in_transit"], town.account(wallet)) == (100, 900), "given back unproven"

    def give_all_back(connection: Connection, now: int) -> None:
        connection.execute(update(devices).values(load_floor=99))
        for device in connection.execute(select(devices)).all():
            loads.give_back(connection, device, loads.outstanding(connection, device.id), now)

    taken_out = without(
        deadlines.book_overdue,
        ("today = now // DAY_S", "today = now // DAY_S; give_all_back(connection, now)"),
        give_all_back=give_all_back,
    )
    check_needed(scenario, taken_out, outcome="given back unproven")


def test_a_load_in_transit_counts_as_funding(new_town: NewTown) -> None:
    """The wallet took it and paid of it; then it lay in a drawer, and its deadline passed."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        load = town.ledger.order_load(town.signer_of(wallet), wallet.id, 900, town.now)
        wallet.send(apdu.PUT, load.encode())
        sale(terminal, wallet, 1_200)
        town.sync(terminal)
        deadline(town)
        assert (town.frozen(wallet), town.loss()) == (None, 0), "accused of paying what it never received"

    taken_out = without(guarantee.lacking, ("return -held - in_transit(connection, device.id)", "return -held"))
    check_needed(scenario, taken_out, outcome="accused of paying what it never received|the guarantee bears")


# --- every record


def test_a_watermark_needs_every_record(new_town: NewTown) -> None:
    """A host leaves out the very record that credits the payment."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        torn_sale(terminal, wallet, 300, LOST_CONFIRM)
        town.sync(wallet)
        statement, records = town.statement(terminal)
        town.settle(terminal, statement, records[:-1])
        assert town.pending() == 300, "voided what the journal credits"

    taken_out = without(post._take_floors, ("if not (one.complete and one.current) or fraudulent", "if fraudulent"))
    check_needed(scenario, taken_out, outcome="voided what the journal credits")


def test_a_base_needs_every_record(new_town: NewTown) -> None:
    """Else the device would drop the only copy of what it was paid."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        torn_sale(terminal, wallet, 300, LOST_CONFIRM)
        statement, records = town.statement(terminal)
        answer = town.settle(terminal, statement, records[:-1])
        assert not answer.certified, "a base over records that the ledger does not hold"

    taken_out = without(
        answer.Answers._withheld, ("if not posting.complete:", "if False:"), ("if not posting.current:", "if False:")
    )
    check_needed(scenario, taken_out, outcome="a base over records that the ledger does not hold")


def test_who_goes_back_is_frozen(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        kept = clone(wallet)
        sale(terminal, wallet, 300)
        town.sync(terminal)
        answer = town.settle(kept, *town.statement(kept))
        assert not answer.certified and town.frozen(wallet), "a restored journal goes on"

    taken_out = without(post._commit, ("if statement.seq < one.seen_before:", "if False:"))
    check_needed(scenario, taken_out, outcome="a restored journal goes on")


def test_an_old_nonce_accuses_nobody(new_town: NewTown) -> None:
    """A host holds a Statement back until the device has gone on: no proof that it went back."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        upload = town.statement(wallet)
        sale(terminal, wallet, 300)
        town.sync(terminal)
        answer = town.settle(wallet, *upload)
        assert not answer.certified and town.frozen(wallet) is None, "a carrier accused an honest device"

    taken_out = without(
        post._commit,
        ("if statement.seq < one.seen_before:", "if statement.seq < seen_seqs(connection, [who])[who]:"),
    )
    check_needed(scenario, taken_out, outcome="a carrier accused an honest device")


# --- what is booked where


def test_a_redemption_credits_the_registered_account(new_town: NewTown) -> None:
    def scenario() -> None:
        town, _, wallet = town_with_shop(new_town)
        payee = signer("payee of operator 1")
        key = town.signer_of(wallet)
        account = town.ledger.open_account(1, "redemptions")
        town.ledger.register_device(key, 1, payee.public, KINDS["operator payee"], 0, account, "payee", town.now)
        certificate, request = town.ledger.open_redemption(key, payee, wallet.id, 250, town.now)
        transfer = wallet.send(apdu.PAY, certificate.encode() + request.encode())
        town.ledger.take_redemption(payee, transfer, town.now)
        assert town.account(wallet) == 1_250, "redeemed into another's account"

    taken_out = without(transfers.holder_of, ("payer.account if payee.kind", "payee.account if payee.kind"))
    check_needed(scenario, taken_out, outcome="redeemed into another's account")
