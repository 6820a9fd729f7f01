"""Signing that is cut short, by a MemoryError for example: nothing secret stays, and what comes next is right.

The native code is the compiled RISC-V; an error is raised instead of each of its calls in turn.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("unicorn", reason="emulates RISC-V; `make test-setup` installs it")

from host_tools.emulation.device_crypto import BACKENDS, DeviceCrypto
from tests.crypto.vector_curve import L
from tests.crypto.vector_forger import honest

SEED = bytes(range(32))
MESSAGES = {"short": b"pay", "longer than the hash's buffer": bytes(range(250)) * 4}


@pytest.fixture(scope="module")
def crypto() -> DeviceCrypto:
    return DeviceCrypto(BACKENDS["rv32"])


@contextmanager
def without_call(crypto: DeviceCrypto, number: int) -> Iterator[list[str]]:
    """Instead of native call `number`, counted from 0, a MemoryError. Gives the names of those that were asked for."""
    asked: list[str] = []
    emulators = [crypto.field, crypto.hash, crypto.scalar, crypto.schedule]

    def failing(call: Callable[..., object]) -> Callable[..., object]:
        def maybe(name: str, *arguments: object) -> object:
            asked.append(name)
            if len(asked) - 1 == number:
                raise MemoryError
            return call(name, *arguments)

        return maybe

    with pytest.MonkeyPatch.context() as patch:
        for emulator in emulators:
            patch.setattr(emulator, "call", failing(emulator.call))
        yield asked


def left_in_memory(crypto: DeviceCrypto) -> list[str]:
    """Where something stands that should be zero between two pieces of work."""
    curve, hashed = crypto.ed25519._curve, crypto.ed25519._hash
    slots = curve._slots[: 29 * crypto.backend["SLOT"]]
    places = {"slots": slots, "digits": curve._octets[256:], "buffer": hashed._buffer, "wide": crypto.ed25519._wide}
    return [name for name, memory in places.items() if any(memory)] + ["later"] * (hashed._later is not None)


def pieces_of_work(crypto: DeviceCrypto, message: bytes) -> dict[str, Callable[[], bytes]]:
    key = crypto.ed25519.SigningKey(SEED)
    return {"sign": lambda: key.sign(message), "key": lambda: crypto.ed25519.SigningKey(SEED).public}


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("work", ["sign", "key"])
def test_nothing_stays_and_the_next_is_right(crypto: DeviceCrypto, work: str, message: str) -> None:
    pieces = pieces_of_work(crypto, MESSAGES[message])
    public, signature = honest(SEED, MESSAGES[message])
    with without_call(crypto, -1) as asked:
        pieces[work]()
    assert asked[-1] == "run", "the last is the wiping itself, which may fail like everything else"
    for number in range(len(asked) - 1):
        crypto.ed25519._curve.wipe()  # of what verifying left, which is public
        with without_call(crypto, number), pytest.raises(MemoryError):
            pieces[work]()
        assert left_in_memory(crypto) == [], (number, asked[number])
        assert pieces["key"]() == public
        assert pieces["sign"]() == signature
        assert crypto.ed25519.verify(public, MESSAGES[message], signature)


@pytest.mark.parametrize("message", MESSAGES)
def test_no_buffer_keeps_a_secret_of_a_signature_that_was_made(
    crypto: DeviceCrypto, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every bytearray that signing asks for, and every one that the modules hold, but the key's own."""
    made: list[bytearray] = []

    def remembered(*arguments: object) -> bytearray:
        made.append(bytearray(*arguments))  # type: ignore[arg-type]
        return made[-1]

    key = crypto.ed25519.SigningKey(SEED)
    for module in (crypto.ed25519, crypto.sha512, crypto.curve):
        monkeypatch.setattr(module, "bytearray", remembered, raising=False)
    key.sign(MESSAGES[message])
    expanded = hashlib.sha512(SEED).digest()
    digest = hashlib.sha512(expanded[32:] + MESSAGES[message]).digest()
    nonce = (int.from_bytes(digest, "little") % L).to_bytes(32, "little")
    held = [crypto.ed25519._wide, crypto.ed25519._hash.work]
    assert made
    for buffer in made + held:
        for secret in (expanded[:32], expanded[32:], digest[:32], digest[32:], nonce):
            assert secret not in buffer
    assert left_in_memory(crypto) == []


def test_a_digest_does_not_rest_on_what_an_earlier_one_left(crypto: DeviceCrypto) -> None:
    """As if even the clearing had been interrupted."""
    hashed = crypto.sha512.Sha512()
    hashed._buffer[:] = b"\xaa" * len(hashed._buffer)
    hashed._later = bytearray(b"\xaa" * 704)
    hashed.work[:] = b"\xaa" * len(hashed.work)
    out = bytearray(64)
    hashed.digest_into(out, b"pay")
    assert out == hashlib.sha512(b"pay").digest()
