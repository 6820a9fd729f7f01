"""host_tools.devices.doctor: trees of /sys, /proc and /dev as systems have them, and what a person is told of them."""

import dataclasses
import errno
import os
import pty
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial
from serial.tools.list_ports_common import ListPortInfo

from host_tools.devices import doctor, doctor_ports
from host_tools.devices.doctor_findings import Finding
from host_tools.devices.doctor_line import Line
from host_tools.devices.doctor_system import Machine, SystemReader, User, libusb_devices, this_user

CP2102, CH340, FTDI = (0x10C4, 0xEA60), (0x1A86, 0x7523), (0x0403, 0x6001)
ACR122U, RCS380, ACR1252 = (0x072F, 0x2200), (0x054C, 0x06C3), (0x072F, 0x223B)
MOUSE = (0x046D, 0xC077)


class Tree:
    """A computer in a folder: what hangs on its USB, which processes run and what they have open."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.infos: list[ListPortInfo] = []
        self.platform = "linux"
        self.user = User("ana", frozenset({"ana"}), frozenset({"ana"}))
        self.has_libusb = True
        self.may_use: Callable[[Path], bool] = lambda path: bool(path.stat().st_mode & stat.S_IROTH)
        self._plugs = 0
        for folder in ("dev/bus/usb", "sys/bus/usb/devices", "sys/drivers", "proc/sys/kernel"):
            (root / folder).mkdir(parents=True)
        (root / "proc/sys/kernel/osrelease").write_text("6.8.0-45-generic\n")

    def plug(self, ids: tuple[int, int], title: str, driver: str = "", mode: int = 0o666) -> str:
        """Plug something in; returns its place."""
        self._plugs += 1
        place = f"1-{self._plugs}"
        device = self.root / "sys/bus/usb/devices" / place
        interface = device.with_name(f"{place}:1.0")
        interface.mkdir(parents=True)
        device.mkdir()
        facts = {"idVendor": f"{ids[0]:04x}", "idProduct": f"{ids[1]:04x}", "busnum": "1", "devnum": f"{self._plugs}"}
        for name, value in {**facts, "product": title}.items():
            (device / name).write_text(value + "\n")
        if driver:
            (self.root / "sys/drivers" / driver).mkdir(exist_ok=True)
            (interface / "driver").symlink_to(self.root / "sys/drivers" / driver)
        node = self.root / f"dev/bus/usb/001/{self._plugs:03}"
        node.parent.mkdir(exist_ok=True)
        node.touch()
        node.chmod(mode)
        return place

    def port(self, name: str, place: str, ids: tuple[int, int] | None, target: str | None = None) -> str:
        """A serial port in `dev`: a link to `target`, or else a file behind which nothing is."""
        path = self.root / "dev" / name
        path.symlink_to(target) if target else path.touch()
        info = ListPortInfo(str(path), skip_link_detection=True)
        if ids is not None:
            info.vid, info.pid = ids
            info.location, info.product = f"{place}:1.0", "USB Serial"
        self.infos.append(info)
        return str(path)

    def process(self, number: int, name: str, *opened: str) -> None:
        folder = self.root / "proc" / str(number)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(name + "\n")
        for descriptor, path in enumerate(opened):
            (folder / "fd" / str(descriptor)).symlink_to(path)

    def machine(self) -> Machine:
        return Machine(
            root=self.root,
            platform=self.platform,
            comports=lambda: self.infos,
            libusb_devices=lambda: [] if self.has_libusb else None,
            may_use=self.may_use,
            user=self.user,
            hello_resends=0,
        )

    def examine(self, port: str | None = None, reader: str | None = None) -> list[Finding]:
        return doctor.examine(self.machine(), port, reader)

    def only(self, port: str | None = None, reader: str | None = None) -> Finding:
        findings = self.examine(port, reader)
        assert len(findings) == 1, findings
        return findings[0]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "computer")


@pytest.fixture
def line() -> Iterator[str]:
    """A pty at whose other end nobody speaks."""
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


@pytest.fixture
def no_rights(tree: Tree) -> Iterator[Callable[[], None]]:
    """Gives root's rights up until the end of the test, and with them the sight of the tree."""
    user = os.geteuid()

    def give_up() -> None:
        tree.root = Path("/")
        if user == 0:
            os.seteuid(65534)

    yield give_up
    os.seteuid(user)


# --- this computer


def test_the_real_system_can_be_read():
    computer = SystemReader(Machine()).computer()
    assert computer.user.name
    assert "python" in " ".join(computer.running) or computer.running
    assert not computer.clock_is_behind
    assert libusb_devices() is None or computer.has_libusb
    assert this_user().groups


def test_nothing_plugged_in_means_a_look_at_the_cable(tree: Tree):
    finding = tree.only()
    assert (finding.code, finding.severity, finding.usable) == ("nothing-found", "trouble", False)
    assert "only charges" in finding.cause


def test_wsl_and_containers_have_a_reason_of_their_own(tree: Tree):
    (tree.root / ".dockerenv").touch()
    assert tree.only().code == "container"
    (tree.root / "proc/sys/kernel/osrelease").write_text("5.15.153.1-microsoft-standard-WSL2\n")
    finding = tree.only()
    assert finding.code == "wsl"
    assert "usbipd attach --wsl --busid BUSID" in finding.commands


def test_a_wrong_date_is_told_with_everything_else(tree: Tree):
    machine = dataclasses.replace(tree.machine(), now=86_400.0 * 365)
    assert [finding.code for finding in doctor.examine(machine)] == ["nothing-found", "clock"]


def test_ports_without_a_known_adapter_are_left_alone(tree: Tree, line: str):
    tree.port("ttyS0", "", None, line)
    tree.plug(MOUSE, "Optical mouse", "usbhid")
    nothing, others = tree.examine()
    assert nothing.code == "nothing-found"
    assert (others.code, others.severity) == ("not-looked-at", "note")
    assert others.commands == (f"jiaozi doctor --port {tree.root}/dev/ttyS0",)


# --- ports


def test_a_silent_board_is_told_of_by_its_adapter(tree: Tree, line: str):
    url = tree.port("ttyUSB0", tree.plug(CP2102, "CP2102N", "cp210x"), CP2102, line)
    finding = tree.only()
    assert (finding.where, finding.code) == (url, "silence")
    assert finding.found == "The port (USB Serial) opens, but nothing answers."
    assert finding.commands[-1] == f"jiaozi flash BOARD --port {url} --micropython FILE"


@pytest.mark.parametrize(
    ("in_database", "code", "command"),
    [(False, "no-permission", "sudo usermod -aG {group} ana"), (True, "session-older-than-group", "newgrp {group}")],
)
def test_a_port_that_belongs_to_a_group(tree: Tree, line: str, no_rights, in_database: bool, code: str, command: str):
    os.chmod(line, 0o060)  # not even for its owner, who makes it here
    if os.geteuid() == 0:
        os.chown(line, -1, 20)  # dialout, or whatever this system calls it
    group = SystemReader(tree.machine()).port(line).file.group
    tree.user = User("ana", frozenset({"ana"}), frozenset({"ana", group} if in_database else {"ana"}))
    no_rights()
    finding = tree.only(line)
    assert finding.code == code
    assert finding.commands == (command.format(group=group),)


def test_a_port_that_belongs_to_nobody(tree: Tree, line: str, no_rights):
    os.chmod(line, 0)
    no_rights()
    finding = tree.only(line)
    assert finding.code == "no-permission"
    assert finding.commands == (f"sudo chmod a+rw {line}",)


def test_a_port_that_somebody_has_open_is_never_opened(tree: Tree):
    url = tree.port("ttyUSB0", tree.plug(CH340, "USB Serial", "ch341"), CH340)
    os.remove(url)
    os.mkfifo(url)  # opening it would be refused as no terminal, and never be called busy
    tree.process(4711, "picocom", "/dev/null", url)
    finding = tree.only()
    assert finding.code == "busy"
    assert "picocom (process 4711)" in finding.found
    assert finding.commands == ("kill 4711",)


def test_a_port_that_is_locked_without_a_trace(tree: Tree, line: str):
    with serial.Serial(line, exclusive=True):
        assert tree.only(line).commands == (f"sudo fuser -v {line}",)
        tree.platform = "darwin"
        assert tree.only(line).commands == (f"sudo lsof {line}",)


def test_modem_manager_is_named_also_when_it_is_only_probable(tree: Tree, line: str):
    url = tree.port("ttyACM0", tree.plug(CH340, "USB Serial", "ch341"), CH340, line)
    tree.process(800, "ModemManager")
    assert tree.only(url).code == "silence", "that it runs is no trouble"
    with serial.Serial(line, exclusive=True):
        finding = tree.only(url)
        assert finding.code == "modem-manager" and "probably has it" in finding.found
        assert 'ATTRS{idVendor}=="1a86", ATTRS{idProduct}=="7523", ENV{ID_MM_DEVICE_IGNORE}="1"' in finding.commands[0]
    tree.process(801, "ModemManager", url)
    assert "ModemManager has it" in tree.only(url).found


def test_a_port_that_is_not_there_or_no_port(tree: Tree):
    assert tree.only("/dev/no-such-port").code == "no-such-port"
    finding = tree.only("/dev/null")
    assert finding.code == "cannot-open"
    assert tree.only("socket://127.0.0.1:1").found.startswith("It cannot be opened: nothing listens there")


def test_a_port_that_goes_away(tree: Tree, line: str):
    system = SystemReader(tree.machine())
    for url, words in ((line, "loose cable"), ("socket://127.0.0.1:4000", "server hung up")):
        finding = doctor_ports.judge(system.computer(), system.port(url), Line(is_gone=True), 0)
        assert finding.code == "went-away" and words in finding.cause


def test_a_port_that_the_system_forbids(tree: Tree, line: str):
    """A container's device rules say EPERM; no test can make the kernel say it."""
    system = SystemReader(tree.machine())
    seen = Line(cannot_open="not permitted", number=errno.EPERM)
    assert doctor_ports.judge(system.computer(), system.port(line), seen, 0).code == "container"


@pytest.mark.parametrize("name", ["S2", "S3"])
def test_a_chip_that_shows_its_boot_loader_on_usb_is_not_opened(tree: Tree, name: str):
    ids = {"S2": (0x303A, 2), "S3": (0x303A, 9)}[name]
    tree.port("ttyACM0", tree.plug(ids, f"ESP32-{name}", "cdc_acm"), ids)
    finding = tree.only()
    assert finding.code == "boot-loader"
    assert "RESET" in finding.fix


def test_macos_names(tree: Tree):
    tree.platform = "darwin"
    finding = tree.only("/dev/tty.usbserial-0001")
    assert finding.code == "macos-name"
    assert finding.commands == ("jiaozi doctor --port /dev/cu.usbserial-0001",)


@pytest.mark.parametrize("ids", [CH340, CP2102, FTDI])
@pytest.mark.parametrize("driver", ["", "usbfs"])
def test_an_adapter_that_brltty_has_taken(tree: Tree, ids: tuple[int, int], driver: str):
    tree.plug(ids, "USB Serial", driver)
    tree.process(900, "brltty")
    finding = tree.only()
    assert (finding.where, finding.code) == ("USB 1-1", "brltty")
    assert finding.commands == ("sudo apt remove brltty",)


def test_brltty_that_is_only_installed_is_known_by_its_rules(tree: Tree):
    tree.plug(CH340, "USB Serial")
    rules = tree.root / "usr/lib/udev/rules.d"
    rules.mkdir(parents=True)
    assert tree.only().code == "no-driver"
    (rules / "85-brltty.rules").touch()
    assert tree.only().code == "brltty"


def test_an_adapter_without_its_driver_and_one_outside_a_container(tree: Tree):
    tree.plug(FTDI, "FT232R")
    assert tree.only().commands[0] == "sudo modprobe ftdi_sio"
    (tree.root / ".dockerenv").touch()
    assert tree.only().code == "container"


def test_each_of_several_boards_is_told_of(tree: Tree, line: str):
    tree.port("ttyUSB10", tree.plug(CP2102, "CP2102N", "cp210x"), CP2102, line)
    held = tree.port("ttyUSB9", tree.plug(CH340, "USB Serial", "ch341"), CH340)
    tree.process(4711, "screen", held)
    tree.plug(RCS380, "RC-S380/P")
    findings = tree.examine()
    assert [finding.code for finding in findings] == ["busy", "silence", "reader"], "in the order of their numbers"
    assert tree.only(held) == findings[0]


# --- readers


def test_a_reader_that_can_be_used(tree: Tree):
    tree.plug(RCS380, "RC-S380/P")
    finding = tree.only()
    assert (finding.code, finding.severity, finding.usable) == ("reader", "ok", True)
    assert finding.found == "NFC reader RC-S380/P."
    assert finding.commands == ("jiaozi device info --reader usb",)
    for path in ("usb", "usb:054c", "usb:054C:06c3", "usb:1", "usb:001:001"):
        assert tree.only(reader=path) == finding


def test_two_readers_are_told_apart_by_their_place(tree: Tree):
    tree.plug(RCS380, "RC-S380/P")
    tree.plug(ACR122U, "ACR122U")
    assert [finding.where for finding in tree.examine()] == ["usb:001:001", "usb:001:002"]
    assert tree.only(reader="usb:072f").where == "usb:001:002"
    assert tree.only(reader="usb:001:001").found == "NFC reader RC-S380/P."


@pytest.mark.parametrize(("ids", "driver"), [(ACR122U, "pn533_usb"), (RCS380, "port100"), (ACR122U, "pn533")])
def test_a_reader_that_the_kernel_drives(tree: Tree, ids: tuple[int, int], driver: str):
    tree.plug(ids, "Reader", driver)
    finding = tree.only()
    assert finding.code == "kernel-driver"
    assert finding.commands[0] == f"sudo modprobe -r {driver}"
    assert driver in finding.commands[1] and "/etc/modprobe.d/" in finding.commands[1]


def test_a_reader_without_permission(tree: Tree):
    tree.plug(ACR122U, "ACR122U", mode=0o600)
    finding = tree.only()
    assert finding.code == "no-permission"
    assert 'ATTRS{idVendor}=="072f", ATTRS{idProduct}=="2200", TAG+="uaccess"' in finding.commands[0]
    assert "/etc/udev/rules.d/60-" in finding.commands[0]


def test_a_reader_of_a_group(tree: Tree):
    tree.plug(ACR122U, "ACR122U", mode=0o660)
    group = SystemReader(tree.machine()).computer().usb[0].file.group
    if group == "root":
        os.chown(tree.root / "dev/bus/usb/001/001", 0, 46)
        group = SystemReader(tree.machine()).computer().usb[0].file.group
    assert tree.only().commands == (f"sudo usermod -aG {group} ana",)
    tree.user = User("ana", frozenset({"ana"}), frozenset({"ana", group}))
    assert tree.only().code == "session-older-than-group"


def test_a_reader_that_another_program_has(tree: Tree):
    tree.plug(ACR122U, "ACR122U", "usbfs")
    assert tree.only().commands == ("sudo fuser -v /dev/bus/usb/001/001",)
    tree.process(55, "python3", f"{tree.root}/dev/bus/usb/001/001")
    assert "python3 (process 55)" in tree.only().found


def test_a_reader_that_pcscd_has(tree: Tree):
    tree.plug(ACR122U, "ACR122U", "usbfs")
    tree.process(60, "pcscd")
    assert tree.only().code == "pcscd"


def test_a_reader_that_nfcpy_does_not_know(tree: Tree):
    tree.plug(ACR1252, "ACR1252U")
    assert tree.only().code == "unknown-reader"


def test_a_reader_without_the_library_to_reach_it(tree: Tree):
    tree.plug(RCS380, "RC-S380/P")
    tree.has_libusb = False
    assert tree.only().commands == ("sudo apt install libusb-1.0-0",)
    tree.platform = "darwin"
    assert tree.only(reader="usb").commands == ("brew install libusb",)


def test_a_reader_that_is_not_there(tree: Tree):
    tree.plug(RCS380, "RC-S380/P")
    assert tree.only(reader="usb:072f").code == "no-reader"


def test_macos_knows_readers_through_libusb(tree: Tree):
    machine = dataclasses.replace(
        tree.machine(), platform="darwin", libusb_devices=lambda: [(*RCS380, 20, 3), (*MOUSE, 20, 4)]
    )
    findings = doctor.examine(machine)
    assert [(finding.where, finding.found) for finding in findings] == [("usb", "NFC reader 054c:06c3.")]


@pytest.mark.parametrize("path", ["ttyUSB0", "tty:/dev/ttyUSB0", "usb:12345", "COM3", "", "usb:x"])
def test_a_path_that_names_no_reader(tree: Tree, path: str):
    assert tree.only(reader=path).code == "reader-path"


def test_nfcpys_own_names_of_serial_readers(tree: Tree):
    for path, where in (("tty:USB99", "/dev/ttyUSB99"), ("tty:AMA9:pn532", "/dev/ttyAMA9")):
        assert (tree.only(reader=path).where, tree.only(reader=path).code) == (where, "no-such-port")
    assert tree.only(reader="tty:usbserial-0001").where == "/dev/cu.usbserial-0001"
    assert tree.only(reader="udp:127.0.0.1:54321").code == "emulated-air"


def test_what_a_plug_calls_itself_never_commands_a_terminal(tree: Tree):
    tree.plug(RCS380, "\x1b[31mRC-S380" + "x" * 200)
    assert "\x1b" not in tree.only().found
    assert len(tree.only().found) < 80
