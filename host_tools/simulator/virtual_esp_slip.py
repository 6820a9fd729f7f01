"""SLIP (RFC 1055) as Espressif's loaders speak it: every packet begins and ends with C0."""

_END = b"\xc0"
_ESCAPE = 0xDB
_ESCAPED = {0xDC: 0xC0, 0xDD: 0xDB}
MAXIMUM_FRAME_BYTES = 2 * (0x4000 + 24)  # the longest block, its headers, every byte escaped


def encode(packet: bytes) -> bytes:
    return _END + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + _END


def decode(frame: bytes) -> bytes | None:
    """The packet between two ends; None if an escape is none."""
    packet = bytearray()
    at = 0
    while (found := frame.find(_ESCAPE, at)) >= 0:
        if found + 1 == len(frame) or frame[found + 1] not in _ESCAPED:
            return None
        packet += frame[at:found]
        packet.append(_ESCAPED[frame[found + 1]])
        at = found + 2
    return bytes(packet + frame[at:])


class SlipReader:
    """Packets from bytes in pieces of any length. What stands outside of frames, and what is damaged, is dropped."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_inside = False

    def feed(self, data: bytes) -> list[bytes]:
        packets = []
        *ended, rest = data.split(_END)
        for piece in ended:
            # This C0 ends a frame if there was one, and else begins one: after noise, or right after another C0.
            self._buffer += piece
            packet = decode(bytes(self._buffer)) if self._is_inside and self._buffer else None
            self._is_inside = not (self._is_inside and self._buffer)
            self._buffer.clear()
            if packet is not None:
                packets.append(packet)
        self._buffer += rest
        if not self._is_inside or len(self._buffer) > MAXIMUM_FRAME_BYTES:
            self._buffer.clear()
            self._is_inside = False
        return packets
