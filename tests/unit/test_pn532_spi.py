"""PN532 over SPI, byte by byte against the chip's SPI face (UM0701-02, 6.2.5)."""

from typing import Any

import pytest

from host_tools.simulator.air import Air
from host_tools.simulator.pn532_bus_faces import SpiFace
from host_tools.simulator.virtual_pn532 import VirtualPn532
from tests.unit.buses import Bench, ChipError, Port, Spi, pn532, pn532_spi

WAIT_FOR_FRAME = ["0200 > 0000", "0200 > 0001"]  # status read: not ready, ready
FETCHED_ACK = "03000000000000 > 000000ff00ff00"


def fetched(frame: str, count: int = 32) -> str:
    """Data read: the chip answers while it is clocked, and fills up behind the frame."""
    return "03" + "00" * count + " > 00" + frame + "00" * (count - len(frame) // 2)


def command(frame: str, answer: str) -> list[str]:
    """Data write, the chip's ACK and its answer."""
    written = "01" + frame + " > " + "00" * (1 + len(frame) // 2)
    return [written, *WAIT_FOR_FRAME, FETCHED_ACK, *WAIT_FOR_FRAME, fetched(answer)]


SAM_CONFIGURATION = command("0000ff05fbd4140100001700", "0000ff02fed5151600")
GET_FIRMWARE_VERSION = command("0000ff02fed4022a00", "0000ff06fad50332010607e800")
SET_PARAMETERS = command("0000ff03fdd412001a00", "0000ff02fed5131800")
ABORT = ["010000ff00ff00 > 00000000000000", "0200 > 0000"]  # ACK; and is anything left to be fetched?


@pytest.fixture
def bench() -> Bench:
    return Bench("spi")


def test_opening_byte_by_byte(bench: Bench) -> None:
    """Selected without a byte to wake it; no rate is set, which is the UART's; the ACK that would set it changes
    nothing.
    """
    assert bench.driver.open() == bytes.fromhex("32010607")
    rate = reversed(ABORT)  # only looked for an answer, and the ACK
    assert bench.log() == [" > ", *ABORT, *SAM_CONFIGURATION, *GET_FIRMWARE_VERSION, *rate, *SET_PARAMETERS]
    assert bench.chip.baudrate == 115200


def test_an_extended_frame_of_262_bytes_each_way(bench: Bench) -> None:
    """Diagnose, communication line test (7.2.1): it comes back. Fetched in one transaction."""
    data = bytes([0, *range(256), *range(5)])
    assert bench.driver.command(0x00, data) == data
    payload = b"\xd4\x00" + data
    length = len(payload).to_bytes(2, "big")
    head = "0000ffffff" + length.hex() + f"{-sum(length) & 0xFF:02x}"
    checksum, answered = -sum(payload) & 0xFF, -sum(payload) - 2 & 0xFF
    written, *_, answer = bench.log()
    assert len(data) == 262
    assert written.startswith("01" + head + payload.hex() + f"{checksum:02x}00 > ")
    assert answer == fetched(head + "d501" + data.hex() + f"{answered:02x}00", 275)


def test_a_chip_that_is_not_ready_is_only_asked_for_its_status(bench: Bench) -> None:
    bench.face.outbox.looks = 30
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == bytes.fromhex("32010607")
    asked = ["0200 > 0000"] * 30 + ["0200 > 0001"]
    written, *then = bench.log()
    assert written.startswith("010000ff02")
    assert then == [*asked, FETCHED_ACK, *asked, GET_FIRMWARE_VERSION[-1]]
    assert bench.port.waits == 2


def test_a_sleeping_chip_wakes_when_it_is_selected_for_2_ms(bench: Bench) -> None:
    bench.driver.open()
    bench.driver.command(0x16, b"\x20")  # PowerDown, woken by SPI
    assert bench.chip.is_asleep
    before = bench.port.now_ms
    bench.line.write(b"\x55\x55" + bytes(14))
    assert bench.port.now_ms - before == 2
    assert not bench.chip.is_asleep
    assert bench.log()[-1] == " > "
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == bytes.fromhex("32010607")


def test_a_chip_that_sleeps_unasked_is_woken_with_the_repetition(bench: Bench) -> None:
    bench.driver.command(0x16, b"\x20")
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == bytes.fromhex("32010607")


@pytest.mark.parametrize(("mode", "lsb_first"), [(0, False), (1, True), (2, True), (3, True)])
def test_the_chip_understands_mode_0_and_the_least_significant_bit_first_alone(mode: int, lsb_first: bool) -> None:
    face = SpiFace(VirtualPn532(Air()))
    spi = Spi(face)

    def open_otherwise(spec: dict, **_right: Any) -> tuple[Spi, Any]:
        return spi.open(spec, mode, lsb_first)

    port = Port()
    with pytest.raises(ChipError, match="no answer"):
        pn532.Pn532(pn532_spi.SpiLine(open_otherwise, {}, port), port).open()


def test_a_frame_that_is_half_fetched_stays_ready() -> None:
    """The face's own rule, which punishes a driver that does not fetch all of a frame."""
    chip = VirtualPn532(Air())
    face = SpiFace(chip)
    face.outbox.looks = 0

    def transaction(said: str) -> str:
        face.select()
        face.exchange(bytes(int(f"{byte:08b}"[::-1], 2) for byte in bytes.fromhex(said)))
        face.deselect()
        return face.log[-1][1].hex()

    transaction("01" + "0000ff02fed4022a00")
    assert transaction("03000000") == "000000ff"
    assert transaction("0200") == "0001"
    assert transaction("0300000000") == "0000ff0000"
    assert transaction("03" + "00" * 13) == "00" + "0000ff06fad50332010607e800"
    assert transaction("0200") == "0000"
