"""What cheats and strangers do: clone, go back, lie, collude, forge, accuse, replay."""

from host_tools.crypto import sha256, verify
from host_tools.ledger.errors import LedgerError
from protocol import apdu, fraud
from protocol.objects import PAID as PAID_OUTCOME
from protocol.objects import (
    TERMINAL,
    Certificate,
    Receipt,
    Resolution,
    Void,
)
from protocol.objects import VOID as VOID_OUTCOME
from protocol.states import OPEN
from tests.stateful.banks import Banks
from tests.stateful.cheats import Liar, accusation, lying_statement, receipt_and_void
from tests.stateful.choices import Choices
from tests.stateful.people import People
from tests.stateful.shadow import Violation

MAX_BODIES = 7


class Strangers(People, Banks):
    """Rules; each returns a few words about what it did."""

    def clone(self, choices: Choices) -> str:
        body = choices.pick(self.bodies)
        twin = body.copy()
        if len(self.bodies) < MAX_BODIES:
            self.bodies.append(twin)
        else:
            at = choices.number(0, len(self.bodies) - 1)
            self.bodies[at] = twin
        return "cloned"

    def keep_backup(self, choices: Choices) -> str:
        body = choices.pick(self.bodies)
        backup = (body.name, list(body.journal.stored), body.journal.first_seq, dict(body.settings.values))
        self._hold(self.backups, backup)
        return "kept"

    def restore_backup(self, choices: Choices) -> str:
        if not self.backups:
            return "none kept"
        name, stored, first_seq, values = choices.pick(self.backups)
        body = next((body for body in self.bodies if body.name == name), None)
        if body is None:
            return "no body"
        self.payments.pop(body, None)
        body.become(stored, first_seq, values)
        return "restored"

    def lie(self, choices: Choices) -> str:
        """A cheat's card pays with what its journal does not say."""
        body = choices.pick(self.bodies)
        liar = Liar(body, choices)
        terminal = self._of_role(choices, TERMINAL)
        if terminal.id == body.id:
            return "itself"
        return self._sale(choices, terminal, body, liar)

    def collude(self, choices: Choices) -> str:
        """A payee signs a Receipt and a Void of what it is owed and has not received; its payer hears one of them."""
        body = choices.pick(self.bodies)
        owed = [
            (device, debit)
            for device in (*self.honest, *self.bodies)
            for debit in device.purse.in_doubt
            if debit.transfer.payee == body.id
        ]
        if not owed:
            return "nothing owed"
        payer, debit = choices.pick(owed)
        words = receipt_and_void(body, debit.hash, choices)
        self.overheard += [apdu.command(apdu.CONFIRM, word.encode()) for word in words]
        return self._send(payer, apdu.CONFIRM, choices.pick(words).encode())

    def credit_closed(self, choices: Choices) -> str:
        """A payee takes what it had cancelled."""
        body = choices.pick(self.bodies)
        if body.payee.state is None:
            return "never asked"
        body.payee.state = OPEN
        return "opened again"

    def lying_upload(self, choices: Choices) -> str:
        """A cheat signs any Statement and shows any of its records."""
        body = choices.pick(self.bodies)
        nonce, _ = self.country.ledger.begin_sync(body.id, self.country.now)
        statement = lying_statement(body, nonce, choices).encode()
        records = list(body.journal.stored)
        others = [twin for twin in self.bodies if twin.id == body.id and twin is not body]
        if others:
            records += choices.pick(others).journal.stored[-6:]
        if choices.number(0, 1):
            records = [record for record in records if choices.number(0, 3)]
        return self._settle(body, statement, records, False)

    def forge(self, choices: Choices) -> str:
        """A stranger tells a device that a debit has ended, that money has come, that a Certificate is its."""
        device = choices.pick(self.honest)
        key = choices.pick(self.bodies).party
        bank = self.country.operators[self.country.operator_of(device)]
        debits = device.purse.in_doubt
        digest = choices.pick(debits).hash if debits else device.purse.head_hash
        what = choices.number(0, 4)
        if what == 0:
            forged = Void(transfer=digest).sign(key.sign)
        elif what == 1:
            forged = Receipt(seq=1, previous=digest, transfer=digest).sign(key.sign)
        elif what == 2:
            outcome = choices.number(PAID_OUTCOME, VOID_OUTCOME)
            forged = Resolution(operator=bank.number, payer=device.id, transfer=digest, outcome=outcome)
            forged.sign(key.sign)
        elif what == 3:
            forged = bank.load(device.id, device.purse.load_floor + 1, 10_000)
            forged.sign(key.sign)
        else:
            forged = Certificate.decode(device.certificate.encode())
            forged.issue += 1
            forged.sign(key.sign)
        if what < 2:
            return self._send(device, apdu.CONFIRM, forged.encode())
        if what < 4:
            return self._send(device, apdu.PUT, forged.encode())
        acknowledgement = device.purse.acknowledgement
        assert acknowledgement is not None
        return self._send(device, apdu.INSTALL, forged.encode() + acknowledgement.encode())

    def accuse(self, choices: Choices) -> str:
        """Somebody makes a fraud proof of what an honest device said: nobody may believe it."""
        device = choices.pick(self.honest)
        account = self.shadow.accounts[device.id]
        if not account.signed:
            return "it has said nothing"
        operator = self.country.operators[self.country.operator_of(device)]
        identity = (operator.certificate.encode(), device.certificate.encode())
        proof = accusation(account, list(self.shadow.accounts.values()), identity, choices)
        try:
            finding = fraud.check(proof, self.country.root.public, sha256, verify)
        except fraud.NotProven as error:
            if choices.number(0, 9) == 9:
                self.asked_ledger = True
                self._accuse_at_ledger(proof)
            return str(error).rstrip("0123456789 ") if "record" not in str(error) else "a record that does not fit"
        raise Violation(f"honest {device.name} is proven guilty: {finding.kind}")

    def _accuse_at_ledger(self, proof) -> None:
        try:
            self.country.ledger.submit_fraud_proof(proof, self.country.now)
        except LedgerError:
            return
        raise Violation("the ledger believes what proves nothing")

    def replay(self, choices: Choices) -> str:
        """A stranger repeats what it once heard, to anybody."""
        if not self.overheard:
            return "nothing heard"
        device = self._anybody(choices)
        device.select()
        answer = device.card.process(choices.pick(self.overheard))
        device.card.after()
        device.card.reset()
        return "answered" if answer[-2:] == b"\x90\x00" else "refused"
