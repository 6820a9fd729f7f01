"""Which port a board is at, and what pyserial opens: names, ptys, TCP and RFC 2217."""

import errno
import select
import socket
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import serial
from serial import rfc2217
from serial.tools.list_ports_common import ListPortInfo

from host_tools.devices.serial_link import CannotOpen, open_port
from host_tools.flashing import chip_link, ports
from host_tools.flashing.errors import NoBootLoader, NoPort
from host_tools.flashing.plan import blank_md5
from host_tools.images.chips import CHIPS
from tests.host.esp_bench import EspBench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[EspBench]:
    with EspBench(tmp_path, "esp32c3") as made:
        yield made


def test_a_url_leads_to_the_same_chip(bench: EspBench):
    url = bench.serve_tcp()
    with bench.connect(url=url) as link:
        assert link.mac == "a0:76:4e:01:02:03"
        assert link.md5(0, 4096) == blank_md5(4096)
        assert not link.start()


class Rfc2217Server(threading.Thread):
    """pyserial's own server side in front of a chip at a TCP port, for one connection."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        connection, _ = self._listener.accept()
        port: Any = serial.serial_for_url(self._url, timeout=0)
        with self._listener, connection, port:
            manager: Any = rfc2217.PortManager(port, SimpleNamespace(write=connection.sendall))  # pyright: ignore
            while True:
                ready, _, _ = select.select([connection, port._socket], [], [])
                if connection in ready:
                    data = connection.recv(4096)
                    if not data:
                        return
                    port.write(b"".join(manager.filter(data)))
                if port._socket in ready:
                    connection.sendall(b"".join(manager.escape(port.read(4096))))


def test_an_rfc2217_server_leads_to_the_same_chip(bench: EspBench):
    server = Rfc2217Server(bench.serve_tcp())
    server.start()
    with bench.connect(url=server.url) as link:
        assert link.mac == "a0:76:4e:01:02:03"
        link.write(0x1000, bytes(range(256)) * 20)
        assert link.read(0x1100, 300) == (bytes(range(256)) * 2)[:300]
    server.join(10)
    assert not server.is_alive()


def test_a_port_in_use_is_said(bench: EspBench):
    with serial.Serial(bench.url, exclusive=True), pytest.raises(CannotOpen, match="another program uses it"):
        bench.connect()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/dev/nothing-here", "it is not there. Ports of this computer"),
        ("socket://127.0.0.1:1", "nothing listens there"),
        ("nonsense://x", "invalid URL"),
    ],
)
def test_a_port_that_cannot_be_opened_is_said(bench: EspBench, url: str, words: str):
    with pytest.raises(CannotOpen, match=words):
        bench.connect(url=url)


def test_a_port_that_goes_while_it_is_opened_is_said(bench: EspBench, monkeypatch: pytest.MonkeyPatch):
    """As that of a chip with USB of its own while it starts."""

    def flush(_port: serial.Serial) -> None:
        raise termios.error(errno.EIO, "Input/output error")

    monkeypatch.setattr(serial.Serial, "_reset_input_buffer", flush)
    with pytest.raises(CannotOpen, match="it went away while it was opened. Plug it in") as raised:
        bench.connect()
    assert raised.value.number == errno.EIO


def test_ptys_and_urls_have_no_reset_lines(bench: EspBench):
    with open_port(bench.url) as port:
        assert not ports.has_reset_lines(bench.url, port)
    url = bench.serve_tcp()
    with open_port(url) as port:
        assert not ports.has_reset_lines(url, port)


def test_without_an_answer_a_person_is_asked_and_then_told(bench: EspBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chip_link, "_WAIT_ATTEMPTS", 1)
    bench.rom.is_silent = True
    asked: list[str] = []
    with pytest.raises(NoBootLoader, match=r"No serial data received.\) Nothing was written. Hold its BOOT button"):
        chip_link.connect(bench.url, CHIPS["esp32c3"], 4 << 20, True, None, asked.append)
    assert asked == [
        f"Hold its BOOT button, press RESET, let go of BOOT: {bench.url} has no lines to do that with."
        " Waiting for half a minute."
    ]


def usb(device: str, vid: int | None) -> ListPortInfo:
    port = ListPortInfo(device)
    port.vid, port.description = vid, f"chip {vid}"
    return port


def test_the_only_usb_port_is_taken():
    assert ports.only_port([usb("/dev/ttyS0", None), usb("/dev/ttyUSB3", 0x10C4)]) == "/dev/ttyUSB3"
    with pytest.raises(NoPort, match=r"--port: /dev/ttyUSB3 \(chip 4292\), /dev/ttyACM0 \(chip 12346\). Nothing"):
        ports.only_port([usb("/dev/ttyUSB3", 0x10C4), usb("/dev/ttyACM0", 0x303A)])
    with pytest.raises(NoPort, match="no board at any USB port.*jiaozi doctor"):
        ports.only_port([usb("/dev/ttyS0", None)])
