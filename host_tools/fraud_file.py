"""A fraud proof as a file that anybody can check with only the root key (docs/protocol.md, "Fraud proofs").

One JSON object: `format`, `version`, `operator_certificate`, `certificate`, and `first` and `second`, each with
`signed` and `bodies`; binary values are lower-case hex. Reading is strict: what is not exactly such an object is no
proof. What the bytes in it say is `protocol.fraud`'s to judge.
"""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from protocol.fraud import Commitment, FraudProof

_FORMAT = "jiaozi fraud proof"
_VERSION = 1
# Twice `fraud.MAX_BODIES` of at most 130 bytes, in hex, are 11 MB. A foreign file of any size must not fill the memory.
MAX_FILE_BYTES = 16 << 20
_KEYS = ("format", "version", "operator_certificate", "certificate", "first", "second")
_COMMITMENT_KEYS = ("signed", "bodies")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")


class FraudFileError(Exception):
    """The file holds no fraud proof, or cannot be written; the message says why and what to do."""


def encode(proof: FraudProof) -> bytes:
    """The file's bytes, the same for the same proof."""
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "operator_certificate": proof.operator_certificate.hex(),
        "certificate": proof.certificate.hex(),
        "first": _commitment_facts(proof.first),
        "second": _commitment_facts(proof.second),
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def _commitment_facts(commitment: Commitment) -> dict:
    return {"signed": commitment.signed.hex(), "bodies": [body.hex() for body in commitment.bodies]}


def decode(data: bytes) -> FraudProof:
    """Raises `FraudFileError` for anything but the one form above."""
    if len(data) > MAX_FILE_BYTES:
        raise FraudFileError(f"it is longer than {MAX_FILE_BYTES} bytes")
    try:
        content = json.loads(data.decode(), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError too
        raise FraudFileError("it is not JSON") from None
    fields = _fields(content, _KEYS, "the file")
    if fields["format"] != _FORMAT:
        raise FraudFileError(f"its format is not {_FORMAT!r}")
    if type(fields["version"]) is not int or fields["version"] != _VERSION:
        raise FraudFileError(f"its version is not {_VERSION}; this program may be too old for it")
    return FraudProof(
        _bytes(fields["operator_certificate"], "operator_certificate"),
        _bytes(fields["certificate"], "certificate"),
        _commitment(fields["first"], "first"),
        _commitment(fields["second"], "second"),
    )


def _commitment(content: Any, where: str) -> Commitment:
    fields = _fields(content, _COMMITMENT_KEYS, where)
    if not isinstance(fields["bodies"], list):
        raise FraudFileError(f"the bodies of {where} are no list")
    bodies = tuple(_bytes(body, f"a body of {where}") for body in fields["bodies"])
    return Commitment(_bytes(fields["signed"], f"what is signed in {where}"), bodies)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict:
    """A name that stands twice would be read by one program one way and by the next another."""
    if len(dict(pairs)) != len(pairs):
        raise FraudFileError("a name stands twice in one object of it")
    return dict(pairs)


def _fields(content: Any, names: tuple[str, ...], where: str) -> dict:
    if not isinstance(content, dict):
        raise FraudFileError(f"{where} is no JSON object")
    missing = [name for name in names if name not in content]
    if missing:
        raise FraudFileError(f"{where} has no {missing[0]!r}")
    if len(content) > len(names):
        raise FraudFileError(f"{where} has a key that does not belong there")
    return content


def _bytes(value: Any, where: str) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise FraudFileError(f"{where} is not lower-case hex")
    return bytes.fromhex(value)


def read(path: Path) -> FraudProof:
    """Raises `FraudFileError`; `OSError` if there is no such file or it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe that nobody writes would be waited for
            raise FraudFileError("it is no regular file")
        with path.open("rb") as file:
            return decode(file.read(MAX_FILE_BYTES + 1))
    except FraudFileError as error:
        raise FraudFileError(f"{path} is no fraud proof: {error}. It proves nothing. Ask for the file again.") from None


def write_new(path: Path, proof: FraudProof) -> None:
    """Raises `FileExistsError`: what is there is never overwritten; and other `OSError`s, after which nothing is."""
    with path.open("xb") as file:
        try:
            file.write(encode(proof))
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise
