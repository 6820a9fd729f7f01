"""host_tools.devices.doctor_line: a look at real ptys, with a chip, a prompt or a text at their other end."""

import os
import pty
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator

import pytest
import serial

from host_tools.devices import doctor_line
from host_tools.devices.doctor_line import Line, look, understand
from host_tools.simulator.world import WALLET_BOARD, World

# What the chips' ROMs, ESP-IDF's second stage and MicroPython print, as captured or as in their sources.
_RESET = b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
_ESP32_DOWNLOAD = (
    b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\n"
    b"waiting for download\r\n"
)
_C3_DOWNLOAD = b"ESP-ROM:esp32c3-api1-20210207\r\nrst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1))\r\n"
_EMPTY_FLASH = _RESET + b"invalid header: 0xffffffff\r\n" * 3
_NO_APP = _RESET + b"E (109) boot: No bootable app partitions in the partition table\r\n"
_PANIC = (
    _RESET + b"Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r\nRebooting...\r\n"
)
_BROWNOUT = b"\r\nBrownout detector was triggered\r\n\r\n" + _RESET
_PROMPT = b'MicroPython v1.24.1 on 2024-11-29; Generic ESP32 module with ESP32\r\nType "help()"...\r\n>>> '
_TRACEBACK = (
    b'Traceback (most recent call last):\r\n  File "main.py", line 3, in <module>\r\n'
    b"ImportError: no module named 'jiaozi'\r\n" + _PROMPT
)
_GPS = b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n"
_WRONG_RATE = bytes.fromhex("fefcf8e0ff00c0e0fe80f8fcc0ff00fee0f0") * 4


class _Chip(threading.Thread):
    """Answers the first bytes that come with `says`, as a board does that opening its port has started anew."""

    def __init__(self, says: bytes, echoes: bool = False) -> None:
        super().__init__(daemon=True)
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.received = b""
        self._says = says
        self._echoes = echoes

    def run(self) -> None:
        while True:
            data = os.read(self._master, 400)
            self.received += data
            if data.endswith(b"end of the test"):
                return
            os.write(self._master, self._says + (data if self._echoes else b""))
            self._says = b""

    def close(self) -> None:
        os.write(self._slave, b"end of the test")
        self.join(10)
        assert not self.is_alive()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def chip() -> Iterator[Callable[..., _Chip]]:
    started: list[_Chip] = []

    def start(says: bytes, echoes: bool = False) -> _Chip:
        started.append(_Chip(says, echoes))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize(
    ("says", "word", "line"),
    [
        (
            _ESP32_DOWNLOAD,
            doctor_line.BOOT_LOADER,
            "rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/",
        ),
        (_C3_DOWNLOAD, doctor_line.BOOT_LOADER, "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1))"),
        (_EMPTY_FLASH, doctor_line.NO_FIRMWARE, "invalid header: 0xffffffff"),
        (_NO_APP, doctor_line.NO_FIRMWARE, "E (109) boot: No bootable app partitions in the partition ta"),
        (_PANIC + _PANIC, doctor_line.BOOT_LOOP, "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Ex"),
        (_RESET, doctor_line.OTHER_TEXT, "ets Jul 29 2019 12:21:46"),
        (_BROWNOUT, doctor_line.BROWNOUT, "Brownout detector was triggered"),
        (_PROMPT, doctor_line.PROMPT, "MicroPython v1.24.1 on 2024-11-29; Generic ESP32 module with"),
        (_TRACEBACK, doctor_line.TRACEBACK, "ImportError: no module named 'jiaozi'"),
        (_GPS, doctor_line.OTHER_TEXT, _GPS.decode()[:60]),
        (_WRONG_RATE, doctor_line.GARBAGE, ""),
        (b"", doctor_line.SILENCE, ""),
        (b"\0\0\0", doctor_line.SILENCE, ""),
    ],
)
def test_what_a_board_says_instead_of_a_hello_is_understood(chip, says: bytes, word: str, line: str):
    there = chip(says)
    seen = look(there.path, may_be_reader=True, hello_resends=0)
    assert seen == Line(heard=says)
    assert understand(seen.heard) == (word, line)


def test_a_line_that_echoes_is_no_device(chip):
    seen = look(chip(b"", echoes=True).path, may_be_reader=True, hello_resends=0)
    assert understand(seen.heard) == (doctor_line.ECHO, "")


def test_nothing_that_a_prompt_would_obey_is_ever_sent(chip):
    """Ctrl-C stops a program, Ctrl-D runs what was typed or starts anew, an end of line does too."""
    there = chip(b"")
    look(there.path, may_be_reader=True, hello_resends=2)
    assert there.received
    assert not set(there.received) & set(b"\x03\x04\r\n")


def test_a_real_prompt_is_seen_and_left_as_it_was(micropython: str):
    master, slave = pty.openpty()
    process = subprocess.Popen([micropython], stdin=master, stdout=master, stderr=master)
    try:
        with serial.Serial(os.ttyname(slave), timeout=10) as port:
            port.read_until(b">>> ")
        for _ in range(2):
            assert _meaning(os.ttyname(slave)) == doctor_line.PROMPT
        typed = b"print(6 * 7"
        with serial.Serial(os.ttyname(slave), timeout=10) as port:
            port.write(typed)
            assert port.read_until(typed) == typed
            # Nothing of what was asked stands on the line, nor do words of others keep us from seeing what it is.
            assert _meaning(os.ttyname(slave)) == doctor_line.PROMPT
            port.write(b"\x05)\r")
            assert b"\n42" in port.read_until(b"\n>>> ")
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def _meaning(path: str) -> str:
    return understand(look(path, may_be_reader=True, hello_resends=1).heard)[0]


def test_a_device_and_a_reader_are_told_apart(tmp_path):
    with World(tmp_path) as world:
        wallet = world.add("Ana", WALLET_BOARD)
        _, reader = world.add_reader()
        hello = look(wallet.link_path, may_be_reader=True).hello
        assert hello is not None and hello.certificate is None
        assert look(reader, may_be_reader=True) == Line(pn532="1.6")
        assert look(reader, may_be_reader=False, hello_resends=0) == Line(), "a hello means nothing to a PN532"
        assert look(wallet.link_path, may_be_reader=True).hello == hello, "the port was given back"


def test_a_port_that_goes_away_in_the_middle_is_told():
    master, slave = pty.openpty()

    def pull() -> None:
        os.read(master, 1)
        os.close(master)

    puller = threading.Thread(target=pull)
    puller.start()
    seen = look(os.ttyname(slave), may_be_reader=True)
    puller.join()
    os.close(slave)
    assert seen.is_gone


def test_a_port_that_is_not_there_keeps_the_systems_number():
    seen = look("/dev/no-such-port", may_be_reader=True)
    assert seen.number == 2
    assert "it is not there" in seen.cannot_open


def test_what_is_quoted_never_commands_a_terminal():
    heard = b"\x1b[2J\x1b]0;title\x07\x9b31mHello world\r\nmore"
    assert understand(heard) == (doctor_line.OTHER_TEXT, "[2J]0;title31mHello world")
    assert len(understand(b"word " * 100)[1]) <= 60
