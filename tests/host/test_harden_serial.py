"""The whole of hardening over a serial line: unmodified espefuse and esptool, and a virtual chip with flash and eFuses.
Its eFuse controller is the one that espefuse emulates, its loader the simulator's.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from espefuse.efuse_interface import SUPPORTED_CHIPS

from host_tools.hardening import device, efuses, hardening, images, layout
from host_tools.hardening.device import SerialDevice
from host_tools.hardening.errors import DoesNotStart, InUse, ToolFailed
from host_tools.hardening.keys import Keys
from host_tools.hardening.plan import Plan
from host_tools.hardening.steps import make_plan
from host_tools.images.filesystem import empty_filesystem
from tests.host.esp_bench import EspBench
from tests.host.harden_bench import MAC, board_of, made_keys, new_chip, own_build

pytestmark = pytest.mark.timeout(300)


class Registers(dict[int, int]):
    """A chip's registers, of which the eFuse controller's are espefuse's emulation."""

    def __init__(self, others: dict[int, int], chip: str, file: Path) -> None:
        super().__init__(others)
        self._controller = SUPPORTED_CHIPS[chip].efuse_lib.EmulateEfuseController(str(file))
        start = self._controller.REGS.DR_REG_EFUSE_BASE
        self._range = range(start, start + self._controller.REGS.EFUSE_MEM_SIZE)
        self.before_write: Callable[[], None] | None = None

    def get(self, address: int, otherwise: int = 0) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._controller.read_reg(address) if address in self._range else super().get(address, otherwise)

    def __getitem__(self, address: int) -> int:
        return self.get(address)

    def __setitem__(self, address: int, value: int) -> None:
        if address in self._range:
            if self.before_write is not None:
                self.before_write()
            self._controller.write_reg(address, value)
        else:
            super().__setitem__(address, value)


class StartingDevice(SerialDevice):
    """One that answers after its start: on the virtual chip nothing runs."""

    def start(self) -> bool:
        return True


class Bench(NamedTuple):
    esp: EspBench
    keys: Keys
    memory: Path

    @property
    def chip(self) -> str:
        return self.esp.chip

    def device(self, kind: type[SerialDevice] = StartingDevice) -> SerialDevice:
        return kind(board_of(self.chip), self.esp.url)

    def plan(self) -> Plan:
        return make_plan(board_of(self.chip), self.device().efuses, self.esp.url, self.keys.public_key_digest())

    def fuses(self) -> efuses.Fuses:
        return efuses.virtual(self.chip, self.memory).read()


@pytest.fixture(params=["esp32c3"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    memory = tmp_path / "efuses.bin"
    new_chip(request.param, memory)
    keys = made_keys(tmp_path / "keys")
    with EspBench(tmp_path, request.param) as esp:
        esp.rom.machine.registers = Registers(esp.rom.machine.registers, request.param, memory)
        yield Bench(esp, keys, memory)


def write_images(bench: Bench, folder: Path) -> dict[str, bytes]:
    board = board_of(bench.chip)
    contents = images.read_images(board, own_build(folder, bench.chip))
    images.write_images(board, bench.keys, contents)
    return contents


@pytest.mark.slow
def test_a_new_chip_is_hardened_over_its_port(bench: Bench, tmp_path: Path) -> None:
    board, found = board_of(bench.chip), bench.device()
    assert efuses.mac_of(found.efuses.read()) == MAC
    nvs = board.partition("nvs")
    bench.esp.overwrite(nvs.offset_bytes, b"of an earlier start")
    write_images(bench, tmp_path / "build")
    plan = bench.plan()
    hardening.check_device(board, found, plan, bench.keys)
    end = hardening.rehearse_copy(board, found, bench.keys)
    assert not bench.fuses()["RD_DIS"].value  # a copy was burnt, not the chip
    told: list[tuple[str, str]] = []
    hardening.harden(board, found, plan, bench.keys, lambda step, state: told.append((step.title, state)))
    assert [state for _, state in told].count("burnt") == 6
    assert dict(told)["Write the encrypted images and verify them"] == "written and verified"
    assert bench.fuses() == end
    for place in layout.places(board):
        data = bench.keys.own.joinpath(place.encrypted).read_bytes()
        assert bench.esp.contents(place.offset_bytes, len(data)) == data
    assert set(bench.esp.region("nvs") + bench.esp.region("journal")) == {0xFF}


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["esp32"], indirect=True)
def test_a_device_that_does_not_start_keeps_its_download_mode(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And takes another image, as long as it has never started: then its flash holds money, and is left alone."""
    monkeypatch.setattr(device, "_FIRST_START_HELLOS", 1)
    board, plan, written = board_of(bench.chip), bench.plan(), "Write the encrypted images and verify them"
    contents = write_images(bench, tmp_path / "build")
    told: dict[str, str] = {}

    def run(kind: type[SerialDevice]) -> None:
        told.clear()
        found = bench.device(kind)
        hardening.check_device(board, found, plan, bench.keys)
        hardening.harden(board, found, plan, bench.keys, lambda step, state: told.update({step.title: state}))

    def rebuild(old: bytes, new: bytes) -> None:
        assert old in contents[layout.MICROPYTHON]
        contents[layout.MICROPYTHON] = contents[layout.MICROPYTHON].replace(old, new)
        images.write_images(board, bench.keys, contents)

    def app() -> bytes:
        return bench.esp.contents(0x10000, 0x1000)

    with pytest.raises(DoesNotStart, match="download mode is still open"):
        run(SerialDevice)
    fuses = bench.fuses()
    assert (fuses["FLASH_CRYPT_CNT"].value, fuses["ABS_DONE_1"].value, fuses["UART_DOWNLOAD_DIS"].value) == (127, 1, 0)
    first = app()
    rebuild(b"; jiaozi", b"; second")
    with pytest.raises(DoesNotStart):
        run(SerialDevice)
    second = app()
    assert told[written] == "written and verified" and second != first
    money = bench.esp.use()
    rebuild(b"; second", b"; third!")
    run(StartingDevice)
    assert told[written].startswith("left alone") and app() == second and bench.esp.money() == money
    assert bench.fuses()["UART_DOWNLOAD_DIS"].value == 1


def test_what_a_device_holds_is_never_written_over(bench: Bench, tmp_path: Path) -> None:
    board, found, plan = board_of(bench.chip), bench.device(), bench.plan()
    write_images(bench, tmp_path / "build")
    settings = board.partition("settings")
    bench.esp.overwrite(settings.offset_bytes, empty_filesystem(settings.size_bytes))
    hardening.check_device(board, found, plan, bench.keys)  # flashed, and never set up
    money = bench.esp.use()
    with pytest.raises(InUse, match="`journal` is in use"):
        hardening.check_device(board, found, plan, bench.keys)
    journal = board.partition("journal")
    bench.esp.overwrite(journal.offset_bytes, b"\xff" * journal.size_bytes)
    with pytest.raises(InUse, match="`settings` is in use"):
        hardening.check_device(board, found, plan, bench.keys)
    assert bench.esp.region("settings") == money["settings"] and bench.esp.region("nvs") == money["nvs"]
    assert not bench.fuses()["RD_DIS"].value


def test_a_device_that_is_pulled_out_while_it_burns_has_its_state_said(bench: Bench, tmp_path: Path) -> None:
    board, found, plan = board_of(bench.chip), bench.device(), bench.plan()
    write_images(bench, tmp_path / "build")
    registers, rom = bench.esp.rom.machine.registers, bench.esp.rom
    assert isinstance(registers, Registers)
    registers.before_write = lambda: bench.esp._reactor.detach(rom)
    told: list[str] = []
    with pytest.raises(
        ToolFailed,
        match=r"^Burn the flash encryption key: espefuse burn-key failed: .*\. The chip starts whatever is on its"
        r" flash, as before\. Repeat this command with the same --keys\.$",
    ) as failure:
        hardening.harden(board, found, plan, bench.keys, lambda step, state: told.append(step.title))
    assert "\n" not in str(failure.value) and told == []
    assert not bench.fuses()["RD_DIS"].value


def test_a_port_without_a_chip_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="espefuse summary failed") as failure:
        SerialDevice(board_of("esp32c3"), str(tmp_path / "nothing")).efuses.read()
    assert "\n" not in str(failure.value)
