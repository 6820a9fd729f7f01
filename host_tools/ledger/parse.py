"""The first stage of settlement: bytes into records. Pure and strict: no database, no signatures.

Most records are credits, debits and closings by a Receipt. Each of these has one layout, so it is cut by one `struct`;
whatever does not fit that is read, or refused with its reason, by `protocol.records`, which is the only judge: a test
holds the two together.
"""

from collections.abc import Callable, Container, Iterator
from struct import Struct
from typing import NamedTuple

from host_tools.crypto import sha256
from protocol import records
from protocol.errors import DecodeError
from protocol.layout import SIGNATURE_BYTES, VERSION, SignedLayout
from protocol.objects import KEY_BYTES, PAID, Certificate, Receipt, Transfer
from protocol.records import (
    CLOSING_MAX_BYTES,
    CREDIT_RECORD_BYTES,
    DEBIT_RECORD_BYTES,
    REDEEMED,
    SEQ_BYTES,
    Closing,
    Installation,
    Record,
)


def _object(start: int, kind: type[SignedLayout]) -> tuple[slice, slice]:
    """Where an object of this kind stands in a record, and where its body does."""
    return slice(start, start + kind.size()), slice(start, start + kind.body_size())


# In a credit, a debit and a closing that a Receipt is the evidence of
_RECEIPT, _RECEIPT_BODY = _object(SEQ_BYTES, Receipt)
_TRANSFER, _TRANSFER_BODY = _object(SEQ_BYTES + Receipt.size(), Transfer)
_DEBITED, _DEBITED_BODY = _object(SEQ_BYTES, Transfer)
_CLOSING_BODY = slice(SEQ_BYTES, SEQ_BYTES + Closing.body_size())
_EVIDENCE, _EVIDENCE_BODY = _object(SEQ_BYTES + Closing.body_size(), Receipt)

_SIZES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def _struct_of(kind: type) -> str:
    """Of a signed layout: its type and version in one number, its fields, its signature."""
    return f"H{''.join(_code(size) for _, size in kind.FIELDS)}{SIGNATURE_BYTES}s"


def _code(size: int) -> str:
    return f"{-size}s" if size < 0 else _SIZES[size]


def _codes(kind: type, wanted: Container[str]) -> Iterator[str]:
    """The fields that are wanted of a layout; the others are passed over."""
    yield "2x"
    for name, size in kind.FIELDS:
        yield _code(size) if name in wanted else f"{abs(size)}x"


class Credit(NamedTuple):
    """What a credit's record says: its Receipt, then its Transfer by the names that `protocol.objects` has."""

    record_seq: int
    receipt_head: int
    receipt_seq: int
    receipt_previous: bytes
    transfer: bytes  # its hash
    receipt_signature: bytes
    transfer_head: int
    seq: int
    previous: bytes
    payer: bytes
    payee: bytes
    amount: int
    lot: int
    lot_amount: int
    request: bytes
    number: int
    payer_issue: int
    payee_issue: int
    cumulative: int
    transfer_signature: bytes


_CREDIT = Struct(">I" + _struct_of(Receipt) + _struct_of(Transfer))


class Debit(NamedTuple):
    """What a debit's record says: its Transfer by the names that `protocol.objects` has, and what stands beside it."""

    record_seq: int
    transfer_head: int
    seq: int
    previous: bytes
    payer: bytes
    payee: bytes
    amount: int
    lot: int
    lot_amount: int
    request: bytes
    number: int
    payer_issue: int
    payee_issue: int
    cumulative: int
    signature: bytes
    payee_key: bytes
    flags: int


_DEBIT = Struct(">I" + _struct_of(Transfer) + f"{KEY_BYTES}sB")


class Paid(NamedTuple):
    """What a closing's record says whose evidence is the payee's Receipt."""

    record_seq: int
    head: int
    seq: int
    previous: bytes
    transfer: bytes  # its hash
    outcome: int
    evidence: bytes  # the Receipt's hash
    receipt_head: int
    receipt_seq: int
    receipt_previous: bytes
    receipt_transfer: bytes
    receipt_signature: bytes


_PAID = Struct(">IH" + "".join(_code(size) for _, size in Closing.FIELDS) + _struct_of(Receipt))

_RECEIPT_HEAD = Receipt.TYPE << 8 | VERSION
_TRANSFER_HEAD = Transfer.TYPE << 8 | VERSION
_CLOSING_HEAD = Closing.TYPE << 8 | VERSION


_LINKS = Struct(">" + "".join(_codes(Transfer, ("previous", "amount", "cumulative"))))


def links_in(transfer: bytes) -> tuple[bytes, int, int]:
    """What ties a Transfer to its payer's others: its `previous`, `amount` and `cumulative`."""
    return _LINKS.unpack_from(transfer)


_PAYEE_ISSUE = Struct(">" + "".join(_codes(Transfer, ("payee_issue",))))


def payee_issue_in(transfer: bytes) -> int:
    """Which of its payee's Certificates a Transfer names."""
    return _PAYEE_ISSUE.unpack_from(transfer)[0]


class Limits(NamedTuple):
    """What a Certificate says, by the names that `protocol.objects` has."""

    head: int
    operator: int
    key: bytes
    issue: int
    kind: int
    mcc: int
    valid_from: int
    valid_until: int
    balance_limit: int
    payment_limit: int
    sum_limit: int
    record_limit: int
    days_limit: int
    no_confirm_sum: int
    in_doubt_limit: int
    epoch: int
    base_seq: int
    signature: bytes


_LIMITS = Struct(">" + _struct_of(Certificate))


def limits_in(certificate: bytes) -> Limits:
    """Of a Certificate that this ledger has signed itself. Raises `DecodeError`."""
    if len(certificate) != _LIMITS.size:
        raise DecodeError("Certificate", "length")
    return Limits._make(_LIMITS.unpack(certificate))


class Entry:
    """A record as it came and as it reads: as `credit`, `debit`, `paid` or none of them. `hash` is that of its body."""

    __slots__ = ("_record", "credit", "debit", "hash", "paid", "previous", "raw", "seq")

    def __init__(
        self,
        raw: bytes,
        seq: int,
        body_hash: bytes,
        previous: bytes,
        credit: Credit | None = None,
        debit: Debit | None = None,
        paid: Paid | None = None,
        record: Record | None = None,
    ):
        self.raw = raw
        self.seq = seq
        self.hash = body_hash
        self.previous = previous
        self.credit = credit
        self.debit = debit
        self.paid = paid
        self._record = record

    @property
    def record(self) -> Record:
        if self._record is None:
            self._record = records.decode(self.raw)
        return self._record

    @property
    def position(self) -> tuple[int, bytes]:
        return self.seq, self.hash

    @property
    def closes(self) -> bytes | None:
        """The hash of the Transfer that it closes, if it is a closing."""
        if self.paid is not None:
            return self.paid.transfer
        return self.record.body.transfer if self.raw[SEQ_BYTES] == Closing.TYPE else None

    @property
    def is_installation(self) -> bool:
        """Of a Certificate."""
        return self.raw[SEQ_BYTES] == Installation.TYPE

    @property
    def body(self) -> bytes:
        """What is hashed."""
        return self.raw[_RECEIPT_BODY] if self.credit is not None else self.record.body_bytes

    @property
    def signed(self) -> bytes | None:
        """The record's own body with its signature, if it is an object that its device signed."""
        kind = self.raw[SEQ_BYTES]
        return self.raw[_RECEIPT] if kind == Receipt.TYPE else self.raw[_DEBITED] if kind == Transfer.TYPE else None

    @property
    def receipt(self) -> bytes:
        """Of a credit, or of a closing that is `paid`."""
        return self.raw[_RECEIPT if self.credit is not None else _EVIDENCE]

    @property
    def transfer(self) -> bytes:
        """Of a credit or a debit."""
        return self.raw[_TRANSFER if self.credit is not None else _DEBITED]

    def signatures(self) -> tuple[bytes, bytes]:
        """Of a credit's Receipt and Transfer, each before the body that it signs, as libsodium reads them."""
        raw, credit = self.raw, self.credit
        assert credit is not None
        return credit.receipt_signature + raw[_RECEIPT_BODY], credit.transfer_signature + raw[_TRANSFER_BODY]

    def signature(self) -> bytes:
        """Of a debit's Transfer, or of the Receipt that says it is paid."""
        if self.debit is not None:
            return self.debit.signature + self.raw[_DEBITED_BODY]
        assert self.paid is not None
        return self.paid.receipt_signature + self.raw[_EVIDENCE_BODY]


def parse(raw: bytes) -> Entry:
    """Raises `DecodeError`, with the reason that the protocol gives."""
    read = _BY_LENGTH.get(len(raw))
    entry = read(raw) if read is not None else None
    if entry is not None:
        return entry
    record = records.decode(raw)
    records.check_links(record, sha256)
    return Entry(raw, record.seq, sha256(record.body_bytes), record.body.previous, record=record)


def _credit(raw: bytes) -> Entry | None:
    credit = Credit._make(_CREDIT.unpack(raw))
    if (
        credit.receipt_head == _RECEIPT_HEAD
        and credit.transfer_head == _TRANSFER_HEAD
        and credit.record_seq == credit.receipt_seq != 0
        and credit.transfer == sha256(raw[_TRANSFER_BODY])
        and _is_usual(credit)
    ):
        return Entry(raw, credit.record_seq, sha256(raw[_RECEIPT_BODY]), credit.receipt_previous, credit)
    return None


def _debit(raw: bytes) -> Entry | None:
    debit = Debit._make(_DEBIT.unpack(raw))
    if (
        debit.transfer_head == _TRANSFER_HEAD
        and debit.record_seq == debit.seq
        and debit.flags <= REDEEMED
        and _is_usual(debit)
    ):
        return Entry(raw, debit.seq, sha256(raw[_DEBITED_BODY]), debit.previous, debit=debit)
    return None


def _is_usual(transfer: Credit | Debit) -> bool:
    """A Transfer that pays no lot."""
    return (
        transfer.seq != 0
        and not transfer.lot
        and not transfer.lot_amount
        and 0 < transfer.amount <= transfer.cumulative
        and transfer.payer != transfer.payee
    )


def _paid(raw: bytes) -> Entry | None:
    paid = Paid._make(_PAID.unpack(raw))
    if (
        paid.head == _CLOSING_HEAD
        and paid.receipt_head == _RECEIPT_HEAD
        and paid.record_seq == paid.seq
        and paid.receipt_seq != 0
        and paid.outcome == PAID
        and paid.transfer == paid.receipt_transfer
        and paid.evidence == sha256(raw[_EVIDENCE_BODY])
    ):
        return Entry(raw, paid.seq, sha256(raw[_CLOSING_BODY]), paid.previous, paid=paid)
    return None


_BY_LENGTH: dict[int, Callable[[bytes], Entry | None]] = {
    CREDIT_RECORD_BYTES: _credit,
    DEBIT_RECORD_BYTES: _debit,
    CLOSING_MAX_BYTES: _paid,
}
