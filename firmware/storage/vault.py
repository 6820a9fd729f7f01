"""The key seed at rest: sealed under a secret of this very chip and, where its owner wants that, under a PIN too.

    sealed seed   kind u8 | salt 16 | seed XOR one HMAC block | HMAC over kind, salt, public key and all before
    PIN           wrong u8 | begun u8 | at power-on u8 | salt 16 | what the right PIN gives 32

MicroPython has SHA-256 and no HMAC, so HMAC (RFC 2104) and PBKDF2 (RFC 8018, section 5.2) stand here. Flash that can be
read holds all it takes to try PINs: a PIN of few digits slows a thief with a laboratory down and does not stop him
(docs/threat-model.md).
"""

from hashlib import sha256 as _sha256

from micropython import const

from storage.errors import SettingsCorrupt

SALT_BYTES = 16
UNDER_DEVICE = b"\0"  # kind of a sealed seed: the device opens it by itself
UNDER_PIN = b"\1"
PIN_TRIES = 5
FREE_CUTS = 16  # checks that power may end without a verdict before each costs a try
PIN_BYTES = 51

_ROUNDS = const(2_000)  # of PBKDF2: about half a second on a chip
_BLOCK_BYTES = const(64)
_SEALED_BYTES = const(81)
_SEED_AT = const(17)
_TAG_AT = const(49)


def _pads(key: bytes) -> tuple[bytes, bytes]:
    """The first blocks of the inner and of the outer hash."""
    if len(key) > _BLOCK_BYTES:
        key = _sha256(key).digest()
    key = key + bytes(_BLOCK_BYTES - len(key))
    return bytes([byte ^ 0x36 for byte in key]), bytes([byte ^ 0x5C for byte in key])


def _hash(pads: tuple[bytes, bytes], message: bytes) -> bytes:
    return _sha256(pads[1] + _sha256(pads[0] + message).digest()).digest()


def hmac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256."""
    return _hash(_pads(key), message)


def pbkdf2(password: bytes, salt: bytes, rounds: int) -> bytes:
    """The first 32 bytes of PBKDF2 with HMAC-SHA-256."""
    pads = _pads(password)
    block = _hash(pads, salt + b"\0\0\0\1")
    total = int.from_bytes(block, "big")
    for _ in range(rounds - 1):
        block = _hash(pads, block)
        total ^= int.from_bytes(block, "big")
    return total.to_bytes(32, "big")


def equal(one: bytes, other: bytes) -> bool:
    """In a time that tells nothing but the length."""
    difference = len(one) ^ len(other)
    for index in range(min(len(one), len(other))):
        difference |= one[index] ^ other[index]
    return not difference


def seal(secret: bytes, stretched: bytes, salt: bytes, public: bytes, seed: bytearray) -> bytes:
    """`seed` under the device secret, and under what the PIN gives if `stretched` is not b""."""
    key = hmac(secret, b"jiaozi key" + stretched)
    head = (UNDER_PIN if stretched else UNDER_DEVICE) + salt
    pad = hmac(key, b"pad" + head)
    sealed = head + bytes([seed[index] ^ pad[index] for index in range(len(pad))])
    return sealed + hmac(key, b"tag" + public + sealed)


def unseal(secret: bytes, stretched: bytes, public: bytes, sealed: bytes) -> bytearray:
    """The seed, for the caller to wipe. Raises SettingsCorrupt if secret, PIN, key or bytes are not the right ones."""
    key = hmac(secret, b"jiaozi key" + stretched)
    tag = hmac(key, b"tag" + public + sealed[:_TAG_AT])
    if len(sealed) != _SEALED_BYTES or not equal(tag, sealed[_TAG_AT:]):
        raise SettingsCorrupt("the key does not open on this device: service needed")
    pad = hmac(key, b"pad" + sealed[:_SEED_AT])
    return bytearray([sealed[_SEED_AT + index] ^ pad[index] for index in range(len(pad))])


def wipe(buffer: bytearray) -> None:
    """Overwrite what was secret."""
    buffer[:] = bytes(len(buffer))


class PinState:
    """The stored bytes of a PIN, taken apart.

    A check first makes one more `begun` durable, then its verdict: `begun` one less again and, unless the PIN is right,
    `wrong` one more. So a check that power ended is one that has begun and left no verdict.
    """

    def __init__(self, stored: bytes):
        self.wrong = stored[0]
        self.begun = stored[1]
        self.at_power_on = bool(stored[2])
        self.salt = stored[3 : 3 + SALT_BYTES]
        self._proof = stored[3 + SALT_BYTES :]

    @property
    def tries_left(self) -> int:
        return max(0, PIN_TRIES - self.wrong - max(0, self.begun - FREE_CUTS))

    def encode(self) -> bytes:
        return bytes([self.wrong, self.begun, self.at_power_on]) + self.salt + self._proof

    def is_proof(self, secret: bytes, stretched: bytes) -> bool:
        return equal(_proof(secret, stretched), self._proof)


def new_pin(secret: bytes, stretched: bytes, salt: bytes, at_power_on: bool) -> PinState:
    return PinState(bytes([0, 0, at_power_on]) + salt + _proof(secret, stretched))


def stretch(pin: str, salt: bytes) -> bytes:
    """What stands for a PIN: dear to compute, so that trying all of them takes time."""
    return pbkdf2(pin.encode(), salt, _ROUNDS)


def _proof(secret: bytes, stretched: bytes) -> bytes:
    return hmac(secret, b"jiaozi PIN" + stretched)
