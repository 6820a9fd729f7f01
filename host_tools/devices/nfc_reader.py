"""A card or wallet at an NFC reader of this computer: ISO-DEP through nfcpy, every APDU unchanged.

Owns reader and tap. nfcpy's `send_apdu` would judge lengths and status words, so its raw `transceive` is used.
"""

import errno
import logging
import re
import termios
import time
from types import TracebackType

import nfc
import nfc.clf
import nfc.tag
import nfc.tag.tt4
from nfc.clf import pn532, transport

from host_tools.devices.errors import NOT_KNOWN, CardRemoved, NoCard, NoReader

CARD_TIMEOUT_S = 20.0
_POLL_INTERVAL_S = 0.05
_OPEN_TRIES = 3  # a PN532 that was left in the middle of a command needs one or two to wake up

# nfcpy logs every APDU at debug level, those with a PIN too.
logging.getLogger("nfc").setLevel(logging.CRITICAL)

_COMMUNICATION_ERRORS = (
    nfc.clf.CommunicationError,
    pn532.Chipset.Error,
    nfc.tag.TagCommandError,
    IndexError,  # nfcpy reads the first byte of an empty block
    TypeError,  # and of none at all
)

# What pyserial raises when its port was pulled out; termios.error is no OSError.
_PORT_ERRORS = (OSError, termios.error)


class NfcReader:
    """An open reader with one card in its field.

    `path`: `usb`, `tty:USB0`, `udp:host:port` as in nfcpy's documentation, or the device file of a PN532
    (`/dev/ttyUSB0`, a pty). Raises `NoReader`, and `NoCard` if nothing is presented within `card_timeout_s`.
    """

    def __init__(self, path: str, card_timeout_s: float = CARD_TIMEOUT_S):
        self._path = path
        self._tag: nfc.tag.tt4.Type4Tag | None = None
        self._frontend = _open(path)
        try:
            self.wait_for_card(card_timeout_s)
        except BaseException:  # Ctrl-C too: nobody has the object yet who could close it
            self.close()
            raise

    def wait_for_card(self, timeout_s: float = CARD_TIMEOUT_S) -> None:
        """Starts a new tap, also with the card that is there. Raises `NoCard`, `NoReader`."""
        self._tag = None
        deadline = time.monotonic() + timeout_s
        other = False
        while self._tag is None:
            tag = self._sense()
            if isinstance(tag, nfc.tag.tt4.Type4Tag):
                self._tag = tag
            elif time.monotonic() >= deadline:
                raise NoCard(
                    "This card does not speak ISO-DEP: it is no jiaozi wallet."
                    if other
                    else f"No card came to {self._path} in {timeout_s:g} s. Hold it flat on the reader, start again."
                )
            else:
                other = other or tag is not None
                time.sleep(_POLL_INTERVAL_S)

    def transceive(self, apdu: bytes) -> bytes:
        """The response to `apdu`. Raises `CardRemoved` (then `wait_for_card` starts again) or `NoReader`."""
        if self._tag is None:
            raise CardRemoved("There is no card on the reader. Hold it there again.")
        command = bytes(apdu)
        try:
            return bytes(self._tag.transceive(command))
        except _COMMUNICATION_ERRORS as error:
            self._tag = None
            raise CardRemoved(
                f"The card was taken away before it answered. {NOT_KNOWN} Hold it there again, until it is done."
            ) from error
        except _PORT_ERRORS as error:
            self._tag = None
            raise _gone(self._path, error) from error

    def close(self) -> None:
        """Switches the field off and gives the reader back; may be called again."""
        self._tag = None
        try:
            self._frontend.close()
        except (*_PORT_ERRORS, nfc.clf.Error, pn532.Chipset.Error):
            self._frontend.device = None  # cannot be told to sleep any more; the port closes with it

    def __enter__(self) -> "NfcReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sense(self) -> nfc.tag.Tag | None:
        try:
            target = self._frontend.sense(nfc.clf.RemoteTarget("106A"))
            return nfc.tag.activate(self._frontend, target) if target else None
        except _COMMUNICATION_ERRORS:
            return None  # came and went; the next round sees it again
        except _PORT_ERRORS as error:
            raise _gone(self._path, error) from error


def _open(path: str) -> nfc.clf.ContactlessFrontend:
    for attempt in range(1, _OPEN_TRIES + 1):
        try:
            frontend = _open_serial_pn532(path) if path.startswith("/") else nfc.ContactlessFrontend(path)
        except (*_PORT_ERRORS, IndexError, ValueError, pn532.Chipset.Error) as error:
            final = getattr(error, "errno", None) in (errno.EACCES, errno.EBUSY, errno.ENOENT)
            if attempt == _OPEN_TRIES or final:
                raise NoReader(f"No NFC reader at {path}: {_cause(error)}") from error
        else:
            return frontend
    raise AssertionError("unreachable")


def _open_serial_pn532(path: str) -> nfc.clf.ContactlessFrontend:
    """nfcpy's own search takes neither ptys nor names outside /dev/tty*, so its parts are put together here."""
    if not re.fullmatch(r"[\w./-]+", path):  # nfcpy hands the path to a shell (stty)
        raise NoReader(f"{path!r} is not the path of a serial port.")
    line = transport.TTY(path)
    try:
        device = pn532.init(line)
    except BaseException:  # Ctrl-C too
        line.close()
        raise
    device._path = line.port  # pyright: ignore[reportAttributeAccessIssue]  (as nfcpy's own connect does)
    frontend = nfc.ContactlessFrontend()
    frontend.device = device
    return frontend


def _gone(path: str, error: Exception) -> NoReader:
    return NoReader(
        f"The reader at {path} went away while a card was read ({error.args[-1] if error.args else error}). {NOT_KNOWN}"
        " Plug the reader in again and repeat."
    )


def _cause(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EACCES:
        return "no permission. On Linux: sudo usermod -aG dialout,plugdev $USER, then log in again."
    if number == errno.EBUSY:
        return "it is in use. Close the other program; on Linux the kernel's driver: sudo modprobe -r pn533_usb."
    if number == errno.ENOENT:
        return "there is no such port."
    if isinstance(error, ValueError):  # nfcpy looks a UDP port up by name and wants a number back
        return f"nfcpy cannot use this path ({error}); try another UDP port."
    return (
        "nothing there answers like a PN532. Is it plugged in, switched to HSU (both switches off), TX and RX crossed?"
    )
