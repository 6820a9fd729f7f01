"""The field machine for RISC-V, compiled and on the emulated chip, against the one in plain integers."""

import random
from collections.abc import Sequence

import pytest

from host_tools.emulation.rv32 import Rv32
from host_tools.emulation.rv32_memory import STACK_TOP
from host_tools.machine_code import field_inverse_rv32, field_rv32, mpy
from tests import micropython
from tests.crypto.compiling import compile_module

P = 2**255 - 19
SLOT = 32
END, MUL, SQR, ADD, SUB, CALL, LOAD, STORE, PICK, PUT, SELECT, INVERT = range(12)
ENTRY = 16
DIGITS = 256
READ, WRITE = 1, 2  # kinds of a memory access in a trace
STACK_SIZE = 4096  # more than the machine uses

# Instructions of the chip, each with its way from the one operation to the next. They are exact: lower them, too.
CALL_AND_STOP = 55
MUL_COST, ADD_COST, SUB_COST = 575, 84, 84
SQR_COST, SQR_EXTRA_COST = 354, 31  # for each squaring, and once
SELECT_COST, INVERT_COST = 1286, 27_286
PICK_3_COST, PICK_4_COST, LOAD_COST, STORE_COST = 72, 92, 35, 70
CALL_COST, REPEAT_COST = 14, 13  # of CALL itself, and of END at a routine's end
SIZE_MAX = 8192  # octets of the whole module

Instruction = tuple[int, int, int, int]

WORD_PATTERNS = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF)
EXTREMES = [0, 1, 2, 18, 19, 37, 38, 39, 2**224 - 1, 2**224, 2**255 - 1, 2**255, 2**255 + 18, 2**255 + 19]
EXTREMES += [P + offset for offset in (-2, -1, 0, 1, 17, 18, 19, 37, 38)]
EXTREMES += [2 * P + offset for offset in (-2, -1, 0, 1, 18, 36, 37)]
EXTREMES += [2**256 - offset for offset in (1, 2, 19, 20, 38, 39, 40, 2**224, 2**224 + 1)]
EXTREMES += [top - (1 << 32 * word) for top in (2**256 - 1, 2**255 - 1) for word in range(8)]
EXTREMES += [sum(0xFFFFFFFF << 32 * word for word in range(8) if mask >> word & 1) for mask in range(1, 255, 6)]


def machine() -> Rv32:
    return Rv32(mpy.to_native_convention(compile_module(field_rv32.source(), "rv32imc")))


@pytest.fixture(scope="module")
def field() -> Rv32:
    return machine()


def instruction(operation: int, x: int = 0, y: int = 0, z: int = 0) -> Instruction:
    return operation, x, y, z


def far(operation: int, x: int, number: int) -> Instruction:
    """An instruction whose octets 2 and 3 are one number."""
    return operation, x, number & 255, number >> 8


def arguments(
    slots: Sequence[int], program: Sequence[Instruction], octets: bytes = b"", start: int = 0
) -> tuple[bytearray, bytearray, bytearray, int]:
    return (
        bytearray(b"".join(slot.to_bytes(SLOT, "little") for slot in slots)),
        bytearray(octets or 512),
        bytearray(b"".join(map(bytes, [*program, instruction(END)]))),
        start,
    )


def run(
    field: Rv32, slots: Sequence[int], program: Sequence[Instruction], octets: bytes = b"", start: int = 0
) -> tuple[list[int], bytearray]:
    """Slots (as they are, not reduced) and octets after the program."""
    given = arguments(slots, program, octets, start)
    assert field.call("run", *given) == 0
    after, octets_after = given[0], given[1]
    return [int.from_bytes(after[at : at + SLOT], "little") for at in range(0, len(after), SLOT)], octets_after


def defined(
    slots: Sequence[int], program: Sequence[Instruction], octets: bytes = b"", start: int = 0
) -> tuple[list[int], bytearray]:
    """The same by the executable definition."""
    definition = micropython.import_on_cpython("crypto.field_int")
    _, octets_given, code, _ = arguments([], program, octets, start)
    after = [slot % P for slot in slots]
    assert definition.run(after, octets_given, code, start) == 0
    return after, octets_given


def same(
    field: Rv32, slots: Sequence[int], program: Sequence[Instruction], octets: bytes = b"", start: int = 0
) -> None:
    got, got_octets = run(field, slots, program, octets, start)
    want, want_octets = defined(slots, program, octets, start)
    wrong = [number for number, (one, other) in enumerate(zip(got, want, strict=True)) if (one - other) % P]
    assert not wrong, (wrong, [hex(slot) for slot in slots], program)
    assert got_octets == want_octets


def any_number(source: random.Random) -> int:
    """Below 2^256: an extreme one, one of extreme words, or just any."""
    kind = source.randrange(4)
    if kind == 0:
        return source.choice(EXTREMES)
    if kind == 1:
        return sum(source.choice(WORD_PATTERNS) << 32 * word for word in range(8))
    if kind == 2:
        return sum(source.choice((*WORD_PATTERNS, source.getrandbits(32))) << 32 * word for word in range(8))
    return source.getrandbits(256)


def cost(field: Rv32, program: Sequence[Instruction], slots: int = 80) -> int:
    """Instructions of `program`, without calling the machine and stopping it."""
    field.reset()
    run(field, [0] * slots, program)
    return field.instructions - CALL_AND_STOP


# --- Arithmetic

BINARY = [instruction(MUL, 2, 0, 1), instruction(ADD, 3, 0, 1), instruction(SUB, 4, 0, 1)]


def test_every_pair_of_extremes(field: Rv32) -> None:
    others = len(EXTREMES)
    for a in EXTREMES:
        for operation in (MUL, ADD, SUB):
            program = [instruction(operation, others + place, 2 * others, place) for place in range(others)]
            same(field, [*EXTREMES, *[0] * others, a], program)


def test_squares_and_inverses_of_extremes(field: Rv32) -> None:
    for a in EXTREMES:
        same(field, [a, *[7] * 4], [instruction(SQR, 1, 0, 1), instruction(SQR, 2, 0, 3), instruction(INVERT, 3, 0)])


def test_random_and_patterned_operands(field: Rv32) -> None:
    source = random.Random("operands")
    for _ in range(2000):
        same(field, [any_number(source), any_number(source), 0, 0, 0, 0], [*BINARY, instruction(SQR, 5, 0, 1)])


@pytest.mark.parametrize("operation", [MUL, ADD, SUB])
def test_result_may_be_an_operand_and_operands_the_same(field: Rv32, operation: int) -> None:
    source = random.Random(operation)
    for d, a, b in ((0, 0, 1), (1, 0, 1), (0, 0, 0), (1, 0, 0), (0, 1, 1)):
        for _ in range(12):
            same(field, [any_number(source), any_number(source)], [instruction(operation, d, a, b)])


@pytest.mark.parametrize("d", [0, 1])
def test_square_and_inverse_in_place(field: Rv32, d: int) -> None:
    source = random.Random("place")
    for _ in range(12):
        a = any_number(source)
        same(field, [a, 5], [instruction(SQR, d, 0, 2)])
        same(field, [a, 5], [instruction(INVERT, d, 0)])


@pytest.mark.parametrize("times", [1, 2, 3, 50, 100, 254, 255])
def test_runs_of_squares(field: Rv32, times: int) -> None:
    source = random.Random(times)
    for _ in range(3):
        same(field, [any_number(source), 0], [instruction(SQR, 1, 0, times)])


def test_inverses(field: Rv32) -> None:
    """Also of small numbers and of powers of two, which end early and late."""
    source = random.Random("inverses")
    numbers = [*range(40), *(1 << bit for bit in range(0, 256, 5)), *(P - (1 << bit) for bit in range(0, 255, 9))]
    numbers += [any_number(source) for _ in range(1000)]
    for number in numbers:
        (_, inverse), _ = run(field, [number, 0], [instruction(INVERT, 1, 0)])
        assert inverse * number % P == (1 if number % P else 0), hex(number)


def modelled_inverse(number: int, batches: int) -> int:
    """What INVERT leaves in the slot, not reduced, after so many batches of 30 division steps."""
    f, g, d, e, zeta = P, number % P, 0, 1, -1  # zeta = -(delta + 1/2)
    for _ in range(batches):
        u, v, q, r = 1, 0, 0, 1
        low_f, low_g = f, g
        for _ in range(30):
            if zeta < 0 and low_g & 1:
                zeta = -zeta - 2
                low_f, low_g = low_g, low_g - low_f >> 1
                u, v, q, r = 2 * q, 2 * r, q - u, r - v
            else:
                zeta -= 1
                odd = low_g & 1
                low_g = low_g + odd * low_f >> 1
                u, v, q, r = 2 * u, 2 * v, q + odd * u, r + odd * v
        f, g = low_f, low_g
        d, e = d + P if d < 0 else d, e + P if e < 0 else e
        d, e = u * d + v * e, q * d + r * e
        d -= P * (d * pow(P, -1, 2**30) % 2**30)
        e -= P * (e * pow(P, -1, 2**30) % 2**30)
        d, e = d >> 30, e >> 30
    assert -2 * P < d < P
    assert g == 0 or batches < 20
    top = (d >> 240) * (-1 if f < 0 else 1) >> 15
    return (-d if f < 0 else d) - (top - 1) * P


@pytest.mark.parametrize("batches", [1, 2, 3, 7, 12, 17, 20])
def test_inverse_takes_the_steps_of_the_proof(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Other steps might give right inverses, too, but nobody has proved how many are enough."""
    assert field_inverse_rv32.BATCHES * 30 >= 590
    monkeypatch.setattr(field_inverse_rv32, "BATCHES", batches)
    field = machine()
    source = random.Random(batches)
    for number in (0, 1, 2, *EXTREMES, *(any_number(source) for _ in range(40))):
        (_, inverse), _ = run(field, [number, 0], [instruction(INVERT, 1, 0)])
        assert inverse == modelled_inverse(number, batches)


def test_random_programs(field: Rv32) -> None:
    """Whatever an operation gives, every operation takes."""
    source = random.Random("programs")
    for _ in range(25):
        slots = [any_number(source) for _ in range(12)]
        program = []
        for _ in range(150):
            operation = source.choice((MUL, SQR, ADD, SUB, ADD, SUB))
            last = source.randrange(1, 4) if operation == SQR else source.randrange(12)
            program.append(instruction(operation, source.randrange(12), source.randrange(12), last))
        same(field, slots, program)


def test_every_slot_that_an_octet_can_name(field: Rv32) -> None:
    slots = [3 * number + 1 for number in range(256)]
    program = [instruction(MUL, 255, 254, 253), instruction(ADD, 128, 255, 127), instruction(SUB, 200, 0, 255)]
    program += [instruction(SQR, 130, 252, 1), instruction(INVERT, 251, 250), instruction(STORE, 0, 255)]
    program += [instruction(LOAD, 249, 0)]
    same(field, slots, program)


# --- Programs


def test_start_says_where(field: Rv32) -> None:
    program = [instruction(ADD, 1, 0, 0), instruction(END), instruction(ADD, 2, 0, 0)]
    program += [instruction(ADD, 3, 0, 0)] * 300
    for start in (0, 2, 5, 302):
        same(field, [5, 0, 0, 0], program, start=start)


@pytest.mark.parametrize("times", [1, 2, 3, 255])
@pytest.mark.parametrize("routine", [3, 300])
def test_routines_are_repeated_and_return(field: Rv32, times: int, routine: int) -> None:
    program = [far(CALL, times, routine), instruction(ADD, 1, 0, 2), instruction(END)]
    program += [instruction(ADD, 2, 2, 2)] * (routine - len(program))
    program += [instruction(ADD, 0, 0, 2), instruction(ADD, 0, 0, 0), instruction(END)]
    same(field, [1, 0, 3], program)


@pytest.mark.parametrize(
    "first",
    [instruction(operation, 0, 1, 2) for operation in (MUL, SQR, ADD, SUB, LOAD, STORE, INVERT)]
    + [far(PICK, 3, 20), far(PUT, 4, 20), far(SELECT, 7, 20), far(CALL, 1, 4)],
)
def test_every_operation_goes_on_to_the_next(field: Rv32, first: Instruction) -> None:
    routine = [instruction(MUL, 0, 0, 0), instruction(END)]
    program = [first, instruction(SUB, 3, 0, 2), instruction(STORE, 1, 3), instruction(END), *routine]
    same(field, list(range(100, 170)), program)


def test_several_calls(field: Rv32) -> None:
    program = [far(CALL, 2, 4), far(CALL, 1, 6), far(CALL, 3, 4), instruction(END)]
    program += [instruction(ADD, 0, 0, 1), instruction(END), instruction(MUL, 0, 0, 0), instruction(END)]
    same(field, [1, 3], program)


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("first", [20, 30, 500])
def test_pick_and_put(field: Rv32, count: int, first: int) -> None:
    slots = [any_number(random.Random(number)) for number in range(first + 8)]
    same(field, slots, [far(PICK, count, first)])
    same(field, slots, [far(PUT, count, first)])
    after, _ = run(field, slots, [far(PICK, count, first)])
    assert after[ENTRY : ENTRY + count] == slots[first : first + count]


@pytest.mark.parametrize("number", [0, 1, 7])
def test_store_gives_the_canonical_value(field: Rv32, number: int) -> None:
    source = random.Random("store")
    for value in (*EXTREMES, *(any_number(source) for _ in range(40))):
        _, octets = run(field, [0, value], [instruction(STORE, number, 1)])
        assert int.from_bytes(octets[32 * number : 32 * number + 32], "little") == value % P
        assert octets.count(0) >= len(octets) - 32


def test_load_takes_what_is_below_2_255(field: Rv32) -> None:
    octets = bytearray(512)
    for place, value in enumerate((0, 1, P - 1, P, P + 18, 2**255 - 1)):
        octets[32 * place : 32 * place + 32] = value.to_bytes(32, "little")
    program = [instruction(LOAD, place, place) for place in range(6)]
    same(field, [9] * 6, program, bytes(octets))
    same(field, [9] * 6, [*program, instruction(ADD, 0, 4, 5), instruction(STORE, 1, 0)], bytes(octets))


@pytest.mark.parametrize("first", [19, 40, 700])
@pytest.mark.parametrize("thirds", [(), (0, P - 1, 1, 0, 0, 0, 37, 38, 36, 2**255 - 20, 2**224 - 1, 2**32)])
def test_select_every_digit(field: Rv32, first: int, thirds: Sequence[int]) -> None:
    source = random.Random(first)
    table = [source.randrange(P) for _ in range(48)]
    for place, value in enumerate(thirds):  # the third of an entry is negated
        table[3 * place + 2] = value
    slots = [*[1] * first, *table]
    for digit in range(32):
        octets = bytearray(512)
        octets[DIGITS + digit] = digit
        same(field, slots, [far(SELECT, digit, first)], bytes(octets))


def test_select_with_the_last_digit(field: Rv32) -> None:
    octets = bytearray(512)
    octets[DIGITS + 255] = 4
    same(field, list(range(1, 69)), [far(SELECT, 255, 20)], bytes(octets))


# --- Secrets

SECRET_PROGRAM = [
    *(instruction(LOAD, slot, slot) for slot in range(4)),
    instruction(MUL, 4, 0, 1),
    instruction(ADD, 5, 4, 2),
    instruction(SUB, 6, 3, 5),
    instruction(SQR, 7, 6, 3),
    instruction(INVERT, 8, 0),
    far(SELECT, 0, 20),
    instruction(MUL, 9, 18, 8),
    instruction(STORE, 0, 9),
    far(CALL, 2, 14),
    instruction(END),
    instruction(MUL, 0, 0, 18),
    instruction(END),
]


def secrets(values: Sequence[int], digit: int, entry: int) -> tuple[bytearray, bytearray, bytearray, int]:
    octets = bytearray(b"".join(value.to_bytes(32, "little") for value in values)) + bytearray(512 - 128)
    octets[DIGITS] = digit
    return arguments([0] * 20 + [entry] * 48, SECRET_PROGRAM, bytes(octets))


def all_secrets() -> list[tuple[bytearray, bytearray, bytearray, int]]:
    source = random.Random("secrets")
    chosen = [secrets([value] * 4, 5, value) for value in (0, 1, P - 1, 2**254, 2**224 - 1)]
    for digit in range(32):
        values = [source.randrange(2**255) for _ in range(4)]
        chosen.append(secrets(values, digit, source.randrange(P)))
    return chosen


def test_secrets_decide_neither_path_nor_address(field: Rv32) -> None:
    traces = {field.trace("run", *given) for given in all_secrets()}
    assert len(traces) == 1


def test_nothing_of_the_secrets_stays_on_the_stack(field: Rv32) -> None:
    stacks = set()
    for given in all_secrets():
        assert field.call("run", *given) == 0
        stacks.add(field.stack())
    assert len(stacks) == 1


def test_nothing_is_read_from_the_stack_that_was_not_written(field: Rv32) -> None:
    """On a device, what a call finds on the stack is what others left there."""
    written = set()
    for event in field.events("run", *secrets([2, 3, 4, 5], 5, 6)):
        kind, size, address = event >> 40, event >> 32 & 0xFF, event & 0xFFFFFFFF
        octets = range(address, address + size)
        if kind == WRITE:
            written.update(octets)
        elif kind == READ and STACK_TOP - STACK_SIZE <= address < STACK_TOP:
            assert written.issuperset(octets), hex(address)
    assert len(written) > 4 * 36


# --- Cost


@pytest.mark.parametrize(
    ("program", "bound"),
    [
        ([instruction(MUL)], MUL_COST),
        ([instruction(ADD)], ADD_COST),
        ([instruction(SUB)], SUB_COST),
        ([instruction(SQR, 0, 0, 1)], SQR_COST + SQR_EXTRA_COST),
        ([instruction(SQR, 0, 0, 255)], 255 * SQR_COST + SQR_EXTRA_COST),
        ([instruction(INVERT)], INVERT_COST),
        ([far(SELECT, 0, 20)], SELECT_COST),
        ([far(PICK, 3, 20)], PICK_3_COST),
        ([far(PUT, 4, 20)], PICK_4_COST),
        ([instruction(LOAD)], LOAD_COST),
        ([instruction(STORE)], STORE_COST),
        ([far(CALL, 3, 2), instruction(END), instruction(END)], CALL_COST + 3 * REPEAT_COST),
    ],
)
def test_cost(field: Rv32, program: Sequence[Instruction], bound: int) -> None:
    assert cost(field, []) <= 0
    assert cost(field, program) <= bound


def test_size() -> None:
    assert len(compile_module(field_rv32.source(), "rv32imc")) <= SIZE_MAX


def test_source_is_the_same_every_time() -> None:
    assert field_rv32.source() == field_rv32.source()
