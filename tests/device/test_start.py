"""How the firmware starts on a board on which something is loose: every few seconds again, and nothing wears out."""

import socket
from pathlib import Path

import pytest

from host_tools.images.boards import load_board
from host_tools.simulator.device import SimulatedDevice
from tests import micropython
from tests.device.table import Table

# As on a board of our own, but without anything that the unix port does not have.
PLAIN = "\nPANEL = DISPLAY = KEYPAD = BUZZER = None\nhas_keypad = False\n"
# The unix port has neither I2C nor pins: a part that hangs there answers no more than one whose wire is off.
LOOSE = {
    "display": "DISPLAY = {'kind': 'ssd1306', 'i2c': {'id': 0, 'sda': 6, 'scl': 7}, 'address': 60}",
    "keypad": "KEYPAD = {'kind': 'button', 'pin': 3}",
    "buzzer": "BUZZER = {'kind': 'pin', 'pin': 10}",
}
RESET_EXIT_CODE = 75


def start(folder: Path, state: Path, loose: str) -> int:
    """Start the firmware with its lines unplugged, which ends it as soon as it is up; its exit code."""
    folder.mkdir(exist_ok=True)
    (folder / "board.py").write_text(load_board("sim-wallet").source() + PLAIN + loose)
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.setblocking(False)
    line = f"fd:{theirs.fileno()}"
    environment = {"JIAOZI_STATE": str(state), "JIAOZI_LINK": line, "JIAOZI_NFC": line}
    with (
        theirs,
        micropython.start(
            "from start import run; run()",
            extra_path=[folder],
            environment=environment,
            pass_fds=[theirs.fileno()],
            heap_size="2M",  # nothing is linked here
        ) as process,
    ):
        process.communicate(timeout=60)
    return process.returncode


def contents(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in state.iterdir()}


@pytest.fixture
def wallet(table: Table) -> SimulatedDevice:
    wallet = table.wallet("wallet", 10_00)
    assert wallet.stop() == ""
    return wallet


def test_each_start_takes_some_of_the_journal(tmp_path: Path, wallet: SimulatedDevice) -> None:
    """Else there would be nothing to protect below."""
    before = contents(wallet.state)
    assert start(tmp_path / "board", wallet.state, "") == 0
    assert contents(wallet.state) != before


@pytest.mark.parametrize("part", LOOSE)
def test_a_loose_part_is_found_before_the_journal_is_opened(tmp_path: Path, wallet: SimulatedDevice, part: str) -> None:
    """A board that starts again for ever would use up what its journal needs to be opened at all."""
    before = contents(wallet.state)
    assert start(tmp_path / "board", wallet.state, LOOSE[part]) == RESET_EXIT_CODE
    assert contents(wallet.state) == before
