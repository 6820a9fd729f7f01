"""How a chip goes on when esptool's stub runs on it: fewer status bytes, erasing while it writes, fast reading.

It is not the stub's code that runs here, only its side of the protocol ("Serial Protocol", "Flasher Stub").
"""

import functools
import hashlib
from collections.abc import Callable

from host_tools.simulator.virtual_esp_flash import SECTOR_BYTES
from host_tools.simulator.virtual_esp_loader import (
    FAILED,
    FLASH_BEGIN,
    FLASH_DEFL_BEGIN,
    FLASH_DEFL_END,
    FLASH_END,
    READ_FLASH_SLOW,
    SPI_ATTACH,
    SPI_FLASH_MD5,
    CommandFailed,
    Machine,
    RomLoader,
    unpacked,
)

GREETING = b"OHAI"
ERASE_FLASH = 0xD0
ERASE_REGION = 0xD1
_READ_FLASH = 0xD2
_FIRST_FLASH_SIZE_BYTES = 16 << 20


class StubLoader(RomLoader):
    """What the stub does otherwise than the ROM."""

    status_bytes = 2
    sync_value = 0

    def __init__(self, machine: Machine, send: Callable[[bytes], None]) -> None:
        super().__init__(machine, send)
        self.is_attached = True  # it does that itself when it starts, and believes in a large chip
        self.flash_size_bytes = _FIRST_FLASH_SIZE_BYTES
        self._erased_to = 0
        self._unread: list[bytes] = []  # packets of a reading, to be sent as the host takes them

    def commands(self) -> dict[int, Callable[[bytes], bytes]]:
        known = super().commands() | {
            FLASH_BEGIN: functools.partial(self.begin, False),
            FLASH_DEFL_BEGIN: functools.partial(self.begin, True),
            FLASH_END: self.end,
            FLASH_DEFL_END: self.end,
            SPI_ATTACH: self.attach,
            SPI_FLASH_MD5: self.md5,
            ERASE_FLASH: self._erase_flash,
            ERASE_REGION: self._erase_region,
            _READ_FLASH: self._read,
        }
        del known[READ_FLASH_SLOW]
        return known

    def attach(self, data: bytes) -> bytes:
        unpacked("<I", data)
        self.is_attached = True
        return b""

    def begin(self, is_deflated: bool, data: bytes) -> bytes:
        """Erases nothing yet."""
        self._erased_to, _size = self.open_download(is_deflated, "<5I", data)
        return b""

    def before_program(self, offset: int, length: int) -> None:
        if offset + length > self._erased_to:
            self.machine.erase(self._erased_to, offset + length - self._erased_to)
            self._erased_to = -(-(offset + length) // SECTOR_BYTES) * SECTOR_BYTES

    def end(self, data: bytes) -> bytes:
        """0 starts the ROM's loader again, else the stub stays."""
        (stay,) = unpacked("<I", data)
        self.starts_rom = not stay
        return b""

    def md5(self, data: bytes) -> bytes:
        return self.digest(data)

    def _erase_flash(self, data: bytes) -> bytes:
        unpacked("<", data)
        self.machine.erase(0, self.machine.flash.size_bytes)
        return b""

    def _erase_region(self, data: bytes) -> bytes:
        offset, size = unpacked("<II", data)
        self.check_range(offset, size)
        if offset % SECTOR_BYTES or size % SECTOR_BYTES:
            raise CommandFailed(FAILED)
        self.machine.erase(offset, size)
        return b""

    def _read(self, data: bytes) -> bytes:
        offset, length, block_size, _in_flight = unpacked("<4I", data)
        self.check_range(offset, length)
        contents = self.machine.flash.read(offset, length)
        self._unread = [contents[at : at + block_size] for at in range(0, length, block_size)]
        self._unread.append(hashlib.md5(contents).digest())
        return b""

    def after_answer(self) -> None:
        if self._unread:
            self.send(self._unread.pop(0))

    def take(self, packet: bytes) -> bool:
        """The host acknowledges each packet of a reading with how many bytes it has; the digest is the last."""
        if not self._unread:
            return False
        self.send(self._unread.pop(0))
        return True
