"""PN532 over I2C, byte by byte against the chip's I2C face (UM0701-02, 6.2.4)."""

import pytest

from host_tools.simulator.air import Air
from host_tools.simulator.pn532_bus_faces import I2cFace
from host_tools.simulator.virtual_pn532 import VirtualPn532
from tests.unit.buses import Bench, pn532

WAIT_FOR_FRAME = ["49 > 00", "49 > 01"]  # one byte read: not ready, ready
ACK = [*WAIT_FOR_FRAME, "49 > 010000ff00ff00"]


def answer(frame: str, count: int = 32) -> list[str]:
    """Fetched with the ready byte before it; nothing follows in the chip."""
    return [*WAIT_FOR_FRAME, "49 > 01" + frame + "00" * (count - len(frame) // 2)]


SAM_CONFIGURATION = ["480000ff05fbd4140100001700 > ", *ACK, *answer("0000ff02fed5151600")]
GET_FIRMWARE_VERSION = ["480000ff02fed4022a00 > ", *ACK, *answer("0000ff06fad50332010607e800")]
SET_PARAMETERS = ["480000ff03fdd412001a00 > ", *ACK, *answer("0000ff02fed5131800")]
ABORT = ["480000ff00ff00 > ", "49 > 00"]  # ACK; and is anything left to be fetched?


@pytest.fixture
def bench() -> Bench:
    return Bench("i2c")


def test_opening_byte_by_byte(bench: Bench) -> None:
    """No rate is set, which is the UART's; the ACK that would set it changes nothing."""
    assert bench.driver.open() == bytes.fromhex("32010607")
    rate = reversed(ABORT)  # only looked for an answer, and the ACK
    assert bench.log() == [*ABORT, *SAM_CONFIGURATION, *GET_FIRMWARE_VERSION, *rate, *SET_PARAMETERS]
    assert bench.chip.baudrate == 115200


def test_an_extended_frame_of_262_bytes_each_way() -> None:
    """A reader's InCommunicateThru (7.3.9) and what the card's TgGetInitiatorCommand (7.3.20) says of it."""
    air = Air()
    reader, card = Bench("i2c", air=air), Bench("i2c", air=air)
    for bench in (reader, card):
        bench.driver.open()
    air.bring_together(reader.chip, card.chip)
    card.driver.start_init_as_target(b"\x12\x34\x56")
    reader.driver.start_list_passive_target()
    assert reader.driver.receive(1000) == bytes.fromhex("01 01 0004 20 04 08123456")
    block = bytes([*range(256), *range(5)])
    reader.driver.start_communicate_thru(block, 25)
    reader.log()
    card.log()
    assert card.driver.receive(1000) == b"\x00" + block
    *_, said = card.log()
    payload = b"\xd5\x8d\x00" + block
    assert len(payload) == 264
    frame = "0000ffffff0108f7" + payload.hex() + f"{-sum(payload) & 0xFF:02x}00"
    assert said == "49 > 01" + frame + "00" * (275 - len(frame) // 2)
    assert card.driver.response_to_initiator(block) == 0
    checksum = -(0xD4 + 0x90 + sum(block)) & 0xFF
    assert card.log()[0] == "480000ffffff0107f8d490" + block.hex() + f"{checksum:02x}00 > "
    assert reader.driver.receive(1000) == b"\x00" + block


def test_a_chip_that_is_not_ready_is_asked_for_one_byte_alone(bench: Bench) -> None:
    bench.face.outbox.looks = 30
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == bytes.fromhex("32010607")
    asked = ["49 > 00"] * 30 + ["49 > 01"]
    assert bench.log() == [GET_FIRMWARE_VERSION[0], *asked, ACK[-1], *asked, GET_FIRMWARE_VERSION[-1]]
    assert bench.port.waits == 2


def test_a_chip_that_is_busy_does_not_acknowledge_and_is_asked_again(bench: Bench) -> None:
    assert isinstance(bench.face, I2cFace)
    bench.face.busy = 3
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == bytes.fromhex("32010607")
    refused = GET_FIRMWARE_VERSION[0] + "-"
    assert bench.log()[:4] == [refused] * 3 + GET_FIRMWARE_VERSION[:1]
    bench.line.write(pn532.frame(b"\xd4\x02"))
    bench.face.busy = 2
    assert bench.line.read() == b""
    bench.face.outbox.looks = 0
    assert bench.line.read() == b""
    assert bench.line.read() == bytes.fromhex("0000ff00ff00")
    assert bench.log()[-4:] == ["49 > -", "49 > -", "49 > 01", ACK[-1]]


def test_a_chip_that_gets_busy_between_two_looks_loses_nothing(bench: Bench) -> None:
    face = bench.face
    assert isinstance(face, I2cFace)
    face.outbox.looks = 0
    read = face.read

    def busy_after_a_look(address: int, count: int) -> bytes | None:
        answer = read(address, count)
        face.read = read
        face.busy = 1
        return answer

    bench.line.write(pn532.frame(b"\xd4\x02"))
    face.read = busy_after_a_look
    assert bench.line.read() == b""
    assert bench.log()[-2:] == ["49 > 01", "49 > -"]
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == bytes.fromhex("32010607")


def test_a_sleeping_chip_is_woken_by_its_address(bench: Bench) -> None:
    bench.driver.command(0x16, b"\x80")  # PowerDown, woken by I2C
    assert bench.chip.is_asleep
    bench.log()
    before = bench.port.now_ms
    bench.line.write(b"\x55\x55" + bytes(14))  # for a UART
    assert (bench.log(), bench.port.now_ms) == ([], before)
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == bytes.fromhex("32010607")
    assert bench.log()[:2] == [GET_FIRMWARE_VERSION[0] + "-", GET_FIRMWARE_VERSION[0]]


def test_what_is_not_fetched_of_a_frame_is_lost() -> None:
    """The face's own rule, which punishes a driver that reads too little; NACK brings the answer back (6.2.1.5)."""
    face = I2cFace(VirtualPn532(Air()))
    face.outbox.looks = 0
    assert face.write(bytes.fromhex("48" + "0000ff02fed4022a00"))
    assert face.read(0x49, 1) == b"\x01"
    assert face.read(0x49, 7) == bytes.fromhex("01" + "0000ff00ff00")
    assert face.read(0x49, 7) == bytes.fromhex("01" + "0000ff06fad5")
    assert face.read(0x49, 7) == bytes(7)
    assert face.write(bytes.fromhex("48" + "0000ffff0000"))
    assert face.read(0x49, 14) == bytes.fromhex("01" + "0000ff06fad50332010607e800")
    assert not face.write(bytes.fromhex("4a" + "0000ff02fed4022a00"))  # another's address
    assert face.read(0x48, 1) is None  # not a read
