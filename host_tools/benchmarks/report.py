"""All that is measured of the device's cryptography, as one JSON object, and what it is compared with."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from host_tools.benchmarks import unix
from host_tools.benchmarks.chips import MESSAGE_BYTES, OPERATIONS, Chip
from host_tools.emulation.device_crypto import BACKENDS

# Measured once by us on the same core with Monocypher, gcc -O2; where results varied, the lowest.
C_REFERENCE = {"field_multiply": 1_071, "sha512_block": 16_000, "sign": 1_060_000, "verify": 3_070_000}
C_SOURCE = "Monocypher, gcc -O2, RISC-V"

# Estimates, fitted to what MicroPython's unix port needs on x86-64 (docs/benchmarks.md): a bytecode with the look-ups,
# slices and allocations that it sets off, and what a call needs besides.
INSTRUCTIONS_PER_BYTECODE = 108
INSTRUCTIONS_PER_CALL = 250

_GLUE_BACKEND = "rv32"  # where it is counted does not matter; this emulator is the quickest
_COMPARABLE = ("rv32", "viper")  # instructions of the same kind as those of C_REFERENCE


def measure(progress: Callable[[int, int], None]) -> dict[str, Any]:
    """One object for each of BACKENDS, "glue", "c" and "unix". Raises `WrongResult`, `UnixError` and what those raise.

    `progress` is told how many parts of how many are done.
    """
    facts: dict[str, Any] = {"message_bytes": list(MESSAGE_BYTES)}
    glue: dict[str, Any] = {}
    for done, name in enumerate(BACKENDS):
        progress(done, len(BACKENDS) + 1)
        chip = Chip(name)
        if name == _GLUE_BACKEND:
            glue = {operation: asdict(counted) for operation, counted in chip.glue(MESSAGE_BYTES[-1]).items()}
        facts[name] = _with_worst(asdict(chip.cost()))
    progress(len(BACKENDS), len(BACKENDS) + 1)
    converted = {f"{operation}_glue": _instructions(counted) for operation, counted in glue.items()}
    for name in BACKENDS:
        facts[name] |= converted
        facts[name]["ratio_to_c"] = _ratios(facts[name]) if name in _COMPARABLE else None
    facts["glue"] = glue | {
        "instructions_per_bytecode": INSTRUCTIONS_PER_BYTECODE,
        "instructions_per_call": INSTRUCTIONS_PER_CALL,
    }
    facts["c"] = C_REFERENCE | {"source": C_SOURCE}
    facts["unix"] = unix.measure()
    return facts


def _with_worst(cost: dict[str, Any]) -> dict[str, Any]:
    """Each operation with its dearest message."""
    counted = cost["by_message_bytes"].values()
    return cost | {operation: max(counts[operation] for counts in counted) for operation in OPERATIONS}


def _instructions(counted: dict[str, int]) -> int:
    return counted["bytecodes"] * INSTRUCTIONS_PER_BYTECODE + counted["calls"] * INSTRUCTIONS_PER_CALL


def _ratios(cost: dict[str, Any]) -> dict[str, float]:
    """Glue included."""
    return {name: round((cost[name] + cost.get(f"{name}_glue", 0)) / c, 3) for name, c in C_REFERENCE.items()}
