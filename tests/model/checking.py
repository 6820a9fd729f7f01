"""Runs spin over payment.pml: every state of one size, or one rule taken out, and the trail if something breaks."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MODEL = Path(__file__).with_name("payment.pml")
TOOLS = ("spin", "gcc")
DEPTH = 1_000_000
MEMORY_MB = 2_000
TIMEOUT_S = 300


class Size(NamedTuple):
    """How much may happen: bounds of the model."""

    transfers: int
    requests: int
    issues: int
    several_payers: int = 0

    def options(self) -> list[str]:
        return [f"-D{name.upper()}={value}" for name, value in self._asdict().items()]


SMALL = Size(2, 2, 2, several_payers=1)
SIZES = (SMALL, Size(2, 3, 1), Size(3, 2, 1))  # each exceeds the others in some direction

# What a rule's absence must break; see `#ifdef` in payment.pml
MUTATIONS = (
    "ANSWER_BEFORE_COMMIT",
    "PAYER_TAKES_BACK",
    "PAYER_CLOSES_TWICE",
    "VOID_WITHOUT_CLOSE",
    "CREDIT_CLOSED_REQUEST",
    "NOT_PAID_WITHOUT_CLOSE",
    "CANCEL_DURING_COMMIT",
    "SHOW_BEFORE_COMMIT",
    "NUMBERS_FORGOTTEN",
    "NO_SEAL",
    "STATEMENT_WHILE_OPEN",
    "NO_FLOOR",
    "STALE_INSTALL",
    "WATERMARK_WITHOUT_RECORDS",
    "DEFAULT_TO_PAYER",
)


class Result(NamedTuple):
    """What an exhaustive search found. `trail` is the way to the first violation, one step a line, if there is one."""

    states: int
    errors: int
    violation: str
    trail: tuple[str, ...]
    unreached: int  # statements of the model that no state reached, its unreachable end left out


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def check(size: Size, mutations: Sequence[str] = ()) -> Result:
    """Search every state of the model at this size. Raises `RuntimeError` if spin or the search itself fails."""
    options = size.options() + [f"-D{name}" for name in mutations]
    with tempfile.TemporaryDirectory(prefix="jiaozi-model-") as name:
        folder = Path(name)
        shutil.copy(MODEL, folder)
        _run(["spin", "-a", *options, MODEL.name], folder)
        optimise = "-O0" if mutations else "-O2"  # a violation is found before an optimiser is done
        _run(["gcc", "-w", optimise, "-DSAFETY", "-DNOREDUCE", f"-DMEMLIM={MEMORY_MB}", "-o", "pan", "pan.c"], folder)
        output = _run(["./pan", f"-m{DEPTH}", "-w22"], folder)
        errors = int(_only(r"errors: (\d+)", output))
        if not errors and ("Search not completed" in output or "max search depth" in output):
            raise RuntimeError(f"the search was not complete:\n{output}")
        violation, trail = "", ()
        if errors:
            violation = _only(r"pan:1: (.+?) \(at depth", output)
            replayed = _run(["spin", "-t", *options, MODEL.name], folder)
            trail = tuple(
                line.strip() for line in replayed.splitlines() if re.match(r"\s+(payer|payee|ledger): ", line)
            )
        unreached = _only(r"\((\d+) of \d+ states\)", output) if not errors else "1"
        return Result(int(_only(r"(\d+) states, stored", output)), errors, violation, trail, int(unreached) - 1)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode and command[:2] != ["spin", "-t"]:  # it answers 1 at the end of a trail
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _only(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"no {pattern!r} in what the search printed:\n{text}")
    return found[1]
