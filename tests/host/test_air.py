"""The air and what carries bytes to it: timing, cuts, reach; reactor and endpoints; one air for several processes."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
import serial

from host_tools.simulator import air as air_module
from host_tools.simulator.air import Air, Identity
from host_tools.simulator.endpoints import PtyEndpoint, child_uart, open_endpoint
from host_tools.simulator.named_air import join, say, socket_path
from host_tools.simulator.reactor import Reactor, serve_url
from host_tools.simulator.virtual_pn532 import VirtualPn532

VERSION_COMMAND = bytes.fromhex("0000ff02fed4022a00")
VERSION_ANSWER = bytes.fromhex("0000ff00ff00" + "0000ff06fad50332010607e800")


class FakeChip:
    """A radio without a host: as card it echoes, as reader it remembers."""

    def __init__(self, air: Air, answers: bool = True) -> None:
        self.air = air
        self.answers = answers
        self.got: list[bytes | None] = []
        self.card_got: list[bytes] = []
        self.field_losses = 0
        self.retries = 0

    def card_identity(self) -> Identity | None:
        return Identity(b"\x04\x00", b"\x08\x01\x02\x03", 0x20)

    def card_selected(self) -> None: ...

    def card_frame(self, data: bytes) -> None:
        self.card_got.append(data)
        if self.answers:
            self.air.answer(self, data[::-1])

    def card_field_lost(self) -> None:
        self.field_losses += 1

    def reader_retry(self) -> None:
        self.retries += 1

    def send(self, data: bytes, timeout_us: float = 1000.0) -> None:
        self.air.send(self, data, timeout_us, self.got.append)


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def touching(air: Air) -> tuple[FakeChip, FakeChip]:
    reader, card = FakeChip(air), FakeChip(air)
    air.bring_together(reader, card)
    assert air.select(reader) is not None
    return reader, card


def test_anticollision_takes_what_its_bits_take(air: Air, touching: tuple[FakeChip, FakeChip]) -> None:
    """REQA 7 bits; ATQA 2, SDD_REQ 2, UID and BCC 5, SEL_REQ 9, SAK 3 bytes (14443-3: 9 bits a byte, FDT 1236/1172)."""
    bits = (1 + 7 + 2) + (1 + 18 + 1) + (1 + 18 + 2) + (1 + 45 + 1) + (1 + 81 + 2) + (1 + 27 + 1)
    assert air.last_tap.radio_us == pytest.approx((bits * 128 + 3 * 1236 + 2 * 1172) / 13.56)


def test_a_full_frame_takes_22_ms(air: Air, touching: tuple[FakeChip, FakeChip]) -> None:
    reader, _card = touching
    reader.send(bytes(254))
    sent, answered = air.last_tap.frames
    assert sent.end_us - sent.start_us == pytest.approx((1 + 9 * 256 + 2) * 128 / 13.56)
    assert answered.start_us - sent.end_us == pytest.approx(1236 / 13.56)
    assert answered.end_us == air.last_tap.radio_us


@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize("byte", range(6))
def test_a_cut_frame_never_arrives(air: Air, frame: int, byte: int) -> None:
    reader, card = FakeChip(air), FakeChip(air)
    air.cut(frame, byte)
    air.bring_together(reader, card)
    air.select(reader)
    reader.send(b"\x02\x00\x01")  # 5 bytes with CRC
    whole = byte >= 5
    assert card.card_got == ([b"\x02\x00\x01"] if frame == 1 or whole else [])
    assert reader.got == ([b"\x01\x00\x02"] if frame == 1 and whole else [None])
    assert card.field_losses == 1
    last = air.last_tap.frames[-1]
    assert last.arrived == whole
    assert last.end_us - last.start_us == pytest.approx(
        (1 + 9 * min(byte, 5) + (2 if frame == 0 else 1)) * 128 / 13.56 if byte else 0
    )
    assert not air.are_together()
    assert air.select(reader) is None
    # The cut was for that tap only
    air.bring_together(reader, card)
    assert air.select(reader) is not None
    reader.send(b"\x02")
    assert reader.got[-1] == b"\x02"


def test_a_lost_frame_costs_the_waiting_time_and_nobody_leaves(air: Air) -> None:
    reader, card = FakeChip(air), FakeChip(air)
    air.lose(0)
    air.bring_together(reader, card)
    air.select(reader)
    before = air.last_tap.radio_us
    reader.send(b"\x02", 50_000.0)
    assert reader.got == [None]
    assert air.last_tap.radio_us - before == pytest.approx(50_000 + (1172 + (1 + 27 + 2) * 128) / 13.56)
    reader.send(b"\x02")
    assert reader.got == [None, b"\x02"]
    assert card.field_losses == 0


def test_a_third_chip_reaches_nobody(air: Air, touching: tuple[FakeChip, FakeChip]) -> None:
    reader, card = touching
    third = FakeChip(air)
    assert air.select(third) is None
    third.send(b"\x02")
    assert third.got == [None]
    assert not air.answer(third, b"\x02")
    assert card.card_got == []
    air.separate()
    assert (reader.field_losses, card.field_losses) == (0, 1)


def test_a_card_with_its_own_field_on_is_none(air: Air) -> None:
    one, other = FakeChip(air), FakeChip(air)
    air.bring_together(one, other)
    air.set_field(other, True)
    assert air.select(one) is None
    air.set_field(other, False)
    assert air.select(one) is not None


def test_a_reader_waits_for_a_card_at_work_but_not_for_ever(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, card = FakeChip(air), FakeChip(air, answers=False)
    air.bring_together(reader, card)
    air.select(reader)
    reader.send(b"\x02")
    air.check_waiting()
    assert reader.got == []
    later = time.monotonic() + air_module.CARD_WORK_LIMIT_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    air.check_waiting()
    assert reader.got == [None]
    assert air.answer(card, b"\x02")  # too late: nobody hears it
    assert reader.got == [None]


# --- reactor and endpoints


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    with Reactor() as made:
        yield made


def read(stream: Callable[[int], bytes], count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = stream(count - len(data))
        assert part, "closed early"
        data += part
    return data


def ask_version(connection: socket.socket) -> bytes:
    connection.settimeout(5)
    connection.sendall(VERSION_COMMAND)
    return read(connection.recv, len(VERSION_ANSWER))


def test_a_chip_on_tcp_listening_takes_one_caller_after_the_other(reactor: Reactor, air: Air) -> None:
    address = serve_url(reactor, "tcp-listen://127.0.0.1:0", VirtualPn532(air))
    host, port = address.removeprefix("tcp://").split(":")
    for _ in range(2):
        with socket.create_connection((host, int(port))) as caller:
            assert ask_version(caller) == VERSION_ANSWER
            with socket.create_connection((host, int(port))) as second:
                second.settimeout(5)
                assert second.recv(1) == b""  # a UART has one other end
        reactor.call(lambda: None)
        time.sleep(0.05)


def test_a_chip_connects_by_tcp(reactor: Reactor, air: Air) -> None:
    closed: list[bool] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        serve_url(reactor, f"tcp://127.0.0.1:{port}", VirtualPn532(air), lambda: closed.append(True))
        connection, _address = listener.accept()
        with connection:
            assert ask_version(connection) == VERSION_ANSWER
    deadline = time.monotonic() + 5
    while not closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert closed


def test_a_chip_on_a_pty_survives_reopening(reactor: Reactor, air: Air) -> None:
    path = serve_url(reactor, "pty:", VirtualPn532(air))
    for _ in range(2):
        with serial.Serial(path, 115200, timeout=5) as port:
            port.write(VERSION_COMMAND)
            assert port.read(len(VERSION_ANSWER)) == VERSION_ANSWER


def test_a_chip_on_a_serial_port_follows_the_rate(reactor: Reactor, air: Air) -> None:
    """A pty plays the cable to a board; the chip's end of it is opened by pyserial like /dev/ttyUSB0."""
    cable = PtyEndpoint()
    try:
        endpoint = open_endpoint(cable.path)
        reactor.attach(VirtualPn532(air), endpoint)
        for command in (VERSION_COMMAND, bytes.fromhex("0000ff03fdd410071500"), bytes.fromhex("0000ff00ff00")):
            os.write(cable.fileno() or 0, command)
        deadline = time.monotonic() + 5
        while endpoint._port.baudrate != 921600 and time.monotonic() < deadline:  # type: ignore[attr-defined]
            time.sleep(0.01)
        assert endpoint._port.baudrate == 921600  # type: ignore[attr-defined]
        assert cable.read().startswith(VERSION_ANSWER)
    finally:
        reactor.close()
        cable.close()


def test_a_port_that_no_selector_can_watch_is_polled(reactor: Reactor) -> None:
    """pyserial's loop:// gives back what is written to it."""
    received = bytearray()

    class Talker:
        on_output: Callable[[], None] | None = None
        on_baudrate: Callable[[int], None] | None = None

        def receive(self, data: bytes) -> None:
            received.extend(data)

        def take_output(self) -> bytes:
            nonlocal unsent
            data, unsent = unsent, b""
            return data

    unsent = b"hello"
    serve_url(reactor, "loop://", Talker())
    deadline = time.monotonic() + 5
    while received != b"hello" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert received == b"hello"


def test_a_slow_host_loses_nothing(reactor: Reactor, air: Air) -> None:
    """More output than the line takes at once waits and goes on."""
    ours, theirs = child_uart()
    chip = VirtualPn532(air)
    reactor.attach(chip, ours)
    theirs.setblocking(True)
    theirs.settimeout(10)
    rounds = 5000
    with theirs:
        for _ in range(rounds // 100):
            theirs.sendall(VERSION_COMMAND * 100)
        assert read(theirs.recv, rounds * len(VERSION_ANSWER)) == VERSION_ANSWER * rounds


def test_a_chips_bug_does_not_pass_in_silence() -> None:
    class Broken:
        on_output: Callable[[], None] | None = None
        on_baudrate: Callable[[int], None] | None = None

        def receive(self, data: bytes) -> None:
            raise RuntimeError("broken chip")

        def take_output(self) -> bytes:
            return b""

    ours, theirs = child_uart()
    reactor = Reactor()
    reactor.attach(Broken(), ours)
    with theirs:
        theirs.send(b"x")
        time.sleep(0.05)
        with pytest.raises(RuntimeError, match="broken chip"):
            reactor.close()


# --- one air for several processes

_OTHER_PROCESS = """
import sys
from host_tools.simulator.named_air import join
from host_tools.simulator.reactor import Reactor
with Reactor() as reactor:
    print(join(reactor, sys.argv[1], "visitor", "pty:", lambda: None), flush=True)
    sys.stdin.read()
"""


def test_chips_of_two_processes_meet_in_a_named_air(reactor: Reactor) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    own = join(reactor, name, "host", "pty:", lambda: None)
    other = subprocess.Popen(
        [sys.executable, "-c", _OTHER_PROCESS, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        with other:
            assert other.stdout is not None
            path = other.stdout.readline().strip()
            assert say(name, "list") == "together host visitor"
            with serial.Serial(own, timeout=5) as reader, serial.Serial(path, timeout=5) as card:
                reader.write(bytes.fromhex("0000ff03fdd412001a00" + "0000ff04fcd44a0100e100"))  # endless search
                assert read(reader.read, 21) == bytes.fromhex("0000ff00ff00" + "0000ff02fed5131800" + "0000ff00ff00")
                parameters = bytes.fromhex("d48c01" + "0400" + "123456" + "20") + bytes(30)
                card.write(b"\x00\x00\xff\x27\xd9" + parameters + bytes((-sum(parameters) & 0xFF, 0)))
                assert read(card.read, 6) == bytes.fromhex("0000ff00ff00")
                assert read(reader.read, 19)[7:17].hex() == "01010004200408123456"
                assert say(name, "lift") == "ok"
                assert say(name, "list") == "apart host visitor"
                assert say(name, "tap host visitor") == "ok"
                assert say(name, "tap host nobody").startswith("error")
                assert say(name, "cut 3 4") == "ok"
                assert say(name, "x" * 1000).startswith("error")
            assert other.stdin is not None
            other.stdin.close()
        deadline = time.monotonic() + 5
        while say(name, "list") != "apart host" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert say(name, "list") == "apart host"
    finally:
        other.kill()
        socket_path(name).unlink()


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 41])
def test_an_air_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="air name"):
        socket_path(name)


def test_nobody_answers_for_an_air_that_is_not_there() -> None:
    with pytest.raises(ConnectionError, match="start a chip"):
        say(f"test-{uuid.uuid4().hex[:12]}", "list")
