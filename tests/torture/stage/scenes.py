"""What devices do to each other in a torture: each scene has a start, which is made once and kept, and a play.

`build` fills a table; `play` does what is cut; `again` is what people do afterwards when they tap instead of syncing.
"""

from bank import TERMINAL, WALLET, Wrong
from desk import Redemption, desk_of
from image import Pin
from seat import Board, Seat
from table import Table
from wish import Wish

SALE, REFUND, PERSON, CASH_OUT = 1, 2, 3, 5
JOURNAL_BYTES = 12 * 4096
DISK_BYTES = 16 * 4096
FUNDS = 1_000_000
AMOUNT = 1_001
OLDER = 2_002
LARGE = 60_003  # above what a wallet pays without a person
NEXT = 7


def start(table: Table, name: str, kind: int, operator: int = 1) -> Seat:
    seat = table.add(name, Board(name, JOURNAL_BYTES, DISK_BYTES), kind, operator)
    seat.start()
    return seat


def settle(table: Table, name: str, kind: int, operator: int, funds: int) -> None:
    seat = start(table, name, kind, operator)
    table.personalise(seat)
    if funds:
        table.bank.order_load(seat.id, funds)
    table.sync(seat)


class Scene:
    """Two devices: "payer" has money, "payee" gets it."""

    payer_kind, payee_kind = WALLET, TERMINAL
    payer_operator = 1
    payer_reads = False
    purpose = SALE
    lone = False  # one device only
    confirm = False
    amount = AMOUNT
    by_ledger = False  # a tap does not settle everything
    tear_at = -1  # the message of the older payment that is lost

    def seats(self, table: Table) -> None:
        for name, kind, operator in (("payer", self.payer_kind, self.payer_operator), ("payee", self.payee_kind, 1)):
            settle(table, name, kind, operator, FUNDS if name == "payer" else 0)

    def wish(self, table: Table, amount: int) -> Wish:
        reader, card = ("payer", "payee") if self.payer_reads else ("payee", "payer")
        return Wish(table, reader, card, self.payer_reads, self.purpose, amount, self.confirm)

    def build(self, table: Table) -> None:
        self.seats(table)
        self.before(table)
        for seat in table.seats.values():
            seat.tidy()
        table.check_all()

    def before(self, table: Table) -> None:
        pass

    def play(self, table: Table) -> None:
        self.wish(table, self.amount).fulfil()

    def tidy(self, table: Table) -> None:
        for seat in table.seats.values():
            seat.tidy()

    def again(self, table: Table) -> None:
        for wish in table.wishes:
            if not wish.given_up:
                wish.fulfil()

    def started(self, seat: Seat) -> None:
        """What its owner does when the device has started."""

    def next(self, table: Table) -> None:
        """Life goes on."""
        self.wish(table, NEXT).fulfil()

    def leave_older(self, table: Table) -> None:
        """A payment whose message `tear_at` was lost, and that the person gave up."""
        older = self.wish(table, OLDER)
        older.tap(self.tear_at)
        older.cancel()


class Sale(Scene):
    pass


class UnknownOperator(Scene):
    payer_operator = 2


class Refund(Scene):
    payer_kind, payee_kind = TERMINAL, WALLET
    payer_reads = True
    purpose = REFUND


class CashOut(Refund):
    purpose = CASH_OUT


class Person(Scene):
    payee_kind = WALLET
    payer_reads = True
    purpose = PERSON


class PersonUnknown(Person):
    payer_operator = 2


class OlderVoid(Scene):
    """The answer to PAY was lost and the person gave up: the next sale voids that payment first."""

    tear_at = 3

    def before(self, table):
        self.leave_older(table)


class OlderPaid(OlderVoid):
    """Only the Receipt was lost: the next sale delivers it first."""

    tear_at = 4


class OlderFound(OlderPaid):
    """Somebody else paid in between: the payee has to look for the Receipt in its journal."""

    def before(self, table):
        OlderPaid.before(self, table)
        settle(table, "other", WALLET, 1, FUNDS)
        Wish(table, "payee", "other", False, SALE, 20).fulfil()


class PersonOlder(Person):
    """The same from wallet to wallet: the Receipt was lost."""

    tear_at = 5

    def before(self, table):
        self.leave_older(table)


class PersonOlderVoid(PersonOlder):
    """The Transfer never arrived."""

    tear_at = 4


class Confirm(Scene):
    """Above the sum without confirmation: the first tap asks, the person agrees, the second tap pays."""

    confirm = True
    amount = LARGE


class Cancel(Scene):
    """Torn after the debit, cancelled, and the next sale at once."""

    tear_at = 3

    def play(self, table):
        self.leave_older(table)
        self.wish(table, AMOUNT).fulfil()


class CancelPaid(Cancel):
    """Torn after the credit: the screen says that it is paid, and the next sale delivers the Receipt."""

    tear_at = 4


class SyncPayer(Scene):
    """Statement and records, a revocation list, a Resolution, a Load, a new Certificate, dropping what it covers."""

    who, other = "payer", "payee"
    by_ledger = True
    tear_at = 3

    def before(self, table):
        for number in range(6):
            self.wish(table, 10 + number).tap()
        self.leave_older(table)
        table.sync(table.seats[self.other])
        # The play begins with a device that was just started, which no longer knows this Request.
        self.order(table)

    def order(self, table):
        table.bank.order_load(table.seats[self.who].id, 500)

    def play(self, table):
        table.sync(table.seats[self.who], revoke=True)

    def again(self, table):
        self.play(table)


class SyncPayee(SyncPayer):
    who, other = "payee", "payer"


class SyncLong(SyncPayer):
    """A sync that frees several sectors."""

    def before(self, table):
        for number in range(20):
            self.wish(table, 10 + number).tap()
            self.tidy(table)
        self.order(table)


class Redeem(Scene):
    """A wallet pays its operator's own payee, which is the ledger: over a host's reader or cable."""

    def seats(self, table):
        settle(table, "payer", WALLET, 1, FUNDS)
        table.bank.desk = desk_of(table.bank, 1)

    def redeem(self, table: Table, amount: int) -> Redemption:
        return Redemption(table, "payer", amount)

    def play(self, table):
        self.redeem(table, self.amount).fulfil()

    def next(self, table):
        self.redeem(table, NEXT).fulfil()


class RedeemOlder(Redeem):
    """The Transfer of an earlier one was lost: the next one voids it first."""

    tear_at = 1

    def before(self, table):
        table.tear_at = table.messages + self.tear_at
        older = self.redeem(table, OLDER)
        older.once()
        older.cancel_if_asked()


class Personalise(Scene):
    """From no key to the first money."""

    lone = True

    def seats(self, table):
        start(table, "payer", WALLET)

    def play(self, table):
        seat = table.seats["payer"]
        table.personalise(seat)
        if not table.bank.accounts[seat.id].loads:
            table.bank.order_load(seat.id, FUNDS)
        table.sync(seat)

    def again(self, table):
        seat = table.seats["payer"]
        if seat.books is None or seat.books.seq < 2:
            self.play(table)
        else:
            table.sync(seat)

    def next(self, table):
        table.bank.order_load(table.seats["payer"].id, NEXT)
        table.sync(table.seats["payer"])


class SpreadPush(Scene):
    """The terminal knows a newer list of revocations than the wallet: a tap passes it on."""

    informed = "payee"

    def before(self, table):
        table.sync(table.seats[self.informed], revoke=True)

    def next(self, table):
        Scene.next(self, table)
        if len(set([seat.device.party.trust.list_of(1).epoch for seat in table.seats.values()])) != 1:
            raise Wrong("the list was not passed on")


class SpreadPull(SpreadPush):
    """The wallet knows a newer one."""

    informed = "payer"


class PinScene(Personalise):
    """A PIN is set, asked for, changed, wanted at power-on, and taken away. The key is never lost."""

    pins = ("1234", "5678")

    def seats(self, table):
        Personalise.seats(self, table)
        Personalise.play(self, table)

    def started(self, seat):
        pin = seat.device.pin = Pin(seat.device)
        if pin.state and pin.state.wrong > 1:
            raise Wrong("a power cut cost a try")
        if seat.device.locked:
            seat.device.unlock(self.known(pin))

    def known(self, pin) -> bytes:
        for digits in self.pins:
            stretched = pin.check(digits)
            if stretched:
                return stretched
        raise Wrong("no PIN opens the key")

    def play(self, table):
        seat = table.seats["payer"]
        pin = seat.device.pin
        pin.change(b"", self.pins[0], False)
        if pin.check("9999"):
            raise Wrong("takes another PIN")
        pin.change(pin.check(self.pins[0]), self.pins[1], True)
        pin.change(pin.check(self.pins[1]), self.pins[0], True)
        pin.change(pin.check(self.pins[0]), "", False)
        self.next(table)

    def again(self, table):
        pin = table.seats["payer"].device.pin
        if pin.state:
            pin.change(self.known(pin), "", False)


SCENES = {
    "sale": Sale,
    "refund": Refund,
    "cash-out": CashOut,
    "person": Person,
    "unknown-operator": UnknownOperator,
    "person-unknown": PersonUnknown,
    "older-void": OlderVoid,
    "older-paid": OlderPaid,
    "older-found": OlderFound,
    "person-older": PersonOlder,
    "person-older-void": PersonOlderVoid,
    "confirm": Confirm,
    "cancel": Cancel,
    "cancel-paid": CancelPaid,
    "sync-payer": SyncPayer,
    "sync-payee": SyncPayee,
    "sync-long": SyncLong,
    "redeem": Redeem,
    "redeem-older": RedeemOlder,
    "personalise": Personalise,
    "spread-push": SpreadPush,
    "spread-pull": SpreadPull,
    "pin": PinScene,
}
