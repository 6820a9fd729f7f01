"""The wiring of boards: what is generated from a description says all of it, and is what is checked in."""

import os
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from host_tools.images.board_page import generated, outdated, rewrite
from host_tools.images.boards import BOARDS, PROJECT, Board, BoardError, board_names, load_board
from host_tools.images.wiring import COLOURS, GROUND, SUPPLY, parts
from host_tools.images.wiring_diagram import draw
from tests.host.test_boards_nfc import I2C, SHARED_I2C, SPI, board_with

ON_CHIPS = [name for name in board_names() if load_board(name).partitions]
_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(params=[*ON_CHIPS, "SPI", "I2C", "shared I2C", "I2C on battery"])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Board:
    """Every board, and others that can be described."""
    nfc = {"SPI": SPI, "I2C": I2C, "shared I2C": SHARED_I2C, "I2C on battery": I2C}.get(request.param)
    if nfc is None:
        return load_board(request.param)
    board = board_with(nfc, tmp_path)
    if "battery" in request.param:
        path = tmp_path / "example/board.toml"
        path.write_text(path.read_text(encoding="utf-8").replace('power = "usb"', 'power = "battery"'), "utf-8")
        board = load_board("example", tmp_path)
    return board


def described_pins(board: Board) -> list[int]:
    """All pins of a description, found without knowing its parts."""
    found: list[int] = []

    def walk(value: object, key: str = "") -> None:
        if isinstance(value, dict):
            for inner, one in value.items():
                walk(one, inner)
        elif isinstance(value, list):
            found.extend(value)
        elif key in ("tx", "rx", "sda", "scl", "sck", "mosi", "miso", "cs", "pin"):
            assert isinstance(value, int)
            found.append(value)

    for part in (board.link, board.nfc, board.display, board.keypad, board.buzzer):
        walk(part)
    return found


def test_every_pin_of_the_description_has_one_wire(board: Board):
    wires = [wire for part in parts(board) for wire in part.signals]
    assert sorted(wire.board_pin for wire in wires) == sorted(f"GPIO{pin}" for pin in described_pins(board))
    for part in parts(board):
        assert len({wire.colour for wire in part.signals}) == len(part.signals)
        assert {wire.board_pin: wire.colour for wire in part.power}.items() <= {(SUPPLY, "red"), (GROUND, "black")}


def test_lines_are_crossed_and_buses_are_not():
    """What the board sends on goes to where the part receives."""
    wires = {
        (part.title, wire.part_pin): wire.board_pin for part in parts(load_board("esp32-pos")) for wire in part.signals
    }
    assert wires["PN532 NFC module", "RXD / SCL"] == "GPIO17"  # UART 2's tx
    assert wires["PN532 NFC module", "TXD / SDA"] == "GPIO16"
    assert wires["OLED 128x64, SSD1306", "SDA"] == "GPIO21"
    assert wires["Keypad 4x4", "R1: 123A"] == "GPIO13"
    assert wires["Keypad 4x4", "C4: ABCD"] == "GPIO4"


@pytest.mark.parametrize("name", ON_CHIPS)
def test_what_is_checked_in_follows_from_the_description(name: str):
    assert outdated(load_board(name), BOARDS) == [], f"draw it again: jiaozi board wiring {name}"


def test_a_process_has_nothing_to_wire():
    board = load_board("sim-wallet")
    assert (parts(board), generated(board, BOARDS)) == ([], {})


def test_the_same_description_gives_the_same_bytes_in_any_process():
    script = "from host_tools.images.wiring_diagram import *; from host_tools.images.boards import *;"
    script += "import sys; sys.stdout.write(draw(load_board('esp32c3-card')))"
    for seed in ("0", "4711"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(PROJECT)}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
        assert done.stdout == (BOARDS / "esp32c3-card/wiring.svg").read_bytes()


# What a person can read


class Picture:
    """Boxes, words and wires of an SVG, as rectangles and straight pieces. Arcs are where a wire jumps."""

    def __init__(self, svg: str) -> None:
        root = ElementTree.fromstring(svg)
        self.width, self.height = int(root.attrib["width"]), int(root.attrib["height"])
        self.paper, *self.boxes = [self._box(rect) for rect in root.iter(_SVG + "rect")]
        self.paper_colour = next(root.iter(_SVG + "rect")).attrib["fill"]
        self.words = [(text.text or "", self._frame(text)) for text in root.iter(_SVG + "text")]
        self.texts = [words for words, _ in self.words]
        self.wires = [self._pieces(path.attrib["d"], path.attrib["stroke"]) for path in root.iter(_SVG + "path")]

    @staticmethod
    def _box(rect: ElementTree.Element) -> tuple[int, int, int, int]:
        x, y = int(rect.get("x", 0)), int(rect.get("y", 0))
        return x, y, x + int(rect.attrib["width"]), y + int(rect.attrib["height"])

    @staticmethod
    def _frame(text: ElementTree.Element) -> tuple[float, float, float, float]:
        """About where the words are; fonts differ, and this is one of the wide ones."""
        size, x, y = (int(text.attrib[key]) for key in ("font-size", "x", "y"))
        width = len(text.text or "") * size * (0.66 if "font-weight" in text.attrib else 0.58)
        left = x - {"start": 0, "middle": width / 2, "end": width}[text.attrib["text-anchor"]]
        return left, y - 0.75 * size, left + width, y + 0.1 * size

    @staticmethod
    def _pieces(path: str, colour: str) -> list[tuple[int, int, int, int, str]]:
        """Straight pieces of a path; what an arc spans is left out."""
        steps = re.findall(r"([MLA])([\d ]+)", path)
        points = [(command, *map(int, numbers.split()[-2:])) for command, numbers in steps]
        assert "".join(command + numbers for command, numbers in steps) == path
        return [
            (x1, y1, x2, y2, colour)
            for (_, x1, y1), (kind, x2, y2) in zip(points, points[1:], strict=False)
            if kind == "L"
        ]


def overlap(one, other) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_it_is_on_white_paper_with_margins(board: Board):
    picture = Picture(draw(board))
    assert picture.paper == (0, 0, picture.width, picture.height)
    assert picture.paper_colour == "#ffffff"
    for left, top, right, bottom in (*picture.boxes, *(frame for _, frame in picture.words)):
        assert 20 <= left < right <= picture.width - 20 and 20 <= top < bottom <= picture.height - 20


def test_words_do_not_run_into_each_other(board: Board):
    for (one, frame), (other, other_frame) in combinations(Picture(draw(board)).words, 2):
        assert not overlap(frame, other_frame), f"{one!r} and {other!r}"


def test_words_are_inside_a_part_or_outside(board: Board):
    picture = Picture(draw(board))
    for words, frame in picture.words:
        for box in picture.boxes:
            inside = box[0] <= frame[0] and frame[2] <= box[2] and box[1] <= frame[1] and frame[3] <= box[3]
            around = frame[0] <= box[0] and box[2] <= frame[2] and frame[1] <= box[1] and box[3] <= frame[3]
            assert inside or around or not overlap(frame, box), f"{words!r} crosses an edge"


def test_wires_keep_off_parts_and_words(board: Board):
    picture = Picture(draw(board))
    for x1, y1, x2, y2, _ in (piece for wire in picture.wires for piece in wire):
        assert x1 == x2 or y1 == y2, "wires are level or upright"
        line = (min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2) + 1, max(y1, y2) + 1)
        for box in picture.boxes:
            assert not overlap(line, (box[0] + 2, box[1] + 2, box[2] - 2, box[3] - 2))
        for words, frame in picture.words:
            assert not overlap(line, frame), f"a wire runs through {words!r}"


def test_wires_cross_only_in_a_jump(board: Board):
    """Two that are not joined never share a point, and joined ones have one colour."""
    wires = Picture(draw(board)).wires
    crossings = 0
    for one, other in combinations(wires, 2):
        for a in one:
            for b in other:
                touch = overlap((*sorted_corners(a),), (*sorted_corners(b),))
                assert not touch or a[4] == b[4]
                crossings += touch
    assert crossings, "the supply's wires are joined somewhere"


def sorted_corners(piece: tuple[int, int, int, int, str]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2, _ = piece
    return min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2) + 1, max(y1, y2) + 1


def test_every_wire_is_named_at_both_ends(board: Board):
    texts = Picture(draw(board)).texts
    for part in parts(board):
        assert part.title in texts and part.note in texts
        for wire in part.signals:
            assert wire.part_pin in texts and wire.board_pin in texts and wire.colour in texts
            assert wire.colour in COLOURS
    assert GROUND in texts and SUPPLY in texts and board.dev_board in texts
    assert ("LiPo cell" in texts) == (board.power == "battery")


# The page


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with esp32c3-card in it, to be changed."""
    shutil.copytree(BOARDS / "esp32c3-card", tmp_path / "esp32c3-card")
    return tmp_path


def _change(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / "esp32c3-card" / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_changed_pin_makes_diagram_and_page_old_until_they_are_written_again(copy: Path):
    _change(copy, "board.toml", "pin = 10", "pin = 1")
    _change(copy, "README.md", "## Power", "Mine alone.\n\n## Power")
    board, home = load_board("esp32c3-card", copy), copy / "esp32c3-card"
    assert outdated(board, copy) == [home / "wiring.svg", home / "README.md"]
    assert rewrite(board, copy) == [home / "wiring.svg", home / "README.md"]
    assert "GPIO1<" in (home / "wiring.svg").read_text() and "GPIO10<" not in (home / "wiring.svg").read_text()
    page = (home / "README.md").read_text(encoding="utf-8")
    assert "| Active buzzer | + | GPIO1 | violet |" in page and "Mine alone." in page
    assert (outdated(board, copy), rewrite(board, copy)) == ([], [])
    assert sorted(path.name for path in home.iterdir()) == ["README.md", "board.toml", "wiring.svg"]


def test_a_changed_partition_makes_the_page_old(copy: Path):
    _change(
        copy,
        "board.toml",
        "offset_bytes = 0x3C0000, size_bytes = 0x40000",
        "offset_bytes = 0x3C0000, size_bytes = 0x3F000",
    )
    board = load_board("esp32c3-card", copy)
    assert outdated(board, copy) == [copy / "esp32c3-card/README.md"]
    rewrite(board, copy)
    assert "| `journal` | 0x3c0000 | 252 KB | the money |" in (copy / "esp32c3-card/README.md").read_text("utf-8")


def test_a_missing_diagram_is_drawn(copy: Path):
    (copy / "esp32c3-card/wiring.svg").unlink()
    board = load_board("esp32c3-card", copy)
    assert rewrite(board, copy) == [copy / "esp32c3-card/wiring.svg"]
    assert (copy / "esp32c3-card/wiring.svg").read_bytes() == (BOARDS / "esp32c3-card/wiring.svg").read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<!-- end of wiring -->\n", ""),
        ("<!-- wiring: from board.toml, by jiaozi board wiring -->\n", "<!-- wiring -->\n"),
        ("<!-- end of flash -->\n", "<!-- end of flash -->\n<!-- end of flash -->\n"),
        ("<!-- end of wiring -->", "<!-- flash: from board.toml, by jiaozi board wiring -->"),
    ],
)
def test_a_page_without_its_marks_is_left_alone(copy: Path, old: str, new: str):
    _change(copy, "README.md", old, new)
    _change(copy, "board.toml", "pin = 10", "pin = 1")
    board, home = load_board("esp32c3-card", copy), copy / "esp32c3-card"
    before = {path: path.read_bytes() for path in home.iterdir()}
    with pytest.raises(BoardError, match=r"README.md: must have the lines .* once each"):
        rewrite(board, copy)
    assert {path: path.read_bytes() for path in home.iterdir()} == before
