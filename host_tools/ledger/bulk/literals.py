"""Names and values that stand in the text of a statement."""

from collections.abc import Iterable

from sqlalchemy import Connection


def own(value: int | str) -> str:
    """One of the program's own: a number or a word."""
    if isinstance(value, str):
        assert value.replace(" ", "").isalnum(), value
        return f"'{value}'"
    return str(int(value))


def names(connection: Connection, columns: Iterable[str]) -> str:
    """Columns, in quotes where the engine has words of its own for them."""
    return ", ".join(map(connection.dialect.identifier_preparer.quote, columns))


def literal(value: bytes | int | str | bool | None) -> str:
    """Any value, as MySQL reads it."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        return f"CONVERT(x'{value.encode().hex()}' USING utf8mb4)"  # whatever the text, it ends nothing
    return str(int(value))
