"""A second opinion on money: what one device's records say, folded here by docs/protocol.md ("Journal", rule 5), and
everything that was ever seen of the device and must therefore be true for ever.
"""

from bank import BODY_BYTES, CLOSING, DEBIT, INSTALLATION, LOADING, RECEIPT, Transfer, Wrong, sha256, u32


class Books:
    """Of one device. `take` is given its records again and again: what was there once is never lost or changed."""

    def __init__(self, key: bytes):
        self.key = key
        self.records = {}  # seq: record
        self._reset()

    def _reset(self) -> None:
        self.seq = 0
        self.head = sha256(self.key)
        self.balance = self.cumulative = self.unconfirmed = self.load_floor = self.base = 0
        self.loaded = 0
        self.in_doubt = {}  # hash of the Transfer: Transfer
        self.credits = {}  # hash of the Transfer: amount
        self.debits = []  # Transfers
        self.paid = []  # hashes of those that were closed as paid

    def copy(self):
        other = Books(self.key)
        other.records = dict(self.records)
        other.refold()
        return other

    def refold(self) -> None:
        self._reset()
        for seq in range(1, len(self.records) + 1):
            self._fold(self.records[seq])

    def take(self, first_seq: int, records) -> None:
        """All records that the device has now, the oldest is `first_seq`."""
        seq = first_seq
        for record in records:
            record = bytes(record)
            if u32(record, 0) != seq:
                raise Wrong("record %d stands where %d should" % (u32(record, 0), seq))
            known = self.records.get(seq)
            if known is None:
                if seq != self.seq + 1:
                    raise Wrong("records before %d were never seen" % seq)
                self.records[seq] = record
                self._fold(record)
            elif known != record:
                raise Wrong("record %d has changed" % seq)
            seq += 1
        if seq <= self.seq:
            raise Wrong("committed records are gone: %d of %d" % (seq - 1, self.seq))
        if first_seq > self.base + 1:
            raise Wrong("records above the base were dropped")

    def forget(self) -> None:
        """Let go of what the device has dropped. These books can then not be copied any more."""
        for seq in range(self.base, 0, -1):
            if self.records.pop(seq, None) is None:
                return

    def _fold(self, record: bytes) -> None:
        kind = record[4]
        size = BODY_BYTES[kind]
        body, rest = record[4 : 4 + size], record[4 + size :]
        if u32(body, 2) != self.seq + 1 or body[6:38] != self.head:
            raise Wrong("record %d does not continue the chain" % (self.seq + 1))
        self.seq += 1
        self.head = sha256(body)
        if kind == DEBIT:
            self._debit(Transfer(body), rest[-1])
        elif kind == RECEIPT:
            amount = u32(rest, 64 + 70)
            self.balance += amount
            if body[38:70] in self.credits:
                raise Wrong("credits one Transfer twice")
            self.credits[bytes(body[38:70])] = amount
        elif kind == LOADING:
            number, amount = u32(rest, 20), u32(rest, 24)
            if number <= self.load_floor:
                raise Wrong("takes Load %d twice" % number)
            self.balance += amount
            self.loaded += amount
            self.load_floor = number
        elif kind == CLOSING:
            transfer = self.in_doubt.pop(bytes(body[38:70]), None)
            if transfer is None:
                raise Wrong("closes a debit that is not in doubt")
            if body[70] == 2:
                self.balance += transfer.amount
            else:
                self.paid.append(transfer.hash)
        elif kind == INSTALLATION:
            self._install(rest)

    def _debit(self, transfer: Transfer, flags: int) -> None:
        if transfer.amount > self.balance:
            raise Wrong("spends what it has not")
        self.balance -= transfer.amount
        self.cumulative += transfer.amount
        if self.cumulative != transfer.cumulative:
            raise Wrong("cumulative")
        self.unconfirmed = 0 if flags == 1 else self.unconfirmed + (transfer.amount if flags == 0 else 0)
        self.in_doubt[transfer.hash] = transfer
        self.debits.append(transfer)

    def _install(self, rest: bytes) -> None:
        """Certificate, Acknowledgement, SnapshotHead, debits in doubt."""
        self.base = u32(rest, 71)
        above = [transfer.amount for transfer in self.debits if transfer.seq > self.base]
        self.cumulative = sum(above)
        snapshot = rest[139 + 136 :]
        self.load_floor = max(self.load_floor, u32(rest, 139 + 64))
        said = (int.from_bytes(snapshot[2:10], "big"), u32(snapshot, 10), u32(snapshot, 14), u32(snapshot, 18))
        if said != (self.balance, self.cumulative, self.unconfirmed, self.load_floor):
            raise Wrong("snapshot %s, records say %s" % (said, (self.balance, self.cumulative, self.unconfirmed)))
        debits = [sha256(snapshot[at : at + 130]) for at in range(55, len(snapshot), 194 + 33)]
        if snapshot[54] != len(debits) or sorted(debits) != sorted(self.in_doubt):
            raise Wrong("debits in doubt of the snapshot")

    def has_paid(self, amount: int) -> bool:
        """Whether a debit of this amount has ended, and not by coming back."""
        return any([transfer.amount == amount and transfer.hash in self.paid for transfer in self.debits])

    def compare(self, purse) -> None:
        """The device's own state in memory must be what its records say."""
        theirs = (purse.head_seq, purse.head_hash, purse.balance, purse.cumulative, purse.unconfirmed)
        theirs += (purse.load_floor, purse.base_seq, sorted([debit.hash for debit in purse.in_doubt]))
        ours = (self.seq, self.head, self.balance, self.cumulative, self.unconfirmed)
        ours += (self.load_floor, self.base, sorted(self.in_doubt))
        if theirs != ours:
            raise Wrong("the device says %s, its records %s" % (theirs[2:7], ours[2:7]))
