"""`jiaozi build`: a board's flash as files, and how full it is."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from host_tools.cli import output
from host_tools.cli.exits import BadInput, CheckFailed
from host_tools.images.boards import BoardError
from host_tools.images.compile import BUILD, CompileError

if TYPE_CHECKING:
    from host_tools.images.image import Image

_NOTHING = "Nothing was built."
_MEND = "Check path, rights and room on the disk, then repeat."


def build(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="A board with a chip, like esp32-pos.")],
    micropython: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Official MicroPython image for the board's chip; without it the application parts alone are built.",
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", show_default=False, help="Instead of build/images/BOARD."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; sizes are bytes.")] = False,
) -> None:
    """Lay out what a board's flash will hold: MicroPython, partition table and code.

    The same sources and the same MicroPython give the same bytes, whose SHA-256 is printed. docs/building.md says what
    is where and which MicroPython to take.
    """
    from host_tools.images.image import ImageError, build_image, write_image  # and with it esptool: a quarter second

    folder = out_dir or BUILD / "images" / board
    try:
        image = build_image(board, micropython)
    except (BoardError, ImageError) as error:
        raise BadInput(f"{str(error).rstrip('.')}. {_NOTHING}") from error
    except CompileError as error:
        raise CheckFailed(f"{error}. {_NOTHING}") from error
    except OSError as error:
        raise BadInput(f"{error.filename or BUILD} cannot be used: {error.strerror}. {_NOTHING} {_MEND}") from error
    try:
        write_image(image, folder)
    except OSError as error:
        raise BadInput(
            f"The image cannot be written into {folder}: {error.strerror}. No file there is half written. {_MEND}"
        ) from error
    output.tell(as_json, _facts(image, folder), *_parts(image, folder, micropython))


def _facts(image: "Image", folder: Path) -> dict[str, Any]:
    return {
        "board": image.board.name,
        "micropython": image.micropython_version,
        "sha256": image.sha256,
        "image": str(folder / image.file_name) if image.file_name else None,
        "offset_bytes": image.offset_bytes,
        "sizes": image.sizes(),
        "bytecode": {"bytes": image.bytecode_bytes, "of": image.bytecode_budget_bytes},
        "files": image.files,
        "parts": [
            {"name": part.name, "offset_bytes": part.offset_bytes, "file": str(folder / part.file_name)}
            for part in (*image.parts, image.settings)
        ],
    }


def _parts(image: "Image", folder: Path, micropython: Path | None) -> list[RenderableType]:
    """The same for a person."""
    version = image.micropython_version
    sizes = image.sizes()
    rows = [
        (part.name, f"{part.offset_bytes:#x}", *(f"{sizes[part.name][key]:,}" for key in ("bytes", "of")))
        for part in (*image.parts, image.settings)
    ]
    crypto = sum(size for name, size in image.files.items() if name.startswith("crypto/"))
    bytecode = f"{image.bytecode_bytes:,} of {image.bytecode_budget_bytes:,} bytes, and {crypto:,} of crypto"
    if image.file_name:
        whole = f"{folder / image.file_name}, for a new chip, from {image.offset_bytes:#x} on"
    else:
        whole = f"only its parts, without MicroPython: give --micropython {image.board.micropython_image}-*.bin"
    next_command = f"jiaozi flash {image.board.name}"
    if micropython:  # a new chip has none, and `flash` builds anew
        next_command += f" --micropython {shlex.quote(str(micropython))}"
    return [
        output.heading(f"{image.board.name} with MicroPython {version}" if version else image.board.name),
        output.listing(("part", "at", "bytes", "of"), rows, numbers=("at", "bytes", "of")),
        output.fields(
            {"bytecode": bytecode, "files": str(len(image.files)), "sha256": image.sha256, "image": whole},
        ),
        output.done(f"{folder} holds the parts. Write them with: {next_command}"),
    ]
