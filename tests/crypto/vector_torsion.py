"""Keys and R with torsion, of small order, or chosen as small multiples: where the verdicts of libraries part."""

from collections.abc import Callable, Iterator
from itertools import islice

from tests.crypto.vector_curve import BASE, NEUTRAL, TORSION, L, P, encode_y, small_order_encodings
from tests.crypto.vector_forger import Case, Forger, challenge, first, flip, meant, messages, secret, with_response


def small_multiples() -> Iterator[Case]:
    """A and R that are small multiples of the base point or of each other: sums then meet the points of tables."""
    multiples = [*range(1, 18), 31, 32, 33, 63, 64, 65, 127, 128, 129, (L + 1) // 2, (L - 1) // 2]
    multiples += [1 << shift for shift in (13, 26, 39, 52, 65, 130, 195, 251, 252)]
    for multiple in multiples:
        for sign, key in (("", multiple), ("-", L - multiple)):
            nonces = {"1": 1, "a": key, "-a": L - key, "2 a": 2 * key % L, "-1": L - 1, "any": secret("nonce")}
            for name, nonce in nonces.items():
                yield Forger(key, nonce).case(f"a = {sign}{multiple}, r = {name}", b"multiples")
            case = Forger(key, 1).case(f"a = {sign}{multiple}, one bit of S", b"multiples")
            yield case._replace(signature=flip(case.signature, 256))


def torsion() -> Iterator[Case]:
    """Every mixture of torsion in A and R, with messages for both sides; with cofactor all of them would hold."""
    for a in range(8):
        for r in range(8):
            forger = Forger(secret("torsion key"), secret("torsion nonce"), a, r)
            for holds in (True, False):
                candidates = list(islice(messages("torsion"), 24))
                found = [m for m in candidates if ((r + forger.challenge(m) % L * a) % 8 == 0) == holds]
                for number, message in enumerate(found[:2]):
                    name = f"torsion of A {a}, of R {r}, {'holds' if holds else 'off'} {number}"
                    yield forger.case(name, message)


# The remainder modulo 8 of what multiplies A. libsodium reduces h modulo L; with torsion in A the others differ.
REMAINDERS: dict[str, Callable[[int], int]] = {
    "h mod L": lambda h: h % L % 8,
    "h": lambda h: h % 8,
    "h - L, as (L - h) (-A)": lambda h: (h % L - L) % 8,
    "h made odd by adding L": lambda h: (h % L if h % L & 1 else h % L + L) % 8,
    "h made even by adding L": lambda h: (h % L + L if h % L & 1 else h % L) % 8,
}


def reductions() -> Iterator[Case]:
    """Torsion that the true h removes, and torsion that only another number congruent to it modulo L would remove."""
    for a in range(1, 8):
        for r in range(8):
            forger = Forger(secret("reduction key"), secret("reduction nonce"), a, r)
            seen = set()
            for message in islice(messages("reductions"), 64):
                h = forger.challenge(message)
                removing = tuple(name for name, modulo_8 in REMAINDERS.items() if (r + modulo_8(h) * a) % 8 == 0)
                if removing and removing not in seen:
                    seen.add(removing)
                    yield forger.case(f"torsion of A {a}, of R {r}, removed by {', '.join(removing)}", message)


def small_key(name: str, encoding: bytes, hashed: bytes) -> Case:
    """A of small order, R mixed: S B = R + h A, as R = S B - h A for a message whose h fits the R that it hashes."""
    commitments = [(7 * BASE - n * meant(encoding)).encode() for n in range(8)]
    message, n = first(
        ((message, n) for message in messages("small A") for n in range(8)),
        lambda choice: challenge(commitments[choice[1]], hashed, choice[0]) % L % 8 == choice[1],
    )
    return Case(name, encoding, message, with_response(commitments[n], 7))


def small_commitment(name: str, encoding: bytes, hashed: bytes) -> Case:
    """R of small order, A = 9 B + T: S = 9 h for a message whose h T takes R away."""
    public = (9 * BASE + TORSION[1]).encode()
    message = first(
        messages("small R"),
        lambda message: meant(encoding) + challenge(hashed, public, message) % L * TORSION[1] == NEUTRAL,
    )
    return Case(name, public, message, with_response(encoding, 9 * challenge(hashed, public, message) % L))


def small_order() -> Iterator[Case]:
    """A or R of small order in any encoding, the equation holding: only the bans on these points refuse them."""
    for number, encoding in enumerate(small_order_encodings()):
        reduced = meant(encoding).encode()
        yield small_key(f"A {number} of small order", encoding, encoding)
        yield small_commitment(f"R {number} of small order", encoding, encoding)
        if encoding != reduced:
            yield small_key(f"A {number} of small order, reduced before it is hashed", encoding, reduced)
            yield small_commitment(f"R {number} of small order, reduced before it is hashed", encoding, reduced)
    for number in range(8):
        yield Forger(1, 1, number, 0).case(f"A is B and torsion {number}", b"near")
        yield Forger(1, 1, 0, number).case(f"R is B and torsion {number}", b"near")
    # R neutral needs no torsion in A.
    public = (9 * BASE).encode()
    for encoding in (encode_y(y, sign) for y in (1, P + 1) for sign in (0, 1)):
        response = 9 * challenge(encoding, public, b"neutral") % L
        yield Case(f"R neutral {encoding.hex()}", public, b"neutral", with_response(encoding, response))


def small_order_pairs() -> Iterator[Case]:
    """A and R both any of the 14 encodings, S = 0: with cofactor all hold (what Zcash tests its ZIP 215 with)."""
    for a, public in enumerate(small_order_encodings()):
        for r, commitment in enumerate(small_order_encodings()):
            yield Case(f"small orders {a} and {r}", public, b"Zcash", with_response(commitment, 0))


def taming() -> Iterator[Case]:
    """The twelve conditions of Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020), each made anew.

    The paper finds that libsodium accepts number 3 alone.
    """
    key, nonce = secret("taming key"), secret("taming nonce")

    def forged(name: str, key_torsion: int, nonce_torsion: int, holds: bool) -> Case:
        forger = Forger(key, nonce, key_torsion, nonce_torsion)
        message = first(
            messages(name),
            lambda message: ((nonce_torsion + forger.challenge(message) % L * key_torsion) % 8 == 0) == holds,
        )
        return forger.case(name, message)

    small = TORSION[1].encode()
    unreduced = encode_y(P + 1, 0)
    neutral = NEUTRAL.encode()
    commitments = [point.encode() for point in TORSION]
    message, n = first(
        ((message, n) for message in messages("0") for n in range(8)),
        lambda choice: (choice[1] + challenge(commitments[choice[1]], small, choice[0]) % L) % 8 == 0,
    )
    yield Case("0: S = 0, A and R small", small, message, with_response(commitments[n], 0))
    yield small_key("1: A small, R mixed", small, small)
    yield small_commitment("2: A mixed, R small", small, small)
    yield forged("3: A and R mixed, holds without cofactor", 1, 3, holds=True)
    yield forged("4: A and R mixed, holds with cofactor", 1, 3, holds=False)
    yield forged("5: A mixed, holds with cofactor", 1, 0, holds=False)
    good = forged("", 0, 0, holds=True)
    commitment, response = good.signature[:32], int.from_bytes(good.signature[32:], "little")
    yield good._replace(name="6: S + L", signature=with_response(commitment, response + L))
    yield good._replace(name="7: S + 14 L", signature=with_response(commitment, response + 14 * L))
    yield small_commitment("8: R small and not reduced", unreduced, unreduced)
    yield small_commitment("9: R small and not reduced, hashed reduced", unreduced, neutral)
    yield small_key("10: A small and not reduced", unreduced, unreduced)
    yield small_key("11: A small and not reduced, hashed reduced", unreduced, neutral)
