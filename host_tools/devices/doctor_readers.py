"""From the facts of USB to what a person is told about NFC readers; and what `--reader` means. Pure."""

import re
from typing import NamedTuple

from nfc.clf.device import usb_device_map

from host_tools.devices.doctor_findings import NOTE, OK, TROUBLE, Finding, group_trouble
from host_tools.devices.doctor_known import ACS, NFC_MODULES, UsbIds
from host_tools.devices.doctor_system import Computer, UsbDevice

_RULES_FILE = "/etc/udev/rules.d/60-jiaozi-readers.rules"  # before 73-seat-late.rules, which acts on uaccess
_USB_PATH = re.compile(r"usb(?::([0-9a-fA-F]{4})(?::([0-9a-fA-F]{4}))?|:([0-9]{1,3})(?::([0-9]{1,3}))?)?")
_TTY_PATH = re.compile(r"tty:((?:S|ACM|AMA|USB)\d+)(?::\w+)?")
_MACOS_PATH = re.compile(r"tty:(usbserial-\w+)(?::\w+)?")


class Wanted(NamedTuple):
    """What `--reader` names: a serial port, or readers on USB, or neither but a `finding`."""

    port: str | None = None
    usb: re.Match[str] | None = None
    finding: Finding | None = None


def wanted(path: str) -> Wanted:
    """As `NfcReader` and nfcpy understand it."""
    if path.startswith("/"):
        return Wanted(port=path)
    if tty := _TTY_PATH.fullmatch(path):
        return Wanted(port=f"/dev/tty{tty[1]}")
    if tty := _MACOS_PATH.fullmatch(path):
        return Wanted(port=f"/dev/cu.{tty[1]}")
    if usb := _USB_PATH.fullmatch(path):
        return Wanted(usb=usb)
    if path.startswith("udp:"):
        said = "An emulated air over UDP, for tests; there is nothing to examine."
        return Wanted(finding=Finding(path, NOTE, "emulated-air", said, usable=True))
    return Wanted(
        finding=Finding(
            path,
            TROUBLE,
            "reader-path",
            "This is no way to name a reader.",
            "A reader on USB is usb, or usb:BUS:DEVICE; a PN532 at a serial port is named by its file.",
            "For example:",
            ("jiaozi doctor --reader usb", "jiaozi doctor --reader /dev/ttyUSB0"),
        )
    )


def chosen(device: UsbDevice, usb: re.Match[str]) -> bool:
    """Whether `usb`, of `wanted`, means this device."""
    vendor, product, bus, address = usb.groups()
    asked = (vendor and int(vendor, 16), product and int(product, 16), bus and int(bus), address and int(address))
    there = (*device.ids, device.bus, device.address)
    return all(number in (None, known) for number, known in zip(asked, there, strict=True))


def is_reader(ids: UsbIds) -> bool:
    return ids in usb_device_map or ids[0] == ACS


def judge(computer: Computer, device: UsbDevice, is_only: bool) -> Finding:
    """`is_only`: there is no second reader from which it must be told apart."""
    path = "usb" if is_only else f"usb:{device.bus:03}:{device.address:03}"
    title = f"NFC reader {device.title or '{:04x}:{:04x}'.format(*device.ids)}"
    if device.ids not in usb_device_map:
        return _unknown(path, title)
    held = next((driver for driver in device.drivers if driver in NFC_MODULES), None)
    if held is not None:
        return _held_by_kernel(path, title, held)
    if not device.file.may:
        return _no_permission(computer, device, path, title)
    if "usbfs" in device.drivers or device.file.holders:
        return _busy(computer, device, path, title)
    if not computer.has_libusb:
        return no_library(path, f"The {title} is there, but nfcpy cannot reach it: libusb is missing.", computer)
    commands = (f"jiaozi device info --reader {path}",)
    return Finding(path, OK, "reader", f"{title}.", fix="Lay a device on it:", commands=commands, usable=True)


def none_found(computer: Computer, path: str) -> Finding:
    if not computer.has_libusb and computer.platform != "linux":
        return no_library(path, "Readers cannot be looked for: libusb is missing.", computer)
    return Finding(
        path,
        TROUBLE,
        "no-reader",
        "There is no such NFC reader on USB.",
        "It is not plugged in, or nfcpy does not know its kind (docs/troubleshooting.md lists them).",
        "Plug it in, without a hub. A PN532 at a serial adapter is named by its port:",
        ("jiaozi doctor --reader /dev/ttyUSB0",),
    )


def no_library(path: str, found: str, computer: Computer) -> Finding:
    install = "brew install libusb" if computer.platform == "darwin" else "sudo apt install libusb-1.0-0"
    return Finding(
        path,
        TROUBLE,
        "no-libusb",
        found,
        "nfcpy talks to readers on USB through that library of the system.",
        "Install it:",
        (install,),
    )


def _unknown(path: str, title: str) -> Finding:
    return Finding(
        path,
        TROUBLE,
        "unknown-reader",
        f"nfcpy cannot drive this {title}.",
        "It knows readers with a PN531, PN532 or PN533, the ACR122U and Sony's RC-S330 to RC-S380.",
        "Use one of those.",
    )


def _held_by_kernel(path: str, title: str, driver: str) -> Finding:
    return Finding(
        path,
        TROUBLE,
        "kernel-driver",
        f"The kernel's driver {driver} holds the {title}.",
        "Linux has NFC of its own, and nfcpy needs the reader for itself.",
        "Take the driver out now, and keep it out at the next start:",
        (
            f"sudo modprobe -r {driver}",
            f"printf 'blacklist %s\\n' {' '.join(NFC_MODULES)} | sudo tee /etc/modprobe.d/jiaozi-nfc.conf",
        ),
    )


def _no_permission(computer: Computer, device: UsbDevice, path: str, title: str) -> Finding:
    file, user = device.file, computer.user
    if file.group_may and file.group != "root" and file.group not in user.groups:
        return group_trouble(path, f"the {title}", user.name, file.group, file.group in user.database_groups)
    vendor, product = device.ids
    rule = f'SUBSYSTEM=="usb", ATTRS{{idVendor}}=="{vendor:04x}", ATTRS{{idProduct}}=="{product:04x}", TAG+="uaccess"'
    return Finding(
        path,
        TROUBLE,
        "no-permission",
        f"No permission to use the {title}.",
        "USB devices belong to root until a udev rule gives them to whoever sits at the computer.",
        "Add the rule, then plug the reader in again:",
        (f"echo '{rule}' | sudo tee {_RULES_FILE}", "sudo udevadm control --reload"),
    )


def _busy(computer: Computer, device: UsbDevice, path: str, title: str) -> Finding:
    names = {process.name for process in device.file.holders}
    if "pcscd" in (names or computer.running):
        return Finding(
            path,
            TROUBLE,
            "pcscd",
            f"The smart card service pcscd holds the {title}.",
            "Only one program at a time can drive a reader.",
            "Stop the service; it starts again at the next start of the computer:",
            ("sudo systemctl stop pcscd.socket pcscd",),
        )
    who = ", ".join(f"{process.name} (process {process.number})" for process in device.file.holders)
    file = f"/dev/bus/usb/{device.bus:03}/{device.address:03}"
    return Finding(
        path,
        TROUBLE,
        "busy",
        f"The {title} is in use by {who or 'a program of another user'}.",
        "Only one program at a time can drive a reader.",
        "Close that program." if who else "See which one, and close it:",
        () if who else (f"sudo fuser -v {file}",),
    )
