"""A journal on small flash, the history that it is put through, and what must be found of it.

Sectors are small, so that every byte of a whole history can be tried; some tests take the ports' 4096.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import micropython
from tests.unit.nor_flash import EncryptedFlash, NorFlash, PowerCut

journal_module = micropython.import_on_cpython("storage.journal")
errors = micropython.import_on_cpython("storage.errors")
Journal = journal_module.Journal

UNIT_BYTES = 32
SECTOR_BYTES = 256
SECTORS = 14
FLASH_BYTES = SECTORS * SECTOR_BYTES

both_kinds = pytest.mark.parametrize("kind", [NorFlash, EncryptedFlash])


def small(kind: type[NorFlash] = NorFlash) -> NorFlash:
    return kind(FLASH_BYTES, SECTOR_BYTES)


def record(seq: int, length: int = 20) -> bytes:
    return struct.pack(">I", seq) + bytes((seq * 31 + n) & 0xFF for n in range(length - 4))


def of_history(seq: int) -> bytes:
    return record(seq, 4 + seq * 37 % 90)


def contents(journal: Any) -> list[bytes]:
    return list(journal.records(journal.first_seq))


class Taken:
    """What an opening hands out, as an owner keeps it."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def __call__(self, payload: bytes, first: bool) -> None:
        assert first or self.payloads
        if first:
            self.payloads.clear()
        self.payloads.append(payload)


def open_journal(flash: NorFlash, may_format: bool = True) -> Any:
    """Opens, and checks what holds for every opening."""
    taken = Taken()
    flash.forget_reads()
    journal = Journal(flash, taken, may_format)
    assert max(flash.reads) <= 1, "a byte was read twice"
    kept = contents(journal)
    assert taken.payloads[len(taken.payloads) - len(kept) :] == kept  # and before them perhaps some that were dropped
    return journal


def filled(flash: NorFlash, head: int) -> Any:
    """A new journal with the first `head` records of the history."""
    journal = open_journal(flash)
    for seq in range(1, head + 1):
        journal.append(of_history(seq))
    return journal


def cut_in(flash: NorFlash, after: int, operation: Callable[[], object]) -> bool:
    """Whether `operation` was cut, `after` bytes from now on."""
    flash.cut_after = flash.changed_bytes + after
    try:
        operation()
    except PowerCut:
        return True
    finally:
        flash.cut_after = None
    return False


class History:
    """What a device does with its journal: every step, with what may be found if it is cut."""

    def __init__(self, flash: NorFlash) -> None:
        self.flash = flash
        self.first, self.head = 1, 0
        self.journal: Any = None

    def steps(self) -> Iterator[tuple[Callable[["History"], None], int]]:
        """(step, the head after it): appends of several lengths, drops, tidying and openings, round the flash."""
        yield History.open, 0
        for seq in range(1, 31):
            yield History.append, seq
            if seq % 6 == 5:
                yield History.drop, seq
            if seq % 2 == 0:
                yield History.tidy, seq
            if seq % 7 == 3:
                yield History.open, seq
                yield History.open, seq
        yield History.open, 30

    def open(self) -> None:
        self.journal = open_journal(self.flash)
        if self.journal.first_seq < self.first:
            self.journal.drop_below(self.first)

    def append(self) -> None:
        self.journal.append(of_history(self.journal.head_seq + 1))
        self.head = self.journal.head_seq

    def drop(self) -> None:
        self.first = self.head - 2
        self.journal.drop_below(self.first)

    def tidy(self) -> None:
        self.journal.tidy()


def check(flash: NorFlash, first: int, heads: set[int]) -> int:
    """A journal with a head of `heads` is found, with all records from `first` on, and stays. Returns the head."""
    journal = open_journal(flash)
    head = journal.head_seq
    assert head in heads
    assert journal.first_seq <= first
    assert contents(journal) == [of_history(seq) for seq in range(journal.first_seq, head + 1)]
    again = open_journal(flash.copy())  # bits that were left undecided read otherwise now
    assert again.head_seq == head
    assert again.first_seq <= first
    assert contents(again) == [of_history(seq) for seq in range(again.first_seq, head + 1)]
    return head


def go_on(flash: NorFlash, first: int, head: int) -> None:
    """The journal can be used as ever."""
    journal = open_journal(flash)
    journal.drop_below(max(first, head))
    while journal.tidy():
        pass
    for seq in range(head + 1, head + 4):
        journal.append(of_history(seq))
    check(flash, max(first, head), {head + 3})
