"""Journal records: what a device commits, how they are chained, what the ledger reads back.

Source: docs/protocol.md, "Journal".

A stored record is `seq (u32) || body || signature and attachments`. The body is what is hashed; it starts with type,
version, seq and the hash of the record before it, so every record commits its device to one history. A debit's body is
the signed Transfer, a credit's the signed Receipt: both sides' records are at once the objects they exchange.
"""

from protocol.effects import Reserve
from protocol.errors import DecodeError, LocalError
from protocol.layout import Layout
from protocol.limits import MAX_IN_DOUBT
from protocol.objects import (
    HASH_BYTES,
    KEY_BYTES,
    PAID,
    VOID,
    Acknowledgement,
    Certificate,
    Load,
    Receipt,
    Resolution,
    Transfer,
    Void,
)

SEQ_BYTES = 4

# A debit's flags byte
CONFIRMED = 1  # a person confirmed this payment on the payer's device
REDEEMED = 2  # to the owner's own account: does not count towards the sum without confirmation


class Loading(Layout):
    """Body of a load record: this Load's money is in the purse."""

    TYPE = 0x20
    FIELDS = (("seq", 4), ("previous", -HASH_BYTES), ("load", -HASH_BYTES))
    seq: int
    previous: bytes
    load: bytes


class Closing(Layout):
    """Body of a closing record: how an in-doubt Transfer of this device ended, and the hash of the evidence."""

    TYPE = 0x21
    FIELDS = (
        ("seq", 4),
        ("previous", -HASH_BYTES),
        ("transfer", -HASH_BYTES),
        ("outcome", 1),
        ("evidence", -HASH_BYTES),
    )
    seq: int
    previous: bytes
    transfer: bytes
    outcome: int
    evidence: bytes

    def fault(self):
        return None if self.outcome in (PAID, VOID) else "outcome"


class Installation(Layout):
    """Body of an installation record: a Certificate with its Acknowledgement took effect."""

    TYPE = 0x22
    FIELDS = (("seq", 4), ("previous", -HASH_BYTES), ("certificate", -HASH_BYTES), ("acknowledgement", -HASH_BYTES))
    seq: int
    previous: bytes
    certificate: bytes
    acknowledgement: bytes


class SnapshotHead(Layout):
    """The state at an installation, kept beside it (not hashed) so that earlier records may be dropped.

    In-doubt debits follow.
    """

    TYPE = 0x23
    FIELDS = (
        ("balance", 8),
        ("cumulative", 4),
        ("unconfirmed", 4),
        ("load_floor", 4),
        ("last_load", -HASH_BYTES),
        ("count", 1),
    )
    balance: int
    cumulative: int
    unconfirmed: int
    load_floor: int
    last_load: bytes
    count: int

    def fault(self):
        return "count" if self.count > MAX_IN_DOUBT else None


DEBIT_BYTES = Transfer.size() + KEY_BYTES + 1
CLOSING_MAX_BYTES = SEQ_BYTES + Closing.body_size() + Receipt.size()
DEBIT_RECORD_BYTES = SEQ_BYTES + DEBIT_BYTES
CREDIT_RECORD_BYTES = SEQ_BYTES + Receipt.size() + Transfer.size()
LOAD_RECORD_BYTES = SEQ_BYTES + Loading.body_size() + Load.size()
INSTALLATION_MAX_BYTES = (
    SEQ_BYTES
    + Installation.body_size()
    + Certificate.size()
    + Acknowledgement.size()
    + SnapshotHead.body_size()
    + MAX_IN_DOUBT * DEBIT_BYTES
)
EVIDENCE = {Receipt.TYPE: Receipt, Void.TYPE: Void, Resolution.TYPE: Resolution}


def reservation(in_doubt: int, n_bytes: int = 0, n_closings: int = 0) -> Reserve:
    """Space for one record of `n_bytes` now and for everything already promised.

    Promised are the credit of an open Request, the closings of all debits in doubt (and of `n_closings` new ones), and
    the installation that will free the journal again.
    """
    closings = in_doubt + n_closings
    promised = CREDIT_RECORD_BYTES + closings * CLOSING_MAX_BYTES + INSTALLATION_MAX_BYTES
    return Reserve(closings + 3, n_bytes + promised)


class Record:
    """One decoded record. What it has beside seq and body depends on its kind, which is the body's class."""

    transfer: Transfer  # of a debit and of a credit
    payee_key: bytes  # of a debit
    flags: int  # of a debit
    receipt: Receipt  # of a credit
    load: Load  # of a loading
    evidence: Receipt | Void | Resolution  # of a closing
    certificate: Certificate  # of an installation, as are all that follow
    acknowledgement: Acknowledgement
    snapshot: SnapshotHead
    in_doubt: list  # debits: (transfer, payee key, flags)

    def __init__(self, seq: int, body, body_bytes: bytes):
        self.seq = seq
        self.body = body
        self.body_bytes = body_bytes


def debit(transfer: Transfer, payee_key: bytes, flags: int) -> bytes:
    """The payer's record: the Transfer, the payee's key (to check its Receipt later) and flags."""
    return transfer.seq.to_bytes(4, "big") + transfer.encode() + payee_key + bytes((flags,))


def credit(receipt: Receipt, transfer: Transfer) -> bytes:
    return receipt.seq.to_bytes(4, "big") + receipt.encode() + transfer.encode()


def loading(body: Loading, load: Load) -> bytes:
    return body.seq.to_bytes(4, "big") + body.body() + load.encode()


def closing(body: Closing, evidence) -> bytes:
    return body.seq.to_bytes(4, "big") + body.body() + evidence.encode()


def installation(
    body: Installation, certificate: Certificate, acknowledgement: Acknowledgement, head: SnapshotHead, debits: list
) -> bytes:
    """`debits` are the in-doubt ones: (transfer, payee key, flags)."""
    parts = [body.seq.to_bytes(4, "big"), body.body(), certificate.encode(), acknowledgement.encode(), head.body()]
    for transfer, payee_key, flags in debits:
        parts.append(transfer.encode() + payee_key + bytes((flags,)))
    return b"".join(parts)


class _Reader:
    """Cuts a record into its parts, in order, to the last byte."""

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        chunk = self.data[self.at : self.at + length]
        if len(chunk) != length:
            raise DecodeError("Record", "length")
        self.at += length
        return chunk

    def object(self, kind):
        return kind.decode(self.take(kind.size()))

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        if self.at != len(self.data):
            raise DecodeError("Record", "trailing")


def _debit_parts(reader):
    transfer, payee_key, flags = reader.object(Transfer), reader.take(KEY_BYTES), reader.take(1)[0]
    if flags > REDEEMED:
        raise DecodeError("Record", "value")
    return transfer, payee_key, flags


def decode(data: bytes) -> Record:
    """Read one stored record strictly. Raises `DecodeError`. Checks no signature and no chain."""
    reader = _Reader(bytes(data))
    seq = int.from_bytes(reader.take(SEQ_BYTES), "big")
    kind = data[SEQ_BYTES] if len(data) > SEQ_BYTES else 0
    if kind == Transfer.TYPE:
        transfer, payee_key, flags = _debit_parts(reader)
        record = Record(seq, transfer, transfer.body())
        record.transfer, record.payee_key, record.flags = transfer, payee_key, flags
    elif kind == Receipt.TYPE:
        receipt = reader.object(Receipt)
        record = Record(seq, receipt, receipt.body())
        record.receipt = receipt
        record.transfer = reader.object(Transfer)
    elif kind == Loading.TYPE:
        record = _plain(seq, reader, Loading)
        record.load = reader.object(Load)
    elif kind == Closing.TYPE:
        record = _plain(seq, reader, Closing)
        evidence = reader.rest()
        if not evidence or evidence[0] not in EVIDENCE:
            raise DecodeError("Record", "type")
        record.evidence = EVIDENCE[evidence[0]].decode(evidence)
    elif kind == Installation.TYPE:
        record = _plain(seq, reader, Installation)
        record.certificate = reader.object(Certificate)
        record.acknowledgement = reader.object(Acknowledgement)
        record.snapshot = SnapshotHead.decode(reader.take(SnapshotHead.body_size()))
        record.in_doubt = [_debit_parts(reader) for _ in range(record.snapshot.count)]
    else:
        raise DecodeError("Record", "type")
    reader.end()
    if record.body.seq != seq:
        raise DecodeError("Record", "value")
    return record


def _plain(seq, reader, kind) -> Record:
    body = reader.take(kind.body_size())
    return Record(seq, kind.decode(body), body)


def genesis(public: bytes, sha256) -> bytes:
    """The hash "before" a device's first record: SHA-256 of its public key, so that a chain belongs to one key."""
    return sha256(public)


def check_links(record: Record, sha256) -> None:
    """The record's body must name what stands beside it: its load, its transfer, its evidence, its certificate.

    Raises `DecodeError`.
    """
    body = record.body
    if isinstance(body, Receipt):
        good = body.transfer == sha256(record.transfer.body())
    elif isinstance(body, Loading):
        good = body.load == sha256(record.load.body())
    elif isinstance(body, Closing):
        good = body.evidence == sha256(record.evidence.body()) and body.transfer == record.evidence.transfer
        good = good and body.outcome == outcome_of(record.evidence)
    elif isinstance(body, Installation):
        good = body.certificate == sha256(record.certificate.body())
        good = good and body.acknowledgement == sha256(record.acknowledgement.body())
    else:
        good = True
    if not good:
        raise DecodeError("Record", "value")


def outcome_of(evidence) -> int:
    """PAID or VOID: what a Receipt, Void or Resolution says."""
    if isinstance(evidence, Receipt):
        return PAID
    if isinstance(evidence, Void):
        return VOID
    if isinstance(evidence, Resolution):
        return evidence.outcome
    raise LocalError("no evidence")
