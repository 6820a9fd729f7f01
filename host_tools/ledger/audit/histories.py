"""What devices have committed to beside the chains that the ledger holds, and how far that reaches.

`evidence` says what commits a device. Whoever committed to two records at one position is frozen for it at once and
for good, so who is not was let go by somebody.
"""

from collections import defaultdict
from contextlib import suppress

from sqlalchemy import Connection, Row, or_, select, text

from host_tools.crypto import sha256
from host_tools.ledger.audit.findings import SHOWN, Findings
from host_tools.ledger.evidence import TWO_HISTORIES
from host_tools.ledger.guarantee import fraudulent
from host_tools.ledger.registry import NOTHING_SHOWN
from host_tools.ledger.schema import FOR_EVER, UNCREDITED, devices, positions, transfers
from host_tools.ledger.transfers import UNREGISTERED
from protocol.errors import DecodeError
from protocol.objects import Receipt, Transfer

Commitments = dict[int, set[bytes]]  # hashes by position


def beside(connection: Connection, page: list[Row]) -> dict[bytes, Commitments]:
    """What each of these devices, whose ids follow each other, committed to by what its chain need not show."""
    found: dict[bytes, Commitments] = defaultdict(lambda: defaultdict(set))
    first, last = page[0].id, page[-1].id
    kept = select(positions.c.device, positions.c.seq, positions.c.hash).where(positions.c.device.between(first, last))
    for who, seq, digest in connection.execute(kept):
        found[who][seq].add(digest)
    paid = select(transfers.c.payer, transfers.c.seq, transfers.c.hash, transfers.c.transfer).where(
        transfers.c.payer.between(first, last), transfers.c.debited.is_(False)
    )
    for who, seq, digest, signed in connection.execute(paid):
        with suppress(DecodeError):  # `payments` names it
            found[who][seq - 1].add(Transfer.decode(signed).previous)
            found[who][seq].add(digest)
    # A Receipt of before its payee was registered accused nobody
    took = select(transfers.c.payee, transfers.c.receipt).where(
        transfers.c.payee.between(first, last),
        text(UNCREDITED),
        transfers.c.receipt.is_not(None),
        or_(transfers.c.refusal.is_(None), transfers.c.refusal != UNREGISTERED),
    )
    for who, signed in connection.execute(took):
        with suppress(DecodeError):
            receipt = Receipt.decode(signed)
            found[who][receipt.seq - 1].add(receipt.previous)
            found[who][receipt.seq].add(sha256(receipt.body()))
    return found


def check_one(device: Row, committed: Commitments, where: str, findings: Findings) -> None:
    """`committed` is what lies beside its chain, and at the same positions the chain's own hashes."""
    if fraudulent(device):
        return
    torn = [seq for seq, hashes in committed.items() if len(hashes) > 1]
    if torn:
        findings.differ("whether the device is frozen", where, device.frozen, f"{TWO_HISTORIES} at record {min(torn)}")


def check_marks(connection: Connection, findings: Findings) -> None:
    """`shown_seq` and `other_seq` are positions of what is kept. That they are no lower is seen where that is."""
    of_device = positions.c.device == devices.c.id
    kept = select(positions.c.seq).where(of_device, positions.c.seq >= devices.c.shown_seq).exists()
    took = select(transfers.c.seq).where(
        transfers.c.payee == devices.c.id, transfers.c.receipt_seq >= devices.c.shown_seq
    )
    shown = select(devices.c.id, devices.c.shown_seq).where(devices.c.shown_seq > NOTHING_SHOWN, ~kept, ~took.exists())
    for who, seq in connection.execute(shown):
        findings.differ(SHOWN, f"device {who.hex()}", seq, "what somebody has shown")
    paid = select(transfers.c.seq).where(
        transfers.c.payer == devices.c.id,
        or_(transfers.c.seq == devices.c.other_seq, devices.c.other_seq == FOR_EVER),
    )
    other = select(devices.c.id, devices.c.other_seq).where(devices.c.other_seq > 0, ~paid.exists())
    for who, seq in connection.execute(other):
        findings.differ("up to where it paid under other Certificates", f"device {who.hex()}", seq, "a payment of its")
