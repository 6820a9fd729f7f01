"""The compression function of SHA-512 (FIPS 180-4 section 6.4.2) in MicroPython's viper: generates `sha512_viper`.

Owns `hash_blocks` for every architecture that loads native code but has no assembler code of its own. Knows nothing of
padding. Constant time: no branch and no address depends on the data.

There are two of it. One is right wherever viper's integers have 32 bits or more: a 64-bit word is two halves, in `work`
and the state the low half first, in locals `al` and `ah`. Whatever is shifted to the right or compared has been cut to
32 bits with `mask`, and it is unsigned (low halves are, upper ones are called so where it matters). Other values may
carry more above bit 31, and what is stored in memory loses it. The other one needs integers of 64 bits and is much
smaller; there `work` and the state have the upper half first, as messages do, and what is shifted right is unsigned.

What the code looks like is ruled by how MicroPython compiles viper (`py/emitnative.c`). Only a function's first two
parameters live in registers; once their addresses are saved, `x` and `y` are the halves of the word being worked on, or
the word and a running sum. They keep the type of an address, and casts make no code. A value that is waited with while
another one is worked out goes to memory and back, so formulas are chains as far as they can be: of the shifts in an
exclusive or of rotations, those to the right go into each other, and so do those to the left. With x and y the halves,
    x >> 14 ^ x >> 18 ^ y >> 9 is ((x >> 4 ^ x) >> 5 ^ y) >> 9.
An assignment within an expression keeps in a register what it stores.
"""

from host_tools.machine_code.sha512_constants import CONSTANTS
from host_tools.machine_code.viper import fill

_WORK = 160  # half words in `work`
_ROUNDS = 640  # octets of `constants` before the initial state
_X = "uint(x)"
_Y = "uint(y)"

_MODULE = """\
# The compression function of SHA-512, generated.
CONSTANTS = {constants}


@micropython.viper
def hash_blocks(x: ptr8, y: ptr8, blocks: int, constants: ptr32, work: ptr32) -> int:
    state = ptr32(x)
    data = int(y)
    mask = 0x3fffffff
    mask = mask << 2 | 3
    y = ptr8(int(constants) + {rounds})
    i = 8
    while i:
        ptr32(x)[0] = ptr32(y)[{first}]
        ptr32(x)[1] = ptr32(y)[{second}]
        x = ptr8(int(x) + 8)
        y = ptr8(int(y) + 8)
        i -= 1
    <nothing>
    while True:
        <state>
        if blocks == 0:
            break
        y = ptr8(data)
        data += 128
        w = work
        while int(y) < data:
            <load>
        i = 64
        w = work
        while i:
            <schedule>
            w = ptr32(int(w) + 8)
            i -= 1
        w = work
        k = constants
        i = 80
        while i:
            <round>
            k = ptr32(int(k) + 8)
            w = ptr32(int(w) + 8)
            i -= 1
        blocks -= 1
    y = ptr8(state)
    i = 64 // {piece}
    while i:
        <digest>
        y = ptr8(int(y) + {piece})
        i -= 1
    y = ptr8(work)
    i = {work}
    while i:
        ptr32(y)[0] = 0
        y = ptr8(int(y) + 4)
        i -= 1
    return 0
"""


def _xor(right: str, left: str) -> str:
    """Half of an exclusive or of rotations."""
    return f"({right}) ^ ({left})"


def _right(x: str, first: int, y: str, second: int, z: str, third: int) -> str:
    return f"(({x} >> {first} ^ {y}) >> {second} ^ {z}) >> {third}"


def _left(x: str, first: int, y: str, second: int, z: str, third: int) -> str:
    return _right(x, first, y, second, z, third).replace(">>", "<<")


# Halves of the four functions of FIPS 180-4 section 4.1.3, of the word in `x` and `y`.
def _big_sigma_0(x: str, y: str) -> str:
    """Rotated right by 28, 34, 39."""
    return _xor(_right(x, 21, y, 5, y, 2), _left(x, 5, x, 21, y, 4))


def _big_sigma_1(x: str, y: str) -> str:
    """Rotated right by 14, 18, 41."""
    return _xor(_right(x, 4, x, 5, y, 9), _left(x, 5, y, 4, y, 14))


def _small_sigma_0(x: str, y: str, upper: bool) -> str:
    """Rotated right by 1 and 8, shifted right by 7."""
    left = f"({y} << 7 ^ {y}) << 24" if upper else _left(y, 6, y, 1, y, 24)
    return _xor(_right(x, 1, x, 6, x, 1), left)


def _small_sigma_1(x: str, y: str, upper: bool) -> str:
    """Rotated right by 19 and 61, shifted right by 6."""
    left = f"({y} << 10 ^ {x}) << 3" if upper else _left(y, 13, y, 10, x, 3)
    return _xor(_right(y, 10, x, 13, x, 6), left)


def _add(low: str, high: str) -> list[str]:
    """Adds a word to that in `x` and `y`; `low` unsigned, of 32 bits."""
    return [
        f"x = ptr8((other := {low}) + uint(x) & mask)",
        f"y = ptr8(int(uint(x) < other) + int(y) + {high})",
    ]


def _use(low: str, high: str) -> list[str]:
    """Makes a word the one that is worked on. Both may be made of the one before."""
    return [f"upper = int({high})", f"x = ptr8(({low}) & mask)", "y = ptr8(upper)"]


def _schedule() -> list[str]:
    """W[t + 16] = small_sigma_1(W[t + 14]) + W[t + 9] + small_sigma_0(W[t + 1]) + W[t], with `w` at W[t]."""
    return [
        "x = ptr8(w[2])",
        "y = ptr8(w[3])",
        f"sh = int({_small_sigma_0(_Y, _X, True)})",
        f"sl = ({_small_sigma_0(_X, _Y, False)}) & mask",
        "x = ptr8(w[28])",
        "y = ptr8(w[29])",
        *_use(_small_sigma_1(_X, _Y, False), _small_sigma_1(_Y, _X, True)),
        *_add("sl", "sh"),
        *_add("uint(w[18])", "w[19]"),
        *_add("uint(w[0])", "w[1]"),
        "w[32] = int(x)",
        "w[33] = int(y)",
    ]


def _round() -> list[str]:
    """One of the 80. `abl` and `abh` are a ^ b of the round before, which now is b ^ c: maj = (a ^ b) & (b ^ c) ^ b."""
    return [
        "x = ptr8(el)",
        "y = ptr8(eh)",
        *_use(_big_sigma_1(_X, _Y), _big_sigma_1(_Y, _X)),
        *_add("uint(w[0])", "w[1]"),
        *_add("uint(k[0])", "k[1]"),
        *_add("hl", "hh"),
        *_add("(fl ^ gl) & el ^ gl", "((fh ^ gh) & eh ^ gh)"),
        "tl = uint(x)",
        "th = int(y)",
        *[f"{to}{half} = {of}{half}" for to, of in ("hg", "gf", "fe") for half in "lh"],
        "eh = int((el := dl + tl & mask) < tl) + dh + th & mask",
        "x = ptr8(al)",
        "y = ptr8(ah)",
        *_use(_big_sigma_0(_X, _Y), _big_sigma_0(_Y, _X)),
        "bcl = abl",
        "bch = abh",
        *_add("(abl := al ^ bl) & bcl ^ bl", "((abh := ah ^ bh) & bch ^ bh)"),
        *[f"{to}{half} = {of}{half}" for to, of in ("dc", "cb", "ba") for half in "lh"],
        "ah = int((al := uint(x) + tl & mask) < tl) + int(y) + th & mask",
    ]


def _nothing() -> list[str]:
    """What the first block finds to be added to the state."""
    return ["al = bl = cl = dl = el = fl = gl = hl = uint(0)", "ah = bh = ch = dh = eh = fh = gh = hh = 0"]


def _state() -> list[str]:
    """Adds the working variables to the state, and makes it the working variables."""
    lines = []
    for number, name in enumerate("abcdefgh"):
        lines += [
            f"x = ptr8(state[{2 * number}])",
            f"y = ptr8(state[{2 * number + 1}])",
            *_add(f"{name}l", f"{name}h"),
            f"state[{2 * number}] = int({name}l := uint(x))",
            f"state[{2 * number + 1}] = int({name}h := int(y) & mask)",
        ]
    return [*lines, "abl = bl ^ cl", "abh = bh ^ ch"]


def _load() -> list[str]:
    """One word from eight octets, highest first."""
    word = "((y[{}] << 8 | y[{}]) << 8 | y[{}]) << 8 | y[{}]"
    return [
        "w[1] = " + word.format(0, 1, 2, 3),
        "w[0] = " + word.format(4, 5, 6, 7),
        "w = ptr32(int(w) + 8)",
        "y = ptr8(int(y) + 8)",
    ]


def _digest() -> list[str]:
    """A word of the state, in place, as octets, highest first."""
    return [
        "upper = ptr32(y)[1]",
        "x = ptr8(ptr32(y)[0])",
        *[f"y[{k}] = upper >> {24 - 8 * k}" for k in range(4)],
        *[f"y[{k + 4}] = int(x) >> {24 - 8 * k}" for k in range(4)],
    ]


# From here on with integers of 64 bits.
def _wide_word(of: str, upper: int) -> str:
    """A whole word; `upper`: where its upper half is, the lower one beside it in the same pair.

    With `mask` it does not matter what a load leaves above bit 31.
    """
    return f"({of}[{upper}] << 32 | {of}[{upper ^ 1}] & mask)"


def _wide_sigma(right: tuple[int, ...], left: tuple[int, ...]) -> str:
    """A function of FIPS 180-4 section 4.1.3 of the word in `x`: shifts to both sides, each list falling."""
    return f"({_xor(_wide_shifts('>>', right), _wide_shifts('<<', left))})"


def _wide_shifts(direction: str, counts: tuple[int, ...]) -> str:
    """Exclusive or of `x` shifted by each of `counts`."""
    *more, last = counts
    formula = _X
    for count, lower in zip(more, counts[1:], strict=True):
        formula = f"({formula} {direction} {count - lower} ^ {_X})"
    return f"{formula} {direction} {last}"


_WIDE_ROTATION = ["h = g", "g = f", "f = e", "e = d", "d = c", "c = b", "b = a"]


def _wide_state() -> list[str]:
    """As `_state`, from h to a: each stands in h for a moment."""
    return [
        "w = ptr32(int(state) + 64)",
        "while int(w) > int(state):",
        "    w = ptr32(int(w) - 8)",
        f"    y = ptr8({_wide_word('w', 0)} + h)",
        "    w[0] = int(y) >> 32",
        "    w[1] = int(y)",
        *["    " + line for line in _WIDE_ROTATION],
        "    a = uint(y)",
    ]


def _wide_load() -> list[str]:
    """Half a word from four octets."""
    return [
        "w[0] = ((y[0] << 8 | y[1]) << 8 | y[2]) << 8 | y[3]",
        "w = ptr32(int(w) + 4)",
        "y = ptr8(int(y) + 4)",
    ]


def _wide_schedule() -> list[str]:
    """As `_schedule`. The small sigmas rotate right by 1 and 8 and shift by 7; rotate by 19 and 61 and shift by 6."""
    return [
        f"x = ptr8({_wide_word('w', 2)})",
        f"y = ptr8({_wide_sigma((8, 7, 1), (63, 56))})",
        f"x = ptr8({_wide_word('w', 28)})",
        f"y = ptr8({_wide_sigma((61, 19, 6), (45, 3))} + uint(y))",
        f"y = ptr8({_wide_word('w', 18)} + int(y))",
        f"y = ptr8({_wide_word('w', 0)} + int(y))",
        "w[32] = int(y) >> 32",
        "w[33] = int(y)",
    ]


def _wide_round() -> list[str]:
    """As `_round`, with maj = (b ^ c) & a ^ b & c. The big sigmas rotate right by 14, 18, 41 and by 28, 34, 39."""
    return [
        "x = ptr8(e)",
        f"y = ptr8({_wide_sigma((41, 18, 14), (50, 46, 23))} + h)",
        "y = ptr8(((f ^ g) & uint(x) ^ g) + uint(y))",
        f"y = ptr8({_wide_word('w', 0)} + int(y))",
        f"y = ptr8({_wide_word('k', 1)} + int(y))",
        *_WIDE_ROTATION,
        "e += uint(y)",
        "x = ptr8(a)",
        f"y = ptr8({_wide_sigma((39, 34, 28), (36, 30, 25))} + uint(y))",
        "a = ((c ^ d) & uint(x) ^ (c & d)) + uint(y)",
    ]


def _wide_digest() -> list[str]:
    """Half a word of the state, in place, as octets."""
    return [
        "x = ptr8(ptr32(y)[0])",
        *[f"y[{k}] = int(x) >> {24 - 8 * k}" for k in range(4)],
    ]


def _narrow_blocks() -> dict[str, list[str]]:
    return {
        "nothing": _nothing(),
        "state": _state(),
        "load": _load(),
        "schedule": _schedule(),
        "round": _round(),
        "digest": _digest(),
    }


def _wide_blocks() -> dict[str, list[str]]:
    return {
        "nothing": ["a = b = c = d = e = f = g = h = uint(0)"],
        "state": _wide_state(),
        "load": _wide_load(),
        "schedule": _wide_schedule(),
        "round": _wide_round(),
        "digest": _wide_digest(),
    }


def source(word_bits: int = 32) -> str:
    """The text of the device's module. With `word_bits` = 64 it needs integers of 64 bits; 32 is right with any."""
    blocks, first, piece = {32: (_narrow_blocks, 0, 8), 64: (_wide_blocks, 1, 4)}[word_bits]
    numbers = {
        "constants": CONSTANTS,
        "rounds": _ROUNDS,
        "work": _WORK,
        "first": first,  # half of an initial word in the state
        "second": 1 - first,
        "piece": piece,  # octets of the digest made at once
    }
    return "\n".join(fill(_MODULE, numbers, blocks())) + "\n"
