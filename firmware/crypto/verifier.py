"""The device's judge of signatures: Ed25519 with a memory for what a tap asks again and again.

Every tap checks a certificate under one of a few operators' keys, and mostly one that was seen before. Verdicts are
those of `ed25519.verify` in every case; only what was found good is remembered.
"""

from hashlib import sha256

from micropython import const

from crypto.ed25519 import KEY_BYTES, SIGNATURE_BYTES, PreparedKey, verify

_KEYS = const(2)  # the own operator's and one more; about 3 KB each
_GOOD = const(8)  # certificates of those one meets often


class Verifier:
    """Holds up to two prepared keys and the fingerprints of eight certificates; the least recently used go."""

    def __init__(self) -> None:
        self._keys: list[PreparedKey] = []
        self._good: list[bytes] = []

    def verify_operator(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """For the few keys that sign what every tap shows. A key's first use costs a second verification.

        Raises ValueError as `ed25519.verify` does.
        """
        if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
            return verify(public, message, signature)  # which says what is wrong
        hashed = sha256(public)  # lengths are fixed, so the three cannot be cut differently
        hashed.update(signature)
        hashed.update(message)
        fingerprint = hashed.digest()
        if fingerprint in self._good:
            self._good.remove(fingerprint)
        elif not self._verify_prepared(public, message, signature):
            return False
        self._good.append(fingerprint)
        if len(self._good) > _GOOD:
            self._good.pop(0)
        return True

    def _verify_prepared(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """A key takes the place of another only when something good was signed with it."""
        found = [key for key in self._keys if key.public == public]
        key = found[0] if found else PreparedKey(public)
        if not key.verify(message, signature):
            return False
        if found:
            self._keys.remove(key)
        elif len(self._keys) == _KEYS:
            self._keys.pop(0)
        self._keys.append(key)
        return True
