"""One simulated board: a process of the real MicroPython that runs the compiled firmware, and the chips around it.

Its lines are socket pairs: the link goes through a pty (`link_path`, opened like any serial port), the radio to a
virtual PN532, the panel to a decoder whose screen and keys a person or a test uses. Its flash and settings are files in
`state`.
"""

import os
import signal
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

from host_tools.simulator.bus_wires import line_to
from host_tools.simulator.endpoints import PtyEndpoint, child_uart
from host_tools.simulator.panel import PanelDecoder, encode_keys
from host_tools.simulator.reactor import Device, Reactor
from host_tools.simulator.relay import join
from host_tools.simulator.virtual_pn532 import VirtualPn532

HEAP = "320K"  # what a wallet and a terminal must do with, on 64-bit objects
STOP_TIMEOUT_S = 5.0
SCREEN_TIMEOUT_S = 20.0
_UARTS = ("LINK", "NFC", "PANEL")
# A device that resets itself ends with this code (firmware/ports/unix.py) and starts again, as a chip does.
_RUN = '"$1" -X heapsize="$2" "$3"; while [ $? -eq 75 ]; do "$1" -X heapsize="$2" "$3"; done'


class SimulatorError(Exception):
    """The simulation cannot go on; the message says what to do."""


class Panel(PanelDecoder):
    """The front panel at the device's UART: a decoder whose screens can be waited for, and keys."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._changed = threading.Condition()
        self._output = b""
        self.on_output: Callable[[], None] | None = None
        self.on_baudrate: Callable[[int], None] | None = None

    def receive(self, data: bytes) -> None:
        with self._changed:
            if self.feed(data):
                self._changed.notify_all()

    def take_output(self) -> bytes:
        with self._changed:
            data, self._output = self._output, b""
            return data

    def press(self, keys: str) -> None:
        """Press `keys` one after the other."""
        with self._changed:
            self._output += encode_keys(keys)
        if self.on_output is not None:
            self.on_output()

    def wait_for(self, *words: str, after: int = 0, timeout_s: float = SCREEN_TIMEOUT_S) -> str:
        """Wait until the screen, and one later than screen number `after`, shows one of `words`; returns that word.

        Raises `SimulatorError` with the screen that stands there.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for word in words:
                    if word in self.text and self.screens > after:
                        return word
                if not self._changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    raise SimulatorError(
                        f"{self._name} does not show {' or '.join(words)} within {timeout_s:.0f} s."
                        f" Its screen: {self.text!r}"
                    )


class SimulatedDevice:
    """A board that is switched on by `start` and off by `stop`; its state folder outlives both.

    `nfc_kind` says how it talks to its chip, as in its description.
    """

    def __init__(
        self, name: str, firmware: Path, state: Path, reactor: Reactor, chip: VirtualPn532, nfc_kind: str = "uart"
    ) -> None:
        self.name = name
        self.state = state
        self.panel = Panel(name)
        self.chip = chip
        self._nfc_kind = nfc_kind
        self._nfc = line_to(chip, nfc_kind)
        self._firmware = firmware
        self._reactor = reactor
        self._cable_end, self._device_end = join()
        self._pty = PtyEndpoint()
        self.link_path = self._pty.path
        reactor.attach(self._cable_end, self._pty)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int | None:
        """The operating system's number of the process, None while it is switched off."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Switch it on; returns when its first screen is drawn."""
        self.state.mkdir(parents=True, exist_ok=True)
        screens = self.panel.screens
        uarts: dict[str, tuple[Device, socket.socket]] = {}
        self._nfc = line_to(self.chip, self._nfc_kind)  # nothing is left of what an earlier process was cut off in
        for uart, device in zip(_UARTS, (self._device_end, self._nfc, self.panel), strict=True):
            endpoint, theirs = child_uart()
            self._reactor.attach(device, endpoint)
            uarts[uart] = (device, theirs)
        environment = {
            "MICROPYPATH": str(self._firmware),
            "JIAOZI_STATE": str(self.state),
            **{f"JIAOZI_{uart}": f"fd:{theirs.fileno()}" for uart, (_, theirs) in uarts.items()},
        }
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _RUN, "sh", micropython(), HEAP, str(self._firmware / "main.py")],
                start_new_session=True,
                env=environment,
                pass_fds=[theirs.fileno() for _, theirs in uarts.values()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        finally:
            for _, theirs in uarts.values():
                theirs.close()
        deadline = time.monotonic() + SCREEN_TIMEOUT_S
        while self.panel.screens == screens:
            if not self.is_running or time.monotonic() > deadline:
                raise SimulatorError(f"{self.name} does not start: {self._last_words()}")
            time.sleep(0.005)

    def stop(self) -> str:
        """Cut its power: the process is killed where it stands.

        Returns what it printed, which is nothing unless it failed.
        """
        if self._process is None:
            return ""
        self._kill()
        said = self._last_words()
        self._process = None
        for device in (self._device_end, self._nfc, self.panel):
            self._reactor.detach(device)
        self.chip.power_off()
        return said

    def _kill(self) -> None:
        """Shell and MicroPython alike, where they stand."""
        assert self._process is not None
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _last_words(self) -> str:
        assert self._process is not None
        self._kill()
        try:
            output, _ = self._process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return ""
        return output.decode(errors="replace").strip()[-2000:]


def micropython() -> str:
    """The MicroPython of this environment. Raises `SimulatorError` if it is not installed."""
    path = Path(sysconfig.get_path("scripts")) / "micropython"
    if not os.access(path, os.X_OK):
        raise SimulatorError(f"There is no MicroPython at {path}. Run: make setup")
    return str(path)
