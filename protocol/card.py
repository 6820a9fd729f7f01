"""The card side: one command APDU in, one response out.

Serves a tap and a host's link alike and never knows which it is.

Commands never interleave and every one of them may be repeated. What a command decides is committed before it is
answered; the one thing done after an answer is checking a Receipt's signature (`after`), which nobody waits for.

`device` is what holds the parts together (firmware/apps/device.py): `party` (None without a key), `payer`, `payee`,
`certificate` (raises Refused(NOT_PERSONALISED)), `flags` (those of `apdu.hello`), `order_number`,
`perform(effects) -> bytes`, `generate_key(more: bytes) -> bytes`, `reload_trust()`, `record(seq) -> bytes | None`,
`records(from_seq)`, `random(n)`, `counters() -> bytes`, `notify(event, value)`, `settings` (`get(name)`),
`unblock_pin(argument) -> dict` (the settings that unblock the PIN or, with `TAKE_PIN_AWAY`, end it; raises
Refused(NOT_FOUND) without a PIN, Refused(MISMATCH) if the key can be read with the PIN only). While `flags` say LOCKED
its `sign` raises Refused(LOCKED).
"""

from protocol import apdu
from protocol.errors import (
    MALFORMED,
    NOT_FOUND,
    NOT_PERSONALISED,
    NOT_SELECTED,
    RETIRED,
    SERVICE,
    UNKNOWN_COMMAND,
    UNKNOWN_TRANSFER,
    WRONG_CLASS,
    WRONG_LENGTH,
    WRONG_PARAMETERS,
    DecodeError,
    Refused,
)
from protocol.management import Management
from protocol.ndef import Tag
from protocol.objects import (
    CASH_OUT,
    PERSON,
    REFUND,
    Certificate,
    OperatorCertificate,
    Receipt,
    Request,
    Transfer,
    decode_answer,
)
from protocol.trust import ROOT_ISSUER, check_parties

# What `device.notify` is told, for whoever shows it to a person
DEBITED = "debited"  # a Transfer we committed
CREDITED = "credited"  # a Transfer we credited
VOIDED = "voided"  # a cause: a Transfer to us that we voided
CLOSED = "closed"  # a debit of ours: (amount, whether it was paid)
REFUSED = "refused"  # a cause

# What only a device with a Certificate does
PERSONAL = (apdu.PAY, apdu.CONFIRM, apdu.REQUEST, apdu.TRANSFER, apdu.OPERATORS, apdu.PUT, apdu.REVOCATIONS)
# What is no news to a person when it is refused: a reader may send it after the payment, whose outcome is the news
UNTOLD = (apdu.PUT, apdu.REVOCATIONS)

ASK_BYTES = Certificate.size() + 4 + 1 + 8  # REQUEST's data: payer's Certificate, amount, purpose, reference


class Card:
    """The applications of one device and the state between commands: selection, chaining."""

    def __init__(self, device):
        self._device = device
        self._management = Management(device)
        self._tag: Tag | None = None
        self._selected = b""
        self._chain = b""
        self._chain_ins = -1
        self._rest = b""
        self._evidence = None

    def process(self, raw: bytes) -> bytes:
        """Answer one command APDU; whatever is wrong with it becomes a status word and changes nothing."""
        try:
            command = apdu.decode_command(raw)
            if command.cla == apdu.CLA_ISO and command.ins == apdu.GET_RESPONSE:
                return self._next_part(command)
            self._rest = b""
            return self._first_part(self._dispatch(command))
        except Refused as refusal:
            cause = refusal.cause
        except DecodeError as error:
            cause = WRONG_LENGTH if error.reason in ("length", "trailing", "empty") else MALFORMED
        self._chain = b""
        self._chain_ins = -1
        if len(raw) < 2 or raw[1] not in UNTOLD:
            self._device.notify(REFUSED, cause)
        return apdu.refusal(cause)

    def after(self) -> None:
        """What may wait until the answer is out: the evidence of the last CONFIRM."""
        evidence, self._evidence = self._evidence, None
        if evidence is None:
            return
        debit = self._device.party.purse.debit_of(evidence.transfer)
        try:
            self._device.perform(self._device.payer.close(evidence))
        except Refused as refusal:
            self._device.notify(REFUSED, refusal.cause)
            return
        if debit:
            self._device.notify(CLOSED, (debit.transfer.amount, isinstance(evidence, Receipt)))

    def reset(self) -> None:
        """The card left the field or the link ended: nothing selected, nothing half received."""
        self._selected = b""
        self._chain = b""
        self._chain_ins = -1
        self._rest = b""

    def _first_part(self, data: bytes) -> bytes:
        cut = apdu.ONE_FRAME_BYTES - 2
        if len(data) <= cut:
            return apdu.respond(data)
        self._rest = data[cut:]
        return apdu.respond(data[:cut], apdu.SW_MORE | min(len(self._rest), 0xFF))

    def _next_part(self, command) -> bytes:
        if not self._rest:
            raise Refused(NOT_FOUND)
        rest, self._rest = self._rest, b""
        return self._first_part(rest)

    def _dispatch(self, command) -> bytes:
        if command.cla == apdu.CLA_ISO:
            return self._iso(command)
        if command.cla not in (apdu.CLA_OWN, apdu.CLA_OWN | apdu.CLA_CHAIN):
            raise Refused(WRONG_CLASS)
        if self._selected != apdu.AID:
            raise Refused(NOT_SELECTED)
        if command.ins not in self._COMMANDS:
            raise Refused(UNKNOWN_COMMAND)
        data = self._collect(command)
        if data is None:
            return b""
        if command.p2 or command.p1 and command.ins != apdu.PAY:
            raise Refused(WRONG_PARAMETERS)
        flags = self._device.flags
        if flags & apdu.OUT_OF_SERVICE and command.ins != apdu.INFO:
            raise Refused(SERVICE)
        if command.ins in PERSONAL and not flags & apdu.PERSONALISED:
            raise Refused(NOT_PERSONALISED)
        return self._COMMANDS[command.ins](self, command, data)

    def _iso(self, command) -> bytes:
        if command.ins == apdu.SELECT and command.p1 == 0x04:
            return self._select(command)
        if command.ins not in (apdu.SELECT, apdu.READ_BINARY):
            raise Refused(UNKNOWN_COMMAND)
        if self._selected != apdu.NDEF_AID or self._tag is None:
            raise Refused(NOT_SELECTED)
        return self._tag.process(command)

    def _select(self, command) -> bytes:
        self.reset()
        device = self._device
        if command.data == apdu.AID:
            self._selected = apdu.AID
            if not device.flags & apdu.PERSONALISED:
                return apdu.hello(device.flags, 0, 0, None)
            trust = device.party.trust
            return apdu.hello(device.flags, trust.epoch, trust.list_of(ROOT_ISSUER).epoch, device.certificate)
        if command.data == apdu.NDEF_AID and device.party:
            self._selected = apdu.NDEF_AID
            self._tag = Tag(device.party.id)
            return b""
        raise Refused(NOT_FOUND)

    def _collect(self, command) -> bytes | None:
        """Command chaining (ISO/IEC 7816-4, section 5.1.1.1): None while more is to come."""
        if self._chain_ins not in (-1, command.ins):
            raise Refused(WRONG_PARAMETERS)
        if len(self._chain) + len(command.data) > apdu.MAX_CHAIN_BYTES:
            raise Refused(WRONG_LENGTH)
        self._chain += command.data
        if command.cla & apdu.CLA_CHAIN:
            self._chain_ins = command.ins
            return None
        data, self._chain, self._chain_ins = self._chain, b"", -1
        return data

    def _in_use(self) -> None:
        """Refuse what a retired device must not do."""
        if self._device.flags & apdu.RETIRED:
            raise Refused(RETIRED)

    def _pay(self, command, data: bytes) -> bytes:
        self._in_use()
        if len(data) != Certificate.size() + Request.size():
            raise Refused(WRONG_LENGTH)
        if command.p1 not in (0, apdu.PAY_WITHOUT_OLDER):
            raise Refused(WRONG_PARAMETERS)
        payee = Certificate.decode(data[: Certificate.size()])
        request = Request.decode(data[Certificate.size() :])
        device = self._device
        answer = device.perform(device.payer.pay(payee, request, False, settle_older=not command.p1))
        device.notify(DEBITED, Transfer.decode(answer))
        return answer

    def _confirm(self, command, data: bytes) -> bytes:
        evidence = decode_answer(data)
        purse = self._device.party.purse
        if purse.debit_of(evidence.transfer):
            self._evidence = evidence
        elif not purse.last_closing or purse.last_closing[0] != evidence.transfer:
            raise Refused(UNKNOWN_TRANSFER)
        return b""

    def _request(self, command, data: bytes) -> bytes:
        self._in_use()
        if len(data) != ASK_BYTES:
            raise Refused(WRONG_LENGTH)
        device = self._device
        at = Certificate.size()
        payer = Certificate.decode(data[:at])
        amount, purpose = int.from_bytes(data[at : at + 4], "big"), data[at + 4]
        if not amount or purpose not in (REFUND, PERSON, CASH_OUT):
            raise Refused(MALFORMED)
        device.party.judge(payer)
        check_parties(payer, device.certificate, purpose)
        device.party.check_days(payer)
        device.party.check_signature(payer)
        return device.perform(device.payee.open(amount, purpose, data[at + 5 :], device.random(8), payer=payer))

    def _transfer(self, command, data: bytes) -> bytes:
        device = self._device
        transfer = Transfer.decode(data)
        before = device.party.purse.head_seq
        answer = device.perform(device.payee.receive(transfer, None))
        if device.party.purse.head_seq != before:
            device.notify(CREDITED, transfer)
        elif device.payee.refusal:
            device.notify(VOIDED, device.payee.refusal)
        return answer

    def _operators(self, command, data: bytes) -> bytes:
        """Believe the reader's operator and name ours: what each needs to judge the other."""
        self._device.perform(self._management.put_operator(OperatorCertificate.decode(data)))
        return self._device.party.trust.own.encode()

    def _generate(self, command, data: bytes) -> bytes:
        return self._device.generate_key(data)

    def _personalise(self, command, data: bytes) -> bytes:
        self._device.perform(self._management.personalise(data))
        self._device.reload_trust()
        return b""

    def _manage(self, command, data: bytes) -> bytes:
        return self._device.perform(self._MANAGED[command.ins](self._management, data))

    def _info(self, command, data: bytes) -> bytes:
        self._refuse_data(data)
        return self._management.info()

    def _counters(self, command, data: bytes) -> bytes:
        self._refuse_data(data)
        return self._device.counters()

    def _refuse_data(self, data: bytes) -> None:
        if data:
            raise Refused(WRONG_LENGTH)

    _MANAGED = {
        apdu.STATEMENT: Management.statement,
        apdu.JOURNAL: Management.journal,
        apdu.INSTALL: Management.install,
        apdu.PUT: Management.put,
        apdu.REVOCATIONS: Management.revocations,
    }
    _COMMANDS = {
        apdu.PAY: _pay,
        apdu.CONFIRM: _confirm,
        apdu.REQUEST: _request,
        apdu.TRANSFER: _transfer,
        apdu.OPERATORS: _operators,
        apdu.STATEMENT: _manage,
        apdu.JOURNAL: _manage,
        apdu.INSTALL: _manage,
        apdu.PUT: _manage,
        apdu.REVOCATIONS: _manage,
        apdu.INFO: _info,
        apdu.COUNTERS: _counters,
        apdu.GENERATE: _generate,
        apdu.PERSONALISE: _personalise,
    }
