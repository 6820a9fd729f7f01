"""Flash of the unix port that loses power at a chosen byte, or is encrypted: an instrument of tests, on no chip.

- `JIAOZI_FLASH_CUT=N:M`: power goes in the N-th program or erase of this run after M bytes; the process ends with
  CUT_EXIT_CODE. What is not reached is as before, the byte at the border in between, and after an odd M the rest of a
  sector that was being erased too. What is in between reads differently every time, in later runs as well, until it is
  erased: the file `<label>.flash.shaky` beside the flash says which bits.
- `JIAOZI_FLASH_ENCRYPTED=1`: the file holds what a chip with flash encryption would: another key for every 16 bytes, so
  that erased flash reads as anything.
"""

import os
import sys
from binascii import hexlify, unhexlify

from cryptolib import aes
from micropython import const

from ports.errors import FlashError
from ports.unix import SHAKY_SUFFIX, Flash

_UNIT_BYTES = const(32)
_BLOCK_BYTES = const(16)  # encrypted as one
_KEY = b"flash encryption"
_ECB = const(1)
CUT_EXIT_CODE = 76


class Shaky:
    """The bits of a flash that were left in between. In a file, since they outlive the process that lost power.

    Its lines: how often the flash was started with it, then for each piece its offset and the mask of its bits in hex.
    What they read like follows from that number: a run with the same past is the same.
    """

    def __init__(self, flash_path: str) -> None:
        self._path = flash_path + SHAKY_SUFFIX
        self._starts = self._random = 0
        self._pieces: list = []  # (offset, bytearray of masks)
        try:
            with open(self._path) as file:
                self._starts = self._random = int(file.readline()) + 1
                for line in file:
                    offset, masks = line.split()
                    self._pieces.append((int(offset), bytearray(unhexlify(masks))))
        except OSError:
            return  # the usual case: there is no such file
        self._keep()

    def add(self, offset: int, masks: bytes) -> None:
        self._pieces.append((offset, bytearray(masks)))
        self._keep()

    def touches(self, start: int, end: int) -> bool:
        return any([offset < end and start < offset + len(masks) for offset, masks in self._pieces])

    def seen(self, offset: int, data: bytes) -> bytes:
        """What is read where `data` is stored."""
        if not self.touches(offset, offset + len(data)):
            return data
        read = bytearray(data)
        for start, masks in self._pieces:
            for at in range(max(start, offset), min(start + len(masks), offset + len(data))):
                self._random = (self._random * 1103515245 + 12345) & 0x7FFFFFFF
                read[at - offset] ^= masks[at - start] & self._random >> 16
        return bytes(read)

    def settle(self, offset: int, data: bytes, is_erase: bool) -> None:
        """An erase leaves nothing in between, a program no bit that it clears."""
        if not self.touches(offset, offset + len(data)):
            return
        for start, masks in self._pieces:
            for at in range(max(start, offset), min(start + len(masks), offset + len(data))):
                masks[at - start] &= 0 if is_erase else data[at - offset]
        self._keep()

    def _keep(self) -> None:
        self._pieces = [piece for piece in self._pieces if any(piece[1])]
        if not self._pieces:
            try:
                os.remove(self._path)
            except OSError:
                pass  # nothing was left in between
            return
        with open(self._path + ".new", "w") as file:
            file.write("%d\n" % self._starts)
            for offset, masks in self._pieces:
                file.write("%d %s\n" % (offset, hexlify(masks).decode()))
        os.rename(self._path + ".new", self._path)


class FaultyFlash(Flash):
    """As `Flash`, with the faults that the environment asks for."""

    def __init__(self, path: str, size_bytes: int) -> None:
        Flash.__init__(self, path, size_bytes)
        self.encrypted = os.getenv("JIAOZI_FLASH_ENCRYPTED") == "1"
        cut = os.getenv("JIAOZI_FLASH_CUT")
        self._cut = [int(number) for number in cut.split(":")] if cut else [0, 0]
        self._shaky = Shaky(path)

    def load(self, offset: int, length: int) -> bytes:
        if self._cut[0] < 0:
            sys.exit(CUT_EXIT_CODE)  # something catches the end of the process; there is no power
        return self._shaky.seen(offset, Flash.load(self, offset, length))

    def store(self, offset: int, data: bytes) -> None:
        at, count = self._cut
        is_erase = data == b"\xff" * self.sector_size_bytes
        if at != self.program_count + self.erase_count + 1:
            Flash.store(self, offset, data)
            self._shaky.settle(offset, data, is_erase)
            return
        before = Flash.load(self, offset, len(data))
        end = len(data) if is_erase and count & 1 else min(count + 1, len(data))
        between = bytearray(before[count:end])
        for index in range(count, end):
            noise = (index + at * 61) * 167 >> 2
            between[index - count] = (before[index] & ~noise | data[index] & noise) & 0xFF
        Flash.store(self, offset, data[:count] + between)
        self._shaky.settle(offset, data[:count], is_erase)
        self._shaky.add(offset + count, bytes([before[index] ^ data[index] for index in range(count, end)]))
        self._cut = [-1, 0]
        sys.exit(CUT_EXIT_CODE)

    def read(self, offset: int, length: int) -> bytes:
        if not self.encrypted:
            return Flash.read(self, offset, length)
        self.read_count += length
        skip = offset % _BLOCK_BYTES
        rest = -(offset + length) % _BLOCK_BYTES
        stored = self.load(offset - skip, skip + length + rest)
        return _with_places(offset - skip, aes(_KEY, _ECB).decrypt(stored))[skip : skip + length]

    def program(self, offset: int, data: bytes) -> None:
        if not self.encrypted and self._shaky.touches(offset // _UNIT_BYTES * _UNIT_BYTES, offset + len(data)):
            raise FlashError(f"program at {offset}: begun, or half erased")  # whatever it reads like
        if self.encrypted:
            if offset % _BLOCK_BYTES or len(data) % _BLOCK_BYTES:
                raise FlashError(f"program at {offset}: not whole blocks")
            data = aes(_KEY, _ECB).encrypt(_with_places(offset, data))
            # Nobody can see whether it is erased: what is programmed twice becomes garbage.
            data = bytes([old & new for old, new in zip(self.load(offset, len(data)), data)])
        Flash.program(self, offset, data)


def _with_places(offset: int, data: bytes) -> bytes:
    """`data` XOR the place of each of its blocks."""
    places = b"".join([at.to_bytes(_BLOCK_BYTES, "big") for at in range(offset, offset + len(data), _BLOCK_BYTES)])
    return (int.from_bytes(data, "big") ^ int.from_bytes(places, "big")).to_bytes(len(data), "big")
