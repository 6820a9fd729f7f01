"""Which serial port, and what it can do; opening it is `devices.serial_link`'s."""

import serial
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from host_tools.flashing.errors import NoPort


def only_port(ports: list[ListPortInfo]) -> str:
    """The one port that a board can be at. Raises `NoPort`."""
    found = [port for port in ports if port.vid is not None]  # built-in and Bluetooth ports are no boards
    if len(found) == 1:
        return found[0].device
    if not found:
        raise NoPort(
            "There is no board at any USB port. Plug it in with a cable that carries data (many only charge), or name a"
            " port with --port; jiaozi doctor looks for the reason."
        )
    listed = ", ".join(f"{port.device} ({port.description})" for port in found)
    raise NoPort(f"Which board? Name its port with --port: {listed}. Nothing was written.")


def find_port() -> str:
    """Raises `NoPort`."""
    return only_port(list(list_ports.comports()))


def has_reset_lines(url: str, port: serial.Serial) -> bool:
    """Whether DTR and RTS are wires to the board: not on a pty, and behind a URL nobody knows."""
    if "://" in url:
        return False
    try:
        _ = port.cts  # of the same system call; a pty refuses it
    except OSError:
        return False
    return True
