"""SHA-512 (FIPS 180-4), which stock MicroPython lacks; SHA-256 comes from `hashlib`.

Padding and feeding; the blocks themselves are the backend's. The running time depends on the length of the data only.
"""

from micropython import const

from crypto.backend import CONSTANTS, hash_blocks

_BLOCK_BYTES = const(128)
_BUFFER_BYTES = const(384)  # 64 from Ed25519, 300 of a message, the padding: three blocks
_PADDING_BYTES = const(17)  # FIPS 180-4 section 5.1.2: a one bit, and the length in bits as 128 bits
_STATE_AT = const(640)  # in CONSTANTS, after the round constants: eight 64-bit words, little-endian


class Sha512:
    """A hash and its memory of 1 KB, used for one digest after the other. What was hashed does not stay in it.

    `work` is 640 octets of zeros between two digests, for whoever needs such and leaves them so.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER_BYTES)
        self.work = bytearray(_STATE_AT)

    def digest_into(self, out: bytearray, *parts: bytes | bytearray | memoryview) -> None:
        """`out[0:64]` = the digest of all `parts`, one after the other. Takes no memory that grows with them."""
        try:
            self._digest(out, parts)
        finally:
            self._buffer[:] = memoryview(self.work)[:_BUFFER_BYTES]

    def _digest(self, out: bytearray, parts: tuple) -> None:
        buffer = self._buffer
        constants: bytes | bytearray = CONSTANTS
        filled = total = 0
        for part in parts:
            length = len(part)
            total += length
            start = 0
            while length - start >= _BUFFER_BYTES - filled:
                end = start + _BUFFER_BYTES - filled
                buffer[filled:] = memoryview(part)[start:end]
                constants = self._full(out, constants)
                start = end
                filled = 0
            if start:
                part = memoryview(part)[start:]
                length -= start
            buffer[filled : filled + length] = part
            filled += length
        buffer[filled:] = memoryview(self.work)[filled:_BUFFER_BYTES]
        buffer[filled] = 0x80
        if filled > _BUFFER_BYTES - _PADDING_BYTES:
            constants = self._full(out, constants)
            buffer[:] = memoryview(self.work)[:_BUFFER_BYTES]
            filled = 0
        blocks = (filled + _PADDING_BYTES + _BLOCK_BYTES - 1) // _BLOCK_BYTES
        end = blocks * _BLOCK_BYTES
        buffer[end - 8 : end] = (8 * total).to_bytes(8, "big")
        hash_blocks(out, buffer, blocks, constants, self.work)
        if isinstance(constants, bytearray):
            constants[_STATE_AT:] = memoryview(self.work)[:64]  # a state before the last one is as secret as it

    def _full(self, out: bytearray, constants: bytes | bytearray) -> bytearray:
        """Hashes the full buffer; the constants to go on with, the state reached in place of the initial one."""
        hash_blocks(out, self._buffer, _BUFFER_BYTES // _BLOCK_BYTES, constants, self.work)
        if not isinstance(constants, bytearray):
            constants = bytearray(CONSTANTS)
        for i in range(64):  # octet by octet: no integer holds more
            constants[_STATE_AT + i] = out[i ^ 7]
        return constants


def sha512(data: bytes | bytearray | memoryview) -> bytes:
    """The 64-byte digest of `data`."""
    out = bytearray(64)
    Sha512().digest_into(out, data)
    return bytes(out)
