"""The other side of the devices: a root, operators with their ledger, and what a host carries between them.

Everything is packed and read here by the tables of docs/protocol.md, with nothing of `protocol/`: a second opinion on
every byte. A ledger is honest and small: it takes a device's Statement and records, says how Transfers ended, and
answers with Resolutions, Loads and a new Certificate.
"""

import struct
from hashlib import sha256 as _sha256

import image

TODAY = 20_000
NOW = TODAY * 86_400 + 3_600
CURRENCY = 156
WALLET, TERMINAL = 0x12, 0x20
# balance, payment, sum, records, days, sum without confirmation, in doubt
LIMITS = {
    WALLET: (2_000_000, 500_000, 2_000_000, 500, 60, 50_000, 4),
    TERMINAL: (100_000_000, 5_000_000, 20_000_000, 5_000, 30, 0, 8),
}

SELECT, GET_RESPONSE = 0xA4, 0xC0
PAY, CONFIRM, REQUEST, TRANSFER = 0x10, 0x12, 0x14, 0x16
STATEMENT, JOURNAL, GENERATE, PERSONALISE, INSTALL, PUT = 0x20, 0x22, 0x30, 0x32, 0x34, 0x36
AID = b"\xf0JIAOZI\x01"
SW_OK, SW_MORE = 0x9000, 0x61

DEBIT, RECEIPT, VOID, LOADING, CLOSING, INSTALLATION = 0x05, 0x06, 0x07, 0x20, 0x21, 0x22
# A record's body by its type; its attachments follow, and a debit's or credit's signature is the first of them.
BODY_BYTES = {DEBIT: 130, RECEIPT: 70, LOADING: 70, CLOSING: 103, INSTALLATION: 102}
TRANSFER_BYTES, RECEIPT_BYTES, CERTIFICATE_BYTES, ACKNOWLEDGEMENT_BYTES = 194, 134, 139, 136
PAID, VOIDED = 1, 2


class Wrong(Exception):
    """A device said or kept what it must not: a violation."""


class Refusal(Exception):
    """The device refused a command; `cause` is its number."""

    def __init__(self, cause: int):
        self.cause = cause


def sha256(data: bytes) -> bytes:
    return _sha256(data).digest()


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


class Transfer:
    """What this stage needs of a Transfer's bytes, with or without its signature."""

    def __init__(self, data: bytes):
        self.body = bytes(data[:130])
        self.hash = sha256(self.body)
        self.seq = u32(data, 2)
        self.payer, self.payee = bytes(data[38:54]), bytes(data[54:70])
        self.amount = u32(data, 70)
        self.request = bytes(data[82:114])
        self.number = u32(data, 114)
        self.cumulative = u32(data, 126)


class Keys:
    """Signing keys by name, each made once."""

    def __init__(self):
        self._made = {}

    def of(self, name: str):
        if name not in self._made:
            self._made[name] = image.SigningKey(sha256(name.encode()))
        return self._made[name]


KEYS = Keys()


class Account:
    """What a ledger knows of one device."""

    def __init__(self, key: bytes, kind: int):
        self.key = key
        self.id = sha256(key)[:16]
        self.kind = kind
        self.limits = LIMITS[kind]
        self.issue = 1
        self.load_number = 0
        self.loads = {}  # number: amount
        self.head_seq = 0
        self.head_hash = sha256(key)
        self.watermark = 0
        self.debits = {}  # hash of the Transfer: Transfer, while no closing record was seen

    def copy(self):
        other = Account(self.key, self.kind)
        other.limits, other.issue, other.load_number = self.limits, self.issue, self.load_number
        other.loads, other.debits = dict(self.loads), dict(self.debits)
        other.head_seq, other.head_hash, other.watermark = self.head_seq, self.head_hash, self.watermark
        return other


class Bank:
    """All operators of one root and one common ledger of who was credited what."""

    def __init__(self):
        self.accounts = {}  # device id: Account
        self.credited = {}  # hash of a Transfer: True (a set that cannot grow for want of memory breaks MicroPython)
        self.epoch = 0
        self.desk = None  # desk.Desk, where there is one

    def copy(self):
        other = Bank()
        other.desk = self.desk and self.desk.copy()
        other.accounts = {device: account.copy() for device, account in self.accounts.items()}
        other.credited, other.epoch = dict(self.credited), self.epoch
        return other

    # --- what operators sign

    def operator_certificate(self, operator: int) -> bytes:
        key = KEYS.of("operator %d" % operator).public
        body = struct.pack(">BBHI", 1, 1, operator, 1) + key
        return _signed("root", body + struct.pack(">HBHH", CURRENCY, 2, TODAY - 100, TODAY + 1000))

    def certificate(self, operator: int, account: Account, base_seq: int = 0, epoch: int = 0) -> bytes:
        mcc = 5411 if account.kind == TERMINAL else 0
        body = struct.pack(">BBH", 2, 1, operator) + account.key
        body += struct.pack(">IBHHH", account.issue, account.kind, mcc, TODAY, TODAY + 90)
        body += struct.pack(">IIIHBIB", *account.limits) + struct.pack(">II", epoch, base_seq)
        return _signed("operator %d" % operator, body)

    def _acknowledgement(self, operator: int, account: Account, seq: int, head: bytes, floors, now: int) -> bytes:
        body = struct.pack(">BBH", 3, 1, operator) + account.id + struct.pack(">II", account.issue, seq) + head
        return _signed("operator %d" % operator, body + struct.pack(">III", floors[0], floors[1], now))

    def personalisation(self, operator: int, key: bytes, kind: int) -> bytes:
        account = Account(key, kind)
        self.accounts.setdefault(account.id, account)
        certificate = self.certificate(operator, account)
        acknowledgement = self._acknowledgement(operator, account, 0, sha256(key), (0, 0), NOW)
        return KEYS.of("root").public + self.operator_certificate(operator) + certificate + acknowledgement

    def order_load(self, device: bytes, amount: int) -> None:
        """The next sync brings it."""
        account = self.accounts[device]
        account.load_number += 1
        account.loads[account.load_number] = amount

    # --- a sync

    def sync(self, seat, now: int = NOW, revoke: bool = False) -> None:
        """One whole sync of a device. Cut anywhere, it may simply be run again."""
        operator = seat.operator
        account = self.accounts[seat.id]
        nonce = sha256(b"nonce %d" % account.issue)[:16]
        said = seat.send(STATEMENT, nonce)
        if said[:2] != b"\x0b\x01" or said[2:18] != account.id or said[18:34] != nonce:
            raise Wrong("not this device's Statement")
        if not image.verify(account.key, said[:-64], said[-64:]):
            raise Wrong("Statement's signature")
        seq, head, watermark = u32(said, 34), said[38:70], u32(said, 70)
        load_floor = u32(said, 78)
        if seq < account.head_seq or watermark < account.watermark:
            raise Wrong("rolled back: at %d, watermark %d" % (seq, watermark))
        while account.head_seq < seq:
            self._take(account, seat.send(JOURNAL, (account.head_seq + 1).to_bytes(4, "big")))
        if account.head_hash != head:
            raise Wrong("the records do not hash into the head")
        account.watermark = watermark
        if revoke:
            seat.send(PUT, self._revocations(operator))
        for transfer in list(account.debits.values()):
            outcome = self.outcome(transfer)
            if outcome:
                body = struct.pack(">BBH", 8, 1, operator) + account.id + transfer.hash + bytes([outcome])
                seat.send(PUT, _signed("operator %d" % operator, body))
        for number in sorted(account.loads):
            if number > load_floor:
                body = struct.pack(">BBH", 9, 1, operator) + account.id
                body += struct.pack(">III", number, account.loads[number], 0) + bytes(26)
                seat.send(PUT, _signed("operator %d" % operator, body))
        account.issue += 1
        certificate = self.certificate(operator, account, seq, self.epoch if revoke else 0)
        floors = watermark, load_floor
        seat.send(INSTALL, certificate + self._acknowledgement(operator, account, seq, head, floors, now))

    def outcome(self, transfer: Transfer) -> int:
        """PAID, VOIDED, or 0 while nobody knows."""
        if self.desk and transfer.payee == self.desk.id:
            return self.desk.outcome(transfer)
        if transfer.hash in self.credited:
            return PAID
        return VOIDED if transfer.number < self.accounts[transfer.payee].watermark else 0

    def _revocations(self, operator: int) -> bytes:
        """A complete list that concerns nobody here."""
        self.epoch += 1
        body = struct.pack(">BBHII", 10, 1, operator, self.epoch, 0) + bytes(32)
        body += struct.pack(">H", 3) + b"".join([bytes([1 + i]) * 16 + b"\xff\xff\xff\xff" for i in range(3)])
        return _signed("operator %d" % operator, body)

    def _take(self, account: Account, record: bytes) -> None:
        """One record into the ledger, after the chain."""
        kind = record[4]
        body = record[4 : 4 + BODY_BYTES[kind]]
        if u32(record, 0) != account.head_seq + 1 or body[6:38] != account.head_hash:
            raise Wrong("record %d does not continue the chain" % (account.head_seq + 1))
        # The record itself comes last: where memory ends before it, all may be done once more.
        head_hash = sha256(body)
        if kind == DEBIT:
            transfer = Transfer(body)
            account.debits[transfer.hash] = transfer
        elif kind == RECEIPT:
            self.credited[body[38:70]] = True
        elif kind == CLOSING:
            if record[4 + BODY_BYTES[kind]] == RECEIPT:
                self.credited[body[38:70]] = True
            account.debits.pop(body[38:70])
        account.head_seq += 1
        account.head_hash = head_hash


def _signed(name: str, body: bytes) -> bytes:
    return body + KEYS.of(name).sign(body)
