"""Runs the native functions of a `.mpy` for RISC-V (rv32imc) on the host, as MicroPython on an ESP32-C3 calls them.

    emulator = Rv32(Path("field_rv32.mpy").read_bytes())
    emulator.call("run", slots, octets, program, 0)  # bytearrays are changed in place
    emulator.instructions  # exactly what the chip would have executed

What makes it a test bench rather than a chip: every call starts from the same registers and an empty stack; an access
outside the arguments, the stack and the firmware's objects fails the call, by a single byte too; so do a register that
belongs to the caller and comes back changed, an instruction that is not RV32IMC, and any use of MicroPython's runtime
but the conversion of arguments and results, which is all that viper without globals and calls needs.

It must not know what it runs. Not emulated: caches, flash, how long an instruction takes.

Source: MicroPython's `py/emitnative.c` and `py/nativeglue.c` (`mp_fun_table`, `mp_native_from_obj`); RISC-V ELF psABI
for the registers a function must save; RISC-V unprivileged ISA, chapter "RV32/64G Instruction Set Listings".
"""

import hashlib
from array import array
from typing import Any

import unicorn
from unicorn import riscv_const as riscv
from unicorn.unicorn_py3.unicorn import Uc, UcError

from host_tools.emulation.rv32_memory import FUNCTION_OBJECT, NONE, RETURN, RUNTIME, STACK_TOP, EmulationError, Memory

_INSTRUCTIONS_MAX = 30_000_000  # of one call: three times what the slowest one here needs, so it will not end

_NATIVE_FROM_OBJECT, _OBJECT_FROM_NATIVE = 3, 4  # entries of the function table
_OBJECT, _INT, _UINT, _POINTERS = 0, 2, 3, (4, 5, 6, 7)  # types for these two (`MP_NATIVE_TYPE_...`)

_X0, _PC = riscv.UC_RISCV_REG_X0, riscv.UC_RISCV_REG_PC
_RA, _SP, _A0, _A1, _A2, _A3 = (_X0 + number for number in (1, 2, 10, 11, 12, 13))
_CALLERS = {"sp": 2, "gp": 3, "tp": 4, "s0": 8, "s1": 9} | {f"s{number}": 16 + number for number in range(2, 12)}

# Load, immediate, auipc, store, register, lui, branch, jalr, jal: no fence, no system instruction, no atomics.
_OPCODES = (0x03, 0x13, 0x17, 0x23, 0x33, 0x37, 0x63, 0x67, 0x6F)

# An event of a trace is an instruction's address, or of a memory access the direction, size and address.
_READ, _WRITE = 1 << 40, 2 << 40
_SIZE_SHIFT = 32


class Rv32:
    """One module, for any number of calls.

    `instructions` and `runtime_calls` count over all calls since construction or `reset`: instructions of the module's
    code, and calls of the runtime, whose own instructions are not counted. A call that fails leaves them undefined.
    """

    def __init__(self, data: bytes) -> None:
        """`data`: a `.mpy` for rv32imc, assembler functions converted or not. Raises MpyError, EmulationError."""
        self._uc = Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        self._memory = Memory(self._uc, data)
        self._blocks: dict[tuple[int, int], int] = {}
        self._limit = 0
        self.reset()
        self._uc.hook_add(unicorn.UC_HOOK_BLOCK, self._enter_block)

    def reset(self) -> None:
        """Counts from zero again."""
        self.instructions = self.runtime_calls = 0

    def call(self, name: str, *arguments: bytes | bytearray | int) -> int | None:
        """Calls a function as MicroPython does; bytearrays are changed in place, also if the call fails.

        Gives the result if it is an integer or None. Raises KeyError for an unknown name, EmulationError.
        """
        entry = self._memory.entries[name]
        registers = {_X0 + number: 0x5EED_0001 * number & 0xFFFFFFFF for number in range(1, 32)}
        registers |= {_RA: RETURN, _SP: STACK_TOP, _A0: FUNCTION_OBJECT, _A1: len(arguments), _A2: 0}
        registers[_A3] = self._memory.place(arguments)
        for register, value in registers.items():
            self._uc.reg_write(register, value)
        self._limit = self.instructions + _INSTRUCTIONS_MAX
        try:
            self._uc.emu_start(entry, RETURN)
        except UcError as error:
            raise EmulationError(f"{name}: {error}, {self._where()}") from error
        finally:
            self._memory.take_back()
        for register, number in _CALLERS.items():
            if self._read(_X0 + number) != registers[_X0 + number]:
                raise EmulationError(f"{name}: {register} belongs to the caller and comes back changed")
        result = self._read(_A0)
        return None if result == NONE else self._memory.integer(result)

    def stack(self) -> bytes:
        """The stack as the last call left it, lowest address first: zero wherever nothing was written."""
        return self._memory.stack()

    def trace(self, name: str, *arguments: bytes | bytearray | int) -> bytes:
        """Calls like `call`; a digest of `events`: the same for the same behaviour, whatever the data were."""
        return hashlib.blake2b(self.events(name, *arguments).tobytes(), digest_size=32).digest()

    def events(self, name: str, *arguments: bytes | bytearray | int) -> "array[int]":
        """Calls like `call`; the address of every instruction and direction, size and address of every memory access.

        They come in order. Arguments of the same lengths get the same addresses. A memory access that is not aligned to
        its size raises EmulationError: what then happens is up to the chip.
        """
        events: array[int] = array("Q")

        def instruction(_uc: Uc, address: int, _size: int, _data: Any) -> None:
            events.append(address)

        def access(_uc: Uc, kind: int, address: int, size: int, _value: int, _data: Any) -> None:
            events.append((_WRITE if kind == unicorn.UC_MEM_WRITE else _READ) | size << _SIZE_SHIFT | address)
            if address % size:
                raise EmulationError(f"{name}: misaligned access of {size} bytes at 0x{address:x}, {self._where()}")

        hooks = [
            self._uc.hook_add(unicorn.UC_HOOK_CODE, instruction),
            self._uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, access),
        ]
        self._uc.ctl_flush_tb()  # what is translated already has no calls of these hooks in it, ...
        try:
            self.call(name, *arguments)
        finally:
            for hook in hooks:
                self._uc.hook_del(hook)
            self._uc.ctl_flush_tb()  # ... and what is translated now has
        return events

    def first_difference(
        self, name: str, one: tuple[bytes | bytearray | int, ...], other: tuple[bytes | bytearray | int, ...]
    ) -> str | None:
        """Calls with one and with the other arguments and says where the traces part; None if they are the same."""
        traces = self.events(name, *one), self.events(name, *other)
        for number, (left, right) in enumerate(zip(*traces, strict=True)):  # none begins the other: returning ends it
            if left != right:
                return f"event {number}: {self._describe(left)} against {self._describe(right)}"
        return None

    def _describe(self, event: int) -> str:
        address = event & 0xFFFFFFFF
        if event == address:
            return f"instruction {self._memory.describe(address)}"
        direction = "write" if event & _WRITE else "read"
        return f"{direction} of {event >> _SIZE_SHIFT & 0xFF} bytes at 0x{address:x}"

    def _where(self) -> str:
        return f"near {self._memory.describe(self._read(_PC))}"

    def _read(self, register: int) -> int:
        value = self._uc.reg_read(register)
        assert isinstance(value, int)
        return value

    def _enter_block(self, _uc: Uc, address: int, size: int, _data: Any) -> None:
        """Counts the instructions of a piece of straight code that is about to be executed, or serves the runtime.

        Pieces end at jumps, but also at pages and where the translator's buffer is full: each piece is announced.
        """
        if address >= RUNTIME:
            self._serve((address - RUNTIME) // 4)
            return
        block = (address, size)
        if block not in self._blocks:
            self._blocks[block] = _count(self._memory.block(address, size))
        self.instructions += self._blocks[block]
        if self.instructions > self._limit:
            raise EmulationError(f"more than {_INSTRUCTIONS_MAX} instructions, {self._where()}")

    def _serve(self, entry: int) -> None:
        """One call of the runtime: the result goes to a0, then the instruction found there returns to the function."""
        value, kind = self._read(_A0), self._read(_A1)
        if entry == _NATIVE_FROM_OBJECT:
            result = self._native_from_object(value, kind)
        elif entry == _OBJECT_FROM_NATIVE:
            result = self._object_from_native(value, kind)
        else:
            raise EmulationError(f"entry {entry} of the function table is not emulated")
        self._uc.reg_write(_A0, result)
        self.runtime_calls += 1

    def _native_from_object(self, placed: int, kind: int) -> int:
        if kind == _OBJECT:
            return placed
        if kind in (_INT, _UINT):
            return self._memory.integer(placed) & 0xFFFFFFFF
        if kind in _POINTERS:
            return self._memory.pointer(placed)
        raise EmulationError(f"arguments of native type {kind} are not emulated")

    def _object_from_native(self, value: int, kind: int) -> int:
        if kind == _OBJECT:
            return value
        if kind == _INT:
            return self._memory.integer_object(value - (value >> 31 << 32))
        if kind == _UINT:
            return self._memory.integer_object(value)
        raise EmulationError(f"results of native type {kind} are not emulated")


def _count(code: bytes) -> int:
    """How many instructions stand in `code`. Raises EmulationError for what is not RV32IMC.

    The emulated processor has more extensions, and takes some unknown compressed instructions for ones that do nothing.
    Unknown functions of known opcodes it refuses by itself.
    """
    count = position = 0
    while position < len(code):
        word = int.from_bytes(code[position : position + 4], "little")
        compressed = word & 3 != 3
        if not (_is_rv32c(word & 0xFFFF) if compressed else word & 0x7F in _OPCODES):
            raise EmulationError(f"0x{word:08x} does not begin with an instruction of RV32IMC")
        position += 2 if compressed else 4
        count += 1
    if position != len(code):
        raise EmulationError(f"the last instruction is cut: {code[-4:].hex()}")
    return count


def _is_rv32c(half: int) -> bool:
    """Whether the extension "C" of a processor with 32 bits and without floating point has it, and it is no trap."""
    bit_12, target, source = half >> 12 & 1, half >> 7 & 31, half >> 2 & 31
    match half & 3, half >> 13:
        case 0, 0:  # addi4spn
            return half >> 5 & 0xFF != 0
        case 1, 3:  # lui, addi16sp
            return bit_12 | source != 0
        case 1, 4:  # srli, srai, andi, register with register
            return not bit_12 or half >> 10 & 3 == 2
        case 2, 0:  # slli
            return not bit_12
        case 2, 2:  # lwsp
            return target != 0
        case 2, 4:  # jr, mv, jalr, add
            return target != 0 or source != 0
        case (0, 2 | 6) | (1, 0 | 1 | 2 | 5 | 6 | 7) | (2, 6):  # lw, sw; addi, jal, li, j, beqz, bnez; swsp
            return True
    return False
