"""Key files: what goes wrong is named, nothing is overwritten, and no secret shows."""

import base64
import json
import os
import stat
import traceback
from pathlib import Path

import pytest

from host_tools import crypto, keys
from host_tools.crypto import Signer

SEED = bytes(range(32))
PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "operator.key"
    keys.create(path, "operator", PASSPHRASE, seed=SEED, cost=keys.INTERACTIVE)
    return path


def test_a_key_comes_back_and_signs(key_file: Path) -> None:
    signer = keys.load(key_file, "operator", PASSPHRASE)
    assert signer.public == Signer(SEED).public
    assert keys.public_key(key_file) == ("operator", signer.public)
    signature = signer.sign(b"load")
    assert crypto.verify(signer.public, b"load", signature)
    assert not crypto.verify(signer.public, b"Load", signature)


def test_random_keys_differ(tmp_path: Path) -> None:
    made = [keys.create(tmp_path / name, "root", PASSPHRASE, cost=keys.INTERACTIVE) for name in ("a", "b")]
    assert made[0].public != made[1].public


def test_file_is_private_complete_and_without_secret(key_file: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [path.name for path in key_file.parent.iterdir()] == ["operator.key"]
    data = key_file.read_bytes()
    for form in (SEED, SEED.hex().encode(), base64.b64encode(SEED), PASSPHRASE.encode()):
        assert form not in data


def test_existing_file_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(keys.KeyFileError, match="never overwritten"):
        keys.create(key_file, "operator", "another", cost=keys.INTERACTIVE)
    assert key_file.read_bytes() == before
    # Also if it appears between the look and the write.
    with pytest.raises(keys.KeyFileError, match="never overwritten"):
        keys._write_new(key_file, b"other")
    assert key_file.read_bytes() == before
    assert len(list(key_file.parent.iterdir())) == 1


def test_wrong_passphrase_wrong_kind_and_missing_file_are_told_apart(key_file: Path) -> None:
    with pytest.raises(keys.KeyFileError, match="wrong passphrase"):
        keys.load(key_file, "operator", PASSPHRASE + " ")
    with pytest.raises(keys.KeyFileError, match="holds a key of kind 'operator', but 'root'"):
        keys.load(key_file, "root", PASSPHRASE)
    with pytest.raises(keys.KeyFileError, match="does not exist"):
        keys.load(key_file.with_name("other"), "operator", PASSPHRASE)
    with pytest.raises(keys.KeyFileError, match="empty"):
        keys.create(key_file.with_name("new"), "operator", "", cost=keys.INTERACTIVE)
    with pytest.raises(keys.KeyFileError, match="cannot be written"):
        keys.create(key_file.parent / "no" / "folder", "operator", PASSPHRASE, cost=keys.INTERACTIVE)


def changed(data: bytes, path: list[str], value: object) -> bytes:
    content = json.loads(data)
    place = content
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format"], "jiaozi key 2"),
        (["kind"], "device"),
        (["kind"], None),
        (["kind"], ["operator"]),
        (["public"], "00"),
        (["public"], 7),
        (["box"], "AAAA"),
        (["box"], "!"),
        (["argon2id"], None),
        (["argon2id", "salt"], "AAAA"),
        (["argon2id", "operations"], 2**40),
        (["argon2id", "operations"], "2"),
        (["argon2id", "memory_bytes"], 2**50),
        (["argon2id", "memory_bytes"], True),
    ],
)
def test_damaged_fields_are_a_key_file_error(key_file: Path, path: list[str], value: object) -> None:
    key_file.write_bytes(changed(key_file.read_bytes(), path, value))
    with pytest.raises(keys.KeyFileError, match="damaged"):
        keys.load(key_file, "operator", PASSPHRASE)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b" " * 5000, b"[" * 4000, b'{"kind":' * 500])
def test_garbage_is_a_key_file_error(key_file: Path, data: bytes) -> None:
    key_file.write_bytes(data)
    with pytest.raises(keys.KeyFileError, match="backup"):
        keys.load(key_file, "operator", PASSPHRASE)


def test_a_pipe_or_folder_in_place_of_a_key_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((tmp_path / "pipe", "no key file"), (tmp_path, "cannot be read|no key file")):
        with pytest.raises(keys.KeyFileError, match=words):
            keys.public_key(path)


def test_swapped_labels_are_noticed(key_file: Path) -> None:
    whole = key_file.read_bytes()
    key_file.write_bytes(changed(whole, ["public"], Signer(bytes(32)).public.hex()))
    with pytest.raises(keys.KeyFileError, match="was changed"):
        keys.load(key_file, "operator", PASSPHRASE)
    key_file.write_bytes(changed(whole, ["kind"], "root"))
    with pytest.raises(keys.KeyFileError, match="was changed"):
        keys.load(key_file, "root", PASSPHRASE)


def test_every_flipped_byte_of_the_box_is_refused(key_file: Path) -> None:
    whole = key_file.read_bytes()
    box = bytearray(base64.b64decode(json.loads(whole)["box"]))
    for place in (0, 23, 24, 40, len(box) - 1):
        box[place] ^= 1
        key_file.write_bytes(changed(whole, ["box"], base64.b64encode(box).decode()))
        box[place] ^= 1
        with pytest.raises(keys.KeyFileError, match="wrong passphrase, or the file was changed"):
            keys.load(key_file, "operator", PASSPHRASE)


def test_no_secret_in_what_is_printed(key_file: Path) -> None:
    signer = keys.load(key_file, "operator", PASSPHRASE)
    shown = repr(signer) + str(signer)
    key_file.write_bytes(changed(key_file.read_bytes(), ["public"], "00" * 32))
    try:
        keys.load(key_file, "operator", PASSPHRASE)
    except keys.KeyFileError:
        shown += traceback.format_exc()
    assert "was changed" in shown
    for secret in (SEED.hex(), repr(SEED), PASSPHRASE):
        assert secret not in shown
    assert signer.public.hex() in shown


def test_wrong_lengths_are_named() -> None:
    signer = Signer(SEED)
    with pytest.raises(ValueError, match="seed"):
        Signer(SEED[:-1])
    with pytest.raises(ValueError, match="public"):
        crypto.verify(signer.public[:-1], b"", bytes(64))
    with pytest.raises(ValueError, match="signature"):
        crypto.verify(signer.public, b"", bytes(63))
    with pytest.raises(ValueError, match="kind"):
        keys.create(Path("unused"), "device", PASSPHRASE)


def test_sha256_of_the_standards_example() -> None:
    # FIPS 180-4's example "abc" (NIST, Secure Hashing examples)
    assert crypto.sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
