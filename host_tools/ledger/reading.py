"""Reading uploaded records: the strict decoding and every signature that a record carries with it.

A record that cannot be read here does not count at all, and the ledger's head stays below it: signatures and
attachments are not part of the hash chain, so a carrier could have spoilt them, and the device must not drop the
record before the ledger has a good copy. What can be read but not taken (settlement's business) moves on as a dead
letter.

All that is looked up here (keys, Certificates, debits) is never changed once it is there, so it is looked up before
the transaction that settles, and keys are looked up once. What is not there may come meanwhile, and counts as not
there: a credit whose payer was unknown is refused, since nobody has checked the payer's signature.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Row, select

from host_tools.crypto import Signer, sha256
from host_tools.ledger import bulk, registry, resolutions, transfers
from host_tools.ledger.parse import Credit, Entry, parse
from host_tools.ledger.schema import devices
from host_tools.ledger.verify import Check
from protocol.errors import DecodeError
from protocol.layout import SIGNATURE_BYTES, SignedLayout
from protocol.objects import KEY_BYTES, Load, Receipt, Resolution, Transfer, Void, device_id
from protocol.records import Closing, Installation, Loading, Record

MAX_KEYS = 200_000  # of devices, kept in memory: 35 MB; then all are forgotten

_SIGNED = {kind.TYPE: kind.__name__ for kind in (Transfer, Receipt, Load, Void)}

NOT_ITS_OWN = "a credit of another device"
NO_DEBIT = "it closes a Transfer that the ledger does not hold"


# Certificates and their Acknowledgements as they were issued, by device and issue
Issued = Mapping[tuple[bytes, int], tuple[bytes, bytes]]

_KEY = select(devices.c.id, devices.c.key)


class Unreadable(Exception):
    """Why a record does not count."""


class Keys:
    """Public keys of registered devices, which never change."""

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    def learn(self, connection: Connection, wanted: Iterable[bytes]) -> None:
        """Look up those that are not known yet."""
        if len(self._known) > MAX_KEYS:
            self._known = {}
        missing = set(wanted).difference(self._known)
        self._known.update((bytes(who), bytes(key)) for who, key in bulk.fetch(connection, _KEY, devices.c.id, missing))

    def get(self, who: bytes) -> bytes | None:
        return self._known.get(who)


@dataclass
class Reading:
    """One upload of one device as it reads: `entries` count unless a signature of theirs turns out to be wrong.

    The first of its `checks` is for the Statement, which `whose` does not know of.
    """

    device: Row
    operator_key: bytes
    entries: list[Entry] = field(default_factory=list)
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    debits: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # by their hashes: the payee and its key
    checks: list[Check] = field(default_factory=list)
    whose: list[Entry | None] = field(default_factory=lambda: [None])  # the record of each check
    strangers: set[Entry] = field(default_factory=set)  # credits of payers that were unknown, so nobody's signature
    by_debits: list[tuple[Entry, bytes]] = field(default_factory=list)  # closings, by debits uploaded with them

    def judge(self, wrong: Iterable[int]) -> None:
        """Take out the records whose checks failed, and the closings of debits that failed."""
        reasons: dict[Entry, str] = {}
        for index in sorted(wrong):
            entry = self.whose[index]
            if entry is not None:
                what = _SIGNED[self.checks[index][0][SIGNATURE_BYTES]]
                reasons.setdefault(entry, f"the {what}'s signature is wrong")
        if not reasons:
            return
        for entry in reasons:
            self.debits.pop(entry.hash, None)
        for entry, debit in self.by_debits:
            if debit not in self.debits:
                reasons.setdefault(entry, NO_DEBIT)
        self.unreadable += [(entry.raw, reason) for entry, reason in reasons.items()]
        self.entries = [entry for entry in self.entries if entry not in reasons]


class Reader:
    """Reads uploads of these devices, all but their signatures."""

    def __init__(self, connection: Connection, keys: Keys, devices: Iterable[bytes], now: int):
        self._connection = connection
        self._keys = keys
        self._now = now
        self._devices = registry.devices_of(connection, devices)
        self._operator_keys: dict[int, bytes] = {}

    def device(self, who: bytes, signer: Signer) -> Row:
        """Raises `UnknownDevice`, and `WrongSigner` or `UnknownOperator` if `signer` cannot sign for it."""
        device = self._devices.get(who)
        if device is None:
            raise registry.unknown(who)
        if self._operator_keys.get(device.operator) != signer.public:
            operator = registry.signing_operator(self._connection, signer, device.operator, self._now)
            self._operator_keys[device.operator] = operator.key
        return device

    def parse(self, device: Row, raw_records: Iterable[bytes]) -> Reading:
        """What reads as a record, each once."""
        reading = Reading(device, self._operator_keys[device.operator])
        for raw in dict.fromkeys(raw_records):
            try:
                reading.entries.append(parse(raw))
            except DecodeError as error:
                reading.unreadable.append((raw, str(error)))
        return reading

    def read(self, readings: list[Reading]) -> None:
        """Leave what has not to do with its device aside, and list the signatures that the rest must have."""
        payers: set[bytes] = set()
        installed: set[tuple[bytes, int]] = set()
        for reading in readings:
            for entry in reading.entries:
                if entry.credit is not None:
                    payers.add(entry.credit.payer)
                elif entry.is_installation:
                    installed.add((reading.device.id, entry.record.certificate.issue))
        self._keys.learn(self._connection, payers)
        issued = registry.issued(self._connection, installed)
        for reading in readings:
            _One(self._connection, self._keys, issued, reading).read()


class _One:
    """One upload. Debits are read before closings, which speak of them."""

    def __init__(self, connection: Connection, keys: Keys, issued: Issued, reading: Reading):
        self._connection = connection
        self._issued = issued
        self._device = reading.device
        self._keys = keys
        self._reading = reading
        self._closed: dict[bytes, bytes] = {}

    def read(self) -> None:
        """Credits first: they are the most, and speak of nothing else."""
        parsed, self._reading.entries = self._reading.entries, []
        others: list[Entry] = []
        closings: list[Entry] = []
        self._credits((entry, entry.credit) for entry in parsed if entry.credit is not None)
        for entry in parsed:
            if entry.credit is not None:
                continue
            if entry.paid is not None or (entry.debit is None and isinstance(entry.record.body, Closing)):
                closings.append(entry)
            else:
                others.append(entry)
        for entry in others:
            self._read(entry)
        self._learn_closed(closings)
        for entry in closings:
            self._read(entry)

    def _credits(self, credits: Iterable[tuple[Entry, Credit]]) -> None:
        reading = self._reading
        entries, checks, whose = reading.entries, reading.checks, reading.whose
        payee, payee_key = self._device.id, self._device.key
        for entry, credit in credits:
            if credit.payee != payee:
                reading.unreadable.append((entry.raw, NOT_ITS_OWN))
                continue
            receipt, transfer = entry.signatures()
            checks.append((receipt, payee_key))
            whose.append(entry)
            payer_key = self._keys.get(credit.payer)
            if payer_key is None:
                reading.strangers.add(entry)
            else:
                checks.append((transfer, payer_key))
                whose.append(entry)
            entries.append(entry)

    def _read(self, entry: Entry) -> None:
        try:
            if entry.debit is not None:
                debit = entry.debit
                self._debit(entry, debit.payer, debit.payee, debit.payee_key, entry.signature())
            elif entry.paid is not None:
                self._check(entry, entry.signature(), self._payee_key(entry, entry.paid.transfer))
            else:
                self._KINDS[type(entry.record.body)](self, entry, entry.record)
            self._reading.entries.append(entry)
        except Unreadable as reason:
            self._reading.unreadable.append((entry.raw, str(reason)))

    def _debit(self, entry: Entry, payer: bytes, payee: bytes, payee_key: bytes, signed: bytes) -> None:
        if payer != self._device.id:
            raise Unreadable("a debit of another device")
        if device_id(payee_key, sha256) != payee:
            raise Unreadable("the payee's key is not the payee's")
        self._check(entry, signed, self._device.key)
        self._reading.debits[entry.hash] = payee, payee_key

    def _odd_debit(self, entry: Entry, record: Record) -> None:
        transfer = record.transfer
        self._debit(entry, transfer.payer, transfer.payee, record.payee_key, _signed(transfer))

    def _odd_credit(self, entry: Entry, record: Record) -> None:
        if record.transfer.payee != self._device.id:
            raise Unreadable(NOT_ITS_OWN)
        self._check(entry, _signed(record.receipt), self._device.key)
        self._keys.learn(self._connection, [record.transfer.payer])
        payer_key = self._keys.get(record.transfer.payer)
        if payer_key is None:
            self._reading.strangers.add(entry)
        else:
            self._check(entry, _signed(record.transfer), payer_key)

    def _loading(self, entry: Entry, record: Record) -> None:
        if record.load.device != self._device.id:
            raise Unreadable("a load of another device")
        self._check(entry, _signed(record.load), self._reading.operator_key)

    def _odd_closing(self, entry: Entry, record: Record) -> None:
        evidence = record.evidence
        if isinstance(evidence, Resolution):
            if not resolutions.is_ours(self._connection, evidence, self._device):
                raise Unreadable("the Resolution is not this operator's for this device")
            return
        self._check(entry, _signed(evidence), self._payee_key(entry, evidence.transfer))

    def _learn_closed(self, closings: list[Entry]) -> None:
        """The payees' keys of debits that an earlier upload has brought."""
        named = [one.paid.transfer if one.paid is not None else one.record.body.transfer for one in closings]
        earlier = [one for one in named if one not in self._reading.debits]
        if earlier:
            self._closed = transfers.keys_of_debits(self._connection, self._device.id, earlier)

    def _payee_key(self, entry: Entry, transfer: bytes) -> bytes:
        known = self._closed.get(transfer)
        if known is not None:
            return known
        if transfer not in self._reading.debits:
            raise Unreadable(NO_DEBIT)
        self._reading.by_debits.append((entry, transfer))
        return self._reading.debits[transfer][1]

    def _installation(self, _entry: Entry, record: Record) -> None:
        pair = record.certificate.encode(), record.acknowledgement.encode()
        if self._issued.get((self._device.id, record.certificate.issue)) != pair:
            raise Unreadable("it installs a Certificate that the ledger did not issue")

    def _check(self, entry: Entry, signed: bytes, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise Unreadable(f"the {_SIGNED[signed[SIGNATURE_BYTES]]}'s signature is wrong")
        self._reading.checks.append((signed, key))
        self._reading.whose.append(entry)

    _KINDS: dict[type, Callable[["_One", Entry, Record], None]] = {
        Transfer: _odd_debit,
        Receipt: _odd_credit,
        Loading: _loading,
        Closing: _odd_closing,
        Installation: _installation,
    }


def _signed(one: SignedLayout) -> bytes:
    return one.signature + one.body()
