"""Two real MicroPython processes tap: our drivers at both ends, two virtual PN532s and the air between them."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from host_tools.simulator.air import Air, Tap
from host_tools.simulator.endpoints import PtyEndpoint, child_uart
from host_tools.simulator.reactor import Reactor
from host_tools.simulator.virtual_pn532 import VirtualPn532
from tests import micropython

_END_S = 30  # no process may take longer: "never a hang"

_COMMON = """
import json, sys
from ports import unix
from drivers.errors import CardGone, ChipError
from drivers.nfc import NfcPort
uart = unix.open_uart({"env": "JIAOZI_NFC"}, 115200)
nfc = NfcPort(uart, unix)
"""

# Answers each command with itself (at most 256 bytes of it) and 9000; counts what it executes.
_ECHO_CARD = (
    _COMMON
    + """
executed = []
deferred = []
def process(apdu):
    executed.append(len(apdu))
    WORK
    return apdu[:256] + b"\\x90\\x00"
def after():
    deferred.append(len(executed))
nfc.start_listening()
while not nfc.poll():
    unix.wait([uart], 1000)
deselected = nfc.serve(process, after)
print(json.dumps({"executed": executed, "deferred": deferred, "deselected": deselected}))
"""
)

_READER = (
    _COMMON
    + """
answers = []
nfc.start_polling()
found = nfc.find_card(10000)
gone = ""
try:
    for n in LENGTHS:
        nfc.send(bytes((i & 0xff for i in range(n))))
        answers.append(nfc.receive().hex())
    nfc.release()
except CardGone as error:
    gone = str(error)
print(json.dumps({"found": found, "answers": answers, "gone": gone}))
"""
)


class Bench:
    """Two chips in one air, each with a device process."""

    def __init__(self, reactor: Reactor) -> None:
        self.air = Air()
        reactor.on_tick.append(self.air.check_waiting)
        self.reactor = reactor
        self.chips = {name: VirtualPn532(self.air, name) for name in ("reader", "card")}

    def start(self, name: str, script: str) -> subprocess.Popen[str]:
        ours, theirs = child_uart()
        self.reactor.attach(self.chips[name], ours)
        with theirs:
            environment = {"JIAOZI_NFC": f"fd:{theirs.fileno()}"}
            return micropython.start(script, environment=environment, pass_fds=[theirs.fileno()])

    def bring_together(self) -> None:
        self.air.bring_together(self.chips["reader"], self.chips["card"])


@contextmanager
def running(bench: Bench, card: str, reader: str) -> Iterator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    with bench.start("card", card) as card_process, bench.start("reader", reader) as reader_process:
        try:
            yield card_process, reader_process
        finally:
            card_process.kill()
            reader_process.kill()


def result(process: subprocess.Popen[str]) -> dict:
    output, errors = process.communicate(timeout=_END_S)
    assert process.returncode == 0, output + errors
    return json.loads(output.splitlines()[-1])


def tap(bench: Bench, lengths: list[int], work: str = "pass") -> tuple[dict, dict, Tap]:
    """One tap with command APDUs of these lengths; returns what reader and card saw, and the air's log."""
    reader = _READER.replace("LENGTHS", repr(lengths))
    with running(bench, _ECHO_CARD.replace("WORK", work), reader) as (card_process, reader_process):
        bench.bring_together()
        seen_by_reader = result(reader_process)
        assert not bench.air.has_field(bench.chips["reader"])  # switched off with `release`
        bench.air.separate()
        return seen_by_reader, result(card_process), bench.air.last_tap


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Reactor() as reactor:
        yield Bench(reactor)


def command(length: int) -> bytes:
    return bytes(i & 0xFF for i in range(length))


def test_apdus_go_both_ways_and_the_frames_are_the_standards(bench: Bench) -> None:
    reader, card, log = tap(bench, [5, 252, 253, 254, 261])
    assert reader["answers"] == [(command(n)[:256] + b"\x90\x00").hex() for n in (5, 252, 253, 254, 261)]
    assert card == {"executed": [5, 252, 253, 254, 261], "deferred": [1, 2, 3, 4, 5], "deselected": True}
    frames = [(frame.sender, frame.data) for frame in log.frames]
    assert frames[:4] == [
        ("reader", bytes.fromhex("e080")),  # RATS, FSD 256
        ("card", bytes.fromhex("057880d000")),  # ATS: FSC 256, 106 kbit/s, FWI 13, no CID, no NAD
        ("reader", b"\x02" + command(5)),  # I-block, number 0
        ("card", b"\x02" + command(5) + b"\x90\x00"),
    ]
    assert frames[-2:] == [("reader", b"\xc2"), ("card", b"\xc2")]  # S(DESELECT)
    # 252 and 253 bytes fit one frame out; 252 + 2 and more do not fit one frame back.
    assert [frame[0] for _sender, frame in frames[4:-2]] == [
        *(0x03, 0x13, 0xA2, 0x02),
        *(0x03, 0x13, 0xA2, 0x02),
        *(0x13, 0xA3, 0x02, 0x12, 0xA3, 0x03),
        *(0x12, 0xA2, 0x03, 0x13, 0xA2, 0x02),
    ]
    assert max(len(frame) for _sender, frame in frames) == 254  # and CRC: 256


def test_radio_time_is_what_the_bits_take(bench: Bench) -> None:
    _reader, _card, log = tap(bench, [20])
    bit, reply, following = 128 / 13.56, 1236 / 13.56, 1172 / 13.56
    exchanges = [(2, 5), (21, 23), (1, 1)]  # RATS, I-block, S(DESELECT), without CRC
    radio = sum((3 + 9 * (a + 2) + 2 + 9 * (b + 2)) * bit + reply + following for a, b in exchanges)
    anticollision = (10 + 2 + 18 + 3 + 18 + 2 + 45 + 3 + 81 + 2 + 27) * bit + 3 * reply + 2 * following
    assert log.radio_us == pytest.approx(radio + anticollision)


@pytest.mark.parametrize("lost", range(2, 8))
def test_a_lost_frame_is_asked_for_again_and_nothing_is_executed_twice(bench: Bench, lost: int) -> None:
    """Frames 2 to 7: I-block with chaining, R(ACK), rest, answer with chaining, R(ACK), rest."""
    bench.air.lose(lost)
    reader, card, log = tap(bench, [254])
    assert reader["answers"] == [(command(254) + b"\x90\x00").hex()]
    assert card["executed"] == [254]
    assert card["deselected"]
    assert not log.frames[lost].arrived
    # Rule 5 within the card's chain, rule 4 before: who was not heard is asked to say it again.
    repeat = next(frame for frame in log.frames[lost + 1 :] if frame.sender == "reader")
    assert repeat.data[0] & 0xFE == (0xA2 if lost >= 6 else 0xB2)


def test_a_card_that_works_long_asks_for_time(bench: Bench) -> None:
    reader, card, log = tap(bench, [5], work="nfc._work_since -= 1300; nfc.keep_alive(); nfc.keep_alive()")
    assert reader["answers"] == [(command(5) + b"\x90\x00").hex()]
    assert card["executed"] == [5]
    assert [frame.data.hex() for frame in log.frames[3:5]] == ["f201", "f201"]  # S(WTX), one more waiting time
    assert [frame.data[0] for frame in log.frames].count(0xF2) == 2


def test_a_reader_computes_while_the_card_does(bench: Bench) -> None:
    """`send` returns before the card has answered."""
    reader_script = _READER.replace("nfc.receive()", "wait_then_receive()").replace(
        "answers = []",
        """answers = []
def wait_then_receive():
    unix.sleep_ms(200)  # the answer arrives meanwhile
    start = unix.ticks_ms()
    answer = nfc.receive()
    assert unix.ticks_diff(unix.ticks_ms(), start) < 100
    return answer
""",
    )
    with running(bench, _ECHO_CARD.replace("WORK", "unix.sleep_ms(150)"), reader_script.replace("LENGTHS", "[7]")) as (
        card,
        reader,
    ):
        bench.bring_together()
        assert result(reader)["answers"] == [(command(7) + b"\x90\x00").hex()]
        assert result(card)["executed"] == [7]


# One activation after the other in the same two processes: a process start for each of 30 cuts would take a minute.
_CARD_FOR_CUTS = (
    _COMMON
    + """
def process(apdu):
    executed.append(len(apdu))
    return apdu + b"\\x90\\x00"
while True:
    executed = []
    nfc.start_listening()
    print("listening")
    while not nfc.poll():
        unix.wait([uart], 1000)
    print(json.dumps({"deselected": nfc.serve(process, lambda: None), "executed": executed}))
"""
)
_READER_FOR_CUTS = (
    _COMMON
    + """
while True:
    nfc.start_polling()
    print("polling")
    while not nfc.find_card(1000):
        pass
    try:
        nfc.send(b"\\x00\\x01\\x02\\x03")
        answer = nfc.receive()
        print("answer", answer.hex())
        nfc.release()
    except CardGone as error:
        print("gone", error)
"""
)


def test_the_card_may_leave_after_any_byte(bench: Bench) -> None:
    """Frames 2 and 3 of a tap are the command (5 + 2 bytes) and the answer (7 + 2): every byte is the last one once."""
    cuts = [(2, byte) for byte in range(8)] + [(3, byte) for byte in range(10)]
    with running(bench, _CARD_FOR_CUTS, _READER_FOR_CUTS) as (card, reader):
        assert card.stdout is not None
        assert reader.stdout is not None
        for frame, byte in cuts:
            bench.air.cut(frame, byte)
            assert card.stdout.readline() == "listening\n"
            assert reader.stdout.readline() == "polling\n"
            bench.bring_together()
            arrived = (frame, byte) == (3, 9)
            said = reader.stdout.readline()
            assert said == ("answer 000102039000\n" if arrived else "gone no answer from the card\n"), (frame, byte)
            executed = [4] if frame == 3 or byte == 7 else []
            assert json.loads(card.stdout.readline()) == {"deselected": False, "executed": executed}, (frame, byte)
            assert not bench.air.are_together()
        # Whole again afterwards
        bench.bring_together()
        assert card.stdout.readline() == "listening\n"
        assert reader.stdout.readline() == "polling\n"
        assert reader.stdout.readline() == "answer 000102039000\n"
        assert json.loads(card.stdout.readline()) == {"deselected": True, "executed": [4]}


def test_a_card_leaves_before_it_is_activated(bench: Bench) -> None:
    """The reader goes on looking, the card goes on listening; the next touch works."""
    with running(bench, _CARD_FOR_CUTS, _READER_FOR_CUTS) as (card, reader):
        assert card.stdout is not None
        assert reader.stdout is not None
        for byte in range(5):  # RATS and its CRC
            bench.air.cut(0, byte)
            if byte == 0:
                assert card.stdout.readline() == "listening\n"
                assert reader.stdout.readline() == "polling\n"
            bench.bring_together()
            while bench.air.are_together():
                time.sleep(0.005)
        bench.bring_together()
        assert reader.stdout.readline() == "answer 000102039000\n"
        assert json.loads(card.stdout.readline()) == {"deselected": True, "executed": [4]}


class NoisyUart:
    """A chip behind a bad wire: `damage` changes what the chip says, `drop` swallows what the host says."""

    def __init__(self, chip: VirtualPn532) -> None:
        self.chip = chip
        self.damage: Callable[[bytes], bytes] = lambda data: data
        self.drop: Callable[[bytes], bool] = lambda _data: False
        self.heard = b""  # what the host sent, whole
        self.on_output: Callable[[], None] | None = None
        self.on_baudrate: Callable[[int], None] | None = None

    def receive(self, data: bytes) -> None:
        self.heard += data
        if not self.drop(data):
            self.chip.receive(data)

    def take_output(self) -> bytes:
        data = self.chip.take_output()
        return self.damage(data) if data else b""


_OPEN = (
    _COMMON
    + """
try:
    print(nfc.open().hex())
    print(nfc._chip.command(2).hex())
except ChipError as error:
    print("ChipError", error)
"""
)
_OPENED = "32010607\n32010607\n"
_VERSION = bytes.fromhex("0000ff02fed4022a00")
_VERSION_ANSWER = bytes.fromhex("d50332010607")


def opened_over(noisy: NoisyUart) -> str:
    """What a device says that opens its radio over this wire."""
    ours, theirs = child_uart()
    with Reactor() as reactor, theirs:
        reactor.attach(noisy, ours)
        environment = {"JIAOZI_NFC": f"fd:{theirs.fileno()}"}
        return micropython.run(_OPEN, environment=environment, pass_fds=[theirs.fileno()], timeout_s=10)


@pytest.fixture
def noisy() -> NoisyUart:
    return NoisyUart(VirtualPn532(Air()))


@pytest.mark.parametrize(
    "garbage", ["00ff", "0000ff", "00ff05", "ffffff", "00", "0000ffffff7f", "00ff0100ff", "00" * 2000]
)
def test_garbage_between_frames_is_skipped(noisy: NoisyUart, garbage: str) -> None:
    noisy.damage = lambda data: bytes.fromhex(garbage) + data
    assert opened_over(noisy) == _OPENED


def test_a_lost_command_is_sent_again_once(noisy: NoisyUart) -> None:
    noisy.drop = lambda data: _VERSION in data and noisy.heard.count(_VERSION) == 1
    assert opened_over(noisy) == _OPENED
    assert noisy.heard.count(_VERSION) == 3


def test_a_damaged_answer_is_asked_for_again_without_executing_again(noisy: NoisyUart) -> None:
    damaged: list[bytes] = []

    def damage(data: bytes) -> bytes:
        if _VERSION_ANSWER in data and not damaged:
            damaged.append(data)
            return data.replace(_VERSION_ANSWER, b"\xd5\x03\x32\x01\x06\x0f")
        return data

    noisy.damage = damage
    assert opened_over(noisy) == _OPENED
    assert damaged
    assert noisy.heard.count(_VERSION) == 2  # one for each of the two calls, none repeated
    assert noisy.heard.count(bytes.fromhex("0000ffff0000")) == 1


def test_a_wire_that_always_damages_is_named(noisy: NoisyUart) -> None:
    noisy.damage = lambda data: data.replace(_VERSION_ANSWER, b"\xd5\x03\x32\x01\x06\x0f")
    assert opened_over(noisy) == "ChipError damaged answers from the PN532: check wiring\n"


def test_a_refused_command_is_named(noisy: NoisyUart) -> None:
    noisy.damage = lambda data: data.replace(bytes.fromhex("0000ff02fed5131800"), bytes.fromhex("0000ff01ff7f8100"))
    assert opened_over(noisy) == "ChipError PN532 refuses command 12\n"


def test_the_radio_runs_at_921600_baud(noisy: NoisyUart) -> None:
    assert opened_over(noisy) == _OPENED
    assert noisy.chip.baudrate == 921600
    assert noisy.heard.startswith(bytes.fromhex("5555" + "00" * 14))  # wake-up


def test_a_chip_that_is_not_there_is_named() -> None:
    """A UART that nobody answers: ChipError in good time, with what to do."""
    endpoint = PtyEndpoint()
    script = _COMMON + "\ntry:\n    nfc.start_polling()\nexcept ChipError as error:\n    print(error)\n"
    try:
        said = micropython.run(script, environment={"JIAOZI_NFC": endpoint.path}, timeout_s=10)
    finally:
        endpoint.close()
    assert "check wiring" in said
