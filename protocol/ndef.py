"""The NFC Forum Type 4 Tag a device also is: its public id as an NDEF URI record, read-only.

Source: NFC Forum Type 4 Tag Technical Specification 2.0, section 5 (files, CC) and NDEF 1.0, section 3.2 (record
layout).
"""

from binascii import hexlify

from protocol import apdu
from protocol.errors import NOT_FOUND, WRONG_PARAMETERS, Refused

CC_FILE = 0xE103
NDEF_FILE = 0xE104
MAX_READ = 0xF6  # MLe of the CC: one read fits one frame of 256 bytes
URI_PREFIX = b"\x00"  # no abbreviation
NEVER = 0xFF  # write access


def ndef_message(device_id: bytes) -> bytes:
    """One short well-known record of type U: `jiaozi:<id in hex>`."""
    payload = URI_PREFIX + b"jiaozi:" + hexlify(device_id)
    return bytes((0xD1, 0x01, len(payload))) + b"U" + payload


def files(device_id: bytes) -> dict[int, bytes]:
    """Capability container and NDEF file."""
    message = ndef_message(device_id)
    ndef_file = len(message).to_bytes(2, "big") + message
    control = b"\x04\x06" + NDEF_FILE.to_bytes(2, "big") + len(ndef_file).to_bytes(2, "big") + bytes((0x00, NEVER))
    head = b"\x20" + MAX_READ.to_bytes(2, "big") + b"\x00\x01"
    cc = (2 + len(head) + len(control)).to_bytes(2, "big") + head + control
    return {CC_FILE: cc, NDEF_FILE: ndef_file}


class Tag:
    """The tag application of a card: which file is selected. `process` takes SELECT (by file) and READ BINARY."""

    def __init__(self, device_id: bytes):
        self._files = files(device_id)
        self._selected = b""

    def process(self, command: apdu.Command) -> bytes:
        if command.ins == apdu.SELECT:
            if command.p1 != 0x00 or command.p2 != 0x0C or len(command.data) != 2:
                raise Refused(WRONG_PARAMETERS)
            number = int.from_bytes(command.data, "big")
            if number not in self._files:
                raise Refused(NOT_FOUND)
            self._selected = self._files[number]
            return b""
        offset = command.p1 << 8 | command.p2
        if not self._selected:
            raise Refused(NOT_FOUND)
        if offset >= len(self._selected):
            raise Refused(WRONG_PARAMETERS)
        return self._selected[offset : offset + (command.le or 256)]
