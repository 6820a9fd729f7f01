"""The commands of the loader in Espressif's ROMs, as esptool sends them ("Serial Protocol" in its documentation).

Knows packets and not how they come; `virtual_esp_rom` is the line, `virtual_esp_stub` the other loader.
"""

import functools
import hashlib
import operator
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from host_tools.simulator.virtual_esp_chips import FIRST_BAUDRATE, RomChip, divider
from host_tools.simulator.virtual_esp_flash import SECTOR_BYTES, NorFlash

FLASH_BEGIN = 0x02
FLASH_DATA = 0x03
FLASH_END = 0x04
MEM_BEGIN = 0x05
MEM_END = 0x06
MEM_DATA = 0x07
SYNC = 0x08
WRITE_REG = 0x09
READ_REG = 0x0A
SPI_SET_PARAMS = 0x0B
SPI_ATTACH = 0x0D
READ_FLASH_SLOW = 0x0E
CHANGE_BAUDRATE = 0x0F
FLASH_DEFL_BEGIN = 0x10
FLASH_DEFL_DATA = 0x11
FLASH_DEFL_END = 0x12
SPI_FLASH_MD5 = 0x13
GET_SECURITY_INFO = 0x14

BEGIN_PACKETS = (FLASH_BEGIN, FLASH_DEFL_BEGIN)
DATA_PACKETS = (FLASH_DATA, FLASH_DEFL_DATA)
_IN_SECURE_DOWNLOAD = (
    *BEGIN_PACKETS,
    *DATA_PACKETS,
    FLASH_END,
    FLASH_DEFL_END,
    SYNC,
    SPI_SET_PARAMS,
    SPI_ATTACH,
    CHANGE_BAUDRATE,
    GET_SECURITY_INFO,
)

# Why a command failed ("Serial Protocol", "Status Bytes")
INVALID = 0x05
FAILED = 0x06
WRONG_CHECKSUM = 0x07
NOT_DEFLATED = 0x0B

SECURE_BOOT = 1 << 0  # flags of GET_SECURITY_INFO
SECURE_DOWNLOAD = 1 << 2

_MAGIC_WORD = 0x40001000
_SYNC_DATA = b"\x07\x07\x12\x20" + 32 * b"\x55"
_FIRST_FLASH_SIZE_BYTES = 2 << 20  # what the ROM believes until SPI_SET_PARAMS
_SLOW_READ_BYTES = 64
_SPI_USER_COMMAND = 1 << 18
_CHECKSUM_SEED = 0xEF


class CommandFailed(Exception):
    """`reason` stands in the answer."""

    def __init__(self, reason: int) -> None:
        self.reason = reason


def unpacked(form: str, data: bytes) -> tuple[int, ...]:
    """The words of a command. Raises CommandFailed if they are not what it takes."""
    if len(data) != struct.calcsize(form):
        raise CommandFailed(INVALID)
    return struct.unpack(form, data)


@dataclass
class Machine:
    """The chip that a loader runs on."""

    chip: RomChip
    flash: NorFlash
    flags: int
    crypt_count: int
    registers: dict[int, int] = field(default_factory=dict)
    baudrate: int = FIRST_BAUDRATE
    torn_bytes: int | None = None  # power goes after so many bytes of the next block or erase

    def __post_init__(self) -> None:
        self.registers |= self.chip.words
        self.registers[_MAGIC_WORD] = self.chip.magic
        self.set_baudrate(self.baudrate)
        self._burn(*self.chip.crypt_count, self.crypt_count & 1)
        self._burn(*self.chip.secure_boot, int(self.flags & SECURE_BOOT != 0))

    def erase(self, offset: int, size: int) -> None:
        self.flash.erase(offset, size if self.torn_bytes is None else min(size, self.torn_bytes))

    def program(self, offset: int, data: bytes) -> None:
        self.flash.program(offset, data[: self.torn_bytes])

    def set_baudrate(self, rate: int) -> None:
        self.baudrate = rate
        self.registers[self.chip.uart_divider] = divider(rate) if rate else 0

    def write_register(self, address: int, value: int, mask: int) -> None:
        self.registers[address] = self.registers.get(address, 0) & ~mask | value & mask
        if address == self.chip.spi.command and self.registers[address] & _SPI_USER_COMMAND:
            self._run_spi()

    def _run_spi(self) -> None:
        """The flash's controller does one command; the bit that started it goes out when it is done."""
        spi = self.chip.spi
        address = self.registers.get(spi.address, 0)
        command = self.registers.get(spi.user2, 0) & 0xFF
        self.registers[spi.word0] = self.flash.spi(command, address >> 8 if spi.address_at_top else address)
        self.registers[spi.command] &= ~_SPI_USER_COMMAND

    def _burn(self, register: int, bit: int, value: int) -> None:
        self.registers[register] = self.registers.get(register, 0) | value << bit


@dataclass
class Download:
    """A write to flash between its begin and its last block."""

    offset: int  # where the next byte goes
    end: int
    blocks: int
    inflate: "zlib._Decompress | None"
    next_block: int = 0


class RomLoader:
    """`value` is what stands in the head of every answer; `is_over` says that the loader was left.

    With `entry` set, an image in RAM was started; with `starts_rom`, the ROM's loader is to start again.
    """

    status_bytes = 4
    sync_value = 0x55201207  # not 0, by which esptool knows its stub

    def __init__(self, machine: Machine, send: Callable[[bytes], None]) -> None:
        self.machine = machine
        self.send = send
        self.value = 0
        self.is_over = False
        self.entry = 0
        self.starts_rom = False
        self.is_attached = False
        self.flash_size_bytes = _FIRST_FLASH_SIZE_BYTES
        self._download: Download | None = None
        self._checksum = 0
        self._commands: dict[int, Callable[[bytes], bytes]] = self.commands()
        if machine.flags & SECURE_DOWNLOAD:
            self._commands = {code: self._commands[code] for code in _IN_SECURE_DOWNLOAD if code in self._commands}

    def commands(self) -> dict[int, Callable[[bytes], bytes]]:
        known = {
            FLASH_BEGIN: functools.partial(self.begin, False),
            FLASH_DEFL_BEGIN: functools.partial(self.begin, True),
            FLASH_DATA: self._data,
            FLASH_DEFL_DATA: self._data,
            FLASH_END: self.end,
            FLASH_DEFL_END: self.end,
            MEM_BEGIN: lambda data: bytes(unpacked("<4I", data)[:0]),
            MEM_DATA: lambda data: self._block(data)[1][:0],
            MEM_END: self._start_in_ram,
            SYNC: self._sync,
            READ_REG: self._read_register,
            WRITE_REG: self._write_registers,
            SPI_ATTACH: self.attach,
            SPI_SET_PARAMS: self._set_parameters,
            CHANGE_BAUDRATE: self._change_baudrate,
            SPI_FLASH_MD5: self.md5,
            READ_FLASH_SLOW: self._read_slowly,
        }
        return known if self.machine.chip.chip_id is None else known | {GET_SECURITY_INFO: self._security_info}

    def knows(self, code: int) -> bool:
        return code in self._commands

    def execute(self, code: int, data: bytes, checksum: int) -> bytes:
        """What the command answers. Raises CommandFailed."""
        self._checksum = checksum
        return self._commands[code](data)

    def take(self, packet: bytes) -> bool:
        """Whether the loader waits for something that is no command, and this is it."""
        return False

    def after_answer(self) -> None:
        """What follows an answer."""

    # --- chip

    def _sync(self, data: bytes) -> bytes:
        if data != _SYNC_DATA:
            raise CommandFailed(INVALID)
        self.machine.set_baudrate(FIRST_BAUDRATE)  # it measures the host's, which begins with this one
        return b""

    def _read_register(self, data: bytes) -> bytes:
        (address,) = unpacked("<I", data)
        self.value = self.machine.registers.get(address, 0)
        return b""

    def _write_registers(self, data: bytes) -> bytes:
        if not data or len(data) % 16:
            raise CommandFailed(INVALID)
        for address, value, mask, _delay_us in struct.iter_unpack("<IIII", data):
            self.machine.write_register(address, value, mask)
        return b""

    def _change_baudrate(self, data: bytes) -> bytes:
        self.machine.set_baudrate(unpacked("<II", data)[0])
        return b""

    def _security_info(self, data: bytes) -> bytes:
        unpacked("<", data)
        machine, key_purposes = self.machine, bytes(7)
        return struct.pack("<IB7sII", machine.flags, machine.crypt_count, key_purposes, machine.chip.chip_id, 0)

    def _start_in_ram(self, data: bytes) -> bytes:
        self.entry = unpacked("<II", data)[1]
        return b""

    # --- flash

    def attach(self, data: bytes) -> bytes:
        unpacked("<II", data)
        self.is_attached = True
        return b""

    def _set_parameters(self, data: bytes) -> bytes:
        self.flash_size_bytes = unpacked("<6I", data)[1]
        return b""

    def check_range(self, offset: int, length: int) -> None:
        """Raises CommandFailed for what the loader does not let pass to the flash."""
        if not self.is_attached or offset + length > self.flash_size_bytes:
            raise CommandFailed(FAILED)

    def begin(self, is_deflated: bool, data: bytes) -> bytes:
        """Erases all that will be written."""
        offset, size = self.open_download(is_deflated, "<5I" if self.machine.chip.extended_begin else "<4I", data)
        if offset % SECTOR_BYTES:
            raise CommandFailed(FAILED)
        self.machine.erase(offset, size)
        return b""

    def open_download(self, is_deflated: bool, form: str, data: bytes) -> tuple[int, int]:
        size, blocks, _block_size, offset, *_is_encrypted = unpacked(form, data)
        self.check_range(offset, size)
        self._download = Download(offset, offset + size, blocks, zlib.decompressobj() if is_deflated else None)
        return offset, size

    def _block(self, data: bytes) -> tuple[int, bytes]:
        """The number of a block and what is in it."""
        if len(data) < 16:
            raise CommandFailed(INVALID)
        length, number = struct.unpack_from("<II", data)
        block = data[16:]
        if length != len(block):
            raise CommandFailed(INVALID)
        if functools.reduce(operator.xor, block, _CHECKSUM_SEED) != self._checksum:
            raise CommandFailed(WRONG_CHECKSUM)
        return number, block

    def _data(self, data: bytes) -> bytes:
        number, block = self._block(data)
        download = self._download
        if download is None or number != download.next_block or number >= download.blocks:
            raise CommandFailed(FAILED)
        if download.inflate is not None:
            try:
                block = download.inflate.decompress(block)
            except zlib.error:
                raise CommandFailed(NOT_DEFLATED) from None
            if download.offset + len(block) > download.end:
                raise CommandFailed(NOT_DEFLATED)
        self.check_range(download.offset, len(block))
        self.before_program(download.offset, len(block))
        self.machine.program(download.offset, block)
        download.offset += len(block)
        download.next_block += 1
        return b""

    def before_program(self, offset: int, length: int) -> None:
        """The ROM has erased everything at the begin."""

    def end(self, data: bytes) -> bytes:
        """Both kinds of end leave the loader."""
        unpacked("<I", data)
        if self._download is None:
            raise CommandFailed(FAILED)
        self.is_over = True
        return b""

    def md5(self, data: bytes) -> bytes:
        return self.digest(data).hex().encode()

    def digest(self, data: bytes) -> bytes:
        """MD5 of the region that the command names."""
        offset, length, _, _ = unpacked("<4I", data)
        self.check_range(offset, length)
        return hashlib.md5(self.machine.flash.read(offset, length)).digest()

    def _read_slowly(self, data: bytes) -> bytes:
        offset, length = unpacked("<II", data)
        if length > _SLOW_READ_BYTES:
            raise CommandFailed(INVALID)
        self.check_range(offset, length)
        return self.machine.flash.read(offset, length).ljust(_SLOW_READ_BYTES, b"\0")
