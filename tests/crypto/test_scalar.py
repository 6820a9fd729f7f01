"""Scalars modulo L and schedules: the native modules and the plain ones against plain Python, on MicroPython and, the
native ones, on the emulated RISC-V and Xtensa.

Schedules are judged by their meaning: each is executed over integers, with a number in place of the point A.
"""

import __future__

import random
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from host_tools.emulation.rv32 import Rv32
from host_tools.emulation.xtensa import Xtensa
from host_tools.images.compile import compile_module
from tests import micropython

SOURCES = [micropython.ROOT / "firmware" / "crypto" / f"{name}_viper.py" for name in ("scalar", "schedule")]

L = 2**252 + 27742317777372353535851937790883648493
SCALARS = [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 2**252 - 1, 2**252, L - 2, L - 1]  # below L
NUMBERS = [*SCALARS, L, L + 1, 2 * L - 1, 2 * L, 2**253 - 1, 2**255 - 19, 15 * L, 2**256 - 1]
NUMBERS += [sum(limb << 14 * i for i in range(18)) for limb in (0x1FFF, 0x2000, 0x2001)]  # the largest products
WIDE = [
    *NUMBERS,
    *(2**bits + error for bits in (256, 378, 383, 511) for error in (-1, 0, 1)),
    *(L * factor + error for factor in (2, 2**127, 2**256, 2**512 // L) for error in (-1, 0, 1)),
    *(L * 2**shift for shift in (1, 14, 126, 259)),
    2**512 - 1,
]

# Words of the programs: what each says in the bits that stay when a slot or a count is added.
DOUBLE, COMPLETE, PICK_A, ADD_A, SUBTRACT_A, PICK_B, ADD_B, SUBTRACT_B, PICK_KEY = (0x05 + 8 * i for i in range(9))
WORDS = b"".join(word.to_bytes(4, "little") for word in range(0x05, 0x05 + 8 * 9, 8))
COUNT_SHIFT, SLOT_SHIFT = 8, 16
AT = 3
WINDOWS_ROOM, COMBS_ROOM = 380, 340  # instructions that a schedule may change

# Instructions of the chip, the runtime's own and what the wrappers in bytecode take not counted: lower them, too.
COSTS = {
    "rv32imc": {
        "reduce": 4_850,
        "multiply_add": 9_900,
        "comb_digits": 4_200,
        "windows_schedule": 12_500,
        "comb_schedule": 7_000,
    },
    "xtensawin": {
        "reduce": 5_050,
        "multiply_add": 10_650,
        "comb_digits": 4_770,
        "windows_schedule": 12_700,
        "comb_schedule": 6_980,
    },
}
EMULATORS = {"rv32imc": Rv32, "xtensawin": Xtensa}
SIZES = {"rv32imc": 6_200, "xtensawin": 6_200, "x64": 9_400}  # octets of both modules, as mpy-cross -O3 writes them


def octets(number: int, size: int = 32) -> bytes:
    return number.to_bytes(size, "little")


class Chip:
    """The native functions on an emulated chip. `python` has their names, bytecode on this very Python."""

    def __init__(self, architecture: str) -> None:
        self.architecture = architecture
        emulator = EMULATORS[architecture]
        self.cores: dict[str, Rv32 | Xtensa] = {}
        self.traces: list[bytes] | None = None
        self.stacks: list[bytes] = []
        self.python: Any = types.SimpleNamespace()
        replaced = types.ModuleType("micropython")
        replaced.__dict__.update(const=lambda value: value, viper=self._native)
        before = sys.modules.get("micropython")
        sys.modules["micropython"] = replaced
        try:
            for path in SOURCES:
                source = path.read_text()
                self.cores[str(path)] = emulator(compile_module(source, path.name, architecture))
                # Annotations are not evaluated, as on the device.
                code = compile(source, str(path), "exec", flags=__future__.annotations.compiler_flag)
                names: dict[str, Any] = {}
                exec(code, names)
                self.python.__dict__.update(names)
        finally:
            del sys.modules["micropython"]
            if before:
                sys.modules["micropython"] = before

    def _native(self, function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        core = self.cores[function.__code__.co_filename]

        def call(*arguments: Any) -> Any:
            if self.traces is None:
                return core.call(name, *arguments)
            self.traces.append(core.trace(name, *arguments))
            self.stacks.append(core.stack() if isinstance(core, Rv32) else core.frame())
            return None

        return call

    def count(self, name: str, *arguments: Any) -> int:
        """How many instructions a call takes."""
        before = sum(core.instructions for core in self.cores.values())
        getattr(self.python, name)(*arguments)
        return sum(core.instructions for core in self.cores.values()) - before

    def trace(self, name: str, *arguments: Any) -> list[bytes]:
        """What each native call within executed and accessed, hashed, and what was left on the stack.

        On RISC-V by every call. On Xtensa by the last: a temporary stays in the frames of `_unpack` and `_multiply`,
        where `_fold`, which the same function calls next, has variables that it overwrites.
        """
        self.traces, self.stacks = [], []
        try:
            getattr(self.python, name)(*arguments)
            return self.traces + (self.stacks if self.architecture == "rv32imc" else self.stacks[-1:])
        finally:
            self.traces = None


@cache
def chip(architecture: str) -> Chip:
    return Chip(architecture)


@cache
def plain() -> Any:
    modules = [micropython.import_on_cpython(f"crypto.{name}_int") for name in ("scalar", "schedule")]
    return types.SimpleNamespace(**modules[0].__dict__ | modules[1].__dict__)


def on_risc_v() -> Any:
    return chip("rv32imc").python


def on_xtensa() -> Any:
    return chip("xtensawin").python


EVERYWHERE = pytest.mark.parametrize("module", [plain, on_risc_v, on_xtensa])


def reduced(module: Any, wide: int) -> int:
    out, work = bytearray(32), bytearray(module.WORK)
    module.reduce(out, octets(wide, 64), work)
    assert not any(work)
    return int.from_bytes(out, "little")


def multiplied(module: Any, a: int, b: int, c: int) -> int:
    out, work = bytearray(32), bytearray(module.WORK)
    module.multiply_add(out, octets(a), octets(b), octets(c), work)
    assert not any(work)
    return int.from_bytes(out, "little")


def comb(module: Any, scalar: int, addend: int) -> bytes:
    digits = bytearray(range(60))
    module.comb_digits(digits, 5, octets(scalar), octets(addend))
    assert digits[:5] + digits[57:] == bytes([0, 1, 2, 3, 4, 57, 58, 59])
    return bytes(digits[5:57])


def scheduled(schedule: Callable[..., int], room: int, *arguments: Any) -> list[int]:
    """The words of a schedule, without its END. What stands before it and behind its room stays untouched."""
    filler = random.Random(room).randbytes(4 * (AT + room + 2))
    program = bytearray(filler)
    start = schedule(program, AT, bytearray(WORDS), *arguments)
    assert AT <= start < AT + room
    assert program[: 4 * AT] == filler[: 4 * AT]
    assert program[4 * (AT + room) :] == filler[4 * (AT + room) :]
    words = [int.from_bytes(program[at : at + 4], "little") for at in range(4 * start, 4 * (AT + room), 4)]
    return words[: words.index(0)]


def windows(module: Any, a: int, b: int) -> list[int]:
    return scheduled(module.windows_schedule, WINDOWS_ROOM, octets(a), octets(b))


def combs(module: Any, k: int, b: int) -> list[int]:
    digits = comb(plain(), k, 1) + comb(plain(), b, L)
    return scheduled(module.comb_schedule, COMBS_ROOM, digits, octets(k))


def executed(program: list[int], a_table: list[int], b_table: list[int], a_slots: int, key: int) -> int:
    """The sum that a schedule computes, with integers for points; tables hold the entries' multiples."""
    total = 0
    entry = None
    complete = True  # before the first addition there is nothing to complete
    for word in program:
        low = word & 0xFF
        count, slot = word >> COUNT_SHIFT & 0xFF, word >> SLOT_SHIFT
        if low == DOUBLE:
            assert count >= 1
            assert slot == 0
            total <<= count
            complete = False
            continue
        assert count == 0
        if low == COMPLETE:
            assert not complete
            complete = True
        elif low in (PICK_A, PICK_B):
            table, slots = (a_table, a_slots) if low == PICK_A else (b_table, 3)
            assert entry is None
            assert slot % slots == 0
            entry = table[slot // slots]
        elif low == PICK_KEY:
            assert entry is None
            entry = key
        else:
            assert complete, "an addition needs a complete sum"
            assert entry is not None
            total += entry if low in (ADD_A, ADD_B) else -entry
            entry = None
            complete = False
    assert entry is None
    return total


A = L * 2**40 + 1  # stands for the point A where 1 stands for B: too far apart to be mistaken for each other


def windows_meaning(program: list[int]) -> int:
    """The A entries are 8 odd multiples of 4 slots, the B entries 16 of 3."""
    return executed(program, [A * odd for odd in range(1, 16, 2)], list(range(1, 32, 2)), 4, A)


def comb_table(point: int) -> list[int]:
    """For each comb 16 sums: the highest tooth, and the others with the sign that the entry's bit says."""
    table = []
    for group in range(2):
        teeth = [point << (5 * group + tooth) * 26 for tooth in range(5)]
        for entry in range(16):
            table.append(teeth[4] + sum(teeth[i] if entry >> i & 1 else -teeth[i] for i in range(4)))
    return table


def combs_meaning(program: list[int]) -> int:
    return executed(program, comb_table(A), comb_table(1), 3, A)


def dense(width: int, digit: int) -> int:
    """The number below L with the most window digits: one at every `width` positions."""
    positions = range(0, 252, width)
    return sum(digit << position for position in positions if digit << position < 2**251)


def numbers(count: int, bits: int, seed: int) -> list[int]:
    """Random ones, and ones with long runs of 0 and 1, which reach carries and borrows."""
    source = random.Random(seed)
    found = []
    for _ in range(count // 2):
        found.append(source.getrandbits(bits))
        edges = sorted(source.randrange(bits) for _ in range(4))
        found.append(2 ** edges[3] - 2 ** edges[2] + 2 ** edges[1] - 2 ** edges[0])
    return found


@EVERYWHERE
def test_reduce(module: Callable[[], Any]) -> None:
    for wide in WIDE + numbers(200, 512, 1):
        assert reduced(module(), wide) == wide % L


@EVERYWHERE
def test_multiply_add(module: Callable[[], Any]) -> None:
    source = random.Random(2)
    for a in NUMBERS:
        for b in source.sample(NUMBERS, 4):
            c = source.choice(NUMBERS)
            assert multiplied(module(), a, b, c) == (a * b + c) % L
    for a, b, c in zip(numbers(120, 256, 3), numbers(120, 256, 4), numbers(120, 256, 5), strict=True):
        assert multiplied(module(), a, b, c) == (a * b + c) % L
    assert multiplied(module(), *[2**256 - 1] * 3) == (2**512 - 2**256) % L


@EVERYWHERE
def test_results_may_replace_arguments(module: Callable[[], Any]) -> None:
    work = bytearray(module().WORK)
    for position in range(3):
        arguments = [bytearray(octets(number)) for number in (L - 3, 2**255 - 7, 12345)]
        module().multiply_add(arguments[position], *arguments, work)
        assert int.from_bytes(arguments[position], "little") == ((L - 3) * (2**255 - 7) + 12345) % L


@EVERYWHERE
def test_comb_digits_are_the_odd_number(module: Callable[[], Any]) -> None:
    for scalar in SCALARS + numbers(80, 252, 6):
        for addend in (1, L):
            digits = comb(module(), scalar, addend)
            value = 0
            for row in range(26):
                for group in range(2):
                    digit = digits[row * 2 + group]
                    assert digit < 32
                    for tooth in range(5):
                        sign = 1 if digit >> tooth & 1 else -1
                        value += sign << (5 * group + tooth) * 26 + row
            assert value == (scalar if scalar & 1 else scalar + addend)


@EVERYWHERE
def test_windows_schedule_means_the_sum(module: Callable[[], Any]) -> None:
    source = random.Random(7)
    pairs = [(a, b) for a in SCALARS for b in source.sample(SCALARS, 5)]
    pairs += [(0, 0), (1, 1), (2, 0), (0, 2), (L - 1, L - 1), (5, 2**252), (2**252, 5)]
    pairs += zip(numbers(100, 252, 8), numbers(100, 252, 9), strict=True)
    for a, b in pairs:
        program = windows(module(), a, b)
        assert windows_meaning(program) == a * A + b
        assert program == windows(plain(), a, b)


@EVERYWHERE
def test_windows_schedule_is_short(module: Callable[[], Any]) -> None:
    """Doublings below the highest digit only, additions where a digit is: a sixth and a seventh of the positions."""
    source = random.Random(10)
    program = windows(module(), source.randrange(2**251, 2**252), source.randrange(2**251, 2**252))
    doublings = sum(word >> COUNT_SHIFT for word in program if word & 0xFF == DOUBLE)
    additions = sum(word & 0xFF in (ADD_A, SUBTRACT_A, ADD_B, SUBTRACT_B) for word in program)
    assert 246 <= doublings <= 252
    assert additions < 252 / 6 + 252 / 7 + 15
    assert program[0] & 0xFF in (PICK_A, PICK_B)


@EVERYWHERE
def test_windows_schedule_fits_its_room(module: Callable[[], Any]) -> None:
    """Two nonzero digits are at least the width apart, so below 2 ** 253 there are at most 51 and 43, each with
    doublings, completion, pick and addition. The longest here have 51 and 42.
    """
    longest = 0
    for a in (dense(5, 1), dense(5, 15), dense(5, 1) << 1, dense(5, 17)):
        for b in (dense(6, 1), dense(6, 31), dense(6, 1) << 3, dense(6, 33)):
            program = windows(module(), a, b)
            assert windows_meaning(program) == a * A + b
            longest = max(longest, len(program) + 1)
    assert 340 < longest <= 4 * (51 + 43)


@EVERYWHERE
def test_windows_schedule_stays_within_its_room_for_any_octets(module: Callable[[], Any]) -> None:
    every_fifth, every_sixth = (sum(1 << position for position in range(0, 256, width)) for width in (5, 6))
    pairs = [(2**256 - 1, 2**256 - 1), *zip(numbers(40, 256, 11), numbers(40, 256, 12), strict=True)]
    pairs += [(every_fifth, every_sixth << 1), (every_fifth, every_sixth), (every_fifth * 15, every_sixth * 31)]
    for a, b in pairs:
        windows(module(), a % 2**256, b % 2**256)


@EVERYWHERE
def test_comb_schedule_means_the_sum(module: Callable[[], Any]) -> None:
    source = random.Random(13)
    pairs = [(k, b) for k in SCALARS for b in source.sample(SCALARS, 3)]
    pairs += zip(numbers(40, 252, 14), numbers(40, 252, 15), strict=True)
    for k, b in pairs:
        program = combs(module(), k, b)
        odd = b if b & 1 else b + L
        assert combs_meaning(program) == k * A + odd
        assert program == combs(plain(), k, b)
        assert len(program) + 1 == 25 + 3 * 104 - 1 + (0 if k & 1 else 3) + 1


@pytest.mark.parametrize("architecture", COSTS)
def test_costs_are_bounded(architecture: str) -> None:
    """Of the secret ones exactly the same for every secret; of schedules the most of a hundred."""
    core = chip(architecture)
    source = random.Random(16)
    out, work, digits = bytearray(32), bytearray(core.python.WORK), bytearray(52)
    reductions = {core.count("reduce", out, octets(wide, 64), work) for wide in WIDE}
    assert len(reductions) == 1
    products = {core.count("multiply_add", out, octets(a), octets(L - 1), octets(a), work) for a in NUMBERS}
    assert len(products) == 1
    longest: dict[str, int] = {"reduce": max(reductions), "multiply_add": max(products)}
    digit_counts = {core.count("comb_digits", digits, 0, octets(a), octets(L)) for a in SCALARS}
    assert len(digit_counts) == 1
    longest["comb_digits"] = max(digit_counts)
    longest["windows_schedule"] = 0
    for _ in range(100):
        a, b = source.randrange(L), source.randrange(L)
        program = bytearray(4 * WINDOWS_ROOM)
        count = core.count("windows_schedule", program, 0, bytearray(WORDS), octets(a), octets(b))
        longest["windows_schedule"] = max(longest["windows_schedule"], count)
    digits = comb(plain(), source.randrange(L), 1) + comb(plain(), source.randrange(L), L)
    program = bytearray(4 * COMBS_ROOM)
    longest["comb_schedule"] = core.count("comb_schedule", program, 0, bytearray(WORDS), digits, octets(2))
    assert {name: count for name, count in longest.items() if count > COSTS[architecture][name]} == {}


@pytest.mark.parametrize("architecture", EMULATORS)
def test_secrets_change_no_instruction_and_no_address_and_do_not_stay_on_the_stack(architecture: str) -> None:
    core = chip(architecture)
    out, work, digits = bytearray(32), bytearray(core.python.WORK), bytearray(52)
    source = random.Random(17)
    wides = [0, 1, L, 2**512 - 1, source.getrandbits(512), source.getrandbits(512)]
    assert len({tuple(core.trace("reduce", out, octets(wide, 64), work)) for wide in wides}) == 1
    secrets = [0, 1, 2, L - 1, 2**252, source.randrange(L), source.randrange(L)]
    for others in ((octets(L - 1), octets(5)), (octets(2), octets(2**256 - 1))):
        assert len({tuple(core.trace("multiply_add", out, octets(a), *others, work)) for a in secrets}) == 1
        assert (
            len({tuple(core.trace("multiply_add", out, others[0], octets(a), others[1], work)) for a in secrets}) == 1
        )
        assert len({tuple(core.trace("multiply_add", out, *others, octets(a), work)) for a in secrets}) == 1
    assert len({tuple(core.trace("comb_digits", digits, 0, octets(a), octets(L))) for a in secrets}) == 1


@pytest.mark.parametrize("architecture", SIZES)
def test_sizes_are_bounded(architecture: str) -> None:
    sizes = [len(compile_module(source.read_text(), source.name, architecture)) for source in SOURCES]
    assert sum(sizes) <= SIZES[architecture]


def test_both_modules_ask_for_the_same_scratch_memory() -> None:
    assert plain().WORK == on_risc_v().WORK


DEVICE = """
import sys
from binascii import hexlify, unhexlify
from crypto import scalar_{kind} as scalar, schedule_{kind} as schedule

words = bytearray(unhexlify({words!r}))
work = bytearray(scalar.WORK)
with open({path!r}) as requests:
    for line in requests:
        name, *fields = line.split()
        arguments = [unhexlify(field) for field in fields]
        if name.endswith("schedule"):
            out = bytearray({room})
            start = getattr(schedule, name)(out, 0, words, *arguments)
            out = out[4 * start:]
        elif name == "comb_digits":
            out = bytearray(52)
            schedule.comb_digits(out, 0, *arguments)
        else:
            out = bytearray(32)
            getattr(scalar, name)(out, *arguments, work)
            assert not any(work)
        print(hexlify(out).decode())
"""


def requests() -> list[tuple[str, list[bytes]]]:
    source = random.Random(18)
    below = [*SCALARS, *(number % L for number in numbers(400, 252, 19))]
    found = [("reduce", [octets(wide, 64)]) for wide in WIDE + numbers(2000, 512, 20)]
    for a, b, c in zip(numbers(1500, 256, 21), numbers(1500, 256, 22), numbers(1500, 256, 23), strict=True):
        found.append(("multiply_add", [octets(a), octets(b), octets(c)]))
    for a in NUMBERS:
        found += [("multiply_add", [octets(a), octets(b), octets(source.choice(NUMBERS))]) for b in NUMBERS]
    for a in below:
        found.append(("comb_digits", [octets(a), octets(source.choice([1, L]))]))
        found.append(("windows_schedule", [octets(a), octets(source.choice(below))]))
    for k in below[:200]:
        found.append(("comb_schedule", [comb(plain(), k, 1) + comb(plain(), source.choice(below), L), octets(k)]))
    return found


def expected(name: str, arguments: list[bytes]) -> bytes:
    """What the definition answers, schedules up to and with their END."""
    if name.endswith("schedule"):
        program = scheduled(getattr(plain(), name), WINDOWS_ROOM, *arguments)
        return b"".join(octets(word, 4) for word in [*program, 0])
    if name == "comb_digits":
        out = bytearray(52)
        plain().comb_digits(out, 0, *arguments)
    else:
        out = bytearray(32)
        getattr(plain(), name)(out, *arguments, bytearray(plain().WORK))
    return bytes(out)


@pytest.mark.parametrize("kind", ["int", "viper"])
def test_micropython_answers_alike(kind: str, tmp_path: Path) -> None:
    """Thousands of times; the native modules as what mpy-cross makes for this computer, whose words have 64 bits."""
    if not (micropython.firmware() / "crypto" / f"scalar_{kind}.mpy").exists():
        pytest.skip("this computer's MicroPython loads no native code")
    asked = requests()
    path = tmp_path / "requests"
    path.write_text("".join(f"{name} {' '.join(each.hex() for each in arguments)}\n" for name, arguments in asked))
    script = DEVICE.format(kind=kind, words=WORDS.hex(), path=str(path), room=4 * WINDOWS_ROOM)
    answers = micropython.run(script, heap_size="2M").split()
    assert len(answers) == len(asked)
    for (name, arguments), answer in zip(asked, answers, strict=True):
        wanted = expected(name, arguments)
        assert bytes.fromhex(answer)[: len(wanted)] == wanted, (name, arguments)
