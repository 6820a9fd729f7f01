"""What a device holds of one issuer's revocations: a complete list and at most one delta to it.

A delta says all that changed since the complete list it names, so two objects are always enough, to judge by and to
hand on. They are kept as the bytes that were signed; nothing here checks a signature or stores anything.
"""

from protocol.errors import REVOCATIONS_MISSING, Refused
from protocol.layout import SIGNATURE_BYTES
from protocol.objects import ID_BYTES, Revocations

EPOCH_AT = 4  # in an encoded Revocations, as are the next two
COUNT_AT = 44
ENTRIES_AT = 46
ENTRY_BYTES = ID_BYTES + 4


def setting(issuer: int) -> str:
    """The name under which an issuer's list outlives power. Its value is `RevocationList.stored`."""
    return "revoked %d" % issuer


def _end(encoded: bytes) -> int:
    """Where the body of one encoded object ends."""
    return ENTRIES_AT + int.from_bytes(encoded[COUNT_AT:ENTRIES_AT], "big") * ENTRY_BYTES


def epoch_of(encoded: bytes) -> int:
    """The epoch of one encoded object, 0 of none."""
    return int.from_bytes(encoded[EPOCH_AT : EPOCH_AT + 4], "big")


class RevocationList:
    """One issuer's list: `stored` is the complete object and then the delta. Empty, with epoch 0, before the first."""

    def __init__(self, stored: bytes = b""):
        end = _end(stored) + SIGNATURE_BYTES
        self.complete = stored[:end]
        self.delta = stored[end:]
        self.epoch = epoch_of(self.delta or self.complete)

    def entry(self, who: bytes) -> int:
        """The lowest issue number of `who` (a device or an operator) that is still good; 0 if it is not listed."""
        for encoded in (self.delta, self.complete):
            at = encoded.find(who, ENTRIES_AT)
            while at >= 0 and (at - ENTRIES_AT) % ENTRY_BYTES:  # the end of one entry and the beginning of the next
                at = encoded.find(who, at + 1)
            if 0 <= at < _end(encoded):
                return int.from_bytes(encoded[at + ID_BYTES : at + ENTRY_BYTES], "big")
        return 0

    @property
    def stored(self) -> bytes:
        return self.complete + self.delta

    def with_newer(self, revocations: Revocations, sha256) -> "RevocationList":
        """The list after one more object, which is newer and checked.

        Raises `Refused(REVOCATIONS_MISSING)` for a delta to another complete list than the one held.
        """
        encoded = revocations.encode()
        if revocations.predecessor:
            complete = self.complete
            known = revocations.predecessor == epoch_of(complete)
            if not known or revocations.predecessor_hash != sha256(complete[:-SIGNATURE_BYTES]):
                raise Refused(REVOCATIONS_MISSING)
            encoded = complete + encoded
        return RevocationList(encoded)

    def newer_than(self, epoch: int) -> bytes:
        """The object that brings whoever has `epoch` further, b"" if there is none."""
        for encoded in (self.complete, self.delta):
            if epoch < epoch_of(encoded):
                return encoded
        return b""
