"""A terminal: types an amount and is paid; refunds and pays out by a key of its own."""

from apps.app import Mode
from protocol.objects import CASH_OUT, REFUND, SALE

TITLE = "TERMINAL"
HINT = "type an amount"
MODES = [Mode("A", "SALE", False, SALE), Mode("B", "REFUND", True, REFUND), Mode("C", "CASH OUT", True, CASH_OUT)]
