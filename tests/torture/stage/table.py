"""Devices on a table: a bank, what is heard on the air between them, and what must be true of all of it."""

from bank import CONFIRM, GENERATE, NOW, PAY, PERSONALISE, RECEIPT, TRANSFER, VOID, Wrong, sha256
from books import Books
from image import journal_of
from seat import Board, Seat


class Table:
    """Seats by name, a bank, and what was heard on the air."""

    def __init__(self, bank):
        self.bank = bank
        self.seats = {}
        self.wishes = []
        self.messages = 0  # of all taps; the one with the number `tear_at` is lost
        self.tear_at = -1
        self._heard = []  # (seat, what it must have in its journal or must never have)
        self.crashes = []

    def add(self, name: str, board: Board, kind: int, operator: int = 1) -> Seat:
        seat = self.seats[name] = Seat(name, board, kind, operator)
        return seat

    def personalise(self, seat: Seat) -> None:
        """Also again, after a cut."""
        key = seat.send(GENERATE)
        if seat.books is None:
            seat.books, seat.id = Books(key), sha256(key)[:16]
        elif seat.books.key != key:
            raise Wrong(seat.name + " made another key")
        seat.send(PERSONALISE, self.bank.personalisation(seat.operator, key, seat.kind))

    def sync(self, seat: Seat, revoke: bool = False, now: int = NOW) -> None:
        seat.tidy()
        self.check(seat)
        self.bank.sync(seat, now, revoke)
        seat.tidy()
        self.check(seat)

    # --- snapshot

    def keep(self):
        seats = [(seat, seat.board.keep(), seat.id, seat.books and seat.books.copy()) for seat in self.seats.values()]
        return seats, self.bank.copy()

    def put_back(self, kept, seed: int) -> None:
        seats, bank = kept
        for seat, board, id, books in seats:
            seat.board.put_back(board, seed)
            seat.id, seat.books = id, books and books.copy()
        self.bank = bank.copy()
        self.wishes = []
        self.messages, self.tear_at = 0, -1
        self._heard = []
        self.crashes = []

    # --- the air

    def forget_air(self) -> None:
        """After a check, or where thousands of payments are too many to remember."""
        self._heard = []
        self.wishes = []

    def hear(self, reader: Seat, command: bytes) -> None:
        """What a reader said, it must have committed before."""
        ins, data = command[1], command[5:]
        if ins in (CONFIRM, TRANSFER) and command[0] == 0x80:
            self.hear_said(reader, data)

    def hear_answer(self, card: Seat, command: bytes, response: bytes) -> None:
        if command[0] == 0x80 and command[1] in (PAY, TRANSFER) and response[-2:] == b"\x90\x00":
            self.hear_said(card, response[:-2])

    def hear_said(self, seat: Seat, data: bytes) -> None:
        """A Transfer, Receipt or Void that left a device."""
        kind = data[0]
        if kind == 5:
            self._heard.append((seat, kind, bytes(data[:130])))
        elif kind == RECEIPT:
            self._heard.append((seat, kind, bytes(data[:70])))
        elif kind == VOID:
            self._heard.append((seat, kind, bytes(data[2:34])))

    def crashed(self, seat: Seat, error) -> None:
        """An exception that nobody foresaw: the device starts again, by itself."""
        seat.power.dead = True
        self.crashes.append((seat, error))

    # --- checks

    def check(self, seat: Seat) -> None:
        """A running device: its records continue what was seen, its memory is what they say."""
        device = seat.device
        if device.fault:
            raise Wrong("%s: out of service: %s" % (seat.name, device.fault))
        if seat.books is None:
            return
        journal = journal_of(device)
        try:
            seat.books.take(journal.first_seq, journal.records(journal.first_seq))
            seat.books.compare(device.party.purse)
        except Wrong as wrong:
            raise Wrong("%s: %s" % (seat.name, wrong))  # noqa: B904

    def check_all(self) -> None:
        """Nothing lost, nothing made, nobody lied."""
        seats = [seat for seat in self.seats.values() if seat.books]
        for seat in seats:
            self.check(seat)
        credited = {}
        for seat in seats:
            credited.update(seat.books.credits)
        held = sum([seat.books.balance for seat in seats])
        redeemed = 0
        if self.bank.desk:
            credited.update(self.bank.desk.credited)
            redeemed = sum([amount for amount, _ in self.bank.desk.credited.values()])
        floating = 0
        for seat in seats:
            for transfer in seat.books.in_doubt.values():
                if transfer.hash not in credited:
                    floating += transfer.amount
        loaded = sum([seat.books.loaded for seat in seats])
        if held + floating + redeemed != loaded:
            raise Wrong("%d in purses, %d in doubt, %d redeemed, %d loaded" % (held, floating, redeemed, loaded))
        for seat, kind, body in self._heard:
            books = seat.books
            if kind == VOID:
                if body in books.credits:
                    raise Wrong(seat.name + " voids what it credits")
            elif body not in [record[4 : 4 + len(body)] for record in books.records.values()]:
                raise Wrong("%s said what it had not committed: type %d" % (seat.name, kind))

    def check_wishes(self) -> None:
        for wish in self.wishes:
            credits = wish.credits()
            if credits > 1 or (wish.made and not credits) or (wish.given_up and credits):
                raise Wrong("%d was paid %d times, the screen says %s" % (wish.amount, credits, wish.made))

    def check_settled(self) -> None:
        """Nothing is in doubt any more."""
        for seat in self.seats.values():
            if seat.books and seat.books.in_doubt:
                raise Wrong(seat.name + ": a payment is stuck in doubt")
