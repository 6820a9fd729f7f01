"""What the device's cryptography takes of a chip's memory, in bytes."""

from collections.abc import Iterator
from typing import Any

from host_tools.emulation.device_crypto import Backend, DeviceCrypto
from host_tools.images.boards import PROJECT
from host_tools.images.compile import compile_module
from host_tools.machine_code.modules import generated_source


def code_bytes(backend: Backend) -> int:
    """The `.mpy` files of all of `crypto/` that a board with this backend carries."""
    written = [path for path in (PROJECT / "firmware" / "crypto").glob("*.py") if not path.stem.endswith("_int")]
    sources = {f"crypto/{path.name}": path.read_text() for path in written}
    sources |= {name: generated_source(name, backend.architecture) for name in (backend.field, backend.sha512)}
    return sum(len(compile_module(source, name, backend.architecture)) for name, source in sources.items())


def ram_bytes(crypto: DeviceCrypto, *more: Any) -> int:
    """All `bytes` and `bytearray` that the modules hold for good, and `more` (keys) with them: contents only.

    Objects around them, small integers, code and what one call needs and gives back are not in it.
    """
    found: dict[int, int] = {}
    modules = (vars(crypto.ed25519), vars(crypto.sha512), vars(crypto.curve), crypto.backend)
    for value in (*more, *(value for module in modules for value in module.values())):
        found |= {id(buffer): len(buffer) for buffer in _buffers(value)}
    return sum(found.values())


def _buffers(value: Any) -> Iterator[bytes | bytearray]:
    if isinstance(value, bytes | bytearray):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _buffers(item)
    elif type(value).__module__.startswith("crypto."):  # an instance of one of the device's classes
        for item in vars(value).values():
            yield from _buffers(item)
