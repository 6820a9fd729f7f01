"""What a board's flash must look like: the rules that a `[partitions]` table keeps.

What is worth money lies in partitions of its own, so that new code never touches it. Where boot loader, table and
MicroPython lie is decided by official MicroPython images, which a board takes as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from host_tools.images.boards import Partition

SECTOR_BYTES = 4096
MONEY_PARTITIONS = ("nvs", "settings", "journal")  # the device's secret, its key and settings, its money

# What the journal accepts (docs/storage.md): six sectors are kept for restarts, and distances are counted in 16 bits.
MINIMUM_JOURNAL_BYTES = 9 * SECTOR_BYTES
MAXIMUM_JOURNAL_BYTES = 511 * SECTOR_BYTES

# ESP-IDF, "Partition Tables": the table is one sector at 0x8000, apps start at multiples of 64 KB, a label has 16 bytes
# with a 0 at its end.
FIRST_OFFSET_BYTES = 0x9000
APP_OFFSET_BYTES = 0x10000
MAXIMUM_LABEL_BYTES = 15
SUBTYPES = {"app": {"factory": 0x00}, "data": {"phy": 0x01, "nvs": 0x02, "fat": 0x81}}
LARGEST_SUBTYPE = 0xFE

# Name -> type, subtype, least bytes. LittleFS has subtype fat in official images; the journal's is one of those that
# are the application's own. NVS needs three sectors (ESP-IDF, "Non-Volatile Storage Library").
_REQUIRED = {
    "nvs": ("data", 0x02, 3 * SECTOR_BYTES),
    "factory": ("app", 0x00, SECTOR_BYTES),
    "vfs": ("data", 0x81, SECTOR_BYTES),
    "settings": ("data", 0x81, 64 * 1024),
    "journal": ("data", 0x40, MINIMUM_JOURNAL_BYTES),
}


def problems(partitions: tuple[Partition, ...], flash_size_bytes: int) -> Iterator[tuple[str, str]]:
    """What is wrong, as key inside `[partitions]` and text, in the order of the table."""
    for partition in partitions:
        yield from _alone(partition, flash_size_bytes)
    for before, partition in pairwise(partitions):
        if partition.offset_bytes < before.offset_bytes:
            yield f"{partition.name}.offset_bytes", f"lies before {before.name}; the table is in the flash's order"
        elif partition.offset_bytes < before.end_bytes:
            yield f"{partition.name}.offset_bytes", f"overlaps {before.name}, which ends at {before.end_bytes:#x}"
    there = {partition.name: partition for partition in partitions}
    for name, (kind, subtype, least_bytes) in _REQUIRED.items():
        if name not in there:
            yield name, "is missing"
        elif (there[name].type, there[name].subtype) != (kind, subtype):
            yield name, f"must be of type {kind} and subtype {_subtype_text(kind, subtype)}"
        elif there[name].size_bytes < least_bytes:
            yield f"{name}.size_bytes", f"must be at least {least_bytes:#x}"
    if "factory" in there and there["factory"].offset_bytes != APP_OFFSET_BYTES:
        yield "factory.offset_bytes", f"must be {APP_OFFSET_BYTES:#x}: official images have MicroPython there"
    if "journal" in there and there["journal"].size_bytes > MAXIMUM_JOURNAL_BYTES:
        yield "journal.size_bytes", f"must be at most {MAXIMUM_JOURNAL_BYTES:#x}, 511 sectors"


def _alone(partition: Partition, flash_size_bytes: int) -> Iterator[tuple[str, str]]:
    name = partition.name
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or len(name) > MAXIMUM_LABEL_BYTES:
        yield name, f"is no label: at most {MAXIMUM_LABEL_BYTES} of a-z, 0-9 and _"
    alignment = APP_OFFSET_BYTES if partition.type == "app" else SECTOR_BYTES
    if partition.offset_bytes % alignment:
        yield f"{name}.offset_bytes", f"must be a multiple of {alignment:#x}"
    if partition.size_bytes <= 0 or partition.size_bytes % SECTOR_BYTES:
        yield f"{name}.size_bytes", f"must be whole sectors of {SECTOR_BYTES:#x}"
    if partition.offset_bytes < FIRST_OFFSET_BYTES:
        yield f"{name}.offset_bytes", f"must be at least {FIRST_OFFSET_BYTES:#x}: boot loader and table lie below"
    if partition.end_bytes > flash_size_bytes:
        yield f"{name}.size_bytes", f"goes to {partition.end_bytes:#x}; the flash ends at {flash_size_bytes:#x}"


def _subtype_text(kind: str, subtype: int) -> str:
    names = {number: name for name, number in SUBTYPES[kind].items()}
    return names.get(subtype, f"{subtype:#04x}")
