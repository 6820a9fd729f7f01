"""Plain payments: debits, and the closings by which their payers' journals show them as paid.

Of a Transfer that its payee has shown, the row says from now on what the payer's journal has. Of one that nobody has
shown before, if the upload brings the payee's Receipt as well: a new row, and the money goes from the payer's purse to
the payee's. A debit that is still in doubt is for the rules.
"""

from collections.abc import Container, Sequence

from sqlalchemy import Connection

from host_tools.ledger import bulk, registry
from host_tools.ledger.parse import Debit, Entry, Paid
from host_tools.ledger.plain import known, standing
from host_tools.ledger.plain.known import Changes, Known
from host_tools.ledger.plain.standing import Issued, Payee, Payer
from host_tools.ledger.posting import Posting
from host_tools.ledger.schema import devices, transfers
from host_tools.ledger.transfers import POSTED
from protocol.objects import PAID

# What the row of a new one says, and what all of them say alike; the rest is NULL.
_COLUMNS = (
    *("payer", "seq", "hash", "payee", "payee_key", "payer_issue", "number", "amount"),
    *("transfer", "receipt", "receipt_seq", "closed_seq", "held_by"),
)
_PAYEE = _COLUMNS.index("payee")
_SAME = {
    "debited": True,
    "credited": False,
    "defaulted": False,
    "closed_as": PAID,
    "state": POSTED,
    "unconfirmed": False,
    "left_open": False,
}


def post(
    connection: Connection, issued: Issued, postings: Sequence[Posting], _posted: Container[Entry], now: int
) -> set[Entry]:
    """Post what is plain of these uploads. Returns the records that need nothing more than their place in the chain."""
    paying = [one for one in postings if any(e.debit is not None or e.paid is not None for e in one.found[0].entries)]
    fitting = standing.fitting(connection, paying)
    payers = standing.payers(connection, issued, fitting)
    shown = known.unpaid(connection, payers)
    new = [
        entry.debit
        for who in payers
        for entry in fitting[who].found[0].entries
        if entry.debit is not None and entry.hash not in shown
    ]
    standing.learn_spent(connection, payers, [(one.payer, one.seq) for one in new])
    # Who uploads in this batch as well may bring another history: the rules see that when it is in the books.
    payees = _payees(connection, {one.payee for one in new} - {one.device.id for one in postings})
    batch = _Batch(shown, payees)
    for who, payer in payers.items():
        batch.take(payer, fitting[who].found[0].entries)
    bulk.insert(connection, transfers, _COLUMNS, batch.rows, _SAME)
    seqs = [(payees[who].shown_seq, who) for who in {row[_PAYEE] for row in batch.rows}]
    bulk.update(connection, devices, ("id",), ("shown_seq",), seqs)
    batch.changes.write(connection, now)
    return batch.posted


def _payees(connection: Connection, wanted: set[bytes]) -> dict[bytes, Payee]:
    """With what others have shown of their journals."""
    rows = registry.devices_of(connection, wanted)
    found = standing.payees(connection, rows)
    for who, seq, digest in standing.shown(connection, [(rows[who], rows[who].head_seq) for who in found]):
        found[who].signed(seq, digest)
    return found


class _Batch:
    def __init__(self, shown: dict[bytes, Known], payees: dict[bytes, Payee]):
        self.changes = Changes()
        self.rows: list[tuple] = []
        self.posted: set[Entry] = set()
        self._shown = shown
        self._payees = payees

    def take(self, payer: Payer, entries: Sequence[Entry]) -> None:
        """What one payer's upload says."""
        new: dict[bytes, tuple[Entry, Debit]] = {}
        contested = _closed_again(entries)
        for entry in entries:
            closed = entry.hash if entry.paid is None else entry.paid.transfer
            if closed in contested:
                continue
            if entry.debit is not None:
                one = self._shown.get(entry.hash)
                if one is None:
                    new[entry.hash] = entry, entry.debit
                elif self._debit(one, entry, entry.debit):
                    self.posted.add(entry)
            elif entry.paid is not None:
                debited = new.get(entry.paid.transfer)
                if debited is not None:
                    if self._pay(payer, *debited, entry, entry.paid):
                        self.posted.update((debited[0], entry))
                elif self._close(self._shown.get(entry.paid.transfer), entry):
                    self.posted.add(entry)

    def _debit(self, one: Known, entry: Entry, debit: Debit) -> bool:
        """Its payee has shown it."""
        if one.is_odd or one.debited or not one.credited or one.state != POSTED or one.transfer != entry.transfer:
            return False
        one.debited, one.payee_key = True, debit.payee_key
        self.changes.add(one)
        return True

    def _close(self, one: Known | None, entry: Entry) -> bool:
        """The payer's journal has its debit, and the ledger its Receipt."""
        if one is None or one.is_odd or not one.debited or one.state != POSTED:
            return False
        if one.closed_seq is not None or one.receipt != entry.receipt:
            return False
        one.closed_seq, one.closed_as = entry.seq, PAID
        self.changes.add(one)
        return True

    def _pay(self, payer: Payer, debited: Entry, debit: Debit, closing: Entry, paid: Paid) -> bool:
        """Nobody has shown it before."""
        payee = self._payees.get(debit.payee)
        if payee is None or not payee.takes(debit, paid.receipt_seq, payer.limits_under(debit.payer_issue)):
            return False
        if not payee.commits(paid.receipt_seq, paid.evidence, paid.receipt_previous):
            return False
        if not payer.paid(debit, debited.hash):
            return False
        self.rows.append(_row(debited, debit, closing, paid, payee.purse))
        self.changes.move(payer.purse, payee.purse, debit.amount, debited.hash)
        return True


def _closed_again(entries: Sequence[Entry]) -> set[bytes]:
    """The Transfers that several of these records close, by their hashes: which of them counts is for the rules."""
    seen: set[bytes] = set()
    again: set[bytes] = set()
    for entry in entries:
        closed = entry.closes
        if closed is not None:
            (again if closed in seen else seen).add(closed)
    return again


def _row(debited: Entry, debit: Debit, closing: Entry, paid: Paid, purse: int) -> tuple:
    return (
        debit.payer,
        debit.seq,
        debited.hash,
        debit.payee,
        debit.payee_key,
        debit.payer_issue,
        debit.number,
        debit.amount,
        debited.transfer,
        closing.receipt,
        paid.receipt_seq,
        closing.seq,
        purse,
    )
