"""Scalars of Ed25519 in viper, for every chip that loads native code: the same functions as `scalar_int`.

`scalar_int` says what each of them does. No number decides a branch or an address: all may be secret.

Numbers stand in limbs of 14 bits, lowest first, because the group's order is L = 2 ** (14 * 18) + c (RFC 8032 section
5.1). A viper integer has 32 bits or 64, and what `ptr32` reads has a sign only if it has 32; all is bounded so that
both compute the same. Viper keeps the first two parameters in registers: hence their order in private functions, and
`x`, for which 0 is passed. Native functions call nothing and use no names but their own.

Secrets are overwritten before a function returns: in `work`, and in variables, hence on the stack. Registers keep what
they hold, and on Xtensa one word on the stack lasts until `_fold`, which always comes next.
"""
# Only viper's compiler knows `ptr8` and `ptr32`.
# ruff: noqa: F821
# pyright: reportUndefinedVariable=false

import micropython
from micropython import const

_BITS = const(14)
_MASK = const(0x3FFF)
_HALF = const(0x2000)
_LIFT = const(256)  # what limb 18 stands too high while folding, so that no limb in memory is negative

# -c in limbs from -8192 to 8191: what 2 ** 252 is modulo L. Their amounts sum up to 37900.
_FOLD_0 = const(-5101)
_FOLD_1 = const(3113)
_FOLD_2 = const(3674)
_FOLD_3 = const(-1177)
_FOLD_4 = const(-5720)
_FOLD_5 = const(-7795)
_FOLD_6 = const(5585)
_FOLD_7 = const(392)
_FOLD_8 = const(-5343)

_A = const(29)  # the limb where a begins in `work`; the product grows into it when it has been used
_B = const(48)
_GROUPS = const(4)  # of seven octets in 32, of four limbs
_WIDE_GROUPS = const(9)  # in 64

WORK = const(288)


def reduce(out: bytearray, wide: bytes | bytearray, work: bytearray) -> None:
    """out[0:32] = wide[0:64] modulo L."""
    _unpack(0, wide, work, 0, _WIDE_GROUPS)
    _fold(0, work, out)


def multiply_add(
    out: bytearray, a: bytes | bytearray, b: bytes | bytearray, c: bytes | bytearray, work: bytearray
) -> None:
    """out[0:32] = (a * b + c) modulo L, of any three numbers of 32 octets. `out` may be one of them."""
    _unpack(_HALF, a, work, _A, _GROUPS)
    _unpack(_HALF, b, work, _B, _GROUPS)
    _multiply(0, work, c)
    _fold(0, work, out)


@micropython.viper
def _unpack(half: int, octets: ptr8, limbs: ptr32, first: int, groups: int):
    """Limbs from number `first` on of 64 octets (`half` 0: from 0 to 16383) or 32 (`half` 8192: from -8192 to 8191).

    The last limb is what is left: at most 255 (limb 36 of 64 octets) or 16 (limb 18). `half` becomes the part not yet
    stored, below 2 ** 29, with what was passed as `half` added, so that a limb carries from 8192 on.
    """
    offset = half
    limbs = ptr32(int(limbs) + (first << 2))
    while True:
        half = ((((octets[3] & 15) << 8 | octets[2]) << 8 | octets[1]) << 8 | octets[0]) + half
        limbs[0] = (_MASK & half) - offset
        half = (half >> _BITS) + offset
        limbs[1] = (_MASK & half) - offset
        half = half >> _BITS
        if not groups:
            limbs[2] = (octets[3] >> 4) + half
            break
        half = (((octets[6] << 8 | octets[5]) << 8 | octets[4]) << 4 | octets[3] >> 4) + half + offset
        limbs[2] = (_MASK & half) - offset
        half = (half >> _BITS) + offset
        limbs[3] = (_MASK & half) - offset
        half = (half >> _BITS) + offset
        octets = ptr8(int(octets) + 7)
        limbs = ptr32(int(limbs) + 16)
        groups -= 1
        if not groups + offset:
            limbs[0] = octets[0]
            break


@micropython.viper
def _multiply(x: int, limbs: ptr32, c: ptr8):
    """Limbs 0..36, from 0 to 16383, become a * b + c. Limbs 29..47 are those of a, 48..66 of b; c is 32 octets.

    The product is added to c, which stands in pieces of 28 bits, every second limb. First a times b's lower ten limbs,
    then times the others; row by row, of one limb of a. Between rows, sum_0 to sum_8 are the columns begun, lowest
    first. A column is of 19 products of at most 2 ** 26, 28 bits of c and a carry below 2 ** 18: below 2 ** 31. Where a
    limb was read without its sign, a sum is right in its low 32 bits, and those are what is stored.
    """
    column = limbs
    to_a = _A
    end = int(c) + 28
    while True:
        limbs[0] = (((c[3] & 15) << 8 | c[2]) << 8 | c[1]) << 8 | c[0]
        limbs[1] = 0
        if int(c) == end:
            break
        limbs[2] = ((c[6] << 8 | c[5]) << 8 | c[4]) << 4 | c[3] >> 4
        limbs[3] = 0
        limbs = ptr32(int(limbs) + 16)
        c = ptr8(int(c) + 7)
    limbs[2] = c[3] >> 4
    limbs[12] = 0  # limb 28: above what the first half leaves
    limbs = ptr32(int(column) + 4 * _B)
    limbs[19] = 0  # so that b's upper half has ten, too

    while True:
        sum_0 = sum_1 = sum_2 = sum_3 = sum_4 = sum_5 = sum_6 = sum_7 = sum_8 = 0
        end = int(column) + 4 * 19
        while int(column) != end:
            x = column[to_a]
            column[0] = limbs[0] * x + sum_0 + column[0]
            sum_0 = limbs[1] * x + sum_1
            sum_1 = limbs[2] * x + sum_2
            sum_2 = limbs[3] * x + sum_3
            sum_3 = limbs[4] * x + sum_4
            sum_4 = limbs[5] * x + sum_5
            sum_5 = limbs[6] * x + sum_6
            sum_6 = limbs[7] * x + sum_7
            sum_7 = limbs[8] * x + sum_8
            sum_8 = limbs[9] * x
            column = ptr32(int(column) + 4)
        column[0] = sum_0
        column[1] = sum_1
        column[2] = sum_2
        column[3] = sum_3
        column[4] = sum_4
        column[5] = sum_5
        column[6] = sum_6
        column[7] = sum_7
        column[8] = sum_8
        if to_a != _A:
            break
        to_a = _A - 10
        limbs = ptr32(int(limbs) + 4 * 10)
        column = ptr32(int(column) - 4 * 9)
    sum_0 = sum_1 = sum_2 = sum_3 = sum_4 = sum_5 = sum_6 = sum_7 = sum_8 = 0

    # Carries. (limb ^ sign) - sign has its sign, whether the limb was read with it or without.
    limbs = ptr32(int(column) - 4 * 29)
    end = int(limbs) + 4 * 36
    sign = 1
    sign <<= 31
    x = 0
    while int(limbs) != end:
        x = (limbs[0] ^ sign) + x - sign
        limbs[0] = _MASK & x
        x >>= _BITS
        x = (limbs[1] ^ sign) + x - sign
        limbs[1] = _MASK & x
        x >>= _BITS
        limbs = ptr32(int(limbs) + 8)
    limbs[0] = limbs[0] + x


@micropython.viper
def _fold(x: int, limbs: ptr32, out: ptr8):
    """out[0:32] = limbs 0..36 (from 0 to 16383, together below 2 ** 512) modulo L. All of `work` becomes 0.

    To fold: limb i + 18, times -c, is added to limbs i to i + 8. First ten limbs, i from 9 to 18, then again, i from 0
    to 9, then twice limb 18 alone. A sum is of 9 products, together at most 37900 * 16383, a limb and a carry: below
    2 ** 30. Then carries leave limbs from 0 to 16383, and what is above them, t, in the limb above.

    t may be negative. So every fold takes `_LIFT` from its first limb and adds it to t: in the first fold that is the
    same limb, 27, and for the others limb 18 is lifted once. The first t is from -86 to 1, the second from -86 to 0. It
    is increased by the highest bit of limb 17, so that the limbs below count for -2 ** 251 to 2 ** 251. The third fold
    hence has a value from -2 ** 251 - c to 2 ** 251 + 86 * c, nearer to 0 than L, and t is -1 if it is negative, else
    0. The fourth adds L if it is negative.
    """
    work = limbs
    limbs = ptr32(int(limbs) + 4 * 9)
    end = int(work) + 4 * 19
    lift = _LIFT
    folds = 4
    while folds:
        sum_0 = limbs[0]
        sum_1 = limbs[1]
        sum_2 = limbs[2]
        sum_3 = limbs[3]
        sum_4 = limbs[4]
        sum_5 = limbs[5]
        sum_6 = limbs[6]
        sum_7 = limbs[7]
        x = limbs[18] - _LIFT
        while int(limbs) != end:
            sum_0 = _FOLD_0 * x + sum_0
            limbs[0] = _MASK & sum_0
            sum_0 = _FOLD_1 * x + (sum_0 >> _BITS) + sum_1
            sum_1 = _FOLD_2 * x + sum_2
            sum_2 = _FOLD_3 * x + sum_3
            sum_3 = _FOLD_4 * x + sum_4
            sum_4 = _FOLD_5 * x + sum_5
            sum_5 = _FOLD_6 * x + sum_6
            sum_6 = _FOLD_7 * x + sum_7
            sum_7 = _FOLD_8 * x + limbs[8]
            limbs = ptr32(int(limbs) + 4)
            x = limbs[18]
        x = sum_0
        limbs[0] = _MASK & x
        x = (x >> _BITS) + sum_1
        limbs[1] = _MASK & x
        x = (x >> _BITS) + sum_2
        limbs[2] = _MASK & x
        x = (x >> _BITS) + sum_3
        limbs[3] = _MASK & x
        x = (x >> _BITS) + sum_4
        limbs[4] = _MASK & x
        x = (x >> _BITS) + sum_5
        limbs[5] = _MASK & x
        x = (x >> _BITS) + sum_6
        limbs[6] = _MASK & x
        x = (x >> _BITS) + sum_7
        limbs[7] = _MASK & x
        limbs = ptr32(int(limbs) + 32)
        if folds < 3:
            end = int(work) + 4 * 18
            while int(limbs) != end:
                x = (x >> _BITS) + limbs[0]
                limbs[0] = _MASK & x
                x = (x >> _BITS) + limbs[1]
                limbs[1] = _MASK & x
                x = (x >> _BITS) + limbs[2]
                limbs[2] = _MASK & x
                limbs = ptr32(int(limbs) + 12)
        limbs[0] = (x >> _BITS) + lift
        lift = _LIFT
        limbs = work
        end = int(work) + 4
        folds -= 1
        if folds > 1:
            if folds > 2:  # here limb 18 is one of ten, not yet lifted
                x = _LIFT
                end = int(work) + 4 * 10
            else:  # the bit stays in limb 17, so the next carry into limb 18 is too high by it
                x = limbs[17] >> 13
                lift = _LIFT - x
            limbs[18] = limbs[18] + x

    end = int(work) + 64
    while int(limbs) != end:
        x = limbs[1] << _BITS | limbs[0]
        out[0] = x
        out[1] = x >> 8
        out[2] = x >> 16
        x = (limbs[3] << _BITS | limbs[2]) << 4 | x >> 24
        limbs[0] = 0
        limbs[1] = 0
        limbs[2] = 0
        limbs[3] = 0
        out[3] = x
        out[4] = x >> 8
        out[5] = x >> 16
        out[6] = x >> 24
        out = ptr8(int(out) + 7)
        limbs = ptr32(int(limbs) + 16)
    x = ((limbs[2] - _LIFT) << _BITS | limbs[1]) << _BITS | limbs[0]
    out[0] = x
    out[1] = x >> 8
    out[2] = x >> 16
    out[3] = x >> 24

    end = int(work) + WORK
    while int(limbs) != end:
        limbs[0] = 0
        limbs[1] = 0
        limbs[2] = 0
        limbs[3] = 0
        limbs[4] = 0
        limbs[5] = 0
        limbs[6] = 0
        limbs[7] = 0
        limbs = ptr32(int(limbs) + 32)
    sum_0 = sum_1 = sum_2 = sum_3 = sum_4 = sum_5 = sum_6 = sum_7 = 0
