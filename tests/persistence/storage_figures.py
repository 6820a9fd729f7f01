"""How many payments a journal holds and how long its flash lasts, by writing them all: the table of docs/storage.md.

`python -m tests.persistence.storage_figures` prints them.
"""

from typing import NamedTuple

from protocol import records
from tests import micropython

ERASES_OF_FLASH = 100_000  # what makers of NOR flash promise for a sector
STARTS_A_DAY = 10
PARTITIONS_KB = (128, 256, 1024)
_SECTOR_BYTES = 4096
_LAPS = 10

Journal = micropython.import_on_cpython("storage.journal").Journal


class Use(NamedTuple):
    """One kind of device: the records of one payment, what it asks for before, payments a day."""

    record_bytes: tuple[int, ...]
    reservation: tuple[int, int]
    payments_a_day: int


def _reserved(n_bytes: int = 0, n_closings: int = 0) -> tuple[int, int]:
    wanted = records.reservation(0, n_bytes, n_closings)
    return wanted.n_records, wanted.n_bytes


WALLET = Use(
    (records.DEBIT_RECORD_BYTES, records.CLOSING_MAX_BYTES), _reserved(records.DEBIT_RECORD_BYTES, n_closings=1), 20
)
TERMINAL = Use((records.CREDIT_RECORD_BYTES,), _reserved(), 1000)
USES = {"wallet": WALLET, "terminal": TERMINAL}


class _Flash:
    """Nothing but memory that counts erases: what it may do is checked in `tests/unit`."""

    sector_size_bytes = _SECTOR_BYTES
    encrypted = False

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.cells = bytearray(b"\xff" * size_bytes)
        self.erases = [0] * (size_bytes // _SECTOR_BYTES)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.cells[offset : offset + length])

    def program(self, offset: int, data: bytes) -> None:
        assert self.cells[offset : offset + len(data)].count(0xFF) == len(data)
        self.cells[offset : offset + len(data)] = data

    def erase(self, offset: int) -> None:
        self.cells[offset : offset + _SECTOR_BYTES] = b"\xff" * _SECTOR_BYTES
        self.erases[offset // _SECTOR_BYTES] += 1


class _Device:
    def __init__(self, use: Use, size_kb: int) -> None:
        self.use = use
        self.flash = _Flash(size_kb * 1024)
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.flash)

    def _append(self, length: int) -> None:
        seq = self.journal.head_seq + 1
        self.journal.append(seq.to_bytes(4, "big") + bytes(length - 4))

    def pay(self) -> bool:
        if not self.journal.reserve(*self.use.reservation):
            return False
        for length in self.use.record_bytes:
            self._append(length)
        return True

    def sync(self) -> None:
        self._append(records.INSTALLATION_MAX_BYTES)
        self.journal.drop_below(self.journal.head_seq)
        while self.journal.tidy():
            pass


def payments_until_full(use: Use, size_kb: int) -> int:
    """Payments between two syncs: after an installation, until the device refuses."""
    device = _Device(use, size_kb)
    device.sync()
    count = 0
    while device.pay():
        count += 1
    return count


def years_of_life(use: Use, size_kb: int) -> int:
    """With a sync every evening, and whenever the journal is full."""
    device = _Device(use, size_kb)
    start = max(device.flash.erases)
    days = 0
    while max(device.flash.erases) < start + _LAPS:
        days += 1
        for number in range(use.payments_a_day):
            if number % (use.payments_a_day // STARTS_A_DAY) == 0:
                device.start()
            if not device.pay():
                device.sync()
                assert device.pay()
        device.sync()
    assert max(device.flash.erases) - min(device.flash.erases) <= 1
    return ERASES_OF_FLASH // _LAPS * days // 365


if __name__ == "__main__":
    for name, use in USES.items():
        for size_kb in PARTITIONS_KB:
            print(f"{name} {size_kb} KB: {payments_until_full(use, size_kb):,}, {years_of_life(use, size_kb):,} years")
