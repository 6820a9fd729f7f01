"""protocol.framing: exact bytes, every cut and every damage, and the same answers on MicroPython."""

import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import DecodeError, LocalError
from protocol.framing import (
    HELLO,
    MAXIMUM_PAYLOAD_BYTES,
    AnswerOnce,
    FrameDecoder,
    cobs_decode,
    cobs_encode,
    encode_frame,
    next_sequence,
)

_PROJECT = Path(__file__).parents[2]

# Vectors of the Wikipedia article "Consistent Overhead Byte Stuffing", section "Encoding examples", without the final
# delimiter.
_VECTORS = [
    ("", "01"),
    ("00", "0101"),
    ("0000", "010101"),
    ("001100", "01021101"),
    ("11220033", "0311220233"),
    ("11223344", "0511223344"),
    ("11000000", "0211010101"),
    (bytes(range(1, 255)).hex(), "ff" + bytes(range(1, 255)).hex()),
    (bytes(range(0, 255)).hex(), "01ff" + bytes(range(1, 255)).hex()),
    (bytes(range(1, 256)).hex(), "ff" + bytes(range(1, 255)).hex() + "02ff"),
    ((bytes(range(2, 256)) + b"\0").hex(), "ff" + bytes(range(2, 256)).hex() + "0101"),
    ((bytes(range(3, 256)) + b"\0\x01").hex(), "fe" + bytes(range(3, 256)).hex() + "0201"),
]

_payloads = st.one_of(
    st.binary(max_size=MAXIMUM_PAYLOAD_BYTES),
    st.binary(max_size=8).map(lambda seed: (seed * 300)[:MAXIMUM_PAYLOAD_BYTES]),  # long runs, with and without zeros
)
_sequences = st.integers(0, 255)


@pytest.mark.parametrize(("data", "encoded"), _VECTORS)
def test_cobs_gives_the_published_bytes_both_ways(data: str, encoded: str):
    assert cobs_encode(bytes.fromhex(data)).hex() == encoded
    assert cobs_decode(bytes.fromhex(encoded)).hex() == data


@given(st.binary(max_size=1200))
def test_cobs_has_no_zero_and_bounded_overhead(data: bytes):
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert cobs_decode(encoded) == data


@pytest.mark.parametrize("encoded", ["00", "02", "0500", "030011", "0311", "ff01"])
def test_cobs_refuses_what_no_encoder_writes(encoded: str):
    with pytest.raises(DecodeError):
        cobs_decode(bytes.fromhex(encoded))


def test_a_frame_is_sequence_payload_and_crc():
    body = bytes([7]) + bytes.fromhex("00a40400")
    assert encode_frame(7, body[1:]) == b"\0" + cobs_encode(body + zlib.crc32(body).to_bytes(4, "big")) + b"\0"
    assert encode_frame(HELLO, b"").hex() == "000105d202ef8d00"  # CRC-32 of one 00 byte is D202EF8D


@given(_sequences, _payloads, st.integers(1, 64))
def test_a_frame_arrives_whole_however_it_is_cut(sequence: int, payload: bytes, piece: int):
    decoder, frame, arrived = FrameDecoder(), encode_frame(sequence, payload), []
    for start in range(0, len(frame), piece):
        arrived += decoder.feed(frame[start : start + piece])
    assert arrived == [(sequence, payload)]
    assert decoder.dropped_frames == 0


@given(st.binary(max_size=700), _sequences, _payloads)
def test_after_any_garbage_the_next_border_resynchronises(garbage: bytes, sequence: int, payload: bytes):
    decoder = FrameDecoder()
    assert decoder.feed(garbage) == [] or b"\0" in garbage
    assert decoder.feed(encode_frame(sequence, payload))[-1] == (sequence, payload)


@given(_sequences, _payloads, st.data())
def test_no_truncated_frame_is_delivered(sequence: int, payload: bytes, data: st.DataObject):
    frame = encode_frame(sequence, payload)
    kept = data.draw(st.integers(2, len(frame) - 2))
    decoder = FrameDecoder()
    assert decoder.feed(frame[:kept]) == []
    assert decoder.feed(frame) == [(sequence, payload)], "the one behind a cut frame must not be lost with it"
    assert decoder.dropped_frames == 1


@given(_sequences, _payloads, st.data())
def test_no_damaged_byte_is_delivered(sequence: int, payload: bytes, data: st.DataObject):
    frame = bytearray(encode_frame(sequence, payload))
    frame[data.draw(st.integers(0, len(frame) - 2))] ^= data.draw(st.integers(1, 255))
    assert FrameDecoder().feed(bytes(frame)) == []


def test_an_endless_frame_costs_bounded_memory_and_one_drop():
    decoder = FrameDecoder()
    for _ in range(1000):
        assert decoder.feed(b"\x11" * 100) == []
        assert len(decoder._pending) <= MAXIMUM_PAYLOAD_BYTES + 7
    assert decoder.feed(encode_frame(1, b"ok")) == [(1, b"ok")]
    assert decoder.dropped_frames == 1


def test_the_longest_payload_fits_and_one_more_byte_does_not():
    longest = bytes(range(1, 255)) + bytes(7)
    assert len(longest) == MAXIMUM_PAYLOAD_BYTES
    for payload in (longest, b"\x01" * MAXIMUM_PAYLOAD_BYTES, bytes(MAXIMUM_PAYLOAD_BYTES)):
        assert FrameDecoder().feed(encode_frame(255, payload)) == [(255, payload)]
    with pytest.raises(LocalError):
        encode_frame(1, longest + b"\0")
    too_long = encode_frame(1, b"\x01" * (MAXIMUM_PAYLOAD_BYTES + 1), maximum_payload_bytes=1000)
    decoder = FrameDecoder()
    assert decoder.feed(too_long) == []
    assert decoder.dropped_frames == 1


def test_a_repeated_command_is_answered_but_not_run_again():
    runs = []

    def process(command: bytes) -> bytes:
        runs.append(command)
        return b"%d" % len(runs)

    once = AnswerOnce()
    first = once.answer(1, b"pay", process)
    assert once.answer(1, b"pay", process) == first
    assert runs == [b"pay"]
    assert FrameDecoder().feed(once.answer(2, b"pay", process)) == [(2, b"2")]


def test_a_command_that_failed_inside_is_run_again():
    def broken(command: bytes) -> bytes:
        raise OSError("flash")

    once = AnswerOnce()
    with pytest.raises(OSError, match="flash"):
        once.answer(1, b"pay", broken)
    assert FrameDecoder().feed(once.answer(1, b"pay", lambda command: b"done")) == [(1, b"done")]


def test_command_numbers_never_meet_the_hello():
    numbers, number = [], HELLO
    for _ in range(256):
        number = next_sequence(number)
        numbers.append(number)
    assert numbers == [*range(1, 256), 1]


def test_micropython_writes_the_same_frames(micropython: str):
    payloads = [b"", b"\0", bytes(range(256)), bytes(MAXIMUM_PAYLOAD_BYTES), b"\x01" * 254, b"\x01" * 254 + b"\0"]
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from protocol.framing import encode_frame, FrameDecoder\n"
        "decoder = FrameDecoder()\n"
        "for line in (%r):\n"
        "    frame = encode_frame(9, bytes.fromhex(line))\n"
        "    assert decoder.feed(b'noise\\0' + frame) == [(9, bytes.fromhex(line))]\n"
        "    print(frame.hex())\n"
    ) % ([payload.hex() for payload in payloads],)
    run = subprocess.run(
        [micropython, "-X", "heapsize=320K", "-c", script], cwd=_PROJECT, capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split() == [encode_frame(9, payload).hex() for payload in payloads]
