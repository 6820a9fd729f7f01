"""One device of the city: its key, its journal and the state that follows from it.

Does what the firmware does (`protocol.purse`, `protocol.management`), in the firmware's order and with the same bytes,
but keeps its state as plain values and writes records with compiled layouts: a city makes millions of them. Nothing is
kept of a journal below the installed base. Amounts are minor units, times Unix seconds.
"""

from typing import NamedTuple

from host_tools.city import encoding
from host_tools.city.lists import Lists
from host_tools.crypto import Signer, sha256, verify
from protocol.errors import BAD_CERTIFICATE, REVOCATIONS_MISSING, STALE, WRONG_BASE, Refused
from protocol.limits import REQUEST_BLOCK, check_headroom
from protocol.objects import (
    DAY_S,
    NO_HASH,
    PAID,
    Acknowledgement,
    Certificate,
    Load,
    Receipt,
    Resolution,
    Revocations,
    Transfer,
    device_id,
)
from protocol.purse import MAX_PAYERS
from protocol.records import genesis

_TYPE_AT = 4  # in a stored record
_PREVIOUS_AT = 10
_CREDITED_AT = 42  # in a stored credit: the Transfer's hash
_AMOUNT_AT = 74  # in a stored debit


class Debit(NamedTuple):
    """A payment in doubt."""

    hash: bytes
    transfer: bytes  # encoded, with its signature
    payee: bytes  # device id
    payee_key: bytes
    flags: int
    amount: int
    number: int
    credited_seq: int  # where its payee credited it, 0 if it did not
    receipt: bytes  # encoded, if its payee credited it


class Device:
    """A wallet or a terminal. `journal` holds the stored records above the base; None keeps none of them.

    `powered` says that its clock runs between taps, as a terminal's does and a card's does not.
    """

    __slots__ = (
        "acknowledgement",
        "balance",
        "certificate",
        "certificate_hash",
        "cumulative",
        "head_hash",
        "head_seq",
        "id",
        "in_doubt",
        "journal",
        "journal_first",
        "key",
        "last_credited",
        "last_load",
        "lists",
        "load_floor",
        "next_number",
        "payers",
        "powered",
        "sign",
        "unconfirmed",
    )

    certificate: Certificate
    acknowledgement: Acknowledgement

    def __init__(self, seed: bytes, lists: Lists, keeps_journal: bool = True, powered: bool = True):
        signer = Signer(seed)
        self.key = signer.public
        self.sign = signer.sign
        self.id = device_id(self.key, sha256)
        self.lists = lists
        self.powered = powered
        self.head_seq = 0
        self.head_hash = genesis(self.key, sha256)
        self.journal: list[bytes] | None = [] if keeps_journal else None
        self.journal_first = 1
        self.balance = 0
        self.cumulative = 0
        self.unconfirmed = 0
        self.load_floor = 0
        self.last_load = NO_HASH
        self.last_credited = NO_HASH  # the last Transfer; its Receipt is at hand even when the record is dropped
        self.in_doubt: list[Debit] = []
        self.payers: dict[bytes, tuple[int, int, int]] = {}  # payer: issue, seq, cumulative of its last Transfer
        self.next_number = 1  # of the next Request

    def copy(self) -> "Device":
        """What a flash clip makes: the same key, journal and settings, and a life of its own from here on."""
        twin = object.__new__(Device)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.journal = None if self.journal is None else list(self.journal)
        twin.in_doubt = list(self.in_doubt)
        twin.payers = dict(self.payers)
        credits_kept = (record for record in reversed(self.journal or []) if record[_TYPE_AT] == Receipt.TYPE)
        twin.last_credited = next((record[_CREDITED_AT : _CREDITED_AT + 32] for record in credits_kept), NO_HASH)
        blocks = -(-(self.next_number - 1) // REQUEST_BLOCK)  # made durable as a whole, and the rest lost with power
        twin.next_number = blocks * REQUEST_BLOCK + 1
        return twin

    # What `protocol.limits` asks of a purse

    @property
    def in_doubt_sum(self) -> int:
        return sum(debit.amount for debit in self.in_doubt)

    def clock(self, now: int) -> int:
        """Its lower bound of the time: without power between taps a device knows only what its operator last said."""
        return now if self.powered else self.acknowledgement.time

    def day(self, now: int) -> int:
        """The latest Unix day that it knows of."""
        return max(self.clock(now) // DAY_S, self.certificate.valid_from)

    def commit(self, body: bytes, record: bytes) -> None:
        """Append a record whose body is `body`."""
        self.head_seq += 1
        self.head_hash = sha256(body)
        if self.journal is not None:
            self.journal.append(record)

    def records_from(self, seq: int) -> list[bytes]:
        """The stored records from `seq` on; those that were dropped are not among them."""
        return (self.journal or [])[max(0, seq - self.journal_first) :]

    # Being paid

    def has_receipt(self, debit: Debit) -> bool:
        """Whether it still has its Receipt of a Transfer, which is in doubt at its payer."""
        return debit.hash == self.last_credited or debit.credited_seq > self.certificate.base_seq

    def follows(self, payer: bytes, issue: int, seq: int, cumulative: int, amount: int) -> bool:
        """As `Purse.follows`: under one Certificate a payer's position and what it says to have spent only grow."""
        known = self.payers.get(payer)
        return known is None or known[0] != issue or (seq > known[1] and cumulative >= known[2] + amount)

    def remember(self, payer: bytes, issue: int, seq: int, cumulative: int) -> None:
        payers = self.payers
        payers.pop(payer, None)
        if len(payers) >= MAX_PAYERS:
            del payers[next(iter(payers))]
        payers[payer] = (issue, seq, cumulative)

    # A sync

    def statement(self, nonce: bytes, now: int) -> bytes:
        """Where the journal stands, signed. No Request is open between taps."""
        body = encoding.statement_body(
            self.id,
            nonce,
            self.head_seq,
            self.head_hash,
            self.next_number,
            self.acknowledgement.request_floor,
            self.load_floor,
            self.certificate.issue,
            self.clock(now),
        )
        return body + self.sign(body)

    def take(self, objects: tuple[bytes, ...], operator_key: bytes) -> None:
        """What a sync brought, in its order. Raises `Refused` for what a device does not take of an honest ledger."""
        certificate: Certificate | None = None
        for data in objects:
            if data[0] == Revocations.TYPE:
                self.lists = self.lists.with_object(data)
            elif data[0] == Resolution.TYPE:
                self._resolve(Resolution.decode(data), operator_key)
            elif data[0] == Load.TYPE:
                self._load(Load.decode(data), operator_key)
            elif data[0] == Certificate.TYPE:
                certificate = Certificate.decode(data)
            elif data[0] == Acknowledgement.TYPE and certificate is not None:
                self.install(certificate, Acknowledgement.decode(data), operator_key)

    def _resolve(self, resolution: Resolution, operator_key: bytes) -> None:
        """A debit that is closed already changes nothing."""
        for debit in self.in_doubt:
            if debit.hash == resolution.transfer:
                _check(resolution, operator_key)
                self.close(debit, resolution.outcome, resolution.body(), resolution.encode())
                return

    def close(self, debit: Debit, outcome: int, evidence_body: bytes, evidence: bytes) -> None:
        """The end of a payment in doubt."""
        self.in_doubt.remove(debit)
        if outcome != PAID:
            self.balance += debit.amount
        self.closing(debit.hash, outcome, evidence_body, evidence)

    def closing(self, transfer_hash: bytes, outcome: int, evidence_body: bytes, evidence: bytes) -> None:
        seq = self.head_seq + 1
        body = encoding.closing_body(seq, self.head_hash, transfer_hash, outcome, sha256(evidence_body))
        self.commit(body, encoding.seq_bytes(seq) + body + evidence)

    def _load(self, load: Load, operator_key: bytes) -> None:
        """Refused ones wait for the next sync."""
        load_hash = sha256(load.body())
        if load.number <= self.load_floor or load_hash == self.last_load:
            return
        _check(load, operator_key)
        try:
            check_headroom(self, self.certificate, load.amount)
        except Refused:
            return
        seq = self.head_seq + 1
        body = encoding.loading_body(seq, self.head_hash, load_hash)
        self.commit(body, encoding.seq_bytes(seq) + body + load.encode())
        self.balance += load.amount
        self.load_floor = load.number
        self.last_load = load_hash

    def install(self, certificate: Certificate, acknowledgement: Acknowledgement, operator_key: bytes) -> None:
        """A Certificate takes effect; the records that it covers are dropped. Raises `Refused`."""
        base = certificate.base_seq
        floor = acknowledgement.request_floor
        _check(certificate, operator_key)
        _check(acknowledgement, operator_key)
        if self.head_seq:
            if certificate.issue <= self.certificate.issue:
                raise Refused(STALE)
            if certificate.epoch > self.lists.epoch(certificate.operator):
                raise Refused(REVOCATIONS_MISSING)
            lowest = max(self.acknowledgement.request_floor, self._credited_by(base) + 1)
            in_journal = self.certificate.base_seq <= base <= self.head_seq
            if not in_journal or acknowledgement.base_hash != self._hash_at(base) or not lowest <= floor:
                raise Refused(WRONG_BASE)
            if floor > self.next_number:
                raise Refused(WRONG_BASE)
        certificate_body, acknowledgement_body = certificate.body(), acknowledgement.body()
        cumulative = self._spent_above(base)
        self.load_floor = max(self.load_floor, acknowledgement.load_floor)
        snapshot = encoding.snapshot_body(
            self.balance, cumulative, self.unconfirmed, self.load_floor, self.last_load, len(self.in_doubt)
        )
        parts = [certificate.encode(), acknowledgement.encode(), snapshot]
        parts += [debit.transfer + debit.payee_key + bytes((debit.flags,)) for debit in self.in_doubt]
        seq = self.head_seq + 1
        certificate_hash = sha256(certificate_body)
        body = encoding.installation_body(seq, self.head_hash, certificate_hash, sha256(acknowledgement_body))
        self.commit(body, encoding.seq_bytes(seq) + body + b"".join(parts))
        self.certificate, self.certificate_hash = certificate, certificate_hash
        self.acknowledgement = acknowledgement
        self.cumulative = cumulative
        if self.journal is not None:
            del self.journal[: base + 1 - self.journal_first]
        self.journal_first = base + 1

    def _hash_at(self, seq: int) -> bytes | None:
        """Of the own record there: the one after it names it. None if that was dropped."""
        if seq == self.head_seq:
            return self.head_hash
        if seq + 1 < self.journal_first or self.journal is None:
            return None
        return self.journal[seq + 1 - self.journal_first][_PREVIOUS_AT : _PREVIOUS_AT + 32]

    def _credited_by(self, seq: int) -> int:
        """The highest number of a Transfer that a record up to `seq` credits, -1 for none."""
        for record in reversed((self.journal or [])[: seq + 1 - self.journal_first]):
            if record[_TYPE_AT] == Receipt.TYPE:
                return Transfer.decode(record[_TYPE_AT + Receipt.size() :]).number
        return -1

    def _spent_above(self, seq: int) -> int:
        kept = (self.journal or [])[max(0, seq + 1 - self.journal_first) :]
        amounts = [record[_AMOUNT_AT : _AMOUNT_AT + 4] for record in kept if record[_TYPE_AT] == Transfer.TYPE]
        return sum(int.from_bytes(amount, "big") for amount in amounts)


def _check(signed, operator_key: bytes) -> None:
    if not signed.verified_by(operator_key, verify):
        raise Refused(BAD_CERTIFICATE)
