"""What a device does while nobody asks for anything, so that a tap need not: numbers, met operators, erased flash."""

import time
from pathlib import Path
from typing import Any

from host_tools.simulator.device import SimulatedDevice
from host_tools.story.hands import exchanges_of
from protocol.limits import REQUEST_BLOCK
from tests import micropython
from tests.device.table import Table

QUIET_S = 10


def setting(device: SimulatedDevice, name: str) -> bytes:
    settings: Any = micropython.import_on_cpython("storage.settings")
    decoded = settings._decode((device.state / "settings.a").read_bytes())
    return decoded[1].get(name, b"") if decoded else b""


def wait_for(what, *arguments) -> None:
    deadline = time.monotonic() + QUIET_S
    while not what(*arguments):
        assert time.monotonic() < deadline, "it was never quiet enough"
        time.sleep(0.02)


def settings_files(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in state.glob("settings*")}


def test_a_tap_writes_no_settings_and_erases_nothing(table: Table) -> None:
    terminal, wallet = table.terminal("terminal"), table.wallet("wallet", 10_00)
    wait_for(lambda: int.from_bytes(setting(terminal, "requests"), "big") > REQUEST_BLOCK)
    before = [settings_files(device.state) for device in (terminal, wallet)]
    for number in (1, 2):
        counters = []
        for _ in range(2):
            for device in (terminal, wallet):
                with table.on_cable(device) as client:
                    counters.append(client.counters())
            if len(counters) == 2:
                table.hands.ask(terminal, "100#")
                table.tap(terminal, wallet, "RECEIVED\n1.00", "PAID\n1.00")
        pairs = zip(counters[:2], counters[2:], strict=True)
        spent = [(after.programs - old.programs, after.erases - old.erases) for old, after in pairs]
        assert spent == [(2, 0), (4, 0)], number  # the credit; the debit and, after the answer, its Receipt
    assert [settings_files(device.state) for device in (terminal, wallet)] == before


def test_an_operator_that_was_met_is_known_after_power_loss(tmp_path: Path) -> None:
    with Table(tmp_path, operators=(1, 2)) as table:
        terminal, wallet = table.terminal("terminal"), table.wallet("wallet", 10_00, operator=2)
        exchanged = []
        for _ in range(2):
            table.hands.ask(terminal, "100#")
            table.tap(terminal, wallet, "RECEIVED\n1.00", "PAID\n1.00")
            exchanged.append("operators" in exchanges_of(table.world.last_tap))
            for device, other in ((terminal, 2), (wallet, 1)):
                certificate = table.bank.ledger.operator_certificate(other).encode()
                wait_for(lambda: setting(device, "operators") == certificate)  # noqa: B023  (called here)
                assert device.stop() == ""
                device.start()
        assert exchanged == [True, False]
