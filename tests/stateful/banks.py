"""What banks and the hosts between them and the devices do: settle, load, redeem, withhold, double, mix up."""

from host_tools.ledger.errors import LedgerError
from protocol import apdu
from protocol.errors import Refused, name_of
from protocol.objects import (
    Transfer,
    decode_answer,
)
from tests.stateful.choices import Choices
from tests.stateful.country import Citizen
from tests.stateful.ground import Ground


class Banks(Ground):
    """Rules; each returns a few words about what it did."""

    def sync(self, choices: Choices) -> str:
        self._sync_now(choices.pick(self.honest))
        return "synced"

    def take_upload(self, choices: Choices) -> str:
        """A host reads a device and keeps what it read."""
        device = self._anybody(choices)
        self._awake(device)
        if device.payee.busy and device.shadow is not None:
            return "busy"
        device.payee.close()
        self.asked_ledger = True
        try:
            statement, records = self.country.statement(device)
        except Refused as refusal:  # a body whose journal is not the one the ledger asks for
            return name_of(refusal.cause)
        self._hold(self.uploads, (device, statement, records))
        return "held"

    def bring_upload(self, choices: Choices) -> str:
        """A host hands in what it read some time ago: whole, in pieces, in another order, spoilt, or a second time."""
        if not self.uploads:
            return "nothing held"
        at = choices.number(0, len(self.uploads) - 1)
        device, statement, records = self.uploads[at]
        records = list(records)
        how = choices.number(0, 9) - 4
        if how == 1 and records:
            del records[choices.number(0, len(records) - 1)]
        elif how == 2 and records:
            records = records[: choices.number(0, len(records) - 1)]
        elif how == 3 and records:
            records = choices.several(records) + records[:1]
        elif how == 4 and records:
            spoilt = choices.number(0, len(records) - 1)
            raw = bytearray(records[spoilt])
            raw[choices.number(0, len(raw) - 1)] ^= 1 << choices.number(0, 7)
            records[spoilt] = bytes(raw)
        elif how == 5:
            records += choices.pick(self.uploads)[2][:4]
        if choices.number(0, 3):
            del self.uploads[at]
        return self._settle(device, statement, records, device.shadow is not None)

    def _settle(self, device: Citizen, statement: bytes, records: list[bytes], honest: bool) -> str:
        self.asked_ledger = True
        try:
            settlement = self.country.settle(device, statement, records)
        except LedgerError as error:
            return type(error).__name__
        if statement not in self.answered:  # a Statement that comes again is answered as before, whatever is with it
            self.reached.upload(device.id, honest, statement, records)
            self.answered.add(statement)
        self._hold(self.answers, (device, settlement.objects, settlement.certified))
        return "certified" if settlement.certified else "without Certificate"

    def bring_answer(self, choices: Choices) -> str:
        """A host hands a settlement to its device, or to another: late, in pieces, in another order."""
        if not self.answers:
            return "nothing held"
        at = choices.number(0, len(self.answers) - 1)
        device, objects, certified = self.answers[at]
        if choices.number(0, 9) == 9:
            device = self._anybody(choices)
        if choices.number(0, 2):
            del self.answers[at]
        self._awake(device)
        parts = [(apdu.PUT, data) for data in (objects[:-2] if certified else objects)]
        if certified:
            parts.append((apdu.INSTALL, b"".join(objects[-2:])))
        if choices.number(0, 4) == 4:
            parts = choices.several(parts)[: choices.number(0, len(parts))]
        refused = 0
        for ins, data in parts:
            refused += self._send(device, ins, data) != "taken"
        return "refused in part" if refused else "taken"

    def order_load(self, choices: Choices) -> str:
        device = self._anybody(choices)
        self.asked_ledger = True
        try:
            load = self.country.ledger.order_load(
                self.country.signer_of(device), device.id, self._amount(choices), self.country.now
            )
        except LedgerError as error:
            return type(error).__name__
        if choices.number(0, 2) == 2:  # brought at once, without a sync
            self._awake(device)
            return self._send(device, apdu.PUT, load.encode())
        return "ordered"

    def cancel_load(self, choices: Choices) -> str:
        device = self._anybody(choices)
        numbers = self._rows("select number from loads where device = ? and state = 'outstanding'", device.id)
        if not numbers:
            return "none outstanding"
        self.asked_ledger = True
        self.country.ledger.cancel_load(device.id, choices.pick(numbers)[0])
        return "cancelled"

    def redeem(self, choices: Choices) -> str:
        """Money goes back to the account: torn anywhere, and taken up again later."""
        device = self._anybody(choices)
        self._awake(device)
        operator = self.country.operator_of(device)
        payee = self.country.payee_signer(operator)
        ledger, now = self.country.ledger, self.country.now
        self.asked_ledger = True
        mine = [opened for owner, opened in self.redemptions if owner is device]
        if mine and choices.number(0, 1):
            opened = choices.pick(mine)
        else:
            try:
                certificate, request = ledger.open_redemption(
                    self.country.signer_of(device), payee, device.id, self._amount(choices), now
                )
            except LedgerError as error:
                return type(error).__name__
            opened = certificate.encode() + request.encode()
            self._hold(self.redemptions, (device, opened))
        stop = choices.number(0, 5)
        if stop == 5:
            return "stopped before paying"
        try:
            transfer = device.send(apdu.PAY, opened, p1=choices.number(0, 1))
        except Refused as refusal:
            return name_of(refusal.cause)
        if stop == 4:
            return "stopped before the Receipt"
        try:
            answer = ledger.take_redemption(payee, transfer, now)
        except LedgerError as error:
            return type(error).__name__
        self.reached.transfer(Transfer.decode(transfer))
        if stop == 3:
            return "stopped before confirming"
        said = self._send(device, apdu.CONFIRM, answer)
        return said if said != "taken" else type(decode_answer(answer)).__name__

    def book_overdue(self, choices: Choices) -> str:
        self.asked_ledger = True
        self.country.ledger.book_overdue(self.country.now)
        return "booked"

    def set_limits(self, choices: Choices) -> str:
        device = self._anybody(choices)
        limit = choices.pick(("payment_limit", "sum_limit", "no_confirm_sum", "balance_limit"))
        self.asked_ledger = True
        try:
            self.country.ledger.set_limits(device.id, {limit: choices.pick((20_000, 60_000, 300_000))})
        except LedgerError as error:
            return type(error).__name__
        return "set"

    def report_lost(self, choices: Choices) -> str:
        """Only ever a cheat's: its thief goes on using it."""
        cheat = choices.pick(self.bodies)
        self.asked_ledger = True
        self.country.ledger.report_lost(self.country.signer_of(cheat), cheat.id, self.country.now)
        return "reported"

    def revoke(self, choices: Choices) -> str:
        """Only ever a cheat."""
        cheat = choices.pick(self.bodies)
        operator = choices.number(1, 2)
        self.asked_ledger = True
        try:
            self.country.ledger.revoke(self.country.operators[operator].key, operator, cheat.id, self.country.now)
        except LedgerError as error:
            return type(error).__name__
        return "revoked"
