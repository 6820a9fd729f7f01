"""Ed25519 (RFC 8032) with the acceptance rule of libsodium's `crypto_sign_verify_detached`.

A signature that a device accepts and the ledger refuses would cost an honest merchant money, so `verify` decides as
libsodium does: S below L, public key canonical, neither key nor R of small order, the equation without cofactor, R
compared as bytes. (That also leaves no room for another encoding of R, nor for the sign bit on x = 0, whose two
points are of small order.) No two signatures are ever checked as one: with points that carry torsion that decides
otherwise than one at a time.

On chips with native code nothing here depends on a secret in its time, its branches or its addresses, and secrets are
overwritten after use. Plain integers (`backend`) give neither.
"""

from micropython import const

from crypto.backend import multiply_add, reduce
from crypto.curve import curve as _curve
from crypto.sha512 import Sha512

KEY_BYTES = const(32)
SIGNATURE_BYTES = const(64)

_L = 2**252 + 27742317777372353535851937790883648493  # RFC 8032 section 5.1: the group's order
_P = 2**255 - 19
# y of the eight points of order 1, 2, 4 and 8: 1, -1, 0, and the roots of d y ** 4 + 2 y ** 2 - 1 = 0, which are those
# whose double has y = 0.
_SMALL_ORDER_Y = (
    0,
    1,
    _P - 1,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
)

# One for all keys, like the curve: nothing that uses them ever waits, so it is one use at a time.
_hash = Sha512()
_wide = bytearray(64)
_clean = bytes(64)
_clean_half = bytes(32)


def _check(name: str, value: bytes | bytearray, length: int) -> None:
    if len(value) != length:
        raise ValueError("%s must have %d bytes" % (name, length))


def _hash_to_scalar(*parts: bytes | bytearray | memoryview) -> bytearray:
    """The digest of all parts modulo L, 32 octets. Constant time."""
    scalar = bytearray(32)
    try:
        _hash.digest_into(_wide, *parts)
        reduce(scalar, _wide, _hash.work)
    finally:
        _wide[:] = _clean
    return scalar


class SigningKey:
    """A key pair from a 32-byte seed, with what every signature needs computed once. As secret as the seed."""

    def __init__(self, seed: bytes | bytearray) -> None:
        _check("seed", seed, KEY_BYTES)
        self._scalar = bytearray(32)
        try:
            _hash.digest_into(_wide, seed)
            # RFC 8032 section 5.1.5: the lowest three bits and the highest clear, the second highest set
            _wide[0] &= 0xF8
            _wide[31] = _wide[31] & 0x7F | 0x40
            self._prefix = _wide[32:]
            _wide[32:] = _clean_half
            reduce(self._scalar, _wide, _hash.work)
            self.public = bytes(_curve.multiply_base(self._scalar))
        finally:
            _wide[:] = _clean
            _curve.wipe()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message` (RFC 8032 section 5.1.6), the same every time.

        `message` is read twice and must not change in between.
        """
        nonce = _hash_to_scalar(self._prefix, message)
        try:
            commitment = _curve.multiply_base(nonce)
            response = _hash_to_scalar(commitment, self.public, message)  # so far it is the challenge
            multiply_add(response, response, self._scalar, nonce, _hash.work)
        finally:
            nonce[:] = _clean_half
            _curve.wipe()
        return bytes(commitment + response)


class PreparedKey:
    """A public key with precomputed multiples, for a key that signs often. Making one costs about one verification."""

    def __init__(self, public: bytes) -> None:
        _check("public", public, KEY_BYTES)
        self.public = bytes(public)
        self._table = _curve.prepare() if _load_key(self.public) else None

    def verify(self, message: bytes | bytearray | memoryview, signature: bytes) -> bool:
        """What `verify` would say, in half the time."""
        _check("signature", signature, SIGNATURE_BYTES)
        commitment = bytes(signature[:32])
        response = bytes(signature[32:])
        if self._table is None or not _may_be_right(commitment, response):
            return False
        challenge = _hash_to_scalar(commitment, self.public, message)
        return _curve.encode_sum_prepared(self._table, challenge, response) == commitment


def public_key(seed: bytes) -> bytes:
    """The 32-byte public key of a 32-byte seed."""
    return SigningKey(seed).public


def sign(seed: bytes, message: bytes) -> bytes:
    """One signature; whoever signs more often keeps a SigningKey."""
    return SigningKey(seed).sign(message)


def verify(public: bytes, message: bytes | bytearray | memoryview, signature: bytes) -> bool:
    """Whether libsodium would accept `signature`. Raises ValueError only for a wrong length of key or signature."""
    _check("public", public, KEY_BYTES)
    _check("signature", signature, SIGNATURE_BYTES)
    public = bytes(public)
    commitment = bytes(signature[:32])
    response = bytes(signature[32:])
    if not (_may_be_right(commitment, response) and _load_key(public)):
        return False
    challenge = _hash_to_scalar(commitment, public, message)
    return _curve.encode_sum(challenge, response) == commitment


def _may_be_right(commitment: bytes, response: bytes) -> bool:
    """S below L, R not of small order. That R is canonical follows from comparing it with an encoding."""
    return int.from_bytes(response, "little") < _L and _y(commitment) not in _SMALL_ORDER_Y


def _load_key(public: bytes) -> bool:
    """Makes minus the key's point the curve's current one; False for a key that libsodium refuses."""
    y = _y(public)
    return y < _P and y not in _SMALL_ORDER_Y and _curve.load_negated(public)


def _y(encoded: bytes) -> int:
    return int.from_bytes(encoded, "little") & (1 << 255) - 1
