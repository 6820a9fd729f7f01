"""What a payee in league could still void, and how little of it gets away. The one place that knows these rules.

A terminal that nobody knows yet could credit payments and void them all the same: until the payers sync, only its own
word says which. So for its first HOLD_DAYS it redeems no more than the payers have confirmed, and what it pays to
others of the rest, who may redeem it at once, is taken off the sum that its next Certificate lets it spend. So all that
leaves it unconfirmed in those days is one sum limit.

The same for a payer that does not let its journal show as paid what its payees have redeemed: what stands open comes
off its next sum, until the sync after it has heard. So all that a Void can bring back to it is one sum limit.
"""

from sqlalchemy import Row

from host_tools.ledger import registry
from protocol.objects import DAY_S, TERMINAL

HOLD_DAYS = 30  # after its registration


def is_new(device: Row, now: int) -> bool:
    """A terminal whose takings do not count before the payers have confirmed them."""
    return device.kind >> 4 == TERMINAL and now < device.registered_at + HOLD_DAYS * DAY_S


def redeemable(device: Row, held: int, now: int) -> int:
    """What of `held`, the purse, may leave for the account; below 0 if it has passed on what nobody confirmed."""
    return held - device.unconfirmed if is_new(device, now) else held


def limits_of(device: Row, held: int, now: int) -> dict[str, int]:
    """The limits of the Certificate that the device gets now; `held` is what its purse holds.

    What restricts it is only the sum that it pays out: it sells, syncs and redeems as any other.
    """
    carried = registry.limits_of(device)
    open_sum = device.left_open
    if is_new(device, now):
        open_sum += max(0, -redeemable(device, held, now))
    carried["sum_limit"] = max(0, carried["sum_limit"] - open_sum)
    return carried
