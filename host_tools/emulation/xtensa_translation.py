"""Xtensa machine code as Python functions: the instructions that `machine_code/xtensa.py` writes, told a second time,
and those that mpy-cross makes of our viper functions.

Code is translated piece by piece, a piece being what runs straight through up to a branch. Owns encodings and what
instructions do to registers; every other instruction, and every reserved operand, is a `TranslationError`. Registers
are a list of a0 to a15 and the shift amount.

A function begins with its ENTRY, or with a jump to it over the literals that its L32R read. What is called by CALLX8
is told the caller's a10 and a11 and answers in a10; it may leave anything in the rest of its window, a8 to a15.

Source: Xtensa Instruction Set Architecture Reference Manual, chapters 6 (instruction descriptions) and 7 (formats,
opcode maps).
"""

from collections.abc import Callable
from typing import NamedTuple

# RRR: (bits 20 to 23, bits 16 to 19) -> statement. MASK stands for 0xFFFFFFFF throughout.
_REGISTER_OPERATIONS = {
    (0x8, 0x0): "a{r} = a{s} + a{t} & MASK",
    (0x9, 0x0): "a{r} = a{s} * 2 + a{t} & MASK",
    (0xA, 0x0): "a{r} = a{s} * 4 + a{t} & MASK",
    (0xB, 0x0): "a{r} = a{s} * 8 + a{t} & MASK",
    (0xC, 0x0): "a{r} = a{s} - a{t} & MASK",
    (0x1, 0x0): "a{r} = a{s} & a{t}",
    (0x2, 0x0): "a{r} = a{s} | a{t}",
    (0x3, 0x0): "a{r} = a{s} ^ a{t}",
    (0x8, 0x2): "a{r} = a{s} * a{t} & MASK",
    (0xA, 0x2): "a{r} = a{s} * a{t} >> 32",
    (0x8, 0x3): "a{r} = a{s} if a{t} == 0 else a{r}",
    (0x8, 0x1): "a{r} = (a{s} << 32 | a{t}) >> sar & MASK",
}
# RRI8 with two registers, signed: r -> comparison.
_COMPARISONS = {
    0x1: "a{s} == a{t}",
    0x2: "a{s} ^ SIGN < a{t} ^ SIGN",
    0x9: "a{s} != a{t}",
    0xA: "a{s} ^ SIGN >= a{t} ^ SIGN",
}
_COMPARED = (-1, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 32, 64, 128, 256)

Load = Callable[[int], int]
Store = Callable[[int, int], None]

_ENTRY = 0x136  # with a1; above it the size of the frame, in units of 8 octets
_LITERALS = 4  # where they begin, if there are any
_LOST = (8, 9, 11, 12, 13, 14, 15)  # what CALLX8 leaves undefined, and what is then found there
_AFTER_CALL = "; ".join(f"a{number} = 0x{0x0BAD_0000 + number:x}" for number in _LOST)


class Bus(NamedTuple):
    """What is around the registers. `call` gets the address that is called, a10 and a11, and gives the new a10."""

    load: Load
    store: Store
    load_octet: Load
    store_octet: Store
    call: Callable[[int, int, int], int]


Piece = Callable[[list[int], Bus], int]


class TranslationError(Exception):
    """Not an instruction that is known."""


def entry(code: bytes) -> tuple[int, int]:
    """Where the ENTRY of a function stands, and how many octets it allocates. Raises TranslationError."""
    first = int.from_bytes(code[:3], "little")
    at = _target(0, first >> 6, 18) if first & 63 == 6 else 0
    word = int.from_bytes(code[at : at + 3], "little")
    if word & 0xFFF != _ENTRY:
        raise TranslationError(f"no entry at 0x{at:x}")
    return at, word >> 12 << 3


def translate(code: bytes, at: int) -> tuple[int, Piece]:
    """Number of instructions of the piece at offset `at` and a function that executes it and gives the next offset."""
    names = ", ".join([*(f"a{number}" for number in range(16)), "sar"])
    lines = ["def piece(registers, bus):", f"    {names} = registers", f"    {', '.join(Bus._fields)} = bus"]
    count = 0
    following: str | None = None
    while following is None:
        size = 2 if at < len(code) and code[at] & 15 >= 8 else 3
        if at + size > len(code):
            raise TranslationError(f"no instruction at 0x{at:x}")
        word = int.from_bytes(code[at : at + size], "little")
        count += 1
        statement, following = _narrow(word) if size == 2 else _wide(code, word, at)
        if statement is None:
            raise TranslationError(f"unknown instruction 0x{word:0{2 * size}x} at 0x{at:x}")
        lines.append(f"    {statement}")
        at += size
    lines += [f"    registers[:] = {names}", f"    return {following}"]
    made: dict[str, Piece] = {}
    exec("\n".join(lines).replace("MASK", "0xFFFFFFFF").replace("SIGN", "0x80000000"), made)
    return count, made["piece"]


def _narrow(word: int) -> tuple[str | None, str | None]:
    """Statement of a two-byte instruction, None if it is unknown, and where it goes if not to the next one."""
    op, t, s, r = (word >> shift & 15 for shift in (0, 4, 8, 12))
    if op == 0x8:
        return f"a{t} = load(a{s} + {4 * r} & MASK)", None
    if op == 0x9:
        return f"store(a{s} + {4 * r} & MASK, a{t})", None
    if op == 0xA:
        return f"a{r} = a{s} + a{t} & MASK", None
    if op == 0xB:
        return f"a{r} = a{s} + {t or -1} & MASK", None
    if op == 0xC and t < 8:
        value = t << 4 | r
        return f"a{s} = {(value - 128 if value > 95 else value) & 0xFFFFFFFF}", None
    if op == 0xD and r == 0:
        return f"a{t} = a{s}", None
    if word == 0xF01D:  # RETW.N
        return "pass", "-1"
    return None, None


def _wide(code: bytes, word: int, at: int) -> tuple[str | None, str | None]:
    """The same of a three-byte instruction."""
    op, t, s, r = (word >> shift & 15 for shift in (0, 4, 8, 12))
    if op == 0x0:
        return _register_operation(word >> 20, word >> 16 & 15, r, s, t), None
    if op == 0x1:
        return _literal(code, at, word >> 8, t), None
    if op == 0x2:
        return _immediate_operation(word >> 16, r, s, t), None
    if op == 0x6 and word & 0xFFF == _ENTRY:
        return (f"a1 -= {word >> 12 << 3}" if at == entry(code)[0] else None), None
    if op == 0x6:
        return _branch(word, at, s)
    if op == 0x7 and r in _COMPARISONS:
        return "pass", f"{_target(at, word >> 16, 8)} if {_COMPARISONS[r].format(s=s, t=t)} else {at + 3}"
    return None, None


def _literal(code: bytes, at: int, offset: int, t: int) -> str | None:
    """L32R of a literal before the ENTRY. `offset` counts words, with sign, from `at` rounded up to a whole word.

    Functions stand at a multiple of 4 in memory, so offsets in `code` round as addresses do.
    """
    literal = (at + 3 & ~3) + 4 * (offset - 0x10000)
    if not _LITERALS <= literal <= entry(code)[0] - 4:
        return None
    return f"a{t} = {int.from_bytes(code[literal : literal + 4], 'little')}"


def _register_operation(op2: int, op1: int, r: int, s: int, t: int) -> str | None:
    if (op2, op1) in _REGISTER_OPERATIONS:
        return _REGISTER_OPERATIONS[op2, op1].format(r=r, s=s, t=t)
    if op1 == 0x1 and op2 in (0, 1) and (amount := 32 - (op2 << 4 | t)) < 32:  # SLLI
        return f"a{r} = a{s} << {amount} & MASK"
    if op1 == 0x1 and op2 in (2, 3):  # SRAI
        return f"a{r} = a{t} - (a{t} >> 31 << 32) >> {(op2 & 1) << 4 | s} & MASK"
    if (op2, op1) == (0x4, 0x1):  # SRLI
        return f"a{r} = a{t} >> {s}"
    if (op2, op1, s) == (0x9, 0x1, 0):  # SRL
        return f"a{r} = a{t} >> sar"
    if (op2, op1, t) == (0xA, 0x1, 0):  # SLL
        return f"a{r} = a{s} << 32 - sar & MASK"
    if (op2, op1, s) == (0xB, 0x1, 0):  # SRA
        return f"a{r} = a{t} - (a{t} >> 31 << 32) >> sar & MASK"
    if (op2, op1, r, t) == (0x4, 0x0, 0, 0):  # SSR
        return f"sar = a{s} & 31"
    if (op2, op1, r, t) == (0x4, 0x0, 1, 0):  # SSL
        return f"sar = 32 - (a{s} & 31)"
    if (op2, op1, r) == (0x4, 0x0, 4) and t in (0, 1):  # SSAI
        return f"sar = {t << 4 | s}"
    if (op2, op1, r, t) == (0x0, 0x0, 0, 14):  # CALLX8
        return f"a10 = call(a{s}, a10, a11); {_AFTER_CALL}"
    if op1 in (4, 5) and (shift := (op1 & 1) << 4 | s) + op2 < 32:  # EXTUI
        return f"a{r} = a{t} >> {shift} & {(2 << op2) - 1}"
    return None


def _immediate_operation(value: int, r: int, s: int, t: int) -> str | None:
    signed = value - 256 if value > 127 else value
    return {
        0x0: f"a{t} = load_octet(a{s} + {value} & MASK)",
        0x2: f"a{t} = load(a{s} + {4 * value} & MASK)",
        0x4: f"store_octet(a{s} + {value} & MASK, a{t} & 0xFF)",
        0x6: f"store(a{s} + {4 * value} & MASK, a{t})",
        0xA: f"a{t} = {((s << 8 | value) ^ 0x800) - 0x800 & 0xFFFFFFFF}",  # MOVI, 12 bits with sign
        0xC: f"a{t} = a{s} + {signed} & MASK",
    }.get(r)


def _branch(word: int, at: int, s: int) -> tuple[str | None, str | None]:
    kind = word >> 4 & 15
    if kind & 3 == 0:  # J
        return "pass", str(_target(at, word >> 6, 18))
    if kind in (0x1, 0x5):  # BEQZ, BNEZ
        comparison = "==" if kind == 0x1 else "!="
        return "pass", f"{_target(at, word >> 12, 12)} if a{s} {comparison} 0 else {at + 3}"
    if kind in (0x2, 0x6):  # BEQI, BNEI
        comparison = "==" if kind == 0x2 else "!="
        value = _COMPARED[word >> 12 & 15] & 0xFFFFFFFF
        return "pass", f"{_target(at, word >> 16, 8)} if a{s} {comparison} {value} else {at + 3}"
    return None, None


def _target(at: int, offset: int, bits: int) -> int:
    half = 1 << bits - 1
    target = at + 4 + ((offset ^ half) - half)
    if target < 0:
        raise TranslationError(f"branch to before the function at 0x{at:x}")
    return target
