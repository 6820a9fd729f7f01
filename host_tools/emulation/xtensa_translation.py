"""Xtensa machine code as Python functions: the instructions that `machine_code/xtensa.py` writes, told a second time.

Code is translated piece by piece, a piece being what runs straight through up to a branch. Owns encodings and what
instructions do to registers; every other instruction, and every reserved operand, is a `TranslationError`. Registers
are a list of a0 to a15 and the shift amount.

Source: Xtensa Instruction Set Architecture Reference Manual, chapters 6 (instruction descriptions) and 7 (formats,
opcode maps).
"""

from collections.abc import Callable

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
_COMPARED = (-1, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 32, 64, 128, 256)

Load = Callable[[int], int]
Store = Callable[[int, int], None]
Piece = Callable[[list[int], Load, Store, Load], int]


class TranslationError(Exception):
    """Not an instruction that is known."""


def translate(code: bytes, at: int) -> tuple[int, Piece]:
    """Number of instructions of the piece at offset `at` and a function that executes it and gives the next offset."""
    names = ", ".join([*(f"a{number}" for number in range(16)), "sar"])
    lines = ["def piece(registers, load, store, load_octet):", f"    {names} = registers"]
    count = 0
    following: str | None = None
    while following is None:
        size = 2 if at < len(code) and code[at] & 15 >= 8 else 3
        if at + size > len(code):
            raise TranslationError(f"no instruction at 0x{at:x}")
        word = int.from_bytes(code[at : at + size], "little")
        count += 1
        statement, following = (_narrow if size == 2 else _wide)(word, at)
        if statement is None:
            raise TranslationError(f"unknown instruction 0x{word:0{2 * size}x} at 0x{at:x}")
        lines.append(f"    {statement}")
        at += size
    lines += [f"    registers[:] = {names}", f"    return {following}"]
    made: dict[str, Piece] = {}
    exec("\n".join(lines).replace("MASK", "0xFFFFFFFF"), made)
    return count, made["piece"]


def _narrow(word: int, _at: int) -> tuple[str | None, str | None]:
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


def _wide(word: int, at: int) -> tuple[str | None, str | None]:
    """The same of a three-byte instruction."""
    op, t, s, r = (word >> shift & 15 for shift in (0, 4, 8, 12))
    if op == 0x0:
        return _register_operation(word >> 20, word >> 16 & 15, r, s, t), None
    if op == 0x2:
        return _immediate_operation(word >> 16, r, s, t), None
    if op == 0x6:
        return _branch(word, at, s)
    return None, None


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
    if (op2, op1, r) == (0x4, 0x0, 4) and t in (0, 1):  # SSAI
        return f"sar = {t << 4 | s}"
    if op1 in (4, 5) and (shift := (op1 & 1) << 4 | s) + op2 < 32:  # EXTUI
        return f"a{r} = a{t} >> {shift} & {(2 << op2) - 1}"
    return None


def _immediate_operation(value: int, r: int, s: int, t: int) -> str | None:
    signed = value - 256 if value > 127 else value
    return {
        0x0: f"a{t} = load_octet(a{s} + {value} & MASK)",
        0x2: f"a{t} = load(a{s} + {4 * value} & MASK)",
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
    if kind == 0x3 and at == 0:  # ENTRY
        return (f"a{s} -= {word >> 12 << 3}", None) if s == 1 else (None, None)
    return None, None


def _target(at: int, offset: int, bits: int) -> int:
    half = 1 << bits - 1
    target = at + 4 + ((offset ^ half) - half)
    if target < 0:
        raise TranslationError(f"branch to before the function at 0x{at:x}")
    return target
