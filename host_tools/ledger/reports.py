"""What the books say, for people and for reconciliation. Reads only; amounts are integers in minor units."""

from sqlalchemy import Connection, Row, select

from host_tools.ledger import books, decisions, holds, redeem
from host_tools.ledger.disputes import disputed, payees_of_frozen
from host_tools.ledger.lost import pay_back_day
from host_tools.ledger.registry import limits_of
from host_tools.ledger.schema import accounts, dead_letters, devices, evidence, loads, postings, transfers
from host_tools.ledger.transfers import PENDING, REFUSED


def reconciliation(connection: Connection) -> dict:
    """Where every issued unit is. `difference` is 0, or the ledger is broken. A negative guarantee is a loss.

    Accounts are named `operator:name`, purses `name (id)`; `pending` names payer, payee and the Transfer's hash. Ids
    and hashes are whole, so that no two amounts share a name.
    """
    report: dict = {"issued": -_sum(connection, books.ISSUED)}
    report["accounts"] = _balances(connection, books.ACCOUNT)
    report["purses"] = _balances(connection, books.PURSE)
    report["pending"] = _pending(connection)
    report["loads_in_transit"] = _balances(connection, books.LOADS_IN_TRANSIT)
    report["guarantee"] = _balances(connection, books.GUARANTEE)
    report["suspense"] = _balances(connection, books.SUSPENSE)
    parts = ("accounts", "purses", "pending", "loads_in_transit", "guarantee", "suspense")
    report["difference"] = sum(sum(report[part].values()) for part in parts) - report["issued"]
    return report


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


def dead_letter_list(connection: Connection) -> list[dict]:
    """Everything that was uploaded and not taken, oldest first."""
    return [
        {"device": row.device.hex(), "reason": row.reason, "record": row.record.hex(), "at": row.at}
        for row in connection.execute(select(dead_letters).order_by(dead_letters.c.id))
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
    return [_transfer(row) for row in connection.execute(query)]


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


def load_list(connection: Connection, device: bytes) -> list[dict]:
    query = select(loads).where(loads.c.device == device).order_by(loads.c.number)
    return [{"number": row.number, "amount": row.amount, "state": row.state} for row in connection.execute(query)]


def transfer_list(connection: Connection, device: bytes) -> list[dict]:
    """Transfers this device paid or was paid, and where each stands."""
    query = select(transfers).where((transfers.c.payer == device) | (transfers.c.payee == device))
    return [_transfer(row) for row in connection.execute(query.order_by(transfers.c.payer, transfers.c.seq))]


def _transfer(row: Row) -> dict:
    return {
        "hash": row.hash.hex(),
        "payer": row.payer.hex(),
        "payee": row.payee.hex(),
        "amount": row.amount,
        "state": row.state,
        "refusal": row.refusal,
        "decided": row.decided,
    }


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


def _sum(connection: Connection, kind: str) -> int:
    return sum(
        map(books.whole, connection.execute(select(accounts.c.balance).where(accounts.c.kind == kind)).scalars())
    )


def _balances(connection: Connection, kind: str) -> dict[str, int]:
    query = select(accounts.c.owner, accounts.c.name, accounts.c.balance).where(accounts.c.kind == kind)
    named = kind in (books.PURSE, books.LOADS_IN_TRANSIT)
    rows = connection.execute(query.order_by(accounts.c.id)).all()
    return {f"{row.name} ({row.owner})" if named else row.owner: books.whole(row.balance) for row in rows}


def _pending(connection: Connection) -> dict[str, int]:
    """The Transfers that make up the pending accounts; one booked to the payee's account for good is not among them."""
    query = select(transfers).where(transfers.c.state == PENDING, transfers.c.defaulted.is_(False))
    return {
        f"{row.payer.hex()}->{row.payee.hex()} {row.hash.hex()}": row.amount
        for row in connection.execute(query.order_by(transfers.c.payer, transfers.c.seq))
    }
