"""protocol.ndef: the Type 4 Tag side of a card, exact bytes (NFC Forum T4T 2.0, section 5; NDEF 1.0, 3.2)."""

import pytest

from protocol import apdu, ndef
from protocol.errors import NOT_FOUND, NOT_SELECTED, UNKNOWN_COMMAND, WRONG_PARAMETERS
from tests.unit.world import World

ID = bytes(range(16))
URI = b"jiaozi:000102030405060708090a0b0c0d0e0f"


def test_exact_bytes_of_both_files():
    files = ndef.files(ID)
    assert files[ndef.CC_FILE].hex() == "000f2000f600010406e104002e00ff"
    # SR + short record + well-known type; type length 1; payload length; "U"; no URI abbreviation
    assert files[ndef.NDEF_FILE] == b"\x00\x2c" + b"\xd1\x01\x28U\x00" + URI


@pytest.fixture
def card():
    device = World().device("wallet")
    assert device.card.process(apdu.select(apdu.NDEF_AID)) == b"\x90\x00"
    return device


def select_file(device, number):
    return device.card.process(bytes((0, 0xA4, 0, 0x0C, 2)) + number.to_bytes(2, "big"))


def read(device, offset, le):
    return device.card.process(bytes((0, 0xB0, offset >> 8, offset & 0xFF, le)))


def test_a_phone_reads_the_public_id_in_the_standard_s_order(card):
    """T4T 2.0, section 5.4: NDEF detection procedure."""
    assert select_file(card, 0xE103) == b"\x90\x00"
    cc = read(card, 0, 15)[:-2]
    assert cc[7:9] == b"\x04\x06"
    assert select_file(card, int.from_bytes(cc[9:11], "big")) == b"\x90\x00"
    length = int.from_bytes(read(card, 0, 2)[:-2], "big")
    message = b"".join(read(card, 2 + at, min(10, length - at))[:-2] for at in range(0, length, 10))
    assert message[5:] == b"jiaozi:" + card.id.hex().encode()


def test_reading_past_the_end_is_short_or_refused(card):
    select_file(card, 0xE103)
    assert read(card, 10, 0) == ndef.files(card.id)[0xE103][10:] + b"\x90\x00"
    assert read(card, 15, 1)[0] == WRONG_PARAMETERS
    assert read(card, 0xFFFF, 1)[0] == WRONG_PARAMETERS


def test_what_is_no_file_is_not_found(card):
    assert read(card, 0, 1)[0] == NOT_FOUND
    assert select_file(card, 0xE105)[0] == NOT_FOUND
    assert card.card.process(bytes.fromhex("00a4000002e103"))[0] == WRONG_PARAMETERS
    assert card.card.process(bytes.fromhex("00d6000001ff"))[0] == UNKNOWN_COMMAND  # UPDATE BINARY: read-only


def test_the_tag_and_the_purse_are_two_applications(card):
    card.select()
    assert select_file(card, 0xE103)[0] == NOT_SELECTED
    assert read(card, 0, 1)[0] == NOT_SELECTED
