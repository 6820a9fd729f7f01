"""The unbroken chain of each device, as it was uploaded: `journals`.

It grows by runs, which are never changed: what an upload adds lies together, so a record costs no row and no index of
its own, and whoever needs one finds its run by one step in the key.
"""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, Row, select

from host_tools.ledger import bulk
from host_tools.ledger.parse import Entry, parse
from host_tools.ledger.schema import journals

RUN = 250  # records: 90 KB, which takes little longer to fetch than a few

_LENGTH = 2  # bytes before each record


def write(connection: Connection, grown: Iterable[tuple[bytes, Sequence[Entry]]]) -> None:
    """Each device's chain goes on by these records, which continue it."""
    rows = [row for device, entries in grown for row in _runs(device, entries)]
    bulk.insert(connection, journals, ("device", "last_seq", "first_seq", "records"), rows)


def read(connection: Connection, device: bytes, first: int = 1, last: int | None = None) -> Iterator[Entry]:
    """The records from `first` to `last`, both included, or to the head; a run at a time."""
    while last is None or first <= last:
        run = _run_with(connection, device, first)
        if run is None:
            return
        for seq, raw in enumerate(_cut(run.records), run.first_seq):
            if first <= seq and (last is None or seq <= last):
                yield parse(raw)
        first = run.last_seq + 1


def at(connection: Connection, device: bytes, seqs: Iterable[int]) -> Iterator[Entry]:
    """The records held at these positions, as far as there are any."""
    run, raws = None, []
    for seq in sorted({seq for seq in seqs if seq > 0}):
        if run is None or seq > run.last_seq:
            run = _run_with(connection, device, seq)
            if run is None:
                return
            raws = list(_cut(run.records))
        raw = raws[seq - run.first_seq]
        yield parse(raw)


def hash_at(connection: Connection, device: bytes, seq: int) -> bytes | None:
    """Of the record held there."""
    return next((held.hash for held in at(connection, device, (seq,))), None)


def _run_with(connection: Connection, device: bytes, seq: int) -> Row | None:
    following = select(journals).where(journals.c.device == device, journals.c.last_seq >= seq)
    return connection.execute(following.order_by(journals.c.last_seq).limit(1)).one_or_none()


def _runs(device: bytes, entries: Sequence[Entry]) -> Iterator[tuple]:
    for start in range(0, len(entries), RUN):
        run = entries[start : start + RUN]
        together = b"".join([len(entry.raw).to_bytes(_LENGTH, "big") + entry.raw for entry in run])
        yield device, run[-1].seq, run[0].seq, together


def _cut(together: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(together):
        start = at + _LENGTH
        at = start + int.from_bytes(together[at:start], "big")
        yield together[start:at]
