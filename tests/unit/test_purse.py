"""protocol.purse: rebuilt from a journal as it is read. Runs on MicroPython too."""

from protocol import apdu, records
from protocol.errors import DecodeError, LocalError
from protocol.objects import OPERATOR_PAYEE, PERSON, REDEEM, Transfer
from protocol.purse import Purse
from protocol.tap import Payment, PaymentTap
from tests.unit.world import REFERENCE, Link, LinkLost, World, meet, raises, sale, sale_tap, sha256


def story():
    """A wallet with a record of every kind, and one payment in doubt."""
    world = World()
    terminal, wallet = world.device("terminal", "terminal"), world.device("wallet", balance=50_000)
    friend = world.device("friend", balance=900)
    sale(terminal, wallet, 1_000)
    meet(PaymentTap(friend.party, friend.perform, friend.payer, Payment(300, PERSON, REFERENCE)), wallet)
    terminal.open(20)
    raises(LinkLost, meet, sale_tap(terminal), wallet, Link(cut_at=3))
    wallet.send(apdu.PUT, world.operator.load(wallet.id, 2, 7).encode())
    return world, terminal, wallet


def state(purse):
    named = (
        "head_seq",
        "head_hash",
        "certificate_hash",
        "balance",
        "cumulative",
        "unconfirmed",
        "load_floor",
        "last_load",
    )
    values = [getattr(purse, name) for name in named]
    return values + [[debit.hash for debit in purse.in_doubt], purse.request_floor, purse.last_closing]


def taken(device, stored):
    purse = Purse(device.party.public_key, sha256)
    first = True
    for data in stored:
        purse.take(data, first)
        first = False
    purse.check_replayed()
    return purse


def test_taking_every_record_gives_the_purse_of_the_device():
    _, _, wallet = story()
    kinds = {data[4] for data in wallet.journal.stored}
    assert kinds == {0x05, 0x06, 0x20, 0x21, 0x22}
    purse = taken(wallet, wallet.journal.stored)
    assert state(purse) == state(wallet.purse)
    assert purse.balance == 50_000 - 1_000 + 300 - 20 + 7


def test_a_journal_cut_at_its_base_starts_with_the_installation():
    world, terminal, wallet = story()
    world.sync(wallet)
    sale(terminal, wallet, 5)
    assert state(taken(wallet, wallet.journal.stored)) == state(wallet.purse)
    assert wallet.journal.first_seq > 1


def test_a_first_record_starts_over():
    """A journal finds out late that what it read first belongs to a part that was dropped."""
    world, terminal, wallet = story()
    dropped = list(wallet.journal.stored)
    world.sync(wallet)
    purse = Purse(wallet.party.public_key, sha256)
    for part in (dropped, dropped[3:5], wallet.journal.stored):
        first = True
        for data in part:
            purse.take(data, first)
            first = False
    purse.check_replayed()
    assert state(purse)[:-1] == state(wallet.purse)[:-1]
    assert purse.last_closing is None  # nothing of the dropped part is left


def test_a_record_that_does_not_continue_is_an_error_not_a_start():
    _, _, wallet = story()
    stored = wallet.journal.stored
    purse = Purse(wallet.party.public_key, sha256)
    purse.take(stored[0], True)
    raises(LocalError, purse.take, stored[2], False)
    raises(LocalError, purse.take, stored[0], False)
    raises(DecodeError, purse.take, stored[1][:-1], False)
    assert purse.head_seq == 1
    other = World().device("other")
    raises(LocalError, purse.take, other.journal.stored[0], True)  # another key's chain


def test_records_without_an_installation_are_no_purse():
    _, _, wallet = story()
    cut = Purse(wallet.party.public_key, sha256)
    cut.take(wallet.journal.stored[2], True)
    raises(LocalError, cut.check_replayed)
    blank = Purse(wallet.party.public_key, sha256)
    blank.check_replayed()
    assert (blank.head_seq, blank.certificate) == (0, None)


def test_a_redemption_does_not_count_as_unconfirmed():
    world, _, wallet = story()
    bank = world.device("bank", "operator payee")
    unconfirmed = wallet.purse.unconfirmed
    sale(bank, wallet, 40_000, REDEEM)
    assert bank.certificate.role == OPERATOR_PAYEE
    assert wallet.purse.unconfirmed == unconfirmed
    assert isinstance(records.decode(wallet.journal.stored[-2]).body, Transfer)
    assert taken(wallet, wallet.journal.stored).unconfirmed == unconfirmed
