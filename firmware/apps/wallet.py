"""A wallet: a card to every reader, and with a keypad a reader for other wallets."""

from apps.app import Mode
from protocol.objects import PERSON

TITLE = "WALLET"
HINT = "A pay  B receive"
MODES = [Mode("A", "PAY", True, PERSON), Mode("B", "RECEIVE", False, PERSON)]
