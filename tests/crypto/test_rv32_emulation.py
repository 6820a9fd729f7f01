"""The RISC-V test bench: results, exact counts, traces, and that it notices what a function must not do."""

import re
import struct
from collections.abc import Callable, Sequence

import pytest

from host_tools.emulation import rv32
from host_tools.emulation.rv32 import EmulationError, Rv32
from host_tools.machine_code import mpy
from tests.crypto.compiling import compile_module, container

ZERO, RA, SP, GP, TP, T0, S0, S1 = 0, 1, 2, 3, 4, 5, 8, 9
A0, A1, A2, A3, A4, A5, A6, A7, S2 = 10, 11, 12, 13, 14, 15, 16, 17, 18


def immediate(opcode: int, function: int, target: int, source: int, value: int) -> int:
    return (value & 0xFFF) << 20 | source << 15 | function << 12 | target << 7 | opcode


def addi(target: int, source: int, value: int) -> int:
    return immediate(0x13, 0, target, source, value)


def slli(target: int, source: int, bits: int) -> int:
    return immediate(0x13, 1, target, source, bits)


def load(size: int, target: int, base: int, offset: int) -> int:
    return immediate(0x03, {1: 4, 2: 5, 4: 2}[size], target, base, offset)  # lbu, lhu, lw


def store(size: int, source: int, base: int, offset: int) -> int:
    low, high = offset & 31, offset >> 5 & 127
    return high << 25 | source << 20 | base << 15 | {1: 0, 2: 1, 4: 2}[size] << 12 | low << 7 | 0x23


def branch_if_equal(left: int, right: int, offset: int) -> int:
    low, high = offset & 0x1E | offset >> 11 & 1, offset >> 12 & 1 << 6 | offset >> 5 & 63
    return high << 25 | right << 20 | left << 15 | low << 7 | 0x63


def add(target: int, left: int, right: int) -> int:
    return right << 20 | left << 15 | target << 7 | 0x33


def data_of_argument(target: int, number: int) -> list[int]:
    """target = address of the data of the buffer that argument `number` is."""
    return [load(4, target, A3, 4 * number), load(4, target, target, 12)]


RETURN_ZERO = addi(A0, ZERO, 1)
NOP, COMPRESSED_NOP = addi(ZERO, ZERO, 0), b"\1\0"
FORBIDDEN = "not wholly in|PROT|UNMAPPED"


def assemble(**functions: Sequence[int]) -> Rv32:
    """An emulator with assembler functions, converted as the build does."""
    source = "".join(container(name, 4, words) for name, words in functions.items())
    return Rv32(mpy.to_native_convention(compile_module(source, "rv32imc")))


def viper(signature: str, *lines: str) -> Rv32:
    source = f"@micropython.viper\ndef run{signature}:\n" + "".join(f"    {line}\n" for line in lines)
    return Rv32(compile_module(source, "rv32imc"))


# --- Calling


def test_assembler_functions_follow_the_native_convention() -> None:
    emulator = assemble(
        second_argument=[load(4, A0, A3, 4)],
        how_many=[slli(A0, A1, 1), addi(A0, A0, 1)],
        keywords=[add(A0, A2, A2), addi(A0, A0, 1)],
        length=[load(4, A0, A3, 0), load(4, A0, A0, 8), slli(A0, A0, 1), addi(A0, A0, 1)],
    )
    assert emulator.call("second_argument", 1, -5) == -5
    assert emulator.call("second_argument", 0, (1 << 30) - 1) == (1 << 30) - 1
    assert emulator.call("second_argument", 0, 1 << 77) == 1 << 77  # an object that may be handed on
    assert emulator.call("how_many") == 0
    assert emulator.call("how_many", b"", 2, 3) == 3
    assert emulator.call("keywords", 1) == 0
    assert emulator.call("length", b"seven..") == emulator.call("length", bytearray(7)) == 7
    with pytest.raises(KeyError):
        emulator.call("unknown")


def test_assembler_functions_run_before_they_are_converted_too() -> None:
    data = compile_module(container("run", 4, [load(4, A0, A3, 0)]), "rv32imc")
    assert Rv32(data).call("run", 11) == Rv32(mpy.to_native_convention(data)).call("run", 11) == 11


def test_bytearrays_are_changed_in_place() -> None:
    words = [*data_of_argument(A4, 0), *data_of_argument(A5, 1), load(4, A6, A5, 4), store(4, A6, A4, 8), RETURN_ZERO]
    emulator = assemble(move=words)
    out, source = bytearray(b"abcdefghijkl"), bytearray(b"01234567")
    assert emulator.call("move", out, source) == 0
    assert (out, source) == (b"abcdefgh4567", b"01234567")
    assert emulator.call("move", out, bytes(source)) == 0
    emulator.call("move", out, out)
    assert out == b"abcdefghefgh"  # one object, not two


def test_arguments_of_a_call_are_left_alone_afterwards() -> None:
    emulator = assemble(run=[RETURN_ZERO])
    buffer = bytearray(b"old")
    emulator.call("run", 1, buffer)
    buffer[:] = b"newer"
    emulator.call("run", 1)
    assert buffer == b"newer"


def test_viper_converts_arguments_and_results() -> None:
    emulator = viper("(p: ptr32, q: ptr8, h: ptr16, a: int, b: uint) -> int", "p[1] = q[2] + h[1] + int(b)", "return a")
    words = bytearray(8)
    assert emulator.call("run", words, b"\1\2\3", struct.pack("<2H", 9, 1000), -7, 1 << 31) == -7
    assert words == struct.pack("<2I", 0, 1003 + (1 << 31))
    assert emulator.runtime_calls == 6
    assert viper("(a: int) -> int", "return a + 1").call("run", (1 << 30) - 1) == 1 << 30
    assert viper("(a: int) -> int", "return a + 1").call("run", (1 << 31) - 1) == -(1 << 31)
    assert viper("(a: int) -> uint", "return uint(a)").call("run", -1) == (1 << 32) - 1
    assert viper("(a)", "return a").call("run", 5) == 5
    assert viper("(a: int)", "pass").call("run", 5) is None


@pytest.mark.parametrize(
    ("emulator", "arguments", "complaint"),
    [
        (viper("(a: int) -> int", "return a"), (1, 2), "entry 44 of the function table"),
        (viper("(a: int)", "print(a)"), (1,), "entry [0-9]+ of the function table"),
        (viper("(a: int) -> bool", "return a == 1"), (1,), "results of native type 1"),
        (viper("(a: bool)", "pass"), (1,), "arguments of native type 1"),
        (viper("(a: ptr8)", "pass"), (1,), "not an object with a buffer"),
        (viper("(a: int)", "pass"), (b"",), "not an integer object"),
        (viper("(a)", "return a"), (b"",), "not an integer object"),
    ],
    ids=["arity", "global", "bool result", "bool argument", "pointer", "integer", "result"],
)
def test_what_is_not_emulated_is_an_error(emulator: Rv32, arguments: tuple, complaint: str) -> None:
    with pytest.raises(EmulationError, match=complaint):
        emulator.call("run", *arguments)


def test_arguments_that_cannot_be_passed() -> None:
    emulator = assemble(run=[RETURN_ZERO])
    for argument in (memoryview(b"x"), True, None, "text", 1.5):
        with pytest.raises(TypeError):
            emulator.call("run", argument)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="9 arguments"):
        emulator.call("run", *range(9))
    with pytest.raises(ValueError, match="bytes, 131024 at most"):
        emulator.call("run", bytes(131025))


def test_only_modules_for_this_processor() -> None:
    with pytest.raises(EmulationError, match="architecture 10"):
        Rv32(compile_module("@micropython.viper\ndef run():\n    pass\n", "xtensawin"))


# --- What a function must not do

ACCESSES = [
    (buffer, size, offset)
    for buffer, end in ((b"seven..", 7), (bytearray(16), 16), (b"", 0), (bytearray(2), 2))
    for size in (1, 2, 4)
    for offset in (-0x700, -size, -1, end - size + 1, end, end + 100, 0x7FF)
    if offset < 0 or offset + size > end
]


@pytest.mark.parametrize("access", [load, store])
@pytest.mark.parametrize(("buffer", "size", "offset"), ACCESSES)
def test_access_outside_of_a_buffer_is_noticed(
    access: Callable[..., int], buffer: bytes | bytearray, size: int, offset: int
) -> None:
    emulator = assemble(run=[*data_of_argument(A4, 0), access(size, A5, A4, offset), RETURN_ZERO])
    with pytest.raises(EmulationError, match=FORBIDDEN):
        emulator.call("run", buffer)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_access_inside_of_a_buffer_is_none_of_its_business(size: int) -> None:
    for offset in range(0, 13 - size):
        accesses = [load(size, A5, A4, offset), store(size, A5, A4, offset)]
        emulator = assemble(run=[*data_of_argument(A4, 0), *accesses, RETURN_ZERO])
        assert emulator.call("run", bytearray(12)) == 0


def test_limits_follow_the_lengths_from_call_to_call() -> None:
    """The access is one piece of code that was translated while there was no buffer to watch."""
    address = [addi(A4, SP, -16), branch_if_equal(A1, ZERO, 12), *data_of_argument(A4, 0)]
    access = [branch_if_equal(ZERO, ZERO, 4), load(1, A5, A4, 9), store(1, A5, A4, 9), RETURN_ZERO]
    emulator = assemble(run=[*address, *access])
    emulator.call("run")
    for length in (9, 10, 9, 10, 8, 200, 9):
        if length > 9:
            emulator.call("run", bytearray(length))
        else:
            with pytest.raises(EmulationError, match=FORBIDDEN):
                emulator.call("run", bytearray(length))


@pytest.mark.parametrize(
    "words",
    [
        [*data_of_argument(A4, 0), store(1, ZERO, A4, 0)],
        [load(4, A4, A3, 0), store(4, ZERO, A4, 8)],
        [store(4, ZERO, A3, 0)],
        [store(4, ZERO, A0, 0)],
        [load(4, A4, A3, -4)],
        [load(4, A4, A3, 4)],
        [load(1, A4, SP, 0)],
        [load(4, A4, SP, -2)],
        [store(4, ZERO, SP, 4)],
        [load(4, A4, ZERO, 0)],
        [0x00000517, store(4, ZERO, A0, 0)],  # auipc a0, 0
        [0x00000067],  # jr zero
    ],
    ids=[
        *("bytes", "length", "argument", "function", "before arguments", "after arguments", "above the stack"),
        *("across the stack's top", "write above the stack", "null", "own code", "execute nothing"),
    ],
)
def test_memory_that_is_not_the_functions_is_out_of_bounds(words: list[int]) -> None:
    emulator = assemble(run=[*words, RETURN_ZERO], good=[RETURN_ZERO])
    with pytest.raises(EmulationError, match=f"{FORBIDDEN}|UC_ERR"):
        emulator.call("run", b"immutable")
    assert emulator.call("good", b"immutable") == 0


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_data_cannot_be_executed(kind: type) -> None:
    jump = [*data_of_argument(A4, 0), RETURN_ZERO, 0x00070067]  # jr a4
    with pytest.raises(EmulationError, match="UC_ERR_FETCH_PROT"):
        assemble(run=jump).call("run", kind(bytes.fromhex("82800100")))  # c.jr ra


def test_what_was_written_before_a_failure_can_be_seen() -> None:
    write_two = [*data_of_argument(A4, 0), store(1, A1, A4, 0), store(1, A1, A4, 1), RETURN_ZERO]
    buffer = bytearray(1)
    with pytest.raises(EmulationError, match="not wholly in 0x40000030 to 0x40000030"):
        assemble(run=write_two).call("run", buffer)
    assert buffer == b"\1"


@pytest.mark.parametrize("register", [SP, GP, TP, S0, S1, *range(S2, S2 + 10)])
def test_registers_of_the_caller_must_come_back(register: int) -> None:
    clobber = addi(register, register, 16)
    restore = addi(register, register, -16)
    emulator = assemble(bad=[RETURN_ZERO, clobber], good=[RETURN_ZERO, clobber, restore])
    assert emulator.call("good") == 0
    with pytest.raises(EmulationError, match="belongs to the caller"):
        emulator.call("bad")
    assert emulator.call("good") == 0


@pytest.mark.parametrize("register", [T0, T0 + 1, T0 + 2, *range(A0, A7 + 1), *range(28, 32)])
def test_other_registers_are_free(register: int) -> None:
    assert assemble(run=[addi(register, ZERO, 2), RETURN_ZERO]).call("run") == 0


def test_the_way_back_must_not_be_lost() -> None:
    with pytest.raises(EmulationError):
        assemble(run=[addi(RA, ZERO, 0)]).call("run")


def test_the_stack_can_be_used_and_shows_what_was_left() -> None:
    push = [addi(SP, SP, -16), addi(A4, ZERO, 0x5A), store(4, A4, SP, 4)]
    pop = [addi(SP, SP, 16), RETURN_ZERO]
    emulator = assemble(leave=[*push, *pop], clean=[*push, store(4, ZERO, SP, 4), *pop], untouched=[RETURN_ZERO])
    emulator.call("leave")
    assert emulator.stack().rstrip(b"\0")[-1:] == b"\x5a"
    assert emulator.stack()[-12:-8] == b"\x5a\0\0\0"
    emulator.call("clean")
    assert not any(emulator.stack())
    emulator.call("leave")
    emulator.call("untouched")
    assert not any(emulator.stack())


@pytest.mark.parametrize(
    "word",
    [
        0xC0002573,  # rdcycle a0
        0x30002573,  # csrr a0, mstatus
        0x00000073,  # ecall
        0x00100073,  # ebreak
        0x0000000F,  # fence
        0x00C5A52F,  # amoadd.w a0, a2, (a1)
        0x1005A52F,  # lr.w a0, (a1)
        0x0005A507,  # flw fa0, 0(a1)
        0x00B57553,  # fadd.s fa0, fa0, fa1
        0x40B57533,  # andn a0, a0, a1 (Zbb)
        0x20B52533,  # sh1add a0, a0, a1 (Zba)
        0x60051513,  # clz a0, a0 (Zbb)
        0x0005B503,  # ld a0, 0(a1) (RV64)
    ],
)
def test_instructions_the_chip_need_not_have(word: int) -> None:
    emulator = assemble(run=[RETURN_ZERO, word])
    with pytest.raises(EmulationError):
        emulator.call("run")


def compressed(*halves: int) -> Rv32:
    code = RETURN_ZERO.to_bytes(4, "little") + struct.pack(f"<{len(halves)}H", *halves)
    return Rv32(compile_module(container("run", 1, code), "rv32imc"))


@pytest.mark.parametrize(
    "half",
    [
        0x0000,  # the illegal instruction
        0x0010,  # c.addi4spn a2, sp, 0
        0x6110,  # c.flw
        0x2110,  # c.fld
        0x8110,  # quadrant 0, function 4 (Zcb)
        0xE110,  # c.fsw
        0xA110,  # c.fsd
        0x6601,  # c.lui a2, 0
        0x6101,  # c.addi16sp 0
        0x9205,  # c.srli a2, 33
        0x9605,  # c.srai a2, 33
        0x9E01,  # c.subw (RV64)
        0x9E21,  # c.addw (RV64)
        0x9E41,  # c.mul (Zcb)
        0x9E61,  # c.zext.b (Zcb)
        0x1602,  # c.slli a2, 32
        0x4002,  # c.lwsp zero
        0x2602,  # c.fldsp
        0x6602,  # c.flwsp
        0x8002,  # c.jr zero
        0x9002,  # c.ebreak
        0xA002,  # c.fsdsp
        0xE002,  # c.fswsp
    ],
)
def test_compressed_instructions_the_chip_need_not_have(half: int) -> None:
    with pytest.raises(EmulationError, match="instruction of RV32IMC|UC_ERR_EXCEPTION"):
        compressed(half).call("run")


@pytest.mark.parametrize(
    "halves",
    [
        [0x0810],  # c.addi4spn a2, sp, 16
        [0x1141, 0x1141, 0x0810, 0x4210, 0x0141, 0x0141],  # c.lw a2, 0(a2), where a2 = sp + 16 and sp is 32 lower
        [0x1141, 0x1141, 0x0810, 0xC210, 0x0141, 0x0141],  # c.sw a2, 0(a2), the same
        [0x0605],  # c.addi a2, 1
        [0x4605],  # c.li a2, 1
        [0x6605],  # c.lui a2, 1
        [0x717D, 0x6141],  # c.addi16sp -16; c.addi16sp 16
        [0x8205],  # c.srli a2, 1
        [0x8605],  # c.srai a2, 1
        [0x8A05],  # c.andi a2, 1
        [0x9A7D],  # c.andi a2, -1
        [0x8E0D],  # c.sub a2, a1
        [0x8E2D],  # c.xor a2, a1
        [0x8E4D],  # c.or a2, a1
        [0x8E6D],  # c.and a2, a1
        [0xA009],  # c.j 2
        [0xC209],  # c.beqz a2, 2
        [0xE209],  # c.bnez a2, 2
        [0x0606],  # c.slli a2, 1
        [0x1141, 0xC032, 0x4602, 0x0141],  # c.addi sp, -16; c.swsp a2, 0; c.lwsp a2, 0; c.addi sp, 16
        [0x862E],  # c.mv a2, a1
        [0x962E],  # c.add a2, a1
        [0x8286, 0x2009, 0x8096],  # c.mv t0, ra; c.jal 2; c.mv ra, t0
    ],
)
def test_compressed_instructions_that_are_there(halves: list[int]) -> None:
    emulator = compressed(*halves)
    assert emulator.call("run") == 0
    assert emulator.instructions == 1 + len(halves) + 1


@pytest.mark.parametrize("function", range(8))
def test_multiplication_and_division_are_there(function: int) -> None:
    word = 1 << 25 | A1 << 20 | A1 << 15 | function << 12 | A4 << 7 | 0x33
    assert assemble(run=[word, RETURN_ZERO]).call("run") == 0


def test_a_function_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rv32, "_INSTRUCTIONS_MAX", 1000)
    with pytest.raises(EmulationError, match=r"more than 1000 instructions, near run \+ 0x4"):
        assemble(run=[NOP, branch_if_equal(ZERO, ZERO, 0)]).call("run")
    emulator = assemble(run=[NOP] * 400 + [RETURN_ZERO])
    for _ in range(5):  # every call may take as many
        emulator.call("run")


# --- Counting


def own_instructions(emulator: Rv32, *arguments: bytes | bytearray | int) -> int:
    """Instructions of the module's code, one by one."""
    return sum(event < rv32.RUNTIME for event in emulator.events("run", *arguments))


@pytest.mark.parametrize("length", [1, 2, 100, 511, 512, 513, 2047, 2048, 2049, 5000, 20_000])
@pytest.mark.parametrize(
    "piece", [COMPRESSED_NOP, NOP.to_bytes(4, "little"), COMPRESSED_NOP + NOP.to_bytes(4, "little")]
)
def test_straight_code_counts_exactly(length: int, piece: bytes) -> None:
    """Whatever pieces the translator cuts it into: at pages, and after so many instructions."""
    code = RETURN_ZERO.to_bytes(4, "little") + piece * length
    emulator = Rv32(compile_module(container("run", 1, code), "rv32imc"))
    expected = 1 + length * (2 if len(piece) == 6 else 1) + 1  # and the return
    for _ in range(2):
        emulator.reset()
        emulator.call("run")
        assert emulator.instructions == expected
        assert own_instructions(emulator) == expected
    assert emulator.instructions == 2 * expected
    assert emulator.runtime_calls == 0


def test_loops_and_jumps_into_the_middle_count_exactly() -> None:
    """The second entry lands behind the first three instructions of what was translated as one piece."""
    loop = [addi(A4, A4, -1), NOP, NOP, NOP, branch_if_equal(A4, ZERO, 8), branch_if_equal(ZERO, ZERO, -20)]
    words = [addi(A4, ZERO, 50), branch_if_equal(A1, ZERO, 16), *loop, RETURN_ZERO]
    emulator = assemble(run=words)
    emulator.call("run", 1)
    assert emulator.instructions == 2 + 49 * 6 + 5 + 2
    assert own_instructions(emulator, 1) == 2 + 49 * 6 + 5 + 2
    for arguments in ((), (1,), ()):
        emulator.reset()
        emulator.call("run", *arguments)
        assert emulator.instructions == own_instructions(emulator, *arguments)


def test_viper_counts_exactly() -> None:
    lines = ["s = 0", "for i in range(n):", "    if q[i] & 1:", "        s += q[i] * p[i & 3]", "p[0] = s"]
    emulator = viper("(p: ptr32, q: ptr8, n: int)", *lines)
    counts = []
    for odd in (0, 1, 50, 100):
        arguments = bytearray(16), b"\1" * odd + b"\2" * (100 - odd), 100
        emulator.reset()
        emulator.call("run", *arguments)
        counts.append(emulator.instructions)
        assert emulator.runtime_calls == 3
        assert own_instructions(emulator, *arguments) == counts[-1]
    once = counts[1] - counts[0]
    assert once > 0
    assert counts == [counts[0], counts[0] + once, counts[0] + 50 * once, counts[0] + 100 * once]


# --- Tracing


def traced(*words: int) -> Rv32:
    """A function that looks at the first byte of its first argument and returns 0."""
    return assemble(run=[*data_of_argument(A4, 0), load(1, A5, A4, 0), *words, RETURN_ZERO])


def test_the_trace_has_every_instruction_and_access() -> None:
    emulator = traced(store(2, A5, A4, 2))
    code, data = emulator.events("run", bytearray(4))[0], 0x4000_0030
    read, write = 1 << 40, 2 << 40
    assert list(emulator.events("run", bytearray(4))) == [
        *(code, read | 4 << 32 | 0x2000_3FFC),
        *(code + 4, read | 4 << 32 | 0x2000_030C),
        *(code + 8, read | 1 << 32 | data),
        *(code + 12, write | 2 << 32 | data + 2),
        *(code + 16, code + 20),
    ]


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        ([branch_if_equal(A5, ZERO, 8), NOP], r"instruction run \+ 0x14 against instruction run \+ 0x10"),
        ([add(A5, A5, A4), load(1, A5, A5, 0)], "read of 1 bytes at 0x40000030 against read of 1 bytes at 0x40000032"),
        ([add(A5, A5, A4), store(1, A5, A5, 1)], "write of 1 bytes at 0x40000031 against write of .* 0x40000033"),
        ([add(A5, A5, A5), store(1, A5, A4, 1)], None),
        ([branch_if_equal(A5, ZERO, 4), NOP], None),
    ],
    ids=["branch", "read", "write", "data only", "branch to where it goes anyway"],
)
def test_what_depends_on_a_secret_is_in_the_trace(words: list[int], difference: str | None) -> None:
    emulator = traced(*words)
    same = emulator.trace("run", bytearray(b"\0\1\2\3")) == emulator.trace("run", bytearray(b"\2\1\0\3"))
    found = emulator.first_difference("run", (bytearray(b"\0\1\2\3"),), (bytearray(b"\2\1\0\3"),))
    assert same == (difference is None)
    if difference is None:
        assert found is None
    else:
        assert found is not None and re.search(difference, found)


def test_a_trace_is_the_same_whenever_it_is_taken() -> None:
    emulator = traced(store(2, A5, A4, 2))
    first = emulator.trace("run", bytearray(4))
    emulator.call("run", bytearray(400))
    other_length = emulator.trace("run", bytearray(400))
    assert emulator.trace("run", bytearray(4)) == first == other_length
    assert traced(store(2, A5, A4, 2)).trace("run", bytearray(4)) == first


@pytest.mark.parametrize(("size", "offset"), [(2, 1), (4, 1), (4, 2), (4, 3)])
@pytest.mark.parametrize("access", [load, store])
def test_a_trace_refuses_misaligned_accesses(access: Callable[..., int], size: int, offset: int) -> None:
    emulator = traced(access(size, A5, A4, offset))
    with pytest.raises(EmulationError, match=f"misaligned access of {size} bytes"):
        emulator.trace("run", bytearray(8))
    emulator.call("run", bytearray(8))
