"""One upload on its way into the books: what its device vouches for goes through the rules, record by record."""

from collections.abc import Container, Sequence

from sqlalchemy import Connection, Row, select

from host_tools.ledger import bulk, evidence, history, loads, redeem, transfers
from host_tools.ledger.chain import Piece, pieces
from host_tools.ledger.evidence import OUTSIDE_CHAIN, accuse, dead_letter, joined_chain, keep, torn
from host_tools.ledger.parse import Entry
from host_tools.ledger.reading import NO_DEBIT, Reading
from host_tools.ledger.schema import dead_letters, devices
from protocol.objects import Receipt, Statement, Transfer, Void
from protocol.records import Closing, Loading


class Posting:
    """One upload of one device on its way through.

    `seen_before` is what the ledger knew of the device when its nonce was given out. Once it is posted, `complete` says
    whether every record up to the Statement's head is held, and `current` whether the device has signed nothing later.
    """

    def __init__(
        self, connection: Connection, device: Row, statement: Statement, reading: Reading, seen_before: int, now: int
    ):
        self._connection = connection
        self._reading = reading
        self._now = now
        self.device = device
        self.statement = statement
        self.strangers = reading.strangers
        self.seen_before = seen_before
        self.head: tuple[int, bytes] = (device.head_seq, device.head_hash)
        self.reasons: list[str] = []
        self.accepted = 0
        self.complete = self.current = False
        self.found = pieces(statement, reading.entries, self._held)
        self._unproven = self._left_over()
        self.is_whole = len(self.found) == 1 and self.joins(self.found[0])
        self.is_whole &= not reading.unreadable and not self._unproven

    def joins(self, piece: Piece) -> bool:
        """Whether this piece goes on where the ledger's head is."""
        return piece.joins and piece.below_seq == self.head[0]

    def run(self, posted: Container[Entry] = ()) -> None:
        """Take all records; of those that were `posted` before it is left to see whether somebody else was told
        something else since.
        """
        for raw, reason in self._reading.unreadable:
            self._refuse(raw, reason)
        for piece in reversed(self.found):  # the lowest first, so that debits come before what closes them
            joins = self.joins(piece)
            shown = [
                (seq, digest) for _, seq, digest in evidence.shown(self._connection, {self.device.id: self.head[0]})
            ]
            fits = joins and piece.fits(self.head, shown)
            for entry in piece.entries:
                if entry not in posted:
                    self._post(entry, piece, joins)
                elif not fits:
                    self._commit(entry, piece, joins)
            if joins and piece.entries:
                extend(self._connection, [(self, piece)])
            else:
                self._keep_aside(piece)
        for entry in self._unproven:
            self._refuse(entry.raw, "nothing that the device signed vouches for it")
            known = self._closed_debit(entry.record)
            if known is not None:
                self._hear(entry.record.evidence, known)

    def _held(self, seq: int) -> bytes | None:
        head_seq, head_hash = self.head
        if seq >= head_seq:
            return head_hash if seq == head_seq else None
        return history.hash_at(self._connection, self.device.id, seq)

    def _refuse(self, raw: bytes, reason: str) -> None:
        dead_letter(self._connection, self.device.id, raw, reason, self._now)
        self.reasons.append(reason)

    def _left_over(self) -> list[Entry]:
        """What nothing vouches for, and is not held already."""
        if sum(len(piece.entries) for piece in self.found) == len(self._reading.entries):
            return []
        proven = {entry.position for piece in self.found for entry in piece.entries}
        outside = [entry for entry in self._reading.entries if entry.position not in proven]
        return [entry for entry in outside if self._held(entry.record.seq) != entry.position[1]]

    def _post(self, entry: Entry, piece: Piece, joins: bool) -> None:
        """Take one record for what it says. It counts for the chain even if it is refused."""
        self._commit(entry, piece, joins)
        record = entry.record
        body = record.body
        if isinstance(body, Transfer):
            transfers.debit(self._connection, record.transfer, record.payee_key, self._now)
            redeem.close_torn(self._connection, record.transfer, self._now)
            reason = None
        elif isinstance(body, Receipt):
            reason = self._credit(entry)
        elif isinstance(body, Loading):
            reason = loads.take(self._connection, self.device, record.load, self._now)
        elif isinstance(body, Closing):
            reason = self._close(record)
        else:
            transfers.installed(self._connection, self.device.id, record.certificate.issue, entry.seq, self._now)
            reason = None
        if reason is not None:
            self._refuse(entry.raw, reason)

    def _commit(self, entry: Entry, piece: Piece, joins: bool) -> None:
        """The device commits to this record at its position, and to the one before."""
        proof = entry.signed or piece.proof
        seq, digest = entry.position
        others = torn(self._connection, self.device.id, seq, digest, entry.previous)
        if not joins:
            keep(self._connection, self.device.id, seq, digest, entry.previous, proof)
        accuse(self._connection, self.device.id, others, proof, self._now)

    def _credit(self, entry: Entry) -> str | None:
        if entry in self.strangers:
            return "the payer is not registered"
        return transfers.claim(self._connection, entry.record.receipt, entry.record.transfer, True, self._now)

    def _close(self, record) -> str | None:
        """The payer brings the payee's word on a debit of its own, or its operator's, which changes nothing here."""
        known = self._closed_debit(record)
        if known is None:
            return NO_DEBIT
        refused = transfers.close(self._connection, known, record.seq, record.body.outcome, self._now)
        heard = self._hear(record.evidence, known)
        return refused or heard

    def _closed_debit(self, record) -> Row | None:
        """Of this device, that a Closing names; None for any other record."""
        if not isinstance(record.body, Closing):
            return None
        shown = transfers.find_debit(self._connection, self.device.id, record.evidence.transfer)
        if shown is not None or record.evidence.transfer not in self._reading.debits:
            return shown
        return transfers.find_of(self._connection, self.device.id, record.evidence.transfer)

    def _hear(self, evidence, known: Row) -> str | None:
        """What the payee signed of a Transfer stands by itself, whatever record brings it."""
        if isinstance(evidence, Receipt):
            return transfers.claim(self._connection, evidence, Transfer.decode(known.transfer), False, self._now)
        if isinstance(evidence, Void):
            transfers.void(self._connection, transfers.key_in(known), evidence.encode(), self._now)
        return None

    def _keep_aside(self, piece: Piece) -> None:
        """It may be the proof of a second history."""
        for entry in piece.entries:
            digest = entry.position[1]
            dead_letter(self._connection, self.device.id, entry.raw, OUTSIDE_CHAIN, self._now, digest)


_ASIDE = select(dead_letters.c.device).where(dead_letters.c.reason == OUTSIDE_CHAIN).distinct()


def extend(connection: Connection, grown: Sequence[tuple[Posting, Piece]]) -> None:
    """Move each device's head over a run that continues it."""
    history.write(connection, [(posting.device.id, piece.entries) for posting, piece in grown])
    ids = [posting.device.id for posting, _ in grown]
    aside = set(bulk.rows(connection, _ASIDE, dead_letters.c.device, ids))
    for posting, piece in grown:
        who = posting.device.id
        if (who,) in aside:
            joined_chain(connection, who, [entry.raw for entry in piece.entries])
        posting.head = piece.entries[-1].position
        posting.accepted += len(piece.entries)
    heads = [(*posting.head, posting.device.id) for posting, _ in grown]
    bulk.update(connection, devices, ("id",), ("head_seq", "head_hash"), heads)
