"""SHA-512's compression function for Xtensa, as compiled and converted for a device, against hashlib."""

import hashlib
import random

import pytest

from host_tools.emulation.xtensa import Xtensa
from host_tools.machine_code import mpy, sha512_xtensa
from host_tools.machine_code.sha512_constants import CONSTANTS
from tests.crypto.compiling import compile_module

BLOCK = 128
WORK = 640
MOST_PER_BLOCK, MOST_PER_CALL = 11_750, 400


@pytest.fixture(scope="module")
def compiled() -> bytes:
    return mpy.to_native_convention(compile_module(sha512_xtensa.source(), "xtensawin"))


@pytest.fixture(scope="module")
def emulator(compiled: bytes) -> Xtensa:
    return Xtensa(compiled)


def pad(message: bytes) -> bytearray:
    """FIPS 180-4, 5.1.2."""
    zeros = -(len(message) + 17) % BLOCK
    return bytearray(message + b"\x80" + bytes(zeros) + (8 * len(message)).to_bytes(16, "big"))


def digest(emulator: Xtensa, message: bytes, work: bytearray | None = None) -> bytes:
    data, out = pad(message), bytearray(64)
    emulator.call("hash_blocks", out, data, len(data) // BLOCK, CONSTANTS, work or bytearray(WORK))
    assert data == pad(message)
    return bytes(out)


@pytest.mark.parametrize("length", [0, 1, 3, 55, 111, 112, 127, 128, 129, 239, 240, 255, 256, 1000, 5000])
def test_digests_are_hashlibs(emulator: Xtensa, length: int) -> None:
    message = random.Random(length).randbytes(length)
    assert digest(emulator, message) == hashlib.sha512(message).digest()


def test_words_of_all_ones_and_all_zeros(emulator: Xtensa) -> None:
    for message in (bytes(300), b"\xff" * 300, b"\x00\xff" * 150, b"\x80" * 300, (b"\xff" * 4 + bytes(4)) * 40):
        assert digest(emulator, message) == hashlib.sha512(message).digest()


def test_many_random_blocks(emulator: Xtensa) -> None:
    """Every carry is a sum of its own: enough of them for each to have been 0 and more."""
    rng = random.Random(1)
    for _ in range(20):
        message = rng.randbytes(rng.randrange(1000))
        assert digest(emulator, message) == hashlib.sha512(message).digest()


def test_the_scratch_memory_is_zero_afterwards_whatever_it_was(emulator: Xtensa) -> None:
    work = bytearray(random.Random(2).randbytes(WORK))
    assert digest(emulator, b"abc", work) == hashlib.sha512(b"abc").digest()
    assert work == bytes(WORK)


def test_only_64_octets_of_the_result_are_written(emulator: Xtensa) -> None:
    out = bytearray(b"\x55" * 80)
    emulator.call("hash_blocks", out, pad(b"abc"), 1, CONSTANTS, bytearray(WORK))
    assert out == hashlib.sha512(b"abc").digest() + b"\x55" * 16


def test_the_data_do_not_decide_what_is_done(emulator: Xtensa) -> None:
    rng = random.Random(3)
    contents = [bytes(256), b"\xff" * 256, *(rng.randbytes(256) for _ in range(6))]
    assert (
        len(
            {
                emulator.trace("hash_blocks", bytearray(64), bytearray(data), 2, CONSTANTS, bytearray(WORK))
                for data in contents
            }
        )
        == 1
    )


def test_how_many_instructions_a_block_takes(emulator: Xtensa) -> None:
    for blocks in (1, 2, 10):
        emulator.reset()
        emulator.call("hash_blocks", bytearray(64), bytearray(BLOCK * blocks), blocks, CONSTANTS, bytearray(WORK))
        assert emulator.instructions <= MOST_PER_BLOCK * blocks + MOST_PER_CALL


def test_it_fits_a_device(compiled: bytes) -> None:
    assert len(compiled) <= 5.5 * 1024


def test_the_module_brings_its_constants() -> None:
    assert f"CONSTANTS = {CONSTANTS!r}\n" in sha512_xtensa.source()
