"""The unix port's flash after a cut: what was left in between reads differently every time, in later runs as well."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import micropython
from tests.persistence.test_journal_restarts import CUT_EXIT_CODE

OPENED = """
import json
from ports import unix as port
flash = port.open_flash({"label": "journal", "size_bytes": 36864})
def seen(offset, length, times=40):
    return [flash.read(offset, length).hex() for _ in range(times)]
"""
PROGRAM = OPENED + "flash.program(64, bytes(range(64)))"
ERASE = OPENED + "flash.program(0, bytes(4096))\nflash.erase(0)"
SHAKY = "journal.flash.shaky"


def run(state: Path, script: str, cut: str = "", kind: str = "") -> Any:
    """What the last line says, if there is one; with a cut the process ends there."""
    environment = {"JIAOZI_STATE": str(state), "JIAOZI_FLASH_CUT": cut, "JIAOZI_FLASH_ENCRYPTED": kind}
    with micropython.start(script, environment=environment) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == (CUT_EXIT_CODE if cut else 0), output + errors
    return json.loads(output.splitlines()[-1]) if output else None


def test_the_byte_at_the_border_of_a_program_reads_anyhow(tmp_path: Path) -> None:
    run(tmp_path, PROGRAM, "1:5")
    runs = [run(tmp_path, OPENED + "print(json.dumps(seen(64, 8)))") for _ in range(2)]
    for reads in runs:
        assert {read[:10] for read in reads} == {"0001020304"}  # what was programmed
        assert {read[12:] for read in reads} == {"ffff"}  # what was not reached
        assert len({read[10:12] for read in reads}) > 4
        # A bit that is not to be cleared is 1 whatever happens.
        assert all(int(read[10:12], 16) & 5 == 5 for read in reads)
    assert runs[0] != runs[1]


def test_a_half_erased_sector_reads_anyhow_until_it_is_erased(tmp_path: Path) -> None:
    run(tmp_path, ERASE, "2:1001")
    reads = run(tmp_path, OPENED + "print(json.dumps(seen(0, 4096, 2) + seen(4096, 64, 1)))")
    assert reads[0][:2002] == reads[1][:2002] == "ff" * 1001
    assert sum(one != other for one, other in zip(*(bytes.fromhex(read) for read in reads[:2]), strict=True)) > 2500
    assert reads[2] == "ff" * 64
    assert (tmp_path / SHAKY).exists()
    erased = run(tmp_path, OPENED + "flash.erase(0)\nprint(json.dumps(seen(0, 4096, 2)))")
    assert erased == ["ff" * 4096] * 2
    assert not (tmp_path / SHAKY).exists()


def test_an_even_byte_leaves_the_rest_of_an_erased_sector_as_it_was(tmp_path: Path) -> None:
    run(tmp_path, ERASE, "2:1000")
    reads = run(tmp_path, OPENED + "print(json.dumps(seen(0, 4096, 9)))")
    assert {read[:2000] + read[2002:] for read in reads} == {"ff" * 1000 + "00" * 3095}
    assert len({read[2000:2002] for read in reads}) > 1


@pytest.mark.parametrize("cut", ["1:0", "1:63"])
def test_what_was_begun_is_not_programmed_again_whatever_it_reads_like(tmp_path: Path, cut: str) -> None:
    run(tmp_path, PROGRAM, cut)
    again = OPENED + (
        "from ports.errors import FlashError\n"
        "refused = 0\n"
        "for _ in range(200):\n"
        "    try:\n"
        "        flash.program(64 + 32 * %d, b'\\xff' * 32)\n"
        "    except FlashError:\n"
        "        refused += 1\n"
        "print(json.dumps(refused))"
    ) % (int(cut[2:]) // 32)
    assert run(tmp_path, again) == 200


def test_an_operation_that_power_did_not_reach_leaves_nothing_in_between(tmp_path: Path) -> None:
    run(tmp_path, PROGRAM, "1:64")
    assert not (tmp_path / SHAKY).exists()
    assert run(tmp_path, OPENED + "print(json.dumps(seen(64, 64, 1)))") == [bytes(range(64)).hex()]


def test_an_encrypted_block_whose_program_was_cut_reads_anyhow(tmp_path: Path) -> None:
    run(tmp_path, PROGRAM, "1:20", kind="1")
    reads = run(tmp_path, OPENED + "print(json.dumps(seen(64, 64)))", kind="1")
    assert {read[:32] for read in reads} == {bytes(range(16)).hex()}  # a whole block
    assert len({read[32:64] for read in reads}) > 1
