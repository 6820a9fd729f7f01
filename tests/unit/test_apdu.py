"""protocol.apdu and the table of causes: exact bytes (ISO/IEC 7816-4, 5.1) and what a response means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import apdu, errors
from protocol.errors import NAMES, DecodeError, Refused, RefusedByPeer
from tests.unit.world import KINDS, Operator, signer

# Status words a device may answer with (docs/protocol.md, "Commands").
STATUS_WORDS = {0x6581, 0x6700, 0x6982, 0x6985, 0x6A80, 0x6A82, 0x6A84, 0x6A86, 0x6A88, 0x6D00, 0x6E00}


def test_the_four_cases_of_a_command():
    one = apdu.decode_command(bytes.fromhex("80240000"))
    assert (one.cla, one.ins, one.p1, one.p2, one.data, one.le) == (0x80, 0x24, 0, 0, b"", None)
    assert apdu.decode_command(bytes.fromhex("8024000010")).le == 16
    assert apdu.decode_command(bytes.fromhex("8024000000")).le == 256
    three = apdu.decode_command(bytes.fromhex("8024000002aabb"))
    assert (three.data, three.le) == (b"\xaa\xbb", None)
    four = apdu.decode_command(bytes.fromhex("8024000002aabb00"))
    assert (four.data, four.le) == (b"\xaa\xbb", 256)


def test_exact_bytes_of_the_first_command_of_a_tap():
    assert apdu.select(apdu.AID).hex() == "00a4040008f04a49414f5a490100"
    assert apdu.command(apdu.INFO).hex() == "8024000000"
    assert apdu.refusal(errors.CONFIRM).hex() == "196985"


@given(st.binary(max_size=300))
def test_reading_a_command_never_fails_otherwise(raw):
    try:
        command = apdu.decode_command(raw)
    except Refused as refusal:
        assert refusal.cause == errors.WRONG_LENGTH  # noqa: PT017 - that it decodes is right as well
        return
    head = bytes((command.cla, command.ins, command.p1, command.p2))
    body = bytes((len(command.data),)) + command.data if command.data else b""
    assert raw == head + body + (b"" if command.le is None else bytes((command.le & 0xFF,)))


@given(st.binary(max_size=apdu.MAX_CHAIN_BYTES), st.sampled_from([1, 16, 240, apdu.MAX_DATA_BYTES]))
def test_a_chain_carries_its_data_whole(data, longest):
    parts = [apdu.decode_command(raw) for raw in apdu.chained(apdu.PUT, data, longest)]
    assert max(len(part.data) for part in parts) == min(len(data), longest)
    assert b"".join([part.data for part in parts]) == data
    assert [part.cla for part in parts] == [0x90] * (len(parts) - 1) + [0x80]
    assert {part.ins for part in parts} == {apdu.PUT}


def test_what_responses_mean():
    assert apdu.parse_response(b"abc\x90\x00") == b"abc"
    assert apdu.parse_response(b"abc\x61\x10") == b"abc"
    for raw, cause in (
        (b"\x19\x69\x85", errors.CONFIRM),
        (b"\xfe\x69\x85", 0xFE),  # a cause of a newer version
        (b"\x67\x00", errors.WRONG_LENGTH),
        (b"\x6a\x82", errors.NOT_FOUND),
        (b"\x6f\x00", errors.MALFORMED),
    ):
        with pytest.raises(RefusedByPeer) as caught:
            apdu.parse_response(raw)
        assert caught.value.cause == cause
    for raw in (b"", b"\x90", bytes(259)):
        with pytest.raises(DecodeError):
            apdu.parse_response(raw)


@given(st.binary(max_size=300))
def test_reading_a_response_or_a_hello_never_fails_otherwise(raw):
    for read in (apdu.parse_response, apdu.decode_hello):
        try:
            read(raw)
        except (RefusedByPeer, DecodeError) as error:
            assert str(error)  # noqa: PT017 - that it decodes is right as well


def test_hello_carries_the_certificate_once_there_is_one():
    certificate = Operator(1, signer("root")).certify(signer("device").public, KINDS["wallet"])
    encoded = apdu.hello(apdu.PERSONALISED, 7, 0x01020304, certificate)
    assert encoded[:10] == bytes.fromhex("01010000000701020304")
    flags, epoch, root_epoch, read = apdu.decode_hello(encoded)
    assert read is not None
    assert (flags, epoch, root_epoch, read.encode()) == (1, 7, 0x01020304, certificate.encode())
    assert apdu.decode_hello(apdu.hello(0, 0, 0, None)) == (0, 0, 0, None)
    for wrong in (
        b"\x01\x00\x00",
        apdu.hello(0, 0, 0, None)[:-1],
        b"\x02" + apdu.hello(0, 0, 0, None)[1:],
        apdu.hello(0, 0, 0, None) + b"\x00",
        apdu.hello(apdu.PERSONALISED, 0, 0, None),
        apdu.hello(apdu.PERSONALISED, 0, 0, certificate) + b"\x00",
    ):
        with pytest.raises(DecodeError):
            apdu.decode_hello(wrong)


def test_causes_are_one_append_only_table():
    named = {name: value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert sorted(named.values()) == list(range(1, len(named) + 1))
    assert set(NAMES) == set(named.values())
    names = list(NAMES.values())
    assert len(set(names)) == len(names)
    assert {errors.status_word(cause) for cause in NAMES} <= STATUS_WORDS
    assert errors.name_of(254) == "cause 254"


def test_instructions_are_unique_and_own():
    names = [name for name, value in vars(apdu).items() if name.isupper() and isinstance(value, int)]
    start, end = names.index("PAY"), names.index("REVOCATIONS") + 1
    codes = [getattr(apdu, name) for name in names[start:end]]
    assert len(set(codes)) == len(codes)
    # ISO/IEC 7816-4, 5.1.2: INS 6X and 9X are invalid
    assert not any(code & 0xF0 in (0x60, 0x90) for code in codes)


def test_an_aid_is_five_to_sixteen_bytes_and_proprietary():
    # ISO/IEC 7816-4, 8.2.1.2: category F
    assert 5 <= len(apdu.AID) <= 16
    assert apdu.AID[0] >> 4 == 0xF
