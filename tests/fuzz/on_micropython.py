"""The same targets on the real MicroPython: the host makes the inputs, a MicroPython process runs the compiled modules.

python -m tests.fuzz.on_micropython --inputs 2000 --seed 7
python -m tests.fuzz.on_micropython --target picc --input 0002e080  one input again
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests import micropython
from tests.fuzz.corpus import Spoiler
from tests.fuzz.targets import ON_DEVICE

HEAP = "8M"  # MicroPython compiles the targets themselves from source, and holds a whole batch
BATCH = 200
SLOW = ("card", "blank_card", "sale_responses", "payment_responses")  # they sign and verify: a tenth of the inputs

# Prints the number of the input it is at when a target lets something through; a crash of the process shows it too.
SCRIPT = """
import sys
from binascii import unhexlify
from tests.fuzz.targets import TARGETS
target = TARGETS[sys.argv[1]]
at = 0
with open(sys.argv[2]) as file:
    for line in file:
        try:
            target(unhexlify(line.strip()))
        except Exception as error:  # whatever a target raises is what we look for
            print("broken %d %s: %s" % (at, type(error).__name__, error))
            sys.print_exception(error)
            break
        at += 1
    else:
        print("done %d" % at)
"""


def device_folder(root: Path) -> Path:
    """What MicroPython imports as `tests`: the targets and the devices they talk to."""
    targets = [f"fuzz/targets/{path.name}" for path in (micropython.ROOT / "tests/fuzz/targets").glob("*.py")]
    for name in (*targets, "unit/world.py"):
        copy = root / "tests" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(micropython.ROOT / "tests" / name, copy)
    return root


def run_batch(target: str, inputs: list[bytes], folder: Path, timeout_s: float = 100) -> tuple[str, str] | None:
    """Returns the input in hex that broke a promise and what was said of it, or None."""
    batch = folder / "inputs"
    batch.write_text("".join(f"{data.hex()}\n" for data in inputs))
    arguments = (target, str(batch))
    said = micropython.run(
        SCRIPT, arguments=arguments, extra_path=[folder], cwd=folder, heap_size=HEAP, timeout_s=timeout_s
    ).splitlines()
    if said[-1:] == [f"done {len(inputs)}"]:
        return None
    at = next((line for line in said if line.startswith("broken ")), "broken 0 without a word")
    return inputs[int(at.split()[1])].hex(), "\n".join(said)


def run(inputs: int, seed: int, targets: tuple[str, ...] = tuple(ON_DEVICE)) -> dict:
    """So many inputs for each target, a tenth for slow ones."""
    begun = time.monotonic()
    done = 0
    found: list[dict] = []
    with tempfile.TemporaryDirectory() as root:
        folder = device_folder(Path(root))
        for name in targets:
            spoiler = Spoiler(name, f"micropython {seed}")
            left = max(1, inputs // 10 if name in SLOW else inputs)
            while left:
                batch = [spoiler.next() for _ in range(min(left, BATCH))]
                left -= len(batch)
                done += len(batch)
                broken = run_batch(name, batch, folder)
                if broken is not None:
                    found.append({"target": name, "input": broken[0], "what": broken[1]})
                    print(f"Broken on MicroPython: {broken[1]}", file=sys.stderr)
                    replay = f"--target {name} --input {broken[0]}"
                    print(f"Replay: python -m tests.fuzz.on_micropython {replay}", file=sys.stderr)
                    break
    return {
        "fuzz_inputs": done,
        "violations": len(found),
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
        "found": found,
    }


def replay(target: str, data: bytes) -> str:
    """What is said of one input, "" if it breaks no promise."""
    with tempfile.TemporaryDirectory() as root:
        broken = run_batch(target, [data], device_folder(Path(root)))
    return broken[1] if broken else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.on_micropython")
    parser.add_argument("--inputs", type=int, default=1_000, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=list(ON_DEVICE), help="this one only, with --input")
    parser.add_argument("--input", type=bytes.fromhex, default=b"", help="hex")
    arguments = parser.parse_args()
    if arguments.target:
        said = replay(arguments.target, arguments.input)
        if said:
            print(said)
        return 1 if said else 0
    result = run(arguments.inputs, arguments.seed)
    print(json.dumps(result))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
