"""Commands and responses: ISO/IEC 7816-4 short APDUs and our own command set (docs/protocol.md, "Commands").

Short form only: Lc at most 255, Le at most 256. Longer data is chained: commands by CLA bit 5, responses by 61xx and
GET RESPONSE.
"""

from protocol.errors import (
    MALFORMED,
    NOT_FOUND,
    UNKNOWN_COMMAND,
    WRONG_CLASS,
    WRONG_LENGTH,
    DecodeError,
    Refused,
    RefusedByPeer,
    status_word,
)
from protocol.objects import Certificate

AID = b"\xf0JIAOZI\x01"  # proprietary identifier (category F), last byte the version of the application
NDEF_AID = b"\xd2\x76\x00\x00\x85\x01\x01"  # NFC Forum Type 4 Tag 2.0

CLA_ISO = 0x00
CLA_OWN = 0x80
CLA_CHAIN = 0x10  # bit 5: more of this command follows

SELECT = 0xA4
READ_BINARY = 0xB0
GET_RESPONSE = 0xC0

PAY = 0x10  # payee's Certificate, Request -> Transfer. P1 bit 0: the payee cannot settle older ones
CONFIRM = 0x12  # Receipt or Void ->
REQUEST = 0x14  # payer's Certificate, amount, purpose, reference -> Request
TRANSFER = 0x16  # Transfer -> Receipt or Void
OPERATORS = 0x18  # the reader's OperatorCertificate -> the card's
STATEMENT = 0x20  # nonce -> Statement
JOURNAL = 0x22  # seq -> the record of that seq
INFO = 0x24  # -> DeviceInfo
COUNTERS = 0x26  # -> Counters
GENERATE = 0x30  # randomness of the host's -> the device's public key
PERSONALISE = 0x32  # root key, OperatorCertificate, Certificate, Acknowledgement ->
INSTALL = 0x34  # Certificate, Acknowledgement ->
PUT = 0x36  # one object: OperatorCertificate, Revocations, Load, Resolution, Order ->
REVOCATIONS = 0x38  # issuer, the asker's epoch -> Revocations that bring the asker further

PAY_WITHOUT_OLDER = 0x01  # P1 of PAY

SW_OK = 0x9000
SW_MORE = 0x6100

MAX_DATA_BYTES = 255
MAX_RESPONSE_BYTES = 256  # data of a short response, which is all we take
HELLO_BYTES = 10  # of the answer to SELECT, before the Certificate
ONE_FRAME_BYTES = 253  # data and status word that fit one ISO-DEP frame of 256 bytes, which is all we send
MAX_CHAIN_BYTES = 2_304  # the longest command data: Revocations with its 100 entries, 2,110 bytes
# The longest response: an installation record with all its in-doubt debits, about 2,300 bytes
MAX_CHAINED_RESPONSE_BYTES = 4_096

# Hello.flags
PERSONALISED = 1
BUSY = 2  # a person has opened a Request here: this device signs no other
OUT_OF_SERVICE = 4
RETIRED = 8
LOCKED = 16  # the PIN that its owner wants at power-on is not entered yet: this device signs nothing
CLOSED = 32  # its operator has closed MicroPython's prompt


class Command:
    """A decoded command APDU. `le` is None when no response data is expected."""

    def __init__(self, cla: int, ins: int, p1: int, p2: int, data: bytes, le: int | None):
        self.cla = cla
        self.ins = ins
        self.p1 = p1
        self.p2 = p2
        self.data = data
        self.le = le


def decode_command(raw: bytes) -> Command:
    """Read a short command APDU (ISO/IEC 7816-4, section 5.1, cases 1 to 4). Raises `Refused(WRONG_LENGTH)`."""
    n = len(raw)
    if n < 4:
        raise Refused(WRONG_LENGTH)
    data, le = b"", None
    if n == 5:
        le = raw[4] or 256
    elif n > 5:
        lc = raw[4]
        if lc == 0 or n not in (5 + lc, 6 + lc):
            raise Refused(WRONG_LENGTH)
        data = bytes(raw[5 : 5 + lc])
        if n == 6 + lc:
            le = raw[-1] or 256
    return Command(raw[0], raw[1], raw[2], raw[3], data, le)


def command(ins: int, data: bytes = b"", p1: int = 0, p2: int = 0, cla: int = CLA_OWN) -> bytes:
    """A command APDU that takes any response length (Le 0)."""
    head = bytes((cla, ins, p1, p2))
    return head + (bytes((len(data),)) + data if data else b"") + b"\x00"


def chained(ins: int, data: bytes, part: int = MAX_DATA_BYTES) -> list[bytes]:
    """The command APDUs that carry `data` of any length up to MAX_CHAIN_BYTES, at most `part` bytes each."""
    cuts = range(0, max(len(data), 1), part)
    last = len(data) - part
    return [command(ins, data[at : at + part], cla=CLA_OWN | (CLA_CHAIN if at < last else 0)) for at in cuts]


def select(aid: bytes) -> bytes:
    return command(SELECT, aid, p1=0x04, cla=CLA_ISO)


def respond(data: bytes = b"", sw: int = SW_OK) -> bytes:
    return data + sw.to_bytes(2, "big")


def refusal(cause: int) -> bytes:
    """A refusal: one byte of cause, then the status word the table names for it."""
    return bytes((cause,)) + status_word(cause).to_bytes(2, "big")


def parse_response(raw: bytes) -> bytes:
    """The data of a response.

    Raises `RefusedByPeer` with the cause the peer named, `DecodeError` for what is no response.
    """
    if len(raw) < 2 or len(raw) > MAX_RESPONSE_BYTES + 2:
        raise DecodeError("Response", "length")
    sw = raw[-2] << 8 | raw[-1]
    if sw == SW_OK or sw & 0xFF00 == SW_MORE:
        return bytes(raw[:-2])
    if len(raw) == 3 and raw[0]:
        raise RefusedByPeer(raw[0])
    raise RefusedByPeer(PLAIN_STATUS.get(sw, MALFORMED))


# What a bare status word, without a cause, is taken for.
PLAIN_STATUS = {0x6700: WRONG_LENGTH, 0x6A82: NOT_FOUND, 0x6D00: UNKNOWN_COMMAND, 0x6E00: WRONG_CLASS}


def hello(flags: int, epoch: int, root_epoch: int, certificate: Certificate | None) -> bytes:
    """The answer to SELECT: version, flags, epochs and the device's Certificate once it has one.

    The epochs are those of the revocations it knows: its operator's and the root's.
    """
    head = bytes((AID[-1], flags)) + epoch.to_bytes(4, "big") + root_epoch.to_bytes(4, "big")
    return head + (certificate.encode() if certificate else b"")


def decode_hello(data: bytes):
    """(flags, epoch, root epoch, Certificate or None). Raises `DecodeError`."""
    if len(data) < HELLO_BYTES:
        raise DecodeError("Hello", "length")
    if data[0] != AID[-1]:
        raise DecodeError("Hello", "version")
    certificate = Certificate.decode(data[HELLO_BYTES:]) if data[1] & PERSONALISED else None
    if certificate is None and len(data) != HELLO_BYTES:
        raise DecodeError("Hello", "trailing")
    return data[1], int.from_bytes(data[2:6], "big"), int.from_bytes(data[6:10], "big"), certificate
