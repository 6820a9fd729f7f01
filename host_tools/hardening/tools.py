"""espefuse, espsecure and esptool as processes: the command lines that are shown are those that run.

A process of its own keeps what these tools leave behind in theirs (their command tables change with the chip). None of
their output is passed on: on a chip that is half done it can hold a key.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from host_tools.hardening.errors import ToolFailed

# Settings of the tools that somebody keeps in the environment must not lead them to another port or chip.
_OWN_SETTINGS = re.compile("ESPTOOL_.*|ESPSECURE_.*|ESPEFUSE_.*")
_FAILURE = re.compile(r"(?:A fatal error occurred:|ERROR:|Error\b:?)\s*", re.ASCII)
_FRAME = re.compile("[\u2500-\u257f]")  # what is typed wrongly is told in a box
_MAXIMUM_REASON_LENGTH = 300


def run(command: tuple[str, ...], folder: Path | None = None) -> str:
    """What a tool prints that runs in `folder` and ends well. Raises `ToolFailed` with its reason.

    Ctrl-C waits for the end: a tool that is burning is never stopped half way.
    """
    code, said = _run(command, folder)
    if code:
        raise ToolFailed(f"{command[0]} {_verb(command[1:])} failed: {_reason(said)}")
    return said


def _run(command: tuple[str, ...], folder: Path | None) -> tuple[int, str]:
    settings = {name: value for name, value in os.environ.items() if not _OWN_SETTINGS.fullmatch(name)}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=settings | {"COLUMNS": "400", "NO_COLOR": "1", "TERM": "dumb"},
        start_new_session=True,  # the terminal's Ctrl-C is for us alone
    )
    interrupted = False
    while True:
        try:
            said, _ = process.communicate()
            break
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode, said.decode(errors="replace")


def _verb(arguments: tuple[str, ...]) -> str:
    """`burn-key` of `--chip esp32 --port X burn-key ..`."""
    words = list(arguments)
    while words and words[0].startswith("--"):
        words = words[1:] if words[0] in ("--virt", "--do-not-confirm", "--no-stub") else words[2:]
    return words[0] if words else ""


def _reason(said: str) -> str:
    """The tool's last words: what stands behind its first failure, in one line."""
    said = _FRAME.sub("", said)
    found = _FAILURE.search(said)
    text = said[found.end() :] if found else "\n".join(said.strip().splitlines()[-3:])
    while again := _FAILURE.match(text):
        text = text[again.end() :]
    return " ".join(text.split())[:_MAXIMUM_REASON_LENGTH].rstrip(".") + "."
