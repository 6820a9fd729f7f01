"""How long a tap takes, from the card in the field to "paid" on the terminal: a model of counted things.

`esp32c3-card` pays `esp32-pos`: their firmware's modules exchange every byte of a sale over two virtual PN532s and the
air's timing, each with a clock that bears what it does (`bench_device`), and the critical path is read off the
terminal's clock. The same sale is done by two simulated devices, MicroPython processes; it must be the same frames, or
the model is an error and no number.
"""

import tempfile
import threading
from pathlib import Path
from typing import Any

from host_tools import carrier
from host_tools.benchmarks.bench_device import (
    CYCLES_PER_INSTRUCTION,
    PAGE_PROGRAM_MS,
    UART_BAUDRATE,
    Bench,
    BenchDevice,
    BenchError,
)
from host_tools.benchmarks.memory_link import Memory
from host_tools.crypto import Signer
from host_tools.devices.client import DeviceClient
from host_tools.devices.serial_link import SerialLink
from host_tools.simulator.air import Tap
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD, World
from host_tools.story.bank import Bank
from host_tools.story.hands import Hands, exchanges_of
from protocol.objects import SALE, TERMINAL, WALLET
from protocol.tap import PAID

CARD_BOARD, READER_BOARD = "esp32c3-card", "esp32-pos"
CARD, READER = "wallet", "terminal"
AMOUNT = 1850
_FUNDS = 10_000
_NOW = 1_790_000_000
_KINDS = {CARD: (WALLET << 4 | 2, 0), READER: (TERMINAL << 4, 5812)}

# What a person knows: EMVCo asks a terminal and a card for a contactless payment in half a second.
REFERENCE_MS = 500
REFERENCE = "EMV contactless, 500 ms for terminal and card"

# Where the time of each part comes from; parts of one device have its name before.
SOURCES = {
    "air": "frames and delays of ISO/IEC 14443-2 and -3, Type A, 106 kbit/s, as the virtual air adds them up",
    "UART": f"bytes counted, ten bits each, at {UART_BAUDRATE:,} baud",
    "verify certificate": "instructions counted under emulation, operator's key prepared",
    "verify": "instructions counted under emulation, any key",
    "sign": "instructions counted under emulation",
    "interpreter": "estimated from bytecodes and calls traced (docs/benchmarks.md)",
    "journal": f"256-byte pages counted, {PAGE_PROGRAM_MS} ms each: Winbond W25Q32JV, tPP typical",
    "display": "bytes counted, nine bits each, at the board's I2C frequency",
    "pauses": "asked for by the driver or the other side",
}


def measure() -> dict[str, Any]:
    """`tap_ms` and its `parts`, what was done meanwhile, and what was exchanged. Raises `BenchError`."""
    with tempfile.TemporaryDirectory() as folder:
        facts, frames = _modelled(Path(folder))
        simulated = _simulated(Path(folder))
    if [len(frame.data) for frame in simulated.frames][: len(frames)] != frames:
        raise BenchError("The simulated devices exchange other frames than the model, so its time says nothing.")
    return facts


def _modelled(folder: Path) -> tuple[dict[str, Any], list[int]]:
    bench = Bench()
    bench.turn.acquire()
    card = BenchDevice(CARD, CARD_BOARD, folder / CARD, bench)
    reader = BenchDevice(READER, READER_BOARD, folder / READER, bench)
    bank = Bank(folder / "model", _NOW)
    bank.add_operator(1)
    try:
        for device in (card, reader):
            _set_up(device, bank, _FUNDS if device is card else 0)
        _prepare(bank, card, reader)
    finally:
        bank.close()
    return _tap(bench, card, reader)


def _set_up(device: BenchDevice, bank: Bank, funds: int) -> None:
    client = DeviceClient(Memory(device))
    _personalise(client, bank, device.name, funds)


def _personalise(client: DeviceClient, bank: Bank, name: str, funds: int) -> None:
    ledger, signer = bank.ledger, bank.operators[1]
    account = ledger.open_account(1, name)
    kind, mcc = _KINDS[name]
    carrier.personalise(client, ledger, signer, 1, kind, mcc, account, name, _NOW)
    if funds:
        ledger.issue(account, funds, _NOW)
        carrier.load(client, ledger, signer, funds, _NOW)


def _prepare(bank: Bank, *devices: BenchDevice) -> None:
    """Both have met others of their operator since they were switched on, so its key is prepared; not each other."""
    account = bank.ledger.open_account(1, "somebody")
    key = Signer(bytes(32)).public
    other, _ = bank.ledger.register_device(bank.operators[1], 1, key, _KINDS[CARD][0], 0, account, "somebody", _NOW)
    for device in devices:
        device.device.party.check_signature(other)


def _tap(bench: Bench, card: BenchDevice, reader: BenchDevice) -> tuple[dict[str, Any], list[int]]:
    collection = reader.collect(SALE, AMOUNT)  # the Request is signed before the card arrives
    failures: list[BaseException] = []
    thread = threading.Thread(target=_be_card, args=(bench, card, failures), daemon=True)
    card.nfc.start_listening()
    for device in (card, reader):
        device.begin()
    thread.start()
    bench.begin({})
    bench.air.bring_together(reader.chip, card.chip)

    def until_paid() -> None:
        while collection.moved != PAID:
            reader.wait([], 1)
            collection.step()

    reader.run(until_paid)
    frames = [len(frame.data) for frame in bench.air.last_tap.frames]
    facts = _facts(bench.air.last_tap, card, reader)
    bench.turn.release()
    if failures:
        raise BenchError("The card failed in the model.") from failures[0]
    return facts, frames


def _be_card(bench: Bench, card: BenchDevice, failures: list[BaseException]) -> None:
    def serve() -> None:
        while not card.nfc.poll():
            card.wait([], 1)
        card.nfc.serve(card.card.process, card.card.after)

    with bench.turn:
        try:
            card.run(serve)
        except Exception as error:  # noqa: BLE001  (told by whoever waits for this thread)
            failures.append(error)


def _facts(tap: Tap, card: BenchDevice, reader: BenchDevice) -> dict[str, Any]:
    reader.draw()
    parts = reader.clock.parts
    tap_ms = sum(parts.values())
    hidden = {
        name: ms - parts.get(name, 0.0)
        for device in (card, reader)
        for name, ms in device.clock.work.items()
        if ms - parts.get(name, 0.0) > 0.005
    }
    return {
        "tap_ms": round(tap_ms, 1),
        "reference": REFERENCE,
        "ratio_to_reference": round(tap_ms / REFERENCE_MS, 2),
        "parts": [{"part": name, "ms": round(ms, 2), "source": _source(name)} for name, ms in parts.items() if ms],
        "meanwhile": [{"part": name, "ms": round(ms, 2)} for name, ms in hidden.items()],
        "card": CARD_BOARD,
        "reader": READER_BOARD,
        "cycles_per_instruction": CYCLES_PER_INSTRUCTION,
        "exchanges": exchanges_of(tap),
        "frames": len(tap.frames),
        "air_bytes": sum(len(frame.data) for frame in tap.frames),
        "uart_bytes": {device.name: device.uart_bytes for device in (card, reader)},
        "journal": {
            device.name: {
                "programs": device.flash.program_count,
                "pages": device.flash.page_count,
                "erases": device.flash.erase_count,
            }
            for device in (card, reader)
        },
    }


def _source(part: str) -> str:
    return SOURCES[part.rpartition(": ")[2]]


def _simulated(folder: Path) -> Tap:
    """The same sale between two processes of MicroPython."""
    bank = Bank(folder / "simulated", _NOW)
    bank.add_operator(1)
    with World(folder / "devices") as world:
        hands = Hands(world)
        devices = {CARD: world.add(CARD, WALLET_BOARD), READER: world.add(READER, TERMINAL_BOARD)}
        for name, device in devices.items():
            with SerialLink(device.link_path) as link:
                _personalise(DeviceClient(link), bank, name, _FUNDS if name == CARD else 0)
        hands.ask(devices[READER], f"{AMOUNT}#")
        tap = hands.tap(devices[READER], devices[CARD], AMOUNT)
        if tap.outcome not in ("PAID", "RECEIVED"):
            raise BenchError(f"The simulated sale ended with {tap.outcome}.")
        bank.close()
        return world.last_tap
