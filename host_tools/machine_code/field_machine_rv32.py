"""The frame of the field machine for RISC-V: how one instruction of a byte program leads to the next.

Owns the registers and the stack frame that the machine lives in between two operations, and what an operation uses to
reach its operands (`docs/device-crypto.md` has the instructions). Knows nothing of the operations themselves.

Rules: an operation begins with its label, keeps `NEXT`, and ends with `go_on`; it may use every register of `FREE`, but
`SLOTS` and `TABLE` must hold their values again at its end. Nothing secret is left on the stack.
"""

from collections.abc import Sequence

from host_tools.machine_code.rv32 import RA, SAVED, SP, ZERO, Assembler, Register

SLOT = 32  # octets of a slot
WORDS = 8  # of a slot
DATA = 12  # offset of the address of the contents in a bytearray object

# Registers that hold the machine between two operations. An operation that needs the last two loads them again.
NEXT = RA  # address of the next instruction
SLOTS = Register.T6
TABLE = Register.T5  # of jumps, one for each operation

# Registers an operation may use, those with short encodings first, SLOTS and TABLE last.
FREE = tuple(
    Register(number)
    for number in (*range(Register.S0, Register.A5 + 1), *range(Register.T0, Register.S0), *range(16, 32))
)

# The stack frame: saved registers, the machine's state, then room for an operation, which leaves it overwritten.
_AT_SLOTS, _AT_TABLE, _AT_OCTETS, _AT_PROGRAM, _AT_TIMES, _AT_ROUTINE, _AT_BACK = range(
    4 * len(SAVED), 4 * len(SAVED) + 28, 4
)
AT_ROOM = 80
ROOM = 144
_FRAME = AT_ROOM + ROOM


class FieldMachine(Assembler):
    """The interpreter, and the operations' way to their operands."""

    # The interpreter

    def enter(self) -> None:
        """Saves the caller's registers and takes the arguments (slots, octets, program, start) from the array in a3."""
        arguments = Register.A3
        self.addi(SP, SP, -_FRAME)
        for place, register in enumerate(SAVED):
            self.sw(register, 4 * place, SP)
        octets, start = Register.A4, Register.A5
        for place, register in enumerate((SLOTS, octets, NEXT)):
            self.lw(register, 4 * place, arguments)
            self.lw(register, DATA, register)
        self.lw(start, 12, arguments)
        self.la(TABLE, "table")
        self.sw(SLOTS, _AT_SLOTS, SP)
        self.sw(TABLE, _AT_TABLE, SP)
        self.sw(octets, _AT_OCTETS, SP)
        self.sw(NEXT, _AT_PROGRAM, SP)
        self.sw(ZERO, _AT_TIMES, SP)
        self.add(NEXT, NEXT, start)  # the small integer n is 2n + 1, an instruction has four octets
        self.add(NEXT, NEXT, start)
        self.addi(NEXT, NEXT, -2)

    def go_on(self) -> None:
        """Goes to the next instruction."""
        operation = Register.A5
        self.lbu(operation, 0, NEXT)
        self.addi(NEXT, NEXT, 4)
        self.slli(operation, operation, 2)
        self.add(operation, operation, TABLE)
        self.jr(operation)

    def reload(self) -> None:
        """Loads the machine's registers that an operation has used for its own."""
        self.lw(SLOTS, _AT_SLOTS, SP)
        self.lw(TABLE, _AT_TABLE, SP)

    def operand(self, d: Register, place: int) -> None:
        """d = octet 1, 2 or 3 of this instruction."""
        self.lbu(d, place - 4, NEXT)

    def slot_address(self, d: Register, place: int, scratch: Register | None = None) -> None:
        """d = address of the slot whose number is octet 1, 2 or 3 of this instruction; through `scratch`, if given."""
        number = d if scratch is None else scratch
        self.operand(number, place)
        self.slli(number, number, 5)
        self.add(d, number, SLOTS)

    def far_slot_address(self, d: Register) -> None:
        """d = address of the slot whose number is octets 2 and 3 of this instruction."""
        self.lhu(d, -2, NEXT)
        self.slli(d, d, 5)
        self.add(d, d, SLOTS)

    def octets_address(self, d: Register) -> None:
        """d = address of the octets."""
        self.lw(d, _AT_OCTETS, SP)

    def octet_string_address(self, d: Register, place: int, scratch: Register) -> None:
        """d = address of the octet string whose number is octet 1 or 2 of this instruction."""
        self.operand(d, place)
        self.slli(d, d, 5)
        self.octets_address(scratch)
        self.add(d, d, scratch)

    def load_words(self, words: Sequence[Register], base: Register) -> None:
        """Loads the eight words at `base`, which may be the last of `words`."""
        for place, word in enumerate(words):
            self.lw(word, 4 * place, base)

    def store_words(self, words: Sequence[Register], base: Register) -> None:
        for place, word in enumerate(words):
            self.sw(word, 4 * place, base)

    def operation_call(self) -> None:
        self.label("call")
        times, routine = Register.A0, Register.A1
        self.operand(times, 1)
        self.sw(times, _AT_TIMES, SP)
        self.sw(NEXT, _AT_BACK, SP)
        self.lhu(routine, -2, NEXT)
        self.slli(routine, routine, 2)
        self.lw(NEXT, _AT_PROGRAM, SP)
        self.add(NEXT, NEXT, routine)
        self.sw(NEXT, _AT_ROUTINE, SP)
        self.go_on()

    def operation_end(self) -> None:
        """END, and the end of the function: returns 0 as a small integer."""
        self.label("end")
        times = Register.A0
        self.lw(times, _AT_TIMES, SP)
        self.beq(times, ZERO, "stop")
        self.addi(times, times, -1)
        self.sw(times, _AT_TIMES, SP)
        self.lw(NEXT, _AT_BACK, SP)
        self.beq(times, ZERO, "returned")
        self.lw(NEXT, _AT_ROUTINE, SP)
        self.label("returned")
        self.go_on()
        self.label("stop")
        for place, register in enumerate(SAVED):
            self.lw(register, 4 * place, SP)
        self.addi(SP, SP, _FRAME)
        self.li(Register.A0, 1)
