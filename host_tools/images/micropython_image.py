"""What is needed of an official MicroPython image: its boot loader and the interpreter, checked for one board.

Official images (`<name>-<date>-v<version>.bin`, MicroPython ports/esp32/makeimg.py) are flash from the boot loader on:
loader, partition table, app. Loader and app are "app images" of Espressif (ESP-IDF, "App Image Format"), which esptool
parses: chip, segments, a checksum and a SHA-256 over all of it. What this takes is whole, for the board's chip and
flash, new enough, and has room in the board's `factory`.

The version is the one that MicroPython's build left in the app's description, else the one of the banner that every
MicroPython greets with. An image with neither is not taken: nobody could say what it is.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from esptool.bin_image import ESP32FirmwareImage, LoadFirmwareImage
from esptool.targets import CHIP_DEFS
from mp_image_tool_esp32.image_header import ImageHeader

from host_tools.images import partition_table
from host_tools.images.boards import Board
from host_tools.images.chips import CHIPS, MEGABYTE
from host_tools.images.partition_table import Table, TableError

_MAXIMUM_FILE_BYTES = 32 * MEGABYTE  # the largest flash there is for these chips
_DIGEST_BYTES = 32

# esp_app_desc_t, which the first segment of an app begins with: magic word, version, name of the project.
_DESCRIPTION = struct.Struct("<I12x32s32s")
_DESCRIPTION_OFFSET_BYTES = 32
_DESCRIPTION_MAGIC = 0xABCD5432

_VERSION = re.compile(r"v?((\d+)\.(\d+)[\w.+-]*)", re.ASCII)
_BANNER = re.compile(rb"MicroPython (?:\([^()\0]{1,40}\) )?v(\d+\.\d+[\w.+-]{0,40})")


class ImageError(Exception):
    """An image that a board cannot be given; the message names file, reason and what to do."""


@dataclass(frozen=True)
class MicroPython:
    """Both images at their exact length; the loader's header says the board's size of flash."""

    bootloader: bytes
    app: bytes
    version: str  # like 1.28.0
    chip: str  # a name of `chips.CHIPS`


def read_micropython(path: Path, board: Board) -> MicroPython:
    """The parts of the official image `path` for `board`. Raises `ImageError`, and `OSError` if it cannot be read."""
    return _Reader(path, board).read()


class _Reader:
    def __init__(self, path: Path, board: Board):
        self._path = path
        self._board = board
        self._chip = CHIPS[board.chip]

    def read(self) -> MicroPython:
        with self._path.open("rb") as file:
            data = file.read(_MAXIMUM_FILE_BYTES + 1)
        header = self._header(data)
        start = self._chip.bootloader_offset_bytes
        assert start is not None and self._board.flash_size_bytes is not None
        if header.flash_size > self._board.flash_size_bytes:
            there = f"{self._board.name} has {self._board.flash_size_bytes // MEGABYTE}"
            raise self._error(f"is made for {header.flash_size // MEGABYTE} MB of flash, and {there}", self._take)
        bootloader = self._whole("boot loader", data[: partition_table.OFFSET_BYTES - start])
        factory = self._factory(data[partition_table.OFFSET_BYTES - start :])
        app = self._whole("app", data[factory.offset - start :])
        room = self._board.partition("factory").size_bytes
        if len(app) > room:
            raise self._error(
                f"has an app of {len(app):,} bytes, and `factory` of {self._board.name} has {room:,}",
                f"Take another version, or give `factory` more in boards/{self._board.name}/board.toml",
            )
        return MicroPython(self._for_flash_of_board(bootloader), app, self._version(app), self._board.chip)

    def _header(self, data: bytes) -> ImageHeader:
        """What the file begins with, an image for this chip."""
        if len(data) > _MAXIMUM_FILE_BYTES:
            raise self._error(f"is larger than {_MAXIMUM_FILE_BYTES // MEGABYTE} MB", self._take)
        if data.startswith(b"UF2\n"):
            raise self._error("is a UF2 file", self._take)
        if not data.startswith(bytes([ImageHeader.APP_IMAGE_MAGIC])):
            raise self._error("is empty" if not data else "is no image for an ESP32 chip", self._take)
        try:
            header = ImageHeader.from_bytes(data)
        except ValueError:
            raise self._cut_short("boot loader") from None
        if header.chip_id != self._chip.image_chip_id:
            raise self._error(
                f"is for {_chip_title(header.chip_id)}, and {self._board.name} has an {self._chip.title}", self._take
            )
        if _description(data) is not None:
            raise self._error("holds the app alone, without boot loader", self._take)
        return header

    def _factory(self, data: bytes) -> partition_table.Entry:
        """The partition with MicroPython, from the table that `data` begins with."""
        try:
            table = partition_table.read_table(data)
        except TableError:
            raise self._cut_short("partition table") from None
        apps = [entry for entry in table if entry.type == Table.APP_TYPE]
        factory = next((entry for entry in apps if entry.subtype_name == "factory"), None)
        if factory is not None and factory.offset >= partition_table.OFFSET_BYTES + partition_table.SIZE_BYTES:
            return factory
        if factory is None and apps:
            raise self._error("is a variant for updates over the air, without a `factory` partition", self._take)
        raise self._error("has a partition table without a place for MicroPython", self._take)

    def _whole(self, what: str, data: bytes) -> bytes:
        """The image that `data` begins with, at its length."""
        try:
            image = cast(ESP32FirmwareImage, LoadFirmwareImage(str(self._chip.esptool_name), data))
            length = ImageHeader.from_bytes(data).get_image_size(data)
        except (RuntimeError, TypeError, ValueError, struct.error):  # FatalError of esptool is the first
            raise self._cut_short(what) from None
        if image.checksum != image.calculate_checksum() or image.chip_id != self._chip.image_chip_id:
            raise self._damaged(what)
        digest = data[length : length + _DIGEST_BYTES]
        if not image.append_digest:
            if digest.strip(b"\xff"):  # so there is one, and the header that denies it is wrong
                raise self._damaged(what)
            return data[:length]
        if len(digest) < _DIGEST_BYTES:
            raise self._cut_short(what)
        if digest != image.calc_digest:
            raise self._damaged(what)
        return data[: length + _DIGEST_BYTES]

    def _for_flash_of_board(self, bootloader: bytes) -> bytes:
        """`bootloader` with the board's size of flash in its header, and the hash that goes with it."""
        header = ImageHeader.from_bytes(bootloader)
        assert self._board.flash_size_bytes is not None
        header.flash_size = self._board.flash_size_bytes
        return self._whole("boot loader", bytes(header.update_image(bootloader)[0]))

    def _version(self, app: bytes) -> str:
        found = version_of(app)
        if found is None:
            raise self._error("does not say which MicroPython it is, if it is one", self._take)
        version, number = found
        if number < self._board.micropython_minimum:
            minimum = ".".join(map(str, self._board.micropython_minimum))
            raise self._error(f"is MicroPython {version}, and {self._board.name} needs {minimum} or newer", self._take)
        return version

    @property
    def _take(self) -> str:
        name = self._board.micropython_image
        return f"Take {name}-<date>-v<version>.bin from https://micropython.org/download/{name}"

    def _cut_short(self, what: str) -> ImageError:
        return self._error(f"is cut short or damaged: its {what} is not whole", f"{self._take} again")

    def _damaged(self, what: str) -> ImageError:
        return self._error(f"is damaged: its {what} does not have the checksum that it carries", f"{self._take} again")

    def _error(self, what: str, advice: str) -> ImageError:
        return ImageError(f"{self._path} {what}. {advice}.")


def _description(image: bytes) -> tuple[str, str] | None:
    """Version and project of an app's description."""
    if len(image) < _DESCRIPTION_OFFSET_BYTES + _DESCRIPTION.size:
        return None
    magic, version, project = _DESCRIPTION.unpack_from(image, _DESCRIPTION_OFFSET_BYTES)
    if magic != _DESCRIPTION_MAGIC:
        return None
    texts = [text.partition(b"\0")[0].decode(errors="replace") for text in (version, project)]
    return texts[0], texts[1]


def version_of(app: bytes) -> tuple[str, tuple[int, int]] | None:
    """MicroPython's version as text, and its first two numbers."""
    version, project = _description(app) or ("", "")
    match = _VERSION.fullmatch(version) if project == "micropython" else None
    if match is None and (banner := _BANNER.search(app)):
        match = _VERSION.fullmatch(banner[1].decode())
    return (match[1], (int(match[2]), int(match[3]))) if match else None


def _chip_title(chip_id: int) -> str:
    names = {getattr(rom, "IMAGE_CHIP_ID", None): rom.CHIP_NAME for rom in CHIP_DEFS.values()}
    return f"an {names[chip_id]}" if chip_id in names else "a chip that nobody knows"
