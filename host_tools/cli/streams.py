"""Standard output and error as they may be: closed, full, unable to write every letter, or read by nobody."""

import io
import os
import sys
from typing import TextIO


def prepare() -> None:
    """Make both usable before anything is done, so that no letter of a name can stop a command in its middle."""
    if sys.stdout is None:  # closed when we were started; a stand-in that cannot be written says so when it is used
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def finish() -> None:
    """Write what is still buffered. Call it before the process ends: Python's own attempt changes the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            discard(stream)


def discard(stream: TextIO | None = None) -> None:
    """Drop what could not be written to `stream` (standard output), and all that follows."""
    try:
        descriptor = (stream or sys.stdout).fileno()
    except (OSError, ValueError):  # in memory, or closed: nothing is left to fail
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, descriptor)
    os.close(sink)
