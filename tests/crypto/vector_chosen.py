"""What no hash function would ever give: challenges, nonces and secret scalars of the caller's choice.

With the hash replaced, h and S can be any numbers, for any A, with R = S B - h A: zeros, borders of L, every pattern of
digits, sums that meet the neutral element, and true equations on encodings that have to be refused. Since libsodium's
hash cannot be replaced, `accepts` says the verdict; `test_ed25519` holds it to libsodium on everything else.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tests.crypto.vector_curve import (
    BASE,
    NEUTRAL,
    TORSION,
    L,
    P,
    Point,
    decode,
    encode_y,
    point_at,
    small_order_encodings,
)
from tests.crypto.vector_forger import first, meant, secret, with_response


class Chosen(NamedTuple):
    """A signature with the digest of R, A and the message."""

    name: str
    digest: bytes
    public: bytes
    signature: bytes


class ChosenSigning(NamedTuple):
    """The digests of the seed, of prefix and message, of R, A and message; and what has to come out."""

    name: str
    digests: bytes
    public: bytes
    signature: bytes


def accepts(public: bytes, digest: bytes, signature: bytes) -> bool:
    """The rule: S below L, A canonical, neither A nor R of small order, S B - h A = R as bytes."""
    response = int.from_bytes(signature[32:], "little")
    key = decode(public)
    if response >= L or key is None or key.is_small or signature[:32] in small_order_encodings():
        return False
    challenge = int.from_bytes(digest, "little") % L
    return (response * BASE - challenge * key).encode() == signature[:32]


def _wide(value: int) -> bytes:
    return value.to_bytes(64, "little")


def _chosen(name: str, key: Point, challenge: int, response: int) -> Chosen:
    """The one signature with this key, h and S whose equation holds; whether it may be accepted is another matter."""
    commitment = response * BASE - challenge % L * key
    return Chosen(name, _wide(challenge), key.encode(), with_response(commitment.encode(), response))


def _patterns() -> list[int]:
    """Scalars below L whose digits are as one-sided as they get, in whatever windows one cuts them."""
    values = {*range(41), *(L - n for n in range(1, 41)), (L - 1) // 2, (L + 1) // 2}
    values |= {2**bit for bit in range(253)} | {2**bit - 1 for bit in range(0, 253, 5)}
    values |= (
        {2**252 + n for n in range(3)} | {2**252 - n for n in range(1, 4)} | {L - 2**bit for bit in range(0, 252, 13)}
    )
    for width in (1, 2, 3, 4, 5, 6, 7, 8, 13, 16, 26, 32, 64):
        for digit in {1, 2 ** (width - 1), 2**width - 1, 2 ** (width - 1) - 1, 2 ** (width - 1) + 1}:
            repeated = sum(digit << place for place in range(0, 252, 2 * width))
            values |= {repeated % 2**252, sum(digit << place for place in range(0, 252, width)) % 2**252}
    return sorted(values)


def scalars() -> Iterator[Chosen]:
    """Every pattern as h and as S, with a key that has no torsion and with one that has."""
    patterns = _patterns()
    for number, pattern in enumerate(patterns):
        other = patterns[number * 271 % len(patterns)]  # meets each pattern once if the count is prime to 271
        key = secret("key of patterns") * BASE + TORSION[5 * (number & 1)]
        yield _chosen(f"h = {pattern:#x}, S = {other:#x}", key, pattern, other)
    # A window digit in every fifth place of h and every seventh of S: as many additions as there can be.
    for shift in range(7):
        challenge = sum(1 << place for place in range(shift % 5, 252, 5))
        response = sum(1 << place for place in range(shift, 252, 7))
        yield _chosen(f"dense digits {shift}", secret("dense") * BASE, challenge, response)
    extremes = [0, 1, 2, 3, 2**252 - 1, 2**252, L - 2, L - 1]
    for challenge in extremes:
        for response in extremes:
            for torsion in range(8):
                if torsion in (0, challenge & 7):
                    key = secret("key of extremes") * BASE + TORSION[torsion]
                    case = _chosen(
                        f"h = {challenge:#x}, S = {response:#x}, torsion {torsion}", key, challenge, response
                    )
                    yield case
                    wrong = (decode(case.signature[:32]) or NEUTRAL) + BASE
                    yield case._replace(name=f"{case.name}, R + B", signature=wrong.encode() + case.signature[32:])


def digests() -> Iterator[Chosen]:
    """Digests of 512 bits on the borders of their reduction modulo L."""
    values = {
        0,
        1,
        L - 1,
        L,
        L + 1,
        2 * L - 1,
        2 * L,
        2**512 - 1,
        2**512 // L * L,
        2**512 // L * L - 1,
        2**512 // L * L + 1,
    }
    values |= {2**bit for bit in range(252, 512, 4)} | {2**bit - 1 for bit in range(253, 513, 7)}
    values |= {multiple * L + n for multiple in (8, 2**64, 2**128 - 1, 2**252, 2**259) for n in (-1, 0, 1)}
    values |= {
        sum(digit << place for place in range(0, 512, width)) % 2**512
        for width in (8, 13, 26, 29, 32)
        for digit in (1, 2**width - 1 - width)
    }
    for number, value in enumerate(sorted(values)):
        key = secret("key of digests") * BASE + TORSION[3 * (number & 1)]
        yield _chosen(f"digest {value:#x}", key, value, secret(f"response {number}"))


def collisions() -> Iterator[Chosen]:
    """Keys that are multiples of B, with small h and S: running sums meet table entries, their negatives and 0."""
    numbers = [0, 1, 2, 3, 15, 16, 17, 33, 64, 127, L - 1, L - 3]
    multiples = [1, 2, 3, 5, 16, 2**13, 2**26, 2**52, (L + 1) // 2]
    for multiple in multiples:
        for key in (multiple, L - multiple):
            for number, challenge in enumerate(numbers):
                for response in {numbers[(number * 5 + multiple) % len(numbers)], challenge * key % L, 1}:
                    sign = "" if key == multiple else "-"
                    yield _chosen(
                        f"A = {sign}{multiple} B, h = {challenge}, S = {response}", key * BASE, challenge, response
                    )


def response_borders() -> Iterator[Chosen]:
    """S just below L, accepted; S + L, the same modulo L, refused even where it is closest to L."""
    key = secret("key of borders") * BASE
    values = {L - 256**byte for byte in range(32) if 256**byte < L} | {256**byte for byte in range(31)} | {0, L - 1, 1}
    for number, response in enumerate(sorted(values)):
        good = _chosen(f"S = {response:#x}", key, secret(f"challenge {number}"), response)
        yield good
        for multiple in (1, 2, 8, 14):
            if response + multiple * L < 2**256:
                longer = with_response(good.signature[:32], response + multiple * L)
                yield good._replace(name=f"{good.name} + {multiple} L", signature=longer)


def canonical_borders() -> Iterator[Chosen]:
    """Points with the smallest and the largest y as A and as R, canonical and, where there is room, with p added."""
    for y in [*range(2, 32), *range(P - 30, P - 1)]:
        for sign in (0, 1):
            point = point_at(y, sign)
            if point is None:
                continue
            name = f"y = {y if y < 32 else f'p - {P - y}'}, sign {sign}"
            challenge, response = secret(f"challenge {y}") | 1, secret(f"response {y}")
            as_key = _chosen(f"A with {name}", point, challenge, response)
            # h is odd, so it has an inverse modulo 8 L and A = (S B - R) / h.
            key = pow(challenge, -1, 8 * L) * (response * BASE - point)
            as_commitment = _chosen(f"R with {name}", key, challenge, response)
            yield as_key
            yield as_commitment
            if y + P < 2**255:
                unreduced = encode_y(y + P, sign)
                yield as_key._replace(name=f"{as_key.name} + p", public=unreduced)
                yield as_commitment._replace(
                    name=f"{as_commitment.name} + p", signature=unreduced + as_commitment.signature[32:]
                )


def patterned_points() -> Iterator[Chosen]:
    """A with y of few different digits, in whatever limbs one holds it: carries run far while it is decoded."""
    ys = {
        sum(digit << place for place in range(0, 255, step)) % 2**255 % P
        for width in (8, 13, 16, 24, 26, 29, 32, 51, 64)
        for digit in (1, 2**width - 1, 2 ** (width - 1), 2**width - 20)
        for step in (width, 2 * width)
    }
    for y in sorted(ys):
        point = first((point_at(near, 1) for near in range(y, P)), lambda point: point is not None)
        assert point is not None
        yield _chosen(f"A near y = {y:#x}", point, secret(f"challenge {y}"), secret(f"response {y}"))


def keys_without_part() -> Iterator[Chosen]:
    """h = 0, so that S B = R whatever the key is, on the curve or not: only the key's decoding can refuse it."""
    response = secret("response without key")
    for y in range(2, 60):
        for sign in (0, 1):
            case = _chosen(f"y = {y}, sign {sign}", BASE, 0, response)
            yield case._replace(public=encode_y(y, sign))


def small_orders() -> Iterator[Chosen]:
    """Every encoding of a point of small order as A and as R in a true equation; and points one B away from them."""
    challenge, response = secret("small challenge") | 1, secret("small response")
    for number, encoding in enumerate(small_order_encodings()):
        point = meant(encoding)
        for h in (challenge, 0, 1, 8):
            yield _chosen(f"A {number}, h = {h}", point, h, response)._replace(public=encoding)
        key = pow(challenge, -1, 8 * L) * (response * BASE - point)
        case = _chosen(f"R {number}", key, challenge, response)
        yield case._replace(signature=encoding + case.signature[32:])
        yield _chosen(f"A {number} + B", point + BASE, challenge, response)
        key = pow(challenge, -1, 8 * L) * (response * BASE - point - BASE)
        yield _chosen(f"R {number} + B", key, challenge, response)


def torsions() -> Iterator[Chosen]:
    """A with any torsion, h with any remainder modulo 8: the right R, and the right R with any other torsion added."""
    for torsion in range(8):
        for remainder in range(8):
            challenge = secret(f"challenge {torsion} {remainder}") & -8 | remainder
            key = secret("key of torsions") * BASE + TORSION[torsion]
            good = _chosen(f"torsion {torsion}, h = {remainder} modulo 8", key, challenge % L, secret("response"))
            yield good
            commitment = decode(good.signature[:32]) or NEUTRAL
            for added in sorted({1 + (torsion + remainder) % 7, 4}):
                wrong = (commitment + TORSION[added]).encode() + good.signature[32:]
                yield good._replace(name=f"{good.name}, R + {added} T", signature=wrong)


def signings() -> Iterator[ChosenSigning]:
    """Extreme secret scalars, nonces and challenges, each with the others ordinary, and some of them together."""
    wides = [0, 1, 2, 3, 8, L - 1, L, L + 1, 2**252, 2**255 - 1, 2**256 - 1, 2**256, 2**512 - 1, 2**512 // L * L]
    wides += [2**bit for bit in range(5, 252, 17)] + [L - 2**bit for bit in range(1, 252, 25)]
    wides += [
        sum(digit << place for place in range(0, 252, width)) for width in (2, 5, 13) for digit in (1, 2**width - 1)
    ]
    # Clamped they are multiples of 8 from 2 ** 254 to 2 ** 255, of which these are the nearest to multiples of L.
    scalars = [4 * L + 4, 5 * L - 1, 5 * L + 7, 6 * L + 2, 6 * L - 6, 7 * L - 3, 7 * L + 5, 0, 2**256 - 1]
    scalars += [2**bit for bit in range(3, 255, 12)] + [2**256 // 3, 2**257 // 3]
    scalar, nonce, challenge = secret("scalar"), secret("nonce"), secret("challenge")
    chosen = {(scalar, wide, challenge) for wide in wides} | {(scalar, nonce, wide) for wide in wides}
    chosen |= {(extreme, nonce, challenge) for extreme in scalars}
    chosen |= {
        (extreme, wide, other) for extreme in scalars[:8] for wide in wides[:8] for other in (0, wides[wide % 9])
    }
    for scalar, nonce, challenge in sorted(chosen):
        clamped = scalar & (1 << 254) - 8 | 1 << 254  # RFC 8032 section 5.1.5
        yield ChosenSigning(
            f"a = {clamped:#x}, r = {nonce:#x}, h = {challenge:#x}",
            _wide(scalar) + _wide(nonce) + _wide(challenge),
            (clamped * BASE).encode(),
            with_response((nonce % L * BASE).encode(), (nonce + challenge * clamped) % L),
        )


FAMILIES = {
    family.__name__.replace("_", " "): family
    for family in (
        scalars,
        digests,
        collisions,
        response_borders,
        canonical_borders,
        patterned_points,
        keys_without_part,
        small_orders,
        torsions,
    )
}


@cache
def cases(family: str) -> tuple[Chosen, ...]:
    return tuple(FAMILIES[family]())


@cache
def verdicts(family: str) -> tuple[bool, ...]:
    """In the order of `cases`."""
    return tuple(accepts(case.public, case.digest, case.signature) for case in cases(family))
