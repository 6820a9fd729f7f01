"""Reads `boards/<name>/board.toml`, checks it against the chip, and writes the device's `board.py` from it.

A board is data. What is wrong in it is said here, with file and key, and not found out on the bench: pins that the
chip does not have, that boot or flash depend on, or that are used twice; a flash that is laid out so that it cannot
start or that an update could touch money (`flash_layout`).
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host_tools.images import flash_layout
from host_tools.images.chips import CHIPS, MEGABYTE
from host_tools.images.flash_layout import MAXIMUM_JOURNAL_BYTES, MINIMUM_JOURNAL_BYTES, SECTOR_BYTES

PROJECT = Path(__file__).resolve().parents[2]
BOARDS = PROJECT / "boards"

MAXIMUM_NAME_LENGTH = 32  # of a board: it stands in file names and tables
_JOURNAL = "journal"

# Pattern, and what it says
_DEV_BOARD = ("[ -~]{1,20}", "1 to 20 plain characters: more has no room in the wiring diagram")
_IMAGE = ("[A-Za-z0-9_]+", "the beginning of an official image's file name, like ESP32_GENERIC")

# The fastest that the PN532 takes (PN532/C1 Product Data Sheet, "Host interfaces").
_NFC_I2C_HZ = 400_000
_NFC_SPI_HZ = 5_000_000


class BoardError(Exception):
    """A board description that cannot be built; the message names file and key."""


@dataclass(frozen=True)
class Partition:
    """One entry of the flash's partition table."""

    name: str
    type: str  # "app" or "data"
    subtype: int
    offset_bytes: int
    size_bytes: int

    @property
    def end_bytes(self) -> int:
        """The first offset behind it."""
        return self.offset_bytes + self.size_bytes


@dataclass(frozen=True)
class Board:
    """One checked description. The dictionaries are what `board.py` holds; absent parts are None."""

    name: str
    chip: str
    dev_board: str | None  # what is bought, in words; like all that follows with None: not where a process is the chip
    port: str
    app: str  # "wallet" or "terminal"
    power: str | None  # "usb" or "battery"
    mpy_architecture: str
    micropython_image: str | None  # an official image's file name begins so
    micropython_minimum: tuple[int, int]
    flash_size_bytes: int | None
    partitions: tuple[Partition, ...]  # in the flash's order; empty where the port keeps flash in files
    link: dict[str, Any]
    nfc: dict[str, Any]
    panel: dict[str, Any] | None
    display: dict[str, Any] | None
    keypad: dict[str, Any] | None
    buzzer: dict[str, Any] | None
    journal: dict[str, Any] = field(default_factory=dict)

    def partition(self, name: str) -> Partition:
        """Raises `KeyError` where there is none of that name: on a port without flash."""
        return {partition.name: partition for partition in self.partitions}[name]

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


def is_board_name(name: str) -> bool:
    """Lower case, digits and single hyphens: the same in a path, a file's name and a command."""
    return len(name) <= MAXIMUM_NAME_LENGTH and re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", name) is not None


def board_names(folder: Path = BOARDS) -> list[str]:
    """Names that `load_board` knows."""
    return sorted(path.parent.name for path in folder.glob("*/board.toml"))


def load_board(name: str, folder: Path = BOARDS) -> Board:
    """The checked description of board `name`. Raises `BoardError`."""
    path = folder / name / "board.toml"
    if name not in board_names(folder):
        raise BoardError(f"there is no board {name!r}; there are: {', '.join(board_names(folder)) or 'none'}")
    if not is_board_name(name):
        raise BoardError(f"{path}: a board's folder has a name of a-z, 0-9 and single hyphens, not {name!r}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BoardError(f"{path}: {error}") from None
    except OSError as error:
        raise BoardError(f"{path}: cannot be read: {error.strerror}") from None
    return _Reader(path, table).board(name)


class _Reader:
    """Takes keys out of one board's tables; what is left over at the end is a mistake of spelling."""

    def __init__(self, path: Path, table: dict[str, Any]):
        self._path = path
        self._table = table
        self._chip = CHIPS["unix"]
        self._pins: dict[int, str] = {}
        self._buses: dict[str, tuple[str, object]] = {}  # who has it, and what must be the same for a second one

    def board(self, name: str) -> Board:
        top = self._table
        chip = self._take(top, "", "chip", str, choices=tuple(CHIPS))
        self._chip = CHIPS[chip]
        on_chip = bool(self._chip.pins)
        minimum = self._take(top, "", "micropython_minimum", str)
        if not re.fullmatch(r"1\.\d\d", minimum):
            raise self._error("micropython_minimum", f"must look like 1.23, not {minimum!r}")
        flash_size_bytes = self._flash_size() if on_chip else None
        uarts = self._take(top, "", "uarts", dict)
        partitions = self._partitions(flash_size_bytes) if flash_size_bytes else ()
        board = Board(
            name=name,
            chip=chip,
            dev_board=self._matching("dev_board", *_DEV_BOARD) if on_chip else None,
            port=self._take(top, "", "port", str, choices=(self._chip.port,)),
            app=self._take(top, "", "app", str, choices=("wallet", "terminal")),
            power=self._take(top, "", "power", str, choices=("usb", "battery")) if on_chip else None,
            mpy_architecture=self._take(top, "", "mpy_architecture", str, choices=self._chip.architectures),
            micropython_image=self._matching("micropython_image", *_IMAGE) if on_chip else None,
            micropython_minimum=(1, int(minimum[2:])),
            flash_size_bytes=flash_size_bytes,
            partitions=partitions,
            link=self._uart(uarts, "link"),
            nfc=self._nfc(uarts),
            panel=self._uart(uarts, "panel") if "panel" in uarts else None,
            display=self._part("display", {"panel": (), "ssd1306": ("i2c", "address")}),
            keypad=self._part("keypad", {"panel": (), "matrix": ("rows", "columns"), "button": ("pin",)}),
            buzzer=self._part("buzzer", {"panel": (), "pin": ("pin",)}),
            journal={"label": _JOURNAL, "size_bytes": self._journal_size(partitions)},
        )
        self._nothing_left(uarts, "uarts.")
        self._nothing_left(top, "")
        for part, value in (("display", board.display), ("keypad", board.keypad), ("buzzer", board.buzzer)):
            if value and value["kind"] == "panel" and board.panel is None:
                raise self._error(part, "is on a panel, but there is no uarts.panel")
        return board

    # Parts and their lines

    def _uart(self, uarts: dict[str, Any], key: str) -> dict[str, Any]:
        where = f"uarts.{key}"
        spec = self._take(uarts, "uarts.", key, dict)
        result: dict[str, Any] = {}
        if not self._chip.pins:
            result["env"] = self._take(spec, where + ".", "env", str)
        elif key == "link" and "console" in spec:
            result["console"] = self._take(spec, where + ".", "console", bool, choices=(True,))
        else:
            number = self._take(spec, where + ".", "id", int, choices=tuple(range(1, self._chip.uarts)))
            result["id"] = self._bus(f"UART {number}", where, number)
            result["tx"] = self._pin(spec, where + ".", "tx")
            result["rx"] = self._pin(spec, where + ".", "rx", only_input=True)
        result["baudrate"] = self._take(spec, where + ".", "baudrate", int)
        self._nothing_left(spec, where + ".")
        return result

    def _nfc(self, uarts: dict[str, Any]) -> dict[str, Any]:
        if "nfc" not in self._table:
            return {"kind": "uart", **self._uart(uarts, "nfc")}
        if "nfc" in uarts:
            raise self._error("nfc", "is in [uarts] too; the PN532 has one line")
        spec = self._take(self._table, "", "nfc", dict)
        kind = self._take(spec, "nfc.", "kind", str, choices=("spi", "i2c"))
        if not self._chip.pins:
            if "env" not in spec:
                raise self._error("nfc", f"needs pins, and the {self._chip.title} has none; use uarts.nfc")
            simulated = {"kind": kind, "env": self._take(spec, "nfc.", "env", str)}
            self._nothing_left(spec, "nfc.")
            return simulated
        bus = self._i2c(spec, "nfc.") if kind == "i2c" else self._spi(spec, "nfc.")
        fastest = _NFC_I2C_HZ if kind == "i2c" else _NFC_SPI_HZ
        if bus["frequency_hz"] > fastest:
            raise self._error("nfc.frequency_hz", f"must be at most {fastest}: the PN532 takes no more")
        return {"kind": kind, **bus}

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
        """Two parts may share one bus, if both say the same of it."""
        number = self._take(spec, where, "id", int, choices=tuple(range(self._chip.i2cs)))
        bus = {"id": number} | {key: self._take(spec, where, key, int) for key in ("sda", "scl", "frequency_hz")}
        name = f"I2C {number}"
        shared = name in self._buses
        self._bus(name, where.rstrip("."), bus)
        if not shared:
            for key in ("sda", "scl"):
                self._checked_pin(bus[key], where + key)
        self._check_frequency(bus, where)
        self._nothing_left(spec, where)
        return bus

    def _spi(self, spec: dict[str, Any], where: str) -> dict[str, Any]:
        number = self._take(spec, where, "id", int, choices=self._chip.spis)
        bus = {
            "id": self._bus(f"SPI {number}", where.rstrip("."), number),
            "sck": self._pin(spec, where, "sck"),
            "mosi": self._pin(spec, where, "mosi"),
            "miso": self._pin(spec, where, "miso", only_input=True),
            "cs": self._pin(spec, where, "cs"),
            "frequency_hz": self._take(spec, where, "frequency_hz", int),
        }
        self._check_frequency(bus, where)
        self._nothing_left(spec, where)
        return bus

    def _bus(self, name: str, where: str, what: Any) -> Any:
        """`what`, unless bus `name` is already something else; a UART or SPI is never shared."""
        if name in self._buses:
            owner, other = self._buses[name]
            if not isinstance(what, dict):
                raise self._error(f"{where}.id", f"{name} is already {owner}")
            if what != other:
                raise self._error(where, f"shares {name} with {owner}, and says other pins or another frequency")
        self._buses[name] = (where, what)
        return what

    def _check_frequency(self, bus: dict[str, Any], where: str) -> None:
        if bus["frequency_hz"] <= 0:
            raise self._error(where + "frequency_hz", "must be above 0")

    # Flash

    def _flash_size(self) -> int:
        size_bytes = self._take(self._table, "", "flash_size_bytes", int)
        if size_bytes not in self._chip.flash_sizes:
            sizes = ", ".join(f"{size:#x} ({size // MEGABYTE} MB)" for size in self._chip.flash_sizes)
            raise self._error("flash_size_bytes", f"must be one that {self._chip.title} modules have: {sizes}")
        return size_bytes

    def _partitions(self, flash_size_bytes: int) -> tuple[Partition, ...]:
        table = self._take(self._table, "", "partitions", dict)
        partitions = []
        for name in list(table):
            where = f"partitions.{name}."
            spec = self._take(table, "partitions.", name, dict)
            kind = self._take(spec, where, "type", str, choices=tuple(flash_layout.SUBTYPES))
            partition = Partition(
                name,
                kind,
                self._subtype(spec, where, flash_layout.SUBTYPES[kind]),
                self._take(spec, where, "offset_bytes", int),
                self._take(spec, where, "size_bytes", int),
            )
            self._nothing_left(spec, where)
            partitions.append(partition)
        for key, text in flash_layout.problems(tuple(partitions), flash_size_bytes):
            raise self._error(f"partitions.{key}", text)
        return tuple(partitions)

    def _subtype(self, spec: dict[str, Any], where: str, names: dict[str, int]) -> int:
        if type(spec.get("subtype")) is str:
            return names[self._take(spec, where, "subtype", str, choices=tuple(names))]
        number = self._take(spec, where, "subtype", int)
        if not 0 <= number <= flash_layout.LARGEST_SUBTYPE:
            raise self._error(where + "subtype", f"must be 0 to {flash_layout.LARGEST_SUBTYPE:#x}")
        return number

    def _journal_size(self, partitions: tuple[Partition, ...]) -> int:
        if partitions:
            return next(partition.size_bytes for partition in partitions if partition.name == _JOURNAL)
        spec = self._take(self._table, "", "journal", dict)
        size_bytes = self._take(spec, "journal.", "size_bytes", int)
        if size_bytes % SECTOR_BYTES or not MINIMUM_JOURNAL_BYTES <= size_bytes <= MAXIMUM_JOURNAL_BYTES:
            raise self._error(
                "journal.size_bytes",
                f"must be whole sectors of {SECTOR_BYTES}, {MINIMUM_JOURNAL_BYTES} to {MAXIMUM_JOURNAL_BYTES}",
            )
        self._nothing_left(spec, "journal.")
        return size_bytes

    # Keys

    def _pin(self, spec: dict[str, Any], where: str, key: str, only_input: bool = False) -> int:
        return self._checked_pin(self._take(spec, where, key, int), where + key, only_input)

    def _checked_pin(self, number: object, where: str, only_input: bool = False) -> int:
        chip = self._chip
        if type(number) is not int or number not in chip.pins:
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

    def _matching(self, key: str, pattern: str, meaning: str) -> str:
        value = self._take(self._table, "", key, str)
        if not re.fullmatch(pattern, value):
            raise self._error(key, f"must be {meaning}; not {value!r}")
        return value

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
