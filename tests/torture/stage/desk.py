"""Where wallets redeem: an operator's own payee, as the ledger keeps it, and a person who wants money on the account.

Its Requests are closed by the next one, and by a sync that shows a debit for one that is still open; what is paid on a
closed one is voided.
"""

import struct

import image
from bank import (
    CONFIRM,
    CURRENCY,
    KEYS,
    LIMITS,
    NOW,
    PAID,
    PAY,
    RECEIPT_BYTES,
    TRANSFER_BYTES,
    VOIDED,
    WALLET,
    Account,
    Transfer,
    Wrong,
    sha256,
)

OPERATOR_PAYEE = 0x30
REDEEM = 4
LIMITS[OPERATOR_PAYEE] = LIMITS[WALLET]  # it receives only, and has none
MAX_ANSWERS = 9  # to PAY: older Transfers first
MAX_TRIES = 12


class Lost(Exception):
    """A message did not arrive: the wallet left the reader, or its cable was pulled."""


def desk_of(bank, operator: int):
    """A new desk, which `bank` certifies."""
    key = KEYS.of("payee of operator %d" % operator)
    return Desk(key, bank.certificate(operator, Account(key.public, OPERATOR_PAYEE)))


class Desk:
    """The payee of one operator. `credited`: what it paid out, by the Transfer's hash: amount and Receipt."""

    def __init__(self, key, certificate: bytes):
        self._key = key
        self._certificate = certificate
        self.id = sha256(key.public)[:16]
        self._number = 0
        self._open = (0, b"")  # amount and hash of the Request with this number
        self._seq, self._head = 0, sha256(key.public)
        self.credited = {}

    def copy(self):
        other = Desk(self._key, self._certificate)
        other._number, other._open = self._number, self._open
        other._seq, other._head, other.credited = self._seq, self._head, dict(self.credited)
        return other

    def ask(self, amount: int) -> bytes:
        """What PAY carries."""
        self._number += 1
        body = struct.pack(">BBII", 4, 1, amount, self._number) + sha256(b"%d" % self._number)[:8]
        body += struct.pack(">IB", NOW, REDEEM) + bytes(12)
        message = body + sha256(self._certificate[:-64]) + bytes(32) + CURRENCY.to_bytes(2, "big")
        self._open = amount, sha256(message)
        return self._certificate + body + self._key.sign(message)

    def take(self, data: bytes, key: bytes) -> bytes:
        """The Receipt or Void for a Transfer of the device with this key."""
        transfer = Transfer(data)
        if len(data) != TRANSFER_BYTES or not image.verify(key, data[:130], data[130:]) or transfer.payee != self.id:
            raise Wrong("answers PAY with what is no Transfer to this payee")
        if transfer.hash in self.credited:
            return self.credited[transfer.hash][1]
        if transfer.number == self._number and (transfer.amount, transfer.request) == self._open:
            return self._credit(transfer)
        if transfer.number > self._number or transfer.request == self._open[1]:
            raise Wrong("answers a Request that nobody made")
        body = b"\x07\x01" + transfer.hash
        return body + self._key.sign(body)

    def _credit(self, transfer: Transfer) -> bytes:
        body = struct.pack(">BBI", 6, 1, self._seq + 1) + self._head + transfer.hash
        receipt = body + self._key.sign(body)
        self.credited[transfer.hash] = transfer.amount, receipt
        self._seq, self._head, self._open = self._seq + 1, sha256(body), (0, b"")
        return receipt

    def outcome(self, transfer: Transfer) -> int:
        """How a debit ends that a journal shows."""
        if transfer.hash in self.credited:
            return PAID
        self._open = 0, b""
        return VOIDED


class Redemption:
    """A wish of a wallet's owner. `made` when the host said so, `given_up` when it was not tried again."""

    reader = None  # a host

    def __init__(self, table, name: str, amount: int):
        self.table = table
        self.amount = amount
        self.made = False
        self.given_up = False
        self._seat = table.seats[name]
        table.wishes.append(self)

    def fulfil(self) -> None:
        """Redeem until the host says that it is done."""
        for _ in range(MAX_TRIES):
            if self.made:
                return
            self.once()
            self._seat.tidy()
        raise Wrong("%d is never redeemed" % self.amount)

    def once(self) -> None:
        """What the host does when it is asked once. A message may be lost: then the host says so."""
        try:
            self._redeem()
        except Lost:
            pass

    def _redeem(self) -> None:
        desk = self.table.bank.desk
        asked = desk.ask(self.amount)
        for _ in range(MAX_ANSWERS):
            transfer = self._exchange(PAY, asked)
            evidence = desk.take(transfer, self._seat.books.key)
            # What came before this one may be what the owner wanted all the time
            done = len(evidence) == RECEIPT_BYTES and Transfer(transfer).amount == self.amount
            self.made = done
            self._exchange(CONFIRM, evidence)
            if done:
                return

    def _exchange(self, ins: int, data: bytes) -> bytes:
        self._carry()
        answer = self._seat.send(ins, data)
        if ins == PAY:
            self.table.hear_said(self._seat, answer)
        self._carry()
        return answer

    def _carry(self) -> None:
        table = self.table
        table.messages += 1
        if table.messages - 1 == table.tear_at:
            raise Lost

    def cancel_if_asked(self) -> None:
        """Before a sync: the host has said that nothing was redeemed."""
        self.given_up = not self.made

    def credits(self) -> int:
        return sum([1 for amount, _ in self.table.bank.desk.credited.values() if amount == self.amount])
