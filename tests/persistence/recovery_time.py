"""How long a start takes to read a full journal: one line of JSON.

`python -m tests.persistence.recovery_time`, which is `make bench-journal`, fills the journal of a terminal on this
computer's MicroPython, opens it again and again, and reads the flash as often without looking at it. The times are the
middle ones: `seconds` of an opening, `read_seconds` of reading alone, `ratio` the one by the other.
"""

import json
import tempfile
from typing import Any

from protocol import records
from tests import micropython

MEBIBYTE = 1 << 20
ROUNDS = 9
LIMIT_S = 2.0  # what a person waits for at power-on

FILL_AND_OPEN = """
import json, sys
from time import ticks_diff, ticks_us
from ports import unix as port
from storage.journal import Journal
size_bytes, record_bytes, rounds = [int(word) for word in sys.argv[1:]]
spec = {"label": "journal", "size_bytes": size_bytes}
journal = Journal(port.open_flash(spec))
while journal.reserve(1, record_bytes):
    journal.append((journal.head_seq + 1).to_bytes(4, "big") + bytes(record_bytes - 4))
journal = None
taken = 0
def take(payload, first):
    global taken
    taken = 1 if first else taken + 1
opened, read, read_bytes = [], [], 0
for _ in range(rounds):
    flash = port.open_flash(spec)
    began = ticks_us()
    journal = Journal(flash, take)
    opened.append(ticks_diff(ticks_us(), began))
    read_bytes = max(read_bytes, flash.read_count)
    records = journal.head_seq
    journal = None
    began = ticks_us()
    for offset in range(0, size_bytes, flash.sector_size_bytes):
        flash.read(offset, flash.sector_size_bytes)
    read.append(ticks_diff(ticks_us(), began))
assert taken == records, (taken, records)
print(json.dumps([records, read_bytes, sorted(opened)[rounds // 2], sorted(read)[rounds // 2]]))
"""


def measure(size_bytes: int = MEBIBYTE, rounds: int = ROUNDS) -> dict[str, Any]:
    """`read_once`: no opening read more than the flash has, but for the note that it writes itself and reads back."""
    unit_bytes = micropython.import_on_cpython("storage.journal_format").UNIT_BYTES
    with tempfile.TemporaryDirectory() as folder:
        count, read_bytes, opened_us, read_us = micropython.run_json(
            FILL_AND_OPEN,
            arguments=[str(size_bytes), str(records.CREDIT_RECORD_BYTES), str(rounds)],
            environment={"JIAOZI_STATE": folder},
            timeout_s=600,
        )
    return {
        "bytes": size_bytes,
        "records": count,
        "read_bytes": read_bytes,
        "read_once": read_bytes <= size_bytes + unit_bytes,
        "seconds": opened_us / 1e6,
        "read_seconds": read_us / 1e6,
        "ratio": round(opened_us / read_us, 1),
        "limit_seconds": LIMIT_S,
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
