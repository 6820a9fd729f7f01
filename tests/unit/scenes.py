"""A fixed story of taps between four devices, with every message and where every journal stands after each.

Runs on CPython and on MicroPython, which must come to the same bytes: `protocol/vectors/taps.json` and `records.json`
are made of it.
"""

from protocol import apdu, records
from protocol.objects import PERSON, REFUND
from protocol.tap import Payment, PaymentTap
from tests.unit.world import (
    REFERENCE,
    Device,
    Link,
    LinkLost,
    Operator,
    World,
    meet,
    revocations,
    sale_tap,
    sha256,
    spread,
)


class Recording(Link):
    """A link that writes down what it carries."""

    def __init__(self, cut_at: int):
        Link.__init__(self, cut_at)
        self.messages: list[str] = []

    def exchange(self, command: bytes, card: Device) -> bytes:
        self.messages.append(command.hex())
        response = Link.exchange(self, command, card)
        self.messages.append(response.hex())
        return response


class Scenes:
    """The devices and what they have done."""

    def __init__(self) -> None:
        self.world = World()
        self.wallet = self.world.device("wallet", balance=50_000)
        self.friend = self.world.device("friend")
        self.terminal = self.world.device("terminal", "terminal")
        self.foreign = self.world.device("foreign", balance=5_000, operator=Operator(2, self.world.root))
        self.made: list[dict] = []

    def tap(self, name: str, reader: Device, card: Device, tap, cut_at: int = -1, then_spread: bool = False) -> None:
        link = Recording(cut_at)
        try:
            meet(tap, card, link)
            if then_spread:
                spread(tap, card, link)
        except LinkLost:
            link.messages.append("cut")
        self.made.append(
            {
                "name": name,
                "reader": reader.name,
                "card": card.name,
                "messages": link.messages,
                "moved": tap.moved,
                "state": {device.name: self.state(device) for device in (reader, card)},
            }
        )

    @staticmethod
    def state(device: Device) -> dict:
        purse = device.purse
        return {
            "head_seq": purse.head_seq,
            "head_hash": purse.head_hash.hex(),
            "balance": purse.balance,
            "in_doubt": purse.in_doubt_sum,
            "cumulative": purse.cumulative,
        }

    def sale(self, name: str, card: Device, amount: int, cut_at: int = -1) -> None:
        self.terminal.open(amount)
        self.tap(name, self.terminal, card, sale_tap(self.terminal), cut_at)

    def payment(self, name: str, reader: Device, card: Device, amount: int, purpose: int) -> None:
        payment = Payment(amount, purpose, REFERENCE)
        self.tap(name, reader, card, PaymentTap(reader.party, reader.perform, reader.payer, payment))

    def play(self) -> list[dict]:
        """The whole story."""
        self.sale("sale", self.wallet, 1_234)
        self.payment("refund", self.terminal, self.wallet, 234, REFUND)
        self.payment("person to person", self.wallet, self.friend, 700, PERSON)
        self.sale("sale torn after the debit", self.wallet, 500, cut_at=3)
        self.tap("the same sale tapped again", self.terminal, self.wallet, sale_tap(self.terminal))
        self.sale("sale torn, then cancelled", self.wallet, 600, cut_at=3)
        self.terminal.payee.close()
        self.sale("the next sale settles the older one first", self.wallet, 70)
        self.sale("sale with an unknown operator", self.foreign, 800)
        bank, complete = self.world.operator, self.world.operator.revoke(1, [(self.friend.id, 2)])
        self.wallet.send(apdu.PUT, complete.encode())
        self.wallet.send(apdu.PUT, bank.revoke(2, [(self.friend.id, 0), (self.foreign.id, 5)], since=complete).encode())
        self.terminal.send(apdu.PUT, revocations(self.world.root, 0, 1, []).encode())
        self.terminal.open(30)
        tap = sale_tap(self.terminal)
        self.tap("sale, then revocations pass both ways", self.terminal, self.wallet, tap, then_spread=True)
        return self.made

    def chains(self) -> list[dict]:
        """Every record of three journals, the wallet's with one more installation, which frees the ones before."""
        stored = [
            (device, data) for device in (self.friend, self.terminal, self.wallet) for data in device.journal.stored
        ]
        self.world.sync(self.wallet)
        stored.append((self.wallet, self.wallet.journal.stored[-1]))
        return [self.entry(device, data) for device, data in stored]

    @staticmethod
    def entry(device: Device, data: bytes) -> dict:
        record = records.decode(data)
        return {
            "device": device.name,
            "seq": record.seq,
            "record": type(record.body).__name__,
            "stored": data.hex(),
            "previous": record.body.previous.hex(),
            "hash": sha256(record.body_bytes).hex(),
        }
