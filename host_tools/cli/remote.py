"""The service that `--ledger https://...` names, and the token for it. A token, like a passphrase, never comes from the
command line, which every process can read.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.cli import passphrase
from host_tools.cli.exits import BadInput
from host_tools.cli.home import Home

if TYPE_CHECKING:
    from host_tools.server.client import RemoteLedger

VARIABLE = "JIAOZI_TOKEN"


@contextmanager
def ledger(here: Home, token_file: Path | None = None, with_token: bool = False) -> Iterator["RemoteLedger"]:
    """The ledger behind the service. A token is not sent where none is needed. Raises `BadInput`, `KeyFileError`."""
    from host_tools.server.client import RemoteLedger  # takes a moment to import, and few commands need it

    token = _token(token_file) if with_token else ""
    try:
        opened = RemoteLedger(here.ledger_url, token)
    except ValueError as error:
        raise BadInput(f"{error}.") from None
    try:
        yield opened
    finally:
        opened.close()


def _token(file: Path | None) -> str:
    text = passphrase.first_line(file, "token") if file is not None else os.environ.get(VARIABLE, "")
    if not text:
        raise BadInput(f"The service wants a token for this. Give --token-file, or set {VARIABLE}.")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise BadInput("That is no token. Use what jiaozi token create printed.")
    return text
