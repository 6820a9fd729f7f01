"""host_tools.devices.serial_link against a device end that is MicroPython with the firmware's own UART and framing,
over a pty.
"""

import os
import pty
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from host_tools.devices.errors import LinkGone, LinkTimeout
from host_tools.devices.serial_link import SerialLink
from protocol.framing import FrameDecoder, encode_frame

_PROJECT = Path(__file__).parents[2]

# Answers "<how often run> <command>", behind a fault per answer as the line would cause it. The hello is not counted.
_DEVICE = """
import sys
sys.path[:0] = ["firmware", "."]
from ports import unix
from protocol.framing import AnswerOnce, FrameDecoder
uart = unix.open_uart({"env": "JIAOZI_LINK"}, 115200)
decoder, once = FrameDecoder(), AnswerOnce()
faults = sys.argv[1].split(",") if len(sys.argv) > 1 and sys.argv[1] else []
runs = 0
def process(command):
    global runs
    if command == b"slow":
        unix.sleep_ms(700)
    if command:
        runs += 1
    return b"%d " % runs + command
uart.write(b"ets Jun  8 2016 00:22:57\\r\\nrst:0x1 (POWERON_RESET)\\r\\n")
while True:
    unix.wait([uart], 1000)
    for sequence, command in decoder.feed(uart.read()):
        if command == b"die":
            sys.exit()
        frame = once.answer(sequence, command, process)
        fault = faults.pop(0) if sequence and faults else ""
        if fault == "drop":
            continue
        if fault == "damage":
            frame = frame[:2] + bytes((frame[2] ^ 1 or 2,)) + frame[3:]
        if fault == "cut":
            frame = frame[:-3]
        if fault == "noise":
            frame = b"\\x00\\xff\\xfe" + frame
        if fault == "twice":
            frame += frame
        for start in range(0, len(frame), 7):
            uart.write(frame[start:start + 7])
"""


class _Device:
    def __init__(self, path: str, process: subprocess.Popen):
        self.path = path
        self.process = process


@pytest.fixture
def device(micropython: str, tmp_path: Path) -> Iterator[Callable[..., _Device]]:
    """Starts a device end whose answers meet the faults given, and returns its port."""
    started = []

    def start(*faults: str) -> _Device:
        master, slave = pty.openpty()
        os.set_blocking(master, False)
        path = os.ttyname(slave)
        script = tmp_path / "device.py"
        script.write_text(_DEVICE)
        process = subprocess.Popen(
            [micropython, "-X", "heapsize=320K", str(script), ",".join(faults)],
            cwd=_PROJECT,
            env={"JIAOZI_LINK": f"fd:{master}"},
            pass_fds=[master],
            stderr=subprocess.PIPE,
        )
        os.close(master)  # the device's alone: when it ends, the line hangs up
        started.append((process, slave))
        return _Device(path, process)

    yield start
    for process, slave in started:
        process.kill()
        process.communicate()
        os.close(slave)


def test_every_length_of_apdu_goes_there_and_back(device):
    with SerialLink(device().path) as link:
        for run, apdu in enumerate([b"\0" * 5, b"\x01" * 257, bytes(range(256)), b"a"], start=1):
            assert link.transceive(apdu) == b"%d " % run + apdu


@pytest.mark.parametrize("fault", ["drop", "damage", "cut", "noise", "twice"])
def test_a_disturbed_answer_costs_a_repetition_never_a_second_run(device, fault: str):
    with SerialLink(device(fault, "", fault).path, answer_timeout_s=0.3) as link:
        assert link.transceive(b"pay") == b"1 pay"
        assert link.transceive(b"pay") == b"2 pay"
        assert link.transceive(b"pay") == b"3 pay"


def test_a_late_answer_is_not_taken_for_the_next_one(device):
    with SerialLink(device().path, answer_timeout_s=0.2, maximum_resends=1) as link:
        with pytest.raises(LinkTimeout, match="repeating is safe"):
            link.transceive(b"slow")
        link._answer_timeout_s = 3.0
        assert link.transceive(b"next") == b"2 next"


def test_repetitions_are_bounded_and_end_in_a_timeout(device):
    with SerialLink(device(*["drop"] * 3, "").path, answer_timeout_s=0.1, maximum_resends=2) as link:
        started = time.monotonic()
        with pytest.raises(LinkTimeout):
            link.transceive(b"pay")
        assert 0.3 <= time.monotonic() - started < 2
        assert link.transceive(b"status") == b"2 status"


def test_a_new_session_never_gets_the_last_ones_answer(device):
    path = device().path
    with SerialLink(path) as link:
        assert link.transceive(b"first") == b"1 first"
    with SerialLink(path) as link:
        assert link.transceive(b"other") == b"2 other"


def test_unplugging_is_told_apart_from_silence(device):
    unplugged = device()
    with (
        SerialLink(unplugged.path, answer_timeout_s=5) as link,
        pytest.raises(LinkGone, match="went away.*Plug it in again"),
    ):
        link.transceive(b"die")


def test_sequence_numbers_go_round(device):
    with SerialLink(device().path) as link:
        for run in range(1, 300):
            assert link.transceive(b"x") == b"%d x" % run


def test_a_port_in_use_is_refused(device):
    path = device().path
    with SerialLink(path), pytest.raises(LinkGone, match="another program uses it"):
        SerialLink(path)


def test_a_silent_port_and_an_echo_are_explained():
    _, slave = pty.openpty()
    with pytest.raises(LinkTimeout, match="answers. Is jiaozi's firmware on the device"):
        SerialLink(os.ttyname(slave), hello_resends=0)
    with pytest.raises(LinkTimeout, match="only echoes"):
        SerialLink("loop://")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/dev/ttyUSB99", "it is not there. Ports of this computer:"),
        ("carrier-pigeon://x", "Cannot open"),
        ("socket://127.0.0.1:1", "Cannot open"),
    ],
)
def test_what_cannot_be_opened_is_explained(url: str, message: str):
    with pytest.raises(LinkGone, match=message):
        SerialLink(url)


def test_a_socket_serves_like_a_port_and_its_end_is_noticed():
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            decoder = FrameDecoder()
            while data := connection.recv(400):
                for sequence, command in decoder.feed(data):
                    if command == b"bye":
                        return
                    connection.sendall(encode_frame(sequence, command + b"\x90\x00"))

    thread = threading.Thread(target=serve)
    thread.start()
    with server, SerialLink(f"socket://127.0.0.1:{server.getsockname()[1]}") as link:
        assert link.transceive(b"\x00\xa4\x04\x00") == b"\x00\xa4\x04\x00\x90\x00"
        with pytest.raises(LinkGone):
            link.transceive(b"bye")
    thread.join(5)
    assert not thread.is_alive()


def test_a_closed_link_may_be_closed_again_and_gives_the_port_back(device):
    path = device().path
    link = SerialLink(path)
    link.close()
    link.close()
    with pytest.raises(serial.PortNotOpenError):
        link._port.read(1)
    SerialLink(path).close()
