"""Ed25519 (RFC 8032) and SHA-256 on the host, by libsodium through PyNaCl; what `protocol` is given there.

`verify` is libsodium's own verdict, the one that the device's `crypto.ed25519` reproduces.
"""

import hashlib
from collections.abc import Sequence

import nacl.bindings
import nacl.exceptions

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


def sha256(data: bytes) -> bytes:
    """The 32-byte digest (FIPS 180-4)."""
    return hashlib.sha256(data).digest()


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is valid. Raises ValueError only for a wrong length of key or signature."""
    if len(public) != PUBLIC_KEY_BYTES:
        raise ValueError(f"public must have {PUBLIC_KEY_BYTES} bytes")
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError(f"signature must have {SIGNATURE_BYTES} bytes")
    try:
        # PyNaCl exposes only the combined form; libsodium checks it as crypto_sign_verify_detached.
        nacl.bindings.crypto_sign_open(bytes(signature) + bytes(message), bytes(public))
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def wrong_ones(checks: Sequence[tuple[bytes, bytes]]) -> list[int]:
    """Which of these are invalid, by their places: each a signature before the body that it signs, and a public key.

    It is what a process does that does nothing else, so this module needs little.
    """
    found = []
    for index, (signed, public) in enumerate(checks):
        try:
            nacl.bindings.crypto_sign_open(signed, public)
        except nacl.exceptions.BadSignatureError:
            found.append(index)
    return found


class Signer:
    """A key pair made from a 32-byte seed. Shows its public key only."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"seed must have {SEED_BYTES} bytes")
        self.public, self._secret = nacl.bindings.crypto_sign_seed_keypair(bytes(seed))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return nacl.bindings.crypto_sign(bytes(message), self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"Signer({self.public.hex()})"
