"""`jiaozi sim` as people run it: a script at the prompt of `sim run`, `sim chip` in several processes."""

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from host_tools import carrier
from host_tools.devices.client import DeviceClient
from host_tools.devices.serial_link import SerialLink
from host_tools.story.bank import Bank
from protocol.objects import TERMINAL, WALLET
from tests import micropython

PROJECT = Path(__file__).parents[2]
JIAOZI = [sys.executable, "-m", "host_tools.cli.main"]
LINE_TIMEOUT_S = 30
ECHOED = "80ca000000"

# A card that echoes, once.
CARD = """
from ports import unix
from drivers.nfc import NfcPort
uart = unix.open_uart({"env": "JIAOZI_NFC"}, 115200)
nfc = NfcPort(uart, unix)
nfc.start_listening()
while not nfc.poll():
    unix.wait([uart], 1000)
nfc.serve(lambda apdu: apdu + b"\\x90\\x00", lambda: None)
print('"served"')
"""

# A reader that looks for a card as often as it is told, then sends it one command. What it heard, None for no card.
READER = """
import json, sys
from ports import unix
from drivers.nfc import NfcPort
uart = unix.open_uart({"env": "JIAOZI_NFC"}, 115200)
nfc = NfcPort(uart, unix)
nfc.start_polling()
looks = int(sys.argv[1])
while looks and not nfc.find_card(300):
    looks -= 1
if looks:
    nfc.send(bytes.fromhex(sys.argv[2]))
    print(json.dumps(nfc.receive().hex()))
    nfc.release()
else:
    nfc.stop()
    print("null")
"""


class Running:
    """A `jiaozi` process whose lines are read as they come; `type` writes a line to it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process = process
        self._stdin = process.stdin
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._lines.put(line)

    def type(self, line: str) -> None:
        self._stdin.write(line + "\n")
        self._stdin.flush()

    def wait_for(self, *words: str) -> str:
        """Everything up to the line in which the last of `words` appears, each after the one before."""
        seen, left = "", list(words)
        deadline = time.monotonic() + LINE_TIMEOUT_S
        while left:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"{left[0]!r} does not appear: {seen}")
            seen += line
            if left[0] in line:
                del left[0]
        return seen

    def end(self) -> int:
        """Close its standard input and wait; returns the exit code."""
        self._stdin.close()
        return self.process.wait(LINE_TIMEOUT_S)


@contextmanager
def running(*words: str) -> Iterator[Running]:
    command = [*JIAOZI, *words]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "100"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def jiaozi(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "100"}
    return subprocess.run(
        [*JIAOZI, *words], env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


# jiaozi sim run


def test_a_script_works_the_devices_and_ends_with_its_input(tmp_path: Path) -> None:
    script = """
        look tea
        power tea off
        press tea 1#
        list
        power tea on
        dance
        press tea
        tap ana ana
        tap ana bob
        cut 5
        help
    """
    result = jiaozi("sim", "run", "--state", str(tmp_path / "state"), stdin=script)
    assert (result.returncode, result.stderr) == (0, "")
    expected = (
        "│ Not set up yet",  # look
        "tea is off; power tea on switches it on",
        "tea          off",  # list
        "│ Not set up yet",  # power on
        "dance is no command; help lists them",
        "press takes a device and keys",
        "tap takes two different devices",
        "there is no device bob",
        "cut takes a frame and a byte",
        "tap NAME NAME ",  # help
        "quit ",
    )
    rest = result.stdout
    for words in expected:
        assert words in rest, result.stdout
        rest = rest.partition(words)[2]
    assert (tmp_path / "state" / "ana").is_dir() and (tmp_path / "state" / "tea").is_dir()


@pytest.mark.parametrize("names", [("--wallet", "two words"), ("--wallet", "a", "--terminal", "a")])
def test_names_that_cannot_be_typed_at_the_prompt_are_refused(names: tuple[str, ...]) -> None:
    result = jiaozi("sim", "run", *names)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("✗")


def personalise(bank: Bank, port: str, name: str, kind: int, mcc: int, balance: int, now: int) -> None:
    account = bank.ledger.open_account(1, name)
    with SerialLink(port) as link:
        client = DeviceClient(link)
        carrier.personalise(client, bank.ledger, bank.operators[1], 1, kind, mcc, account, name, now)
        if balance:
            bank.ledger.issue(account, balance, now)
            carrier.load(client, bank.ledger, bank.operators[1], balance, now)


def test_a_payment_at_the_prompt_as_the_guide_has_it(tmp_path: Path) -> None:
    now = int(time.time())
    bank = Bank(tmp_path / "bank", now)
    bank.add_operator(1)
    with running("sim", "run") as bench:
        ports = re.findall(r"--port (\S+)", bench.wait_for("tea "))
        personalise(bank, ports[0], "Ana", WALLET << 4 | 2, 0, 20_000, now)
        personalise(bank, ports[1], "Tea House", TERMINAL << 4, 5812, 0, now)
        bench.type("press tea 1850#")
        bench.wait_for("18.50")
        bench.type("tap ana tea")
        bench.wait_for("RECEIVED")
        bench.type("lift")
        bench.type("look tea")
        bench.wait_for("RECEIVED")
        bench.type("quit")
        assert bench.end() == 0
    bank.close()


# jiaozi sim chip


@pytest.fixture
def air() -> str:
    return f"test-{os.getpid()}-{time.monotonic_ns() % 10**6}"


@contextmanager
def chip(air: str, name: str) -> Iterator[tuple[Running, str]]:
    """A chip in a process of its own; yields also the pty of its UART."""
    with running("sim", "chip", "--uart", "pty:", "--air", air, "--name", name) as process:
        yield process, process.wait_for(f"in air {air}").split()[2]


def hand(air: str, *words: str) -> str:
    result = jiaozi("sim", *words, "--air", air)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def read_card(card: str, reader: str, looks: int = 20) -> str | None:
    """What a reader of ours hears from a card of ours, each a MicroPython process at the pty of its chip."""
    with micropython.start(CARD, environment={"JIAOZI_NFC": card}) as process:
        try:
            answer = micropython.run(READER, arguments=[str(looks), ECHOED], environment={"JIAOZI_NFC": reader})
            if looks > 1:
                assert process.communicate(timeout=LINE_TIMEOUT_S)[0].strip() == '"served"'
        finally:
            process.kill()
    return json.loads(answer)


def test_chips_of_two_processes_meet_in_one_air(air: str) -> None:
    with chip(air, "door") as (_, reader), chip(air, "badge") as (badge, card):
        assert hand(air, "list") == "together door badge"
        assert read_card(card, reader) == ECHOED + "9000"
        hand(air, "lift")
        assert hand(air, "list") == "apart door badge"
        assert read_card(card, reader, looks=1) is None
        hand(air, "tap", "badge", "door")
        assert read_card(card, reader) == ECHOED + "9000"
        badge.process.terminate()
        badge.process.wait(LINE_TIMEOUT_S)
        deadline = time.monotonic() + LINE_TIMEOUT_S
        while hand(air, "list") != "apart door":
            assert time.monotonic() < deadline


def test_what_a_hand_cannot_do_is_told(air: str) -> None:
    nobody = jiaozi("sim", "lift", "--air", air)
    assert nobody.returncode == 2 and f"no air '{air}'" in nobody.stderr
    with chip(air, "door"):
        wrong = jiaozi("sim", "tap", "door", "window", "--air", air)
        assert wrong.returncode == 2 and "window" in wrong.stderr
        again = jiaozi("sim", "chip", "--uart", "pty:", "--air", air, "--name", "door")
        assert again.returncode == 2 and "no room for a chip 'door'" in again.stderr
