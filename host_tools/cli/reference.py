"""`docs/commands.md`, made from the commands themselves: `python -m host_tools.cli.reference > docs/commands.md`.

A test compares the file with this, so that it stays true.
"""

from collections import Counter
from typing import Any

import typer.main

from host_tools.cli.exits import Exit
from host_tools.cli.main import app

_INTRODUCTION = """# Commands

Made from the program: `python -m host_tools.cli.reference > docs/commands.md`.

Amounts are typed as decimals in the operator's currency, exactly: `18.50`. With `--json` a command prints one JSON
object and nothing else on stdout, with amounts in minor units (1850); if it fails, the object is
`{"error": {"exit", "name", "message"}}`. Messages and progress go to stderr. A passphrase comes from
`--passphrase-file`, from `JIAOZI_PASSPHRASE`, or is asked for; a service's token from `--token-file` or `JIAOZI_TOKEN`;
neither from the command line. A load, a redemption or a sync whose link broke is repeated as it was typed: money moves
once. `JIAOZI_DEBUG=1` shows where an error came from.

A project folder (`--home`, or `JIAOZI_HOME`) holds `root.key`, `operator-N.key`, `operator-N-payee.key` (with the
operator's passphrase) and `ledger.db`.
"""


_HEAD = ("| what | meaning |", "| --- | --- |")
_SHARED = 4  # what so many commands have in common is explained once


def markdown() -> str:
    """The whole page."""
    leaves = _leaves(("jiaozi",), typer.main.get_command(app))
    rows = Counter(_row(parameter) for _, command in leaves for parameter in _parameters(command))
    shared = [row for row, times in rows.items() if times >= _SHARED]
    parts = [_INTRODUCTION, _exit_codes(), _shared(shared)]
    parts += [_section(" ".join(words), command, shared) for words, command in leaves]
    return "\n".join(parts)


def _shared(rows: list[str]) -> str:
    return "\n".join(["## Options that commands share", "", *_HEAD, *rows, ""])


def _exit_codes() -> str:
    rows = [f"| {int(code)} | {code.name.lower().replace('_', ' ')} | {code.meaning} |" for code in Exit]
    return "\n".join(["## Exit codes", "", "| code | name | meaning |", "| --- | --- | --- |", *rows, ""])


# Typer keeps the classes of its commands and parameters to itself, hence `Any`.


def _leaves(words: tuple[str, ...], command: Any) -> list[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that lead to it."""
    children = getattr(command, "commands", None)
    if children is None:
        return [(words, command)]
    shown = [(name, child) for name, child in children.items() if not child.hidden]
    return [leaf for name, child in shown for leaf in _leaves((*words, name), child)]


def _parameters(command: Any) -> list[Any]:
    return [parameter for parameter in command.params if parameter.name != "help"]


def _section(name: str, command: Any, shared: list[str]) -> str:
    parameters = _parameters(command)
    arguments = [_name(parameter) for parameter in parameters if parameter.param_type_name == "argument"]
    parts = [f"## `{' '.join([name, *arguments])}`", "", " ".join(command.help.split()), ""]
    rows = [_row(parameter) for parameter in parameters if _row(parameter) not in shared]
    if rows:
        parts += [*_HEAD, *rows, ""]
    also = [f"`{parameter.opts[0]}`" for parameter in parameters if _row(parameter) in shared]
    if also:
        parts += [f"Also {', '.join(also)}.", ""]
    return "\n".join(parts)


def _name(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper()


def _row(parameter: Any) -> str:
    text = parameter.help or ""
    if parameter.param_type_name == "argument":
        return f"| `{_name(parameter)}` | {text} |"
    name = parameter.opts[0] if parameter.is_flag else f"{parameter.opts[0]} {_name(parameter)}"
    if parameter.required:
        text += " Required."
    elif parameter.show_default and parameter.default not in (None, False, ""):
        text += f" Default: {parameter.default}."
    if parameter.envvar:
        text += f" Environment: {parameter.envvar}."
    return f"| `{name}` | {text.strip()} |"


if __name__ == "__main__":
    print(markdown(), end="")
