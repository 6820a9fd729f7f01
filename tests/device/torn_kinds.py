"""Every kind of tap that can be torn, as tables: what a frame that arrived has done to the money, and what the two
screens say until it arrives.

A frame is named by its exchange: "pay?" is the last frame of the command PAY, "pay!" the last one of its answer,
"pay2?" that of the second PAY of the tap; "ats" is the card's answer to RATS.
"""

from dataclasses import dataclass, replace

from protocol.errors import CONFIRM
from tests.device.table import words

NOW = "amount"  # what is asked for now
OLDER = "older"  # an older payment of the two, of which the payer has no Receipt

REMOVED = f"NOT PAID\n{words(0)}"
NO_MONEY_MOVED = "NOT PAID\nNo money moved"

# What happened before the tap
FIRST_MEETING = "first meeting"
ASKED = "asked"  # the card's person has confirmed
LOST_TRANSFER = "lost transfer"
LOST_RECEIPT = "lost receipt"
LOST_TRANSFER_AND_POWER = "lost transfer, card restarted"
READER_KNOWS = "reader knows newer revocations"
CARD_KNOWS = "card knows newer revocations"


@dataclass(frozen=True)
class Step:
    """When this frame has arrived, so much of this payment has been added to: the payer's balance, what it has in
    doubt, the payee's balance.
    """

    mark: str
    of: str
    payer: int
    in_doubt: int
    payee: int


@dataclass(frozen=True)
class Kind:
    """Who pays whom and how. Screens: pairs of a frame and what stands there as long as it has not arrived."""

    name: str
    keys: str  # what starts it on the reader, before the amount
    reader: str
    reader_pays: bool
    exchanges: tuple[str, ...]
    steps: tuple[Step, ...]
    reader_shows: tuple[tuple[str, str], ...]
    reader_ends_with: str
    card_shows: tuple[tuple[str, str], ...]  # "" says nothing of this payment
    card_ends_with: str
    stops_with: tuple[tuple[str, str], ...]  # what the reader shows when its person gives up
    before: str = ""
    about: str = NOW  # the payment that the two last screens speak of

    @property
    def asks(self) -> bool:
        """Whether the card asks its person, and does not pay in this tap."""
        return self.card_ends_with == "CONFIRM PAYMENT"


def _paid_to_reader(pay: str, confirm: str) -> tuple[Step, ...]:
    return (
        Step(f"{pay}?", NOW, -1, +1, 0),
        Step(f"{pay}!", NOW, 0, 0, +1),
        Step(f"{confirm}?", NOW, 0, -1, 0),
    )


def _paid_by_reader(transfer: str) -> tuple[Step, ...]:
    return (
        Step("request!", NOW, -1, +1, 0),
        Step(f"{transfer}?", NOW, 0, 0, +1),
        Step(f"{transfer}!", NOW, 0, -1, 0),
    )


SALE = Kind(
    name="sale",
    keys="",
    reader="terminal",
    reader_pays=False,
    exchanges=("select", "pay", "confirm"),
    steps=_paid_to_reader("pay", "confirm"),
    reader_shows=(("ats", "hold the other"), ("select!", REMOVED), ("pay!", "TAP AGAIN\n{amount}")),
    reader_ends_with="RECEIVED",
    card_shows=(("pay?", ""), ("confirm?", "IN DOUBT\n{amount}")),
    card_ends_with="PAID",
    stops_with=(("select!", NO_MONEY_MOVED), ("pay!", "NOT PAID\nCard in doubt?")),
)
RECEIVE = replace(SALE, name="receive", keys="B", reader="wallet")
PERSON = Kind(
    name="person",
    keys="A",
    reader="wallet",
    reader_pays=True,
    exchanges=("select", "request", "transfer"),
    steps=_paid_by_reader("transfer"),
    reader_shows=(("ats", "hold the other"), ("request!", REMOVED), ("transfer!", "TAP AGAIN\n{amount}")),
    reader_ends_with="PAID",
    card_shows=(("transfer?", ""),),
    card_ends_with="RECEIVED",
    stops_with=(("request!", NO_MONEY_MOVED), ("transfer!", "IN DOUBT\n{amount}")),
)
REFUND = replace(PERSON, name="refund", keys="B", reader="terminal")
CASH_OUT = replace(PERSON, name="cash-out", keys="C", reader="terminal")

# Two operators that meet for the first time: the reader hands over its operator's certificate and gets the card's.
FIRST_SALE = replace(
    SALE,
    name="first-sale",
    exchanges=("select", "operators", "pay", "confirm"),
    reader_shows=(("ats", "hold the other"), ("operators!", REMOVED), ("pay!", "TAP AGAIN\n{amount}")),
    stops_with=(("operators!", NO_MONEY_MOVED), ("pay!", "NOT PAID\nCard in doubt?")),
    before=FIRST_MEETING,
)
FIRST_PAYMENT = replace(
    PERSON, name="first-payment", exchanges=("select", "operators", "request", "transfer"), before=FIRST_MEETING
)

# A sale that settles an older one first: the terminal never got its Transfer, and voids it; or the card never got its
# Receipt.
OLDER_VOID = replace(
    SALE,
    name="older-void",
    exchanges=("select", "pay", "confirm", "pay", "confirm"),
    steps=(Step("confirm?", OLDER, +1, -1, 0), *_paid_to_reader("pay2", "confirm2")),
    reader_shows=(("ats", "hold the other"), ("select!", REMOVED), ("pay2!", "TAP AGAIN\n{amount}")),
    card_shows=(("pay2?", ""), ("confirm2?", "IN DOUBT\n{amount}")),
    stops_with=(("select!", NO_MONEY_MOVED), ("pay2!", "NOT PAID\nCard in doubt?")),
    before=LOST_TRANSFER,
)
OLDER_PAID = replace(
    OLDER_VOID,
    name="older-paid",
    steps=(Step("confirm?", OLDER, 0, -1, 0), *_paid_to_reader("pay2", "confirm2")),
    before=LOST_RECEIPT,
)
# The same when the reader pays: the card has not lost its Request, and takes the older payment instead of a new one; or
# it has.
OWED_PAID = replace(
    PERSON,
    name="owed-paid",
    exchanges=("select", "transfer"),
    steps=(Step("transfer?", OLDER, 0, 0, +1), Step("transfer!", OLDER, 0, -1, 0)),
    reader_shows=(("ats", "hold the other"), ("transfer!", REMOVED)),
    reader_ends_with="SENT EARLIER",
    stops_with=(("transfer!", NO_MONEY_MOVED),),
    before=LOST_TRANSFER,
    about=OLDER,
)
OWED_VOID = replace(
    PERSON,
    name="owed-void",
    exchanges=("select", "transfer", "request", "transfer"),
    steps=(Step("transfer!", OLDER, +1, -1, 0), *_paid_by_reader("transfer2")),
    reader_shows=(("ats", "hold the other"), ("request!", REMOVED), ("transfer2!", "TAP AGAIN\n{amount}")),
    card_shows=(("transfer2?", ""),),
    stops_with=(("request!", NO_MONEY_MOVED), ("transfer2!", "IN DOUBT\n{amount}")),
    before=LOST_TRANSFER_AND_POWER,
)

# A card whose person must confirm: the tap that asks, and the one that pays then.
ASK = replace(
    SALE,
    name="ask",
    exchanges=("select", "pay"),
    steps=(),
    reader_ends_with=f"NOT PAID\n{words(CONFIRM)}",
    card_shows=(("pay?", ""),),
    card_ends_with="CONFIRM PAYMENT",
)
CONFIRMED = replace(
    SALE,
    name="confirmed",
    reader_shows=(("ats", ASK.reader_ends_with), *SALE.reader_shows[1:]),
    card_shows=(("pay?", "CONFIRMED\n{amount}"), *SALE.card_shows[1:]),
    stops_with=(("ats", ASK.reader_ends_with), *SALE.stops_with),
    before=ASKED,
)

# After the payment one side has newer revocations for the other: a complete list, in two parts, and a delta.
PUSH = replace(SALE, name="push", exchanges=("select", "pay", "confirm", "put", "put", "put"), before=READER_KNOWS)
PULL = replace(
    SALE,
    name="pull",
    exchanges=("select", "pay", "confirm", "revocations", "rest", "revocations"),
    before=CARD_KNOWS,
)

KINDS = {
    kind.name: kind
    for kind in (
        *(SALE, PERSON, REFUND, CASH_OUT, RECEIVE, FIRST_SALE, FIRST_PAYMENT),
        *(OLDER_VOID, OLDER_PAID, OWED_PAID, OWED_VOID, ASK, CONFIRMED, PUSH, PULL),
    )
}
