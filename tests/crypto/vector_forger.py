"""Cases for `verify`, libsodium's verdict on them, and what they are made with: honest keys, and a forger's."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import nacl.bindings
import nacl.exceptions

from tests.crypto.vector_curve import BASE, TORSION, L, P, Point, point_at

Item = TypeVar("Item")


class Case(NamedTuple):
    name: str
    public: bytes
    message: bytes
    signature: bytes


def libsodium_accepts(case: Case) -> bool:
    try:
        nacl.bindings.crypto_sign_open(case.signature + case.message, case.public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def filler(label: str, length: int) -> bytes:
    """`length` bytes that look random and are the same every time."""
    return hashlib.shake_256(label.encode()).digest(length)


def secret(label: str) -> int:
    """A scalar below L that looks random and is the same every time, never 0."""
    return int.from_bytes(filler(label, 64), "little") % (L - 1) + 1


def honest(seed: bytes, message: bytes) -> tuple[bytes, bytes]:
    """(public key, signature) by libsodium."""
    public, secret_key = nacl.bindings.crypto_sign_seed_keypair(seed)
    return public, nacl.bindings.crypto_sign(message, secret_key)[:64]


def challenge(commitment: bytes, public: bytes, message: bytes) -> int:
    """The whole number of 512 bits, not yet modulo L."""
    return int.from_bytes(hashlib.sha512(commitment + public + message).digest(), "little")


def with_response(commitment: bytes, response: int) -> bytes:
    return commitment + response.to_bytes(32, "little")


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def messages(label: str) -> Iterator[bytes]:
    """Without end, all of them different."""
    count = 0
    while True:
        yield label.encode() + count.to_bytes(4, "little")
        count += 1


def first(candidates: Iterable[Item], wanted: Callable[[Item], bool]) -> Item:
    return next(candidate for candidate in candidates if wanted(candidate))


class Forger:
    """Whoever knows a and r of A = a B + torsion and R = r B + torsion, and answers S = r + h a.

    The equation with cofactor always holds then; whether it holds without depends on the torsion and on h.
    """

    def __init__(self, key: int, nonce: int, key_torsion: int = 0, nonce_torsion: int = 0) -> None:
        self._key, self._nonce = key, nonce
        self.public = (key * BASE + TORSION[key_torsion]).encode()
        self.commitment = (nonce * BASE + TORSION[nonce_torsion]).encode()

    def challenge(self, message: bytes) -> int:
        return challenge(self.commitment, self.public, message)

    def case(self, name: str, message: bytes) -> Case:
        response = (self._nonce + self.challenge(message) * self._key) % L
        return Case(name, self.public, message, with_response(self.commitment, response))


def meant(encoding: bytes) -> Point:
    """The point of small order that a decoder without any check reads."""
    number = int.from_bytes(encoding, "little")
    y = number & ((1 << 255) - 1)
    point = point_at(y % P, number >> 255) or point_at(y % P, 0)
    assert point is not None and point.is_small
    return point
