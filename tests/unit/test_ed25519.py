"""Ed25519 and SHA-512 of the firmware, on CPython and on the real MicroPython, judged by libsodium and OpenSSL.

libsodium (through PyNaCl) is the rule: on crafted edge cases - torsion, small order, encodings that are not canonical -
the firmware must give its verdict, whichever it is.
"""

import hashlib
import json
from pathlib import Path

import nacl.bindings
import nacl.exceptions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import micropython

ed25519 = micropython.import_on_cpython("crypto.ed25519")
sha512 = micropython.import_on_cpython("crypto.sha512").sha512

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

# RFC 8032 section 7.1: TEST 1, 2, 3 and SHA(abc): seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]

Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def libsodium_accepts(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.bindings.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


# Plain affine arithmetic straight from RFC 8032 section 5.1, only to craft cases.


def find_x(y: int, sign: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return -x % P if x & 1 != sign else x


def add(first: Point, second: Point) -> Point:
    x1, y1 = first
    x2, y2 = second
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def multiply(scalar: int, point: Point) -> Point:
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def hash_to_scalar(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


BASE_Y = 4 * pow(5, -1, P) % P
BASE = (find_x(BASE_Y, 0) or 0, BASE_Y)


def torsion_points() -> list[Point]:
    """The eight points of small order, as the multiples of one of order 8."""
    y = 2
    while True:
        x = find_x(y, 0)
        if x is not None:
            generator = multiply(L, (x, y))
            if multiply(4, generator) != NEUTRAL:
                return [multiply(n, generator) for n in range(8)]
        y += 1


TORSION = torsion_points()


def small_order_encodings() -> list[bytes]:
    """Every 32 bytes that decode to a point of small order, canonical or not, with either sign bit."""
    ys = {point[1] for point in TORSION}
    ys |= {y + P for y in ys if y + P < 2**255}
    return [(y | sign << 255).to_bytes(32, "little") for y in sorted(ys) for sign in (0, 1)]


Case = tuple[str, bytes, bytes, bytes]


def torsion_cases() -> list[Case]:
    """Signatures whose key and R carry every mixture of torsion; some hold without cofactor, others do not."""
    secret, nonce = 0x1234567890ABCDEF << 170, 0xFEDCBA0987654321 << 180
    cases = []
    for a in range(8):
        key = add(multiply(secret, BASE), TORSION[a])
        for r in range(8):
            commitment = add(multiply(nonce, BASE), TORSION[r])
            message = bytes([a, r])
            challenge = hash_to_scalar(encode(commitment), encode(key), message)
            response = (nonce + challenge * secret) % L
            signature = encode(commitment) + response.to_bytes(32, "little")
            cases.append((f"torsion key {a} R {r}", encode(key), message, signature))
    return cases


def small_order_cases() -> list[Case]:
    """Keys and R of small order in signatures whose equation holds: only the ban on small order refuses them."""
    cases = []
    for t in range(8):
        key = TORSION[t]
        for message in (bytes([n]) for n in range(64)):
            # S B = R + h A with A = T: R = r B - h T, so a message is needed whose h fits the R that it hashes.
            commitment = add(multiply(7, BASE), TORSION[message[0] % 8])
            challenge = hash_to_scalar(encode(commitment), encode(key), message)
            if add(commitment, multiply(challenge, key)) == multiply(7, BASE):
                signature = encode(commitment) + (7).to_bytes(32, "little")
                cases.append((f"small-order key {t}", encode(key), message, signature))
                break
        mixed = add(multiply(9, BASE), TORSION[1])
        for message in (bytes([n, t]) for n in range(255)):
            # S B = R + h A with R = T and A = 9 B + T1: S = 9 h, and h T1 must cancel R.
            challenge = hash_to_scalar(encode(TORSION[t]), encode(mixed), message)
            if add(TORSION[t], multiply(challenge % 8, TORSION[1])) == NEUTRAL:
                signature = encode(TORSION[t]) + (9 * challenge % L).to_bytes(32, "little")
                cases.append((f"small-order R {t}", encode(mixed), message, signature))
                break
    for encoding in small_order_encodings():
        for response in (0, 1):
            tail = response.to_bytes(32, "little")
            cases.append((f"small-order key bytes {encoding.hex()}", encoding, b"m", encode(BASE) + tail))
            cases.append((f"small-order R bytes {encoding.hex()}", encode(BASE), b"m", encoding + tail))
            cases.append((f"small-order both {encoding.hex()}", encoding, b"m", encoding + tail))
    return cases


def encoding_cases() -> list[Case]:
    """S at its border, and y that is not reduced."""
    key = ed25519.SigningKey(bytes(range(32)))
    good = key.sign(b"pay")
    response = int.from_bytes(good[32:], "little")
    cases = [("good", key.public, b"pay", good)]
    for multiple in range(1, 16):
        value = response + multiple * L
        if value < 2**256:
            cases.append((f"S + {multiple} L", key.public, b"pay", good[:32] + value.to_bytes(32, "little")))
    for value in (0, 1, L - 1, L, L + 1, 2**252, 2**253 - 1, 2**256 - 1):
        cases.append((f"S = {value}", key.public, b"pay", good[:32] + value.to_bytes(32, "little")))
    for y in range(P - 20, 2**255):
        for sign in (0, 1):
            odd = (y | sign << 255).to_bytes(32, "little")
            cases.append((f"key y = p + {y - P}", odd, b"pay", good))
            cases.append((f"R y = p + {y - P}", key.public, b"pay", odd + good[32:]))
    for bit in range(0, 512, 5):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        cases.append((f"signature bit {bit}", key.public, b"pay", bytes(flipped)))
    for bit in range(0, 256, 5):
        flipped = bytearray(key.public)
        flipped[bit // 8] ^= 1 << bit % 8
        cases.append((f"key bit {bit}", bytes(flipped), b"pay", good))
    return cases


EDGE_CASES = torsion_cases() + small_order_cases() + encoding_cases()


def test_edge_cases_contain_what_they_promise() -> None:
    verdicts = [libsodium_accepts(*case[1:]) for case in torsion_cases()]
    assert any(verdicts)
    assert not all(verdicts)
    names = [case[0] for case in EDGE_CASES]
    assert sum(name.startswith("small-order key ") and "bytes" not in name for name in names) == 8
    assert sum(name.startswith("small-order R ") and "bytes" not in name for name in names) == 8
    # 8 points: 5 values of y; y = 0 and y = 1 have a second encoding; each with two sign bits.
    assert len(small_order_encodings()) == 14


def test_edge_cases_get_libsodiums_verdict_on_cpython() -> None:
    wrong = [case[0] for case in EDGE_CASES if ed25519.verify(*case[1:]) != libsodium_accepts(*case[1:])]
    assert wrong == []


def test_edge_cases_get_libsodiums_verdict_on_micropython(tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text(json.dumps([[value.hex() for value in case[1:]] for case in EDGE_CASES]))
    script = """
import json
from crypto import ed25519
verdicts = []
with open("cases.json") as file:
    for line in file.read().split("],"):
        case = [bytes.fromhex(value.strip(' "')) for value in line.strip("[] ").split(",")]
        verdicts.append(int(ed25519.verify(*case)))
print(json.dumps(verdicts))
"""
    verdicts = micropython.run_json(script, cwd=tmp_path, heap_size="1M")
    wrong = [
        case[0]
        for case, verdict in zip(EDGE_CASES, verdicts, strict=True)
        if bool(verdict) != libsodium_accepts(*case[1:])
    ]
    assert wrong == []


@pytest.mark.parametrize("vector", RFC_8032)
def test_rfc_8032_vectors_on_cpython(vector: tuple[str, str, str, str]) -> None:
    seed, public, message, signature = map(bytes.fromhex, vector)
    assert ed25519.public_key(seed) == public
    assert ed25519.sign(seed, message) == signature
    assert ed25519.verify(public, message, signature)


def test_rfc_8032_vectors_and_random_keys_on_micropython_within_the_device_heap() -> None:
    vectors = [list(vector) for vector in RFC_8032]
    for n in range(12):
        seed = hashlib.sha256(bytes([n])).digest()
        public, secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        message = bytes(range(n * 21))
        signature = nacl.bindings.crypto_sign(message, secret)[:64]
        vectors.append([value.hex() for value in (seed, public, message, signature)])
    script = f"""
import json
from crypto import ed25519
bad = []
for number, vector in enumerate({vectors!r}):
    seed, public, message, signature = [bytes.fromhex(value) for value in vector]
    key = ed25519.SigningKey(seed)
    if key.public != public or key.sign(memoryview(message)) != signature:
        bad.append(["sign", number])
    if not ed25519.verify(bytearray(public), memoryview(message), memoryview(signature)):
        bad.append(["verify", number])
    if ed25519.verify(public, message + b"x", signature):
        bad.append(["forgery", number])
print(json.dumps(bad))
"""
    assert micropython.run_json(script) == []


@settings(deadline=None, max_examples=40)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300), damage=st.integers(0, 2**32))
def test_agrees_with_libsodium_on_any_key_and_message(seed: bytes, message: bytes, damage: int) -> None:
    public, secret = nacl.bindings.crypto_sign_seed_keypair(seed)
    key = ed25519.SigningKey(seed)
    signature = key.sign(message)
    assert key.public == public
    assert signature == nacl.bindings.crypto_sign(message, secret)[:64]
    assert ed25519.verify(public, message, signature)
    changed = bytearray(signature)
    changed[damage % 64] ^= 1 + damage % 255
    assert not ed25519.verify(public, message, bytes(changed))


@pytest.mark.parametrize("change", [-1, 1, -32])
def test_wrong_lengths_are_named(change: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        ed25519.SigningKey(bytes(32 + change))
    with pytest.raises(ValueError, match="public"):
        ed25519.verify(bytes(32 + change), b"", bytes(64))
    with pytest.raises(ValueError, match="signature"):
        ed25519.verify(bytes(32), b"", bytes(64 + change))


def test_a_key_does_not_show_its_secret() -> None:
    key = ed25519.SigningKey(bytes(range(32)))
    shown = repr(key) + str(key)
    assert bytes(range(32)).hex() not in shown
    assert str(key._scalar) not in shown


def test_sha512_of_every_length_around_the_blocks_on_cpython() -> None:
    for length in range(300):
        data = bytes(n * 7 + length & 255 for n in range(length))
        assert sha512(data) == hashlib.sha512(data).digest(), length
    assert sha512(bytearray(b"abc")) == hashlib.sha512(b"abc").digest()


def test_sha512_on_micropython() -> None:
    script = """
import binascii, json
from crypto.sha512 import sha512
digests = [sha512(bytes([n * 7 + length & 255 for n in range(length)])) for length in range(0, 270, 3)]
print(json.dumps([binascii.hexlify(digest).decode() for digest in digests]))
"""
    expected = [
        hashlib.sha512(bytes(n * 7 + length & 255 for n in range(length))).hexdigest() for length in range(0, 270, 3)
    ]
    assert micropython.run_json(script) == expected
