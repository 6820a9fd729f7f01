"""What this computer says of its ports, its USB plugs, its user and its programs: facts for `doctor`, no opinions.

Reads only. `Machine` says where: this computer, or a tree that a test has made. What a system does not tell (macOS has
no /proc and no /sys) is simply not known.
"""

import grp
import os
import pwd
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nfc.clf import transport
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from host_tools.devices.doctor_known import UsbIds
from host_tools.devices.serial_link import HELLO_RESENDS

_DAY_S = 86_400
_MAXIMUM_TITLE = 40  # letters: what fits a line beside the rest


@dataclass(frozen=True)
class Process:
    number: int
    name: str


@dataclass(frozen=True)
class User:
    """`groups` are those of this session; those of the database count from the next log-in."""

    name: str
    groups: frozenset[str]
    database_groups: frozenset[str]


@dataclass(frozen=True)
class DeviceFile:
    """A file below /dev. `group` is empty if the file is not there; `group_may`: that group reads and writes it."""

    group: str = ""
    group_may: bool = False
    may: bool = True  # this user reads and writes it
    holders: tuple[Process, ...] = ()  # other processes that have it open, as far as we may see


@dataclass(frozen=True)
class UsbDevice:
    """What hangs on a USB plug. `place` is the plug's name in Linux (`1-1.2`); `drivers` hold its interfaces."""

    place: str
    ids: UsbIds
    title: str
    bus: int
    address: int
    drivers: tuple[str, ...]
    file: DeviceFile


@dataclass(frozen=True)
class Port:
    """A serial port. `ids`, `title` and `place` are of the USB device behind it, if there is one."""

    url: str
    ids: UsbIds | None
    title: str
    place: str
    file: DeviceFile


@dataclass(frozen=True)
class Computer:
    platform: str  # as `sys.platform`
    is_wsl: bool
    is_container: bool
    user: User
    running: frozenset[str]  # names of the processes that we see
    has_brltty: bool
    has_libusb: bool
    clock_is_behind: bool
    ports: tuple[Port, ...]
    usb: tuple[UsbDevice, ...]


def this_user() -> User:
    session = frozenset(_group_name(number) for number in (*os.getgroups(), os.getegid()))
    try:
        account = pwd.getpwuid(os.geteuid())
    except KeyError:  # a number without an account, as in many a container
        return User(str(os.geteuid()), session, session)
    database = os.getgrouplist(account.pw_name, account.pw_gid)
    return User(account.pw_name, session, frozenset(_group_name(number) for number in database))


def libusb_devices() -> list[tuple[int, int, int, int]] | None:
    """(vendor, product, bus, address) of everything on USB, as nfcpy asks for it; None if it has no library to ask."""
    try:
        return transport.USB.find("usb") or []
    except OSError:
        return None
    except transport.libusb.USBError:
        return []


def may_use(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


@dataclass(frozen=True)
class Machine:
    """Where facts come from, and how often a line is asked that does not answer."""

    root: Path = Path("/")
    platform: str = sys.platform
    comports: Callable[[], Iterable[ListPortInfo]] = list_ports.comports
    libusb_devices: Callable[[], list[tuple[int, int, int, int]] | None] = libusb_devices
    may_use: Callable[[Path], bool] = may_use
    user: User = field(default_factory=this_user)
    now: float = field(default_factory=time.time)
    hello_resends: int = HELLO_RESENDS


class SystemReader:
    """Reads the facts of one `Machine`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._root = machine.root
        self._infos = sorted(machine.comports())
        self._processes = self._read_processes()
        self._open_files = self._read_open_files()

    def computer(self) -> Computer:
        asked = self._machine.libusb_devices()
        running = frozenset(process.name for process in self._processes)
        rules = [path for folder in ("etc", "usr/lib", "lib") for path in self._rules(folder)]
        release = _line(self._root / "proc/sys/kernel/osrelease").lower()
        return Computer(
            platform=self._machine.platform,
            is_wsl="microsoft" in release,
            is_container=any((self._root / name).exists() for name in (".dockerenv", "run/.containerenv")),
            user=self._machine.user,
            running=running,
            has_brltty="brltty" in running or bool(rules),
            has_libusb=asked is not None,
            # No computer can run this program before it was written.
            clock_is_behind=self._machine.now < Path(__file__).stat().st_mtime - _DAY_S,
            ports=tuple(self.port(info.device) for info in self._infos),
            usb=tuple(self._linux_usb()) if self._machine.platform == "linux" else tuple(_libusb(asked or [])),
        )

    def port(self, url: str) -> Port:
        """The facts of a port, also of one that the system does not list: a pty, another computer's."""
        real = os.path.realpath(url)
        info = next((info for info in self._infos if os.path.realpath(info.device) == real), None)
        file = DeviceFile() if "://" in url else self._device_file(Path(url))
        if info is None or info.vid is None or info.pid is None:
            return Port(url, None, "", "", file)
        place = (info.location or "").partition(":")[0]
        return Port(url, (info.vid, info.pid), _printable(info.product or ""), place, file)

    def _linux_usb(self) -> Iterable[UsbDevice]:
        folder = self._root / "sys/bus/usb/devices"
        for path in sorted(folder.glob("*")):
            vendor, product = _line(path / "idVendor"), _line(path / "idProduct")
            if not vendor or not product or path.name.startswith("usb"):  # interfaces have none, usb1 is a root hub
                continue
            bus, address = int(_line(path / "busnum") or 0), int(_line(path / "devnum") or 0)
            drivers = {
                os.path.basename(os.path.realpath(interface / "driver"))
                for interface in folder.glob(f"{path.name}:*")
                if (interface / "driver").exists()
            }
            yield UsbDevice(
                place=path.name,
                ids=(int(vendor, 16), int(product, 16)),
                title=_printable(_line(path / "product")),
                bus=bus,
                address=address,
                drivers=tuple(sorted(drivers)),
                file=self._device_file(self._root / f"dev/bus/usb/{bus:03}/{address:03}"),
            )

    def _device_file(self, path: Path) -> DeviceFile:
        try:
            facts = path.stat()
        except OSError:
            return DeviceFile()
        return DeviceFile(
            group=_group_name(facts.st_gid),
            group_may=facts.st_mode & 0o060 == 0o060,
            may=self._machine.may_use(path),
            holders=tuple(self._open_files.get(os.path.realpath(path), ())),
        )

    def _read_processes(self) -> list[Process]:
        numbers = (int(path.name) for path in (self._root / "proc").glob("[0-9]*") if path.name.isdigit())
        return [
            Process(number, _line(self._root / f"proc/{number}/comm")) for number in numbers if number != os.getpid()
        ]

    def _read_open_files(self) -> dict[str, list[Process]]:
        """Who has what below /dev open; other users' processes show it to root only."""
        found: dict[str, list[Process]] = {}
        devices = f"{self._root / 'dev'}/"
        terminals = f"{devices}pts/"  # whoever made one holds it, like a simulated device
        for process in self._processes:
            try:
                descriptors = list((self._root / f"proc/{process.number}/fd").iterdir())
            except OSError:
                continue
            for name in {_link(descriptor) for descriptor in descriptors}:
                if name.startswith(devices) and not name.startswith(terminals):
                    found.setdefault(os.path.realpath(name), []).append(process)
        return found

    def _rules(self, folder: str) -> Iterable[Path]:
        return (self._root / folder / "udev/rules.d").glob("*brltty*")


def _libusb(devices: list[tuple[int, int, int, int]]) -> Iterable[UsbDevice]:
    for vendor, product, bus, address in devices:
        yield UsbDevice("", (vendor, product), "", bus, address, (), DeviceFile())


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _printable(text: str) -> str:
    """What a device calls itself, without what a terminal would obey."""
    return "".join(letter for letter in text if letter.isprintable())[:_MAXIMUM_TITLE]


def _line(path: Path) -> str:
    """A file's first line; empty if there is none or we may not read it."""
    try:
        with path.open(errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
