"""SHA-512's compression function for Xtensa: generator of the device's module `crypto/sha512_xtensa.py`.

Owns `hash_blocks(out, data, blocks, constants, work)`; padding is its caller's. The data decide no branch and no
address.

Words are pairs of 32-bit halves, the low one first in memory. Without a carry flag a sum is kept in three registers
(`_Sum`): the low halves' sum modulo 2 ** 32; the sum of the low halves shifted right by 4; and the high halves' sum.
The second is carry * 2 ** 28 + (the first >> 4) less what was shifted out, which is 0 to 14 for up to fifteen terms: so
their difference plus 15 has the carry from bit 28 on.

The state's eight words stay where they are in `work`; after each round the letters move on by one, so that eight rounds
are written out and looped over. Two halves of eight message words take turns: one is used by eight rounds and then
replaced by the words sixteen rounds on.

Source: FIPS 180-4, sections 4.1.3, 6.4.2.
"""

from dataclasses import dataclass

from host_tools.machine_code.sha512_constants import CONSTANTS
from host_tools.machine_code.xtensa import FRAME, SP, Code

_WORK_SIZE = 640
_HALF = 8  # words
_HALVES = 10  # in a block's schedule
_WORD = 8  # octets
_DATA = 12  # offset of the data's address in a bytearray object

# Offsets in `work`
_STATE = 0
_MESSAGE = _STATE + 8 * _WORD
_OTHER_HALF, _REMAINING, _CONSTANTS = range(_MESSAGE + 16 * _WORD, _MESSAGE + 16 * _WORD + 12, 4)

# The frame
_OUT, _NEXT_DATA, _BLOCKS = FRAME[::4]

_ROUND_CONSTANTS_SIZE = 80 * _WORD

# Registers. Pairs are (low, high).
_WORK, _HALF_AT, _CONSTANT_AT = 2, 3, 4
_A, _E, _B_XOR_C = (5, 6), (7, 8), (9, 10)
_LOW, _SHIFTED, _HIGH = 11, 12, 13
_T0, _T1, _T2 = 14, 15, 0
_ARGUMENTS = 5

_CARRY_SHIFT = 4

_Pair = tuple[int, int]
_Triple = tuple[int, int, int]


def source() -> str:
    """The text of the module: `hash_blocks` and CONSTANTS."""
    return f"import micropython\n\nCONSTANTS = {CONSTANTS!r}\n\n\n{_hash_blocks().container('hash_blocks')}"


@dataclass(frozen=True)
class _Sum:
    """Sum of 64-bit words modulo 2 ** 64. `temporary` is spoilt by every step."""

    code: Code
    low: int = _LOW
    shifted: int = _SHIFTED
    high: int = _HIGH
    temporary: int = _T1

    def load(self, base: int, offset: int) -> None:
        """Starts with a word from memory."""
        _load_pair(self.code, (self.low, self.high), base, offset)
        self.code.srli(self.shifted, self.low, _CARRY_SHIFT)

    def start(self, pair: _Pair) -> None:
        self.code.mov(self.low, pair[0])
        self.code.mov(self.high, pair[1])
        self.code.srli(self.shifted, self.low, _CARRY_SHIFT)

    def add(self, pair: _Pair) -> None:
        """Spoils `pair`."""
        low, high = pair
        self.code.add(self.low, self.low, low)
        self.code.srli(low, low, _CARRY_SHIFT)
        self.code.add(self.high, self.high, high)
        self.code.add(self.shifted, self.shifted, low)

    def carried(self, to: _Pair) -> None:
        """`to` = the sum, which is spoilt."""
        low, high = to
        self.code.srli(self.temporary, self.low, _CARRY_SHIFT)
        self.code.sub(self.shifted, self.shifted, self.temporary)
        self.code.addi(self.shifted, self.shifted, 15)
        self.code.extui(self.shifted, self.shifted, 32 - _CARRY_SHIFT, _CARRY_SHIFT)
        self.code.add(high, self.high, self.shifted)
        if low != self.low:
            self.code.mov(low, self.low)

    def plus(self, pair: _Pair, to: _Pair) -> None:
        """`to` = the sum plus `pair`, which is spoilt; the sum stays. `to` must be none of its registers."""
        low, high = pair
        code, temporary = self.code, self.temporary
        code.add(to[0], self.low, low)
        code.srli(low, low, _CARRY_SHIFT)
        code.add(to[1], self.high, high)
        code.add(low, low, self.shifted)
        code.srli(temporary, to[0], _CARRY_SHIFT)
        code.sub(low, low, temporary)
        code.addi(low, low, 15)
        code.extui(low, low, 32 - _CARRY_SHIFT, _CARRY_SHIFT)
        code.add(to[1], to[1], low)


def _load_pair(code: Code, pair: _Pair, base: int, offset: int) -> None:
    code.l32i(pair[0], base, offset)
    code.l32i(pair[1], base, offset + 4)


def _store_pair(code: Code, pair: _Pair, base: int, offset: int) -> None:
    code.s32i(pair[0], base, offset)
    code.s32i(pair[1], base, offset + 4)


def _hash_blocks() -> Code:
    code = Code()
    _start(code)
    code.label("block")
    _begin_block(code)
    code.label("half")
    _rounds(code)
    code.l32i(_T0, _WORK, _REMAINING)
    code.addi(_T0, _T0, -1)
    code.s32i(_T0, _WORK, _REMAINING)
    code.beqz(_T0, "end of block")
    code.l32i(_T2, _WORK, _OTHER_HALF)
    code.beqi(_T0, 1, "exchange")
    _schedule(code, _T2)
    code.label("exchange")
    code.s32i(_HALF_AT, _WORK, _OTHER_HALF)
    code.mov(_HALF_AT, _T2)
    code.j("half")
    code.label("end of block")
    _end_block(code)
    code.l32i(_T0, SP, _BLOCKS)
    code.addi(_T0, _T0, -1)
    code.s32i(_T0, SP, _BLOCKS)
    code.bnez(_T0, "block")
    _write_digest(code)
    _clear(code)
    code.movi(2, 1)  # the small integer 0
    return code


def _start(code: Code) -> None:
    """Takes the arguments; `out` begins with the initial state, low halves first until the end."""
    out, data, blocks, constants = 6, 7, 8, 9
    for number, register in enumerate((out, data, blocks, constants, _WORK)):
        code.l32i(register, _ARGUMENTS, 4 * number)
    for register in (out, data, constants, _WORK):
        code.l32i(register, register, _DATA)
    code.srai(blocks, blocks, 1)  # from a small integer's object
    code.s32i(out, SP, _OUT)
    code.s32i(data, SP, _NEXT_DATA)
    code.s32i(blocks, SP, _BLOCKS)
    code.s32i(constants, _WORK, _CONSTANTS)
    for offset in range(0, 8 * _WORD, _WORD):
        _load_pair(code, (_T0, _T1), constants, _ROUND_CONSTANTS_SIZE + offset)
        _store_pair(code, (_T0, _T1), out, offset)


def _begin_block(code: Code) -> None:
    data, out = 3, 5
    code.l32i(data, SP, _NEXT_DATA)
    code.ssai(8)
    for offset in range(0, 16 * _WORD, _WORD):
        for half in (0, 4):
            code.l32i(_T0, data, offset + half)
            _reverse(code, _T0, _T1)
            code.s32i(_T0, _WORK, _MESSAGE + offset + 4 - half)
    code.addi(data, data, 64)
    code.addi(data, data, 64)
    code.s32i(data, SP, _NEXT_DATA)
    code.l32i(out, SP, _OUT)
    for offset in range(0, 8 * _WORD, _WORD):
        _load_pair(code, (_T0, _T1), out, offset)
        _store_pair(code, (_T0, _T1), _WORK, _STATE + offset)
    code.movi(_T0, _HALVES)
    code.s32i(_T0, _WORK, _REMAINING)
    code.l32i(_CONSTANT_AT, _WORK, _CONSTANTS)
    code.addi(_HALF_AT, _WORK, _MESSAGE)
    code.addi(_T0, _HALF_AT, _HALF * _WORD)
    code.s32i(_T0, _WORK, _OTHER_HALF)


def _reverse(code: Code, register: int, temporary: int) -> None:
    """The octets of a word, if the shift amount is 8."""
    code.extui(temporary, register, 16, 16)
    code.src(temporary, temporary, register)
    code.src(temporary, temporary, temporary)
    code.src(register, register, temporary)


# --- rounds


def _rounds(code: Code) -> None:
    """Eight of them. In the n-th, the word called a in the first is called b or (n + 1)-th of a to h."""
    _load_pair(code, _A, _WORK, _STATE)
    _load_pair(code, _E, _WORK, _STATE + 4 * _WORD)
    _load_pair(code, _B_XOR_C, _WORK, _STATE + _WORD)
    _load_pair(code, (_T0, _T1), _WORK, _STATE + 2 * _WORD)
    for half in (0, 1):
        code.xor(_B_XOR_C[half], _B_XOR_C[half], (_T0, _T1)[half])
    b_xor_c: _Pair = _B_XOR_C
    temporaries: _Triple = (_T0, _T1, _T2)
    for number in range(_HALF):
        b_xor_c, temporaries = _round(code, number, b_xor_c, temporaries)
    code.addi(_CONSTANT_AT, _CONSTANT_AT, _HALF * _WORD)


def _round(code: Code, number: int, b_xor_c: _Pair, temporaries: _Triple) -> tuple[_Pair, _Triple]:
    """FIPS 180-4, 6.4.2 step 3. Gives the registers of a ^ b, the next round's b ^ c, and those that are free."""
    _, b, _, d, _, f, g, h = (_STATE + (letter - number) % 8 * _WORD for letter in range(8))
    low, spare, high = temporaries
    pair = (low, high)
    total = _Sum(code, temporary=spare)
    total.load(_WORK, h)
    _load_pair(code, pair, _HALF_AT, number * _WORD)
    total.add(pair)
    _load_pair(code, pair, _CONSTANT_AT, number * _WORD)
    total.add(pair)
    _rotations(code, pair, _E, (14, 18, 41), spare)
    total.add(pair)
    _load_pair(code, pair, _WORK, f)
    for half in (0, 1):  # Ch(e, f, g) = g ^ e & (f ^ g)
        code.l32i(spare, _WORK, g + 4 * half)
        code.xor(pair[half], pair[half], spare)
        code.and_(pair[half], pair[half], _E[half])
        code.xor(pair[half], pair[half], spare)
    total.add(pair)
    _load_pair(code, pair, _WORK, d)
    total.plus(pair, _E)
    _store_pair(code, _E, _WORK, d)  # the next round's e, where d was
    _rotations(code, pair, _A, (28, 34, 39), spare)
    total.add(pair)
    a_xor_b = (low, spare)
    for half in (0, 1):  # Maj(a, b, c) = b ^ (a ^ b) & (b ^ c)
        code.l32i(high, _WORK, b + 4 * half)
        code.xor(a_xor_b[half], _A[half], high)
        code.and_(b_xor_c[half], b_xor_c[half], a_xor_b[half])
        code.xor(b_xor_c[half], b_xor_c[half], high)
    total = _Sum(code, temporary=high)
    total.add(b_xor_c)
    total.carried(_A)
    _store_pair(code, _A, _WORK, h)
    return a_xor_b, (b_xor_c[0], high, b_xor_c[1])


def _rotations(code: Code, to: _Pair, word: _Pair, amounts: tuple[int, int, int], spare: int) -> None:
    """The exclusive or of a word rotated right by three amounts."""
    for place, amount in enumerate(amounts):
        low, high = word if amount < 32 else word[::-1]
        code.ssai(amount % 32)
        _shift_in(code, to, ((high, low), (low, high)), spare, first=place == 0)


def _shift_in(code: Code, to: _Pair, halves: tuple[_Pair, _Pair], spare: int, first: bool) -> None:
    """`to` ^= two words of the shifter, each made of a high and a low one; `first`: `to` = them."""
    for half, (high, low) in enumerate(halves):
        if first:
            code.src(to[half], high, low)
        else:
            code.src(spare, high, low)
            code.xor(to[half], to[half], spare)


# --- message schedule


def _schedule(code: Code, other: int) -> None:
    """Replaces the half just used: FIPS 180-4, 6.4.2 step 1, sixteen words on.

    The words at `_HALF_AT` are 0 to 7 and, once replaced, 16 to 23; those at `other` are 8 to 15.
    """
    word, following = _A, _E
    pair, spare = (_T0, 9), _T1

    def load(to: _Pair, number: int) -> None:
        _load_pair(code, to, other if number in range(_HALF, 2 * _HALF) else _HALF_AT, number % _HALF * _WORD)

    load(word, 0)
    for number in range(_HALF):
        total = _Sum(code, temporary=spare)
        total.start(word)
        load(following, number + 1)
        _sigma(code, pair, following, (1, 8), 7, spare)
        total.add(pair)
        load(pair, number + 9)
        total.add(pair)
        load(word, number + 14)
        _sigma(code, pair, word, (19, 61), 6, spare)
        total.add(pair)
        total.carried((_LOW, _HIGH))
        _store_pair(code, (_LOW, _HIGH), _HALF_AT, number * _WORD)
        word, following = following, word


def _sigma(code: Code, to: _Pair, word: _Pair, rotations: tuple[int, int], shift: int, spare: int) -> None:
    """The exclusive or of a word rotated right by two amounts and shifted right by a third."""
    low, high = word
    code.ssai(shift)
    code.src(to[0], high, low)
    code.srli(to[1], high, shift)
    for amount in rotations:
        low, high = word if amount < 32 else word[::-1]
        code.ssai(amount % 32)
        _shift_in(code, to, ((high, low), (low, high)), spare, first=False)


# --- ends


def _end_block(code: Code) -> None:
    """FIPS 180-4, 6.4.2 step 4."""
    out = _A[0]
    code.l32i(out, SP, _OUT)
    for offset in range(0, 8 * _WORD, _WORD):
        total = _Sum(code)
        total.load(out, offset)
        _load_pair(code, (_T0, _T2), _WORK, _STATE + offset)
        total.add((_T0, _T2))
        total.carried((_LOW, _HIGH))
        _store_pair(code, (_LOW, _HIGH), out, offset)


def _write_digest(code: Code) -> None:
    out = _A[0]
    code.ssai(8)
    for offset in range(0, 8 * _WORD, _WORD):
        _load_pair(code, (_LOW, _HIGH), out, offset)
        _reverse(code, _LOW, _T0)
        _reverse(code, _HIGH, _T0)
        _store_pair(code, (_HIGH, _LOW), out, offset)


def _clear(code: Code) -> None:
    """All of `work`."""
    zero, left, words = _T0, _T1, 16
    code.movi(zero, 0)
    code.movi(left, _WORK_SIZE // (4 * words))
    code.label("clear")
    for number in range(words):
        code.s32i(zero, _WORK, 4 * number)
    code.addi(_WORK, _WORK, 4 * words)
    code.addi(left, left, -1)
    code.bnez(left, "clear")
