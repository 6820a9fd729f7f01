"""An instruction library for RISC-V, RV32IMC: writes machine code, one method per instruction.

Owns the encodings (RISC-V Unprivileged ISA, chapters RV32I, M and C), the choice of the 16-bit form wherever there is
one, and the lengths of jumps. Knows nothing of what is computed.

Rules: operands are in the order of the standard's assembly (destination first). A jump names its label, which may come
before or after it, and reaches any distance within the function: a conditional branch to a label too far away becomes
the inverted branch over a jump. Operands out of an encoding's range raise ValueError. The code needs no place of its
own in memory, and falls out at its end: the compiler of MicroPython appends the return.

The methods under "Several words" are the steps of arithmetic on numbers longer than a register, for which RISC-V has no
carry flag: a carry is a register that holds 0 or a small number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Register(IntEnum):
    """The integer registers by the names of the calling convention."""

    ZERO, RA, SP, GP, TP, T0, T1, T2 = range(8)
    S0, S1, A0, A1, A2, A3, A4, A5 = range(8, 16)
    A6, A7, S2, S3, S4, S5, S6, S7 = range(16, 24)
    S8, S9, S10, S11, T3, T4, T5, T6 = range(24, 32)


ZERO, RA, SP = Register.ZERO, Register.RA, Register.SP
SAVED = (RA, Register.S0, Register.S1, *(Register(number) for number in range(Register.S2, Register.S11 + 1)))

_WORDS_IN_A_LINE = 8


@dataclass
class _Form:
    """One encoding of a jump: `encode(offset)` is good for -reach <= offset < reach."""

    reach: int
    size: int
    encode: Callable[[int], bytes]


@dataclass
class _Jump:
    """A reference to a label; `forms` from the shortest to the one that always reaches."""

    label: str
    forms: list[_Form]

    @property
    def size(self) -> int:
        return self.forms[0].size


def _bits(value: int, *places: tuple[int, int, int]) -> int:
    """Gathers fields of an immediate: (highest bit, lowest bit, where the lowest one goes)."""
    return sum((value >> low & (1 << high - low + 1) - 1) << to for high, low, to in places)


def _check(value: int, bits: int, step: int = 1) -> int:
    """`value` if it is a signed number of `bits` bits and a multiple of `step`."""
    if not -(1 << bits - 1) <= value < 1 << bits - 1 or value % step:
        raise ValueError(f"{value} does not fit a signed immediate of {bits} bits in steps of {step}")
    return value


def _is_short(*registers: Register) -> bool:
    """Whether all are among the eight that the three-bit fields of compressed instructions name."""
    return all(Register.S0 <= register <= Register.A5 for register in registers)


def _word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _half(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _jal(offset: int) -> bytes:
    return _word(_bits(_check(offset, 21, 2), (20, 20, 31), (10, 1, 21), (11, 11, 20), (19, 12, 12)) | 0x6F)


def _c_j(offset: int) -> bytes:
    fields = ((11, 11, 12), (4, 4, 11), (9, 8, 9), (10, 10, 8), (6, 6, 7), (7, 7, 6), (3, 1, 3), (5, 5, 2))
    return _half(0xA001 | _bits(offset, *fields))


def _c_branch(is_not_zero: bool, a: Register, offset: int) -> bytes:
    fields = ((8, 8, 12), (4, 3, 10), (7, 6, 5), (2, 1, 3), (5, 5, 2))
    return _half(0xC001 | is_not_zero << 13 | (a - 8) << 7 | _bits(offset, *fields))


def _branch(condition: int, a: Register, b: Register, offset: int) -> bytes:
    immediate = _bits(_check(offset, 13, 2), (12, 12, 31), (10, 5, 25), (4, 1, 8), (11, 11, 7))
    return _word(immediate | b << 20 | a << 15 | condition << 12 | 0x63)


def _pc_relative(d: Register, offset: int) -> bytes:
    """auipc and addi: the address `offset` octets from here."""
    upper = offset + 0x800 >> 12
    lower = offset - (upper << 12)
    return _word((upper & 0xFFFFF) << 12 | d << 7 | 0x17) + _word((lower & 0xFFF) << 20 | d << 15 | d << 7 | 0x13)


class Assembler:
    """One function's machine code, written from its first instruction to its last."""

    def __init__(self) -> None:
        self._parts: list[bytes | _Jump] = []
        self._labels: dict[str, int] = {}  # -> how many parts come before it

    # Registers

    def add(self, d: Register, a: Register, b: Register) -> None:
        if ZERO in (a, b):
            self.mv(d, max(a, b))
        elif d in (a, b):
            self._short(0x9002 | d << 7 | (b if d == a else a) << 2)
        else:
            self._register(0, b, a, 0, d)

    def sub(self, d: Register, a: Register, b: Register) -> None:
        if d == a and _is_short(d, b):
            self._short(0x8C01 | (d - 8) << 7 | (b - 8) << 2)
        else:
            self._register(0x20, b, a, 0, d)

    def and_(self, d: Register, a: Register, b: Register) -> None:
        self._commutative(0x8C61, 7, d, a, b)

    def or_(self, d: Register, a: Register, b: Register) -> None:
        self._commutative(0x8C41, 6, d, a, b)

    def xor(self, d: Register, a: Register, b: Register) -> None:
        self._commutative(0x8C21, 4, d, a, b)

    def sltu(self, d: Register, a: Register, b: Register) -> None:
        self._register(0, b, a, 3, d)

    def srl(self, d: Register, a: Register, b: Register) -> None:
        self._register(0, b, a, 5, d)

    def mul(self, d: Register, a: Register, b: Register) -> None:
        self._register(1, b, a, 0, d)

    def mulh(self, d: Register, a: Register, b: Register) -> None:
        self._register(1, b, a, 1, d)

    def mulhu(self, d: Register, a: Register, b: Register) -> None:
        self._register(1, b, a, 3, d)

    def mv(self, d: Register, a: Register) -> None:
        if a == ZERO:
            self.li(d, 0)
        else:
            self._short(0x8002 | d << 7 | a << 2)

    def neg(self, d: Register, a: Register) -> None:
        self.sub(d, ZERO, a)

    # Immediates

    def addi(self, d: Register, a: Register, value: int) -> None:
        if d == a and -32 <= value < 32 and value:
            self._short(0x0001 | d << 7 | _bits(value, (5, 5, 12), (4, 0, 2)))
        elif d == a == SP and -512 <= value < 512 and value and value % 16 == 0:
            self._short(0x6101 | _bits(value, (9, 9, 12), (4, 4, 6), (6, 6, 5), (8, 7, 3), (5, 5, 2)))
        elif a == SP and _is_short(d) and 0 < value < 1024 and value % 4 == 0:
            self._short(_bits(value, (5, 4, 11), (9, 6, 7), (2, 2, 6), (3, 3, 5)) | (d - 8) << 2)
        else:
            self._immediate(value, a, 0, d)

    def andi(self, d: Register, a: Register, value: int) -> None:
        if d == a and _is_short(d) and -32 <= value < 32:
            self._short(0x8801 | (d - 8) << 7 | _bits(value, (5, 5, 12), (4, 0, 2)))
        else:
            self._immediate(value, a, 7, d)

    def xori(self, d: Register, a: Register, value: int) -> None:
        self._immediate(value, a, 4, d)

    def slli(self, d: Register, a: Register, count: int) -> None:
        if d == a:
            self._short(0x0002 | d << 7 | count << 2)
        else:
            self._immediate(count, a, 1, d)

    def srli(self, d: Register, a: Register, count: int) -> None:
        self._shift_right(0, d, a, count)

    def srai(self, d: Register, a: Register, count: int) -> None:
        self._shift_right(1, d, a, count)

    def lui(self, d: Register, upper: int) -> None:
        """d = upper * 4096 modulo 2^32; `upper` is a signed number of 20 bits."""
        if -32 <= upper < 32 and upper and d != SP:
            self._short(0x6001 | d << 7 | _bits(upper, (5, 5, 12), (4, 0, 2)))
        else:
            self._parts.append(_word((_check(upper, 20) & 0xFFFFF) << 12 | d << 7 | 0x37))

    def li(self, d: Register, value: int) -> None:
        """d = value, a signed number of 32 bits; one or two instructions."""
        upper = _check(value, 32) + 0x800 >> 12
        lower = value - (upper << 12)
        if upper:
            self.lui(d, upper if upper < 1 << 19 else -(1 << 19))
            if lower:
                self.addi(d, d, lower)
        elif -32 <= value < 32:
            self._short(0x4001 | d << 7 | _bits(value, (5, 5, 12), (4, 0, 2)))
        else:
            self._immediate(value, ZERO, 0, d)

    # Memory: `offset` octets from the address in `base`

    def lw(self, d: Register, offset: int, base: Register) -> None:
        if base == SP and 0 <= offset < 256 and offset % 4 == 0:
            self._short(0x4002 | d << 7 | _bits(offset, (5, 5, 12), (4, 2, 4), (7, 6, 2)))
        elif _is_short(d, base) and 0 <= offset < 128 and offset % 4 == 0:
            self._short(0x4000 | (base - 8) << 7 | (d - 8) << 2 | _bits(offset, (5, 3, 10), (2, 2, 6), (6, 6, 5)))
        else:
            self._load(2, d, offset, base)

    def lhu(self, d: Register, offset: int, base: Register) -> None:
        self._load(5, d, offset, base)

    def lbu(self, d: Register, offset: int, base: Register) -> None:
        self._load(4, d, offset, base)

    def sw(self, a: Register, offset: int, base: Register) -> None:
        if base == SP and 0 <= offset < 256 and offset % 4 == 0:
            self._short(0xC002 | _bits(offset, (5, 2, 9), (7, 6, 7)) | a << 2)
        elif _is_short(a, base) and 0 <= offset < 128 and offset % 4 == 0:
            self._short(0xC000 | (base - 8) << 7 | (a - 8) << 2 | _bits(offset, (5, 3, 10), (2, 2, 6), (6, 6, 5)))
        else:
            immediate = _bits(_check(offset, 12), (11, 5, 25), (4, 0, 7))
            self._parts.append(_word(immediate | a << 20 | base << 15 | 2 << 12 | 0x23))

    # Jumps

    def label(self, name: str) -> None:
        if name in self._labels:
            raise ValueError(f"label {name} stands twice")
        self._labels[name] = len(self._parts)

    def j(self, label: str) -> None:
        self._parts.append(_Jump(label, [_Form(1 << 11, 2, _c_j), _Form(1 << 20, 4, _jal)]))

    def jr(self, a: Register) -> None:
        self._short(0x8002 | a << 7)

    def beq(self, a: Register, b: Register, label: str) -> None:
        self._conditional(0, a, b, label)

    def bne(self, a: Register, b: Register, label: str) -> None:
        self._conditional(1, a, b, label)

    def jump_table(self, labels: Sequence[str]) -> None:
        """A jump to each label, all four octets long: the place to jump to is the first one's and 4 times a number."""
        for label in labels:
            self._parts.append(_Jump(label, [_Form(1 << 20, 4, _jal)]))

    def la(self, d: Register, label: str) -> None:
        """d = the address of the label."""
        self._parts.append(_Jump(label, [_Form(1 << 31, 8, lambda offset: _pc_relative(d, offset))]))

    # Several words

    def mulu(self, low: Register, high: Register, a: Register, b: Register) -> None:
        """(high, low) = a * b, unsigned; `high` may be `b`."""
        self.mul(low, a, b)
        self.mulhu(high, a, b)

    def add_carrying(self, d: Register, a: Register, b: Register, carry: Register) -> None:
        """d = a + b, carry = what does not fit; `b` is not `d`, `carry` may be `b`."""
        self.add(d, a, b)
        self.sltu(carry, d, b)

    def add_to_pair(self, low: Register, high: Register, a: Register) -> None:
        """(high, low) += a, which the author knows to fit; spoils `a`."""
        self.add_carrying(low, low, a, a)
        self.add(high, high, a)

    # The result

    def code(self) -> bytes:
        """The machine code; every jump in the shortest form that reaches its label."""
        while True:
            places = [0]
            for part in self._parts:
                places.append(places[-1] + (len(part) if isinstance(part, bytes) else part.size))
            too_short = False
            for part, place in zip(self._parts, places, strict=False):
                if isinstance(part, _Jump):
                    offset = places[self._labels[part.label]] - place
                    if not -part.forms[0].reach <= offset < part.forms[0].reach:
                        part.forms.pop(0)
                        too_short = True
            if not too_short:
                break
        code = bytearray()
        for part in self._parts:
            if isinstance(part, _Jump):
                code += part.forms[0].encode(places[self._labels[part.label]] - len(code))
            else:
                code += part
        return bytes(code)

    def container(self, name: str) -> str:
        """The code as the source text of an assembler function made of nothing but data."""
        code = self.code()
        lines = ["@micropython.asm_rv32", f"def {name}(a0, a1, a2, a3):"]
        for at in range(0, len(code) & ~3, 4 * _WORDS_IN_A_LINE):
            words = code[at : min(at + 4 * _WORDS_IN_A_LINE, len(code) & ~3)]
            lines.append(_data(4, [int.from_bytes(words[i : i + 4], "little") for i in range(0, len(words), 4)]))
        if len(code) % 4:
            lines.append(_data(2, [int.from_bytes(code[-2:], "little")]))
        return "\n".join(lines) + "\n"

    # Encodings

    def _short(self, half: int) -> None:
        self._parts.append(_half(half))

    def _register(self, function: int, b: Register, a: Register, kind: int, d: Register) -> None:
        self._parts.append(_word(function << 25 | b << 20 | a << 15 | kind << 12 | d << 7 | 0x33))

    def _immediate(self, value: int, a: Register, kind: int, d: Register) -> None:
        self._parts.append(_word((_check(value, 12) & 0xFFF) << 20 | a << 15 | kind << 12 | d << 7 | 0x13))

    def _load(self, kind: int, d: Register, offset: int, base: Register) -> None:
        self._parts.append(_word((_check(offset, 12) & 0xFFF) << 20 | base << 15 | kind << 12 | d << 7 | 0x03))

    def _commutative(self, short: int, kind: int, d: Register, a: Register, b: Register) -> None:
        if d in (a, b) and _is_short(a, b):
            self._short(short | (d - 8) << 7 | ((b if d == a else a) - 8) << 2)
        else:
            self._register(0, b, a, kind, d)

    def _shift_right(self, is_arithmetic: int, d: Register, a: Register, count: int) -> None:
        if d == a and _is_short(d):
            self._short(0x8001 | is_arithmetic << 10 | (d - 8) << 7 | count << 2)
        else:
            self._immediate(is_arithmetic << 10 | count, a, 5, d)

    def _conditional(self, condition: int, a: Register, b: Register, label: str) -> None:
        """A branch; `condition` is the standard's funct3, whose lowest bit inverts it."""
        forms = [
            _Form(1 << 12, 4, lambda offset: _branch(condition, a, b, offset)),
            _Form(1 << 20, 8, lambda offset: _branch(condition ^ 1, a, b, 8) + _jal(offset - 4)),
        ]
        if b == ZERO and _is_short(a) and condition < 2:
            forms.insert(0, _Form(1 << 8, 2, lambda offset: _c_branch(bool(condition), a, offset)))
        self._parts.append(_Jump(label, forms))


def _data(size: int, values: Sequence[int]) -> str:
    return f"    data({size}, {', '.join(hex(value) for value in values)})"
