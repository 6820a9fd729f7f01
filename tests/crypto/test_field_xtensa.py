"""The field machine for Xtensa, as compiled and converted for a device, held to its definition in plain integers."""

import random
from collections.abc import Iterable, Sequence

import pytest

from host_tools.emulation.xtensa import EmulationError, Xtensa
from host_tools.machine_code import field_xtensa, mpy
from host_tools.machine_code.field_columns_xtensa import LIMB_BITS, MASK
from host_tools.machine_code.field_machine_xtensa import LIMBS, SCRATCH, SLOT, WORD
from host_tools.machine_code.field_product_xtensa import LIMIT
from tests.crypto.compiling import compile_module
from tests.micropython import import_on_cpython

END, MUL, SQR, ADD, SUB, CALL, LOAD, STORE, PICK, PUT, SELECT = range(11)
P = 2**255 - 19
OWN = range(20, 24)  # slots that belong to the machine itself
DIGITS = 256
EXTREME = (
    0,
    1,
    2,
    18,
    19,
    20,
    P - 20,
    P - 19,
    P - 2,
    P - 1,
    P,
    P + 1,
    P + 18,
    2**255 - 1,
    2**254,
    MASK,
    1 << LIMB_BITS,
)

definition = import_on_cpython("crypto.field_int")
Instruction = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def compiled() -> bytes:
    return mpy.to_native_convention(compile_module(field_xtensa.source(), "xtensawin"))


@pytest.fixture(scope="module")
def emulator(compiled: bytes) -> Xtensa:
    return Xtensa(compiled)


class Machine:
    """The emulated machine; slots can be read and written limb by limb."""

    def __init__(self, emulator: Xtensa, slots: int = 64) -> None:
        self.emulator = emulator
        self.slots = bytearray(SLOT * slots)
        self.octets = bytearray(DIGITS + 32)

    def run(self, instructions: Iterable[Instruction], start: int = 0) -> int:
        """Gives the number of executed instructions."""
        before = self.emulator.instructions
        result = self.emulator.call("run", self.slots, self.octets, bytearray(octets_of(instructions)), start)
        assert result == 0
        return self.emulator.instructions - before

    def load(self, slot: int, value: int) -> None:
        self.octets[:32] = value.to_bytes(32, "little")
        self.run([(LOAD, slot, 0, 0)])

    def store(self, slot: int) -> int:
        self.run([(STORE, 0, slot, 0)])
        return int.from_bytes(self.octets[:32], "little")

    def limbs(self, slot: int) -> list[int]:
        at = SLOT * slot
        return [int.from_bytes(self.slots[i : i + WORD], "little") for i in range(at, at + SLOT, WORD)]

    def set_limbs(self, slot: int, limbs: Sequence[int]) -> None:
        self.slots[SLOT * slot : SLOT * (slot + 1)] = b"".join(limb.to_bytes(WORD, "little") for limb in limbs)

    def value(self, slot: int) -> int:
        return value_of(self.limbs(slot))


def octets_of(instructions: Iterable[Instruction]) -> bytes:
    return b"".join(map(bytes, instructions)) + bytes(4)


def value_of(limbs: Sequence[int]) -> int:
    return sum(limb << LIMB_BITS * number for number, limb in enumerate(limbs))


def random_limbs(rng: random.Random) -> list[int]:
    """Whatever an operation may find in a slot, often at its limits."""
    kind = rng.randrange(4)
    if kind == 0:
        return list(LIMIT)
    if kind == 1:
        return [rng.choice((0, 1, limit - 1, limit)) for limit in LIMIT]
    if kind == 2:
        return [rng.randrange(limit + 1) if rng.randrange(3) else limit for limit in LIMIT]
    return [rng.randrange(limit + 1) for limit in LIMIT]


def random_value(rng: random.Random) -> int:
    return rng.choice(EXTREME) if rng.randrange(3) == 0 else rng.randrange(1 << 255)


def large(number: int) -> tuple[int, int]:
    return number & 255, number >> 8


EXPECTED = {
    (MUL, 1): lambda a, b: a * b,
    (ADD, 1): lambda a, b: a + b,
    (SUB, 1): lambda a, b: a - b,
    (SQR, 1): lambda a, _: a * a,
    (SQR, 2): lambda a, _: pow(a, 4, P),
    (SQR, 5): lambda a, _: pow(a, 32, P),
}


@pytest.mark.parametrize(("operation", "times"), EXPECTED)
def test_arithmetic_is_right_and_stays_within_its_own_limits(emulator: Xtensa, operation: int, times: int) -> None:
    machine, rng = Machine(emulator), random.Random(f"{operation} {times}")
    for _ in range(600):
        a, b = random_limbs(rng), random_limbs(rng)
        machine.set_limbs(1, a)
        machine.set_limbs(2, b)
        machine.run([(operation, 3, 1, times if operation == SQR else 2)])
        expected = EXPECTED[operation, times](value_of(a), value_of(b))
        assert machine.value(3) % P == expected % P
        assert all(limb <= limit for limb, limit in zip(machine.limbs(3), LIMIT, strict=True))
        assert (machine.limbs(1), machine.limbs(2)) == (a, b)


def test_products_that_lose_most_where_they_are_shifted(emulator: Xtensa) -> None:
    """All products of two limbs are -1 modulo 2 ** 29, and as large as can be: what is dropped adds up to most."""
    machine, rng = Machine(emulator), random.Random(6)
    for _ in range(300):
        one = rng.randrange(MASK - (1 << 20), MASK, 2) | 1
        other = -pow(one, -1, MASK + 1) & MASK
        a, b = [min(one, limit) for limit in LIMIT], [min(other, limit) for limit in LIMIT]
        a[8], b[8] = one & LIMIT[8] - 1, other & LIMIT[8] - 1
        machine.set_limbs(1, a)
        machine.set_limbs(2, b)
        machine.run([(MUL, 3, 1, 2), (MUL, 4, 2, 1), (SQR, 5, 1, 1), (SQR, 6, 2, 1)])
        expected = [value_of(a) * value_of(b)] * 2 + [value_of(a) ** 2, value_of(b) ** 2]
        assert [machine.value(slot) % P for slot in (3, 4, 5, 6)] == [value % P for value in expected]


@pytest.mark.parametrize("operation", [MUL, SQR, ADD, SUB])
@pytest.mark.parametrize(("d", "a", "b"), [(1, 1, 2), (2, 1, 2), (1, 1, 1), (3, 1, 1)])
def test_the_result_may_take_an_operands_place(emulator: Xtensa, operation: int, d: int, a: int, b: int) -> None:
    machine, rng = Machine(emulator), random.Random(1)
    for _ in range(50):
        machine.set_limbs(1, random_limbs(rng))
        machine.set_limbs(2, random_limbs(rng))
        one, other = machine.value(a), machine.value(b)
        machine.run([(operation, d, a, 3 if operation == SQR else b)])
        expected = pow(one, 8, P) if operation == SQR else EXPECTED[operation, 1](one, other)
        assert machine.value(d) % P == expected % P


def test_store_reduces_whatever_a_slot_may_hold(emulator: Xtensa) -> None:
    machine, rng = Machine(emulator), random.Random(2)
    for _ in range(500):
        machine.set_limbs(1, random_limbs(rng))
        assert machine.store(1) == machine.value(1) % P
    below_2_to_the_255 = [limb & MASK for limb in LIMIT[:8]] + [(1 << 23) - 1]
    for difference in range(40):
        machine.set_limbs(1, [below_2_to_the_255[0] - difference, *below_2_to_the_255[1:]])
        assert machine.store(1) == machine.value(1) % P


def test_load_takes_every_octet_string_below_2_to_the_255(emulator: Xtensa) -> None:
    machine, rng = Machine(emulator), random.Random(3)
    for value in (*EXTREME, *(1 << bit for bit in range(255)), *(rng.randrange(1 << 255) for _ in range(100))):
        machine.load(5, value)
        assert machine.value(5) == value
        assert all(limb <= MASK for limb in machine.limbs(5))
        assert machine.store(5) == value % P


def test_octet_strings_have_numbers(emulator: Xtensa) -> None:
    machine = Machine(emulator)
    for number in range(8):
        machine.octets[32 * number : 32 * number + 32] = (number + 100).to_bytes(32, "little")
    machine.run([(LOAD, 60, 7, 0), (STORE, 2, 60, 0)])
    assert machine.octets[64:96] == machine.octets[224:256]
    assert machine.octets[32:64] == (101).to_bytes(32, "little")


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("at", [30, 255, 256, 700])
def test_pick_and_put_copy_slots(emulator: Xtensa, count: int, at: int) -> None:
    machine = Machine(emulator, slots=705)
    machine.slots[:] = random.Random(4).randbytes(len(machine.slots))
    before = bytes(machine.slots)
    expected = bytearray(before)
    machine.run([(PICK, count, *large(at))])
    expected[SLOT * 16 : SLOT * (16 + count)] = before[SLOT * at : SLOT * (at + count)]
    assert without_own(machine.slots) == without_own(expected)
    machine.slots[SLOT * 16 : SLOT * 20] = expected[SLOT * 16 : SLOT * 20] = bytes(range(4 * SLOT))
    machine.run([(PUT, count, *large(at))])
    expected[SLOT * at : SLOT * (at + count)] = bytes(range(count * SLOT))
    assert without_own(machine.slots) == without_own(expected)


def without_own(slots: bytes | bytearray) -> bytes:
    return bytes(slots[: SLOT * OWN.start] + slots[SLOT * OWN.stop :])


@pytest.mark.parametrize("digit", range(32))
def test_select_finds_every_entry(emulator: Xtensa, digit: int) -> None:
    machine, rng = Machine(emulator, slots=560), random.Random(digit)
    table, number = rng.choice((40, 300, 500)), rng.randrange(20)
    values = [rng.choice((0, 1, P - 1, P - 2, rng.randrange(P), rng.randrange(P))) for _ in range(48)]
    plain = [0] * 560
    for place, value in enumerate(values):
        machine.load(250, value)
        machine.slots[SLOT * (table + place) : SLOT * (table + place + 1)] = machine.slots[SLOT * 250 : SLOT * 251]
        plain[table + place] = value
    machine.octets[DIGITS + number] = digit
    machine.run([(SELECT, number, *large(table))])
    definition.run(plain, machine.octets, bytearray(octets_of([(SELECT, number, *large(table))])), 0)
    assert [machine.value(slot) for slot in (16, 17)] == plain[16:18]
    assert machine.value(18) % P == plain[18]
    assert all(limb <= limit for slot in (16, 17, 18) for limb, limit in zip(machine.limbs(slot), LIMIT, strict=True))


def test_routines_repeat_and_return(emulator: Xtensa) -> None:
    machine = Machine(emulator)
    machine.load(1, 5)
    program = [(CALL, 3, 4, 0), (ADD, 2, 1, 1), (CALL, 1, 6, 0), (END, 0, 0, 0)]
    program += [(ADD, 1, 1, 1), (END, 0, 0, 0), (MUL, 2, 2, 2), (SUB, 2, 2, 1), (END, 0, 0, 0)]
    machine.run(program)
    assert machine.store(1) == 40
    assert machine.store(2) == 80 * 80 - 40
    machine.run(program, start=6)
    assert machine.store(2) == (80 * 80 - 40) ** 2 - 40


def test_a_routine_may_stand_far_behind(emulator: Xtensa) -> None:
    machine = Machine(emulator)
    machine.load(1, 3)
    machine.run([(CALL, 255, *large(1000)), *[(END, 0, 0, 0)] * 999, (ADD, 1, 1, 1)])
    assert machine.store(1) == (3 << 255) % P


def random_program(rng: random.Random, length: int) -> list[Instruction]:
    """Straight on, with all slots but the machine's own, and results becoming operands again and again."""
    slots = [slot for slot in range(40) if slot not in OWN]
    program: list[Instruction] = []
    for _ in range(length):
        operation = rng.choice((MUL, MUL, SQR, ADD, ADD, SUB, SUB, SUB, PICK, PUT))
        if operation == PICK:
            program.append((PICK, 3, *large(24 + rng.randrange(12))))
        elif operation == PUT:
            program.append((PUT, 4, *large(24 + rng.randrange(12))))
        else:
            last = rng.randrange(1, 4) if operation == SQR else rng.choice(slots)
            program.append((operation, rng.choice(slots), rng.choice(slots), last))
    return program


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_do_what_the_definition_does(emulator: Xtensa, seed: int) -> None:
    rng = random.Random(seed)
    machine, plain = Machine(emulator), [0] * 64
    for slot in range(40):
        if slot not in OWN:
            plain[slot] = random_value(rng)
            machine.load(slot, plain[slot])
            plain[slot] %= P
    program = random_program(rng, 200)
    machine.run(program)
    definition.run(plain, bytearray(DIGITS), bytearray(octets_of(program)), 0)
    for slot in range(40):
        if slot not in OWN:
            assert machine.store(slot) == plain[slot]


COUNTS = {
    "MUL": ((MUL, 1, 2, 3), 648),
    "SQR": ((SQR, 1, 2, 1), 462),
    "SQR, 100 times": ((SQR, 1, 2, 100), 44_700),
    "ADD": ((ADD, 1, 2, 3), 90),
    "SUB": ((SUB, 1, 2, 3), 90),
    "LOAD": ((LOAD, 1, 0, 0), 70),
    "STORE": ((STORE, 0, 1, 0), 160),
    "PICK": ((PICK, 4, 30, 0), 125),
    "PUT": ((PUT, 4, 30, 0), 125),
    "SELECT": ((SELECT, 0, 1, 0), 1260),
    "CALL and END": ((CALL, 1, 0, 1), 65),
}


@pytest.mark.parametrize("name", COUNTS)
def test_how_many_instructions_an_operation_takes(emulator: Xtensa, name: str) -> None:
    machine = Machine(emulator)
    instruction, most = COUNTS[name]
    nothing = [(END, 0, 0, 0)] * 260
    assert machine.run([instruction, *nothing]) - machine.run(nothing) <= most


def test_it_fits_a_device(compiled: bytes) -> None:
    assert len(compiled) <= 5 * 1024


def test_nothing_a_slot_or_a_digit_holds_decides_what_is_done(emulator: Xtensa) -> None:
    rng = random.Random(5)
    program = [
        (LOAD, 1, 0, 0),
        (SELECT, 3, *large(40)),
        (MUL, 2, 1, 16),
        (SQR, 3, 2, 3),
        (ADD, 4, 3, 17),
        (SUB, 5, 4, 18),
    ]
    program += [(STORE, 1, 5, 0), (PUT, 3, *large(60)), (PICK, 4, *large(60))]
    traces = set()
    for digit in range(32):
        machine = Machine(emulator, slots=96)
        for slot in range(40, 88):
            machine.load(slot, rng.randrange(P))
        machine.octets[:32] = random_value(rng).to_bytes(32, "little")
        machine.octets[DIGITS + 3] = digit
        traces.add(emulator.trace("run", machine.slots, machine.octets, bytearray(octets_of(program)), 0))
    assert len(traces) == 1


def test_the_trace_does_show_the_program(emulator: Xtensa) -> None:
    traces = set()
    for program in ([(ADD, 1, 2, 3)], [(SUB, 1, 2, 3)], [(ADD, 1, 2, 4)]):
        traces.add(emulator.trace("run", Machine(emulator).slots, bytearray(DIGITS), bytearray(octets_of(program)), 0))
    assert len(traces) == 3


def test_the_frame_keeps_no_part_of_an_operand(emulator: Xtensa) -> None:
    frames = set()
    for seed in range(4):
        machine, rng = Machine(emulator), random.Random(seed)
        machine.set_limbs(1, random_limbs(rng))
        machine.set_limbs(2, random_limbs(rng))
        machine.run([(MUL, 1, 1, 2), (SQR, 2, 2, 1)])
        frames.add(emulator.frame())
    assert len(frames) == 1


def test_slots_20_to_23_are_enough(emulator: Xtensa) -> None:
    """All it needs stands there: with fewer slots the first operation fails."""
    assert SCRATCH.start == SLOT * OWN.start
    Machine(emulator, slots=OWN.stop).run([(MUL, 1, 2, 3)])
    with pytest.raises(EmulationError):
        Machine(emulator, slots=OWN.start).run([(MUL, 1, 2, 3)])


def test_the_module_says_what_it_is() -> None:
    assert f"SLOT = {SLOT}\nINVERTS = False\n" in field_xtensa.source()
    assert SLOT == LIMBS * WORD == 36
