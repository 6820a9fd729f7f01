"""What an audit has found: how much was checked, and every difference between what is kept and what follows."""

from collections import Counter
from typing import NamedTuple

MAX_DIFFERENCES = 1_000  # that are named; the others are counted


class Difference(NamedTuple):
    """`where` is a row, in words with whole ids; `kept` is what stands there, `recomputed` what should."""

    what: str
    where: str
    kept: str
    recomputed: str


SHOWN = "up to where others have shown its device's journal"


class Findings:
    """`checked` counts by what was looked at; `total` is the number of differences, named or not.

    `issued` is how much was issued, as far as the books say.
    """

    def __init__(self) -> None:
        self.checked: Counter[str] = Counter()
        self.differences: list[Difference] = []
        self.total = 0
        self.issued = 0

    def differ(self, what: str, where: str, kept: object, recomputed: object) -> None:
        self.total += 1
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(Difference(what, where, _text(kept), _text(recomputed)))

    def same(self, what: str, where: str, kept: object, recomputed: object) -> bool:
        """Name a difference if there is one."""
        if kept != recomputed:
            self.differ(what, where, kept, recomputed)
        return kept == recomputed


def _text(value: object) -> str:
    if value is None:
        return "nothing"
    return value.hex() if isinstance(value, bytes) else str(value)
