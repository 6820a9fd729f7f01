"""The tests of `protocol` that are written in plain style, run once more on the real MicroPython with the firmware's
own Ed25519.
"""

import shutil
from pathlib import Path

import pytest

from tests import micropython

HERE = Path(__file__).parent
PLAIN = ["layout", "objects", "records", "purse", "payer", "payee", "tap", "tap_older", "tap_cards"]
PLAIN += ["revocations", "spread", "trust", "limits", "states"]
SHARED = ["world", "taps"]
TEST_HEAP = "8M"  # MicroPython compiles the tests themselves from source; the device's own heap is measured elsewhere

RUNNER = """
import {module} as tests
for name in dir(tests):
    if name.startswith("test_"):
        try:
            getattr(tests, name)()
        except Exception:
            print("in", name)
            raise
        print(name)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What MicroPython imports as `tests.unit`, without pytest's own files."""
    root = tmp_path_factory.mktemp("plain")
    target = root / "tests" / "unit"
    target.mkdir(parents=True)
    for name in [*SHARED, *(f"test_{name}" for name in PLAIN)]:
        shutil.copy(HERE / f"{name}.py", target)
    return root


@pytest.mark.parametrize("name", PLAIN)
def test_plain_tests_pass_on_micropython(name, folder):
    script = RUNNER.format(module=f"tests.unit.test_{name}")
    output = micropython.run(script, extra_path=[folder], heap_size=TEST_HEAP, timeout_s=110)
    source = (HERE / f"test_{name}.py").read_text()
    expected = {line.split("(")[0][4:] for line in source.splitlines() if line.startswith("def test_")}
    assert set(output.split()) == expected
