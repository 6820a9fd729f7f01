"""The table of endpoints: it makes the routes (`app`), the OpenAPI document (`openapi`) and the table in
docs/service.md.
"""

from host_tools.ledger import errors as refused
from host_tools.server import calls, errors, probes, uploads
from host_tools.server.endpoint import Endpoint
from host_tools.server.figures import REPORTS
from host_tools.server.framing import UPLOAD_MAX_BYTES
from host_tools.server.orders import ORDERS
from host_tools.server.shapes import Choice, Flag, Hex, Many, Maybe, Number, Numbers, Record, Text
from protocol.limits import LIMIT_FIELDS, MAX_IN_DOUBT
from protocol.objects import (
    MAX_WALLET_CLASS,
    NONCE_BYTES,
    TERMINAL,
    WALLET,
    Acknowledgement,
    Certificate,
    Load,
    OperatorCertificate,
    Order,
    Receipt,
    Request,
    Transfer,
)

U32 = 0xFFFF_FFFF
AMOUNT = Number(1, U32, about="Minor units")
SUM = Number(-(1 << 63), about="Minor units; negative where more went out than came in")
KIND = Number(0, 0xFF)
NEW_KINDS = Numbers(
    (*(WALLET << 4 | level for level in range(1, MAX_WALLET_CLASS + 1)), TERMINAL << 4),
    about=f"{WALLET << 4} and the class of a wallet, or {TERMINAL << 4} for a terminal",
)
# Visible characters, with single blanks between: what people can read to each other and type again. ASCII or Latin and
# other letters as the database takes them; a narrower rule than the ledger's own.
NAME = Text(50, pattern=r"[A-Za-z0-9À-ɏͰ-ϿЀ-ӿ一-鿿.,&'()/-]+( [A-Za-z0-9À-ɏͰ-ϿЀ-ӿ一-鿿.,&'()/-]+)*", about="A name")
UTC = Number(about="Unix seconds")
WHY = Text(200, 0)

STANDING = Record(
    {
        "frozen": Maybe(WHY),
        "revoked": Flag(),
        "lost_at": Maybe(UTC),
        "pay_back_day": Maybe(Number(about="A Unix day: from then on its owner's account gets a lost device's money")),
    },
    about="How the device stands, where there is no Certificate",
)
SETTLEMENT = Record(
    {
        "standing": Maybe(STANDING),
        "objects": Many(Hex(about="A signed object for the device, to be handed over in this order")),
        "certified": Flag("Whether the last two objects are a Certificate and its Acknowledgement"),
        "accepted": Number(about="Records that moved the ledger's head of this device's journal"),
        "dead_letters": Many(Text(200, about="Why a record was kept aside; all others are settled")),
        "note": Text(300, 0, about="Why there is no Certificate"),
    }
)
ACCOUNT = Record(
    {"account": Number(1), "operator": Number(1, 0xFFFF), "name": Text(100), "balance": Number(about="Minor units")}
)
DEVICE_BRIEF = {
    "name": Text(100),
    "kind": KIND,
    "mcc": Number(0, 9999, about="A terminal's merchant category (ISO 18245)"),
    "account": Number(1),
    "purse": SUM,
    "issue": Number(about="Of its newest Certificate"),
    "frozen": Maybe(WHY),
    "revoked": Flag(),
    "lost_at": Maybe(UTC),
}
_LIMIT = Number(0, U32)
LIMITS = {name: _LIMIT for name in LIMIT_FIELDS} | {
    "record_limit": Number(0, 0xFFFF),
    "days_limit": Number(0, 0xFF),
    "in_doubt_limit": Number(0, MAX_IN_DOUBT),
}
DEVICE = Record(
    {"id": Hex(16), "operator": Number(1, 0xFFFF)}
    | DEVICE_BRIEF
    | {
        "head_seq": Number(about="How much of its journal the ledger holds"),
        "watermark": Number(),
        "load_floor": Number(),
        "pay_back_day": Maybe(Number(about="A Unix day")),
        "guaranteed": Number(about="What the operator's guarantee bears"),
        "limits": Record(LIMITS),
        "held": Number(about="What of the purse cannot be redeemed now"),
        "disputed": Flag("Whether all of it is for people to settle"),
    }
)
REPORT = Record({kind.replace(" ", "_"): SUM for kind in calls.REPORTED})

_SIGNS = (errors.KeyNotHere, refused.WrongSigner, refused.UnknownOperator)
_DEVICE = (refused.UnknownDevice,)
_PARKED = (refused.DeviceFrozen, refused.DeviceRevoked)
_UPLOAD = {"offset": Number(0, UPLOAD_MAX_BYTES), "length": Number(1, UPLOAD_MAX_BYTES, about="Of the whole upload")}

FOR_ALL = (
    Endpoint("GET", "/health", "health", "Whether the service and its database answer",
             {200: probes.HEALTH, 503: probes.HEALTH}, probes.health),
    Endpoint("GET", "/metrics", "metrics", "Counters for Prometheus",
             {200: Text(1 << 20, 0)}, probes.metrics, media=probes.METRICS_MEDIA),
    Endpoint("GET", "/openapi.json", "openapi", "This document", {200: probes.ANYTHING}, probes.document),
)  # fmt: skip

# A device proves itself by its signature, and whatever carries it needs no secret.
FOR_DEVICES = (
    Endpoint("GET", "/v1/root", "root", "The central bank's public key",
             {200: Record({"key": Hex(32)})}, probes.root, refusals=(refused.UnknownOperator,)),
    Endpoint("GET", "/v1/operators/{operator}", "operator", "An operator's certificate",
             {200: Record({"certificate": Hex(OperatorCertificate.size())})}, probes.operator,
             refusals=(refused.UnknownOperator,)),
    Endpoint("POST", "/v1/devices/{device}/syncs", "begin_sync",
             "Begin a sync: a nonce for the device's Statement, and the first record that the ledger wants",
             {200: Record({"nonce": Hex(NONCE_BYTES), "first_seq": Number(1)})}, probes.begin_sync, refusals=_DEVICE),
    Endpoint("GET", "/v1/devices/{device}/pending", "pending", "What waits for a device, in numbers",
             {200: Record({"loads": Number(), "resolutions": Number(),
                           "epoch": Number(about="Of its operator's newest revocation list"),
                           "root_epoch": Number(about="Of the central bank's")})}, probes.pending, refusals=_DEVICE),
    Endpoint("POST", "/v1/settlements/{statement}", "upload",
             "Send an upload, or the rest of it from byte `offset` on; once it is whole it is settled and answered",
             {200: SETTLEMENT, 202: Record({"offset": Number(1, UPLOAD_MAX_BYTES)})}, stream=uploads.receive,
             query=Record(_UPLOAD),
             refusals=(errors.WrongOffset, errors.KeyNotHere, refused.BadSignature, refused.UnknownDevice,
                       refused.UnknownNonce, refused.WrongSigner, refused.UnknownOperator, refused.InvalidInput,
                       refused.OutcomeUnknown)),
    Endpoint("HEAD", "/v1/settlements/{statement}", "upload_progress",
             "How many bytes of an upload are here: the header `Upload-Offset`", {204: None}, uploads.progress),
    Endpoint("GET", "/v1/settlements/{statement}", "settlement", "What a settled upload was answered",
             {200: SETTLEMENT}, uploads.answered, query=Record({"nonce": Hex(NONCE_BYTES)}),
             refusals=(errors.NotFound,)),
)  # fmt: skip

FOR_OPERATORS = (
    Endpoint("GET", "/v1/accounts", "accounts", "Accounts, in the order of their numbers; or the one of a name",
             {200: Record({"accounts": Many(ACCOUNT), "more": Flag()})}, calls.accounts, scope="read",
             query=Record({"after": Number(), "name": Text(50)}, frozenset({"after", "name"}))),
    Endpoint("POST", "/v1/accounts", "open_account", "Open an account; one of this name stays as it is",
             {200: ACCOUNT}, calls.open_account, scope="accounts", body=Record({"name": NAME}),
             refusals=(refused.InvalidInput, refused.UnknownOperator)),
    Endpoint("GET", "/v1/accounts/{account}", "account", "One account", {200: ACCOUNT}, calls.account, scope="read",
             refusals=(refused.UnknownAccount,)),
    Endpoint("GET", "/v1/report", "report", "Where the operator's money is, in sums", {200: REPORT}, calls.report,
             scope="read"),
    Endpoint("GET", "/v1/devices", "devices", "Devices, in the order of their ids",
             {200: Record({"devices": Many(Record({"device": Hex(16)} | DEVICE_BRIEF)), "more": Flag()})},
             calls.devices, scope="read", query=Record({"after": Hex(16)}, frozenset({"after"}))),
    Endpoint("POST", "/v1/devices", "register", "Register a device's key and certify it; again: the same answer",
             {200: Record({"device": Hex(16), "certificate": Hex(Certificate.size()),
                           "acknowledgement": Hex(Acknowledgement.size())})}, calls.register, scope="devices",
             body=Record({"key": Hex(32), "kind": NEW_KINDS, "mcc": Number(0, 9999), "account": Number(1),
                          "name": NAME}),
             refusals=(*_SIGNS, refused.InvalidInput, refused.UnknownAccount, refused.AlreadyRegistered)),
    Endpoint("GET", "/v1/devices/{device}", "device", "One device", {200: DEVICE}, calls.device, scope="read",
             refusals=_DEVICE),
    Endpoint("PATCH", "/v1/devices/{device}/limits", "set_limits", "Change limits, from its next Certificate on",
             {200: Record({"limits": Record(LIMITS)})}, calls.set_limits, scope="devices",
             body=Record(LIMITS, frozenset(LIMITS)), refusals=(*_DEVICE, refused.InvalidInput)),
    Endpoint("POST", "/v1/devices/{device}/orders", "order", "Sign the device's next Order",
             {200: Record({"number": Number(1, U32), "order": Hex(Order.size())})}, calls.order, scope="devices",
             body=Record({"order": Choice(tuple(ORDERS))}),
             refusals=(*_DEVICE, *_SIGNS, refused.InvalidInput)),
    Endpoint("POST", "/v1/devices/{device}/revocation", "revoke", "Block a device, for good",
             {200: Record({"epoch": Number(1)})}, calls.revoke, scope="revoke",
             refusals=(*_DEVICE, *_SIGNS, refused.InvalidInput)),
    Endpoint("POST", "/v1/devices/{device}/loss", "lost", "Report a device lost, for good",
             {200: Record({"pay_back_day": Number(about="A Unix day")})}, calls.lost, scope="revoke",
             refusals=(*_DEVICE, *_SIGNS, refused.InvalidInput)),
    Endpoint("GET", "/v1/devices/{device}/loads", "loads", "A device's loads, in the order of their numbers",
             {200: Record({"loads": Many(Record({
                 "number": Number(1, U32), "amount": AMOUNT,
                 "state": Choice(("outstanding", "loaded", "returned", "paid back")),
             }))})}, calls.loads, scope="read", refusals=_DEVICE),
    Endpoint("PUT", "/v1/devices/{device}/loads/{load}", "order_load",
             "Order a device's next load; the same again: the same answer",
             {200: Record({"number": Number(1, U32), "amount": AMOUNT, "load": Hex(Load.size())})}, calls.order_load,
             scope="load", body=Record({"amount": AMOUNT}),
             refusals=(*_DEVICE, *_SIGNS, *_PARKED, refused.InvalidInput, refused.InsufficientFunds,
                       refused.AlreadyRegistered, refused.OutcomeUnknown)),
    Endpoint("DELETE", "/v1/devices/{device}/loads/{load}", "cancel_load", "Stop offering a load and all before it",
             {200: Record({"cancelled_to": Number(1, U32)})}, calls.cancel_load, scope="load",
             refusals=(*_DEVICE, refused.UnknownLoad)),
    Endpoint("POST", "/v1/devices/{device}/requests", "open_redemption",
             "A Request for the device to pay, which redeems; closes the one before it",
             {200: Record({"certificate": Hex(Certificate.size()), "request": Hex(Request.size())})},
             calls.open_redemption, scope="redeem", body=Record({"amount": AMOUNT}),
             refusals=(*_DEVICE, *_SIGNS, *_PARKED, refused.InvalidInput, refused.InsufficientFunds, refused.Disputed,
                       refused.HeldBack, refused.OutcomeUnknown)),
    Endpoint("POST", "/v1/devices/{device}/redemptions", "take_redemption",
             "The Transfer that the device answered with, for a Receipt or a Void",
             {200: Record({"evidence": Hex(about=f"{Receipt.size()} bytes or less")})}, calls.take_redemption,
             scope="redeem", body=Record({"transfer": Hex(Transfer.size())}),
             refusals=(*_DEVICE, *_SIGNS, refused.BadSignature, refused.UnknownRequest, refused.InvalidInput,
                       refused.OutcomeUnknown)),
)  # fmt: skip

FOR_THE_ROOT = (
    Endpoint("POST", "/v1/accounts/{account}/issues", "issue",
             "Issue new money into any account, if so much has been issued before and no more",
             {200: Record({"account": Number(1), "amount": Number(1), "issued": Number()})}, calls.issue, scope="issue",
             body=Record({"amount": Number(1), "issued_before": Number()}),
             refusals=(refused.UnknownAccount, refused.InvalidInput, refused.IssuedMeanwhile,
                       refused.OutcomeUnknown)),
    Endpoint("GET", "/v1/books", "books", "Where every issued unit is, in sums", {
        200: Record({"issued": Number(), **REPORT.fields, "difference": Number(about="0, or the ledger is broken")})
    }, calls.root_report, scope="books"),
)  # fmt: skip

ENDPOINTS: tuple[Endpoint, ...] = (*FOR_ALL, *FOR_DEVICES, *FOR_OPERATORS, *REPORTS, *FOR_THE_ROOT)
