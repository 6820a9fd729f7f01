"""`jiaozi board`: which boards there are, whether they are sound, and making a new one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from host_tools.cli import output
from host_tools.cli.exits import BadInput, CheckFailed
from host_tools.images import board_page
from host_tools.images.boards import BOARDS, Board, BoardError, board_names, load_board
from host_tools.images.chips import CHIPS, MEGABYTE
from host_tools.images.new_board import new_board
from host_tools.images.wiring import parts

app = typer.Typer(no_args_is_help=True, help="Boards: what there is to build, its wiring, and a new one of your own.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A board, like esp32-pos.")]
Folder = Annotated[
    Path, typer.Option("--folder", metavar="DIR", show_default=False, help="Where boards are, instead of boards/.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

_LINES = {"uart": "UART", "spi": "SPI", "i2c": "I2C"}
_PART_NAMES = {"ssd1306": "OLED", "matrix": "4x4 keypad", "button": "button", "panel": "front panel"}
_MEND = "Check path, rights and room on the disk, then repeat."


@app.command("list")
def list_boards(folder: Folder = BOARDS, as_json: AsJson = False) -> None:
    """Every board: its chip, its flash, what it is, its parts."""
    found = [_facts_or_error(name, folder) for name in _names(folder)]
    rows = [
        (
            facts["name"],
            CHIPS[facts["chip"]].title if "chip" in facts else "-",
            _megabytes(facts.get("flash_size_bytes")),
            facts.get("app") or "-",
            ", ".join(facts["parts"]) if "parts" in facts else f"cannot be used: {facts['error']}",
        )
        for facts in found
    ]
    columns = ("board", "chip", "flash", "app", "parts")
    output.tell(as_json, {"boards": found}, output.listing(columns, rows, numbers=("flash",)))


@app.command()
def show(name: Name, folder: Folder = BOARDS, as_json: AsJson = False) -> None:
    """One board: its wires, pin by pin, and its flash."""
    with _explained(folder):
        board = load_board(name, folder)
    wires = [
        {"part": part.title, "part_pin": wire.part_pin, "board_pin": wire.board_pin, "wire": wire.colour}
        for part in parts(board)
        for wire in (*part.signals, *part.power)
    ]
    partitions = [
        {
            "name": partition.name,
            "type": partition.type,
            "subtype": partition.subtype,
            "offset_bytes": partition.offset_bytes,
            "size_bytes": partition.size_bytes,
        }
        for partition in board.partitions
    ]
    facts = _facts(board)
    minimum = ".".join(map(str, board.micropython_minimum))
    rows = {
        "chip": ", ".join(filter(None, (CHIPS[board.chip].title, board.dev_board))),
        "flash": _megabytes(board.flash_size_bytes),
        "app": board.app,
        "parts": ", ".join(facts["parts"]),
        "micropython": f"{board.micropython_image or 'unix port'}, {minimum} or newer",
    }
    told: list[Any] = [output.heading(board.name), output.fields(rows)]
    if board.partitions:
        flash = [(p.name, f"{p.offset_bytes:#x}", f"{p.size_bytes // 1024:,} KB") for p in board.partitions]
        told += [
            output.heading("Wires"),
            output.listing(("part", "its pin", "board", "wire"), [tuple(wire.values()) for wire in wires]),
            output.heading("Flash"),
            output.listing(("partition", "from", "size"), flash, numbers=("from", "size")),
        ]
    output.tell(as_json, {**facts, "wires": wires, "partitions": partitions}, *told)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is to be called: a-z, 0-9 and hyphens.")],
    source: Annotated[str, typer.Option("--from", metavar="BOARD", help="The board that it begins as.")],
    folder: Folder = BOARDS,
    as_json: AsJson = False,
) -> None:
    """Make a board of your own: a copy of another one to change, with its page and its wiring diagram.

    Then change its board.toml; jiaozi board check says what is wrong, jiaozi board wiring draws it again.
    """
    with _explained(folder, " No board was made."):
        board = new_board(name, source, folder)
    where = folder / name
    output.tell(
        as_json,
        {**_facts(board), "folder": str(where)},
        output.done(
            f"{where} is a copy of {source}. Change its board.toml, then: jiaozi board check {name}{_at(folder)}"
        ),
    )


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Boards; without any, all of them.")
    ] = None,
    folder: Folder = BOARDS,
    as_json: AsJson = False,
) -> None:
    """Check descriptions, and that the wiring diagrams and pages follow from them. Changes nothing."""
    there = _names(folder)
    unknown = [name for name in names or () if name not in there]
    if unknown:
        raise BadInput(f"There is no board {', '.join(unknown)} in {folder}; there are: {', '.join(there) or 'none'}")
    checked = names or there
    problems = [problem for name in checked for problem in _problems(name, folder)]
    if problems:
        raise CheckFailed("; ".join(problems))
    output.tell(as_json, {"checked": checked}, output.done(f"sound: {', '.join(checked) or 'no board is there'}"))


@app.command()
def wiring(name: Name, folder: Folder = BOARDS, as_json: AsJson = False) -> None:
    """Draw a board's wiring again, and bring the tables of its page up to date."""
    with _explained(folder):
        board = load_board(name, folder)
        if not board.partitions:
            raise BoardError(f"{name} is a process on this computer: nothing of it is wired")
        changed = board_page.rewrite(board, folder)
    diagram = folder / name / board_page.DIAGRAM
    text = f"written: {', '.join(map(str, changed))}" if changed else f"{diagram} and its page are up to date"
    output.tell(as_json, {"diagram": str(diagram), "written": [str(path) for path in changed]}, output.done(text))


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder}.")
    return board_names(folder)


def _problems(name: str, folder: Path) -> Iterator[str]:
    try:
        stale = board_page.outdated(load_board(name, folder), folder)
    except BoardError as error:
        yield str(error)
        return
    for path in stale:
        yield f"{path} does not follow from board.toml any more: jiaozi board wiring {name}{_at(folder)}"


def _at(folder: Path) -> str:
    return "" if folder == BOARDS else f" --folder {folder}"


def _facts_or_error(name: str, folder: Path) -> dict[str, Any]:
    """One board that cannot be used does not hide the others."""
    try:
        return _facts(load_board(name, folder))
    except BoardError as error:
        return {"name": name, "error": str(error)}


def _facts(board: Board) -> dict[str, Any]:
    return {
        "name": board.name,
        "chip": board.chip,
        "flash_size_bytes": board.flash_size_bytes,
        "app": board.app,
        "parts": _part_names(board),
    }


def _part_names(board: Board) -> list[str]:
    found = [f"PN532 on {_LINES[board.nfc['kind']]}"]
    for what, part in (("display", board.display), ("keypad", board.keypad), ("buzzer", board.buzzer)):
        if part:
            found.append(_PART_NAMES.get(part["kind"], what))
    return list(dict.fromkeys(found)) + (["battery"] if board.power == "battery" else [])


def _megabytes(size_bytes: int | None) -> str:
    return f"{size_bytes // MEGABYTE} MB" if size_bytes else "-"


@contextmanager
def _explained(folder: Path, consequence: str = "") -> Iterator[None]:
    try:
        yield
    except BoardError as error:
        raise BadInput(f"{error}.{consequence}") from error
    except OSError as error:
        raise BadInput(f"{error.filename or folder} cannot be used: {error.strerror}.{consequence} {_MEND}") from error
