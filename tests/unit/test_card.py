"""protocol.card: selecting, chaining, the commands of a tap out of order, and that nothing hostile changes anything."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import apdu, info
from protocol.card import ASK_BYTES
from protocol.errors import (
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    MALFORMED,
    NAMES,
    NOT_FOUND,
    NOT_SELECTED,
    RETIRED,
    SERVICE,
    UNKNOWN_COMMAND,
    UNKNOWN_TRANSFER,
    WRONG_CLASS,
    WRONG_LENGTH,
    WRONG_PARAMETERS,
    WRONG_PARTY,
    status_word,
)
from protocol.objects import NO_HASH, PERSON, REFUND, RETIRE, SALE, Certificate, Receipt, Request, Void
from tests.unit.commands import EVERY_COMMAND, pair, refusal, statement_of
from tests.unit.world import (
    REFERENCE,
    Link,
    LinkLost,
    Operator,
    World,
    cause_of,
    meet,
    raises,
    revocations,
    sale_tap,
    sha256,
    verify,
)

# --- selecting


def test_select_answers_with_state_and_certificate(wallet):
    flags, epoch, root_epoch, certificate = apdu.decode_hello(wallet.select())
    assert (flags, epoch, root_epoch) == (apdu.PERSONALISED, 0, 0)
    assert certificate is not None
    assert certificate.encode() == wallet.certificate.encode()
    wallet.open(5, PERSON)
    assert apdu.decode_hello(wallet.select())[0] == apdu.PERSONALISED | apdu.BUSY


def test_select_names_the_epochs_of_both_lists(world, wallet):
    wallet.send(apdu.PUT, world.operator.revoke(3, []).encode())
    wallet.send(apdu.PUT, revocations(world.root, 0, 5, []).encode())
    assert apdu.decode_hello(wallet.select())[1:3] == (3, 5)


def test_a_blank_device_can_be_selected_and_says_so(world):
    assert apdu.decode_hello(world.blank("blank").select()) == (0, 0, 0, None)


def test_commands_need_the_application(wallet):
    wallet.card.reset()
    assert refusal(wallet, apdu.command(apdu.INFO)) == NOT_SELECTED
    wallet.select()
    assert apdu.parse_response(wallet.card.process(apdu.command(apdu.INFO)))
    wallet.card.process(apdu.select(apdu.NDEF_AID))
    assert refusal(wallet, apdu.command(apdu.INFO)) == NOT_SELECTED


def test_the_field_s_end_deselects(wallet):
    wallet.select()
    wallet.card.reset()
    assert refusal(wallet, apdu.command(apdu.INFO)) == NOT_SELECTED


def test_what_iso_7816_4_does_not_allow(wallet):
    wallet.select()
    assert refusal(wallet, b"") == WRONG_LENGTH
    assert refusal(wallet, b"\x80\x24\x00") == WRONG_LENGTH
    assert refusal(wallet, b"\x80\x24\x00\x00\x00\x01\x02") == WRONG_LENGTH  # extended length
    assert refusal(wallet, b"\x80\x24\x00\x00\x02\x01") == WRONG_LENGTH
    assert refusal(wallet, b"\x80\x24\x00\x00\x01\x01\x00\x00") == WRONG_LENGTH
    assert refusal(wallet, b"\x84\x24\x00\x00\x00") == WRONG_CLASS
    assert refusal(wallet, b"\x80\xee\x00\x00\x00") == UNKNOWN_COMMAND
    assert refusal(wallet, b"\x00\x24\x00\x00\x00") == UNKNOWN_COMMAND
    assert refusal(wallet, b"\x80\x24\x01\x00\x00") == WRONG_PARAMETERS
    assert refusal(wallet, b"\x80\x24\x00\x01\x00") == WRONG_PARAMETERS
    assert refusal(wallet, apdu.select(b"\xa0\x00\x00\x00\x03\x10\x10")) == NOT_FOUND


# --- chaining


def test_chained_commands_arrive_whole(world, wallet):
    certificate, acknowledgement = world.base_for(wallet, statement_of(wallet))
    parts = apdu.chained(apdu.INSTALL, pair(certificate, acknowledgement))
    assert [raw[0] for raw in parts] == [0x90, 0x80]
    assert [apdu.parse_response(wallet.card.process(raw)) for raw in parts] == [b"", b""]
    assert wallet.certificate.issue == 2


def test_a_chain_that_is_interrupted_changes_nothing(world, wallet):
    certificate, acknowledgement = world.base_for(wallet, statement_of(wallet))
    first, last = apdu.chained(apdu.INSTALL, pair(certificate, acknowledgement))
    wallet.select()
    for between in (apdu.command(apdu.INFO), apdu.select(apdu.AID), apdu.command(0xEE), b"\x80"):
        before = wallet.durable()
        wallet.card.process(first)
        wallet.card.process(between)
        assert refusal(wallet, last) == WRONG_LENGTH
        assert wallet.durable() == before
    wallet.card.process(first)
    wallet.card.reset()
    wallet.select()
    assert refusal(wallet, last) == WRONG_LENGTH
    for raw in (first, last):
        wallet.card.process(raw)
    assert wallet.certificate.issue == 2


def test_a_chain_has_an_end(wallet):
    wallet.select()
    part = apdu.command(apdu.PUT, bytes(255), cla=0x90)
    for _ in range(9):
        assert wallet.card.process(part) == b"\x90\x00"
    assert refusal(wallet, part) == WRONG_LENGTH
    assert wallet.card.process(part) == b"\x90\x00"  # a new chain


# --- the commands of a tap, out of order


def test_confirm_is_answered_at_once_and_checked_after(wallet, terminal):
    terminal.open(100)
    raises(LinkLost, meet, sale_tap(terminal), wallet, Link(cut_at=3))
    debit = wallet.purse.in_doubt[0]
    wallet.select()
    forged = Void(transfer=debit.hash).sign(wallet.party.sign)
    assert wallet.card.process(apdu.command(apdu.CONFIRM, forged.encode())) == b"\x90\x00"
    before = wallet.durable()
    wallet.card.after()
    assert wallet.events[-1] == ("refused", BAD_SIGNATURE)
    assert wallet.durable() == before
    terminal.payee.close()
    good = terminal.perform(terminal.payee.receive(debit.transfer, None))
    for _ in range(2):
        assert wallet.card.process(apdu.command(apdu.CONFIRM, good)) == b"\x90\x00"
        wallet.card.after()
    assert (wallet.purse.in_doubt, wallet.purse.balance) == ([], 50_000)
    unknown = Receipt(seq=1, previous=NO_HASH, transfer=b"x" * 32).sign(terminal.party.sign)
    assert refusal(wallet, apdu.command(apdu.CONFIRM, unknown.encode())) == UNKNOWN_TRANSFER


def test_a_request_is_signed_for_a_judged_payer_only(wallet, terminal):
    ask = terminal.certificate.encode() + (500).to_bytes(4, "big")
    wallet.select()
    good = ask + bytes((REFUND,)) + REFERENCE
    assert len(good) == ASK_BYTES
    for purpose in (0, SALE, 4, 6, 255):
        assert refusal(wallet, apdu.command(apdu.REQUEST, ask + bytes((purpose,)) + REFERENCE)) == MALFORMED
    assert refusal(wallet, apdu.command(apdu.REQUEST, ask + bytes((PERSON,)) + REFERENCE)) == WRONG_PARTY
    assert refusal(wallet, apdu.command(apdu.REQUEST, ask[:-4] + bytes(4) + good[-9:])) == MALFORMED
    forged = good[:138] + bytes((good[138] ^ 1,)) + good[139:]
    assert refusal(wallet, apdu.command(apdu.REQUEST, forged)) == BAD_CERTIFICATE
    assert refusal(wallet, apdu.command(apdu.REQUEST, good[:-1])) == WRONG_LENGTH
    request = Request.decode(apdu.parse_response(wallet.card.process(apdu.command(apdu.REQUEST, good))))
    message = request.signed_message(sha256(wallet.certificate.body()), sha256(terminal.certificate.body()), 156)
    assert verify(wallet.party.public_key, message, request.signature)


def test_a_retired_device_is_not_paid_and_does_not_pay(world, wallet, terminal):
    wallet.send(apdu.PUT, world.operator.order(wallet.id, 1, RETIRE).encode())
    ask = terminal.certificate.encode() + b"\x00\x00\x00\x05" + bytes((REFUND,)) + REFERENCE
    assert cause_of(wallet.send, apdu.REQUEST, ask) == RETIRED


def test_rule_out_of_service_signs_nothing(wallet, terminal):
    terminal.open(100)
    pay = terminal.certificate.encode() + terminal.payee.request.encode()
    signed = []
    wallet.party.sign = signed.append
    wallet.fault = "journal corrupt"
    before = wallet.durable()
    for ins in EVERY_COMMAND:
        if ins != apdu.INFO:
            assert cause_of(wallet.send, ins, pay if ins == apdu.PAY else bytes(16)) == SERVICE
    assert wallet.send(apdu.INFO)
    assert (signed, wallet.durable()) == ([], before)


def test_pay_has_one_parameter(wallet, terminal):
    wallet.select()
    pay = terminal.certificate.encode() + terminal.open(100)
    assert refusal(wallet, apdu.command(apdu.PAY, pay, p1=2)) == WRONG_PARAMETERS
    assert refusal(wallet, apdu.command(apdu.PAY, pay, p2=1)) == WRONG_PARAMETERS
    assert refusal(wallet, apdu.command(apdu.PAY, pay + b"\x00")) == WRONG_LENGTH
    assert refusal(wallet, apdu.command(apdu.PAY, pay[:-1])) == WRONG_LENGTH


def test_counters_are_a_layout_of_their_own(wallet):
    assert info.Counters.decode(wallet.send(apdu.COUNTERS)).exchanges == 0


# --- hostile input

_WORLD = World()
_TERMINAL = _WORLD.device("terminal", "terminal", balance=10_000)
_FRIEND = _WORLD.device("friend", balance=1_000)


def _target(blank: bool):
    """A device in the richest state: money, one payment in doubt, a Request open. Or one that is not personalised."""
    if blank:
        device = _WORLD.blank("blank")
        device.generate_key()
        return device
    device = _WORLD.device("target", balance=50_000)
    _WORLD.devices.pop()
    _TERMINAL.payee.close()
    _TERMINAL.open(1_000)
    raises(LinkLost, meet, sale_tap(_TERMINAL), device, Link(cut_at=3))
    device.perform(device.payee.open(9, PERSON, REFERENCE, bytes(8), payer=_FRIEND.certificate))
    return device


_RIGHT_LENGTHS = [0, 1, 4, 16, 91, 93, 98, 99, 111, 117, 122, 134, 139, 152, 154, 194, 238]
_TYPES = list(range(0x0D)) + [0x20, 0x30]
_BODIES = st.one_of(
    st.binary(max_size=255),
    # What passes the first checks: a known type, version 1, a length that some command takes.
    st.tuples(st.sampled_from(_TYPES), st.sampled_from(_RIGHT_LENGTHS), st.randoms(use_true_random=False)).map(
        lambda of: (bytes((of[0], 1)) + of[2].randbytes(255))[: of[1]]
    ),
)
_COMMANDS = st.one_of(
    st.binary(max_size=270),
    st.builds(
        apdu.command,
        st.sampled_from([*EVERY_COMMAND, apdu.SELECT, apdu.READ_BINARY, apdu.GET_RESPONSE, 0x11, 0xFF]),
        _BODIES,
        p1=st.sampled_from([0, 1, 4, 0xFF]),
        p2=st.sampled_from([0, 0x0C, 0xFF]),
        cla=st.sampled_from([0x80, 0x80, 0x80, 0x90, 0x00, 0xA0]),
    ),
)


def _assert_an_answer(answer):
    assert len(answer) <= apdu.ONE_FRAME_BYTES
    sw = answer[-2] << 8 | answer[-1]
    if sw != apdu.SW_OK and sw & 0xFF00 != apdu.SW_MORE:
        assert len(answer) == 3
        assert answer[0] in NAMES
        assert sw == status_word(answer[0])


@settings(max_examples=300, deadline=None)
@given(blank=st.booleans(), commands=st.lists(_COMMANDS, min_size=1, max_size=6))
def test_hostile_commands_never_raise_and_never_change_anything(blank, commands):
    device = _target(blank)
    device.select()
    before = device.durable()
    for raw in commands:
        _assert_an_answer(device.card.process(raw))
        device.card.after()
    assert device.durable() == before


def _genuine():
    """One accepted data field of every command that takes data, for `_target(False)`."""
    target = _target(False)
    world = _WORLD
    request = _TERMINAL.perform(_TERMINAL.payee.open(5, SALE, REFERENCE, bytes(8), by_user=True))
    transfer = target.purse.in_doubt[0].transfer
    void = _TERMINAL.perform(_TERMINAL.payee.receive(transfer, None))
    friend = Request.decode(target.payee.request.encode())
    paid = _FRIEND.perform(_FRIEND.payer.pay(target.certificate, friend, True, by_user=True))
    genuine = {
        apdu.PAY: _TERMINAL.certificate.encode() + request,
        apdu.CONFIRM: void,
        apdu.REQUEST: _TERMINAL.certificate.encode() + b"\x00\x00\x00\x05" + bytes((REFUND,)) + REFERENCE,
        apdu.TRANSFER: paid,
        apdu.OPERATORS: Operator(2, world.root).certificate.encode(),
        apdu.PUT: world.operator.load(target.id, 9, 5).encode(),
    }
    return target, genuine


_TARGET, _GENUINE = _genuine()


@settings(max_examples=300, deadline=None)
@given(ins=st.sampled_from(sorted(_GENUINE)), at=st.integers(0, 254), flip=st.integers(1, 255))
def test_a_genuine_message_with_one_changed_byte_moves_nothing(ins, at, flip):
    data = _GENUINE[ins]
    at %= len(data)
    changed = data[:at] + bytes((data[at] ^ flip,)) + data[at + 1 :]
    _TARGET.select()
    before = (_TARGET.durable(), _TARGET.payee.state, _TARGET.purse.balance)
    answer = _TARGET.card.process(apdu.command(ins, changed))
    _TARGET.card.after()
    _assert_an_answer(answer)
    after = (_TARGET.durable(), _TARGET.payee.state, _TARGET.purse.balance)
    if ins == apdu.REQUEST and at >= Certificate.size():
        return  # amount, purpose and reference are the reader's own words: another Request is a Request
    assert after == before


def test_the_genuine_messages_are_accepted():
    """Else the test above would prove nothing."""
    target, genuine = _genuine()
    target.select()
    for ins in (apdu.TRANSFER, apdu.CONFIRM, apdu.OPERATORS, apdu.PUT, apdu.PAY, apdu.REQUEST):
        answer = target.card.process(apdu.command(ins, genuine[ins]))
        target.card.after()
        assert apdu.parse_response(answer) is not None
    assert (target.purse.balance, target.purse.in_doubt_sum) == (50_000 + 9 + 5 - 5, 5)
