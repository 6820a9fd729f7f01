"""The firmware's modules in this Python, with `crypto` on one chip's emulated native code: for counting, not to play a
device.

Each call makes a set of its own, so that two devices with two kinds of chip stand beside each other. `protocol` is the
one that everybody imports.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

from host_tools.emulation.device_crypto import DeviceCrypto
from host_tools.images.boards import PROJECT

FIRMWARE = PROJECT / "firmware"
_PACKAGES = ("apps", "crypto", "drivers", "ports", "storage", "ui")


def load(names: tuple[str, ...], crypto: DeviceCrypto) -> dict[str, types.ModuleType]:
    """The modules `names` of `firmware/`, whose `crypto.ed25519` is `crypto`'s."""
    micropython = types.ModuleType("micropython")
    micropython.__dict__["const"] = lambda value: value
    package = types.ModuleType("crypto")
    package.__path__ = [str(FIRMWARE / "crypto")]
    with _hidden():
        sys.modules |= {"micropython": micropython, "crypto": package, "crypto.ed25519": crypto.ed25519}
        sys.path.insert(0, str(FIRMWARE))
        try:
            return {name: importlib.import_module(name) for name in names}
        finally:
            sys.path.remove(str(FIRMWARE))


@contextmanager
def _hidden() -> Iterator[None]:
    """Leaves `sys.modules` as it was: others import their own copies."""
    before = {name: module for name, module in sys.modules.items() if _is_firmware(name)}
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_firmware(name)]:
            del sys.modules[name]
        sys.modules |= before


def _is_firmware(name: str) -> bool:
    return name == "micropython" or name.partition(".")[0] in _PACKAGES
