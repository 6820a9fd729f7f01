"""What the endpoints of operators and of the central bank do. Each is one call of the ledger for the token's operator
and its own devices and accounts; what is answered is described in `endpoints`.
"""

from host_tools.crypto import sha256
from host_tools.ledger import books
from host_tools.ledger.errors import BadSignature, UnknownAccount
from host_tools.server.orders import ORDERS
from host_tools.server.service import Call
from host_tools.server.store import PAGE
from protocol.errors import DecodeError
from protocol.objects import Transfer, device_id

# Accounts


def accounts(call: Call) -> dict:
    if "name" in call.query:
        found = call.store.account_called(call.operator, call.query["name"])
        return {"accounts": [found] if found else [], "more": False}
    rows = call.store.accounts(call.operator, call.query.get("after", 0))
    return {"accounts": rows, "more": len(rows) == PAGE}


def open_account(call: Call) -> dict:
    number = call.ledger.open_account(call.operator, call.body["name"])
    account = call.store.account(number)
    assert account is not None, "it was just opened"
    return account


def account(call: Call) -> dict:
    return call.own_account()


def issue(call: Call) -> dict:
    number, amount = call.path["account"], call.body["amount"]
    if call.store.account(number) is None:
        raise UnknownAccount("There is no account of this number", "Ask its operator")
    call.ledger.issue(number, amount, call.now, call.body["issued_before"])
    return {"account": number, "amount": amount, "issued": call.body["issued_before"] + amount}


# Reports


def report(call: Call) -> dict:
    return _sums(call.store.sums(call.operator))


def root_report(call: Call) -> dict:
    sums = call.store.sums(None)
    issued = -sums.pop(books.ISSUED, 0)
    return {"issued": issued, **_sums(sums), "difference": sum(sums.values()) - issued}


def _sums(sums: dict[str, int]) -> dict:
    return {kind.replace(" ", "_"): sums.get(kind, 0) for kind in REPORTED}


REPORTED = (books.ACCOUNT, books.PURSE, books.PENDING, books.LOADS_IN_TRANSIT, books.GUARANTEE, books.SUSPENSE)


# Devices


def devices(call: Call) -> dict:
    rows = call.store.devices(call.operator, call.query.get("after", b""))
    return {"devices": rows, "more": len(rows) == PAGE}


def device(call: Call) -> dict:
    return call.ledger.device(call.own_device(), call.now)


def register(call: Call) -> dict:
    body = call.body
    account = call.checked_account(body["account"])["account"]
    key, kind, mcc, name = body["key"], body["kind"], body["mcc"], body["name"]
    pair = call.ledger.register_device(call.signer, call.operator, key, kind, mcc, account, name, call.now)
    certificate, acknowledgement = (signed.encode().hex() for signed in pair)
    return {
        "device": device_id(key, sha256).hex(),
        "certificate": certificate,
        "acknowledgement": acknowledgement,
    }


def set_limits(call: Call) -> dict:
    return {"limits": call.ledger.set_limits(call.own_device(), call.body)}


def order(call: Call) -> dict:
    signed = call.ledger.order(call.signer, call.own_device(), *ORDERS[call.body["order"]], call.now)
    return {"number": signed.number, "order": signed.encode().hex()}


def revoke(call: Call) -> dict:
    revocations = call.ledger.revoke(call.signer, call.operator, call.own_device(), call.now)
    return {"epoch": revocations.epoch}


def lost(call: Call) -> dict:
    return {"pay_back_day": call.ledger.report_lost(call.signer, call.own_device(), call.now)}


# Money into and out of devices


def loads(call: Call) -> dict:
    return {"loads": call.ledger.loads(call.own_device())}


def order_load(call: Call) -> dict:
    number, amount = call.path["load"], call.body["amount"]
    load = call.ledger.order_load(call.signer, call.own_device(), amount, call.now, number)
    return {"number": load.number, "amount": load.amount, "load": load.encode().hex()}


def cancel_load(call: Call) -> dict:
    call.ledger.cancel_load(call.own_device(), call.path["load"])
    return {"cancelled_to": call.path["load"]}


def open_redemption(call: Call) -> dict:
    device, amount = call.own_device(), call.body["amount"]
    certificate, request = call.ledger.open_redemption(call.signer, call.payee_signer, device, amount, call.now)
    return {"certificate": certificate.encode().hex(), "request": request.encode().hex()}


def take_redemption(call: Call) -> dict:
    """The device that pays must be the operator's own, before anything is said of the payment."""
    device = call.own_device()
    raw = call.body["transfer"]
    try:
        payer = Transfer.decode(raw).payer
    except DecodeError as error:
        raise BadSignature(f"This is no Transfer ({error})", "Send the one that the device answered with") from None
    if payer != device:
        raise BadSignature("The Transfer is not this device's", "Send the one that the device answered with")
    return {"evidence": call.ledger.take_redemption(call.payee_signer, raw, call.now).hex()}
