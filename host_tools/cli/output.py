"""How a command tells what it found: words and tables for people, one JSON object for programs. Progress and errors go
to stderr.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from host_tools.cli import money, streams
from host_tools.cli.currencies import Currency
from host_tools.cli.exits import NotShown
from protocol.objects import DAY_S

_PIPE_WIDTH = 200  # columns when nobody looks: nothing is cut in a file
_SHORT = 8  # hex digits of an id or hash that people see: enough to compare


def stdout() -> Console:
    """Made anew each time: who runs commands in one process may have changed stdout in between."""
    return _console(sys.stdout)


def stderr() -> Console:
    return _console(sys.stderr)


def _console(stream) -> Console:
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    # Names are people's words: nothing in them is markup or an emoji code.
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def tell(as_json: bool, facts: dict, *parts: RenderableType) -> None:
    """Print `facts` as JSON, or `parts` for a person. Raises `NotShown`."""
    with telling():
        try:
            if as_json:
                print(json.dumps(facts))
            else:
                console = stdout()
                for part in parts:
                    console.print(part)
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit):  # whoever read our output has seen enough; Rich makes an exit of it
            streams.discard()


@contextmanager
def telling() -> Iterator[None]:
    """Around what only tells of finished work: nothing that fails in here undoes it, so it is said as `NotShown`."""
    try:
        yield
    except NotShown:
        raise
    except Exception as error:  # whatever it is, what was done stays done
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NotShown(f"It is done, but the result cannot be shown ({reason}). Look with: jiaozi report") from error


def currency_facts(currency: Currency | None) -> dict | None:
    return currency._asdict() if currency else None


def amount_text(amount: int, currency: Currency | None) -> str:
    return money.with_code(amount, currency) if currency else f"{amount} minor units"


def short(digits: str) -> str:
    """The beginning of an id or a hash in hex, for people."""
    return digits[:_SHORT]


def day_text(day: int) -> str:
    """A Unix day as ISO 8601, in UTC as the protocol counts."""
    return datetime.fromtimestamp(day * DAY_S, UTC).strftime("%Y-%m-%d")


def time_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def fields(rows: dict[str, str]) -> Table:
    """Names and values in two columns."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(name, value)
    return grid


def listing(columns: tuple[str, ...], rows: list[tuple[str, ...]], numbers: tuple[str, ...] = ()) -> Table:
    """A list; the columns named in `numbers` are aligned to the right, and end in … where there is no room."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False)
    for column in columns:
        right = column in numbers
        table.add_column(
            column, justify="right" if right else "left", no_wrap=right, overflow="ellipsis" if right else "fold"
        )
    for row in rows:
        table.add_row(*row)
    return table


def done(text: str) -> Text:
    """A line that says that something worked."""
    return Text.assemble(("✓ ", "green"), text)


def heading(text: str) -> Text:
    return Text.assemble("\n", (text, "bold"))


def warning(text: str) -> Text:
    return Text.assemble(("! ", "yellow"), text)


def tell_failure(text: str) -> None:
    """One line on stderr; on a terminal it is broken between words. If nobody can be told, the exit code remains."""
    console = stderr()
    try:
        console.print(Text.assemble(("✗ ", "red"), text), soft_wrap=not console.is_terminal)
    except (OSError, ValueError, SystemExit):
        pass


def tell_failure_as_json(code: int, name: str, text: str) -> None:
    """The one JSON object on stdout of a command that failed, if anybody can be told."""
    try:
        print(json.dumps({"error": {"exit": code, "name": name, "message": text}}), flush=True)
    except (OSError, ValueError):
        streams.discard()


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for `report(done, all)`; on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report
