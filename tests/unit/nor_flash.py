"""Flash as it behaves, for tests of what is stored on it.

Programming only clears bits. An operation that is cut leaves bits half done; such bits may read differently every time,
and stay so until they are cleared or erased. `EncryptedFlash` is the same behind the chip's encryption: what is erased
or half done reads as garbage.

Both insist that every unit is programmed once after its erase. Only where the cut program is concerned nobody can:
a unit of which not one bit was surely cleared, and under encryption any.
"""

import copy
import hashlib
import random
from functools import cache

from tests import micropython

FlashError = micropython.import_on_cpython("ports.errors").FlashError

UNIT_BYTES = 32
BLOCK_BYTES = 16
_ONE_MORE = bytes([*range(1, 256), 255])


class PowerCut(Exception):
    pass


class NorFlash:
    """Loses power after it has changed `cut_after` bytes in all (None: never)."""

    encrypted = False

    def __init__(self, size_bytes: int, sector_size_bytes: int = 4096) -> None:
        self.size_bytes = size_bytes
        self.sector_size_bytes = sector_size_bytes
        self.cells = bytearray(b"\xff" * size_bytes)
        self.unstable: dict[int, int] = {}  # offset -> bits that read as they like
        self.noise = random.Random(1)
        self.cut_after: int | None = None
        self.is_strict = False  # after one single cut not even that may happen, but for a sector's head
        self.changed_bytes = 0
        self.program_count = 0
        self.erase_counts = [0] * (size_bytes // sector_size_bytes)
        self.programmed: set[int] = set()  # units, since their erase
        self.torn: set[int] = set()  # those of them whose program was cut
        self.reads = bytearray(size_bytes)  # how often each byte was read since it was programmed or `forget_reads`

    @property
    def erase_count(self) -> int:
        return sum(self.erase_counts)

    def forget_reads(self) -> None:
        self.reads = bytearray(self.size_bytes)

    def copy(self) -> "NorFlash":
        """The same flash in another world, with other noise and power for ever."""
        other = copy.deepcopy(self)
        other.cut_after = None
        other.changed_bytes = other.program_count = 0
        other.erase_counts = [0] * len(self.erase_counts)
        return other

    def __deepcopy__(self, memo: object) -> "NorFlash":
        other = copy.copy(self)
        other.cells = self.cells[:]
        other.unstable = dict(self.unstable)
        other.noise = random.Random(self.noise.random())
        other.erase_counts = self.erase_counts[:]
        other.programmed = set(self.programmed)
        other.torn = set(self.torn)
        other.reads = self.reads[:]
        return other

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size_bytes
        self.reads[offset : offset + length] = self.reads[offset : offset + length].translate(_ONE_MORE)
        return self._read_cells(offset, length)

    def _read_cells(self, offset: int, length: int) -> bytes:
        data = bytearray(self.cells[offset : offset + length])
        if self.unstable:
            places = range(offset, offset + length)
            if len(self.unstable) < length:
                places = [place for place in self.unstable if place in places]
            for place in places:
                data[place - offset] ^= self.unstable.get(place, 0) & self.noise.getrandbits(8)
        return bytes(data)

    def _change(self, offset: int, data: bytes) -> None:
        """Makes the cells those of `data`, in order, until power goes: then the next one is half way."""
        left = len(data) if self.cut_after is None else self.cut_after - self.changed_bytes
        done = min(left, len(data))
        self.cells[offset : offset + done] = data[:done]
        self.changed_bytes += done
        if done < len(data):
            at = offset + done
            self.unstable[at] = self.cells[at] ^ data[done] | self.unstable.get(at, 0)
            raise PowerCut

    def program(self, offset: int, data: bytes) -> None:
        assert 0 <= offset <= offset + len(data) <= self.size_bytes
        assert offset % UNIT_BYTES == len(data) % UNIT_BYTES == 0
        units = range(offset // UNIT_BYTES, (offset + len(data)) // UNIT_BYTES)
        for unit in units:
            cells = self.cells[unit * UNIT_BYTES : (unit + 1) * UNIT_BYTES]
            if unit in self.programmed:
                assert unit in self.torn, f"unit {unit} is programmed twice"
                assert self.encrypted or cells == b"\xff" * UNIT_BYTES, f"torn unit {unit} is programmed again"
                is_head = unit * UNIT_BYTES % self.sector_size_bytes == 0
                assert not self.is_strict or is_head, f"unit {unit} may have been torn"
            elif cells != b"\xff" * UNIT_BYTES:
                raise FlashError("not erased")
        self.program_count += 1
        self.reads[offset : offset + len(data)] = bytes(len(data))
        stored = self._as_stored(offset, data)
        before = self.changed_bytes
        try:
            cells = self.cells[offset : offset + len(data)]
            self._change(offset, bytes(old & new for old, new in zip(cells, stored, strict=True)))
            self.programmed.update(units)
        except PowerCut:
            cut = range(units.start, (offset + self.changed_bytes - before) // UNIT_BYTES + 1)
            self.programmed.update(cut)
            self.torn.update(cut)
            raise
        finally:
            for place in [*self.unstable]:
                if offset <= place < offset + self.changed_bytes - before:
                    self.unstable[place] &= stored[place - offset]  # what was cleared is sure now

    def _as_stored(self, offset: int, data: bytes) -> bytes:
        return data

    def erase(self, offset: int) -> None:
        assert offset % self.sector_size_bytes == 0
        assert 0 <= offset < self.size_bytes
        end = offset + self.sector_size_bytes
        try:
            self._change(offset, b"\xff" * self.sector_size_bytes)
        except PowerCut:
            if self.noise.random() < 0.5:  # the whole sector is erased at once, and anything may be half way
                for place in range(offset, end):
                    self.unstable[place] = self.noise.getrandbits(8) | self.unstable.get(place, 0)
            raise
        for place in [*self.unstable]:
            if offset <= place < end:
                del self.unstable[place]
        self.erase_counts[offset // self.sector_size_bytes] += 1
        units = range(offset // UNIT_BYTES, end // UNIT_BYTES)
        self.programmed.difference_update(units)
        self.torn.difference_update(units)


_ROUNDS = 4  # Luby and Rackoff: a permutation as good as a random one


@cache
def _block(place: int, block: bytes, encrypting: bool) -> bytes:
    """One block through a Feistel cipher with another key at every place; any change spoils all of it, as with AES."""
    half = BLOCK_BYTES // 2
    left, right = block[:half], block[half:]
    for number in range(_ROUNDS) if encrypting else reversed(range(_ROUNDS)):
        key = place.to_bytes(8, "big") + bytes((number,))
        if encrypting:
            left, right = right, _mixed(left, right, key)
        else:
            left, right = _mixed(right, left, key), left
    return left + right


def _mixed(one: bytes, other: bytes, key: bytes) -> bytes:
    digest = hashlib.blake2s(other, key=key, digest_size=len(one)).digest()
    return bytes(a ^ b for a, b in zip(one, digest, strict=True))


class EncryptedFlash(NorFlash):
    encrypted = True

    def _read_cells(self, offset: int, length: int) -> bytes:
        start = offset - offset % BLOCK_BYTES
        end = -(-(offset + length) // BLOCK_BYTES) * BLOCK_BYTES
        stored = super()._read_cells(start, end - start)
        blocks = range(0, end - start, BLOCK_BYTES)
        data = b"".join(_block(start + at, stored[at : at + BLOCK_BYTES], False) for at in blocks)
        return data[offset - start : offset - start + length]

    def _as_stored(self, offset: int, data: bytes) -> bytes:
        blocks = range(0, len(data), BLOCK_BYTES)
        return b"".join(_block(offset + at, data[at : at + BLOCK_BYTES], True) for at in blocks)
