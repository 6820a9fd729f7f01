"""From a MicroPython of one's own to files that an encrypting chip starts: checked, signed, encrypted, and all of that
undone again and compared.

Signatures are those of secure boot v2 (ESP-IDF, "Secure Boot v2", "Signature Block Format"): one sector behind the
image, which begins at a sector.
"""

import struct
from pathlib import Path
from zlib import crc32

from host_tools.hardening import layout, tools
from host_tools.hardening.build_options import NO_PROMPT, missing_options
from host_tools.hardening.chips import CHIPS
from host_tools.hardening.errors import ImageNotFit, KeyNotFit, ToolFailed
from host_tools.hardening.keys import Keys
from host_tools.hardening.layout import BOOTLOADER, CODE, MICROPYTHON, SETTINGS, SIGNED, TABLE, Place
from host_tools.images import image, partition_table
from host_tools.images.boards import Board
from host_tools.images.flash_layout import SECTOR_BYTES

_SIGNATURE_MAGIC = 0xE7
_RSA_3072 = 2  # the block's version; 3 is ECDSA, which these chips do not verify
_CHECKSUM_OFFSET = 1196  # what is before it is the block: digest, public key, signature
_CHECKSUM = struct.Struct("<I")
_MMU_PAGE_BYTES = 0x10000
_MAXIMUM_FILE_BYTES = 32 << 20
_OWN_BUILD = "Build a MicroPython of your own as docs/hardening.md says. Nothing was burnt."


def read_images(board: Board, micropython: Path) -> dict[str, bytes]:
    """What goes onto the flash, by the names of `layout`, before signing; code that is signed comes with its signature.

    Raises `ImageNotFit`, and what `build_image` does.
    """
    built = image.build_image(board.name, micropython)
    parts = {part.name: part.data for part in built.parts}
    missing = missing_options(micropython.with_name("sdkconfig"), board.chip)
    if NO_PROMPT not in parts[image.MICROPYTHON]:
        missing.append("the _boot.py without a prompt")
    if len(parts[image.MICROPYTHON]) % _MMU_PAGE_BYTES:
        missing.append("the padding of an app that is to be signed")
    if missing:
        raise ImageNotFit(
            f"{micropython} is not made for secure boot and flash encryption. By the sdkconfig beside it and by what is"
            f" in it, it lacks: {', '.join(missing)}. {_OWN_BUILD}"
        )
    with micropython.open("rb") as file:
        data = file.read(_MAXIMUM_FILE_BYTES)
    places = {place.name: place for place in layout.places(board)}
    start = places[BOOTLOADER].offset_bytes
    table = partition_table.read_table(data[places[TABLE].offset_bytes - start :])
    app = next(entry for entry in table if entry.subtype_name == "factory")
    return {
        BOOTLOADER: _with_signature(micropython, "boot loader", parts[image.BOOTLOADER], data),
        TABLE: layout.table_bytes(board),
        MICROPYTHON: _with_signature(micropython, "app", parts[image.MICROPYTHON], data[app.offset - start :]),
        CODE: _used(parts[image.CODE]),
        SETTINGS: _used(built.settings.data),
    }


def write_images(board: Board, keys: Keys, contents: dict[str, bytes]) -> None:
    """Sign, encrypt and verify `contents` into the device's folder. Raises `ImageNotFit`, `KeyNotFit`, `ToolFailed`."""
    for place in layout.places(board):
        Path(keys.own, place.plain).write_bytes(contents[place.name])
        if place.name in SIGNED:
            _sign(place, keys, contents[place.name])
        size = Path(keys.own, place.ready).stat().st_size
        if size > place.room_bytes:
            raise ImageNotFit(
                f"The {place.name} has {size:,} bytes with its signature, and there is room for {place.room_bytes:,}."
                f" {'Build it with CONFIG_BOOTLOADER_LOG_LEVEL_NONE=y.' if place.name == BOOTLOADER else _OWN_BUILD}"
            )
        _encrypt(place, keys, CHIPS[board.chip].aes_xts)


def _with_signature(path: Path, what: str, found: bytes, data: bytes) -> bytes:
    """`found`, an image that `data` begins with, and the signature behind it if there is one."""
    end = _whole_sectors(len(found))
    if not is_signed(data[: end + SECTOR_BYTES]):
        return found
    if data[: len(found)] != found:  # it was made fit for the board's size of flash, and the signature no longer fits
        raise ImageNotFit(f"The {what} in {path} is signed for another size of flash than the board's. {_OWN_BUILD}")
    return data[: end + SECTOR_BYTES]


def is_signed(data: bytes) -> bool:
    """Whether the last sector of `data` holds a signature."""
    if len(data) < SECTOR_BYTES or len(data) % SECTOR_BYTES:
        return False
    sector = data[-SECTOR_BYTES:]
    (checksum,) = _CHECKSUM.unpack_from(sector, _CHECKSUM_OFFSET)
    return sector[0] == _SIGNATURE_MAGIC and checksum == crc32(sector[:_CHECKSUM_OFFSET])


def _sign(place: Place, keys: Keys, data: bytes) -> None:
    ready = Path(keys.own, place.ready)
    if is_signed(data):
        ready.write_bytes(data)
    elif not ready.exists() or ready.read_bytes()[:-SECTOR_BYTES] != data.ljust(_whole_sectors(len(data)), b"\xff"):
        tools.run(layout.sign_command(place), keys.own)  # each signature is another one: what is on the flash stays
    if ready.read_bytes()[-SECTOR_BYTES + 1] != _RSA_3072:
        raise KeyNotFit(
            f"{keys.signing_key} is no RSA-3072 key, which these chips need. Nothing was burnt. Put the right one"
            " there, or move it away to have one made."
        )
    try:
        tools.run(layout.verify_command(place), keys.own)
    except ToolFailed as error:
        raise ImageNotFit(
            f"The {place.name} is signed, but not by {keys.signing_key} ({error}) Nothing was burnt. Put the key that"
            " signed it there, or build without signing (CONFIG_SECURE_BOOT_BUILD_SIGNED_BINARIES=n)."
        ) from None


def _encrypt(place: Place, keys: Keys, aes_xts: bool) -> None:
    tools.run(layout.encrypt_command(place, aes_xts), keys.own)
    back = keys.own / f".{place.name}.back"
    try:
        tools.run(layout.decrypt_command(place, aes_xts, back.name), keys.own)
        if back.read_bytes() != Path(keys.own, place.ready).read_bytes():
            raise ToolFailed(f"espsecure did not decrypt the {place.name} as it was. Nothing was burnt.")
    finally:
        back.unlink(missing_ok=True)


def _used(data: bytes) -> bytes:
    """A file system up to its last block in use: what is blank needs no encrypting, LittleFS erases it before use."""
    return data[: _whole_sectors(len(data.rstrip(b"\xff")))]


def _whole_sectors(size: int) -> int:
    return -(-size // SECTOR_BYTES) * SECTOR_BYTES
