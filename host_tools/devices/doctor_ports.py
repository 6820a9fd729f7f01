"""From the facts of one serial port to what a person is told about it. Pure: nothing is asked or opened here."""

import errno

from host_tools.devices import doctor_answers
from host_tools.devices.doctor_findings import OK, TROUBLE, Finding, group_trouble
from host_tools.devices.doctor_known import BOOT_LOADERS, adapter
from host_tools.devices.doctor_line import BOOT_LOADER, Line, understand
from host_tools.devices.doctor_system import Computer, Port, Process, UsbDevice

_MODEM_MANAGER = "ModemManager"


def unopened(computer: Computer, port: Port) -> Finding | None:
    """What is wrong with a port that better is not opened; None if it may be looked at."""
    where = port.url
    if computer.platform == "darwin" and where.startswith("/dev/tty."):
        return Finding(
            where,
            TROUBLE,
            "macos-name",
            "This name waits for a modem to call.",
            "macOS has two names for a port; /dev/tty.* is for incoming calls.",
            "Use the other one:",
            (f"jiaozi doctor --port {where.replace('/dev/tty.', '/dev/cu.', 1)}",),
        )
    if port.ids in BOOT_LOADERS:
        return doctor_answers.instead(port, BOOT_LOADER)
    if port.file.holders:
        return _busy(computer, port, port.file.holders)
    return None


def judge(computer: Computer, port: Port, line: Line, today: int) -> Finding:
    """`today` as a Unix day."""
    if line.hello is not None:
        return doctor_answers.device(port.url, doctor_answers.behind(port), line.hello, today)
    if line.pn532:
        return Finding(
            port.url,
            OK,
            "reader",
            f"An NFC reader, PN532 version {line.pn532}{doctor_answers.behind(port)}.",
            fix="Lay a device on it:",
            commands=(f"jiaozi device info --reader {port.url}",),
            usable=True,
        )
    if line.failed:
        return Finding(
            port.url,
            TROUBLE,
            "hello-and-no-more",
            f"Something says hello{doctor_answers.behind(port)}, and then: {line.failed}",
            "The firmware is of another version than this program, or the cable has a loose contact.",
            "Try another cable. If it stays, update the older of the two:",
            (doctor_answers.flash_command(port.url),),
        )
    if line.is_gone:
        remote = "://" in port.url
        return Finding(
            port.url,
            TROUBLE,
            "went-away",
            f"The port{doctor_answers.behind(port)} went away while it was looked at.",
            "Its server hung up; it may serve one program at a time."
            if remote
            else "A loose cable, or a chip with USB of its own that starts again and again and takes its port along.",
            "Close the other program, and look again:" if remote else "Plug it in firmly, and look again:",
            (f"jiaozi doctor --port {port.url}",),
        )
    if line.cannot_open:
        return _not_open(computer, port, line)
    return doctor_answers.instead(port, *understand(line.heard))


def without_port(computer: Computer, device: UsbDevice) -> Finding:
    """An adapter hangs on USB, and no serial port has come of it."""
    known = adapter(device.ids)
    assert known is not None
    where = f"USB {device.place}"
    title = f"A USB serial adapter, {known.title}, is plugged in but has no port"
    if computer.has_brltty and known.module not in device.drivers:
        return Finding(
            where,
            TROUBLE,
            "brltty",
            f"{title}: brltty has taken it.",
            "brltty drives braille displays, some of which have the same USB numbers.",
            "If nobody here uses a braille display, remove it, then plug the board in again:",
            ("sudo apt remove brltty",),
        )
    if computer.is_container:
        return Finding(
            where,
            TROUBLE,
            "container",
            f"{title}.",
            "This is a container, and it was not given the port.",
            "Start the container with the port of the computer around it:",
            ("docker run --device /dev/ttyUSB0 ...",),
        )
    return Finding(
        where,
        TROUBLE,
        "no-driver",
        f"{title}.",
        f"Linux has not loaded its driver, {known.module}.",
        "Load it; if it is not found, install your distribution's package of further kernel modules:",
        (f"sudo modprobe {known.module}", "sudo apt install linux-modules-extra-$(uname -r)"),
    )


def _not_open(computer: Computer, port: Port, line: Line) -> Finding:
    where, file, user = port.url, port.file, computer.user
    if line.number == errno.EACCES:
        if file.group_may and file.group != "root" and file.group not in user.groups:
            return group_trouble(where, "this port", user.name, file.group, file.group in user.database_groups)
        return Finding(
            where,
            TROUBLE,
            "no-permission",
            "No permission to use this port: nobody but root has it.",
            "No udev rule has given the port to a group; in WSL and in containers udev often does not run.",
            "Give it to everybody, until it is plugged in again:",
            (f"sudo chmod a+rw {where}",),
        )
    if line.number in (errno.EBUSY, errno.EAGAIN):
        return _busy(computer, port, ())
    if line.number == errno.EPERM:
        return Finding(
            where,
            TROUBLE,
            "container",
            "The system forbids this port, whatever its permissions are.",
            "This is a container or a sandbox that was not given the port.",
            "Start the container with the port:",
            (f"docker run --device {where} ...",),
        )
    if line.number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return Finding(
            where,
            TROUBLE,
            "no-such-port",
            "There is no such port.",
            "The board is not plugged in, its cable only charges, or its port has another name now.",
            "See what is there:",
            ("jiaozi doctor",),
        )
    return Finding(where, TROUBLE, "cannot-open", f"It cannot be opened: {line.cannot_open}")


def _busy(computer: Computer, port: Port, holders: tuple[Process, ...]) -> Finding:
    names = {process.name for process in holders}
    if _MODEM_MANAGER in (names or computer.running):
        vendor, product = port.ids or (0, 0)
        rule = f'ATTRS{{idVendor}}=="{vendor:04x}", ATTRS{{idProduct}}=="{product:04x}", ENV{{ID_MM_DEVICE_IGNORE}}="1"'
        certain = "has" if names else "probably has"
        return Finding(
            port.url,
            TROUBLE,
            "modem-manager",
            f"The port is in use: {_MODEM_MANAGER} {certain} it.",
            "It asks every new port whether a modem is there, for half a minute.",
            "Wait, or tell it once for all to leave these boards alone, then plug the board in again:",
            (
                f"echo '{rule}' | sudo tee /etc/udev/rules.d/60-jiaozi-ports.rules",
                "sudo udevadm control --reload",
            ),
        )
    if holders:
        who = ", ".join(f"{process.name} (process {process.number})" for process in holders)
        cause = "Two programs on one line take each other's bytes, so nothing was sent."
        commands = tuple(f"kill {process.number}" for process in holders)
        fix = "Close that program. If it hangs:"
        return Finding(port.url, TROUBLE, "busy", f"The port is in use by {who}.", cause, fix, commands)
    which = (f"sudo lsof {port.url}",) if computer.platform == "darwin" else (f"sudo fuser -v {port.url}",)
    return Finding(
        port.url,
        TROUBLE,
        "busy",
        "The port is in use by another program.",
        "Serial terminals, IDEs and other jiaozi commands keep a port open.",
        "See which one, and close it:",
        which,
    )
