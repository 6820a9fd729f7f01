"""The device's Ed25519 with the native code of one backend, emulated: what a chip would compute, and in how many
instructions.

The byte programs, tables and decisions are those of `firmware/crypto/`, imported here; every function that is native on
the chip runs from its compiled `.mpy` in an emulator. Only what is bytecode on the chip is done by this Python; it is
counted apart (`glue`).
"""

import __future__

import ast
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_tools.emulation.rv32 import Rv32
from host_tools.emulation.xtensa import Xtensa
from host_tools.images.boards import PROJECT
from host_tools.images.compile import compile_module
from host_tools.machine_code.modules import generated_source

_CRYPTO = PROJECT / "firmware" / "crypto"


@dataclass(frozen=True)
class Backend:
    """Modules by what they do; each is compiled for `architecture`."""

    architecture: str
    field: str
    sha512: str


# The same viper source on every chip.
_SCALAR = "crypto/scalar_viper.py"
_SCHEDULE = "crypto/schedule_viper.py"

# RISC-V (ESP32-C3, C6), Xtensa (ESP32, S2, S3), and the portable code, on RISC-V to be comparable.
BACKENDS = {
    "rv32": Backend("rv32imc", "crypto/field_rv32.py", "crypto/sha512_rv32.py"),
    "xtensa": Backend("xtensawin", "crypto/field_xtensa.py", "crypto/sha512_xtensa.py"),
    "viper": Backend("rv32imc", "crypto/field_viper.py", "crypto/sha512_viper.py"),
}


@dataclass(frozen=True)
class Glue:
    """What the interpreter does around the native code: bytecodes, and calls of functions (native ones included)."""

    bytecodes: int
    calls: int


class DeviceCrypto:
    """`ed25519`, `sha512` and `curve` are the firmware's modules, bound to the emulated code of one backend."""

    def __init__(self, backend: Backend) -> None:
        self.field = _emulator(backend.field, backend.architecture)
        self.hash = _emulator(backend.sha512, backend.architecture)
        self.scalar = _emulator(_SCALAR, backend.architecture)
        self.schedule = _emulator(_SCHEDULE, backend.architecture)
        self._traces: list[bytes] | None = None
        names = _constants(backend.field, backend.architecture) | _constants(backend.sha512, backend.architecture)
        names["run"] = self._function(self.field, "run")
        names["hash_blocks"] = self._function(self.hash, "hash_blocks")
        names["new_slots"] = lambda count: bytearray(names["SLOT"] * count)
        self.backend = names
        with _firmware(lambda function: self._function(self._emulator_of(function), function.__name__)):
            names |= _scalars(_SCALAR, backend.architecture) | _scalars(_SCHEDULE, backend.architecture)
            sys.modules["crypto.backend"] = _module("crypto.backend", names)
            self.ed25519 = importlib.import_module("crypto.ed25519")
            self.sha512 = importlib.import_module("crypto.sha512")
            self.curve = importlib.import_module("crypto.curve")

    @property
    def instructions(self) -> int:
        """Executed since construction."""
        return sum(each.instructions for each in (self.field, self.hash, self.scalar, self.schedule))

    def count(self, action: Callable[..., Any], *arguments: Any) -> int:
        """Native instructions of one call."""
        before = self.instructions
        action(*arguments)
        return self.instructions - before

    def trace(self, action: Callable[..., Any], *arguments: Any) -> list[bytes]:
        """A digest for each native call: of all addresses, of instructions and of memory, in order."""
        self._traces = []
        try:
            action(*arguments)
            return self._traces
        finally:
            self._traces = None

    def glue(self, action: Callable[..., Any], *arguments: Any) -> Glue:
        """What `action` takes besides. CPython's bytecode stands for MicroPython's, which is much the same machine."""
        bytecodes = calls = 0

        def trace(frame: types.FrameType, event: str, _argument: Any) -> Any:
            nonlocal bytecodes, calls
            if Path(frame.f_code.co_filename).parent != _CRYPTO:
                calls += event == "call" and Path(frame.f_code.co_filename) == Path(__file__)
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            bytecodes += event == "opcode"
            calls += event == "call"
            return trace

        previous = sys.gettrace()
        sys.settrace(trace)
        try:
            action(*arguments)
        finally:
            sys.settrace(previous)
        return Glue(bytecodes, calls)

    def _emulator_of(self, function: Callable) -> Rv32 | Xtensa:
        """The one with the module where a function of viper stands."""
        return self.schedule if function.__code__.co_filename.endswith(_SCHEDULE) else self.scalar

    def _function(self, emulator: Rv32 | Xtensa, name: str) -> Callable[..., int | None]:
        def call(*arguments: bytes | bytearray | int) -> int | None:
            if self._traces is not None:
                copies = [bytearray(value) if isinstance(value, bytearray) else value for value in arguments]
                self._traces.append(name.encode() + emulator.trace(name, *copies))
            return emulator.call(name, *arguments)

        return call


def _source(name: str, architecture: str) -> str:
    path = PROJECT / "firmware" / name
    return path.read_text() if path.exists() else generated_source(name, architecture)


def _emulator(name: str, architecture: str) -> Rv32 | Xtensa:
    compiled = compile_module(_source(name, architecture), name, architecture)
    return Xtensa(compiled) if architecture == "xtensawin" else Rv32(compiled)


def _constants(name: str, architecture: str) -> dict[str, Any]:
    """Public names with a literal value."""
    found = {}
    for node in ast.parse(_source(name, architecture)).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=constant)], value=value) if constant.isupper() and constant[0] != "_":
                found[constant] = ast.literal_eval(value)
    return found


def _scalars(name: str, architecture: str) -> dict[str, Any]:
    """The names of a module; viper's types, which it names in annotations, are not looked for."""
    names: dict[str, Any] = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(_source(name, architecture), str(PROJECT / "firmware" / name), "exec", flags), names)
    return names


def _module(name: str, names: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(names)
    return module


@contextmanager
def _firmware(viper: Callable[[Callable], Callable]) -> Iterator[None]:
    """`crypto` can be imported in here: copies of the firmware's modules that no other importer sees.

    `viper` gets each function that is native code by its decorator, and gives what is called in its place.
    """
    names = {"const": lambda value: value, "viper": viper}
    mine = {
        "crypto": _module("crypto", {"__path__": [str(_CRYPTO)]}),
        "micropython": _module("micropython", names),
    }
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_firmware(name)}
    sys.modules |= mine
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_firmware(name)]:
            del sys.modules[name]
        sys.modules |= hidden


def _is_firmware(name: str) -> bool:
    return name in ("crypto", "micropython") or name.startswith("crypto.")
