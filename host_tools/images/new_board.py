"""A new board from one that is there: its description with every comment, its page under the new name, its diagram.

The board appears complete and checked, or not at all.
"""

import re
import shutil
import tempfile
from pathlib import Path

from host_tools.images.board_page import PAGE, rewrite
from host_tools.images.boards import BOARDS, MAXIMUM_NAME_LENGTH, Board, BoardError, is_board_name, load_board


def new_board(name: str, source: str, folder: Path = BOARDS) -> Board:
    """Make board `name` in `folder` out of board `source` of `folder`, or else of the project's.

    Raises `BoardError` for names that cannot be used or a source that is not sound, and `OSError`; then nothing is new.
    """
    if not is_board_name(name):
        raise BoardError(
            f"{name!r} is no name for a board: a-z, 0-9 and single hyphens, from a letter on,"
            f" at most {MAXIMUM_NAME_LENGTH} characters"
        )
    if not folder.is_dir():
        raise BoardError(f"there is no folder {folder}")
    target = folder / name
    if target.exists():
        raise BoardError(f"{target} is already there")
    home = folder if (folder / source / "board.toml").is_file() else BOARDS
    load_board(source, home)
    with tempfile.TemporaryDirectory(prefix=".new-board-", dir=folder) as workshop:
        made = Path(workshop) / name
        made.mkdir()
        shutil.copyfile(home / source / "board.toml", made / "board.toml")
        (made / PAGE).write_text(_page(home / source / PAGE, source, name), encoding="utf-8", newline="\n")
        board = load_board(name, Path(workshop))
        rewrite(board, Path(workshop))
        made.rename(target)
    return board


def _page(page: Path, source: str, name: str) -> str:
    """The source's page with the new name in the place of the old one."""
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BoardError(f"{page}: cannot be read, and a new board's page is made of it: {error}") from None
    return re.sub(rf"(?<![\w-]){re.escape(source)}(?![\w-])", name, text)
