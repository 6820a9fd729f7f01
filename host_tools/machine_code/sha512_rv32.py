"""SHA-512 for RISC-V (RV32IMC): generates the module `sha512_rv32` of the device.

Owns the compression function (FIPS 180-4, 6.4.2) on pairs of 32-bit words, and the order of octets around it. Padding
is the caller's.

Rules: a 64-bit number is a pair of registers (low, high), in memory its low word first. The schedule of 80 words is
made whole in `work`, then come the rounds, eight in a loop, in which the eight numbers of the state do not move but
change their names. The state between two blocks waits in `out`. The time depends on the number of blocks only, and
`work` is zeroed at the end.
"""

from host_tools.machine_code.rv32 import SAVED, SP, ZERO, Assembler, Register
from host_tools.machine_code.sha512_constants import CONSTANTS

_Pair = tuple[Register, Register]  # low, high

_BLOCK = 128
_WORK = 640
_STATE = 64
_INITIAL = 640  # where the initial state begins in `constants`
_DATA = 12  # offset of the address of the contents in a bytearray object
_ROUNDS_IN_A_LOOP = 8

# FIPS 180-4, 4.1.3: how far the 64 bits are rotated; the last number of the small ones is a shift.
_BIG_0 = (28, 34, 39)
_BIG_1 = (14, 18, 41)
_SMALL_0 = (1, 8, 7)
_SMALL_1 = (19, 61, 6)

# The stack frame: saved registers, then the arguments.
_AT_OUT, _AT_DATA, _AT_BLOCKS, _AT_CONSTANTS, _AT_WORK = range(4 * len(SAVED), 4 * len(SAVED) + 20, 4)
_FRAME = 80

# The state's eight numbers live where no short encoding reaches, what is calculated with them where one does.
_STATE_PAIRS = [
    (Register(low), Register(low + 1)) for low in (*range(Register.S2, Register.T3, 2), Register.T3, Register.T5)
] + [(Register.A6, Register.A7)]
_X: _Pair = (Register.A2, Register.A3)
_SCRATCH = Register.A4
_POINTER = Register.A0
_CONSTANT = Register.A1
_LIMIT = Register.T0


class _Sha512(Assembler):
    """The function's code, part by part."""

    def build(self) -> None:
        """Writes the whole function."""
        self._enter()
        self.label("block")
        self._take_block()
        self._schedule()
        self._rounds()
        self._add_to_state()
        self._next_block()
        self._give_digest()
        self._clear_work()
        self._leave()

    def _enter(self) -> None:
        """Saves the caller's registers, takes the arguments from the array in a3 and copies the initial state."""
        arguments, value = Register.A3, Register.A4
        self.addi(SP, SP, -_FRAME)
        for place, register in enumerate(SAVED):
            self.sw(register, 4 * place, SP)
        for place, at in enumerate((_AT_OUT, _AT_DATA, _AT_BLOCKS, _AT_CONSTANTS, _AT_WORK)):
            self.lw(value, 4 * place, arguments)
            if at == _AT_BLOCKS:
                self.srli(value, value, 1)  # the small integer n is 2n + 1
            else:
                self.lw(value, _DATA, value)
            self.sw(value, at, SP)
        source, target = _CONSTANT, _POINTER
        self.lw(source, _AT_CONSTANTS, SP)
        self.lw(target, _AT_OUT, SP)
        self.addi(source, source, _INITIAL)
        for offset in range(0, _STATE, 4):
            self.lw(value, offset, source)
            self.sw(value, offset, target)

    def _leave(self) -> None:
        """Returns 0 as a small integer."""
        for place, register in enumerate(SAVED):
            self.lw(register, 4 * place, SP)
        self.addi(SP, SP, _FRAME)
        self.li(Register.A0, 1)

    # Steps

    def _load_pair(self, d: _Pair, offset: int, base: Register) -> None:
        self.lw(d[0], offset, base)
        self.lw(d[1], offset + 4, base)

    def _save_pair(self, a: _Pair, offset: int, base: Register) -> None:
        self.sw(a[0], offset, base)
        self.sw(a[1], offset + 4, base)

    def _plus(self, d: _Pair, a: _Pair, b: _Pair) -> None:
        """d = a + b modulo 2^64; spoils `b`."""
        self.add_carrying(d[0], a[0], b[0], b[0])
        self.add(d[1], a[1], b[1])
        self.add(d[1], d[1], b[0])

    def _sigma(self, d: _Pair, a: _Pair, counts: tuple[int, int, int], last_is_shift: bool = False) -> None:
        """d = `a` rotated right by each of `counts`, exclusive-ored; the last one may be a shift."""
        for half in (0, 1):
            shifts = []
            for count in counts:
                near, far = (a[half], a[1 - half]) if count < 32 else (a[1 - half], a[half])
                shifts += [(self.srli, near, count % 32), (self.slli, far, 32 - count % 32)]
            if last_is_shift and half == 1:
                shifts.pop()  # nothing comes in from above
            for number, (shift, word, count) in enumerate(shifts):
                shift(_SCRATCH if number else d[half], word, count)
                if number:
                    self.xor(d[half], d[half], _SCRATCH)

    def _reverse(self, word: Register, mask: Register) -> None:
        """Turns the order of the four octets round; `mask` is 0x00ff00ff."""
        self.srli(_SCRATCH, word, 8)
        self.and_(_SCRATCH, _SCRATCH, mask)
        self.and_(word, word, mask)
        self.slli(word, word, 8)
        self.or_(word, word, _SCRATCH)
        self.srli(_SCRATCH, word, 16)
        self.slli(word, word, 16)
        self.or_(word, word, _SCRATCH)

    def _reverse_words(self, label: str, source: Register, target: Register, size: int) -> None:
        """Copies `size` octets of 64-bit words between the two orders of octets; both pointers go on."""
        mask = Register.A5
        high, low = _X
        self.li(mask, 0x00FF00FF)
        self.addi(_LIMIT, source, size)
        self.label(label)
        self._load_pair((high, low), 0, source)
        self._reverse(high, mask)
        self._reverse(low, mask)
        self._save_pair((low, high), 0, target)
        self.addi(source, source, 8)
        self.addi(target, target, 8)
        self.bne(source, _LIMIT, label)

    # One block

    def _take_block(self) -> None:
        """The message's next 16 words, which are the schedule's first."""
        source = Register.S0
        self.lw(source, _AT_DATA, SP)
        self.lw(_POINTER, _AT_WORK, SP)
        self._reverse_words("take", source, _POINTER, _BLOCK)
        self.sw(source, _AT_DATA, SP)

    def _schedule(self) -> None:
        """The other 64 words, w[t] = sigma1(w[t - 2]) + w[t - 7] + sigma0(w[t - 15]) + w[t - 16], two in a loop.

        Of those, t - 16, t - 2 and t - 1 are in registers already. `_POINTER` is at w[t].
        """
        oldest, next_oldest = _STATE_PAIRS[:2]
        last_but_one, last = _STATE_PAIRS[2:4]
        self.addi(_LIMIT, _POINTER, _WORK - _BLOCK)
        self._load_pair(oldest, -128, _POINTER)
        self._load_pair(last_but_one, -16, _POINTER)
        self._load_pair(last, -8, _POINTER)
        self.label("schedule")
        for offset in (0, 8):
            self._load_pair(next_oldest, offset - 120, _POINTER)
            self._sigma(_X, next_oldest, _SMALL_0, last_is_shift=True)
            self._plus(oldest, oldest, _X)
            self._load_pair(_X, offset - 56, _POINTER)
            self._plus(oldest, oldest, _X)
            self._sigma(_X, last_but_one, _SMALL_1, last_is_shift=True)
            self._plus(last_but_one, oldest, _X)
            self._save_pair(last_but_one, offset, _POINTER)
            oldest, next_oldest = next_oldest, oldest
            last_but_one, last = last, last_but_one
        self.addi(_POINTER, _POINTER, 16)
        self.bne(_POINTER, _LIMIT, "schedule")

    def _rounds(self) -> None:
        """The 80 rounds. `differs` is a ^ b, which is the next round's b ^ c."""
        differs, differed = (Register.A5, Register.S0), (Register.S1, Register.T1)
        state = list(_STATE_PAIRS)
        _, b, c, *_ = state
        self.lw(_POINTER, _AT_OUT, SP)
        for place, number in enumerate(state):
            self._load_pair(number, 8 * place, _POINTER)
        self.lw(_POINTER, _AT_WORK, SP)
        self.lw(_CONSTANT, _AT_CONSTANTS, SP)
        self.addi(_LIMIT, _POINTER, _WORK)
        for half in (0, 1):
            self.xor(differed[half], b[half], c[half])
        self.label("rounds")
        for offset in range(0, 8 * _ROUNDS_IN_A_LOOP, 8):
            self._round(state, offset, differs, differed)
            state = state[-1:] + state[:-1]
            differs, differed = differed, differs
        self.addi(_POINTER, _POINTER, 8 * _ROUNDS_IN_A_LOOP)
        self.addi(_CONSTANT, _CONSTANT, 8 * _ROUNDS_IN_A_LOOP)
        self.bne(_POINTER, _LIMIT, "rounds")

    def _round(self, state: list[_Pair], offset: int, differs: _Pair, differed: _Pair) -> None:
        """One round: the new e and a come into the registers of d and h; `offset` of its word and its constant."""
        a, b, _, d, e, f, g, h = state
        self._load_pair(_X, offset, _POINTER)
        self._plus(h, h, _X)
        self._load_pair(_X, offset, _CONSTANT)
        self._plus(h, h, _X)
        self._sigma(_X, e, _BIG_1)
        self._plus(h, h, _X)
        for half in (0, 1):  # e chooses between f and g
            self.xor(_X[half], f[half], g[half])
            self.and_(_X[half], _X[half], e[half])
            self.xor(_X[half], _X[half], g[half])
        self._plus(h, h, _X)
        self.add_carrying(d[0], d[0], h[0], _SCRATCH)
        self.add(d[1], d[1], h[1])
        self.add(d[1], d[1], _SCRATCH)
        self._sigma(_X, a, _BIG_0)
        self._plus(h, h, _X)
        for half in (0, 1):  # the majority of a, b and c is b, unless b differs from both
            self.xor(differs[half], a[half], b[half])
            self.and_(_X[half], differs[half], differed[half])
            self.xor(_X[half], _X[half], b[half])
        self._plus(h, h, _X)

    def _add_to_state(self) -> None:
        """Adds the state before the rounds to the one after them."""
        self.lw(_POINTER, _AT_OUT, SP)
        for place, number in enumerate(_STATE_PAIRS):
            self._load_pair(_X, 8 * place, _POINTER)
            self._plus(number, number, _X)
            self._save_pair(number, 8 * place, _POINTER)

    def _next_block(self) -> None:
        blocks = Register.A1
        self.lw(blocks, _AT_BLOCKS, SP)
        self.addi(blocks, blocks, -1)
        self.sw(blocks, _AT_BLOCKS, SP)
        self.bne(blocks, ZERO, "block")

    # After the last block

    def _give_digest(self) -> None:
        """The state's words with their highest octet first; `_POINTER` is at the state."""
        target = Register.S0
        self.mv(target, _POINTER)
        self._reverse_words("give", _POINTER, target, _STATE)

    def _clear_work(self) -> None:
        self.lw(_POINTER, _AT_WORK, SP)
        self.addi(_LIMIT, _POINTER, _WORK)
        self.label("clear")
        for offset in range(0, _STATE, 4):
            self.sw(ZERO, offset, _POINTER)
        self.addi(_POINTER, _POINTER, _STATE)
        self.bne(_POINTER, _LIMIT, "clear")


def source() -> str:
    """The text of the device's module: `hash_blocks(out, data, blocks, constants, work) -> 0` and CONSTANTS."""
    sha512 = _Sha512()
    sha512.build()
    return f"import micropython\n\nCONSTANTS = {CONSTANTS!r}\n\n\n" + sha512.container("hash_blocks")
