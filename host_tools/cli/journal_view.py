"""A device's journal records as facts and as a list for people."""

from typing import Any

from rich.table import Table

from host_tools.cli import output
from host_tools.cli.currencies import Currency
from protocol import records
from protocol.objects import PAID, Receipt, Transfer


def facts(data: bytes) -> dict:
    """One stored record. `amount` has the sign of what it does to the balance, None where it does nothing.

    Raises `DecodeError`.
    """
    record = records.decode(data)
    return {"seq": record.seq, **_by_kind(record), "record": data.hex()}


def _by_kind(record: Any) -> dict:
    """`record` is a `records.Record`, whose attributes depend on its body."""
    body = record.body
    if isinstance(body, Transfer):
        return {"kind": "debit", "amount": -body.amount, "with": body.payee.hex(), "confirmed": bool(record.flags)}
    if isinstance(body, Receipt):
        return {"kind": "credit", "amount": record.transfer.amount, "with": record.transfer.payer.hex()}
    if isinstance(body, records.Loading):
        return {"kind": "load", "amount": record.load.amount, "with": None, "number": record.load.number}
    if isinstance(body, records.Closing):
        outcome = "paid" if body.outcome == PAID else "void"
        return {"kind": "closing", "amount": None, "with": None, "outcome": outcome, "transfer": body.transfer.hex()}
    return {"kind": "certificate", "amount": None, "with": None, "issue": record.certificate.issue}


def listing(rows: list[dict], currency: Currency | None) -> Table:
    lines = [
        (
            str(row["seq"]),
            row["kind"],
            "" if row["amount"] is None else output.amount_text(row["amount"], currency),
            _details(row),
        )
        for row in rows
    ]
    return output.listing(("seq", "record", "amount", "details"), lines, ("seq", "amount"))


def _details(row: dict) -> str:
    if row["kind"] == "debit":
        return f"to {output.short(row['with'])}" + (", confirmed by its holder" if row["confirmed"] else "")
    if row["kind"] == "credit":
        return f"from {output.short(row['with'])}"
    if row["kind"] == "load":
        return f"load {row['number']}"
    if row["kind"] == "closing":
        return f"payment {output.short(row['transfer'])} ended: {row['outcome']}"
    return f"certificate {row['issue']} installed"
