"""SQLite: a prepared statement that is run for each row, and lists of values."""

from collections.abc import Mapping, Sequence
from itertools import chain

from sqlalchemy import Connection, Table

from host_tools.ledger.bulk import joined
from host_tools.ledger.bulk.literals import names, own


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


def nearest(
    table: Table, keys: joined.Keys, columns: Sequence[str], rows: Sequence[tuple], _floors: Mapping
) -> tuple[str, tuple]:
    group, place = keys
    row = ", ".join(f"t.{name}" for name in columns)

    def of(side: str, order: str) -> str:
        next_to = f"SELECT {place} FROM {table.name} n WHERE n.{group} = c.{group} AND n.{place} {side} c.{place}"
        there = f"t.{group} = c.{group} AND t.{place} = ({next_to} ORDER BY {place} {order} LIMIT 1)"
        return f"SELECT {row} FROM c JOIN {table.name} t ON {there}"

    both = f"{of('<=', 'DESC')} UNION ALL {of('>', 'ASC')}"
    return f"WITH c AS (SELECT * FROM {_given(keys, rows)}) {both}", tuple(chain.from_iterable(rows))


def _given(keys: joined.Keys, rows: Sequence[tuple]) -> str:
    """The columns of a list of values have the names `column1`, ..."""
    names = ", ".join(f"column{at} AS {name}" for at, name in enumerate(keys, 1))
    return f"(SELECT {names} FROM (VALUES {', '.join(['(?, ?)'] * len(rows))})) AS c"
