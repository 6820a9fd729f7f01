"""Another valid signature of the same message by the same key: what a dishonest signer can always make."""

import hashlib

from nacl import bindings

from tests.unit.world import sha256

ORDER = 2**252 + 27742317777372353535851937790883648493


def sign_otherwise(name: str, message: bytes) -> bytes:
    """An Ed25519 signature by `tests.unit.world.signer(name)`, with a nonce that RFC 8032 would not choose."""
    seed = sha256(name.encode())
    half = bytearray(hashlib.sha512(seed).digest()[:32])
    half[0] &= 248
    half[31] = half[31] & 127 | 64
    secret = int.from_bytes(half, "little")
    public = bindings.crypto_sign_seed_keypair(seed)[0]
    nonce = int.from_bytes(hashlib.sha512(b"otherwise" + message).digest(), "little") % ORDER
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce.to_bytes(32, "little"))
    challenge = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little") % ORDER
    return point + ((nonce + challenge * secret) % ORDER).to_bytes(32, "little")
