"""The frame of the field machine for Xtensa: how one instruction of a byte program leads to the next.

Owns the registers and the memory that the machine lives in between two operations, the operations that only lead on
(END, CALL), and what an operation uses to reach its operands. Knows nothing of numbers.

Rules: an operation begins at its label and ends by going to "next"; it may use every register but a1, and must keep the
frame's first two words. Slots 20 to 23 are the machine's own on this chip: registers run out, and the frame is small.
"""

from host_tools.machine_code.xtensa import FRAME, SP, Code

WORD = 4
LIMBS = 9
SLOT = WORD * LIMBS
ENTRY = 16 * SLOT  # the slots that PICK, PUT and SELECT use
_SCRATCH = 20 * SLOT
_DATA = 12  # offset of the address of the contents in a bytearray object

# Offsets from SP: the slots' address, the next instruction's, and a word for an operation.
AT_SLOTS, _AT_NEXT, AT_ROOM = FRAME[::WORD]

# Offsets from the slots' address: room for an operation, then the machine's state.
SCRATCH_WORDS = 20
SCRATCH = range(_SCRATCH, _SCRATCH + SCRATCH_WORDS * WORD, WORD)
_OCTETS, _PROGRAM, _ROUTINE, _BACK, _TIMES = range(SCRATCH.stop, SCRATCH.stop + 5 * WORD, WORD)

# Registers at an operation's begin: the slots' address; x, y, z of the instruction; addresses of slots x and y.
SLOTS, FROM, _NEXT, _OPERATION, X, Y, Z, TO = 2, 3, 4, 5, 6, 7, 8, 9
FREE = (0, 4, 5, 10, 11, 12, 13, 14, 15)

_ARGUMENTS = 5  # register with the address of the arguments' array
_OPERATIONS = {
    "multiply": 1,
    "square": 2,
    "add": 3,
    "subtract": 4,
    "end": 0,
    "call": 5,
    "select": 10,
    "load": 6,
    "pick": 8,
    "store": 7,
}
_REMAINING_OPERATION = "put"  # 9 cannot be compared with


def enter(code: Code) -> None:
    """Takes the arguments: slots, octets, program, start."""
    slots, octets, program, start = arguments = FREE[-4:]
    for number, register in enumerate(arguments):
        code.l32i(register, _ARGUMENTS, WORD * number)
    for register in (slots, octets, program):
        code.l32i(register, register, _DATA)
    code.s32i(slots, SP, AT_SLOTS)
    code.s32i(octets, slots, _OCTETS)
    code.s32i(program, slots, _PROGRAM)
    code.addx2(start, start, program)  # the small integer n is 2 n + 1, and an instruction has 4 octets
    code.addi(start, start, -2)
    code.s32i(start, SP, _AT_NEXT)
    code.movi(X, 0)
    code.s32i(X, slots, _TIMES)


def dispatch(code: Code) -> None:
    """The machine's loop, frequent operations first."""
    code.label("next")
    code.l32i(_NEXT, SP, _AT_NEXT)
    code.l32i(SLOTS, SP, AT_SLOTS)
    for number, register in enumerate((_OPERATION, X, Y, Z)):
        code.l8ui(register, _NEXT, number)
    code.addi(_NEXT, _NEXT, 4)
    code.s32i(_NEXT, SP, _AT_NEXT)
    slot_address(code, TO, X)
    slot_address(code, FROM, Y)
    for label, number in _OPERATIONS.items():
        if number:
            code.beqi(_OPERATION, number, label)
        else:
            code.beqz(_OPERATION, label)
    code.j(_REMAINING_OPERATION)


def write_end(code: Code) -> None:
    """In a routine, its next repetition or what follows its call; outside, the end of the whole run."""
    times, following, back = FREE[:3]
    code.l32i(times, SLOTS, _TIMES)
    code.beqz(times, "exit")
    code.addi(times, times, -1)
    code.s32i(times, SLOTS, _TIMES)
    code.l32i(following, SLOTS, _ROUTINE)
    code.l32i(back, SLOTS, _BACK)
    code.moveqz(following, back, times)
    code.s32i(following, SP, _AT_NEXT)
    code.j("next")


def write_call(code: Code) -> None:
    """Instruction y + 256 z, x times."""
    program = FREE[-1]
    code.s32i(X, SLOTS, _TIMES)
    code.s32i(_NEXT, SLOTS, _BACK)
    code.l32i(program, SLOTS, _PROGRAM)
    _large_number(code)
    code.addx4(Z, Z, program)
    code.s32i(Z, SLOTS, _ROUTINE)
    code.s32i(Z, SP, _AT_NEXT)
    code.j("next")


def leave(code: Code) -> None:
    """What an operation left in the frame is overwritten; the result is the small integer 0."""
    code.label("exit")
    code.s32i(SLOTS, SP, AT_ROOM)
    code.movi(2, 1)


def slot_address(code: Code, to: int, number: int) -> None:
    code.addx8(to, number, number)
    code.addx4(to, to, SLOTS)


def large_slot_address(code: Code, to: int) -> None:
    """Of slot y + 256 z; spoils z."""
    _large_number(code)
    slot_address(code, to, Z)


def _large_number(code: Code) -> None:
    code.slli(Z, Z, 8)
    code.add(Z, Z, Y)


def octets_address(code: Code, to: int) -> None:
    code.l32i(to, SLOTS, _OCTETS)
