"""A virtual ESP chip at a pty, images for it, and one flashing as `jiaozi flash` does it."""

import dataclasses
import functools
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from host_tools.flashing import chip_link, flash
from host_tools.flashing.plan import Plan, Segment, make_plan, segments
from host_tools.images.boards import load_board
from host_tools.images.chips import CHIPS
from host_tools.images.filesystem import code_filesystem, empty_filesystem
from host_tools.images.image import BOOTLOADER, CODE, MICROPYTHON, TABLE, Image, Part
from host_tools.images.micropython_image import read_micropython
from host_tools.images.partition_table import OFFSET_BYTES, table_bytes
from host_tools.simulator.reactor import Reactor, serve_url
from host_tools.simulator.virtual_esp_rom import Faults, VirtualEspRom
from tests.host.stand_in import stand_in

BOARDS = {"esp32": "esp32-pos", "esp32s3": "esp32s3-pos", "esp32c3": "esp32c3-card"}
ROM_BLOCK_BYTES = 0x400  # of esptool's data packets
STUB_BLOCK_BYTES = 0x4000


class EspBench:
    """Use as a context manager. The flash's file outlives the chip, which `plug_in` makes anew."""

    def __init__(self, folder: Path, chip: str, flash_size_bytes: int | None = None, **of_rom: Any) -> None:
        self.chip = chip
        self.board = load_board(BOARDS[chip])
        self.file = folder / f"{chip}.flash"
        self._size_bytes = flash_size_bytes or self.board.flash_size_bytes or 0
        self._of_rom = of_rom
        self._reactor = Reactor()
        self.rom = VirtualEspRom(chip, self.file, self._size_bytes, **of_rom)
        self.url = ""

    def __enter__(self) -> "EspBench":
        self.plug_in()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reactor.close()
        self.rom.flash.close()

    def plug_in(self, faults: Faults | None = None) -> None:
        """The same flash in a chip that was just reset, at a new port. `faults` may take the port away."""
        self._reactor.detach(self.rom)
        self.rom.flash.close()
        faults = faults or Faults()
        rom = self.rom = VirtualEspRom(self.chip, self.file, self._size_bytes, faults=faults, **self._of_rom)
        if faults.on_gone is None:
            faults.on_gone = lambda: self._reactor.detach(rom)
        self.url = serve_url(self._reactor, "pty:", rom)

    def serve_tcp(self) -> str:
        """The chip at another port, which survives closing; what pyserial opens."""
        self._reactor.detach(self.rom)
        return serve_url(self._reactor, "tcp-listen://127.0.0.1:0", self.rom).replace("tcp://", "socket://")

    def flash(self, image: Image, lose_money: bool = False, use_stub: bool = False) -> Plan:
        """All that `jiaozi flash` does to a chip."""
        with self.connect(use_stub) as link:
            plan = make_plan(image, flash.look(link, image, _nobody), lose_money)
            flash.carry_out(link, plan, _nobody)
        return plan

    def connect(self, use_stub: bool = False, url: str | None = None) -> chip_link.ChipLink:
        size_bytes = self.board.flash_size_bytes or 0
        return chip_link.connect(url or self.url, CHIPS[self.chip], size_bytes, use_stub, None, _no_hands)

    def contents(self, offset: int = 0, size: int | None = None) -> bytes:
        data = self.file.read_bytes()
        return data[offset : len(data) if size is None else offset + size]

    def overwrite(self, offset: int, data: bytes) -> None:
        """As if the device, or another tool, had done it."""
        with self.file.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def region(self, name: str) -> bytes:
        partition = self.board.partition(name)
        return self.contents(partition.offset_bytes, partition.size_bytes)

    def money(self) -> dict[str, bytes]:
        return {name: self.region(name) for name in ("nvs", "settings", "journal")}

    def use(self) -> dict[str, bytes]:
        """Let a device have lived on it: secret, settings and journal are in use. Returns them."""
        places = {"nvs": 0x40, "settings": 0x3000, "journal": 0x10}
        for name, at in places.items():
            self.overwrite(self.board.partition(name).offset_bytes + at, name.encode() * 40)
        return self.money()

    def touched_money(self) -> bool:
        """Whether the chip that is plugged in has changed any of it."""
        regions = [self.board.partition(name) for name in ("nvs", "settings", "journal")]
        return any(
            offset < region.end_bytes and region.offset_bytes < offset + size
            for _, offset, size in self.rom.flash.changes
            for region in regions
        )


@functools.cache
def image_for(chip: str, folder: Path, text: str = "first", version: str = "v1.28.0") -> Image:
    """An image with one file of code instead of the firmware, which takes seconds to compile."""
    board = load_board(BOARDS[chip])
    file = folder / f"{chip}-{version}.bin"
    file.write_bytes(stand_in(chip, version=version, flash_size_bytes=board.flash_size_bytes or 0))
    micropython = read_micropython(file, board)
    code, settings, factory = (board.partition(name) for name in ("vfs", "settings", "factory"))
    files = {"main.py": (text * 4000).encode(), "lib/jiaozi.mpy": bytes(range(256)) * 1500}
    start = CHIPS[chip].bootloader_offset_bytes
    assert start is not None
    return Image(
        board=board,
        parts=(
            Part(BOOTLOADER, start, micropython.bootloader),
            Part(TABLE, OFFSET_BYTES, table_bytes(board)),
            Part(MICROPYTHON, factory.offset_bytes, micropython.app),
            Part(CODE, code.offset_bytes, code_filesystem(files, code.size_bytes)),
        ),
        settings=Part("settings", settings.offset_bytes, empty_filesystem(settings.size_bytes)),
        micropython_version=micropython.version,
        files={name: len(data) for name, data in files.items()},
    )


def without_micropython(image: Image) -> Image:
    parts = tuple(part for part in image.parts if part.name in (TABLE, CODE))
    return dataclasses.replace(image, parts=parts, micropython_version=None)


def packets(segment: Segment, block_bytes: int = ROM_BLOCK_BYTES) -> int:
    """How many data packets esptool makes of it: deflated, if that is shorter. What is blank is erased without any."""
    if segment.is_blank:
        return 0
    size = -(-len(segment.data) // 4) * 4
    deflated = len(zlib.compress(segment.data.ljust(size, b"\xff"), 9))
    return math.ceil(min(size, deflated) / block_bytes)


def all_segments(image: Image) -> Iterator[Segment]:
    """Of a first flashing."""
    for part in (*image.parts, image.settings):
        yield from segments(part)


def _nobody(_done: int, _total: int) -> None:
    pass


def _no_hands(what: str) -> None:
    assert "is in download mode" in what, f"nobody is there to {what}"
