"""Key files of the root and of operators: a seed, encrypted under a passphrase, in a small JSON file.

Argon2id (RFC 9106) makes the key for XSalsa20-Poly1305 (NaCl's secretbox) from the passphrase. Kind and public key
stand in the clear and are also inside the box, so swapping them is noticed. A key file is never overwritten, never
world-readable, and either complete or not there.
"""

import base64
import binascii
import json
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nacl.exceptions
import nacl.pwhash.argon2id as argon2id
from nacl.secret import SecretBox

from host_tools.crypto import SEED_BYTES, Signer

KINDS = ("root", "operator")
_FORMAT = "jiaozi key 1"
_FILE_MAX_BYTES = 4096  # ten times a key file
# A file may ask for no more than this, whoever wrote it: libsodium's SENSITIVE, and one GiB of memory.
_OPERATIONS_MAX = argon2id.OPSLIMIT_SENSITIVE
_MEMORY_MAX_BYTES = argon2id.MEMLIMIT_SENSITIVE


class KeyFileError(Exception):
    """The key file cannot be used; the message says why and what to do. It never contains a secret."""


@dataclass(frozen=True)
class Cost:
    """What trying one passphrase costs (Argon2id)."""

    operations: int
    memory_bytes: int


STANDARD = Cost(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)  # 256 MiB, under a second
INTERACTIVE = Cost(argon2id.OPSLIMIT_INTERACTIVE, argon2id.MEMLIMIT_INTERACTIVE)  # 64 MiB, for tests and demos


def create(path: Path, kind: str, passphrase: str, *, seed: bytes | None = None, cost: Cost = STANDARD) -> Signer:
    """Makes a key (from `seed`, otherwise at random), writes its file with mode 0600 and returns it.

    Raises KeyFileError if `path` exists or cannot be written, or the passphrase is empty; ValueError for a wrong kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}")
    if not passphrase:
        raise KeyFileError("The passphrase is empty. Nothing was written; choose one.")
    if path.exists():
        raise KeyFileError(f"{path} exists and a key is never overwritten. Choose another name or move the file away.")
    seed = secrets.token_bytes(SEED_BYTES) if seed is None else seed
    signer = Signer(seed)
    salt = secrets.token_bytes(argon2id.SALTBYTES)
    content = {
        "format": _FORMAT,
        "kind": kind,
        "public": signer.public.hex(),
        "argon2id": {"operations": cost.operations, "memory_bytes": cost.memory_bytes, "salt": _text(salt)},
        "box": _text(_box(passphrase, salt, cost).encrypt(kind.encode().ljust(8) + seed)),
    }
    _write_new(path, json.dumps(content, indent=2).encode() + b"\n")
    return signer


def load(path: Path, kind: str, passphrase: str) -> Signer:
    """Opens a key file. Raises KeyFileError: missing, damaged, another kind, or a wrong passphrase."""
    content = _read(path)
    if content["kind"] != kind:
        raise KeyFileError(
            f"{path} holds a key of kind '{content['kind']}', but '{kind}' is needed. Name the right file."
        )
    box = _box(passphrase, content["salt"], content["cost"])
    try:
        opened = box.decrypt(content["box"])
    except nacl.exceptions.CryptoError:
        raise KeyFileError(
            f"{path} does not open: wrong passphrase, or the file was changed. Try again, or use its backup."
        ) from None
    signer = Signer(opened[-SEED_BYTES:])
    if opened[:-SEED_BYTES] != kind.encode().ljust(8) or signer.public != content["public"]:
        raise KeyFileError(f"{path} was changed: kind or public key is not the one it was made with. Use its backup.")
    return signer


def public_key(path: Path) -> tuple[str, bytes]:
    """(kind, public key) as the file claims, without the passphrase. Raises KeyFileError."""
    content = _read(path)
    return content["kind"], content["public"]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _box(passphrase: str, salt: bytes, cost: Cost) -> SecretBox:
    key = argon2id.kdf(SecretBox.KEY_SIZE, passphrase.encode(), salt, cost.operations, cost.memory_bytes)
    return SecretBox(key)


def _read(path: Path) -> dict[str, Any]:
    """The fields of a key file in their own types, every one checked."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes would wait for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(_FILE_MAX_BYTES + 1) if regular else b""
    except FileNotFoundError:
        raise KeyFileError(f"{path} does not exist. Make the key first, or name the right file.") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}. Check its owner and mode.") from None
    damaged = KeyFileError(f"{path} is damaged or no key file. Restore it from its backup.")
    if len(data) > _FILE_MAX_BYTES:
        raise damaged
    try:
        raw = json.loads(data)
        cost = Cost(raw["argon2id"]["operations"], raw["argon2id"]["memory_bytes"])
        fields = {
            "format": raw["format"],
            "kind": raw["kind"],
            "public": bytes.fromhex(raw["public"]),
            "salt": base64.b64decode(raw["argon2id"]["salt"], validate=True),
            "box": base64.b64decode(raw["box"], validate=True),
            "cost": cost,
        }
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise damaged from None
    costs_are_sane = (
        type(cost.operations) is int
        and type(cost.memory_bytes) is int
        and argon2id.OPSLIMIT_MIN <= cost.operations <= _OPERATIONS_MAX
        and argon2id.MEMLIMIT_MIN <= cost.memory_bytes <= _MEMORY_MAX_BYTES
    )
    box_bytes = SecretBox.NONCE_SIZE + SecretBox.MACBYTES + 8 + SEED_BYTES
    if (
        fields["format"] != _FORMAT
        or fields["kind"] not in KINDS
        or not costs_are_sane
        or len(fields["public"]) != 32
        or len(fields["salt"]) != argon2id.SALTBYTES
        or len(fields["box"]) != box_bytes
    ):
        raise damaged
    return fields


def _write_new(path: Path, data: bytes) -> None:
    """The file appears complete and with mode 0600, or not at all; an existing one is never replaced."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename it fails if the name is taken
        finally:
            os.unlink(temporary)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise KeyFileError(f"{path} exists and a key is never overwritten. Choose another name.") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}. No key was made; check the folder.") from None
