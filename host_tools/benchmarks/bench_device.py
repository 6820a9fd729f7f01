"""One device on the bench: the firmware's own modules over a virtual PN532, with every cost put on its clock.

Native instructions of `crypto` are counted under emulation of the board's chip, bytecodes by tracing the firmware's and
the protocol's modules (an estimate, see docs/benchmarks.md), bytes on the UART and pages of the flash as they move.
Only one device runs at a time, so the same tap is the same to the last byte on every computer.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from host_tools.benchmarks.report import INSTRUCTIONS_PER_BYTECODE, INSTRUCTIONS_PER_CALL
from host_tools.benchmarks.timeline import Clock
from host_tools.emulation import firmware
from host_tools.emulation.device_crypto import BACKENDS, DeviceCrypto
from host_tools.images.boards import PROJECT, load_board
from host_tools.images.chips import CHIPS
from host_tools.simulator.air import Air
from host_tools.simulator.virtual_pn532 import VirtualPn532
from protocol.card import Card

UART_BAUDRATE = 921_600  # what the driver raises the PN532's line to
_BITS_PER_BYTE = 10  # start, eight, stop
_I2C_BITS_PER_BYTE = 9  # with its acknowledgement
CYCLES_PER_INSTRUCTION = 1.3  # as in docs/benchmarks.md: loads, taken branches and the cache cost more than one
PAGE_PROGRAM_MS = 0.4  # Winbond W25Q32JV, rev. F, 9.6: tPP typical (at most 3)
PAGE_BYTES = 256
_SECTOR_BYTES = 4096
_TURN_TIMEOUT_S = 60.0  # no emulated step takes so long: then the two wait for each other

_MODULES = ("apps.device", "apps.collect", "drivers.nfc", "drivers.ssd1306")
_TRACED = (str(firmware.FIRMWARE), str(PROJECT / "protocol"))


class BenchError(Exception):
    """The tap did not go as it must, so its time says nothing."""


class Bench:
    """What two devices share: the air, the moment of the last writing, and whose turn it is."""

    def __init__(self) -> None:
        self.air = Air()
        self.turn = threading.Lock()
        self._parts: dict[str, float] = {}
        self._air_us = 0.0

    def begin(self, parts: dict[str, float]) -> None:
        """What happens on the air from here on follows from somebody with this clock."""
        self._parts, self._air_us = dict(parts), self.air.now_us

    def stamp(self) -> dict[str, float]:
        """The clock of what comes out of a chip now."""
        passed_ms = (self.air.now_us - self._air_us) / 1000
        return {**self._parts, "air": self._parts.get("air", 0.0) + passed_ms}


@dataclass(frozen=True)
class _Message:
    data: bytes
    parts: dict[str, float]


class Flash:
    """NOR flash in memory that puts its programs on the clock."""

    sector_size_bytes = _SECTOR_BYTES
    encrypted = False

    def __init__(self, size_bytes: int, spend: Callable[[int], None]) -> None:
        self.size_bytes = size_bytes
        self.program_count = self.page_count = self.erase_count = 0
        self._cells = bytearray(b"\xff" * size_bytes)
        self._spend = spend

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._cells[offset : offset + length])

    def program(self, offset: int, data: bytes) -> None:
        pages = (offset + len(data) - 1) // PAGE_BYTES - offset // PAGE_BYTES + 1
        self.program_count += 1
        self.page_count += pages
        self._cells[offset : offset + len(data)] = bytes(
            old & new for old, new in zip(self.read(offset, len(data)), data, strict=True)
        )
        self._spend(pages)

    def erase(self, offset: int) -> None:
        self.erase_count += 1
        self._cells[offset : offset + _SECTOR_BYTES] = b"\xff" * _SECTOR_BYTES


class BenchDevice:
    """A device of `board`, its state in `folder`. It is also the port and the UART that its firmware is given.

    `run(action)` does something in its name and counts it.
    """

    LINE_DELAY_MS = 0

    def __init__(self, name: str, board: str, folder: Path, bench: Bench) -> None:
        self.name = name
        self.board = load_board(board)
        self.clock = Clock()
        self.chip = VirtualPn532(bench.air, name)
        self.chip.on_output = self._chip_wrote
        folder.mkdir(parents=True)
        self._folder = folder
        self._bench = bench
        clock_hz = CHIPS[self.board.chip].clock_hz
        assert clock_hz is not None and self.board.display is not None
        self._instruction_ms = CYCLES_PER_INSTRUCTION / clock_hz * 1000
        self._inbox: deque[_Message] = deque()
        self._arrived = threading.Event()
        self._crypto = DeviceCrypto(
            next(backend for backend in BACKENDS.values() if backend.architecture == self.board.mpy_architecture)
        )
        self._modules = firmware.load(_MODULES, self._crypto)
        self._operation = ""
        self._bytecodes = self._calls = 0
        self._native = self._crypto.instructions
        self.uart_bytes = 0
        self.device = self._modules["apps.device"].Device(self, {"label": "journal", "size_bytes": 1 << 18})
        self.device._timed = self._timed  # what is signed and verified has a name on the clock
        self.nfc = self._modules["drivers.nfc"].NfcPort(self, self)
        self.card = Card(self.device)

    # --- counting

    def begin(self) -> None:
        """Time starts now, for whatever is done from here on."""
        self.settle()
        self.clock = Clock()
        self._inbox = deque(_Message(message.data, {}) for message in self._inbox)
        self.uart_bytes = self.flash.program_count = self.flash.page_count = self.flash.erase_count = 0

    def run(self, action: Callable[..., Any], *arguments: Any) -> Any:
        previous = sys.gettrace()
        sys.settrace(self._trace)
        try:
            return action(*arguments)
        finally:
            sys.settrace(previous)
            self.settle()

    def settle(self) -> None:
        """Put on the clock what was computed since the last time."""
        native = self._crypto.instructions - self._native
        glue = self._bytecodes * INSTRUCTIONS_PER_BYTECODE + self._calls * INSTRUCTIONS_PER_CALL
        self._native += native
        self._bytecodes = self._calls = 0
        if native:
            self.clock.spend(f"{self.name}: {self._operation or 'keys'}", native * self._instruction_ms)
        if glue:
            self.clock.spend(f"{self.name}: interpreter", glue * self._instruction_ms)

    def _trace(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_TRACED):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        self._bytecodes += event == "opcode"
        self._calls += event == "call"
        return self._trace

    def _timed(self, action: Callable[..., Any], *arguments: Any) -> Any:
        self.settle()
        self._operation = {"sign": "sign", "verify": "verify"}.get(action.__name__, "verify certificate")
        try:
            return action(*arguments)
        finally:
            self.settle()
            self._operation = ""

    # --- the UART to the PN532, as its driver uses one

    def write(self, data: bytes) -> None:
        self.settle()
        self._spend_uart(len(data))
        self._bench.begin(self.clock.parts)
        self.chip.receive(data)

    def read(self) -> bytes:
        """One piece of what the chip has written; what waits behind it arrives later."""
        if not self._inbox:
            return b""
        message = self._inbox.popleft()
        self.settle()
        self.clock.wait_for(message.parts)
        self._spend_uart(len(message.data))
        return message.data

    def set_baudrate(self, rate: int) -> None:
        pass

    def close(self) -> None:
        pass

    def _spend_uart(self, n_bytes: int) -> None:
        self.uart_bytes += n_bytes
        self.clock.spend(f"{self.name}: UART", n_bytes * _BITS_PER_BYTE / UART_BAUDRATE * 1000)

    def _chip_wrote(self) -> None:
        data = self.chip.take_output()
        if data:
            self._inbox.append(_Message(data, self._bench.stamp()))
            self._arrived.set()

    # --- the port, as the firmware uses one

    def wait(self, _uarts: list, timeout_ms: int) -> None:
        """Give the other device its turn until the chip has something for us."""
        if self._inbox or timeout_ms <= 0:
            return
        self._arrived.clear()
        self._bench.turn.release()
        arrived = self._arrived.wait(_TURN_TIMEOUT_S)
        self._bench.turn.acquire()
        if not arrived:
            raise BenchError(f"{self.name} waits for ever")

    def ticks_ms(self) -> int:
        return int(self.clock.now_ms)

    def ticks_us(self) -> int:
        return int(self.clock.now_ms * 1000)

    @staticmethod
    def ticks_diff(later: int, earlier: int) -> int:
        return later - earlier

    def sleep_ms(self, ms: int) -> None:
        self.settle()
        self.clock.spend(f"{self.name}: pauses", ms)

    def open_flash(self, spec: dict) -> Flash:
        self.flash = Flash(spec["size_bytes"], self._programmed)
        return self.flash

    def _programmed(self, pages: int) -> None:
        self.settle()
        self.clock.spend(f"{self.name}: journal", pages * PAGE_PROGRAM_MS)

    def data_path(self, name: str) -> str:
        return str(self._folder / name)

    @staticmethod
    def device_secret(may_make: bool) -> bytes:
        return bytes(32)

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)

    def key_bytes(self, count: int) -> bytes:
        return self.name.encode().ljust(count, b"\0")[:count]

    # --- what it does in the tap

    def collect(self, purpose: int, amount: int) -> Any:
        """A `Collection` that asks for `amount`."""
        return self._modules["apps.collect"].Collection(self.device, self.nfc, False, purpose, amount, bytes(8))

    def draw(self) -> None:
        """Send a picture to the display."""
        display = self._modules["drivers.ssd1306"].Ssd1306(self, 0)
        self.clock.work.pop(f"{self.name}: display", None)  # what initialising it took
        self.clock.parts.pop(f"{self.name}: display", None)
        display.flush(bytearray(1024), "")
        self.settle()

    def writevto(self, _address: int, parts: list) -> None:
        """I2C, as `machine.I2C` has it."""
        assert self.board.display is not None
        bits = (1 + sum(len(part) for part in parts)) * _I2C_BITS_PER_BYTE
        self.clock.spend(f"{self.name}: display", bits / self.board.display["i2c"]["frequency_hz"] * 1000)
