"""What people do with their devices: ask, tap, tear, try again, cancel, confirm, switch off, wait."""

from host_tools.ledger.errors import LedgerError
from protocol import apdu
from protocol.errors import DecodeError, LocalError, Refused, name_of
from protocol.objects import (
    CASH_OUT,
    DAY_S,
    PERSON,
    REFUND,
    TERMINAL,
    WALLET,
)
from protocol.objects import PAID as PAID_OUTCOME
from protocol.objects import VOID as VOID_OUTCOME
from protocol.states import CREDITED, OPEN
from protocol.tap import NOT_PAID, PAID, Payment, PaymentTap
from tests.ledger.world import sale_tap
from tests.stateful.choices import Choices
from tests.stateful.country import Citizen
from tests.stateful.ground import Ground
from tests.stateful.links import LinkLost, WildLink
from tests.stateful.shadow import demand
from tests.unit.world import REFERENCE, Link, meet, spread

PAST_DEADLINES = 125  # days: a Certificate's life and the grace after it
LAST_DAY = (
    1_000 - PAST_DEADLINES - 5
)  # the operators' certificates last 1,000 days, and the way home may take all deadlines


class People(Ground):
    """Rules; each returns a few words about what it did."""

    def _tap(self, choices: Choices, tap, reader: Citizen, card) -> str:
        if choices.number(0, 24) == 24:
            reader.journal.fail = choices.pick(("before", "after"))
        link = WildLink(choices, self.overheard)
        if self.tear_next:
            link = Link(cut_at=choices.number(2, 6), lose_power=choices.number(0, 3) == 3)
        try:
            meet(tap, card, link)
            if card in self.bodies or card in self.honest:
                spread(tap, card, WildLink(choices, self.overheard))
        except LinkLost:
            return "cut"
        except Refused as refusal:
            return name_of(refusal.cause)
        except DecodeError:
            return "spoilt"
        finally:
            card.card.reset()
        return "earlier" if tap.earlier else tap.moved

    def ask_and_tap(self, choices: Choices) -> str:
        """A terminal asks for money (or still does) and somebody taps."""
        terminal, payer = self._of_role(choices, TERMINAL), self._anybody(choices)
        last = self.last_met.get(terminal)
        if last is not None and choices.number(0, 2) == 2:
            payer = last
        self.last_met[terminal] = payer
        return self._sale(choices, terminal, payer, payer)

    def _sale(self, choices: Choices, terminal: Citizen, payer: Citizen, card) -> str:
        self._awake(terminal)
        if payer.fault and choices.number(0, 3):
            self._restart(payer)
        if payer is terminal:
            return "itself"
        if terminal.payee.state != OPEN or choices.number(0, 2) == 2:
            try:
                terminal.open(self._amount(choices))
            except Refused as refusal:
                return f"no Request: {name_of(refusal.cause)}"
        tap = sale_tap(terminal)
        said = self._tap(choices, tap, terminal, card)
        if terminal.shadow is not None and not terminal.fault:
            credited = terminal.payee.state == CREDITED
            demand(tap.moved != PAID or credited, f"{terminal.name} shows paid and has no money")
            demand(tap.moved != NOT_PAID or not credited, f"{terminal.name} shows not paid and has the money")
        return said

    def pay(self, choices: Choices) -> str:
        """Somebody enters an amount and taps a wallet, or tries the last payment again."""
        payer = self._anybody(choices)
        card = self._of_role(choices, WALLET)
        last = self.last_met.get(payer)
        if last is not None and last.certificate.role == WALLET and choices.number(0, 1):
            card = last
        self.last_met[payer] = card
        return "itself" if card is payer else self._pay(choices, payer, card)

    def _pay(self, choices: Choices, payer: Citizen, card: Citizen) -> str:
        self._awake(payer)
        if card.fault and choices.number(0, 3):
            self._restart(card)
        payment = self.payments.get(payer)
        if payment is None or choices.number(0, 1):
            purpose = choices.pick((REFUND, CASH_OUT)) if payer.certificate.role == TERMINAL else PERSON
            payment = Payment(self._amount(choices), purpose, REFERENCE)
            self.payments[payer] = payment
        try:
            tap = PaymentTap(payer.party, payer.perform, payer.payer, payment)
        except LocalError:
            self.payments.pop(payer)
            return "has ended"
        said = self._tap(choices, tap, payer, card)
        if payer.shadow is not None and not payer.fault:
            movement = self.shadow.movements.get(payment.transfer_hash)
            outcome = movement.outcome if movement is not None else 0
            demand(tap.moved != PAID or outcome == PAID_OUTCOME, f"{payer.name} shows paid and does not know it")
            open_debit = movement is not None and outcome != VOID_OUTCOME
            demand(tap.moved != NOT_PAID or not open_debit, f"{payer.name} shows not paid and may have paid")
        return said

    def tear_and_try_again(self, choices: Choices) -> str:
        """A tap is torn, something happens to one of the two, and they meet again."""
        if choices.number(0, 1):
            payer, card = self._anybody(choices), self._of_role(choices, WALLET)
            if payer is card:
                return "itself"
            attempt, payee = self._pay, card
        else:
            card, payer = self._of_role(choices, TERMINAL), self._anybody(choices)
            attempt, payee = self._sell, card
        self.tear_next = True
        try:
            attempt(choices, payer, card)
        finally:
            self.tear_next = False
        between = choices.number(0, 5)
        if between == 0:
            self._cancel_open(payee)
        elif between == 1:
            self._restart(choices.pick((payer, payee)))
        elif between == 2 and payee.shadow is not None:
            self._sync_now(payee)
        elif between == 3 and payer.shadow is not None:
            self._sync_now(payer)
        return attempt(choices, payer, card)

    def _sell(self, choices: Choices, payer: Citizen, terminal: Citizen) -> str:
        return self._sale(choices, terminal, payer, payer)

    def cancel(self, choices: Choices) -> str:
        """A person takes the question back: from here on nothing is credited for it."""
        asking = [device for device in (*self.honest, *self.bodies) if device.payee.state == OPEN]
        if not asking:
            return "nothing open"
        payee = choices.pick(asking)
        request_hash = payee.payee.request_hash
        payee.payee.close()
        if payee.shadow is not None:
            self.shadow.cancelled.add(request_hash)
        return "closed"

    def confirm(self, choices: Choices) -> str:
        """A person answers a wallet's question."""
        asked = [device for device in (*self.honest, *self.bodies) if device.payer.wanted is not None]
        if not asked:
            return "nobody asked"
        device = choices.pick(asked)
        if choices.number(0, 4) == 4:
            device.payer.decline()
            return "declined"
        device.payer.approve()
        return "approved"

    def power_off(self, choices: Choices) -> str:
        self._restart(self._anybody(choices))
        return "on again"

    def arm(self, choices: Choices) -> str:
        """The next write of a device fails, before it is durable or after."""
        device = self._anybody(choices)
        fail = choices.pick(("before", "after"))
        if choices.number(0, 2) == 2:
            device.save_fails = fail
        else:
            device.journal.fail = fail
        return fail

    def days_pass(self, choices: Choices) -> str:
        days = choices.pick((0, 0, 0, 0, 1, 1, 1, 3, 10, 29, 61, 95, 130))
        return self._pass(choices, days)

    def _pass(self, choices: Choices, days: int, away: Citizen | None = None) -> str:
        if self.country.now // DAY_S + days > LAST_DAY + 20_000:
            return "the end of days"
        self.country.now += days * DAY_S + choices.number(0, 200)
        if days < 29:
            return "days"
        for device in self.honest:  # most people come home once a month; who did not cannot pay any more
            if choices.number(0, 1) and device is not away:
                self._sync_now(device)
        self.country.ledger.book_overdue(self.country.now)
        self.asked_ledger = True
        return "months"

    def forget_in_a_drawer(self, choices: Choices) -> str:
        """Somebody loads, pays of it at a till, and is not seen until all deadlines have passed; the till is."""
        wallet = choices.pick([device for device in self.honest if device.certificate.role == WALLET])
        terminal = choices.pick([device for device in self.honest if device.certificate.role == TERMINAL])
        self._awake(wallet)
        self._awake(terminal)
        has, amount = wallet.purse.balance, self._amount(choices)
        try:
            load = self.country.ledger.order_load(self.country.signer_of(wallet), wallet.id, amount, self.country.now)
        except LedgerError as error:
            return type(error).__name__
        said = self._send(wallet, apdu.PUT, load.encode())
        if said == "taken":
            try:
                terminal.open(has + choices.number(1, amount))
            except Refused as refusal:
                return f"no Request: {name_of(refusal.cause)}"
            said = self._tap(choices, sale_tap(terminal), terminal, wallet)
            if wallet.payer.wanted is not None:
                wallet.payer.approve()
                said = self._tap(choices, sale_tap(terminal), terminal, wallet)
        self._sync_now(terminal)
        return f"{said}, {self._pass(choices, PAST_DEADLINES, away=wallet)}"

    def tidy(self, choices: Choices) -> str:
        """A device does what it does while nobody waits."""
        device = self._anybody(choices)
        self._awake(device)
        try:
            device.tidy()
        except Refused as refusal:
            return name_of(refusal.cause)
        return "tidied"
