"""LittleFS as MicroPython mounts it: the one with our code, and the empty one that a new device keeps its settings in.

It is littlefs-python's; nothing in it knows a time, and files are written in the order of their names, so that the same
files give the same bytes.
"""

from collections.abc import Mapping
from posixpath import dirname

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext

BLOCK_BYTES = 4096  # a sector of flash
_DISK_VERSION = 0x0002_0000  # 2.0, which every MicroPython since 1.12 reads

# What MicroPython mounts with (extmod/vfs_lfsx.c: reads and programs of 32, a cache of four), so that everything lies
# as MicroPython itself would put it: a file that fits into the cache is kept inside its directory.
_ACCESS_BYTES = 32
_CACHE_BYTES = 4 * _ACCESS_BYTES

# The device writes into the code's file system too: boot.py when it is locked, which copies directory and file.
SPARE_BYTES = 8 * BLOCK_BYTES


class NoRoom(Exception):
    """The files do not fit; the message counts."""


def code_filesystem(files: Mapping[str, bytes], size_bytes: int) -> bytes:
    """A file system with `files` (path -> contents) that fills a partition of `size_bytes`. Raises `NoRoom`."""
    system = _opened(bytearray(b"\xff" * size_bytes))  # as erased flash reads
    system.format()
    system.mount()
    try:
        for name in sorted(files):
            if folder := dirname(name):
                system.makedirs(folder, exist_ok=True)
            with system.open(name, "wb", buffering=0) as file:
                file.write(files[name])
    except LittleFSError as error:
        if error.code != LittleFSError.Error.LFS_ERR_NOSPC:
            raise
        raise NoRoom(f"{sum(map(len, files.values())):,} bytes of files do not fit into {size_bytes:,}") from None
    used = system.used_block_count * BLOCK_BYTES
    if used + SPARE_BYTES > size_bytes:
        raise NoRoom(f"the files take {used:,} of {size_bytes:,} bytes, and {SPARE_BYTES:,} must stay free")
    system.unmount()
    return bytes(system.context.buffer)


def empty_filesystem(size_bytes: int) -> bytes:
    """A file system without files that fills a partition of `size_bytes`."""
    return code_filesystem({}, size_bytes)


def used_bytes(data: bytes) -> int:
    """How much of a file system's partition is in use. Raises `LittleFSError` if it does not mount."""
    system = _opened(bytearray(data))
    system.mount()
    return system.used_block_count * BLOCK_BYTES


def _opened(buffer: bytearray) -> LittleFS:
    return LittleFS(
        UserContext(buffer=buffer),
        mount=False,
        block_size=BLOCK_BYTES,
        block_count=len(buffer) // BLOCK_BYTES,
        read_size=_ACCESS_BYTES,
        prog_size=_ACCESS_BYTES,
        cache_size=_CACHE_BYTES,
        lookahead_size=_ACCESS_BYTES,
        disk_version=_DISK_VERSION,
    )
