"""SHA-512 of the firmware, in every implementation, judged by OpenSSL through `hashlib`."""

import hashlib

import pytest

from tests import micropython
from tests.crypto import vectors
from tests.crypto.vector_damage import EDGE_LENGTHS
from tests.crypto.vector_forger import filler
from tests.crypto.vector_runners import Implementation, Job

# FIPS 180-4's examples (csrc.nist.gov, "SHA512.pdf"): one block and two.
EXAMPLES = [
    (
        b"abc",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ),
    (
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
        "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
    ),
]


def wrong_digests(implementation: Implementation, jobs: list[Job]) -> list[Job]:
    """Of all that the implementation can afford, the jobs whose answer is not the digest of their arguments."""
    affordable = vectors.spread(jobs, implementation.affordable)
    answers = implementation.answers(affordable)
    return [
        job
        for job, answer in zip(affordable, answers, strict=True)
        if answer != hashlib.sha512(b"".join(job[1:])).digest()
    ]


@pytest.mark.parametrize(("data", "digest"), EXAMPLES)
def test_published_examples(implementation: Implementation, data: bytes, digest: str) -> None:
    assert [answer.hex() for answer in implementation.answers([("hash", data)])] == [digest]


def test_every_length(implementation: Implementation) -> None:
    """Up to beyond twice the 512 bytes that are hashed at a time."""
    assert wrong_digests(implementation, [("hash", filler(f"hash {length}", length)) for length in range(1_170)]) == []


def test_one_sided_data(implementation: Implementation) -> None:
    """All carries, none, and single bits that move through the block."""
    data = [bytes([octet]) * length for octet in (0, 0x55, 0x80, 0xAA, 0xFF) for length in (8, 111, 112, 128, 640)]
    data += [(1 << bit).to_bytes(128, "big") for bit in range(0, 1_024, 31)]
    assert wrong_digests(implementation, [("hash", value) for value in data]) == []


def test_parts_hash_as_the_whole(implementation: Implementation) -> None:
    jobs: list[Job] = []
    for length in EDGE_LENGTHS:
        data = filler(f"parts {length}", length)
        for first, second in ((0, 0), (0, length), (32, 64), (length // 3, length // 2), (length - 1, length)):
            jobs.append(("hash_parts", data[:first], data[first:second], data[second:]))
    jobs.append(("hash_parts",))
    jobs.append(("hash_parts", *(filler(f"part {number}", number) for number in range(60))))
    assert wrong_digests(implementation, jobs) == []


def test_long_data(implementation: Implementation) -> None:
    lengths = vectors.spread((5_000, 8_192, 16_384), implementation.affordable and implementation.affordable // 50)
    assert wrong_digests(implementation, [("hash", filler(f"long {length}", length)) for length in lengths]) == []


def test_keeps_nothing_of_what_it_hashed() -> None:
    """Its memory is used again, and a seed may have passed through it."""
    hashes = micropython.import_on_cpython("crypto.sha512").Sha512()
    for length in (32, 200, 512, 1_000):
        data = filler(f"secret {length}", length)
        hashes.digest_into(bytearray(64), data[:16], data[16:])
        kept = b"|".join(bytes(value) for value in vars(hashes).values() if value is not None)
        assert not any(data[at : at + 4] in kept for at in range(length - 3))
