"""Exit codes: one table, append-only, and what leads to each. Scripts rely on them; docs/commands.md shows them."""

from enum import IntEnum

from sqlalchemy.exc import SQLAlchemyError

from host_tools.carrier import Blocked, CarrierError, LoadWaiting, NotDelivered, NotObeyed, WrongDevice, WrongOperator
from host_tools.devices import errors as device_errors
from host_tools.devices.client import UnreadableAnswer
from host_tools.flashing import errors as flashing
from host_tools.fraud_file import FraudFileError
from host_tools.hardening import errors as hardening
from host_tools.keys import KeyFileError
from host_tools.ledger import errors as ledger_errors
from protocol import errors as causes
from protocol.fraud import NotProven


class BadInput(Exception):
    """What was typed cannot be used; the message says why and what to type."""


class CheckFailed(Exception):
    """What was to be checked is not so; the message says what."""


class NotShown(Exception):
    """What was asked for is done, but its result could not be shown; the message says where to look."""


class Exit(IntEnum):
    """`meaning` is the line in the documentation."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "Exit":
        this = int.__new__(cls, code)
        this._value_ = code
        this.meaning = meaning
        return this

    OK = 0, "done"
    CHECK_FAILED = 1, "a check failed: the books do not balance, or a sync gave no new certificate"
    USAGE = 2, "the command or an amount was typed wrongly"
    REFUSED = 3, "the device refused, for a reason that has no code of its own below"
    LINK_GONE = 4, "the port or reader is not there, went away, or nothing answers"
    LEDGER_REFUSED = 5, "the ledger refused, or its database cannot be used"
    KEY = 6, "a key file or its passphrase cannot be used"
    CARD_REMOVED = 7, "the card was taken away before the end; repeating is safe"
    WRONG_CARD = 8, "no card came, or it is no jiaozi device, none of this ledger, or not for this purpose"
    UNKNOWN_OPERATOR = 9, "the device's operator is not this one, or nobody knows it"
    EXPIRED = 10, "a certificate has expired"
    TOO_MUCH = 11, "the amount is over a limit of the device"
    TOO_OFTEN = 12, "the device has paid as much or as often as it may, or for too long, without a sync"
    JOURNAL_FULL = 13, "the device's journal, or its list of payments in doubt, is full"
    NOT_ENOUGH = 14, "the device or the account holds less than the amount"
    CONFIRM = 15, "the device waits for its holder: confirm or finish there"
    NOT_GENUINE = 16, "a certificate or signature is not genuine"
    REVOKED = 17, "the device is blocked, frozen or retired"
    SERVICE = 18, "the device is out of service"
    NOT_SET_UP = 19, "the device is not personalised, or already is"
    LOAD_WAITING = 20, "the amount has left the account and is still on its way to the device"
    NOT_SHOWN = 21, "it is done, but its result could not be written to stdout or read back; look before repeating"
    NOT_PROVEN = 22, "the file proves no fraud under this root key, or there is no proof"
    HELD_BACK = 23, "a new terminal redeems what its payers have not confirmed yet only later"
    TROUBLE = 24, "doctor found trouble, or nothing to work with"
    WRONG_CHIP = 25, "the chip, its flash or how it is protected does not fit the board, or the image or key does not"
    MONEY_THERE = 26, "what is worth money is, or may be, on the chip; it was left alone"
    HALF_DONE = 27, "writing a chip stopped half way; run the same again, it goes on where it was"
    NOT_KNOWN = 28, "the ledger's database went away while it was told to keep something; look before repeating"
    DEFECT = 70, "a defect of this program"
    INTERRUPTED = 130, "interrupted by Ctrl-C"


OF_CAUSE = {
    causes.NOT_FOUND: Exit.WRONG_CARD,
    causes.WRONG_PARTY: Exit.WRONG_CARD,
    causes.OTHER_CURRENCY: Exit.WRONG_CARD,
    causes.NOT_FOR_THIS_DEVICE: Exit.WRONG_CARD,
    causes.UNKNOWN_OPERATOR: Exit.UNKNOWN_OPERATOR,
    causes.EXPIRED: Exit.EXPIRED,
    causes.OVER_PAYMENT_LIMIT: Exit.TOO_MUCH,
    causes.BALANCE_LIMIT: Exit.TOO_MUCH,
    causes.OVER_SUM_LIMIT: Exit.TOO_OFTEN,
    causes.TOO_MANY_RECORDS: Exit.TOO_OFTEN,
    causes.TOO_LONG_OFFLINE: Exit.TOO_OFTEN,
    causes.JOURNAL_FULL: Exit.JOURNAL_FULL,
    causes.IN_DOUBT_FULL: Exit.JOURNAL_FULL,
    causes.INSUFFICIENT_BALANCE: Exit.NOT_ENOUGH,
    causes.CONFIRM: Exit.CONFIRM,
    causes.REQUEST_OPEN: Exit.CONFIRM,
    causes.LOCKED: Exit.CONFIRM,
    causes.BAD_CERTIFICATE: Exit.NOT_GENUINE,
    causes.BAD_SIGNATURE: Exit.NOT_GENUINE,
    causes.REVOKED: Exit.REVOKED,
    causes.RETIRED: Exit.REVOKED,
    causes.SERVICE: Exit.SERVICE,
    causes.NOT_PERSONALISED: Exit.NOT_SET_UP,
    causes.ALREADY_PERSONALISED: Exit.NOT_SET_UP,
}

# The first that fits counts: the special before the general.
_OF_ERROR: tuple[tuple[type[Exception], Exit], ...] = (
    (BadInput, Exit.USAGE),
    (CheckFailed, Exit.CHECK_FAILED),
    (NotShown, Exit.NOT_SHOWN),
    (FraudFileError, Exit.NOT_PROVEN),
    (NotProven, Exit.NOT_PROVEN),
    (flashing.NoPort, Exit.USAGE),
    (flashing.ImageNeeded, Exit.USAGE),
    (flashing.NoBootLoader, Exit.LINK_GONE),
    (flashing.NotStarted, Exit.LINK_GONE),
    (flashing.WrongChip, Exit.WRONG_CHIP),
    (flashing.MoneyThere, Exit.MONEY_THERE),
    (flashing.Stopped, Exit.HALF_DONE),
    (hardening.KeyNotFit, Exit.KEY),
    (hardening.DoesNotStart, Exit.LINK_GONE),
    (hardening.ToolFailed, Exit.LINK_GONE),
    (hardening.ImageNotFit, Exit.USAGE),
    (hardening.HardeningError, Exit.REFUSED),
    (ledger_errors.NotProven, Exit.NOT_PROVEN),
    (KeyFileError, Exit.KEY),
    (device_errors.CardRemoved, Exit.CARD_REMOVED),
    (device_errors.NoCard, Exit.WRONG_CARD),
    (UnreadableAnswer, Exit.WRONG_CARD),
    (device_errors.DeviceError, Exit.LINK_GONE),
    (ledger_errors.OutcomeUnknown, Exit.NOT_KNOWN),
    (ledger_errors.BooksBroken, Exit.CHECK_FAILED),
    (ledger_errors.UnknownDevice, Exit.WRONG_CARD),
    (ledger_errors.UnknownOperator, Exit.UNKNOWN_OPERATOR),
    (ledger_errors.InsufficientFunds, Exit.NOT_ENOUGH),
    (ledger_errors.HeldBack, Exit.HELD_BACK),
    (ledger_errors.DeviceFrozen, Exit.REVOKED),
    (ledger_errors.DeviceRevoked, Exit.REVOKED),
    (ledger_errors.LedgerError, Exit.LEDGER_REFUSED),
    (SQLAlchemyError, Exit.LEDGER_REFUSED),
    (WrongOperator, Exit.UNKNOWN_OPERATOR),
    (WrongDevice, Exit.WRONG_CARD),
    (LoadWaiting, Exit.LOAD_WAITING),
    (Blocked, Exit.REVOKED),
    (CarrierError, Exit.REFUSED),
    (causes.DecodeError, Exit.WRONG_CARD),
    (OSError, Exit.USAGE),
)


def of_error(error: BaseException) -> Exit | None:
    """The exit code for an error that a person can do something about; None for a defect."""
    if isinstance(error, causes.Refused | NotDelivered | NotObeyed):
        return OF_CAUSE.get(error.cause, Exit.REFUSED)
    return next((code for kind, code in _OF_ERROR if isinstance(error, kind)), None)
