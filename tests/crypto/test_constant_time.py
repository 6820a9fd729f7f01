"""What handles secrets runs the same way whatever they are: full traces of the compiled code are equal.

A trace is the address of every instruction and of every access to memory, in order (`Rv32.events`; on Xtensa, of every
straight piece of code).
"""

import hashlib
from collections.abc import Callable

import pytest

pytest.importorskip("unicorn", reason="emulates RISC-V; `make test-setup` installs it")

from host_tools.emulation.device_crypto import BACKENDS, DeviceCrypto
from tests.crypto.vector_curve import L

MESSAGE = bytes(range(100))

# Seeds, and with them scalars, prefixes and nonces, odd and even; and octets that are all the same.
SEEDS = [bytes(32), b"\xff" * 32, *(hashlib.sha256(bytes([n])).digest() for n in range(4))]


@pytest.fixture(scope="module", params=["rv32", "viper", "xtensa"])
def crypto(request: pytest.FixtureRequest) -> DeviceCrypto:
    return DeviceCrypto(BACKENDS[request.param])


def same(traces: list[list[bytes]]) -> bool:
    return len(traces[0]) > 0 and all(trace == traces[0] for trace in traces)


def test_public_key(crypto: DeviceCrypto) -> None:
    assert same([crypto.trace(crypto.ed25519.public_key, seed) for seed in SEEDS])


@pytest.mark.parametrize("length", [0, 100, 1_000])
def test_sign(crypto: DeviceCrypto, length: int) -> None:
    """From some length on the hash is interrupted, with its state as secret as what is hashed."""
    keys = [crypto.ed25519.SigningKey(seed) for seed in SEEDS]
    assert len({key.public[0] for key in keys}) > 1
    assert same([crypto.trace(key.sign, bytes(length)) for key in keys])


def test_sign_other_messages_of_the_same_length(crypto: DeviceCrypto) -> None:
    """Each has a nonce of its own under the same key."""
    key = crypto.ed25519.SigningKey(SEEDS[0])
    assert same([crypto.trace(key.sign, bytes([n]) * 100) for n in range(4)])


SCALARS = [0, 1, 2, L - 1, L - 2, 1 << 252, (1 << 252) - 1, 0x5555 << 230, int.from_bytes(SEEDS[3], "little") % L]


@pytest.mark.parametrize(
    "work",
    [
        lambda crypto, scalar: crypto.backend["comb_digits"](bytearray(64), 0, scalar, L.to_bytes(32, "little")),
        lambda crypto, scalar: crypto.backend["reduce"](bytearray(32), scalar + scalar, bytearray(512)),
        lambda crypto, scalar: crypto.backend["multiply_add"](bytearray(32), scalar, scalar, scalar, bytearray(512)),
        lambda crypto, scalar: crypto.ed25519._curve.multiply_base(bytearray(scalar)),
    ],
    ids=["comb_digits", "reduce", "multiply_add", "multiply_base"],
)
def test_scalars_at_their_edges(crypto: DeviceCrypto, work: Callable[[DeviceCrypto, bytes], None]) -> None:
    assert same([crypto.trace(work, crypto, scalar.to_bytes(32, "little")) for scalar in SCALARS])


def test_what_may_depend_on_its_data_is_seen_to(crypto: DeviceCrypto) -> None:
    """Verification is public, its program is written for the scalars: if that looked the same, nothing is measured."""
    key = crypto.ed25519.SigningKey(SEEDS[0])
    checks = [(bytes([n]) * 100, key.sign(bytes([n]) * 100)) for n in range(2)]
    assert not same([crypto.trace(crypto.ed25519.verify, key.public, *check) for check in checks])


def test_nothing_secret_is_left_in_the_machine(crypto: DeviceCrypto) -> None:
    """After signing, the memory of curve and hash is what it is after signing with any other key.

    Only the octet strings below 256 differ: they have the result.
    """
    left = []
    for seed in SEEDS:
        crypto.ed25519.SigningKey(seed).sign(MESSAGE)
        curve, hashed = crypto.ed25519._curve, crypto.ed25519._hash
        left.append([bytes(curve._slots), bytes(curve._octets[256:]), bytes(hashed._buffer), bytes(hashed.work)])
    assert all(one == left[0] for one in left)
