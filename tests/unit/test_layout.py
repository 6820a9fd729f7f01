"""protocol.layout: one valid encoding of each value, and a named reason for every other. Runs on MicroPython too."""

from protocol.errors import DecodeError, LocalError
from protocol.layout import Layout, SignedLayout
from tests.unit.world import raises


class Pair(Layout):
    TYPE = 0x7E
    FIELDS = (("number", 2), ("raw", -3))
    number: int
    raw: bytes

    def fault(self):
        return "13 is not allowed" if self.number == 13 else None


class SignedPair(SignedLayout):
    TYPE = 0x7F
    FIELDS = (("number", 2),)


GOOD = b"\x7e\x01\x12\x34abc"


def reason(kind, data):
    return raises(DecodeError, kind.decode, data).reason


def test_body_is_type_version_and_fields_big_endian():
    assert Pair(number=0x1234, raw=b"abc").body() == GOOD


def test_decoding_gives_the_values_back():
    pair = Pair.decode(GOOD)
    assert (pair.number, pair.raw) == (0x1234, b"abc")


def test_decoding_takes_any_buffer_and_keeps_its_own_bytes():
    buffer = bytearray(GOOD)
    pair = Pair.decode(memoryview(buffer))
    buffer[4] = 0
    assert pair.raw == b"abc"


def test_every_wrong_encoding_has_its_reason():
    assert reason(Pair, b"") == "empty"
    assert reason(Pair, b"\x7d" + GOOD[1:]) == "type"
    assert reason(Pair, b"\x7e\x02" + GOOD[2:]) == "version"
    assert reason(Pair, GOOD[:-1]) == "length"
    assert reason(Pair, GOOD[:1]) == "length"
    assert reason(Pair, GOOD + b"\x00") == "trailing"
    assert reason(Pair, b"\x7e\x01\x00\x0dabc") == "value"


def test_the_type_is_judged_before_version_and_length():
    assert reason(Pair, b"\x7d\x02") == "type"
    assert reason(Pair, b"\x7e\x02") == "version"


def test_what_cannot_be_encoded_is_our_own_error():
    raises(LocalError, Pair, number=0x10000, raw=b"abc")
    raises(LocalError, Pair, number=-1, raw=b"abc")
    raises(LocalError, Pair, number=1, raw=b"ab")
    raises(LocalError, Pair, number=13, raw=b"abc")
    raises(LocalError, Pair, number=1, raw=b"abc", other=1)


def test_a_signature_follows_the_body_and_covers_type_and_version():
    signed = SignedPair(number=5).sign(lambda message: message + b"s" * 60)
    assert signed.encode() == b"\x7f\x01\x00\x05" * 2 + b"s" * 60
    assert SignedPair.decode(signed.encode()).signature == signed.signature
    assert SignedPair.size() == 68


def test_an_unsigned_object_cannot_be_sent():
    raises(LocalError, SignedPair(number=5).encode)


def test_a_signed_object_without_its_whole_signature_is_refused():
    data = SignedPair(number=5).sign(lambda message: bytes(64)).encode()
    assert reason(SignedPair, data[:-1]) == "length"
    assert reason(SignedPair, data + b"\x00") == "trailing"
