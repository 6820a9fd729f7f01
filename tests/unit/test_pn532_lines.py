"""What the driver goes through on SPI as on I2C: damaged, aborted and late answers, a chip that is not there."""

import pytest

from host_tools.simulator.air import Air
from tests.unit.buses import POLL, POLL_IN, Bench, ChipError, pn532

VERSION = bytes.fromhex("32010607")
VERSION_FRAME = bytes.fromhex("0000ff06fad50332010607e800")
KINDS = ("spi", "i2c")


def written(bench: Bench) -> list[str]:
    """The frames that the host wrote, in the order of the bus."""
    first = b"\x01" if type(bench.face).__name__ == "SpiFace" else b"\x48"
    return [host[1:].hex() for host, _ in bench.face.log if host[:1] == first]


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Bench:
    bench = Bench(request.param)
    bench.driver.open()
    bench.face.log.clear()
    return bench


def test_a_damaged_answer_is_asked_for_again_without_executing_again(bench: Bench) -> None:
    damaged: list[bytes] = []

    def damage(frame: bytes) -> bytes:
        if frame == VERSION_FRAME and not damaged:
            damaged.append(frame)
            return frame.replace(VERSION, b"\x32\x01\x06\x0f")
        return frame

    bench.face.outbox.damage = damage
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == VERSION
    assert damaged
    assert written(bench) == ["0000ff02fed4022a00", "0000ffff0000"]


def test_a_bus_that_always_damages_is_named(bench: Bench) -> None:
    bench.face.outbox.damage = lambda frame: frame.replace(VERSION, b"\x32\x01\x06\x0f")
    with pytest.raises(ChipError, match="damaged answers from the PN532: check wiring"):
        bench.driver.command(pn532.GET_FIRMWARE_VERSION)
    bench.face.outbox.damage = lambda frame: frame
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == VERSION


@pytest.mark.parametrize("head", ["0000ff06fb", "0000ffffffffff02", "0000ffffffffff01", "ffffffffff", "0000ffff00"])
def test_a_frame_whose_length_is_damaged_does_not_hide_the_next_one(bench: Bench, head: str) -> None:
    bad = bytes.fromhex(head)
    bench.face.outbox.damage = lambda frame: bad + frame[len(bad) :] if frame == VERSION_FRAME else frame
    with pytest.raises(ChipError, match="does not finish command 02"):
        bench.driver.command(pn532.GET_FIRMWARE_VERSION)
    bench.face.outbox.damage = lambda frame: frame
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == VERSION
    assert written(bench)[-2:] == ["0000ff00ff00", "0000ff02fed4022a00"]  # aborted, and once is enough


def test_a_damaged_ack_costs_nothing_since_the_answer_comes(bench: Bench) -> None:
    damaged: list[bytes] = []

    def damage(frame: bytes) -> bytes:
        if not damaged:
            damaged.append(frame)
            return b"\xff" * len(frame)
        return frame

    bench.face.outbox.damage = damage
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == VERSION
    assert damaged == [bytes.fromhex("0000ff00ff00")]
    assert written(bench) == ["0000ff02fed4022a00"]


def test_a_lost_command_is_sent_again_once(bench: Bench) -> None:
    """The chip hears a damaged frame, of which it says nothing (6.2.1.5)."""
    heard = bench.face.outbox.tell
    told: list[bytes] = []

    def tell(data: bytes) -> None:
        told.append(data)
        heard(data if len(told) > 1 else data[:-2] + b"\xff\x00")

    bench.face.outbox.tell = tell
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == VERSION
    assert told == [pn532.frame(b"\xd4\x02")] * 2


def test_an_endless_search_is_aborted_by_an_ack(bench: Bench) -> None:
    bench.driver.start_list_passive_target()
    assert bench.driver.receive(1000) is None
    bench.face.log.clear()
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == VERSION
    assert written(bench) == ["0000ff00ff00", "0000ff02fed4022a00"]


def test_an_answer_that_nobody_fetched_is_not_taken_for_the_next_one(bench: Bench) -> None:
    bench.driver.send(pn532.GET_FIRMWARE_VERSION)
    assert bench.driver.command(pn532.SET_PARAMETERS, b"\x00") == b""
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == VERSION


def test_a_refused_command_is_named(bench: Bench) -> None:
    with pytest.raises(ChipError, match="PN532 refuses command fe"):
        bench.driver.command(0xFE)


def test_a_card_waits_for_a_reader_as_long_as_it_takes(bench: Bench) -> None:
    """TgInitAsTarget: a minute of "not ready", each look a short transaction, and the next command works."""
    bench.driver.start_init_as_target(b"\x12\x34\x56")
    assert bench.driver.receive(60_000) is None
    assert bench.port.now_ms > 60_000
    assert {len(host) for host, _ in bench.face.log[-1000:]} <= {1, 2}
    assert bench.driver.command(pn532.GET_FIRMWARE_VERSION) == VERSION


@pytest.mark.parametrize("kind", KINDS)
def test_a_chip_that_is_not_there_is_named_within_a_second(kind: str) -> None:
    bench = Bench(kind, is_there=False)
    with pytest.raises(ChipError, match="no answer from the PN532: check wiring, power and its jumpers"):
        bench.driver.open()
    assert bench.port.now_ms < 1000  # of the bench's own clock


def test_select_poll_is_answered_within_a_tick(bench: Bench) -> None:
    """A look lasts most of the 10 ms in which stock MicroPython looks again, so that a RATS is not slept through."""
    line, port = bench.line, bench.port
    assert line.ioctl(10, 0) == -22  # a descriptor it has not
    before = port.now_ms
    assert line.ioctl(POLL, POLL_IN) == 0
    assert port.now_ms - before == 8
    bench.face.outbox.looks = 5
    line.write(pn532.frame(b"\xd4\x02"))
    before = port.now_ms
    assert line.ioctl(POLL, POLL_IN) == POLL_IN
    assert port.now_ms - before == 5
    looks = len(bench.face.log)
    assert line.ioctl(POLL, POLL_IN) == POLL_IN  # still
    assert line.read() == bytes.fromhex("0000ff00ff00")
    assert len(bench.face.log) == looks  # what a look has found is not looked for again


@pytest.mark.parametrize("fill", [0x00, 0x80, 0xFF])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_behind_a_frame_is_skipped(kind: str, fill: int) -> None:
    """However close to the end of the read a frame ends, and whatever the chip sends then."""
    air = Air()
    reader, card = Bench(kind, air=air), Bench(kind, air=air)
    for bench in (reader, card):
        bench.face.fill = fill
        bench.driver.open()
    air.bring_together(reader.chip, card.chip)
    card.driver.start_init_as_target(b"\x12\x34\x56")
    reader.driver.start_list_passive_target()
    assert reader.driver.receive(1000) == bytes.fromhex("01 01 0004 20 04 08123456")
    for count in (1, 2, 20, 252, 253, 254, *range(255, 263)):
        block = bytes(i & 0xFF for i in range(count))
        reader.driver.start_communicate_thru(block, 25)
        assert card.driver.receive(1000) == b"\x00" + block
        assert card.driver.response_to_initiator(block[::-1]) == 0
        assert reader.driver.receive(1000) == b"\x00" + block[::-1]
        card.driver.start_get_initiator_command()


def test_a_rate_whose_answer_nobody_reads_leaves_no_answer_behind(bench: Bench) -> None:
    bench.line.write(pn532.frame(b"\xd4\x10\x07"))
    assert bench.line.ioctl(POLL, POLL_IN) == POLL_IN
    bench.line.write(pn532.frame(b"\xd4\x02"))
    assert written(bench) == ["0000ff02fed4022a00"]
    bench.face.outbox.looks = 0
    assert bench.line.read() == bytes.fromhex("0000ff00ff00")
    assert bench.line.read().startswith(VERSION_FRAME)
