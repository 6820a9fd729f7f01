"""What a person at a computer is told for every cause of `protocol.errors`: what happened, whether money moved, what
to do.

The device's own screens have shorter words for the same causes (`firmware/ui/messages.py`). A refusal changes nothing
in the device; where a flow has moved money in the ledger before, that flow says so itself (`carrier`).
"""

from typing import NamedTuple

from protocol import errors

NO_MONEY_MOVED = "No money moved."
UPDATE = "Update the older of the two, this program or the device's firmware."


class Explanation(NamedTuple):
    """Three sentences, or more of the last."""

    what: str
    moved: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what} {self.moved} {self.advice}"


def _still(what: str, advice: str) -> Explanation:
    return Explanation(what, NO_MONEY_MOVED, advice)


EXPLANATIONS = {
    errors.MALFORMED: _still("The device could not read what it was sent.", UPDATE),
    errors.WRONG_LENGTH: _still("The device got a command of the wrong length.", UPDATE),
    errors.UNKNOWN_COMMAND: _still("The device does not know this command.", UPDATE),
    errors.WRONG_CLASS: _still("The device does not know this class of commands.", UPDATE),
    errors.WRONG_PARAMETERS: _still("The device does not know this form of the command.", UPDATE),
    errors.NOT_FOUND: _still(
        "This is no jiaozi device, or it does not have what was asked for.", "Use the right card or device."
    ),
    errors.NOT_PERSONALISED: _still("The device is not set up yet.", "Run: jiaozi device personalise"),
    errors.ALREADY_PERSONALISED: _still(
        "The device is set up already, and that happens once in its life.", "Run: jiaozi sync"
    ),
    errors.SERVICE: Explanation(
        "The device is out of service: it could not read or write its memory.",
        "Its money is safe; whether the last step was stored is not known, and it counts once at most.",
        "Switch the device off and on, then repeat. If it stays, take it to its operator.",
    ),
    errors.JOURNAL_FULL: _still("The device's journal is full.", "Run: jiaozi sync, then repeat."),
    errors.UNKNOWN_OPERATOR: _still(
        "The device does not know this operator.", "Use the operator the device belongs to."
    ),
    errors.BAD_CERTIFICATE: _still(
        "A certificate is not genuine: its signature is not its operator's.",
        "Check that home and ledger belong to this device's central bank.",
    ),
    errors.BAD_SIGNATURE: _still(
        "A signature is not genuine.", "Check that key file and ledger belong to this device's operator."
    ),
    errors.REVOKED: _still("The device is blocked by its operator.", "Take it to its operator; do not accept it."),
    errors.EXPIRED: _still("A certificate has expired.", "Run: jiaozi sync, then repeat."),
    errors.OTHER_CURRENCY: _still("The device holds another currency.", "Use a device of this currency."),
    errors.WRONG_PARTY: _still("This is the wrong kind of device for this payment.", "Use the right card or device."),
    errors.OVER_PAYMENT_LIMIT: _still("This is more than the device may pay at once.", "Choose a smaller amount."),
    errors.OVER_SUM_LIMIT: _still(
        "The device has paid as much as it may between two syncs.", "Run: jiaozi sync, then repeat."
    ),
    errors.TOO_MANY_RECORDS: _still(
        "The device has paid as often as it may between two syncs.", "Run: jiaozi sync, then repeat."
    ),
    errors.TOO_LONG_OFFLINE: _still("The device was too long without a sync.", "Run: jiaozi sync, then repeat."),
    errors.INSUFFICIENT_BALANCE: _still("The device holds less than this amount.", "Choose a smaller amount."),
    errors.BALANCE_LIMIT: _still(
        "The device would hold more than it may, payments in doubt included.", "Choose a smaller amount."
    ),
    errors.IN_DOUBT_FULL: _still("The device has too many payments in doubt.", "Run: jiaozi sync, then repeat."),
    errors.CONFIRM: _still(
        "The device wants its holder to confirm this payment.", "Press # on the device within a minute, then repeat."
    ),
    errors.REQUEST_OPEN: _still(
        "The device is busy: it is asking someone for money.", "Finish or cancel (*) there, then repeat."
    ),
    errors.ASK_LEDGER: Explanation(
        "The payment is so old that only the ledger knows how it ended.",
        "No money moved now.",
        "Run: jiaozi sync on the device that paid.",
    ),
    errors.UNKNOWN_REQUEST: _still("The device never asked for this payment.", "Use the device that asked."),
    errors.UNKNOWN_TRANSFER: Explanation(
        "The device has no such payment in doubt.", "It was settled before.", "Nothing needs to be done."
    ),
    errors.STALE: _still("The device has had this, or something newer.", "Run: jiaozi sync"),
    errors.WRONG_BASE: _still(
        "The ledger's position does not match the device's journal.",
        "Check that this is the device's ledger and not an older copy of it, then sync again.",
    ),
    errors.NOT_FOR_THIS_DEVICE: _still("This was made for another device.", "Use the right device and operator."),
    errors.MISMATCH: _still("Two things that belong together do not match.", "Start again from the beginning."),
    errors.NOT_SELECTED: _still("The device lost the connection's beginning.", "Repeat."),
    errors.RETIRED: _still("The device is retired: it neither pays nor is paid.", "Take it to its operator."),
    errors.LOT: _still("This is money with conditions, which the device cannot take.", "Load plain money."),
    errors.REVOCATIONS_MISSING: _still("The device lacks the latest list of blocked devices.", "Run: jiaozi sync"),
    errors.LOCKED: _still(
        "The device waits for its PIN, without which it signs nothing.",
        "Enter the PIN on the device, then repeat. If it is blocked: jiaozi operator unblock-pin",
    ),
}


def explain(cause: int) -> Explanation:
    """The words for a cause, also for one of a newer version."""
    return EXPLANATIONS.get(cause) or _still(
        f"The device refused for a reason that this program does not know ({errors.name_of(cause)}).", UPDATE
    )
