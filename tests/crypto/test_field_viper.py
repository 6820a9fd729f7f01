"""The portable field machine, on the emulated RISC-V chip and on this computer's MicroPython, against plain integers.

So what is made for integers of 32 bits is held to its definition where they have 32 and where they have 64; what needs
64 bits, on this computer.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from host_tools.emulation.rv32 import Rv32
from host_tools.images.boards import load_board
from host_tools.images.compile import native_architecture
from host_tools.machine_code import field_inverse_viper, field_viper
from host_tools.machine_code.field_product_viper import LIMBS, Limbs
from tests import micropython
from tests.crypto.compiling import compile_module

P = 2**255 - 19
SLOT = 40  # bytes, however they are cut up
END, MUL, SQR, ADD, SUB, CALL, LOAD, STORE, PICK, PUT, SELECT, INVERT = range(12)
ENTRY, OWN, TABLE, SPARE, SLOTS = 16, range(20, 24), 32, 80, 96  # the tests' slots: any, the table, what PUT fills
USABLE = [slot for slot in range(TABLE) if slot not in OWN]
EXTREME = 24  # where extreme elements stand in `extreme_case`
DIGITS, OCTETS = 256, 288

# Instructions of RISC-V, each with its way from the one operation to the next. They are exact: lower them, too.
CALL_AND_STOP = 115
COSTS = {
    (MUL, 0, 1, 2): 2870,
    (SQR, 0, 1, 1): 2079,
    (SQR, 0, 1, 2): 2079 + 2010,
    (ADD, 0, 1, 2): 399,
    (SUB, 0, 1, 2): 405,
    (LOAD, 0, 1, 0): 1707,
    (STORE, 1, 0, 0): 4150,
    (PICK, 4, 40, 0): 293,
    (PUT, 3, 40, 0): 251,
    (SELECT, 1, TABLE, 0): 4359,
    (INVERT, 0, 1, 0): 163_298,
}
SIZES = {"rv32imc": 12_000, "armv7emsp": 9500, "armv6m": 10_000, "xtensawin": 12_200, "x64": 21_200}
WIDE_SIZE = 5100  # the one that needs integers of 64 bits, on x64

Instruction = tuple[int, int, int, int]
Case = tuple[bytes, bytes, bytes, int]  # slots, octets, program, start


class Bench(NamedTuple):
    elements: "Elements"
    run: Callable[[Sequence[Case]], list[tuple[bytes, bytes]]]  # slots and octets afterwards, for each case


# Where it runs, and of how many bits it takes integers to be. The last does without INVERT.
CHIP_32, COMPUTER_32, COMPUTER_64 = ("chip", 32), ("computer", 32), ("computer", 64)

_SCRIPT = """
import json, sys
import field_viper
from binascii import hexlify, unhexlify
with open(sys.argv[1]) as cases:
    for line in cases:
        slots, octets, program, start = json.loads(line)
        slots, octets, program = [bytearray(unhexlify(text)) for text in (slots, octets, program)]
        assert field_viper.run(slots, octets, program, start) == 0
        print(json.dumps([hexlify(slots).decode(), hexlify(octets).decode()]))
"""


@pytest.fixture(scope="module")
def chip() -> Rv32:
    return Rv32(compile_module(field_viper.source(), "rv32imc"))


def _on_chip(chip: Rv32, cases: Sequence[Case]) -> list[tuple[bytes, bytes]]:
    after = []
    for slots, octets, program, start in cases:
        buffers = bytearray(slots), bytearray(octets)
        assert chip.call("run", *buffers, bytearray(program), start) == 0
        after.append((bytes(buffers[0]), bytes(buffers[1])))
    return after


def _on_computer(folder: Path, cases: Sequence[Case]) -> list[tuple[bytes, bytes]]:
    texts = [[slots.hex(), octets.hex(), program.hex(), start] for slots, octets, program, start in cases]
    (folder / "cases").write_text("".join(json.dumps(text) + "\n" for text in texts))
    output = micropython.run(_SCRIPT, arguments=[str(folder / "cases")], extra_path=[folder], heap_size="2M")
    return [(bytes.fromhex(slots), bytes.fromhex(octets)) for slots, octets in map(json.loads, output.splitlines())]


@pytest.fixture(scope="module", params=[CHIP_32, COMPUTER_32, COMPUTER_64], ids="{0[0]}-{0[1]}".format)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, chip: Rv32) -> Bench:
    place, word_bits = request.param
    elements = Elements(LIMBS[word_bits])
    if place == "chip":
        return Bench(elements, lambda cases: _on_chip(chip, cases))
    architecture = native_architecture(load_board("sim-wallet"))
    if architecture is None:
        pytest.skip("this computer's MicroPython loads no native code")
    folder = tmp_path_factory.mktemp("field_viper")
    (folder / "field_viper.mpy").write_bytes(compile_module(field_viper.source(word_bits), architecture))
    return Bench(elements, lambda cases: _on_computer(folder, cases))


# --- Elements


class Elements:
    """Slots as a machine has them that cuts elements up in this way."""

    def __init__(self, limbs: Limbs) -> None:
        self.limbs = limbs
        self.inverts = limbs.word_bits == 32
        self.highest = highest = (1 << limbs.bits) - 1  # of what is fully reduced
        most, count, half = limbs.limit, limbs.count, limbs.count // 2
        patterns = [[most] * count, [highest] * count, [highest + 3 * 608, *[highest] * (count - 1)]]
        patterns += [[most] * half + [0] * half, [0] * half + [most] * half, [0] * (count - 1) + [most]]
        patterns += [[highest, highest, highest + 3, *[highest] * (count - 3)], [most, 0] * half, [0, most] * half]
        numbers = (0, 1, 2, 18, 19, 20, P - 1, P, P + 1, 2 * P - 1, 2 * P, 2 * P + 1, 608)
        numbers += (TEXT_MAX, 2**255, 2**260 - 1, 2**260 - 608, 2**130, 2**130 - 1)
        self.extremes = [*map(self.packed, patterns), *map(self.canonical, numbers)]

    def packed(self, limbs: Sequence[int]) -> bytes:
        return b"".join(limb.to_bytes(self.limbs.limb_bytes, "little") for limb in limbs)

    def limbs_of(self, element: bytes) -> list[int]:
        size = self.limbs.limb_bytes
        return [int.from_bytes(element[at : at + size], "little") for at in range(0, SLOT, size)]

    def values(self, slots: bytes) -> list[int]:
        return [self.value(slots[at : at + SLOT]) for at in range(0, len(slots), SLOT)]

    def value(self, element: bytes) -> int:
        return sum(limb << self.limbs.bits * number for number, limb in enumerate(self.limbs_of(element)))

    def canonical(self, number: int) -> bytes:
        return self.packed([number >> self.limbs.bits * limb & self.highest for limb in range(self.limbs.count)])

    def any(self, source: random.Random) -> bytes:
        """As an operation might have left it: an extreme one, one of extreme limbs, or just any."""
        kind = source.randrange(3)
        most = self.limbs.limit
        if kind == 0:
            return source.choice(self.extremes)
        if kind == 1:
            choices = (0, 1, self.highest - 1, self.highest, most)
            return self.packed([source.choice(choices) for _ in range(self.limbs.count)])
        return self.packed([source.randrange(most + 1) for _ in range(self.limbs.count)])


TEXT_MAX = 2**255 - 1
EDGES = [0, 1, 2, 18, 19, P - 20, P - 19, P - 2, P - 1, P, P + 1, P + 17, TEXT_MAX, 2**247 - 1, 2**247, 2**254]
EDGES += [2**234 - 1, 2**234]
NARROW = Elements(LIMBS[32])


def any_text(source: random.Random) -> int:
    """A number that LOAD may meet."""
    return source.choice((*EDGES, source.getrandbits(255), source.getrandbits(255)))


def any_case(elements: Elements, source: random.Random, program: Sequence[Instruction], start: int = 0) -> Case:
    slots = [elements.any(source) for _ in range(SLOTS)]
    slots[TABLE:SPARE] = [elements.canonical(any_text(source)) for _ in range(SPARE - TABLE)]
    texts = b"".join(any_text(source).to_bytes(32, "little") for _ in range(8))
    digits = bytes(source.randrange(32) for _ in range(OCTETS - DIGITS))
    return b"".join(slots), texts + digits, b"".join(map(bytes, [*program, (END, 0, 0, 0)])), start


def extreme_case(elements: Elements, program: Sequence[Instruction], first: bytes = bytes(SLOT)) -> Case:
    """All extreme elements from slot EXTREME on, `first` in slot 0."""
    rest = SLOTS - EXTREME - len(elements.extremes)
    slots = [first, *[bytes(SLOT)] * (EXTREME - 1), *elements.extremes, *[bytes(SLOT)] * rest]
    return b"".join(slots), bytes(OCTETS), b"".join(map(bytes, [*program, (END, 0, 0, 0)])), 0


def agree(bench: Bench, cases: Sequence[Case]) -> None:
    """Every slot but the machine's own and every octet as `field_int` has them, and all elements weakly reduced."""
    definition = micropython.import_on_cpython("crypto.field_int")
    for case, (slots, octets) in zip(cases, bench.run(cases), strict=True):
        before, given, program, start = case
        want, want_octets = [number % P for number in bench.elements.values(before)], bytearray(given)
        definition.run(want, want_octets, program, start)
        others = [slot for slot in range(SLOTS) if slot not in OWN]
        got = bench.elements.values(slots)
        assert not [slot for slot in others if (got[slot] - want[slot]) % P], (program.hex(), before.hex())
        limbs = [bench.elements.limbs_of(slots[SLOT * slot : SLOT * slot + SLOT]) for slot in others]
        assert max(map(max, limbs)) <= bench.elements.limbs.limit
        assert octets == want_octets


# --- Single operations


@pytest.mark.parametrize("operation", [MUL, ADD, SUB])
@pytest.mark.parametrize(("d", "a", "b"), [(0, 1, 2), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 0, 0)])
def test_operations_on_two_elements(bench: Bench, operation: int, d: int, a: int, b: int) -> None:
    source = random.Random(100 * operation + 10 * a + b)
    agree(bench, [any_case(bench.elements, source, [(operation, d, a, b)]) for _ in range(60)])


@pytest.mark.parametrize("operation", [MUL, ADD, SUB])
def test_every_pair_of_extreme_elements(bench: Bench, operation: int) -> None:
    count = len(bench.elements.extremes)
    program = [(operation, EXTREME + count + number, 0, EXTREME + number) for number in range(count)]
    agree(bench, [extreme_case(bench.elements, program, one) for one in bench.elements.extremes])


@pytest.mark.parametrize("times", [1, 2, 3, 100, 255])
@pytest.mark.parametrize(("d", "a"), [(0, 1), (0, 0)])
def test_squares(bench: Bench, times: int, d: int, a: int) -> None:
    source = random.Random(times)
    agree(bench, [any_case(bench.elements, source, [(SQR, d, a, times)]) for _ in range(40 if times < 100 else 3)])


def test_squares_of_extreme_elements(bench: Bench) -> None:
    agree(
        bench,
        [
            extreme_case(
                bench.elements, [(SQR, 0, EXTREME + number, 1) for number in range(len(bench.elements.extremes))]
            )
        ],
    )
    agree(
        bench,
        [
            extreme_case(
                bench.elements,
                [(SQR, EXTREME + number, EXTREME + number, 2) for number in range(len(bench.elements.extremes))],
            )
        ],
    )


def test_load_and_store_of_every_edge(bench: Bench) -> None:
    source = random.Random(6)
    cases = []
    for edge in EDGES:
        slots, octets, program, start = any_case(
            bench.elements, source, [(LOAD, 3, 1, 0), (STORE, 2, 3, 0), (STORE, 7, 4, 0)]
        )
        cases.append((slots, octets[:32] + edge.to_bytes(32, "little") + octets[64:], program, start))
    agree(bench, cases)


def test_store_of_what_no_operation_has_reduced(bench: Bench) -> None:
    source = random.Random(7)
    agree(
        bench,
        [
            extreme_case(bench.elements, [(STORE, 5, EXTREME + number, 0)])
            for number in range(len(bench.elements.extremes))
        ],
    )
    agree(
        bench,
        [any_case(bench.elements, source, [(STORE, number, number, 0) for number in range(8)]) for _ in range(20)],
    )


@pytest.mark.parametrize("digit", range(32))
def test_select(bench: Bench, digit: int) -> None:
    source = random.Random(digit)
    cases = []
    for _ in range(3):
        slots, octets, program, start = any_case(bench.elements, source, [(SELECT, 9, TABLE, 0)])
        cases.append((slots, octets[: DIGITS + 9] + bytes([digit]) + octets[DIGITS + 10 :], program, start))
    agree(bench, cases)


@pytest.mark.parametrize("count", [3, 4])
def test_pick_and_put(bench: Bench, count: int) -> None:
    source = random.Random(count)
    agree(bench, [any_case(bench.elements, source, [(PICK, count, 41, 0), (PUT, count, SPARE, 0)]) for _ in range(10)])


def test_slots_above_255_are_reached(chip: Rv32) -> None:
    slots = bytearray(SLOT * 700)
    slots[600 * SLOT : 601 * SLOT] = NARROW.canonical(5)
    chip.call("run", slots, bytearray(OCTETS), bytearray((PICK, 3, 600 & 255, 2, PUT, 3, 44, 2, END, 0, 0, 0)), 0)
    assert slots[16 * SLOT : 17 * SLOT] == slots[556 * SLOT : 557 * SLOT] == NARROW.canonical(5)


@pytest.mark.parametrize("bench", [CHIP_32, COMPUTER_32], ids="{0[0]}-{0[1]}".format, indirect=True)
@pytest.mark.parametrize(("d", "a"), [(0, 1), (0, 0)])
def test_inverses(bench: Bench, d: int, a: int) -> None:
    elements = bench.elements
    source = random.Random(11)
    cases = [any_case(bench.elements, source, [(INVERT, d, a, 0)]) for _ in range(10)]
    for element in [
        *elements.extremes,
        *map(elements.canonical, EDGES),
        *[elements.canonical(1 << bit) for bit in range(3, 255, 29)],
    ]:
        slots, octets, program, start = any_case(bench.elements, source, [(INVERT, d, a, 0)])
        cases.append((slots[: SLOT * a] + element + slots[SLOT * a + SLOT :], octets, program, start))
    agree(bench, cases)


# --- Programs


def any_instruction(source: random.Random) -> Instruction:
    operation = source.choice((MUL, MUL, SQR, ADD, ADD, SUB, SUB, SUB, LOAD, STORE, PICK, PUT, SELECT))
    x, y, z = (source.choice(USABLE) for _ in range(3))
    if operation == SQR:
        z = source.randrange(1, 5)
    elif operation == LOAD:
        y = source.randrange(8)
    elif operation == STORE:
        x = source.randrange(8)
    elif operation == SELECT:
        x, y, z = source.randrange(OCTETS - DIGITS), TABLE, 0
    elif operation == PICK:
        x, y, z = source.choice((3, 4)), source.randrange(TABLE, SPARE), 0
    elif operation == PUT:
        x, y, z = source.choice((3, 4)), source.randrange(SPARE, SLOTS - 4), 0
    return operation, x, y, z


def test_long_programs(bench: Bench) -> None:
    """Calls of routines among the rest, and an inverse in each if the machine makes them."""
    source = random.Random(12)
    cases = []
    for _ in range(12):
        routines = [[any_instruction(source) for _ in range(source.randrange(1, 6))] for _ in range(3)]
        program: list[Instruction] = []
        starts = []
        for routine in routines:
            starts.append(len(program))
            program += [*routine, (END, 0, 0, 0)]
        start = len(program)
        program += [any_instruction(source) for _ in range(80)]
        if bench.elements.inverts:
            program.insert(start + source.randrange(80), (INVERT, source.choice(USABLE), source.choice(USABLE), 0))
        for _ in range(10):
            program.insert(start + source.randrange(80), (CALL, source.randrange(1, 5), source.choice(starts), 0))
        cases.append(any_case(bench.elements, source, program, start))
    agree(bench, cases)


def test_routine_beyond_instruction_255(bench: Bench) -> None:
    program = [(CALL, 3, 300 & 255, 300 >> 8), (END, 0, 0, 0), *[(END, 0, 0, 0)] * 298, (ADD, 0, 0, 1)]
    agree(bench, [any_case(bench.elements, random.Random(5), program)])


# --- Time and size


@pytest.mark.parametrize("instruction", COSTS)
def test_cost(chip: Rv32, instruction: Instruction) -> None:
    chip.reset()
    _on_chip(chip, [any_case(NARROW, random.Random(1), [instruction])])
    assert chip.instructions - CALL_AND_STOP <= COSTS[instruction]


@pytest.mark.parametrize(
    ("word_bits", "instruction"),
    [(bits, one) for bits, limbs in LIMBS.items() for one in COSTS if Elements(limbs).inverts or one[0] != INVERT],
)
def test_constant_time(word_bits: int, instruction: Instruction) -> None:
    """The same instructions and addresses, whatever slots, octet strings and digits hold.

    The code for 64 bits computes wrong where integers have 32, but it is the same code.
    """
    elements = Elements(LIMBS[word_bits])
    chip = Rv32(compile_module(field_viper.source(word_bits), "rv32imc"))
    source = random.Random(2)
    traces = set()
    for _ in range(2 if instruction[0] == INVERT else 6):
        slots, octets, program, start = any_case(elements, source, [instruction])
        traces.add(chip.trace("run", bytearray(slots), bytearray(octets), bytearray(program), start))
    zeros = bytearray(SLOT * SLOTS), bytearray(OCTETS)
    traces.add(chip.trace("run", *zeros, bytearray((*instruction, END, 0, 0, 0)), 0))
    assert len(traces) == 1


def test_what_the_modules_say_of_themselves() -> None:
    for word_bits, limbs in LIMBS.items():
        assert limbs.slot == SLOT
        said = f"SLOT = {SLOT}\nINVERTS = {Elements(limbs).inverts}\n"
        assert said in field_viper.source(word_bits)


@pytest.mark.parametrize("architecture", SIZES)
def test_size(architecture: str) -> None:
    assert len(compile_module(field_viper.source(), architecture)) <= SIZES[architecture]


def test_size_where_integers_have_64_bits() -> None:
    assert len(compile_module(field_viper.source(64), "x64")) <= WIDE_SIZE


def test_inverse_takes_the_steps_of_the_proof() -> None:
    """A few less would still do for almost every number."""
    assert field_inverse_viper.BATCHES * 13 >= 590
