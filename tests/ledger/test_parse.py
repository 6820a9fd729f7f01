"""The short way of reading records says what `protocol.records` says, of whatever bytes."""

from collections.abc import Callable, Iterator
from random import Random

import pytest

from host_tools.crypto import sha256
from host_tools.ledger import parse
from protocol import records
from protocol.errors import DecodeError
from protocol.objects import HASH_BYTES, ID_BYTES, Receipt, Transfer
from protocol.records import SEQ_BYTES, Closing, Record
from tests.unit.test_records import one_of_each
from tests.unit.world import Device

SHORT = {Receipt.TYPE: "credit", Transfer.TYPE: "debit", Closing.TYPE: "paid"}
SAME_IN_A_TRANSFER = ("seq", "previous", "payer", "payee", "amount", "lot", "lot_amount", "request", "number")
SAME_IN_A_TRANSFER += ("payer_issue", "payee_issue", "cumulative")


@pytest.fixture(scope="module")
def devices() -> tuple[Device, Device]:
    return one_of_each()


def stored(devices: tuple[Device, Device]) -> list[bytes]:
    return [raw for device in devices for raw in device.journal.stored]


def signed(one: Receipt | Transfer) -> bytes:
    return one.signature + one.body()


def strict(raw: bytes) -> Record:
    record = records.decode(raw)
    records.check_links(record, sha256)
    return record


def refusal(read: Callable[[bytes], object], raw: bytes) -> str | None:
    try:
        read(raw)
    except DecodeError as error:
        return str(error)
    return None


def check_same(raw: bytes) -> bool:
    """`parse` takes these bytes for what the protocol takes them for. Returns whether that is a record at all."""
    reason = refusal(strict, raw)
    assert refusal(parse.parse, raw) == reason
    if reason is not None:
        return False
    record, entry = strict(raw), parse.parse(raw)
    assert (entry.raw, entry.seq) == (raw, record.seq)
    assert entry.hash == sha256(record.body_bytes) and entry.body == record.body_bytes
    assert entry.previous == record.body.previous
    assert entry.record.body_bytes == record.body_bytes
    own = record.body.encode() if isinstance(record.body, Receipt | Transfer) else None
    assert entry.signed == own
    check_credit(entry, record)
    check_debit(entry, record)
    check_paid(entry, record)
    return True


def check_credit(entry: parse.Entry, record: Record) -> None:
    if entry.credit is None:
        return
    for name in SAME_IN_A_TRANSFER:
        assert getattr(entry.credit, name) == getattr(record.transfer, name)
    assert entry.credit.transfer == record.receipt.transfer == sha256(record.transfer.body())
    assert (entry.credit.receipt_seq, entry.credit.receipt_previous) == (record.receipt.seq, record.receipt.previous)
    assert (entry.receipt, entry.transfer) == (record.receipt.encode(), record.transfer.encode())
    assert entry.signatures() == (signed(record.receipt), signed(record.transfer))
    assert parse.links_in(entry.transfer) == (
        record.transfer.previous,
        record.transfer.amount,
        record.transfer.cumulative,
    )


def check_debit(entry: parse.Entry, record: Record) -> None:
    if entry.debit is None:
        return
    for name in SAME_IN_A_TRANSFER:
        assert getattr(entry.debit, name) == getattr(record.transfer, name)
    assert entry.debit.payee_key == record.payee_key
    assert (entry.transfer, entry.signature()) == (record.transfer.encode(), signed(record.transfer))


def check_paid(entry: parse.Entry, record: Record) -> None:
    if entry.paid is None:
        return
    assert isinstance(record.evidence, Receipt)
    assert (entry.paid.transfer, entry.paid.outcome) == (record.body.transfer, record.body.outcome)
    assert entry.paid.transfer == record.evidence.transfer and entry.paid.evidence == sha256(record.evidence.body())
    assert (entry.paid.receipt_seq, entry.paid.receipt_previous) == (record.evidence.seq, record.evidence.previous)
    assert (entry.receipt, entry.signature()) == (record.evidence.encode(), signed(record.evidence))


def test_the_usual_records_go_the_short_way(devices):
    found = [parse.parse(raw) for raw in stored(devices)]
    taken = {name: sum(getattr(entry, name) is not None for entry in found) for name in SHORT.values()}
    assert taken == {"credit": 1, "debit": 2, "paid": 1}
    for entry in found:
        check_same(entry.raw)


def test_every_cut_and_extension(devices):
    for raw in stored(devices):
        for length in range(len(raw)):
            assert not check_same(raw[:length])
        assert not check_same(raw + b"\x00")


def test_every_bit_of_every_record(devices):
    kept = 0
    for raw in stored(devices):
        for bit in range(8 * len(raw)):
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            kept += check_same(bytes(changed)) + check_same(mended(bytes(changed)))
    assert kept > 10_000, "most must still be records, else the short way was not tried"


def test_numbers_at_their_edges(devices):
    """Fields of zeros and of ones, and one device as payer and payee, under links that hold."""
    random = Random(7)
    kept = 0
    for raw in stored(devices):
        for field in fields(raw):
            for value in (bytes(len(field)), b"\xff" * len(field), random.randbytes(len(field))):
                changed = bytearray(raw)
                changed[field.start : field.stop] = value
                kept += check_same(mended(bytes(changed)))
        if raw[SEQ_BYTES] in (Receipt.TYPE, Transfer.TYPE):
            changed = bytearray(raw)
            payer = raw.index(parse.parse(raw).record.transfer.payer)
            changed[payer + ID_BYTES : payer + 2 * ID_BYTES] = raw[payer : payer + ID_BYTES]
            check_same(mended(bytes(changed)))
    assert kept > 50


def fields(raw: bytes) -> Iterator[range]:
    """Where the numbers and names of a credit, a debit or a closing stand."""
    layouts = {
        Receipt.TYPE: ((SEQ_BYTES, Receipt), (SEQ_BYTES + Receipt.size(), Transfer)),
        Transfer.TYPE: ((SEQ_BYTES, Transfer),),
        Closing.TYPE: ((SEQ_BYTES, Closing), (SEQ_BYTES + Closing.body_size(), Receipt)),
    }
    for start, layout in layouts.get(raw[SEQ_BYTES], ()):
        at = start + 2
        for _, size in layout.FIELDS:
            yield range(at, at + abs(size))
            at += abs(size)


def mended(raw: bytes) -> bytes:
    """The same with links that hold: the position before the body, and the hash of what stands beside it."""
    changed = bytearray(raw)
    kind = raw[SEQ_BYTES]
    if kind in SHORT:
        changed[:SEQ_BYTES] = raw[SEQ_BYTES + 2 :][:SEQ_BYTES]
    beside = {
        Receipt.TYPE: (SEQ_BYTES + Receipt.body_size(), SEQ_BYTES + Receipt.size(), Transfer.body_size()),
        Closing.TYPE: (SEQ_BYTES + Closing.body_size(), SEQ_BYTES + Closing.body_size(), Receipt.body_size()),
    }
    if kind in beside:  # the hash is the last of the body's fields
        end, start, size = beside[kind]
        changed[end - HASH_BYTES : end] = sha256(raw[start : start + size])
    return bytes(changed)
