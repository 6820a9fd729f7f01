"""What the tests of a card's commands share: raw commands, their refusals, and that a refused one writes nothing."""

from protocol import apdu
from protocol.card import Card
from protocol.errors import status_word
from protocol.objects import Statement
from tests.unit.world import cause_of

EVERY_COMMAND = sorted(Card._COMMANDS)


def refusal(device, raw):
    """The cause in the answer to one raw command; checks the status word that goes with it."""
    answer = device.card.process(raw)
    assert len(answer) == 3
    assert answer[1] << 8 | answer[2] == status_word(answer[0])
    return answer[0]


def pair(certificate, acknowledgement):
    return certificate.encode() + acknowledgement.encode()


def statement_of(device, nonce=bytes(16)):
    return Statement.decode(device.send(apdu.STATEMENT, nonce))


def install_refused(device, certificate, acknowledgement):
    before = device.durable()
    cause = cause_of(device.send, apdu.INSTALL, pair(certificate, acknowledgement))
    assert device.durable() == before
    return cause


def put_refused(device, signed):
    before = device.durable()
    cause = cause_of(device.send, apdu.PUT, signed.encode())
    assert device.durable() == before
    return cause
