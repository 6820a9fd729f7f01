"""A chip in download mode, through esptool as a library. All of esptool that we use is in this file.

Knows flash by addresses and nothing of what lies where. esptool's own output is not shown; its progress goes to whoever
asked for the work.
"""

import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import serial
from esp_pylib.logger import EspLog, EspLogBase
from esptool import cmds
from esptool.bin_image import LoadFirmwareImage
from esptool.loader import DEFAULT_CONNECT_ATTEMPTS, DEFAULT_TIMEOUT, ESPLoader
from esptool.util import FatalError, flash_size_bytes, strip_chip_name

from host_tools.devices.serial_link import open_port
from host_tools.flashing.errors import ChipGone, NoBootLoader, WrongChip
from host_tools.flashing.ports import has_reset_lines
from host_tools.images.chips import MEGABYTE, Chip

Report = Callable[[int, int], None]
Ask = Callable[[str], None]

FAST_BAUDRATE = 460800  # at a cable; behind a URL nobody knows what the other side can
_WAIT_ATTEMPTS = 40  # of three quarters of a second each: time to find two buttons
_ERRORS = (FatalError, OSError, termios.error)  # pyserial's are OSErrors; termios.error is none
_DOWNLOAD_MODE = "Hold its BOOT button, press RESET, let go of BOOT"


class _Quiet(EspLogBase):
    """esptool's words are not ours. Its progress bars are: of each write, in bytes as they go over the line."""

    def __init__(self) -> None:
        self.report: Report | None = None

    def print(self, *args: Any, **kwargs: Any) -> None: ...

    def note(self, *args: Any) -> None: ...

    def hint(self, *args: Any) -> None: ...

    def debug(self, *args: Any) -> None: ...

    def warn(self, *args: Any, suggestion: str | None = None) -> None: ...

    def err(self, *args: Any, suggestion: str | None = None) -> None: ...

    def set_verbosity(self, mode: int | str) -> None: ...

    def progress_bar(
        self, cur_iter: int, total_iters: int, prefix: str = "", suffix: str = "", bar_length: int = 30
    ) -> None:
        if self.report is not None:
            self.report(cur_iter, total_iters)


class ChipLink:
    """One chip, its flash attached. Use as a context manager. Made by `connect`."""

    def __init__(self, esp: ESPLoader, quiet: _Quiet, has_lines: bool, ask: Ask) -> None:
        self._esp = esp
        self._quiet = quiet
        self._has_lines = has_lines
        self._ask = ask
        self._is_left = False
        self._is_as_before = True  # the chip is there, and nothing on it was changed
        self.mac = ""

    def _prepare(self, chip: Chip, flash_size_bytes: int, use_stub: bool, baudrate: int | None) -> None:
        _check_kind(self._esp, chip)
        if use_stub:
            self._esp = cmds.run_stub(self._esp)
        # Going on after the port was away is ours: the chip is looked at anew then.
        self._esp.WRITE_FLASH_ATTEMPTS = 1  # pyright: ignore[reportAttributeAccessIssue]
        if baudrate or self._has_lines:
            self._esp.change_baud(baudrate or FAST_BAUDRATE)
        cmds.attach_flash(self._esp)
        self._esp.flash_set_parameters(_checked_size(self._esp, flash_size_bytes))
        self.mac = bytes(self._esp.read_mac("BASE_MAC")).hex(":")  # pyright: ignore[reportArgumentType]

    def __enter__(self) -> "ChipLink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the port back. A device on which nothing was done is not left in download mode, or that is said."""
        if not self._is_left and not self.start() and self._is_as_before:
            self._ask("The device is in download mode: press RESET, without BOOT, to start it.")
        self._esp._port.close()

    def md5(self, offset: int, size: int) -> str:
        """Of a region, in hex. Raises `ChipGone`, like all below."""
        with self._working():
            return self._esp.flash_md5sum(offset, size)

    def read(self, offset: int, size: int) -> bytes:
        with self._working():
            return self._esp.read_flash(offset, size)

    def erase(self, offset: int, size: int) -> None:
        """Whole sectors."""
        self._is_as_before = False
        with self._working():
            cmds.erase_region(self._esp, offset, size)

    def write(self, offset: int, data: bytes, report: Report | None = None) -> None:
        """From a sector's start on; erases first, and compares MD5 sums when it is done."""
        self._quiet.report = report
        self._is_as_before = False
        with self._working():
            cmds.write_flash(self._esp, [(offset, data)], compress=True)

    def check_revision(self, bootloader: bytes) -> None:
        """Raises `WrongChip` if it is for newer or older chips of this kind."""
        with self._working():
            head = LoadFirmwareImage(strip_chip_name(self._esp.CHIP_NAME), bootloader)
            revision = self._esp.get_chip_revision()
        if revision < head.min_rev_full or head.max_rev_full and revision > head.max_rev_full:
            raise WrongChip(
                f"This MicroPython is not for revision {revision // 100}.{revision % 100} of the chip. Nothing was"
                " written. Take another version of it, or a newer chip."
            )

    def start(self) -> bool:
        """Leave download mode. False if there is no line to do it with: somebody has to press RESET."""
        self._is_left = True
        if not self._has_lines:
            return False
        try:
            with self._working():
                cmds.reset_chip(self._esp, "hard-reset")
        except ChipGone:
            return False
        return True

    @contextmanager
    def _working(self) -> Iterator[None]:
        try:
            with _quietly(self._quiet):
                yield
        except _ERRORS as error:
            self._is_as_before = False
            raise ChipGone(_first_line(error)) from error
        finally:
            self._quiet.report = None


def connect(url: str, chip: Chip, flash_size_bytes: int, use_stub: bool, baudrate: int | None, ask: Ask) -> ChipLink:
    """The chip at this port, if it is the one that is wanted, with that much flash at least, and open.

    `ask` is told what a person has to do where the port cannot. Raises `CannotOpen`, `NoBootLoader`, `WrongChip`.
    """
    quiet = _Quiet()
    with _quietly(quiet):
        port = open_port(url)
        # esptool's own, so that it seldom sets another: behind rfc2217:// each time takes time.
        port.timeout = DEFAULT_TIMEOUT
        has_lines = has_reset_lines(url, port)
        try:
            esp = _detected(url, port, has_lines, ask)
        except BaseException:
            port.close()
            raise
    link = ChipLink(esp, quiet, has_lines, ask)
    try:
        with link._working():
            link._prepare(chip, flash_size_bytes, use_stub, baudrate)
    except ChipGone as error:
        link.close()
        raise NoBootLoader(
            f"The chip at {url} answered and then not any more ({error}) Nothing was written. Try --baud 115200, then"
            " --no-stub, then another cable."
        ) from error
    except BaseException:
        link.close()
        raise
    return link


def _detected(url: str, port: serial.Serial, has_lines: bool, ask: Ask) -> ESPLoader:
    try:
        if has_lines:
            return _detect(port, "default-reset", DEFAULT_CONNECT_ATTEMPTS)
        try:
            return _detect(port, "no-reset", 1)
        except _ERRORS:
            ask(f"{_DOWNLOAD_MODE}: {url} has no lines to do that with. Waiting for half a minute.")
            if not port.is_open:
                port.open()  # esptool has closed it
            return _detect(port, "no-reset", _WAIT_ATTEMPTS)
    except _ERRORS as error:
        raise NoBootLoader(
            f"No chip in download mode answers at {url} ({_first_line(error)}) Nothing was written. {_DOWNLOAD_MODE}"
            " and start again; else try another cable, and close programs that use the port."
        ) from error


def _detect(port: Any, mode: str, attempts: int) -> ESPLoader:
    try:
        # It takes an open port as well as a name.
        return cmds.detect_chip(port, ESPLoader.ESP_ROM_BAUD, mode, connect_attempts=attempts)
    except FatalError as error:
        said = _first_line(error)
        if said.startswith("Unexpected chip"):
            raise WrongChip(f"This chip is none that any board has ({said}) Nothing was written.") from error
        raise


def _check_kind(esp: ESPLoader, chip: Chip) -> None:
    if strip_chip_name(esp.CHIP_NAME) != chip.esptool_name:
        raise WrongChip(
            f"This is an {esp.CHIP_NAME}, and the board has an {chip.title}. Nothing was written."
            " Name the board that this is: jiaozi board list"
        )
    locked = "Nothing was written, and it works as before. Only a new chip takes other code."
    if esp.secure_download_mode:
        raise WrongChip(f"This chip is in secure download mode, in which it does not say what is on it. {locked}")
    if esp.get_flash_encryption_enabled():
        raise WrongChip(f"The flash of this chip is encrypted: what is written now could not be read by it. {locked}")
    if esp.get_secure_boot_enabled():
        raise WrongChip(f"This chip starts signed code only (secure boot). {locked}")


def _checked_size(esp: ESPLoader, wanted_bytes: int) -> int:
    size_bytes = flash_size_bytes(cmds.detect_flash_size(esp))
    if size_bytes is None:
        raise WrongChip("The flash does not say how large it is: is it wired to the chip? Nothing was written.")
    if size_bytes < wanted_bytes:
        raise WrongChip(
            f"The flash of this chip has {size_bytes // MEGABYTE} MB, and the board needs {wanted_bytes // MEGABYTE}."
            " Nothing was written. Take a module with more flash, or another board: jiaozi board list"
        )
    return size_bytes


def _first_line(error: BaseException) -> str:
    """What esptool says, as one sentence."""
    return f"{str(error).splitlines()[0].rstrip('.') if str(error) else type(error).__name__}."


@contextmanager
def _quietly(logger: EspLogBase) -> Iterator[None]:
    """esptool has one logger for the whole process."""
    before = EspLog.instance
    EspLog.instance = logger
    try:
        yield
    finally:
        EspLog.instance = before
