"""The statement of one customer's account."""

from sqlalchemy import Connection, select

from host_tools.ledger.schema import postings


def statement_of_account(connection: Connection, account: int) -> list[dict]:
    """The postings of one account, oldest first, with the balance after each."""
    balance, lines = 0, []
    query = select(postings).where((postings.c.source == account) | (postings.c.destination == account))
    for row in connection.execute(query.order_by(postings.c.id)):
        amount = row.amount if row.destination == account else -row.amount
        balance += amount
        lines.append(
            {"at": row.at, "amount": amount, "balance": balance, "reason": row.reason, "reference": row.reference.hex()}
        )
    return lines
