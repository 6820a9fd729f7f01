"""The most memory that processes ever had, as their kernel has kept it."""

import re
import resource
import sys
from pathlib import Path

_UNIT_BYTES = 1 if sys.platform == "darwin" else 1_024  # of ru_maxrss


def peak_bytes(pid: int) -> int | None:
    """Of a process and all that descend from it, each at its own peak; None where there is no /proc.

    Pages that several of them share are counted in each, so it is never less than what they took together.
    """
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    children = Path(f"/proc/{pid}/task").glob("*/children")
    below = [peak_bytes(int(child)) or 0 for listed in children for child in listed.read_text().split()]
    return (int(found[1]) * 1_024 if found else 0) + sum(below)


def own_peak_bytes(processes: int) -> int:
    """Of this process, and of `processes` children that have ended, where there is no /proc."""
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + processes * child) * _UNIT_BYTES
