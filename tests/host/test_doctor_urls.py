"""Every kind of pyserial URL as `--port`: real TCP servers in front of simulated devices that run real firmware."""

import os
import pty
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import serial
from serial import rfc2217

from host_tools.cli.exits import Exit
from host_tools.devices.client import DeviceClient
from host_tools.devices.errors import LinkGone
from host_tools.devices.serial_link import CannotOpen, SerialLink
from protocol.framing import FrameDecoder, encode_frame
from tests.host.command import failed, in_json, jiaozi

_PORT_MANAGER: Any = rfc2217.PortManager  # whose published types are not those it takes


class _Server(threading.Thread):
    """Takes one connection after the other and hands each to `serve(connection)`, which returns when it has ended."""

    def __init__(self, serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> None:
        super().__init__(daemon=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        self.port = self.listener.getsockname()[1]
        self._serve = serve

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self._serve(connection)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join(10)
        assert not self.is_alive()


@pytest.fixture
def server() -> Iterator[Callable[..., int]]:
    """Starts a server and returns its port."""
    started: list[_Server] = []

    def start(serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> int:
        started.append(_Server(serve, host))
        started[-1].start()
        return started[-1].port

    yield start
    for one in started:
        one.close()


def _device(path: str) -> Callable[[socket.socket], None]:
    """Joins a connection with a serial port, as ser2net and QEMU do."""

    def serve(connection: socket.socket) -> None:
        with serial.Serial(path, timeout=0) as port:
            while True:
                ready, _, _ = select.select([connection, port.fileno()], [], [])
                if connection in ready:
                    data = connection.recv(400)
                    if not data:
                        return
                    port.write(data)
                if port.fileno() in ready:
                    connection.sendall(port.read(400))

    return serve


def _rfc2217(url: str, settings: list[str]) -> Callable[[socket.socket], None]:
    """pyserial's own RFC 2217 server in front of the port at `url`; `settings` gets each baud rate that is set."""

    class Watched(_PORT_MANAGER):
        def _telnet_process_subnegotiation(self, suboption: bytes) -> None:
            if suboption[1:2] == rfc2217.SET_BAUDRATE:
                settings.append("baudrate")
            super()._telnet_process_subnegotiation(suboption)

    class Wire:
        def __init__(self, connection: socket.socket) -> None:
            self.write = connection.sendall

    def serve(connection: socket.socket) -> None:
        port: Any = serial.serial_for_url(url, timeout=0)
        with port:
            manager = Watched(port, Wire(connection))
            while True:
                ready, _, _ = select.select([connection, port._socket], [], [])
                if connection in ready:
                    data = connection.recv(400)
                    if not data:
                        return
                    port.write(b"".join(manager.filter(data)))
                if port._socket in ready:
                    connection.sendall(b"".join(manager.escape(port.read(400))))

    return serve


def test_a_device_is_set_up_and_synced_over_a_socket(town, server):
    cable = ("--port", f"socket://127.0.0.1:{server(_device(town.new_device.link_path))}", "--home", town.home)
    assert in_json("device", "info", *cable) == {"personalised": False, "states": []}
    personalise = ("device", "personalise", "--account", "Ana", "--name", "Ana's second", "--kind", "wallet-2")
    assert in_json(*personalise, "--operator", 1, *cable)["kind"] == "wallet-2"
    assert in_json("device", "load", "12.50", "--operator", 1, *cable)["device_balance"] == 1250
    assert in_json("sync", "--operator", 1, *cable)["device_balance"] == 1250
    assert in_json("device", "info", *cable)["balance"] == 1250


def test_a_device_is_synced_over_rfc2217(town, server):
    settings: list[str] = []
    inner = server(_device(town.wallet.link_path))
    outer = server(_rfc2217(f"socket://127.0.0.1:{inner}", settings))
    cable = ("--port", f"rfc2217://127.0.0.1:{outer}", "--home", town.home)
    balance = in_json("device", "info", *cable)["balance"]
    assert settings == ["baudrate"], "what is set once is not negotiated again for every answer"
    assert in_json("sync", "--operator", 1, *cable)["device_balance"] == balance


@pytest.mark.parametrize("url", ["spy://{path}?file={dump}", "alt://{path}?class=PosixPollSerial"])
def test_what_wraps_another_port_serves_like_it(town, tmp_path, url: str):
    dump = tmp_path / "dump"
    with SerialLink(url.format(path=town.wallet.link_path, dump=dump)) as link:
        assert DeviceClient(link).certificate is not None
    assert not url.startswith("spy") or "TX" in dump.read_text()


def test_ipv6(town, server):
    try:
        port = server(_device(town.wallet.link_path), "::1")
    except OSError:
        pytest.skip("this computer has no IPv6")
    with SerialLink(f"socket://[::1]:{port}") as link:
        assert DeviceClient(link).certificate is not None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socket://127.0.0.1:1", "nothing listens there. Start the server"),
        ("rfc2217://127.0.0.1:1", "nothing listens there. Start the server"),
        ("socket://no-such-host.invalid:4000", "the host cannot be reached"),
        ("socket://127.0.0.1", "write socket://host:port"),
        ("socket://:4000", "write socket://host:port"),
        ("socket://127.0.0.1:http", "write socket://host:port"),
        ("socket://127.0.0.1:99999", "write socket://host:port"),
        ("socket://::1:4000", "in brackets, socket://[::1]:4000"),
        ("RFC2217://127.0.0.1", "write rfc2217://host:port"),
        ("carrier-pigeon://x", "protocol 'carrier-pigeon' not known"),
        ("hwgrep://no-such-port", "no ports found"),
        ("hwgrep://[", "unterminated character set"),
        ("alt:///dev/null?class=no-such", "unknown class"),
        ("alt:///dev/null?class=serialutil", "must be a class"),
        ("spy:///dev/null?no-such", "unknown option"),
        ("/dev/null", "Cannot open"),
        ("", "Cannot open"),
    ],
)
def test_what_cannot_be_opened_is_one_clear_line(url: str, words: str):
    with pytest.raises(CannotOpen) as raised:
        SerialLink(url)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_command_says_so_in_one_line():
    failed(jiaozi("device", "info", "--port", "socket://127.0.0.1:1"), Exit.LINK_GONE, "nothing listens there")


def test_a_plain_server_is_told_apart_from_one_of_rfc_2217(server):
    def serve(connection: socket.socket) -> None:
        while connection.recv(400):
            pass

    port = server(serve)
    with pytest.raises(CannotOpen, match="does not speak RFC 2217. For a plain TCP port write socket://"):
        SerialLink(f"rfc2217://127.0.0.1:{port}?timeout=0.2")


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_a_server_that_hangs_up_is_named_as_such(server, scheme: str):
    port = server(
        lambda connection: connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    )
    with pytest.raises(LinkGone, match="hung up|no other program is connected to it, and repeat"):
        SerialLink(f"{scheme}://127.0.0.1:{port}")


@pytest.mark.parametrize("last", [b"last", b"last!"])  # an even and an odd number of bytes
def test_an_answer_is_had_though_the_line_ends_right_behind_it(server, last: bytes):
    def serve(connection: socket.socket) -> None:
        decoder = FrameDecoder()
        while data := connection.recv(400):
            for sequence, command in decoder.feed(data):
                connection.sendall(encode_frame(sequence, command + b"\x90\x00"))
                if command == last:
                    return

    with SerialLink(f"socket://127.0.0.1:{server(serve)}") as link:
        assert link.transceive(last) == last + b"\x90\x00"
        with pytest.raises(LinkGone):
            link.transceive(b"more")


def test_a_pty_is_exclusive_through_a_wrapping_url_too():
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    try:
        with serial.Serial(path, exclusive=True), pytest.raises(CannotOpen, match="another program uses it"):
            SerialLink(f"spy://{path}?file=/dev/null")
    finally:
        os.close(master)
        os.close(slave)
