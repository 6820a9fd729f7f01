"""Decoders: signed objects, records, APDUs, and the frames of the serial link."""

from protocol import apdu, framing, info, objects, records
from protocol.errors import DecodeError, Refused, RefusedByPeer
from protocol.revocations import RevocationList
from tests.fuzz.targets.inputs import check_cause, check_reason
from tests.unit.world import sha256


def _by_type(*kinds) -> dict:
    return {kind.TYPE: kind for kind in kinds}


SIGNED = _by_type(
    objects.OperatorCertificate,
    objects.Certificate,
    objects.Acknowledgement,
    objects.Request,
    objects.Transfer,
    objects.Receipt,
    objects.Void,
    objects.Resolution,
    objects.Load,
    objects.Revocations,
    objects.Statement,
    objects.Order,
)
PLAIN = _by_type(
    records.Loading,
    records.Closing,
    records.Installation,
    records.SnapshotHead,
    info.DeviceInfo,
    info.Counters,
)


# Decoders


def signed_object(data: bytes) -> None:
    for kind in _kinds(SIGNED, data):
        this = _decoded(kind, data)
        if this is not None:
            assert this.encode() == data, "two encodings of one object"
            again = kind.decode(this.encode())
            assert again.body() == this.body()
            if kind is objects.Revocations:
                held = RevocationList(data)
                assert held.epoch == this.epoch and held.newer_than(this.epoch) == b""
                for who, minimum in this.entries:
                    assert held.entry(who) == minimum, "a list that answers otherwise than it says"


def plain_layout(data: bytes) -> None:
    for kind in _kinds(PLAIN, data):
        this = _decoded(kind, data)
        assert this is None or this.body() == data, "two encodings of one layout"


def _kinds(table: dict, data: bytes) -> list:
    """The one that the first byte names, or all if it names none."""
    kind = table.get(data[0] if data else 0)
    return [kind] if kind else list(table.values())


def _decoded(kind, data: bytes):
    try:
        return kind.decode(data)
    except DecodeError as error:
        check_reason(error)
        return None


def record(data: bytes) -> None:
    try:
        this = records.decode(data)
    except DecodeError as error:
        check_reason(error)
        return
    body = this.body
    if isinstance(body, objects.Transfer):
        again = records.debit(this.transfer, this.payee_key, this.flags)
    elif isinstance(body, objects.Receipt):
        again = records.credit(this.receipt, this.transfer)
    elif isinstance(body, records.Loading):
        again = records.loading(body, this.load)
    elif isinstance(body, records.Closing):
        again = records.closing(body, this.evidence)
    else:
        again = records.installation(body, this.certificate, this.acknowledgement, this.snapshot, this.in_doubt)
    assert again == data, "two encodings of one record"
    assert len(data) <= records.INSTALLATION_MAX_BYTES
    try:
        records.check_links(this, sha256)
    except DecodeError:
        pass


def answer(data: bytes) -> None:
    """What a payee says of a Transfer."""
    try:
        assert objects.decode_answer(data).encode() == data
    except DecodeError as error:
        check_reason(error)


def command(data: bytes) -> None:
    try:
        this = apdu.decode_command(data)
    except Refused as refusal:
        check_cause(refusal.cause)
        return
    assert len(this.data) <= apdu.MAX_DATA_BYTES and (this.le is None or 0 < this.le <= 256)
    head = bytes((this.cla, this.ins, this.p1, this.p2))
    again = head + (bytes((len(this.data),)) + this.data if this.data else b"")
    assert data in (again, again + bytes(((this.le or 0) & 0xFF,)))


def response(data: bytes) -> None:
    try:
        apdu.decode_hello(apdu.parse_response(data))
    except (RefusedByPeer, DecodeError):
        pass


# The serial link


def frames(data: bytes) -> None:
    """The first byte says in what pieces the line brings the rest; a good frame among garbage arrives whole."""
    if not data:
        return
    step, line = data[0] + 1, data[1:]
    whole, cut = framing.FrameDecoder(), framing.FrameDecoder()
    expected = whole.feed(line)
    found = []
    for at in range(0, len(line), step):
        found += cut.feed(line[at : at + step])
        assert len(cut._pending) <= cut._longest, "more than a frame is kept"
    assert found == expected and cut.dropped_frames == whole.dropped_frames
    for sequence, payload in found:
        assert len(payload) <= framing.MAXIMUM_PAYLOAD_BYTES
        assert whole.feed(framing.encode_frame(sequence, payload))[-1] == (sequence, payload)
    payload = line[: framing.MAXIMUM_PAYLOAD_BYTES]
    again = whole.feed(
        framing.encode_frame(step - 1, payload)
    )  # its first 00 may complete what the line left unfinished
    assert again[-1] == (step - 1, payload) and len(again) <= 2, "garbage cost a good frame"


def cobs(data: bytes) -> None:
    encoded = framing.cobs_encode(data)
    assert b"\x00" not in encoded and len(encoded) <= len(data) + len(data) // 254 + 1
    assert framing.cobs_decode(encoded) == data
    try:
        framing.cobs_decode(data)
    except DecodeError:
        pass


TARGETS = (signed_object, plain_layout, record, answer, command, response, frames, cobs)
