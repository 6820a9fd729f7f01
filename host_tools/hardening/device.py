"""The device that is hardened: at a serial port, or virtual in a folder, where all of it can be tried with nothing at
stake.
"""

import tempfile
from pathlib import Path
from typing import Protocol

from host_tools.devices.client import DeviceClient
from host_tools.devices.errors import DeviceError
from host_tools.devices.serial_link import SerialLink
from host_tools.hardening import efuses, layout, tools
from host_tools.hardening.chips import CHIPS
from host_tools.hardening.efuses import Efuses
from host_tools.hardening.errors import DoesNotStart, InUse, ToolFailed
from host_tools.images.boards import Board
from host_tools.images.filesystem import empty_filesystem
from protocol.errors import RefusedByPeer

VIRTUAL = "virtual:"
_NOT_EQUAL = "Verification failed"
_FIRST_START_HELLOS = 59  # half a second each: the first start makes NVS keys and erases the journal


class Device(Protocol):
    """What hardening does with a device besides its eFuses."""

    port: str
    efuses: Efuses

    def holds(self, offset_bytes: int, data: bytes) -> bool:
        """Whether the flash has `data` there. Raises `ToolFailed`."""
        ...

    def write(self, folder: Path, encrypted: bool) -> None:
        """Erase what must be blank, write the encrypted images in `folder` and verify them. Raises `ToolFailed`.

        `encrypted`: the chip encrypts already.
        """
        ...

    def start(self) -> bool:
        """Start it and hear it answer; False if it cannot be started. Raises `DoesNotStart`."""
        ...


class SerialDevice:
    """A chip that esptool finds at `port`, in its download mode or brought there by the board's reset lines."""

    def __init__(self, board: Board, port: str):
        self._board = board
        self.port = port
        self.efuses = Efuses(board.chip, ("--port", port))

    def holds(self, offset_bytes: int, data: bytes) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "data.bin")
            file.write_bytes(data)
            try:
                tools.run(layout.verify_flash_command(self._board, self.port, offset_bytes, file))
            except ToolFailed as error:
                if _NOT_EQUAL in str(error):
                    return False
                raise
        return True

    def write(self, folder: Path, encrypted: bool) -> None:
        for command in layout.flash_commands(self._board, self.port, encrypted):
            tools.run(command, folder)

    def start(self) -> bool:
        tools.run(layout.restart_command(self._board, self.port))
        try:
            with SerialLink(self.port, hello_resends=_FIRST_START_HELLOS) as link:
                DeviceClient(link)
        except (DeviceError, RefusedByPeer) as error:
            raise DoesNotStart(
                f"The device does not answer after its start ({error}) Its download mode is still open and nothing is"
                " lost: hold BOOT while you press RESET, and repeat with an image that starts."
            ) from None
        return True


class VirtualDevice:
    """A chip in a folder: `efuses.bin` for espefuse, `flash.bin` as a clip on the flash would read it.

    A folder without them becomes a chip as it leaves the factory.
    """

    def __init__(self, board: Board, folder: Path):
        assert board.flash_size_bytes is not None
        self._board = board
        self._flash = folder / "flash.bin"
        self.port = f"{VIRTUAL}{folder}"
        folder.mkdir(parents=True, exist_ok=True)
        fuses = folder / "efuses.bin"
        if fuses.exists():
            self.efuses = efuses.virtual(board.chip, fuses)
        else:
            self.efuses = efuses.new_virtual(board.chip, fuses, CHIPS[board.chip].revision_minimum)
        if not self._flash.exists():
            self._flash.write_bytes(b"\xff" * board.flash_size_bytes)

    def holds(self, offset_bytes: int, data: bytes) -> bool:
        with self._flash.open("rb") as file:
            file.seek(offset_bytes)
            return file.read(len(data)) == data

    def write(self, folder: Path, encrypted: bool) -> None:
        nvs = self._board.partition("nvs")
        self._put(nvs.offset_bytes, b"\xff" * nvs.size_bytes)
        for place in layout.places(self._board):
            self._put(place.offset_bytes, Path(folder, place.encrypted).read_bytes())

    def start(self) -> bool:
        return False

    def _put(self, offset_bytes: int, data: bytes) -> None:
        with self._flash.open("r+b") as file:
            file.seek(offset_bytes)
            file.write(data)


def open_device(board: Board, port: str) -> SerialDevice | VirtualDevice:
    """`port`: what pyserial opens, or `virtual:FOLDER`."""
    if port.startswith(VIRTUAL):
        return VirtualDevice(board, Path(port.removeprefix(VIRTUAL)))
    return SerialDevice(board, port)


def has_images(board: Board, device: Device, folder: Path) -> bool:
    """Whether the encrypted images in `folder` are what lies on the flash."""
    return all(
        device.holds(place.offset_bytes, Path(folder, place.encrypted).read_bytes()) for place in layout.places(board)
    )


def is_unused(board: Board, device: Device, folder: Path) -> bool:
    """Whether `journal` and `settings` are as on a new device, or as a run that was cut has left them."""
    return _in_use(board, device, folder) is None


def check_unused(board: Board, device: Device, folder: Path) -> None:
    """Raises `InUse` unless `is_unused`."""
    found = _in_use(board, device, folder)
    if found is not None:
        raise InUse(
            f"The device's `{found}` is in use, and encrypting would destroy what it holds. Nothing was burnt now."
            " Harden a new device. Was this one only tried, and has no money? Then run: esptool erase-flash"
        )


def _in_use(board: Board, device: Device, folder: Path) -> str | None:
    """The first partition that holds something."""
    journal, settings = board.partition("journal"), board.partition("settings")
    written = folder / next(place for place in layout.places(board) if place.name == layout.SETTINGS).encrypted
    blank = b"\xff" * settings.size_bytes
    empty = [blank, empty_filesystem(settings.size_bytes)]
    if written.exists():
        data = written.read_bytes()
        empty.append(data + blank[len(data) :])
    for partition, contents in ((journal, [b"\xff" * journal.size_bytes]), (settings, empty)):
        if not any(device.holds(partition.offset_bytes, data) for data in contents):
            return partition.name
    return None
