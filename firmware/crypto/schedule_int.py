"""Recodings of scalars in plain Python: for ports without native code, and the definition `schedule_viper` is held to.

Owns the digits of scalars that lead the curve's programs, and the programs of sums k * A + b * B, put together of
template words: what those say, only the curve knows. Numbers are little-endian octets. Integers cannot be constant
time: their length and their time depend on a secret, and what they leave on the heap stays there.

`words` holds the template as 32-bit words: 0 double, 1 complete, 2 pick of A's table, 3 add, 4 subtract, 5 pick of B's
table, 6 add, 7 subtract, 8 pick of A itself. How many doublings, stands in bits 8 to 15; an entry's slot is added from
bit 16 on.
"""

from micropython import const

_TEETH = const(5)  # of a comb: bits in one digit
_COMBS = const(2)
_SPACING = const(26)  # bits from one tooth to the next
_COMB_BITS = const(260)
_COMB_TABLE = const(16)
_DIGITS = const(52)

_A_WIDTH = const(5)
_B_WIDTH = const(6)
_A_SLOTS = const(4)  # an entry of the table for window digits of a; every other entry has three slots
_SLOTS = const(3)

_END = const(0)
# Numbers of template words.
_DOUBLE = const(0)
_COMPLETE = const(1)  # makes the coordinate that only an addition needs
_PICK_A = const(2)
_ADD_A = const(3)
_PICK_B = const(5)
_ADD_B = const(6)
_PICK_KEY = const(8)
_SUBTRACT = const(1)  # the subtraction stands after its addition


def comb_digits(digits: bytearray, at: int, scalar: bytes | bytearray, addend: bytes | bytearray) -> None:
    """Digits of a signed comb, for the odd one of `scalar` and `scalar` + `addend` (odd, 32 octets).

    The number is below 2 ** 254 and equals the sum over its 260 digits of +-2 ** position; bit 1 stands for +1, bit 0
    for -1. digits[at + 2 * row + comb], row < 26, holds five bits 26 positions apart, which say one table entry. Writes
    52 octets.
    """
    odd = int.from_bytes(scalar[0:32], "little")
    if not odd & 1:
        odd += int.from_bytes(addend[0:32], "little")
    bits = (odd + (1 << _COMB_BITS) - 1) >> 1
    for row in range(_SPACING):
        for comb in range(_COMBS):
            digit = 0
            for tooth in range(_TEETH):
                digit |= (bits >> (_TEETH * comb + tooth) * _SPACING + row & 1) << tooth
            digits[at + row * _COMBS + comb] = digit


def windows_schedule(program: bytearray, at: int, words: bytearray, a: bytes | bytearray, b: bytes | bytearray) -> int:
    """Writes the program of a * A + b * B for public a, b < L. Returns the number of its first instruction.

    One chain of doublings serves both: window digits of a (width 5) and of b (width 6), additions only where a digit
    is not zero; A first. Tables hold odd multiples. Of the 380 instructions from `at` on any may change.
    """
    start = at
    a_digits = _window_digits(int.from_bytes(a[0:32], "little"), _A_WIDTH)
    b_digits = _window_digits(int.from_bytes(b[0:32], "little"), _B_WIDTH)
    tables = (a_digits, _PICK_A, _ADD_A, _A_SLOTS), (b_digits, _PICK_B, _ADD_B, _SLOTS)
    pending = 0
    first = True
    for position in range(max(len(a_digits), len(b_digits)) - 1, -1, -1):
        if not first:
            pending += 1
        for window_digits, pick, add, slots in tables:
            digit = window_digits[position] if position < len(window_digits) else 0
            if not digit:
                continue
            if pending:
                at = _write(program, at, _word(words, _DOUBLE) | pending << 8)
                pending = 0
            offset = slots * (abs(digit) >> 1)
            at = _write_addition(program, at, words, first, pick, offset, add if digit > 0 else add + _SUBTRACT)
            first = False
    if pending:
        at = _write(program, at, _word(words, _DOUBLE) | pending << 8)
    _write(program, at, _END)
    return start


def comb_schedule(
    program: bytearray, at: int, words: bytearray, digits: bytes | bytearray, k: bytes | bytearray
) -> int:
    """Writes the program of k * A + b * B by combs for public k, b < L. Returns the number of its first instruction.

    digits[0:52] are `comb_digits` of k, addend 1; digits[52:104] those of b. If k is even, the comb was of k + 1, so
    that A itself is subtracted last. Of the 340 instructions from `at` on any may change.
    """
    start = at
    first = True
    for row in range(_SPACING - 1, -1, -1):
        if not first:
            at = _write(program, at, _word(words, _DOUBLE) | 1 << 8)
        for begin, pick, add in ((0, _PICK_A, _ADD_A), (_DIGITS, _PICK_B, _ADD_B)):
            for comb in range(_COMBS):
                digit = digits[begin + row * _COMBS + comb]
                at = _write_comb_digit(program, at, words, first, digit, comb, pick, add)
                first = False
    if not k[0] & 1:
        at = _write_addition(program, at, words, first, _PICK_KEY, 0, _ADD_A + _SUBTRACT)
    _write(program, at, _END)
    return start


def _window_digits(value: int, width: int) -> list[int]:
    """Digits of `value`, lowest first: 0, or odd and below 2 ** (width - 1), then followed by width - 1 zeros."""
    digits = []
    while value:
        digit = 0
        if value & 1:
            digit = value & (1 << width) - 1
            if digit >> width - 1:
                digit -= 1 << width
            value -= digit
        digits.append(digit)
        value >>= 1
    return digits


def _word(words: bytearray, number: int) -> int:
    return int.from_bytes(words[4 * number : 4 * number + 4], "little")


def _write(program: bytearray, at: int, word: int) -> int:
    """Writes instruction `at`. Returns the number of the next."""
    program[4 * at : 4 * at + 4] = word.to_bytes(4, "little")
    return at + 1


def _write_addition(
    program: bytearray, at: int, words: bytearray, first: bool, pick: int, offset: int, add: int
) -> int:
    """Completes the sum unless this is the `first` addition, picks the entry at slot `offset` of its table, adds it."""
    if not first:
        at = _write(program, at, _word(words, _COMPLETE))
    at = _write(program, at, _word(words, pick) + (offset << 16))
    return _write(program, at, _word(words, add))


def _write_comb_digit(
    program: bytearray, at: int, words: bytearray, first: bool, digit: int, comb: int, pick: int, add: int
) -> int:
    """Adds the entry of a comb digit; the table has only those whose highest bit means +1, the others are negatives."""
    if digit >= _COMB_TABLE:
        entry = digit - _COMB_TABLE
    else:
        entry = _COMB_TABLE - 1 - digit
        add += _SUBTRACT
    return _write_addition(program, at, words, first, pick, (_COMB_TABLE * comb + entry) * _SLOTS, add)
