"""A person who wants one payment made, and the radio between the two devices it takes.

`Radio` is what `apps.collect.Collection` takes for its NFC port; a card can be laid there, and any message be lost.
"""

from bank import Wrong
from image import ENDED, WAITING, CardGone, Collection, Refused
from nor import Cut
from seat import Seat

MAX_TAPS = 12


def trace(*what) -> None:
    """What a replay shows of the taps."""


class Radio:
    """The reader's NFC port, with a card that can be put there. Message n is the last one that is lost: `tear_at`."""

    def __init__(self, table, reader: Seat):
        self._table = table
        self._reader = reader
        self.card = None
        self.tear_at = -1
        self._messages = 0
        self._command = b""

    def lay(self, card: Seat, tear_at: int) -> None:
        self.card, self.tear_at, self._messages = card, tear_at, 0

    def take_away(self) -> None:
        if self.card and not self.card.dead:
            self.card.card.reset()
        self.card = None

    def start_polling(self) -> None:
        if self._reader.dead:
            raise Cut

    def find_card(self, empty_ms: int) -> bool:
        return bool(self.card) and not self.card.dead

    def release(self) -> None:
        if self.card and not self.card.dead:
            self.card.card.reset()

    def stop(self) -> None:
        self.take_away()

    def _carry(self) -> None:
        if self._reader.dead:
            raise Cut
        if self._messages == self.tear_at or self._table.messages == self._table.tear_at:
            self.take_away()
        self._messages += 1
        self._table.messages += 1
        if not self.card or self.card.dead:
            raise CardGone("torn")

    def send(self, command: bytes) -> None:
        self._carry()
        self._command = bytes(command)

    def receive(self, since: int = 0, limit_ms: int = 0) -> bytes:
        """The card works only now, so that the reader's work in between is done when the command is on its way."""
        card = self.card
        if not card or card.dead:
            raise CardGone("torn")
        self._table.hear(self._reader, self._command)
        try:
            response = card.process(self._command)
        except Cut:
            raise CardGone("the card lost power")  # noqa: B904
        except Exception as error:  # noqa: BLE001  (what start.run would do)
            self._table.crashed(card, error)
            raise CardGone("the card starts again")  # noqa: B904
        if card.dead:
            self._table.hear_answer(card, self._command, response)
            return response
        self._carry()
        self._table.hear_answer(card, self._command, response)
        return response


class Wish:
    """A payment that a person wants once. `made` when a screen said so, `given_up` when the person cancelled it."""

    def __init__(self, table, reader: str, card: str, pays: bool, purpose: int, amount: int, confirm: bool = False):
        self.table = table
        self.reader, self.card = table.seats[reader], table.seats[card]
        self.payer, self.payee = (self.reader, self.card) if pays else (self.card, self.reader)
        self.pays, self.purpose, self.amount = pays, purpose, amount
        self.confirm = confirm
        self.made = False
        self.given_up = False
        self._collection = None
        self._radio = Radio(table, self.reader)
        self._power = self.reader.power
        table.wishes.append(self)

    def tap(self, tear_at: int = -1) -> None:
        """Ask if nothing is asked, and tap once. Raises Cut if a device lost power."""
        self._forget_if_restarted()
        if self.made:
            return
        try:
            if self._collection is None:
                self._ask()
            else:
                self._collection.step()  # the field is empty: the card of the last tap is gone
            self._radio.lay(self.card, tear_at)
            self._step(self._collection)
        finally:
            self._radio.take_away()
        if self.reader.dead or self.card.dead:
            raise Cut
        if self.card.device.payer.wanted and self.confirm:
            self.card.device.payer.approve()

    def _ask(self) -> None:
        reference = b"wish%04d" % (self.amount % 10_000)
        try:
            self._collection = Collection(
                self.reader.device, self._radio, self.pays, self.purpose, self.amount, reference
            )
        except Refused:  # also what a device says whose power went below littlefs, through which no Cut can fly
            if self.reader.dead:
                raise Cut  # noqa: B904
            raise

    def _step(self, collection) -> None:
        happened = collection.step()
        if self.reader.dead:
            self._collection = None
            raise Cut
        if happened == WAITING:
            raise Wrong("a card is in the field and nothing happens")
        collection.finish()
        if collection.earlier == self.amount:
            self.made = True
            self._collection = None if collection.ended else collection
            if not collection.ended:
                self._stop(collection)
        elif happened == ENDED:
            self._collection = None
            self.made = self.made or collection.moved == "paid"
        self.last = collection.moved, collection.cause, collection.earlier
        trace(self.amount, happened, self.last)

    def _stop(self, collection) -> None:
        collection.cancel()
        self._collection = None

    def cancel(self) -> None:
        """The person presses the key: what the screen says now is true."""
        self._forget_if_restarted()
        if self._collection:
            collection = self._collection
            self._stop(collection)
            self.made = self.made or collection.moved == "paid"
            # A payer that has committed is told "tap again": only what the screen calls not paid must not be.
            self.given_up = not self.made and collection.moved == "not paid"

    def cancel_if_asked(self) -> None:
        """Before a sync nothing may be open. What went with its reader's power nobody knows yet."""
        self._forget_if_restarted()
        if self._collection:
            self.cancel()

    def _forget_if_restarted(self) -> None:
        """What the reader had asked went with its power; a person asks again, unless the money is gone for good.

        A payee that credited and lost power says so at the next tap; a payer that closed its debit cannot, so that the
        person has to look at what it holds.
        """
        if self._power is not self.reader.power:
            self._power = self.reader.power
            self._collection = None
            self.made = self.made or (self.pays and self.payer.books.has_paid(self.amount))

    def fulfil(self) -> None:
        """Tap until it is made, as the screens say."""
        for _ in range(MAX_TAPS):
            if self.made:
                return
            self.tap()
            self.reader.tidy()
            self.card.tidy()
        raise Wrong("%d is never paid: %s" % (self.amount, self.last))

    def credits(self) -> int:
        return sum([1 for amount in self.payee.books.credits.values() if amount == self.amount])
