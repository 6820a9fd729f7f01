"""A terminal's day, a year in fast motion, and memory that runs out: the stages that cut no power.

    python -m tests.torture.endurance [--small]

Each is one process of MicroPython. Ends with one JSON line; exit 1 on a violation, which is printed with the command
line that shows it again.
"""

import argparse
import json
import sys
import time
from typing import Any

from tests.torture.stages import run, tell

MEBIBYTE = 1 << 20
LARGEST_JOURNAL = 511 * 4096  # bytes, see storage/journal.py
# What a stage runs in. For `run_memory` it is filled up; the others need room for all that a device ever said.
HEAPS = {"run_day.py": "32M", "run_year.py": "32M", "run_memory.py": "6M"}
# stage: its arguments, in full and small
STAGES = {
    "run_day.py": (("3000", str(LARGEST_JOURNAL)), ("60", str(LARGEST_JOURNAL))),
    "run_year.py": (("365", "300", str(MEBIBYTE)), ("40", "300", str(MEBIBYTE))),
    "run_memory.py": (("128", "sale,person,confirm,unknown-operator"), ("8192", "sale,person")),
}


def endure(small: bool = False) -> dict[str, Any]:
    """Runs all three, one after the other."""
    started = time.monotonic()
    result: dict[str, Any] = {}
    violations = 0
    for script, sizes in STAGES.items():
        arguments = sizes[small]
        found, end = run(script, *arguments, heap=HEAPS[script])
        for violation in found:
            tell(f"{violation['what']}\n    python -m tests.torture.endurance  ({violation['violation']})")
        violations += end["violations"]
        result[script.removeprefix("run_").removesuffix(".py")] = end
    return {**result, "violations": violations, "seconds": round(time.monotonic() - started, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.endurance", description="A day, a year, no memory.")
    parser.add_argument("--small", action="store_true", help="what fits a quick test")
    result = endure(parser.parse_args().small)
    print(json.dumps(result))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
