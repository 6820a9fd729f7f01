"""The other end of a simulated chip's UART: descriptors, ptys, TCP, serial ports. Nothing here blocks.

`open_endpoint` understands: `fd:5` (inherited socket or pipe end), `pty:` (a new pty, path in `description`),
`tcp://host:port` (connects), and every URL of pyserial (`/dev/ttyUSB0`, `COM3`, `rfc2217://...`, `socket://...`).
`tcp-listen://host:port` is a listener, not an endpoint: see `reactor.serve_url`.
"""

import os
import socket
import termios
import tty
from typing import Any, Protocol
from urllib.parse import urlsplit

import serial

_READ_BYTES = 4096


class EndpointClosed(Exception):
    """The program at the other end is gone."""


class Endpoint(Protocol):
    """One byte stream."""

    description: str

    def fileno(self) -> int | None:
        """What a selector can wait for; None if the stream has to be asked again and again."""
        ...

    def read(self) -> bytes:
        """What is there, possibly nothing. Raises EndpointClosed."""
        ...

    def write(self, data: bytes) -> int:
        """How many bytes were taken. Raises EndpointClosed."""
        ...

    def set_baudrate(self, rate: int) -> None: ...

    def close(self) -> None: ...


class SocketEndpoint:
    """A connected stream socket, TCP or Unix."""

    def __init__(self, connection: socket.socket, description: str = "socket") -> None:
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # frames are short and waited for
        self._socket = connection
        self.description = description

    def fileno(self) -> int | None:
        return self._socket.fileno()

    def read(self) -> bytes:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise EndpointClosed(self.description) from error
        if not data:
            raise EndpointClosed(self.description)
        return data

    def write(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise EndpointClosed(self.description) from error

    def set_baudrate(self, rate: int) -> None:
        """A socket has none."""

    def close(self) -> None:
        self._socket.close()


class PtyEndpoint:
    """A new pseudo terminal; programs open `path`. Survives their closing and opening it again."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()  # the slave stays open, else a reopening program would end it
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.description = self.path

    def fileno(self) -> int | None:
        return self._master

    def read(self) -> bytes:
        try:
            return os.read(self._master, _READ_BYTES)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def set_baudrate(self, rate: int) -> None:
        """A pty carries bytes at any rate."""

    def close(self) -> None:
        os.close(self._master)
        os.close(self._slave)


class SerialEndpoint:
    """A serial port that pyserial opened: a board at a cable takes part in the simulated air."""

    def __init__(self, port: Any, description: str) -> None:
        self._port = port
        self.description = description
        port.timeout = 0
        port.write_timeout = None

    def fileno(self) -> int | None:
        try:
            return self._port.fileno()
        except (AttributeError, OSError, ValueError):
            return None  # loop://, rfc2217:// and Windows ports have none

    def read(self) -> bytes:
        try:
            return self._port.read(_READ_BYTES) if self.fileno() is not None else self._port.read(self._port.in_waiting)
        except (serial.SerialException, OSError) as error:
            raise EndpointClosed(self.description) from error

    def write(self, data: bytes) -> int:
        try:
            return self._port.write(data) or 0
        except (serial.SerialException, OSError) as error:
            raise EndpointClosed(self.description) from error

    def set_baudrate(self, rate: int) -> None:
        self._port.flush()  # what is under way still goes at the old rate
        self._port.baudrate = rate

    def close(self) -> None:
        self._port.close()


def child_uart() -> tuple[SocketEndpoint, socket.socket]:
    """A line to a process yet to be started: pass the socket's descriptor on as `fd:<number>`, then close it here."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return SocketEndpoint(ours, "child"), theirs


def tcp_address(url: str) -> tuple[str, int]:
    """Host and port of `tcp://` and `tcp-listen://` URLs. Raises ValueError."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{url}: expected {parts.scheme}://host:port")
    return parts.hostname, parts.port


def open_endpoint(url: str) -> Endpoint:
    """Open what `url` names, see above. Raises OSError (pyserial's errors are OSErrors) or ValueError."""
    if url.startswith("fd:"):
        return SocketEndpoint(socket.socket(fileno=int(url[3:])), url)
    if url == "pty:":
        return PtyEndpoint()
    if url.startswith("tcp://"):
        return SocketEndpoint(socket.create_connection(tcp_address(url), timeout=10), url)
    return SerialEndpoint(serial.serial_for_url(url, baudrate=115200), url)
