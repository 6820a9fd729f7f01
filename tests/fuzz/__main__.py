"""Long fuzzing runs.

    python -m tests.fuzz --inputs 1000000 --seed 7       one JSON line; exit 1 with the inputs that break a promise
    python -m tests.fuzz --target picc --input 0002e080  one input again

Guided by coverage (atheris, libFuzzer) where that is installed; else, and always for a part of the inputs, a seeded
generator spoils and joins what the protocol's vectors hold.
"""

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable

from tests.fuzz import guided
from tests.fuzz.corpus import Spoiler
from tests.fuzz.targets import TARGETS

ENOUGH = 5  # violations after which a run ends
SHARES = {"card": 3, "blank_card": 2, "signed_object": 2, "record": 2}  # of inputs, where it is not 1


def spoilt_inputs(name: str, inputs: int, seed: int, target: Callable[[bytes], None]) -> list[tuple[str, str]]:
    """Run the generator's inputs. Returns (input in hex, what it broke) of the first that breaks a promise."""
    spoiler = Spoiler(name, seed)
    for _ in range(inputs):
        data = spoiler.next()
        try:
            target(data)
        except Exception as error:  # noqa: BLE001 - whatever a target raises is what we look for
            return [(data.hex(), f"{type(error).__name__}: {error}")]
    return []


def run(inputs: int, seed: int, with_guide: bool) -> dict:
    begun = time.monotonic()
    shares = {name: SHARES.get(name, 1) for name in TARGETS}
    done: dict[str, int] = {}
    found: list[dict] = []
    for name, share in shares.items():
        if len(found) >= ENOUGH:
            break
        wanted = max(1, inputs * share // sum(shares.values()))
        broken = []
        guided_inputs = wanted * 3 // 4 if with_guide else 0
        if guided_inputs:
            done[name], broken = guided.run(name, guided_inputs, seed)
        rest = wanted - done.get(name, 0)
        broken += spoilt_inputs(name, rest, seed, TARGETS[name])
        done[name] = done.get(name, 0) + rest
        found += [{"target": name, "input": data, "what": what} for data, what in broken]
        for data, what in broken:
            print(f"Broken: {what}\nReplay: python -m tests.fuzz --target {name} --input {data}", file=sys.stderr)
    return {
        "fuzz_inputs": sum(done.values()),
        "violations": len(found),
        "seed": seed,
        "guided": with_guide,
        "seconds": round(time.monotonic() - begun, 1),
        "inputs": done,
        "found": found,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Long fuzzing runs.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unguided", action="store_true", help="without atheris, though it is installed")
    parser.add_argument("--target", choices=list(TARGETS))
    parser.add_argument("--input", help="hex")
    arguments = parser.parse_args()
    if arguments.target:
        TARGETS[arguments.target](bytes.fromhex(arguments.input or ""))
        return 0
    with_guide = not arguments.unguided and importlib.util.find_spec("atheris") is not None
    result = run(arguments.inputs, arguments.seed, with_guide)
    print(json.dumps(result))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
