"""Machine code for Xtensa (ESP32, S2, S3): the few instructions that our generators use, encoded, and their labels.

Owns encodings and branches, nothing of what a program does. `Code` has one method per instruction, named and ordered
like the assembler's mnemonics; registers are numbers 0 to 15. Where the density option has a two-byte form it is taken;
a conditional branch that does not reach becomes its opposite over a jump. All is on each of these chips: the S2 has
neither MAC16 nor loops, and none of them has SALTU.

Rules for the code, which is entered and left as `container` describes: the windowed ABI lets a function use a0 to a15
and the shift amount register; a1 must stay. It calls nothing, so a0, which the container saves, is free too. Of its
frame only the octets FRAME may be used: the caller's return address stands before them, and the 32 octets behind them
are where an interrupt may spill register windows.

Source: Xtensa Instruction Set Architecture Reference Manual, chapters 6 (instruction descriptions), 7 (formats, opcode
maps) and 8 (windowed ABI).
"""

from collections.abc import Iterator
from dataclasses import dataclass

SP = 1
FRAME = range(4, 16)

_BYTES_PER_LINE = 24
_J = 0x000006
_JUMP_BITS = 18
_COMPARED = (-1, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 32, 64, 128, 256)  # what BEQI and BNEI know (B4CONST)


class EncodingError(Exception):
    """An operand does not fit its instruction, or a label is missing or double."""


@dataclass
class _Branch:
    """`word` with its offset still 0, in the highest `bits` bits. `opposite`: 0 for a jump, which always reaches."""

    word: int
    opposite: int
    bits: int
    label: str
    is_long: bool = False

    @property
    def size(self) -> int:
        return 6 if self.is_long else 3

    def reaches(self, at: int, target: int) -> bool:
        return -(1 << self.bits - 1) <= target - at - 4 < 1 << self.bits - 1

    def encode(self, at: int, target: int) -> bytes:
        if self.is_long:
            over = _with_offset(self.opposite, self.bits, 2)
            return over + _with_offset(_J, _JUMP_BITS, target - at - 3 - 4)
        return _with_offset(self.word, self.bits, target - at - 4)


def _with_offset(word: int, bits: int, offset: int) -> bytes:
    return (word | (offset & (1 << bits) - 1) << 24 - bits).to_bytes(3, "little")


def _field(name: str, value: int, allowed: range) -> int:
    if value not in allowed:
        raise EncodingError(f"{name} {value} is not in {allowed}")
    return value


class Code:
    """Instructions in order. `assemble` gives the octets."""

    def __init__(self) -> None:
        self._pieces: list[bytes | _Branch | str] = []

    # --- formats

    def _wide(self, op: int, r: int, s: int, t: int) -> None:
        """RRR and RRI8. `op`: everything but the three fields."""
        for register in (r, s, t):
            _field("field", register, range(16))
        self._pieces.append((op | r << 12 | s << 8 | t << 4).to_bytes(3, "little"))

    def _narrow(self, op: int, r: int, s: int, t: int) -> None:
        """RRRN and RI7."""
        for register in (r, s, t):
            _field("field", register, range(16))
        self._pieces.append((op | r << 12 | s << 8 | t << 4).to_bytes(2, "little"))

    # --- arithmetic

    def add(self, r: int, s: int, t: int) -> None:
        self._narrow(0xA, r, s, t)

    def addx2(self, r: int, s: int, t: int) -> None:
        """r = 2 s + t"""
        self._wide(0x900000, r, s, t)

    def addx4(self, r: int, s: int, t: int) -> None:
        self._wide(0xA00000, r, s, t)

    def addx8(self, r: int, s: int, t: int) -> None:
        self._wide(0xB00000, r, s, t)

    def sub(self, r: int, s: int, t: int) -> None:
        self._wide(0xC00000, r, s, t)

    def and_(self, r: int, s: int, t: int) -> None:
        self._wide(0x100000, r, s, t)

    def or_(self, r: int, s: int, t: int) -> None:
        self._wide(0x200000, r, s, t)

    def xor(self, r: int, s: int, t: int) -> None:
        self._wide(0x300000, r, s, t)

    def mull(self, r: int, s: int, t: int) -> None:
        """r = the low half of s * t"""
        self._wide(0x820000, r, s, t)

    def muluh(self, r: int, s: int, t: int) -> None:
        """r = the high half of the unsigned product s * t"""
        self._wide(0xA20000, r, s, t)

    def moveqz(self, r: int, s: int, t: int) -> None:
        """r = s if t is 0; takes its one cycle either way."""
        self._wide(0x830000, r, s, t)

    def addi(self, t: int, s: int, value: int) -> None:
        _field("immediate", value, range(-128, 128))
        if value in range(1, 16) or value == -1:
            self._narrow(0xB, t, s, value if value > 0 else 0)
        else:
            self._wide(0x00C002 | (value & 0xFF) << 16, 0, s, t)

    def movi(self, t: int, value: int) -> None:
        _field("immediate", value, range(-2048, 2048))
        if value in range(-32, 96):
            self._narrow(0xC, value & 15, t, value >> 4 & 7)
        else:
            self._wide(0x00A002 | (value & 0xFF) << 16, 0, value >> 8 & 15, t)

    def mov(self, t: int, s: int) -> None:
        self._narrow(0xD, 0, s, t)

    # --- shifts

    def slli(self, r: int, s: int, amount: int) -> None:
        amount = 32 - _field("shift", amount, range(1, 32))
        self._wide(0x010000 | amount >> 4 << 20, r, s, amount & 15)

    def srli(self, r: int, t: int, amount: int) -> None:
        self._wide(0x410000, r, _field("shift", amount, range(16)), t)

    def srai(self, r: int, t: int, amount: int) -> None:
        _field("shift", amount, range(32))
        self._wide(0x210000 | amount >> 4 << 20, r, amount & 15, t)

    def extui(self, r: int, t: int, shift: int, bits: int) -> None:
        """r = `bits` bits of t from bit `shift` on"""
        _field("shift", shift, range(32))
        _field("bits", bits, range(1, min(16, 32 - shift) + 1))
        self._wide(0x040000 | shift >> 4 << 16 | bits - 1 << 20, r, shift & 15, t)

    def ssai(self, amount: int) -> None:
        """The shift amount of `src` and `srl`."""
        _field("shift", amount, range(32))
        self._wide(0x400000, 4, amount & 15, amount >> 4)

    def src(self, r: int, s: int, t: int) -> None:
        """r = the low word of (s : t) >> shift amount"""
        self._wide(0x810000, r, s, t)

    def srl(self, r: int, t: int) -> None:
        self._wide(0x910000, r, 0, t)

    # --- memory

    def l32i(self, t: int, s: int, offset: int) -> None:
        self._access(0x8, 0x002002, t, s, offset)

    def s32i(self, t: int, s: int, offset: int) -> None:
        self._access(0x9, 0x006002, t, s, offset)

    def _access(self, narrow: int, wide: int, t: int, s: int, offset: int) -> None:
        _field("offset", offset, range(0, 1024, 4))
        if offset < 64:
            self._narrow(narrow, offset >> 2, s, t)
        else:
            self._wide(wide | offset >> 2 << 16, 0, s, t)

    def l8ui(self, t: int, s: int, offset: int) -> None:
        self._wide(0x000002 | _field("offset", offset, range(256)) << 16, 0, s, t)

    # --- labels and branches

    def label(self, name: str) -> None:
        self._pieces.append(name)

    def j(self, label: str) -> None:
        self._pieces.append(_Branch(_J, 0, _JUMP_BITS, label))

    def beqz(self, s: int, label: str) -> None:
        self._branch(0x16 | _field("register", s, range(16)) << 8, 12, label)

    def bnez(self, s: int, label: str) -> None:
        self._branch(0x56 | _field("register", s, range(16)) << 8, 12, label)

    def beqi(self, s: int, value: int, label: str) -> None:
        if value not in _COMPARED:
            raise EncodingError(f"{value} is not among {_COMPARED}")
        self._branch(0x26 | _COMPARED.index(value) << 12 | _field("register", s, range(16)) << 8, 8, label)

    def _branch(self, word: int, bits: int, label: str) -> None:
        self._pieces.append(_Branch(word, word ^ 0x40, bits, label))  # bit 6: "equal" or "not equal"

    # --- result

    def assemble(self) -> bytes:
        """The machine code. It may stand anywhere: all branches are relative. Raises EncodingError."""
        while True:
            labels = self._place_labels()
            short = [
                branch
                for at, branch in self._branches()
                if not branch.is_long and not branch.reaches(at, labels[branch.label])
            ]
            if not short:
                break
            for branch in short:  # a branch only ever grows, so this ends
                if not branch.opposite:
                    raise EncodingError(f"too far to {branch.label}")
                branch.is_long = True
        encoded = bytearray()
        for piece in self._pieces:
            if isinstance(piece, _Branch):
                encoded += piece.encode(len(encoded), labels[piece.label])
            elif isinstance(piece, bytes):
                encoded += piece
        return bytes(encoded)

    def _positions(self) -> Iterator[tuple[int, bytes | _Branch | str]]:
        at = 0
        for piece in self._pieces:
            yield at, piece
            at += piece.size if isinstance(piece, _Branch) else len(piece) if isinstance(piece, bytes) else 0

    def _branches(self) -> Iterator[tuple[int, _Branch]]:
        return ((at, piece) for at, piece in self._positions() if isinstance(piece, _Branch))

    def _place_labels(self) -> dict[str, int]:
        labels: dict[str, int] = {}
        for at, piece in self._positions():
            if isinstance(piece, str):
                if piece in labels:
                    raise EncodingError(f"label {piece} stands twice")
                labels[piece] = at
        for _, branch in self._branches():
            if branch.label not in labels:
                raise EncodingError(f"no label {branch.label}")
        return labels

    def container(self, name: str) -> str:
        """Source of the function `name` for mpy-cross, which puts `entry a1, 48; s32i.n a0, a1, 0` before the code and
        `l32i.n a0, a1, 0; retw.n` behind it.

        Converted to the native convention, it is entered with the array of argument objects in a5 and returns the
        object in a2.
        """
        code = self.assemble()
        lines = ["@micropython.asm_xtensa", f"def {name}(a2, a3, a4, a5):"]
        for at in range(0, len(code), _BYTES_PER_LINE):
            lines.append(f"    data(1, {', '.join(map(str, code[at : at + _BYTES_PER_LINE]))})")
        return "\n".join(lines) + "\n"
