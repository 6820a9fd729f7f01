"""The words for every cause, as a person with a device in the hand needs them: what is wrong and what to do.

Two lines of 15 characters each: a frame stands around them.
"""

from protocol import errors

_LINES = {
    errors.NOT_FOUND: ("Not a jiaozi", "device"),
    errors.NOT_PERSONALISED: ("Not set up yet", "see your bank"),
    errors.SERVICE: ("Out of service", "see your bank"),
    errors.JOURNAL_FULL: ("Memory is full", "sync first"),
    errors.UNKNOWN_OPERATOR: ("Unknown bank", ""),
    errors.BAD_CERTIFICATE: ("Not genuine", "do not accept"),
    errors.BAD_SIGNATURE: ("Not genuine", "do not accept"),
    errors.REVOKED: ("Blocked by bank", "do not accept"),
    errors.EXPIRED: ("Expired", "sync first"),
    errors.OTHER_CURRENCY: ("Other currency", ""),
    errors.WRONG_PARTY: ("Wrong device", "for this"),
    errors.OVER_PAYMENT_LIMIT: ("Too much for", "one payment"),
    errors.OVER_SUM_LIMIT: ("Limit reached", "sync first"),
    errors.TOO_MANY_RECORDS: ("Too often", "sync first"),
    errors.TOO_LONG_OFFLINE: ("Offline too", "long, so sync"),
    errors.INSUFFICIENT_BALANCE: ("Not enough", "money"),
    errors.BALANCE_LIMIT: ("Purse would be", "too full"),
    errors.IN_DOUBT_FULL: ("Too many in", "doubt: sync"),
    errors.CONFIRM: ("Confirm on the", "wallet + re-tap"),
    errors.REQUEST_OPEN: ("Device is busy", "finish there"),
    errors.ASK_LEDGER: ("Too long ago", "sync to settle"),
    errors.MISMATCH: ("Answer does not", "fit, try again"),
    errors.LOT: ("Rules on money", "not supported"),
    errors.RETIRED: ("Device retired", "see your bank"),
    errors.REVOCATIONS_MISSING: ("Sync again", ""),
    errors.LOCKED: ("Device locked", "enter its PIN"),
}
REMOVED = ("Card removed", "tap again")


def explain(cause: int) -> list[str]:
    """The lines for a cause; 0 is a card that left."""
    if cause == 0:
        return list(REMOVED)
    return list(_LINES.get(cause, ("Not understood", "cause %d" % cause)))
