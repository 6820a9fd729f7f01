"""Reading uploaded records: the strict decoding and every signature that a record carries with it.

A record that cannot be read here does not count at all, and the ledger's head stays below it: signatures and
attachments are not part of the hash chain, so a carrier could have spoilt them, and the device must not drop the
record before the ledger has a good copy. What can be read but not taken (settlement's business) moves on as a dead
letter.
"""

from collections.abc import Callable

from sqlalchemy import Connection, Row

from host_tools.crypto import sha256, verify
from host_tools.ledger import registry, resolutions, transfers
from host_tools.ledger.chain import Upload
from protocol import records
from protocol.errors import DecodeError
from protocol.objects import Receipt, Resolution, Transfer, Void, device_id
from protocol.records import Closing, Installation, Loading, Record


class Unreadable(Exception):
    """Why a record does not count."""


class Reader:
    """Reads one upload of one device. Debits are read before closings, which speak of them."""

    def __init__(self, connection: Connection, device: Row):
        self._connection = connection
        self._device = device
        self._operator_key = registry.operator_certificate(connection, device.operator).key
        self._debits: dict[bytes, tuple[Transfer, bytes]] = {}

    def read(self, raw_records: list[bytes]) -> tuple[list[Upload], list[tuple[bytes, str]]]:
        """What can be read, and what cannot with the reason; each record once."""
        uploads: list[Upload] = []
        unreadable: list[tuple[bytes, str]] = []
        for raw in dict.fromkeys(raw_records):
            try:
                record = records.decode(raw)
                records.check_links(record, sha256)
                uploads.append(Upload(raw, record))
            except DecodeError as error:
                unreadable.append((raw, str(error)))
        good = []
        for upload in sorted(uploads, key=lambda upload: isinstance(upload.record.body, Closing)):
            try:
                self._CHECKS[type(upload.record.body)](self, upload.record)
                good.append(upload)
            except Unreadable as reason:
                unreadable.append((upload.raw, str(reason)))
        return good, unreadable

    def _debit(self, record: Record) -> None:
        transfer = record.transfer
        if transfer.payer != self._device.id:
            raise Unreadable("a debit of another device")
        if device_id(record.payee_key, sha256) != transfer.payee:
            raise Unreadable("the payee's key is not the payee's")
        self._signed(transfer, self._device.key)
        self._debits[sha256(transfer.body())] = (transfer, record.payee_key)

    def _credit(self, record: Record) -> None:
        if record.transfer.payee != self._device.id:
            raise Unreadable("a credit of another device")
        self._signed(record.receipt, self._device.key)
        payer = registry.find_device(self._connection, record.transfer.payer)
        if payer is not None:  # who is not registered cannot pay: settlement refuses that
            self._signed(record.transfer, payer.key)

    def _loading(self, record: Record) -> None:
        if record.load.device != self._device.id:
            raise Unreadable("a load of another device")
        self._signed(record.load, self._operator_key)

    def _closing(self, record: Record) -> None:
        evidence = record.evidence
        if isinstance(evidence, Resolution):
            if not resolutions.is_ours(self._connection, evidence, self._device):
                raise Unreadable("the Resolution is not this operator's for this device")
            return
        payee_key = self._payee_key(evidence)
        if payee_key is None:
            raise Unreadable("it closes a Transfer that the ledger does not hold")
        self._signed(evidence, payee_key)

    def _payee_key(self, evidence: Receipt | Void) -> bytes | None:
        if evidence.transfer in self._debits:
            return self._debits[evidence.transfer][1]
        known = transfers.find(self._connection, evidence.transfer)
        return known.payee_key if known is not None and known.payer == self._device.id else None

    def _installation(self, record: Record) -> None:
        issued = registry.certificate_of(self._connection, self._device.id, record.certificate.issue)
        pair = (record.certificate.encode(), record.acknowledgement.encode())
        if issued is None or pair != (issued[0].encode(), issued[1].encode()):
            raise Unreadable("it installs a Certificate that the ledger did not issue")

    def _signed(self, signed, key: bytes) -> None:
        if not signed.verified_by(key, verify):
            raise Unreadable(f"the {type(signed).__name__}'s signature is wrong")

    _CHECKS: dict[type, Callable[["Reader", Record], None]] = {
        Transfer: _debit,
        Receipt: _credit,
        Loading: _loading,
        Closing: _closing,
        Installation: _installation,
    }
