"""Fixed binary layouts: how every object and journal body is written, and the only way it is read.

Owns the codec, knows no meaning. All integers are unsigned and big-endian. The first byte is the type, the second the
version, so nothing signed as one kind can be read as another. There is one valid encoding of each value: decoding
checks type, version, exact length and the values a class allows, and encoding a decoded object gives the same bytes.
"""

from protocol.errors import DecodeError, LocalError

VERSION = 1
SIGNATURE_BYTES = 64


class Layout:
    """A fixed layout.

    `FIELDS` is `((name, size), ...)`: size > 0 is an unsigned integer of so many bytes, size < 0 that many raw bytes.
    """

    TYPE = 0
    FIELDS: tuple = ()

    def __init__(self, **values):
        for name, size in self.FIELDS:
            value = values.pop(name)
            if size < 0:
                good = len(value) == -size
            else:
                good = 0 <= value < 1 << 8 * size
            if not good:
                self._refuse(name)
            setattr(self, name, value)
        reason = list(values)[0] if values else self.fault()
        if reason:
            self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        raise LocalError("%s: %s" % (type(self).__name__, reason))

    def fault(self) -> str | None:
        """Why the values cannot stand together, or None. Classes with enumerations or orderings override it."""
        return None

    def body(self) -> bytes:
        """The bytes that are hashed and signed."""
        parts = [bytes((self.TYPE, VERSION))]
        for name, size in self.FIELDS:
            value = getattr(self, name)
            parts.append(bytes(value) if size < 0 else value.to_bytes(size, "big"))
        return b"".join(parts)

    @classmethod
    def body_size(cls) -> int:
        return 2 + sum([abs(size) for _, size in cls.FIELDS])

    @classmethod
    def _check_head(cls, data: bytes | bytearray | memoryview, length: int) -> None:
        if not len(data):
            reason = "empty"
        elif data[0] != cls.TYPE:
            reason = "type"
        elif len(data) > 1 and data[1] != VERSION:
            reason = "version"
        elif len(data) < length:
            reason = "length"
        elif len(data) > length:
            reason = "trailing"
        else:
            return
        raise DecodeError(cls.__name__, reason)

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview):
        """Read exactly one object. Raises `DecodeError`."""
        cls._check_head(data, cls.body_size())
        return cls._decode_fields(data)

    @classmethod
    def _decode_fields(cls, data: bytes | bytearray | memoryview):
        at = 2
        values = {}
        for name, size in cls.FIELDS:
            chunk = bytes(data[at : at + abs(size)])
            values[name] = chunk if size < 0 else int.from_bytes(chunk, "big")
            at += len(chunk)
        try:
            return cls(**values)
        except LocalError:
            raise DecodeError(cls.__name__, "value")


class SignedLayout(Layout):
    """A layout followed by an Ed25519 signature over its body (or over what `signed_message` says)."""

    signature = b""

    @classmethod
    def size(cls) -> int:
        return cls.body_size() + SIGNATURE_BYTES

    def encode(self) -> bytes:
        if len(self.signature) != SIGNATURE_BYTES:
            raise LocalError("%s is not signed" % type(self).__name__)
        return self.body() + self.signature

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview):
        """Read exactly one signed object; says nothing about whether the signature is right. Raises `DecodeError`."""
        cls._check_head(data, cls.size())
        this = cls._decode_fields(data)
        this.signature = bytes(data[cls.body_size() :])
        return this

    def sign(self, sign):
        """Put `sign(body)` on it and return itself."""
        self.signature = sign(self.body())
        return self

    def verified_by(self, public: bytes, verify) -> bool:
        return verify(public, self.body(), self.signature)
