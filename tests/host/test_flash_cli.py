"""`jiaozi flash` itself: one port, at which a chip in download mode and then the started device answers.

A person stands by: who is asked to press buttons, presses them.
"""

import contextlib
import errno
import io
import json
import os
import signal
import sys
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from typer.main import get_command

from host_tools import carrier
from host_tools.cli import flash as command
from host_tools.cli.exits import BadInput, CheckFailed
from host_tools.devices.client import DeviceClient
from host_tools.devices.serial_link import CannotOpen, SerialLink
from host_tools.flashing.device import Said
from host_tools.flashing.errors import NotConfirmed, NotStarted, Stopped, WrongChip
from host_tools.images import image as images
from host_tools.images.boards import BoardError
from host_tools.images.compile import CompileError
from host_tools.images.image import Image, ImageError
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.endpoints import PtyEndpoint
from host_tools.simulator.virtual_esp_rom import Faults, VirtualEspRom
from host_tools.simulator.world import WALLET_BOARD, World
from host_tools.story.bank import Bank
from protocol import apdu
from protocol.objects import WALLET
from tests.host.esp_bench import BOARDS, EspBench, image_for
from tests.host.stand_in import stand_in

NOW = 1_790_000_000


class BoardAtCable:
    """A board at one pty: its chip in download mode, or the device that runs on it. A press of RESET decides."""

    def __init__(self, rom: VirtualEspRom, device: SimulatedDevice, is_running: bool) -> None:
        self.rom = rom
        self._device = device._cable_end
        self.is_running = is_running
        self.on_output: Callable[[], None] | None = None
        self.on_baudrate: Callable[[int], None] | None = None
        rom.on_output = self._device.on_output = lambda: self.on_output and self.on_output()

    def receive(self, data: bytes) -> None:
        (self._device if self.is_running else self.rom).receive(data)

    def take_output(self) -> bytes:
        said, unheard = self._device.take_output(), self.rom.take_output()
        return said if self.is_running else unheard

    def press(self, asked: str) -> None:
        if "BOOT button, press RESET" in asked:
            self.rom.reset()
            self.is_running = False
        elif asked.startswith("Press RESET"):
            self.is_running = True


class Bench(NamedTuple):
    url: str
    board: BoardAtCable
    device: SimulatedDevice
    file: Path
    asked: list[str]

    def contents(self) -> bytes:
        return self.file.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def bench(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """An ESP32-C3 in download mode, on which a wallet will run; boards are built from `image_for`, in no time."""
    monkeypatch.setattr(images, "build_image", lambda name, _file: image_for(name_of_chip(name), folder))
    with World(tmp_path / "world") as world:
        device = world.add("card", WALLET_BOARD)
        world.reactor.detach(device._cable_end)
        file = tmp_path / "flash"
        board = BoardAtCable(VirtualEspRom("esp32c3", file), device, is_running=False)
        endpoint = PtyEndpoint()
        world.reactor.attach(board, endpoint)
        asked: list[str] = []

        def person(what: str) -> None:
            asked.append(what)
            world.reactor.call(lambda: board.press(what))

        monkeypatch.setattr(command, "_ask", person)
        yield Bench(endpoint.path, board, device, file, asked)


def name_of_chip(board: str) -> str:
    return next(chip for chip, name in BOARDS.items() if name == board)


def flash(*arguments: object) -> str:
    """What the command prints on stdout. Raises what it raises: `cli.main` makes a line and an exit code of it."""
    app = typer.Typer()
    app.command()(command.flash)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        get_command(app).main([str(argument) for argument in arguments], standalone_mode=False)
    return out.getvalue()


def in_json(*arguments: object) -> dict:
    return json.loads(flash(*arguments, "--json"))


@contextlib.contextmanager
def typing(text: str) -> Iterator[None]:
    """A terminal at which somebody types."""
    hand, terminal = os.openpty()
    tty.setraw(terminal)
    os.write(hand, f"{text}\n".encode())
    before = sys.stdin
    with os.fdopen(terminal, encoding="utf-8") as sys.stdin:
        try:
            yield
        finally:
            sys.stdin = before
            os.close(hand)


# From a chip to a device


def test_a_new_chip_becomes_a_device_that_answers(bench: Bench, folder: Path):
    image = image_for("esp32c3", folder)
    facts = in_json("esp32c3-card", "--port", bench.url, "--no-stub")
    assert facts == {
        "board": "esp32c3-card",
        "chip": "esp32c3",
        "mac": "a0:76:4e:01:02:03",
        "port": bench.url,
        "micropython": "1.28.0",
        "sha256": image.sha256,
        "written": ["bootloader", "partition table", "micropython", "code", "settings"],
        "written_bytes": facts["written_bytes"],
        "unchanged": [],
        "money": "none yet",
        "erased": None,
        "device": facts["device"],
    }
    assert facts["device"]["device"] is None and not facts["device"]["personalised"]
    assert bench.contents()[: len(image.merged())] == image.merged()
    assert bench.asked == ["Press RESET on the board, without BOOT. Waiting for half a minute."]


def test_a_person_is_told_what_happened(bench: Bench):
    said = flash("esp32c3-card", "--port", bench.url)
    for words in (
        "✓ esp32c3-card is flashed and checked.",
        "a0:76:4e:01:02:03",
        "bootloader, partition table, micropython, code, settings: ",
        "none yet",
        "is not set up yet. Run: jiaozi device personalise",
    ):
        assert words in said
    bench.board.press("BOOT button, press RESET")
    assert "nothing: all of it was there" in flash("esp32c3-card", "--port", bench.url, "--no-wait")


def test_who_does_not_wait_is_told_how_to_start(bench: Bench):
    assert in_json("esp32c3-card", "--port", bench.url, "--no-wait")["device"] is None
    assert bench.asked == []


def test_a_running_device_has_to_be_put_into_download_mode(bench: Bench):
    bench.board.is_running = True
    in_json("esp32c3-card", "--port", bench.url, "--no-wait")
    assert "Hold its BOOT button, press RESET, let go of BOOT" in bench.asked[0]


def test_a_board_that_never_answers_afterwards(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "_START_TIMEOUT_S", 0.0)
    monkeypatch.setattr(command, "_ask", lambda _what: None)
    with pytest.raises(NotStarted, match=r"Everything is written and checked.*Press RESET.*jiaozi doctor"):
        flash("esp32c3-card", "--port", bench.url)


def test_a_rate_that_was_named_is_used(bench: Bench):
    in_json("esp32c3-card", "--port", bench.url, "--no-wait", "--baud", 230400)
    assert bench.board.rom.machine.baudrate == 230400


# Money


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    made = Bank(tmp_path / "bank", NOW)
    made.add_operator(1)
    return made


def personalise(bench: Bench, bank: Bank, amount: int) -> str:
    """Give the device that runs a purse with `amount` in it, synced; the chip keeps its settings. Returns its id."""
    bench.board.is_running = True
    account = bank.ledger.open_account(1, "Ana")
    signer = bank.operators[1]
    with SerialLink(bench.url) as link:
        client = DeviceClient(link)
        who = carrier.personalise(client, bank.ledger, signer, 1, WALLET << 4 | 2, 0, account, "Ana", NOW)
        if amount:
            bank.ledger.issue(account, amount, NOW)
            carrier.load(client, bank.ledger, signer, amount, NOW)
            carrier.sync(client, bank.ledger, signer, NOW)
    put_settings(bench, (bench.device.state / "settings.a").read_bytes())
    return who.hex()


def put_settings(bench: Bench, contents: bytes) -> None:
    """Onto the chip, where LittleFS might have such a file: in a block of its own."""
    with bench.file.open("r+b") as file:
        file.seek(0x3A4000)
        file.write(contents.ljust(4096, b"\xff"))


def in_use(bench: Bench) -> None:
    """Put the image, and what a device keeps, onto the chip."""
    in_json("esp32c3-card", "--port", bench.url, "--no-wait")
    with bench.file.open("r+b") as file:
        for offset in (0x9040, 0x3A3000, 0x3C0010):
            file.seek(offset)
            file.write(b"a device's" * 20)


def test_money_stays(bench: Bench, bank: Bank):
    in_use(bench)
    personalise(bench, bank, 500)
    before = bench.contents()
    facts = in_json("esp32c3-card", "--port", bench.url)
    assert (facts["money"], facts["written"], facts["device"]["balance"]) == ("kept", [], 500)
    assert bench.contents() == before


def test_an_empty_purse_is_erased_without_words(bench: Bench, bank: Bank):
    in_use(bench)
    who = personalise(bench, bank, 0)
    facts = in_json("esp32c3-card", "--port", bench.url, "--erase-money", "--no-wait")
    assert facts["money"] == "erased"
    assert (facts["erased"]["device"], facts["erased"]["balance"], facts["erased"]["records_not_synced"]) == (who, 0, 0)
    assert bench.contents()[0x9000:0xF000] == b"\xff" * 0x6000
    assert bench.contents()[0x3C0000:] == b"\xff" * 0x40000


def test_without_a_terminal_money_is_not_erased(bench: Bench, bank: Bank, monkeypatch: pytest.MonkeyPatch):
    in_use(bench)
    personalise(bench, bank, 500)
    before = bench.contents()
    monkeypatch.setattr(sys, "stdin", io.StringIO("erase the money of an unreadable device\n"))
    with pytest.raises(NotConfirmed, match="no terminal to confirm.*Nothing was written.*sync and redeem first"):
        flash("esp32c3-card", "--port", bench.url, "--erase-money")
    assert bench.contents() == before


def test_other_words_erase_nothing(bench: Bench, bank: Bank):
    in_use(bench)
    who = personalise(bench, bank, 500)
    before = bench.contents()
    for words in ("yes", "erase the money of an unreadable device", f"erase the money of {who[:8]}"):
        with typing(words), pytest.raises(NotConfirmed, match="other words. Nothing was written"):
            flash("esp32c3-card", "--port", bench.url, "--erase-money")
        bench.board.is_running = True
    assert bench.contents() == before
    assert any("will be lost for good: 500 minor units and 0 in doubt" in asked for asked in bench.asked)


def test_the_right_words_erase_and_say_what(bench: Bench, bank: Bank, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "120")
    in_use(bench)
    who = personalise(bench, bank, 500)
    with typing(f"erase the money of {who}"):
        said = flash("esp32c3-card", "--port", bench.url, "--erase-money", "--no-wait")
    assert f"erased: 500 minor units, 0 in doubt, of {who}" in said
    assert bench.contents()[0x3C0000:] == b"\xff" * 0x40000


def test_a_device_that_says_nothing_needs_words_too(bench: Bench):
    in_use(bench)
    with typing("erase the money of an unreadable device"):
        facts = in_json("esp32c3-card", "--port", bench.url, "--erase-money", "--no-wait")
    assert facts["money"] == "erased" and facts["erased"] == {}
    assert bench.contents()[0x3C0000:] == b"\xff" * 0x40000


def test_where_no_money_is_nobody_is_asked(bench: Bench):
    facts = in_json("esp32c3-card", "--port", bench.url, "--erase-money", "--no-wait")
    assert facts["money"] == "none yet" and facts["erased"] is None and bench.asked == []


def test_an_empty_device_says_nothing_of_another_ones_money(bench: Bench, bank: Bank, monkeypatch: pytest.MonkeyPatch):
    """Somebody plugs in the next board when he is asked to press its buttons."""
    in_use(bench)
    personalise(bench, bank, 0)
    put_settings(bench, b"\x06public\x00\x20" + b"of another device's own key pair" + b"\x0cpersonalised\x00\x01\x01")
    before = bench.contents()
    with typing("yes"), pytest.raises(NotConfirmed, match="other words. Nothing was written"):
        flash("esp32c3-card", "--port", bench.url, "--erase-money")
    assert any("what answered here before is not the device on this chip" in asked for asked in bench.asked)
    bench.board.is_running = True
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(NotConfirmed, match="There may be money on this device"):
        flash("esp32c3-card", "--port", bench.url, "--erase-money")
    assert bench.contents() == before


def test_a_device_that_is_not_set_up_says_nothing_of_another_ones_money_either(bench: Bench):
    in_use(bench)
    put_settings(bench, b"\x0cpersonalised\x00\x01\x01")
    bench.board.is_running = True
    with typing("erase the money"), pytest.raises(NotConfirmed):
        flash("esp32c3-card", "--port", bench.url, "--erase-money")
    put_settings(bench, b"\x06public\x00\x20" + b"of a device that was never in use")
    bench.board.is_running = True
    facts = in_json("esp32c3-card", "--port", bench.url, "--erase-money", "--no-wait")
    assert facts["money"] == "erased" and facts["erased"]["device"] is None


def test_unsynced_records_are_not_an_empty_purse(bench: Bench, bank: Bank):
    """The money of a terminal is in its records until they are synced."""
    in_use(bench)
    who = personalise(bench, bank, 500)
    before = bench.contents()
    signer, payee = bank.operators[1], bank.payees[1]
    with SerialLink(bench.url) as link:
        carrier.redeem(DeviceClient(link), bank.ledger, signer, payee, 500, NOW)
    with typing("no"), pytest.raises(NotConfirmed):
        flash("esp32c3-card", "--port", bench.url, "--erase-money")
    assert bench.contents() == before
    bench.board.is_running = True
    with SerialLink(bench.url) as link:
        carrier.sync(DeviceClient(link), bank.ledger, signer, NOW)
    assert in_json("esp32c3-card", "--port", bench.url, "--erase-money", "--no-wait")["erased"]["device"] == who


@pytest.mark.parametrize(
    ("said", "is_empty"),
    [
        (Said(None, None, 0), True),
        (Said(None, None, apdu.OUT_OF_SERVICE), False),  # it may have a key that it cannot read
        (Said("aa", 1, apdu.PERSONALISED | apdu.LOCKED), True),
        (Said("aa", 1, apdu.PERSONALISED | apdu.OUT_OF_SERVICE), False),
        (Said("aa", 1, apdu.PERSONALISED, balance=1), False),
        (Said("aa", 1, apdu.PERSONALISED, in_doubt=1, payments_in_doubt=1), False),
        (Said("aa", 1, apdu.PERSONALISED, unsynced_records=1), False),
    ],
)
def test_when_nobody_loses_anything(said: Said, is_empty: bool):
    assert said.is_empty is is_empty


# What goes wrong


def test_what_cannot_be_done_is_said_and_nothing_is_written(bench: Bench):
    with pytest.raises(WrongChip, match="This is an ESP32-C3, and the board has an ESP32-S3"):
        flash("esp32s3-pos", "--port", bench.url)
    assert bench.asked == ["The device is in download mode: press RESET, without BOOT, to start it."]
    with pytest.raises(CannotOpen, match="it is not there"):
        flash("esp32c3-card", "--port", "/dev/no-such-port")
    assert bench.contents() == b"\xff" * (4 << 20)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "build/x"),
            BadInput,
            "build/x cannot be used: No space left",
        ),
        (ImageError("x.bin is cut short. Take it again."), BadInput, "cut short. Take it again. The device was not"),
        (BoardError("there is no board 'x'"), BadInput, "there is no board 'x'. The device was not touched"),
        (CompileError("no mpy-cross"), CheckFailed, "no mpy-cross. The device was not touched"),
    ],
)
def test_what_cannot_be_built_leaves_the_device_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], words: str
):
    def fail(_name: str, _file: Path | None) -> Image:
        raise error

    monkeypatch.setattr(images, "build_image", fail)
    with pytest.raises(kind, match=words):
        flash("esp32c3-card", "--port", bench.url)
    assert bench.board.rom.received_bytes == 0


def test_a_port_that_goes_half_way_is_one_line_and_repeating_ends_it(bench: Bench, folder: Path):
    bench.board.rom.faults = Faults(end_after=20)
    with pytest.raises(Stopped) as stopped:
        flash("esp32c3-card", "--port", bench.url)
    assert "\n" not in str(stopped.value)
    bench.board.rom.faults = Faults()
    bench.board.rom.reset()
    assert in_json("esp32c3-card", "--port", bench.url)["money"] == "none yet"
    merged = image_for("esp32c3", folder).merged()
    assert bench.contents()[: len(merged)] == merged


def test_ctrl_c_half_way_says_how_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """As it comes while esptool waits for the chip's answer."""

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    bench.board.rom.faults = Faults(end_after=20, on_gone=interrupt)
    with pytest.raises(Stopped, match="Interrupted. The device has no whole code now.*Repeat the same"):
        flash("esp32c3-card", "--port", bench.url)


# With the real build


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["esp32", "esp32s3", "esp32c3"])
def test_a_real_image_of_each_board(tmp_path: Path, chip: str):
    file = tmp_path / "micropython.bin"
    with EspBench(tmp_path, chip) as chip_bench:
        file.write_bytes(stand_in(chip, flash_size_bytes=chip_bench.board.flash_size_bytes or 0))
        image = images.build_image(BOARDS[chip], file)
        arguments = (BOARDS[chip], "--port", chip_bench.url, "--no-wait", "--no-stub")
        facts = in_json(*arguments, "--micropython", file)
        assert facts["sha256"] == image.sha256
        merged = image.merged()
        assert chip_bench.contents(image.offset_bytes, len(merged)) == merged
        assert in_json(*arguments)["written"] == []


def test_a_board_that_there_is_not_is_said_before_a_port_is_looked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("host_tools.flashing.ports.find_port", lambda: pytest.fail("looked for a port"))
    with pytest.raises(BadInput, match="there is no board 'nosuch'.*The device was not touched"):
        flash("nosuch")
