"""Settlement: one device's Statement and records in, signed objects for it out, in one database transaction.

From top to bottom: check the Statement and its nonce, read the records, keep those that the device vouches for, post
them, take note of conflicts, move the head, and only then sign. What repeats (records, whole uploads, Statements)
changes nothing.
"""

import json
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Row, select, update

from host_tools.crypto import Signer, verify
from host_tools.ledger import books, holds, loads, redeem, registry, resolutions, revocation, transfers
from host_tools.ledger.chain import Piece, Upload, pieces
from host_tools.ledger.disputes import disputed
from host_tools.ledger.errors import BadSignature, InvalidInput, UnknownNonce
from host_tools.ledger.evidence import OUTSIDE_CHAIN, commit_to, dead_letter, freeze_rolled_back, joined_chain, seen_seq
from host_tools.ledger.guarantee import fraudulent
from host_tools.ledger.reading import Reader
from host_tools.ledger.schema import devices, records, syncs
from protocol.errors import DecodeError
from protocol.objects import NONCE_BYTES, Receipt, Statement, Transfer, Void
from protocol.records import INSTALLATION_MAX_BYTES, Closing, Loading
from protocol.trust import ROOT_ISSUER

# A terminal may make 5,000 payments on one base and close as many; whoever sends more sends junk.
MAX_RECORDS = 20_000
MAX_OPEN_SYNCS = 16  # nonces of one device that nobody has come back with; the oldest are forgotten


@dataclass(frozen=True)
class Settlement:
    """What became of an upload.

    `objects` are for the device to take, in this order. `certified` says whether the last two of them are a Certificate
    and its Acknowledgement; if not, `note` says why. `accepted` counts the records that moved the ledger's head,
    `dead_letters` are the reasons for what was not taken.
    """

    objects: tuple[bytes, ...]
    certified: bool
    accepted: int
    dead_letters: tuple[str, ...]
    note: str

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"objects": [data.hex() for data in self.objects]})

    @classmethod
    def from_json(cls, text: str) -> "Settlement":
        values = json.loads(text)
        values["objects"] = tuple(bytes.fromhex(data) for data in values["objects"])
        values["dead_letters"] = tuple(values["dead_letters"])
        return cls(**values)


def begin(connection: Connection, device: bytes, nonce: bytes, now: int) -> tuple[bytes, int]:
    """Remember a fresh nonce for the device's next Statement. Returns it with the first seq whose record is wanted.

    Several hosts may each hold one. What the ledger knew of the device by now is kept with it: a Statement over this
    nonce that lies behind proves that the device went back.
    """
    if len(nonce) != NONCE_BYTES:
        raise InvalidInput(f"A nonce has {NONCE_BYTES} bytes", "Call begin_sync again")
    row = registry.device(connection, device)
    waiting = select(syncs.c.nonce).where(syncs.c.device == device, syncs.c.answer.is_(None)).order_by(syncs.c.id)
    for old in connection.execute(waiting).scalars().all()[: -MAX_OPEN_SYNCS + 1]:
        connection.execute(syncs.delete().where(syncs.c.nonce == old))
    connection.execute(syncs.insert().values(nonce=nonce, device=device, seen_seq=seen_seq(connection, device), at=now))
    return nonce, row.head_seq + 1


def settle(
    connection: Connection, signer: Signer, statement_bytes: bytes, raw_records: list[bytes], now: int
) -> Settlement:
    """Raises `BadSignature`, `UnknownDevice`, `WrongSigner`, `UnknownNonce`, `InvalidInput`; nothing is stored then."""
    if len(raw_records) > MAX_RECORDS or any(len(raw) > INSTALLATION_MAX_BYTES for raw in raw_records):
        raise InvalidInput(
            f"An upload has at most {MAX_RECORDS} records of {INSTALLATION_MAX_BYTES} bytes",
            "Send the device's records from the seq that was asked for",
        )
    statement = _statement(statement_bytes)
    device = registry.device(connection, statement.device)
    registry.signing_operator(connection, signer, device.operator, now)
    if not statement.verified_by(device.key, verify):
        raise BadSignature("The Statement is not signed by this device", "Ask the device for a new one")
    sync = connection.execute(
        select(syncs).where(syncs.c.nonce == statement.nonce, syncs.c.device == device.id)
    ).one_or_none()
    if sync is None or sync.statement not in (None, statement_bytes):
        raise UnknownNonce("The Statement's nonce is not fresh", "Begin the sync again")
    if sync.answer is not None:
        return Settlement.from_json(sync.answer)
    answer = _Sync(connection, device, statement, now).run(signer, raw_records, sync.seen_seq)
    connection.execute(
        update(syncs).where(syncs.c.nonce == statement.nonce).values(statement=statement_bytes, answer=answer.to_json())
    )
    return answer


def _statement(data: bytes) -> Statement:
    try:
        return Statement.decode(data)
    except DecodeError as error:
        raise BadSignature(f"This is no Statement ({error})", "Ask the device for a new one") from error


class _Sync:
    """One upload of one device on its way through."""

    def __init__(self, connection: Connection, device: Row, statement: Statement, now: int):
        self._connection = connection
        self._device = device
        self._statement = statement
        self._now = now
        self._reasons: list[str] = []
        self._accepted = 0

    def run(self, signer: Signer, raw_records: list[bytes], seen_before: int) -> Settlement:
        connection, statement = self._connection, self._statement
        uploads, unreadable = Reader(connection, self._device).read(raw_records)
        for raw, reason in unreadable:
            self._refuse(raw, reason)
        found = pieces(statement, uploads, self._held)
        unproven = self._unproven(uploads, found)
        for piece in reversed(found):  # the lowest first, so that debits come before what closes them
            for upload in piece.uploads:
                self._post(upload, piece)
            self._extend(piece)
        for upload in unproven:
            self._refuse(upload.raw, "nothing that the device signed vouches for it")
            known = self._closed_debit(upload.record)
            if known is not None:
                self._hear(upload.record.evidence, known)
        commit_to(connection, self._device.id, statement.seq, statement.head, None, statement.encode(), self._now)
        if statement.seq < seen_before:
            signed = statement.encode()
            freeze_rolled_back(connection, self._device.id, statement.seq, seen_before, signed, self._now)
        self._device = device = registry.device(connection, self._device.id)
        complete = (device.head_seq, device.head_hash) == (statement.seq, statement.head)
        current = seen_seq(connection, device.id) == statement.seq
        if complete and current and not fraudulent(device):
            self._take_floors()
        return self._answer(signer, complete, current)

    def _held(self, seq: int) -> bytes | None:
        if seq == self._device.head_seq:
            return self._device.head_hash
        if seq > self._device.head_seq:
            return None
        query = select(records.c.hash).where(records.c.device == self._device.id, records.c.seq == seq)
        return self._connection.execute(query).scalar_one_or_none()

    def _refuse(self, raw: bytes, reason: str) -> None:
        dead_letter(self._connection, self._device.id, raw, reason, self._now)
        self._reasons.append(reason)

    def _unproven(self, uploads: list[Upload], found: list[Piece]) -> list[Upload]:
        proven = {upload.position for piece in found for upload in piece.uploads}
        outside = [upload for upload in uploads if upload.position not in proven]
        return [upload for upload in outside if self._held(upload.record.seq) != upload.position[1]]

    def _post(self, upload: Upload, piece: Piece) -> None:
        """Take one record for what it says. It counts for the chain even if it is refused."""
        record = upload.record
        body = record.body
        proof = body.encode() if upload.signed else piece.proof
        seq, digest = upload.position
        commit_to(self._connection, self._device.id, seq, digest, body.previous, proof, self._now)
        if isinstance(body, Transfer):
            transfers.debit(self._connection, record.transfer, record.payee_key, self._now)
            redeem.close_torn(self._connection, record.transfer, self._now)
            reason = None
        elif isinstance(body, Receipt):
            reason = self._credit(record)
        elif isinstance(body, Loading):
            reason = loads.take(self._connection, self._device, record.load, self._now)
        elif isinstance(body, Closing):
            reason = self._close(record)
        else:
            transfers.installed(self._connection, self._device.id, record.certificate.issue, seq, self._now)
            reason = None
        if reason is not None:
            self._refuse(upload.raw, reason)

    def _credit(self, record) -> str | None:
        if registry.find_device(self._connection, record.transfer.payer) is None:
            return "the payer is not registered"
        return transfers.claim(self._connection, record.receipt, record.transfer, True, self._now)

    def _close(self, record) -> str | None:
        """The payer brings the payee's word on a debit of its own, or its operator's, which changes nothing here."""
        known = self._closed_debit(record)
        if known is None:
            return "it closes a Transfer that the ledger does not hold"
        refused = transfers.close(self._connection, known, record.seq, record.body.outcome, self._now)
        heard = self._hear(record.evidence, known)
        return refused or heard

    def _closed_debit(self, record) -> Row | None:
        """Of this device, that a Closing names; None for any other record."""
        if not isinstance(record.body, Closing):
            return None
        known = transfers.find(self._connection, record.evidence.transfer)
        return known if known is not None and known.payer == self._device.id else None

    def _hear(self, evidence, known: Row) -> str | None:
        """What the payee signed of a Transfer stands by itself, whatever record brings it."""
        if isinstance(evidence, Receipt):
            return transfers.claim(self._connection, evidence, Transfer.decode(known.transfer), False, self._now)
        if isinstance(evidence, Void):
            transfers.void(self._connection, known.hash, evidence.encode(), self._now)
        return None

    def _extend(self, piece: Piece) -> None:
        """Move the head over a run that continues it; keep another one, which may be the proof of a second history."""
        if not piece.joins or piece.below_seq != self._device.head_seq or not piece.uploads:
            self._keep_aside(piece)
            return
        for upload in piece.uploads:
            seq, digest = upload.position
            self._connection.execute(
                records.insert().values(device=self._device.id, seq=seq, hash=digest, record=upload.raw)
            )
        joined_chain(self._connection, self._device.id, [upload.raw for upload in piece.uploads])
        seq, digest = piece.uploads[-1].position
        self._accepted += len(piece.uploads)
        self._connection.execute(
            update(devices).where(devices.c.id == self._device.id).values(head_seq=seq, head_hash=digest)
        )
        self._device = registry.device(self._connection, self._device.id)

    def _keep_aside(self, piece: Piece) -> None:
        for upload in piece.uploads:
            digest = upload.position[1]
            dead_letter(self._connection, self._device.id, upload.raw, OUTSIDE_CHAIN, self._now, digest)

    def _take_floors(self) -> None:
        """The Statement's watermark and load floor: they count because every record up to its head is held."""
        statement = self._statement
        connection, device = self._connection, self._device
        if statement.watermark >= device.watermark:
            values = {"statement": statement.encode(), "watermark": statement.watermark}
        else:
            values = {}  # request numbers only grow: the higher one stays true
        values["load_floor"] = max(statement.load_floor, device.load_floor)
        connection.execute(update(devices).where(devices.c.id == device.id).values(**values))
        self._device = registry.device(connection, device.id)
        transfers.below_watermark(connection, device.id, device.watermark, self._now)
        loads.give_back(connection, self._device, self._now)

    def _answer(self, signer: Signer, complete: bool, current: bool) -> Settlement:
        connection = self._connection
        revocation.publish_blocked(connection, signer, self._device.operator, self._now)
        device = registry.device(connection, self._device.id)  # a posting may just have frozen it
        note = self._withheld(device, complete, current)
        objects: list[bytes] = []
        if not fraudulent(device):
            objects += self._revocations(device)
            objects += resolutions.due(connection, signer, device)
            if not device.revoked:
                waiting = loads.outstanding(connection, device.id)
                objects += [load.load for load in waiting if load.number > device.next_load_floor]
        if not note:
            carried = holds.limits_of(connection, device, self._now)
            pair = registry.certify(connection, signer, device, None, carried, self._now)
            objects += [signed.encode() for signed in pair]
        return Settlement(tuple(objects), not note, self._accepted, tuple(self._reasons), note)

    def _withheld(self, device: Row, complete: bool, current: bool) -> str:
        """Why the device gets no new Certificate, or an empty text."""
        connection = self._connection
        if device.frozen:
            return f"frozen: {device.frozen}"
        if not complete:
            return f"records after {device.head_seq} are missing or unreadable: sync again"
        if not current:
            return "the device has signed more since: sync again"
        if device.lost_at is not None:
            return "it was reported lost"
        if device.revoked:
            return "its operator has revoked it"
        if revocation.operator_revoked(connection, device.operator):
            return "the central bank has revoked its operator"
        if books.balance(connection, device.purse) < 0:
            # Every credit that it shows is posted, so it paid what it never had; new limits would let it go on.
            return "it has spent more than it received"
        if disputed(connection, device):
            return "it took more from a frozen device than an honest one can: for people to settle"
        return ""

    def _revocations(self, device: Row) -> list[bytes]:
        """The root's list, and of its operator's what is newer than the Certificate that the device has installed."""
        installed = registry.certificate_of(self._connection, device.id, self._statement.issue)
        known = installed[0].epoch if installed else 0
        roots = revocation.newer_than(self._connection, ROOT_ISSUER, 0)
        return roots + revocation.newer_than(self._connection, device.operator, known)
