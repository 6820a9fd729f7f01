"""apps.collect: how long a card can hold a reader after a tap that is decided."""

from typing import Any

import pytest

from protocol.objects import SALE
from protocol.tap import PAID
from tests import micropython
from tests.unit.world import REFERENCE, World, sale

collect = micropython.import_on_cpython("apps.collect")
iso_dep = micropython.import_on_cpython("drivers.iso_dep")
nfc = micropython.import_on_cpython("drivers.nfc")


class SlowRadio:
    """A chip, with a card that answers each block after nearly its whole frame waiting time: with a part of an answer
    (12) that never ends, or with a whole one (02) that says that more is to come.
    """

    LINE_DELAY_MS = 0

    def __init__(self, part):
        self._part = part
        self.now_ms = 0
        self.blocks = 0
        self._number = 0

    def ticks_ms(self):
        return self.now_ms

    def ticks_diff(self, later, earlier):
        return later - earlier

    def start_communicate_thru(self, block, timeout_ms):
        self._number = block[0] & 1

    def receive(self, timeout_ms):
        self.now_ms += 2_400
        self.blocks += 1
        return bytes((0, self._part | self._number)) + (b"\x0a\x61\xff" if self._part == 0x02 else b"\x0a")

    def open(self):
        return b""

    abort = field_off = start_list_passive_target = open


@pytest.mark.parametrize("part", [0x12, 0x02])
def test_a_card_that_plays_for_time_while_revocations_spread_is_left(part: int) -> None:
    world = World()
    terminal, wallet = world.device("terminal", "terminal"), world.device("wallet", balance=500)
    tap = sale(terminal, wallet, 10)
    tap.epochs = (9, 9)
    chip = SlowRadio(part)
    radio = nfc.NfcPort(None, chip)
    radio._chip = chip
    device: Any = terminal
    device.port, device.exchanges = chip, 0
    collection = collect.Collection(device, radio, False, SALE, 10, REFERENCE)
    radio._pcd = iso_dep.Pcd(iso_dep.ATS)
    collection._served = tap
    collection.finish()
    assert chip.blocks == 5  # ten seconds, and the block that was under way
    assert tap.moved == PAID
