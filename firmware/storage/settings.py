"""A few named byte values that must survive: keys, operators' certificates, PIN, reserved numbers, revocations.

Two files hold the same contents, `<prefix>.a` and `<prefix>.b`, and every change writes one after the other: power
can go at any byte and one of them is whole. Because both are the same when a change has returned, damage to one
file never brings an older value back (a request number given out twice would cost money).

    file    magic "JZS1" | generation u32 | entries | CRC-32 of all before
    entry   name length u8 | name | value length u16 | value

Big-endian. A list of revocations fills a file alone: a name that begins with "revoked " has a pair of files of its own,
which is read when it is asked for and not kept in memory. With both copies damaged it is forgotten if whoever asks says
that it may be: what others have signed can be learnt again. Files can be read by whoever holds the flash chip: this is
a store, not a vault (`vault`).
"""

import os
import struct
from binascii import crc32

from micropython import const

from storage.errors import SettingsCorrupt

_MAGIC = b"JZS1"
_HEADER_BYTES = const(8)
_CRC_BYTES = const(4)
_ENOENT = const(2)
_ALONE = "revoked "  # and an issuer's number: in `<prefix>-<number>.a` and `.b`
NAME_MAX_BYTES = 24
VALUE_MAX_BYTES = 3400  # the longest are revocations: a complete list of 2,110 and its newest delta
FILE_MAX_BYTES = 4096  # one flash block, and read into memory at once


def _encode(generation: int, values: dict[str, bytes]) -> bytes:
    parts = [_MAGIC + struct.pack(">I", generation)]
    for name, value in sorted(values.items()):
        name_bytes = name.encode()
        parts.append(bytes([len(name_bytes)]) + name_bytes + struct.pack(">H", len(value)) + value)
    body = b"".join(parts)
    return body + crc32(body).to_bytes(_CRC_BYTES, "big")


def _decode(data: bytes) -> tuple[int, dict[str, bytes]] | None:
    """(generation, values); None if damaged, which is whatever is not to the byte what `_encode` makes of these."""
    values = {}
    offset = _HEADER_BYTES
    try:
        while offset < len(data) - _CRC_BYTES:
            value_at = offset + 3 + data[offset]
            name = data[offset + 1 : value_at - 2].decode()
            offset = value_at + int.from_bytes(data[value_at - 2 : value_at], "big")
            values[name] = data[value_at:offset]
    except ValueError:  # a name that is no text
        return None
    generation = int.from_bytes(data[4:_HEADER_BYTES], "big")
    return (generation, values) if generation and _encode(generation, values) == data else None


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        if error.errno != _ENOENT:
            raise
        return None


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
    # The unix port and littlefs write through on flush and close; CPython's and other file systems need to be told.
    if hasattr(os, "sync"):
        os.sync()


class _Pair:
    """The two files under `prefix`. Opening mends a copy that a power cut left behind.

    No file at all is empty, and so is a single damaged file without its twin: the very first change was cut. With
    `may_forget` two damaged files are removed.
    """

    def __init__(self, prefix: str, may_forget: bool = False) -> None:
        self._paths = (prefix + ".a", prefix + ".b")
        contents = [_read(path) for path in self._paths]
        copies = [_decode(data) if data is not None else None for data in contents]
        if not copies[0] and not copies[1] and None not in contents:
            if not may_forget:
                raise SettingsCorrupt("both copies of the settings are damaged: service needed")
            for path in self._paths:
                os.remove(path)
        self._generation = 0
        self._is_written = True
        self.values: dict[str, bytes] = {}
        for copy in copies:
            if copy and copy[0] > self._generation:
                self._generation, self.values = copy
        if self._generation:
            whole = _encode(self._generation, self.values)
            for path, data in zip(self._paths, contents):
                if data != whole:
                    _write(path, whole)

    def update(self, changes: dict[str, bytes | None]) -> None:
        values = dict(self.values)
        for name, value in changes.items():
            if not 0 < len(name.encode()) <= NAME_MAX_BYTES:
                raise ValueError("name of a setting is empty or too long")
            if value is None:
                values.pop(name, None)
            elif len(value) > VALUE_MAX_BYTES:
                raise ValueError("setting '%s' is too long" % name)
            else:
                values[name] = bytes(value)
        if values == self.values and self._is_written:
            return  # nothing changes: nothing wears
        data = _encode(self._generation + 1, values)
        if len(data) > FILE_MAX_BYTES:
            raise ValueError("settings are full")
        self._is_written = False
        for path in self._paths:
            _write(path, data)
        self._is_written = True
        self._generation += 1
        self.values = values


class Settings:
    """The values under `path_prefix` (a path without the endings).

    Opening and reading raise SettingsCorrupt if both copies are there and damaged, unless a list `may_forget`.
    """

    def __init__(self, path_prefix: str) -> None:
        self._prefix = path_prefix
        self._main = _Pair(path_prefix)

    def get(self, name: str, may_forget: bool = False) -> bytes | None:
        """The value, None if it has never been set."""
        return self._pair(name, may_forget).values.get(name)

    def update(self, changes: dict[str, bytes | None]) -> None:
        """Sets all of `changes` (None removes) in one atomic step, durable on return.

        Raises ValueError, with nothing changed, if a name, a value or all together are too long, or if the names do
        not live in one pair of files.
        """
        if len({self._prefix_of(name) for name in changes}) > 1:
            raise ValueError("these settings do not change in one step")
        for name in changes:
            self._pair(name, True).update(changes)  # of a list nothing old is needed
            return

    def _prefix_of(self, name: str) -> str:
        return self._prefix + (name[len(_ALONE) - 1 :].replace(" ", "-") if name.startswith(_ALONE) else "")

    def _pair(self, name: str, may_forget: bool) -> _Pair:
        prefix = self._prefix_of(name)
        return self._main if prefix == self._prefix else _Pair(prefix, may_forget)
