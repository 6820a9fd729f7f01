"""What is wired to what on a board: its parts, their pins, the colour of each wire. All from the board's description.

The diagram (`wiring_diagram`) and the tables of the board's page (`board_page`) are made of this, so neither can drift.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle

from host_tools.images.boards import Board

SUPPLY, GROUND = "3V3", "GND"

# The colours that jumper wires are sold in, dark enough for white paper. Red and black are the supply's.
COLOURS = {
    "brown": "#7b4a21",
    "orange": "#d9620a",
    "yellow": "#b38600",
    "green": "#1e8a3c",
    "blue": "#1f5fbf",
    "violet": "#7a3db8",
    "grey": "#6f7780",
    "pink": "#d13b8a",
}
SUPPLY_COLOURS = {"red": "#c81e1e", "black": "#1a1a1a"}

# How a usual PN532 module is told its line, and where the line comes out, by key of the description. UART and I2C share
# two pins (PN532/C1 Product Data Sheet, "Pinning": HSU_TX is SDA, HSU_RX is SCL); some modules print only the latter.
_NFC = {
    "uart": ("UART (HSU): switches off, off", {"rx": "TXD / SDA", "tx": "RXD / SCL"}),
    "i2c": ("I2C: switches on, off", {"sda": "SDA", "scl": "SCL"}),
    "spi": ("SPI: switches off, on", {"sck": "SCK", "miso": "MISO", "mosi": "MOSI", "cs": "SS"}),
}
KEYS = ("123A", "456B", "789C", "*0#D")  # what is printed on the keypad, by rows
_KEYS_BY_COLUMN = tuple("".join(column) for column in zip(*KEYS, strict=True))


@dataclass(frozen=True)
class Wire:
    """From a pin of a part to one of the board: `GPIO17`, or SUPPLY or GROUND."""

    part_pin: str
    board_pin: str
    colour: str  # a key of COLOURS or SUPPLY_COLOURS


@dataclass(frozen=True)
class Part:
    """One part beside the board."""

    title: str
    note: str  # what must be right about it
    signals: tuple[Wire, ...]
    power: tuple[Wire, ...] = ()
    keys: tuple[str, ...] = ()  # a keypad's, by rows


def parts(board: Board) -> list[Part]:
    """The parts of `board`; none where a process is the chip. Parts that share a bus have wires to the same pins."""
    if not board.partitions:
        return []
    colours = cycle(COLOURS)
    note, names = _NFC[board.nfc["kind"]]
    pins = [(name, board.nfc[key]) for key, name in names.items()]
    found = [Part("PN532 NFC module", note, _signals(pins, colours), _supply("VCC", "GND"))]
    if board.keypad:
        found.append(_keypad(board.keypad, colours))
    if board.display:
        bus = board.display["i2c"]
        note = f"I2C, address 0x{board.display['address']:02X}"
        signals = _signals([("SDA", bus["sda"]), ("SCL", bus["scl"])], colours)
        found.append(Part("OLED 128x64, SSD1306", note, signals, _supply("VCC", "GND")))
    if board.buzzer:
        signals = _signals([("+", board.buzzer["pin"])], colours)
        found.append(Part("Active buzzer", "3.3 V, at most 20 mA", signals, _supply(None, "-")))
    return found


def _keypad(keypad: dict, colours: Iterator[str]) -> Part:
    if keypad["kind"] == "button":
        return Part("Push button", "closes to ground", _signals([("1", keypad["pin"])], colours), _supply(None, "2"))
    rows = [(f"R{number}: {keys}", pin) for number, keys, pin in zip(range(1, 5), KEYS, keypad["rows"], strict=True)]
    columns = zip(range(1, 5), _KEYS_BY_COLUMN, keypad["columns"], strict=True)
    pins = [*rows, *((f"C{number}: {keys}", pin) for number, keys, pin in columns)]
    return Part("Keypad 4x4", "8 contacts: rows, then columns", _signals(pins, colours), keys=KEYS)


def _signals(pins: Iterable[tuple[str, int]], colours: Iterator[str]) -> tuple[Wire, ...]:
    return tuple(Wire(name, f"GPIO{number}", next(colours)) for name, number in pins)


def _supply(plus: str | None, minus: str) -> tuple[Wire, ...]:
    ground = Wire(minus, GROUND, "black")
    return (Wire(plus, SUPPLY, "red"), ground) if plus else (ground,)
