"""What a chip's flash holds of ours, laid out: boot loader and MicroPython out of an official image, the board's
partition table, the file system with its code.

The same sources and the same official image give the same bytes, anywhere and at any time. What is worth money (`nvs`,
`settings`, `journal`) is in no part; the empty file system for a new device's `settings` stands beside them.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from host_tools.images import filesystem, partition_table
from host_tools.images.boards import Board, load_board
from host_tools.images.chips import CHIPS
from host_tools.images.compile import shared_build
from host_tools.images.filesystem import NoRoom
from host_tools.images.flash_layout import MONEY_PARTITIONS
from host_tools.images.micropython_image import ImageError, MicroPython, read_micropython

# A board's `.mpy` but those of `crypto`, which are machine code: what is left of flash and heap is for money.
BYTECODE_BUDGET_BYTES = {"wallet": 64 * 1024, "terminal": 80 * 1024}

BOOTLOADER, TABLE, MICROPYTHON, CODE, SETTINGS = "bootloader", "partition table", "micropython", "code", "settings"


@dataclass(frozen=True)
class Part:
    """Bytes and where they go in the chip's flash."""

    name: str
    offset_bytes: int
    data: bytes

    @property
    def end_bytes(self) -> int:
        return self.offset_bytes + len(self.data)

    @property
    def file_name(self) -> str:
        return self.name.replace(" ", "-") + ".bin"


@dataclass(frozen=True)
class Image:
    """One board's flash. `parts` are what every flashing writes; `settings` goes onto new devices only."""

    board: Board
    parts: tuple[Part, ...]
    settings: Part
    micropython_version: str | None  # None: the application parts alone
    files: dict[str, int]  # path on the device -> bytes

    @property
    def offset_bytes(self) -> int:
        """Where `merged` begins."""
        return self.parts[0].offset_bytes

    @property
    def file_name(self) -> str | None:
        """Of the whole, if MicroPython is in it."""
        return f"{self.board.name}.bin" if self.micropython_version is not None else None

    @property
    def bytecode_bytes(self) -> int:
        return _bytecode_bytes(self.files)

    @property
    def bytecode_budget_bytes(self) -> int:
        return BYTECODE_BUDGET_BYTES[self.board.app]

    @property
    def sha256(self) -> str:
        """Of `merged`, in hex."""
        return hashlib.sha256(self.merged()).hexdigest()

    def merged(self) -> bytes:
        """A new device's flash from the first part to the end of its journal, whatever the chip held before.

        It is blank where `nvs` and `journal` are: on a device with money this must not be written in one piece.
        """
        data = bytearray()
        for part in sorted((*self.parts, self.settings), key=lambda part: part.offset_bytes):
            gap = part.offset_bytes - self.offset_bytes - len(data)
            data += b"\xff" * gap + part.data
        end_bytes = max(self.board.partition(name).end_bytes for name in MONEY_PARTITIONS)
        return bytes(data).ljust(end_bytes - self.offset_bytes, b"\xff")

    def sizes(self) -> dict[str, dict[str, int]]:
        """Part -> bytes in use, and of how many."""
        start = CHIPS[self.board.chip].bootloader_offset_bytes or 0
        room = {
            BOOTLOADER: partition_table.OFFSET_BYTES - start,
            TABLE: partition_table.SIZE_BYTES,
            MICROPYTHON: self.board.partition("factory").size_bytes,
        }
        found = {
            part.name: {"bytes": len(part.data), "of": room[part.name]} for part in self.parts if part.name in room
        }
        for part in (self.parts[-1], self.settings):
            found[part.name] = {"bytes": filesystem.used_bytes(part.data), "of": len(part.data)}
        return found


def build_image(board_name: str, micropython: Path | None) -> Image:
    """The image of a board with flash of its own; without `micropython` only its table and code.

    Raises `ImageError`, `BoardError`, `CompileError`, and `OSError` if `micropython` cannot be read.
    """
    board = load_board(board_name)
    if not board.partitions:
        raise ImageError(
            f"{board_name} is a process on this computer and has no flash to make an image for:"
            f" `make firmware BOARD={board_name}` compiles it, `jiaozi sim` runs it."
        )
    interpreter = read_micropython(micropython, board) if micropython else None
    folder = shared_build(board_name)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sizes = {name: len(files[name]) for name in sorted(files)}
    budget = BYTECODE_BUDGET_BYTES[board.app]
    if _bytecode_bytes(sizes) > budget:
        found = f"{_bytecode_bytes(sizes):,} bytes of bytecode without crypto"
        raise ImageError(f"{board_name} has {found}, and a {board.app} may have {budget:,}. Make the firmware smaller.")
    return Image(
        board=board,
        parts=tuple(_parts(board, interpreter, files)),
        settings=_settings(board),
        micropython_version=interpreter.version if interpreter else None,
        files=sizes,
    )


def write_image(image: Image, folder: Path) -> None:
    """Write each part as a file, and all of it as one if MicroPython is in it. Raises `OSError`.

    All files are written before the first takes its place, so that on a full disk the folder stays as it was.
    """
    contents = {part.file_name: part.data for part in (*image.parts, image.settings)}
    if image.file_name is not None:
        contents[image.file_name] = image.merged()
    folder.mkdir(parents=True, exist_ok=True)
    begun = {folder / f"{name}.{os.getpid()}.part": folder / name for name in contents}
    try:
        for part, target in begun.items():
            part.write_bytes(contents[target.name])
        for part, target in begun.items():
            part.replace(target)
    finally:
        for part in begun:
            part.unlink(missing_ok=True)
    for name in ("bootloader.bin", "micropython.bin", f"{image.board.name}.bin"):
        if name not in contents:
            (folder / name).unlink(missing_ok=True)  # of an earlier build: it does not go with this code


def _parts(board: Board, interpreter: MicroPython | None, files: Mapping[str, bytes]) -> list[Part]:
    start = CHIPS[board.chip].bootloader_offset_bytes
    assert start is not None
    table = Part(TABLE, partition_table.OFFSET_BYTES, partition_table.table_bytes(board))
    code = board.partition("vfs")
    try:
        system = Part(CODE, code.offset_bytes, filesystem.code_filesystem(files, code.size_bytes))
    except NoRoom as error:
        raise ImageError(f"The code of {board.name} has no room in `vfs`: {error}. Give `vfs` more.") from None
    if interpreter is None:
        return [table, system]
    app = Part(MICROPYTHON, board.partition("factory").offset_bytes, interpreter.app)
    return [Part(BOOTLOADER, start, interpreter.bootloader), table, app, system]


def _settings(board: Board) -> Part:
    place = board.partition("settings")
    return Part(SETTINGS, place.offset_bytes, filesystem.empty_filesystem(place.size_bytes))


def _bytecode_bytes(files: Mapping[str, int]) -> int:
    return sum(size for name, size in files.items() if name.endswith(".mpy") and not name.startswith("crypto/"))
