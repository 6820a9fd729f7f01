"""The virtual chip against esptool itself, unmodified, as people run it."""

import dataclasses
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.simulator.reactor import Reactor, serve_url
from host_tools.simulator.virtual_esp_chips import CHIPS
from host_tools.simulator.virtual_esp_rom import Faults, VirtualEspRom

NOISE = random.Random(5).randbytes(9_000)


class Chip:
    """One virtual chip on a pty and on TCP."""

    def __init__(self, reactor: Reactor, rom: VirtualEspRom) -> None:
        self.rom = rom
        self._reactor = reactor
        self.port = serve_url(reactor, "pty:", rom)

    def serve_tcp(self) -> str:
        self._reactor.detach(self.rom)
        return serve_url(self._reactor, "tcp-listen://127.0.0.1:0", self.rom).replace("tcp", "socket")


@pytest.fixture
def plugged_in(tmp_path: Path) -> Iterator:
    with Reactor() as reactor:
        yield lambda chip="esp32", **options: Chip(reactor, VirtualEspRom(chip, tmp_path / "flash", **options))


def esptool(port: str, *arguments: object, code: int = 0, stub: bool = False) -> str:
    """What esptool prints, run as a program of its own on a chip that no reset line leads to."""
    options = ["--chip", "auto", "--port", port, "--before", "no-reset", "--after", "no-reset"]
    if not stub:
        options.append("--no-stub")
    command = [sys.executable, "-m", "esptool", *options, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("chip", "description", "mac"),
    [
        ("esp32", "ESP32-D0WD-V3 (revision v3.1)", "24:6f:28:01:02:03"),
        ("esp32s3", "ESP32-S3 (QFN56) (revision v0.2)", "f4:12:fa:01:02:03"),
        ("esp32c3", "ESP32-C3 (QFN32) (revision v0.4)", "a0:76:4e:01:02:03"),
    ],
)
def test_esptool_writes_verifies_reads_and_erases(plugged_in, tmp_path: Path, chip: str, description: str, mac: str):
    there = plugged_in(chip)
    said = esptool(there.port, "flash-id")
    for words in (description, mac, "40MHz", "Manufacturer: ef", "Device: 4016", "Detected flash size: 4MB"):
        assert words in said
    assert "WARNING" not in said
    data, back = tmp_path / "data", tmp_path / "back"
    data.write_bytes(NOISE)
    esptool(there.port, "--baud", 460800, "write-flash", 0x300000, data)
    assert there.rom.machine.baudrate == 460800
    assert there.rom.flash.read(0x300000, 0x3000) == NOISE.ljust(0x3000, b"\xff")
    assert "Verification successful" in esptool(there.port, "verify-flash", 0x300000, data)
    assert "Verification failed" in esptool(there.port, "verify-flash", 0x301000, data, code=2)
    esptool(there.port, "read-flash", 0x300000, len(NOISE), back)
    assert back.read_bytes() == NOISE
    data.write_bytes(b"jiaozi" * 5000)
    esptool(there.port, "write-flash", "--compress", 0x1000, data)
    assert there.rom.flash.read(0x1000, 30_000) == data.read_bytes()
    esptool(there.port, "erase-region", 0x301000, 0x1000)
    assert there.rom.flash.read(0x300000, 0x3000) == NOISE[:0x1000] + b"\xff" * 0x1000 + NOISE[0x2000:].ljust(
        0x1000, b"\xff"
    )


@pytest.mark.parametrize("chip", CHIPS)
def test_esptools_stub_is_spoken_too(plugged_in, tmp_path: Path, chip: str):
    there = plugged_in(chip)
    data, back = tmp_path / "data", tmp_path / "back"
    data.write_bytes(NOISE)
    assert "Stub flasher running" in esptool(there.port, "write-flash", 0x200000, data, stub=True)
    esptool(there.port, "read-flash", 0x200000, len(NOISE), back, stub=True)
    assert back.read_bytes() == NOISE
    esptool(there.port, "erase-region", 0x200000, 0x2000, stub=True)
    assert there.rom.flash.read(0x200000, 0x3000) == b"\xff" * 0x2000 + NOISE[0x2000:].ljust(0x1000, b"\xff")


@pytest.mark.parametrize("chip", CHIPS)
def test_a_tcp_port_serves_one_host_after_the_other(plugged_in, chip: str):
    there = plugged_in(chip)
    url = there.serve_tcp()
    for _ in range(2):
        assert "Detected flash size: 4MB" in esptool(url, "flash-id")


@pytest.mark.parametrize(("megabytes", "size"), [(1, "1MB"), (8, "8MB"), (16, "16MB")])
def test_the_flash_says_how_large_it_is(plugged_in, megabytes: int, size: str):
    there = plugged_in("esp32s3", flash_size_bytes=megabytes << 20)
    assert f"Detected flash size: {size}" in esptool(there.port, "flash-id")


def test_security_is_reported(plugged_in, tmp_path: Path):
    said = esptool(plugged_in("esp32c3", is_encrypted=True, has_secure_boot=True).port, "get-security-info")
    assert "Chip ID: 5" in said and "Flash Encryption: Enabled" in said and "Secure Boot: Enabled" in said


def test_an_older_esp32_has_no_security_info(plugged_in):
    assert "(0x14) is not supported" in esptool(plugged_in("esp32").port, "get-security-info", code=2)


@pytest.mark.parametrize("chip", ["esp32s3", "esp32c3"])
def test_secure_download_mode_hides_everything_else(plugged_in, chip: str):
    port = plugged_in(chip, is_secure_download=True).port
    assert "not available in Secure Download Mode" in esptool(port, "flash-id", code=2)


def test_another_chip_can_be_reported(plugged_in):
    other = dataclasses.replace(CHIPS["esp32c3"], chip_id=13)
    assert "ESP32-C6" in esptool(plugged_in(other).port, "get-security-info")


def test_a_chip_that_goes_silent_ends_esptool(plugged_in, tmp_path: Path):
    data = tmp_path / "data"
    data.write_bytes(NOISE)
    there = plugged_in(faults=Faults(end_after=3))
    assert "No more data to read" in esptool(there.port, "write-flash", 0, data, code=2)
    assert there.rom.flash_packets == 3
    assert there.rom.flash.read(0, 3 * 1024) == NOISE[:2048] + b"\xff" * 1024


def test_bytes_that_get_lost_cost_one_try_of_many(plugged_in):
    """They are in the first SYNC and in its answers, which esptool repeats."""
    there = plugged_in("esp32c3", faults=Faults(lost_received=frozenset({10}), lost_sent=frozenset({3, 4, 5})))
    assert "Detected flash size: 4MB" in esptool(there.port, "flash-id")
