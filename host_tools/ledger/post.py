"""The third stage of settlement: records into the books, in the order in which each device made them.

Keep those that the device vouches for, post them, take note of conflicts, move the head. What repeats changes nothing.
Records that are no news to anybody but payer and payee go the short way, many uploads at a time (`plain`); whatever is
left goes through the rules, one by one. What follows then for each device is done for all of them together.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from host_tools.ledger import bulk, loads, plain, registry, transfers
from host_tools.ledger.evidence import commit_to, freeze_rolled_back, seen_seqs
from host_tools.ledger.guarantee import fraudulent
from host_tools.ledger.parse import Entry
from host_tools.ledger.plain import standing
from host_tools.ledger.plain.standing import Issued
from host_tools.ledger.posting import Posting, extend
from host_tools.ledger.schema import devices, positions


def post(connection: Connection, issued: Issued, postings: Sequence[Posting], now: int) -> None:
    """Post uploads of different devices, all of whom are locked with whomever they paid or were paid by.

    Who is wholly posted joins the books before anybody else is: the rules see what it has committed to.
    """
    posted: set[Entry] = set()
    waiting = list(postings)
    for post_plain in plain.STAGES:
        posted |= post_plain(connection, issued, waiting, posted, now)
        whole = [one for one in waiting if one.is_whole and posted.issuperset(one.found[0].entries)]
        fitting = standing.fitting(connection, whole)  # beside what the same stage has shown of them as well
        done = [one for one in whole if one.device.id in fitting]
        extend(connection, [(one, one.found[0]) for one in done if one.found[0].entries])
        waiting = [one for one in waiting if one not in done]
    for posting in waiting:
        posting.run(posted)
    _commit(connection, postings, now)
    _take_floors(connection, postings, now)


_ABOVE_BASE = (
    select(positions.c.device, positions.c.seq, positions.c.hash)
    .select_from(positions)
    .join(devices, (devices.c.id == positions.c.device) & (positions.c.seq >= devices.c.base_seq))
)


def _commit(connection: Connection, postings: Sequence[Posting], now: int) -> None:
    """Each Statement commits its device to its head, and says whether the device went back or has signed more since."""
    rows = []
    ids = [one.device.id for one in postings]
    kept = {
        (bytes(who), seq, bytes(digest)) for who, seq, digest in bulk.fetch(connection, _ABOVE_BASE, devices.c.id, ids)
    }
    for one in postings:
        who, statement = one.device.id, one.statement
        one.complete = one.head == (statement.seq, statement.head)
        if not one.complete or statement.seq < one.device.base_seq:
            commit_to(connection, who, statement.seq, statement.head, None, statement.encode(), now)
        elif (who, statement.seq, statement.head) not in kept:
            rows.append((who, statement.seq, statement.head, statement.encode()))
        if statement.seq < one.seen_before:
            signed = statement.encode()
            freeze_rolled_back(connection, who, statement.seq, one.seen_before, signed, now)
    bulk.insert(connection, positions, ("device", "seq", "hash", "proof"), rows)
    seen = seen_seqs(connection, ids)
    for one in postings:
        one.current = seen[one.device.id] == one.statement.seq


def _take_floors(connection: Connection, postings: Sequence[Posting], now: int) -> None:
    """The Statements' watermarks and load floors: they count where every record up to the head is held."""
    rows = registry.devices_of(connection, [one.device.id for one in postings])
    raised: dict[bytes, tuple[int, int]] = {}
    floors = []
    for one in postings:
        one.device = device = rows[one.device.id]
        if not (one.complete and one.current) or fraudulent(device):
            continue
        statement, signed, older = one.statement, device.statement, device.watermark
        if statement.watermark >= older:
            signed = statement.encode()  # request numbers only grow: a higher one that was said before stays true
        watermark = max(statement.watermark, older)
        floors.append((signed, watermark, max(statement.load_floor, device.load_floor), device.id))
        raised[device.id] = (older, watermark)
    bulk.update(connection, devices, ("id",), ("statement", "watermark", "load_floor"), floors)
    transfers.below_watermarks(connection, raised, now)
    waiting = loads.outstanding_of(connection, raised)
    for who, device in registry.devices_of(connection, waiting).items():
        loads.give_back(connection, device, waiting[who], now)
