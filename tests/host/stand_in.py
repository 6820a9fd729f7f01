"""Stand-ins for official MicroPython images: esptool's own classes and mp-image-tool-esp32's tables make them, laid out
as MicroPython's makeimg.py does. Nothing in them runs; everything that tools look at is right.

    path.write_bytes(stand_in("esp32c3"))
    path.write_bytes(stand_in("esp32", version="v1.22.0", flash_size_bytes=8 << 20))
"""

import io
import random
import struct
from collections.abc import Sequence

from esptool.bin_image import ELFSection, ESP32C3FirmwareImage, ESP32FirmwareImage, ESP32S3FirmwareImage
from mp_image_tool_esp32.partition_table import PartitionTable

VERSION = "v1.28.0"
MEGABYTE = 1 << 20

BOOTLOADER_OFFSET_BYTES = {"esp32": 0x1000, "esp32s3": 0, "esp32c3": 0}
TABLE_OFFSET_BYTES = 0x8000
APP_OFFSET_BYTES = 0x10000

# Name, subtype, size: ports/esp32/partitions-4MiB.csv and partitions-4MiB-ota.csv of MicroPython.
FACTORY_TABLE = (("nvs", "nvs", 0x6000), ("phy_init", "phy", 0x1000), ("factory", "factory", 0x1F0000))
OTA_TABLE = (
    ("nvs", "nvs", 0x4000),
    ("otadata", "ota", 0x2000),
    ("phy_init", "phy", 0x1000),
    ("ota_0", "ota_0", 0x180000),
    ("ota_1", "ota_1", 0x180000),
)

# Mode and frequency of official images: DIO, 40 MHz. The size of flash is the high half of the same byte.
_FLASH_MODE = 2
_CLASSES = {"esp32": ESP32FirmwareImage, "esp32s3": ESP32S3FirmwareImage, "esp32c3": ESP32C3FirmwareImage}
# Where a boot loader's data and code are loaded, and an app's data is mapped and its code loaded.
_ADDRESSES = {
    "esp32": (0x3FFF0030, 0x40078000, 0x3F400020, 0x40080000),
    "esp32s3": (0x3FCE2820, 0x403C8700, 0x3C000020, 0x40374000),
    "esp32c3": (0x3FCD5820, 0x403CC710, 0x3C000020, 0x40380000),
}


def stand_in(
    chip: str = "esp32",
    *,
    version: str = VERSION,
    project: str = "micropython",
    banner: str | None = None,
    app_bytes: int = 0x8000,
    flash_size_bytes: int = 4 * MEGABYTE,
    table: Sequence[tuple[str, str, int]] = FACTORY_TABLE,
    digest: bool = True,
) -> bytes:
    """A whole image of about `app_bytes` more than its 64 KB of head. `banner` is the text that MicroPython greets
    with; by default that of `version`.
    """
    parts = (
        (BOOTLOADER_OFFSET_BYTES[chip], bootloader(chip, flash_size_bytes, digest=digest)),
        (TABLE_OFFSET_BYTES, table_of(table, flash_size_bytes)),
        (APP_OFFSET_BYTES, app(chip, version, project, banner, app_bytes, flash_size_bytes, digest=digest)),
    )
    data = b""
    for offset, part in parts:
        data += b"\xff" * (offset - BOOTLOADER_OFFSET_BYTES[chip] - len(data)) + part
    return data


def bootloader(chip: str, flash_size_bytes: int = 4 * MEGABYTE, *, digest: bool = True) -> bytes:
    """The second stage that the chip's ROM loads: 22 KB, as official ones are."""
    data, code, _, _ = _ADDRESSES[chip]
    return _image(chip, flash_size_bytes, digest, [(data, _noise(7000)), (code, _noise(15000))])


def app(
    chip: str,
    version: str = VERSION,
    project: str = "micropython",
    banner: str | None = None,
    app_bytes: int = 0x8000,
    flash_size_bytes: int = 4 * MEGABYTE,
    *,
    digest: bool = True,
) -> bytes:
    """What official downloads call `.app-bin`."""
    _, _, data, code = _ADDRESSES[chip]
    banner = f"MicroPython {version} on 2026-04-06; Generic module with it" if banner is None else banner
    # esp_app_desc_t: 256 bytes.
    description = struct.pack(
        "<II8x32s32s16s16s32s32s80x",
        0xABCD5432,
        0,
        *(text.encode() for text in (version, project, "12:00:00", "Apr  6 2026", "v5.5.1")),
        _noise(32),
    )
    text = banner.encode() + b"\0"
    return _image(chip, flash_size_bytes, digest, [(data, description + text + _noise(app_bytes)), (code, _noise(512))])


def table_of(entries: Sequence[tuple[str, str, int]], flash_size_bytes: int = 4 * MEGABYTE) -> bytes:
    """A partition table, its entries one behind the other."""
    table = PartitionTable(flash_size_bytes)
    for name, subtype, size in entries:
        table.add_part(name, subtype, size)
    return table.to_bytes()[:0xC00]  # as ESP-IDF cuts it


def read_image(chip: str, data: bytes) -> ESP32FirmwareImage:
    """The boot loader or app that `data` begins with, by esptool."""
    return _CLASSES[chip](io.BytesIO(data))


def _image(chip: str, flash_size_bytes: int, digest: bool, segments: list[tuple[int, bytes]]) -> bytes:
    image = _CLASSES[chip](append_digest=digest)
    image.flash_mode = _FLASH_MODE
    image.flash_size_freq = image.ROM_LOADER.parse_flash_size_arg(f"{flash_size_bytes // MEGABYTE}MB")
    image.entrypoint = segments[-1][0]
    image.segments = [ELFSection(b".data", address, data, 0) for address, data in segments]
    data = image.save(None)
    assert data is not None
    return data


def _noise(size: int) -> bytes:
    """The same each time, and nothing that anybody would take for text."""
    return random.Random(size).randbytes(size)
