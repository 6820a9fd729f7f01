"""`jiaozi doctor` with devices of real firmware; what every state of a device is called; and its page in the docs."""

import ast
import contextlib
import io
import json
import os
import pty
import re
from pathlib import Path

import pytest
import typer
from serial.tools.list_ports_common import ListPortInfo

import host_tools.cli.doctor as command
from host_tools.devices import doctor_answers, doctor_line, doctor_system
from host_tools.devices.client import DeviceClient
from host_tools.devices.doctor_line import Hello
from host_tools.devices.serial_link import SerialLink
from protocol import apdu
from protocol.objects import Certificate
from tests.host.command import Result

_PROJECT = Path(__file__).parents[2]
_CP2102 = (0x10C4, 0xEA60)


def _doctor(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(command.doctor)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app(list(arguments), standalone_mode=False)
    return Result(int(code or 0), out.getvalue(), err.getvalue())


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Makes this computer one with these ports and nothing else."""
    infos: list[ListPortInfo] = []
    real = doctor_system.Machine

    def plug(*paths: str) -> None:
        for path in paths:
            info = ListPortInfo(path, skip_link_detection=True)
            info.vid, info.pid = _CP2102
            info.product = "CP2102N USB to UART Bridge Controller"
            infos.append(info)

    monkeypatch.setattr(
        doctor_system,
        "Machine",
        lambda: real(root=tmp_path, platform="linux", comports=lambda: infos, hello_resends=1),
    )
    return plug


@pytest.fixture
def silent():
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


@pytest.fixture
def certificate(town) -> Certificate:
    with SerialLink(town.wallet.link_path) as link:
        own = DeviceClient(link).certificate
    assert own is not None
    return own


def test_with_nothing_plugged_in_it_says_so_and_what_to_do(plugged):
    result = _doctor()
    assert result.code != 0
    assert result.out.startswith("✗ this computer: No serial device and no NFC reader was found.\n  Nothing is plugged")


def test_one_device_is_named_with_the_next_command(
    town, plugged, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
):
    plugged(town.wallet.link_path)
    monkeypatch.setenv("COLUMNS", "120")
    result = _doctor()
    assert result.code == 0, result
    first, second, third = result.out.splitlines()
    assert re.fullmatch(
        rf"✓ {town.wallet.link_path}: Wallet of class 3 [0-9a-f]{{8}} of operator 1 \(CP2102N USB to UART.*\)\.", first
    )
    assert (second, third) == ("  Look at it:", f"    jiaozi device info --port {town.wallet.link_path}")


def test_several_devices_and_a_trouble_between_them(town, plugged, silent: str):
    plugged(town.wallet.link_path, silent, town.terminal.link_path, town.new_device.link_path)
    result = _doctor("--json")
    assert result.code != 0
    facts = json.loads(result.out)
    assert result.out.count("\n") == 1 and result.err == ""
    assert (facts["usable"], facts["troubles"]) == (3, 1)
    found = {finding["where"]: (finding["code"], finding["severity"]) for finding in facts["findings"]}
    assert found == {
        town.wallet.link_path: ("device", "ok"),
        silent: ("silence", "trouble"),
        town.terminal.link_path: ("device", "ok"),
        town.new_device.link_path: ("not-personalised", "note"),
    }
    assert set(facts["findings"][0]) == {
        "where",
        "severity",
        "code",
        "found",
        "cause",
        "fix",
        "commands",
        "usable",
    }


def test_only_the_port_that_is_named_is_looked_at(town, plugged, silent: str):
    plugged(silent)
    result = _doctor("--port", town.terminal.link_path)
    assert result.code == 0
    assert "Terminal" in result.out and silent not in result.out


def test_words_are_broken_at_the_edge_and_commands_never(town, plugged, silent: str, monkeypatch: pytest.MonkeyPatch):
    plugged(silent)
    monkeypatch.setenv("COLUMNS", "40")
    lines = _doctor().out.splitlines()
    commands = [line for line in lines if line.startswith("    ")]
    assert commands[-1] == f"    jiaozi flash BOARD --port {silent} --micropython FILE"
    assert all(len(line) <= 40 for line in lines if line not in commands)


def test_a_reader_at_a_serial_port_is_named_with_its_own_option(town, plugged):
    chip, path = town.world.add_reader("desk")
    result = _doctor("--reader", path)
    assert result.code == 0
    assert f"✓ {path}: An NFC reader, PN532 version 1.6." in result.out
    assert f"jiaozi device info --reader {path}" in result.out


def test_a_port_and_a_reader_that_are_one_are_looked_at_once(town, plugged):
    path = town.wallet.link_path
    assert len(json.loads(_doctor("--port", path, "--reader", path, "--json").out)["findings"]) == 1


def test_what_it_looked_at_works_as_before(town, plugged, certificate: Certificate):
    plugged(town.wallet.link_path)
    for _ in range(2):
        assert _doctor().code == 0
    with SerialLink(town.wallet.link_path) as link:
        client = DeviceClient(link)
        assert client.certificate is not None and client.certificate.encode() == certificate.encode()
        assert client.info().head_seq >= 0


@pytest.mark.parametrize(
    ("flags", "code", "severity", "usable", "words"),
    [
        (0, "device", "ok", True, "Look at it"),
        (apdu.LOCKED, "locked", "note", True, "Enter the PIN"),
        (apdu.BUSY, "busy-device", "note", True, "Finish or cancel"),
        (apdu.OUT_OF_SERVICE, "out-of-service", "trouble", False, "do not erase it"),
        (apdu.RETIRED, "retired", "trouble", False, "Take it to its operator"),
        (apdu.OUT_OF_SERVICE | apdu.RETIRED | apdu.LOCKED, "out-of-service", "trouble", False, "do not erase it"),
    ],
)
def test_each_state_of_a_device(
    certificate: Certificate, flags: int, code: str, severity: str, usable: bool, words: str
):
    hello = Hello(flags | apdu.PERSONALISED, certificate)
    finding = doctor_answers.device("/dev/x", "", hello, certificate.valid_until)
    assert (finding.code, finding.severity, finding.usable) == (code, severity, usable)
    assert words in finding.fix


def test_a_certificate_is_good_through_its_last_day(certificate: Certificate):
    hello = Hello(apdu.PERSONALISED, certificate)
    finding = doctor_answers.device("/dev/x", "", hello, certificate.valid_until + 1)
    assert (finding.code, finding.severity) == ("expired", "trouble")
    assert finding.commands == ("jiaozi sync --port /dev/x",)


def test_a_new_device_whose_memory_failed_is_not_to_be_set_up():
    assert doctor_answers.device("/dev/x", "", Hello(apdu.OUT_OF_SERVICE, None), 0).code == "out-of-service"


def test_every_finding_has_its_place_in_the_docs():
    """Codes are the third argument of each `Finding(...)`, and the words for what a line says."""
    codes = {value for name, value in vars(doctor_line).items() if name.isupper() and isinstance(value, str)}
    for path in (_PROJECT / "host_tools/devices").glob("doctor*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                codes |= {str(part.value) for part in node.args[2:3] if isinstance(part, ast.Constant)}
    assert len(codes) > 35
    page = (_PROJECT / "docs/troubleshooting.md").read_text()
    explained = re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)
    assert sorted(explained) == sorted(codes), set(explained) ^ codes
