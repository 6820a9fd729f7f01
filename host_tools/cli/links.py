"""From `--port` or `--reader` to a device that one can talk to."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from host_tools.cli import output
from host_tools.cli.exits import BadInput
from host_tools.devices import Link
from host_tools.devices.client import DeviceClient
from host_tools.devices.serial_link import SerialLink


@contextmanager
def device(port: str | None, reader: str | None) -> Iterator[DeviceClient]:
    """The device at the serial port or on the reader. Raises `BadInput`, `devices.errors.DeviceError`, `Refused`."""
    check(port, reader)
    link = _open(port, reader)
    try:
        yield DeviceClient(link)
    finally:
        link.close()


def check(port: str | None, reader: str | None) -> None:
    """Raises `BadInput` unless exactly one of the two is given."""
    if (port is None) == (reader is None):
        said = "Both --port and --reader are given." if port else "Which device?"
        raise BadInput(
            f"{said} Name its serial port with --port /dev/ttyUSB0, or the NFC reader it lies on with --reader usb."
        )


def _open(port: str | None, reader: str | None) -> Link:
    if port is not None:
        return SerialLink(port)
    from host_tools.devices.nfc_reader import NfcReader  # takes a moment to import, and few commands need it

    assert reader is not None
    if sys.stderr.isatty():
        output.stderr().print("Hold the device flat on the reader, and leave it there until it is done.", style="dim")
    return NfcReader(reader)
