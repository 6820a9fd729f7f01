"""SHA-512 for RISC-V, compiled and on the emulated chip, against hashlib."""

import hashlib
import random

import pytest

from host_tools.emulation.rv32 import Rv32
from host_tools.machine_code import mpy, sha512_rv32
from host_tools.machine_code.sha512_constants import CONSTANTS
from tests.crypto.compiling import compile_module

BLOCK = 128
WORK = 640

# Instructions of the chip, exact: lower them, too.
BLOCK_COST = 11_318
CALL_COST = 450  # without the blocks
SIZE_MAX = 7168  # octets of the whole module


@pytest.fixture(scope="module")
def sha512() -> Rv32:
    return Rv32(mpy.to_native_convention(compile_module(sha512_rv32.source(), "rv32imc")))


def padded(message: bytes) -> bytearray:
    """FIPS 180-4, 5.1.2."""
    zeros = -(len(message) + 17) % BLOCK
    return bytearray(message + b"\x80" + bytes(zeros) + (8 * len(message)).to_bytes(16, "big"))


def digest(sha512: Rv32, message: bytes) -> bytes:
    """The digest; the scratch memory comes back as zeros, the message as it was."""
    out, data, work = bytearray(64), padded(message), bytearray(random.Random(len(message)).randbytes(WORK))
    before = bytes(data)
    assert sha512.call("hash_blocks", out, data, len(data) // BLOCK, CONSTANTS, work) == 0
    assert data == before
    assert work == bytes(WORK)
    return bytes(out)


def test_constants_are_those_of_the_standard() -> None:
    """FIPS 180-4, 4.2.3 and 5.3.5: the first and the last of each table."""
    words = [int.from_bytes(CONSTANTS[at : at + 8], "little") for at in range(0, len(CONSTANTS), 8)]
    assert len(words) == 88
    assert (words[0], words[79]) == (0x428A2F98D728AE22, 0x6C44198C4A475817)
    assert (words[80], words[87]) == (0x6A09E667F3BCC908, 0x5BE0CD19137E2179)


@pytest.mark.parametrize("length", [0, 1, 3, 55, 63, 64, 65, 110, 111, 112, 113, 119, 120, 127, 128, 129])
def test_lengths_around_the_ends_of_a_block(sha512: Rv32, length: int) -> None:
    message = random.Random(length).randbytes(length)
    assert digest(sha512, message) == hashlib.sha512(message).digest()


@pytest.mark.parametrize("blocks", [2, 3, 4, 9])
def test_several_blocks(sha512: Rv32, blocks: int) -> None:
    for length in (BLOCK * blocks - 17, BLOCK * blocks - 16, BLOCK * blocks, BLOCK * blocks + 1):
        message = random.Random(length).randbytes(length)
        assert digest(sha512, message) == hashlib.sha512(message).digest()


@pytest.mark.parametrize("octet", [0x00, 0xFF, 0x80, 0x7F, 0x01])
def test_patterns(sha512: Rv32, octet: int) -> None:
    """Carries between the halves: everything set, nothing set, and only the highest or lowest bits."""
    for length in (32, 111, 239):
        message = bytes([octet]) * length
        assert digest(sha512, message) == hashlib.sha512(message).digest()


def test_random_messages(sha512: Rv32) -> None:
    source = random.Random("messages")
    for _ in range(60):
        message = source.randbytes(source.randrange(300))
        assert digest(sha512, message) == hashlib.sha512(message).digest()


def test_only_the_first_64_octets_of_out_are_written(sha512: Rv32) -> None:
    out = bytearray(b"\xa5" * 80)
    sha512.call("hash_blocks", out, padded(b"abc"), 1, CONSTANTS, bytearray(WORK))
    assert out == hashlib.sha512(b"abc").digest() + b"\xa5" * 16


def test_the_message_decides_neither_path_nor_address(sha512: Rv32) -> None:
    source = random.Random("secrets")
    messages = [bytes(96), b"\xff" * 96, *(source.randbytes(96) for _ in range(4))]
    traces = {
        sha512.trace("hash_blocks", bytearray(64), padded(message), 1, CONSTANTS, bytearray(WORK))
        for message in messages
    }
    assert len(traces) == 1


def test_nothing_of_the_message_stays_on_the_stack(sha512: Rv32) -> None:
    stacks = set()
    for message in (bytes(96), b"\xff" * 96, random.Random(1).randbytes(96)):
        digest(sha512, message)
        stacks.add(sha512.stack())
    assert len(stacks) == 1


@pytest.mark.parametrize("blocks", [1, 2, 7])
def test_cost(sha512: Rv32, blocks: int) -> None:
    sha512.reset()
    digest(sha512, bytes(BLOCK * blocks - 17))
    assert sha512.instructions <= CALL_COST + blocks * BLOCK_COST


def test_size_and_constants_of_the_module() -> None:
    source = sha512_rv32.source()
    assert len(compile_module(source, "rv32imc")) <= SIZE_MAX
    assert f"CONSTANTS = {CONSTANTS!r}\n" in source
    assert source == sha512_rv32.source()
