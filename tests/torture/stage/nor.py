"""NOR flash in RAM, for one device: programming only clears bits, erasing sets a sector to FF, power can go anywhere.

A `Chip` is the silicon and outlives power; `Flash` and `Disk` are what one power-on sees of it: the journal's partition
and littlefs's block device. Both count their operations on one `Power`, which dies at operation N, byte M:

- a program keeps its first M bytes; of byte M, if there are bytes before it, the bits to be cleared read anyhow;
- an erase has reached byte M; the bits of the next 64 bytes read anyhow, the rest is as before. `WEAK` as the byte: the
  whole sector reads anyhow, because nothing of it is erased for good.

What reads anyhow reads differently each time, until it is programmed to 0 or erased. `Broken` is raised where the rules
of the chip are broken: a bit set by a program, a unit of 32 bytes programmed twice, or after an erase that was cut.
"""

from array import array

SECTOR_BYTES = 4096
UNIT_BYTES = 32
PAGE_BYTES = 256
BORDER_BYTES = 64
WEAK = SECTOR_BYTES
_ERASED = b"\xff" * SECTOR_BYTES
_EIO = 5


class Cut(BaseException):
    """Power is gone. Not an Exception, so that no device can handle it."""


class Broken(BaseException):
    """The device does to its flash what no chip allows: an error of the firmware."""


class Power:
    """One power-on: counts operations, and ends at operation `cut_op` after `cut_byte` bytes."""

    def __init__(self):
        self.op = 0
        self.cut_op = -1
        self.cut_byte = 0
        self.dead = False
        self.log = []  # (kind, bytes) of each operation

    def cut(self, op: int, byte: int) -> None:
        """Power goes at the `op`-th operation from now on."""
        self.cut_op, self.cut_byte = self.op + op, byte

    def start(self, kind: str, length: int) -> int:
        """An operation begins: how many bytes of it happen, -1 for all."""
        if self.dead:
            raise Cut
        self.log.append((kind, length))
        self.op += 1
        if self.op - 1 != self.cut_op:
            return -1
        self.dead = True
        return min(self.cut_byte, length)


class Chip:
    """The cells. `wear` counts the erases of each sector."""

    def __init__(self, size_bytes: int, seed: int):
        self.size_bytes = size_bytes
        self.data = bytearray(size_bytes)
        self.used = bytearray(size_bytes // UNIT_BYTES)  # units programmed since their erase, or half erased
        self.wear = array("I", bytes(4 * (size_bytes // SECTOR_BYTES)))
        self.shaky = []  # (offset, masks): bits that read anyhow
        self._random = seed | 1
        for offset in range(0, size_bytes, SECTOR_BYTES):
            self.data[offset : offset + SECTOR_BYTES] = _ERASED

    def keep(self):
        return bytes(self.data), bytes(self.used), list(self.shaky)

    def put_back(self, kept, seed: int) -> None:
        self.data[:], self.used[:], shaky = kept
        self.shaky = list(shaky)
        self._random = seed * 2654435761 & 0x7FFFFFFF | 1

    def random(self) -> int:
        """Xorshift: eight bits."""
        x = self._random
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self._random = x
        return x >> 11 & 0xFF

    def read(self, offset: int, length: int) -> bytes:
        if not self.shaky:
            return bytes(memoryview(self.data)[offset : offset + length])
        data = self.data[offset : offset + length]
        for start, masks in self.shaky:
            for at in range(max(start, offset), min(start + len(masks), offset + length)):
                data[at - offset] ^= masks[at - start] & self.random()
        return bytes(data)

    def program(self, offset: int, data: bytes, cut: int) -> None:
        end = offset + len(data)
        first, last = offset // UNIT_BYTES, (end - 1) // UNIT_BYTES
        if any(self.used[first : last + 1]):
            raise Broken("unit programmed twice, or after an erase that was cut, at %d" % offset)
        present = self.data[offset:end]
        if present.count(b"\xff") != len(data):
            raise Broken("programs what is not erased at %d" % offset)
        if cut < 0:
            self.data[offset:end] = data
            done = end
        else:
            self.data[offset : offset + cut] = data[:cut]
            done = offset + cut
            if cut and done < end:
                self.shaky.append((done, bytes([self.data[done] & ~data[cut] & 0xFF])))
                done += 1
        if done > offset:
            for unit in range(first, (done - 1) // UNIT_BYTES + 1):
                self.used[unit] = 1

    def erase(self, offset: int, cut: int) -> None:
        end = offset + SECTOR_BYTES
        first, last = offset // UNIT_BYTES, end // UNIT_BYTES
        self.shaky = [shaky for shaky in self.shaky if not offset <= shaky[0] < end]
        self.wear[offset // SECTOR_BYTES] += 1
        if cut < 0:
            self.data[offset:end] = _ERASED
            self.used[first:last] = bytes(SECTOR_BYTES // UNIT_BYTES)
            return
        border = 0, SECTOR_BYTES
        if cut < WEAK:
            self.data[offset : offset + cut] = _ERASED[:cut]
            border = cut, min(cut + BORDER_BYTES, SECTOR_BYTES)
        masks = bytes([~byte & 0xFF for byte in self.data[offset + border[0] : offset + border[1]]])
        self.shaky.append((offset + border[0], masks))
        self.used[first:last] = b"\x01" * (SECTOR_BYTES // UNIT_BYTES)


class Flash:
    """The journal's partition, as `ports` offers it."""

    sector_size_bytes = SECTOR_BYTES

    def __init__(self, chip: Chip, power: Power):
        self._chip = chip
        self._power = power
        self.size_bytes = chip.size_bytes
        self.encrypted = False
        self.program_count = 0
        self.page_count = 0
        self.erase_count = 0
        self.read_count = 0

    def _inside(self, offset: int, length: int) -> None:
        if self._power.dead:
            raise Cut
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise Broken("outside the flash: %d bytes at %d" % (length, offset))

    def read(self, offset: int, length: int) -> bytes:
        self._inside(offset, length)
        self.read_count += length
        return self._chip.read(offset, length)

    def program(self, offset: int, data: bytes) -> None:
        self._inside(offset, len(data))
        cut = self._power.start("program", len(data))
        self._chip.program(offset, data, cut)
        if cut >= 0:
            raise Cut
        self.program_count += 1
        self.page_count += (offset + len(data) - 1) // PAGE_BYTES - offset // PAGE_BYTES + 1

    def erase(self, offset: int) -> None:
        self._inside(offset, SECTOR_BYTES)
        if offset % SECTOR_BYTES:
            raise Broken("erases in the middle of a sector")
        cut = self._power.start("erase", SECTOR_BYTES)
        self._chip.erase(offset, cut)
        if cut >= 0:
            raise Cut
        self.erase_count += 1


class Disk:
    """The block device under littlefs, like esp32.Partition. After the cut it only says that it failed.

    littlefs is C: an exception must not fly through it.
    """

    def __init__(self, chip: Chip, power: Power):
        self._chip = chip
        self._power = power

    def readblocks(self, block: int, buffer, offset: int = 0) -> int:
        if self._power.dead:
            return -_EIO
        try:
            buffer[:] = self._chip.read(block * SECTOR_BYTES + offset, len(buffer))
        except MemoryError:
            return -_EIO
        return 0

    def writeblocks(self, block: int, buffer, offset: int = 0) -> int:
        if self._power.dead:
            return -_EIO
        try:
            data = bytes(buffer)
            cut = self._power.start("write", len(data))
            self._chip.program(block * SECTOR_BYTES + offset, data, cut)
        except MemoryError:
            return -_EIO
        return -_EIO if cut >= 0 else 0

    def ioctl(self, what: int, argument: int):
        if what == 4:
            return self._chip.size_bytes // SECTOR_BYTES
        if what == 5:
            return SECTOR_BYTES
        if what == 6:
            if self._power.dead:
                return -_EIO
            try:
                cut = self._power.start("wipe", SECTOR_BYTES)
                self._chip.erase(argument * SECTOR_BYTES, cut)
            except MemoryError:
                return -_EIO
            return -_EIO if cut >= 0 else 0
        return 0
