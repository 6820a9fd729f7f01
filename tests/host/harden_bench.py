"""What the tests of hardening share: a MicroPython of one's own as a stand-in, keys, and virtual chips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esptool.bin_image import ELFSection, LoadFirmwareImage

from host_tools.hardening import efuses
from host_tools.hardening.build_options import NO_PROMPT, REQUIRED
from host_tools.hardening.efuses import Efuses
from host_tools.hardening.keys import Keys
from host_tools.images.boards import Board, load_board
from tests.host import stand_in

BOARDS = {"esp32": "esp32-pos", "esp32s3": "esp32s3-pos", "esp32c3": "esp32c3-card"}
REVISIONS = {"esp32": 300, "esp32s3": 2, "esp32c3": 4}
MAC = "60:01:94:0a:0b:0c"
OPTIONS = (*REQUIRED, "CONFIG_ESP32_REV_MIN_FULL=300", "CONFIG_ESP32C3_REV_MIN_FULL=3")


def board_of(chip: str) -> Board:
    return load_board(BOARDS[chip])


def own_build(
    folder: Path,
    chip: str,
    options: Sequence[str] = OPTIONS,
    greeting: bytes = NO_PROMPT,
    is_padded: bool = True,
    flash_size_bytes: int | None = None,
) -> Path:
    """`firmware.bin` with its `sdkconfig`, as MicroPython's build leaves them; not signed."""
    size = flash_size_bytes or board_of(chip).flash_size_bytes
    assert size is not None
    banner = f"MicroPython {stand_in.VERSION} on 2026-04-06; jiaozi\0{greeting.decode()}"
    app = stand_in.app(chip, banner=banner, flash_size_bytes=size)
    if is_padded:
        app = padded(chip, app)
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("sdkconfig").write_text("\n".join(options) + "\n")
    return whole(folder / "firmware.bin", chip, stand_in.bootloader(chip, size), app)


def padded(chip: str, app: bytes) -> bytes:
    """As ESP-IDF builds an app for secure boot v2 (`elf2image --secure-pad-v2`)."""
    image: Any = LoadFirmwareImage(chip, app)
    image.secure_pad = "2"
    image.segments = [ELFSection(b".data", part.addr, part.data, 0) for part in image.segments]
    return image.save(None)


def whole(path: Path, chip: str, bootloader: bytes, app: bytes) -> Path:
    """Boot loader, table and app where makeimg.py puts them."""
    start = stand_in.BOOTLOADER_OFFSET_BYTES[chip]
    data = bootloader.ljust(stand_in.TABLE_OFFSET_BYTES - start, b"\xff")
    data += stand_in.table_of(stand_in.FACTORY_TABLE)
    path.write_bytes(data.ljust(stand_in.APP_OFFSET_BYTES - start, b"\xff") + app)
    return path


def new_chip(chip: str, path: Path) -> Efuses:
    """As it leaves the factory."""
    return efuses.new_virtual(chip, path, REVISIONS[chip], bytes.fromhex(MAC.replace(":", "")))


def made_keys(folder: Path) -> Keys:
    keys = Keys(folder, MAC)
    keys.make_missing()
    return keys
