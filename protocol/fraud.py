"""Fraud proofs: what shows, with nothing but the root's key, that a device cheated. For hosts; a device never asks.

Made of the device's own signatures and of preimages of hashes that they cover (docs/protocol.md, "Fraud proofs").
Exactly three kinds are accepted, none of which the journal of an honest device can ever give. Offline and total:
whatever bytes come, the answer is a `Finding` or `NotProven`.
"""

from collections import namedtuple

from protocol.errors import DecodeError, ProtocolError
from protocol.objects import Certificate, OperatorCertificate, Receipt, Statement, Transfer, Void, device_id
from protocol.records import Closing, Installation, Loading

# What is proven
TWO_HISTORIES = "two histories"  # different records at one position of its journal
RECEIPT_AND_VOID = "receipt and void"  # of one Transfer
CUMULATIVE = "cumulative falls"  # under one Certificate, or less than all above its base

MAX_BODIES = 20_000  # of one commitment: as many records as one upload to a ledger has at most

# signed: an encoded Transfer, Receipt, Statement or Void. bodies: record bodies, newest first, each the preimage of a
# hash that the signed object or the body before it names; () if none is needed.
Commitment = namedtuple("Commitment", ("signed", "bodies"))
# certificate: any Certificate of the accused, operator_certificate: its operator's; first, second: Commitments
FraudProof = namedtuple("FraudProof", ("operator_certificate", "certificate", "first", "second"))
Finding = namedtuple("Finding", ("device", "kind"))  # device: its id

_SIGNED = {kind.TYPE: kind for kind in (Transfer, Receipt, Statement, Void)}
_BODIES = {kind.TYPE: kind for kind in (Transfer, Receipt, Loading, Closing, Installation)}


class NotProven(ProtocolError):
    """This proves nothing. The text says why."""


class _Said:
    """What a device has said: the hash of its record by position, what it paid, received and voided."""

    def __init__(self):
        self.positions: dict[int, bytes] = {}
        self.transfers: dict[int, Transfer] = {}  # by position
        self.received: set[bytes] = set()  # hashes of Transfers, as is `voided`
        self.voided: set[bytes] = set()

    def record(self, body, digest: bytes) -> None:
        self.positions[body.seq] = digest
        self.positions[body.seq - 1] = body.previous
        if isinstance(body, Transfer):
            self.transfers[body.seq] = body
        elif isinstance(body, Receipt):
            self.received.add(body.transfer)


def check(proof: FraudProof, root_key: bytes, sha256, verify) -> Finding:
    """Who cheated, and how. Raises `NotProven`, and nothing else whatever the bytes are."""
    operator = _decode(OperatorCertificate, proof.operator_certificate)
    certificate = _decode(Certificate, proof.certificate)
    if not operator.verified_by(root_key, verify):
        raise NotProven("the root has not signed the operator's certificate")
    if certificate.operator != operator.operator or not certificate.verified_by(operator.key, verify):
        raise NotProven("the operator has not signed the device's certificate")
    device = device_id(certificate.key, sha256)
    first = _read(proof.first, certificate.key, device, sha256, verify)
    second = _read(proof.second, certificate.key, device, sha256, verify)
    for position, digest in first.positions.items():
        if second.positions.get(position, digest) != digest:
            return Finding(device, TWO_HISTORIES)
    if first.received & second.voided or first.voided & second.received:
        return Finding(device, RECEIPT_AND_VOID)
    transfers = dict(first.transfers)
    transfers.update(second.transfers)
    if _falls(transfers) or _leaves_out(transfers, certificate):
        return Finding(device, CUMULATIVE)
    raise NotProven("one honest history can hold both")


def _decode(kind, data):
    try:
        return kind.decode(data)
    except DecodeError as error:
        raise NotProven(str(error))


def _read(commitment: Commitment, key: bytes, device: bytes, sha256, verify) -> _Said:
    """What this commitment's signature covers. Everything in it is checked."""
    signed, bodies = commitment
    if len(bodies) > MAX_BODIES:
        raise NotProven("more than %d records" % MAX_BODIES)
    kind = _SIGNED.get(signed[0] if signed else 0)
    if kind is None:
        raise NotProven("no Transfer, Receipt, Statement or Void")
    this = _decode(kind, signed)
    if not this.verified_by(key, verify):
        raise NotProven("not signed by the device")
    said = _Said()
    if isinstance(this, Void):
        said.voided.add(this.transfer)
    elif isinstance(this, Statement):
        if this.device != device:
            raise NotProven("a Statement of another device")
        said.positions[this.seq] = this.head
    else:
        _check_payer(this, device)
        said.record(this, sha256(this.body()))
    for data in bodies:
        body = _body(data)
        digest = sha256(data)
        if said.positions.get(body.seq) != digest:
            raise NotProven("record %d is not what the one above names" % body.seq)
        _check_payer(body, device)
        said.record(body, digest)
    return said


def _body(data: bytes):
    kind = _BODIES.get(data[0] if data else 0)
    if kind is None:
        raise NotProven("no record")
    unsigned = kind in (Loading, Closing, Installation)
    body = _decode(kind, data if unsigned else data + bytes(64))  # of signed kinds the signature stands elsewhere
    if not body.seq:
        raise NotProven("no record has position 0")
    return body


def _check_payer(body, device: bytes) -> None:
    if isinstance(body, Transfer) and body.payer != device:
        raise NotProven("a Transfer of another payer")


def _falls(transfers: dict[int, Transfer]) -> bool:
    """Whether a later Transfer under one Certificate leaves out what an earlier one had spent."""
    spent: dict[int, int] = {}  # the most so far, by issue of the payer's Certificate
    for seq in sorted(transfers):
        this = transfers[seq]
        before = spent.get(this.payer_issue, 0)
        if this.cumulative < before + this.amount:
            return True
        spent[this.payer_issue] = this.cumulative
    return False


def _leaves_out(transfers: dict[int, Transfer], certificate: Certificate) -> bool:
    """Whether a Transfer under this Certificate counts less than was paid above its base, whatever names the others."""
    spent = 0
    for seq in sorted(transfers):
        this = transfers[seq]
        if this.payer_issue == certificate.issue and this.cumulative < spent + this.amount:
            return True
        if seq > certificate.base_seq:
            spent += this.amount
    return False
