"""Whose affairs uploads may touch: who is locked before they are posted (`locks`).

An upload says most of it: its device, the payers of its credits, the payees of its debits and of those that it closes.
The rest the ledger knows: what the watermark in its Statement voids goes back to payers that the upload does not name.
A payee's lock covers what is decided on its Statement and its Certificates, so it is never a payer's alone that a
Transfer is changed under; an operator's own payee has nothing of the kind, and all who redeem would wait for it.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, literal_column, select, text

from host_tools.ledger import bulk, locks
from host_tools.ledger.reading import Reading
from host_tools.ledger.schema import DEBITED, UNCREDITED, devices, transfers
from protocol.objects import OPERATOR_PAYEE, Receipt, Statement
from protocol.records import Closing


def lock(connection: Connection, uploads: Iterable[tuple[Statement, Reading]]) -> None:
    """Lock everybody, in the order of their ids; whoever becomes a party meanwhile as well."""
    if not locks.needed(connection):
        return
    watermarks: dict[bytes, int] = {}
    payers: set[bytes] = set()
    payees: set[bytes] = set()
    closed: dict[bytes, set[bytes]] = {}
    for statement, reading in uploads:
        watermarks[statement.device] = statement.watermark
        ended: set[bytes] = set()
        payees.update(payee for payee, _ in reading.debits.values())
        for entry in reading.entries:
            if entry.credit is not None:
                payers.add(entry.credit.payer)
            elif entry.paid is not None:
                ended.add(entry.paid.transfer)
            elif entry.debit is None and isinstance(entry.record.body, Receipt):
                payers.add(entry.record.transfer.payer)
            elif entry.debit is None and isinstance(entry.record.body, Closing):
                ended.add(entry.record.body.transfer)
        if ended - reading.debits.keys():
            closed[statement.device] = ended - reading.debits.keys()

    def found() -> set[bytes]:
        paid = _customers(connection, payees | _payees_of(connection, closed))
        return watermarks.keys() | payers | paid | _voided_by(connection, watermarks)

    locks.parties(connection, found)


_OWN = select(devices.c.id).where(devices.c.kind >= literal_column(str(OPERATOR_PAYEE << 4)))


def _customers(connection: Connection, payees: set[bytes]) -> set[bytes]:
    """Without the operators' own payees."""
    return payees - {bytes(who) for (who,) in bulk.fetch(connection, _OWN, devices.c.id, payees)}


def _payees_of(connection: Connection, closed: Mapping[bytes, set[bytes]]) -> set[bytes]:
    """Of debits that uploads close, by payer, and do not bring."""
    found: set[bytes] = set()
    for payer, hashes in closed.items():
        shown = select(transfers.c.payee).where(transfers.c.payer == payer, transfers.c.hash.in_(hashes), text(DEBITED))
        found.update(connection.execute(shown).scalars())
    return found


_UNCREDITED = select(transfers.c.payee, transfers.c.number, transfers.c.payer).where(
    text(UNCREDITED), transfers.c.void.is_(None)
)


def _voided_by(connection: Connection, watermarks: Mapping[bytes, int]) -> set[bytes]:
    """The payers of what these payees have not credited, and never will: it is numbered below their watermarks."""
    rows = bulk.fetch(connection, _UNCREDITED, transfers.c.payee, watermarks)
    return {bytes(payer) for payee, number, payer in rows if number < watermarks[bytes(payee)]}
