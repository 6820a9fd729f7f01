"""Where a passphrase comes from: a file, the environment, or a person. Never the command line, which every process can
read.
"""

import os
import stat
import sys
from getpass import getpass
from pathlib import Path

from host_tools.keys import KeyFileError

VARIABLE = "JIAOZI_PASSPHRASE"
_MAX_BYTES = 1024


def read(file: Path | None, what: str, new: bool = False) -> str:
    """The passphrase for `what` (`the key of operator 1`); a `new` one is asked for twice. Raises `KeyFileError`."""
    if file is not None:
        return first_line(file, "passphrase")
    given = os.environ.get(VARIABLE)
    if given:
        return _checked(given, VARIABLE)
    if sys.stdin is None or not sys.stdin.isatty():
        raise KeyFileError(
            f"There is no terminal to ask for the passphrase of {what}. Set {VARIABLE} or give --passphrase-file."
        )
    try:
        typed = getpass(f"{'New passphrase' if new else 'Passphrase'} for {what}: ", stream=sys.stderr)
        if new and getpass("The same again: ", stream=sys.stderr) != typed:
            raise KeyFileError("The two passphrases differ. Nothing was written; try again.")
    except EOFError:
        raise KeyFileError(f"No passphrase was typed for {what}. Nothing was changed; try again.") from None
    return _checked(typed, "What was typed")


def _checked(passphrase: str, where: str) -> str:
    """Bytes that are no UTF-8 come from the system as lone surrogates, which no passphrase can be made of."""
    try:
        passphrase.encode()
    except UnicodeEncodeError:
        raise KeyFileError(f"{where} is no UTF-8 text. Nothing was changed; use one that is.") from None
    return passphrase


def first_line(file: Path, what: str) -> str:
    """Of a file that holds a secret (`what`) and is its user's alone. Raises `KeyFileError`."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise KeyFileError(f"Others can read {file}. Nothing was changed. Run: chmod 600 {file}")
            line = opened.read(_MAX_BYTES).split(b"\n")[0].rstrip(b"\r")
        if not line:
            raise KeyFileError(f"{file} has no {what} in its first line. Write it there.")
        return line.decode()
    except OSError as error:
        raise KeyFileError(f"The {what} file {file} cannot be read: {error.strerror}. Check its name.") from None
    except UnicodeDecodeError:
        raise KeyFileError(f"{file} is no text file. Name the file with the {what}.") from None
