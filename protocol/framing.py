"""Frames on a serial link: how APDUs keep their borders, survive noise, and are executed once only.

Owns the byte format; knows no port, no clock, and nothing of what an APDU says. One frame is

    00 || COBS( sequence u8 || payload || CRC-32 of both, u32 big-endian ) || 00

COBS is Consistent Overhead Byte Stuffing (Cheshire and Baker, IEEE/ACM Transactions on Networking 7(2), 1999): no
zero inside a frame, so after any garbage the next 00 is a border again; the leading one ends what a cut frame left
behind, so that one loss costs one frame only (00 alone is line idle). The CRC is that of zlib and ISO 3309. A damaged
frame is dropped and counted, never answered: the sender repeats it with the same sequence number, and the device
answers a repetition from `AnswerOnce`.

A host starts a session with `HELLO`: sequence 0, empty payload. Its answer shows that a device listens, and it
replaces the one remembered answer, so that no command of this session can meet an answer of the last. Commands are
numbered 1..255, then 1 again.
"""

from binascii import crc32

from protocol.errors import DecodeError, LocalError

# A short command APDU is at most 4 header + 1 Lc + 255 data + 1 Le bytes (ISO/IEC 7816-4, 5.1), a response 256 data +
# 2 status bytes.
MAXIMUM_PAYLOAD_BYTES = 261
HELLO = 0  # the sequence number no command uses

_DELIMITER = b"\x00"
_OVERHEAD_BYTES = 5  # sequence and CRC
_LONGEST_BLOCK = 254  # data bytes that one COBS code can cover


def cobs_encode(data: bytes) -> bytes:
    """`data` without any zero byte; at most one byte longer per started 254 bytes."""
    encoded = bytearray()
    start = 0
    while start <= len(data):
        end = data.find(_DELIMITER, start)
        if end < 0:
            end = len(data)
        # A full block stands for no zero behind it; one that ends the data exactly needs no empty block to say so.
        longest = _LONGEST_BLOCK + (end == len(data))
        while end - start >= longest:
            encoded.append(_LONGEST_BLOCK + 1)
            encoded.extend(data[start : start + _LONGEST_BLOCK])
            start += _LONGEST_BLOCK
        encoded.append(end - start + 1)
        encoded.extend(data[start:end])
        start = end + 1
    return bytes(encoded)


def cobs_decode(encoded: bytes) -> bytes:
    """The data that `cobs_encode` was given. Raises `DecodeError` when `encoded` holds a zero byte or ends inside a
    block.
    """
    data = bytearray()
    start = 0
    while start < len(encoded):
        code = encoded[start]
        end = start + code
        block = encoded[start + 1 : end]
        if code == 0 or end > len(encoded) or _DELIMITER in block:
            raise DecodeError("frame", "value")
        data.extend(block)
        start = end
        if code <= _LONGEST_BLOCK and start < len(encoded):
            data.append(0)
    return bytes(data)


def encode_frame(sequence: int, payload: bytes, maximum_payload_bytes: int = MAXIMUM_PAYLOAD_BYTES) -> bytes:
    """One whole frame, both its 00 included. Raises `LocalError` for what no receiver would take."""
    if not 0 <= sequence <= 255 or len(payload) > maximum_payload_bytes:
        raise LocalError("a frame holds a sequence of 0..255 and at most %d bytes" % maximum_payload_bytes)
    body = bytes((sequence,)) + payload
    return _DELIMITER + cobs_encode(body + crc32(body).to_bytes(4, "big")) + _DELIMITER


def next_sequence(sequence: int) -> int:
    """The number of the command after the one numbered `sequence`; never `HELLO`."""
    return sequence % 255 + 1


class FrameDecoder:
    """Cuts a byte stream into frames. Holds at most one frame; a longer one is dropped as it arrives."""

    def __init__(self, maximum_payload_bytes: int = MAXIMUM_PAYLOAD_BYTES):
        body = maximum_payload_bytes + _OVERHEAD_BYTES
        self._longest = body + body // _LONGEST_BLOCK + 1
        self._pending = bytearray()
        self._oversize = False
        self.dropped_frames = 0  # damaged or oversize so far; garbage between two 00 counts as one

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The `(sequence, payload)` of every good frame that `data` completes, in order. Never raises for what the
        line brought.
        """
        frames = []
        start = 0
        while True:
            end = data.find(_DELIMITER, start)
            self._keep(data[start : len(data) if end < 0 else end])
            if end < 0:
                return frames
            if self._oversize:
                self.dropped_frames += 1
            elif self._pending:  # two 00 in a row are only line idle
                self._finish(frames)
            self._pending = bytearray()
            self._oversize = False
            start = end + 1

    def _keep(self, piece: bytes) -> None:
        if self._oversize or len(self._pending) + len(piece) > self._longest:
            self._oversize = True
            self._pending = bytearray()
        else:
            self._pending.extend(piece)

    def _finish(self, frames: list[tuple[int, bytes]]) -> None:
        try:
            body = cobs_decode(bytes(self._pending))
        except DecodeError:
            body = b""
        if len(body) < _OVERHEAD_BYTES or crc32(body[:-4]) != int.from_bytes(body[-4:], "big"):
            self.dropped_frames += 1
        else:
            frames.append((body[0], body[1:-4]))


class AnswerOnce:
    """The device's end: remembers its last answer, so that a command that is repeated because an answer got lost
    runs once.
    """

    def __init__(self):
        self._sequence = -1
        self._answer = b""

    def answer(self, sequence: int, command: bytes, process) -> bytes:
        """The frame to send back. `process(command) -> response` runs unless `sequence` is the one answered last."""
        if sequence != self._sequence:
            # An answer is remembered only when there is one: if process raises, the repetition runs it again.
            response = process(command)
            self._sequence = sequence
            self._answer = encode_frame(sequence, response)
        return self._answer
