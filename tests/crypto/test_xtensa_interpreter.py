"""The instruction library and the interpreter for Xtensa: encodings against mpy-cross's own assembler and published
ones, what instructions do, what viper functions do, what the interpreter refuses.
"""

from collections.abc import Callable, Sequence

import pytest

from host_tools.emulation.xtensa import EmulationError, Xtensa
from host_tools.machine_code import mpy
from host_tools.machine_code.xtensa import FRAME, SP, Code, EncodingError
from tests.crypto.compiling import compile_module

PROLOGUE = bytes.fromhex("366100 0901")  # entry a1, 48; s32i.n a0, a1, 0
EPILOGUE = bytes.fromhex("0801 1df0")  # l32i.n a0, a1, 0; retw.n
RESULT, ARGUMENTS = 2, 5
MASK = 0xFFFFFFFF


def assembled(write: Callable[[Code], None]) -> bytes:
    code = Code()
    write(code)
    return code.assemble()


def by_mpy_cross(lines: str) -> bytes:
    """What mpy-cross's own assembler makes of `lines`, without what it puts around a function."""
    body = "".join(f"    {line.strip()}\n" for line in lines.split(";"))
    data = compile_module(f"@micropython.asm_xtensa\ndef f(a2, a3, a4, a5):\n{body}", "xtensawin")
    return bare(mpy.native_functions(data)["f"].code)


def bare(code: bytes) -> bytes:
    assert code.startswith(PROLOGUE)
    assert code.endswith(EPILOGUE)
    return code[len(PROLOGUE) : -len(EPILOGUE)]


def converted(source: str) -> Xtensa:
    return Xtensa(mpy.to_native_convention(compile_module(source, "xtensawin")))


def emulator_of(write: Callable[[Code], None]) -> Xtensa:
    code = Code()
    write(code)
    return converted("import micropython\n\n\n" + code.container("f"))


def emulator_of_octets(octets: bytes) -> Xtensa:
    line = f"    data(1, {', '.join(map(str, octets))})\n"
    return converted(f"import micropython\n\n\n@micropython.asm_xtensa\ndef f(a2, a3, a4, a5):\n{line}")


def small(code: Code) -> None:
    """Makes the result a valid object."""
    code.movi(RESULT, 1)


# --- encodings

SAME_AS_MPY_CROSS = (
    ("add_n(a15, a4, a7)", lambda code: code.add(15, 4, 7)),
    ("addx2(a3, a4, a15)", lambda code: code.addx2(3, 4, 15)),
    ("addx4(a3, a15, a5)", lambda code: code.addx4(3, 15, 5)),
    ("addx8(a15, a4, a5)", lambda code: code.addx8(15, 4, 5)),
    ("sub(a3, a14, a5)", lambda code: code.sub(3, 14, 5)),
    ("and_(a3, a4, a15)", lambda code: code.and_(3, 4, 15)),
    ("or_(a3, a15, a5)", lambda code: code.or_(3, 15, 5)),
    ("xor(a12, a4, a5)", lambda code: code.xor(12, 4, 5)),
    ("mull(a3, a9, a15)", lambda code: code.mull(3, 9, 15)),
    ("src(a3, a4, a15)", lambda code: code.src(3, 4, 15)),
    ("srl(a3, a14)", lambda code: code.srl(3, 14)),
    ("addi(a3, a4, -128)", lambda code: code.addi(3, 4, -128)),
    ("addi(a3, a14, 127)", lambda code: code.addi(3, 14, 127)),
    ("addi(a3, a14, 0)", lambda code: code.addi(3, 14, 0)),
    ("movi_n(a13, 95)", lambda code: code.movi(13, 95)),
    ("movi_n(a3, -32)", lambda code: code.movi(3, -32)),
    ("movi_n(a3, -1)", lambda code: code.movi(3, -1)),
    ("mov_n(a3, a14)", lambda code: code.mov(3, 14)),
    ("slli(a3, a4, 1)", lambda code: code.slli(3, 4, 1)),
    ("slli(a3, a4, 16)", lambda code: code.slli(3, 4, 16)),
    ("slli(a3, a14, 31)", lambda code: code.slli(3, 14, 31)),
    ("srli(a3, a14, 15)", lambda code: code.srli(3, 14, 15)),
    ("srai(a3, a4, 1)", lambda code: code.srai(3, 4, 1)),
    ("srai(a3, a14, 31)", lambda code: code.srai(3, 14, 31)),
    ("ssai(0)", lambda code: code.ssai(0)),
    ("ssai(31)", lambda code: code.ssai(31)),
    ("l32i_n(a3, a14, 60)", lambda code: code.l32i(3, 14, 60)),
    ("l32i(a3, a14, 64)", lambda code: code.l32i(3, 14, 64)),
    ("l32i(a3, a14, 1020)", lambda code: code.l32i(3, 14, 1020)),
    ("s32i_n(a13, a4, 60)", lambda code: code.s32i(13, 4, 60)),
    ("s32i(a13, a4, 1020)", lambda code: code.s32i(13, 4, 1020)),
    ("l8ui(a3, a14, 255)", lambda code: code.l8ui(3, 14, 255)),
    ("label(L); nop(); beqz(a14, L)", lambda code: labelled(code, lambda: code.beqz(14, "L"))),
    ("label(L); nop(); bnez(a3, L)", lambda code: labelled(code, lambda: code.bnez(3, "L"))),
    ("label(L); nop(); j(L)", lambda code: labelled(code, lambda: code.j("L"))),
)


def labelled(code: Code, write: Callable[[], None]) -> None:
    """A label, a NOP as mpy-cross writes it (or a1, a1, a1) and then what goes back to the label."""
    code.label("L")
    code.or_(1, 1, 1)
    write()


@pytest.mark.parametrize(("theirs", "ours"), SAME_AS_MPY_CROSS, ids=[line for line, _ in SAME_AS_MPY_CROSS])
def test_encodings_are_those_of_mpy_cross(theirs: str, ours: Callable[[Code], None]) -> None:
    expected, got = by_mpy_cross(theirs), assembled(ours)
    if "nop" in theirs:  # it has several encodings
        expected, got = expected[3:], got[3:]
    assert got == expected


# What mpy-cross lacks: 24 bits (16 for the density option) as the reference manual's opcode maps and instruction
# formats give them; all but MULUH are also what binutils 2.40 for the lx106 makes of the line.
PUBLISHED = (
    ("muluh a3, a4, a5", 0xA23450, lambda code: code.muluh(3, 4, 5)),
    ("moveqz a3, a4, a5", 0x833450, lambda code: code.moveqz(3, 4, 5)),
    ("extui a3, a4, 5, 6", 0x543540, lambda code: code.extui(3, 4, 5, 6)),
    ("extui a3, a4, 29, 3", 0x253D40, lambda code: code.extui(3, 4, 29, 3)),
    ("extui a3, a4, 16, 16", 0xF53040, lambda code: code.extui(3, 4, 16, 16)),
    ("movi a3, -2048", 0x00A832, lambda code: code.movi(3, -2048)),
    ("movi a3, 1216", 0xC0A432, lambda code: code.movi(3, 1216)),
    ("addi.n a3, a4, -1", 0x340B, lambda code: code.addi(3, 4, -1)),
    ("addi.n a3, a4, 15", 0x34FB, lambda code: code.addi(3, 4, 15)),
    ("beqi a3, 10, . + 7", 0x039326, lambda code: skipping(code, lambda: code.beqi(3, 10, "L"))),
)


def skipping(code: Code, write: Callable[[], None]) -> None:
    write()
    code.add(2, 2, 2)
    code.add(2, 2, 2)
    code.label("L")


@pytest.mark.parametrize(("line", "word", "ours"), PUBLISHED, ids=[line for line, _, _ in PUBLISHED])
def test_encodings_are_the_published_ones(line: str, word: int, ours: Callable[[Code], None]) -> None:
    size = 2 if ".n" in line else 3
    assert assembled(ours)[:size] == word.to_bytes(size, "little")


@pytest.mark.parametrize(
    "write",
    [
        lambda code: code.add(16, 0, 0),
        lambda code: code.mull(0, -1, 0),
        lambda code: code.addi(2, 2, 128),
        lambda code: code.movi(2, 2048),
        lambda code: code.slli(2, 2, 0),
        lambda code: code.slli(2, 2, 32),
        lambda code: code.srli(2, 2, 16),
        lambda code: code.srai(2, 2, 32),
        lambda code: code.extui(2, 2, 29, 4),
        lambda code: code.extui(2, 2, 0, 17),
        lambda code: code.ssai(32),
        lambda code: code.l32i(2, 2, 1024),
        lambda code: code.l32i(2, 2, 2),
        lambda code: code.s32i(2, 2, -4),
        lambda code: code.l8ui(2, 2, 256),
        lambda code: code.beqi(2, 9, "L"),
        lambda code: code.j("nowhere"),
        lambda code: [code.label("L"), code.label("L")],
    ],
)
def test_what_does_not_fit_an_instruction_is_refused(write: Callable[[Code], None]) -> None:
    with pytest.raises(EncodingError):
        assembled(write)


def test_the_container_is_what_mpy_cross_wraps() -> None:
    code = Code()
    for number in range(100):
        code.movi(number % 16, number)
    data = compile_module("import micropython\n\n\n" + code.container("f"), "xtensawin")
    assert bare(mpy.native_functions(data)["f"].code) == code.assemble()


@pytest.mark.parametrize("distance", [1, 30, 40, 50, 700, 800, 40_000])
@pytest.mark.parametrize("branch", ["beqz", "bnez", "beqi"])
@pytest.mark.parametrize("taken", [False, True])
def test_branches_reach_any_distance_forward(distance: int, branch: str, taken: bool) -> None:
    def write(code: Code) -> None:
        code.movi(3, {"beqz": 0, "bnez": 7, "beqi": 16}[branch] if taken else {"beqz": 7, "bnez": 0, "beqi": 7}[branch])
        code.movi(RESULT, 3)
        getattr(code, branch)(3, *([16] if branch == "beqi" else []), "far")
        for _ in range(distance):
            code.or_(4, 4, 4)
        code.movi(RESULT, 5)
        code.label("far")

    assert emulator_of(write).call("f") == (1 if taken else 2)


@pytest.mark.parametrize("distance", [1, 40, 45, 700, 2000])
def test_branches_reach_any_distance_back(distance: int) -> None:
    def write(code: Code) -> None:
        code.movi(3, 3)
        code.movi(RESULT, 1)
        code.label("again")
        for _ in range(distance):
            code.or_(4, 4, 4)
        code.addi(RESULT, RESULT, 2)
        code.addi(3, 3, -1)
        code.bnez(3, "again")

    emulator = emulator_of(write)
    assert emulator.call("f") == 3
    long = distance * 3 > 2000
    # around the loop: entry, s32i.n, two movi.n, l32i.n, retw.n; a long branch is two instructions, but one at the end
    assert emulator.instructions == 6 + 3 * (distance + 3) + 2 * long


@pytest.mark.parametrize(("branch", "half"), [("beqi", 128), ("bnez", 2048)])
@pytest.mark.parametrize(("forward", "beyond"), [(True, 0), (True, 1), (False, 0), (False, 1)])
def test_a_branch_is_short_as_long_as_it_reaches(branch: str, half: int, forward: bool, beyond: int) -> None:
    """Offsets count from four behind the branch, which has three octets, and have a sign."""
    between = (half if forward else half - 4) + beyond

    def write(code: Code) -> None:
        if forward:
            getattr(code, branch)(3, *([16] if branch == "beqi" else []), "L")
            fill(code, between)
            code.label("L")
        else:
            code.label("L")
            fill(code, between)
            getattr(code, branch)(3, *([16] if branch == "beqi" else []), "L")

    assert len(assembled(write)) == between + (6 if beyond else 3)


def fill(code: Code, octets: int) -> None:
    if octets % 2:
        code.or_(4, 4, 4)
    for _ in range((octets - octets % 2 * 3) // 2):
        code.add(4, 4, 4)


# --- what instructions do

A, B = 0x89ABCDEF, 0x80000013
OPERATIONS = (
    (lambda code: code.add(6, 3, 4), A + B),
    (lambda code: code.addx2(6, 3, 4), 2 * A + B),
    (lambda code: code.addx4(6, 3, 4), 4 * A + B),
    (lambda code: code.addx8(6, 3, 4), 8 * A + B),
    (lambda code: code.sub(6, 4, 3), B - A),
    (lambda code: code.and_(6, 3, 4), 0x80000003),
    (lambda code: code.or_(6, 3, 4), 0x89ABCDFF),
    (lambda code: code.xor(6, 3, 4), 0x09ABCDFC),
    (lambda code: code.mull(6, 3, 4), A * B),
    (lambda code: code.muluh(6, 3, 4), A * B >> 32),
    (lambda code: [code.mov(6, 4), code.movi(7, 0), code.moveqz(6, 3, 7)], A),
    (lambda code: [code.mov(6, 4), code.movi(7, 32), code.moveqz(6, 3, 7)], B),
    (lambda code: code.addi(6, 3, -1), A - 1),
    (lambda code: code.addi(6, 3, -100), A - 100),
    (lambda code: code.addi(6, 3, 15), A + 15),
    (lambda code: code.addi(6, 3, 100), A + 100),
    (lambda code: code.movi(6, -2048), -2048),
    (lambda code: code.movi(6, 2047), 2047),
    (lambda code: code.movi(6, -32), -32),
    (lambda code: code.movi(6, 95), 95),
    (lambda code: code.slli(6, 3, 1), A << 1),
    (lambda code: code.slli(6, 3, 29), A << 29),
    (lambda code: code.srli(6, 3, 9), A >> 9),
    (lambda code: code.srai(6, 3, 20), 0xFFFFF89A),
    (lambda code: [code.srli(6, 3, 1), code.srai(6, 6, 29)], 2),
    (lambda code: code.extui(6, 3, 29, 3), 4),
    (lambda code: code.extui(6, 3, 4, 16), 0xBCDE),
    (lambda code: [code.ssai(8), code.src(6, 3, 4)], 0xEF800000),
    (lambda code: [code.ssai(0), code.src(6, 3, 4)], B),
    (lambda code: [code.ssai(20), code.srl(6, 3)], 0x89A),
)


@pytest.mark.parametrize(("write", "expected"), OPERATIONS)
def test_operations(write: Callable[[Code], object], expected: int) -> None:
    def whole(code: Code) -> None:
        code.l32i(8, ARGUMENTS, 0)
        code.l32i(8, 8, 12)
        code.l32i(3, 8, 0)
        code.l32i(4, 8, 4)
        write(code)
        code.s32i(6, 8, 8)
        small(code)

    buffer = bytearray(A.to_bytes(4, "little") + B.to_bytes(4, "little") + bytes(4))
    assert emulator_of(whole).call("f", buffer) == 0
    assert int.from_bytes(buffer[8:], "little") == expected & MASK


def test_octets_are_read_unsigned_and_anywhere() -> None:
    def write(code: Code) -> None:
        code.l32i(3, ARGUMENTS, 0)
        code.l32i(3, 3, 12)
        code.l8ui(3, 3, 5)
        code.addx2(RESULT, 3, 3)
        code.sub(RESULT, RESULT, 3)  # twice
        code.addi(RESULT, RESULT, 1)

    assert emulator_of(write).call("f", bytes(5) + b"\xfe") == 0xFE


def test_arguments_and_results_are_small_integers() -> None:
    def write(code: Code) -> None:
        code.l32i(RESULT, ARGUMENTS, 4)

    emulator = emulator_of(write)
    for value in (0, 1, -1, (1 << 30) - 1, -(1 << 30)):
        assert emulator.call("f", 0, value) == value
    assert emulator.instructions == 5 * 5
    with pytest.raises(ValueError, match="small integer"):
        emulator.call("f", 0, 1 << 30)
    with pytest.raises(EmulationError, match="result"):
        emulator.call("f", 0, b"an object")


# --- viper functions


def viper_emulator(signature: str, *body: str) -> Xtensa:
    lines = "".join(f"    {line}\n" for line in body)
    return Xtensa(compile_module(f"import micropython\n\n\n@micropython.viper\ndef {signature}:\n{lines}", "xtensawin"))


EXPRESSIONS: dict[str, Callable[[int, int], int]] = {
    "a << b": lambda a, b: a << (b & 31),
    "a >> b": lambda a, b: a >> (b & 31),
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a * b": lambda a, b: a * b,
    "a & b": lambda a, b: a & b,
    "a | b": lambda a, b: a | b,
    "a ^ b": lambda a, b: a ^ b,
    "a + 123456789": lambda a, b: a + 123456789,
    "a - 1000000007": lambda a, b: a - 1000000007,
    "int(a == b)": lambda a, b: a == b,
    "int(a != b)": lambda a, b: a != b,
    "int(a < b)": lambda a, b: a < b,
    "int(a <= b)": lambda a, b: a <= b,
    "int(a > b)": lambda a, b: a > b,
    "int(a >= b)": lambda a, b: a >= b,
    "1 if a < b else 2": lambda a, b: 1 if a < b else 2,
    "1 if a else 2": lambda a, b: 1 if a else 2,
}
VALUES = (0, 1, 2, 31, 0x7FFFFFFF, -0x80000000, -0x76543211, -1)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_viper_computes_with_signs(expression: str) -> None:
    emulator = viper_emulator("f(words: ptr32)", "a = words[0]", "b = words[1]", f"words[2] = {expression}")
    for a in VALUES:
        for b in VALUES:
            if "<< b" in expression or ">> b" in expression:
                b &= 31
            words = bytearray(b"".join((value & MASK).to_bytes(4, "little") for value in (a, b, 0)))
            assert emulator.call("f", words) is None
            assert int.from_bytes(words[8:], "little") == EXPRESSIONS[expression](a, b) & MASK, (a, b)


def test_viper_gets_and_gives_small_integers() -> None:
    emulator = viper_emulator("f(a: int, b: int) -> int", "return a - b")
    for a, b in ((0, 0), (5, 7), ((1 << 30) - 1, 0), (-(1 << 30), 0), (-1, (1 << 30) - 1)):
        assert emulator.call("f", a, b) == a - b
    assert emulator.runtime_calls == 5 * 3
    with pytest.raises(EmulationError, match="does not fit"):
        emulator.call("f", -(1 << 30), 1)
    emulator.reset()
    assert emulator.runtime_calls == emulator.instructions == 0


def test_viper_writes_octets() -> None:
    emulator = viper_emulator("f(octets: ptr8, at: int, value: int)", "octets[at] = value")
    octets = bytearray(7)
    emulator.call("f", octets, 3, 0x5FE)
    emulator.call("f", octets, 6, -1)
    assert octets == bytes([0, 0, 0, 0xFE, 0, 0, 0xFF])
    for at in (-1, 7):
        with pytest.raises(EmulationError, match="octet written"):
            emulator.call("f", octets, at, 1)
    with pytest.raises(EmulationError, match="octet written"):
        emulator.call("f", bytes(7), 3, 1)


def test_viper_has_the_frame_it_allocates() -> None:
    names = [f"v{number}" for number in range(20)]
    body = [f"{name} = {number} * a" for number, name in enumerate(names)]
    emulator = viper_emulator("f(a: int) -> int", *body, f"return {' + '.join(names)}")
    assert emulator.call("f", 3) == 3 * sum(range(20))
    assert len(emulator.frame()) % 16 == 0
    assert len(emulator.frame()) >= 4 * 20
    assert (19 * 3).to_bytes(4, "little") in emulator.frame()


@pytest.mark.parametrize(
    ("signature", "body", "arguments", "complaint"),
    [
        ("f(a: int)", "pass", (), "entry 44 "),
        ("f(a: int)", "pass", (1, 2), "entry 44 "),
        ("f(a: int)", "pass", (b"octets",), "not a small integer"),
        ("f(a: ptr8)", "pass", (5,), "not an object with a buffer"),
        ("f(a: bool)", "pass", (5,), "native type 1 "),
        ("f(a)", "g(a)", (5,), "function table: not emulated"),
        ("f(a)", "return a[0]", (b"octets",), "function table: not emulated"),
    ],
)
def test_no_more_of_the_runtime_is_there(
    signature: str, body: str, arguments: tuple[int | bytes, ...], complaint: str
) -> None:
    with pytest.raises(EmulationError, match=complaint):
        viper_emulator(signature, body).call("f", *arguments)


def prepare_call(code: Code) -> None:
    """Of the runtime's conversion of the first argument to an integer: its address goes to a3."""
    for offset in (4, 12, 0, 12):  # context, table of objects, function table, its entry 3
        code.l32i(2, 2, offset)
    code.mov(3, 2)
    code.l32i(10, ARGUMENTS, 0)
    code.movi(11, 2)


def calling(register: int, after: Callable[[Code], None]) -> Xtensa:
    """Calls what `register` holds after `prepare_call`."""
    return with_function_table(assembled(prepare_call) + bytes([0xE0, register, 0]) + assembled(after))


def with_function_table(octets: bytes) -> Xtensa:
    """Only modules with a viper function have it among their objects."""
    viper = "\n\n@micropython.viper\ndef viper():\n    pass\n"
    line = f"    data(1, {', '.join(map(str, octets))})\n"
    return converted(f"import micropython\n\n\n@micropython.asm_xtensa\ndef f(a2, a3, a4, a5):\n{line}{viper}")


@pytest.mark.parametrize("register", range(16))
def test_a_call_leaves_the_callers_lower_registers_alone(register: int) -> None:
    def write(code: Code) -> None:
        code.s32i(register, SP, FRAME.start)
        code.movi(RESULT, 1)

    called, plain = calling(3, write), with_function_table(assembled(prepare_call) + assembled(write))
    for emulator in (called, plain):
        assert emulator.call("f", 5) == 0
    assert called.instructions == plain.instructions + 1
    assert (called.runtime_calls, plain.runtime_calls) == (1, 0)
    kept = [frame[FRAME.start : FRAME.start + 4] for frame in (called.frame(), plain.frame())]
    assert (kept[0] == kept[1]) == (register < 8)
    assert register != 10 or kept[0] == (5).to_bytes(4, "little")


def test_nothing_else_is_called() -> None:
    for register in (1, 5, 8):
        with pytest.raises(EmulationError, match="call of 0x"):
            calling(register, small).call("f", 5)


# --- what is refused

UNKNOWN = {
    "l32r a3 where no literals are": "310000",
    "call0": "050000",
    "call8": "250000",
    "callx8 a3 with a field too many": "e01300",
    "callx4 a3": "d00300",
    "callx12 a3": "f00300",
    "jx a3": "a00300",
    "loop": "768300",
    "saltu a3, a4, a5": "503462",
    "mulsh a3, a4, a5": "5034b2",
    "mul16u a3, a4, a5": "5034c1",
    "mula.aa.ll a4, a5": "540478",
    "quou a3, a4, a5": "5034c2",
    "rsr.sar a3": "300303",
    "wsr.sar a3": "300313",
    "minu a3, a4, a5": "503463",
    "subx8 a3, a4, a5": "5034f0",
    "l16ui": "321400",
    "s16i": "325400",
    "bltz": "967300",
    "bgez": "d67300",
    "bnone": "470300",
    "bltu": "473300",
    "bgeu": "47b300",
    "entry once more": "366100",
    "entry with a2": "366200",
    "ret.n": "0df0",
    "nop.n": "3df0",
    "ill.n": "6df0",
    "beqz.n": "8c03",
    "retw": "900000",
    "ill": "000000",
    "slli by 32": "003401",
    "srl with an operand too many": "403591",
    "ssai 32": "204040",
    "sll with an operand too many": "1034a1",
    "sra with an operand too many": "1033b1",
    "ssr with an operand too many": "100340",
    "ssl with an operand too many": "101340",
    "ssa8l": "002340",
    "extui beyond bit 31": "403d35",
    "break": "004000",
    "memw": "c02000",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_instructions_are_refused(name: str) -> None:
    with pytest.raises(EmulationError, match="unknown instruction"):
        emulator_of_octets(bytes.fromhex(UNKNOWN[name])).call("f")


ADDRESS_OF_BUFFER: Sequence[Callable[[Code], None]] = (
    lambda code: code.l32i(3, ARGUMENTS, 0),
    lambda code: code.l32i(3, 3, 12),
)


@pytest.mark.parametrize(
    "write",
    [
        lambda code: code.l32i(4, 3, 12),  # one word behind a buffer of ten octets, ...
        lambda code: code.l32i(4, 3, 8),  # ... and one that is not wholly inside
        lambda code: code.s32i(4, 3, 8),
        lambda code: code.l8ui(4, 3, 10),
        lambda code: [code.addi(3, 3, -4), code.l32i(4, 3, 0)],
        lambda code: [code.addi(3, 3, -1), code.l8ui(4, 3, 0)],
        lambda code: [code.addi(3, 3, 2), code.l32i(4, 3, 0)],
        lambda code: [code.addi(3, 3, 2), code.s32i(4, 3, 0)],
        lambda code: code.s32i(4, ARGUMENTS, 0),
        lambda code: code.l32i(4, ARGUMENTS, 4),
        lambda code: code.l32i(4, SP, FRAME.stop),
        lambda code: code.s32i(4, SP, FRAME.stop),
        lambda code: [code.addi(4, SP, -4), code.s32i(4, 4, 0)],
        lambda code: [code.l32i(3, ARGUMENTS, 0), code.s32i(4, 3, 8)],
    ],
)
def test_memory_that_is_not_the_functions_is_refused(write: Callable[[Code], object]) -> None:
    def whole(code: Code) -> None:
        for step in ADDRESS_OF_BUFFER:
            step(code)
        write(code)
        small(code)

    with pytest.raises(EmulationError, match="read|written"):
        emulator_of(whole).call("f", bytearray(10))


def test_bytes_are_not_written() -> None:
    def write(code: Code) -> None:
        for step in ADDRESS_OF_BUFFER:
            step(code)
        code.s32i(3, 3, 0)
        small(code)

    emulator = emulator_of(write)
    assert emulator.call("f", bytearray(8)) == 0
    with pytest.raises(EmulationError, match="written"):
        emulator.call("f", bytes(8))


@pytest.mark.parametrize("register", [0, SP])
def test_return_address_and_stack_pointer_come_back(register: int) -> None:
    def write(code: Code) -> None:
        small(code)
        if register == SP:
            code.l32i(3, SP, 0)
            code.addi(SP, SP, 4)
            code.s32i(3, SP, 0)
        else:
            code.s32i(RESULT, SP, 0)

    with pytest.raises(EmulationError, match="a0 or a1"):
        emulator_of(write).call("f")


def test_a0_is_free_in_between() -> None:
    def write(code: Code) -> None:
        code.movi(0, 17)
        code.add(RESULT, 0, 0)
        code.addi(RESULT, RESULT, 1)

    assert emulator_of(write).call("f") == 17


def test_what_does_not_end_is_stopped() -> None:
    def write(code: Code) -> None:
        code.label("for ever")
        for _ in range(5000):
            code.or_(3, 3, 3)
        code.j("for ever")

    with pytest.raises(EmulationError, match="more than"):
        emulator_of(write).call("f")


def test_only_converted_modules_for_xtensa_are_run() -> None:
    code = Code()
    small(code)
    source = "import micropython\n\n\n" + code.container("f")
    with pytest.raises(EmulationError, match="converted"):
        Xtensa(compile_module(source, "xtensawin"))
    with pytest.raises(EmulationError, match="architecture"):
        Xtensa(compile_module("x = 1\n", "rv32imc"))


def test_traces_tell_behaviour_apart() -> None:
    def write(code: Code) -> None:
        for step in ADDRESS_OF_BUFFER:
            step(code)
        code.l32i(4, 3, 0)
        code.beqz(4, "skip")
        code.l32i(4, 3, 4)
        code.label("skip")
        code.s32i(4, 3, 4)
        small(code)

    emulator = emulator_of(write)
    zero, one, two = (bytearray([value, 0, 0, 0, 5, 6, 7, 8]) for value in (0, 1, 2))
    assert emulator.first_difference("f", (one,), (two,)) is None
    assert emulator.trace("f", one) == emulator.trace("f", two)
    assert emulator.trace("f", one) != emulator.trace("f", zero)
    assert "piece at" in str(emulator.first_difference("f", (zero,), (one,)))
