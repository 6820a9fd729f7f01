"""Builds the device that `board.py` describes and runs its application. Nothing else looks at the whole board."""

import board
from apps.app import App
from apps.device import Device
from drivers.nfc import NfcPort
from ui.screen import Screen


def run() -> None:
    """Start and run until the power goes (on a chip) or the host's link closes (a process)."""
    port = getattr(__import__("ports." + board.PORT), board.PORT)
    role = getattr(__import__("apps." + board.APP), board.APP)
    link = port.open_uart(board.LINK, board.LINK["baudrate"])
    nfc = port.open_uart(board.NFC, board.NFC["baudrate"])
    uarts = [link, nfc]
    panel = None
    if board.PANEL:
        from drivers.panel import Panel

        uart = port.open_uart(board.PANEL, board.PANEL["baudrate"])
        panel = Panel(uart)
        uarts.append(uart)
    device = Device(port, board.JOURNAL)
    App(
        device,
        NfcPort(nfc, port),
        link,
        _keypad(panel, port),
        Screen(_display(panel, port)),
        _buzzer(panel, port),
        uarts,
        role.TITLE,
        role.MODES if board.has_keypad else [],
        role.HINT if board.has_keypad else "",
    ).run()


def _display(panel, port):
    if board.DISPLAY is None:
        return NoDisplay()
    if board.DISPLAY["kind"] == "panel":
        return panel
    from drivers.ssd1306 import Ssd1306

    return Ssd1306(port.i2c(board.DISPLAY["i2c"]), board.DISPLAY["address"])


def _keypad(panel, port):
    if board.KEYPAD is None:
        return None
    if board.KEYPAD["kind"] == "panel":
        return panel
    from drivers.keypad import open_keypad

    return open_keypad(board.KEYPAD, port)


def _buzzer(panel, port):
    if board.BUZZER is None:
        return None
    if board.BUZZER["kind"] == "panel":
        return panel
    from drivers.buzzer import Buzzer

    return Buzzer(port.output_pin(board.BUZZER["pin"]))


class NoDisplay:
    """A board without a screen: what would be shown is dropped."""

    def flush(self, buffer: bytearray, text: str) -> None:
        pass
