"""host_tools.images.filesystem: the real MicroPython mounts it, reads it, imports from it and writes to it."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from littlefs import LittleFS
from littlefs.context import UserContext

from host_tools.images.boards import board_names, load_board
from host_tools.images.compile import build_modules
from host_tools.images.filesystem import (
    BLOCK_BYTES,
    SPARE_BYTES,
    NoRoom,
    code_filesystem,
    empty_filesystem,
    used_bytes,
)

_CODE_BYTES = 0xA0000
_SETTINGS_BYTES = 0x20000

# Flash in a file as a chip has it: a program clears bits and sets none, so what was not erased cannot be written. The
# file system is found as by `vfs.mount` on the chip, which looks for its name in the first block.
_FLASH = """
import io, json, os, sys, vfs
class Flash:
    def __init__(self, path):
        self.file = open(path, "r+b")
        self.blocks = self.file.seek(0, 2) // 4096
    def readblocks(self, block, buffer, offset=0):
        self.file.seek(block * 4096 + offset)
        assert self.file.readinto(buffer) == len(buffer)
    def writeblocks(self, block, buffer, offset):
        old = bytearray(len(buffer))
        self.readblocks(block, old, offset)
        assert all(a & b == b for a, b in zip(old, buffer)), "not erased"
        self.file.seek(block * 4096 + offset)
        self.file.write(buffer)
    def ioctl(self, operation, argument):
        if operation == 4: return self.blocks
        if operation == 5: return 4096
        if operation == 6:
            self.file.seek(argument * 4096)
            self.file.write(b"\\xff" * 4096)
        return 0
flash = Flash(PATH)
vfs.mount(flash, "/flash")
assert "VfsLfs2" in str([mounted for mounted in vfs.mount() if mounted[1] == "/flash"])
"""
_LIST = """
def walk(folder):
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        if entry[1] == 0x4000:
            for found in walk(path): yield found
        else:
            yield path
contents = {}
for path in walk("/flash"):
    with open(path, "rb") as file: contents[path[7:]] = file.read().hex()
print(json.dumps(contents))
"""


def _on_micropython(micropython: str, image: bytes, folder: Path, script: str) -> tuple[Any, bytes]:
    """What `script` printed as JSON with `image` mounted at /flash, and the flash afterwards."""
    flash = folder / "flash.bin"
    flash.write_bytes(image)
    code = _FLASH.replace("PATH", repr(str(flash))) + script + '\nvfs.umount("/flash")\nflash.file.close()\n'
    run = subprocess.run(
        [micropython, "-X", "heapsize=1M", "-c", code], capture_output=True, text=True, timeout=60, cwd=folder
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout), flash.read_bytes()


def _files_of(board: str, folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in build_modules(board, folder)}


def _read_back(image: bytes) -> dict[str, bytes]:
    """By littlefs-python with its own settings, not ours."""
    system = LittleFS(
        UserContext(buffer=bytearray(image)), mount=False, block_size=4096, block_count=len(image) // 4096
    )
    system.mount()
    found = {}
    for folder, _, names in system.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with system.open(path, "rb") as file:
                found[path[1:]] = file.read()
    return found


@pytest.mark.parametrize("board", board_names())
def test_micropython_reads_every_file_of_a_board_byte_for_byte(board: str, tmp_path: Path, micropython: str):
    files = _files_of(board, tmp_path / "built")
    assert {"boot.py", "main.py", "board.mpy", "jiaozi.mpy", "crypto/ed25519.mpy"} <= files.keys()
    image = code_filesystem(files, _CODE_BYTES)
    contents, after = _on_micropython(micropython, image, tmp_path, _LIST)
    assert {name: bytes.fromhex(data) for name, data in contents.items()} == files
    assert after == image, "reading must not write"
    assert _read_back(image) == files


@pytest.mark.parametrize("board", [name for name in board_names() if load_board(name).port == "unix"])
def test_micropython_imports_every_module_from_the_mounted_file_system(board: str, tmp_path: Path, micropython: str):
    files = _files_of(board, tmp_path / "built")
    names = sorted(
        name.removesuffix(".mpy").removesuffix("/__init__").replace("/", ".") for name in files if name.endswith(".mpy")
    )
    assert {"board", "crypto.ed25519", "jiaozi", "ports.unix", "start"} <= set(names)
    script = f"""
sys.path[:] = ["/flash"]
found = {{}}
for name in {names!r}:
    __import__(name)
    found[name] = getattr(sys.modules[name], "__file__", None)
from crypto.ed25519 import public_key
print(json.dumps([found, public_key(bytes(32)).hex()]))
"""
    (found, public), _ = _on_micropython(micropython, code_filesystem(files, _CODE_BYTES), tmp_path, script)
    assert sorted(found) == names
    assert {path and path.startswith("/flash/") for path in found.values()} == {True}
    # The key of the secret of zeros, as every implementation of RFC 8032 has it.
    assert public == "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"


@pytest.mark.parametrize("files", [{}, {"boot.py": b"first\n", "lib/deep/er/a.py": b"x" * 5000}], ids=["empty", "some"])
def test_micropython_writes_and_littlefs_python_reads_it_back(
    files: Mapping[str, bytes], tmp_path: Path, micropython: str
):
    image = code_filesystem(files, _SETTINGS_BYTES)
    script = """
for name, data in (("key", b"k" * 96), ("settings", bytes(range(200))), ("large", b"l" * 20000)):
    for _ in range(20):
        with open("/flash/aside", "wb") as file: file.write(data)
        os.rename("/flash/aside", "/flash/" + name)
os.mkdir("/flash/folder")
with open("/flash/folder/empty", "wb") as file: pass
print(json.dumps(os.statvfs("/flash")))
"""
    space, after = _on_micropython(micropython, image, tmp_path, script)
    assert space[0] * space[2] == _SETTINGS_BYTES
    written = {"key": b"k" * 96, "settings": bytes(range(200)), "large": b"l" * 20000, "folder/empty": b""}
    assert _read_back(after) == {**files, **written}


def test_the_empty_file_system_is_empty_and_mostly_erased(tmp_path: Path, micropython: str):
    image = empty_filesystem(_SETTINGS_BYTES)
    assert len(image) == _SETTINGS_BYTES and image[8:16] == b"littlefs"
    assert image[2 * BLOCK_BYTES :].count(0xFF) == _SETTINGS_BYTES - 2 * BLOCK_BYTES
    assert _on_micropython(micropython, image, tmp_path, _LIST)[0] == {}
    assert used_bytes(image) == 2 * BLOCK_BYTES


def test_the_order_in_which_files_are_named_does_not_show():
    files = {f"folder{number % 3}/file{number}": bytes([number]) * number * 40 for number in range(40)}
    backwards = dict(reversed(files.items()))
    assert code_filesystem(files, _CODE_BYTES) == code_filesystem(backwards, _CODE_BYTES)
    assert code_filesystem(files, _CODE_BYTES) != code_filesystem({**files, "folder1/file1": b"?"}, _CODE_BYTES)


def test_what_does_not_fit_is_refused_and_what_fits_leaves_room_for_the_device():
    size = 32 * BLOCK_BYTES
    with pytest.raises(NoRoom, match=r"^200,000 bytes of files do not fit into 131,072$"):
        code_filesystem({"a": b"x" * 100_000, "b": b"x" * 100_000}, size)
    with pytest.raises(NoRoom, match=rf"of 131,072 bytes, and {SPARE_BYTES:,} must stay free$"):
        code_filesystem({"a": b"x" * (size - 5 * BLOCK_BYTES)}, size)
    largest = code_filesystem({"a": b"x" * (size - SPARE_BYTES - 3 * BLOCK_BYTES)}, size)
    assert size - used_bytes(largest) >= SPARE_BYTES
