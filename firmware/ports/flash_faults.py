"""Flash of the unix port that loses power at a chosen byte, or is encrypted: an instrument of tests, on no chip.

- `JIAOZI_FLASH_CUT=N:M`: power goes in the N-th program or erase of this run after M bytes; the process ends with
  CUT_EXIT_CODE. What is not reached is as before, the byte at the border in between, and after an odd M the rest of a
  sector that was being erased too.
- `JIAOZI_FLASH_ENCRYPTED=1`: the file holds what a chip with flash encryption would: another key for every 16 bytes, so
  that erased flash reads as anything.
"""

import os
import sys

from cryptolib import aes
from micropython import const

from ports.errors import FlashError
from ports.unix import Flash

_BLOCK_BYTES = const(16)  # encrypted as one
_KEY = b"flash encryption"
_ECB = const(1)
CUT_EXIT_CODE = 76


class FaultyFlash(Flash):
    """As `Flash`, with the faults that the environment asks for."""

    def __init__(self, path: str, size_bytes: int) -> None:
        Flash.__init__(self, path, size_bytes)
        self.encrypted = os.getenv("JIAOZI_FLASH_ENCRYPTED") == "1"
        cut = os.getenv("JIAOZI_FLASH_CUT")
        self._cut = [int(number) for number in cut.split(":")] if cut else [0, 0]

    def load(self, offset: int, length: int) -> bytes:
        if self._cut[0] < 0:
            sys.exit(CUT_EXIT_CODE)  # something catches the end of the process; there is no power
        return Flash.load(self, offset, length)

    def store(self, offset: int, data: bytes) -> None:
        at, count = self._cut
        if at != self.program_count + self.erase_count + 1:
            Flash.store(self, offset, data)
            return
        before = self.load(offset, len(data))
        changed = bytearray(before)
        changed[:count] = data[:count]
        is_half_erased = count & 1 and data == b"\xff" * self.sector_size_bytes
        for index in range(count, len(data) if is_half_erased else min(count + 1, len(data))):
            noise = (index + at * 61) * 167 >> 2
            changed[index] = (before[index] & ~noise | data[index] & noise) & 0xFF
        Flash.store(self, offset, bytes(changed))
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
