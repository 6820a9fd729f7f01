"""Storage that was damaged, wiped, or put back to an older state.

A damaged device says "service", tells what it can, and wipes nothing. An older state that is whole cannot be told from
the inside; there the ledger is the one that notices.
"""

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tools.crypto import sha256
from host_tools.simulator.device import SimulatedDevice
from protocol import apdu, errors
from protocol.errors import RefusedByPeer
from protocol.objects import Revocations
from tests import micropython
from tests.device.table import Table, words

FUNDS = 10_00
JOURNAL = "journal.flash"
SETTINGS = ("settings.a", "settings.b")
SECRET = "secret"


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


def damage_a_record(state: Path) -> None:
    """The first installation: the wallet's key stands in its Certificate."""
    settings = micropython.import_on_cpython("storage.settings").Settings(str(state / "settings"))
    path = state / JOURNAL
    flip(path, path.read_bytes().index(settings.get("public")) + 9)


def wipe_the_journal(state: Path) -> None:
    path = state / JOURNAL
    path.write_bytes(b"\xff" * path.stat().st_size)


def lose_the_journal(state: Path) -> None:
    (state / JOURNAL).unlink()


def cut_the_journal(state: Path) -> None:
    path = state / JOURNAL
    path.write_bytes(path.read_bytes()[:-4096])


def damage_both_settings(state: Path) -> None:
    for name in SETTINGS:
        flip(state / name, 20)


def craft_both_settings(state: Path) -> None:
    """A right checksum over a name that is no text, as whoever writes the flash can make it."""
    body = b"JZS1\0\0\0\1" + b"\1\xff\0\1x"
    for name in SETTINGS:
        (state / name).write_bytes(body + zlib.crc32(body).to_bytes(4, "big"))


def lose_the_settings(state: Path) -> None:
    for name in SETTINGS:
        (state / name).unlink()


def lose_the_secret(state: Path) -> None:
    (state / SECRET).unlink()


def shorten_the_secret(state: Path) -> None:
    (state / SECRET).write_bytes((state / SECRET).read_bytes()[:31])


def swap_the_secret(state: Path) -> None:
    """Its file system on another chip."""
    (state / SECRET).write_bytes(bytes(range(32)))


def contents(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(state.iterdir())}


@pytest.mark.parametrize(
    "damage",
    [
        damage_a_record,
        wipe_the_journal,
        lose_the_journal,
        cut_the_journal,
        damage_both_settings,
        craft_both_settings,
        lose_the_settings,
        lose_the_secret,
        shorten_the_secret,
        swap_the_secret,
    ],
)
def test_a_damaged_device_asks_for_service(table: Table, damage: Callable[[Path], None]) -> None:
    terminal, wallet = table.terminal("terminal"), table.wallet("wallet", FUNDS)
    assert wallet.stop() == ""
    whole = contents(wallet.state)
    damage(wallet.state)
    damaged = contents(wallet.state)
    wallet.start()
    wallet.panel.wait_for("SERVICE")
    with table.on_cable(wallet) as client:
        assert client.flags & apdu.OUT_OF_SERVICE
        info = client.info()
        assert info.flags & apdu.OUT_OF_SERVICE
        for ask in (lambda: client.statement(bytes(16)), client.generate_key, lambda: client.journal(1, 1)):
            with pytest.raises(RefusedByPeer) as refusal:
                ask()
            assert refusal.value.cause == errors.SERVICE
    table.hands.ask(terminal, "100#")
    table.tap(terminal, wallet, f"NOT PAID\n{words(errors.SERVICE)}")
    table.notice_empty_field(terminal)
    wallet.panel.press("A")  # nobody can start anything here
    assert table.info(wallet).balance in (0, FUNDS) and "SERVICE" in wallet.panel.text
    assert wallet.stop() == ""
    left = contents(wallet.state)
    if damage not in (lose_the_settings, lose_the_secret, swap_the_secret):  # there the journal was opened
        assert {name: left[name] for name in damaged} == damaged
    assert {name: left[name] for name in damaged if name != JOURNAL} == {
        name: data for name, data in damaged.items() if name != JOURNAL
    }
    for name, data in whole.items():  # repaired by whoever has the right bytes
        (wallet.state / name).write_bytes(data)
    wallet.start()
    wallet.panel.wait_for("WALLET\n10.00")
    table.tap(terminal, wallet, "RECEIVED\n1.00", "PAID\n1.00")


def test_a_secret_of_another_length_is_not_replaced(tmp_path: Path) -> None:
    """Not even by a device that has no key yet: what is damaged is not absent."""
    (tmp_path / SECRET).write_bytes(bytes(31))
    script = """
from ports import unix as port
from ports.errors import FlashError
for may_make in (True, False):
    try:
        port.device_secret(may_make)
    except FlashError as error:
        print(error)
"""
    refusals = micropython.run(script, environment={"JIAOZI_STATE": str(tmp_path)}).splitlines()
    assert refusals == ["the device's secret is lost: service needed"] * 2
    assert (tmp_path / SECRET).read_bytes() == bytes(31)


def test_a_list_of_another_operator_that_is_damaged_is_learnt_again(tmp_path: Path) -> None:
    """It is what that operator has signed for everybody. Without it the device pays and is paid as before."""
    with Table(tmp_path, operators=(1, 2)) as table:
        terminal, wallet = table.terminal("terminal"), table.wallet("wallet", FUNDS, operator=2)
        thief = sha256(b"thief")[:16]
        signer = table.bank.operators[2]
        listed = Revocations.of([(thief, 2)], issuer=2, epoch=3, predecessor=0, predecessor_hash=bytes(32))
        newer = listed.sign(signer.sign).encode()
        table.hands.ask(terminal, "100#")
        table.tap(terminal, wallet, "RECEIVED\n1.00", "PAID\n1.00")  # and so it knows operator 2
        with table.on_cable(terminal) as client:
            client.put(newer)
        files = [terminal.state / f"settings-2.{end}" for end in "ab"]
        whole = [path.read_bytes() for path in files]
        assert terminal.stop() == ""
        for path in files:
            flip(path, 20)
        terminal.start()
        terminal.panel.wait_for("TERMINAL\n1.00")
        assert not any(path.exists() for path in files)
        table.hands.ask(terminal, "100#")
        table.tap(terminal, wallet, "RECEIVED\n1.00", "PAID\n1.00")
        with table.on_cable(terminal) as client:
            client.put(newer)
        assert all(newer in path.read_bytes() for path in files) and len(whole[0]) == len(files[0].read_bytes())


@pytest.mark.parametrize("issuer", [0, 1])
def test_the_root_s_and_its_own_operator_s_list_are_not_forgotten(table: Table, issuer: int) -> None:
    wallet = table.wallet("wallet", FUNDS)
    signer = table.bank._root if issuer == 0 else table.bank.operators[1]
    listed = Revocations.of([], issuer=issuer, epoch=3, predecessor=0, predecessor_hash=bytes(32))
    with table.on_cable(wallet) as client:
        client.put(listed.sign(signer.sign).encode())
    assert wallet.stop() == ""
    files = [wallet.state / f"settings-{issuer}.{end}" for end in "ab"]
    for path in files:
        flip(path, 20)
    damaged = [path.read_bytes() for path in files]
    wallet.start()
    wallet.panel.wait_for("SERVICE")
    assert [path.read_bytes() for path in files] == damaged


@pytest.mark.parametrize("which", SETTINGS)
def test_one_damaged_copy_of_the_settings_is_mended(table: Table, which: str) -> None:
    terminal, wallet = table.terminal("terminal"), table.wallet("wallet", FUNDS)
    assert wallet.stop() == ""
    whole = {name: (wallet.state / name).read_bytes() for name in SETTINGS}
    flip(wallet.state / which, 20)
    wallet.start()
    assert {name: (wallet.state / name).read_bytes() for name in SETTINGS} == whole
    table.hands.ask(terminal, "100#")
    table.tap(terminal, wallet, "RECEIVED\n1.00", "PAID\n1.00")


class Rollback:
    """A wallet whose owner copies its flash, pays, and puts the copy back."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.wallet = table.wallet("wallet", FUNDS)
        self._copy: dict[str, bytes] = {}

    def copy(self) -> None:
        self._copy = contents(self.wallet.state)

    def put_back(self) -> None:
        assert self.wallet.stop() == ""
        for name, data in self._copy.items():
            (self.wallet.state / name).write_bytes(data)
        self.wallet.start()
        self.wallet.panel.wait_for("WALLET\n10.00")  # the money is back, as far as the wallet knows

    def pay(self, terminal: SimulatedDevice) -> None:
        self.table.hands.ask(terminal, "600#")
        self.table.tap(terminal, self.wallet, "RECEIVED\n6.00", "PAID\n6.00")

    @property
    def frozen(self) -> str | None:
        return next(row["frozen"] for row in self.table.bank.ledger.devices() if row["name"] == "wallet")


def test_a_journal_put_back_behind_a_sync_is_frozen_at_the_next(table: Table) -> None:
    cheat = Rollback(table)
    terminal = table.terminal("terminal")
    cheat.copy()
    cheat.pay(terminal)
    table.sync(cheat.wallet)
    cheat.put_back()
    report = table.sync(cheat.wallet)
    assert not report.certified and "rolled back" in report.note
    assert cheat.frozen is not None
    table.sync(terminal)
    assert table.purse(terminal) == 6_00  # an honest payee is paid
    assert table.bank.ledger.reconciliation()["difference"] == 0


def test_a_journal_put_back_to_pay_twice_is_proven_by_the_payees_alone(table: Table) -> None:
    cheat = Rollback(table)
    one, other = table.terminal("one"), table.terminal("other")
    cheat.copy()
    cheat.pay(one)
    cheat.put_back()
    cheat.pay(other)
    for terminal in (one, other):
        report = table.sync(terminal)
        assert report.certified and not report.dead_letters
        assert table.purse(terminal) == 6_00  # both are paid; the loss is the cheat's purse
    assert cheat.frozen is not None
    (proof,) = table.bank.ledger.evidence()
    assert proof["device"] == table.info(cheat.wallet).device.hex() and proof["first"] != proof["second"]
    ledger = table.bank.ledger
    ledger.check()
    assert ledger.reconciliation()["difference"] == 0
    assert not table.sync(cheat.wallet).certified
