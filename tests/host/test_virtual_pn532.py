"""The virtual chip against the manual: exact bytes of UM0701-02 (rev. 02), chapter by chapter."""

import pytest

from host_tools.simulator.air import Air
from host_tools.simulator.pn532_frames import information_frame
from host_tools.simulator.pn532_parts import crc_a
from host_tools.simulator.virtual_pn532 import VirtualPn532

ACK = "0000ff00ff00"
SYNTAX_ERROR = "0000ff01ff7f8100"
TARGET_PARAMETERS = "0400" + "123456" + "20" + "00" * 18 + "00" * 10 + "00" + "00"  # from SENS_RES on


@pytest.fixture
def chip() -> VirtualPn532:
    return VirtualPn532(Air())


def say(chip: VirtualPn532, wire: str) -> str:
    chip.receive(bytes.fromhex(wire))
    return chip.take_output().hex()


def run(chip: VirtualPn532, command: str) -> str:
    """A command's code and data; returns the answer's from TFI on, "" while there is none."""
    said = say(chip, information_frame(bytes.fromhex("d4" + command)).hex())
    assert said.startswith(ACK)
    return payload(said[len(ACK) :])


def payload(wire: str) -> str:
    """The payload of one frame, its checksums checked here by hand."""
    data = bytes.fromhex(wire)
    if not data:
        return ""
    assert data[:3] == b"\x00\x00\xff"
    head, length = (8, int.from_bytes(data[5:7], "big")) if data[3:5] == b"\xff\xff" else (5, data[3])
    assert sum(data[5:8] if head == 8 else data[3:5]) & 0xFF == 0
    assert len(data) == head + length + 2
    assert sum(data[head:]) & 0xFF == 0
    return data[head:-2].hex()


@pytest.mark.parametrize(
    ("host", "chip_says"),
    [
        ("0000ff02fed4022a00", ACK + "0000ff06fad50332010607e800"),  # GetFirmwareVersion
        ("0000ff05fbd4140100001700", ACK + "0000ff02fed5151600"),  # SAMConfiguration, normal mode
        ("0000ff03fdd410071500", ACK + "0000ff02fed5111a00"),  # SetSerialBaudRate
        ("0000ff03fdd412001a00", ACK + "0000ff02fed5131800"),  # SetParameters
        ("0000ff04fcd4320102f700", ACK + "0000ff02fed533f800"),  # RFConfiguration
        ("0000ff02fed4fe2e00", ACK + SYNTAX_ERROR),  # no such command
        ("0000ff02fed432fa00", ACK + SYNTAX_ERROR),  # a parameter is missing
    ],
    ids=["version", "sam", "baud rate", "parameters", "rf", "unknown", "short"],
)
def test_frames_of_the_manual(chip: VirtualPn532, host: str, chip_says: str) -> None:
    assert say(chip, host) == chip_says


@pytest.mark.parametrize(
    "bad",
    [
        "0000ff02ffd4022a00",  # length checksum
        "0000ff02fed4022b00",  # data checksum
        "0000ffffff0002ffd4022a00",  # extended length checksum
        "0000ff00ff00",  # ACK with nothing to abort
        "5555000000000000",
        "00ff00",
    ],
)
def test_bad_frames_are_ignored_and_the_next_one_is_understood(chip: VirtualPn532, bad: str) -> None:
    assert say(chip, bad) == ""
    assert say(chip, "0000ff02fed4022a00").endswith(ACK + "0000ff06fad50332010607e800")


def test_frames_may_come_byte_by_byte_and_extended(chip: VirtualPn532) -> None:
    said = "".join(say(chip, f"{byte:02x}") for byte in bytes.fromhex("0000ffffff0002fed4022a00"))
    assert said == ACK + "0000ff06fad50332010607e800"


def test_the_longest_frame_comes_back(chip: VirtualPn532) -> None:
    """Diagnose, communication line test, 262 bytes: an extended frame each way (7.2.1)."""
    data = "00" + bytes(i & 0xFF for i in range(262)).hex()
    assert run(chip, "00" + data) == "d501" + data


def test_nack_repeats_the_answer_and_does_not_execute_again(chip: VirtualPn532) -> None:
    answer = say(chip, "0000ff02fed4022a00")[len(ACK) :]
    assert say(chip, "0000ffff0000") == answer


def test_sleep_and_wake_up(chip: VirtualPn532) -> None:
    assert run(chip, "1690") == "d51700"
    assert say(chip, "0000ff02fed4022a00") == ""  # its bytes wake the chip, but are lost
    chip = VirtualPn532(Air())
    run(chip, "1690")
    assert say(chip, "5555" + "00" * 14 + "0000ff02fed4022a00") == ACK + "0000ff06fad50332010607e800"


def test_the_rate_changes_after_the_hosts_ack(chip: VirtualPn532) -> None:
    assert run(chip, "1007") == "d511"
    assert chip.baudrate == 115200
    say(chip, ACK)
    assert chip.baudrate == 921600


def test_an_endless_search_ends_by_ack(chip: VirtualPn532) -> None:
    assert run(chip, "4a0100") == ""
    assert say(chip, ACK) == ""
    assert run(chip, "02") == "d50332010607"
    run(chip, "3205ff0100")
    assert run(chip, "4a0100") == "d54b00"
    assert run(chip, "066339") == "d50726"  # SENS_REQ is still in the FIFO: nobody answered


def test_registers_are_kept(chip: VirtualPn532) -> None:
    assert run(chip, "086302a06303b1") == "d509"
    assert run(chip, "0663026303") == "d507a0b1"
    assert run(chip, "066302ff") == "7f"


def test_crc_a_of_the_standard() -> None:
    """ISO/IEC 14443-3, annex B: 0000 -> A01E, 1234 -> 26CF; HLTA is 5000 57CD."""
    assert [crc_a(bytes.fromhex(data)).hex() for data in ("0000", "1234", "5000")] == ["a01e", "26cf", "57cd"]


class Pair:
    """Two chips that touch; the first command byte decides who is reader."""

    def __init__(self) -> None:
        self.air = Air()
        self.reader, self.card = VirtualPn532(self.air), VirtualPn532(self.air)
        self.air.bring_together(self.reader, self.card)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_raw_activation_and_exchange(pair: Pair) -> None:
    """Both hosts do ISO-DEP themselves (SetParameters 00)."""
    run(pair.reader, "1200")
    run(pair.card, "1200")
    assert run(pair.reader, "4a0100") == ""  # 7.3.5, endless
    assert run(pair.card, "8c01" + TARGET_PARAMETERS) == ""
    # One card, number 1, SENS_RES high byte first, SEL_RES, UID 08 and the host's three bytes
    assert payload(pair.reader.take_output().hex()) == "d54b" + "01" + "01" + "0004" + "20" + "04" + "08123456"
    assert run(pair.reader, "42e080") == ""
    assert payload(pair.card.take_output().hex()) == "d58d" + "00" + "e080"
    assert run(pair.card, "90" + "0578807002") == "d59100"
    assert payload(pair.reader.take_output().hex()) == "d543" + "00" + "0578807002"
    assert run(pair.card, "88") == ""
    assert run(pair.reader, "42c2") == ""
    assert payload(pair.card.take_output().hex()) == "d589" + "00" + "c2"
    run(pair.card, "90c2")
    pair.reader.take_output()
    assert run(pair.card, "88") == ""
    assert run(pair.reader, "320100") == "d533"
    assert payload(pair.card.take_output().hex()) == "d58929"  # released by its initiator
    assert run(pair.card, "88") == "d58929"
    assert run(pair.card, "90c2") == "d59129"
    assert run(pair.card, "8a") == "d58b0200"
    assert run(pair.reader, "42c2") == "d54301"  # nobody there: time-out


def select(pair: Pair) -> None:
    """Up to the SAK, without automatic functions."""
    run(pair.reader, "1200")
    run(pair.reader, "4a0100")
    run(pair.card, "8c01" + TARGET_PARAMETERS)
    assert pair.reader.take_output() != b""


def test_a_frame_that_comes_while_the_host_works_is_kept(pair: Pair) -> None:
    select(pair)
    run(pair.reader, "42e080")
    pair.card.take_output()
    run(pair.card, "900578807002")
    pair.reader.take_output()
    run(pair.reader, "420200")
    assert pair.card.take_output() == b""
    assert run(pair.card, "88") == "d589000200"


def test_the_chips_own_iso_dep_on_both_sides(pair: Pair) -> None:
    """Automatic RATS (bit 4) and ISO 14443-4 PICC (bit 5), as Adafruit-style drivers use them; 64-byte frames."""
    run(pair.card, "1220")
    run(pair.reader, "4a0100")
    assert run(pair.card, "8c05" + TARGET_PARAMETERS[:-2] + "0180") == "d58d08e050"
    ats = "067533920380"
    assert payload(pair.reader.take_output().hex()) == "d54b0101000420" + "0408123456" + ats
    assert run(pair.card, "86") == ""
    command = bytes(range(100)).hex()
    assert run(pair.reader, "4001" + command) == ""
    assert payload(pair.card.take_output().hex()) == "d58700" + command
    response = bytes(range(150)).hex()
    assert run(pair.card, "8e" + response) == "d58f00"
    assert payload(pair.reader.take_output().hex()) == "d54100" + response
    # 61 bytes fit: 100 in two blocks, 150 in three, each part but the last acknowledged
    assert [len(frame.data) for frame in pair.air.last_tap.frames[2:]] == [62, 1, 40, 62, 1, 62, 1, 29]
    assert run(pair.card, "86") == ""
    assert run(pair.reader, "4401") == "d54500"
    assert payload(pair.card.take_output().hex()) == "d58729"


def test_commands_out_of_context(pair: Pair) -> None:
    assert run(pair.card, "88") == "d58927"
    assert run(pair.card, "90c2") == "d59127"
    assert run(pair.reader, "400100") == "d54127"
    assert run(pair.reader, "5601" + "00" * 2) == "d55701"  # NFC-DEP: nobody answers


def test_a_frame_whose_crc_the_host_makes_wrongly_is_not_answered(pair: Pair) -> None:
    select(pair)
    run(pair.reader, "08630200630300")  # CRC off both ways
    assert run(pair.reader, "42e0800000") == "d54301"
    assert run(pair.reader, "42e080" + crc_a(b"\xe0\x80").hex()) == ""
    assert payload(pair.card.take_output().hex()) == "d58d00e080"
    run(pair.card, "900578807002")
    answer = bytes.fromhex("0578807002")
    assert payload(pair.reader.take_output().hex()) == "d54300" + (answer + crc_a(answer)).hex()
