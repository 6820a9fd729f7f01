"""The virtual chip byte by byte, against esptool's description of the protocol ("Serial Protocol")."""

import hashlib
import random
import struct
import zlib
from pathlib import Path

import pytest

from host_tools.simulator.virtual_esp_chips import CHIPS, mac_crc
from host_tools.simulator.virtual_esp_flash import NorFlash
from host_tools.simulator.virtual_esp_loader import Machine
from host_tools.simulator.virtual_esp_rom import Faults, VirtualEspRom
from host_tools.simulator.virtual_esp_slip import MAXIMUM_FRAME_BYTES, SlipReader, encode

NOISE = random.Random(5).randbytes(9_000)
SYNC = b"\x07\x07\x12\x20" + 32 * b"\x55"
ATTACH = (0x0D, struct.pack("<II", 0, 0))
WHOLE = (0x0B, struct.pack("<6I", 0, 4 << 20, 1 << 16, 4096, 256, 0xFFFF))


@pytest.fixture
def rom(tmp_path: Path) -> VirtualEspRom:
    return VirtualEspRom("esp32", tmp_path / "flash")


def checksum(data: bytes) -> int:
    value = 0xEF
    for byte in data:
        value ^= byte
    return value


def command(code: int, data: bytes = b"", check: int = 0) -> bytes:
    return struct.pack("<BBHI", 0, code, len(data), check) + data


def answers(rom: VirtualEspRom) -> list[bytes]:
    return SlipReader().feed(rom.take_output())


def run(rom: VirtualEspRom, code: int, data: bytes = b"", check: int = 0) -> bytes:
    """The data and status of the one answer."""
    rom.receive(encode(command(code, data, check)))
    (answer,) = answers(rom)
    direction, known, length, _ = struct.unpack_from("<BBHI", answer)
    assert (direction, known, length) == (1, code, len(answer) - 8)
    return answer[8:]


def block(rom: VirtualEspRom, code: int, number: int, data: bytes) -> str:
    return run(rom, code, struct.pack("<4I", len(data), number, 0, 0) + data, checksum(data)).hex()


OK, INVALID, FAILED, CHECKSUM, DEFLATE = "00000000", "01050000", "01060000", "01070000", "010b0000"


def test_sync_is_answered_eight_times(rom: VirtualEspRom):
    rom.receive(bytes.fromhex("c00008240000000000" + SYNC.hex() + "c0"))
    assert rom.take_output().hex() == "c0010804000712205500000000c0" * 8
    rom.receive(encode(command(0x08, SYNC[:-1])))
    assert {answer[8:].hex() for answer in answers(rom)} == {INVALID}


def test_the_word_that_tells_old_chips_apart_and_no_other(rom: VirtualEspRom):
    rom.receive(bytes.fromhex("c0000a04000000000000100040c0"))
    assert rom.take_output().hex() == "c0010a0400831df00000000000c0"
    rom.receive(encode(command(0x0A, struct.pack("<I", 0x3FF00000))))
    assert rom.take_output().hex() == "c0010a04000000000000000000c0"


def test_what_the_rom_does_not_know_is_refused_under_the_last_code(rom: VirtualEspRom):
    run(rom, 0x0A, struct.pack("<I", 0x40001000))
    rom.receive(encode(command(0x14)))
    assert rom.take_output().hex() == "c0010a0400831df00001050000c0" * 8


@pytest.mark.parametrize(("chip", "number"), [("esp32s3", 9), ("esp32c3", 5)])
def test_security_info(tmp_path: Path, chip: str, number: int):
    rom = VirtualEspRom(chip, tmp_path / "flash", is_encrypted=True, has_secure_boot=True)
    assert run(rom, 0x14).hex() == f"0100000001{'00' * 7}{number:02x}000000" + "00000000" + OK


def test_registers_keep_what_the_mask_lets_through(rom: VirtualEspRom):
    run(rom, 0x09, struct.pack("<IIII", 0x3FF42024, 0xFFFFFFFF, 0x0000FF00, 0) * 2)
    rom.receive(encode(command(0x0A, struct.pack("<I", 0x3FF42024))))
    (answer,) = answers(rom)
    assert answer[4:8].hex() == "00ff0000"
    for wrong in (b"", bytes(15)):
        assert run(rom, 0x09, wrong).hex() == INVALID


@pytest.mark.filterwarnings("ignore:'parser.OptionParser' is deprecated")
def test_a_mac_address_has_the_crc_that_espefuse_computes():
    from espefuse.efuse.esp32.fields import EfuseMacField  # which warns

    for chip in CHIPS.values():
        mac = chip.title.encode()[:6].ljust(6)
        assert mac_crc(mac) == EfuseMacField.calc_crc(mac)


def test_nothing_reaches_the_flash_before_attach_and_parameters(rom: VirtualEspRom):
    region = struct.pack("<4I", 0x200000, 4096, 0, 0)
    assert run(rom, 0x13, region).hex() == FAILED
    assert run(rom, *ATTACH).hex() == OK
    assert run(rom, 0x13, region).hex() == FAILED  # the ROM believes in 2 MB
    assert run(rom, *WHOLE).hex() == OK
    assert run(rom, 0x13, region) == hashlib.md5(b"\xff" * 4096).hexdigest().encode() + bytes(4)


@pytest.fixture
def ready(rom: VirtualEspRom) -> VirtualEspRom:
    run(rom, *ATTACH)
    run(rom, *WHOLE)
    return rom


def test_begin_erases_whole_sectors_and_data_follows_in_order(ready: VirtualEspRom):
    ready.flash.program(0, bytes(0x4000))
    assert run(ready, 0x02, struct.pack("<4I", 0x1001, 5, 0x400, 0x1000)).hex() == OK
    assert ready.flash.read(0, 0x4000) == bytes(0x1000) + b"\xff" * 0x2000 + bytes(0x1000)
    assert block(ready, 0x03, 0, b"a" * 0x400) == OK
    assert block(ready, 0x03, 0, b"b" * 0x400) == FAILED
    assert block(ready, 0x03, 2, b"c" * 0x400) == FAILED
    assert run(ready, 0x03, struct.pack("<4I", 2, 1, 0, 0) + b"dd", 0).hex() == CHECKSUM
    assert run(ready, 0x03, struct.pack("<4I", 3, 1, 0, 0) + b"dd", checksum(b"dd")).hex() == INVALID
    assert block(ready, 0x03, 1, b"d" * 0x400) == OK
    assert ready.flash.read(0x1000, 0x802) == b"a" * 0x400 + b"d" * 0x400 + b"\xff\xff"
    assert (ready.flash_packets, ready.data_packets) == (3, 2)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (0x02, struct.pack("<4I", 0x1000, 4, 0x400, 0x100)),  # not at a sector's start
        (0x02, struct.pack("<4I", 0x2000, 8, 0x400, 0x3FF000)),  # beyond the end
        (0x03, struct.pack("<4I", 0, 0, 0, 0)),  # data without begin
        (0x04, struct.pack("<I", 0)),  # end without begin
    ],
)
def test_what_cannot_be_done_changes_nothing(ready: VirtualEspRom, code: int, data: bytes):
    assert run(ready, code, data, 0xEF).hex() == FAILED
    assert ready.flash.changes == []


@pytest.mark.parametrize("code", [0x02, 0x04, 0x05, 0x06, 0x0A, 0x0B, 0x0D, 0x0E, 0x0F, 0x10, 0x12, 0x13])
def test_data_of_another_length_is_invalid(ready: VirtualEspRom, code: int):
    assert run(ready, code, bytes(3)).hex() == INVALID


def test_a_length_that_is_not_so_is_invalid(ready: VirtualEspRom):
    ready.receive(encode(struct.pack("<BBHI", 0, 0x0A, 5, 0) + bytes(4)))
    assert ready.take_output().hex() == "c0010a0400000000000105" + "0000c0"


def test_deflated_data_is_inflated_and_never_goes_beyond_its_end(ready: VirtualEspRom):
    packed = zlib.compress(NOISE + bytes(3000))
    pieces = [packed[at : at + 0x400] for at in range(0, len(packed), 0x400)]
    assert run(ready, 0x10, struct.pack("<4I", 0x3000, len(pieces), 0x400, 0x3000)).hex() == OK
    assert [block(ready, 0x11, number, piece) for number, piece in enumerate(pieces)] == [OK] * len(pieces)
    assert ready.flash.read(0x3000, 12_000) == NOISE + bytes(3000)
    assert run(ready, 0x10, struct.pack("<4I", 0x1000, len(pieces), 0x400, 0x3000)).hex() == OK
    assert DEFLATE in [block(ready, 0x11, number, piece) for number, piece in enumerate(pieces)]
    assert ready.flash.read(0x4000, 7_904) == (NOISE + bytes(3000))[0x1000:]
    assert run(ready, 0x10, struct.pack("<4I", 0x1000, 1, 0x400, 0x3000)).hex() == OK
    assert block(ready, 0x11, 0, b"no zlib") == DEFLATE


def test_reading_answers_64_bytes_whatever_was_asked(ready: VirtualEspRom):
    ready.flash.program(0x2000, NOISE)
    assert run(ready, 0x0E, struct.pack("<II", 0x2001, 5)) == NOISE[1:6] + bytes(59 + 4)
    assert run(ready, 0x0E, struct.pack("<II", 0x2000, 64)) == NOISE[:64] + bytes(4)
    assert run(ready, 0x0E, struct.pack("<II", 0x2000, 65)).hex() == INVALID


def test_the_end_leaves_the_loader(ready: VirtualEspRom):
    run(ready, 0x02, struct.pack("<4I", 0, 0, 0x400, 0))
    assert run(ready, 0x04, struct.pack("<I", 1)).hex() == OK
    ready.receive(encode(command(0x08, SYNC)))
    assert ready.take_output() == b""
    ready.reset()
    ready.receive(encode(command(0x08, SYNC)))
    assert len(answers(ready)) == 8


def test_a_port_that_goes_takes_the_answer_with_it_and_a_torn_block_is_programmed_in_part(tmp_path: Path):
    gone: list[int] = []
    rom = VirtualEspRom("esp32", tmp_path / "flash")
    rom.faults = Faults(end_after=2, torn_bytes=3, on_gone=lambda: gone.append(rom.flash_packets))
    run(rom, *ATTACH)
    run(rom, 0x02, struct.pack("<4I", 0x400, 1, 0x400, 0))
    rom.receive(encode(command(0x03, struct.pack("<4I", 4, 0, 0, 0) + b"torn", checksum(b"torn"))))
    assert (rom.take_output(), gone) == (b"", [2])
    assert rom.flash.read(0, 5) == b"tor\xff\xff"
    rom.receive(encode(command(0x08, SYNC)))
    assert rom.take_output() == b""


# SLIP


@pytest.mark.parametrize(
    ("wire", "packets"),
    [
        ("c001c0", ["01"]),
        ("c001c0c002c0", ["01", "02"]),
        ("c0c0c001c0c0c0", ["01"]),  # empty frames are none
        ("aabbc001c0", ["01"]),  # noise before
        ("c001c0aabbc002c0", ["01", "02"]),  # and between
        ("c0dbdcdbddc0", ["c0db"]),
        ("c001dbdcc0", ["01c0"]),
        ("c001db02c0c003c0", ["03"]),  # no such escape
        ("c001dbc0c003c0", ["03"]),  # an escape of nothing
        ("01c0c002c0", ["02"]),  # a lost begin costs one packet
        ("c001c002c0c003c0", ["01", "03"]),  # and a lost end the next one
    ],
)
def test_frames(wire: str, packets: list[str]):
    assert [packet.hex() for packet in SlipReader().feed(bytes.fromhex(wire))] == packets
    reader = SlipReader()
    assert [packet.hex() for byte in bytes.fromhex(wire) for packet in reader.feed(bytes((byte,)))] == packets


def test_a_frame_without_end_is_given_up():
    reader = SlipReader()
    assert reader.feed(b"\xc0" + bytes(MAXIMUM_FRAME_BYTES + 1)) == []
    assert reader.feed(b"\xc0\xc0\x01\xc0") == [b"\x01"]


def test_whatever_is_in_a_packet_comes_back():
    for packet in (b"\xc0\xdb\xdc\xdd" * 9, bytes(range(256)), b"\xdb", b"\xc0"):
        assert SlipReader().feed(encode(packet)) == [packet]


def test_a_response_or_a_short_packet_is_not_for_the_chip(rom: VirtualEspRom):
    rom.receive(encode(b"\x01\x08\x04\x00\x00\x00\x00\x00") + encode(b"\x00\x08"))
    assert rom.take_output() == b""


# Flash


def test_programming_only_clears_and_erasing_sets_sectors(tmp_path: Path):
    flash = NorFlash(tmp_path / "flash", 0x4000)
    flash.program(0xFFE, b"\x0f\xf0\x3c")
    flash.program(0xFFE, b"\xf0\xff\xff")
    assert flash.read(0xFFE, 3) == b"\x00\xf0\x3c"
    flash.erase(0x1000, 1)
    assert flash.read(0xFFE, 3) == b"\x00\xf0\xff"
    assert flash.changes == [("program", 0xFFE, 3), ("program", 0xFFE, 3), ("erase", 0x1000, 0x1000)]
    flash.close()
    assert NorFlash(tmp_path / "flash", 0x4000).read(0xFFE, 3) == b"\x00\xf0\xff"
    with pytest.raises(ValueError, match="16384"):
        NorFlash(tmp_path / "flash", 0x8000)


def test_beyond_its_end_a_chip_begins_again(tmp_path: Path):
    """What happens on a board whose flash is smaller than somebody believed."""
    flash = NorFlash(tmp_path / "flash", 0x2000)
    flash.program(0x1FFF, b"ab")
    assert flash.read(0, 1) == b"b" and flash.read(0x3FFF, 2) == b"ab"
    flash.erase(0x2000, 0x1000)
    assert flash.read(0x1FFF, 2) == b"a\xff"


def test_the_controller_reads_the_flashs_id(tmp_path: Path):
    machine = Machine(CHIPS["esp32c3"], NorFlash(tmp_path / "flash", 8 << 20), 0, 0)
    spi = machine.chip.spi
    machine.write_register(spi.user2, 7 << 28 | 0x9F, 0xFFFFFFFF)
    machine.write_register(spi.command, 1 << 18, 0xFFFFFFFF)
    assert (machine.registers[spi.word0], machine.registers[spi.command]) == (0x1740EF, 0)
