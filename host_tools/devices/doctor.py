"""`jiaozi doctor`: what is plugged into this computer, what is wrong with it, and how that is put right.

Three steps: facts from the system (`doctor_system`) and from each line (`doctor_line`), findings from facts
(`doctor_ports`, `doctor_readers`; pure), and the order in which they are told (here). Nothing is changed.
"""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from host_tools.devices import doctor_ports, doctor_readers
from host_tools.devices.doctor_findings import NOTE, TROUBLE, Finding
from host_tools.devices.doctor_known import ESPRESSIF, adapter
from host_tools.devices.doctor_line import Line, look
from host_tools.devices.doctor_system import Computer, Machine, Port, SystemReader
from protocol.objects import DAY_S

HERE = "this computer"


def examine(
    machine: Machine,
    port: str | None = None,
    reader: str | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Finding]:
    """Everything at this computer, or only the port and the reader that are named."""
    system = SystemReader(machine)
    computer = system.computer()
    if port is None and reader is None:
        findings = _everything(machine, computer, progress)
    else:
        findings = _named(machine, computer, system, port, reader, progress)
    if computer.clock_is_behind:
        findings.append(_clock())
    return findings


def _everything(machine: Machine, computer: Computer, progress: Callable[[int, int], None]) -> list[Finding]:
    boards = [port for port in computer.ports if adapter(port.ids) is not None]
    findings = [*_ports(machine, computer, boards, progress), *_without_port(computer)]
    readers = [device for device in computer.usb if doctor_readers.is_reader(device.ids)]
    findings += [doctor_readers.judge(computer, device, len(readers) == 1) for device in readers]
    return [*(findings or [_nothing(computer)]), *_others(computer)]


def _named(
    machine: Machine,
    computer: Computer,
    system: SystemReader,
    port: str | None,
    reader: str | None,
    progress: Callable[[int, int], None],
) -> list[Finding]:
    wanted = doctor_readers.wanted(reader) if reader is not None else doctor_readers.Wanted()
    urls = [url for url in dict.fromkeys((port, wanted.port)) if url is not None]
    findings = _ports(machine, computer, [system.port(url) for url in urls], progress)
    if wanted.finding is not None:
        findings.append(wanted.finding)
    if reader is not None and wanted.usb is not None:
        findings += _usb_readers(computer, reader, wanted.usb)
    return findings


def _usb_readers(computer: Computer, path: str, usb: re.Match[str]) -> list[Finding]:
    readers = [device for device in computer.usb if doctor_readers.is_reader(device.ids)]
    chosen = [device for device in readers if doctor_readers.chosen(device, usb)]
    judged = [doctor_readers.judge(computer, device, len(readers) == 1) for device in chosen]
    return judged or [doctor_readers.none_found(computer, path)]


def _ports(
    machine: Machine, computer: Computer, ports: list[Port], progress: Callable[[int, int], None]
) -> list[Finding]:
    def examined(port: Port) -> Finding:
        finding = doctor_ports.unopened(computer, port)
        return finding or doctor_ports.judge(computer, port, _look(machine, port), int(machine.now) // DAY_S)

    findings = []
    progress(0, len(ports))
    # At once, for a silent line takes seconds.
    with ThreadPoolExecutor(max(1, len(ports))) as pool:
        for finding in pool.map(examined, ports):
            findings.append(finding)
            progress(len(findings), len(ports))
    return findings


def _look(machine: Machine, port: Port) -> Line:
    # nfcpy opens serial ports of this computer only; and on a chip's own USB there can be no PN532.
    is_chip = port.ids is not None and port.ids[0] == ESPRESSIF
    return look(port.url, may_be_reader="://" not in port.url and not is_chip, hello_resends=machine.hello_resends)


def _without_port(computer: Computer) -> Iterator[Finding]:
    if computer.platform != "linux":
        return
    places = {port.place for port in computer.ports}
    for device in computer.usb:
        if adapter(device.ids) is not None and device.place not in places:
            yield doctor_ports.without_port(computer, device)


def _nothing(computer: Computer) -> Finding:
    if computer.is_wsl:
        return Finding(
            HERE,
            TROUBLE,
            "wsl",
            "No serial device and no NFC reader was found.",
            "WSL sees USB devices only after Windows has handed them over.",
            "In Windows, as administrator (usbipd comes from: winget install usbipd); then look again here:",
            ("usbipd list", "usbipd bind --busid BUSID", "usbipd attach --wsl --busid BUSID"),
        )
    if computer.is_container:
        return Finding(
            HERE,
            TROUBLE,
            "container",
            "No serial device and no NFC reader was found.",
            "This is a container, which sees only the devices that it was given.",
            "Start it with them:",
            ("docker run --device /dev/ttyUSB0 ...",),
        )
    return Finding(
        HERE,
        TROUBLE,
        "nothing-found",
        "No serial device and no NFC reader was found.",
        "Nothing is plugged in, the cable only charges, or the board is not powered.",
        "Use a cable that carries data, at the computer's own socket, and look at the board's light. Then again:",
        ("jiaozi doctor",),
    )


def _others(computer: Computer) -> Iterator[Finding]:
    """Ports that are left alone: what hangs there may be anything, and opening a port may start it anew."""
    others = [port.url for port in computer.ports if adapter(port.ids) is None]
    if others:
        names = ", ".join(others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
        yield Finding(
            HERE,
            NOTE,
            "not-looked-at",
            f"Left alone, for nothing says that a board is there: {names}.",
            fix="To have one looked at all the same:",
            commands=(f"jiaozi doctor --port {others[0]}",),
        )


def _clock() -> Finding:
    shown = time.strftime("%Y-%m-%d")
    return Finding(
        HERE,
        TROUBLE,
        "clock",
        f"This computer's date, {shown}, is before that of this program.",
        "Certificates are issued and checked by the day: with a wrong date they expire too early or too late.",
        "Set the clock:",
        ("sudo timedatectl set-ntp true",),
    )
