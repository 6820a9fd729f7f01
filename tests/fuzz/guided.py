"""Coverage-guided fuzzing by atheris (libFuzzer), one process for each target.

atheris exists for Linux on x86-64 and some Pythons only; nothing here is needed where it is missing. It instruments
what is imported inside `_worker`, so that process imports the targets there and nowhere earlier.
"""

import importlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.micropython import ROOT

WHAT = re.compile(
    r"^\w*(?:Error|Gone|Refused|PowerCut|Corrupt|Full|Uncertain|NotProven)\b.*$", re.MULTILINE
)  # how Python names what was raised
WATCHED = ["protocol", "drivers", "storage", "host_tools"]
LONGEST = 4_096


def run(target: str, inputs: int, seed: int) -> tuple[int, list[tuple[str, str]]]:
    """Returns how many inputs ran, and (input in hex, what it broke) of the one that broke a promise, if one did."""
    from tests.fuzz.corpus import corpus

    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "corpus"
        seeds.mkdir()
        for number, data in enumerate(dict.fromkeys(corpus(target))):
            (seeds / str(number)).write_bytes(data)
        options = [f"-runs={inputs}", f"-seed={seed or 1}", f"-max_len={LONGEST}", "-verbosity=1"]
        options.append(f"-artifact_prefix={folder}/")
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", target, *options, str(seeds)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
        broken = [path for path in Path(folder).iterdir() if path.name.startswith(("crash-", "oom-", "timeout-"))]
        if broken:
            what = WHAT.search(done.stdout + done.stderr)
            return inputs, [(broken[0].read_bytes().hex(), what.group() if what else broken[0].name)]
        ran = re.search(r"Done (\d+) runs?", done.stderr)
        if done.returncode or ran is None:
            raise RuntimeError(f"atheris ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return int(ran.group(1)), []


def _worker(target: str, options: list[str]) -> None:
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=WATCHED):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    _worker(sys.argv[1], sys.argv[2:])
