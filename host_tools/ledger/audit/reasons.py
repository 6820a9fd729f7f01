"""Why a row of `evidence` freezes its device: in its two objects, as far as they tell it without what lies between."""

from typing import Any

from sqlalchemy import Row

from host_tools.ledger import evidence
from host_tools.ledger.audit.parties import named_by
from host_tools.ledger.transfers import CLAIMED_AND_VOIDED, FALLS, LEFT_OUT, LEFT_OUT_SOME
from protocol.objects import Receipt, Statement, Transfer, Void


def is_so(row: Row, first: Any, second: Any, brought: set[tuple[bytes, str]]) -> bool:
    """Whether the row's kind, position and reason are those of its objects, None for one that is not there.

    `brought` are the fraud proofs of others, by device and kind.
    """
    if row.kind == evidence.TWO_HISTORIES:
        at = row.position
        return at is not None and row.what == f"two histories at record {at}" and _part(at, first, second)
    if row.position is not None:
        return False
    if row.kind == evidence.SUBMITTED:
        return row.what in [f"proven to it: {kind}" for who, kind in brought if who == row.device]
    if row.kind == evidence.ROLLED_BACK:
        return isinstance(second, Statement) and row.what.startswith(f"rolled back to record {second.seq} after ")
    if row.kind == evidence.RECEIPT_AND_VOID:
        is_pair = isinstance(first, Receipt) and isinstance(second, Void)
        return is_pair and row.what == CLAIMED_AND_VOIDED and first.transfer == second.transfer
    if not (isinstance(first, Transfer) and isinstance(second, Transfer) and first.seq < second.seq):
        return False
    if row.kind == evidence.LEAVES_OUT_SOME:
        return row.what == LEFT_OUT_SOME
    said = {FALLS: first.cumulative, LEFT_OUT: first.amount}.get(row.what)
    return row.kind == evidence.CUMULATIVE and said is not None and second.cumulative < said + second.amount


def _part(seq: int, first: Any, second: Any) -> bool:
    """Whether the two may commit to different records there. Nothing may have vouched for the first one."""
    if first is not None and not isinstance(first, Transfer | Receipt | Statement):
        return False
    if not isinstance(second, Transfer | Receipt | Statement):
        return False
    named = [named_by(one, seq) for one in (first, second) if one is not None]
    return b"" not in named and (None in named or len({*named}) == len(named))
