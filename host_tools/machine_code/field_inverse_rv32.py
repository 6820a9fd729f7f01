"""The inverse for the field machine for RISC-V, in constant time: INVERT.

Source: Bernstein and Yang 2019, "Fast constant-time gcd computation and modular inversion" (division steps), with delta
beginning at 1/2 and in batches, like libsecp256k1's (`doc/safegcd_implementation.md`). For f below 2^256 and
0 <= g <= f, 590 steps reach g = 0 (Wuille, "Bounds on divsteps iterations in safegcd"). 600 are made here, in 20
batches of 30: a step after the end changes neither f nor, modulo p, d.

f and g begin as p and the number a, canonical. One step is, if delta > 0 and g is odd:

    delta, f, g = 1 - delta, g, (g - f) / 2         and else:       delta, f, g = 1 + delta, f, (g + (g & 1) * f) / 2

At the end g = 0 and f = 1 or -1 (if a = 0: f = p or -p). A batch needs only the lowest 30 bits of f and g; its effect
is a matrix (u v, q r) of integers with |u| + |v| <= 2^30 and |q| + |r| <= 2^30:

    f, g = (u f + v g) / 2^30, (q f + r g) / 2^30       d, e = (u d + v e) / 2^30, (q d + r e) / 2^30 modulo p

where d * a = f and e * a = g modulo p at any time, so that d * f is the inverse at the end. d and e stay between -2p
and p: p is added u or v times, q or r times for a negative d or e, and then as often as makes the division exact.

Numbers stand in memory in nine limbs of 30 bits; the highest has the sign.
"""

from collections.abc import Sequence

from host_tools.machine_code.field_arithmetic_rv32 import FieldArithmetic
from host_tools.machine_code.field_machine_rv32 import AT_ROOM, FREE, ROOM, WORDS
from host_tools.machine_code.rv32 import SP, ZERO, Register

BATCHES = 20
_PARTS = 3  # of a batch, each with a matrix of its own, two of whose numbers share a register
_STEPS = 10  # in a part
_STEPS_IN_A_LOOP = 5

_LIMB_BITS = 30
_LIMBS = 9
_NUMBER = 4 * _LIMBS  # octets
_LOW, _HIGH = -19, 1 << 15  # the only limbs of p that are not 0: the lowest and the highest
_P_INVERSE = pow(_LOW, -1, 1 << _LIMB_BITS)

_F, _G, _D, _E = range(AT_ROOM, AT_ROOM + ROOM, _NUMBER)

_Pair = tuple[Register, Register]  # low, high

# All through a batch
_U, _V, _Q, _R = _MATRIX = FREE[8:12]
_MASK, _COUNT, _BATCH, _ZETA = FREE[12:16]  # 2^30 - 1, a loop's counter, batches left, -(delta + 1/2)


class FieldInverse(FieldArithmetic):
    """INVERT and what it is made of."""

    def operation_invert(self) -> None:
        """d = the inverse of a; of 0 it is 0."""
        self.label("invert")
        self._begin()
        self.label("invert batch")
        self._make_matrix()
        self._apply_matrix(_F, _G, is_modular=False)
        self._apply_matrix(_D, _E, is_modular=True)
        self.addi(_BATCH, _BATCH, -1)
        self.bne(_BATCH, ZERO, "invert batch")
        words = FREE[:WORDS]
        self._take_result(words)
        for offset in range(AT_ROOM, AT_ROOM + ROOM, 4):
            self.sw(ZERO, offset, SP)
        self.finish(words, FREE[WORDS])

    def _begin(self) -> None:
        """f = p, g = a, d = 0, e = 1."""
        words, scratch = FREE[:WORDS], FREE[WORDS : WORDS + 4]
        base = scratch[0]
        self.slot_address(base, 2)
        self.load_words(words, base)
        self.reduce(words, scratch)
        self.li(_MASK, (1 << _LIMB_BITS) - 1)
        limb, above, one, low = scratch
        self.li(low, _LOW)
        self.li(one, 1)
        self.lui(above, _HIGH >> 12)
        for number in range(_LIMBS):
            place = 4 * number
            self.sw({0: low, _LIMBS - 1: above}.get(number, ZERO), _F + place, SP)
            self.sw(ZERO, _D + place, SP)
            self.sw(ZERO if number else one, _E + place, SP)
        for number in range(_LIMBS):
            word, shift = divmod(_LIMB_BITS * number, 32)
            self.srli(limb, words[word], shift)
            if shift > 2 and word + 1 < WORDS:
                self.slli(above, words[word + 1], 32 - shift)
                self.or_(limb, limb, above)
            if number < _LIMBS - 1:
                self.and_(limb, limb, _MASK)
            self.sw(limb, _G + 4 * number, SP)
        self.li(_ZETA, -1)
        self.li(_BATCH, BATCHES)

    # Thirty steps

    def _make_matrix(self) -> None:
        """The matrix of the next 30 steps, out of the lowest limbs of f and g, as the product of three matrices.

        A row of such a factor is one register, x + 2^16 y. The steps only add, subtract and double rows, so they work
        on both numbers at once; neither of them exceeds 2^10.
        """
        f, g, row_f, row_g = FREE[:4]
        part = FREE[16]
        for register, value in zip(_MATRIX, (1, 0, 0, 1), strict=True):
            self.li(register, value)
        self.lw(f, _F, SP)
        self.lw(g, _G, SP)
        self.li(part, _PARTS)
        self.label("invert part")
        self.li(row_f, 1)
        self.lui(row_g, 1 << 16 - 12)
        self.li(_COUNT, _STEPS // _STEPS_IN_A_LOOP)
        self.label("invert steps")
        for _ in range(_STEPS_IN_A_LOOP):
            self._step(f, g, row_f, row_g)
        self.addi(_COUNT, _COUNT, -1)
        self.bne(_COUNT, ZERO, "invert steps")
        self._multiply_matrix(row_f, row_g)
        self.addi(part, part, -1)
        self.bne(part, ZERO, "invert part")

    def _step(self, f: Register, g: Register, row_f: Register, row_g: Register) -> None:
        """One step. g is halved; of the rows, which stay whole, the one of f is doubled instead."""
        sign, scratch = FREE[4:6]
        self.srai(sign, _ZETA, 31)
        self.andi(scratch, g, 1)
        self.xor(scratch, scratch, sign)
        self.sub(sign, scratch, sign)  # 0 for an even g, -1 if f and g change places, else 1
        for to, other in ((g, f), (row_g, row_f)):
            self.mul(scratch, other, sign)
            self.add(to, to, scratch)
        self.srai(sign, sign, 31)
        self.xor(_ZETA, _ZETA, sign)
        self.addi(_ZETA, _ZETA, -1)
        for to, other in ((f, g), (row_f, row_g)):
            self.and_(scratch, other, sign)
            self.add(to, to, scratch)
        self.srli(g, g, 1)
        self.slli(row_f, row_f, 1)

    def _multiply_matrix(self, row_f: Register, row_g: Register) -> None:
        """(u v, q r) = the matrix of these two rows * (u v, q r)."""
        left_f, left_g, one, other = FREE[4:8]
        for row, left in ((row_f, left_f), (row_g, left_g)):
            self.slli(left, row, 16)
            self.srai(left, left, 16)
            self.sub(row, row, left)
            self.srai(row, row, 16)
        for upper, lower in ((_U, _Q), (_V, _R)):
            self.mul(one, left_f, upper)
            self.mul(other, row_f, lower)
            self.mul(upper, left_g, upper)
            self.mul(lower, row_g, lower)
            self.add(lower, lower, upper)
            self.add(upper, one, other)

    # Its effect

    def _apply_matrix(self, at_x: int, at_y: int, is_modular: bool) -> None:
        """x, y = (u x + v y) / 2^30, (q x + r y) / 2^30; exact, or else made so by multiples of p."""
        x, y, pointer = FREE[:3]
        sums: tuple[_Pair, _Pair] = ((FREE[3], FREE[4]), (FREE[5], FREE[6]))
        multiples = FREE[17:19]
        end, factor = FREE[19:21]
        label = "invert modular" if is_modular else "invert exact"
        if is_modular:
            self._count_negatives(multiples, at_x, at_y)
        self.addi(pointer, SP, at_x)
        self.addi(end, pointer, 4 * (_LIMBS - 1 - is_modular))
        self.lw(x, 0, pointer)
        self.lw(y, at_y - at_x, pointer)
        for total, (first, second) in zip(sums, ((_U, _V), (_Q, _R)), strict=True):
            self.mul(total[0], first, x)
            self.mulh(total[1], first, x)
            self._accumulate(total, second, y)
        if is_modular:
            self._make_exact(sums, multiples, factor)
        for total in sums:
            self._shift(total)
        self.label(label)
        self._next_limbs(sums, pointer, at_y - at_x, x, y)
        for place, total in zip((0, at_y - at_x), sums, strict=True):
            self._put_limb(total, place, pointer)
        self.addi(pointer, pointer, 4)
        self.bne(pointer, end, label)
        if is_modular:
            self._next_limbs(sums, pointer, at_y - at_x, x, y)
            self.lui(factor, _HIGH >> 12)
            for place, total, multiple in zip((0, at_y - at_x), sums, multiples, strict=True):
                self._accumulate(total, factor, multiple)
                self._put_limb(total, place, pointer)
            self.addi(pointer, pointer, 4)
        self.sw(sums[0][0], 0, pointer)
        self.sw(sums[1][0], at_y - at_x, pointer)

    def _next_limbs(self, sums: tuple[_Pair, _Pair], pointer: Register, apart: int, x: Register, y: Register) -> None:
        """Adds the products of the next limb of x and of y to both sums."""
        self.lw(x, 4, pointer)
        self.lw(y, apart + 4, pointer)
        for total, (first, second) in zip(sums, ((_U, _V), (_Q, _R)), strict=True):
            self._accumulate(total, first, x)
            self._accumulate(total, second, y)

    def _put_limb(self, total: _Pair, offset: int, pointer: Register) -> None:
        """Stores the lowest 30 bits and shifts them out."""
        scratch = FREE[7]
        self.and_(scratch, total[0], _MASK)
        self.sw(scratch, offset, pointer)
        self._shift(total)

    def _accumulate(self, total: _Pair, a: Register, b: Register) -> None:
        """total += a * b, signed."""
        low, high = FREE[7], _COUNT
        self.mul(low, a, b)
        self.mulh(high, a, b)
        self.add_carrying(total[0], total[0], low, low)
        self.add(total[1], total[1], high)
        self.add(total[1], total[1], low)

    def _shift(self, total: _Pair) -> None:
        """total /= 2^30."""
        scratch = FREE[7]
        self.srli(total[0], total[0], _LIMB_BITS)
        self.slli(scratch, total[1], 32 - _LIMB_BITS)
        self.or_(total[0], total[0], scratch)
        self.srai(total[1], total[1], _LIMB_BITS)

    def _count_negatives(self, multiples: Sequence[Register], at_x: int, at_y: int) -> None:
        """How often p must be added to u x + v y and to q x + r y to make up for negative x and y."""
        negative_x, negative_y, scratch = FREE[:3]
        for negative, place in ((negative_x, at_x), (negative_y, at_y)):
            self.lw(negative, place + 4 * (_LIMBS - 1), SP)
            self.srai(negative, negative, 31)
        for multiple, (first, second) in zip(multiples, ((_U, _V), (_Q, _R)), strict=True):
            self.and_(multiple, first, negative_x)
            self.and_(scratch, second, negative_y)
            self.add(multiple, multiple, scratch)

    def _make_exact(self, sums: tuple[_Pair, _Pair], multiples: Sequence[Register], factor: Register) -> None:
        """Changes `multiples` by less than 2^30 so that the lowest limb of sum + multiple * p is 0, and adds it."""
        scratch = FREE[7]
        self.li(factor, _P_INVERSE - (1 << _LIMB_BITS))
        for total, multiple in zip(sums, multiples, strict=True):
            self.mul(scratch, total[0], factor)
            self.add(scratch, scratch, multiple)
            self.and_(scratch, scratch, _MASK)
            self.sub(multiple, multiple, scratch)
        self.li(factor, _LOW)
        for total, multiple in zip(sums, multiples, strict=True):
            self._accumulate(total, factor, multiple)

    # The end

    def _take_result(self, words: Sequence[Register]) -> None:
        """words = d with the sign of f, modulo p and below 2^256.

        -2p < d < p. As in SUB, what is above 2^255 is taken off first, but one 2^255 stays, for limbs below 0.
        """
        negative, top, carry, limb, before, scratch = FREE[16:22]
        self.lw(negative, _F + 4 * (_LIMBS - 1), SP)
        self.srai(negative, negative, 31)
        self.lw(top, _D + 4 * (_LIMBS - 1), SP)
        self._negate(top, negative)
        self.srai(carry, top, 15)
        self.addi(carry, carry, -1)
        self.li(scratch, 19)
        self.mul(carry, carry, scratch)
        self.slli(top, top, 17)
        self.srli(top, top, 17)
        self.lui(scratch, _HIGH >> 12)
        self.or_(top, top, scratch)
        for number in range(_LIMBS):
            if number < _LIMBS - 1:
                self.lw(limb, _D + 4 * number, SP)
                self._negate(limb, negative)
                self.add(carry, carry, limb)
                self.and_(limb, carry, _MASK)
                self.srai(carry, carry, _LIMB_BITS)
            else:
                self.add(limb, top, carry)
            if number:
                shift = 2 * (number - 1)
                if shift:
                    self.srli(before, before, shift)
                self.slli(scratch, limb, _LIMB_BITS - shift)
                self.or_(words[number - 1], before, scratch)
            limb, before = before, limb

    def _negate(self, limb: Register, negative: Register) -> None:
        """limb = -limb if `negative` is all ones; unchanged if it is 0."""
        self.xor(limb, limb, negative)
        self.sub(limb, limb, negative)
