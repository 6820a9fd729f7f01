"""Many rows at a time, in the way that each engine is quick at. The one place that knows them apart.

SQLite runs a prepared statement for each row, PostgreSQL is sent rows by COPY and arrays, and OceanBase reads
statements of many rows quickly, where binary values stand as hex literals, and tables in JSON.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, bindparam, literal_column

from host_tools.ledger.bulk import mysql, postgresql, sqlite
from host_tools.ledger.bulk.joined import Keys
from host_tools.ledger.bulk.neighbours import stretches
from host_tools.ledger.schema import MAX_NAMED

T = TypeVar("T")

# To put a statement together takes longer than to run it for one device. It is done once for queries that live as long
# as the program.
_within: WeakKeyDictionary[Select, dict[str, Select]] = WeakKeyDictionary()
_compiled: WeakKeyDictionary[Select, dict[tuple[str, str], str]] = WeakKeyDictionary()
_MARKS = "wanted_ids"  # where a statement names them


def _engine(connection: Connection) -> ModuleType:
    return {"sqlite": sqlite, "postgresql": postgresql}.get(connection.dialect.name, mysql)


def insert(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[tuple],
    same: Mapping[str, int | str] | None = None,
) -> None:
    """Rows of new keys, in the order of `columns`; values are bytes, integers, texts, booleans or None.

    `same` are the columns that all of them have alike; what is not named is NULL.
    """
    if rows:
        _engine(connection).insert(connection, table, columns, rows, same or {})


def update(
    connection: Connection, table: Table, keys: Sequence[str], columns: Sequence[str], rows: Sequence[tuple]
) -> None:
    """Set `columns` of the rows of these keys; each of `rows` has the columns' values first, then the keys'."""
    if rows:
        _engine(connection).update(connection, table, keys, columns, rows)


def add(connection: Connection, table: Table, key: str, column: str, changes: Mapping) -> int:
    """Add to a column of the rows of these keys, in their order, so that no two transactions wait for each other.

    Returns how many of them there are.
    """
    ordered = sorted(changes.items())
    return _engine(connection).add(connection, table, key, column, ordered) if ordered else 0


def rows(connection: Connection, query: Select, column: ColumnElement, wanted: Iterable[Any]) -> Iterator[Row]:
    """The rows of `query` whose `column` is one of those wanted."""
    prepared = _within.setdefault(query, {})
    statement = prepared.get(str(column))
    if statement is None:
        statement = prepared[str(column)] = query.where(column.in_(bindparam(_MARKS, expanding=True)))
    for some in _shares(wanted, _engine(connection).MAX_LISTED):
        yield from connection.execute(statement, {_MARKS: some})


def fetch(
    connection: Connection, query: Select, column: ColumnElement, wanted: Iterable[bytes | int]
) -> Iterator[tuple]:
    """`rows` of a query without parameters, as the driver gives them, which takes a tenth of what a `Row` takes.

    Binary values may be `bytes` or alike.
    """
    ids = list(wanted)
    if not ids:
        return
    statement = _text(connection, query, column)
    for some in _shares(ids, _engine(connection).MAX_LISTED):
        named, parameters = _engine(connection).any_of(some)
        yield from _fetched(connection, statement.replace("= " + _MARKS, named), parameters)


def _text(connection: Connection, query: Select, column: ColumnElement) -> str:
    """With marks where the ids are named."""
    key = connection.dialect.name, str(column)
    compiled = _compiled.setdefault(query, {})
    if key not in compiled:
        compiled[key] = str(query.where(column.op("=")(literal_column(_MARKS))).compile(connection))
    return compiled[key]


def exactly(
    connection: Connection, table: Table, keys: Keys, columns: Sequence[str], wanted: Iterable[tuple[bytes, int]]
) -> Iterator[tuple]:
    """The rows of these two keys. As all rows from here on, they are as the driver gives them."""
    for some in _shares(wanted):
        yield from _fetched(connection, *_engine(connection).exactly(table, keys, columns, some))


def above(
    connection: Connection,
    table: Table,
    keys: Keys,
    columns: Sequence[str],
    floors: Mapping[bytes, int],
) -> Iterator[tuple]:
    """Of each first key that `floors` has, the rows whose second key is higher than it says."""
    for some in _shares(floors.items()):
        yield from _fetched(connection, *_engine(connection).above(table, keys, columns, some))


def around(
    connection: Connection,
    table: Table,
    keys: Keys,
    columns: Sequence[str],
    wanted: Iterable[tuple[bytes, int]],
    floors: Mapping[bytes, int],
) -> Iterator[tuple]:
    """For each of these two keys, the rows next to it among those of the same first key: at or below, and above it.

    What is not higher than `floors` says does not count. Others may come as well.
    """
    for some in _shares(stretches(wanted)):
        yield from _engine(connection).around(partial(_fetched, connection), table, keys, columns, some, floors)


def _shares(values: Iterable[T], most: int = MAX_NAMED) -> Iterator[list[T]]:
    listed = list(values)
    return (listed[start : start + most] for start in range(0, len(listed), most))


def _fetched(connection: Connection, statement: str, parameters: tuple) -> list[tuple]:
    found = connection.exec_driver_sql(statement, parameters)
    assert found.cursor is not None
    fetched = found.cursor.fetchall()
    found.close()
    return cast(list[tuple], fetched)
