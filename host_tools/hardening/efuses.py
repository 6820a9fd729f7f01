"""A chip's eFuses through espefuse: read as its summary tells them, burnt by its commands; of a chip at a port, or
virtual in a file.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espefuse.efuse.esp32.fields import EfuseMacField
from espefuse.efuse_interface import SUPPORTED_CHIPS

from host_tools.hardening import tools
from host_tools.hardening.errors import ToolFailed

_MAC = re.compile("([0-9a-f]{2}:){5}[0-9a-f]{2}")
_TOKEN = re.compile(r"EFSR:\S+")


@dataclass(frozen=True)
class Fuse:
    """One eFuse as it is now. A field that cannot be read has the value 0."""

    name: str
    value: int
    readable: bool
    writeable: bool
    category: str
    text: str  # espefuse's words for the value; keys that cannot be read are question marks


Fuses = Mapping[str, Fuse]


class Efuses:
    """`where` is how espefuse finds them: `("--port", "/dev/ttyUSB0")`, `("--virt", "--path-efuse-file", "x.bin")`."""

    def __init__(self, chip: str, where: tuple[str, ...]):
        self.chip = chip  # as esptool calls it
        self.where = where
        self._options = ("--chip", chip, *where)

    def read(self) -> dict[str, Fuse]:
        """Every eFuse by its name. Raises `ToolFailed`."""
        said = tools.run(("espefuse", *self._options, "summary", "--format", "json"))
        try:
            table = json.loads(said[said.index("{") : said.rindex("}") + 1])
            return {
                name: Fuse(
                    name,
                    int(row["raw_value"], 16),
                    row["readable"],
                    row["writeable"],
                    row["category"].lower(),
                    str(row["value"]),
                )
                for name, row in table.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ToolFailed("espefuse summary gave no list of eFuses. Nothing was burnt.") from None

    def burning(self, *command: str) -> tuple[str, ...]:
        """The command line that burns by `command`; espefuse does not ask, we have asked."""
        return ("espefuse", *self._options, "--do-not-confirm", *command)

    def copy(self, path: Path) -> "Efuses":
        """The same eFuses as a virtual chip in the file `path`. What cannot be read is 0 there."""
        found = _TOKEN.search(tools.run(("espefuse", *self._options, "dump", "--format", "token")))
        if found is None:
            raise ToolFailed("espefuse dump gave no copy of the eFuses. Nothing was burnt.")
        # In this process: a key that is not protected yet must not stand in a command line.
        SUPPORTED_CHIPS[self.chip].efuse_lib.EmulateEfuseController(str(path), False, found[0])
        return virtual(self.chip, path)


def virtual(chip: str, path: Path) -> Efuses:
    """The virtual chip in the file `path`."""
    return Efuses(chip, ("--virt", "--path-efuse-file", str(path.absolute())))


def new_virtual(chip: str, path: Path, revision: int, mac: bytes | None = None) -> Efuses:
    """A virtual chip as it leaves the factory: nothing burnt but its id and its revision (major * 100 + minor)."""
    mac = b"\x02" + secrets.token_bytes(5) if mac is None else mac  # 02: an address that no maker has
    words = int.from_bytes(mac[2:], "big"), int.from_bytes(mac[:2], "big")
    memory = SUPPORTED_CHIPS[chip].efuse_lib.EmulateEfuseController(str(path))
    memory.set_chip_revision(revision)
    if chip == "esp32":
        memory.direct_write_efuse(1, words[0], 0)
        memory.direct_write_efuse(2, words[1] | EfuseMacField.calc_crc(mac) << 16, 0)
    else:
        memory.direct_write_efuse(0, words[0], 1)
        memory.direct_write_efuse(1, words[1], 1)
    memory.save_to_file()
    return virtual(chip, path)


def mac_of(fuses: Fuses) -> str:
    """The chip's own id, like `60:01:94:0a:0b:0c`. Raises `ToolFailed`."""
    found = _MAC.match(fuses["MAC"].text.lower())
    if found is None:
        raise ToolFailed(f"The chip's id reads as {fuses['MAC'].text!r}. Nothing was burnt.")
    return found[0]


def revision_of(fuses: Fuses) -> int:
    """Major * 100 + minor, as esptool counts."""
    return fuses["WAFER_VERSION_MAJOR"].value * 100 + fuses["WAFER_VERSION_MINOR"].value


def revision_text(revision: int) -> str:
    return f"v{revision // 100}.{revision % 100}"
