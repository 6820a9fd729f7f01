"""The field machine for Xtensa: generates the module `field_xtensa` of the device.

Owns the operations that move numbers between slots and tables, and puts the whole machine together
(`firmware/crypto/field_int.py` tells what the operations do). Knows nothing of curves.

Rules: nothing but the program's own octets decides what is executed and which addresses are touched: what slots and
select digits hold does not.
"""

from host_tools.machine_code.field_arithmetic_xtensa import (
    make_mask,
    write_add,
    write_load,
    write_store,
    write_subtract,
)
from host_tools.machine_code.field_columns_xtensa import LIMB_BITS
from host_tools.machine_code.field_machine_xtensa import (
    AT_ROOM,
    AT_SLOTS,
    ENTRY,
    FREE,
    FROM,
    LIMBS,
    SCRATCH,
    SLOT,
    SLOTS,
    TO,
    WORD,
    X,
    Y,
    Z,
    dispatch,
    enter,
    large_slot_address,
    leave,
    octets_address,
    slot_address,
    write_call,
    write_end,
)
from host_tools.machine_code.field_product_xtensa import TOP_BITS, Memory, write_product
from host_tools.machine_code.xtensa import SP, Code

_DIGITS = 256  # where the digits for SELECT begin among the octets
_ENTRIES = 16
_ENTRY_SLOTS = 3

_HIGH_WORDS = 10
_MEMORY = Memory(AT_SLOTS, AT_ROOM, SCRATCH[-1], SCRATCH[0], SCRATCH[_HIGH_WORDS])
_AT_SQUARINGS = SCRATCH[-2]


def source() -> str:
    """The module's text: `run`, SLOT and INVERTS."""
    return f"import micropython\n\nSLOT = {SLOT}\nINVERTS = False\n\n\n{_machine().container('run')}"


def _machine() -> Code:
    code = Code()
    enter(code)
    dispatch(code)
    for label, write in (
        ("multiply", _write_multiply),
        ("square", _write_square),
        ("add", write_add),
        ("subtract", write_subtract),
        ("end", write_end),
        ("call", write_call),
        ("select", _write_select),
        ("load", write_load),
        ("pick", _write_pick),
        ("store", write_store),
        ("put", _write_put),
    ):
        code.label(label)
        write(code)
    leave(code)
    return code


# --- products


def _write_multiply(code: Code) -> None:
    slot_address(code, Z, Z)
    code.s32i(Z, SP, AT_ROOM)
    code.s32i(TO, SLOTS, _MEMORY.destination)
    write_product(code, _MEMORY, square=False)
    code.j("next")


def _write_square(code: Code) -> None:
    code.s32i(TO, SLOTS, _MEMORY.destination)
    code.label("square again")
    code.s32i(Z, SLOTS, _AT_SQUARINGS)
    code.s32i(FROM, SP, AT_ROOM)
    write_product(code, _MEMORY, square=True)
    code.l32i(SLOTS, SP, AT_SLOTS)
    code.l32i(Z, SLOTS, _AT_SQUARINGS)
    code.l32i(FROM, SLOTS, _MEMORY.destination)
    code.addi(Z, Z, -1)
    code.bnez(Z, "square again")
    code.j("next")


# --- copies


def _entry_address(code: Code, to: int) -> None:
    code.movi(to, ENTRY)
    code.add(to, to, SLOTS)


def _write_pick(code: Code) -> None:
    _entry_address(code, TO)
    large_slot_address(code, FROM)
    code.label("copy")
    for number, register in enumerate(FREE):
        code.l32i(register, FROM, WORD * number)
    for number, register in enumerate(FREE):
        code.s32i(register, TO, WORD * number)
    code.addi(FROM, FROM, SLOT)
    code.addi(TO, TO, SLOT)
    code.addi(X, X, -1)
    code.bnez(X, "copy")
    code.j("next")


def _write_put(code: Code) -> None:
    _entry_address(code, FROM)
    large_slot_address(code, TO)
    code.j("copy")


# --- SELECT

# Registers throughout SELECT, besides FREE: the table, whether the digit is 16 or above, the entry's number.
_TABLE, _PLUS, _NUMBER = FROM, X, Y


def _write_select(code: Code) -> None:
    """Reads all entries and keeps one by conditional moves, then exchanges and negates by such, too."""
    digit, other = FREE[:2]
    large_slot_address(code, _TABLE)
    octets_address(code, digit)
    code.add(digit, digit, X)
    code.movi(other, _DIGITS)
    code.add(digit, digit, other)
    code.l8ui(digit, digit, 0)
    code.extui(_PLUS, digit, 4, 1)
    code.addi(other, _PLUS, -1)  # digits below 16 count downwards
    code.xor(_NUMBER, digit, other)
    code.extui(_NUMBER, _NUMBER, 0, 4)
    for slot in range(_ENTRY_SLOTS):
        _select_slot(code, slot)
    code.l32i(SLOTS, SP, AT_SLOTS)
    _exchange(code)
    _negate(code)
    code.j("next")


def _select_slot(code: Code, slot: int) -> None:
    """One slot of the wanted entry: every entry's is loaded; `distance` is 0 at the right one only."""
    distance, left, word = Z, TO, SLOTS
    loop = f"entries of slot {slot}"
    code.mov(distance, _NUMBER)
    code.movi(left, _ENTRIES)
    code.label(loop)
    for number, register in enumerate(FREE):
        code.l32i(word, _TABLE, WORD * number)
        code.moveqz(register, word, distance)
    code.addi(_TABLE, _TABLE, _ENTRY_SLOTS * SLOT)
    code.addi(distance, distance, -1)
    code.addi(left, left, -1)
    code.bnez(left, loop)
    code.movi(word, SLOT - _ENTRIES * _ENTRY_SLOTS * SLOT)
    code.add(_TABLE, _TABLE, word)
    code.l32i(word, SP, AT_SLOTS)
    for number, register in enumerate(FREE):
        code.s32i(register, word, ENTRY + SLOT * slot + WORD * number)


def _exchange(code: Code) -> None:
    """The entry's first two slots change places if `_PLUS` is 0."""
    one, other, copy = FREE[:3]
    for number in range(LIMBS):
        at = ENTRY + WORD * number
        code.l32i(one, SLOTS, at)
        code.l32i(other, SLOTS, at + SLOT)
        code.mov(copy, one)
        code.moveqz(one, other, _PLUS)
        code.moveqz(other, copy, _PLUS)
        code.s32i(one, SLOTS, at)
        code.s32i(other, SLOTS, at + SLOT)


def _negate(code: Code) -> None:
    """The entry's third slot becomes p minus itself if `_PLUS` is 0. It is canonical: limb 8 cannot become negative."""
    limb, negative, carry, mask, top = FREE[:5]
    make_mask(code, mask)
    code.movi(top, 1)
    code.slli(top, top, TOP_BITS)
    code.movi(carry, -19)
    for number in range(LIMBS):
        at = ENTRY + 2 * SLOT + WORD * number
        code.l32i(limb, SLOTS, at)
        if number == LIMBS - 1:
            code.add(carry, carry, top)
        code.sub(negative, carry, limb)
        if number < LIMBS - 1:
            code.srai(carry, negative, LIMB_BITS)
            code.and_(negative, negative, mask)
        code.moveqz(limb, negative, _PLUS)
        code.s32i(limb, SLOTS, at)
