"""A device at the other end: commands to a card, and a card's answers to a reader."""

from protocol import apdu, objects, records
from protocol.errors import DecodeError, Refused
from protocol.states import CREDITED
from protocol.tap import NOT_PAID, PAID, Payment, PaymentTap, SaleTap
from tests.fuzz.targets.inputs import check_cause, pieces
from tests.unit.world import REFERENCE, World, signer, verify


class Bench:
    """Devices that targets talk to; `fresh` puts one back to what it was when it was made."""

    def __init__(self):
        self.world = World()
        self._made: dict = {}

    def device(self, kind: str):
        """As the last input left it in memory; what was durable about it has not changed since it was made."""
        if kind not in self._made:
            device = self._make(kind)
            self._made[kind] = (device, list(device.journal.stored), dict(device.settings.values))
        return self._made[kind][0]

    def _make(self, kind: str):
        if kind == "blank":
            return self.world.blank("fuzz blank")
        return self.world.device("fuzz " + kind, "terminal" if kind == "terminal" else "wallet", 50_000)

    def fresh(self, kind: str):
        device = self.device(kind)
        _, stored, values = self._made[kind]
        device.journal.stored = list(stored)
        device.journal.first_seq = 1
        device.settings.values = dict(values)
        device.seed_made = kind != "blank"
        device.restart()
        return device


_bench = Bench()
OK = (0x90, 0x61)
AMOUNT = 700
HONEST_LOAD = 5_000  # of the one Load in the corpus that the wallet accepts; one payment of AMOUNT is there as well


def card(data: bytes) -> None:
    """Commands to a wallet that is in use; whatever it refuses leaves it as it was."""
    _commands("wallet", data)


def blank_card(data: bytes) -> None:
    """Commands to a device that has not been personalised."""
    _commands("blank", data)


def _commands(kind: str, data: bytes) -> None:
    device = _bench.device(kind)
    device.select()
    before = first = device.durable()
    money = device.total() if device.party else 0
    made = device.party is not None
    for raw in pieces(data):
        answered = device.card.process(raw)
        _check_answer(device, answered)
        assert device.durable() == before or answered[-2] in OK, "a refusal changed what is durable"
        device.card.after()
        before = device.durable()
    device.card.reset()
    assert not device.card._chain and not device.card._rest
    if kind == "wallet":
        assert device.total() <= money + HONEST_LOAD + AMOUNT, "money out of garbage"
    if before != first or made != (device.party is not None) or device.flags & apdu.BUSY:
        _bench.fresh(kind)


def _check_answer(device, answered: bytes) -> None:
    """Fits one frame; a refusal names a cause; nothing piles up between commands."""
    assert 2 <= len(answered) <= apdu.ONE_FRAME_BYTES, len(answered)
    if answered[-2] not in OK:
        assert len(answered) == 3, answered
        check_cause(answered[0])
    assert len(device.card._chain) <= apdu.MAX_CHAIN_BYTES
    assert len(device.card._rest) <= apdu.MAX_CHAINED_RESPONSE_BYTES
    if len(device.events) > 100:
        device.events.clear()


def sale_responses(data: bytes) -> None:
    """A card that answers a terminal with anything has paid if its Transfer says so, and else not."""
    terminal = _bench.fresh("terminal")
    money = terminal.total()
    terminal.open(AMOUNT)
    tap = SaleTap(terminal.party, terminal.perform, terminal.payee)
    _responses(tap, data)
    gained = terminal.total() - money
    assert gained == (AMOUNT if terminal.payee.state == CREDITED else 0), "paid by garbage"
    assert not gained or _signed(records.decode(terminal.journal.stored[-1]).transfer, "fuzz wallet"), (
        "a forged Transfer"
    )
    assert tap.moved != PAID or gained, "shows paid and is not"
    assert tap.moved != NOT_PAID or not gained, "shows not paid and is"


def payment_responses(data: bytes) -> None:
    """A card that answers a paying wallet with anything: its money may come in doubt, and goes by a Receipt only."""
    wallet = _bench.fresh("wallet")
    money = wallet.total()
    tap = PaymentTap(wallet.party, wallet.perform, wallet.payer, Payment(AMOUNT, objects.PERSON, REFERENCE))
    _responses(tap, data)
    assert money - wallet.total() == (AMOUNT if tap.moved == PAID else 0), "gone by garbage"
    if tap.moved == PAID:
        assert _signed(records.decode(wallet.journal.stored[-1]).evidence, "fuzz friend"), "a forged Receipt"
    assert tap.moved != NOT_PAID or not wallet.purse.in_doubt, "shows not paid and may be"


def _signed(this, name: str) -> bool:
    return verify(signer(name).public, this.body(), this.signature)


def _responses(tap, data: bytes) -> None:
    try:
        for raw in pieces(data):
            sent = tap.command()
            if sent is None:
                break
            apdu.decode_command(sent)
            tap.meanwhile()
            tap.response(raw)
        assert len(tap.exchanges) < 30
        tap.after()
    except (Refused, DecodeError):
        pass


TARGETS = (card, blank_card, sale_responses, payment_responses)
