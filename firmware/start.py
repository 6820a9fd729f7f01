"""Builds the device that `board.py` describes and runs its application. Nothing else looks at the whole board."""

import gc
import sys

from micropython import const

import board
from apps.app import App
from apps.device import Device
from apps.roles import ROLES
from drivers.errors import ChipError
from drivers.nfc import NfcPort
from ui.screen import Screen
from ui.screens import Screens

_COLLECT_BYTES = const(32_768)
_RESET_DELAY_MS = const(1_000)  # time to read the reason; and what fails at every start must not wear anything out


def run() -> None:
    """Run until the power goes (on a chip) or the host's link closes (a process).

    Whatever nobody foresaw starts the device again: memory may differ from the journal, and what is on the screen from
    both. It never goes on, and never stops at a prompt.
    """
    port = getattr(__import__("ports." + board.PORT), board.PORT)
    try:
        _run(port)
    except Exception as error:  # noqa: BLE001
        sys.print_exception(error)
        port.sleep_ms(_RESET_DELAY_MS)
        port.reset()


def _run(port) -> None:
    if board.CLOCK_HZ:
        port.set_clock(board.CLOCK_HZ)
    title, hint, modes = ROLES[board.APP]
    link = port.open_uart(board.LINK, board.LINK["baudrate"])
    if board.NFC["kind"] == "uart":
        nfc = port.open_uart(board.NFC, board.NFC["baudrate"])
    elif board.NFC["kind"] == "i2c":
        from drivers.pn532_i2c import I2cLine

        nfc = I2cLine(port.i2c(board.NFC), port)
    else:
        from drivers.pn532_spi import SpiLine

        name = board.PORT + "_spi"
        nfc = SpiLine(getattr(__import__("ports." + name), name).open_spi, board.NFC, port)
    uarts = [link, nfc]
    panel = None
    if board.PANEL:
        from drivers.panel import Panel

        uart = port.open_uart(board.PANEL, board.PANEL["baudrate"])
        panel = Panel(uart)
        uarts += [uart]
    # A character that is taken out of a text has its place in a table for good, which doubles when it is full: it grows
    # now, while memory is in one piece, and not in a tap.
    for code in range(0x20, 0x7F):
        chr(code)
    # What lives long would come to lie between what does not, until no large piece is left: collect early.
    gc.threshold(_COLLECT_BYTES)
    screen = Screen(_display(panel, port))
    keypad = _keypad(panel, port)
    buzzer = _buzzer(panel, port)
    # After everything that may come loose: each opening of the journal takes some of it.
    device = Device(port, board.JOURNAL)
    pad = None
    if board.has_keypad:
        from apps.pin import PinPad

        pad = PinPad(device, screen)
    App(
        device,
        NfcPort(nfc, port),
        link,
        keypad,
        Screens(screen, device, title),
        buzzer,
        uarts,
        modes if board.has_keypad else [],
        hint if board.has_keypad else "",
        pad,
    ).run()


def _display(panel, port):
    if not board.DISPLAY:
        return NoDisplay()
    if board.DISPLAY["kind"] == "panel":
        return panel
    from drivers.ssd1306 import Ssd1306

    try:
        return Ssd1306(port.i2c(board.DISPLAY["i2c"]), board.DISPLAY["address"])
    except (ChipError, OSError):  # it still beeps, syncs and redeems; a screen that comes loose later ends here too
        return NoDisplay()


def _keypad(panel, port):
    if not board.KEYPAD:
        return None
    if board.KEYPAD["kind"] == "panel":
        return panel
    from drivers.keypad import open_keypad

    return open_keypad(board.KEYPAD, port)


def _buzzer(panel, port):
    if not board.BUZZER:
        return None
    if board.BUZZER["kind"] == "panel":
        return panel
    from drivers.buzzer import Buzzer

    return Buzzer(port.output_pin(board.BUZZER["pin"]))


class NoDisplay:
    """A board without a screen: what would be shown is dropped."""

    def flush(self, buffer: bytearray, text: str) -> None:
        pass
