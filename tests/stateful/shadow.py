"""The money a second time: accounts of the honest devices, kept apart from `protocol.purse` and from the ledger.

It is told every record that became durable on an honest device and every byte that left one, and says `Violation` as
soon as one of them breaks a promise: money is made, lost or moved twice, a device would look guilty, or a payee credits
what it said it never would.
"""

from collections.abc import Callable

from host_tools.crypto import sha256
from protocol import records
from protocol.objects import PAID, Receipt, Statement, Transfer, Void
from protocol.records import Closing, Installation, Loading

SIGNED = {kind.TYPE: kind for kind in (Transfer, Receipt, Void, Statement)}


class Violation(AssertionError):
    """A promise of the system is broken."""


def demand(good: bool, what: str) -> None:
    if not good:
        raise Violation(what)


class Account:
    """One honest device, seen from outside."""

    def __init__(self, name: str, key: bytes):
        self.name = name
        self.key = key
        self.balance = 0
        self.in_doubt: dict[bytes, int] = {}  # Transfer hash: amount
        self.load_number = 0
        self.loads: set[int] = set()  # numbers of those it took
        self.chain = {0: sha256(key)}  # seq: hash of the record there
        self.head = 0
        self.bodies: dict[int, bytes] = {}
        self.signed: list[tuple[int, bytes]] = []  # (highest position it commits to, object); what fraud proofs need
        self.spent: dict[int, dict[int, Transfer]] = {}  # Transfers it showed, by issue of its Certificate and seq
        self.credits: set[bytes] = set()


class Movement:
    """One Transfer of an honest payer or to an honest payee."""

    def __init__(self, transfer: Transfer):
        self.transfer = transfer
        self.debited = False
        self.credited = False
        self.outcome = 0  # how the honest payer closed it


class Shadow:
    def __init__(self):
        self.accounts: dict[bytes, Account] = {}
        self.movements: dict[bytes, Movement] = {}
        self.voided: set[bytes] = set()  # hashes of Transfers that an honest payee has signed a Void of
        self.cancelled: set[bytes] = set()  # hashes of Requests of honest payees that nothing may be credited for
        self.total = 0  # what the honest devices have together
        # (payee, number) of Requests credited
        self.credited_numbers: set[tuple[bytes, int]] = set()
        self.defaulted: Callable[[bytes], bool] = lambda _: False  # whether the ledger booked it at the deadline
        self.facts = dict.fromkeys(("debits", "credits", "loads", "paid", "voided", "installations", "signed"), 0)

    # Who takes part

    def add(self, device) -> None:
        """An honest device as it stands now, without anything in doubt."""
        account = self.accounts[device.id] = Account(device.name, device.party.public_key)
        account.balance = device.purse.balance
        account.load_number = device.purse.load_floor
        account.head = device.purse.head_seq
        for stored in device.journal.stored:
            self._remember_record(account, records.decode(stored))
        account.chain[account.head] = device.purse.head_hash
        self.total += account.balance

    def is_honest(self, who: bytes) -> bool:
        return who in self.accounts

    def _movement(self, transfer_hash: bytes, transfer: Transfer) -> Movement:
        movement = self.movements.get(transfer_hash)
        if movement is None:
            movement = self.movements[transfer_hash] = Movement(transfer)
        return movement

    # What became durable

    def committed(self, device, raw: bytes) -> None:
        record = records.decode(raw)
        account = self.accounts[device.id]
        body = record.body
        demand(record.seq == account.head + 1, f"{account.name}: record {record.seq} after {account.head}")
        demand(body.previous == account.chain[account.head], f"{account.name}: record {record.seq} breaks the chain")
        digest = self._remember_record(account, record)
        account.head = record.seq
        if isinstance(body, Transfer):
            self._debited(account, device.id, record.transfer, digest)
        elif isinstance(body, Receipt):
            self._credited(account, device.id, record)
        elif isinstance(body, Loading):
            demand(record.load.number > account.load_number, f"{account.name}: load {record.load.number} taken twice")
            demand(record.load.device == device.id, f"{account.name}: took the load of another")
            account.load_number = record.load.number
            account.loads.add(record.load.number)
            account.balance += record.load.amount
            self.total += record.load.amount
            self.facts["loads"] += 1
        elif isinstance(body, Closing):
            self._closed(account, record)
        elif isinstance(body, Installation):
            demand(record.snapshot.balance == account.balance, f"{account.name}: a snapshot with another balance")
            hashes = {sha256(transfer.body()) for transfer, _, _ in record.in_doubt}
            demand(hashes == set(account.in_doubt), f"{account.name}: a snapshot with other debits in doubt")
            account.load_number = max(account.load_number, record.snapshot.load_floor)
            self.facts["installations"] += 1

    def _remember_record(self, account: Account, record) -> bytes:
        digest = sha256(record.body_bytes)
        account.chain[record.seq] = digest
        account.bodies[record.seq] = record.body_bytes
        return digest

    def _debited(self, account: Account, who: bytes, transfer: Transfer, digest: bytes) -> None:
        demand(transfer.payer == who, f"{account.name}: a debit of another device")
        demand(0 < transfer.amount <= account.balance, f"{account.name}: pays {transfer.amount} of {account.balance}")
        movement = self._movement(digest, transfer)
        demand(not movement.debited, f"{account.name}: one Transfer debited twice")
        movement.debited = True
        account.balance -= transfer.amount
        account.in_doubt[digest] = transfer.amount
        self.facts["debits"] += 1

    def _credited(self, account: Account, who: bytes, record) -> None:
        transfer: Transfer = record.transfer
        digest = record.receipt.transfer
        demand(transfer.payee == who and digest == sha256(transfer.body()), f"{account.name}: credits a stranger's")
        movement = self._movement(digest, transfer)
        demand(not movement.credited, f"{account.name}: one Transfer credited twice")
        demand(digest not in self.voided, f"{account.name}: credits what it voided")
        demand(movement.outcome in (0, PAID), f"{account.name}: credits what went back to its payer")
        demand(transfer.request not in self.cancelled, f"{account.name}: credits a Request that was closed")
        number = (who, transfer.number)
        demand(number not in self.credited_numbers, f"{account.name}: one Request credited twice")
        payer = self.accounts.get(transfer.payer)
        if payer is not None:
            demand(movement.debited, f"{account.name}: credits what {payer.name} never paid")
        if payer is None or movement.outcome == PAID:  # from outside, or back from the ledger's guess at a deadline
            self.total += transfer.amount
        self.credited_numbers.add(number)
        movement.credited = True
        account.credits.add(digest)
        account.balance += transfer.amount
        self.facts["credits"] += 1

    def _closed(self, account: Account, record) -> None:
        digest = record.body.transfer
        demand(digest in account.in_doubt, f"{account.name}: closes what is not in doubt")
        amount = account.in_doubt.pop(digest)
        movement = self.movements[digest]
        movement.outcome = record.body.outcome
        payee = self.accounts.get(movement.transfer.payee)
        if record.body.outcome == PAID:
            self.facts["paid"] += 1
            if payee is not None and not movement.credited:
                demand(self.defaulted(digest), f"{account.name}: paid, but {payee.name} has not received it")
            if not movement.credited:
                self.total -= amount
        else:
            self.facts["voided"] += 1
            demand(not movement.credited, f"{account.name}: took back what its payee has received")
            account.balance += amount

    # What left the device

    def revealed(self, device, answer: bytes) -> None:
        kind = SIGNED.get(answer[0])
        if kind is None or len(answer) != kind.size():
            return
        account = self.accounts[device.id]
        signed = kind.decode(answer)
        self.facts["signed"] += 1
        if isinstance(signed, Void):
            demand(signed.transfer not in account.credits, f"{account.name}: voids what it has credited")
            self.voided.add(signed.transfer)
            account.signed.append((0, answer))
            return
        if isinstance(signed, Statement):
            commits = {signed.seq: signed.head}
        else:
            commits = {signed.seq: sha256(signed.body()), signed.seq - 1: signed.previous}
        for seq, digest in commits.items():
            here = account.chain.get(seq)
            demand(here == digest, f"{account.name}: signed two histories at {seq}, or what is not durable")
        if isinstance(signed, Transfer):
            self._check_cumulative(account, signed)
        account.signed.append((signed.seq, answer))

    def _check_cumulative(self, account: Account, transfer: Transfer) -> None:
        spent = account.spent.setdefault(transfer.payer_issue, {})
        for seq, other in spent.items():
            first, second = (other, transfer) if seq < transfer.seq else (transfer, other)
            falls = seq != transfer.seq and second.cumulative < first.cumulative + second.amount
            demand(not falls, f"{account.name}: its cumulative amount falls")
        spent[transfer.seq] = transfer

    # What must hold between any two steps

    def check(self, devices) -> None:
        """Memory says what the durable records say, and together the devices have what came in less what went out."""
        together = 0
        for device in devices:
            account = self.accounts[device.id]
            purse = device.purse
            doubts = account.in_doubt
            if not device.fault:  # else the next start reads what is durable
                demand(
                    purse.balance == account.balance,
                    f"{account.name} says {purse.balance}, its records {account.balance}",
                )
                demand(
                    len(purse.in_doubt) == len(doubts) and all(debit.hash in doubts for debit in purse.in_doubt),
                    f"{account.name}: in doubt is not what its records say",
                )
                demand(purse.balance >= 0, f"{account.name} is below zero")
            together += self.worth(account)
        demand(together == self.total, f"the devices have {together} together, not {self.total}")

    def worth(self, account: Account) -> int:
        """What a device has: to spend, and in doubt but for what has arrived without its knowing."""
        worth = account.balance
        for digest, amount in account.in_doubt.items():
            movement = self.movements[digest]
            if not (movement.credited and movement.transfer.payee in self.accounts):
                worth += amount
        return worth
