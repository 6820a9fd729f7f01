"""`ports/esp32.py` on the real MicroPython, with RAM in place of the chip's flash: what it does with files."""

from pathlib import Path

import pytest

from tests import micropython

# The chip's own modules, as far as this file of ours asks them. Everything above them is real, LittleFS too.
CHIP = {
    "machine": """
class UART: pass
class Pin: pass
class I2C: pass

hertz = []

def freq(hz=None):
    if hz is None:
        return hertz[-1]
    hertz.append(hz)

def reset():
    print("reset")
    raise SystemExit
""",
    "esp32": """
class NVS: pass

class Partition:
    TYPE_DATA = 1
    found = {}

    def __init__(self, blocks):
        self.data = bytearray(b"\\xff" * (4096 * blocks))

    @classmethod
    def find(cls, kind, label):
        return [cls.found[label]] if label in cls.found else []

    def readblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        buffer[:] = self.data[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=None):
        if offset is None:
            self.ioctl(6, block)
        at = block * 4096 + (offset or 0)
        self.data[at : at + len(buffer)] = buffer

    def ioctl(self, operation, argument):
        if operation == 4:
            return len(self.data) // 4096
        if operation == 5:
            return 4096
        if operation == 6:
            self.data[argument * 4096 : (argument + 1) * 4096] = b"\\xff" * 4096
        return 0
""",
}
SETUP = """
import os, vfs
from esp32 import Partition
from ports.errors import FlashError

def formatted(blocks):
    partition = Partition(blocks)
    vfs.VfsLfs2.mkfs(partition)
    return partition

from ports import esp32 as port
vfs.mount(formatted(6), "/")
"""


@pytest.fixture
def run(tmp_path: Path):
    for name, source in CHIP.items():
        (tmp_path / f"{name}.py").write_text(source)

    def _run(script: str) -> str:
        return micropython.run(SETUP + script, extra_path=[tmp_path])

    return _run


def test_settings_are_in_a_partition_of_their_own(run) -> None:
    """New code is a new file system at the root: what is worth money is not there."""
    script = """
Partition.found["settings"] = formatted(8)
with open(port.data_path("settings"), "w") as file:
    file.write("money")
print(port.data_path("settings"), os.listdir("/settings"), "settings" in os.listdir("/settings"))
vfs.umount("/settings")
print(open(port.data_path("settings")).read())
"""
    assert run(script) == "/settings/settings ['settings'] True\nmoney\n"


@pytest.mark.parametrize("partition", ["None", "Partition(8)"])
def test_settings_that_cannot_be_read_are_never_made_new(run, partition: str) -> None:
    """Neither when the partition is missing nor when no file system is in it, which might be a damaged one."""
    script = f"""
there = {partition}
if there:
    Partition.found["settings"] = there
    before = bytes(there.data)
try:
    port.data_path("settings")
except FlashError as error:
    print(error)
print(not there or bytes(there.data) == before)
"""
    said = "no readable partition 'settings': flash the board's own image, or service needed"
    assert run(script) == f"{said}\nTrue\n"


def test_closing_the_prompt_changes_what_runs_first_and_is_done_once(run) -> None:
    script = """
with open("/boot.py", "w") as file:
    file.write("open")
port.close_prompt()
print(os.listdir("/"))
closed = open("/boot.py").read()
written = []
open_file = open
port.open = lambda *arguments: written.append(arguments[1:]) or open_file(*arguments)
port.close_prompt()
print(written, open("/boot.py").read() == closed)
"""
    assert run(script) == "['boot.py']\n[()] True\n"


@pytest.mark.parametrize("application", ["print('runs')", "raise MemoryError('its own')", "raise KeyboardInterrupt"])
def test_a_device_whose_prompt_is_closed_starts_again_whatever_happens(run, application: str) -> None:
    """Where boot.py ends MicroPython listens to Ctrl-C again, and shows the prompt after an error: it never ends."""
    script = f"""
with open("/main.py", "w") as file:
    file.write({f"import micropython; print(micropython.heard){chr(10)}{application}"!r})
import sys
sys.path.insert(0, "/")
class MicroPython:
    heard = 3
    def const(self, value):
        return value
    def kbd_intr(self, character):
        self.heard = character
with open("/boot.py", "w") as file:
    file.write("open")
port.close_prompt()
sys.modules["micropython"] = MicroPython()
exec(open("/boot.py").read(), dict())
print("prompt")
"""
    said = "-1\nruns\nreset\n" if "print" in application else "-1\nreset\n"
    assert run(script) == said


def test_key_bytes_are_as_many_as_asked_for_and_never_the_same(run) -> None:
    script = """
first, second = port.key_bytes(32), port.key_bytes(32)
print(len(first), len(port.key_bytes(16)), first != second)
"""
    assert run(script) == "32 16 True\n"


def test_the_clock_is_set_only_where_it_is_another(run) -> None:
    """Setting it is more than a number: MicroPython configures power management and waits for the chip to follow."""
    script = """
import machine
machine.hertz.append(160_000_000)
port.set_clock(160_000_000)
port.set_clock(240_000_000)
port.set_clock(240_000_000)
print(machine.hertz)
"""
    assert run(script) == "[160000000, 240000000]\n"
