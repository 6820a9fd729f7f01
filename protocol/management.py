"""What a host may do with a device: make its key, personalise it, read its statement and journal, and hand it
its operator's objects.

The host is only a carrier. Every object is checked here against the device's own operator; a repeated one answers as it
did the first time. Handlers return effects; `device` is described in `protocol.card`.
"""

from protocol import effects, records
from protocol.errors import (
    ALREADY_PERSONALISED,
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    LOT,
    MISMATCH,
    NOT_FOR_THIS_DEVICE,
    NOT_FOUND,
    NOT_PERSONALISED,
    REVOCATIONS_MISSING,
    STALE,
    WRONG_BASE,
    DecodeError,
    Refused,
)
from protocol.info import DeviceInfo
from protocol.limits import check_headroom
from protocol.objects import (
    KEY_BYTES,
    NONCE_BYTES,
    RETIRE,
    UNBLOCK_PIN,
    Acknowledgement,
    Certificate,
    Load,
    OperatorCertificate,
    Order,
    Receipt,
    Resolution,
    Revocations,
    Statement,
    Transfer,
    device_id,
)

# Names of settings that outlive power
ROOT = "root"
OWN_OPERATOR = "operator"
ORDER_NUMBER = "order"
ORDER_REFUSED = "order refused"  # the cause, if the Order of that number was refused
RETIRED = "retired"
CLOSED = "closed"  # the prompt, for good
PERSONALISED = "personalised"


def _check_pair(certificate, acknowledgement, public_key: bytes, operator, sha256, verify) -> None:
    """A Certificate and the Acknowledgement that comes with it must be one operator's word about this device."""
    if certificate.key != public_key or acknowledgement.device != device_id(public_key, sha256):
        raise Refused(NOT_FOR_THIS_DEVICE)
    if certificate.operator != operator.operator or acknowledgement.operator != operator.operator:
        raise Refused(NOT_FOR_THIS_DEVICE)
    if acknowledgement.issue != certificate.issue or acknowledgement.base_seq != certificate.base_seq:
        raise Refused(MISMATCH)
    if not (certificate.verified_by(operator.key, verify) and acknowledgement.verified_by(operator.key, verify)):
        raise Refused(BAD_CERTIFICATE)


class Management:
    """Handlers of the host's commands for one device."""

    def __init__(self, device):
        self._device = device

    def personalise(self, data: bytes) -> list:
        """Root key, OperatorCertificate, Certificate, Acknowledgement: trust on first use, once in a key's life."""
        party = self._device.party
        if party is None:
            raise Refused(NOT_PERSONALISED)
        if len(data) != KEY_BYTES + OperatorCertificate.size() + Certificate.size() + Acknowledgement.size():
            raise DecodeError("Personalise", "length")
        root, rest = data[:KEY_BYTES], data[KEY_BYTES:]
        operator = OperatorCertificate.decode(rest[: OperatorCertificate.size()])
        certificate, acknowledgement = self._pair(rest[OperatorCertificate.size() :])
        purse = party.purse
        if purse.certificate is not None:
            first = purse.certificate.encode() == certificate.encode() and root == party.trust.root_key
            if first and purse.acknowledgement.encode() == acknowledgement.encode():
                return [effects.Save({PERSONALISED: b"\x01"})]  # the first time may have been cut before this
            raise Refused(ALREADY_PERSONALISED)
        if not operator.verified_by(root, party.verify):
            raise Refused(BAD_CERTIFICATE)
        _check_pair(certificate, acknowledgement, party.public_key, operator, party.sha256, party.verify)
        if acknowledgement.base_seq or acknowledgement.base_hash != purse.head_hash or acknowledgement.request_floor:
            raise Refused(WRONG_BASE)
        if certificate.epoch:
            raise Refused(REVOCATIONS_MISSING)
        values = {ROOT: root, OWN_OPERATOR: operator.encode()}
        # The mark is set last: with it, an empty journal is a wiped one, and the device does not start again.
        mark = effects.Save({PERSONALISED: b"\x01"})
        space = self._installation_space()
        return [space, effects.Save(values), self._installation(certificate, acknowledgement, 0), mark]

    def install(self, data: bytes) -> list:
        """Certificate and Acknowledgement in one atomic record; records they cover may then be dropped."""
        party = self._device.party
        own = self._device.certificate
        certificate, acknowledgement = self._pair(data)
        purse = party.purse
        if certificate.encode() == own.encode() and acknowledgement.encode() == purse.acknowledgement.encode():
            return [effects.Drop(own.base_seq + 1)]  # the first time may have been cut before this
        _check_pair(certificate, acknowledgement, party.public_key, party.trust.own, party.sha256, party.verify)
        if certificate.issue <= own.issue:
            raise Refused(STALE)
        if certificate.role != own.role:
            raise Refused(MISMATCH)
        if certificate.epoch > party.trust.epoch:
            raise Refused(REVOCATIONS_MISSING)
        base = certificate.base_seq
        if not own.base_seq <= base <= purse.head_seq or acknowledgement.base_hash != self._hash_at(base):
            raise Refused(WRONG_BASE)
        floor = acknowledgement.request_floor
        if not max(purse.request_floor, self._credited_by(base) + 1) <= floor <= self._device.payee.watermark:
            raise Refused(WRONG_BASE)
        payee = self._device.payee
        payee.check_not_busy()
        return [
            self._installation_space(),
            effects.Then(payee.close),  # a Request names the Certificate it was signed under
            self._installation(certificate, acknowledgement, self._spent_above(base)),
            effects.Drop(base + 1),
        ]

    def _installation_space(self):
        """Space for an installation and still for all closings: a base that does not move frees nothing."""
        in_doubt = len(self._device.party.purse.in_doubt)
        n_bytes = in_doubt * records.CLOSING_MAX_BYTES + records.INSTALLATION_MAX_BYTES
        return effects.Reserve(in_doubt + 1, n_bytes, True)

    def _pair(self, data: bytes):
        if len(data) != Certificate.size() + Acknowledgement.size():
            raise DecodeError("Install", "length")
        return Certificate.decode(data[: Certificate.size()]), Acknowledgement.decode(data[Certificate.size() :])

    def _hash_at(self, seq: int) -> bytes:
        """The hash of our own record at `seq`: the one after it names it."""
        purse = self._device.party.purse
        if seq == purse.head_seq:
            return purse.head_hash
        return records.decode(self._device.record(seq + 1)).body.previous

    def _credited_by(self, seq: int) -> int:
        """The highest number of a Transfer that a record at or below `seq` credits, -1 for none.

        Its record may go with this base, and what is not below the floor then would be voided. Numbers grow with seq,
        so the last of these credits tells; those that are gone already lie below the present floor.
        """
        for at in range(seq, 0, -1):
            stored = self._device.record(at)
            if stored is None:
                break
            if stored[records.SEQ_BYTES] == Receipt.TYPE:
                return records.decode(stored).transfer.number
        return -1

    def _spent_above(self, seq: int) -> int:
        amounts = 0
        for data in self._device.records(seq + 1):
            body = records.decode(data).body
            if isinstance(body, Transfer):
                amounts += body.amount
        return amounts

    def _installation(self, certificate, acknowledgement, cumulative: int):
        party = self._device.party
        purse = party.purse
        body = records.Installation(
            seq=purse.head_seq + 1,
            previous=purse.head_hash,
            certificate=party.sha256(certificate.body()),
            acknowledgement=party.sha256(acknowledgement.body()),
        )
        head = purse.snapshot(cumulative, acknowledgement.load_floor)
        return effects.Commit(records.installation(body, certificate, acknowledgement, head, purse.snapshot_debits()))

    def statement(self, nonce: bytes) -> list:
        """Sign where the journal stands.

        A Request that a person opened must end first; one opened by a tap is closed by this.
        """
        party = self._device.party
        payee = self._device.payee
        if len(nonce) != NONCE_BYTES:
            raise DecodeError("Statement", "length")
        own = self._device.certificate
        payee.check_not_busy()
        payee.close()
        statement = Statement(
            device=party.id,
            nonce=nonce,
            seq=party.purse.head_seq,
            head=party.purse.head_hash,
            watermark=payee.watermark,
            request_floor=party.purse.request_floor,
            load_floor=party.purse.load_floor,
            issue=own.issue,
            time=party.clock(),
        )
        return [effects.Answer(statement.sign(party.sign).encode())]

    def journal(self, data: bytes) -> list:
        """The stored record of one seq."""
        if len(data) != 4:
            raise DecodeError("Journal", "length")
        stored = self._device.record(int.from_bytes(data, "big"))
        if stored is None:
            raise Refused(NOT_FOUND)
        return [effects.Answer(stored)]

    def revocations(self, data: bytes) -> list:
        """What brings whoever has this epoch of an issuer's list further."""
        if len(data) != 6:
            raise DecodeError("Revocations", "length")
        held = self._device.party.trust.list_of(int.from_bytes(data[:2], "big"))
        newer = held.newer_than(int.from_bytes(data[2:], "big"))
        if not newer:
            raise Refused(NOT_FOUND)
        return [effects.Answer(newer)]

    def info(self) -> bytes:
        """The DeviceInfo; a device without a key answers with zeros."""
        device = self._device
        party = device.party
        values: dict = {name: bytes(-size) if size < 0 else 0 for name, size in DeviceInfo.FIELDS}
        values["flags"] = device.flags
        values["order"] = device.order_number
        if party:
            purse = party.purse
            values.update(
                device=party.id,
                key=party.public_key,
                head_seq=purse.head_seq,
                base_seq=purse.base_seq,
                balance=purse.balance,
                in_doubt=purse.in_doubt_sum,
                in_doubt_count=len(purse.in_doubt),
                cumulative=purse.cumulative,
                load_floor=purse.load_floor,
                watermark=device.payee.watermark,
                time=party.clock(),
            )
            if purse.certificate:
                values.update(operator=purse.certificate.operator, issue=purse.certificate.issue)
        return DeviceInfo(**values).body()

    def put(self, data: bytes) -> list:
        """One object of the device's own operator or of the root, by its type byte. For a personalised device."""
        handler = self._PUT.get(data[0] if data else 0)
        if handler is None:
            raise DecodeError("Put", "type")
        kind, take = handler
        return take(self, kind.decode(data))

    def put_operator(self, certificate: OperatorCertificate) -> list:
        """Believe an operator the root certified. Our own operator's newer one is kept over power loss."""
        trust = self._device.party.trust
        own = trust.own
        trust.add_operator(certificate)
        return [] if trust.own is own else [effects.Save({OWN_OPERATOR: certificate.encode()})]

    def _put_revocations(self, revocations: Revocations) -> list:
        return self._device.party.trust.put_revocations(revocations)

    def _put_load(self, load: Load) -> list:
        party = self._device.party
        purse = party.purse
        load_hash = party.sha256(load.body())
        if load_hash == purse.last_load:
            return []
        self._check_order(load)
        if load.number <= purse.load_floor:
            raise Refused(STALE)
        if load.lot:
            raise Refused(LOT)
        check_headroom(purse, self._device.certificate, load.amount + self._device.payee.expected)
        body = records.Loading(seq=purse.head_seq + 1, previous=purse.head_hash, load=load_hash)
        space = records.reservation(len(purse.in_doubt), records.LOAD_RECORD_BYTES)
        return [space, effects.Commit(records.loading(body, load))]

    def _put_resolution(self, resolution: Resolution) -> list:
        return self._device.payer.close(resolution)

    def _put_order(self, order: Order) -> list:
        self._check_order(order)
        device = self._device
        if order.number == device.order_number:
            cause = device.settings.get(ORDER_REFUSED)
            if cause:
                raise Refused(cause[0])
            return []
        if order.number < device.order_number:
            raise Refused(STALE)
        values = {ORDER_NUMBER: order.number.to_bytes(4, "big"), ORDER_REFUSED: b""}
        try:
            if order.what == UNBLOCK_PIN:
                values.update(device.unblock_pin(order.argument))
            else:
                values[RETIRED if order.what == RETIRE else CLOSED] = b"\x01"
        except Refused as refusal:
            # Its number is used up: what cannot be done now must not be done later, when nobody wants it any more.
            values[ORDER_REFUSED] = bytes((refusal.cause,))
            device.perform([effects.Save(values)])
            raise
        return [effects.Save(values)]

    def _check_order(self, signed) -> None:
        """Signed by our operator, for this device."""
        party = self._device.party
        if signed.device != party.id or signed.operator != party.trust.own.operator:
            raise Refused(NOT_FOR_THIS_DEVICE)
        if not signed.verified_by(party.trust.own.key, party.verify):
            raise Refused(BAD_SIGNATURE)

    _PUT = {
        OperatorCertificate.TYPE: (OperatorCertificate, put_operator),
        Revocations.TYPE: (Revocations, _put_revocations),
        Load.TYPE: (Load, _put_load),
        Resolution.TYPE: (Resolution, _put_resolution),
        Order.TYPE: (Order, _put_order),
    }
