"""The prompt of `jiaozi sim run`: press keys, tap, look, pull the plug.

One line each, from a person or a script on standard input.
"""

import cmd
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.panel import Panel as Box
from rich.text import Text

from host_tools.simulator.device import SimulatedDevice, SimulatorError
from host_tools.simulator.panel import render_braille
from host_tools.simulator.world import World

_SETTLE_S = 0.4  # no new screen for so long: the device has said what it has to say
_PATIENCE_S = 10.0
_PIXELS_FIT = 72


class Bench(cmd.Cmd):
    """Commands on the devices of one world."""

    intro = "Type help for what can be done, quit to switch everything off."
    prompt = "sim> "

    def __init__(self, world: World, console: Console) -> None:
        super().__init__(stdin=sys.stdin)
        self._world = world
        self._console = console
        self.use_rawinput = sys.stdin.isatty()
        if not self.use_rawinput:
            self.prompt = ""

    def do_list(self, _: str) -> None:
        """list: the devices, whether they are on, and the serial port of each."""
        for device in self._world.devices.values():
            state = "on" if device.is_running else "off"
            self._console.print(
                f"{device.name:12} {state:4} jiaozi device info --port {device.link_path}", highlight=False
            )

    def do_press(self, line: str) -> None:
        """press NAME KEYS: press keys on a panel, e.g. press tea 1850# (# OK, * back, A to D as the screen says)."""
        words = line.split()
        if len(words) != 2:
            self._complain("press takes a device and keys, e.g. press tea 1850#")
            return
        device = self._device(words[0])
        if device is not None:
            self._watch([device], lambda: device.panel.press(words[1]))

    def do_tap(self, line: str) -> None:
        """tap NAME NAME: hold two devices together until lift."""
        devices = [self._device(name) for name in line.split()]
        if len(devices) != 2 or devices[0] is devices[1]:
            self._complain("tap takes two different devices, e.g. tap ana tea")
            return
        one, other = devices
        if one is not None and other is not None:
            self._watch([one, other], lambda: self._world.bring_together(one, other))

    def do_lift(self, _: str) -> None:
        """lift: take the devices apart."""
        self._world.separate()

    def do_cut(self, line: str) -> None:
        """cut FRAME BYTE: in the next tap the card leaves after that byte of that frame (0 is the first, the RATS)."""
        words = line.split()
        if len(words) != 2 or not all(word.isdigit() for word in words):
            self._complain("cut takes a frame and a byte, e.g. cut 5 90")
            return
        self._world.air.cut(int(words[0]), int(words[1]))

    def do_look(self, line: str) -> None:
        """look [NAME]: show a device's screen, or all screens."""
        devices = [self._device(line)] if line else list(self._world.devices.values())
        for device in devices:
            if device is not None:
                self._show(device)

    def do_power(self, line: str) -> None:
        """power NAME on|off: switch a device on, or pull its plug where it stands."""
        words = line.split()
        if len(words) != 2 or words[1] not in ("on", "off"):
            self._complain("power takes a device and on or off, e.g. power ana off")
            return
        device = self._device(words[0])
        if device is None:
            return
        if words[1] == "off":
            device.stop()
        elif not device.is_running:
            device.start()
            self._show(device)

    def do_help(self, arg: str) -> None:
        """help: this list."""
        for name in ("list", "press", "tap", "lift", "look", "cut", "power", "help", "quit"):
            usage, _, what = (getattr(self, f"do_{name}").__doc__ or "").partition(": ")
            self._console.print(f"{usage:20} {what}", highlight=False, markup=False)

    def do_quit(self, _: str) -> bool:
        """quit: switch everything off."""
        return True

    def do_EOF(self, _: str) -> bool:  # noqa: N802  (cmd's name for the end of input)
        """The end of input is quit."""
        return True

    def emptyline(self) -> bool:
        """Nothing typed, nothing done."""
        return False

    def default(self, line: str) -> None:
        self._complain(f"{line.split()[0]} is no command; help lists them")

    def onecmd(self, line: str) -> bool:
        try:
            return bool(super().onecmd(line))
        except (SimulatorError, ValueError) as error:
            self._complain(str(error))
            return False

    def _device(self, name: str) -> SimulatedDevice | None:
        for device in self._world.devices.values():
            if device.name.lower() == name.lower():
                return device
        self._complain(f"there is no device {name}; list shows them")
        return None

    def _watch(self, devices: list[SimulatedDevice], act: Callable[[], None]) -> None:
        """Do something, wait until the screens have settled, and show those that changed."""
        off = [device.name for device in devices if not device.is_running]
        if off:
            self._complain(f"{off[0]} is off; power {off[0]} on switches it on")
            return
        before = {device.name: device.panel.screens for device in devices}
        act()
        last = {**before}
        deadline = time.monotonic() + _PATIENCE_S
        quiet_since = time.monotonic()
        while time.monotonic() < min(deadline, quiet_since + _SETTLE_S):
            time.sleep(0.02)
            now = {device.name: device.panel.screens for device in devices}
            if now != last:
                last, quiet_since = now, time.monotonic()
        for device in devices:
            if device.panel.screens != before[device.name]:
                self._show(device)

    def _show(self, device: SimulatedDevice) -> None:
        if self._console.width >= _PIXELS_FIT and self._console.is_terminal:
            self._console.print(Box(Text(render_braille(device.panel.picture)), title=device.name, expand=False))
        else:
            self._console.print(Box(Text(device.panel.text), title=device.name, expand=False, width=22))

    def _complain(self, text: str) -> None:
        self._console.print(text, style="yellow", highlight=False)
