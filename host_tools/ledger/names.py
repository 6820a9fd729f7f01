"""Names that people give to accounts and devices."""

from host_tools.ledger.errors import InvalidInput


def check(name: str, of: str, longest: int) -> None:
    """What people can show to each other and type again. MySQL's dialect takes `Ana` and `Ana ` for the same.

    Raises `InvalidInput`.
    """
    if not 0 < len(name) <= longest or not name.isprintable() or name != name.strip():
        raise InvalidInput(
            f"The name of {of} is 1 to {longest} printable characters, with no blank at either end",
            "Choose another name",
        )
