"""protocol.management: objects that a host or a reader brings: Loads, revocations, Orders, Certificates."""

from protocol import apdu
from protocol.errors import (
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    BALANCE_LIMIT,
    JOURNAL_FULL,
    LOCKED,
    LOT,
    MALFORMED,
    MISMATCH,
    NOT_FOR_THIS_DEVICE,
    NOT_FOUND,
    NOT_PERSONALISED,
    RETIRED,
    REVOCATIONS_MISSING,
    REVOKED,
    STALE,
    UNKNOWN_OPERATOR,
    WRONG_LENGTH,
)
from protocol.objects import CLOSE_PROMPT, MAX_DELTA, PERSON, RETIRE, TAKE_PIN_AWAY, UNBLOCK_PIN, Order
from tests.unit.commands import put_refused, refusal, statement_of
from tests.unit.world import REFERENCE, Link, LinkLost, Operator, cause_of, meet, raises, revocations, sale, sale_tap


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


def test_a_refused_object_is_no_news_to_the_person_who_holds_the_card(world, wallet):
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


def test_an_order_closes_the_prompt_and_a_device_says_so_for_good(world, wallet):
    assert not apdu.decode_hello(wallet.select())[0] & apdu.CLOSED
    order = world.operator.order(wallet.id, 1, CLOSE_PROMPT).encode()
    wallet.send(apdu.PUT, order)
    assert wallet.send(apdu.PUT, order) == b""
    wallet.restart()
    assert apdu.decode_hello(wallet.select())[0] == apdu.PERSONALISED | apdu.CLOSED


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


def test_an_object_that_is_nothing_for_a_device_is_refused(wallet, terminal):
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
