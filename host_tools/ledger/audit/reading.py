"""How the audit reads tables: page by page in the order of their keys, and objects out of what is kept."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select

from host_tools.ledger.audit.findings import Findings
from protocol.errors import DecodeError

PAGE = 5_000  # rows at a time

T = TypeVar("T")


def rows(connection: Connection, query: Select, key: ColumnElement, page: int = PAGE) -> Iterator[list[Row]]:
    """Page by page; `key` is one column of the result, unique and not null."""
    following = query.order_by(key).limit(page)
    while found := list(connection.execute(following).all()):
        yield found
        following = query.where(key > found[-1]._mapping[key]).order_by(key).limit(page)


def decoded(findings: Findings, kind: Any, data: bytes | None, where: str) -> Any:
    """An object of this kind, or None where the bytes are none."""
    try:
        return kind.decode(data or b"")
    except DecodeError as error:
        findings.differ(f"the {kind.__name__}'s bytes", where, "unreadable", str(error))
        return None


def shares(of: Iterable[T], size: int = PAGE) -> Iterator[list[T]]:
    share: list[T] = []
    for one in of:
        share.append(one)
        if len(share) == size:
            yield share
            share = []
    if share:
        yield share
