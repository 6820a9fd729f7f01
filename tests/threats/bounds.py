"""What an attack can cost under the default limits: the amounts of docs/threat-model.md and of the tests behind it.

All in minor units, of a wallet of class 2 and of a terminal, which is what `Town.device` makes.
"""

from protocol.limits import default_limits
from tests.unit.world import KINDS

WALLET = default_limits(KINDS["wallet"])
TERMINAL = default_limits(KINDS["terminal"])

NO_CONFIRM = WALLET["no_confirm_sum"]  # what leaves a wallet without a person's consent
PAYMENT = WALLET["payment_limit"]
BRANCH = WALLET["sum_limit"]  # what one copy of a wallet can pay on one Certificate
HELD = WALLET["balance_limit"]
TILL_BRANCH = TERMINAL["sum_limit"]
TILL_HELD = TERMINAL["balance_limit"]

ACCOMPLICE = HELD + BRANCH  # the most that an honest wallet can take under one Certificate
TILL_ACCOMPLICE = TILL_HELD + TILL_BRANCH

COPIES = 5  # of one wallet, in the example

# Each attack of the page, by the beginning of its first cell: the amounts in its bound, in order.
BOUNDS = {
    "A cloned device": (BRANCH, TILL_BRANCH, COPIES * BRANCH - HELD),
    "A rolled-back device": (BRANCH, TILL_BRANCH),
    "A payer that leaves out": (BRANCH, TILL_HELD, HELD),
    "A payer of money it never had": (BRANCH, TILL_BRANCH),
    "A payer with an accomplice": (ACCOMPLICE, TILL_ACCOMPLICE, BRANCH, TILL_BRANCH),
    "A payee that voids and claims": (BRANCH, TILL_BRANCH, 0, BRANCH),
    "A stolen operator key": (TILL_HELD, HELD),
    "A revoked operator": (0,),
    "A forged": (0,),
    "A replayed": (0,),
    "A host that drops": (0,),
    "A host that wants to accuse": (0,),
    "A device lost or stolen": (BRANCH, TILL_BRANCH, NO_CONFIRM),
    "A copy of a lost device": (BRANCH,),
    "A guessed PIN": (NO_CONFIRM, BRANCH),
    "A reader in a crowd": (NO_CONFIRM,),
    "A reader that never answers": (0, NO_CONFIRM),
    "A tap at an unwatched till": (0,),
    "A merchant that credits": (0, PAYMENT),
    "A torn tap": (0,),
    "Payer and payee destroyed": (BRANCH, TILL_HELD),
    "A payer torn before": (PAYMENT, BRANCH),
    "A host that withholds": (0,),
    "Somebody begins 16 syncs": (0,),
    "Two wallets without a clock": (0,),
    "A lost wallet that was paid back": (HELD,),
    "A device followed": (0,),
}


def written(amount: int) -> str:
    """An amount as the page writes it."""
    return f"{amount // 100:,}.{amount % 100:02}"
