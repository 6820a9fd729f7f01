"""NXP PN532 over its high-speed UART (HSU): frames and commands of the user manual UM0701-02, chapters 6 and 7.

Owns the host link: wake-up, frames, acknowledgement, repetition, abort. Knows no card protocol. One command is under
way at a time; `send` starts it and `receive` fetches its answer, so that the caller can compute in between. The answer
waits in the UART meanwhile, whose buffer must hold a whole one (`MAX_ANSWER`).

The UART and the port module come in from outside: this file runs on every port.
"""

from micropython import const

from drivers.errors import ChipError

MAX_ANSWER = const(288)  # bytes the chip sends for one command: ACK 6, frame 8 + 2 + status + 262 + 2, and slack
_MAX_INPUT = const(1024)  # garbage is kept no longer than this
# Either on top of what the port says may delay its lines.
_ACK_TIMEOUT_MS = const(100)  # the chip acknowledges within 15 ms (6.2.1.3); USB adapters add up to 50
_COMMAND_TIMEOUT_MS = const(500)  # for commands that do not use the radio
_SETTLE_MS = const(2)  # six bytes of ACK at 115200 baud, and the chip's switch of rate
_GAP_MS = const(1)  # between the ACK that aborts and the next command, or the chip misses that
_FIRST_BAUDRATE = const(115200)  # after power-on (6.2.3)
_BAUDRATE = const(921600)  # its code is 7 (7.2.7)

_ACK = b"\x00\x00\xff\x00\xff\x00"
_NACK = b"\x00\x00\xff\xff\x00\x00"
# Two 55 give the rising edges that wake the chip; the zeros are the time it needs, and no frame (6.3.2.2).
_WAKE_UP = b"\x55\x55" + bytes(14)

_NONE = const(-1)  # no command

# What `_next_frame` found, where it is no payload
_IS_ACK = b""
_DAMAGED = b"\x00"

GET_FIRMWARE_VERSION = const(0x02)
WRITE_REGISTER = const(0x08)
SET_SERIAL_BAUD_RATE = const(0x10)
SET_PARAMETERS = const(0x12)
SAM_CONFIGURATION = const(0x14)
RF_CONFIGURATION = const(0x32)
IN_COMMUNICATE_THRU = const(0x42)
IN_LIST_PASSIVE_TARGET = const(0x4A)
TG_GET_INITIATOR_COMMAND = const(0x88)
TG_INIT_AS_TARGET = const(0x8C)
TG_RESPONSE_TO_INITIATOR = const(0x90)


def frame(payload: bytes) -> bytes:
    """A normal or extended information frame around TFI and data (6.2.1.1, 6.2.1.2)."""
    length = len(payload)
    if length < 256:
        head = bytes((length, -length & 0xFF))
    else:
        head = bytes((0xFF, 0xFF, length >> 8, length & 0xFF, -(length >> 8) - length & 0xFF))
    return b"\x00\x00\xff" + head + payload + bytes((-sum(payload) & 0xFF, 0))


class Pn532:
    """One chip. Every method raises ChipError if the chip does not answer or refuses, and the port's UartClosed."""

    def __init__(self, uart, port) -> None:
        self._uart = uart
        self._port = port
        self._ack_timeout_ms = _ACK_TIMEOUT_MS + port.LINE_DELAY_MS
        self._input = b""
        self._frame = b""  # of the command under way, for its one repetition
        self._code = _NONE  # command under way
        self._acknowledged = False
        self._repeated = False
        self._sent_at = 0
        self._wait_code = 0  # last RFConfiguration of the waiting time

    # --- host link

    def send(self, code: int, data: bytes = b"") -> None:
        """Start a command; one that is still under way is aborted."""
        if self._code != _NONE:
            self.abort()
        self._code = code
        self._frame = frame(bytes((0xD4, code)) + data)
        self._acknowledged = self._repeated = False
        self._transmit()

    def _transmit(self) -> None:
        self._uart.write(self._frame)
        self._sent_at = self._port.ticks_ms()

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the answer's data to the command under way, or None if none came in time; it stays under way."""
        port = self._port
        if self._code == _NONE:
            raise ChipError("no command under way")
        start = port.ticks_ms()
        while True:
            self._read()
            payload = self._next_frame()
            if payload is not None:
                answer = self._take(payload)
                if answer is not None:
                    return answer
                continue
            now = port.ticks_ms()
            if not self._acknowledged and port.ticks_diff(now, self._sent_at) >= self._ack_timeout_ms:
                self._repeat(_WAKE_UP + self._frame, "no answer from the PN532: check wiring, power and its jumpers")
            left = timeout_ms - port.ticks_diff(now, start)
            if left <= 0:
                return None
            port.wait([self._uart], left if self._acknowledged else min(left, self._ack_timeout_ms))

    def _read(self) -> None:
        data = self._uart.read()
        if data:
            self._input = (self._input + data)[-_MAX_INPUT:]

    def _take(self, payload: bytes) -> bytes | None:
        if payload is _IS_ACK:
            self._acknowledged = True
        elif payload is _DAMAGED:
            # Only its answer is repeated, the command is not executed again (6.2.1.5).
            if self._acknowledged:
                self._repeat(_NACK, "damaged answers from the PN532: check wiring")
        elif payload == b"\x7f":
            code, self._code = self._code, _NONE
            raise ChipError(f"PN532 refuses command {code:02x}")
        elif len(payload) >= 2 and payload[0] == 0xD5 and payload[1] == self._code + 1:
            code, self._code = self._code, _NONE
            if len(payload) == 2 and code >= IN_COMMUNICATE_THRU:
                raise ChipError("PN532 answers without a status")
            return payload[2:]
        return None  # ACK, or the late answer to an aborted command

    def _repeat(self, data: bytes, complaint: str) -> None:
        if self._repeated:
            self._code = _NONE
            raise ChipError(complaint)
        self._repeated = True
        self._uart.write(data)
        self._sent_at = self._port.ticks_ms()

    def _next_frame(self) -> bytes | None:
        """Cut the next frame off the input: payload, _IS_ACK, _DAMAGED, or None if more is needed. Skips garbage."""
        while True:
            data = self._input
            start = data.find(b"\x00\xff")
            if start < 0:
                self._input = data[-1:] if data[-1:] == b"\x00" else b""
                return None
            data = self._input = data[start:]
            if len(data) < 4:
                return None
            body = 4
            length = data[2]
            if data[2:4] == b"\x00\xff":
                self._input = data[4:]
                return _IS_ACK
            if data[2:4] == b"\xff\xff":
                if len(data) < 7:
                    return None
                body = 7
                length = data[4] << 8 | data[5]
                intact = sum(data[4:7]) & 0xFF == 0 and length <= MAX_ANSWER
            else:
                intact = length + data[3] == 0x100
            if not intact:
                self._input = data[2:]  # this was no start, or its length is lost: look for the next one
                continue
            end = body + length + 1
            if len(data) < end:
                return None
            self._input = data[end:]
            return data[body : end - 1] if sum(data[body:end]) & 0xFF == 0 else _DAMAGED

    def abort(self) -> None:
        """End the command under way: its answer will not come (6.2.1.3, "abort by ACK")."""
        self._code = _NONE
        self._uart.write(_ACK)
        self._port.sleep_ms(_GAP_MS)
        self._read()
        self._input = b""

    def command(self, code: int, data: bytes = b"", timeout_ms: int = _COMMAND_TIMEOUT_MS) -> bytes:
        """Run a command to its end and return the answer's data."""
        self.send(code, data)
        answer = self.receive(timeout_ms + 2 * self._port.LINE_DELAY_MS)  # it may take both its tries
        if answer is None:
            self.abort()
            raise ChipError(f"PN532 does not finish command {code:02x}")
        return answer

    # --- commands without radio

    def open(self) -> bytes:
        """Find the chip, raise the line's rate, configure it; returns GetFirmwareVersion's IC, Ver, Rev, Support.

        The chip keeps its rate over a reset of ours, so the raised one is tried too.
        """
        try:
            version = self._find(_FIRST_BAUDRATE)
        except ChipError:
            version = self._find(_BAUDRATE)
        if version[:1] != b"\x32":
            raise ChipError("not a PN532")
        self.command(SET_SERIAL_BAUD_RATE, b"\x07")
        # The chip switches when it has this ACK, still at the old rate (7.2.7).
        self._uart.write(_ACK)
        self._port.sleep_ms(_SETTLE_MS)
        self._uart.set_baudrate(_BAUDRATE)
        self.command(SET_PARAMETERS, b"\x00")  # nothing automatic: neither RATS nor ISO 14443-4 (7.2.9)
        self._wait_code = 0
        return version

    def _find(self, baudrate: int) -> bytes:
        self._uart.set_baudrate(baudrate)
        self._uart.write(_WAKE_UP)
        self.abort()
        self.command(SAM_CONFIGURATION, b"\x01\x00\x00")  # normal mode, no SAM; also ends the low-power start state
        return self.command(GET_FIRMWARE_VERSION)

    def rf_configuration(self, item: int, data: bytes) -> None:
        """One configuration item of the radio (7.3.1)."""
        self.command(RF_CONFIGURATION, bytes((item,)) + data)

    def field_off(self) -> None:
        self.rf_configuration(0x01, b"\x00")

    # --- reader

    def start_list_passive_target(self) -> None:
        """Look for one Type A card at 106 kbit/s, for ever (7.3.5); the field comes on by itself.

        The answer to `receive`: number of cards, card number, SENS_RES, SEL_RES, length of UID, UID.
        """
        self.rf_configuration(0x05, b"\xff\x01\xff")  # MxRtyATR (default), MxRtyPSL (default), passive activation
        self.send(IN_LIST_PASSIVE_TARGET, b"\x01\x00")

    def start_communicate_thru(self, block: bytes, timeout_ms: int) -> None:
        """Send a frame to the card as it is, CRC added (7.3.9). The answer to `receive`: status, the card's frame."""
        code = 1  # waiting time is 100 us * 2**(code - 1), at most 3.28 s (7.3.1, item 2)
        while code < 16 and (1 << code - 1) < timeout_ms * 10:
            code += 1
        if code != self._wait_code:
            self.rf_configuration(0x02, bytes((0x00, 0x0B, code)))
            self._wait_code = code
        self.send(IN_COMMUNICATE_THRU, block)

    # --- card

    def start_init_as_target(self, uid: bytes) -> None:
        """Wait, for ever, for a reader that selects a Type A card with UID 08 and `uid` (3 bytes) (7.3.14).

        The answer to `receive`: mode, the reader's first frame (which must be answered within 5 ms if it is a RATS).
        """
        self.command(WRITE_REGISTER, b"\x63\x01\x3f")  # CIU_Mode: mode detector off, so Type A only
        # Passive only; SENS_RES 0004, UID, SEL_RES 20 (ISO 14443-4); no FeliCa, no NFC-DEP parameters
        self.send(TG_INIT_AS_TARGET, b"\x01\x04\x00" + uid + b"\x20" + bytes(30))

    def start_get_initiator_command(self) -> None:
        """Wait for the reader's next frame (7.3.20). The answer to `receive`: status, frame."""
        self.send(TG_GET_INITIATOR_COMMAND)

    def response_to_initiator(self, block: bytes) -> int:
        """Send a frame to the reader (7.3.21); returns the chip's status, 0 if it is sent."""
        return self.command(TG_RESPONSE_TO_INITIATOR, block)[0]
