"""The files of hardening: the operator's signing key, each device's flash encryption key, and what was begun with it.

    DIR/signing-key.pem                  RSA-3072, one for all devices of an operator
    DIR/600194123456/flash-key.bin       256 bits, for the chip with this id and no other
    DIR/600194123456/progress.json       that it was burnt: a key that nobody can read back needs a witness
    DIR/600194123456/*.bin               the device's images, signed and encrypted

Keys are made by espsecure, have mode 0600, and are never overwritten and never shown.
"""

import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path

from host_tools.hardening import tools
from host_tools.hardening.errors import KeyNotFit

FLASH_KEY_BYTES = 32
_MAXIMUM_FILE_BYTES = 65_536  # a PEM of RSA-3072 has 2,500
_FORMAT = "jiaozi hardening 1"

# As commands that run in the device's folder name them.
SIGNING_KEY = "../signing-key.pem"
FLASH_KEY = "flash-key.bin"
MAKE_SIGNING_KEY = ("espsecure", "generate-signing-key", "--version", "2", "--scheme", "rsa3072")
MAKE_FLASH_KEY = ("espsecure", "generate-flash-encryption-key", "--keylen", str(FLASH_KEY_BYTES * 8))


class Keys:
    """The files of one device below the operator's folder. Nothing is made or read before a method is called."""

    def __init__(self, folder: Path, mac: str):
        self.folder = folder
        self.own = folder / mac.replace(":", "")
        self.signing_key = folder / "signing-key.pem"
        self.flash_key = self.own / FLASH_KEY
        self._progress = self.own / "progress.json"

    def files(self) -> tuple[Path, ...]:
        """All that must not be lost."""
        return self.signing_key, self.flash_key, self._progress

    def make_missing(self) -> list[Path]:
        """Make the keys that are not there; those are returned. Raises `KeyNotFit`, `ToolFailed`, `OSError`."""
        self.check_there()
        for folder in (self.folder, self.own):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = []
        if not self.signing_key.exists():
            _make(self.signing_key, MAKE_SIGNING_KEY)
            made.append(self.signing_key)
        if not self.flash_key.exists():
            _make(self.flash_key, MAKE_FLASH_KEY)
            made.append(self.flash_key)
        return made

    def check_there(self) -> None:
        """What is there can be used, and no key that was burnt is gone. Raises `KeyNotFit`."""
        for path in self.files():
            if path.exists():
                _private(path)
        if self.burnt_key_digest() is not None and not self.flash_key.exists():
            raise KeyNotFit(
                f"{self.flash_key} is gone, and it is the one that was burnt into this chip."
                " Nothing further was burnt. Put its backup there and repeat."
            )

    def check(self) -> None:
        """Both keys are there, whole and for us alone. Raises `KeyNotFit`."""
        _private(self.signing_key)
        if len(_private(self.flash_key)) != FLASH_KEY_BYTES:
            raise KeyNotFit(f"{self.flash_key} is damaged: it must have {FLASH_KEY_BYTES} bytes. Put its backup there.")

    def flash_key_in_block(self) -> int:
        """The flash key as its eFuses hold it: the hardware wants its bytes the other way round."""
        return int.from_bytes(_private(self.flash_key), "little")

    def public_key_digest(self) -> int:
        """What the chip is given of the signing key."""
        _private(self.signing_key)
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "digest.bin")
            words = ("--keyfile", str(self.signing_key.absolute()), "--output", str(output))
            tools.run(("espsecure", "digest-sbv2-public-key", *words))
            return int.from_bytes(output.read_bytes(), "big")

    def burnt_key_digest(self) -> str | None:
        """Of the flash key whose burning was begun, None if none was. Raises `KeyNotFit` if the record is damaged."""
        try:
            content = json.loads(self._progress.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT or not isinstance(content["flash_key_sha256"], str):
                raise ValueError
            return content["flash_key_sha256"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise KeyNotFit(f"{self._progress} is damaged. Nothing was burnt. Put its backup there.") from None

    def note_burning(self) -> None:
        """Before the flash key is burnt: from now on this chip's key is this one."""
        content = {"format": _FORMAT, "flash_key_sha256": self.flash_key_digest()}
        _write_new(self._progress, (json.dumps(content, indent=2) + "\n").encode(), replace=True)

    def flash_key_digest(self) -> str:
        """Tells two keys apart and gives neither away."""
        return hashlib.sha256(_private(self.flash_key)).hexdigest()


def _make(path: Path, command: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:  # mode 0700
        tools.run((*command, path.name), Path(folder))
        _write_new(path, Path(folder, path.name).read_bytes())


def _private(path: Path) -> bytes:
    """A key file that only its owner can read."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAXIMUM_FILE_BYTES + 1)
    except FileNotFoundError:
        raise KeyNotFit(
            f"{path} is not there. Nothing was burnt. Put its backup there, or the right folder in --keys."
        ) from None
    except OSError as error:
        raise KeyNotFit(
            f"{path} cannot be read: {error.strerror}. Nothing was burnt. Check its owner and mode."
        ) from None
    if mode & 0o077:
        raise KeyNotFit(f"Others can read {path}. Nothing was burnt. Run: chmod 600 {path}")
    if not stat.S_ISREG(mode) or not data or len(data) > _MAXIMUM_FILE_BYTES:
        raise KeyNotFit(f"{path} is no key file. Nothing was burnt. Put its backup there.")
    return data


def _write_new(path: Path, data: bytes, replace: bool = False) -> None:
    """The file appears complete and with mode 0600, or not at all; an existing one is replaced only if told to."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)  # unlike a rename it fails if the name is taken
    finally:
        Path(temporary).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
