"""What each posting is in a report. The one place that knows.

A posting has two ends: it goes out of one account and into another. Reports look at the ends, each with the kind of its
own account and of the other's, and add up those that mean the same. Every end at a purse means something, so that a
purse's figures explain all that became of it; a posting that means nothing is none that this ledger has made.
"""

from typing import NamedTuple

from host_tools.ledger import books
from host_tools.ledger.errors import BooksBroken
from host_tools.ledger.transfers import FOR_PAYEE, FOR_PAYER, PENDING, POSTED, REASONS, REFUSED, RETURNED, VOID

OUT, IN = -1, 1

# Reasons of the postings of Transfers, by the way in which the money goes: to the payee, or back from there.
TO_PAYEE = frozenset((REASONS[POSTED], REASONS[PENDING], f"decided for the {FOR_PAYEE}"))
TO_PAYER = frozenset((REASONS[VOID], REASONS[RETURNED], f"decided for the {FOR_PAYER}"))
REFUSED_CLAIM = frozenset((REASONS[REFUSED],))

_PURSE = frozenset((books.PURSE,))
_TRANSIT = frozenset((books.LOADS_IN_TRANSIT,))
_ACCOUNT = frozenset((books.ACCOUNT,))


class Figure(NamedTuple):
    """`own` are the kinds of the account at this end, `other` those of the other one (None: any)."""

    name: str
    about: str
    own: frozenset[str]
    side: int
    reasons: frozenset[str]
    other: frozenset[str] | None = None


# The first that fits counts.
FIGURES = (
    Figure("issued", "new money into accounts", _ACCOUNT, IN, frozenset(("issue",))),
    Figure("load_ordered", "left accounts for devices", _TRANSIT, IN, frozenset(("load ordered",))),
    Figure("loaded", "arrived in devices", _PURSE, IN, frozenset(("loaded",))),
    Figure("load_returned", "went back to accounts, never loaded", _TRANSIT, OUT, frozenset(("load returned",))),
    Figure("redeemed", "from devices to their accounts", _PURSE, OUT, TO_PAYEE, _ACCOUNT),
    Figure("redeemed", "", _ACCOUNT, IN, TO_PAYEE, frozenset((books.PENDING, books.SUSPENSE))),
    Figure("paid", "left payers' purses", _PURSE, OUT, TO_PAYEE),
    Figure("received", "came to payees' purses", _PURSE, IN, TO_PAYEE),
    Figure("voided", "came back to payers' purses", _PURSE, IN, TO_PAYER),
    Figure("taken_back", "left payees' purses again, voided", _PURSE, OUT, TO_PAYER),
    Figure("to_suspense", "left purses for suspense, refused", _PURSE, OUT, REFUSED_CLAIM),
    Figure("guaranteed", "losses that guarantees bore", _PURSE, IN, frozenset(("loss guaranteed",))),
    Figure("repaid", "of that, filled again", _PURSE, OUT, frozenset(("guarantee repaid",))),
    Figure(
        "to_owners",
        "of lost or gone devices, to their owners' accounts",
        _PURSE,
        OUT,
        frozenset(("lost device paid back", "passed on to its owner")),
    ),
    Figure("from_owners", "of that, back for late claims", _PURSE, IN, frozenset(("late claim", "taken back"))),
)
NAMES = tuple(dict.fromkeys(figure.name for figure in FIGURES))


def name_of(own: str, side: int, other: str, reason: str) -> str | None:
    """Which figure an end of a posting counts in; None where only its other end counts. Raises `BooksBroken`."""
    for figure in FIGURES:
        here = own in figure.own and side == figure.side and reason in figure.reasons
        if here and (figure.other is None or other in figure.other):
            return figure.name
    if own == books.PURSE:
        raise BooksBroken(f"A posting at a purse has the reason {reason!r}, which this ledger never gives", books.STOP)
    return None
