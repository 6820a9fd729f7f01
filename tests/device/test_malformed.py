"""Bytes that no honest peer sends, on the cable and in the air: nothing changes, and the device pays afterwards."""

import random
from collections.abc import Iterator

import pytest
import serial

from host_tools.devices.client import DeviceClient
from host_tools.devices.nfc_reader import NfcReader
from host_tools.devices.serial_link import SerialLink
from protocol import apdu
from protocol.framing import encode_frame
from protocol.info import DeviceInfo
from protocol.objects import REFUND, Certificate, Request
from tests.device.foreign import ForeignCard, ForeignReader
from tests.device.table import WALLET_KIND, Table

FUNDS = 10_00
PRICE = 1_00
ROUNDS = 150
SEEDS = [1, 2]
# First bytes of blocks (ISO/IEC 14443-4, 7.1.1.1): I, I chained, R(ACK), R(NAK), S(WTX), PPS, I with CID, none.
BLOCKS = [b"\x02", b"\x03", b"\x12", b"\x13", b"\xa2", b"\xa3", b"\xb2", b"\xf2", b"\xd0", b"\x0a", b""]
TAPS = 5
ANSWER_S = 0.02  # for a card that may well have nothing to say
# Garbage may hit one of these by chance; they tell and change nothing.
TELLING = [apdu.INFO, apdu.COUNTERS, apdu.JOURNAL, apdu.STATEMENT, apdu.GENERATE, apdu.GET_RESPONSE]


class Victim:
    """A wallet, and valid commands for it that are the models of the invalid ones."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.wallet = table.wallet("wallet", FUNDS)
        self.shop = table.terminal("shop")
        self._terminal = table.host_terminal("model")
        self._request = self._terminal.open(PRICE)
        self._before = self._state()

    def _state(self) -> tuple[dict, bytes]:
        info = self.table.info(self.wallet)
        values = {name: getattr(info, name) for name, _ in DeviceInfo.FIELDS if name != "time"}
        return values, (self.wallet.state / "journal.flash").read_bytes()

    def check_unchanged(self) -> None:
        """Nothing is different, the wallet still pays, and the models were good ones."""
        assert self.wallet.is_running and self._state() == self._before
        self.table.hands.ask(self.shop, f"{PRICE}#")
        self.table.tap(self.shop, self.wallet, "RECEIVED", "PAID")
        assert self.table.info(self.wallet).balance == FUNDS - PRICE
        with self.table.on_cable(self.wallet) as client:
            request = Request.decode(self._request)
            assert client.pay(self._terminal.certificate, request).amount == PRICE

    def _models(self) -> list[tuple[int, bytes, int]]:
        """Commands that the wallet would obey: instruction, data, and how much of the data signatures protect."""
        table = self.table
        ledger, signer = table.bank.ledger, table.bank.operators[1]
        info = table.info(self.wallet)
        account = ledger.open_account(1, "wallet")
        ledger.issue(account, FUNDS, table.now)
        load = ledger.order_load(signer, info.device, FUNDS, table.now).encode()
        operator = ledger.operator_certificate(1).encode()
        terminals = self._terminal.certificate.encode()
        first = ledger.register_device(signer, 1, info.key, WALLET_KIND, 0, account, "wallet", table.now)
        pair = first[0].encode() + first[1].encode()
        models = [
            (apdu.PAY, terminals + self._request),
            (apdu.PUT, load),
            (apdu.OPERATORS, operator),
            (apdu.INSTALL, pair),
            (apdu.PERSONALISE, ledger.root_key() + operator + pair),
        ]
        ask = terminals + PRICE.to_bytes(4, "big") + bytes((REFUND,)) + bytes(8)
        return [(ins, data, len(data)) for ins, data in models] + [(apdu.REQUEST, ask, Certificate.size())]

    def commands(self, dice: random.Random) -> Iterator[bytes]:
        """Noise, noise behind a real header, and real commands with one bit turned, cut short or drawn out."""
        models = self._models()
        instructions = [ins for ins, _, _ in models] + [apdu.CONFIRM, apdu.TRANSFER, *TELLING]
        for _ in range(ROUNDS):
            ins, model, signed_bytes = dice.choice(models)
            data = bytearray(model)
            kind = dice.randrange(5)
            if kind == 0:
                yield dice.randbytes(dice.randrange(1, 262))
            elif kind == 1:
                noise = dice.randbytes(dice.randrange(0, 256))
                yield apdu.command(dice.choice(instructions), noise, cla=dice.choice([0x80, 0x90, 0x00]))
            elif kind == 2:
                data[dice.randrange(signed_bytes)] ^= 1 << dice.randrange(8)
                yield from apdu.chained(ins, bytes(data))
            elif kind == 3:
                yield from apdu.chained(ins, bytes(data[: dice.randrange(len(data))]))
            else:
                yield from apdu.chained(ins, bytes(data) + b"\x00")


@pytest.fixture
def victim(table: Table) -> Victim:
    return Victim(table)


def check_answer(answer: bytes) -> None:
    """Every command gets a response APDU: a refusal with its cause, or data of at most 256 bytes."""
    sw = int.from_bytes(answer[-2:], "big")
    assert 2 <= len(answer) <= apdu.ONE_FRAME_BYTES
    assert sw == apdu.SW_OK or sw >> 8 == apdu.SW_MORE >> 8 or (len(answer) == 3 and 0x6500 <= sw <= 0x6FFF)


@pytest.mark.parametrize("seed", SEEDS)
def test_commands_on_the_cable(victim: Victim, seed: int) -> None:
    commands = list(victim.commands(random.Random(seed)))
    with SerialLink(victim.wallet.link_path) as link:
        for command in commands:
            check_answer(link.transceive(command))
            DeviceClient(link)  # selects again: noise may have selected something else
    victim.check_unchanged()


@pytest.mark.parametrize("seed", SEEDS)
def test_bytes_on_the_cable(victim: Victim, seed: int) -> None:
    dice = random.Random(seed)
    with serial.Serial(victim.wallet.link_path) as port:
        for _ in range(ROUNDS):
            frame = bytearray(encode_frame(dice.randrange(256), dice.randbytes(dice.randrange(262))))
            frame[dice.randrange(len(frame))] ^= 1 << dice.randrange(8)
            port.write(dice.choice([bytes(frame), frame[: dice.randrange(len(frame))], dice.randbytes(300)]))
            port.reset_input_buffer()
    victim.check_unchanged()


@pytest.mark.parametrize("seed", SEEDS)
def test_commands_in_the_air(victim: Victim, seed: int) -> None:
    chip, path = victim.table.world.add_reader()
    commands = list(victim.commands(random.Random(seed)))
    victim.table.world.bring_together(chip, victim.wallet)
    with NfcReader(path) as link:
        for command in commands:
            DeviceClient(link)
            check_answer(link.transceive(command))
    victim.table.world.separate()
    victim.check_unchanged()


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_in_the_air(victim: Victim, seed: int) -> None:
    """Blocks that break ISO/IEC 14443-4, with APDUs of noise in those that happen to be whole."""
    dice = random.Random(seed)
    air = victim.table.world.air
    answers = []
    for _ in range(TAPS):
        reader = ForeignReader(air)
        reader.activate(victim.wallet.chip)
        for _ in range(ROUNDS // TAPS):
            block = dice.choice(BLOCKS) + dice.randbytes(dice.choice([0, 1, 5, 60]))
            answers.append(reader.say(block or b"\x00", ANSWER_S))
        air.separate()
    assert any(answers)
    victim.check_unchanged()


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_of_a_card(victim: Victim, seed: int) -> None:
    """A card that answers a terminal with what is almost right, or with noise."""
    dice = random.Random(seed)
    table, shop = victim.table, victim.shop
    with table.on_cable(victim.wallet) as client:
        assert client.certificate is not None
        hello = apdu.respond(apdu.hello(apdu.PERSONALISED, 0, 0, client.certificate))

    def answer(command: bytes) -> bytes:
        if command[1] == apdu.SELECT and dice.randrange(4):
            return hello
        return dice.randbytes(dice.choice([2, 3, 50, 200, 204, 253]) - 2) + b"\x90\x00"

    before = table.info(shop)
    table.hands.ask(shop, f"{PRICE}#")
    for _ in range(ROUNDS // 5):
        seen = shop.panel.screens
        table.world.air.bring_together(shop.chip, ForeignCard(table.world.air, answer))
        shop.panel.wait_for("NOT PAID", "TAP AGAIN", after=seen)
        table.world.separate()
        table.notice_empty_field(shop)
    after = table.info(shop)
    assert (after.balance, after.head_seq) == (before.balance, before.head_seq)
    shop.panel.press("*")
    shop.panel.wait_for("NOT PAID")
    victim.check_unchanged()
