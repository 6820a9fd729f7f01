"""A device at a cable: APDUs in numbered frames over anything that pyserial opens.

Owns the port, numbers, time limits and repetitions; the byte format is `protocol.framing`. A lost frame is repeated
with its number, and the device answers a repetition without executing it again.
"""

import errno
import re
import termios
import time
from types import TracebackType
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports

from host_tools.devices.errors import NOT_KNOWN, LinkGone, LinkTimeout
from protocol.framing import HELLO, FrameDecoder, encode_frame, next_sequence

# The slowest single command, a signature check without native code, takes 1.4 s on an ESP32-C3.
ANSWER_TIMEOUT_S = 3.0
MAXIMUM_RESENDS = 3
# A board that opening its USB port has reset needs about a second to boot; the hello is repeated meanwhile.
_HELLO_TIMEOUT_S = 0.5
HELLO_RESENDS = 19
# How long one read waits. Set once, at opening: a port of rfc2217:// negotiates everything anew when it changes.
_READ_TIMEOUT_S = 0.05
_MAXIMUM_HEARD_BYTES = 16_384  # of what came instead of a hello: a chip that starts again and again has said it by then

_REMOTE = ("socket", "rfc2217")


class CannotOpen(LinkGone):
    """The port is not there, or not for us; `reason` says why, `number` is the system's error number if it gave one."""

    def __init__(self, url: str, reason: str, number: int | None) -> None:
        super().__init__(f"Cannot open {url}: {reason}")
        self.reason = reason
        self.number = number


class NoHello(LinkTimeout):
    """The port is open, but nothing that speaks the protocol says hello; `heard` is what came instead."""

    def __init__(self, message: str, heard: bytes) -> None:
        super().__init__(message)
        self.heard = heard


class SerialLink:
    """An open link. `url`: `/dev/ttyUSB0`, a pty, `socket://host:port`, `rfc2217://host:port`: whatever pyserial takes.

    Raises `CannotOpen`, and `NoHello` if nothing says hello in `hello_resends + 1` tries of half a second. `port` is
    one that is open already, by `open_port(url)`; the link closes it.
    """

    def __init__(
        self,
        url: str,
        baudrate: int = 115200,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        maximum_resends: int = MAXIMUM_RESENDS,
        hello_resends: int = HELLO_RESENDS,
        port: serial.Serial | None = None,
    ):
        self._url = url
        self._answer_timeout_s = answer_timeout_s
        self._maximum_resends = maximum_resends
        self._decoder = FrameDecoder()
        self._sequence = HELLO
        self._heard = bytearray()
        self._port = port or open_port(url, baudrate)
        try:
            self._say_hello(hello_resends)
        except BaseException:  # Ctrl-C too: nobody has the object yet who could close it
            self.close()
            raise

    def transceive(self, apdu: bytes) -> bytes:
        """The response to `apdu`. Raises `LinkTimeout` after the last repetition, `LinkGone` if the port goes away."""
        self._sequence = next_sequence(self._sequence)
        response = self._exchange(apdu, self._answer_timeout_s, self._maximum_resends)
        if response is None:
            raise LinkTimeout(
                f"The device at {self._url} stopped answering ({self._decoder.dropped_frames} damaged frames)."
                f" {NOT_KNOWN} Check the cable, press RESET on the device, try again."
            )
        return response

    def close(self) -> None:
        self._port.close()

    def __enter__(self) -> "SerialLink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _say_hello(self, resends: int) -> None:
        response = self._exchange(b"", _HELLO_TIMEOUT_S, resends)
        heard = bytes(self._heard)
        if response is None:
            raise NoHello(
                f"Nothing at {self._url} answers. Is jiaozi's firmware on the device, is this its port, and is no other"
                " program (a terminal, an IDE) using it? Press RESET on the device and try again; jiaozi doctor looks"
                " for the reason.",
                heard,
            )
        if not response:  # every device answers with at least a status word
            raise NoHello(
                f"{self._url} only echoes what is sent to it: that is not a jiaozi device, or it is at a prompt.", heard
            )

    def _exchange(self, payload: bytes, timeout_s: float, resends: int) -> bytes | None:
        frame = encode_frame(self._sequence, payload)
        for _ in range(1 + resends):
            try:
                self._port.write(frame)
                response = self._receive(time.monotonic() + timeout_s)
            except OSError as error:  # pyserial's SerialException is one too
                raise LinkGone(
                    f"The device at {self._url} went away ({error}). {NOT_KNOWN} {_again(self._url)} and repeat."
                ) from error
            if response is not None:
                return response
        return None

    def _receive(self, deadline: float) -> bytes | None:
        """The next answer with our number; late answers to earlier commands are passed over. None at the deadline."""
        while time.monotonic() < deadline:
            data = read_some(self._port)
            if self._sequence == HELLO:
                self._heard += data[: _MAXIMUM_HEARD_BYTES - len(self._heard)]
            for sequence, payload in self._decoder.feed(data):
                if sequence == self._sequence:
                    return payload
        return None


def read_some(port: serial.Serial) -> bytes:
    """What is there, at least one byte, or nothing after the port's time limit.

    In one read: should the line end behind an answer, the answer is still had. A socket says only that there is
    something, never how much, and is read byte by byte.
    """
    return port.read(max(1, port.in_waiting))


def open_port(url: str, baudrate: int = 115200) -> serial.Serial:
    """A port whose reads wait `_READ_TIMEOUT_S` at most. Raises `CannotOpen`."""
    scheme = _scheme(url)
    if scheme in _REMOTE and not _names_a_server(url):
        raise CannotOpen(
            url,
            f"write {scheme}://host:port, like {scheme}://192.168.1.20:4000; an IPv6 address stands in brackets,"
            f" {scheme}://[::1]:4000.",
            None,
        )
    try:
        # Exclusive: frames of two programs on one line would be answered to the wrong one. DTR and RTS stay as the
        # system sets them, both active: one of them alone resets an ESP32 or holds it in its boot loader.
        return serial.serial_for_url(
            url,
            baudrate=baudrate,
            exclusive=True,
            timeout=_READ_TIMEOUT_S,
            # Over rfc2217:// there is none to set; the connection itself gives up after five seconds.
            write_timeout=None if scheme == "rfc2217" else ANSWER_TIMEOUT_S,
        )
    except (OSError, ValueError, TypeError, re.error) as error:  # the last two: what hwgrep:// and alt:// were given
        raise CannotOpen(url, _cause(error, scheme), _number(error)) from error
    except termios.error as error:  # which is no OSError, and pyserial makes none of it
        gone = "it went away while it was opened. Plug it in firmly, and repeat."
        raise CannotOpen(url, gone, error.args[0]) from error


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""


def _names_a_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port is not None
    except ValueError:
        return False


def _again(url: str) -> str:
    if _scheme(url) in _REMOTE:
        return "Check that its server still runs and that no other program is connected to it,"
    return "Plug it in again"


def _number(error: BaseException | None) -> int | None:
    """The system's number, also of what pyserial has made a text of."""
    while error is not None:
        number = getattr(error, "errno", None)
        if number is not None:
            return number
        error = error.__cause__ or error.__context__
    return None


def _cause(error: Exception, scheme: str) -> str:
    number = _number(error)
    if scheme in _REMOTE:
        return _remote_cause(error, number, scheme)
    if number == errno.EACCES:
        return "no permission. On Linux: sudo usermod -aG dialout $USER, then log in again."
    if number in (errno.EBUSY, errno.EAGAIN):
        return "another program uses it. Close terminals and IDEs that have it open."
    if number == errno.ENOENT:
        ports = ", ".join(port.device for port in list_ports.comports())
        return f"it is not there. Ports of this computer: {ports or 'none; is the cable a data cable?'}."
    return f"{error}."


def _remote_cause(error: Exception, number: int | None, scheme: str) -> str:
    if number == errno.ECONNREFUSED:
        return "nothing listens there. Start the server of the device, and check host and port."
    if number in (errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED):
        return "its server hung up. It may serve one program at a time: close the other, and try again."
    if number is not None or isinstance(error.__context__, TimeoutError):
        return f"the host cannot be reached ({error.__context__ or error}). Check its name and the network."
    if scheme == "rfc2217":
        return "what listens there does not speak RFC 2217. For a plain TCP port write socket:// instead."
    return f"{error}."
