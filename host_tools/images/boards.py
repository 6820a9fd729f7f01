"""Reads `boards/<name>/board.toml`, checks it against the chip, and writes the device's `board.py` from it.

A board is data. What is wrong in it is said here, with file and key, and not found out on the bench: pins that the
chip does not have, that boot or flash depend on, or that are used twice.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
BOARDS = PROJECT / "boards"

SECTOR_BYTES = 4096
# What the journal accepts (docs/storage.md): six sectors are kept for restarts, and distances are counted in 16 bits.
_MINIMUM_JOURNAL_BYTES = 9 * SECTOR_BYTES
_MAXIMUM_JOURNAL_BYTES = 511 * SECTOR_BYTES
_SHORTEST_OFFSET_BYTES = 0x10000  # boot loader, partition table and NVS lie below


class BoardError(Exception):
    """A board description that cannot be built; the message names file and key."""


@dataclass(frozen=True)
class Chip:
    """What a chip's data sheet says about its pins."""

    title: str
    port: str
    pins: frozenset[int] = frozenset()
    input_only: frozenset[int] = frozenset()  # these have no pull-ups either
    strapping: frozenset[int] = frozenset()  # sampled at reset: a part wired to one can keep the chip from booting
    flash: frozenset[int] = frozenset()
    console: frozenset[int] = frozenset()  # the line to the host
    uarts: int = 0
    i2cs: int = 0
    architectures: tuple[str, ...] = ()
    clock_hz: int | None = None  # the fastest; MicroPython starts some chips slower


CHIPS = {
    "unix": Chip("unix port", "unix", architectures=("x64",)),
    # ESP32 Series Datasheet, "Pin Overview" and "Boot Configurations" (strapping); GPIO 6-11 are the modules' SPI
    # flash.
    "esp32": Chip(
        "ESP32",
        "esp32",
        pins=frozenset([*range(20), 21, 22, 23, 25, 26, 27, *range(32, 40)]),
        input_only=frozenset(range(34, 40)),
        strapping=frozenset({0, 2, 5, 12, 15}),
        flash=frozenset(range(6, 12)),
        console=frozenset({1, 3}),
        uarts=3,
        i2cs=2,
        architectures=("xtensawin",),
        clock_hz=240_000_000,
    ),
    # ESP32-C3 Series Datasheet, the same sections; GPIO 11 is VDD_SPI, 12-17 the flash, 18 and 19 USB, 20 and 21 UART
    # 0.
    "esp32c3": Chip(
        "ESP32-C3",
        "esp32",
        pins=frozenset(range(22)),
        strapping=frozenset({2, 8, 9}),
        flash=frozenset(range(11, 18)),
        console=frozenset({18, 19, 20, 21}),
        uarts=2,
        i2cs=1,
        architectures=("rv32imc",),
        clock_hz=160_000_000,
    ),
}


@dataclass(frozen=True)
class Board:
    """One checked description. The dictionaries are what `board.py` holds; absent parts are None."""

    name: str
    chip: str
    port: str
    app: str  # "wallet" or "terminal"
    mpy_architecture: str
    micropython_minimum: tuple[int, int]
    flash_size_bytes: int | None
    journal_offset_bytes: int | None  # None where the port keeps flash in a file
    link: dict[str, Any]
    nfc: dict[str, Any]
    panel: dict[str, Any] | None
    display: dict[str, Any] | None
    keypad: dict[str, Any] | None
    buzzer: dict[str, Any] | None
    journal: dict[str, Any] = field(default_factory=dict)

    def constants(self) -> dict[str, Any]:
        """What the firmware sees: every name on every board. `boards/board.pyi` describes them."""
        keypad_kind = self.keypad["kind"] if self.keypad else None
        return {
            "NAME": self.name,
            "CHIP": self.chip,
            "CLOCK_HZ": CHIPS[self.chip].clock_hz,
            "PORT": self.port,
            "APP": self.app,
            "LINK": self.link,
            "NFC": self.nfc,
            "PANEL": self.panel,
            "DISPLAY": self.display,
            "KEYPAD": self.keypad,
            "BUZZER": self.buzzer,
            "JOURNAL": self.journal,
            "has_display": self.display is not None,
            "has_keypad": keypad_kind in ("panel", "matrix"),
            "has_button": keypad_kind == "button",
            "has_buzzer": self.buzzer is not None,
        }

    def source(self) -> str:
        """The text of `board.py`: plain constants, the same bytes for the same description."""
        lines = [f'"""Made from boards/{self.name}/board.toml by the build; change that, not this."""\n']
        lines += [f"{name} = {value!r}" for name, value in self.constants().items()]
        return "\n".join(lines) + "\n"


def board_names(folder: Path = BOARDS) -> list[str]:
    """Names that `load_board` knows."""
    return sorted(path.parent.name for path in folder.glob("*/board.toml"))


def load_board(name: str, folder: Path = BOARDS) -> Board:
    """The checked description of board `name`. Raises `BoardError`."""
    path = folder / name / "board.toml"
    if name not in board_names(folder):
        raise BoardError(f"there is no board {name!r}; there are: {', '.join(board_names(folder)) or 'none'}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BoardError(f"{path}: {error}") from None
    return _Reader(path, table).board(name)


class _Reader:
    """Takes keys out of one board's tables; what is left over at the end is a mistake of spelling."""

    def __init__(self, path: Path, table: dict[str, Any]):
        self._path = path
        self._table = table
        self._chip = CHIPS["unix"]
        self._pins: dict[int, str] = {}

    def board(self, name: str) -> Board:
        top = self._table
        chip = self._take(top, "", "chip", str, choices=tuple(CHIPS))
        self._chip = CHIPS[chip]
        minimum = self._take(top, "", "micropython_minimum", str)
        if not re.fullmatch(r"1\.\d\d", minimum):
            raise self._error("micropython_minimum", f"must look like 1.23, not {minimum!r}")
        flash_size_bytes = self._take(top, "", "flash_size_bytes", int) if self._chip.pins else None
        uarts = self._take(top, "", "uarts", dict)
        journal, offset_bytes = self._journal(flash_size_bytes)
        board = Board(
            name=name,
            chip=chip,
            port=self._take(top, "", "port", str, choices=(self._chip.port,)),
            app=self._take(top, "", "app", str, choices=("wallet", "terminal")),
            mpy_architecture=self._take(top, "", "mpy_architecture", str, choices=self._chip.architectures),
            micropython_minimum=(1, int(minimum[2:])),
            flash_size_bytes=flash_size_bytes,
            journal_offset_bytes=offset_bytes,
            link=self._uart(uarts, "link"),
            nfc=self._uart(uarts, "nfc"),
            panel=self._uart(uarts, "panel") if "panel" in uarts else None,
            display=self._part("display", {"panel": (), "ssd1306": ("i2c", "address")}),
            keypad=self._part("keypad", {"panel": (), "matrix": ("rows", "columns"), "button": ("pin",)}),
            buzzer=self._part("buzzer", {"panel": (), "pin": ("pin",)}),
            journal=journal,
        )
        self._nothing_left(uarts, "uarts.")
        self._nothing_left(top, "")
        for part, value in (("display", board.display), ("keypad", board.keypad), ("buzzer", board.buzzer)):
            if value and value["kind"] == "panel" and board.panel is None:
                raise self._error(part, "is on a panel, but there is no uarts.panel")
        return board

    def _uart(self, uarts: dict[str, Any], key: str) -> dict[str, Any]:
        where = f"uarts.{key}"
        spec = self._take(uarts, "uarts.", key, dict)
        result: dict[str, Any] = {}
        if not self._chip.pins:
            result["env"] = self._take(spec, where + ".", "env", str)
        elif "console" in spec:
            result["console"] = self._take(spec, where + ".", "console", bool, choices=(True,))
        else:
            result["id"] = self._take(spec, where + ".", "id", int, choices=tuple(range(1, self._chip.uarts)))
            result["tx"] = self._pin(spec, where + ".", "tx")
            result["rx"] = self._pin(spec, where + ".", "rx", only_input=True)
        result["baudrate"] = self._take(spec, where + ".", "baudrate", int)
        self._nothing_left(spec, where + ".")
        return result

    def _part(self, key: str, kinds: dict[str, tuple[str, ...]]) -> dict[str, Any] | None:
        if key not in self._table:
            return None
        spec = self._take(self._table, "", key, dict)
        kind = self._take(spec, key + ".", "kind", str, choices=tuple(kinds))
        part: dict[str, Any] = {"kind": kind}
        for name in kinds[kind]:
            where = key + "."
            if name == "i2c":
                part[name] = self._i2c(self._take(spec, where, name, dict), where + "i2c.")
            elif name in ("rows", "columns"):
                numbers = self._take(spec, where, name, list)
                if len(numbers) != 4:
                    raise self._error(where + name, "needs four pins")
                part[name] = [self._checked_pin(number, f"{where}{name}") for number in numbers]
            elif name == "pin":
                part[name] = self._pin(spec, where, name)
            else:
                part[name] = self._take(spec, where, name, int)
        self._nothing_left(spec, key + ".")
        return part

    def _i2c(self, spec: dict[str, Any], where: str) -> dict[str, Any]:
        bus = {
            "id": self._take(spec, where, "id", int, choices=tuple(range(self._chip.i2cs))),
            "sda": self._pin(spec, where, "sda"),
            "scl": self._pin(spec, where, "scl"),
            "frequency_hz": self._take(spec, where, "frequency_hz", int),
        }
        self._nothing_left(spec, where)
        return bus

    def _journal(self, flash_size_bytes: int | None) -> tuple[dict[str, Any], int | None]:
        spec = self._take(self._table, "", "journal", dict)
        label = self._take(spec, "journal.", "label", str)
        size_bytes = self._take(spec, "journal.", "size_bytes", int)
        if size_bytes % SECTOR_BYTES or not _MINIMUM_JOURNAL_BYTES <= size_bytes <= _MAXIMUM_JOURNAL_BYTES:
            raise self._error(
                "journal.size_bytes",
                f"must be whole sectors of {SECTOR_BYTES}, {_MINIMUM_JOURNAL_BYTES} to {_MAXIMUM_JOURNAL_BYTES}",
            )
        offset_bytes = None
        if flash_size_bytes is not None:
            offset_bytes = self._take(spec, "journal.", "offset_bytes", int)
            inside = _SHORTEST_OFFSET_BYTES <= offset_bytes <= flash_size_bytes - size_bytes
            if offset_bytes % SECTOR_BYTES or not inside:
                raise self._error("journal.offset_bytes", f"must be a sector's start inside {flash_size_bytes} bytes")
        self._nothing_left(spec, "journal.")
        return {"label": label, "size_bytes": size_bytes}, offset_bytes

    def _pin(self, spec: dict[str, Any], where: str, key: str, only_input: bool = False) -> int:
        return self._checked_pin(self._take(spec, where, key, int), where + key, only_input)

    def _checked_pin(self, number: object, where: str, only_input: bool = False) -> int:
        chip = self._chip
        if not isinstance(number, int) or number not in chip.pins:
            raise self._error(where, f"the {chip.title} has no GPIO {number}")
        for pins, problem in (
            (chip.flash, "is wired to its flash"),
            (chip.strapping, "is read at reset and decides how it boots"),
            (chip.console, "is the line to the host"),
            (frozenset() if only_input else chip.input_only, "is an input without pull-up"),
        ):
            if number in pins:
                raise self._error(where, f"GPIO {number} of the {chip.title} {problem}")
        if number in self._pins:
            raise self._error(where, f"GPIO {number} is already {self._pins[number]}")
        self._pins[number] = where
        return number

    def _take(self, table: dict[str, Any], where: str, key: str, kind: type, choices: tuple = ()) -> Any:
        if key not in table:
            raise self._error(where + key, "is missing")
        value = table.pop(key)
        if type(value) is not kind:
            raise self._error(where + key, f"must be {kind.__name__}, not {value!r}")
        if choices and value not in choices:
            raise self._error(where + key, f"must be {' or '.join(map(repr, choices))}, not {value!r}")
        return value

    def _nothing_left(self, table: dict[str, Any], where: str) -> None:
        for key in table:
            raise self._error(where + key, "is not known; is it misspelt?")

    def _error(self, where: str, problem: str) -> BoardError:
        return BoardError(f"{self._path}: {where} {problem}")
