"""Draws a board's wiring: the board in the middle, its parts left and right, every signal one straight level wire.

So no two signals can cross. The supply goes round the outside on two rails per side; where one of its wires must cross
another it jumps over it in an arc, and a dot says that wires are joined.
"""

from host_tools.images.boards import Board
from host_tools.images.chips import CHIPS, MEGABYTE
from host_tools.images.svg import PALE, PAPER, Drawing
from host_tools.images.wiring import COLOURS, GROUND, SUPPLY, SUPPLY_COLOURS, Part, Wire, parts

_WIDTH = 1120
_MIDDLE = _WIDTH // 2
_MARGIN = 40
# Of the left half; the right one is its mirror image.
_RAIL_X = {SUPPLY: 40, GROUND: 70}
_PART_X, _PART_WIDTH = 110, 230
_BOARD_X = 450
_PIN_X = {SUPPLY: _MIDDLE, GROUND: _MIDDLE - 70}  # at the board's lower edge
# Downwards
_TOP = 132  # of board and parts
_HEAD = 60  # of a part, before its first pin
_ROW = 30
_FOOT = 8
_GAP = 26  # between parts
_BOARD_FOOT = 50  # behind the last part
_BUS_Y = {GROUND: 30, SUPPLY: 60}  # below the board
_KEY = 22  # of a keypad

_RED, _BLACK = SUPPLY_COLOURS["red"], SUPPLY_COLOURS["black"]
_PART_FACE, _BOARD_FACE = "#eef2f6", "#dfece3"


def draw(board: Board) -> str:
    """The diagram of `board`, as SVG; it has parts."""
    return _Diagram(board).svg()


class _Side:
    """One column of parts."""

    def __init__(self, is_left: bool) -> None:
        self.is_left = is_left
        self.parts: list[tuple[int, Part]] = []  # with the height of their tops
        self.bottom = _TOP

    def add(self, part: Part) -> None:
        self.parts.append((self.bottom, part))
        self.bottom += _part_height(part) + _GAP

    def x(self, left_x: int) -> int:
        """Of what is at `left_x` in the left half."""
        return left_x if self.is_left else _WIDTH - left_x

    def inwards(self, distance: int) -> int:
        """What to add to go so far towards the board."""
        return distance if self.is_left else -distance

    def anchor(self, at_outer_edge: bool) -> str:
        """Of words inside a part that begin at one of its edges."""
        return "start" if at_outer_edge == self.is_left else "end"

    def highest(self, board_pin: str) -> int | None:
        """Where the rail of SUPPLY or GROUND begins; None if nothing hangs on it."""
        heights = (
            _row_y(top, row)
            for top, part in self.parts
            for row, wire in enumerate(part.power)
            if wire.board_pin == board_pin
        )
        return min(heights, default=None)


def _part_height(part: Part) -> int:
    return _HEAD + _ROW * max(len(part.signals), len(part.power)) + _FOOT


def _row_y(top: int, row: int) -> int:
    return top + _HEAD + _ROW * row + _ROW // 2


class _Diagram:
    def __init__(self, board: Board) -> None:
        self._board = board
        self._drawing = Drawing()
        self._sides = (_Side(True), _Side(False))
        for part in parts(board):
            min(self._sides, key=lambda side: side.bottom).add(part)
        self._bottom = max(side.bottom for side in self._sides) - _GAP + _BOARD_FOOT
        self._seen: set[str] = set()  # pins of the board that have a wire

    def svg(self) -> str:
        self._heading()
        self._board_itself()
        for side in self._sides:
            for board_pin in (GROUND, SUPPLY):
                self._rail(side, board_pin)
            for top, part in side.parts:
                self._part(side, top, part)
        height = self._bottom + _BUS_Y[SUPPLY]
        if self._board.power == "battery":
            height = self._battery(height + 50)
        return self._drawing.svg(f"Wiring of {self._board.name}", _WIDTH, height + _MARGIN)

    def _heading(self) -> None:
        drawing = self._drawing
        drawing.bold(_MARGIN, 46, f"Wiring of {self._board.name}", 24)
        drawing.text(_MARGIN, 72, "Red and black are the supply: a dot joins wires, an arc jumps over one.", 14, PALE)
        is_battery = self._board.power == "battery"
        host = "USB: to the computer, with the switch off" if is_battery else "USB: to the computer, and the supply"
        drawing.box(_MIDDLE - 20, _TOP - 22, 40, 30, PALE, 4)
        drawing.text(_MIDDLE, _TOP - 30, host, 14, PALE, "middle")

    def _board_itself(self) -> None:
        board, drawing = self._board, self._drawing
        assert board.flash_size_bytes
        drawing.box(_BOARD_X, _TOP, 2 * (_MIDDLE - _BOARD_X), self._bottom - _TOP, _BOARD_FACE, 10)
        drawing.bold(_MIDDLE, _TOP + 30, board.dev_board or "", 16, "middle")
        flash = f"{CHIPS[board.chip].title}, {board.flash_size_bytes // MEGABYTE} MB flash"
        drawing.text(_MIDDLE, _TOP + 50, flash, 13, PALE, "middle")

    def _rail(self, side: _Side, board_pin: str) -> None:
        """From the highest part that hangs on it down, along below the board, and up to the board."""
        top = side.highest(board_pin)
        if top is None:
            return
        rail_x, pin_x, bus_y = _RAIL_X[board_pin], _PIN_X[board_pin], self._bottom + _BUS_Y[board_pin]
        path = [(rail_x, top), (rail_x, bus_y), (pin_x, bus_y)]
        is_new = side.x(pin_x) != pin_x or board_pin not in self._seen  # both sides' supply go to one pin
        if is_new:
            path.append((pin_x, self._bottom))
        self._drawing.wire([(side.x(x), y) for x, y in path], _BLACK if board_pin == GROUND else _RED)
        if is_new:
            self._drawing.pin(side.x(pin_x), self._bottom)
            self._drawing.bold(side.x(pin_x), self._bottom - 14, board_pin, 14, "middle")
        else:
            self._drawing.dot(side.x(pin_x), bus_y, _RED)
        self._seen.add(board_pin)

    def _part(self, side: _Side, top: int, part: Part) -> None:
        outer, inner = side.x(_PART_X), side.x(_PART_X + _PART_WIDTH)
        self._drawing.box(min(outer, inner), top, _PART_WIDTH, _part_height(part), _PART_FACE, 8)
        self._drawing.bold((outer + inner) // 2, top + 26, part.title, 16, "middle")
        self._drawing.text((outer + inner) // 2, top + 46, part.note, 13, PALE, "middle")
        for row, wire in enumerate(part.power):
            self._power_wire(side, _row_y(top, row), wire)
        for row, wire in enumerate(part.signals):
            self._signal_wire(side, _row_y(top, row), wire)
        if part.keys:
            self._keys(side, top, part)

    def _signal_wire(self, side: _Side, y: int, wire: Wire) -> None:
        drawing = self._drawing
        at_part, at_board = side.x(_PART_X + _PART_WIDTH), side.x(_BOARD_X)
        drawing.wire([(at_part, y), (at_board, y)], COLOURS[wire.colour])
        drawing.pin(at_part, y)
        drawing.pin(at_board, y)
        drawing.text((at_part + at_board) // 2, y - 6, wire.colour, 12, PALE, "middle")
        drawing.text(at_part - side.inwards(12), y + 5, wire.part_pin, 14, anchor=side.anchor(at_outer_edge=False))
        anchor = side.anchor(at_outer_edge=True)
        drawing.bold(at_board + side.inwards(12), y + 5, wire.board_pin, 14, anchor)
        if wire.board_pin in self._seen:
            drawing.text(at_board + side.inwards(76), y + 5, "too", 12, PALE, anchor)
        self._seen.add(wire.board_pin)

    def _power_wire(self, side: _Side, y: int, wire: Wire) -> None:
        drawing, colour = self._drawing, SUPPLY_COLOURS[wire.colour]
        outer, rail = side.x(_PART_X), side.x(_RAIL_X[wire.board_pin])
        ground_top = side.highest(GROUND)
        if wire.board_pin == SUPPLY and ground_top is not None and ground_top < y:
            drawing.jump((outer, y), (side.x(_RAIL_X[GROUND]), y), (rail, y), colour)
        else:
            drawing.wire([(outer, y), (rail, y)], colour)
        drawing.pin(outer, y)
        if y != side.highest(wire.board_pin):
            drawing.dot(rail, y, colour)
        drawing.text(outer + side.inwards(12), y + 5, wire.part_pin, 14, anchor=side.anchor(at_outer_edge=True))

    def _keys(self, side: _Side, top: int, part: Part) -> None:
        """The keypad's face, on the half of the part that has no pins."""
        size = _KEY * len(part.keys)
        left = side.x(_PART_X + 14) - (0 if side.is_left else size)
        upper = top + _HEAD + (_ROW * len(part.signals) - size) // 2
        for row, keys in enumerate(part.keys):
            for column, key in enumerate(keys):
                x, y = left + _KEY * column, upper + _KEY * row
                self._drawing.box(x, y, _KEY - 3, _KEY - 3, PAPER, 3)
                self._drawing.text(x + (_KEY - 3) // 2, y + 14, key, 12, anchor="middle")

    def _battery(self, top: int) -> int:
        """Cell, charger, regulator and switch, joined to the rails below the board. Returns the lower end.

        Ground is the upper wire, so that it can go up to its rail without crossing the plus.
        """
        drawing = self._drawing
        minus_y, plus_y = _row_y(top, 0), _row_y(top, 1)
        height = _HEAD + 2 * _ROW + _FOOT
        boxes = (
            (70, 130, "LiPo cell", "3.7 V", (), ("-", "+")),
            (260, 140, "Charger", "with protection", ("B-", "B+"), ("OUT-", "OUT+")),
            (470, 150, "Buck-boost", "to 3.3 V", ("GND", "VIN"), (None, "VOUT")),
            (690, 120, "Switch", "off or on", (None, "1"), (None, "2")),
        )
        for (x, width, *_), (next_x, *_) in zip(boxes[:2], boxes[1:3], strict=True):
            drawing.wire([(x + width, minus_y), (next_x, minus_y)], _BLACK)
        for (x, width, *_), (next_x, *_) in zip(boxes[:3], boxes[1:], strict=True):
            drawing.wire([(x + width, plus_y), (next_x, plus_y)], _RED)
        ground_x = (400 + 470) // 2
        ground_y, supply_y = self._bottom + _BUS_Y[GROUND], self._bottom + _BUS_Y[SUPPLY]
        drawing.jump((ground_x, minus_y), (ground_x, supply_y), (ground_x, ground_y), _BLACK)
        drawing.dot(ground_x, minus_y, _BLACK)
        drawing.dot(ground_x, ground_y, _BLACK)
        supply_x = 860
        drawing.wire([(810, plus_y), (supply_x, plus_y), (supply_x, supply_y)], _RED)
        if self._sides[1].highest(SUPPLY) is None:
            drawing.wire([(supply_x, supply_y), (_MIDDLE, supply_y)], _RED)
            drawing.dot(_MIDDLE, supply_y, _RED)
        else:
            drawing.dot(supply_x, supply_y, _RED)
        for x, width, title, note, left_pins, right_pins in boxes:
            drawing.box(x, top, width, height, _PART_FACE, 8)
            drawing.bold(x + width // 2, top + 26, title, 16, "middle")
            drawing.text(x + width // 2, top + 46, note, 13, PALE, "middle")
            for names, pin_x, shift, anchor in ((left_pins, x, 12, "start"), (right_pins, x + width, -12, "end")):
                for name, y in zip(names, (minus_y, plus_y), strict=False):
                    if name:
                        drawing.pin(pin_x, y)
                        drawing.text(pin_x + shift, y + 5, name, 14, anchor=anchor)
        drawing.box(310, top + height - 8, 40, 26, PALE, 4)
        drawing.text(330, top + height + 36, "USB: charging", 14, PALE, "middle")
        return top + height + 36
