"""`jiaozi bench`: what the device's cryptography costs, and how long a tap takes."""

import importlib.util
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table

from host_tools.cli import output
from host_tools.cli.exits import BadInput, CheckFailed
from host_tools.simulator.device import SimulatorError

bench = typer.Typer(no_args_is_help=True, help="Measure what devices need for their work.")

# Key in the JSON object -> how a person calls it.
ROWS = {
    "field_multiply": "field multiply",
    "field_square": "field square",
    "field_square_chained": "  each further one of a row",
    "sha512_block": "SHA-512 block",
    "sign": "sign",
    "sign_glue": "  interpreter, estimated",
    "verify": "verify",
    "verify_glue": "  interpreter, estimated",
    "verify_known_key": "verify, prepared key",
    "verify_known_key_glue": "  interpreter, estimated",
    "code_bytes": "code, bytes of .mpy",
    "ram_bytes": "RAM, bytes of buffers",
}
COLUMNS = ("rv32", "xtensa", "viper", "c")


@bench.command()
def crypto(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Count what Ed25519 costs on each kind of chip, instruction by instruction, and time it on this computer.

    docs/benchmarks.md says what is counted, what is estimated, and with what it is compared.
    """
    _check_tools()
    from host_tools.benchmarks import report
    from host_tools.benchmarks.chips import WrongResult
    from host_tools.benchmarks.unix import UnixError

    try:
        with output.progress("Counting instructions") as progress:
            facts = report.measure(progress)
    except (WrongResult, UnixError, SimulatorError) as error:
        raise CheckFailed(str(error)) from error
    output.tell(as_json, facts, *parts(facts))


@bench.command()
def tap(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """How long a sale takes from the card in the field to "paid", modelled from everything that is exchanged.

    docs/benchmarks.md says what is counted, what is estimated, and what is not in it.
    """
    _check_tools()
    from host_tools.benchmarks import tap as model
    from host_tools.benchmarks.bench_device import BenchError

    try:
        facts = model.measure()
    except (BenchError, SimulatorError) as error:
        raise CheckFailed(str(error)) from error
    output.tell(as_json, facts, *_tap_parts(facts))


def _check_tools() -> None:
    """The emulator is a test tool, which the run-time part does without."""
    if importlib.util.find_spec("unicorn") is None:
        raise BadInput("Counting instructions needs the test tools. Install them with: make test-setup")


def _tap_parts(facts: dict[str, Any]) -> list[RenderableType]:
    rows = [(row["part"], f"{row['ms']:.1f}", row["source"]) for row in facts["parts"]]
    meanwhile = ", ".join(f"{row['part']} {row['ms']:.1f}" for row in facts["meanwhile"])
    moved = ", ".join(f"{name} {numbers['programs']}" for name, numbers in facts["journal"].items())
    return [
        output.heading(f"{facts['card']} pays {facts['reader']}: {facts['tap_ms']:.0f} ms from the field to paid"),
        output.listing(("critical path", "ms", "source"), rows, numbers=("ms",)),
        f"Meanwhile, in ms: {meanwhile}.",
        f"{len(facts['exchanges'])} exchanges, {facts['air_bytes']} bytes on the air; journal programs: {moved}.",
        f"{facts['ratio_to_reference']:.2f} of what is compared with: {facts['reference']}.",
    ]


def parts(facts: dict[str, Any]) -> list[RenderableType]:
    """The result for a person."""
    lengths = ", ".join(str(length) for length in facts["message_bytes"])
    return [
        output.heading("Instructions"),
        _table(facts),
        f"Counted one by one in native code; of messages of {lengths} bytes the dearest. rv32: RISC-V (ESP32-C3).",
        "xtensa: ESP32. viper: the portable code, compiled for RISC-V. c: what is compared with.",
        output.heading(f"Beside C = 1, the interpreter included ({facts['c']['source']})"),
        _comparison(facts),
        output.heading("This computer"),
        output.fields(_times(facts["unix"])),
    ]


def _table(facts: dict[str, Any]) -> Table:
    rows = []
    for key, text in ROWS.items():
        numbers = [facts[column].get(key) for column in COLUMNS]
        rows.append((text, *(f"{number:,}" if number is not None else "" for number in numbers)))
    return output.listing(("", *COLUMNS), rows, numbers=COLUMNS)


def _comparison(facts: dict[str, Any]) -> Table:
    compared = tuple(column for column in COLUMNS if facts[column].get("ratio_to_c"))
    rows = [
        (ROWS[key], *(f"{facts[column]['ratio_to_c'][key]:.2f}" for column in compared))
        for key in facts[compared[0]]["ratio_to_c"]
    ]
    return output.listing(("", *compared), rows, numbers=compared)


def _times(unix: dict[str, Any]) -> dict[str, str]:
    def against(operation: str, pynacl: str) -> str:
        ours, theirs = unix[f"{operation}_us"], unix[f"pynacl_{pynacl}_us"]
        return f"{ours:,.0f} µs, PyNaCl {theirs:,.0f} µs: {unix[f'{operation}_ratio']} times as long"

    return {
        "backend": f"{unix['backend']}, in MicroPython's unix port",
        "sign": against("sign", "sign"),
        "verify": against("verify", "verify"),
        "verify, prepared key": against("verify_known_key", "verify"),
        "heap": f"{unix['heap_bytes_unix64']:,} bytes, with 64-bit objects, a key and two prepared keys",
    }
