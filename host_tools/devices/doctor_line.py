"""A look at what is at the other end of one serial port, and what the text it sends means.

Sends three things only: the PN532's question for its version, the hello of our link, and the SELECT that every session
begins with. None changes anything, and none holds a byte that a prompt would obey: no Ctrl-C, no Ctrl-D, no end of
line. No line is moved to reset anything; but opening a port sets DTR and RTS (`serial_link.open_port`), and some boards
start anew at that.
"""

import re
import time
from dataclasses import dataclass

import serial

from host_tools.devices.client import DeviceClient
from host_tools.devices.errors import DeviceError, LinkGone
from host_tools.devices.serial_link import HELLO_RESENDS, CannotOpen, NoHello, SerialLink, open_port, read_some
from protocol.errors import Refused
from protocol.framing import HELLO, encode_frame
from protocol.objects import Certificate

# PN532 user manual, 6.2.1 and 7.2.2: GetFirmwareVersion behind zeros that wake the chip; its answer begins so.
PN532_QUESTION = bytes(10) + bytes.fromhex("0000FF02FED4022A00")
_PN532_ANSWER = re.compile(rb"\x00\xff\x06\xfa\xd5\x03\x32(.)(.)", re.DOTALL)
_PN532_TRIES = 3  # the first ones may only wake it
_PN532_TIMEOUT_S = 0.15  # its acknowledgement comes within 15 ms
# The one byte of the question that a prompt takes for typed text is its check sum 2A; nobody shall find it there.
_BACKSPACE = b"\x08"

_READABLE = 0.85  # share of printable bytes from which on it is text
_MAXIMUM_QUOTED = 60  # letters of a line that is shown to a person


@dataclass(frozen=True)
class Hello:
    """What a device says of itself; see `DeviceClient.select`."""

    flags: int
    certificate: Certificate | None


@dataclass(frozen=True)
class Line:
    """What was met at a port: one of a hello, a PN532's version, an error, or whatever text came."""

    heard: bytes = b""
    hello: Hello | None = None
    pn532: str = ""
    cannot_open: str = ""  # why
    number: int | None = None  # the system's error number with it
    failed: str = ""  # it said hello, and then this happened
    is_gone: bool = False  # the line ended under our hands


def look(url: str, may_be_reader: bool, hello_resends: int = HELLO_RESENDS) -> Line:
    """Opens the port, listens, asks, and closes it. Seven seconds at most if nothing answers."""
    heard = b""
    try:
        port = open_port(url)
        if may_be_reader:
            version, heard = _ask_pn532(port)
            if version:
                port.close()
                return Line(pn532=version)
        with SerialLink(url, hello_resends=hello_resends, port=port) as link:
            client = DeviceClient(link)
            return Line(hello=Hello(client.flags, client.certificate))
    except CannotOpen as error:
        return Line(cannot_open=error.reason, number=error.number)
    except NoHello as error:
        return Line(heard=heard + error.heard)
    except LinkGone:
        return Line(heard=heard, is_gone=True)
    except (DeviceError, Refused) as error:
        return Line(heard=heard, failed=str(error))


def _ask_pn532(port: serial.Serial) -> tuple[str, bytes]:
    """The version of the PN532 at this port, or nothing; and what came."""
    heard = b""
    try:
        for _ in range(_PN532_TRIES):
            port.write(PN532_QUESTION)
            deadline = time.monotonic() + _PN532_TIMEOUT_S
            while time.monotonic() < deadline:
                heard += read_some(port)
                if answer := _PN532_ANSWER.search(heard):
                    return f"{answer[1][0]}.{answer[2][0]}", heard
            port.write(_BACKSPACE)
    except OSError:
        pass  # the hello meets the same, and says so
    return "", heard


# What a text means, the first that fits. Sources: the ROM and second-stage boot loaders of ESP32, S2, S3 and C3,
# ESP-IDF's panic and brown-out handlers, MicroPython's prompt.
BOOT_LOADER = "boot-loader"
BROWNOUT = "brownout"
NO_FIRMWARE = "no-firmware"
TRACEBACK = "firmware-fails"
PROMPT = "prompt"
BOOT_LOOP = "boot-loop"
ECHO = "echo"
OTHER_TEXT = "other-firmware"
GARBAGE = "wrong-rate"
SILENCE = "silence"

_TEXTS = (
    (BROWNOUT, re.compile(rb"Brownout detector was triggered|BROWN_OUT|BROWNOUT_RST")),
    (BOOT_LOADER, re.compile(rb"waiting for download|DOWNLOAD_BOOT|\(DOWNLOAD\(|Download mode", re.IGNORECASE)),
    (
        NO_FIRMWARE,
        re.compile(
            rb"invalid header: 0x|flash read err|No bootable app|load partition table error|has invalid magic byte"
        ),
    ),
    (TRACEBACK, re.compile(rb"(?<=Traceback \(most recent call last\):)\s+(?:File .*\s+)*")),
    (PROMPT, re.compile(rb"^>>> |raw REPL; CTRL-B to exit|^MicroPython .* on ", re.MULTILINE)),
    # Somebody left words on the prompt's line: no line ends, and a cursor moves.
    (PROMPT, re.compile(rb"\A(?=.*\x08)[\x08\x1b\x20-\x7e]*\Z", re.DOTALL)),
    (BOOT_LOOP, re.compile(rb"Guru Meditation Error(?=.*Guru Meditation Error)", re.DOTALL)),
    (BOOT_LOOP, re.compile(rb"rst:0x(?=.*rst:0x)", re.DOTALL)),
)


def understand(heard: bytes) -> tuple[str, str]:
    """What it means that this came instead of a hello, one of the words above, and the line that says so."""
    if not heard.strip(b"\0"):
        return SILENCE, ""
    for word, pattern in _TEXTS:
        if found := pattern.search(heard):
            where = found.end() if word == TRACEBACK else found.start()
            return word, _quoted(heard, where)
    ours = (PN532_QUESTION, encode_frame(HELLO, b""), _BACKSPACE)
    if not _without(heard, ours).strip(b"\0"):
        return ECHO, ""
    readable = sum(byte in b"\t\r\n\x1b" or 0x20 <= byte < 0x7F for byte in heard)
    if readable < _READABLE * len(heard):
        return GARBAGE, ""
    words = re.search(rb"[A-Za-z]{3}", heard)
    return OTHER_TEXT, _quoted(heard, words.start() if words else 0)


def _quoted(heard: bytes, where: int) -> str:
    """The line at `where` without anything that a terminal would obey."""
    start = max(heard.rfind(end, 0, where) for end in (b"\r", b"\n")) + 1
    line = re.split(rb"[\r\n]", heard[start:], maxsplit=1)[0]
    return "".join(chr(byte) for byte in line if 0x20 <= byte < 0x7F).strip()[:_MAXIMUM_QUOTED]


def _without(heard: bytes, parts: tuple[bytes, ...]) -> bytes:
    for part in parts:
        heard = heard.replace(part.strip(b"\0"), b"")
    return heard
