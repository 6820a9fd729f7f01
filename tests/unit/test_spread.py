"""protocol.spread: revocations pass from device to device by taps, whatever the card is. Runs on MicroPython too."""

from protocol import apdu
from protocol.errors import LOCKED, REVOKED, DecodeError, Refused
from protocol.objects import MAX_DELTA, MAX_REVOCATIONS, PERSON
from protocol.spread import MAX_EXCHANGES, Spread
from protocol.tap import PAID, Payment, PaymentTap
from tests.unit.world import (
    REFERENCE,
    Link,
    Operator,
    World,
    cause_of,
    meet,
    raises,
    revocations,
    sale,
    sale_tap,
    signer,
    spread,
)


def who(n):
    return bytes((n,)) * 16


def shop():
    world = World()
    return world, world.device("terminal", "terminal"), world.device("wallet", balance=50_000)


def put(device, *objects):
    for one in objects:
        device.send(apdu.PUT, one.encode())


def two(operator, epoch=1, n_complete=1, n_delta=1):
    """A complete list and its delta."""
    complete = operator.revoke(epoch, [(who(n), 2) for n in range(n_complete)])
    return complete, operator.revoke(epoch + 1, [(who(n), 3) for n in range(n_delta)], since=complete)


def stored(device, issuer):
    return device.settings.values.get("revoked %d" % issuer, b"")


def test_equal_lists_cost_no_exchange():
    world, terminal, wallet = shop()
    for lists in ((), two(world.operator), (revocations(world.root, 0, 1, []),)):
        put(terminal, *lists)
        put(wallet, *lists)
        assert spread(sale(terminal, wallet, 10), wallet).exchanges == 0


def test_a_terminal_that_never_syncs_learns_from_its_customers():
    world, terminal, wallet = shop()
    thief = world.device("thief", balance=500)
    assert sale(terminal, thief, 10).moved == PAID
    complete = world.operator.revoke(1, [])
    put(wallet, complete, world.operator.revoke(2, [(thief.id, 2)], since=complete))
    tap = sale(terminal, wallet, 10)
    assert spread(tap, wallet).exchanges == 2
    assert (tap.moved, stored(terminal, 1)) == (PAID, stored(wallet, 1))
    terminal.restart()
    assert cause_of(sale, terminal, thief, 10) == REVOKED


def test_a_card_learns_from_the_reader_and_both_at_once():
    world, terminal, wallet = shop()
    put(terminal, *two(world.operator))
    root = revocations(world.root, 0, 4, [(who(7), 2)])
    put(wallet, root)
    spread(sale(terminal, wallet, 10), wallet)
    assert stored(wallet, 1) == stored(terminal, 1) != b""
    assert stored(terminal, 0) == stored(wallet, 0) == root.encode()


def test_a_reader_that_pays_spreads_as_well():
    world = World()
    payer, payee = world.device("payer", balance=500), world.device("payee")
    put(payer, *two(world.operator))
    tap = meet(PaymentTap(payer.party, payer.perform, payer.payer, Payment(5, PERSON, REFERENCE)), payee)
    assert tap.moved == PAID  # the Receipt is checked before anything is spread
    spread(tap, payee)
    assert (tap.moved, stored(payee, 1)) == (PAID, stored(payer, 1))


def test_one_issuer_s_list_each_way_and_the_root_s_first():
    world, terminal, wallet = shop()
    put(terminal, *two(world.operator), revocations(world.root, 0, 4, []))
    spread(sale(terminal, wallet, 10), wallet)
    assert (stored(wallet, 0) != b"", stored(wallet, 1)) == (True, b"")
    spread(sale(terminal, wallet, 10), wallet)
    assert stored(wallet, 1) == stored(terminal, 1)


def test_a_foreign_card_brings_its_operator_s_list():
    world, terminal, _ = shop()
    other = Operator(2, world.root)
    guest, thief = world.device("guest", balance=500, operator=other), world.device("thief", balance=9, operator=other)
    put(guest, other.revoke(3, [(thief.id, 2)]))
    tap = sale(terminal, guest, 10)
    spread(tap, guest)
    terminal.tidy()
    terminal.restart()
    assert (tap.moved, terminal.party.trust.list_of(2).epoch) == (PAID, 3)
    assert cause_of(sale, terminal, thief, 1) == REVOKED


def put_three(world, device):
    """The lists of operators 2, 3 and 4, as a reader may PUT them in a tap."""
    operators = [Operator(number, world.root) for number in (2, 3, 4)]
    guests = [world.device("guest of %d" % one.number, balance=500, operator=one) for one in operators]
    for operator, guest in zip(operators, guests):  # noqa: B905 - MicroPython has no strict
        listed = operator.revoke(9, [(who(1), 2)])
        put(guest, listed)
        put(device, operator.certificate, listed)
    return operators, guests


def test_rule_whoever_taps_takes_no_list_away_and_wears_nothing():
    world, terminal, wallet = shop()
    operators, _ = put_three(world, terminal)
    before = (terminal.durable(), terminal.settings.writes)
    for operator in operators * 10:
        put(terminal, operator.revoke(9, [(who(1), 2)]))
    assert (terminal.durable(), terminal.settings.writes) == before
    assert [terminal.party.trust.list_of(number).epoch for number in (2, 3, 4)] == [9, 9, 0]


def test_a_foreign_list_gives_way_only_to_that_of_a_card_that_has_paid():
    world, terminal, _ = shop()
    _, guests = put_three(world, terminal)
    guests[2].locked = True
    terminal.open(10)
    tap = sale_tap(terminal)
    assert cause_of(meet, tap, guests[2]) == LOCKED
    assert spread(tap, guests[2]).exchanges == 0  # anybody can show this Certificate
    guests[2].locked = False
    terminal.payee.close()
    tap = sale(terminal, guests[2], 10)
    assert spread(tap, guests[2]).exchanges == 1
    assert [stored(terminal, number) != b"" for number in (2, 3, 4)] == [False, True, True]
    for _ in range(2):
        assert set(terminal.party.trust.lists) == {0, 1, 3, 4}
        terminal.restart()  # no tidy: power may go at any time
    put(terminal, Operator(4, world.root).revoke(1, []))
    assert terminal.party.trust.list_of(4).epoch == 9


def test_longest_lists_both_ways_stay_in_their_bounds():
    world, terminal, wallet = shop()
    put(terminal, *two(world.operator, 1, MAX_REVOCATIONS, MAX_DELTA))
    complete = revocations(world.root, 0, 1, [(who(n), 2) for n in range(MAX_REVOCATIONS)])
    put(wallet, complete, revocations(world.root, 0, 2, [(who(n), 3) for n in range(MAX_DELTA)], since=complete))
    done = spread(sale(terminal, wallet, 10), wallet)
    assert done.exchanges == 26 <= MAX_EXCHANGES
    assert stored(terminal, 0) == stored(wallet, 0) != b""
    assert stored(terminal, 1) == stored(wallet, 1) != b""


def test_spreading_may_be_cut_anywhere_and_goes_on_at_the_next_tap():
    for cut_at in range(1 if cut_everywhere() else 7, 12, 1 if cut_everywhere() else 3):
        world, terminal, wallet = shop()
        put(terminal, *two(world.operator, 1, 9, 9))
        put(wallet, revocations(world.root, 0, 1, [(who(n), 2) for n in range(9)]))
        tap = sale(terminal, wallet, 10)
        spread(tap, wallet, Link(cut_at))
        assert (tap.moved, terminal.purse.balance, wallet.purse.in_doubt) == (PAID, 10, [])
        spread(sale(terminal, wallet, 10), wallet)
        assert stored(terminal, 0) == stored(wallet, 0) != b""
        assert stored(terminal, 1) == stored(wallet, 1) != b""


def cut_everywhere():
    import sys

    return sys.implementation.name == "cpython"


def test_a_repeating_link_changes_nothing():
    world, terminal, wallet = shop()
    put(terminal, *two(world.operator))
    spread(sale(terminal, wallet, 10), wallet, Link(repeat=True))
    assert stored(wallet, 1) == stored(terminal, 1)


def test_a_refused_tap_spreads_too():
    """A card that is revoked, locked or has no money still carries news, and takes it."""
    world, terminal, wallet = shop()
    put(terminal, *two(world.operator))
    wallet.locked = True
    terminal.open(10)
    tap = sale_tap(terminal)
    assert cause_of(meet, tap, wallet) == LOCKED
    spread(tap, wallet)
    assert stored(wallet, 1) == stored(terminal, 1)


# --- cards that lie


def lie(terminal, tap, answers, epoch=9, root_epoch=0):
    """Spread with a card that answers so; whatever happens, the tap stays as it was."""
    this = Spread(terminal.party, terminal.perform, tap.card, epoch, root_epoch)
    before = (tap.moved, terminal.durable())
    error = None
    try:
        while True:
            command = this.command()
            if command is None:
                break
            assert len(command) <= 261
            this.response(answers.pop(0) if answers else apdu.respond())
    except (Refused, DecodeError) as refused:
        error = refused
    assert this.exchanges <= MAX_EXCHANGES
    assert tap.moved == before[0]
    return error, terminal.durable() == before[1]


def test_a_lying_card_teaches_nothing():
    world, terminal, wallet = shop()
    tap = sale(terminal, wallet, 10)
    cheat = signer("cheat")
    good = world.operator.revoke(3, [])
    for answer in (
        apdu.respond(),
        apdu.respond(b"\x0a"),
        apdu.respond(revocations(cheat, 1, 9, []).encode()),  # not the issuer's
        apdu.respond(revocations(world.root, 0, 9, []).encode()),  # another issuer's than was asked for
        apdu.respond(world.operator.revoke(9, [], since=good).encode()),  # a delta to nothing
        apdu.respond(good.encode()[:-1] + b"\x00"),
        apdu.respond(wallet.certificate.encode()),
        apdu.refusal(6),
        b"\x6f\x00",
        b"",
        b"\x90",
        bytes(259),
    ):
        error, unchanged = lie(terminal, tap, [answer])
        assert error is not None
        assert unchanged, answer


def test_a_card_that_promises_more_than_it_has_is_left():
    world, terminal, wallet = shop()
    tap = sale(terminal, wallet, 10)
    good = world.operator.revoke(3, [])
    error, unchanged = lie(terminal, tap, [apdu.respond(good.encode())] * 3)
    assert error is not None  # the second time it is not newer
    assert not unchanged
    assert terminal.party.trust.epoch == 3
    newer = [world.operator.revoke(epoch, []).encode() for epoch in (4, 5, 6, 7)]
    lie(terminal, tap, [apdu.respond(one) for one in newer])
    assert terminal.party.trust.epoch == 5  # two objects of one card


def test_a_card_that_never_ends_its_answer_is_left():
    world, terminal, wallet = shop()
    tap = sale(terminal, wallet, 10)
    for part in (b"", b"\x0a", bytes(255)):
        error, unchanged = lie(terminal, tap, [apdu.respond(part, 0x61FF)] * 1_000)
        assert unchanged
        assert error is not None or len(part) < 255


def test_a_card_that_names_epochs_it_could_not_have_costs_one_exchange():
    world, terminal, wallet = shop()
    tap = sale(terminal, wallet, 10)
    error, unchanged = lie(terminal, tap, [apdu.refusal(6)], 0xFFFFFFFF, 0xFFFFFFFF)
    assert isinstance(error, Refused)
    assert unchanged


def test_a_write_that_fails_puts_the_device_out_of_service_and_moves_nothing():
    world, terminal, wallet = shop()
    put(wallet, *two(world.operator))
    tap = sale(terminal, wallet, 10)

    def broken(wanted):
        raise Refused(9)

    this = Spread(terminal.party, broken, tap.card, *tap.epochs)
    command = this.command()
    assert command is not None
    wallet.select()
    raises(Refused, this.response, wallet.card.process(command))
    assert (tap.moved, terminal.party.trust.epoch) == (PAID, 0)
