"""Revocation lists as the city's devices hold them: one value for all that know the same, and quick to ask.

An issuer's list is told by its epoch, so what a device knows is an epoch for each issuer. The city's devices have room
for the list of every operator of the city (`protocol.trust.MAX_FOREIGN_LISTS`).
"""

from typing import NamedTuple

from host_tools.crypto import sha256
from protocol.objects import REVOKED_ALTOGETHER, Revocations
from protocol.revocations import RevocationList


class _Held(NamedTuple):
    """One issuer's list at one epoch, and the lowest issue of each id that it names."""

    listed: RevocationList
    minimum: dict[bytes, int]


_NOTHING = _Held(RevocationList(), {})


class Lists:
    """What a device knows of the lists of a few issuers. A value: what adds to it gives another one.

    `Lists()` knows nothing. All that follows from one shares what it remembers, so equal knowledge is one object.
    """

    __slots__ = ("_held", "_pool", "epochs")

    def __init__(self):
        self.epochs: dict[int, int] = {}
        self._held: dict[int, _Held] = {}
        self._pool: dict[frozenset[tuple[int, int]], Lists] = {frozenset(): self}

    def epoch(self, issuer: int) -> int:
        return self.epochs.get(issuer, 0)

    def revokes(self, issuer: int, who: bytes, issue: int) -> bool:
        """Whether the issuer's list says that a device's Certificate of this issue is no longer good."""
        minimum = self._held.get(issuer, _NOTHING).minimum.get(who, 0)
        return minimum == REVOKED_ALTOGETHER or issue < minimum

    def with_object(self, data: bytes) -> "Lists":
        """After one more encoded Revocations object; an older one changes nothing.

        Raises `Refused` for a delta to another complete list than the one held.
        """
        taken = Revocations.decode(data)
        if taken.epoch <= self.epoch(taken.issuer):
            return self
        return self._after(taken.issuer, taken.epoch, taken)

    def with_list_of(self, other: "Lists", issuer: int) -> "Lists":
        """After a tap with a device that knows `other`: its list of this issuer, if that is newer."""
        epoch = other.epoch(issuer)
        return self._after(issuer, epoch, other._held[issuer]) if epoch > self.epoch(issuer) else self

    def _after(self, issuer: int, epoch: int, news: Revocations | _Held) -> "Lists":
        epochs = self.epochs | {issuer: epoch}
        key = frozenset(epochs.items())
        if key not in self._pool:
            held = news if isinstance(news, _Held) else _taken(self._held.get(issuer, _NOTHING).listed, news)
            newer = object.__new__(Lists)
            newer.epochs, newer._pool = epochs, self._pool
            newer._held = self._held | {issuer: held}
            self._pool[key] = newer
        return self._pool[key]


def _taken(held: RevocationList, news: Revocations) -> _Held:
    listed = held.with_newer(news, sha256)
    minimum: dict[bytes, int] = {}
    for encoded in (listed.complete, listed.delta):
        if encoded:
            minimum |= dict(Revocations.decode(encoded).entries)
    return _Held(listed, minimum)
