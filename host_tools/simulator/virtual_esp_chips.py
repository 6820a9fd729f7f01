"""What esptool reads of an ESP32, ESP32-S3 and ESP32-C3 before it flashes one: identity, eFuses, SPI controller.

Addresses and bit fields are those of Espressif's technical reference manuals ("eFuse Controller", "SPI Controller"), as
esptool's `targets` use them. Words that are not listed read as 0: eFuses that nobody has burned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

_CRYSTAL_HZ = 40_000_000
FIRST_BAUDRATE = 115200


@dataclass(frozen=True)
class SpiRegisters:
    """Where the controller of the flash has its registers, and whether an address stands at the top of its word."""

    command: int
    address: int
    user2: int
    word0: int
    address_at_top: bool


@dataclass(frozen=True)
class RomChip:
    """One chip as its ROM shows it. `dataclasses.replace` makes one that says something else of itself."""

    title: str
    magic: int  # the ROM's word at 0x40001000, by which older chips are told apart
    chip_id: int | None  # of GET_SECURITY_INFO; None: a ROM without this command
    extended_begin: bool  # FLASH_BEGIN says whether the data is to be encrypted
    spi: SpiRegisters
    uart_divider: int  # register: crystal by baud rate
    crypt_count: tuple[int, int]  # register and lowest bit: an odd number of ones is encrypted flash
    secure_boot: tuple[int, int]  # register and bit
    words: Mapping[int, int] = field(default_factory=dict)


def divider(baudrate: int) -> int:
    """What the UART's divider register holds at this rate."""
    return _CRYSTAL_HZ // baudrate


def mac_crc(mac: bytes) -> int:
    """The CRC-8 that stands beside an ESP32's MAC address (ROM function esp_crc8: polynomial 8C reflected, from 0)."""
    crc = 0
    for byte in mac:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def _esp32(mac: bytes) -> RomChip:
    efuse = 0x3FF5A000
    words = {
        efuse + 0x04: int.from_bytes(mac[2:], "big"),
        efuse + 0x08: int.from_bytes(mac[:2], "big") | mac_crc(mac) << 16,
        efuse + 0x0C: 1 << 15 | 1 << 13 | 1 << 9,  # revision bit 0, rated for 240 MHz, package 1 (D0WD)
        efuse + 0x10: 0x80,  # CK8M_FREQ
        efuse + 0x14: 1 << 24 | 1 << 20,  # minor revision 1, revision bit 1
        0x3FF6607C: 1 << 31,  # revision bit 2: all three are version 3
        0x3FF5F06C: 800 << 7,  # with CK8M_FREQ: the ROM has measured a crystal of 40 MHz
    }
    spi = SpiRegisters(0x3FF42000, 0x3FF42004, 0x3FF42024, 0x3FF42080, True)
    return RomChip("ESP32", 0x00F01D83, None, False, spi, 0x3FF40014, (efuse, 20), (efuse + 0x18, 4), words)


def _later(title: str, magic: int, chip_id: int, efuse: int, mac: bytes, minor: int) -> RomChip:
    """ESP32-S3 and ESP32-C3, which differ in where the eFuses are."""
    words = {
        efuse + 0x44: int.from_bytes(mac[2:], "big"),
        efuse + 0x48: int.from_bytes(mac[:2], "big"),
        efuse + 0x50: minor << 18,  # block 1, word 3; version 0.minor
    }
    spi = SpiRegisters(0x60002000, 0x60002004, 0x60002020, 0x60002058, False)
    return RomChip(title, magic, chip_id, True, spi, 0x60000014, (efuse + 0x34, 18), (efuse + 0x38, 20), words)


CHIPS = {
    "esp32": _esp32(bytes.fromhex("246f28010203")),
    "esp32s3": _later("ESP32-S3", 0x00000009, 9, 0x60007000, bytes.fromhex("f412fa010203"), minor=2),
    "esp32c3": _later("ESP32-C3", 0x1B31506F, 5, 0x60008800, bytes.fromhex("a0764e010203"), minor=4),
}
