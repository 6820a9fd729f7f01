"""Starts the MicroPython processes of the torture: the `.mpy` that a board gets, beside it this folder's `stage`."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from host_tools.images.compile import shared_build
from host_tools.simulator.device import micropython

STAGE = Path(__file__).resolve().parent / "stage"
BOARDS = ("sim-wallet", "sim-terminal")
# The stage holds two devices, their flash and all they ever said. `run_memory` is the one that must be short of it.
HEAP = "64M"


class StageError(Exception):
    """A stage failed by itself; the message is what it printed."""


def start(script: str, arguments: Sequence[str], board: str, heap: str = HEAP) -> subprocess.Popen[str]:
    """A stage's process; the caller reads it to its end (`finish`) or kills it."""
    path = ":".join([str(STAGE), str(shared_build(board)), ".frozen"])
    return subprocess.Popen(
        [micropython(), "-X", f"heapsize={heap}", str(STAGE / script), *arguments],
        env={**os.environ, "MICROPYPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The violations that a stage printed, and its last line. Raises `StageError`."""
    output, _ = process.communicate()
    lines = output.splitlines()
    try:
        answers = [json.loads(line) for line in lines]
    except ValueError:
        raise StageError(output[-4000:]) from None
    if process.returncode or not answers:
        raise StageError(output[-4000:] or f"exit {process.returncode}")
    return [answer for answer in answers[:-1] if "violation" in answer], answers[-1]


def run(script: str, *arguments: str, board: str = BOARDS[0], heap: str = HEAP):
    """`start` and `finish`."""
    return finish(start(script, arguments, board, heap))


def part_of(text: str) -> tuple[int, int]:
    """`I/N`: part I, from 0, of N."""
    part, _, parts = text.partition("/")
    if not 0 <= int(part) < int(parts):
        raise ValueError(text)
    return int(part), int(parts)


def tell(*words: object, sep: str = " ") -> None:
    print(*words, sep=sep, file=sys.stderr, flush=True)
