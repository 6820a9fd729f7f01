"""What the build decides in `start` from the board's description: the device must do the same as if it asked itself."""

import ast
import types
from typing import Any

import pytest

from host_tools.images.boards import PROJECT, board_names, load_board
from host_tools.images.decided import decide

ASKING = """
import board

def run(found):
    if board.CLOCK_HZ:
        found.append(board.CLOCK_HZ)
    if board.LINE["kind"] == "uart":
        found.append(board.LINE["baudrate"])
    elif board.LINE["kind"] != "spi":
        found.append(board.LINE)
    else:
        if found is not None:
            found.append(board.LINE["bus"]["id"])
    for _ in range(2):
        if board.PANEL is not None:
            found.append("panel")
    found.append("digits" if board.has_keypad else part(found))
    if board.has_keypad and found:
        found.append(not board.has_keypad)
    return found

def part(found):
    if not board.PANEL:
        return None
    if board.PANEL["kind"] == found:
        return "never"
    return board.PANEL["kind"]
"""
BOARDS: list[dict[str, Any]] = [
    {"CLOCK_HZ": 0, "LINE": {"kind": "uart", "baudrate": 9600}, "PANEL": None, "has_keypad": False},
    {"CLOCK_HZ": 160, "LINE": {"kind": "i2c", "id": 1}, "PANEL": {"kind": "oled"}, "has_keypad": True},
    {"CLOCK_HZ": None, "LINE": {"kind": "spi", "bus": {"id": 2}}, "PANEL": {"kind": "oled"}, "has_keypad": False},
]


def result(module: ast.Module, constants: dict[str, Any]) -> Any:
    board = types.SimpleNamespace(**constants)
    module.body = [node for node in module.body if not isinstance(node, ast.Import)]
    names: dict[str, Any] = {"board": board}
    exec(compile(ast.unparse(module), "decided", "exec"), names)
    return names["run"]([])


@pytest.mark.parametrize("constants", BOARDS)
def test_a_decided_module_does_what_an_asking_one_does(constants: dict[str, Any]) -> None:
    decided = ast.parse(ASKING)
    decide(decided, constants)
    assert result(decided, constants) == result(ast.parse(ASKING), constants)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("if board.PANEL:\n    use(board.PANEL)", "pass"),
        ("if board.LINE['kind'] == 'uart':\n    use(board.LINE)\nelse:\n    other()", "use(board.LINE)"),
        ("x = board.LINE['baudrate'] if board.CLOCK_HZ is None else 1", "x = 1"),
        ("x = board.LINE['baudrate']", "x = 9600"),
        ("x = board.has_keypad", "x = False"),
        ("x = a.board.has_keypad, board.other", "x = (a.board.has_keypad, board.other)"),
        ("if board.PANEL or x:\n    f()", "if None or x:\n    f()"),
        ("if x == board.CLOCK_HZ:\n    f()", "if x == 0:\n    f()"),
        ("while x:\n    if board.PANEL:\n        f()", "while x:\n    pass"),
        ("def f():\n    if board.PANEL:\n        g()", "def f():\n    pass"),
        (
            "def f():\n    if not board.PANEL:\n        return 1\n    return board.PANEL['kind']",
            "def f():\n    return 1",
        ),
    ],
)
def test_what_hangs_on_the_board_alone_is_decided_and_nothing_else(text: str, left: str) -> None:
    module = ast.parse(text)
    decide(module, BOARDS[0])
    assert ast.unparse(module) == left


@pytest.mark.parametrize("board", board_names())
def test_start_asks_no_question_that_is_answered(board: str) -> None:
    module = ast.parse((PROJECT / "firmware/start.py").read_text(encoding="utf-8"))
    decide(module, load_board(board).constants())
    text = ast.unparse(module)
    asked = {
        node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "board"
    }
    assert asked <= {"LINK", "NFC", "PANEL", "DISPLAY", "KEYPAD", "BUZZER", "JOURNAL"}
    assert "NoDisplay" in text
    assert "SpiLine" not in text
    assert "I2cLine" not in text
    assert ("Panel(" in text) == (load_board(board).panel is not None)
