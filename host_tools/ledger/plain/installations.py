"""Plain installations of Certificates: of what others have shown that the device credited, nothing comes too late."""

from collections.abc import Container, Mapping, Sequence

from sqlalchemy import Connection

from host_tools.ledger import bulk
from host_tools.ledger.parse import Entry, payee_issue_in
from host_tools.ledger.plain import standing
from host_tools.ledger.plain.standing import Issued
from host_tools.ledger.posting import Posting
from host_tools.ledger.schema import certificates, transfers


def post(
    connection: Connection, _issued: Issued, postings: Sequence[Posting], _posted: Container[Entry], _now: int
) -> set[Entry]:
    """Post what is plain of these uploads. Returns the records that need nothing more than their place in the chain."""
    found = {one.device.id: one.found[0].installations for one in postings}
    fitting = standing.fitting(connection, [one for one in postings if found[one.device.id]])
    heads = {who: one.head[0] for who, one in fitting.items() if one.device.shown_seq > one.head[0]}
    late = _too_late(connection, heads, found)
    keys, row = ("device", "issue"), ("device", "issue", "installed_seq")
    wanted = {(who, one.record.certificate.issue) for who in fitting.keys() - late for one in found[who]}
    rows = bulk.exactly(connection, certificates, keys, row, wanted)
    installed = {(bytes(who), issue): seq for who, issue, seq in rows}
    changed: dict[tuple[bytes, int], int] = {}
    posted: set[Entry] = set()
    for who in fitting.keys() - late:
        for entry in found[who]:
            key = who, entry.record.certificate.issue
            earliest = min(seq for seq in (entry.seq, installed[key], changed.get(key)) if seq is not None)
            if earliest != installed[key]:
                changed[key] = earliest
            posted.add(entry)
    rows = [(seq, *key) for key, seq in changed.items()]
    bulk.update(connection, certificates, ("device", "issue"), ("installed_seq",), rows)
    return posted


def _too_late(connection: Connection, heads: Mapping[bytes, int], found: Mapping[bytes, list[Entry]]) -> set[bytes]:
    """The devices that have credited above their heads what these installations forbid.

    Others have shown it, or a piece of their journals with a gap below.
    """
    row = ("payee", "receipt_seq", "transfer")
    return {
        bytes(who)
        for who, seq, transfer in bulk.above(connection, transfers, ("payee", "receipt_seq"), row, heads)
        if any(one.seq < seq and one.record.certificate.issue > payee_issue_in(transfer) for one in found[who])
    }
