"""The days that a report is about."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, and_

from host_tools.ledger.errors import InvalidInput
from protocol.objects import DAY_S

MAX_DAYS = 3_660  # ten years: more is a slip of the pen


class Span(NamedTuple):
    """Unix days, the first and the last included. A day begins and ends at midnight UTC."""

    first: int
    last: int

    @classmethod
    def of(cls, first: int, last: int) -> "Span":
        """Raises `InvalidInput` unless these are 1 to MAX_DAYS days."""
        if not 0 < last - first + 1 <= MAX_DAYS:
            raise InvalidInput(f"That is no span of 1 to {MAX_DAYS} days", "Choose other days")
        return cls(first, last)

    @property
    def begins_at(self) -> int:
        """Unix seconds."""
        return self.first * DAY_S

    @property
    def ends_before(self) -> int:
        return (self.last + 1) * DAY_S

    def holds(self, at: ColumnElement[int]) -> ColumnElement[bool]:
        return and_(at >= self.begins_at, at < self.ends_before)


def day_of(at: ColumnElement[int]) -> ColumnElement[int]:
    """The Unix day of a column of Unix seconds."""
    return at // DAY_S
