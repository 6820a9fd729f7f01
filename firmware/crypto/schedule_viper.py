"""Recodings of scalars in viper, for every chip that loads native code: the same functions as `schedule_int`.

`schedule_int` says what each of them does. In `comb_digits` nothing that may be secret decides a branch or an address,
and what it holds of the secret in variables, hence on the stack, is overwritten before it returns; the schedules are of
public numbers. All values stay below 2 ** 31, so that integers of 32 bits and of 64 compute the same. Viper keeps the
first two parameters in registers: hence what `at` is used for. Operations whose left side is a constant are shorter.
"""
# Only viper's compiler knows `ptr8` and `ptr32`.
# ruff: noqa: F821
# pyright: reportUndefinedVariable=false

import micropython
from micropython import const

_DIGITS = const(52)  # of two combs
_PIECE = const(13)  # bits: half a tooth's
_EVERY_FIFTH = const(0x2108421)  # of 26 bits
_ENTRY = const(0x30000)  # three slots, where a PICK has its slot
_COMB = const(0x300000)  # the 16 entries of one comb, likewise

# Of a windows' schedule.
_ROOM = const(4 * 380)  # octets; in 256 bits and a carry are at most 52 and 43 digits, each of four instructions
_AHEAD = const(6)  # bits known at any position, the widest window
_B = const(15)  # where b's bits begin
_ODD = const(1 | 1 << 15)
_GUARD = const(1 << 22)  # where the guard is when the next octets are due; eight positions before, at bit 30


@micropython.viper
def comb_digits(digits: ptr8, at: int, scalar: ptr8, addend: ptr8):
    """See `schedule_int`.

    Half of the odd number, without the bit that is lost, and with bit 259 set, is what is spread over the digits. It is
    read in pieces of 13 bits; two of them are a tooth's bits in all rows of one comb. Bit r goes to word r % 5, so that
    with the bits of all teeth, each one further left, words hold whole digits.
    """
    digits = ptr8(int(digits) + at)
    even = (scalar[0] & 1) - 1
    combs_end = int(digits) + 2
    end = int(scalar) + 32
    held = held_bits = 0
    while int(digits) != combs_end:
        rows_0 = rows_1 = rows_2 = rows_3 = rows_4 = 0
        tooth = 0
        while tooth < 5:
            bits = 0
            filled = 0
            while filled < 2 * _PIECE:
                if held_bits <= _PIECE:  # one more than a piece, because the lowest bit held has been used
                    at = 16  # bit 260 of the number
                    if int(scalar) != end:
                        at = ((addend[1] & even) + scalar[1] << 8) + (addend[0] & even) + scalar[0]
                        scalar = ptr8(int(scalar) + 2)
                        addend = ptr8(int(addend) + 2)
                    held = (at << held_bits) + held
                    held_bits += 16
                bits = (held >> 1 & 0x1FFF) << filled | bits
                held >>= _PIECE
                held_bits -= _PIECE
                filled += _PIECE
            rows_0 = (bits & _EVERY_FIFTH) << tooth | rows_0
            rows_1 = (bits >> 1 & _EVERY_FIFTH) << tooth | rows_1
            rows_2 = (bits >> 2 & _EVERY_FIFTH) << tooth | rows_2
            rows_3 = (bits >> 3 & _EVERY_FIFTH) << tooth | rows_3
            rows_4 = (bits >> 4 & _EVERY_FIFTH) << tooth | rows_4
            tooth += 1
        row = 0
        while row < 5:
            at = row << 1
            while at < _DIGITS:
                digits[at] = 31 & rows_0
                rows_0 >>= 5
                at += 10
            rows_0 = rows_1
            rows_1 = rows_2
            rows_2 = rows_3
            rows_3 = rows_4
            row += 1
        digits = ptr8(int(digits) + 1)
    even = bits = rows_0 = rows_1 = rows_2 = rows_3 = rows_4 = 0


@micropython.viper
def windows_schedule(program: ptr32, at: int, words: ptr32, a: ptr8, b: ptr8) -> int:
    """See `schedule_int`.

    Digits come from the lowest up, so the program is written from the end of its room backward: b's addition before
    that of a, doublings before what they follow. `at` becomes both numbers from one position on: a below bit 15, b
    from there on, and a guard on top, all moving down together. Of each number at most 14 bits and a carry have been
    read, and what is behind the position is 0, so that neither reaches the next. Half a window's size, added, makes
    digits positive and leaves their carry.
    """
    begin = int(program)
    program = ptr32(int(program) + (at << 2) + _ROOM)
    last = ptr32(int(program) - 4)
    end = int(a) + 32
    doublings = words[0] - (_AHEAD << 8)  # so many positions are passed before the first bit
    at = _GUARD
    while True:
        while not _ODD & at:
            if at < 2 * _GUARD:
                if int(a) != end:
                    at = ((b[0] << _B) + a[0] << _AHEAD) + at
                    a = ptr8(int(a) + 1)
                    b = ptr8(int(b) + 1)
                elif at == _GUARD:
                    last[0] = 0  # nothing is left to complete
                    if int(program) - int(last) == 4:
                        program = last
                    return int(program) - begin >> 2
                at = 255 * _GUARD + at
            at >>= 1
            doublings = 256 + doublings
        program = ptr32(int(program) - 16)
        if 1 << _B & at:
            at = (32 << _B) + at
            if 32 << _B & at:
                program[0] = (30 & at >> _B) * (_ENTRY >> 1) + words[5]
                program[1] = words[6]
            else:
                program[0] = (30 & at >> _B ^ 30) * (_ENTRY >> 1) + words[5]
                program[1] = words[7]
            at = at - (63 << _B & at)
        else:
            at = 16 + at
            if 16 & at:
                program[0] = ((14 & at) << 17) + words[2]
                program[1] = words[3]
            else:
                program[0] = ((14 & at ^ 14) << 17) + words[2]
                program[1] = words[4]
            at = at - (31 & at)
        program[2] = doublings
        program[3] = words[1]
        if doublings == words[0]:  # none: both numbers have a digit here, or it is the lowest position
            program[2] = program[1]
            program[1] = program[0]
            program = ptr32(int(program) + 4)
        doublings = words[0]


@micropython.viper
def comb_schedule(program: ptr32, at: int, words: ptr32, digits: ptr8, k: ptr8) -> int:
    """See `schedule_int`. A completion is written behind every addition; doubling and the end write over it."""
    start = at
    program = ptr32(int(program) + (at << 2) - 4)
    row = 25 * 2  # twice the row
    while True:
        pick = words[2]
        add = words[3]
        subtract = words[4]
        at = row
        end = row + 2
        while True:
            digit = digits[at]
            if digit > 15:
                program[1] = (digit - 16) * _ENTRY + pick
                program[2] = add
            else:
                program[1] = (15 - digit) * _ENTRY + pick
                program[2] = subtract
            program[3] = words[1]
            program = ptr32(int(program) + 12)
            pick = _COMB + pick
            at = 1 + at
            if at == end:
                if at > _DIGITS:
                    break
                pick = words[5]
                add = words[6]
                subtract = words[7]
                at = row + _DIGITS
                end = at + 2
        if not row:
            break
        row -= 2
        program[0] = words[0] | 256
        program[1] = words[1]
        program = ptr32(int(program) + 4)
    if k[0] & 1:
        program[0] = 0
    else:
        program[1] = words[8]
        program[2] = words[4]
        program[3] = 0
    return start
