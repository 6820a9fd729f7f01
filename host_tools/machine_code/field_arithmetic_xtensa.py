"""Xtensa code that adds and subtracts modulo p = 2 ** 255 - 19, and goes between octet strings and limbs.

`field_product_xtensa` tells what a field element is. The operations here take limbs up to `LIMIT` and leave limbs 0 to
7 below 2 ** 29 and limb 8 within `LIMIT`: values may be p or above, and only STORE reduces fully.
"""

from collections.abc import Callable, Sequence

from host_tools.machine_code.field_columns_xtensa import LIMB_BITS
from host_tools.machine_code.field_machine_xtensa import (
    FREE,
    FROM,
    SLOTS,
    TO,
    WORD,
    X,
    Y,
    Z,
    octets_address,
    slot_address,
)
from host_tools.machine_code.field_product_xtensa import TOP_BITS
from host_tools.machine_code.xtensa import Code

_MASK, _CARRY, _TOP, *_PAIRS = FREE[:7]


def make_mask(code: Code, to: int) -> None:
    """2 ** 29 - 1"""
    code.movi(to, -1)
    code.srli(to, to, 32 - LIMB_BITS)


def _times_19(code: Code, to: int, value: int) -> None:
    """`to` must be another register."""
    code.addx8(to, value, value)
    code.addx2(to, to, value)


def _cut_top(code: Code, top: int) -> None:
    """Leaves limb 8's bits below 2 ** 255."""
    code.slli(top, top, 32 - TOP_BITS)
    code.srli(top, top, 32 - TOP_BITS)


def _take_carry(code: Code, carry: int, limb: int) -> None:
    code.extui(carry, limb, LIMB_BITS, 32 - LIMB_BITS)


# --- sums


def write_add(code: Code) -> None:
    """Limb 8 is at most 2 ** 25; what is above 2 ** 255, at most 4, is carried to limb 0, so no limb reaches 2 ** 31.

    Then limb 8 is at most 2 ** 23: its 23 bits and a carry of 1.
    """
    _begin_sum(code, code.add)
    code.extui(Y, _TOP, TOP_BITS, 32 - TOP_BITS)
    _cut_top(code, _TOP)
    _times_19(code, _CARRY, Y)
    _end_sum(code, code.add, lambda limb: _take_carry(code, _CARRY, limb))


def write_subtract(code: Code) -> None:
    """The same with signed limbs and carries, but 2 ** 255 stay in limb 8, and limb 0 gets 19 less.

    So limb 8 does not become negative: it has 2 ** 23, its 23 bits and a carry of -1, 0 or 1, at most 2 ** 24 in all.
    """
    _begin_sum(code, code.sub)
    code.srai(Y, _TOP, TOP_BITS)
    code.addi(Y, Y, -1)
    code.slli(_CARRY, Y, TOP_BITS)
    code.sub(_TOP, _TOP, _CARRY)
    _times_19(code, _CARRY, Y)
    _end_sum(code, code.sub, lambda limb: code.srai(_CARRY, limb, LIMB_BITS))


def _begin_sum(code: Code, combine: Callable[[int, int, int], None]) -> None:
    slot_address(code, Z, Z)
    _load_both(code, 8, _TOP, _CARRY)
    _load_both(code, 0, *_PAIRS[:2])
    make_mask(code, _MASK)
    combine(_TOP, _TOP, _CARRY)


def _end_sum(code: Code, combine: Callable[[int, int, int], None], take_carry: Callable[[int], None]) -> None:
    """Limbs 0 to 7; each limb's words are loaded while the one before is carried."""
    pairs = _PAIRS
    for number in range(8):
        limb, other, *following = pairs
        pairs = [*following, limb, other]
        combine(limb, limb, other)
        if number < 7:
            _load_both(code, number + 1, *following)
        code.add(limb, limb, _CARRY)
        take_carry(limb)
        code.and_(limb, limb, _MASK)
        code.s32i(limb, TO, WORD * number)
    code.add(_TOP, _TOP, _CARRY)
    code.s32i(_TOP, TO, WORD * 8)
    code.j("next")


def _load_both(code: Code, number: int, one: int, other: int) -> None:
    code.l32i(one, FROM, WORD * number)
    code.l32i(other, Z, WORD * number)


# --- octet strings


def _octet_string_address(code: Code, number: int) -> None:
    """In place of its number."""
    octets = FREE[-1]
    octets_address(code, octets)
    code.slli(number, number, 5)
    code.add(number, number, octets)


def write_load(code: Code) -> None:
    """Limb i begins 3 i bits below word i."""
    limb, word, before = FREE[4:7]
    _octet_string_address(code, Y)
    make_mask(code, _MASK)
    for number in range(8):
        code.l32i(word, Y, WORD * number)
        if number:
            code.ssai(32 - 3 * number)
            code.src(limb, word, before)
            code.and_(limb, limb, _MASK)
        else:
            code.and_(limb, word, _MASK)
        code.s32i(limb, TO, WORD * number)
        word, before = before, word
    code.srli(limb, before, 8)
    code.s32i(limb, TO, WORD * 8)
    code.j("next")


def write_store(code: Code) -> None:
    """Carried through, the value V is at most 2 ** 255, below 2 p. Then V >= p exactly if V + 19 has bit 255, and V - p
    is V + 19 without that bit.
    """
    _octet_string_address(code, X)
    value = SLOTS
    limbs = (*FREE[2:], Y, Z)
    top = limbs[8]
    for number, limb in enumerate(limbs):
        code.l32i(limb, FROM, WORD * number)
    make_mask(code, _MASK)
    code.extui(value, top, TOP_BITS, 32 - TOP_BITS)
    _cut_top(code, top)
    _times_19(code, _CARRY, value)
    _carry_through(code, limbs)
    code.movi(_CARRY, 19)
    for limb in limbs[:8]:
        code.add(value, limb, _CARRY)
        _take_carry(code, _CARRY, value)
    code.add(_CARRY, top, _CARRY)
    code.extui(value, _CARRY, TOP_BITS, 32 - TOP_BITS)
    _times_19(code, _CARRY, value)
    _carry_through(code, limbs)
    _cut_top(code, top)
    for number in range(8):
        code.ssai(3 * number)
        code.srl(value, limbs[number])
        code.slli(_CARRY, limbs[number + 1], LIMB_BITS - 3 * number)
        code.or_(value, value, _CARRY)
        code.s32i(value, X, WORD * number)
    code.j("next")


def _carry_through(code: Code, limbs: Sequence[int]) -> None:
    for limb in limbs[:8]:
        code.add(limb, limb, _CARRY)
        _take_carry(code, _CARRY, limb)
        code.and_(limb, limb, _MASK)
    code.add(limbs[8], limbs[8], _CARRY)
