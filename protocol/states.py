"""The state machines as tables: what may follow what.

An event that a table does not list is illegal: it raises and changes nothing.

A payment is one DEBIT at its payer and one REQUEST at its payee; the two meet only through signed objects. The reader
of a tap walks SALE (it is paid) or PAYMENT (it pays); a card has no tap state at all beyond its selected application,
which is what makes every one of its commands safe to repeat.
"""

from protocol.errors import LocalError

# A payer's debit. It closes exactly once, whichever evidence comes first; what comes later changes nothing.
IN_DOUBT = "in doubt"
PAID = "paid"
VOIDED = "voided"

DEBIT = {
    (None, "commit"): IN_DOUBT,
    (IN_DOUBT, "receipt"): PAID,
    (IN_DOUBT, "void"): VOIDED,
    (IN_DOUBT, "resolved paid"): PAID,
    (IN_DOUBT, "resolved void"): VOIDED,
}

# A payee's Request. CLOSED comes before a Void is signed and before anybody reads "not paid".
OPEN = "open"
CREDITED = "credited"
CLOSED = "closed"

REQUEST = {
    (None, "open"): OPEN,
    (CREDITED, "open"): OPEN,
    (CLOSED, "open"): OPEN,
    (OPEN, "credit"): CREDITED,
    (OPEN, "close"): CLOSED,
    (CREDITED, "close"): CREDITED,  # cancelling after the commit finds the money there
    (CLOSED, "close"): CLOSED,
    (None, "close"): None,
}

# The reader of a tap: (stage, event): next stage. Each stage but the last is one exchange with the card and is counted
# under its name.
DONE = "done"

SALE = {
    ("select", "known"): "pay",
    ("select", "unknown operator"): "operators",
    ("operators", "known"): "pay",
    ("pay", "unknown operator"): "operators",
    ("pay", "older transfer"): "settle older",
    ("settle older", "settled"): "pay",
    ("settle older", "received unseen"): DONE,
    ("pay", "ask ledger"): "pay",
    ("pay", "credited"): "confirm",
    ("pay", "voided"): "confirm void",
    ("confirm", "accepted"): DONE,
    ("confirm void", "accepted"): DONE,
}

PAYMENT = {
    ("select", "known"): "request",
    ("select", "unknown operator"): "operators",
    ("select", "older transfer"): "settle older",
    ("operators", "known"): "request",
    ("operators", "older transfer"): "settle older",
    ("settle older", "voided"): "request",
    ("settle older", "paid"): DONE,
    ("settle older", "ask ledger"): "request",
    ("request", "unknown operator"): "operators",
    ("request", "committed"): "transfer",
    ("transfer", "answered"): DONE,
}


def advance(table: dict, state, event: str):
    """The state after `event`. Raises `LocalError` for an event this state does not know."""
    if (state, event) not in table:
        raise LocalError("%s is illegal in state %s" % (event, state))
    return table[(state, event)]
