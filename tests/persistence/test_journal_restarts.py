"""The compiled journal on the unix port's flash file: real processes that lose power, and the next ones that go on."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests import micropython

CUT_EXIT_CODE = 76
SECTORS = 10
LAST_SEQ = 60

HISTORY = """
import json
from ports import unix as port
from storage.journal import Journal
flash = port.open_flash({"label": "journal", "size_bytes": 10 * 4096})
def record(seq):
    return seq.to_bytes(4, "big") + bytes([seq & 0xFF]) * (700 + seq * 97 % 600)
taken = []
def take(payload, first):
    if first:
        taken.clear()
    taken.append(payload)
journal = Journal(flash, take)
assert flash.read_count <= flash.size_bytes + 32, flash.read_count  # each byte once, and the note it wrote
first, head = journal.first_seq, journal.head_seq
kept = list(journal.records(first))
assert kept == [record(seq) for seq in range(first, head + 1)]
assert taken[len(taken) - len(kept):] == kept
print(json.dumps(["found", first, head]))
for seq in range(head + 1, 61):
    print(json.dumps(["append", first, seq]))
    programs, erases = flash.program_count, flash.erase_count
    journal.append(record(seq))
    assert (flash.program_count - programs, flash.erase_count - erases) == (2, 0)
    print(json.dumps(["done", first, seq]))
    if seq % 4 == 0:
        journal.drop_below(seq - 2)
    if seq % 2 == 0:
        journal.tidy()
print(json.dumps(["end", flash.program_count + flash.erase_count, flash.erase_count]))
"""


def run(state: Path, kind: str, cut: str = "") -> tuple[int, list[list[Any]]]:
    environment = {"JIAOZI_STATE": str(state), "JIAOZI_FLASH_ENCRYPTED": kind, "JIAOZI_FLASH_CUT": cut}
    with micropython.start(HISTORY, environment=environment) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode in (0, CUT_EXIT_CODE), output + errors
    return process.returncode, [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("kind", ["0", "1"], ids=["plain", "encrypted"])
def test_a_process_that_lost_power_finds_what_had_returned(tmp_path: Path, kind: str) -> None:
    code, whole = run(tmp_path / "whole", kind)
    assert (code, whole[-1][0]) == (0, "end")
    _, operations, erases = whole[-1]
    assert erases > 2 * SECTORS
    noise = random.Random(kind)
    for number in range(1, operations + 1, 7):
        state = tmp_path / str(number)
        committed, begun = 0, 0
        first = f"{number}:{noise.randrange(1400)}"
        # The second run is cut while it recovers, or a little later.
        for cut in (first, f"{noise.randrange(1, 3)}:{noise.randrange(40)}", f"{noise.randrange(1, 90)}:20", ""):
            code, said = run(state, kind, cut)
            for what, *numbers in said:
                if what == "found":
                    assert committed <= numbers[1] <= max(committed, begun)
                    committed = numbers[1]
                elif what == "append":
                    begun = numbers[1]
                elif what == "done":
                    committed = numbers[1]
        assert code == 0
        assert committed == LAST_SEQ


FILL = """
import gc, json
from ports import unix as port
from storage.journal import Journal
SIZE_BYTES = 1 << 20
flash = port.open_flash({"label": "journal", "size_bytes": SIZE_BYTES})
journal = Journal(flash)
while journal.reserve(1, 332):
    journal.append((journal.head_seq + 1).to_bytes(4, "big") + bytes(328))
head = journal.head_seq
flash = port.open_flash({"label": "journal", "size_bytes": SIZE_BYTES})
journal = None
gc.collect()
before = gc.mem_alloc()
count = 0
def take(payload, first):
    global count
    count += 1
    assert payload[:4] == count.to_bytes(4, "big")
journal = Journal(flash, take)
gc.collect()
kept_bytes = gc.mem_alloc() - before
print(json.dumps([head, count, flash.read_count, flash.program_count, flash.erase_count, kept_bytes]))
"""


def test_a_full_megabyte_holds_2400_terminal_payments_and_is_read_once_within_the_heap(tmp_path: Path) -> None:
    head, count, read_bytes, programs, erases, kept_bytes = micropython.run_json(
        FILL, environment={"JIAOZI_STATE": str(tmp_path)}
    )
    assert head == count >= 2400
    assert read_bytes <= (1 << 20) + 32  # and the note that it writes, read back
    assert (programs, erases) == (1, 0)
    assert kept_bytes < 4000
