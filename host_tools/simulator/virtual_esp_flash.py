"""A SPI NOR flash chip whose cells are a file: erasing sets a sector to FF, programming only clears bits.

It knows no loader. An address beyond its end wraps around, as on a chip that ignores the upper address lines.
"""

import mmap
from pathlib import Path

SECTOR_BYTES = 4096
_MANUFACTURER = 0xEF  # Winbond, W25Q: memory type 40, and the size as a power of two
_MEMORY_TYPE = 0x40
_READ_ID = 0x9F
_READ_SFDP = 0x5A
_SFDP = b"SFDP"


class NorFlash:
    """`path` is made, erased, if it is not there. What changed it is in `changes`: "erase" or "program", offset, bytes.

    Raises ValueError if the file has another size.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        if not path.exists():
            path.write_bytes(b"\xff" * size_bytes)
        if path.stat().st_size != size_bytes:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, and the flash chip {size_bytes}")
        self.size_bytes = size_bytes
        self.changes: list[tuple[str, int, int]] = []
        with path.open("r+b") as file:
            self._cells = mmap.mmap(file.fileno(), size_bytes)

    def read(self, offset: int, length: int) -> bytes:
        return b"".join(self._cells[start : start + count] for start, count in self._pieces(offset, length))

    def erase(self, offset: int, length: int) -> None:
        """Every sector that is touched."""
        start = offset // SECTOR_BYTES * SECTOR_BYTES
        end = -(-(offset + length) // SECTOR_BYTES) * SECTOR_BYTES
        for place, count in self._pieces(start, end - start):
            self._cells[place : place + count] = b"\xff" * count
            self.changes.append(("erase", place, count))

    def program(self, offset: int, data: bytes) -> None:
        done = 0
        for place, count in self._pieces(offset, len(data)):
            old = int.from_bytes(self._cells[place : place + count], "big")
            new = int.from_bytes(data[done : done + count], "big")
            self._cells[place : place + count] = (old & new).to_bytes(count, "big")
            self.changes.append(("program", place, count))
            done += count

    def spi(self, command: int, address: int) -> int:
        """What a command on the bus reads, first byte lowest; what we do not know reads as 0."""
        if command == _READ_ID:
            return _MANUFACTURER | _MEMORY_TYPE << 8 | (self.size_bytes.bit_length() - 1) << 16
        if command == _READ_SFDP:
            return int.from_bytes(_SFDP[address:].ljust(4, b"\xff")[:4], "little")
        return 0

    def close(self) -> None:
        self._cells.close()

    def _pieces(self, offset: int, length: int) -> list[tuple[int, int]]:
        """The range as (start, length) inside the chip."""
        pieces = []
        while length > 0:
            start = offset % self.size_bytes
            count = min(length, self.size_bytes - start)
            pieces.append((start, count))
            offset += count
            length -= count
        return pieces
