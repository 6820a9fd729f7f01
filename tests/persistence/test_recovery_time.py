"""What `make bench-journal` prints; how long it takes is for the benchmark to say."""

from protocol.records import CREDIT_RECORD_BYTES
from tests.persistence.recovery_time import measure


def test_an_opening_finds_a_full_journal_and_reads_nothing_twice() -> None:
    size_bytes = 64 * 1024
    result = measure(size_bytes, rounds=2)
    assert result["bytes"] == size_bytes
    assert result["read_once"]
    assert result["records"] * CREDIT_RECORD_BYTES > size_bytes // 2  # full, but for what is kept for restarts
    assert result["read_bytes"] > size_bytes // 2
    assert result["ratio"] > 0
