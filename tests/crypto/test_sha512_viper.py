"""Portable SHA-512, on the emulated RISC-V chip and on this computer's MicroPython, against hashlib.

So what is made for integers of 32 bits is held to the standard where they have 32 and where they have 64; what needs 64
bits, on this computer.
"""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from host_tools.emulation.rv32 import Rv32
from host_tools.images.boards import load_board
from host_tools.images.compile import native_architecture
from host_tools.machine_code import sha512_viper
from host_tools.machine_code.sha512_constants import CONSTANTS
from tests import micropython
from tests.crypto.compiling import compile_module

BLOCK = 128
WORK = 640

# Instructions of RISC-V, exact: lower them, too.
BLOCK_COST = 38_802
CALL_COST = 3508  # without the blocks
SIZES = {"rv32imc": 3600, "armv7emsp": 3350, "armv6m": 3450, "xtensawin": 4100, "x64": 6550}
WIDE_SIZE = 3500  # the one that needs integers of 64 bits, on x64

Bench = Callable[[Sequence[bytes]], list[bytes]]  # the digest of each message

_SCRIPT = """
import json, sys
from binascii import hexlify, unhexlify
from sha512_viper import CONSTANTS, hash_blocks
with open(sys.argv[1]) as messages:
    for line in messages:
        data = bytearray(unhexlify(json.loads(line)))
        out, work = bytearray(64), bytearray(b"\\xa5" * 640)
        hash_blocks(out, data, len(data) // 128, CONSTANTS, work)
        assert not any(work) and data == unhexlify(json.loads(line))
        print(hexlify(out).decode())
"""


@pytest.fixture(scope="module")
def chip() -> Rv32:
    return Rv32(compile_module(sha512_viper.source(), "rv32imc"))


def padded(message: bytes) -> bytearray:
    """FIPS 180-4, 5.1.2."""
    zeros = -(len(message) + 17) % BLOCK
    return bytearray(message + b"\x80" + bytes(zeros) + (8 * len(message)).to_bytes(16, "big"))


def _on_chip(chip: Rv32, messages: Sequence[bytes]) -> list[bytes]:
    digests = []
    for message in messages:
        out, data, work = bytearray(64), padded(message), bytearray(random.Random(1).randbytes(WORK))
        before = bytes(data)
        chip.call("hash_blocks", out, data, len(data) // BLOCK, CONSTANTS, work)
        assert (data, work) == (before, bytes(WORK))
        digests.append(bytes(out))
    return digests


def _on_computer(folder: Path, messages: Sequence[bytes]) -> list[bytes]:
    (folder / "messages").write_text("".join(json.dumps(padded(message).hex()) + "\n" for message in messages))
    output = micropython.run(_SCRIPT, arguments=[str(folder / "messages")], extra_path=[folder], heap_size="2M")
    return [bytes.fromhex(digest) for digest in output.split()]


@pytest.fixture(scope="module", params=[("chip", 32), ("computer", 32), ("computer", 64)], ids="{0[0]}-{0[1]}".format)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, chip: Rv32) -> Bench:
    place, word_bits = request.param
    if place == "chip":
        return lambda messages: _on_chip(chip, messages)
    architecture = native_architecture(load_board("sim-wallet"))
    if architecture is None:
        pytest.skip("this computer's MicroPython loads no native code")
    folder = tmp_path_factory.mktemp("sha512_viper")
    (folder / "sha512_viper.mpy").write_bytes(compile_module(sha512_viper.source(word_bits), architecture))
    return lambda messages: _on_computer(folder, messages)


def agree(bench: Bench, messages: Sequence[bytes]) -> None:
    assert bench(messages) == [hashlib.sha512(message).digest() for message in messages]


def test_every_length_around_the_ends_of_blocks(bench: Bench) -> None:
    source = random.Random(1)
    lengths = [*range(6), *range(105, 134), *range(237, 260), 511, 512, 1023, 1024, 1025]
    agree(bench, [source.randbytes(length) for length in lengths])


def test_octets_of_one_kind(bench: Bench) -> None:
    """Sums that carry everywhere, or nowhere."""
    agree(bench, [bytes([octet]) * length for octet in (0, 1, 0x7F, 0x80, 0xFF) for length in (111, 127, 128, 300)])


def test_random_messages(bench: Bench) -> None:
    source = random.Random(2)
    agree(bench, [source.randbytes(source.randrange(600)) for _ in range(150)])


@pytest.mark.parametrize("word_bits", [32, 64])
def test_constants_of_the_module(word_bits: int) -> None:
    assert f"CONSTANTS = {CONSTANTS!r}\n" in sha512_viper.source(word_bits)


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_cost(chip: Rv32, blocks: int) -> None:
    chip.reset()
    _on_chip(chip, [bytes(BLOCK * blocks - 17)])
    assert chip.instructions <= CALL_COST + BLOCK_COST * blocks


@pytest.mark.parametrize("word_bits", [32, 64])
def test_constant_time(word_bits: int) -> None:
    """The code for 64 bits hashes wrong where integers have 32, but it is the same code."""
    chip = Rv32(compile_module(sha512_viper.source(word_bits), "rv32imc"))
    source = random.Random(3)
    traces = set()
    for data in (bytes(256), b"\xff" * 256, *[source.randbytes(256) for _ in range(3)]):
        traces.add(chip.trace("hash_blocks", bytearray(64), bytearray(data), 2, CONSTANTS, bytearray(WORK)))
    assert len(traces) == 1


@pytest.mark.parametrize("architecture", SIZES)
def test_size(architecture: str) -> None:
    assert len(compile_module(sha512_viper.source(), architecture)) <= SIZES[architecture]


def test_size_where_integers_have_64_bits() -> None:
    assert len(compile_module(sha512_viper.source(64), "x64")) <= WIDE_SIZE
