"""`jiaozi city`: a city's offline payments, made and settled, and what became of those who paid twice."""

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from host_tools.city import result
from host_tools.city.city import City, CityIsIdle
from host_tools.city.plan import Plan
from host_tools.cli import options, output
from host_tools.cli.exits import BadInput, CheckFailed
from host_tools.ledger import Ledger

_Payments = Annotated[int, typer.Option("--payments", metavar="N", min=1, help="How many payments are made.")]
_Seed = Annotated[int, typer.Option("--seed", metavar="N", help="The same number makes the same city.")]
_Wallets = Annotated[
    int | None,
    typer.Option("--wallets", metavar="N", min=2, show_default=False, help="Default: one for 100 payments, to 30,000."),
]
_Clones = Annotated[
    int | None,
    typer.Option("--clones", metavar="N", min=0, max=100, show_default=False, help="Default: one wallet in 500."),
]
_Ledger = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="URL",
        show_default=False,
        help="Make the ledger at this SQLAlchemy URL and keep it. Otherwise it is a file that is deleted.",
    ),
]


def city(
    payments: _Payments = 100_000,
    seed: _Seed = 1,
    wallets: _Wallets = None,
    clones: _Clones = None,
    ledger: _Ledger = None,
    as_json: options.Json = False,
) -> None:
    """Make a city that pays offline for weeks, some of it twice, and settle it.

    Exit status 0 only if all is as it must be. docs/scale.md says what a city is like, and what it shows.
    """
    try:
        plan = Plan.of(payments, seed, wallets, clones)
    except ValueError as error:
        raise BadInput(f"{error}. Nothing was done; choose other numbers.") from error
    with tempfile.TemporaryDirectory(prefix="jiaozi-city-") as scratch:
        books = Ledger.create(ledger or f"sqlite:///{Path(scratch) / 'ledger.db'}")
        try:
            facts = _live(books, plan)
        finally:
            books.close()
    output.tell(as_json, facts, *_parts(facts))
    if facts["wrong"]:
        raise CheckFailed(f"The city is not as it must be: {'; '.join(facts['wrong'])}")


def _live(books: Ledger, plan: Plan) -> dict[str, Any]:
    this = City(books, plan)
    began = time.perf_counter()
    try:
        with output.progress("Paying and syncing") as progress:
            this.run(progress)
    except CityIsIdle as error:
        raise BadInput(str(error)) from error
    return result.of(this, books, time.perf_counter() - began)


def _parts(facts: dict[str, Any]) -> list[RenderableType]:
    plan, clones, doubles = facts["plan"], facts["clones"], facts["double_spends"]
    outcomes = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in facts["outcomes"].items() if count)
    refused = ", ".join(f"{count:,} {name}" for name, count in facts["refused"].items())
    return [
        output.heading(f"A city of {plan['wallets']:,} wallets, {facts['days']:.0f} days"),
        output.fields(
            {
                "merchants": f"{plan['merchants']:,}, with {facts['terminals']:,} terminals",
                "payments": f"{facts['payments']:,}: {outcomes}",
                "refused": refused or "none",
                "syncs": f"{facts['syncs']:,}, with {facts['records']:,} records",
                "made": f"{facts['made_per_second']:,} payments a second",
                "settled": f"{facts['settled_per_second']:,} payments a second",
                "in memory": f"{facts['records_held_at_most']:,} records at most",
            }
        ),
        output.heading("Paid twice"),
        output.fields(
            {
                "clones": f"{clones['made']:,}; {clones['surfaced']:,} surfaced, {clones['frozen']:,} are frozen",
                "double spends": f"{doubles['made']:,}, {doubles['never_known']:,} of them unknown to the end",
                "known after": _hours(facts["hours_to_detection"]),
                "at payees unaware": f"{doubles['after_the_wallet_was_known']:,}",
                "loss": f"{facts['loss']:,} minor units; at most {facts['loss_bound']:,} by the threat model",
                "honest frozen": f"{facts['honest_frozen']:,}",
            }
        ),
        output.done("The books balance.") if not facts["wrong"] else output.warning("; ".join(facts["wrong"])),
    ]


def _hours(spread: dict[str, float | None]) -> str:
    if spread["max"] is None:
        return "none was known"
    return f"{spread['median']} hours (median), {spread['percentile_95']} (95 %), {spread['max']} (max)"
