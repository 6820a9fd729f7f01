"""host_tools.images.boards: the project's boards are sound, and every mistake is named with file and key."""

import ast
from pathlib import Path

import pytest

from host_tools.images.boards import BOARDS, CHIPS, BoardError, board_names, load_board


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


def test_the_four_boards_are_there_and_described():
    assert board_names() == ["esp32-pos", "esp32c3-card", "sim-terminal", "sim-wallet"]
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


@pytest.mark.parametrize("name", ["esp32-pos", "esp32c3-card"])
def test_the_wiring_table_names_the_pins_of_the_description(name: str):
    readme = (BOARDS / name / "README.md").read_text(encoding="utf-8")
    board = load_board(name)
    pins = [board.nfc["tx"], board.nfc["rx"]]
    assert board.display and board.keypad and board.buzzer
    pins += [board.display["i2c"]["sda"], board.display["i2c"]["scl"], board.buzzer["pin"]]
    pins += (
        board.keypad["rows"] + board.keypad["columns"] if board.keypad["kind"] == "matrix" else [board.keypad["pin"]]
    )
    for pin in pins:
        assert f"GPIO{pin} " in readme, f"GPIO{pin} is missing in the wiring table"


def test_capabilities_follow_from_the_parts():
    terminal, card = load_board("esp32-pos").constants(), load_board("esp32c3-card").constants()
    assert (terminal["has_keypad"], terminal["has_button"]) == (True, False)
    assert (card["has_keypad"], card["has_button"]) == (False, True)
    simulated = load_board("sim-wallet").constants()
    assert simulated["LINK"]["env"] == "JIAOZI_LINK"
    assert simulated["JOURNAL"] == {"label": "journal", "size_bytes": 256 * 1024}


def test_no_usable_pin_is_one_that_boot_flash_or_console_need():
    for chip in CHIPS.values():
        assert chip.strapping | chip.flash | chip.console | chip.input_only <= chip.pins


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
        ("esp32-pos", "pin = 23", "pin = true", "buzzer.pin must be int, not True"),
        ("esp32-pos", "pin = 23", "pni = 23", "buzzer.pin is missing"),
        ("esp32-pos", "{ id = 2,", "{ id = 3,", "uarts.nfc.id must be 1 or 2, not 3"),
        ("esp32c3-card", "{ id = 1,", "{ id = 2,", "uarts.nfc.id must be 1, not 2"),
        ("esp32c3-card", "pin = 10", "pin = 9", "GPIO 9 of the ESP32-C3 is read at reset"),
        ("esp32c3-card", "pin = 10", "pin = 20", "GPIO 20 of the ESP32-C3 is the line to the host"),
        ("esp32c3-card", '"rv32imc"', '"xtensawin"', "mpy_architecture must be 'rv32imc', not 'xtensawin'"),
        ("esp32c3-card", "0x3C0000", "0x3C1000", "journal.offset_bytes must be a sector's start inside"),
        ("esp32c3-card", "size_bytes = 0x40000\n", "size_bytes = 262143\n", "journal.size_bytes must be whole sectors"),
        ("sim-wallet", 'app = "wallet"', 'ap = "wallet"', "app is missing"),
        ("sim-wallet", 'app = "wallet"', 'app = "wallet"\nhas_wings = true', "has_wings is not known"),
        ("sim-wallet", '"1.23"', '"1.2.3"', "micropython_minimum must look like 1.23"),
        ("sim-wallet", 'app = "wallet"', 'app = "purse"', "app must be 'wallet' or 'terminal', not 'purse'"),
        ("sim-wallet", "panel = {", "penal = {", "uarts.penal is not known"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(changed_board, name: str, old: str, new: str, message: str):
    with pytest.raises(BoardError) as caught:
        changed_board(name, old, new)
    assert message in str(caught.value)
    assert f"{name}/board.toml: " in str(caught.value)


def test_a_receive_line_may_be_an_input_without_pull_up(changed_board):
    assert changed_board("esp32-pos", "rx = 16", "rx = 35").nfc["rx"] == 35


def test_broken_toml_and_unknown_boards_are_explained(changed_board):
    with pytest.raises(BoardError, match=r"board.toml: .*line"):
        changed_board("sim-wallet", 'app = "wallet"', "app = wallet")
    with pytest.raises(BoardError, match="there is no board 'sim-walet'; there are: esp32-pos,"):
        load_board("sim-walet")
