"""Settings: atomic through a power cut at any byte, corrupt is never empty, and an older value never comes back."""

import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import micropython

settings_module = micropython.import_on_cpython("storage.settings")
SettingsCorrupt = micropython.import_on_cpython("storage.errors").SettingsCorrupt
Settings = settings_module.Settings


def files(folder: Path) -> tuple[Path, Path]:
    return folder / "settings.a", folder / "settings.b"


def opened(folder: Path) -> Settings:
    return Settings(str(folder / "settings"))


def test_values_survive_and_none_removes(tmp_path: Path) -> None:
    new = opened(tmp_path)
    assert new.get("key_seed") is None
    assert not any(path.exists() for path in files(tmp_path))
    new.update({"key_seed": b"\0" * 32, "certificate": b""})
    new.update({"request_block": b"\0\0\1\0", "certificate": bytearray(b"signed")})
    again = opened(tmp_path)
    assert (again.get("key_seed"), again.get("certificate")) == (b"\0" * 32, b"signed")
    again.update({"certificate": None, "absent": None})
    assert opened(tmp_path).get("certificate") is None
    assert opened(tmp_path).get("request_block") == b"\0\0\1\0"


def test_layout_of_the_file_is_as_documented(tmp_path: Path) -> None:
    opened(tmp_path).update({"b": b"\x07", "a": b"xy"})
    # Checksum by zlib's CRC-32, the only part not written out in the module's header.
    expected = bytes.fromhex("4a5a5331 00000001 0161 0002 7879 0162 0001 07 ")
    first, second = files(tmp_path)
    assert first.read_bytes()[:-4] == expected
    assert first.read_bytes() == second.read_bytes()


def states_of_a_cut_change(before: bytes | None, after: bytes) -> list[tuple[bytes | None, bytes | None]]:
    """The two files after every cut of a change: the first is being written, then the second."""
    first = [(after[:length], before) for length in range(len(after) + 1)]
    return [(before, before), *first, *((after, after[:length]) for length in range(len(after) + 1))]


@pytest.mark.parametrize("is_new", [False, True])
def test_power_cut_at_every_byte_of_a_change(tmp_path: Path, is_new: bool) -> None:
    before = None
    store = opened(tmp_path)
    if not is_new:
        store.update({"request_block": b"old", "key_seed": bytes(32)})
        before = files(tmp_path)[0].read_bytes()
    store.update({"request_block": b"new!"})
    after = files(tmp_path)[0].read_bytes()

    old = (None, None) if is_new else (b"old", bytes(32))
    new = (b"new!", None if is_new else bytes(32))
    seen = set()
    for state in states_of_a_cut_change(before, after):
        for path, data in zip(files(tmp_path), state, strict=True):
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_bytes(data)
        found = opened(tmp_path)
        values = (found.get("request_block"), found.get("key_seed"))
        assert values == (new if state[0] == after else old), state
        seen.add(values)
        # What was found stays, even if the copy it was found in is lost afterwards.
        if values != (None, None):
            for path in files(tmp_path):
                whole = path.read_bytes()
                path.write_bytes(whole[:-1])
                again = opened(tmp_path)
                assert (again.get("request_block"), again.get("key_seed")) == values
                assert path.read_bytes() == whole
        found.update({"request_block": b"next"})
        assert opened(tmp_path).get("request_block") == b"next"
    assert seen == {old, new}


def test_what_changes_nothing_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    store.update({"request_block": b"first"})
    before = [path.read_bytes() for path in files(tmp_path)]
    store.update({"request_block": b"first", "key_seed": None})
    assert [path.read_bytes() for path in files(tmp_path)] == before
    # After a write that failed nobody knows what is in the files.
    write = settings_module._write

    def fail(path: str, data: bytes) -> None:
        if path.endswith(".b"):
            raise OSError(5)
        write(path, data)

    monkeypatch.setattr(settings_module, "_write", fail)
    with pytest.raises(OSError, match="5"):
        store.update({"request_block": b"second"})
    monkeypatch.undo()
    store.update({"request_block": b"first"})
    assert opened(tmp_path).get("request_block") == b"first"


def test_one_damaged_file_never_brings_back_an_older_value(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.update({"request_block": b"\0\0"})
    store.update({"request_block": b"\0\1"})
    for path in files(tmp_path):
        whole = path.read_bytes()
        for place in range(len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= 0x10
            path.write_bytes(damaged)
            assert opened(tmp_path).get("request_block") == b"\0\1"
            assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"JZS1", b"\xff" * 4096, b"x" * 10000])
def test_both_damaged_is_service_and_not_a_new_device(tmp_path: Path, damage: bytes) -> None:
    store = opened(tmp_path)
    store.update({"key_seed": bytes(32)})
    for path in files(tmp_path):
        path.write_bytes(damage)
    with pytest.raises(SettingsCorrupt, match="service"):
        opened(tmp_path)
    assert [path.read_bytes() for path in files(tmp_path)] == [damage, damage]


# Entries that `_encode` never writes, each with what the file has for a generation and under a right checksum.
CRAFTED = {
    "a value shorter than it says": "00000001 0161 ffff 31",
    "no length of a value": "00000001 0161",
    "half a length of a value": "00000001 0161 00",
    "a name longer than the file": "00000001 ff61 0001 31",
    "a name that is no text": "00000001 01ff 0001 31",
    "a name twice": "00000001 0161 0001 31 0161 0001 32",
    "names out of order": "00000001 0162 0001 31 0161 0001 31",
    "no generation": "00000000 0161 0001 31",
    "no generation and nothing else": "00000000",
}


@pytest.mark.parametrize("crafted", CRAFTED.values(), ids=CRAFTED)
def test_crafted_bytes_with_a_right_checksum_are_damage(tmp_path: Path, crafted: str) -> None:
    body = b"JZS1" + bytes.fromhex(crafted)
    data = body + zlib.crc32(body).to_bytes(4, "big")
    opened(tmp_path).update({"key_seed": bytes(32)})
    first, second = files(tmp_path)
    whole = first.read_bytes()
    for path in (first, second):
        path.write_bytes(data)
        assert opened(tmp_path).get("key_seed") == bytes(32)
        assert path.read_bytes() == whole
    for path in (first, second):
        path.write_bytes(data)
    with pytest.raises(SettingsCorrupt, match="service"):
        opened(tmp_path)
    assert [first.read_bytes(), second.read_bytes()] == [data, data]


@pytest.mark.parametrize(
    "changes",
    [{"": b"x"}, {"n" * 25: b"x"}, {"a": b"x" * 3401}, {name: b"x" * 2048 for name in "ab"}],
)
def test_too_much_is_refused_and_changes_nothing(tmp_path: Path, changes: dict[str, bytes]) -> None:
    store = opened(tmp_path)
    store.update({"a": b"kept"})
    before = files(tmp_path)[0].read_bytes()
    with pytest.raises(ValueError, match="setting"):
        store.update(changes)
    assert store.get("a") == b"kept"
    assert files(tmp_path)[0].read_bytes() == before


LISTS = {"revoked 0": b"r" * 3400, "revoked 1": b"o" * 3400, "revoked 300": b"f" * 3400}


def test_each_list_of_revocations_has_files_of_its_own(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.update({"a": b"kept", "operators": b"x" * 3400})
    for name, value in LISTS.items():
        assert store.get(name) is None
        store.update({name: value})
    again = opened(tmp_path)
    assert {name: again.get(name) for name in LISTS} == LISTS == {name: store.get(name) for name in LISTS}
    assert again.get("a") == b"kept"
    assert {path.name for path in tmp_path.iterdir()} == {
        f"settings{issuer}.{end}" for issuer in ("", "-0", "-1", "-300") for end in "ab"
    }
    again.update({"revoked 1": None})
    assert opened(tmp_path).get("revoked 1") is None
    assert opened(tmp_path).get("revoked 0") == LISTS["revoked 0"]


def test_what_lives_in_different_files_does_not_change_in_one_step(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for names in (("a", "revoked 1"), ("revoked 1", "revoked 2")):
        with pytest.raises(ValueError, match="one step"):
            store.update({name: b"x" for name in names})
        assert [store.get(name) for name in names] == [None, None]
    assert not list(tmp_path.iterdir())


def test_power_cut_at_every_byte_of_a_change_of_a_list(tmp_path: Path) -> None:
    opened(tmp_path).update({"revoked 7": b"old"})
    pair = [tmp_path / f"settings-7.{end}" for end in "ab"]
    before = pair[0].read_bytes()
    opened(tmp_path).update({"revoked 7": b"newer"})
    after = pair[0].read_bytes()
    for state in states_of_a_cut_change(before, after):
        for path, data in zip(pair, state, strict=True):
            path.write_bytes(data or b"")
        assert opened(tmp_path).get("revoked 7") == (b"newer" if state[0] == after else b"old")
        assert pair[0].read_bytes() == pair[1].read_bytes()


def test_a_list_that_cannot_be_read_is_service_and_the_rest_is_not(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.update({"a": b"kept"})
    store.update({"revoked 7": b"entries"})
    for end in "ab":
        (tmp_path / f"settings-7.{end}").write_bytes(b"?")
    again = opened(tmp_path)
    assert again.get("a") == b"kept"
    with pytest.raises(SettingsCorrupt, match="service"):
        again.get("revoked 7")
    assert len(list(tmp_path.glob("settings-7.*"))) == 2


@pytest.mark.parametrize("present", ["ab", "a", "b"])
def test_a_list_that_cannot_be_read_is_forgotten_where_that_is_allowed(tmp_path: Path, present: str) -> None:
    """Wherever power goes in between; and a list that is written anew needs nothing of the old one."""
    for learn_at_once in (False, True):
        for end in present:
            (tmp_path / f"settings-7.{end}").write_bytes(b"?")
        if not learn_at_once:
            assert opened(tmp_path).get("revoked 7", True) is None
            assert opened(tmp_path).get("revoked 7") is None
        opened(tmp_path).update({"revoked 7": b"learnt again"})
        assert opened(tmp_path).get("revoked 7") == b"learnt again"


def test_nothing_else_is_ever_forgotten(tmp_path: Path) -> None:
    for path in files(tmp_path):
        path.write_bytes(b"?")
    with pytest.raises(SettingsCorrupt, match="service"):
        opened(tmp_path).get("a", True)
    assert all(path.exists() for path in files(tmp_path))


@settings(deadline=None)  # every change waits for a disk that others use
@given(
    changes=st.lists(
        st.dictionaries(st.sampled_from(["a", "bb", "key_seed"]), st.none() | st.binary(max_size=40)), max_size=6
    )
)
def test_behaves_like_a_dictionary(tmp_path_factory: pytest.TempPathFactory, changes: list[dict]) -> None:
    folder = tmp_path_factory.mktemp("settings")
    model: dict[str, bytes | None] = {}
    store = opened(folder)
    for change in changes:
        store.update(change)
        model.update(change)
    again = opened(folder)
    for name in ("a", "bb", "key_seed"):
        assert store.get(name) == again.get(name) == model.get(name)


def test_on_micropython(tmp_path: Path) -> None:
    script = """
from ports import unix as port
from storage.errors import SettingsCorrupt
from storage.settings import Settings
path = port.data_path("settings")
store = Settings(path)
assert store.get("key_seed") is None
store.update({"key_seed": bytes(range(32)), "certificate": b"c" * 250})
store.update({"certificate": memoryview(b"renewed")})
with open(path + ".a", "r+b") as file:
    file.seek(12)
    file.write(b"?")
store.update({"revoked 5": b"entries"})
store = Settings(path)
assert store.get("key_seed") == bytes(range(32)) and store.get("certificate") == b"renewed"
assert store.get("revoked 5") == b"entries" and store.get("revoked 6") is None
for end in "ab":
    with open(path + "." + end, "r+b") as file:
        file.write(b"?")
try:
    Settings(path)
except SettingsCorrupt:
    print("refused")
"""
    assert micropython.run(script, environment={"JIAOZI_STATE": str(tmp_path)}) == "refused\n"
