"""What every test may use. Fixtures that only one folder needs stand in that folder."""

import signal
import sys
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts a job in the background so; the tests of Ctrl-C would wait for nothing
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def micropython() -> str:
    """The real MicroPython (unix port) that the test environment installed beside this Python."""
    found = Path(sys.executable).with_name("micropython")
    if not found.exists():
        pytest.fail(f"{found} is missing: the tests run firmware on the real MicroPython; `make test` installs it")
    return str(found)
