"""The PN532's host link, seen from the chip: frames in and out of a byte stream (UM0701-02, 6.2.1). Sans-IO."""

ACK = bytes.fromhex("0000ff00ff00")
NACK = bytes.fromhex("0000ffff0000")
SYNTAX_ERROR = bytes.fromhex("0000ff01ff7f8100")  # 6.2.1.4

TFI_FROM_HOST = 0xD4
TFI_TO_HOST = 0xD5
MAX_PAYLOAD = 265  # TFI, command, 263 bytes of data (6.2.1.2)


def information_frame(payload: bytes) -> bytes:
    """A normal frame, or an extended one where the length needs it, around TFI and data."""
    length = len(payload)
    if length <= 255:
        head = bytes((length, -length & 0xFF))
    else:
        head = b"\xff\xff" + length.to_bytes(2, "big") + bytes((-sum(length.to_bytes(2, "big")) & 0xFF,))
    return b"\x00\x00\xff" + head + payload + bytes((-sum(payload) & 0xFF, 0))


class FrameReader:
    """Cuts host frames out of the stream. Frames with a wrong checksum are skipped without a word, as the chip does."""

    def __init__(self) -> None:
        self._input = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return what became complete: ACK, NACK, or the payloads (TFI and data) of information frames."""
        self._input += data
        found = []
        while (item := self._next()) is not None:
            if item:
                found.append(item)
        return found

    def _next(self) -> bytes | None:
        """The next item, b"" for something skipped, None if more bytes are needed."""
        data = self._input
        start = data.find(b"\x00\xff")
        if start < 0:
            del data[: len(data) - data.endswith(b"\x00")]
            return None
        del data[:start]
        if len(data) < 4:
            return None
        marker = bytes(data[2:4])
        if marker == b"\x00\xff":
            del data[:4]
            return ACK
        if marker == b"\xff\x00":
            del data[:4]
            return NACK
        return self._information(7 if marker == b"\xff\xff" else 4)

    def _information(self, head: int) -> bytes | None:
        data = self._input
        if len(data) < head:
            return None
        if head == 7:
            length = int.from_bytes(data[4:6], "big")
            intact = sum(data[4:7]) & 0xFF == 0
        else:
            length = data[2]
            intact = (length + data[3]) & 0xFF == 0
        if not intact or not 1 <= length <= MAX_PAYLOAD:
            del data[:2]
            return b""
        if len(data) < head + length + 1:
            return None
        payload = bytes(data[head : head + length])
        intact = (sum(payload) + data[head + length]) & 0xFF == 0
        del data[: head + length + 1]
        return payload if intact else b""
