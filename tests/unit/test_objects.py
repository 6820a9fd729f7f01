"""protocol.objects: sizes, value rules, what signatures cover. Runs on MicroPython too."""

from protocol.errors import DecodeError, LocalError
from protocol.objects import (
    CASH_OUT,
    NO_HASH,
    REVOKED_ALTOGETHER,
    SALE,
    VOID,
    Acknowledgement,
    Certificate,
    Load,
    OperatorCertificate,
    Order,
    Receipt,
    Request,
    Resolution,
    Revocations,
    Statement,
    Transfer,
    Void,
    device_id,
)
from tests.unit.world import KINDS, NOW, Operator, raises, sha256, signer, verify

OBJECTS = (
    OperatorCertificate,
    Certificate,
    Acknowledgement,
    Request,
    Transfer,
    Receipt,
    Void,
    Resolution,
    Load,
    Revocations,
    Statement,
    Order,
)
OPERATOR = Operator(1, signer("root"))
DEVICE = signer("device")
DEVICE_ID = device_id(DEVICE.public, sha256)


def request(**changes):
    values = dict(amount=100, number=7, random=b"randomly", time=NOW, purpose=SALE, reference=bytes(8), lot=0)
    values.update(changes)
    return Request(**values)


def transfer(**changes):
    values = dict(seq=2, previous=b"p" * 32, payer=b"a" * 16, payee=b"b" * 16, amount=100, lot=0, lot_amount=0)
    values.update(request=b"r" * 32, number=7, payer_issue=1, payee_issue=1, cumulative=100)
    values.update(changes)
    return Transfer(**values)


def value_refused(data):
    return raises(DecodeError, type_of(data).decode, data).reason == "value"


def type_of(data):
    return [kind for kind in OBJECTS if data[0] == kind.TYPE][0]


def patched(encoded, name, value):
    """`encoded` with one field overwritten, as a hostile peer would."""
    kind = type_of(encoded)
    at = 2
    for field, size in kind.FIELDS:
        if field == name:
            new = value if size < 0 else value.to_bytes(size, "big")
            return encoded[:at] + new + encoded[at + abs(size) :]
        at += abs(size)
    raise ValueError(name)


def test_types_are_unique_and_never_reused():
    assert [kind.TYPE for kind in OBJECTS] == list(range(1, 13))


def test_sizes():
    sizes = [kind.size() for kind in OBJECTS]
    assert sizes == [111, 139, 136, 99, 194, 134, 98, 117, 122, 110, 154, 93]


def test_pay_fits_one_frame_of_256_bytes():
    # 256 less 3 bytes of block overhead, 5 of header and Lc, 1 of Le (ISO 14443-4, 7.1; ISO/IEC 7816-4, 5.1)
    assert Certificate.size() + Request.size() <= 247


def test_the_id_of_a_device_is_half_the_hash_of_its_key():
    assert sha256(DEVICE.public)[:16] == DEVICE_ID


def test_operator_certificate_values():
    good = OPERATOR.certificate.encode()
    assert value_refused(patched(good, "operator", 0))  # the root
    assert value_refused(patched(good, "currency", 1000))
    assert value_refused(patched(good, "exponent", 5))
    assert value_refused(patched(good, "valid_from", 65535))


def test_certificate_values():
    good = OPERATOR.certify(DEVICE.public, KINDS["wallet"]).encode()
    assert value_refused(patched(good, "operator", 0))
    assert value_refused(patched(good, "issue", 0))
    for kind in (0x00, 0x10, 0x15, 0x21, 0x31, 0x40, 0xFF):
        assert value_refused(patched(good, "kind", kind))
    for kind in (0x11, 0x14, 0x20, 0x30):
        assert Certificate.decode(patched(good, "kind", kind)).kind == kind
    assert value_refused(patched(good, "mcc", 10000))
    assert value_refused(patched(good, "valid_until", 1))


def test_request_values():
    good = request().sign(DEVICE.sign).encode()
    assert value_refused(patched(good, "amount", 0))
    assert value_refused(patched(good, "purpose", 0))
    assert value_refused(patched(good, "purpose", CASH_OUT + 1))


def test_the_signature_of_a_request_covers_both_certificates_and_the_currency():
    this = request()
    message = this.signed_message(b"e" * 32, b"r" * 32, 156)
    assert message == this.body() + b"e" * 32 + b"r" * 32 + b"\x00\x9c"
    signature = DEVICE.sign(message)
    assert verify(DEVICE.public, message, signature)
    for other in (
        this.signed_message(b"x" * 32, b"r" * 32, 156),
        this.signed_message(b"e" * 32, NO_HASH, 156),
        this.signed_message(b"e" * 32, b"r" * 32, 978),
    ):
        assert not verify(DEVICE.public, other, signature)


def test_transfer_values():
    good = transfer().sign(DEVICE.sign).encode()
    assert value_refused(patched(good, "amount", 0))
    assert value_refused(patched(good, "seq", 0))
    assert value_refused(patched(good, "cumulative", 99))
    assert value_refused(patched(good, "payee", b"a" * 16))  # payer and payee differ
    assert value_refused(patched(good, "lot", 1))
    assert value_refused(patched(good, "lot_amount", 1))
    assert value_refused(patched(patched(good, "lot", 1), "lot_amount", 101))
    assert Transfer.decode(patched(patched(good, "lot", 1), "lot_amount", 100)).lot_amount == 100


def test_rule_the_hash_of_a_transfer_leaves_the_signature_out():
    this = transfer().sign(DEVICE.sign)
    other = Transfer.decode(this.body() + bytes(64))
    assert sha256(this.body()) == sha256(other.body())
    assert this.encode() != other.encode()


def test_rule_nothing_signed_as_one_kind_can_be_read_as_another():
    for one in OBJECTS:
        for data in (OPERATOR.certificate.encode(), transfer().sign(DEVICE.sign).encode()):
            if one is not type_of(data):
                assert raises(DecodeError, one.decode, data).reason == "type"


def test_receipt_resolution_order_values():
    receipt = Receipt(seq=1, previous=NO_HASH, transfer=NO_HASH).sign(DEVICE.sign).encode()
    assert value_refused(patched(receipt, "seq", 0))
    resolution = OPERATOR.resolve(DEVICE_ID, NO_HASH, VOID).encode()
    assert value_refused(patched(resolution, "outcome", 0))
    assert value_refused(patched(resolution, "outcome", 3))
    order = OPERATOR.order(DEVICE_ID, 1, 2).encode()
    assert value_refused(patched(order, "number", 0))
    assert value_refused(patched(order, "what", 4))


def test_load_values():
    plain = OPERATOR.load(DEVICE_ID, 1, 500).encode()
    assert value_refused(patched(plain, "number", 0))
    assert value_refused(patched(plain, "amount", 0))
    assert value_refused(patched(plain, "lot_valid_until", 1))  # conditions without a lot
    assert value_refused(patched(plain, "lot_payee", b"x" * 16))
    lot = patched(plain, "lot", 9)
    assert Load.decode(lot).lot == 9
    for mccs in ("15441544", "15441543", "00001544", "27100000"):
        assert value_refused(patched(lot, "lot_mccs", bytes.fromhex(mccs + "00000000")))
    assert Load.decode(patched(lot, "lot_mccs", bytes.fromhex("1543154400000000"))).lot == 9


def test_revocations_have_one_order():
    entries = [(b"c" * 16, 2), (b"a" * 16, REVOKED_ALTOGETHER), (b"b" * 16, 5)]
    this = OPERATOR.revoke(3, entries)
    assert [who for who, _ in this.entries] == [b"a" * 16, b"b" * 16, b"c" * 16]
    again = Revocations.decode(this.encode())
    assert again.entries == this.entries
    assert again.encode() == this.encode()
    assert again.verified_by(OPERATOR.key.public, verify)
    swapped = this.encode()[:46] + this.encode()[66:86] + this.encode()[46:66] + this.encode()[86:]
    assert value_refused(swapped)
    twice = this.encode()[:46] + this.encode()[46:66] * 2 + this.encode()[86:]
    assert value_refused(twice)


def test_revocations_values_and_lengths():
    good = OPERATOR.revoke(3, [(b"a" * 16, 2)]).encode()
    assert raises(DecodeError, Revocations.decode, good[:-1]).reason == "length"
    assert raises(DecodeError, Revocations.decode, good[:60]).reason == "length"
    assert raises(DecodeError, Revocations.decode, good + b"\x00").reason == "trailing"
    assert raises(DecodeError, Revocations.decode, patched(good, "count", 0)).reason == "trailing"
    assert raises(DecodeError, Revocations.decode, patched(good, "count", 2)).reason == "length"
    assert value_refused(patched(good, "count", 101))
    assert value_refused(patched(good, "epoch", 0))
    assert value_refused(patched(good, "predecessor", 3))
    assert value_refused(patched(good, "predecessor", 2))  # a delta names the hash of its predecessor
    assert raises(DecodeError, Revocations.decode, b"\x0b" + good[1:]).reason == "type"
    assert raises(DecodeError, Revocations.decode, b"").reason == "empty"


def test_revocations_never_hold_an_id_twice():
    raises(LocalError, OPERATOR.revoke, 3, [(b"a" * 16, 2), (b"a" * 16, 3)])
    raises(LocalError, OPERATOR.revoke, 3, [(bytes((n, 0)) + b"a" * 14, 2) for n in range(101)])


def test_every_object_survives_a_round_trip():
    signed = [
        OPERATOR.certificate,
        OPERATOR.certify(DEVICE.public, KINDS["terminal"]),
        OPERATOR.acknowledge(OPERATOR.certify(DEVICE.public, KINDS["wallet"]), NO_HASH),
        request().sign(DEVICE.sign),
        transfer().sign(DEVICE.sign),
        Receipt(seq=1, previous=NO_HASH, transfer=NO_HASH).sign(DEVICE.sign),
        Void(transfer=b"t" * 32).sign(DEVICE.sign),
        OPERATOR.resolve(DEVICE_ID, NO_HASH, VOID),
        OPERATOR.load(DEVICE_ID, 1, 500),
        OPERATOR.revoke(1, []),
        Statement(
            device=DEVICE_ID,
            nonce=bytes(16),
            seq=1,
            head=NO_HASH,
            watermark=1,
            request_floor=0,
            load_floor=0,
            issue=1,
            time=NOW,
        ).sign(DEVICE.sign),
        OPERATOR.order(DEVICE_ID, 1, 1),
    ]
    assert [this.TYPE for this in signed] == list(range(1, 13))
    for this in signed:
        data = this.encode()
        again = type(this).decode(data)
        assert again.encode() == data
        assert again.body() == data[:-64]
        assert len(data) == type(this).size()
