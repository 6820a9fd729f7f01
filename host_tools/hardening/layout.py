"""Where things lie on encrypted flash, and the commands that bring them there.

The board's own layout, with two differences (ESP-IDF, "Flash Encryption", "NVS Encryption"). Partitions that hold code,
settings or money carry the flag `encrypted`; apps are encrypted without it. And the last sector of `nvs` becomes
`nvs_keys`: NVS cannot lie where the chip encrypts, as it writes less than an encryption block at a time; it encrypts
itself, and keeps its keys there.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from host_tools.hardening.keys import FLASH_KEY, SIGNING_KEY
from host_tools.images import partition_table
from host_tools.images.boards import Board, Partition
from host_tools.images.chips import CHIPS
from host_tools.images.flash_layout import SECTOR_BYTES

ENCRYPTED = ("vfs", "settings", "journal", "nvs_keys")
_FLAG_ENCRYPTED = 1
_NVS_KEYS_SUBTYPE = 0x04
_BAUDRATE = "460800"

BOOTLOADER, TABLE, MICROPYTHON, CODE, SETTINGS = "bootloader", "partition-table", "micropython", "code", "settings"
SIGNED = (BOOTLOADER, MICROPYTHON)


@dataclass(frozen=True)
class Place:
    """One image on the flash, and its files in the device's folder."""

    name: str
    offset_bytes: int
    room_bytes: int

    @property
    def plain(self) -> str:
        return f"{self.name}.bin"

    @property
    def ready(self) -> str:
        """What is encrypted: signed, if it is code that the chip verifies."""
        return f"{self.name}.signed.bin" if self.name in SIGNED else self.plain

    @property
    def encrypted(self) -> str:
        return f"{self.name}.encrypted.bin"


def hardened(board: Board) -> Board:
    """`board` with its NVS keys."""
    nvs = board.partition("nvs")
    smaller = replace(nvs, size_bytes=nvs.size_bytes - SECTOR_BYTES)
    keys = Partition("nvs_keys", "data", _NVS_KEYS_SUBTYPE, smaller.end_bytes, SECTOR_BYTES)
    others = [partition for partition in board.partitions if partition.name != "nvs"]
    partitions = sorted([smaller, keys, *others], key=lambda partition: partition.offset_bytes)
    return replace(board, partitions=tuple(partitions))


def table_bytes(board: Board) -> bytes:
    """The partition table of a hardened board, one sector."""
    table = partition_table.read_table(partition_table.table_bytes(hardened(board)))
    for index, entry in enumerate(table):
        if entry.name in ENCRYPTED:
            table[index] = entry._replace(flags=_FLAG_ENCRYPTED)
    return table.to_bytes().ljust(partition_table.SIZE_BYTES, b"\xff")


def places(board: Board) -> tuple[Place, ...]:
    """What is written, in the flash's order."""
    start = CHIPS[board.chip].bootloader_offset_bytes
    assert start is not None
    own = {MICROPYTHON: "factory", CODE: "vfs", SETTINGS: "settings"}
    partitions = [(name, board.partition(partition)) for name, partition in own.items()]
    return (
        Place(BOOTLOADER, start, partition_table.OFFSET_BYTES - start),
        Place(TABLE, partition_table.OFFSET_BYTES, partition_table.SIZE_BYTES),
        *(Place(name, partition.offset_bytes, partition.size_bytes) for name, partition in partitions),
    )


def host_commands(board: Board, aes_xts: bool) -> tuple[tuple[str, ...], ...]:
    """What signs and what encrypts. These and all that follow run in the device's folder."""
    ours = places(board)
    signs = [sign_command(place) for place in ours if place.name in SIGNED]
    return (*signs, *(encrypt_command(place, aes_xts) for place in ours))


def sign_command(place: Place) -> tuple[str, ...]:
    words = ("--version", "2", "--keyfile", SIGNING_KEY, "--output", place.ready, place.plain)
    return ("espsecure", "sign-data", *words)


def verify_command(place: Place) -> tuple[str, ...]:
    return ("espsecure", "verify-signature", "--version", "2", "--keyfile", SIGNING_KEY, place.ready)


def encrypt_command(place: Place, aes_xts: bool) -> tuple[str, ...]:
    return _crypt("encrypt", place, aes_xts, place.encrypted, place.ready)


def decrypt_command(place: Place, aes_xts: bool, output: str) -> tuple[str, ...]:
    return _crypt("decrypt", place, aes_xts, output, place.encrypted)


def _crypt(verb: str, place: Place, aes_xts: bool, output: str, source: str) -> tuple[str, ...]:
    words = ("--keyfile", FLASH_KEY, "--address", hex(place.offset_bytes), "--output", output, source)
    return ("espsecure", f"{verb}-flash-data", *(["--aes-xts"] if aes_xts else []), *words)


def flash_commands(board: Board, port: str, encrypted: bool = False) -> tuple[tuple[str, ...], ...]:
    """What erases, what writes and what verifies. esptool must be forced to write to a chip that encrypts already."""
    nvs = board.partition("nvs")
    files = [word for place in places(board) for word in (hex(place.offset_bytes), place.encrypted)]
    # `keep`: what begins like an image's header by chance must not be changed for the flash that is found.
    keep = ("--flash-mode", "keep", "--flash-freq", "keep", "--flash-size", "keep")
    force = ("--force",) if encrypted else ()
    return (
        (*_esptool(board, port), "erase-region", *force, hex(nvs.offset_bytes), hex(nvs.size_bytes)),
        (*_esptool(board, port), "write-flash", *force, *keep, *files),
        (*_esptool(board, port), "verify-flash", *keep, *files),
    )


def verify_flash_command(board: Board, port: str, offset_bytes: int, file: Path) -> tuple[str, ...]:
    return (*_esptool(board, port), "verify-flash", hex(offset_bytes), str(file))


def restart_command(board: Board, port: str) -> tuple[str, ...]:
    return ("esptool", "--chip", board.chip, "--port", port, "--after", "hard-reset", "read-mac")


def _esptool(board: Board, port: str) -> tuple[str, ...]:
    return ("esptool", "--chip", board.chip, "--port", port, "--baud", _BAUDRATE, "--after", "no-reset")
