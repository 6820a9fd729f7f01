"""Ed25519 of the firmware, in every implementation, judged by libsodium through PyNaCl on crafted and random cases.

The firmware must give libsodium's verdict, whichever it is. Where no real hash could lead (`vector_chosen`), the judge
is the rule in plain Python, which itself is held to libsodium here.
"""

import hashlib
import random
from collections.abc import Sequence
from itertools import product

import nacl.bindings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import micropython
from tests.crypto import vector_chosen, vector_runners, vectors
from tests.crypto.vector_curve import L
from tests.crypto.vector_damage import EDGE_LENGTHS, RFC_8032
from tests.crypto.vector_forger import Case, filler, honest, libsodium_accepts
from tests.crypto.vector_runners import IMPLEMENTATIONS, Implementation, Job

REAL = [(operation, family) for operation in ("verify", "verify_prepared") for family in vectors.FAMILIES]
CHOSEN = [(operation, family) for operation in ("verify", "verify_prepared") for family in vector_chosen.FAMILIES]


def check(implementation: Implementation, expected: Sequence[tuple[str, Job, bytes]]) -> None:
    """Does all that the implementation can afford of the jobs (name, job, right answer), and names what goes wrong."""
    affordable = vectors.spread(expected, implementation.affordable)
    answers = implementation.answers([job for _, job, _ in affordable])
    wrong = [
        f"{name}: {answer!r}" for (name, _, right), answer in zip(affordable, answers, strict=True) if answer != right
    ]
    assert wrong == []


@pytest.mark.parametrize("family", vectors.FAMILIES)
def test_a_family_contains_the_verdicts_it_promises(family: str) -> None:
    assert set(vectors.verdicts(family)) == vectors.FAMILIES[family].verdicts
    names = [case.name for case in vectors.cases(family)]
    assert len(set(names)) == len(names)


def test_libsodium_accepts_what_the_paper_says() -> None:
    accepted = [case.name for case in vectors.cases("taming") if libsodium_accepts(case)]
    assert [name.partition(":")[0] for name in accepted] == ["3"]


@pytest.mark.parametrize("family", vectors.FAMILIES)
def test_the_rule_in_plain_python_is_libsodiums(family: str) -> None:
    for case in vectors.spread(vectors.cases(family), 100):
        digest = hashlib.sha512(case.signature[:32] + case.public + case.message).digest()
        assert vector_chosen.accepts(case.public, digest, case.signature) == libsodium_accepts(case), case.name


@pytest.mark.parametrize("family", vector_chosen.FAMILIES)
def test_chosen_families_have_accepted_members(family: str) -> None:
    assert any(vector_chosen.verdicts(family))
    assert len(set(vector_chosen.cases(family))) == len(vector_chosen.cases(family))


@pytest.mark.parametrize(("operation", "family"), REAL)
def test_gives_libsodiums_verdict(implementation: Implementation, operation: str, family: str) -> None:
    cases = zip(vectors.cases(family), vectors.verdicts(family), strict=True)
    check(implementation, [(case.name, (operation, *case[1:]), bytes([verdict])) for case, verdict in cases])


@pytest.mark.parametrize(("operation", "family"), CHOSEN)
def test_gives_the_rules_verdict_on_chosen_challenges(
    implementation: Implementation, operation: str, family: str
) -> None:
    cases = zip(vector_chosen.cases(family), vector_chosen.verdicts(family), strict=True)
    check(implementation, [(case.name, (f"{operation}_chosen", *case[1:]), bytes([right])) for case, right in cases])


def test_signs_with_chosen_secrets_and_nonces(implementation: Implementation) -> None:
    check(
        implementation,
        [
            (case.name, ("sign_chosen", case.digests, b"pay"), case.public + case.signature)
            for case in vector_chosen.signings()
        ],
    )


def test_rfc_8032(implementation: Implementation) -> None:
    jobs: list[tuple[str, Job, bytes]] = []
    for number, vector in enumerate(RFC_8032):
        seed, public, message, signature = map(bytes.fromhex, vector)
        jobs += [
            (f"key {number}", ("public", seed), public),
            (f"signature {number}", ("sign", seed, message), signature),
            (f"signature {number} with a key", ("sign_with_key", seed, message), signature),
        ]
    check(implementation, jobs)


def test_signs_as_libsodium_whatever_the_length(implementation: Implementation) -> None:
    jobs: list[tuple[str, Job, bytes]] = []
    for length in [*range(301), *EDGE_LENGTHS, 4_096]:
        # A key for every seven lengths, so that one key signs often, too.
        seed, message = filler(f"seed {length // 7}", 32), filler(f"message to sign {length}", length)
        signature = honest(seed, message)[1]
        jobs.append((f"{length} bytes with a key", ("sign_with_key", seed, message), signature))
        if length % 7 == 0:
            jobs.append((f"key for {length} bytes", ("public", seed), honest(seed, message)[0]))
            jobs.append((f"{length} bytes", ("sign", seed, message), signature))
    check(implementation, jobs)


# How many random signatures each implementation makes and checks in a few seconds.
RANDOM_SIGNATURES = {
    "cpython": 200,
    "micropython": 2_000,
    "micropython-plain": 100,
    "rv32": 150,
    "xtensa": 5,
    "viper": 10,
}


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_agrees_with_libsodium_on_random_keys_and_messages(name: str) -> None:
    """Signed, accepted under the key and under the prepared key, and refused with one bit changed anywhere."""
    draw = random.Random(f"any {name}")
    jobs: list[tuple[Job, bytes]] = []
    for _ in range(RANDOM_SIGNATURES[name]):
        seed, message = draw.randbytes(32), draw.randbytes(draw.randrange(301))
        public, signature = honest(seed, message)
        bit = draw.randrange(512)
        damaged = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
        jobs += [
            (("sign", seed, message), signature),
            (("verify", public, message, signature), b"\1"),
            (("verify", public, message, damaged), b"\0"),
            (("verify_prepared", public, message, signature), b"\1"),
            (("verify_prepared", public, message, damaged), b"\0"),
        ]
    answers = vector_runners.implementation(name).answers([job for job, _ in jobs])
    assert [job for (job, right), answer in zip(jobs, answers, strict=True) if answer != right] == []


def test_operations_leave_no_trace_for_each_other(implementation: Implementation) -> None:
    """All kinds of work in turn: right and wrong, keys that are refused, two prepared keys at once."""
    draw = random.Random(8032)
    jobs: list[tuple[str, Job, bytes]] = []
    keys = [filler(f"mixed {number}", 32) for number in range(4)]
    refused = [case for case in vectors.cases("encodings") if case.name.startswith("key ")]
    for number in range(800):
        seed = draw.choice(keys[:2] if number % 3 else keys)
        message = draw.randbytes(draw.randrange(200))
        public, signature = honest(seed, message)
        case = draw.choice(
            [
                Case("right", public, message, signature),
                Case("other message", public, message + b"!", signature),
                Case("other key", honest(keys[0], b"")[0], message, signature),
                draw.choice(refused),
                draw.choice(vectors.cases("torsion")),
            ]
        )
        verdict = bytes([libsodium_accepts(case)])
        choices: list[tuple[Job, bytes]] = [
            (("public", seed), public),
            (("sign", seed, message), signature),
            (("sign_with_key", seed, message), signature),
            (("hash", message), hashlib.sha512(message).digest()),
            (("verify", *case[1:]), verdict),
            (("verify_prepared", *case[1:]), verdict),
        ]
        job, right = draw.choice(choices)
        jobs.append((f"number {number}, {job[0]}, {case.name}", job, right))
    check(implementation, jobs)


def test_wrong_lengths_are_named(implementation: Implementation) -> None:
    public, signature = honest(bytes(32), b"pay")
    jobs: list[tuple[str, Job, bytes]] = []
    for operation, length in product(("public", "sign", "sign_with_key"), (0, 1, 31, 33, 64)):
        message = () if operation == "public" else (b"pay",)
        jobs.append((f"{operation}, {length}", (operation, bytes(length), *message), b"seed"))
    for operation in ("verify", "verify_prepared"):
        for length in (0, 1, 31, 33, 64, 96):
            wrong = (public + signature)[:length]
            jobs.append((f"{operation}, key {length}", (operation, wrong, b"pay", signature), b"public"))
        for key, length in product((public, bytes(32), b"\xff" * 32), (0, 1, 32, 63, 65, 96, 128)):
            wrong = (signature + signature)[:length]
            jobs.append((f"{operation}, signature {length}", (operation, key, b"pay", wrong), b"signature"))
    answers = implementation.answers([job for _, job, _ in jobs])
    wrong = [
        (name, answer)
        for (name, _, named), answer in zip(jobs, answers, strict=True)
        if not answer.startswith(b"ValueError: " + named)
    ]
    assert wrong == []


def test_shows_no_secrets(implementation: Implementation) -> None:
    seed = filler("a secret", 32)
    expanded = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(expanded[:32], "little") & (1 << 254) - 8 | 1 << 254
    secrets = [seed, expanded[:32], expanded[32:], scalar.to_bytes(32, "little"), (scalar % L).to_bytes(32, "little")]
    public, signature = honest(seed, b"pay")
    said, *afterwards = implementation.answers(
        [("show_secrets", seed), ("sign", seed, b"pay"), ("verify", public, b"pay", signature), ("hash", seed)]
    )
    assert afterwards == [signature, b"\1", expanded]  # what was interrupted by an error has left nothing behind
    assert b"SigningKey" in said
    for secret in secrets:
        number = int.from_bytes(secret, "little")
        for shown in (secret.hex(), repr(secret)[2:-1], str(number), hex(number)[2:], repr(list(secret))[1:-1]):
            assert shown.encode() not in said


@settings(deadline=None, max_examples=60)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300), damage=st.integers(0, 2**32))
def test_agrees_with_libsodium_on_any_key_and_message(seed: bytes, message: bytes, damage: int) -> None:
    ed25519 = micropython.import_on_cpython("crypto.ed25519")
    public, secret_key = nacl.bindings.crypto_sign_seed_keypair(seed)
    key = ed25519.SigningKey(seed)
    signature = key.sign(message)
    assert key.public == public
    assert signature == nacl.bindings.crypto_sign(message, secret_key)[:64]
    changed = bytearray(signature)
    changed[damage % 64] ^= 1 + damage % 255
    for verify in (ed25519.PreparedKey(public).verify, lambda *rest: ed25519.verify(public, *rest)):
        assert verify(message, signature)
        assert not verify(message, bytes(changed))


def test_keys_keep_no_hold_of_what_they_were_made_of() -> None:
    ed25519 = micropython.import_on_cpython("crypto.ed25519")
    public, signature = honest(bytes(range(32)), b"pay")
    seed, encoded = bytearray(range(32)), bytearray(public)
    signing, prepared = ed25519.SigningKey(seed), ed25519.PreparedKey(encoded)
    seed[:] = encoded[:] = bytes(32)
    assert signing.sign(b"pay") == signature
    assert signing.public == public
    assert prepared.verify(b"pay", signature)


def test_a_huge_message_takes_no_memory_that_grows_with_it() -> None:
    """Signing and verifying 100,000 bytes on MicroPython with 40,000 free."""
    script = """
import gc, json
from crypto import ed25519
message = bytearray(bytes(range(250)) * 400)
key = ed25519.SigningKey(bytes(32))
prepared = ed25519.PreparedKey(key.public)
gc.collect()
ballast = []
while gc.mem_free() > 40_000:
    ballast.append(bytearray(1_000))
signature = key.sign(message)
good = [ed25519.verify(key.public, message, signature), prepared.verify(message, signature)]
message[-1] ^= 1
bad = [ed25519.verify(key.public, message, signature), prepared.verify(message, signature)]
print(json.dumps([signature.hex(), good, bad]))
"""
    signature = honest(bytes(32), bytes(range(250)) * 400)[1]
    assert micropython.run_json(script) == [signature.hex(), [True, True], [False, False]]
