"""What a person can start: a wallet is, on boards with a keypad, also a reader for other wallets; a terminal types an
amount and is paid, refunds and pays out by keys of their own.
"""

from apps.app import Mode
from protocol.objects import CASH_OUT, PERSON, REFUND, SALE

# By the board's APP: title, hint, modes
ROLES = {
    "wallet": (
        "WALLET",
        "A pay  B receive",
        [Mode("A", "PAY", True, PERSON), Mode("B", "RECEIVE", False, PERSON)],
    ),
    "terminal": (
        "TERMINAL",
        "type an amount",
        [Mode("A", "SALE", False, SALE), Mode("B", "REFUND", True, REFUND), Mode("C", "CASH OUT", True, CASH_OUT)],
    ),
}
