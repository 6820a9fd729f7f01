"""Signatures and verdicts that this process has made before, so that playing one scene a thousand times is quick.

Ed25519 is deterministic: a remembered answer is the answer. Import before a `Device` is made.
"""

import image

_MOST = 4_000  # then it starts over: memory is bounded

_known = {}
_verify = image.verify
_SigningKey = image.SigningKey


def forget() -> None:
    _known.clear()


def _recall(key, make, *arguments):
    if key not in _known:
        if len(_known) > _MOST:
            _known.clear()
        _known[key] = make(*arguments)
    return _known[key]


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    return _recall((bytes(public), bytes(message), bytes(signature)), _verify, public, message, signature)


class SigningKey:
    def __init__(self, seed: bytes):
        self._key = _recall(bytes(seed), _SigningKey, seed)
        self.public = self._key.public

    def sign(self, message: bytes) -> bytes:
        return _recall((self.public, bytes(message)), self._key.sign, message)


class PreparedKey:
    def __init__(self, public: bytes):
        self.public = public

    def verify(self, message: bytes, signature: bytes) -> bool:
        return verify(self.public, message, signature)


# By value: names are others in an image for a board.
_mine = ((image.SigningKey, SigningKey), (image.verify, verify), (image.crypto_ed25519.PreparedKey, PreparedKey))
for _module in (image.jiaozi, image.crypto_verifier, image):
    for _name, _value in list(_module.__dict__.items()):
        for _theirs, _ours in _mine:
            if _value is _theirs:
                setattr(_module, _name, _ours)
