"""Plain credits.

Of a Transfer that nobody has shown before, by a payer whose other Transfers it fits among: a new row, and the money
goes from the payer's purse to the payee's. Of one that the payer has shown: the same, from where the money waits; if
the payer has brought the Receipt as well, the row only says from now on that the payee's journal has it.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from host_tools.ledger import bulk
from host_tools.ledger.parse import Credit, Entry
from host_tools.ledger.plain import known, standing
from host_tools.ledger.plain.known import Changes, Known
from host_tools.ledger.plain.standing import Issued
from host_tools.ledger.posting import Posting
from host_tools.ledger.schema import transfers
from host_tools.ledger.transfers import PENDING, POSTED

# What the row of a new one says, and what all of them say alike; the rest is NULL.
_COLUMNS = (
    *("payer", "seq", "hash", "payee", "payer_issue", "number", "amount"),
    *("transfer", "receipt", "receipt_seq", "held_by"),
)
_SAME = {
    "debited": False,
    "credited": True,
    "defaulted": False,
    "state": POSTED,
    "unconfirmed": True,
    "left_open": False,
}


def post(
    connection: Connection, issued: Issued, postings: Sequence[Posting], posted: set[Entry], now: int
) -> set[Entry]:
    """Post what is plain of these uploads. Returns the records that need nothing more than their place in the chain.

    Of uploads with installations only if those are `posted`: they decide which credits come too late.
    """
    uploads = {one.device.id: _credits(one) for one in postings if posted.issuperset(one.found[0].installations)}
    postings = [one for one in postings if one.device.id in uploads]
    fitting = standing.fitting(connection, [one for one in postings if uploads[one.device.id]])
    payees = standing.payees(connection, {who: one.device for who, one in fitting.items()})
    credits = [credit for who in payees for _, credit in uploads[who]]
    if not credits:
        return set()
    payers = standing.payers(connection, issued, {credit.payer for credit in credits})
    shown = known.uncredited(connection, payees)
    older = {one.payer for one in shown.values() if one.payer in payers}
    standing.learn_older(connection, payers, older)
    new = [(one.payer, one.seq) for one in credits if one.payer in payers and one.transfer not in shown]
    standing.learn_spent(connection, payers, new)
    changes = Changes()
    rows: list[tuple] = []
    taken: set[Entry] = set()
    for who, payee in payees.items():
        unconfirmed = 0
        for entry, credit in uploads[who]:
            payer = payers.get(credit.payer)
            if payer is None or not payee.takes(credit, credit.receipt_seq, payer.limits_under(credit.payer_issue)):
                continue
            one = shown.get(credit.transfer)
            if one is not None:
                if not _credit_shown(changes, one, entry, credit, payee.purse):
                    continue
            elif payer.paid(credit, credit.transfer):
                rows.append(_row(entry, credit, payee.purse))
                changes.move(payer.purse, payee.purse, credit.amount, credit.transfer)
                unconfirmed += credit.amount
            else:
                continue
            taken.add(entry)
        changes.count("unconfirmed", who, unconfirmed)
    rows.sort()  # by payer and seq, so that neighbours in the index come one after the other
    bulk.insert(connection, transfers, _COLUMNS, rows, _SAME)
    changes.write(connection, now)
    return taken


def _credits(posting: Posting) -> list[tuple[Entry, Credit]]:
    """Whose payers are known."""
    found = [(one, one.credit) for one in posting.found[0].entries if one.credit is not None]
    return [one for one in found if one[0] not in posting.strangers] if posting.strangers else found


def _row(entry: Entry, credit: Credit, purse: int) -> tuple:
    return (
        credit.payer,
        credit.seq,
        credit.transfer,
        credit.payee,
        credit.payer_issue,
        credit.number,
        credit.amount,
        entry.transfer,
        entry.receipt,
        credit.receipt_seq,
        purse,
    )


def _credit_shown(changes: Changes, one: Known, entry: Entry, credit: Credit, purse: int) -> bool:
    """Of a Transfer that its payer has shown. Whether it was plain."""
    if one.is_odd or one.transfer != entry.transfer:
        return False
    if one.state == PENDING and one.receipt is None:
        changes.move(one.held_by, purse, one.amount, one.hash)
        one.receipt, one.receipt_seq = entry.receipt, credit.receipt_seq
        one.state, one.held_by = POSTED, purse
    elif one.state != POSTED or one.receipt != entry.receipt:
        return False
    one.credited = True
    changes.add(one)
    return True
