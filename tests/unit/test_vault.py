"""The sealed key and the PIN: published vectors, nothing secret in plain, and exact tries through every power cut."""

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol import effects
from protocol.errors import MISMATCH, NOT_FOUND, Refused
from protocol.objects import TAKE_PIN_AWAY
from tests import micropython

settings_module = micropython.import_on_cpython("storage.settings")
vault = micropython.import_on_cpython("storage.vault")
pins = micropython.import_on_cpython("apps.pin")
SettingsCorrupt = micropython.import_on_cpython("storage.errors").SettingsCorrupt

SECRET, SALT, PUBLIC = bytes(range(32)), bytes(range(100, 116)), bytes(range(200, 232))
SEED = hashlib.sha256(b"a seed").digest()
PIN, WRONG = "12345", "54321"

# RFC 4231, sections 4.2 to 4.8: key, data, HMAC-SHA-256 (of 4.6 the first 16 bytes)
HMAC_VECTORS = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data."
        b" The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]
# RFC 7914, section 11: password, salt, rounds, the first 32 of 64 bytes
PBKDF2_VECTORS = [
    (b"passwd", b"salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
    (b"Password", b"NaCl", 80_000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"),
]


def test_hmac_and_pbkdf2_give_the_published_answers() -> None:
    for key, data, expected in HMAC_VECTORS:
        assert vault.hmac(key, data).hex().startswith(expected)
    for password, salt, rounds, expected in PBKDF2_VECTORS:
        assert vault.pbkdf2(password, salt, rounds).hex() == expected


ON_MICROPYTHON = """
from storage import vault
for key, data, expected in HMACS:
    assert vault.hmac(key, data).hex().startswith(expected), expected
for password, salt, rounds, expected in PBKDF2S:
    assert vault.pbkdf2(password, salt, rounds).hex() == expected, expected
stretched = vault.stretch("12345", SALT)
for under in (b"", stretched):
    sealed = vault.seal(SECRET, under, SALT, PUBLIC, bytearray(SEED))
    assert bytes(vault.unseal(SECRET, under, PUBLIC, sealed)) == SEED
    print(sealed.hex())
print(vault.new_pin(SECRET, stretched, SALT, True).encode().hex())
"""


def test_micropython_gives_the_same_bytes() -> None:
    script = ON_MICROPYTHON.replace("PBKDF2S", repr(PBKDF2_VECTORS)).replace("HMACS", repr(HMAC_VECTORS))
    for name, value in (("SECRET", SECRET), ("SALT", SALT), ("PUBLIC", PUBLIC), ("SEED", SEED)):
        script = script.replace(name, repr(value))
    stretched = hashlib.pbkdf2_hmac("sha256", PIN.encode(), SALT, 2_000)
    assert micropython.run(script).split() == [
        vault.seal(SECRET, b"", SALT, PUBLIC, bytearray(SEED)).hex(),
        vault.seal(SECRET, stretched, SALT, PUBLIC, bytearray(SEED)).hex(),
        vault.new_pin(SECRET, stretched, SALT, True).encode().hex(),
    ]


# --- the sealed seed


@pytest.mark.parametrize("stretched", [b"", b"s" * 32], ids=["under the device", "under the PIN too"])
def test_a_sealed_seed_opens_with_the_right_secrets_only(stretched: bytes) -> None:
    sealed = vault.seal(SECRET, stretched, SALT, PUBLIC, bytearray(SEED))
    assert sealed[:1] == (vault.UNDER_PIN if stretched else vault.UNDER_DEVICE)
    assert vault.unseal(SECRET, stretched, PUBLIC, sealed) == SEED
    assert not any(SEED[at : at + 4] in sealed for at in range(29))
    other = bytes(32)
    attempts = [(other, stretched, PUBLIC, sealed), (SECRET, other, PUBLIC, sealed), (SECRET, stretched, other, sealed)]
    for at in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[at] ^= 1
        attempts.append((SECRET, stretched, PUBLIC, bytes(damaged)))
    attempts += [(SECRET, stretched, PUBLIC, sealed[:length]) for length in range(len(sealed))]
    for attempt in attempts:
        with pytest.raises(SettingsCorrupt, match="service") as refused:
            vault.unseal(*attempt)
        said = str(refused.value).encode() + repr(refused.value.args).encode()
        assert SEED not in said and SEED.hex().encode() not in said


def test_two_seals_of_one_seed_have_nothing_in_common() -> None:
    one, other = (vault.seal(SECRET, b"", salt, PUBLIC, bytearray(SEED)) for salt in (SALT, SALT[::-1]))
    assert sum(a == b for a, b in zip(one[17:], other[17:], strict=True)) < 8


def test_wiping_leaves_zeros() -> None:
    seed = bytearray(SEED)
    vault.wipe(seed)
    assert seed == bytes(32)


# --- the PIN


class PowerCut(Exception):
    """The power went in the middle of a write."""


class Port:
    """What a port gives to the PIN; what it draws is never the same, whatever was switched off in between."""

    _drawn = itertools.count()

    def device_secret(self, may_make: bool) -> bytes:
        return SECRET

    def random_bytes(self, count: int) -> bytes:
        return hashlib.sha256(b"%d" % next(self._drawn)).digest()[:count]


class Owner:
    """A device as `apps.pin` sees it, with real settings in real files. `party` is itself: it has the public key."""

    public_key = PUBLIC

    def __init__(self, folder: Path) -> None:
        self.port = Port()
        self.party = self
        self.locked = False
        self.settings = settings_module.Settings(str(folder / "settings"))
        if self.settings.get("vault") is None:
            self.settings.update({"vault": vault.seal(SECRET, b"", SALT, PUBLIC, bytearray(SEED))})
        self.pin = pins.Pin(self)

    def perform(self, wanted: list) -> bytes:
        return effects.perform(wanted, None, self.settings, None)

    @property
    def counts(self) -> tuple[int, int, int]:
        """(wrong, begun without a verdict, tries left)"""
        state = self.pin.state
        return state.wrong, state.begun, state.tries_left

    def seed(self, present: bytes) -> bytes:
        sealed = self.settings.get("vault")
        return bytes(vault.unseal(SECRET, present if sealed[:1] == vault.UNDER_PIN else b"", PUBLIC, sealed))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "folder" in request.fixturenames:
        monkeypatch.setattr(vault, "_ROUNDS", 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a device with a PIN."""
    Owner(tmp_path).pin.change(b"", PIN, False)
    return tmp_path


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[int]]:
    """Call it to have the power go at byte `byte` of write number `number`; it returns what will list the lengths."""
    write = settings_module._write

    def cut(number: int = -1, byte: int = 0) -> list[int]:
        lengths: list[int] = []

        def counted(path: str, data: bytes) -> None:
            lengths.append(len(data))
            if len(lengths) - 1 == number:
                write(path, data[:byte])
                raise PowerCut
            write(path, data)

        monkeypatch.setattr(settings_module, "_write", counted)
        return lengths

    return cut


def check(folder: Path, digits: str) -> bytes | None:
    return Owner(folder).pin.check(digits)


def test_the_right_pin_gives_the_tries_back_and_a_wrong_one_takes_one(folder: Path) -> None:
    assert check(folder, PIN)
    for wrong in range(1, 5):
        assert check(folder, WRONG) is None
        assert Owner(folder).counts == (wrong, 0, 5 - wrong)
    assert check(folder, PIN)
    assert Owner(folder).counts == (0, 0, 5)


def test_after_the_last_try_nothing_is_compared_any_more(folder: Path, writes: Callable) -> None:
    for _ in range(5):
        assert check(folder, WRONG) is None
    lengths = writes()
    assert check(folder, PIN) is None and not lengths
    assert Owner(folder).counts == (5, 0, 0)


def test_both_verdicts_take_the_same_writes(folder: Path, writes: Callable) -> None:
    taken = []
    for digits in (PIN, WRONG, PIN):
        lengths = writes()
        check(folder, digits)
        taken.append(list(lengths))
    assert taken[0] == taken[1] == taken[2] and len(taken[0]) == 4  # the count and the verdict, two copies each


@pytest.mark.parametrize(("digits", "verdict"), [(PIN, (0, 0, 5)), (WRONG, (2, 0, 3))], ids=["right", "wrong"])
def test_power_cut_at_every_byte_of_a_check(folder: Path, writes: Callable, digits: str, verdict: tuple) -> None:
    check(folder, WRONG)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    length = len(next(iter(before.values())))
    seen = []
    for number in range(4):
        for byte in range(length + 1):
            for path, data in before.items():
                path.write_bytes(data)
            writes(number, byte)
            with pytest.raises(PowerCut):
                check(folder, digits)
            writes()
            seen.append(Owner(folder).counts)
            # The copy that is written first decides: the count's, then the verdict's.
            whole = byte == length
            counted, decided = number > 0 or whole, number > 2 or number == 2 and whole
            assert seen[-1] == (verdict if decided else (1, 1, 4) if counted else (1, 0, 4)), (number, byte)
            assert check(folder, PIN)
            assert Owner(folder).counts == (0, 0, 5)
    assert set(seen) == {(1, 0, 4), (1, 1, 4), verdict}


@pytest.mark.parametrize("digits", [PIN, WRONG], ids=["right", "wrong"])
def test_sixteen_checks_without_a_verdict_are_free_and_then_each_costs_a_try(
    folder: Path, writes: Callable, digits: str
) -> None:
    left = []
    for _ in range(21):
        writes(2, 0)  # counted, compared, and never decided
        with pytest.raises(PowerCut):
            check(folder, digits)
        left.append(Owner(folder).counts[2])
    assert left == [5] * 16 + [4, 3, 2, 1, 0]
    writes()
    assert check(folder, PIN) is None and Owner(folder).counts == (0, 21, 0)


def test_cuts_do_not_hide_wrong_pins_and_the_right_one_ends_both(folder: Path, writes: Callable) -> None:
    for _ in range(16):
        writes(2, 0)
        with pytest.raises(PowerCut):
            check(folder, WRONG)
    writes()
    for wrong in range(1, 5):
        assert check(folder, WRONG) is None
        assert Owner(folder).counts == (wrong, 16, 5 - wrong)
    assert check(folder, PIN)
    assert Owner(folder).counts == (0, 0, 5)


def test_the_operator_gives_the_tries_back_or_takes_the_pin_away(folder: Path) -> None:
    for _ in range(5):
        check(folder, WRONG)
    owner = Owner(folder)
    owner.perform([effects.Save(owner.pin.unblock(0))])
    assert Owner(folder).counts == (0, 0, 5)
    assert check(folder, PIN)
    owner = Owner(folder)
    owner.perform([effects.Save(owner.pin.unblock(TAKE_PIN_AWAY))])
    owner = Owner(folder)
    assert owner.pin.state is None and owner.seed(b"") == SEED
    with pytest.raises(Refused) as refused:
        owner.pin.unblock(0)
    assert refused.value.cause == NOT_FOUND


def test_a_pin_that_seals_the_key_cannot_be_taken_away(folder: Path) -> None:
    owner = Owner(folder)
    present = owner.pin.check(PIN)
    owner.pin.change(present, PIN, True)
    with pytest.raises(Refused) as refused:
        Owner(folder).pin.unblock(TAKE_PIN_AWAY)
    assert refused.value.cause == MISMATCH
    assert Owner(folder).pin.unblock(0)["pin"]


def test_changing_and_removing_keeps_the_key(folder: Path) -> None:
    for digits, at_power_on in ((PIN, True), ("2468", True), ("99999999", False), ("2468", True), ("", False)):
        state = Owner(folder).pin.state
        present = next(found for known in (PIN, "2468", "99999999") if (found := Owner(folder).pin.check(known)))
        Owner(folder).pin.change(present, digits, at_power_on)
        owner = Owner(folder)
        assert owner.settings.get("vault")[:1] == (vault.UNDER_PIN if at_power_on else vault.UNDER_DEVICE)
        assert (owner.pin.state.at_power_on if digits else owner.pin.state) == (at_power_on if digits else None)
        assert owner.seed(owner.pin.check(digits) if digits else b"") == SEED
        assert not digits or owner.pin.state.salt != state.salt


def test_power_cut_at_every_byte_of_a_change_leaves_the_old_pin_or_the_new(folder: Path, writes: Callable) -> None:
    present = check(folder, PIN)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    length = len(next(iter(before.values())))
    seen = set()
    for number in range(2):
        for byte in range(length + 1):
            for path, data in before.items():
                path.write_bytes(data)
            writes(number, byte)
            with pytest.raises(PowerCut):
                Owner(folder).pin.change(present, "2468", True)
            writes()
            found = Owner(folder).pin.check("2468")
            seen.add(bool(found))
            assert Owner(folder).seed(found or b"") == SEED
            assert bool(check(folder, PIN)) is not bool(found)
    assert seen == {False, True}


def test_files_hold_neither_seed_nor_pin_in_plain(folder: Path) -> None:
    owner = Owner(folder)
    owner.pin.change(owner.pin.check(PIN), PIN, True)
    for path in folder.iterdir():
        data = path.read_bytes()
        assert not any(SEED[at : at + 4] in data for at in range(29))
        assert PIN.encode() not in data and SECRET not in data
