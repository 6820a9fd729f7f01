"""What cheats sign and show with their own keys, and what they make up without one.

`Liar` stands where a card stands in a tap. Everything else a cheat does (clones, backups brought back, claiming what it
did not receive) it does with the honest programme, on a body that is not its only one.
"""

from host_tools.crypto import sha256
from protocol import apdu
from protocol.errors import WRONG_PARTY
from protocol.fraud import Commitment, FraudProof
from protocol.objects import Certificate, Receipt, Request, Statement, Transfer, Void, device_id
from tests.stateful.choices import Choices
from tests.stateful.country import Citizen
from tests.stateful.shadow import Account


def lying_transfer(cheat: Citizen, payee: Certificate, request: Request, choices: Choices) -> Transfer:
    """A Transfer that answers a Request, with some field that its journal does not say."""
    purse, own = cheat.purse, cheat.certificate
    message = cheat.party.request_message(request, sha256(payee.body()), bytes(32))
    transfer = Transfer(
        seq=choices.pick((purse.head_seq + 1, own.base_seq + 1, own.base_seq + choices.number(1, 20), 5_000)),
        previous=choices.pick((purse.head_hash, sha256(b"%d" % choices.number(0, 99)))),
        payer=cheat.id,
        payee=device_id(payee.key, sha256),
        amount=request.amount if choices.number(0, 9) else choices.number(1, 5_000_000),
        lot=0,
        lot_amount=0,
        request=sha256(message),
        number=request.number,
        payer_issue=own.issue if choices.number(0, 4) else choices.number(1, own.issue + 1),
        payee_issue=payee.issue,
        cumulative=0xFFFFFFFF,
    )
    honest = min(purse.cumulative + transfer.amount, 0xFFFFFFFF)
    transfer.cumulative = choices.pick((transfer.amount, honest))
    return transfer.sign(cheat.party.sign)


class Liar:
    """A cheat's card that pays with what `lying_transfer` makes and commits nothing."""

    def __init__(self, body: Citizen, choices: Choices):
        self.body = body
        self.card = self
        self.journal = body.journal
        self._choices = choices
        self.signed: list[Transfer] = []

    def process(self, raw: bytes) -> bytes:
        command = apdu.decode_command(raw)
        if command.ins == apdu.SELECT:
            return self.body.card.process(raw)
        if command.ins == apdu.OPERATORS:
            return apdu.respond(self.body.party.trust.own.encode())
        if command.ins != apdu.PAY:
            return apdu.respond(b"")
        at = Certificate.size()
        payee, request = Certificate.decode(command.data[:at]), Request.decode(command.data[at:])
        if payee.key == self.body.party.public_key:
            return apdu.refusal(WRONG_PARTY)  # what a stranger repeats may be its own
        transfer = lying_transfer(self.body, payee, request, self._choices)
        self.signed.append(transfer)
        return apdu.respond(transfer.encode())

    def after(self) -> None:
        pass

    def reset(self) -> None:
        pass

    def restart(self) -> None:
        pass


def receipt_and_void(payee: Citizen, transfer_hash: bytes, choices: Choices) -> tuple[Receipt, Void]:
    """A payee's two words about one Transfer; the Receipt may name a position of its journal or one out of the air."""
    purse = payee.purse
    seq, previous = purse.head_seq + 1, purse.head_hash
    if choices.chance(30):
        seq, previous = choices.number(1, 50), sha256(b"%d" % choices.number(0, 9))
    receipt = Receipt(seq=seq, previous=previous, transfer=transfer_hash).sign(payee.party.sign)
    return receipt, Void(transfer=transfer_hash).sign(payee.party.sign)


def accusation(account: Account, others: list[Account], identity: tuple[bytes, bytes], choices: Choices) -> FraudProof:
    """The best that somebody who has heard everything can make of what an honest device signed.

    `identity` is its operator's certificate and one of its own.
    """

    def commitment() -> Commitment:
        seq, signed = choices.pick(account.signed)
        below = seq - (signed[0] != Statement.TYPE)
        bodies = [
            account.bodies[at] for at in range(below, max(below - choices.number(0, 6), 0), -1) if at in account.bodies
        ]
        how = choices.number(0, 9)
        if how == 9 and bodies:
            bodies = choices.several(bodies)
        elif how == 8 and bodies:
            spoilt = bytearray(bodies[-1])
            spoilt[choices.number(0, len(spoilt) - 1)] ^= 1 << choices.number(0, 7)
            bodies[-1] = bytes(spoilt)
        elif how == 7:
            bodies += choices.several(list(choices.pick(others).bodies.values()))[:2]
        elif how == 6 and (elsewhere := choices.pick(others).signed):
            signed = choices.pick(elsewhere)[1]
        return Commitment(signed, tuple(bodies))

    return FraudProof(*identity, commitment(), commitment())


def lying_statement(cheat: Citizen, nonce: bytes, choices: Choices) -> Statement:
    """Where the cheat's journal stands, or does not."""
    purse = cheat.purse
    back = choices.number(0, 5)
    stored = cheat.journal.record(purse.head_seq - back) if back else None
    head = purse.head_hash if stored is None else sha256(stored[4:9] + b"%d" % choices.number(0, 2))
    return Statement(
        device=cheat.id,
        nonce=nonce,
        seq=max(purse.head_seq - back, 0) if choices.number(0, 3) else choices.number(0, 200),
        head=head,
        watermark=choices.pick((0, cheat.payee.watermark, choices.number(0, 5_000), 0xFFFFFFFF)),
        request_floor=choices.number(0, 300),
        load_floor=choices.pick((purse.load_floor, 0, choices.number(0, 40), 0xFFFFFFFF)),
        issue=choices.pick((cheat.certificate.issue, 0, choices.number(0, 9))),
        time=choices.number(0, 0xFFFFFFFF),
    ).sign(cheat.party.sign)
