"""An ESP32, ESP32-S3 or ESP32-C3 in download mode at byte level, for the unmodified esptool. Sans-IO.

Feed what the host writes to `receive`, send on what gathers (`take_output`, `on_output`); `reactor.serve_url` puts it
on a pty or a TCP port. It is in download mode from the start: a pty has no reset lines.

It can fail (`Faults`), report another chip (give it a `RomChip` that says so), have encrypted flash or secure boot, or
be in secure download mode. Code in RAM is not run: once an image is started there, it goes on as esptool's stub would.
"""

import argparse
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from host_tools.simulator.reactor import Reactor, serve_url
from host_tools.simulator.virtual_esp_chips import CHIPS, RomChip
from host_tools.simulator.virtual_esp_flash import NorFlash
from host_tools.simulator.virtual_esp_loader import (
    BEGIN_PACKETS,
    CHANGE_BAUDRATE,
    DATA_PACKETS,
    INVALID,
    SECURE_BOOT,
    SECURE_DOWNLOAD,
    SYNC,
    CommandFailed,
    Machine,
    RomLoader,
)
from host_tools.simulator.virtual_esp_slip import SlipReader, encode
from host_tools.simulator.virtual_esp_stub import ERASE_FLASH, ERASE_REGION, GREETING, StubLoader

_FLASH_PACKETS = (*BEGIN_PACKETS, *DATA_PACKETS, ERASE_FLASH, ERASE_REGION)  # what changes flash
_HEAD = struct.Struct("<BBHI")  # direction, command, length, checksum of a block or value of a register
_REPEATS = 8  # of the answers to SYNC, and to what the ROM does not know


@dataclass
class Faults:
    """What goes wrong. `end_after` counts packets that change flash; the last one is executed and not answered.

    `on_gone` is called then, to take the port away; without it the chip just says nothing any more. The last packet
    erases or programs `torn_bytes` only.
    """

    lost_received: frozenset[int] = frozenset()  # positions of bytes, counted from the first that the host sent
    lost_sent: frozenset[int] = frozenset()
    end_after: int | None = None
    torn_bytes: int | None = None
    on_gone: Callable[[], None] | None = None


class VirtualEspRom:
    """One chip with its flash in a file. `packets` counts commands that were done, by their code; bytes are counted on
    the wire, over resets.
    """

    def __init__(
        self,
        chip: str | RomChip,
        flash: Path,
        flash_size_bytes: int = 4 << 20,
        *,
        faults: Faults | None = None,
        is_encrypted: bool = False,
        has_secure_boot: bool = False,
        is_secure_download: bool = False,
    ) -> None:
        self.chip = CHIPS[chip] if isinstance(chip, str) else chip
        self.flash = NorFlash(flash, flash_size_bytes)
        self.faults = faults or Faults()
        self.packets: Counter[int] = Counter()
        self.on_output: Callable[[], None] | None = None
        self.on_baudrate: Callable[[int], None] | None = None
        self._flags = SECURE_BOOT * has_secure_boot | SECURE_DOWNLOAD * is_secure_download
        self._crypt_count = int(is_encrypted)
        self.received_bytes = 0
        self.sent_bytes = 0
        self.reset()

    def reset(self) -> None:
        """RESET with BOOT held: the ROM's loader starts again."""
        self.machine = Machine(self.chip, self.flash, self._flags, self._crypt_count)
        self.loader: RomLoader = RomLoader(self.machine, self._send)
        self.is_silent = False
        self._slip = SlipReader()
        self._output = bytearray()
        self._known_code = 0

    @property
    def flash_packets(self) -> int:
        """How many packets have changed flash."""
        return sum(self.packets[code] for code in _FLASH_PACKETS)

    @property
    def data_packets(self) -> int:
        """How many of these were data."""
        return sum(self.packets[code] for code in DATA_PACKETS)

    def receive(self, data: bytes) -> None:
        """Bytes that the host wrote."""
        lost = self.faults.lost_received
        kept = bytes(byte for at, byte in enumerate(data, self.received_bytes) if at not in lost) if lost else data
        self.received_bytes += len(data)
        for packet in self._slip.feed(kept):
            if not self.is_silent and not self.loader.take(packet):
                self._execute(packet)

    def take_output(self) -> bytes:
        """What the chip has written since the last call."""
        data, self._output = bytes(self._output), bytearray()
        return data

    def _send(self, packet: bytes) -> None:
        frame, lost = encode(packet), self.faults.lost_sent
        self._output += bytes(byte for at, byte in enumerate(frame, self.sent_bytes) if at not in lost)
        self.sent_bytes += len(frame)
        if self.on_output is not None:
            self.on_output()

    def _execute(self, packet: bytes) -> None:
        if len(packet) < _HEAD.size or packet[0] != 0:
            return
        _, code, length, checksum = _HEAD.unpack_from(packet)
        data = packet[_HEAD.size :]
        if not self.loader.knows(code):
            # Said under the last code that it knew, again and again; esptool throws the repetitions away.
            self._answer(self._known_code, b"", INVALID, _REPEATS)
            return
        self._known_code = code
        is_last = code in _FLASH_PACKETS and self.flash_packets + 1 == self.faults.end_after
        self.machine.torn_bytes = self.faults.torn_bytes if is_last else None
        answer, reason = b"", INVALID
        if len(data) == length:
            try:
                answer, reason = self.loader.execute(code, data, checksum), 0
                self.packets[code] += 1
            except CommandFailed as failed:
                reason = failed.reason
        if is_last and not reason:
            self.is_silent = True
            if self.faults.on_gone is not None:
                self.faults.on_gone()
            return
        self._answer(code, answer, reason, _REPEATS if code == SYNC else 1)
        self._after(code)

    def _answer(self, code: int, data: bytes, reason: int, times: int) -> None:
        loader = self.loader
        status = bytes((int(reason != 0), reason)).ljust(loader.status_bytes, b"\0")
        value = loader.sync_value if code == SYNC else loader.value
        for _ in range(times):
            self._send(_HEAD.pack(1, code, len(data) + len(status), value) + data + status)

    def _after(self, code: int) -> None:
        """What a command does once it is answered."""
        self.is_silent = self.loader.is_over
        if self.loader.starts_rom:
            self.loader = RomLoader(self.machine, self._send)
        elif self.loader.entry:
            self.loader = StubLoader(self.machine, self._send)
            self._send(GREETING)
        self.loader.after_answer()
        if code == CHANGE_BAUDRATE and self.on_baudrate is not None:
            self.on_baudrate(self.machine.baudrate)


def main() -> None:
    """Serves one chip until Ctrl-C, for trying esptool by hand."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("chip", choices=sorted(CHIPS))
    parser.add_argument("flash", type=Path, help="file with the flash; made if it is not there")
    parser.add_argument("--megabytes", type=int, default=4)
    parser.add_argument("--uart", default="pty:", help="pty: or tcp-listen://host:port")
    wanted = parser.parse_args()
    with Reactor() as reactor:
        rom = VirtualEspRom(wanted.chip, wanted.flash, wanted.megabytes << 20)
        print(f"{rom.chip.title} at {serve_url(reactor, wanted.uart, rom)}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
