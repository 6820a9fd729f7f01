"""`jiaozi device personalise` and `lock` at a cable that is pulled out half way: at every frame, each time repeated."""

import json
import os
import pty
import select
import threading
import tty
from pathlib import Path

import pytest

from host_tools.cli.exits import Exit
from host_tools.simulator.device import SimulatedDevice
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD
from protocol.framing import FrameDecoder
from tests.host.command import failed, in_json, jiaozi
from tests.host.town import Town

_MOST_FRAMES = 40  # more than any command here sends; one that never gets through fails the test
_LOOK_AROUND_S = 0.1


class Cable(threading.Thread):
    """A port that leads to a device until the host has sent `frames` frames. Then it is gone: before the device hears
    the last one, or when its answer is there and the host has not got it.
    """

    def __init__(self, device: SimulatedDevice, frames: int, heard: bool) -> None:
        super().__init__(daemon=True)
        self._host, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._device = os.open(device.link_path, os.O_RDWR | os.O_NOCTTY)
        self._frames = frames
        self._heard = heard
        self._decoders = {self._host: FrameDecoder(), self._device: FrameDecoder()}
        self._commands: list[tuple[int, bytes]] = []
        self._answers: list[tuple[int, bytes]] = []
        self._is_done = False
        self.was_cut = False

    def run(self) -> None:
        while not (self._is_done or self.was_cut):
            self.was_cut = self._carry()
        for end in (self._host, self._slave, self._device):
            os.close(end)

    def put_away(self) -> None:
        self._is_done = True
        self.join()

    def _carry(self) -> bool:
        """What is there, from either end to the other. Whether it was cut instead."""
        ready, _, _ = select.select([self._host, self._device], [], [], _LOOK_AROUND_S)
        for end, other, frames, is_cut_here in (
            (self._device, self._host, self._answers, self._heard),
            (self._host, self._device, self._commands, not self._heard),
        ):
            if end in ready:
                data = os.read(end, 4096)
                frames.extend(self._decoders[end].feed(data))
                if is_cut_here and len(frames) >= self._frames:
                    return True
                os.write(other, data)
        return False


def _until_it_gets_through(device: SimulatedDevice, heard: bool, *command: object) -> tuple[dict, int]:
    """Run the command again and again, each time pulling the cable out one frame later. Returns what it told at last,
    and how often it was cut.
    """
    for frames in range(1, _MOST_FRAMES):
        cable = Cable(device, frames, heard)
        cable.start()
        result = jiaozi(*command, "--port", cable.path, "--json")
        if result.code == Exit.OK:
            cable.put_away()
            assert not cable.was_cut
            return json.loads(result.out), frames - 1
        cable.join()
        failed(result._replace(out=""), Exit.LINK_GONE, "went away", "repeating is safe", "Plug it in again and repeat")
        assert json.loads(result.out)["error"]["exit"] == Exit.LINK_GONE
    pytest.fail("it never got through")


@pytest.mark.parametrize("heard", [False, True])
def test_a_device_that_is_pulled_out_while_it_is_set_up_is_set_up_by_repeating(town: Town, tmp_path: Path, heard: bool):
    home = town.copy_of_home(tmp_path)
    name = f"Heard {heard}"
    device = town.world.add(name, WALLET_BOARD)
    command = ("device", "personalise", "--account", "Ana", "--kind", "wallet-3", "--name", name, "--operator", 1)
    facts, cuts = _until_it_gets_through(device, heard, *command, "--home", home)
    assert cuts > 5
    said = in_json("device", "info", "--port", device.link_path, "--home", home)
    assert (said["device"], said["balance"], said["certificate_issue"]) == (facts["device"], 0, 1)
    rows = [row for row in in_json("report", "--home", home)["devices"] if row["name"] == name]
    assert [row["id"] for row in rows] == [said["device"]]
    assert in_json("sync", "--operator", 1, "--port", device.link_path, "--home", home)["certified"]


@pytest.mark.parametrize("heard", [False, True])
def test_a_device_that_is_pulled_out_while_it_is_locked_works_and_is_locked_by_repeating(
    town: Town, tmp_path: Path, heard: bool
):
    home = ("--home", town.copy_of_home(tmp_path))
    name = f"Locked {heard}"
    device = town.world.add(name, TERMINAL_BOARD)
    what = ("--account", "Tea House", "--kind", "terminal", "--mcc", 5814, "--name", name, "--operator", 1)
    in_json("device", "personalise", *what, "--port", device.link_path, *home)
    _, cuts = _until_it_gets_through(device, heard, "device", "lock", name, *home)
    assert cuts > 2
    assert in_json("device", "info", "--port", device.link_path, *home)["prompt_closed"]
    assert in_json("sync", "--operator", 1, "--port", device.link_path, *home)["certified"]
