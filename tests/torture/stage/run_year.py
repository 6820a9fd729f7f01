"""A year in fast motion: what a terminal's journal writes in so many days, and how evenly it wears the flash.

run_year.py DAYS PAYMENTS_A_DAY FLASH_BYTES

Every day: payments (a credit each; in one of ten a debit and its closing, a refund), power off and on, one sync (an
installation that covers all); every 30 days and at the end power off and on behind the sync as well. Recovery must find
what was written, and read no byte twice.
"""

import json
import sys

from bank import Wrong
from image import Journal, Stopwatch
from named import found, run_named
from nor import SECTOR_BYTES, UNIT_BYTES, Chip, Flash, Power

CREDIT, DEBIT, CLOSING, INSTALLATION = 332, 231, 241, 436
RECORD_HEADER_BYTES = 8
# A journal whose log goes round and round wears all sectors alike.
MOST_UNEVEN = 2
# Notes, ends of sectors too short for the next record, openings: beside the records themselves.
MOST_OVERHEAD = 1.25


class Counted(Flash):
    """Knows how often an opening has read each unit since it was programmed."""

    def __init__(self, chip: Chip):
        super().__init__(chip, Power())
        self.reads = bytearray(chip.size_bytes // UNIT_BYTES)
        self.opening = True

    def read(self, offset: int, length: int) -> bytes:
        for unit in self._units(offset, length):
            self.reads[unit] += 1
        return super().read(offset, length)

    def program(self, offset: int, data: bytes) -> None:
        for unit in self._units(offset, len(data)):
            self.reads[unit] = 0
        super().program(offset, data)

    def _units(self, offset: int, length: int):
        return range(offset // UNIT_BYTES, (offset + length - 1) // UNIT_BYTES + 1) if self.opening else ()


class Year:
    def __init__(self, flash_bytes: int):
        self.chip = Chip(flash_bytes, 3)
        self.kept = {}
        self.bytes = 0  # of records, in whole units
        self.programs = self.appends = 0
        self.open()

    def open(self) -> None:
        taken = []

        def take(payload, first):
            if first:
                taken.clear()
            taken.append(bytes(payload))

        self.flash = Counted(self.chip)
        self.journal = Journal(self.flash, take, not self.kept)
        self.flash.opening = False
        # Every byte once; beside that the opening's own note, to see that the flash kept it.
        if max(self.flash.reads) > 1 or self.flash.read_count > self.chip.size_bytes + UNIT_BYTES:
            raise Wrong("an opening read %d of %d bytes" % (self.flash.read_count, self.chip.size_bytes))
        kept = [payload for payload in taken if int.from_bytes(payload[:4], "big") in self.kept]
        expected = [self.kept[seq] for seq in sorted(self.kept)]
        if kept[-len(expected) :] != expected and expected:
            raise Wrong("recovery finds other records than were written")
        if self.kept and (self.journal.head_seq != max(self.kept) or self.journal.first_seq > min(self.kept)):
            raise Wrong("recovery ends elsewhere")
        if self.kept:
            self.journal.drop_below(min(self.kept))
        self.tidy()

    def append(self, length: int) -> None:
        seq = self.journal.head_seq + 1
        record = seq.to_bytes(4, "big") + bytes([seq % 251]) * (length - 4)
        before = self.flash.program_count, self.flash.erase_count
        if not self.journal.reserve(3, length + CREDIT + INSTALLATION):
            raise Wrong("the journal is full with %d records" % len(self.kept))
        self.journal.append(record)
        if self.flash.program_count - before[0] > 2 or self.flash.erase_count != before[1]:
            raise Wrong("an append took more than two programs, or an erase")
        self.kept[seq] = record
        self.bytes += (RECORD_HEADER_BYTES + length + UNIT_BYTES - 1) // UNIT_BYTES * UNIT_BYTES
        self.appends += 1

    def tidy(self) -> None:
        for _ in range(self.chip.size_bytes // SECTOR_BYTES + 1):
            if not self.journal.tidy():
                return
        raise Wrong("tidying never ends")

    def day(self, payments: int) -> None:
        for number in range(payments):
            self.append(CREDIT)
            if number % 10 == 0:
                self.append(DEBIT)
                self.append(CLOSING)
            self.tidy()
        self.open()
        self.append(INSTALLATION)
        base = self.journal.head_seq
        self.journal.drop_below(base)
        self.kept = {base: self.kept[base]}
        self.tidy()


def main(days: int, payments: int, flash_bytes: int) -> None:
    watch = Stopwatch()
    year = Year(flash_bytes)
    for day in range(days):
        year.day(payments)
        if day % 30 == 29 or day == days - 1:
            year.open()
    wear = list(year.chip.wear)
    erases = sum(wear)
    expected = year.bytes / SECTOR_BYTES
    # The first erases only make the flash new.
    worn = erases - len(wear) if min(wear) else erases
    problems = []
    if max(wear) - min(wear) > MOST_UNEVEN:
        problems.append("sectors wear from %d to %d erases" % (min(wear), max(wear)))
    if worn > expected * MOST_OVERHEAD:
        problems.append("%d erases for %d sectors of records" % (worn, expected))
    result: dict = {"days": days, "payments": days * payments, "records": year.appends, "erases": erases}
    result.update({"erases_least": min(wear), "erases_most": max(wear), "sectors_of_records": int(expected)})
    result["years_at_100000_erases"] = int(100_000 / max(wear) * days / 365)
    result["violations"] = len(problems)
    result["seconds"] = watch.seconds()
    for problem in problems:
        found("year", (days, payments, flash_bytes), problem)
    print(json.dumps(result))


run_named("year", main, int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
