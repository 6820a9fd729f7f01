"""The address space native code for RISC-V sees: its own code, the firmware's objects, its arguments and a stack.

Owns where everything stands and what may be touched. It must not know what the code does with it, nor count.

Every region stands alone, with nothing mapped around it; what does not fill its region is watched (`_watch`), so that
one byte read or written outside a buffer is an `EmulationError`. Bytes and the firmware's objects are read only. The
same lengths of arguments always give the same addresses.

Source: MicroPython's `py/objfun.h` (`mp_obj_fun_bc_t`), `py/bc.h` (`mp_module_context_t`), `py/objstr.h`,
`py/objarray.h`; object representation A (`py/mpconfig.h`).
"""

import struct
from typing import Any

import unicorn
from unicorn.unicorn_py3.unicorn import Uc

from host_tools.machine_code import mpy

_PAGE = 0x1000
_CODE = 0x1000_0000
RUNTIME = 0x1800_0000  # entry i of the function table points to the instruction at RUNTIME + 4 * i: a return
RETURN = RUNTIME + _PAGE - 16  # where a call returns to
_OBJECTS = 0x2000_0000
_OBJECTS_END = _OBJECTS + 4 * _PAGE  # of the firmware's objects; the array of arguments stands at their very end
_BYTES = 0x3000_0000  # what bytes point to: a region for each argument
_BYTEARRAYS = 0x4000_0000  # the same for bytearrays
_REGION = 0x2_0000
_STACK_SIZE = 2 * _PAGE
STACK_TOP = 0x5000_0000  # the caller's stack pointer: nothing at or above it is the function's business
NONE, _FALSE, _TRUE = 0x6000_0000, 0x6000_0010, 0x6000_0020  # never mapped: can only be handed on, ...
_INTEGERS = 0x7000_0000  # ... and so are integers that do not fit a small one, ...
_UNKNOWN = 0x7F00_0000  # ... and whatever else has an address, but no contents here

_ARGUMENTS_MAX = 8
_DATA = 48  # where a buffer begins in its region: aligned to 16 as the heap does it, and to no more
_TABLE_ENTRIES = 128  # of the function table; MicroPython 1.28 has fewer than 100
_RETURN_INSTRUCTION = bytes.fromhex("82800000")  # c.jr ra

# Where the firmware's objects stand.
FUNCTION_OBJECT = _OBJECTS
_CONTEXT = _OBJECTS + 0x40
_FUNCTION_TABLE = _OBJECTS + 0x100
_ARGUMENT_OBJECTS = _FUNCTION_TABLE + 4 * _TABLE_ENTRIES
_OBJECT_TABLE = _ARGUMENT_OBJECTS + 16 * _ARGUMENTS_MAX

_SMALL = range(-(1 << 30), 1 << 30)  # integers that are in their object's address


class EmulationError(Exception):
    """The function did what it must not, or something that is not emulated."""


class Memory:
    """What is mapped into `uc`. `code` is the machine code of all functions, `entries` where each of them begins."""

    def __init__(self, uc: Uc, data: bytes) -> None:
        """`data`: a `.mpy` for rv32imc, assembler functions converted or not. Raises MpyError, EmulationError."""
        module = mpy.read_module(data)
        if module.architecture != mpy.RV32IMC:
            raise EmulationError(f"made for architecture {module.architecture}, not for rv32imc")
        self._uc = uc
        self._integers: list[int] = []
        self._buffers: dict[int, tuple[int, bytes | bytearray]] = {}  # object -> its data's address, its data
        self._watched: list[tuple[int, int, int, int]] = []
        self._hooks: list[int] = []
        self.entries: dict[str, int] = {}
        code = bytearray()
        for function in mpy.native_functions(data).values():
            self.entries[function.name] = _CODE + len(code)
            code += function.code + bytes(-len(function.code) % 16)
        self._code = bytes(code)
        self._objects_end = _OBJECT_TABLE + 4 * len(module.objects)
        self._map()
        self._write_firmware(module.objects)

    def _map(self) -> None:
        code_size = -(-len(self._code) // _PAGE) * _PAGE
        executable = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        writable = unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE
        self._uc.mem_map(_CODE, max(code_size, _PAGE), executable)
        self._uc.mem_map(RUNTIME, _PAGE, unicorn.UC_PROT_EXEC)
        self._uc.mem_map(_OBJECTS, _OBJECTS_END - _OBJECTS, unicorn.UC_PROT_READ)
        self._uc.mem_map(STACK_TOP - _STACK_SIZE, _STACK_SIZE, writable)
        for number in range(_ARGUMENTS_MAX):
            self._uc.mem_map(_BYTES + 2 * _REGION * number, _REGION, unicorn.UC_PROT_READ)
            self._uc.mem_map(_BYTEARRAYS + 2 * _REGION * number, _REGION, writable)

    def _write_firmware(self, objects: list[int]) -> None:
        """Code, and what viper code reads: function object -> context -> table of objects -> function table."""
        self._uc.mem_write(_CODE, self._code)
        self._uc.mem_write(RUNTIME, _RETURN_INSTRUCTION * _TABLE_ENTRIES)
        self._write_words(FUNCTION_OBJECT, _UNKNOWN, _CONTEXT, _UNKNOWN, _UNKNOWN)  # type, context, children, code
        self._write_words(_CONTEXT, _UNKNOWN, _UNKNOWN, _UNKNOWN, _OBJECT_TABLE)  # type, globals, strings, objects
        functions = [RUNTIME + 4 * entry for entry in range(_TABLE_ENTRIES)]
        self._write_words(_FUNCTION_TABLE, NONE, _FALSE, _TRUE, *functions[3:])
        self._write_words(
            _OBJECT_TABLE, *(_FUNCTION_TABLE if kind == mpy.FUNCTION_TABLE else _UNKNOWN for kind in objects)
        )

    def _write_words(self, address: int, *words: int) -> None:
        self._uc.mem_write(address, struct.pack(f"<{len(words)}I", *words))

    def block(self, address: int, size: int) -> bytes:
        """Instructions of the module's code."""
        return self._code[address - _CODE : address - _CODE + size]

    def place(self, arguments: tuple[bytes | bytearray | int, ...]) -> int:
        """Empties the stack and writes the arguments. Gives the address of the array of their objects.

        An object that is passed twice is one object in memory, too. Raises ValueError, TypeError.
        """
        if len(arguments) > _ARGUMENTS_MAX:
            raise ValueError(f"{len(arguments)} arguments, {_ARGUMENTS_MAX} at most")
        self._integers.clear()
        self._buffers.clear()
        self._uc.mem_write(STACK_TOP - _STACK_SIZE, bytes(_STACK_SIZE))
        objects: dict[int, int] = {}
        for number, argument in enumerate(arguments):
            if id(argument) not in objects:
                objects[id(argument)] = self._place_one(number, argument)
        array = _OBJECTS_END - 4 * len(arguments)
        self._watch(array)
        self._write_words(array, *(objects[id(argument)] for argument in arguments))
        return array

    def _place_one(self, number: int, argument: bytes | bytearray | int) -> int:
        if type(argument) is int:
            return self.integer_object(argument)
        if not isinstance(argument, bytes | bytearray):
            raise TypeError(f"argument {number} is {type(argument).__name__}, not bytes, bytearray or int")
        if len(argument) > _REGION - _DATA:
            raise ValueError(f"argument {number} has {len(argument)} bytes, {_REGION - _DATA} at most")
        kind = _BYTEARRAYS if isinstance(argument, bytearray) else _BYTES
        address = kind + 2 * _REGION * number + _DATA
        self._uc.mem_write(address, bytes(argument))
        placed = _ARGUMENT_OBJECTS + 16 * number
        self._write_words(placed, _UNKNOWN, _UNKNOWN, len(argument), address)
        self._buffers[placed] = (address, argument)
        return placed

    def _watch(self, array: int) -> None:
        """Watches what may not be touched though it is mapped: what no buffer and no object of the firmware fills.

        There is always something to watch: the emulator asks for hooks only in code it translated while there were any.
        """
        watched = [(self._objects_end, array - 1, _OBJECTS, self._objects_end)]
        for start, buffer in self._buffers.values():
            region, end = start - _DATA, start + len(buffer)
            watched.append((region, start - 1, start, end))
            watched.append((max(start, end - 3), region + _REGION - 1, start, end))
        if watched != self._watched:
            for hook in self._hooks:
                self._uc.hook_del(hook)
            self._hooks = [self._forbid(*place) for place in watched]
            self._watched = watched

    def _forbid(self, first: int, last: int, start: int, end: int) -> int:
        """Refuses what begins at `first` to `last` and is not wholly from `start` to before `end`. Gives the hook."""

        def check(_uc: Uc, _kind: int, at: int, size: int, _value: int, _data: Any) -> None:
            if at < start or at + size > end:
                raise EmulationError(f"access of {size} bytes at 0x{at:x}, not wholly in 0x{start:x} to 0x{end - 1:x}")

        return self._uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, check, begin=first, end=last)

    def take_back(self) -> None:
        """Copies what became of bytearrays to the caller's."""
        for address, buffer in self._buffers.values():
            if isinstance(buffer, bytearray):
                buffer[:] = self._uc.mem_read(address, len(buffer))

    def stack(self) -> bytes:
        return bytes(self._uc.mem_read(STACK_TOP - _STACK_SIZE, _STACK_SIZE))

    def integer_object(self, value: int) -> int:
        if value in _SMALL:
            return (value << 1 | 1) & 0xFFFFFFFF
        self._integers.append(value)
        return _INTEGERS + 16 * (len(self._integers) - 1)

    def integer(self, placed: int) -> int:
        """Value of an integer object."""
        if placed & 1:
            return (placed >> 1) - (placed >> 31 << 31)
        number = (placed - _INTEGERS) // 16
        if not 0 <= number < len(self._integers):
            raise EmulationError(f"0x{placed:x} is not an integer object")
        return self._integers[number]

    def pointer(self, placed: int) -> int:
        """What viper makes of an argument that is declared a pointer: the address of its data."""
        if placed not in self._buffers:
            raise EmulationError(f"0x{placed:x} is not an object with a buffer")
        return self._buffers[placed][0]

    def describe(self, address: int) -> str:
        """An address of the code as function and offset, as a listing has it."""
        begun = [(entry, name) for name, entry in self.entries.items() if entry <= address < _CODE + len(self._code)]
        if not begun:
            return f"0x{address:x}"
        entry, name = max(begun)
        return f"{name} + 0x{address - entry:x}"
