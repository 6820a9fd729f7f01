"""`jiaozi report --by` and `--positions`: what moved over some days, for a person, as JSON or as CSV.

The lines are the ledger's own (`host_tools.ledger.reports`), from the database or through a service.
"""

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol, TextIO

from rich.console import RenderableType

from host_tools.cli import money, output
from host_tools.cli.currencies import Currency
from host_tools.cli.exits import BadInput
from host_tools.ledger.errors import InvalidInput
from host_tools.ledger.reports.activity import DEVICE_COLUMNS, OPERATOR_COLUMNS
from host_tools.ledger.reports.figures import FIGURES
from host_tools.ledger.reports.positions import COLUMNS
from host_tools.ledger.reports.span import Span

_DAYS = 30  # of a report that says no other
_EPOCH = date(1970, 1, 1)
_STDOUT = "-"


class By(StrEnum):
    """What a line is about."""

    OPERATOR = "operator"
    DEVICE = "device"
    DAY = "day"


class Books(Protocol):
    """What `Ledger` and a service's `RemoteLedger` both answer."""

    def by_operator(self, span: Span, operator: int | None = None) -> list[dict]: ...

    def by_day(self, span: Span, operator: int | None = None, device: bytes | None = None) -> list[dict]: ...

    def by_device(self, span: Span, operator: int | None = None, after: bytes = b"") -> list[dict]: ...

    def positions(self, span: Span, operator: int | None = None) -> dict: ...


class Asked(NamedTuple):
    """A report as it was asked for. `by` None are positions; `csv` is a file's name, or `-` for stdout."""

    by: By | None
    span: Span
    operator: int | None
    device: bytes | None
    csv: str | None


def span_of(first: str | None, last: str | None, today: int) -> Span:
    """The days from `--from` to `--to`; without them the last 30 days. Raises `BadInput`."""
    to = today if last is None else _day("--to", last)
    begin = to - _DAYS + 1 if first is None else _day("--from", first)
    if begin > to:
        raise BadInput(f"--from {output.day_text(begin)} is after --to {output.day_text(to)}. Exchange them.")
    try:
        return Span.of(begin, to)
    except InvalidInput as error:
        raise BadInput(f"{error.what}. {error.advice}.") from None


def _day(option: str, text: str) -> int:
    try:
        return (date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        raise BadInput(f"{option} {text!r} is no day. Type one like {date.today() - timedelta(1)}.") from None


def tell(books: Books, asked: Asked, currency: Currency | None, as_json: bool) -> None:
    """Print the report, or write it as CSV. Raises `BadInput`, `NotShown`."""
    if asked.csv is not None:
        _tell_csv(books, asked, as_json)
        return
    days = {"from": output.day_text(asked.span.first), "to": output.day_text(asked.span.last)}
    facts = {"currency": output.currency_facts(currency), **days, "by": asked.by.value if asked.by else "positions"}
    if asked.by is None:
        found = books.positions(asked.span, asked.operator)
        output.tell(as_json, {**facts, **found}, *_positions(found, days, currency))
        return
    lines = list(_lines(books, asked))
    output.tell(as_json, {**facts, "lines": lines}, *_PARTS[asked.by](lines, days, currency))


def _lines(books: Books, asked: Asked) -> Iterator[dict]:
    if asked.by is None:
        yield from books.positions(asked.span, asked.operator)["pairs"]
    elif asked.by is By.OPERATOR:
        yield from books.by_operator(asked.span, asked.operator)
    elif asked.by is By.DAY:
        for line in books.by_day(asked.span, asked.operator, asked.device):
            yield line | {"day": output.day_text(line["day"])}
    else:
        after = b""
        while page := books.by_device(asked.span, asked.operator, after):
            yield from page
            after = bytes.fromhex(page[-1]["device"])


# CSV: the names of the JSON's lines in the first row; amounts are minor units

_WITHOUT_LINES = {None: COLUMNS, By.OPERATOR: OPERATOR_COLUMNS, By.DEVICE: DEVICE_COLUMNS}  # by day there are some


def _tell_csv(books: Books, asked: Asked, as_json: bool) -> None:
    if asked.csv == _STDOUT:
        if as_json:
            raise BadInput("Only one of --json and --csv - can be on stdout. Name a file for --csv.")
        text = io.StringIO()
        _write_csv(text, books, asked)
        with output.telling():
            sys.stdout.write(text.getvalue())
            sys.stdout.flush()
        return
    path = Path(asked.csv or "")
    with _new_file(path) as file:
        count = _write_csv(file, books, asked)
    output.tell(as_json, {"file": str(path), "lines": count}, output.done(f"{count} lines written to {path}."))


def _write_csv(file: TextIO, books: Books, asked: Asked) -> int:
    """How many lines, the first row not counted."""
    lines, count = _lines(books, asked), 0
    first = next(lines, None)
    writer = csv.DictWriter(file, _WITHOUT_LINES[asked.by] if first is None else list(first), lineterminator="\n")
    writer.writeheader()
    for line in () if first is None else chain((first,), lines):
        writer.writerow(line)
        count += 1
    return count


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """What is there is never overwritten, and nothing half written stays. Raises `BadInput`, `OSError`."""
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except FileExistsError:
        raise BadInput(f"{path} exists, and nothing is overwritten. Nothing was written; name another file.") from None
    try:
        with file:
            yield file
    except BaseException:
        path.unlink()
        raise


# For people: the JSON and the CSV have more


def _of_operators(lines: list[dict], days: dict[str, str], currency: Currency | None) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for line in lines:
        rows = {
            figure.about: f"{output.amount_text(line[figure.name], currency)} ({line[f'{figure.name}_count']})"
            for figure in FIGURES
            if figure.about and line[f"{figure.name}_count"]
        }
        ends = {
            name.replace("_", " "): output.amount_text(amount, currency)
            for name, amount in line.items()
            if name.endswith("_at_end") and amount
        }
        net = {"gets from other operators": output.amount_text(line["net_position"], currency)}
        counts = {name.replace("_", " "): str(line[name]) for name in ("dead_letters", "evidence", "frozen_devices")}
        parts += [
            output.heading(f"Operator {line['operator']}, {_text(days)}"),
            output.fields(rows | ends | net | counts),
        ]
    return parts or ["There is no operator."]


def _of_days(lines: list[dict], days: dict[str, str], currency: Currency | None) -> list[RenderableType]:
    return _listed("day", [line["day"] for line in lines], lines, days, currency)


def _of_devices(lines: list[dict], days: dict[str, str], currency: Currency | None) -> list[RenderableType]:
    names = [f"{line['name']} ({output.short(line['device'])})" for line in lines]
    return _listed("device", names, lines, days, currency)


def _listed(
    what: str, names: list[str], lines: list[dict], days: dict[str, str], currency: Currency | None
) -> list[RenderableType]:
    columns = ("loaded", "paid", "received", "redeemed")
    rows = [
        (name, *[_number(line[column], currency) for column in columns])
        for name, line in zip(names, lines, strict=True)
    ]
    unit = currency.code if currency else "minor units"
    return [output.heading(f"{_text(days)}, in {unit}"), output.listing((what, *columns), rows, columns)]


def _positions(found: dict, days: dict[str, str], currency: Currency | None) -> list[RenderableType]:
    rows = [
        (
            f"{pair['operator']} and {pair['other']}",
            _number(pair["paid"] - pair["paid_back"], currency),
            _number(pair["received"] - pair["received_back"], currency),
            _number(pair["owed"], currency),
        )
        for pair in found["pairs"]
    ]
    if not rows:
        return [f"No operator's devices paid another's from {_text(days)}."]
    columns = ("operators", "paid", "received", "first owes")
    unit = currency.code if currency else "minor units"
    nets = {f"operator {row['operator']}": output.amount_text(row["net"], currency) for row in found["net"]}
    return [
        output.heading(f"{_text(days)}, in {unit}"),
        output.listing(columns, rows, columns[1:]),
        output.heading("Each gets from all others, or pays where it is below 0"),
        output.fields(nets),
    ]


_PARTS = {By.OPERATOR: _of_operators, By.DAY: _of_days, By.DEVICE: _of_devices}


def _text(days: dict[str, str]) -> str:
    return f"{days['from']} to {days['to']}"


def _number(amount: int, currency: Currency | None) -> str:
    return money.format_amount(amount, currency) if currency else str(amount)
