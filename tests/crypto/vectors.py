"""Signatures for the acceptance test of Ed25519: crafted edge cases in families, whose verdict libsodium gives.

Nothing here says what is right, except which verdicts a family contains at all: `libsodium_accepts` is the judge. What
no hash function would ever yield (chosen challenges and nonces) stands in `vector_chosen`.

    for case in vectors.cases("torsion"):
        assert verify(case.public, case.message, case.signature) == libsodium_accepts(case)
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

from tests.crypto import vector_damage, vector_torsion
from tests.crypto.vector_forger import Case, libsodium_accepts

Item = TypeVar("Item")


class Family(NamedTuple):
    make: Callable[[], Iterator[Case]]
    verdicts: set[bool]  # the verdicts that must both, or alone, occur


BOTH = {True, False}

FAMILIES = {
    "published": Family(vector_damage.published, BOTH),
    "lengths": Family(vector_damage.lengths, BOTH),
    "every length": Family(vector_damage.every_length, BOTH),
    "flips": Family(vector_damage.flips, BOTH),
    "responses": Family(vector_damage.responses, BOTH),
    "encodings": Family(vector_damage.encodings, BOTH),
    "exchanges": Family(vector_damage.exchanges, BOTH),
    "small multiples": Family(vector_torsion.small_multiples, BOTH),
    "torsion": Family(vector_torsion.torsion, BOTH),
    "reductions": Family(vector_torsion.reductions, BOTH),
    "small order": Family(vector_torsion.small_order, BOTH),
    "pairs of small order": Family(vector_torsion.small_order_pairs, {False}),
    "taming": Family(vector_torsion.taming, BOTH),
}


@cache
def cases(family: str) -> tuple[Case, ...]:
    return tuple(FAMILIES[family].make())


def spread(items: Sequence[Item], most: int | None) -> list[Item]:
    """At most `most` of the items, from everywhere among them, the same ones every time; None: all."""
    if most is None or len(items) <= most:
        return list(items)
    return [items[(2 * number + 1) * len(items) // (2 * most)] for number in range(most)]


@cache
def verdicts(family: str) -> tuple[bool, ...]:
    """libsodium's, in the order of `cases`."""
    return tuple(map(libsodium_accepts, cases(family)))
