"""The whole torture: power cuts, torn taps, state machines, the model, fuzzing, no memory, a terminal's day and a year.

    python -m tests.torture [--small] [--seed N]

What the parts say goes to standard error. Ends with one JSON line: how much was tried, `violations` and `seconds`; exit
1 on any violation. Each part prints the line that replays what it found.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.torture.stages import tell

AT_ONCE = (os.cpu_count() or 1) + 1  # devices that tap wait for each other, and people take their time to read
FIGURES = ("cut_points", "steps", "model_states", "fuzz_inputs")  # of the last line: what the parts' lines have
HALVES = ("0/2", "1/2")


def parts(small: bool, seed: int) -> list[list[str]]:
    """The longest first. Without `small` every byte of every frame and of what is written to flash is tried."""
    seeded = ["--seed", str(seed)]
    seeds = [["--seed", str(2 * seed + half)] for half in range(len(HALVES))]
    steps = "10000" if small else "500000"
    cuts, frames = ("600", "200") if small else ("0", "0")
    endurance = ["tests.torture.endurance", *(["--small"] if small else []), *seeded]
    return [
        *[["tests.torture.frames", "--points", frames, "--part", half, *seeded] for half in HALVES],
        *[["tests.stateful", "--hypothesis", "--steps", steps, *each] for each in seeds],
        *[[*endurance, "--only", "memory", "--part", half] for half in HALVES],
        *[["tests.torture.cuts", "--points", cuts, "--part", half, "--processes", "1", *seeded] for half in HALVES],
        *[["tests.stateful", "--steps", "5000" if small else "250000", *each] for each in seeds],
        ["tests.fuzz", "--inputs", "20000" if small else "500000", *seeded],
        ["tests.fuzz.on_micropython", "--inputs", "200" if small else "5000", *seeded],
        [*endurance, "--only", "day,year"],
        ["tests.model"],
    ]


def run(part: list[str]) -> dict[str, Any]:
    """One part to its end: its last line. A part that says nothing or fails without a violation counts as one."""
    name = " ".join(part)
    tell(f"> python -m {name}")
    process = subprocess.Popen(
        [sys.executable, "-m", *part], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    try:
        output, _ = process.communicate()
    finally:
        process.kill()
    lines = output.strip().splitlines()
    tell(*[f"{part[0]}: {line}" for line in lines], sep="\n")
    try:
        result = json.loads(lines[-1])
        result.setdefault("violations", result.get("errors"))  # a model has errors
        broken = not isinstance(result["violations"], int) or bool(process.returncode) != bool(result["violations"])
    except (IndexError, ValueError, AttributeError):
        result, broken = {}, True
    if broken:
        tell(f"{name}: ended with exit {process.returncode} and no result to believe")
        result = {**result, "violations": 1}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="Tries to make devices lose money.")
    parser.add_argument("--small", action="store_true", help="a sample of each part: some minutes instead of hours")
    parser.add_argument("--seed", type=int, default=0, help="whatever is left to chance")
    arguments = parser.parse_args()
    started = time.monotonic()
    todo = parts(arguments.small, arguments.seed)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = list(pool.map(run, todo))
    result: dict[str, Any] = {figure: sum(part.get(figure, 0) for part in ended) for figure in FIGURES}
    result["violations"] = sum(part["violations"] for part in ended)
    result["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(result))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
