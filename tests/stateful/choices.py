"""Where the rules get their choices from: a seeded generator (long runs, replays) or Hypothesis (which shrinks)."""

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Choices:
    """Choices of a seeded generator; the same seed gives the same ones."""

    def __init__(self, seed: int | str):
        self._random = Random(seed)

    def number(self, low: int, high: int) -> int:
        """Both ends included."""
        return low + int(self._random.random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        """Hypothesis shrinks towards False, the quieter way."""
        return self.number(0, 99) >= 100 - percent

    def several(self, options: Sequence[T]) -> list[T]:
        """The options in some order."""
        rest = list(options)
        return [rest.pop(self.number(0, len(rest) - 1)) for _ in options]


class Drawn(Choices):
    """Choices that Hypothesis makes."""

    def __init__(self, data: Any):
        super().__init__(0)
        self._data = data

    def number(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))
