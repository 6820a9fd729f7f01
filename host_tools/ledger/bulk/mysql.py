"""OceanBase, and what else speaks MySQL: rows in the text of a statement, and tables in JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, LargeBinary, String, Table

from host_tools.ledger.bulk import joined
from host_tools.ledger.bulk.literals import literal, names, own
from host_tools.ledger.bulk.neighbours import NEAR, Fetch, Stretch
from host_tools.ledger.schema import MAX_NAMED

MAX_LISTED = 999  # a longer list OceanBase makes into a table, and reads all of the one that is asked
_MAX_JOINED = 2_000  # bytes of a value where no column says how long it may be
# For each row that is given, look for it: OceanBase, which knows nothing of a table in JSON, may read all of the other
_FROM_GIVEN = "/*+ LEADING(c t) USE_NL(c t) */"


def insert(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple], same: Mapping) -> None:
    head = f"INSERT INTO {table.name} ({names(connection, [*columns, *same])}) VALUES "
    alike = "".join(f",{own(value)}" for value in same.values())
    for start in range(0, len(rows), MAX_NAMED):
        values = ",".join([f"({','.join(map(literal, row))}{alike})" for row in rows[start : start + MAX_NAMED]])
        connection.exec_driver_sql(head + values.replace("%", "%%"))


def _joined(table: Table, wanted: Sequence[str], rows: Iterable[tuple]) -> tuple[str, str]:
    """A table of these rows, as a text with one parameter, and that; bytes stand in it as hex digits."""
    listed = [[_in_json(value) for value in row] for row in rows]
    columns = ", ".join(f"{name} {_json_type(table.c[name].type)} PATH '$[{at}]'" for at, name in enumerate(wanted))
    return f"JSON_TABLE(%s, '$[*]' COLUMNS ({columns})) AS c", json.dumps(listed)


def _in_json(value: bytes | int | str | bool | None) -> int | str | None:
    if isinstance(value, bool):
        return int(value)
    return value.hex() if isinstance(value, bytes) else value


def _json_type(kind: Any) -> str:
    if isinstance(kind, LargeBinary):
        return f"VARCHAR({2 * (kind.length or _MAX_JOINED)})"
    if isinstance(kind, String):
        return f"VARCHAR({kind.length or _MAX_JOINED})"
    return "BIGINT"


def _taken(table: Table, name: str) -> str:
    return f"UNHEX(c.{name})" if isinstance(table.c[name].type, LargeBinary) else f"c.{name}"


def update(connection: Connection, table: Table, keys: Sequence[str], columns: Sequence[str], rows) -> None:
    if any(len(value) > _MAX_JOINED for row in rows for value in row if isinstance(value, bytes | str)):
        _update_rows(connection, table, keys, columns, rows)
        return
    changed = ", ".join(f"t.{column} = {_taken(table, column)}" for column in columns)
    _update_joined(connection, table, keys, changed, [*columns, *keys], rows)


def _update_joined(
    connection: Connection, table: Table, keys: Sequence[str], changed: str, given: Sequence[str], rows: Iterable[tuple]
) -> int:
    named, listed = _joined(table, given, rows)
    which = " AND ".join(f"t.{key} = {_taken(table, key)}" for key in keys)
    statement = f"UPDATE {_FROM_GIVEN} {table.name} t JOIN {named} ON {which} SET {changed}"
    return connection.exec_driver_sql(statement, (listed,)).rowcount


def _update_rows(
    connection: Connection, table: Table, keys: Sequence[str], columns: Sequence[str], rows: Sequence[tuple]
) -> None:
    """One by one: values that are too long for a column of a table in JSON are few."""
    changed = ", ".join(f"{column} = %s" for column in columns)
    which = " AND ".join(f"{key} = %s" for key in keys)
    connection.exec_driver_sql(f"UPDATE {table.name} SET {changed} WHERE {which}", list(rows))


def add(connection: Connection, table: Table, key: str, column: str, changes: list[tuple]) -> int:
    return _update_joined(connection, table, [key], f"t.{column} = t.{column} + c.{column}", [key, column], changes)


def any_of(ids: Sequence) -> tuple[str, tuple]:
    return f"IN ({','.join(map(literal, ids))})", ()


def exactly(table: Table, keys: joined.Keys, columns: Sequence[str], rows: Sequence[tuple]) -> tuple[str, tuple]:
    given, listed = _given(table, keys, rows)
    return joined.exactly(given, table, keys, columns, _FROM_GIVEN), (listed,)


def above(table: Table, keys: joined.Keys, columns: Sequence[str], floors: Sequence[tuple]) -> tuple[str, tuple]:
    given, listed = _given(table, keys, floors)
    return joined.above(given, table, keys, columns, _FROM_GIVEN), (listed,)


def around(
    fetch: Fetch,
    table: Table,
    keys: joined.Keys,
    columns: Sequence[str],
    stretches: Sequence[Stretch],
    floors: Mapping[bytes, int],
) -> Iterator[tuple]:
    """All from a little below on: to look for one row costs OceanBase as much as to read ten that lie together.

    Where none lies there, it is looked for from the floor on.
    """
    lowest: dict[bytes, int] = {}
    for which, first, _ in stretches:
        lowest[which] = min(first, lowest.get(which, first))
    near = {which: max(floors[which], first - NEAR) for which, first in lowest.items()}
    farther = {which for which, floor in near.items() if floor > floors[which]}
    group, place = (columns.index(key) for key in keys)
    for row in fetch(*above(table, keys, columns, list(near.items()))):
        if row[place] <= lowest[row[group]]:
            farther.discard(row[group])
        yield row
    if farther:
        yield from fetch(*above(table, keys, columns, [(which, floors[which]) for which in farther]))


def _given(table: Table, wanted: Sequence[str], rows: Iterable[tuple]) -> tuple[str, str]:
    named, listed = _joined(table, wanted, rows)
    return f"(SELECT {', '.join(f'{_taken(table, name)} AS {name}' for name in wanted)} FROM {named}) AS c", listed
