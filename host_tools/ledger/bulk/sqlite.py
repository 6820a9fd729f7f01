"""SQLite: a prepared statement that is run for each row, and lists of values."""

from collections.abc import Mapping, Sequence
from itertools import chain

from sqlalchemy import Connection, Table

from host_tools.ledger.bulk import joined
from host_tools.ledger.bulk.literals import names, own
from host_tools.ledger.bulk.neighbours import Fetch, Stretch
from host_tools.ledger.schema import MAX_NAMED

MAX_LISTED = MAX_NAMED


def insert(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple], same: Mapping) -> None:
    values = ", ".join(["?"] * len(columns) + [own(value) for value in same.values()])
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names(connection, [*columns, *same])}) VALUES ({values})", list(rows)
    )


def update(connection: Connection, table: Table, keys: Sequence[str], columns: Sequence[str], rows) -> None:
    changed = ", ".join(f"{column} = ?" for column in columns)
    which = " AND ".join(f"{key} = ?" for key in keys)
    connection.exec_driver_sql(f"UPDATE {table.name} SET {changed} WHERE {which}", list(rows))


def add(connection: Connection, table: Table, key: str, column: str, changes: list[tuple]) -> int:
    added = [(change, which) for which, change in changes]
    return connection.exec_driver_sql(
        f"UPDATE {table.name} SET {column} = {column} + ? WHERE {key} = ?", added
    ).rowcount


def any_of(ids: Sequence) -> tuple[str, tuple]:
    return f"IN ({', '.join('?' * len(ids))})", tuple(ids)


def exactly(table: Table, keys: joined.Keys, columns: Sequence[str], rows: Sequence[tuple]) -> tuple[str, tuple]:
    return joined.exactly(_given(keys, rows), table, keys, columns), tuple(chain.from_iterable(rows))


def above(table: Table, keys: joined.Keys, columns: Sequence[str], floors: Sequence[tuple]) -> tuple[str, tuple]:
    return joined.above(_given(keys, floors), table, keys, columns), tuple(chain.from_iterable(floors))


def around(
    fetch: Fetch,
    table: Table,
    keys: joined.Keys,
    columns: Sequence[str],
    stretches: Sequence[Stretch],
    _floors: Mapping[bytes, int],
) -> list[tuple]:
    group, place = keys
    next_to = f"FROM {table.name} n WHERE n.{group} = c.{group} AND n.{place}"
    first = f"COALESCE((SELECT MAX(n.{place}) {next_to} <= c.first), c.first)"
    last = f"COALESCE((SELECT MIN(n.{place}) {next_to} > c.last), c.last)"
    there = f"t.{group} = c.{group} AND t.{place} BETWEEN {first} AND {last}"
    row = ", ".join(f"t.{name}" for name in columns)
    given = _given((group, "first", "last"), stretches)
    return fetch(f"SELECT {row} FROM {given} JOIN {table.name} t ON {there}", tuple(chain.from_iterable(stretches)))


def _given(names: Sequence[str], rows: Sequence[tuple]) -> str:
    """The columns of a list of values have the names `column1`, ..."""
    named = ", ".join(f"column{at} AS {name}" for at, name in enumerate(names, 1))
    marks = f"({', '.join('?' * len(names))})"
    return f"(SELECT {named} FROM (VALUES {', '.join([marks] * len(rows))})) AS c"
