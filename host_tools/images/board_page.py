"""The generated files of a board: its wiring diagram, and the marked parts of its page, `README.md`.

Between the marks stands what follows from `board.toml`; around them is a person's text, which is left as it is.
"""

import os
import re
from pathlib import Path

from host_tools.images.boards import Board, BoardError, Partition
from host_tools.images.wiring import parts
from host_tools.images.wiring_diagram import draw

PAGE, DIAGRAM = "README.md", "wiring.svg"
_BEGIN = "<!-- {}: from board.toml, by jiaozi board wiring -->"
_END = "<!-- end of {} -->"

_HOLDS = {
    "nvs": "the device's secret",
    "phy_init": "the radio's calibration",
    "factory": "MicroPython",
    "vfs": "our code",
    "settings": "settings, key and PIN",
    "journal": "the money",
}


def generated(board: Board, folder: Path) -> dict[Path, bytes]:
    """What each generated file of `board` in `folder` should hold; nothing for a process. Raises `BoardError`."""
    if not board.partitions:
        return {}
    page = folder / board.name / PAGE
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BoardError(f"{page}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for name, lines in (("wiring", _wiring(board)), ("flash", _flash(board.partitions))):
        text = _with_block(page, text, name, "\n".join(lines))
    return {folder / board.name / DIAGRAM: draw(board).encode(), page: text.encode()}


def outdated(board: Board, folder: Path) -> list[Path]:
    """The generated files that do not follow from the description any more. Raises `BoardError`."""
    return [path for path, data in generated(board, folder).items() if not path.is_file() or path.read_bytes() != data]


def rewrite(board: Board, folder: Path) -> list[Path]:
    """Bring the generated files up to date, each whole or not at all; returns what was changed.

    Raises `BoardError` and, when nothing or only whole files were written, `OSError`.
    """
    changed = outdated(board, folder)
    contents = generated(board, folder)
    for path in changed:
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            part.write_bytes(contents[path])
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return changed


def _with_block(page: Path, text: str, name: str, block: str) -> str:
    begin, end = _BEGIN.format(name), _END.format(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise BoardError(f"{page}: must have the lines `{begin}` and `{end}` once each: its tables go between them")
    return re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n{block}\n{end}", text, flags=re.DOTALL)


def _wiring(board: Board) -> list[str]:
    lines = [f"![Wiring of {board.name}]({DIAGRAM})", ""]
    lines += ["| part | its pin | board | wire |", "| --- | --- | --- | --- |"]
    for part in parts(board):
        for wire in (*part.signals, *part.power):
            lines.append(_row(part.title, wire.part_pin, wire.board_pin, wire.colour))
    return lines


def _flash(partitions: tuple[Partition, ...]) -> list[str]:
    lines = ["| partition | from | size | holds |", "| --- | ---: | ---: | --- |"]
    for partition in partitions:
        size = f"{partition.size_bytes // 1024:,} KB"
        lines.append(_row(f"`{partition.name}`", f"{partition.offset_bytes:#x}", size, _HOLDS.get(partition.name, "")))
    return lines


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("*", "\\*") for cell in cells) + " |"
