"""ISO-DEP blocks: the standard's scenarios as exact bytes on both interpreters, losses anywhere, garbage anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import micropython

iso_dep = micropython.import_on_cpython("drivers.iso_dep")
errors = micropython.import_on_cpython("drivers.errors")

_APDU = "00a4040000"
_SW = "6a82"

# Card: what it receives -> what it sends ("-" nothing, "!" a complete command, answered on the next step, "?" S(WTX)
# is asked of it). Scenarios follow ISO/IEC 14443-4, annex B (numbers in brackets), with our frame sizes.
_CARD_SCENARIOS: dict[str, list[tuple[str, str]]] = {
    "exchange of I-blocks [1]": [("02" + _APDU, "!"), ("answer", "02" + _SW), ("03" + _APDU, "!")],
    "waiting time extension [2]": [("02" + _APDU, "!"), ("extend", "f201"), ("f201", "-"), ("answer", "02" + _SW)],
    "lost S(WTX) is repeated [9]": [("02" + _APDU, "!"), ("extend", "f201"), ("b2", "f201"), ("f201", "-")],
    "deselect [3]": [("02" + _APDU, "!"), ("answer", "02" + _SW), ("c2", "c2")],
    "reader chains [4]": [("1200a4", "a2"), ("130400", "a3"), ("0200", "!"), ("answer", "02" + _SW)],
    "command lost [6]": [("b2", "a3"), ("02" + _APDU, "!"), ("answer", "02" + _SW)],
    "answer lost [8]": [("02" + _APDU, "!"), ("answer", "02" + _SW), ("b2", "02" + _SW), ("03" + _APDU, "!")],
    "answer lost twice": [("02" + _APDU, "!"), ("answer", "02" + _SW), *[("b2", "02" + _SW)] * 2],
    "R(ACK) of a chain lost": [("1200a4", "a2"), ("b2", "a2"), ("13040000", "a3")],
    "part of a chain lost": [("1200a4", "a2"), ("b3", "a2"), ("13040000", "a3")],
    "presence check": [("02" + _APDU, "!"), ("answer", "02" + _SW), ("b3", "a2"), ("03" + _APDU, "!")],
    "R(NAK) while at work": [("02" + _APDU, "!"), ("b2", "-"), ("answer", "02" + _SW)],
    "I-block while at work": [("02" + _APDU, "!"), ("03ff", "-"), ("answer", "02" + _SW)],
    "PPS to 106 kbit/s": [("d01100", "d0"), ("02" + _APDU, "!")],
    "PPS without PPS1": [("d001", "d0"), ("02" + _APDU, "!")],
    "PPS to 212 kbit/s is not supported": [("d01105", "-"), ("02" + _APDU, "!")],
    "PPS with a CID": [("d11100", "-"), ("02" + _APDU, "!")],
    "PPS only directly after the ATS": [("b2", "a3"), ("d01100", "-")],
    "second RATS": [("e080", "-"), ("02" + _APDU, "!")],
    "CID, NAD, RFU and empty blocks": [
        *[(block, "-") for block in ("0a00" + _APDU, "0600" + _APDU, "00" + _APDU, "22" + _APDU, "")],
        *[(block, "-") for block in ("aa00", "a200", "ca00", "c200", "f2", "fa0001", "a0", "e2", "ff")],
        ("02" + _APDU, "!"),
    ],
    "a block longer than the frame size": [("02" + "00" * 254, "-"), ("02" + "00" * 253, "!")],
    "a chain too long ends as a command of wrong length": [
        ("12" + "11" * 253, "a2"), ("13" + "22" * 253, "a3"), ("02" + "33", "!262"),
    ],
}  # fmt: skip

_RUN_CARD = """
def run_card(Picc, scenario):
    card = Picc(b"\\xe0\\x80")
    said = []
    for step, expected in scenario:
        if step == "answer":
            block = card.respond(b"\\x6a\\x82")
        elif step == "extend":
            block = card.extend()
        else:
            had = card.command
            block = card.receive(bytes.fromhex(step))
            if card.command is not None and had is None:
                said.append("!" + (str(len(card.command)) if expected[1:] else ""))
                continue
        said.append("-" if block is None else block.hex())
    return said
"""
_scope: dict = {}
exec(_RUN_CARD, _scope)  # the same text runs on MicroPython


@pytest.mark.parametrize("name", _CARD_SCENARIOS)
def test_card_scenarios(name: str) -> None:
    scenario = _CARD_SCENARIOS[name]
    assert _scope["run_card"](iso_dep.Picc, scenario) == [expected for _step, expected in scenario]


def test_card_scenarios_on_micropython() -> None:
    script = f"import json\nfrom drivers.iso_dep import Picc\n{_RUN_CARD}\n"
    script += f"print(json.dumps([run_card(Picc, s) for s in {list(_CARD_SCENARIOS.values())!r}]))"
    expected = [[said for _step, said in scenario] for scenario in _CARD_SCENARIOS.values()]
    assert micropython.run_json(script) == expected


@pytest.mark.parametrize(("fsdi", "frame_size"), list(enumerate([16, 24, 32, 40, 48, 64, 96, 128, 256, 256, 256])))
def test_a_long_answer_is_cut_to_the_readers_frame_size(fsdi: int, frame_size: int) -> None:
    card = iso_dep.Picc(bytes((0xE0, fsdi << 4)))
    card.receive(b"\x02\x00\x84\x00\x00\x00")
    answer = bytes(range(256)) + b"\x90\x00"
    blocks = [card.respond(answer)]
    while blocks[-1][0] & 0x10:
        block = card.receive(bytes((0xA2 | ~blocks[-1][0] & 1,)))
        assert block is not None
        blocks.append(block)
    assert b"".join(block[1:] for block in blocks) == answer
    assert all(len(block) + 2 == frame_size for block in blocks[:-1])
    assert card.receive(bytes((0xA2 | ~blocks[-1][0] & 1,))) is None  # nothing is left to say


def test_a_short_apdu_needs_two_blocks_at_most() -> None:
    reader = iso_dep.Pcd(iso_dep.ATS)
    assert reader.request(bytes(5 + 247 + 1))[0] == 0x02  # a payment's PAY goes in one
    reader = iso_dep.Pcd(iso_dep.ATS)
    assert reader.request(bytes(261))[0] == 0x12
    assert reader.receive(b"\xa2") == b"\x03" + bytes(261 - 253)


def test_reader_recovers_as_the_standard_says() -> None:
    reader = iso_dep.Pcd(iso_dep.ATS)
    first = reader.request(b"\x00\xa4\x04\x00\x00")
    assert first.hex() == "0200a4040000"
    assert reader.timeout_ms == 2479  # FWI 13 and 49152/fc
    assert reader.receive(None) == b"\xb2"  # rule 4
    assert reader.timeout_ms == iso_dep.REPEAT_TIMEOUT_MS
    assert reader.receive(b"\xa3") == first  # rule 6: it never arrived
    assert reader.timeout_ms == 2479
    assert reader.receive(b"\xf2\x42") == b"\xf2\x02"  # S(WTX): power level bits are not returned
    assert reader.timeout_ms == 2 * 2479
    assert reader.receive(b"\x03\x6a\x82") == b"\xb2"  # wrong block number
    assert reader.receive(b"\x12\x6a") == b"\xa3"  # the card chains
    assert reader.receive(None) == b"\xa3"  # rule 5
    assert reader.receive(b"\x03\x82") is None
    assert reader.response == b"\x6a\x82"
    assert reader.deselect() == b"\xc2"


@pytest.mark.parametrize(
    ("answer", "most"),
    [
        (None, iso_dep.MAX_RECOVERIES),
        (b"\xa3", iso_dep.MAX_RECOVERIES),  # "I never had it", for ever
        (b"\x12", iso_dep.MAX_RECOVERIES),  # empty parts
        (b"\xf2\x3b", iso_dep.MAX_EXTENSIONS),
        (b"\xf2\x00", iso_dep.MAX_RECOVERIES),  # no valid multiplier
        (b"\xc2", iso_dep.MAX_RECOVERIES),
    ],
)
def test_nothing_a_card_does_keeps_the_reader_for_ever(answer: bytes | None, most: int) -> None:
    reader = iso_dep.Pcd(iso_dep.ATS)
    reader.request(b"\x00\x84\x00\x00\x08")
    for _ in range(most):
        assert reader.receive(answer) is not None
    with pytest.raises(errors.CardGone):
        reader.receive(answer)


def test_a_card_that_chains_without_end_is_left() -> None:
    reader = iso_dep.Pcd(iso_dep.ATS)
    reader.request(b"\x00\x84\x00\x00\x08")
    assert reader.receive(b"\x12" + bytes(253)) == b"\xa3"
    with pytest.raises(errors.CardGone):
        reader.receive(b"\x13" + bytes(253))


@pytest.mark.parametrize(
    ("ats", "frame_size", "timeout_ms", "guard_ms"),
    [
        ("01", 32, 9, 0),  # defaults: FSCI 2, FWI 4
        ("0578807002", 256, 43, 0),  # nfcpy's card: FWI 7
        ("0675339203 80".replace(" ", ""), 64, 159, 2),  # a PN532's own ATS with one historical byte: FWI 9, SFGI 2
        ("0278", None, 0, 0),
        ("0378", None, 0, 0),  # TL says more than there is
        ("", None, 0, 0),
    ],
)
def test_ats_of_other_cards(ats: str, frame_size: int | None, timeout_ms: int, guard_ms: int) -> None:
    if frame_size is None:
        with pytest.raises(ValueError, match="ATS"):
            iso_dep.Pcd(bytes.fromhex(ats))
        return
    reader = iso_dep.Pcd(bytes.fromhex(ats))
    assert len(reader.request(bytes(261))) + 2 == frame_size
    assert (reader.timeout_ms, reader.guard_ms) == (timeout_ms, guard_ms)


@given(
    st.lists(st.tuples(st.integers(1, 261), st.integers(1, 258)), min_size=1, max_size=4),
    st.integers(0, 8),
    st.lists(st.booleans(), max_size=60),
)
def test_over_a_lossy_air_every_command_runs_at_most_once(
    exchanges: list[tuple[int, int]], fsdi: int, losses: list[bool]
) -> None:
    card = iso_dep.Picc(bytes((0xE0, fsdi << 4)))
    reader = iso_dep.Pcd(iso_dep.ATS)
    fate = iter(losses)

    def across(block: bytes | None) -> bytes | None:
        return None if block is None or next(fate, False) else block

    executed: list[bytes] = []
    for number, (command_length, response_length) in enumerate(exchanges):
        command, response = bytes([number]) * command_length, bytes([0x80 | number]) * response_length
        block = reader.request(command)
        try:
            while block is not None:
                arrived = across(block)
                reply = card.receive(arrived) if arrived is not None else None
                if card.command is not None:
                    executed.append(card.command)
                    reply = card.respond(response)
                block = reader.receive(across(reply))
        except errors.CardGone:
            assert sum(losses) >= iso_dep.MAX_RECOVERIES // 2
            assert executed in ([bytes([n]) * exchanges[n][0] for n in range(k)] for k in (number, number + 1))
            return
        assert reader.response == response
        assert executed == [bytes([n]) * exchanges[n][0] for n in range(number + 1)]


@given(st.lists(st.one_of(st.binary(max_size=4), st.binary(min_size=250, max_size=260)), max_size=30))
def test_garbage_never_breaks_either_side(blocks: list[bytes]) -> None:
    card = iso_dep.Picc(b"\xe0\x80")
    reader = iso_dep.Pcd(iso_dep.ATS)
    reader.request(b"\x00\x84\x00\x00\x08")
    for block in blocks:
        reply = card.receive(block)
        if card.command is not None:
            assert len(card.command) <= iso_dep.MAX_COMMAND + 1
            reply = card.respond(b"\x6d\x00")
        assert reply is None or len(reply) <= 254
    try:
        for block in blocks:
            if reader.receive(block) is None:
                break
    except errors.CardGone:
        pass
    assert len(reader.response) <= iso_dep.MAX_RESPONSE + 253
