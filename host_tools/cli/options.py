"""The options and arguments that commands share, so that each is called and explained the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_HOME = Path("jiaozi-home")

Home = Annotated[
    Path,
    typer.Option("--home", envvar="JIAOZI_HOME", metavar="FOLDER", help="Project folder: key files and the ledger."),
]
LedgerUrl = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar="JIAOZI_LEDGER",
        metavar="URL",
        show_default=False,
        help="Another ledger than the folder's ledger.db, as an SQLAlchemy URL; for what hosts do with devices, also a"
        " service's https:// address.",
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        show_default=False,
        help="File with the passphrase in its first line. Otherwise JIAOZI_PASSPHRASE, otherwise it is asked for.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        show_default=False,
        help="With --ledger https://...: file with the token in its first line. Otherwise JIAOZI_TOKEN.",
    ),
]
Operator = Annotated[
    int | None,
    typer.Option(
        "--operator", metavar="NUMBER", show_default=False, help="Whose key to use; not needed if there is one."
    ),
]
Port = Annotated[
    str | None,
    typer.Option(
        "--port", metavar="URL", show_default=False, help="Serial port of the device (/dev/ttyUSB0, socket://..)."
    ),
]
Reader = Annotated[
    str | None,
    typer.Option(
        "--reader", metavar="PATH", show_default=False, help="NFC reader with the device on it (usb, /dev/ttyUSB0)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object; amounts are minor units.")]

Device = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's name, or the beginning of its id.")]
OperatorNumber = Annotated[int, typer.Argument(metavar="NUMBER", help="The operator's number, 1 to 65535.")]
Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="In the operator's currency, like 18.50.")]
