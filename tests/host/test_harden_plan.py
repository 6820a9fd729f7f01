"""The plan burnt on virtual eFuses: its end state to the last bit, interruptions anywhere, chips that it refuses."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from host_tools.hardening import efuses, hardening, tools
from host_tools.hardening.checks import check_chip
from host_tools.hardening.efuses import Efuses, Fuse, Fuses
from host_tools.hardening.errors import ChipNotFit, KeyNotFit
from host_tools.hardening.keys import Keys
from host_tools.hardening.plan import Kind, Plan
from host_tools.hardening.steps import make_plan
from tests.host.harden_bench import board_of, made_keys, new_chip

CHIPS = ("esp32", "esp32s3", "esp32c3")
pytestmark = pytest.mark.timeout(300)

# From ESP-IDF, "Security Features Enablement Workflows", written down apart from the plan: every eFuse that hardening
# changes, as (value, readable, writeable). None: the value is this device's own. Fields that share a bit of write
# protection are protected together.
PROTECTED = (0, True, False)
_KEY_BLOCKS = {
    "BLOCK_KEY0": (0, False, False),
    "KEY_PURPOSE_0": (4, True, False),
    "BLOCK_KEY1": (None, True, False),
    "KEY_PURPOSE_1": (9, True, False),
    "SECURE_BOOT_KEY_REVOKE1": (1, True, True),
    "SECURE_BOOT_KEY_REVOKE2": (1, True, True),
    "SPI_BOOT_CRYPT_CNT": (7, True, True),
    "SECURE_BOOT_EN": (1, True, True),
    "ENABLE_SECURITY_DOWNLOAD": (1, True, True),
    "DIS_DIRECT_BOOT": (1, True, True),
    "SOFT_DIS_JTAG": (7, True, True),
    "DIS_PAD_JTAG": (1, True, False),
    "DIS_USB_JTAG": (1, True, False),
    "DIS_DOWNLOAD_ICACHE": (1, True, False),
    "DIS_DOWNLOAD_MANUAL_ENCRYPT": (1, True, False),
    "RD_DIS": (1, True, False),
    "WR_DIS": (1 << 0 | 1 << 2 | 1 << 8 | 1 << 9 | 1 << 23 | 1 << 24, True, True),
    **dict.fromkeys(("DIS_ICACHE", "DIS_FORCE_DOWNLOAD", "DIS_TWAI", "DIS_USB_SERIAL_JTAG"), PROTECTED),
}
CHANGED = {
    "esp32": {
        "BLOCK1": (0, False, False),
        "BLOCK2": (None, True, False),
        "FLASH_CRYPT_CONFIG": (15, True, True),
        "FLASH_CRYPT_CNT": (127, True, True),
        "ABS_DONE_1": (1, True, True),
        "UART_DOWNLOAD_DIS": (1, True, True),
        "JTAG_DISABLE": (1, True, True),
        "DISABLE_DL_ENCRYPT": (1, True, True),
        "DISABLE_DL_DECRYPT": (1, True, True),
        "DISABLE_DL_CACHE": (1, True, True),
        "CONSOLE_DEBUG_DISABLE": (1, True, True),
        "RD_DIS": (1, True, False),
        "WR_DIS": (1 << 0 | 1 << 3 | 1 << 7 | 1 << 8, True, True),
        **dict.fromkeys(("DIS_CACHE", "DISABLE_APP_CPU", "DISABLE_BT", "VOL_LEVEL_HP_INV"), PROTECTED),
        **dict.fromkeys(("MAC", "MAC_CRC"), (None, True, False)),
    },
    "esp32c3": _KEY_BLOCKS,
    "esp32s3": {
        **_KEY_BLOCKS,
        "DIS_DOWNLOAD_DCACHE": (1, True, False),
        **dict.fromkeys(("DIS_DCACHE", "DIS_USB_OTG", "DIS_APP_CPU", "STRAP_JTAG_SEL", "USB_PHY_SEL"), PROTECTED),
    },
}


class Bench(NamedTuple):
    """A chip before and after the whole plan."""

    chip: str
    keys: Keys
    efuses: Efuses
    plan: Plan
    before: Fuses
    after: Fuses


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """One bench for each chip, made when it is first asked for: tests come in any order."""

    @functools.cache
    def made(name: str) -> Bench:
        folder = tmp_path_factory.mktemp(name)
        keys = made_keys(folder / "keys")
        chip = new_chip(name, folder / "efuses.bin")
        plan = make_plan(board_of(name), chip, "virtual", keys.public_key_digest())
        before = chip.read()
        return Bench(name, keys, chip, plan, before, hardening.rehearse(board_of(name), chip, keys))

    return made


@pytest.fixture(params=CHIPS)
def bench(request: pytest.FixtureRequest, benches: Callable[[str], Bench]) -> Bench:
    return benches(request.param)


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return made_keys(tmp_path_factory.mktemp("others"))


def state(fuse: Fuse) -> tuple[int, bool, bool]:
    return fuse.value, fuse.readable, fuse.writeable


def test_every_efuse_ends_as_espressif_asks_and_no_other_changes(bench: Bench) -> None:
    changed = {name: state(fuse) for name, fuse in bench.after.items() if state(fuse) != state(bench.before[name])}
    wanted = CHANGED[bench.chip]
    assert set(changed) == set(wanted)
    for name, (value, *rest) in wanted.items():
        assert changed[name][1:] == tuple(rest), name
        assert value is None or changed[name][0] == value, name


def test_the_digest_is_espsecures(bench: Bench, tmp_path: Path) -> None:
    digest = tmp_path / "digest.bin"
    key = str(bench.keys.signing_key)
    tools.run(("espsecure", "digest-sbv2-public-key", "--keyfile", key, "--output", str(digest)))
    block = "BLOCK2" if bench.chip == "esp32" else "BLOCK_KEY1"
    assert bytes.fromhex(bench.after[block].text) == digest.read_bytes()


def test_the_flash_key_cannot_be_read_afterwards(bench: Bench) -> None:
    block = "BLOCK1" if bench.chip == "esp32" else "BLOCK_KEY0"
    assert set(bench.after[block].text) == {"?", " "}
    key = bench.keys.flash_key.read_bytes()
    memory = Path(bench.efuses.where[-1]).read_bytes()
    assert key not in memory and key[::-1] not in memory


def test_a_repeat_burns_nothing(bench: Bench) -> None:
    memory = Path(bench.efuses.where[-1])
    before = memory.read_bytes()
    bench.keys.note_burning()
    hardening.rehearse(board_of(bench.chip), bench.efuses, bench.keys)
    assert memory.read_bytes() == before


class PowerCut(Exception):
    pass


def test_cut_after_each_step_and_repeated_it_ends_the_same(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run does one burning more than the one before, and power goes."""
    chip = new_chip(bench.chip, tmp_path / "efuses.bin")
    bench.keys.note_burning()
    ran = tools.run
    burnt = 0

    def run_until_cut(command: tuple[str, ...], folder: Path | None = None) -> str:
        nonlocal burnt
        said = ran(command, folder)
        if "--do-not-confirm" in command:
            burnt += 1
            raise PowerCut
        return said

    burnings = len(list(bench.plan.burns()))
    for _ in range(burnings):
        with monkeypatch.context() as patch:
            patch.setattr(tools, "run", run_until_cut)
            with pytest.raises(PowerCut):
                hardening.rehearse(board_of(bench.chip), chip, bench.keys)
    assert burnt == burnings
    assert hardening.rehearse(board_of(bench.chip), chip, bench.keys) == bench.after


def burn(chip: Efuses, folder: Path, *commands: str) -> None:
    for command in commands:
        tools.run(chip.burning(*command.split()), folder)


# What cuts in the middle of espefuse's burnings leave: blocks without protection, half of it, some bits of a number.
HALVES = {
    "esp32": {
        "nothing whole": (
            "burn-key --no-protect-key flash_encryption flash-key.bin",
            "burn-key-digest --no-protect-key ../signing-key.pem",
            "burn-efuse DISABLE_DL_DECRYPT 1 FLASH_CRYPT_CONFIG 5",
            "burn-efuse FLASH_CRYPT_CNT 3",
        ),
        "key only read protected": (
            "burn-key --no-protect-key flash_encryption flash-key.bin",
            "read-protect-efuse BLOCK1",
        ),
    },
    "esp32c3": {
        "nothing whole": (
            "burn-key BLOCK_KEY0 flash-key.bin XTS_AES_128_KEY --no-write-protect --no-read-protect",
            "burn-key-digest BLOCK_KEY1 ../signing-key.pem SECURE_BOOT_DIGEST0 --no-write-protect",
            "burn-efuse DIS_PAD_JTAG 1 SOFT_DIS_JTAG 3",
            "burn-efuse SPI_BOOT_CRYPT_CNT 3",
        ),
        "key only read protected": ("burn-key BLOCK_KEY0 flash-key.bin XTS_AES_128_KEY --no-write-protect",),
    },
}


# The ESP32-S3's eFuses are burnt as those of the ESP32-C3.
@pytest.mark.parametrize(
    ("bench", "case"), [(chip, case) for chip, cases in HALVES.items() for case in cases], indirect=["bench"]
)
def test_cut_inside_a_step_and_repeated_it_ends_the_same(bench: Bench, case: str, tmp_path: Path) -> None:
    chip = new_chip(bench.chip, tmp_path / "efuses.bin")
    bench.keys.note_burning()
    burn(chip, bench.keys.own, *HALVES[bench.chip][case])
    assert hardening.rehearse(board_of(bench.chip), chip, bench.keys) == bench.after


def refused(bench: Bench, fuses: Fuses, keys: Keys, *words: str) -> None:
    with pytest.raises(ChipNotFit) as refusal:
        check_chip(bench.plan, fuses, keys)
    for word in words:
        assert word in str(refusal.value)


def changed(fuses: Fuses, **fields: dict) -> Fuses:
    """`fuses` with some that others have burnt."""
    return {**fuses, **{name: replace(fuses[name], **values) for name, values in fields.items()}}


def test_a_chip_with_somebody_elses_keys_is_refused(bench: Bench, other_keys: Keys) -> None:
    """It is the one that was hardened, before other keys that know nothing of it."""
    refused(bench, bench.after, other_keys, "holds a key that nobody can read", "nothing says that it is yours")
    block = "BLOCK1" if bench.chip == "esp32" else "BLOCK_KEY0"
    all_bits = (1 << 256) - 1  # more than any key burns, whatever its bits are
    readable = changed(bench.after, **{block: {"readable": True, "value": all_bits}})
    refused(bench, readable, other_keys, f"{block} holds another key")
    digest = "BLOCK2" if bench.chip == "esp32" else "BLOCK_KEY1"
    refused(bench, changed(bench.before, **{digest: {"value": all_bits}}), other_keys, digest, "another signing key")


def test_a_key_that_is_not_the_one_that_was_begun_is_refused(bench: Bench, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys", "60:01:94:0a:0b:0c")
    shutil.copytree(bench.keys.folder, keys.folder)
    keys.note_burning()
    keys.flash_key.unlink()
    with pytest.raises(KeyNotFit, match="is gone, and it is the one that was burnt"):
        keys.make_missing()
    keys.flash_key.write_bytes(bytes(32))
    keys.flash_key.chmod(0o600)
    refused(bench, bench.after, keys, "is not the one whose burning was begun")


@pytest.mark.parametrize(
    ("bench", "name", "values", "words"),
    [
        ("esp32", "ABS_DONE_0", {"value": 1}, "ABS_DONE_0 is burnt, which this plan does not do"),
        ("esp32", "CODING_SCHEME", {"value": 1}, "another coding scheme"),
        ("esp32", "BLOCK2", {"readable": False}, "BLOCK2 can no longer be read"),
        ("esp32", "BLOCK1", {"writeable": False}, "BLOCK1 is write protected and empty"),
        ("esp32", "UART_DOWNLOAD_DIS", {"writeable": False}, "UART_DOWNLOAD_DIS is write protected and not burnt"),
        ("esp32", "WAFER_VERSION_MAJOR", {"value": 1}, "it is revision v1.0, and secure boot v2 needs v3.0"),
        ("esp32c3", "WAFER_VERSION_MINOR", {"value": 2}, "it is revision v0.2, and secure boot v2 needs v0.3"),
        ("esp32c3", "SECURE_BOOT_KEY_REVOKE0", {"value": 1}, "SECURE_BOOT_KEY_REVOKE0 is burnt"),
        ("esp32c3", "SECURE_BOOT_AGGRESSIVE_REVOKE", {"value": 1}, "SECURE_BOOT_AGGRESSIVE_REVOKE is burnt"),
        ("esp32c3", "BLOCK_KEY3", {"value": 9}, "BLOCK_KEY3 is burnt"),
        ("esp32c3", "BLOCK_KEY3", {"readable": False}, "BLOCK_KEY3 is burnt"),
        ("esp32c3", "KEY_PURPOSE_0", {"value": 8}, "KEY_PURPOSE_0 holds something else"),
        ("esp32s3", "KEY_PURPOSE_4", {"value": 2}, "KEY_PURPOSE_4 is burnt"),
    ],
    indirect=["bench"],
)
def test_a_chip_that_is_not_as_new_is_refused(
    bench: Bench, name: str, values: dict, words: str, other_keys: Keys
) -> None:
    check_chip(bench.plan, bench.before, other_keys)
    refused(bench, changed(bench.before, **{name: values}), other_keys, words, "Nothing was burnt")


def test_flash_encryption_for_development_is_refused(bench: Bench, other_keys: Keys, tmp_path: Path) -> None:
    """ESP-IDF's way for developers burns a key of the chip's own and one bit of the counter."""
    chip = new_chip(bench.chip, tmp_path / "efuses.bin")
    tmp_path.joinpath("own.bin").write_bytes(bytes(range(32)))
    key = "flash_encryption own.bin" if bench.chip == "esp32" else "BLOCK_KEY0 own.bin XTS_AES_128_KEY"
    burn(chip, tmp_path, f"burn-key {key}")
    with pytest.raises(ChipNotFit, match="holds a key that nobody can read"):
        hardening.rehearse(board_of(bench.chip), chip, other_keys)


def test_the_order_leaves_nothing_missing_when_it_is_asked_for(bench: Bench) -> None:
    """Keys, flash, doors, then the switch; the way back in last."""
    steps = bench.plan.steps
    kinds = [step.kind for step in steps]
    names = [{expected.name for expected in step.expected} for step in steps]
    switch = next(i for i, found in enumerate(names) if found & {"SPI_BOOT_CRYPT_CNT", "FLASH_CRYPT_CNT"})
    flash, start = kinds.index(Kind.FLASH), kinds.index(Kind.START)
    read_protection = next(i for i, found in enumerate(names) if "RD_DIS" in found)
    key = next(i for i, found in enumerate(names) if found & {"BLOCK1", "BLOCK_KEY0"})
    doors = next(i for i, found in enumerate(names) if found & {"JTAG_DISABLE", "DIS_PAD_JTAG"})
    assert key < flash < doors < read_protection < switch < start
    assert names[switch] & {"SECURE_BOOT_EN", "ABS_DONE_1"}  # one burning: no start comes between
    assert [i for i, step in enumerate(steps) if step.last] == [len(steps) - 1] and start == len(steps) - 2


def test_a_copy_of_a_chips_efuses_is_the_same_and_apart(bench: Bench, tmp_path: Path) -> None:
    copy = bench.efuses.copy(tmp_path / "copy.bin")
    assert copy.read() == bench.after
    chip = new_chip(bench.chip, tmp_path / "new.bin")
    before = chip.read()
    tmp_path.joinpath("data.bin").write_bytes(bytes(range(32)))
    block = "BLOCK3" if bench.chip == "esp32" else "BLOCK_USR_DATA"
    burn(chip.copy(tmp_path / "other.bin"), tmp_path, f"burn-block-data {block} data.bin")
    assert chip.read() == before
    assert efuses.mac_of(before) == "60:01:94:0a:0b:0c"
