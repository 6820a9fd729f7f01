"""The whole story as the demo plays it, judged from outside: five devices, a day without a network, the reckoning."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from host_tools.ledger import LedgerError
from host_tools.ledger.ledger import Ledger
from host_tools.simulator.air import AirFrame, Tap
from host_tools.simulator.device import SimulatedDevice
from host_tools.story.bank import CutOff
from host_tools.story.hands import MeasuredTap
from host_tools.story.play import EXPECTED_ACCOUNTS, EXPECTED_PURSES, ISSUED, Play
from protocol import apdu

MAX_PAY_BYTES = 247  # so that it fits one frame of 256
MAX_FRAME_BYTES = 256
CRC_BYTES = 2
MAX_HEAP_KB = 320

SALE = ["select", "pay", "confirm"]
PAYMENT = ["select", "request", "transfer"]


@dataclass
class Audience:
    """Watches a performance and looks behind the stage while it is on."""

    folder: Path
    play: Play = field(init=False)
    taps: list[tuple[str, MeasuredTap, str, str]] = field(default_factory=list)
    air: list[Tap] = field(default_factory=list)
    purses: list[dict[str, tuple[int, int]]] = field(default_factory=list)
    command_lines: dict[str, list[str]] = field(default_factory=dict)
    loaded: dict[str, set[str]] = field(default_factory=dict)
    cut_off: bool = False
    refused_access: int = 0

    def chapter(self, number: int, title: str) -> None:
        self.cut_off = number == 4

    def say(self, text: str) -> None:
        pass

    def money(self, balances: dict[str, tuple[int, int]]) -> None:
        self.purses.append(balances)

    def tapped(self, text: str, tap: MeasuredTap, payer: SimulatedDevice, payee: SimulatedDevice) -> None:
        self.taps.append((text, tap, payer.panel.text, payee.panel.text))
        self.air.append(payer.chip.air.last_tap)
        if self.cut_off:
            self._look_for_the_ledger()
        for device in (payer, payee):
            self.command_lines[device.name] = _command_line(device)
            self.loaded[device.name] = _firmware_files(self.command_lines[device.name])

    def _look_for_the_ledger(self) -> None:
        with pytest.raises(CutOff):
            _ = self.play._bank.ledger
        with pytest.raises(LedgerError):
            Ledger.open(f"sqlite:///{self.folder / 'bank' / 'ledger.db'}")
        self.refused_access += 1


def _command_line(device: SimulatedDevice) -> list[str]:
    """What the operating system says runs in the device's process group, without the shell that starts it again."""
    ps = subprocess.run(["ps", "-Aww", "-o", "pgid=,args="], check=True, capture_output=True, text=True)
    lines = [line.split() for line in ps.stdout.splitlines()]
    (words,) = [words[1:] for words in lines if words[0] == str(device.process_id) and "-c" not in words]
    return words


def _firmware_files(command_line: list[str]) -> set[str]:
    main = next(Path(word) for word in command_line if word.endswith("main.py"))
    return {
        path.suffix for path in main.parent.rglob("*") if path.is_file() and path.name not in ("main.py", "boot.py")
    }


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Audience]:
    audience = Audience(tmp_path_factory.mktemp("story"))
    audience.play = Play(audience.folder, audience)
    return audience.play.run(), audience


def test_every_unit_is_where_it_must_be(performance: tuple[dict, Audience]) -> None:
    result, audience = performance
    assert result["issued"] == ISSUED and result["difference"] == 0
    assert {name: result["purses"][name] for name in EXPECTED_PURSES} == EXPECTED_PURSES
    assert {name: result["accounts"][name] for name in EXPECTED_ACCOUNTS} == EXPECTED_ACCOUNTS
    assert sum(EXPECTED_PURSES.values()) + sum(EXPECTED_ACCOUNTS.values()) == ISSUED
    assert (result["pending"], result["guarantee"], result["suspense"]) == ({}, {}, {})
    assert audience.purses[-1] == {name: (amount, 0) for name, amount in EXPECTED_PURSES.items()}


def test_offline_money_only_moves_between_devices(performance: tuple[dict, Audience]) -> None:
    _, audience = performance
    before, after = audience.purses[0], audience.purses[1]
    assert sum(balance for balance, _ in before.values()) == sum(balance for balance, _ in after.values())
    assert all(in_doubt == 0 for _, in_doubt in after.values())


def test_nobody_could_reach_the_ledger_while_people_paid(performance: tuple[dict, Audience]) -> None:
    _, audience = performance
    assert audience.refused_access == len(audience.taps) == 7


def test_a_payment_takes_three_exchanges_and_each_further_one_has_its_reason(
    performance: tuple[dict, Audience],
) -> None:
    _, audience = performance
    assert [tap.exchange_names for _, tap, _, _ in audience.taps] == [
        SALE,
        PAYMENT,
        PAYMENT,
        # Who meets another operator's device for the first time tells and is told of each other's operators, once.
        ["select", "operators", "pay", "confirm"],
        ["select", "operators", "request", "transfer"],
        # Ana has met Chen, the gate has met Ben: both operators are known by now. The tap is torn in the Transfer.
        ["select", "pay"],
        SALE,
    ]


def test_both_screens_say_how_it_ended(performance: tuple[dict, Audience]) -> None:
    _, audience = performance
    assert [(payer.split("\n")[:2], payee.split("\n")[:2]) for _, _, payer, payee in audience.taps] == [
        (["PAID", "18.50"], ["RECEIVED", "18.50"]),
        (["PAID", "3.50"], ["RECEIVED", "3.50"]),
        (["PAID", "20.00"], ["RECEIVED", "20.00"]),
        (["PAID", "6.00"], ["RECEIVED", "6.00"]),
        (["PAID", "10.00"], ["RECEIVED", "10.00"]),
        (["IN DOUBT", "8.50"], ["TAP AGAIN", "8.50"]),
        (["PAID", "8.50"], ["RECEIVED", "8.50"]),
    ]


def test_every_apdu_fits_one_frame_of_256_bytes(performance: tuple[dict, Audience]) -> None:
    """ISO/IEC 14443-4, 5.2.5: FSC and FSD 256 count the block with its CRC. Nothing of a tap is chained."""
    _, audience = performance
    pay_bytes = set()
    for frame in (frame for tap in audience.air for frame in tap.frames):
        assert len(frame.data) + CRC_BYTES <= MAX_FRAME_BYTES
        apdu_bytes = _apdu_in(frame)
        if apdu_bytes is None:
            continue
        if frame.sender == "card":
            assert len(apdu_bytes) < MAX_FRAME_BYTES
        elif apdu_bytes[1] == apdu.PAY:
            pay_bytes.add(len(apdu.decode_command(apdu_bytes).data))
    assert len(pay_bytes) == 1 and pay_bytes.pop() <= MAX_PAY_BYTES


def _apdu_in(frame: AirFrame) -> bytes | None:
    """The APDU of an I-block (ISO/IEC 14443-4, 7.1.1.1); fails on a chained one. None for all other frames."""
    pcb = frame.data[0]
    if pcb & 0xE2 != 0x02 or len(frame.data) == 1:
        return None
    assert not pcb & 0x10, "chained"
    return frame.data[1:]


def test_the_same_transfer_was_sent_again(performance: tuple[dict, Audience]) -> None:
    _, audience = performance
    torn, healed = (
        [frame.data[1:] for frame in tap.frames if frame.sender == "card" and len(frame.data) > 190]
        for tap in audience.air[-2:]
    )
    assert len(torn) == 1 and torn == healed


def test_every_device_is_micropython_with_compiled_firmware_in_a_small_heap(
    performance: tuple[dict, Audience],
) -> None:
    _, audience = performance
    assert set(audience.command_lines) == set(EXPECTED_PURSES)
    for name, words in audience.command_lines.items():
        assert "micropython" in {Path(word).name for word in words[:2]}  # its package starts it from a Python script
        heap = re.fullmatch(r"heapsize=(\d+)K", words[words.index("-X") + 1])
        assert heap is not None and int(heap[1]) <= MAX_HEAP_KB
        assert audience.loaded[name] == {".mpy"}
