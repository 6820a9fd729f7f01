"""Products and squares modulo p = 2^255 - 19 in MicroPython's viper: the largest part of `field_viper`.

Owns multiplication, how an element is cut into limbs, and the proof of the bounds. `p`, `t` and the names of the
machine's other locals: `field_viper`. M is the largest limb there is.

Integers of 32 bits. A product is Karatsuba's, one level deep. With A = A0 + A1 X^10 and B likewise, three parts of 10
by 10 limbs are computed by one loop over the same code: U = A0 B0, W = A1 B1 and C = (A0 + A1) (B0 + B1), each 19
columns of raw sums. Then A B = U + (C - U - W) X^10 + W X^20. A square does the same with half the products.
- A limb of A0 + A1 is at most 2 M < 2^16, and a column of C at most 10 (2 M)^2 < 2^32: nothing is lost, though it may
  look negative.
- A column of A B is at most 20 M^2. That is below 2^31 even with the carry, below 2^18, and with what is folded from 20
  columns higher: 608 times 8,191 or, from the last carry, 608 (M^2 + 2^18) / X. And it is not negative: the sums and
  differences that it is made of may wrap, it does not.
- The carry out of column 19 goes, times 608, to limb 0; from there at most 2^18 * 608 / X + 1 = 19,457 to limb 1; from
  there at most 3 to limb 2, which so is the largest limb there is: 8,194.

Integers of 64 bits. A stands between zeros, and one loop moves along: 10 limbs of that, times B, are a column. A square
is a product like any other.
- A column is at most 10 M^2 + 2^31, the carry, and stays far below 2^63. A B < 2 X^20: column 20 is 0 or 1.
- Column k + 10 is folded into column k, column 20 into column 0 with 608^2 < X. So the carry is at most 609, and 608
  times the last one stays in limb 0, which so is the largest limb there is: at most X - 1 + 608 * 609.
"""

import math
from dataclasses import dataclass

from host_tools.machine_code.viper import fill

FOLD = 608  # 2^260 modulo p
_BITS = 260  # of all limbs together


@dataclass(frozen=True)
class Limbs:
    """How an element is cut up where viper's integers have `word_bits`, and the words for it in templates."""

    word_bits: int
    bits: int
    limb_bytes: int  # in the slot
    limit: int  # the largest limb that any operation makes

    @property
    def count(self) -> int:
        return _BITS // self.bits

    @property
    def slot(self) -> int:
        """Bytes of an element."""
        return self.count * self.limb_bytes

    @property
    def top_bits(self) -> int:
        """Bits of the highest limb that are worth less than 2^255."""
        return 255 - (self.count - 1) * self.bits

    @property
    def numbers(self) -> dict[str, object]:
        return {
            "limb": f"ptr{8 * self.limb_bytes}",
            "limb_bytes": self.limb_bytes,
            "slot": self.slot,
            "bits": self.bits,
            "mask": hex((1 << self.bits) - 1),
            "top": self.count - 1,
            "top_bits": self.top_bits,
            "top_mask": hex((1 << self.top_bits) - 1),
            "fold": FOLD,
        }


LIMBS = {limbs.word_bits: limbs for limbs in (Limbs(32, 13, 2, 10_015), Limbs(64, 26, 4, (1 << 26) - 1 + FOLD * 609))}

_HALF = 10  # limbs; of 64 bits, all of them
_COLUMNS = 2 * _HALF - 1

_NARROW = LIMBS[32]
assert 10 * (2 * _NARROW.limit) ** 2 < 1 << 32
assert 20 * _NARROW.limit**2 + (1 << 18) + FOLD * (_NARROW.limit**2 + (1 << 18) >> _NARROW.bits) < 1 << 31

_WIDE = LIMBS[64]
_X = 1 << _WIDE.bits
assert _WIDE.count == _HALF
assert 10 * _WIDE.limit**2 + (1 << 31) < min(1 << 63, _X << 31)
assert _WIDE.limit * (_X**_HALF - 1) // (_X - 1) < math.isqrt(2 * _X ** (2 * _HALF))
assert FOLD**2 < _X
assert (_X - 1) * (FOLD + 1) + max(FOLD**2, FOLD + 1) < 610 * _X
assert _WIDE.limit >= _X - 1 + FOLD * 609

# The operands are `y` and `other`, the same for a square; both are there twice: limbs 0 to 9, and 10 limbs further on.
# Their sums go where the machine has room, 10 limbs beside 10. Two limbs are added at once: nothing is carried.
_PRODUCT = """\
x = program[1] * {slot} + slots
y = program[2] * {slot} + slots
other = y
again = program[3]
general = 2 - op
if general:
    other = again * {slot} + slots
    again = 1
own32 = ptr32(slots + {own})
while again:
    p = ptr16(y)
    <sums>
    if general:
        p = ptr16(other)
        <other sums>
    part = 2
    while True:
        p = ptr16(other)
        <operand>
        if general:
            p = ptr16(y)
            <products>
        else:
            <squares>
        if part:
            if part > 1:
                <keep u>
                y += {half_slot}
                other += {half_slot}
            else:
                <keep w>
                y = int(own32)
                other = general * {half_slot} + y
            part -= 1
        else:
            break
    p = ptr16(x)
    <columns>
    y = x
    other = x
    again -= 1
"""

# `{own}` is where the machine has room for 30 limbs: A between zeros. A column is read there, and then takes the place
# of the limb before the first it was made of, which no other column needs.
_WIDE_PRODUCT = """\
x = program[1] * {slot} + slots
goal32 = ptr32(program[2] * {slot} + slots)
source32 = goal32
again = program[3]
if op == 1:
    source32 = ptr32(again * {slot} + slots)
    again = 1
own = slots + {own}
while again:
    p = ptr32(own)
    end = own + {slot}
    while int(p) < end:
        p[0] = 0
        p[{half}] = goal32[0]
        p[2 * {half}] = 0
        goal32 = ptr32(int(goal32) + 4)
        p = ptr32(int(p) + 4)
    t = ptr8(0)
    p = ptr32(own)
    end += {slot}
    while int(p) < end:
        <products>
        p[0] = int(t) & mask
        t = ptr8(int(t) >> {bits})
        p = ptr32(int(p) + 4)
    t = ptr8(int(t) * {fold_twice})
    p = ptr32(own)
    end -= {slot}
    goal32 = ptr32(x)
    while int(p) < end:
        t = ptr8(p[{half}] * {fold} + int(t) + p[0])
        goal32[0] = int(t) & mask
        t = ptr8(int(t) >> {bits})
        goal32 = ptr32(int(goal32) + 4)
        p = ptr32(int(p) + 4)
    p = ptr32(x)
    p[0] = int(t) * {fold} + p[0]
    goal32 = ptr32(x)
    source32 = goal32
    again -= 1
"""


def product(limbs: Limbs, own: int) -> list[str]:
    """MUL and SQR, told apart by `op`, of the instruction at `program`; `own`: the machine's own memory in `slots`."""
    if limbs.word_bits == 64:
        return _wide_product(limbs, own)
    words = range(_HALF // 2)
    numbers = {**limbs.numbers, "own": own, "half_slot": limbs.slot // 2}
    blocks = {
        "sums": [f"own32[{k}] = ptr32(p)[{k}] + ptr32(p)[{k + 5}]" for k in words],
        "other sums": [f"own32[{k + 5}] = ptr32(p)[{k}] + ptr32(p)[{k + 5}]" for k in words],
        "operand": [f"b{k} = p[{k}]" for k in range(_HALF)],
        "products": [line for column in range(_COLUMNS) for line in _product_column(column)],
        "squares": [line for column in range(_COLUMNS) for line in _square_column(column)],
        "keep u": [f"u{k} = c{k}" for k in range(_COLUMNS)],
        "keep w": [f"w{k} = c{k}" for k in range(_COLUMNS)],
        "columns": [*_high_columns(), *_low_columns()],
    }
    return fill(_PRODUCT, numbers, blocks)


def _wide_product(limbs: Limbs, own: int) -> list[str]:
    numbers = {**limbs.numbers, "own": own, "half": _HALF, "fold_twice": FOLD**2}
    products = [f"t = ptr8(p[{k}] * source32[{_HALF - k}] + int(t))" for k in range(1, _HALF + 1)]
    return fill(_WIDE_PRODUCT, numbers, {"products": products})


def _product_column(column: int) -> list[str]:
    """One column of `c` = the 10 limbs at `p`, times `b`."""
    first = max(0, column - _HALF + 1)
    last = min(column, _HALF - 1)
    lines = []
    for i in range(first, last + 1):
        total = f"p[{i}] * b{column - i}" + (" + int(t)" if i > first else "")
        lines.append(f"c{column} = {total}" if i == last else f"t = ptr8({total})")
    return lines


def _square_column(column: int) -> list[str]:
    """One column of `c` = the 10 limbs at `p` and in `b`, squared. What is there twice is added up once and doubled."""
    lines = []
    total = ""
    for i in range(max(0, column - _HALF + 1), (column + 1) // 2):
        if total:
            lines.append(f"t = ptr8({total})")
        total = f"p[{i}] * b{column - i}" + (" + int(t)" if total else "")
    if column % 2:
        return [*lines, f"c{column} = ({total}) << 1"]
    middle = f"p[{column // 2}] * b{column // 2}"
    if not total:
        return [f"c{column} = {middle}"]
    return [*lines, f"t = ptr8({total})", f"c{column} = {middle} + int(t) + int(t)"]


def _carry(column: int) -> str:
    """What a column begins with: the carry of the one before, whose sum is in `t`."""
    return f"(int(t) >> {_NARROW.bits})" if column else "0"


def _high_columns() -> list[str]:
    """Columns 20 to 39 of the product, to be folded: `h` is 608 times their limbs, and the last carry as it is."""
    lines = []
    for column in range(_COLUMNS):
        total = f"{_carry(column)} + w{column}"
        if column + 10 < _COLUMNS:
            total += f" + c{column + 10} - u{column + 10} - w{column + 10}"
        lines.append(f"h{column} = (int(t := ptr8({total})) & mask) * {FOLD}")
    return [*lines, f"h{_COLUMNS} = {_carry(_COLUMNS)} * {FOLD}"]


def _low_columns() -> list[str]:
    """Columns 0 to 19 with what is folded into them: the result, to `p`."""
    lines = []
    for column in range(_NARROW.count):
        total = f"{_carry(column)} + h{column}"
        if column < _COLUMNS:
            total += f" + u{column}"
        if column >= 10:
            total += f" + c{column - 10} - u{column - 10} - w{column - 10}"
        lines.append(f"p[{column}] = int(t := ptr8({total})) & mask")
    return [
        *lines,
        f"p[0] = int(t := ptr8({_carry(_NARROW.count)} * {FOLD} + p[0])) & mask",
        f"p[1] = int(t := ptr8({_carry(1)} + p[1])) & mask",
        f"p[2] = {_carry(2)} + p[2]",
    ]
