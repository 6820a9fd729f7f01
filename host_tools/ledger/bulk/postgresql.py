"""PostgreSQL: rows by COPY, and arrays that a statement takes for a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Integer, LargeBinary, String, Table

from host_tools.ledger.bulk import joined
from host_tools.ledger.bulk.literals import names
from host_tools.ledger.bulk.neighbours import Fetch, Stretch
from host_tools.ledger.schema import MAX_NAMED

MAX_LISTED = MAX_NAMED


def insert(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple], same: Mapping) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    alike = tuple(same.values())
    filled = [*columns, *same]
    # Binary: as a text a binary value has twice its bytes
    statement = f"COPY {table.name} ({names(connection, filled)}) FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([_type_of(table.c[name].type) for name in filled])
        for row in rows:
            copy.write_row(row + alike)


_TYPES = ((LargeBinary, "bytea"), (Boolean, "bool"), (String, "text"), (BigInteger, "int8"), (Integer, "int4"))


def _unnested(table: Table, columns: Sequence[str], named: Sequence[str] | None = None) -> str:
    """A table of values like those of `columns`, which are `named` otherwise in it."""
    arrays = ", ".join(f"%s::{_array_of(table.c[column].type)}" for column in columns)
    return f"unnest({arrays}) AS c ({', '.join(named or columns)})"


def _array_of(kind: Any) -> str:
    named = _type_of(kind)
    return "bigint[]" if named == "int4" else f"{named}[]"


def _type_of(kind: Any) -> str:
    for one, named in _TYPES:
        if isinstance(kind, one):
            return named
    raise TypeError(kind)


def update(connection: Connection, table: Table, keys: Sequence[str], columns: Sequence[str], rows) -> None:
    changed = ", ".join(f"{column} = c.{column}" for column in columns)
    which = " AND ".join(f"{table.name}.{key} = c.{key}" for key in keys)
    statement = f"UPDATE {table.name} SET {changed} FROM {_unnested(table, [*columns, *keys])} WHERE {which}"
    connection.exec_driver_sql(statement, _arrays(rows))


def add(connection: Connection, table: Table, key: str, column: str, changes: list[tuple]) -> int:
    name = table.name
    arrays = _arrays(changes)
    locked = f"SELECT {key} FROM {name} WHERE {key} = ANY(%s) ORDER BY {key} FOR NO KEY UPDATE"
    connection.exec_driver_sql(locked, arrays[:1]).all()
    return connection.exec_driver_sql(
        f"UPDATE {name} SET {column} = {name}.{column} + c.{column}"
        f" FROM {_unnested(table, [key, column])} WHERE {name}.{key} = c.{key}",
        arrays,
    ).rowcount


def any_of(ids: Sequence) -> tuple[str, tuple]:
    return "= ANY(%s)", (list(ids),)


def exactly(table: Table, keys: joined.Keys, columns: Sequence[str], rows: Sequence[tuple]) -> tuple[str, tuple]:
    return joined.exactly(_unnested(table, keys), table, keys, columns), _arrays(rows)


def above(table: Table, keys: joined.Keys, columns: Sequence[str], floors: Sequence[tuple]) -> tuple[str, tuple]:
    group, place = keys
    there = f"SELECT {', '.join(columns)} FROM {table.name} t WHERE t.{group} = c.{group} AND t.{place} > c.{place}"
    # OFFSET keeps it apart: joined, all of a table without statistics would be read for a few rows
    return f"SELECT n.* FROM {_unnested(table, keys)} CROSS JOIN LATERAL ({there} OFFSET 0) n", _arrays(floors)


def around(
    fetch: Fetch,
    table: Table,
    keys: joined.Keys,
    columns: Sequence[str],
    stretches: Sequence[Stretch],
    _floors: Mapping[bytes, int],
) -> list[tuple]:
    group, place = keys
    there = f"SELECT {', '.join(columns)} FROM {table.name} t WHERE t.{group} = c.{group} AND t.{place}"
    below = f"({there} <= c.first ORDER BY t.{place} DESC LIMIT 1)"
    among = f"({there} > c.first AND t.{place} <= c.last OFFSET 0)"
    above = f"({there} > c.last ORDER BY t.{place} LIMIT 1)"
    given = _unnested(table, (group, place, place), (group, "first", "last"))
    all_three = f"{below} UNION ALL {among} UNION ALL {above}"
    return fetch(f"SELECT n.* FROM {given} CROSS JOIN LATERAL ({all_three}) n", _arrays(stretches))


def _arrays(rows: Sequence[tuple]) -> tuple[list, ...]:
    """One for each column."""
    return tuple(list(values) for values in zip(*rows, strict=True))
