"""Rules of torn taps, floors and Statements: each is needed, since its scenario fails without it.

`RULES` holds the sentence of docs/protocol.md that each test is about.
"""

from protocol import apdu
from protocol.errors import Refused
from protocol.management import Management
from protocol.objects import (
    PAID,
    PERSON,
    Receipt,
    Request,
    Statement,
    Transfer,
    Void,
)
from protocol.payee import Payee
from protocol.payer import Payer
from protocol.purse import Purse
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER
from tests.rules.rule import check_needed, without
from tests.rules.scenes import commit, give_void, receive, refused, shop, tap
from tests.unit.world import REFERENCE, Device, World, sha256

RULES = {
    "test_an_older_transfer_to_this_payee_comes_first": (
        "if one to this payee is in doubt and P1 bit 0 is 0, that Transfer is the answer"
    ),
    "test_the_same_request_has_the_same_transfer": (
        "If a debit in doubt answers this very Request, its stored Transfer is the answer."
    ),
    "test_a_transfer_is_credited_only_for_the_hash_of_the_open_request": "if the hash differs, refused (33)",
    "test_a_transfer_is_credited_only_for_the_open_request": "So a Transfer of a closed Request can never be credited",
    "test_request_numbers_survive_power_loss": "Request numbers only grow and survive power loss",
    "test_a_credited_transfer_is_answered_with_its_receipt": "the journal credits it: the stored Receipt",
    "test_void_and_receipt_speak_of_transfers": "of two payers of one Request, one is credited and the other voided",
    "test_the_floor_is_the_ledger_s": 'numbered below the request floor: refused, "ask the ledger" (27)',
    "test_base_and_floor_take_effect_together": "Base, floors and snapshot take effect together, in one record.",
    "test_no_statement_while_a_person_s_request_is_open": (
        "A Statement is signed only when no Request of a person is open"
    ),
    "test_a_statement_closes_a_tap_s_request": "one opened by a tap is closed by it",
    "test_a_debit_closes_once": "A debit closes exactly once, whichever evidence comes first",
    "test_a_floor_is_above_what_the_base_credits": (
        "is above the number of each Transfer that a record up to the base credits"
    ),
}


# --- torn taps


def test_an_older_transfer_to_this_payee_comes_first() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        terminal.open(300)
        tap(terminal, wallet, LOST_TRANSFER)
        terminal.payee.close()
        terminal.open(300)
        tap(terminal, wallet)
        assert (wallet.purse.balance, wallet.purse.in_doubt_sum) == (700, 0), "the first payment is still in doubt"

    taken_out = without(Payer.pay, ("older = purse.debit_to(payee_id)", "pass"))
    check_needed(scenario, taken_out, outcome="still in doubt")


def test_the_same_request_has_the_same_transfer() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        terminal.open(300)
        tap(terminal, wallet, LOST_TRANSFER)
        first = wallet.purse.in_doubt[0].transfer.encode()
        tap(terminal, wallet, LOST_TRANSFER)
        assert [debit.transfer.encode() for debit in wallet.purse.in_doubt] == [first], "paid a second time"

    taken_out = without(
        Payer.pay,
        ("older = purse.debit_for(request_hash)", "older = None"),
        ("older = purse.debit_to(payee_id)", "pass"),
    )
    check_needed(scenario, taken_out, outcome="paid a second time")


def test_a_transfer_is_credited_only_for_the_hash_of_the_open_request() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        transfer = commit(terminal, wallet, 300)
        transfer.request = sha256(b"another Request of that number")
        transfer.sign(wallet.party.sign)
        assert receive(terminal, transfer, wallet) != Receipt.TYPE, "credited what answers no Request of ours"

    taken_out = without(Payee.receive, ("raise Refused(MISMATCH)", "pass"))
    check_needed(scenario, taken_out, outcome="answers no Request of ours")


def test_a_transfer_is_credited_only_for_the_open_request() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        transfer = commit(terminal, wallet, 300)
        terminal.payee.close()  # and somebody read "not paid"
        assert receive(terminal, transfer, wallet) == Void.TYPE, "credited after it was cancelled"

    taken_out = without(
        Payee.receive,
        ("self.state == OPEN and transfer.number", "transfer.number"),
    )
    credited = without(Payee._credited, ('advance(REQUEST, self.state, "credit")', "self.state"))
    check_needed(scenario, taken_out, credited, outcome="credited after it was cancelled")


def test_request_numbers_survive_power_loss() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        transfer = commit(terminal, wallet, 300)
        terminal.restart()
        terminal.open(300)
        assert receive(terminal, transfer, wallet) == Void.TYPE, "its number is used again: neither credited nor voided"

    taken_out = without(Device._save_request_limit, ('self.settings.update({"requests": limit})', "pass"))
    check_needed(scenario, taken_out, outcome="its number is used again")


def test_a_credited_transfer_is_answered_with_its_receipt() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        transfer = commit(terminal, wallet, 300)
        assert receive(terminal, transfer, wallet) == Receipt.TYPE
        terminal.restart()
        assert receive(terminal, transfer, wallet) == Receipt.TYPE, "voided what it has credited"

    taken_out = without(
        Payee.receive, ("if last and last.transfer == transfer_hash:", "if False:"), ("if stored:", "if False:")
    )
    check_needed(scenario, taken_out, outcome="voided what it has credited")


def test_void_and_receipt_speak_of_transfers() -> None:
    def scenario() -> None:
        world, terminal, wallet = shop()
        other = world.device("other", balance=1_000)
        terminal.open(300)
        tap(terminal, other, LOST_TRANSFER)
        tap(terminal, wallet)
        assert terminal.purse.balance == 300
        tap(terminal, other)
        assert (other.purse.balance, other.purse.in_doubt_sum) == (1_000, 0), "the second payer's money is stuck"

    taken_out = without(Payee.receive, ("last.transfer == transfer_hash", "transfer.request == self.request_hash"))
    check_needed(scenario, taken_out, outcome="the second payer's money is stuck")


# --- floors and Statements


def credited_before_the_base() -> tuple[Device, Device, Transfer]:
    world, terminal, wallet = shop()
    terminal.open(300)
    tap(terminal, wallet, LOST_CONFIRM)
    transfer = wallet.purse.in_doubt[0].transfer
    world.sync(terminal)
    terminal.restart()
    return terminal, wallet, transfer


def test_the_floor_is_the_ledger_s() -> None:
    def scenario() -> None:
        terminal, wallet, transfer = credited_before_the_base()
        assert receive(terminal, transfer, wallet) != Void.TYPE, "voided what it has credited"

    taken_out = without(Payee.receive, ("if transfer.number < party.purse.request_floor:", "if False:"))
    check_needed(scenario, taken_out, outcome="voided what it has credited")


def test_a_floor_is_above_what_the_base_credits() -> None:
    """An operator's mistake: a base that covers a credit with a floor that does not."""

    def scenario() -> None:
        world, terminal, wallet = shop()
        transfer = commit(terminal, wallet, 300)
        assert receive(terminal, transfer, wallet) == Receipt.TYPE
        statement = Statement.decode(terminal.send(apdu.STATEMENT, bytes(16)))
        certificate, _ = world.base_for(terminal, statement)
        pair = world.operator.acknowledge(certificate, statement.head, request_floor=0)
        refused(terminal.send, apdu.INSTALL, certificate.encode() + pair.encode())
        terminal.restart()
        assert receive(terminal, transfer, wallet) != Void.TYPE, "voided what it has credited"

    taken_out = without(Management.install, ("self._credited_by(base) + 1", "0"))
    check_needed(scenario, taken_out, outcome="voided what it has credited")


def test_base_and_floor_take_effect_together() -> None:
    """Power goes while the base is being installed."""

    def scenario() -> None:
        world, terminal, wallet = shop()
        transfer = commit(terminal, wallet, 300)
        assert receive(terminal, transfer, wallet) == Receipt.TYPE
        terminal.journal.fail = "before"
        refused(world.sync, terminal)
        terminal.restart()
        assert receive(terminal, transfer, wallet) != Void.TYPE, "voided what it has credited"

    drop_first = without(
        Management.install, ("self._installation_space(),", "self._installation_space(), effects.Drop(base + 1),")
    )
    restart = without(Purse.check_replayed, ("if self.head_seq and self.certificate is None:", "if False:"))
    check_needed(scenario, drop_first, restart, outcome="voided what it has credited")


def test_no_statement_while_a_person_s_request_is_open() -> None:
    def scenario() -> None:
        _, terminal, wallet = shop()
        transfer = commit(terminal, wallet, 300)
        try:
            watermark = Statement.decode(terminal.send(apdu.STATEMENT, bytes(16))).watermark
        except Refused:
            watermark = 0
        answer = receive(terminal, transfer, wallet)
        assert answer == Receipt.TYPE and watermark <= transfer.number, "an open Request was taken from a person"

    taken_out = without(Management.statement, ("payee.check_not_busy()", "pass"))
    check_needed(scenario, taken_out, outcome="taken from a person")


def test_a_statement_closes_a_tap_s_request() -> None:
    """Else its watermark would be below, and the Transfer of a torn tap could not be settled by this sync."""

    def scenario() -> None:
        world = World()
        card, reader = world.device("card"), world.device("reader", balance=500)
        data = reader.certificate.encode() + (300).to_bytes(4, "big") + bytes((PERSON,)) + REFERENCE
        number = Request.decode(card.send(apdu.REQUEST, data)).number
        watermark = Statement.decode(card.send(apdu.STATEMENT, bytes(16))).watermark
        assert watermark > number, "the sync settles nothing of the torn tap"

    taken_out = without(Management.statement, ("payee.close()", "pass"))
    check_needed(scenario, taken_out, outcome="settles nothing of the torn tap")


def test_a_debit_closes_once() -> None:
    """The operator said "paid" at its deadline; the payee's Void comes later."""

    def scenario() -> None:
        world, terminal, wallet = shop()
        transfer = commit(terminal, wallet, 300)
        digest = sha256(transfer.body())
        wallet.send(apdu.PUT, world.operator.resolve(wallet.id, digest, PAID).encode())
        refused(give_void, terminal, wallet, digest)
        assert wallet.purse.balance == 700, "money came back after it was paid"

    taken_out = (
        without(Purse._close, ("self.in_doubt.remove(debit)", "pass")),
        without(Payer.close, ("if debit is None:", "if False:")),
    )
    check_needed(scenario, *taken_out, outcome="money came back after it was paid")
