"""The README's picture: one sale on two real screens, from the simulator's own pixels.

`make pictures` runs it; it needs Pillow.

`python -m host_tools.story.pictures <file.png>`
"""

import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from host_tools import carrier
from host_tools.devices.client import DeviceClient
from host_tools.devices.serial_link import SerialLink
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.panel import render_png
from host_tools.simulator.world import World
from host_tools.story.bank import Bank
from host_tools.story.hands import Hands
from host_tools.story.play import CAST, LOADED, TEAR

_SCALE = 3
_MARGIN = 24
_CAPTION_HEIGHT = 34
_PAPER = (250, 250, 248)
_INK = (40, 44, 52)


class _Album:
    """Rows of two screens with a caption each."""

    def __init__(self, left: SimulatedDevice, right: SimulatedDevice) -> None:
        self._devices = (left, right)
        self._rows: list[tuple[str, list[Image.Image]]] = []

    def take(self, caption: str) -> None:
        self._rows.append((caption, [render_png(device.panel.picture, _SCALE) for device in self._devices]))

    def save(self, path: Path) -> None:
        width, height = self._rows[0][1][0].size
        row_height = height + _CAPTION_HEIGHT + _MARGIN
        sheet = Image.new("RGB", (2 * width + 3 * _MARGIN, len(self._rows) * row_height + 2 * _MARGIN), _PAPER)
        draw = ImageDraw.Draw(sheet)
        font = ImageFont.load_default(size=20)
        small = ImageFont.load_default(size=16)
        for column, device in enumerate(self._devices):
            draw.text((_MARGIN + column * (width + _MARGIN), 10), device.name, _INK, small)
        for number, (caption, screens) in enumerate(self._rows):
            top = _MARGIN + 12 + number * row_height
            for column, screen in enumerate(screens):
                sheet.paste(screen, (_MARGIN + column * (width + _MARGIN), top))
            draw.text((_MARGIN, top + height + 6), caption, _INK, font)
        sheet.save(path, optimize=True)


def main(path: Path) -> None:
    """Play a torn and healed sale and draw it."""
    now = int(time.time())
    with tempfile.TemporaryDirectory() as folder, World(Path(folder) / "devices") as world:
        bank = Bank(Path(folder) / "bank", now)
        bank.add_operator(1)
        devices = {}
        for role in (role for role in CAST if role.name in ("Ana", "Tea House")):
            device = devices[role.name] = world.add(role.name, role.board)
            account = bank.ledger.open_account(1, role.name)
            bank.ledger.issue(account, LOADED, now)
            with SerialLink(device.link_path) as link:
                client, signer = DeviceClient(link), bank.operators[1]
                carrier.personalise(client, bank.ledger, signer, 1, role.kind, role.mcc, account, role.name, now)
                if role.name == "Ana":
                    carrier.load(client, bank.ledger, signer, LOADED, now)
        bank.close()
        ana, tea = devices["Ana"], devices["Tea House"]
        hands, album = Hands(world), _Album(ana, tea)
        hands.ask(tea, "1850#")
        album.take("The tea house has typed 18.50.")
        hands.tap(tea, ana, 18_50, cut=TEAR)
        album.take("Ana takes her wallet away in the middle. Both say so.")
        hands.tap(tea, ana, 18_50)
        album.take("She taps again. Paid, once. No network anywhere.")
        album.save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
