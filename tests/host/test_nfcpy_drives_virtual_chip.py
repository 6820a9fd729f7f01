"""nfcpy's own PN532 driver, unchanged, over a pty: as reader of a card of ours, and as a card that our driver reads.

An implementation that others wrote and use on real chips is the judge of the virtual one, and of our ISO-DEP.
"""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nfc
import nfc.clf
import nfc.tag
import pytest
from nfc.clf import pn532, transport

from host_tools.simulator.air import Air
from host_tools.simulator.endpoints import PtyEndpoint, child_uart
from host_tools.simulator.reactor import Reactor
from host_tools.simulator.virtual_pn532 import VirtualPn532
from tests import micropython

# A Type 4 tag with an NDEF text record, as far as a reader asks it; everything else is echoed.
_CARD = """
import json
from ports import unix
from drivers.nfc import NfcPort
uart = unix.open_uart({"env": "JIAOZI_NFC"}, 115200)
nfc = NfcPort(uart, unix)
files = {
    "e103": bytes.fromhex("000f20003b00340406e104003200ff"),
    "e104": bytes.fromhex("000ad1010654026e6c6a7a21"),
}
selected = b""
commands = 0
def process(apdu):
    global selected, commands
    commands += 1
    if apdu[:4] == b"\\x00\\xa4\\x04\\x00":
        return b"\\x90\\x00" if apdu[5:12] == bytes.fromhex("d2760000850101") else b"\\x6a\\x82"
    if apdu[:4] == b"\\x00\\xa4\\x00\\x0c":
        selected = files[apdu[5:7].hex()]
        return b"\\x90\\x00"
    if apdu[:2] == b"\\x00\\xb0":
        return selected[apdu[3] : apdu[3] + apdu[4]] + b"\\x90\\x00"
    return apdu[:256] + b"\\x90\\x00"
nfc.start_listening()
while not nfc.poll():
    unix.wait([uart], 1000)
print(json.dumps({"deselected": nfc.serve(process, lambda: None), "commands": commands}))
"""

_READER = """
import json
from ports import unix
from drivers.nfc import NfcPort
uart = unix.open_uart({"env": "JIAOZI_NFC"}, 115200)
nfc = NfcPort(uart, unix)
nfc.start_polling()
while not nfc.find_card(1000):
    pass
answers = []
for command in ("00a4040007d276000085010100", "00b000000f", "80ca000000"):
    nfc.send(bytes.fromhex(command))
    answers.append(nfc.receive().hex())
nfc.release()
print(json.dumps(answers))
"""


@contextmanager
def device(reactor: Reactor, chip: VirtualPn532, script: str) -> Iterator[subprocess.Popen[str]]:
    ours, theirs = child_uart()
    reactor.attach(chip, ours)
    with theirs:
        environment = {"JIAOZI_NFC": f"fd:{theirs.fileno()}"}
        process = micropython.start(script, environment=environment, pass_fds=[theirs.fileno()])
    with process:
        try:
            yield process
        finally:
            process.kill()


def result(process: subprocess.Popen[str]) -> object:
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, output + errors
    return json.loads(output.splitlines()[-1])


@contextmanager
def frontend(pty: PtyEndpoint) -> Iterator[Any]:
    """nfcpy on a chip; opened by hand because its path syntax knows no ptys."""
    tty = transport.TTY(pty.path)
    driver: Any = pn532.init(tty)
    driver._path = tty.port
    clf = nfc.clf.ContactlessFrontend()
    clf.device = driver
    try:
        yield clf
    finally:
        clf.close()


class Table:
    """Two chips that touch, one for nfcpy, one for a device of ours."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.air = Air()
        self.nfcpys, self.ours = VirtualPn532(self.air, "nfcpy"), VirtualPn532(self.air, "ours")
        self.pty = PtyEndpoint()
        reactor.attach(self.nfcpys, self.pty)
        self.air.bring_together(self.nfcpys, self.ours)


@pytest.fixture
def table() -> Iterator[Table]:
    with Reactor() as reactor:
        yield Table(reactor)


def test_nfcpy_finds_the_chip_and_raises_its_rate(table: Table) -> None:
    with frontend(table.pty) as clf:
        assert clf.device is not None
        assert clf.device.chipset_name == "PN532v1.6"
        assert table.nfcpys.baudrate == 921600
        assert clf.sense(*(nfc.clf.RemoteTarget(kind) for kind in ("106A", "106B", "212F"))) is None
    assert table.nfcpys.baudrate == 115200  # nfcpy sets it back, and the chip to sleep


def test_nfcpy_wakes_the_chip_that_it_put_to_sleep(table: Table) -> None:
    for _ in range(2):
        with frontend(table.pty) as clf:
            assert clf.device is not None


def test_nfcpy_reads_a_card_of_ours(table: Table) -> None:
    with device(table.reactor, table.ours, _CARD) as card, frontend(table.pty) as clf:
        target = None
        while target is None:
            target = clf.sense(nfc.clf.RemoteTarget("106A"), iterations=50, interval=0.02)
        assert target.sens_res == b"\x04\x00"
        assert target.sel_res == b"\x20"
        assert target.sdd_res[:1] == b"\x08"
        assert len(target.sdd_res) == 4
        tag: Any = nfc.tag.activate(clf, target)
        assert tag is not None
        assert tag.type == "Type4Tag"
        assert tag.ndef is not None
        assert [record.text for record in tag.ndef.records] == ["jz!"]
        # Longest command and longest answer, chained both ways
        assert tag.send_apdu(0x80, 0xCA, 0, 0, bytes(range(255)), 256) == (
            bytes((0x80, 0xCA, 0, 0, 255)) + bytes(range(251))
        )
        with pytest.raises(nfc.tag.TagCommandError):
            tag.send_apdu(0, 0xA4, 4, 0, b"unknown")
        clf.device.mute()  # field off
        assert result(card) == {"deselected": False, "commands": 9}


def test_we_read_a_card_made_by_nfcpy(table: Table) -> None:
    received: list[bytes] = []
    with frontend(table.pty) as clf:
        listening: Any = nfc.clf.LocalTarget("106A")
        listening.sens_res, listening.sdd_res = bytearray.fromhex("0400"), bytearray.fromhex("08123456")
        listening.sel_res = bytearray.fromhex("20")

        def serve() -> None:
            target = clf.listen(listening, timeout=10)
            assert target is not None
            block = target.tt4_cmd
            while block is not None and block[0] & 0xF7 != 0xC2:
                received.append(bytes(block[1:]))
                block = clf.exchange(block[:1] + block[1:6] + b"\x90\x00", timeout=5)
            try:
                clf.exchange(block, timeout=5)  # S(DESELECT); then the field goes
            except nfc.clf.CommunicationError:
                pass

        served = threading.Thread(target=serve)
        served.start()
        with device(table.reactor, table.ours, _READER) as reader:
            answers = result(reader)
        served.join(timeout=10)
        assert not served.is_alive()
    assert received == [bytes.fromhex(c) for c in ("00a4040007d276000085010100", "00b000000f", "80ca000000")]
    assert answers == ["00a40400079000", "00b000000f9000", "80ca0000009000"]
    frames = table.air.last_tap.frames
    assert frames[1].data.hex() == "0578807002"  # nfcpy's own ATS
    assert [frame.data.hex() for frame in frames[-2:]] == ["c2", "c2"]
