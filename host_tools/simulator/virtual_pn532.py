"""A PN532 at byte level: its UART on one side, the air on the other (UM0701-02). Sans-IO.

Owns the host link, the configuration and the commands without radio; the two radio roles are in `pn532_reader` and
`pn532_card`. Feed what the host writes to `receive`, send on what gathers in `output` (`on_output` tells when). As on
the chip, every intact command is acknowledged at once and answered when done; ACK or another command aborts it.

Not there: FeliCa, Type B, NFC-DEP and Type 1 (a search for them finds nothing), InAutoPoll and the SAM.
"""

from collections.abc import Callable

from host_tools.simulator.air import Air, Identity
from host_tools.simulator.pn532_card import CardRole
from host_tools.simulator.pn532_frames import (
    ACK,
    NACK,
    SYNTAX_ERROR,
    TFI_FROM_HOST,
    TFI_TO_HOST,
    FrameReader,
    information_frame,
)
from host_tools.simulator.pn532_parts import DEFAULT_PARAMETERS, RESET_REGISTERS, CommandSyntaxError, Job, RfSettings
from host_tools.simulator.pn532_reader import ReaderRole

FIRMWARE_VERSION = bytes.fromhex("32010607")  # IC PN532, version 1.6, ISO 14443 A and B, ISO 18092
BAUDRATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1288000)
FIRST_BAUDRATE = 115200
_WAKE_UP_EDGES = 5  # rising edges on the UART that end power-down (7.2.11)


class VirtualPn532:
    """One chip in one air. Public methods take the air's lock; `on_output` and `on_baudrate` are called under it."""

    def __init__(self, air: Air, name: str = "pn532") -> None:
        self.air = air
        self.name = name
        self.output = bytearray()
        self.on_output: Callable[[], None] | None = None
        self.on_baudrate: Callable[[int], None] | None = None
        self._start()

    def _start(self) -> None:
        """As after power comes: everything at its reset value."""
        self.baudrate = FIRST_BAUDRATE
        self.registers = dict(RESET_REGISTERS)
        self.parameters = DEFAULT_PARAMETERS
        self.rf = RfSettings()
        self.reader = ReaderRole(self)
        self.card = CardRole(self)
        self._frames = FrameReader()
        self._job: Job | None = None
        self._last_answer = b""
        self._next_baudrate: int | None = None
        self._edges_missing = 0
        self._commands: dict[int, Callable[[Job, bytes], bytes | None]] = {
            0x00: self._diagnose,
            0x02: lambda _job, _data: FIRMWARE_VERSION,
            0x04: self._general_status,
            0x06: self._read_register,
            0x08: self._write_register,
            0x0C: lambda _job, _data: b"\x3f\x86\x03",  # P3, P7, I0I1 as after reset
            0x0E: lambda _job, _data: b"",
            0x10: self._set_baudrate,
            0x12: self._set_parameters,
            0x14: self._sam_configuration,
            0x16: self._power_down,
            0x32: self._rf_configuration,
            **self.reader.commands,
            **self.card.commands,
        }

    # --- host link

    def receive(self, data: bytes) -> None:
        """Bytes that the host wrote."""
        with self.air.lock:
            for item in self._frames.feed(self._wake(data)):
                if item == ACK:
                    self._acknowledged()
                elif item == NACK:
                    self._put(self._last_answer)
                elif item[0] == TFI_FROM_HOST and len(item) >= 2:
                    self._execute(item[1], item[2:])

    def take_output(self) -> bytes:
        """What the chip has written since the last call."""
        with self.air.lock:
            data = bytes(self.output)
            self.output.clear()
            return data

    @property
    def is_asleep(self) -> bool:
        """Whether the host's next bytes do no more than wake it."""
        with self.air.lock:
            return self._edges_missing > 0

    def _wake(self, data: bytes) -> bytes:
        """While asleep, count rising edges; bytes until there are enough are lost."""
        for index, byte in enumerate(data):
            if not self._edges_missing:
                return data[index:]
            bits = "0" + f"{byte:08b}"[::-1] + "1"  # start, LSB first, stop
            self._edges_missing = max(0, self._edges_missing - bits.count("01"))
        return b""

    def _put(self, data: bytes) -> None:
        self.output += data
        if self.on_output is not None:
            self.on_output()

    def _acknowledged(self) -> None:
        if self._job is not None:
            self._abort()
        self._switch_baudrate()

    def _switch_baudrate(self) -> None:
        if self._next_baudrate is None:
            return
        self.baudrate, self._next_baudrate = self._next_baudrate, None
        if self.on_baudrate is not None:
            self.on_baudrate(self.baudrate)

    def _abort(self) -> None:
        self._job = None
        self.reader.abort()
        self.card.abort()

    def _execute(self, code: int, data: bytes) -> None:
        self._switch_baudrate()  # its ACK may get lost when the host reopens a pty at the new rate
        if self._job is not None:
            self._abort()
        self._put(ACK)
        command = self._commands.get(code)
        job = self._job = Job(code)
        try:
            if command is None:
                raise CommandSyntaxError
            answer = command(job, data)
        except (CommandSyntaxError, IndexError):
            self._job = None
            self._last_answer = SYNTAX_ERROR
            self._put(SYNTAX_ERROR)
            return
        if answer is not None:
            self.finish(job, answer)

    def finish(self, job: Job, answer: bytes) -> None:
        """Answer a command, unless it has been aborted since."""
        if self._job is job:
            self._job = None
            self._last_answer = information_frame(bytes((TFI_TO_HOST, job.code + 1)) + answer)
            self._put(self._last_answer)

    def power_off(self) -> None:
        """The chip's supply is gone; what it hears next it hears as a chip that has just started."""
        with self.air.lock:
            self._abort()
            self.air.remove(self)
            self.output.clear()
            self._start()

    # --- commands without radio

    def _diagnose(self, _job: Job, data: bytes) -> bytes:
        test = data[0]
        if test == 0x00:
            return data  # communication line: everything comes back, the test number too
        if test in (0x01, 0x02):
            return b"\x00"  # ROM, RAM
        raise CommandSyntaxError

    def _general_status(self, _job: Job, _data: bytes) -> bytes:
        targets = b"\x01\x00\x00\x00" if self.reader.has_target else b""
        field = int(self.card.is_active)  # an external field is seen
        return bytes((0x00, field, len(targets) // 4)) + targets + b"\x80"

    def _read_register(self, _job: Job, data: bytes) -> bytes:
        addresses = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        if not addresses or len(data) % 2:
            raise CommandSyntaxError
        return bytes(self.registers.get(address, 0) for address in addresses)

    def _write_register(self, _job: Job, data: bytes) -> bytes:
        if not data or len(data) % 3:
            raise CommandSyntaxError
        for i in range(0, len(data), 3):
            self.registers[int.from_bytes(data[i : i + 2], "big")] = data[i + 2]
        return b""

    def _set_baudrate(self, _job: Job, data: bytes) -> bytes:
        if len(data) != 1 or data[0] >= len(BAUDRATES):
            raise CommandSyntaxError
        self._next_baudrate = BAUDRATES[data[0]]  # in force after the host's ACK (7.2.7)
        return b""

    def _set_parameters(self, _job: Job, data: bytes) -> bytes:
        if len(data) != 1:
            raise CommandSyntaxError
        self.parameters = data[0]
        return b""

    def _sam_configuration(self, _job: Job, data: bytes) -> bytes:
        if not 1 <= len(data) <= 3 or not 1 <= data[0] <= 4:
            raise CommandSyntaxError
        return b""

    def _power_down(self, _job: Job, data: bytes) -> bytes:
        if not 1 <= len(data) <= 2:
            raise CommandSyntaxError
        self.card.stop()
        self.air.set_field(self, False)
        self._edges_missing = _WAKE_UP_EDGES
        return b"\x00"

    def _rf_configuration(self, _job: Job, data: bytes) -> bytes:
        item, settings = data[0], data[1:]
        self.rf.configure(item, settings)
        if item == 0x01:
            self.card.stop()
            self.air.set_field(self, bool(settings[0] & 1))
            self.reader.forget()
        return b""

    # --- the air's side

    def card_identity(self) -> Identity | None:
        return self.card.identity()

    def card_selected(self) -> None:
        self.card.selected()

    def card_frame(self, data: bytes) -> None:
        self.card.frame(data)

    def card_field_lost(self) -> None:
        self.card.field_lost()

    def reader_retry(self) -> None:
        self.reader.search()
