"""From what was heard at a port to what a person is told about it: a device's hello, or the text that came instead.

Pure: nothing is asked or opened here.
"""

import hashlib
from typing import NamedTuple

from host_tools.devices import doctor_line
from host_tools.devices.doctor_findings import NOTE, OK, TROUBLE, Finding
from host_tools.devices.doctor_known import adapter
from host_tools.devices.doctor_line import Hello
from host_tools.devices.doctor_system import Port
from protocol import apdu
from protocol.objects import TERMINAL, Certificate, device_id


def device(where: str, behind: str, hello: Hello, today: int) -> Finding:
    certificate = hello.certificate
    if certificate is None:
        if hello.flags & apdu.OUT_OF_SERVICE:
            return _out_of_service(where, f"A device{behind} is out of service.")
        return Finding(
            where,
            NOTE,
            "not-personalised",
            f"A device that is not set up yet{behind}.",
            fix="Set it up; docs/operating.md says what for:",
            commands=(f"jiaozi device personalise --account NAME --kind wallet-3 --port {where}",),
            usable=True,
        )
    title = f"{_titled(certificate)}{behind}"
    if hello.flags & apdu.OUT_OF_SERVICE:
        return _out_of_service(where, f"{title} is out of service.")
    if hello.flags & apdu.RETIRED:
        return Finding(
            where,
            TROUBLE,
            "retired",
            f"{title} is retired: it neither pays nor is paid.",
            "Its operator has ended its life.",
            "Take it to its operator.",
        )
    if today > certificate.valid_until:
        return Finding(
            where,
            TROUBLE,
            "expired",
            f"{title} has a certificate that has expired.",
            "It was too long without a sync, or this computer's date is wrong.",
            "Bring it up to date:",
            (f"jiaozi sync --port {where}",),
            usable=True,
        )
    look = (f"jiaozi device info --port {where}",)
    if hello.flags & apdu.LOCKED:
        fix = "Enter the PIN on the device. Looking is possible before:"
        return Finding(where, NOTE, "locked", f"{title} waits for its PIN.", "", fix, look, usable=True)
    if hello.flags & apdu.BUSY:
        fix = "Finish or cancel (*) on the device. Looking is possible before:"
        return Finding(where, NOTE, "busy-device", f"{title} is asking someone for money.", "", fix, look, usable=True)
    return Finding(where, OK, "device", f"{title}.", fix="Look at it:", commands=look, usable=True)


def _titled(certificate: Certificate) -> str:
    kind = "Terminal" if certificate.kind >> 4 == TERMINAL else f"Wallet of class {certificate.kind & 15}"
    who = device_id(certificate.key, lambda data: hashlib.sha256(data).digest())
    return f"{kind} {who.hex()[:8]} of operator {certificate.operator}"


def _out_of_service(where: str, found: str) -> Finding:
    return Finding(
        where,
        TROUBLE,
        "out-of-service",
        found,
        "It could not read or write its memory. What it holds is still on it.",
        "Switch it off and on and look again. If it stays, take it to its operator; do not erase it.",
        (f"jiaozi doctor --port {where}",),
    )


def instead(port: Port, meaning: str, quoted: str = "") -> Finding:
    """For what came instead of a hello: its `doctor_line.meaning`, and a line of it."""
    words = {"url": port.url, "behind": behind(port), "quoted": quoted}
    said = _INSTEAD[meaning]
    return Finding(
        port.url,
        TROUBLE,
        meaning,
        said.found.format(**words),
        said.cause.format(**words),
        said.fix.format(**words),
        tuple(command.format(**words) for command in said.commands),
    )


def behind(port: Port) -> str:
    """What the port hangs on, in brackets; nothing if that is not known."""
    known = adapter(port.ids)
    title = port.title or (known.title if known else "")
    return f" ({title})" if title else ""


def flash_command(where: str) -> str:
    """For a chip that has MicroPython; one that may have none needs its image too."""
    return f"jiaozi flash BOARD --port {where}"


class _Words(NamedTuple):
    """Texts in which `{url}` is the port, `{behind}` what it hangs on, and `{quoted}` a line that was heard."""

    found: str
    cause: str
    fix: str
    commands: tuple[str, ...] = ()


_FLASH = flash_command("{url}")
_FLASH_ALL = f"{_FLASH} --micropython FILE"
_AGAIN = "jiaozi doctor --port {url}"

_INSTEAD = {
    doctor_line.BOOT_LOADER: _Words(
        "The chip{behind} waits in its boot loader.",
        "BOOT was held at the start, or something pulls that pin down: the firmware does not run.",
        "Let go of BOOT and press RESET, or plug the board in again. As it is now, it can be flashed:",
        (_FLASH_ALL,),
    ),
    doctor_line.BROWNOUT: _Words(
        "The chip{behind} starts again and again because its supply sags.",
        "The cable or USB socket gives too little current: a long thin cable, a hub, a weak battery.",
        "Use a short cable at the computer's own socket, without a hub; charge the battery. Then look again:",
        (_AGAIN,),
    ),
    doctor_line.NO_FIRMWARE: _Words(
        'There is nothing on the chip{behind} that could run: "{quoted}"',
        "Its flash is empty, or holds an image of another chip or at a wrong place.",
        "Flash it:",
        (_FLASH_ALL,),
    ),
    doctor_line.TRACEBACK: _Words(
        'The firmware{behind} fails: "{quoted}"',
        "Code and board do not fit each other, or a part of the code is missing.",
        "Flash the board's own image; money on the device is not touched:",
        (_FLASH,),
    ),
    doctor_line.PROMPT: _Words(
        "MicroPython's prompt answers here{behind}, not jiaozi's firmware.",
        "Only MicroPython is on the board, or somebody stopped the firmware with Ctrl-C.",
        "Press RESET and look again. If the prompt is still there, flash the board:",
        (_AGAIN, _FLASH),
    ),
    doctor_line.BOOT_LOOP: _Words(
        'The chip{behind} starts again and again: "{quoted}"',
        "What is on it fails at the start: an image of another board, or wiring that it does not expect.",
        "Take off what is wired to it; if it still does so, flash it:",
        (_FLASH_ALL,),
    ),
    doctor_line.ECHO: _Words(
        "The port{behind} only echoes what is sent to it.",
        "TX and RX are joined, or what is there is no jiaozi device.",
        "Check the wires: the board's TX goes to the adapter's RX, and its RX to TX. Then look again:",
        (_AGAIN,),
    ),
    doctor_line.OTHER_TEXT: _Words(
        'Something else than jiaozi\'s firmware talks here{behind}: "{quoted}"',
        "This is another device, or a board with another program on it.",
        "If it is your board, flash it; what is on it now will be lost:",
        (_FLASH_ALL,),
    ),
    doctor_line.GARBAGE: _Words(
        "Unreadable bytes come from here{behind}.",
        "Board and computer talk at different rates (the link has 115200 baud), or ground is not connected.",
        "Check `link` in the board's board.toml, the rate of a server in between, and the ground wire. Look again:",
        (_AGAIN,),
    ),
    doctor_line.SILENCE: _Words(
        "The port{behind} opens, but nothing answers.",
        "The board is without power or hangs, waits silently in its boot loader, TX and RX are swapped, or its firmware"
        " talks on other pins than these.",
        "Press RESET and look again. If it stays silent, hold BOOT, tap RESET, let go of BOOT, and flash it:",
        (_AGAIN, _FLASH_ALL),
    ),
}
