"""One air for several processes: `jiaozi sim chip --air NAME`.

The first process that names an air hosts it: all virtual chips of the air live there. A later process only carries
the bytes of its UART to the host, over a Unix socket in the temporary folder. A visitor's first line says what it is:
`chip <name>` (from then on its bytes are that chip's UART), or one of the hands that hold the devices: `tap <a> <b>`,
`lift`, `cut <frame> <byte>`, `list`; those get one line back. The first two chips are together until `lift`.
"""

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from host_tools.simulator import relay
from host_tools.simulator.air import Air
from host_tools.simulator.endpoints import SocketEndpoint
from host_tools.simulator.reactor import Reactor, serve_url
from host_tools.simulator.virtual_pn532 import VirtualPn532

MAX_CHIPS = 16  # per air; a table of devices, not a shop
_MAX_LINE = 200


def socket_path(name: str) -> Path:
    """Where the host of the air `name` listens. Raises ValueError for a name that is no plain word."""
    if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 40:
        raise ValueError(f"air name {name!r}: letters, digits, - and _ only, at most 40")
    return Path(tempfile.gettempdir()) / f"jiaozi-air-{os.getuid()}-{name}.sock"


class HostedAir:
    """The air and its chips, in the process that hosts it. Use in the reactor's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self.air = Air()
        self.chips: dict[str, VirtualPn532] = {}
        self._reactor = reactor
        reactor.on_tick.append(self.air.check_waiting)

    def add_chip(self, name: str) -> VirtualPn532:
        """Raises ValueError if the name is taken or the air is full."""
        if name in self.chips or not name or len(self.chips) >= MAX_CHIPS:
            raise ValueError(f"no room for a chip {name!r}")
        chip = self.chips[name] = VirtualPn532(self.air, name)
        return chip

    def add_visiting_chip(self, name: str) -> VirtualPn532:
        """`add_chip`; the first two of an air are together until somebody lifts them."""
        chip = self.add_chip(name)
        if len(self.chips) == 2:
            self.air.bring_together(*self.chips.values())
        return chip

    def open_to_others(self, name: str) -> None:
        """Let other processes find this air under `name`.

        Raises ValueError for a bad name, ConnectionError if it is taken.
        """
        path = socket_path(name)
        connection = _connect(path)
        if connection is not None:
            connection.close()
            raise ConnectionError(f"there is an air {name!r} already")
        path.unlink(missing_ok=True)  # left by a host that died
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self._reactor.listen(listener, self.welcome)

    def remove_chip(self, name: str) -> None:
        self.chips.pop(name).power_off()

    def command(self, words: list[str]) -> str:
        """Carry out a hand's line; returns the answer."""
        try:
            match words:
                case ["tap", one, other] if one != other:
                    self.air.bring_together(self.chips[one], self.chips[other])
                case ["lift"]:
                    self.air.separate()
                case ["cut", frame, byte]:
                    self.air.cut(int(frame), int(byte))
                case ["list"]:
                    return " ".join(("together" if self.air.are_together() else "apart", *self.chips))
                case _:
                    return "error: unknown line"
        except (KeyError, ValueError) as error:
            return f"error: {error}"
        return "ok"

    def welcome(self, endpoint: SocketEndpoint) -> None:
        visitor = _Visitor(self)
        self._reactor.attach(visitor, endpoint, visitor.gone)


class _Visitor:
    """A connection to the host: a line that says what it is, then a chip's UART."""

    def __init__(self, hosted: HostedAir) -> None:
        self._hosted = hosted
        self._chip: VirtualPn532 | None = None
        self._line = b""
        self._answer = b""
        self.on_output: Callable[[], None] | None = None
        self.on_baudrate: Callable[[int], None] | None = None

    def receive(self, data: bytes) -> None:
        if self._chip is not None:
            self._chip.receive(data)
            return
        self._line += data
        line, found, rest = self._line.partition(b"\n")
        if not found:
            self._line = self._line[:_MAX_LINE]
            return
        self._line = b""
        words = line.decode("ascii", "replace").split()
        if len(words) == 2 and words[0] == "chip":
            self._become_chip(words[1], rest)
        else:
            self._answer += self._hosted.command(words).encode() + b"\n"

    def _become_chip(self, name: str, rest: bytes) -> None:
        try:
            chip = self._hosted.add_visiting_chip(name)
        except ValueError as error:
            self._answer += f"error: {error}\n".encode()
            return
        self._answer += b"ok\n"
        chip.on_output = self.on_output
        self._chip = chip
        chip.receive(rest)

    def take_output(self) -> bytes:
        answer, self._answer = self._answer, b""
        return answer + (self._chip.take_output() if self._chip is not None else b"")

    def gone(self) -> None:
        if self._chip is not None:
            self._hosted.remove_chip(self._chip.name)


def _connect(path: Path) -> socket.socket | None:
    """A connection to the host, or None if there is none."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


def say(name: str, line: str) -> str:
    """A hand's line to the air `name`; returns its answer. Raises ConnectionError if nobody hosts that air."""
    connection = _connect(socket_path(name))
    if connection is None:
        raise ConnectionError(f"no air {name!r}: start a chip in it first")
    with connection, connection.makefile("rw") as stream:
        stream.write(line + "\n")
        stream.flush()
        return stream.readline().rstrip("\n")


def join(reactor: Reactor, air: str, chip: str, url: str, on_close: Callable[[], None]) -> str:
    """Put a chip called `chip`, with its UART at `url`, into the air called `air`; returns what to connect to.

    `on_close` is called when the UART's other end, or the air's host, goes away. Raises ConnectionError, ValueError.
    """
    path = socket_path(air)
    connection = _connect(path)
    if connection is None:
        hosted = HostedAir(reactor)
        hosted.open_to_others(air)
        return serve_url(reactor, url, reactor.call(lambda: hosted.add_visiting_chip(chip)), on_close)
    connection.sendall(f"chip {chip}\n".encode())
    with connection.makefile("r", buffering=1, newline="\n") as stream:
        answer = stream.readline()
    if answer != "ok\n":
        raise ConnectionError(answer.strip() or "the air's host went away")
    uart, host = relay.join()
    reactor.attach(host, SocketEndpoint(connection, path.name), on_close)
    return serve_url(reactor, url, uart, on_close)
