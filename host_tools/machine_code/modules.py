"""Which modules of the device are generated, by what, and for which architecture.

They have no file in `firmware/`: the build writes them (`host_tools.images.compile`), and `firmware/crypto/*.pyi` says
what they offer. The device imports them by the same rule (`firmware/crypto/backend.py`): machine code of their own for
RISC-V and Xtensa, viper for any other architecture, none of them where no native code loads. Viper's portable form is
right everywhere; where integers are 64 bits wide there is one that is a quarter of its size.
"""

from collections.abc import Callable

from host_tools.machine_code import (
    field_rv32,
    field_viper,
    field_xtensa,
    sha512_rv32,
    sha512_viper,
    sha512_xtensa,
)

# Path on the device -> what writes its source.
_ASSEMBLED: dict[str, Callable[[], str]] = {
    "crypto/field_rv32.py": field_rv32.source,
    "crypto/field_xtensa.py": field_xtensa.source,
    "crypto/sha512_rv32.py": sha512_rv32.source,
    "crypto/sha512_xtensa.py": sha512_xtensa.source,
}
_VIPER: dict[str, Callable[[int], str]] = {  # of the bits in an integer
    "crypto/field_viper.py": field_viper.source,
    "crypto/sha512_viper.py": sha512_viper.source,
}

# By mpy-cross's name of an architecture.
_OWN_MODULES = {
    "rv32imc": ("crypto/field_rv32.py", "crypto/sha512_rv32.py"),
    "xtensawin": ("crypto/field_xtensa.py", "crypto/sha512_xtensa.py"),
}
_WIDE = ("x64",)  # architectures whose viper integers have 64 bits


def generated_modules(architecture: str | None) -> tuple[str, ...]:
    """Paths on the device of what boards of `architecture` carry; None: bytecode only."""
    if architecture is None:
        return ()
    return _OWN_MODULES.get(architecture, tuple(_VIPER))


def generated_source(name: str, architecture: str | None) -> str:
    """The text of the module with this path on the device; the same every time."""
    if name in _ASSEMBLED:
        return _ASSEMBLED[name]()
    return _VIPER[name](64 if architecture in _WIDE else 32)
