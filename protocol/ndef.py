"""The NFC Forum Type 4 Tag a device also is: its public id as an NDEF URI record, read-only.

Source: NFC Forum Type 4 Tag Technical Specification 2.0, section 5 (files, CC) and NDEF 1.0, section 3.2 (record
layout).
"""

from binascii import hexlify

from protocol import apdu
from protocol.errors import NOT_FOUND, WRONG_PARAMETERS, Refused

CC_FILE = 0xE103
NDEF_FILE = 0xE104
# Length; version 2.0; at most F6 bytes in one read, so that it fits one frame, and 1 in one write; the NDEF file's TLV:
# number, length, may be read, may never be written
_CC = b"\x00\x0f\x20\x00\xf6\x00\x01\x04\x06\xe1\x04\x00\x2e\x00\xff"
_URI_HEAD = b"\xd1\x01\x28U\x00"  # one short well-known record of type U, 40 bytes long; no abbreviation


def files(device_id: bytes) -> dict[int, bytes]:
    """Capability container and NDEF file: the length of the message, and the message `jiaozi:<id in hex>`."""
    return {CC_FILE: _CC, NDEF_FILE: b"\x00\x2c" + _URI_HEAD + b"jiaozi:" + hexlify(device_id)}


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
