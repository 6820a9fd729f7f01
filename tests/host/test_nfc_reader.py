"""host_tools.devices.nfc_reader over nfcpy's UDP air, with a small ISO-DEP card at the other end of it."""

import os
import pty
import socket
import threading
from binascii import hexlify, unhexlify

import pytest

from host_tools.devices.errors import CardRemoved, NoCard, NoReader
from host_tools.devices.nfc_reader import NfcReader


class _Card(threading.Thread):
    """Type 4A card (ISO/IEC 14443-3 and -4): anticollision, RATS, I-blocks chained both ways, FSC 256.

    After `leave_after` APDUs it stops answering, as a card does that left the field. `sak` 20 says ISO-DEP.
    """

    def __init__(self, leave_after: int = 1000, sak: str = "20"):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.path = f"udp:127.0.0.1:{self.socket.getsockname()[1]}"
        self.commands: list[bytes] = []
        self.leave_after = leave_after
        self.sak = bytes.fromhex(sak)
        self.command = self.rest = b""

    def run(self) -> None:
        while True:
            try:
                datagram, address = self.socket.recvfrom(1024)
            except OSError:
                return
            kind, _, payload = datagram.partition(b" ")
            if kind != b"106A":
                continue
            answer = self.answer(unhexlify(payload))
            if answer is not None:
                self.socket.sendto(b"106A " + hexlify(answer), address)

    def answer(self, frame: bytes) -> bytes | None:
        if frame == b"\x26":
            return b"\x04\x00"
        if frame == b"\x93\x20":
            return b"\x08\x01\x02\x03\x08"
        if frame[:2] == b"\x93\x70":
            return self.sak
        if frame[:1] == b"\xe0":
            return bytes.fromhex("0578803002")  # FSCI 8, TA1 80, FWI 3: 2.4 ms
        if frame[0] & 0xE2 == 0x02:
            self.command += frame[1:]
            if frame[0] & 0x10:
                return bytes((0xA2 | frame[0] & 1,))
            self.commands.append(self.command)
            if len(self.commands) > self.leave_after:
                return None
            self.rest, self.command = self.command + b"\x90\x00", b""
            return self.block(frame[0] & 1)
        if frame[0] & 0xF6 == 0xA2:
            return self.block(frame[0] & 1)
        return None

    def block(self, number: int) -> bytes:
        part, self.rest = self.rest[:253], self.rest[253:]
        return bytes((0x02 | number | (0x10 if self.rest else 0),)) + part


@pytest.fixture
def card():
    cards = []

    def start(**options) -> _Card:
        cards.append(_Card(**options))
        cards[-1].start()
        return cards[-1]

    yield start
    for started in cards:
        started.socket.close()


def test_apdus_go_through_unchanged_and_chained(card):
    present = card()
    apdus = [b"\x00\xa4\x04\x00", b"\x80\x10\x00\x00\xff" + bytes(range(255)) + b"\x00", b"\x00\xb0\x00\x00\x00"]
    with NfcReader(present.path, card_timeout_s=5) as reader:
        for apdu in apdus:
            assert reader.transceive(apdu) == apdu + b"\x90\x00"
    assert present.commands == apdus


def test_a_card_taken_away_is_told_and_may_come_back(card):
    present = card(leave_after=1)
    with NfcReader(present.path, card_timeout_s=5) as reader:
        reader.transceive(b"\x00\x01\x00\x00")
        with pytest.raises(CardRemoved, match="repeating is safe"):
            reader.transceive(b"\x00\x02\x00\x00")
        with pytest.raises(CardRemoved, match="There is no card"):
            reader.transceive(b"\x00\x03\x00\x00")
        present.leave_after, present.command = 1000, b""
        reader.wait_for_card(5)
        assert reader.transceive(b"\x00\x04\x00\x00") == b"\x00\x04\x00\x00\x90\x00"


def test_no_card_and_a_card_of_another_kind_are_told_apart(card):
    absent = card()
    absent.socket.close()
    with pytest.raises(NoCard, match="No card came"):
        NfcReader(absent.path, card_timeout_s=0.1)
    with pytest.raises(NoCard, match="does not speak ISO-DEP"):
        NfcReader(card(sak="00").path, card_timeout_s=0.1)


def test_missing_and_silent_readers_are_explained():
    with pytest.raises(NoReader, match="no such port"):
        NfcReader("/dev/ttyUSB99")
    with pytest.raises(NoReader, match="not the path of a serial port"):
        NfcReader("/dev/x; touch /tmp/owned")
    with pytest.raises(NoReader):
        NfcReader("tty:USB99")
    master, slave = pty.openpty()
    try:
        with pytest.raises(NoReader, match="nothing there answers like a PN532"):
            NfcReader(os.ttyname(slave))
    finally:
        os.close(master)
        os.close(slave)


def test_a_udp_port_that_nfcpy_cannot_use_is_named():
    """nfcpy turns a port that `/etc/services` names into that name, and then wants a number back."""
    try:
        port = socket.getservbyname("domain", "tcp")
    except OSError:
        pytest.skip("this computer has no /etc/services")
    with pytest.raises(NoReader, match="try another UDP port"):
        NfcReader(f"udp:127.0.0.1:{port}")
