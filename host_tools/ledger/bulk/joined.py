"""Statements that read rows beside a table `c` of two keys, which is given with the statement.

The first of the keys says which rows belong together, the second is their place among them.
"""

from collections.abc import Sequence

from sqlalchemy import Table

Keys = tuple[str, str]


def exactly(given: str, table: Table, keys: Keys, columns: Sequence[str], hint: str = "") -> str:
    """The rows of these keys."""
    group, place = keys
    there = f"t.{group} = c.{group} AND t.{place} = c.{place}"
    return f"SELECT {hint} {_row(columns)} FROM {given} JOIN {table.name} t ON {there}"


def above(given: str, table: Table, keys: Keys, columns: Sequence[str], hint: str = "") -> str:
    """The rows above these."""
    group, place = keys
    there = f"t.{group} = c.{group} AND t.{place} > c.{place}"
    return f"SELECT {hint} {_row(columns)} FROM {given} JOIN {table.name} t ON {there}"


def _row(columns: Sequence[str]) -> str:
    return ", ".join(f"t.{name}" for name in columns)
