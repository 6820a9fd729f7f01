"""The purse: everything a device's journal says about its money, as plain values.

A fold over records, and nothing else.

`apply` is the only way in. It is called for each record read at boot and for each record just committed, so that memory
never says anything the journal does not. It trusts the journal (signatures were checked before the commit) but not its
order: a record that does not continue the chain raises, and the device stops signing.
"""

from protocol import records
from protocol.errors import LocalError
from protocol.objects import NO_HASH, PAID, Acknowledgement, Certificate, Receipt, Transfer

MAX_PAYERS = 16  # whose last Transfer is remembered, to see if what they say they have spent falls


class Debit:
    """An in-doubt debit: the Transfer, its hash, the payee's key, the flags it was committed with."""

    def __init__(self, transfer: Transfer, transfer_hash: bytes, payee_key: bytes, flags: int):
        self.transfer = transfer
        self.hash = transfer_hash
        self.payee_key = payee_key
        self.flags = flags


class Purse:
    """State of one device. `certificate` is None until the first installation. Amounts in minor units.

    `balance` is what can be spent; `in_doubt` debits are already out of it and shown apart. `cumulative` is what was
    spent since the installed base, voided or not: it never decreases on one base.
    """

    def __init__(self, public_key: bytes, sha256):
        self._sha256 = sha256
        self._genesis = records.genesis(public_key, sha256)
        self._start()

    def _start(self) -> None:
        self.head_seq = 0
        self.head_hash = self._genesis
        self.certificate: Certificate | None = None
        self.certificate_hash = NO_HASH
        self.acknowledgement: Acknowledgement | None = None
        self.balance = 0
        self.cumulative = 0
        self.unconfirmed = 0
        self.load_floor = 0
        self.last_load = NO_HASH
        self.in_doubt: list[Debit] = []
        self.last_receipt: Receipt | None = None  # of the last credit, for the commonest re-tap
        self.last_closing: tuple[bytes, int] | None = None  # (transfer hash, outcome)
        self.last_amount = 0  # of the last payment that ended: received, or paid with a minus; 0 if it was voided
        self._payers: list[tuple] = []  # (payer, issue, seq, cumulative) of the last Transfers of the last payers

    @property
    def in_doubt_sum(self) -> int:
        return sum([debit.transfer.amount for debit in self.in_doubt])

    @property
    def base_seq(self) -> int:
        return self.certificate.base_seq if self.certificate else 0

    @property
    def request_floor(self) -> int:
        return self.acknowledgement.request_floor if self.acknowledgement else 0

    def debit_of(self, transfer_hash: bytes) -> Debit | None:
        for debit in self.in_doubt:
            if debit.hash == transfer_hash:
                return debit
        return None

    def debit_for(self, request_hash: bytes) -> Debit | None:
        """The in-doubt debit that answered this Request."""
        for debit in self.in_doubt:
            if debit.transfer.request == request_hash:
                return debit
        return None

    def debit_to(self, payee: bytes) -> Debit | None:
        """The oldest in-doubt debit to this payee."""
        for debit in self.in_doubt:
            if debit.transfer.payee == payee:
                return debit
        return None

    def take(self, data: bytes, first: bool) -> None:
        """Rebuild from the journal: called with each of its records, oldest first, and `check_replayed` at the end.

        `first` says that this is the oldest one: whatever was taken before it is forgotten. Records before the first
        installation among them only lengthen the chain.
        """
        record = records.decode(data)
        if first:
            self._start()
            if record.seq > 1:
                # The journal was cut at an installed base: the chain continues from what that base vouches for.
                self.head_seq = record.seq - 1
                self.head_hash = record.body.previous
        self._apply(record)

    def check_replayed(self) -> None:
        """All records were taken: raises `LocalError` if none of them says what this purse holds."""
        if self.head_seq and self.certificate is None:
            raise LocalError("journal without an installation")

    def apply(self, data: bytes) -> None:
        """Take one committed record. Raises `LocalError` or `DecodeError` if it does not continue this journal."""
        self._apply(records.decode(data))

    def _apply(self, record: records.Record) -> None:
        if record.seq != self.head_seq + 1 or record.body.previous != self.head_hash:
            raise LocalError("record %d does not continue the chain" % record.seq)
        body = record.body
        record_hash = self._sha256(record.body_bytes)
        if isinstance(body, records.Installation):
            self._install(record)
        elif self.certificate is not None:
            if isinstance(body, Transfer):
                self._debit(record, record_hash)
            elif isinstance(body, Receipt):
                self.balance += record.transfer.amount
                self.last_receipt = record.receipt
                self.last_amount = record.transfer.amount
                self._remember(record.transfer)
            elif isinstance(body, records.Loading):
                self.balance += record.load.amount
                self.load_floor = record.load.number
                self.last_load = body.load
            else:
                self._close(body)
        self.head_seq = record.seq
        self.head_hash = record_hash

    def _remember(self, transfer: Transfer) -> None:
        self._payers = [known for known in self._payers if known[0] != transfer.payer][1 - MAX_PAYERS :]
        self._payers.append((transfer.payer, transfer.payer_issue, transfer.seq, transfer.cumulative))

    def follows(self, transfer: Transfer) -> bool:
        """Whether a Transfer can come after the last one that we credited of the same payer.

        Under one Certificate its position and what it says to have spent only grow.
        """
        for payer, issue, seq, cumulative in self._payers:
            if payer == transfer.payer and issue == transfer.payer_issue:
                return transfer.seq > seq and transfer.cumulative >= cumulative + transfer.amount
        return True

    def _debit(self, record: records.Record, transfer_hash: bytes) -> None:
        amount = record.transfer.amount
        self.balance -= amount
        self.cumulative = record.transfer.cumulative
        if record.flags == records.CONFIRMED:
            self.unconfirmed = 0
        elif record.flags != records.REDEEMED:
            self.unconfirmed += amount
        self.in_doubt.append(Debit(record.transfer, transfer_hash, record.payee_key, record.flags))

    def _close(self, body: records.Closing) -> None:
        debit = self.debit_of(body.transfer)
        if debit is None:
            raise LocalError("closes no debit in doubt")
        if body.outcome != PAID:
            self.balance += debit.transfer.amount
            self.last_amount = 0
        else:
            self.last_amount = -debit.transfer.amount
        self.in_doubt.remove(debit)
        self.last_closing = (body.transfer, body.outcome)

    def _install(self, record: records.Record) -> None:
        head = record.snapshot
        self.certificate = record.certificate
        self.certificate_hash = record.body.certificate
        self.acknowledgement = record.acknowledgement
        self.balance = head.balance
        self.cumulative = head.cumulative
        self.unconfirmed = head.unconfirmed
        self.load_floor = head.load_floor
        self.last_load = head.last_load
        self.in_doubt = [
            Debit(transfer, self._sha256(transfer.body()), key, flags) for transfer, key, flags in record.in_doubt
        ]

    def snapshot(self, cumulative: int, load_floor: int) -> records.SnapshotHead:
        """The head of an installation record made now, with the cumulative spent above the new base."""
        return records.SnapshotHead(
            balance=self.balance,
            cumulative=cumulative,
            unconfirmed=self.unconfirmed,
            load_floor=max(load_floor, self.load_floor),
            last_load=self.last_load,
            count=len(self.in_doubt),
        )

    def snapshot_debits(self) -> list:
        return [(debit.transfer, debit.payee_key, debit.flags) for debit in self.in_doubt]
