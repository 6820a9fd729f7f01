"""What can go wrong, as types and as one append-only table of causes.

Four different things have four different types: the peer sent bytes that are no valid encoding (`DecodeError`), a rule
refused something well-formed (`Refused`), we called our own code wrongly (`LocalError`), and the link is gone (raised
by whoever owns the link, never in here). A refusal carries a cause from the table below; on the wire it is one byte of
response data in front of the status word of ISO/IEC 7816-4 that the table names, so that a person can be told exactly
which of them it was.
"""


class ProtocolError(Exception):
    """Root of everything `protocol` raises."""


class DecodeError(ProtocolError):
    """The bytes are not the one valid encoding.

    `reason` is one of `empty`, `type`, `version`, `length`, `trailing`, `value`.
    """

    def __init__(self, what: str, reason: str):
        super().__init__(what + ": " + reason)
        self.what = what
        self.reason = reason


class LocalError(ProtocolError):
    """We used the API in a way its state does not allow; nothing was changed."""


class Refused(ProtocolError):
    """A rule refused; nothing was changed. `cause` is a code of this module's table."""

    def __init__(self, cause: int):
        super().__init__("cause %d" % cause)
        self.cause = cause


class RefusedByPeer(Refused):
    """The other side of the link refused and named its cause."""


# Codes are never reused or renumbered. Order is only history.
MALFORMED = 1
WRONG_LENGTH = 2
UNKNOWN_COMMAND = 3
WRONG_CLASS = 4
WRONG_PARAMETERS = 5
NOT_FOUND = 6
NOT_PERSONALISED = 7
ALREADY_PERSONALISED = 8
SERVICE = 9
JOURNAL_FULL = 10
UNKNOWN_OPERATOR = 11
BAD_CERTIFICATE = 12
BAD_SIGNATURE = 13
REVOKED = 14
EXPIRED = 15
OTHER_CURRENCY = 16
WRONG_PARTY = 17
OVER_PAYMENT_LIMIT = 18
OVER_SUM_LIMIT = 19
TOO_MANY_RECORDS = 20
TOO_LONG_OFFLINE = 21
INSUFFICIENT_BALANCE = 22
BALANCE_LIMIT = 23
IN_DOUBT_FULL = 24
CONFIRM = 25
REQUEST_OPEN = 26
ASK_LEDGER = 27
UNKNOWN_REQUEST = 28
UNKNOWN_TRANSFER = 29
STALE = 30
WRONG_BASE = 31
NOT_FOR_THIS_DEVICE = 32
MISMATCH = 33
NOT_SELECTED = 34
RETIRED = 35
LOT = 36
REVOCATIONS_MISSING = 37
LOCKED = 38

# What ISO/IEC 7816-4 has a status word of its own for; everything else is 6985, conditions of use not satisfied.
_STATUS_WORDS = {
    MALFORMED: 0x6A80,
    WRONG_LENGTH: 0x6700,
    UNKNOWN_COMMAND: 0x6D00,
    WRONG_CLASS: 0x6E00,
    WRONG_PARAMETERS: 0x6A86,
    NOT_FOUND: 0x6A82,
    SERVICE: 0x6581,
    JOURNAL_FULL: 0x6A84,
    UNKNOWN_OPERATOR: 0x6A88,
    BAD_CERTIFICATE: 0x6982,
    BAD_SIGNATURE: 0x6982,
    REVOKED: 0x6982,
    LOCKED: 0x6982,
    IN_DOUBT_FULL: 0x6A84,
    UNKNOWN_REQUEST: 0x6A88,
    UNKNOWN_TRANSFER: 0x6A88,
    MISMATCH: 0x6A80,
}

# For hosts and documents: a device sends the code and shows its own words.
NAMES = {
    MALFORMED: "malformed",
    WRONG_LENGTH: "wrong length",
    UNKNOWN_COMMAND: "unknown command",
    WRONG_CLASS: "unknown class",
    WRONG_PARAMETERS: "wrong parameters",
    NOT_FOUND: "not found",
    NOT_PERSONALISED: "not personalised",
    ALREADY_PERSONALISED: "already personalised",
    SERVICE: "service needed",
    JOURNAL_FULL: "journal full",
    UNKNOWN_OPERATOR: "unknown operator",
    BAD_CERTIFICATE: "bad certificate",
    BAD_SIGNATURE: "bad signature",
    REVOKED: "revoked",
    EXPIRED: "expired",
    OTHER_CURRENCY: "other currency",
    WRONG_PARTY: "wrong party",
    OVER_PAYMENT_LIMIT: "over payment limit",
    OVER_SUM_LIMIT: "over sum limit",
    TOO_MANY_RECORDS: "too many payments since sync",
    TOO_LONG_OFFLINE: "too long without sync",
    INSUFFICIENT_BALANCE: "insufficient balance",
    BALANCE_LIMIT: "over balance limit",
    IN_DOUBT_FULL: "too many payments in doubt",
    CONFIRM: "confirm on device",
    REQUEST_OPEN: "a request is open",
    ASK_LEDGER: "ask the ledger",
    UNKNOWN_REQUEST: "unknown request",
    UNKNOWN_TRANSFER: "unknown transfer",
    STALE: "stale number",
    WRONG_BASE: "wrong base",
    NOT_FOR_THIS_DEVICE: "not for this device",
    MISMATCH: "does not match",
    NOT_SELECTED: "not selected",
    RETIRED: "retired",
    LOT: "lot not supported",
    REVOCATIONS_MISSING: "revocation list missing",
    LOCKED: "locked",
}


def name_of(cause: int) -> str:
    """The cause's name in the table, or `cause N` for a code of a newer version."""
    return NAMES.get(cause, "cause %d" % cause)


def status_word(cause: int) -> int:
    """The status word that goes with a cause."""
    return _STATUS_WORDS.get(cause, 0x6985)
