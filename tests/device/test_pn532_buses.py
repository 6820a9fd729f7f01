"""The PN532 on SPI and on I2C: the same firmware on the real MicroPython, through the unix port's buses to the chip."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from host_tools.images.boards import BoardError
from host_tools.images.compile import build_modules
from host_tools.simulator.air import Air, Tap
from host_tools.simulator.bus_wires import I2cWire, SpiWire, line_to
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.endpoints import child_uart
from host_tools.simulator.reactor import Reactor
from host_tools.simulator.virtual_pn532 import VirtualPn532
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD
from host_tools.story.hands import exchanges_of
from tests import micropython
from tests.device.table import TERMINAL_KIND, WALLET_KIND, Table
from tests.host.test_boards_nfc import I2C, SHARED_I2C, SPI, board_with

KINDS = ("spi", "i2c")
PRICE = 18_50
_END_S = 30  # no process may take longer: "never a hang"


def simulated(kind: str) -> str:
    """What stands in a simulated board's description instead of `uarts.nfc`."""
    return f'\n[nfc]\nkind = "{kind}"\nenv = "JIAOZI_NFC"\n'


# --- a whole sale


def switch_on(table: Table, name: str, base: str, kind: str) -> SimulatedDevice:
    """A device whose board is `base` with its chip on another line."""
    folder = table.folder / f"{name}-board"
    folder.mkdir()
    board = board_with(simulated(kind), folder, base) if kind != "uart" else None
    if board is None:
        return table.world.add(name, base)
    build_modules(board.name, folder / "firmware", folder)
    chip = VirtualPn532(table.world.air, name)
    device = SimulatedDevice(name, folder / "firmware", table.state / name, table.world.reactor, chip, kind)
    table.world.devices[name] = device
    device.start()
    return device


def sale(folder: Path, kind: str) -> Tap:
    """Pay `PRICE` at a terminal, both on lines of this kind; money has moved once. Returns what the air saw."""
    with Table(folder) as table:
        wallet = table.personalise(switch_on(table, "wallet", WALLET_BOARD, kind), WALLET_KIND, 50_00)
        terminal = table.personalise(switch_on(table, "terminal", TERMINAL_BOARD, kind), TERMINAL_KIND)
        table.hands.ask(terminal, f"{PRICE}#")
        tap = table.tap(terminal, wallet, "RECEIVED", "PAID")
        assert table.hands.balance(wallet) == (50_00 - PRICE, 0)
        assert table.hands.balance(terminal) == (PRICE, 0)
        for device in (wallet, terminal):
            assert device.stop() == ""
        return tap


@pytest.fixture(scope="module")
def over_uart(tmp_path_factory: pytest.TempPathFactory) -> Tap:
    return sale(tmp_path_factory.mktemp("uart"), "uart")


@pytest.mark.parametrize("kind", KINDS)
def test_a_sale_is_the_same_on_the_air_as_over_a_uart(tmp_path: Path, over_uart: Tap, kind: str) -> None:
    tap = sale(tmp_path, kind)
    assert exchanges_of(tap) == exchanges_of(over_uart) == ["select", "pay", "confirm"]
    lengths = [[(frame.sender, len(frame.data)) for frame in one.frames] for one in (tap, over_uart)]
    assert lengths[0] == lengths[1]
    assert max(length for _, length in lengths[0]) > 200
    assert tap.radio_us == pytest.approx(over_uart.radio_us)


# Base, what stands for its UART, the ports' modules it carries, and how many bytes of bytecode it may cost.
BOARDS = {
    "spi": ("sim-wallet", simulated("spi"), "SpiLine", {"unix.mpy", "unix_wire.mpy", "unix_spi.mpy"}, None),
    "i2c": ("sim-wallet", simulated("i2c"), "I2cLine", {"unix.mpy", "unix_wire.mpy", "unix_i2c.mpy"}, None),
    "chip's spi": ("esp32-pos", SPI, "SpiLine", {"esp32.mpy", "esp32_spi.mpy"}, 1280),
    "chip's i2c": ("esp32-pos", I2C, "I2cLine", {"esp32.mpy"}, 768),
    "one i2c for all": ("esp32-pos", SHARED_I2C, "I2cLine", {"esp32.mpy"}, 768),
    "card": ("esp32c3-card", SHARED_I2C.replace("21", "6").replace("22", "7"), "I2cLine", {"esp32.mpy"}, 768),
}


def bytecode(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.suffix == ".mpy" and file.parent.name != "crypto")


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_carries_the_driver_of_its_line_alone(name: str, tmp_path: Path) -> None:
    base, nfc, driver, ports, cost_bytes = BOARDS[name]
    out, without = tmp_path / "out", tmp_path / "without"
    files = build_modules(board_with(nfc, tmp_path, base).name, out, tmp_path)
    over_uart = build_modules(base, without)
    always = {"__init__.mpy", "errors.mpy", "flash_faults.mpy"}
    assert {file.name for file in files if file.parent.name == "ports"} - always == ports
    code = (out / "jiaozi.mpy").read_bytes()
    assert {line for line in ("BusLine", "SpiLine", "I2cLine") if line.encode() in code} == {"BusLine", driver}
    plain = b"".join(file.read_bytes() for file in over_uart if file.suffix == ".mpy")
    assert not [line for line in (b"BusLine", b"SpiLine", b"I2cLine", b"pn532_") if line in plain]
    assert cost_bytes is None or 0 < bytecode(files) - bytecode(over_uart) <= cost_bytes


def test_a_simulated_bus_has_a_variable_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="nfc.frequency_hz is not known"):
        board_with(simulated("spi") + "frequency_hz = 1000000\n", tmp_path, "sim-wallet")


# --- the drivers alone

_COMMON = """
import json
from ports import unix
from ports.errors import UartClosed
from drivers.errors import CardGone, ChipError
from drivers.nfc import NfcPort
spec = {"env": "JIAOZI_NFC"}
if KIND == "spi":
    from drivers.pn532_spi import SpiLine
    from ports.unix_spi import open_spi
    line = SpiLine(open_spi, spec, unix)
else:
    from drivers.pn532_i2c import I2cLine
    line = I2cLine(unix.i2c(spec), unix)
nfc = NfcPort(line, unix)
"""

_CARD = (
    _COMMON
    + """
executed = []
def process(apdu):
    executed.append(len(apdu))
    return apdu[:256] + b"\\x90\\x00"
while True:
    nfc.start_listening()
    while not nfc.poll():
        unix.wait([line], 1000)
    print(json.dumps([nfc.serve(process, lambda: None), executed]))
    executed = []
"""
)

_READER = (
    _COMMON
    + """
while True:
    answers = []
    nfc.start_polling()
    while not nfc.find_card(1000):
        pass
    try:
        for count in (5, 252, 253, 254, 261):
            nfc.send(bytes((i & 0xff for i in range(count))))
            answers.append(nfc.receive().hex())
        nfc.release()
    except CardGone as error:
        answers = str(error)
    print(json.dumps(answers))
"""
)


class Bench:
    """Device processes, each with a chip at the end of its bus."""

    def __init__(self, reactor: Reactor) -> None:
        self.air = Air()
        self.reactor = reactor
        reactor.on_tick.append(self.air.check_waiting)

    @contextmanager
    def running(self, kind: str, script: str, wire: SpiWire | I2cWire, **more: int) -> Iterator[subprocess.Popen[str]]:
        """A process with `wire` at its bus, and other lines by the names of their variables."""
        ours, theirs = child_uart()
        self.reactor.attach(wire, ours)
        fds = {"JIAOZI_NFC": theirs.fileno(), **more}
        environment = {name: f"fd:{fd}" for name, fd in fds.items()}
        script = f"KIND = {kind!r}\n" + script
        with theirs:
            process = micropython.start(script, environment=environment, pass_fds=list(fds.values()))
        with process:
            try:
                yield process
            finally:
                process.kill()

    def wire(self, kind: str, name: str = "chip") -> SpiWire | I2cWire:
        wire = line_to(VirtualPn532(self.air, name), kind)
        assert isinstance(wire, SpiWire | I2cWire)
        return wire


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Reactor() as reactor:
        yield Bench(reactor)


def said(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=_END_S)
    assert process.returncode == 0, output + errors
    return output


def echo(count: int) -> str:
    return (bytes(i & 0xFF for i in range(count))[:256] + b"\x90\x00").hex()


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_apdus_go_both_ways_and_a_torn_tap_is_followed_by_a_whole_one(bench: Bench, kind: str) -> None:
    """Frames 0 to 3 are RATS, ATS, the first command and its answer, of which nothing arrives."""
    chips = {name: VirtualPn532(bench.air, name) for name in ("reader", "card")}
    wires = {name: line_to(chip, kind) for name, chip in chips.items()}
    assert isinstance(wires["reader"], SpiWire | I2cWire)
    assert isinstance(wires["card"], SpiWire | I2cWire)
    with (
        bench.running(kind, _CARD, wires["card"]) as card,
        bench.running(kind, _READER, wires["reader"]) as reader,
    ):
        assert card.stdout
        assert reader.stdout
        bench.air.cut(3, 4)
        bench.air.bring_together(chips["reader"], chips["card"])
        assert json.loads(reader.stdout.readline()) == "no answer from the card"
        assert json.loads(card.stdout.readline()) == [False, [5]]
        bench.air.bring_together(chips["reader"], chips["card"])
        assert json.loads(reader.stdout.readline()) == [echo(count) for count in (5, 252, 253, 254, 261)]
        assert json.loads(card.stdout.readline()) == [True, [5, 252, 253, 254, 261]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_that_waits_as_a_card_hears_its_host(bench: Bench, kind: str) -> None:
    """The chip has nothing to say and its bus nothing to wait for; the host's line ends the wait all the same."""
    host, theirs = socket.socketpair()
    host.settimeout(_END_S)
    theirs.setblocking(False)
    script = (
        _COMMON
        + """
host = unix.open_uart({"env": "JIAOZI_LINK"}, 115200)
nfc.start_listening()
assert not nfc.poll()
host.write(b"listening")
try:
    while True:
        unix.wait([host, line], 1000000)
        assert not nfc.poll()
        host.write(host.read().upper())
except UartClosed:
    print("unplugged")
"""
    )
    with theirs, bench.running(kind, script, bench.wire(kind), JIAOZI_LINK=theirs.fileno()) as process:
        theirs.close()
        assert host.recv(100) == b"listening"
        host.send(b"hello")
        assert host.recv(100) == b"HELLO"
        host.close()
        assert said(process) == "unplugged\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_simulation_that_ends_ends_the_device(bench: Bench, kind: str) -> None:
    script = (
        _COMMON
        + """
nfc.start_listening()
print("listening")
try:
    while True:
        unix.wait([line], 1000)
except UartClosed:
    print("closed")
"""
    )
    wire = bench.wire(kind)
    with bench.running(kind, script, wire) as process:
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        bench.reactor.detach(wire)
        assert said(process) == "closed\n"


_OPEN = (
    _COMMON
    + """
try:
    print(nfc.open().hex())
    print(nfc._chip.command(2).hex())
except ChipError as error:
    print("ChipError", error)
"""
)


class Nobody(I2cWire):
    """An I2C bus without a part: no address is acknowledged. An SPI is one whose line is always high."""

    def _take(self, message: bytes) -> int:
        if len(message) < 2:
            return 0
        end = 2 + int.from_bytes(message[:2], "big")
        end += 2 * (message[2] & 1)
        self._answer(b"\x00")
        return end


class Open(SpiWire):
    def _answer(self, data: bytes) -> None:
        super()._answer(b"\xff" * len(data))


@pytest.mark.parametrize("kind", KINDS)
def test_a_chip_that_is_not_there_is_named(bench: Bench, kind: str) -> None:
    there = bench.wire(kind)
    wire = Open(there.face) if isinstance(there, SpiWire) else Nobody(there.face)
    with bench.running(kind, _OPEN, wire) as process:
        output = said(process)
    assert output == "ChipError no answer from the PN532: check wiring, power and its jumpers\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_answer_is_asked_for_again(bench: Bench, kind: str) -> None:
    wire = bench.wire(kind)
    damaged: list[bytes] = []

    def damage(frame: bytes) -> bytes:
        if b"\xd5\x03" in frame and not damaged:
            damaged.append(frame)
            return frame.replace(b"\x06\x07", b"\x06\x0f")
        return frame

    wire.face.outbox.damage = damage
    with bench.running(kind, _OPEN, wire) as process:
        assert said(process) == "32010607\n32010607\n"
    assert damaged
    assert [host[1:] for host, _ in wire.face.log].count(bytes.fromhex("0000ffff0000")) == 1
