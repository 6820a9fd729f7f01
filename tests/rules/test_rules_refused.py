"""Rules of what the ledger refuses, and of what devices accept: each is needed, since its scenario fails without it.

`RULES` holds the sentence of docs/protocol.md that each test is about.
"""

from host_tools.ledger import Settlement, transfers
from protocol import apdu, limits
from protocol.management import Management
from protocol.objects import DAY_S, Request, Revocations, Transfer
from protocol.party import Party
from protocol.payee import Payee
from tests.ledger.world import LOST_CONFIRM, sale
from tests.rules.rule import check_needed, without
from tests.rules.scenes import NewTown, give_void, refused, torn_sale, town_with_shop
from tests.unit.world import TODAY, Device

RULES = {
    "test_a_credit_is_refused_only_for_what_the_payee_knew": "payer revoked at its epoch and in every list since",
    "test_a_credit_is_refused_only_for_an_expiry_the_payee_knew": (
        "expired or too many days without a sync before its first day"
    ),
    "test_a_void_beats_a_claim": "A Void beats a claim.",
    "test_the_revocations_come_before_a_certificate_that_names_them": "the list comes first",
    "test_what_a_device_accepts_the_ledger_accepts": "is checked again by payee and ledger where the Transfer shows it",
    "test_days_without_a_sync_are_counted_from_the_payee_s_certificate": (
        "so the ledger, which knows that day, never refuses what a payee accepted"
    ),
}

DAYS_LATE = limits.CERTIFICATE_DAYS + 10


def test_a_credit_is_refused_only_for_what_the_payee_knew(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        town.ledger.revoke(town.signer_of(wallet), 1, wallet.id, town.now)
        sale(terminal, wallet, 300)  # the terminal has not synced since
        town.sync(terminal)
        assert town.purse(terminal) == 300, "an honest payee is not paid"

    taken_out = without(transfers.refusal_of, ("paid[0].epoch, payer.id", "1 << 31, payer.id"))
    check_needed(scenario, taken_out, outcome="an honest payee is not paid")


def test_a_credit_is_refused_only_for_an_expiry_the_payee_knew(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        sale(terminal, wallet, 300)
        town.now += DAYS_LATE * DAY_S  # the terminal comes late, and all has expired since
        town.sync(terminal)
        assert town.purse(terminal) == 300, "an honest payee is not paid"

    taken_out = without(
        transfers.refusal_of,
        ("paying[0].valid_until < paid[0].valid_from", f"paying[0].valid_until < {TODAY + DAYS_LATE}"),
    )
    check_needed(scenario, taken_out, outcome="an honest payee is not paid")


def test_days_without_a_sync_are_counted_from_the_payee_s_certificate(new_town: NewTown) -> None:
    """A wallet too long without a sync, and a terminal whose clock knows no more than its Certificate's first day."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        town.now += 70 * DAY_S
        town.sync(terminal)
        slow = town.now - 70 * DAY_S
        for device in (terminal, wallet):
            device.party.clock = lambda: slow
        refused(sale, terminal, wallet, 300)
        town.sync(terminal)
        assert town.purse(terminal) == terminal.purse.balance, "the device accepted what the ledger refuses"

    taken_out = without(Party.check_days, ("max(self.clock() // DAY_S, self.certificate.valid_from)", "0"))
    check_needed(scenario, taken_out, outcome="the device accepted what the ledger refuses")


def test_a_void_beats_a_claim(new_town: NewTown) -> None:
    """A cracked payee gives the payer a Void and claims the money all the same."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        torn_sale(terminal, wallet, 300, LOST_CONFIRM)
        give_void(terminal, wallet, wallet.purse.in_doubt[0].hash)
        town.sync(terminal)
        town.sync(wallet)
        assert town.purse(wallet) == wallet.purse.balance == 900, "the payer pays for a Void"

    taken_out = without(
        transfers.holder_of, ("if row.void is not None:", "if row.void is not None and row.receipt is None:")
    )
    check_needed(scenario, taken_out, outcome="the payer pays for a Void")


def put(device: Device, answer: Settlement, leave_out: int) -> None:
    """What a host does that keeps one kind of object to itself."""
    single, pair = answer.objects[:-2], answer.objects[-2:]
    for data in single:
        if data[0] != leave_out:
            device.send(apdu.PUT, data)
    refused(device.send, apdu.INSTALL, b"".join(pair))


def test_the_revocations_come_before_a_certificate_that_names_them(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        town.ledger.revoke(town.signer_of(wallet), 1, wallet.id, town.now)
        put(terminal, town.settle(terminal, *town.statement(terminal)), leave_out=Revocations.TYPE)
        sale(terminal, wallet, 300)
        town.sync(terminal)
        assert town.purse(terminal) == terminal.purse.balance == 300, "the device accepted what the ledger refuses"

    taken_out = without(Management.install, ("if certificate.epoch > party.trust.epoch:", "if False:"))
    check_needed(scenario, taken_out, outcome="the device accepted what the ledger refuses")


def test_what_a_device_accepts_the_ledger_accepts(new_town: NewTown) -> None:
    """A cracked wallet pays above its limit: the payee sees it in the Transfer, as the ledger does."""

    def scenario() -> None:
        town = new_town()
        terminal, wallet = town.device("shop", "terminal"), town.device("wallet", balance=600_000)
        request = Request.decode(terminal.open(500_001))
        with without(limits.check_payment, ("amount > certificate.payment_limit", "False")):
            paid = wallet.payer.pay(terminal.certificate, request, False, by_user=True)
        transfer = Transfer.decode(wallet.perform(paid))
        terminal.perform(terminal.payee.receive(transfer, wallet.certificate))
        town.sync(terminal)
        assert town.purse(terminal) == terminal.purse.balance, "the device accepted what the ledger refuses"

    taken_out = without(
        Payee._check_acceptable, ("limits.check_visible(transfer, payer, party.certificate, redeeming)", "pass")
    )
    check_needed(scenario, taken_out, outcome="the device accepted what the ledger refuses")
