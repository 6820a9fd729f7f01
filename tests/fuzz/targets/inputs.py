"""What targets have in common: how an input is cut into messages, and which words an error may have."""

from protocol.errors import NAMES, DecodeError

REASONS = ("empty", "type", "version", "length", "trailing", "value")


def pieces(data: bytes) -> list[bytes]:
    """Cut an input into messages: each is led by its length, two bytes of which the upper counts for one bit."""
    found = []
    at = 0
    while at + 2 <= len(data):
        length = (data[at] & 1) << 8 | data[at + 1]
        found.append(bytes(data[at + 2 : at + 2 + length]))
        at += 2 + length
    return found


def joined(messages: list[bytes]) -> bytes:
    """The input that `pieces` cuts into these messages of at most 511 bytes."""
    return b"".join([len(message).to_bytes(2, "big") + message for message in messages])


def check_reason(error: DecodeError) -> None:
    assert error.reason in REASONS, error.reason


def check_cause(cause: int) -> None:
    assert cause in NAMES, cause
