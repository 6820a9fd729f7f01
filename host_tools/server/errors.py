"""Everything that the service answers when it does not do what was asked: one table, one shape.

    {"error": word, "what": sentence, "advice": sentence, "money_moved": false, "request_id": word}

`error` is what programs go by; it is append-only. An error leaves the books as they were; only of `outcome_unknown`
nobody knows, and its `money_moved` is null. Errors of redeeming also have `free`, what can be redeemed now. The errors
of the ledger have a row each here, so that the client makes the same exception of them again (`client`).
"""

import json
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from host_tools.ledger import errors as ledger_errors
from host_tools.ledger.errors import LedgerError


class Said(NamedTuple):
    """A row: the HTTP status (RFC 9110, 6585) and the word in `error`."""

    status: int
    word: str


UNKNOWN = "outcome_unknown"

OF_LEDGER: dict[type[LedgerError], Said] = {
    LedgerError: Said(409, "refused"),
    ledger_errors.LedgerMissing: Said(503, "ledger_missing"),
    ledger_errors.LedgerExists: Said(409, "ledger_exists"),
    ledger_errors.LedgerUnavailable: Said(503, "ledger_unavailable"),
    ledger_errors.OutcomeUnknown: Said(503, UNKNOWN),
    ledger_errors.NotALedger: Said(503, "not_a_ledger"),
    ledger_errors.InvalidInput: Said(422, "invalid_input"),
    ledger_errors.UnknownOperator: Said(404, "unknown_operator"),
    ledger_errors.UnknownAccount: Said(404, "unknown_account"),
    ledger_errors.UnknownDevice: Said(404, "unknown_device"),
    ledger_errors.AlreadyRegistered: Said(409, "already_registered"),
    ledger_errors.WrongSigner: Said(409, "wrong_signer"),
    ledger_errors.BadSignature: Said(422, "bad_signature"),
    ledger_errors.InsufficientFunds: Said(409, "insufficient_funds"),
    ledger_errors.IssuedMeanwhile: Said(409, "issued_meanwhile"),
    ledger_errors.UnknownNonce: Said(409, "unknown_nonce"),
    ledger_errors.DeviceFrozen: Said(409, "device_frozen"),
    ledger_errors.DeviceRevoked: Said(409, "device_revoked"),
    ledger_errors.NotRedeemable: Said(409, "not_redeemable"),
    ledger_errors.Disputed: Said(409, "disputed"),
    ledger_errors.HeldBack: Said(409, "held_back"),
    ledger_errors.NotProven: Said(422, "not_proven"),
    ledger_errors.UnknownTransfer: Said(404, "unknown_transfer"),
    ledger_errors.NotToDecide: Said(409, "not_to_decide"),
    ledger_errors.UnknownRequest: Said(409, "unknown_request"),
    ledger_errors.UnknownLoad: Said(404, "unknown_load"),
    ledger_errors.BooksBroken: Said(500, "books_broken"),
}


class ServiceError(Exception):
    """Refused by the service itself, before the ledger is asked. `headers` go with the answer."""

    said = Said(500, "defect")

    def __init__(self, what: str, advice: str, headers: dict[str, str] | None = None):
        super().__init__(what)
        self.what, self.advice, self.headers = what, advice, headers or {}


class BadRequest(ServiceError):
    """The request is not of the shape that the endpoint's description gives."""

    said = Said(400, "bad_request")


class Unauthorized(ServiceError):
    """No token, or one that is unknown, expired or revoked: the three look alike."""

    said = Said(401, "unauthorized")

    def __init__(self) -> None:
        headers = {"WWW-Authenticate": 'Bearer realm="jiaozi"'}
        super().__init__("There is no good token with this request", "Send a valid one as a bearer token", headers)


class Forbidden(ServiceError):
    """The token is good, but not for this."""

    said = Said(403, "forbidden")


class NotFound(ServiceError):
    """There is no such endpoint, or nothing under this name."""

    said = Said(404, "not_found")


class MethodNotAllowed(ServiceError):
    """The endpoint has other methods."""

    said = Said(405, "method_not_allowed")


class TooSlow(ServiceError):
    """Nothing of the body came for too long, or too little; what had come of an upload is kept."""

    said = Said(408, "too_slow")

    def __init__(self) -> None:
        super().__init__("The rest of the request did not come", "Send it again", {"Connection": "close"})


class WrongOffset(ServiceError):
    """An upload goes on at another byte; the header `Upload-Offset` says at which."""

    said = Said(409, "wrong_offset")

    def __init__(self, expected: int):
        super().__init__(
            f"The next byte of this upload is number {expected}",
            f"Go on from there, with offset={expected}",
            {"Upload-Offset": str(expected)},
        )
        self.expected = expected


class TooLarge(ServiceError):
    """More bytes than the endpoint takes."""

    said = Said(413, "too_large")


class UnsupportedMedia(ServiceError):
    """The body is of another media type."""

    said = Said(415, "unsupported_media_type")


class TooMany(ServiceError):
    """More requests or connections than one client or token may make; `Retry-After` says when there is room again."""

    said = Said(429, "too_many_requests")

    def __init__(self, seconds: int, of: str = "requests"):
        super().__init__(
            f"Too many {of} came from this client", f"Wait {seconds} seconds", {"Retry-After": str(seconds)}
        )


class Busy(ServiceError):
    """As much waits as may; it was not begun."""

    said = Said(503, "busy")

    def __init__(self, seconds: int = 1):
        super().__init__("The service has as much to do as it can", "Try again later", {"Retry-After": str(seconds)})


class KeyNotHere(ServiceError):
    """This process was not given the key of the operator."""

    said = Said(503, "key_not_here")

    def __init__(self) -> None:
        super().__init__("This service has not the operator's key", "Ask who runs it to start it with that key")


class Defect(ServiceError):
    """Our own mistake."""

    said = Said(500, "defect")

    def __init__(self) -> None:
        super().__init__("The service has failed", "Report it with the request_id, and look before you repeat it")


OF_SERVICE: tuple[type[ServiceError], ...] = (
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    WrongOffset,
    TooLarge,
    UnsupportedMedia,
    TooMany,
    Busy,
    KeyNotHere,
    Defect,
)


class Failure(NamedTuple):
    """An error as it is sent; `free` as in `NotRedeemable`."""

    status: int
    word: str
    what: str
    advice: str
    headers: dict[str, str]
    free: int | None = None

    def body(self, request_id: str) -> dict:
        return {
            "error": self.word,
            "what": self.what,
            "advice": self.advice,
            "money_moved": None if self.word == UNKNOWN else False,
            "request_id": request_id,
        } | ({} if self.free is None else {"free": self.free})

    def message(self, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """The headers and the body of the answer."""
        body = json.dumps(self.body(request_id)).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self.headers}
        return [(name.lower().encode(), value.encode()) for name, value in headers.items()], body


def failure(error: Exception) -> Failure:
    """What to answer for an exception; a `Defect` for one that nobody foresaw, with nothing of its text."""
    if isinstance(error, LedgerError):
        said = OF_LEDGER[next(kind for kind in type(error).__mro__ if kind in OF_LEDGER)]
        headers = {"Retry-After": "1"} if isinstance(error, ledger_errors.LedgerUnavailable) else {}
        return Failure(*said, error.what, error.advice, headers, getattr(error, "free", None))
    if isinstance(error, SQLAlchemyError):
        return failure(
            ledger_errors.LedgerUnavailable("The ledger's database did not do what was asked", "Try again later")
        )
    known = error if isinstance(error, ServiceError) else Defect()
    return Failure(*known.said, known.what, known.advice, known.headers)
