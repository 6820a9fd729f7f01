"""Honest signatures, and what becomes of them when bits, lengths, borders, encodings or places are changed."""

import hashlib
from collections.abc import Iterator

from tests.crypto.vector_curve import L, P, encode_y, point_at
from tests.crypto.vector_forger import Case, Forger, filler, flip, honest, secret, with_response

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

# SHA-512 hashes 64 bytes (R and A) or 32 (a prefix) before the message, in blocks of 128, and pads with at least 17. So
# these end on every edge of a block, and of the four blocks that the firmware hashes at a time.
EDGE_LENGTHS = sorted(
    {
        end + around
        for block_end in (128, 256, 512, 1024)
        for end in (block_end - 64 - 17, block_end - 64, block_end - 32 - 17, block_end - 32, block_end - 17, block_end)
        for around in (-1, 0, 1)
    }
    | {0, 1, 2, 15, 16}
)


def published() -> Iterator[Case]:
    """The signatures of RFC 8032, each also under the other keys and over the other messages."""
    vectors = [tuple(map(bytes.fromhex, vector[1:])) for vector in RFC_8032]
    for number, (public, message, signature) in enumerate(vectors):
        yield Case(f"RFC 8032 number {number}", public, message, signature)
        for other in range(len(vectors)):
            if other != number:
                yield Case(f"RFC 8032 number {number}, key of {other}", vectors[other][0], message, signature)
                yield Case(f"RFC 8032 number {number}, message of {other}", public, vectors[other][1], signature)


def lengths() -> Iterator[Case]:
    """Messages that end on every edge of a hash block, whole, changed, cut and prolonged."""
    for length in EDGE_LENGTHS:
        message = filler(f"message {length}", length)
        public, signature = honest(filler(f"key {length}", 32), message)
        yield Case(f"{length} bytes", public, message, signature)
        yield Case(f"{length} bytes and a zero", public, message + b"\0", signature)
        yield Case(f"{length} bytes and padding", public, message + b"\x80", signature)
        if message:
            yield Case(f"{length} bytes less the last", public, message[:-1], signature)
            yield Case(f"{length} bytes, the last changed", public, flip(message, 8 * length - 1), signature)
            yield Case(f"{length} bytes, the first changed", public, flip(message, 0), signature)
    for length in (1_500, 4_096):
        message = filler(f"message {length}", length)
        public, signature = honest(filler("key long", 32), message)
        yield Case(f"{length} bytes", public, message, signature)
        yield Case(f"{length} bytes, one changed", public, flip(message, 4 * length), signature)


def every_length() -> Iterator[Case]:
    """Honest signatures over messages of 0 to 300 bytes, each with a key of its own and followed by a lie."""
    for length in range(301):
        message = filler(f"every length, message {length}", length)
        public, signature = honest(filler(f"every length, key {length}", 32), message)
        bit = secret(f"every length, bit {length}")
        yield Case(f"{length} bytes", public, message, signature)
        match length % 4:
            case 0:
                yield Case(f"{length} bytes, signature changed", public, message, flip(signature, bit % 512))
            case 1:
                yield Case(f"{length} bytes, message changed", public, flip(message, bit % (8 * length)), signature)
            case 2:
                yield Case(f"{length} bytes, key changed", flip(public, bit % 256), message, signature)
            case _:
                longer = with_response(signature[:32], int.from_bytes(signature[32:], "little") + L)
                yield Case(f"{length} bytes, S + L", public, message, longer)


def flips() -> Iterator[Case]:
    """One bit changed, every bit of the signature, the key and the message in turn."""
    message = b"pay 100 to Chen"
    public, signature = honest(bytes(range(32)), message)
    yield Case("nothing changed", public, message, signature)
    for bit in range(512):
        yield Case(f"signature bit {bit}", public, message, flip(signature, bit))
    for bit in range(256):
        yield Case(f"key bit {bit}", flip(public, bit), message, signature)
    for bit in range(8 * len(message)):
        yield Case(f"message bit {bit}", public, flip(message, bit), signature)


def responses() -> Iterator[Case]:
    """S: multiples of L added, its high bits set, other values; and S near L byte by byte."""
    for number in range(4):
        public, signature = honest(filler(f"response {number}", 32), b"pay")
        commitment, response = signature[:32], int.from_bytes(signature[32:], "little")
        yield Case(f"S of {number}", public, b"pay", signature)
        values = {f"S + {multiple} L": response + multiple * L for multiple in range(1, 16)}
        masks = (0x10, 0x20, 0x40, 0x60, 0x80, 0xE0, 0xF0)
        values |= {f"S | {mask:#x} << 248": response | mask << 248 for mask in masks}
        values |= {"L - S": L - response, "2 ** 253 - S": 2**253 - response}
        for name, value in values.items():
            if value < 2**256 and value != response:
                yield Case(f"{name} of {number}", public, b"pay", with_response(commitment, value))
    public, signature = honest(filler("response", 32), b"pay")
    borders = {0, 1, 2, 8, L - 1, L, L + 1, 2 * L, 8 * L, 2**252 - 1, 2**252, 2**252 + 1, 2**253 - 1, 2**253, 2**255}
    borders |= {P, 2**256 - 1, 2**256 // L * L} | {L + sign * 256**byte for byte in range(32) for sign in (-1, 1)}
    for value in sorted(borders):
        yield Case(f"S = {value:#x}", public, b"pay", with_response(signature[:32], value))


def encodings() -> Iterator[Case]:
    """y that is not reduced, x = 0 with its sign set, y with no point, in the key and in R."""
    message = b"encodings"
    public, signature = honest(filler("encodings", 32), message)
    yield Case("canonical", public, message, signature)
    strange = {f"y = p + {y - P}": y for y in range(P - 20, 2**255)}
    strange |= {f"y = {y}": y for y in range(40)}
    for name, y in strange.items():
        for sign in (0, 1):
            odd = encode_y(y, sign)
            yield Case(f"key {name} sign {sign}", odd, message, signature)
            yield Case(f"R {name} sign {sign}", public, message, odd + signature[32:])
            yield Case(f"key and R {name} sign {sign}", odd, message, odd + bytes(32))
    for number in range(40):
        y = int.from_bytes(filler(f"y {number}", 32), "little") % P
        place = "on" if point_at(y, 0) else "off"
        yield Case(f"key {place} the curve {number}", encode_y(y, number & 1), message, signature)
        yield Case(f"R {place} the curve {number}", public, message, encode_y(y, number & 1) + signature[32:])


def exchanges() -> Iterator[Case]:
    """Parts in each other's place, and every sign changed, alone and together."""
    for number in range(8):
        key, nonce, message = secret(f"key {number}"), secret(f"nonce {number}"), b"exchange %d" % number
        forger = Forger(key, nonce)
        good = forger.case(f"good {number}", message)
        yield good
        commitment, response = good.signature[:32], good.signature[32:]
        h = forger.challenge(message)
        signatures = {
            "R and S exchanged": response + commitment,
            "A for R": good.public + response,
            "-R": flip(good.signature, 255),
            "-S": with_response(commitment, L - int.from_bytes(response, "little")),
            "S = r - h a": with_response(commitment, (nonce - h * key) % L),
            "S = h a - r": with_response(commitment, (h * key - nonce) % L),
        }
        for name, signature in signatures.items():
            yield Case(f"{name} {number}", good.public, message, signature)
            yield Case(f"-A, {name} {number}", flip(good.public, 255), message, signature)
        yield Case(f"-A {number}", flip(good.public, 255), message, good.signature)
        yield Case(f"A and R exchanged {number}", commitment, message, good.public + response)
        yield Forger(L - key, nonce).case(f"signed for -A {number}", message)
        yield Forger(key, L - nonce).case(f"signed with -R {number}", message)
