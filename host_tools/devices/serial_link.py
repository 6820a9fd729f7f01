"""A device at a cable: APDUs in numbered frames over anything that pyserial opens.

Owns the port, numbers, time limits and repetitions; the byte format is `protocol.framing`. A lost frame is repeated
with its number, and the device answers a repetition without executing it again.
"""

import errno
import time
from types import TracebackType

import serial
from serial.tools import list_ports

from host_tools.devices.errors import NOT_KNOWN, LinkGone, LinkTimeout
from protocol.framing import HELLO, FrameDecoder, encode_frame, next_sequence

# The slowest single command, a signature check without native code, takes 1.4 s on an ESP32-C3.
ANSWER_TIMEOUT_S = 3.0
MAXIMUM_RESENDS = 3
# A board that opening its USB port has reset needs about a second to boot; the hello is repeated meanwhile.
_HELLO_TIMEOUT_S = 0.5
_HELLO_RESENDS = 11


class SerialLink:
    """An open link. `url`: `/dev/ttyUSB0`, a pty, `socket://host:port`, `rfc2217://host:port`: whatever pyserial takes.

    Raises `LinkGone` if it cannot be opened, `LinkTimeout` if nothing says hello in `hello_resends + 1` tries of half
    a second.
    """

    def __init__(
        self,
        url: str,
        baudrate: int = 115200,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        maximum_resends: int = MAXIMUM_RESENDS,
        hello_resends: int = _HELLO_RESENDS,
    ):
        self._url = url
        self._answer_timeout_s = answer_timeout_s
        self._maximum_resends = maximum_resends
        self._decoder = FrameDecoder()
        self._sequence = HELLO
        self._port = _open(url, baudrate)
        try:
            self._say_hello(hello_resends)
        except BaseException:
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
        if response is None:
            raise LinkTimeout(
                f"Nothing at {self._url} answers. Is jiaozi's firmware on the device, is this its port, and is no other"
                " program (a terminal, an IDE) using it? Press RESET on the device and try again."
            )
        if not response:  # every device answers with at least a status word
            raise LinkTimeout(
                f"{self._url} only echoes what is sent to it: that is not a jiaozi device, or it is at a prompt."
            )

    def _exchange(self, payload: bytes, timeout_s: float, resends: int) -> bytes | None:
        frame = encode_frame(self._sequence, payload)
        for _ in range(1 + resends):
            try:
                self._port.write(frame)
                response = self._receive(time.monotonic() + timeout_s)
            except OSError as error:  # pyserial's SerialException is one too
                raise LinkGone(
                    f"The device at {self._url} went away ({error}). {NOT_KNOWN} Plug it in again and repeat."
                ) from error
            if response is not None:
                return response
        return None

    def _receive(self, deadline: float) -> bytes | None:
        """The next answer with our number; late answers to earlier commands are passed over. None at the deadline."""
        while (remaining_s := deadline - time.monotonic()) > 0:
            self._port.timeout = remaining_s
            data = self._port.read(1)
            data += self._port.read(self._port.in_waiting)
            for sequence, payload in self._decoder.feed(data):
                if sequence == self._sequence:
                    return payload
        return None


def _open(url: str, baudrate: int) -> serial.Serial:
    try:
        # Exclusive: frames of two programs on one line would be answered to the wrong one. DTR and RTS stay as the
        # system sets them, both active: one of them alone resets an ESP32 or holds it in its boot loader.
        return serial.serial_for_url(url, baudrate=baudrate, exclusive=True, write_timeout=ANSWER_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise LinkGone(f"Cannot open {url}: {_cause(error)}") from error


def _cause(error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EACCES:
        return "no permission. On Linux: sudo usermod -aG dialout $USER, then log in again."
    if number in (errno.EBUSY, errno.EAGAIN):
        return "another program uses it. Close terminals and IDEs that have it open."
    if number == errno.ENOENT:
        ports = ", ".join(port.device for port in list_ports.comports())
        return f"it is not there. Ports of this computer: {ports or 'none; is the cable a data cable?'}."
    return f"{error}."
