"""What people look at one by one: records not taken, evidence of fraud, money in suspense, and what they decided."""

from sqlalchemy import Connection, select

from host_tools.ledger import decisions
from host_tools.ledger.reports.devices import transfer_facts
from host_tools.ledger.schema import dead_letters, evidence, transfers
from host_tools.ledger.transfers import REFUSED


def dead_letter_list(connection: Connection) -> list[dict]:
    """Everything that was uploaded and not taken, oldest first."""
    return [
        {"device": row.device.hex(), "reason": row.reason, "record": row.record.hex(), "at": row.at}
        for row in connection.execute(select(dead_letters).order_by(dead_letters.c.at, dead_letters.c.record_hash))
    ]


def evidence_list(connection: Connection) -> list[dict]:
    """What devices were frozen for: two objects that cannot both be honest."""
    return [
        {
            "device": row.device.hex(),
            "what": row.what,
            "first": row.first.hex(),
            "second": row.second.hex(),
            "at": row.at,
        }
        for row in connection.execute(select(evidence).order_by(evidence.c.id))
    ]


def suspense_list(connection: Connection) -> list[dict]:
    """What waits in suspense for people to decide, and why it was refused."""
    query = select(transfers).where(transfers.c.state == REFUSED).order_by(transfers.c.payer, transfers.c.seq)
    return [transfer_facts(row) for row in connection.execute(query)]


def decision_list(connection: Connection) -> list[dict]:
    """What people have decided, oldest first. `what` is for whom, of a payment, or "clear", of a device."""
    return [
        {
            "at": row.at,
            "operator": row.operator,
            "what": row.what,
            "device": row.device.hex(),
            "transfer": row.transfer and row.transfer.hex(),
            "amount": row.amount,
            "reason": row.reason,
        }
        for row in decisions.made(connection)
    ]
