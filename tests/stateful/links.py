"""A link as bad as the air and a stranger beside it can make it: it loses, doubles, delays, spoils and replays."""

from collections import deque

from tests.stateful.choices import Choices
from tests.unit.world import Link, LinkLost

CLEAN = 10  # of 20 links that do nothing


class WildLink(Link):
    """Does at most a few bad things to one tap, chosen when it begins; `overheard` is what was ever sent to a card."""

    def __init__(self, choices: Choices, overheard: deque[bytes]):
        kind = choices.number(0, 19) - CLEAN
        at = choices.number(0, 9) if kind >= 0 else -1
        super().__init__(
            cut_at=at if kind in (0, 1, 2) else -1, repeat=kind in (3, 8), lose_power=kind == 1 or kind == 2
        )
        self.kind = kind
        self._at = at
        self._choices = choices
        self._overheard = overheard
        self._last = b""

    def exchange(self, command: bytes, card) -> bytes:
        at = self._at // 2 * 2
        if self.carried == at:
            if self.kind == 4 and self._overheard:  # a stranger's command in between
                self._stray(self._choices.pick(self._overheard), card)
            elif self.kind == 5:  # the command before comes late
                self._stray(self._last, card)
            elif self.kind == 6:
                command = self._spoilt(command)
            elif self.kind == 7:  # the card dies at its next write
                card.journal.fail = "after" if self._at % 2 else "before"
        self._last = command
        if len(command) > 8:
            self._overheard.append(command)
        response = super().exchange(command, card)
        if self.kind == 9 and self.carried == at + 2:
            response = self._spoilt(response)
        return response

    def _stray(self, command: bytes, card) -> None:
        if command:
            card.card.process(command)
            card.card.after()

    def _spoilt(self, message: bytes) -> bytes:
        spoilt = bytearray(message)
        spoilt[self._choices.number(0, len(spoilt) - 1)] ^= 1 << self._choices.number(0, 7)
        return bytes(spoilt)


__all__ = ["LinkLost", "WildLink"]
