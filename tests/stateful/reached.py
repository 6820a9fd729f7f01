"""What the ledger was shown of every device, and who must look guilty by it.

Independent of the ledger's own tables: three kinds of proof, each from two signed objects that were uploaded whole.
"""

from host_tools.crypto import sha256, verify
from protocol import records
from protocol.errors import DecodeError
from protocol.objects import Receipt, Statement, Transfer, Void


class Reached:
    """Signed objects by device; `guilty` are those of which two cannot both be honest."""

    def __init__(self, keys: dict[bytes, bytes]):
        self._keys = keys  # device id: public key
        self._positions: dict[tuple[bytes, int], bytes] = {}
        self._spent: dict[tuple[bytes, int], dict[int, Transfer]] = {}  # (payer, issue): {seq: Transfer}
        self._payees: dict[bytes, bytes] = {}  # Transfer hash: its payee
        self._claims: dict[bytes, bytes] = {}  # Transfer hash: its payee
        self._voids: dict[bytes, bytes] = {}
        self.guilty: dict[bytes, str] = {}

    def upload(self, who: bytes, honest: bool, statement: bytes, raw_records: list[bytes]) -> None:
        """A settlement that the ledger did not refuse."""
        told = Statement.decode(statement)
        self._commits(who, told.seq, told.head)
        for raw in raw_records:
            try:
                record = records.decode(raw)
                records.check_links(record, sha256)
            except DecodeError:
                continue
            body = record.body
            if isinstance(body, Transfer):
                if body.payer == who and sha256(record.payee_key)[:16] == body.payee:
                    self.transfer(record.transfer)
            elif isinstance(body, Receipt):
                if record.transfer.payee == who and self._signed(record.receipt, who):
                    self.transfer(record.transfer)
                    self._receipt(who, record.receipt)
            elif honest and isinstance(body, records.Closing):
                self._evidence(record.evidence)

    def transfer(self, transfer: Transfer) -> None:
        if not self._signed(transfer, transfer.payer):
            return
        digest = sha256(transfer.body())
        self._commits(transfer.payer, transfer.seq, digest)
        self._commits(transfer.payer, transfer.seq - 1, transfer.previous)
        spent = self._spent.setdefault((transfer.payer, transfer.payer_issue), {})
        for seq, other in spent.items():
            first, second = (other, transfer) if seq < transfer.seq else (transfer, other)
            if seq != transfer.seq and second.cumulative < first.cumulative + second.amount:
                self.guilty[transfer.payer] = "cumulative falls"
        spent[transfer.seq] = transfer
        self._payees[digest] = transfer.payee

    def _evidence(self, evidence) -> None:
        payee = self._payees.get(evidence.transfer)
        if payee is None or payee not in self._keys:
            return
        if isinstance(evidence, Receipt):
            self._receipt(payee, evidence)
        elif isinstance(evidence, Void):
            self._voids[evidence.transfer] = payee
            self._both(evidence.transfer)

    def _receipt(self, payee: bytes, receipt: Receipt) -> None:
        self._commits(payee, receipt.seq, sha256(receipt.body()))
        self._commits(payee, receipt.seq - 1, receipt.previous)
        self._claims[receipt.transfer] = payee
        self._both(receipt.transfer)

    def _both(self, transfer_hash: bytes) -> None:
        if transfer_hash in self._claims and transfer_hash in self._voids:
            self.guilty[self._claims[transfer_hash]] = "receipt and void"

    def _commits(self, who: bytes, seq: int, digest: bytes) -> None:
        if self._positions.setdefault((who, seq), digest) != digest:
            self.guilty[who] = "two histories"

    def _signed(self, signed, who: bytes) -> bool:
        key = self._keys.get(who)
        return key is not None and signed.verified_by(key, verify)
