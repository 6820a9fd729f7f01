"""Reads compiled modules (`.mpy`, version 6) and lets stock firmware run their assembler functions.

Official MicroPython images for the ESP32 and ESP32-C3 have no loader for assembler functions: a file with one is
accepted and then misexecuted. Native and viper functions do load, so the build turns the kind "asm" into "viper". Only
the kind changes: the machine code must follow the native calling convention by itself, which is

    fun(function_object, n_args, n_kw, args: array of mp_obj_t) -> mp_obj_t

This module knows the container, never the instructions in it. Whatever it has not met raises `MpyError`: a file that is
half understood must not be changed.

Source: MicroPython's `py/persistentcode.c` (`load_raw_code`), `py/bc.h` and `py/bc0.h`; the same in 1.26.1 and 1.28 for
what is accepted here. A raw code is: number (length << 3 | has_children << 2 | kind), code, then by kind nothing
(bytecode), offset of the prelude (native), scope flags (viper), or scope flags, number of arguments and type signature
(asm); then, if it has children, their number and themselves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

BYTECODE, NATIVE, VIPER, ASM = range(4)  # kinds of raw code
RV32IMC = 11  # architecture in the header, also `sys.implementation._mpy >> 10 & 0xF`

FUNCTION_TABLE = 0  # object types: the firmware's table of functions for native code, ...
_CONSTANTS = (FUNCTION_TABLE, 1, 2, 3, 4)  # ... with None, False, True and Ellipsis what has no contents,
_STRING, _BYTES, _TUPLE = 5, 6, 10  # what has a zero after its contents, and what contains objects;
_NUMBERS = (7, 8, 9)  # integers, floats and complex numbers stand as text

_VERSION = 6
_ARCHITECTURE_FLAGS = 0x40  # in the header's feature byte; MicroPython before 1.27 takes them for an architecture

# Bytecode: the format of an opcode's argument goes by its upper half (`MP_BC_FORMAT`), everything else has none.
_NUMBER_ARGUMENT = (0x10, 0x20, 0x30)
_OFFSET_ARGUMENT = (0x40,)
_EXTRA_BYTE_MASK = 0x9E  # an opcode without any of these bits has one more byte
_MAKE_FUNCTION = 0x32  # argument: number of the child
_STORE = (0x16, 0x17)  # in the module's or the global names; argument: number of the string


class MpyError(Exception):
    """The file is not a `.mpy` this module understands fully."""


@dataclass(frozen=True)
class RawCode:
    """One function, class body or module body. `signature` is where an assembler function keeps its two numbers."""

    kind: int
    kind_at: int  # offset in the file of the byte whose lowest two bits are the kind
    code: bytes
    signature: slice
    children: list["RawCode"] = field(default_factory=list)


@dataclass(frozen=True)
class Module:
    """A whole file. A string is None if the firmware has it in its fixed table; an object is its type."""

    architecture: int
    strings: list[str | None]
    objects: list[int]
    body: RawCode


@dataclass(frozen=True)
class NativeFunction:
    """Machine code under the name the module stores it by, entered at its first byte."""

    name: str
    kind: int  # NATIVE, VIPER or ASM
    code: bytes


class _Reader:
    """Takes numbers and bytes from the front of `data`; beyond its end is an `MpyError`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    @property
    def at_end(self) -> bool:
        return self.position == len(self._data)

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self._data):
            raise MpyError(f"ends at {len(self._data)}, but {length} bytes are wanted at {self.position}")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """Seven bits a byte, the highest first; all but the last byte have bit 7 set."""
        value = 0
        while True:
            byte = self.byte()
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                return value

    def terminated(self, length: int) -> bytes:
        contents = self.take(length)
        if self.byte() != 0:
            raise MpyError(f"no zero after the string or bytes that end at {self.position - 1}")
        return contents


def read_module(data: bytes) -> Module:
    """The structure of a whole file. Raises MpyError."""
    reader = _Reader(data)
    magic, version, features, _ = reader.take(4)
    if magic != ord("M") or version != _VERSION:
        raise MpyError(f"not a .mpy file of version {_VERSION}")
    if features & _ARCHITECTURE_FLAGS:
        raise MpyError("has architecture flags (-march-flags), which older firmware refuses")
    n_strings = reader.number()
    n_objects = reader.number()
    strings = [_read_string(reader) for _ in range(n_strings)]
    objects = [_read_object(reader) for _ in range(n_objects)]
    body = _read_raw_code(reader)
    if not reader.at_end:
        raise MpyError(f"{len(data) - reader.position} bytes after the end of the module")
    return Module(features >> 2, strings, objects, body)


def _read_string(reader: _Reader) -> str | None:
    length = reader.number()
    if length & 1:
        return None
    try:
        return reader.terminated(length >> 1).decode()
    except UnicodeDecodeError as error:
        raise MpyError(f"a string that ends at {reader.position - 1} is not UTF-8") from error


def _read_object(reader: _Reader) -> int:
    kind = reader.byte()
    if kind in (_STRING, _BYTES):
        reader.terminated(reader.number())
    elif kind in _NUMBERS:
        reader.take(reader.number())
    elif kind == _TUPLE:
        for _ in range(reader.number()):
            _read_object(reader)
    elif kind not in _CONSTANTS:
        raise MpyError(f"unknown type of object {kind} at {reader.position - 1}")
    return kind


def _read_raw_code(reader: _Reader) -> RawCode:
    header = reader.number()
    kind_at = reader.position - 1
    kind = header & 3
    code = reader.take(header >> 3)
    if kind == NATIVE:
        reader.number()  # where its prelude stands in the code
    elif kind in (VIPER, ASM) and reader.number() != 0:
        raise MpyError(f"scope flags of the function that ends at {reader.position}: relocations are not understood")
    signature_at = reader.position
    if kind == ASM:
        reader.number()  # how many arguments
        reader.number()  # their types and the result's
    raw_code = RawCode(kind, kind_at, code, slice(signature_at, reader.position))
    if header & 4:
        if kind == ASM:
            raise MpyError(f"the assembler function that ends at {reader.position} has functions inside")
        raw_code.children.extend(_read_raw_code(reader) for _ in range(reader.number()))
    return raw_code


def to_native_convention(data: bytes) -> bytes:
    """The same file with every assembler function of kind viper; the identical bytes if there is none. Raises MpyError.

    Viper functions have no number of arguments and no type signature: both are left out.
    """
    converted = bytearray(data)
    functions = [raw_code for raw_code in _walk(read_module(data).body) if raw_code.kind == ASM]
    for raw_code in reversed(functions):  # from the back, so that offsets further forward stay right
        converted[raw_code.kind_at] += VIPER - ASM
        del converted[raw_code.signature]
    return bytes(converted)


def _walk(raw_code: RawCode) -> Iterator[RawCode]:
    """A raw code and everything inside it, in the order of the file."""
    yield raw_code
    for child in raw_code.children:
        yield from _walk(child)


def native_functions(data: bytes) -> dict[str, NativeFunction]:
    """All machine code of a module by name. Raises MpyError if a function has no name or two have the same.

    Machine code does not say what it is called: its name is what the surrounding bytecode stores it under.
    """
    module = read_module(data)
    functions: dict[str, NativeFunction] = {}
    for raw_code in _walk(module.body):
        if raw_code.kind != BYTECODE and raw_code.children:
            raise MpyError("functions inside machine code are not understood")
        names = _names_of_children(raw_code.code, module.strings) if raw_code.kind == BYTECODE else {}
        for number, child in enumerate(raw_code.children):
            if child.kind == BYTECODE:
                continue
            name = names.get(number)
            if name is None:
                raise MpyError(
                    "machine code without a name, or with one that the firmware has in its table, such as `copy`"
                )
            if name in functions:
                raise MpyError(f"two functions of machine code are called {name}")
            functions[name] = NativeFunction(name, child.kind, child.code)
    return functions


def _names_of_children(code: bytes, strings: list[str | None]) -> dict[int, str | None]:
    """Number of a child -> name it is stored under as soon as it is made, out of the bytecode around it."""
    reader = _Reader(code)
    _skip_prelude(reader)
    names: dict[int, str | None] = {}
    made: int | None = None
    while not reader.at_end:
        opcode = reader.byte()
        argument = _read_argument(reader, opcode)
        if opcode in _STORE and made is not None:
            if argument >= len(strings):
                raise MpyError(f"bytecode uses string {argument} of {len(strings)}")
            names[made] = strings[argument]
        made = argument if opcode == _MAKE_FUNCTION else None
    return names


def _skip_prelude(reader: _Reader) -> None:
    """`MP_BC_PRELUDE_SIG_DECODE` and `MP_BC_PRELUDE_SIZE_DECODE`: how long the information before the opcodes is."""
    reader.number()  # stack size, flags, numbers of arguments; only its length counts here
    information = cells = shift = 0
    more = True
    while more:
        byte = reader.byte()  # xIIIIIIC
        information |= (byte >> 1 & 0x3F) << 6 * shift
        cells |= (byte & 1) << shift
        shift += 1
        more = bool(byte & 0x80)
    reader.take(information + cells)


def _read_argument(reader: _Reader, opcode: int) -> int:
    argument = 0
    if opcode & 0xF0 in _NUMBER_ARGUMENT:
        argument = reader.number()
    elif opcode & 0xF0 in _OFFSET_ARGUMENT and reader.byte() & 0x80:
        reader.byte()  # where a jump goes does not matter
    if not opcode & _EXTRA_BYTE_MASK:
        reader.byte()
    return argument
