"""host_tools.images.boards: the project's boards are sound, and every mistake is named with file and key."""

import ast
import re
from pathlib import Path

import pytest
from esptool.targets import CHIP_DEFS

from host_tools.images.boards import BOARDS, PROJECT, BoardError, board_names, load_board
from host_tools.images.chips import CHIPS

ON_CHIPS = [name for name in board_names() if load_board(name).partitions]


@pytest.fixture
def changed_board(tmp_path: Path):
    """Writes a copy of a real board with one text replaced, and loads it."""

    def load(name: str, old: str, new: str):
        text = (BOARDS / name / "board.toml").read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} does not name one place of {name}"
        (tmp_path / name).mkdir()
        (tmp_path / name / "board.toml").write_text(text.replace(old, new), encoding="utf-8")
        return load_board(name, tmp_path)

    return load


def test_the_five_boards_are_there_and_described():
    assert board_names() == ["esp32-pos", "esp32c3-card", "esp32s3-pos", "sim-terminal", "sim-wallet"]
    assert ON_CHIPS == ["esp32-pos", "esp32c3-card", "esp32s3-pos"]
    for name in board_names():
        assert len((BOARDS / name / "README.md").read_text(encoding="utf-8")) > 500


@pytest.mark.parametrize("name", board_names())
def test_board_py_holds_exactly_the_names_that_the_stub_promises(name: str):
    stub = ast.parse((BOARDS / "board.pyi").read_text(encoding="utf-8"))
    promised = [
        node.target.id for node in stub.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    values: dict = {}
    exec(load_board(name).source(), values)
    assert [key for key in values if not key.startswith("__")] == promised


def test_capabilities_follow_from_the_parts():
    terminal, card = load_board("esp32-pos").constants(), load_board("esp32c3-card").constants()
    assert (terminal["has_keypad"], terminal["has_button"]) == (True, False)
    assert (card["has_keypad"], card["has_button"]) == (False, True)
    assert terminal["NFC"] == {"kind": "uart", "id": 2, "tx": 17, "rx": 16, "baudrate": 115200}
    simulated = load_board("sim-wallet").constants()
    assert simulated["LINK"] == {"env": "JIAOZI_LINK", "baudrate": 115200}
    assert simulated["NFC"] == {"kind": "uart", "env": "JIAOZI_NFC", "baudrate": 115200}
    assert simulated["JOURNAL"] == {"label": "journal", "size_bytes": 256 * 1024}


def test_no_usable_pin_is_one_that_boot_flash_or_console_need():
    for chip in CHIPS.values():
        assert chip.strapping | chip.flash | chip.console | chip.input_only <= chip.pins


def test_chips_are_called_and_started_as_espressifs_tools_do():
    on_chips = {chip.esptool_name: chip for chip in CHIPS.values() if chip.esptool_name}
    assert {load_board(name).chip for name in ON_CHIPS} == set(on_chips)
    for name, chip in on_chips.items():
        known = CHIP_DEFS[name]
        assert chip.title == known.CHIP_NAME
        assert chip.bootloader_offset_bytes == known.BOOTLOADER_FLASH_OFFSET
        assert chip.image_chip_id == known.IMAGE_CHIP_ID
        assert {f"{size >> 20}MB" for size in chip.flash_sizes} <= set(known.FLASH_SIZES)


@pytest.mark.parametrize("name", ON_CHIPS)
def test_a_page_tells_how_many_payments_the_journal_takes(name: str):
    """As docs/storage.md does, whose numbers are counted."""
    board = load_board(name)
    size = board.partition("journal").size_bytes // 1024
    row = re.search(rf"^\| {board.app} \| {size} KB \| ([\d,]+) \|", (PROJECT / "docs/storage.md").read_text(), re.M)
    assert row, f"docs/storage.md has no journal of {size} KB"
    assert f"{row[1]} payments" in (BOARDS / name / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    if name == "esp32s3-pos":
        assert int(row[1].replace(",", "")) >= 2400


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("esp32-pos", "sda = 21", "sda = 24", "display.i2c.sda the ESP32 has no GPIO 24"),
        ("esp32-pos", "sda = 21", "sda = 12", "display.i2c.sda GPIO 12 of the ESP32 is read at reset"),
        ("esp32-pos", "sda = 21", "sda = 8", "display.i2c.sda GPIO 8 of the ESP32 is wired to its flash"),
        ("esp32-pos", "sda = 21", "sda = 22", "display.i2c.scl GPIO 22 is already display.i2c.sda"),
        (
            "esp32-pos",
            "25, 33, 32, 4]",
            "34, 33, 32, 4]",
            "keypad.columns GPIO 34 of the ESP32 is an input without pull-up",
        ),
        ("esp32-pos", "25, 33, 32, 4]", "25, 33, 32]", "keypad.columns needs four pins"),
        ("esp32-pos", "25, 33, 32, 4]", "true, 33, 32, 4]", "keypad.columns the ESP32 has no GPIO True"),
        ("esp32-pos", "pin = 23", "pin = true", "buzzer.pin must be int, not True"),
        ("esp32-pos", "pin = 23", "pni = 23", "buzzer.pin is missing"),
        ("esp32-pos", "{ id = 2,", "{ id = 3,", "uarts.nfc.id must be 1 or 2, not 3"),
        (
            "esp32-pos",
            "link = { console = true,",
            "link = { id = 2, tx = 18, rx = 19,",
            "uarts.nfc.id UART 2 is already uarts.link",
        ),
        (
            "esp32-pos",
            "nfc = { id = 2, tx = 17, rx = 16,",
            "nfc = { console = true,",
            "uarts.nfc.id is missing",
        ),
        ("esp32-pos", '"ESP32-DevKitC"', '"' + 21 * "x" + '"', "dev_board must be 1 to 20 plain characters"),
        ("esp32-pos", 'power = "usb"', 'power = "mains"', "power must be 'usb' or 'battery', not 'mains'"),
        ("esp32-pos", '"ESP32_GENERIC"', '"../x"', "micropython_image must be the beginning of an official image's"),
        ("esp32c3-card", "{ id = 1,", "{ id = 2,", "uarts.nfc.id must be 1, not 2"),
        ("esp32c3-card", "pin = 10", "pin = 9", "GPIO 9 of the ESP32-C3 is read at reset"),
        ("esp32c3-card", "pin = 10", "pin = 20", "GPIO 20 of the ESP32-C3 is the line to the host"),
        ("esp32c3-card", '"rv32imc"', '"xtensawin"', "mpy_architecture must be 'rv32imc', not 'xtensawin'"),
        ("esp32s3-pos", "pin = 10", "pin = 22", "buzzer.pin the ESP32-S3 has no GPIO 22"),
        ("esp32s3-pos", "pin = 10", "pin = 25", "buzzer.pin the ESP32-S3 has no GPIO 25"),
        ("esp32s3-pos", "pin = 10", "pin = 49", "buzzer.pin the ESP32-S3 has no GPIO 49"),
        ("esp32s3-pos", "pin = 10", "pin = 26", "GPIO 26 of the ESP32-S3 is wired to its flash"),
        ("esp32s3-pos", "pin = 10", "pin = 37", "GPIO 37 of the ESP32-S3 is wired to its flash"),
        ("esp32s3-pos", "pin = 10", "pin = 3", "GPIO 3 of the ESP32-S3 is read at reset"),
        ("esp32s3-pos", "pin = 10", "pin = 45", "GPIO 45 of the ESP32-S3 is read at reset"),
        ("esp32s3-pos", "pin = 10", "pin = 20", "GPIO 20 of the ESP32-S3 is the line to the host"),
        ("esp32s3-pos", "pin = 10", "pin = 43", "GPIO 43 of the ESP32-S3 is the line to the host"),
        ("sim-wallet", 'app = "wallet"', 'ap = "wallet"', "app is missing"),
        ("sim-wallet", 'app = "wallet"', 'app = "wallet"\nhas_wings = true', "has_wings is not known"),
        ("sim-wallet", '"1.23"', '"1.2.3"', "micropython_minimum must look like 1.23"),
        ("sim-wallet", 'app = "wallet"', 'app = "purse"', "app must be 'wallet' or 'terminal', not 'purse'"),
        ("sim-wallet", "panel = {", "penal = {", "uarts.penal is not known"),
        ("sim-wallet", "size_bytes = 262144", "size_bytes = 262143", "journal.size_bytes must be whole sectors"),
        ("sim-wallet", "size_bytes = 262144", "size_bytes = 2097152", "journal.size_bytes must be whole sectors"),
        ("sim-wallet", "[journal]", "[partitions]\n[journal]", "partitions is not known"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(changed_board, name: str, old: str, new: str, message: str):
    with pytest.raises(BoardError) as caught:
        changed_board(name, old, new)
    assert message in str(caught.value)
    assert f"{name}/board.toml: " in str(caught.value)


def test_a_receive_line_may_be_an_input_without_pull_up(changed_board):
    assert changed_board("esp32-pos", "rx = 16", "rx = 35").nfc["rx"] == 35


@pytest.mark.parametrize("pin", [1, 2, 21, 38, 42, 47, 48])
def test_the_other_pins_of_an_s3_are_free(changed_board, pin: int):
    assert changed_board("esp32s3-pos", "pin = 10", f"pin = {pin}").buzzer == {"kind": "pin", "pin": pin}


def test_broken_toml_and_unknown_boards_are_explained(changed_board):
    with pytest.raises(BoardError, match=r"board.toml: .*line"):
        changed_board("sim-wallet", 'app = "wallet"', "app = wallet")
    with pytest.raises(BoardError, match="there is no board 'sim-walet'; there are: esp32-pos,"):
        load_board("sim-walet")


@pytest.mark.parametrize("name", ["My-pos", "my_pos", "my pos", "-pos", "my--pos", "pos-", "1pos", "p" * 33])
def test_a_folder_that_is_no_name_for_a_board_is_refused(tmp_path: Path, name: str):
    (tmp_path / name).mkdir()
    (tmp_path / name / "board.toml").write_bytes((BOARDS / "sim-wallet/board.toml").read_bytes())
    with pytest.raises(BoardError, match="a board's folder has a name of a-z, 0-9 and single hyphens"):
        load_board(name, tmp_path)
