"""Rows that lie near together, to be read with the ones next to them.

Who looks for what lies around many rows needs few of the others: what a payer has paid of late comes from several
payees, so it is asked for once for each stretch and not once for each row.
"""

from collections.abc import Callable, Iterable

NEAR = 8  # places: four payments, of which each takes a debit and a closing

# Of a first key, from one place to another, both included
Stretch = tuple[bytes, int, int]

# Runs a statement with its parameters
Fetch = Callable[[str, tuple], list[tuple]]


def stretches(wanted: Iterable[tuple[bytes, int]]) -> list[Stretch]:
    """These keys, with those at most NEAR apart in one stretch."""
    found: list[Stretch] = []
    for which, place in sorted(wanted):
        if found and found[-1][0] == which and place - found[-1][2] <= NEAR:
            found[-1] = which, found[-1][1], place
        else:
            found.append((which, place, place))
    return found
