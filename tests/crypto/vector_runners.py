"""Who is tested: every implementation of the firmware's Ed25519 and SHA-512, each behind the same few functions.

    for name in IMPLEMENTATIONS:
        answers = implementation(name).answers([("hash", b"abc")])

An implementation that computes on CPython, an emulated chip for example, is an `InProcess` with its own instances of
the two modules.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol

from host_tools.emulation.device_crypto import BACKENDS, DeviceCrypto
from tests import micropython
from tests.crypto.vector_worker import Worker

Job = tuple[str, *tuple[bytes, ...]]  # an operation of `vector_worker.Worker` and its arguments

_WORKER = Path(__file__).with_name("vector_worker.py")


class Implementation(Protocol):
    affordable: int | None  # about how many operations one test may ask for; None: all it has

    def answers(self, jobs: Sequence[Job]) -> list[bytes]: ...


class InProcess:
    """The firmware's modules on this Python. `affordable` jobs should take a second or two."""

    def __init__(self, ed25519: ModuleType, sha512: ModuleType, affordable: int | None) -> None:
        self.affordable = affordable
        self._worker = Worker(ed25519, sha512)

    def answers(self, jobs: Sequence[Job]) -> list[bytes]:
        return [self._worker.answer(operation, list(arguments)) for operation, *arguments in jobs]


class OnMicroPython:
    """The firmware on the real MicroPython within the device's heap: `backend` native or plain."""

    def __init__(self, backend: str, affordable: int | None) -> None:
        self.affordable = affordable
        self._backend = backend

    def answers(self, jobs: Sequence[Job]) -> list[bytes]:
        with tempfile.NamedTemporaryFile("w", suffix=".jobs") as file:
            for operation, *arguments in jobs:
                file.write(" ".join([operation, *(argument.hex() for argument in arguments)]) + "\n")
            file.flush()
            output = micropython.run(_WORKER, arguments=[file.name, self._backend])
        answers = [bytes.fromhex(line) for line in output.splitlines()]
        assert len(answers) == len(jobs)
        return answers


def _on_cpython() -> Implementation:
    ed25519, sha512 = (micropython.import_on_cpython(f"crypto.{name}") for name in ("ed25519", "sha512"))
    return InProcess(ed25519, sha512, affordable=100)


def _emulated(backend: str, affordable: int) -> Implementation:
    """The machine code of one of the device's backends."""
    device = DeviceCrypto(BACKENDS[backend])
    return InProcess(device.ed25519, device.sha512, affordable)


_MAKERS: dict[str, Callable[[], Implementation]] = {
    "cpython": _on_cpython,
    "micropython": lambda: OnMicroPython("native", affordable=None),
    "micropython-plain": lambda: OnMicroPython("plain", affordable=40),
    "rv32": lambda: _emulated("rv32", affordable=12),
    "xtensa": lambda: _emulated("xtensa", affordable=1),
    "viper": lambda: _emulated("viper", affordable=1),
}

IMPLEMENTATIONS = tuple(_MAKERS)


@cache
def implementation(name: str) -> Implementation:
    """One of IMPLEMENTATIONS; an emulated chip takes a second to start, so it is started once."""
    return _MAKERS[name]()
