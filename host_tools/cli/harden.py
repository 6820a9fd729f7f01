"""`jiaozi device harden`: what can be typed. What it says and asks stands in `harden_dialogue`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from host_tools.cli import options
from host_tools.cli.exits import BadInput

DEFAULT_KEYS = options.DEFAULT_HOME / "hardening"


def harden(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="The board's name: jiaozi board list.")],
    port: Annotated[
        str | None,
        typer.Option(
            "--port",
            metavar="URL",
            show_default=False,
            help="Serial port of the chip; virtual:FOLDER plays it on virtual eFuses that stay in the folder.",
        ),
    ] = None,
    keys: Annotated[
        Path, typer.Option("--keys", metavar="DIR", help="Signing key and flash keys; missing ones are made there.")
    ] = DEFAULT_KEYS,
    micropython: Annotated[
        Path | None,
        typer.Option(
            "--micropython",
            metavar="FILE",
            show_default=False,
            help="Your own build's firmware.bin, with its sdkconfig beside it: docs/hardening.md.",
        ),
    ] = None,
    burn: Annotated[
        bool, typer.Option("--burn", help="Do it, for good. Asks for the chip's id on a terminal.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Encrypt a new device's flash and let it start only what you signed. Shows its plan; burns only with --burn."""
    if burn and (port is None or micropython is None):
        raise BadInput("Burning needs --port, and --micropython with your own build. Nothing was burnt.")
    if burn and not (sys.stdin and sys.stdin.isatty()):
        raise BadInput("Burning asks for the chip's id, and there is no terminal to ask on. Nothing was burnt.")
    from host_tools.cli import harden_dialogue  # and with it esptool: a quarter second that other commands do not need

    target = harden_dialogue.board_of(board)
    if burn:
        assert port is not None and micropython is not None
        harden_dialogue.burn(target, port, keys, micropython, as_json)
    else:
        harden_dialogue.show(target, port, keys, micropython, as_json)
