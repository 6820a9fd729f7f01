"""The last stage of settlement: what the ledger signs for a device once its upload is in the books."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from sqlalchemy import Connection, Row, select

from host_tools.crypto import Signer
from host_tools.ledger import books, bulk, disputes, holds, loads, registry, resolutions, revocation
from host_tools.ledger.guarantee import fraudulent
from host_tools.ledger.parse import limits_in
from host_tools.ledger.posting import Posting
from host_tools.ledger.schema import accounts, syncs
from protocol.objects import Acknowledgement, Certificate
from protocol.trust import ROOT_ISSUER


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


class Answers:
    """Answers to the uploads of one batch, once all of them are posted: `to` each of them, then `keep`.

    What the answers rest on is read for all of them together, and so is what becomes of them written.
    """

    def __init__(self, connection: Connection, postings: Sequence[Posting], now: int):
        self._connection = connection
        self._now = now
        ids = [posting.device.id for posting in postings]
        self._devices = registry.devices_of(connection, ids)  # another's posting may have frozen one
        self._purses = _purses(connection, self._devices.values())
        self._from_frozen = disputes.most_from_frozen(connection, ids)
        self._newest = registry.newest_certificates(connection, ids)
        said = {(one.device.id, one.statement.issue) for one in postings}
        older = {(who, issue) for who, issue in said if issue != self._newest[who].issue}
        self._installed = registry.issued(connection, older)
        self._loads = loads.outstanding_of(connection, ids)
        self._ended = resolutions.ended(connection, ids)
        self._operators: dict[int, _Operator] = {}
        self._issued: list[tuple[Certificate, Acknowledgement]] = []
        self._answered: list[tuple[bytes, str, bytes]] = []

    def to(self, signer: Signer, posting: Posting) -> Settlement:
        """Sign what the device is to take."""
        who, statement = posting.device.id, posting.statement
        device = self._devices[who]
        operator = self._operator(signer, device.operator)
        note = self._withheld(device, posting, operator)
        objects: list[bytes] = []
        if not fraudulent(device):
            objects += self._revocations(device, operator, statement.issue)
            objects += resolutions.due(self._connection, signer, device, self._ended.get(who, ()))
            if not device.revoked:
                waiting = self._loads.get(who, ())
                objects += [load.load for load in waiting if load.number > device.next_load_floor]
        if not note:
            carried = holds.limits_of(device, self._purses[device.purse], self._now)
            pair = registry.next_pair(signer, device, operator.epoch, carried, self._now)
            self._issued.append(pair)
            objects += [signed.encode() for signed in pair]
        settled = Settlement(tuple(objects), not note, posting.accepted, tuple(posting.reasons), note)
        self._answered.append((statement.encode(), settled.to_json(), statement.nonce))
        return settled

    def keep(self) -> None:
        """What was issued, and the answers themselves: the same Statement gets the same again."""
        registry.keep_issued(self._connection, self._issued)
        bulk.update(self._connection, syncs, ("nonce",), ("statement", "answer"), self._answered)

    def _operator(self, signer: Signer, number: int) -> "_Operator":
        """Its list first takes up whom the batch has frozen, so that each Certificate names a list that knows them."""
        if number not in self._operators:
            connection = self._connection
            revocation.publish_blocked(connection, signer, number, self._now)
            self._operators[number] = _Operator(
                revocation.current_epoch(connection, number),
                revocation.operator_revoked(connection, number),
                revocation.newer_than(connection, ROOT_ISSUER, 0),
            )
        return self._operators[number]

    def _revocations(self, device: Row, operator: "_Operator", issue: int) -> list[bytes]:
        """The root's list, and of its operator's what is newer than the Certificate that the device has installed."""
        if not operator.epoch:
            return operator.root_lists
        newest = self._newest[device.id]
        if issue == newest.issue:
            known = newest.epoch
        else:
            installed = self._installed.get((device.id, issue))
            known = limits_in(installed[0]).epoch if installed else 0
        if known == operator.epoch:
            return operator.root_lists
        return operator.root_lists + revocation.newer_than(self._connection, device.operator, known)

    def _withheld(self, device: Row, posting: Posting, operator: "_Operator") -> str:
        """Why the device gets no new Certificate, or an empty text."""
        if device.frozen:
            return f"frozen: {device.frozen}"
        if not posting.complete:
            return f"records after {device.head_seq} are missing or unreadable: sync again"
        if not posting.current:
            return "the device has signed more since: sync again"
        if device.lost_at is not None:
            return "it was reported lost"
        if device.revoked:
            return "its operator has revoked it"
        if operator.revoked:
            return "the central bank has revoked its operator"
        held = self._purses[device.purse]
        if held < 0:
            # Every credit that it shows is posted, so it paid what it never had; new limits would let it go on.
            return "it has spent more than it received"
        most = max(held, self._from_frozen.get(device.id, 0))
        if most > disputes.honest(self._newest[device.id]) and disputes.disputed(self._connection, device):
            return "it took more from a frozen device than an honest one can: for people to settle"
        return ""


class _Operator(NamedTuple):
    epoch: int  # of its revocation list
    revoked: bool  # by the root
    root_lists: list[bytes]


_BALANCES = select(accounts.c.id, accounts.c.balance)


def _purses(connection: Connection, rows: Iterable[Row]) -> dict[int, int]:
    found = bulk.fetch(connection, _BALANCES, accounts.c.id, [row.purse for row in rows])
    return {account: books.whole(balance) for account, balance in found}
