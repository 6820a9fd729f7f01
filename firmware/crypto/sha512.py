"""SHA-512 (FIPS 180-4), which stock MicroPython lacks; SHA-256 comes from `hashlib`.

Padding and feeding; the blocks themselves are the backend's. The running time depends on the length of the data only.
"""

from micropython import const

from crypto.backend import CONSTANTS, hash_blocks

_BLOCK_BYTES = const(128)
_BUFFER_BYTES = const(384)  # 64 from Ed25519, 300 of a message, the padding: three blocks
_PADDING_BYTES = const(17)  # FIPS 180-4 section 5.1.2: a one bit, and the length in bits as 128 bits
_STATE_AT = const(640)  # in CONSTANTS, after the round constants: eight 64-bit words, little-endian

_zeros = bytes(_BUFFER_BYTES)
_zero_state = bytes(64)


class Sha512:
    """A hash and its memory of 1.4 KB, used for one digest after the other. What was hashed does not stay in it.

    `work` is 640 octets for whoever needs such between two digests.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER_BYTES)
        self._later: bytearray | None = None  # the constants to go on with, after the first full buffer
        self.work = bytearray(_STATE_AT)

    def digest_into(self, out: bytearray, *parts: bytes | bytearray | memoryview) -> None:
        """`out[0:64]` = the digest of all `parts`, one after the other. Takes no memory that grows with them."""
        buffer = self._buffer
        buffer[:] = _zeros
        self._later = None
        filled = total = 0
        try:
            for part in parts:
                end = filled + len(part)
                total += len(part)
                if end < _BUFFER_BYTES:
                    buffer[filled:end] = part
                    filled = end
                else:
                    filled = self._feed(out, filled, memoryview(part))
            buffer[filled] = 0x80
            if filled > _BUFFER_BYTES - _PADDING_BYTES:
                self._full(out)
                filled = 0
            end = (filled + _PADDING_BYTES + _BLOCK_BYTES - 1) // _BLOCK_BYTES * _BLOCK_BYTES
            blocks = end // _BLOCK_BYTES
            total *= 8
            while total:
                end -= 1
                buffer[end] = total & 0xFF
                total >>= 8
            hash_blocks(out, buffer, blocks, self._later or CONSTANTS, self.work)
        finally:  # without asking for memory: there may be none
            buffer[:] = _zeros
            if self._later:
                self._later[_STATE_AT:] = _zero_state  # the state before the last one is as secret as that
                self._later = None

    def _feed(self, out: bytearray, filled: int, part: memoryview) -> int:
        """Hashes the buffer every time that `part` fills it. Returns how much of it is filled in the end."""
        start = 0
        while len(part) - start >= _BUFFER_BYTES - filled:
            end = start + _BUFFER_BYTES - filled
            self._buffer[filled:] = part[start:end]
            self._full(out)
            start = end
            filled = 0
        filled = len(part) - start
        self._buffer[:filled] = part[start:]
        return filled

    def _full(self, out: bytearray) -> None:
        """Hashes the full buffer and clears it. The state reached is the initial one of what comes later."""
        hash_blocks(out, self._buffer, _BUFFER_BYTES // _BLOCK_BYTES, self._later or CONSTANTS, self.work)
        self._buffer[:] = _zeros
        if not self._later:
            self._later = bytearray(CONSTANTS)
        for i in range(64):  # octet by octet: no integer holds more
            self._later[_STATE_AT + i] = out[i ^ 7]


def sha512(data: bytes | bytearray | memoryview) -> bytes:
    """The 64-byte digest of `data`."""
    out = bytearray(64)
    Sha512().digest_into(out, data)
    return bytes(out)
