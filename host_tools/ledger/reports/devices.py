"""Devices as they stand now, and what each has paid, was paid and was loaded with."""

from sqlalchemy import Connection, Row, select

from host_tools.ledger import holds, redeem
from host_tools.ledger.disputes import disputed, payees_of_frozen
from host_tools.ledger.lost import pay_back_day
from host_tools.ledger.registry import limits_of
from host_tools.ledger.schema import accounts, devices, loads, transfers


def device_list(connection: Connection, who: bytes | None, now: int) -> list[dict]:
    """Every device, or only that one, with what a person asks for, in the order of registration.

    `lost_at` is a Unix time, `pay_back_day` a Unix day; both are None unless it was reported lost. `guaranteed` is what
    its operator's guarantee bears, `limits` what its operator gives it, `held` what of the purse cannot be redeemed at
    `now`, `disputed` whether all of it is for people to settle.
    """
    query = select(devices, accounts.c.balance).join(accounts, devices.c.purse == accounts.c.id)
    if who is not None:
        query = query.where(devices.c.id == who)
    suspects = payees_of_frozen(connection)
    return [
        {
            "id": row.id.hex(),
            "name": row.name,
            "operator": row.operator,
            "kind": row.kind,
            "mcc": row.mcc,
            "account": row.account,
            "purse": row.balance,
            "issue": row.issue,
            "head_seq": row.head_seq,
            "watermark": row.watermark,
            "load_floor": row.load_floor,
            "frozen": row.frozen,
            "revoked": row.revoked,
            "lost_at": row.lost_at,
            "pay_back_day": None if row.lost_at is None else pay_back_day(row),
            "guaranteed": row.guaranteed,
            "limits": limits_of(row),
            "held": _held(connection, row, suspects, now),
            "disputed": row.id in suspects and disputed(connection, row),
        }
        for row in connection.execute(query.order_by(devices.c.registered_at, devices.c.id))
    ]


def _held(connection: Connection, device: Row, suspects: set[bytes], now: int) -> int:
    """Most devices need no query of their own: only new terminals and those that a frozen device has paid."""
    if device.balance <= 0 or not (device.id in suspects or holds.is_new(device, now)):
        return 0
    return device.balance - redeem.redeemable(connection, device, now)


def transfer_list(connection: Connection, device: bytes) -> list[dict]:
    """Transfers this device paid or was paid, and where each stands."""
    query = select(transfers).where((transfers.c.payer == device) | (transfers.c.payee == device))
    return [transfer_facts(row) for row in connection.execute(query.order_by(transfers.c.payer, transfers.c.seq))]


def transfer_facts(row: Row) -> dict:
    return {
        "hash": row.hash.hex(),
        "payer": row.payer.hex(),
        "payee": row.payee.hex(),
        "amount": row.amount,
        "state": row.state,
        "refusal": row.refusal,
        "decided": row.decided,
    }


def load_list(connection: Connection, device: bytes) -> list[dict]:
    query = select(loads).where(loads.c.device == device).order_by(loads.c.number)
    return [{"number": row.number, "amount": row.amount, "state": row.state} for row in connection.execute(query)]
