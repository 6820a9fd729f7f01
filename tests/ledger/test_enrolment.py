"""Many devices at a time: what comes of it is what comes of one after the other, row for row."""

import pytest
from sqlalchemy import select

from host_tools.ledger import Ledger, LedgerError, NewDevice, enrolment
from host_tools.ledger.errors import (
    AlreadyRegistered,
    DeviceRevoked,
    InsufficientFunds,
    InvalidInput,
    UnknownAccount,
    UnknownDevice,
    WrongSigner,
)
from host_tools.ledger.schema import metadata
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, TERMINAL, WALLET, device_id
from tests.engines.fixtures import every_engine
from tests.ledger.world import Town, pay_person, sale
from tests.unit.world import sha256, signer

KINDS = (WALLET << 4 | 2, WALLET << 4 | 4, TERMINAL << 4)


def key(i: int) -> bytes:
    return signer(f"device {i}").public


def who(i: int) -> bytes:
    return device_id(key(i), sha256)


def newcomers(town, *numbers, account=None, name="{}") -> list[NewDevice]:
    account = town.ledger.open_account(1, "owner") if account is None else account
    return [NewDevice(key(i), KINDS[i % 3], 5411 * (i % 3 == 2), account, name.format(f"Gerät {i}")) for i in numbers]


def everything(ledger: Ledger) -> dict[str, list[tuple]]:
    def read(connection):
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.tables.values()
        }

    return ledger._read(read)


def signed_by(town):
    return town.operators[1].key


@pytest.fixture
def other(tmp_path):
    (tmp_path / "other").mkdir()
    town = Town(tmp_path / "other")
    yield town
    town.ledger.close()


@every_engine
def test_rows_are_those_of_one_after_the_other(town, other, monkeypatch):
    monkeypatch.setattr(enrolment, "AT_ONCE", 7)
    wanted, amounts = newcomers(town, *range(20)), [(who(i), 100 + i) for i in (*range(20), 3, 3, 19)]
    for place in (town, other):
        place.ledger.issue(place.ledger.open_account(1, "owner"), 10_000, place.now)
    pairs = town.ledger.register_devices(signed_by(town), 1, wanted, town.now)
    made = town.ledger.order_loads(signed_by(town), amounts, town.now)
    one_by_one = [
        other.ledger.register_device(signed_by(other), 1, *one, other.now) for one in newcomers(other, *range(20))
    ]
    loads = [other.ledger.order_load(signed_by(other), *one, other.now) for one in amounts]
    assert encoded(pairs) == encoded(one_by_one)
    assert [load.encode() for load in made] == [load.encode() for load in loads]
    assert comparable(everything(town.ledger)) == comparable(everything(other.ledger))
    town.ledger.check()


def encoded(pairs) -> list[tuple[bytes, ...]]:
    return [tuple(signed.encode() for signed in pair) for pair in pairs]


def comparable(tables: dict[str, list[tuple]]) -> dict[str, list[tuple]]:
    """Accounts and postings by the accounts' names: engines that have servers may leave out some numbers."""
    named = {row[0]: row[1:5] for row in tables["accounts"]}
    tables["accounts"] = sorted((row[1:] for row in tables["accounts"]), key=repr)
    tables["postings"] = [(row[1], named[row[2]], named[row[3]], *row[4:]) for row in sorted(tables["postings"])]
    for table, places in (("devices", ("account", "purse")), ("loads", ("account",))):
        at = [metadata.tables[table].columns.keys().index(place) for place in places]
        tables[table] = [
            tuple(named[value] if i in at else value for i, value in enumerate(row)) for row in tables[table]
        ]
    return tables


def test_who_is_registered_already_gets_the_same_again(town):
    first = town.ledger.register_devices(signed_by(town), 1, newcomers(town, 0, 1), town.now)
    again = town.ledger.register_devices(signed_by(town), 1, newcomers(town, 2, 1, 2, 0), town.now + 86_400)
    assert encoded([again[1], again[3]]) == encoded([first[1], first[0]])
    assert encoded(again[:1]) == encoded(again[2:3])
    assert len(town.ledger.devices()) == 3
    with pytest.raises(AlreadyRegistered):
        town.ledger.register_devices(
            signed_by(town), 1, newcomers(town, 3, 0, account=town.ledger.open_account(1, "thief")), town.now
        )
    assert len(town.ledger.devices()) == 3, "all of a transaction or nothing"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda town: newcomers(town, 0)[0]._replace(key=b"short"), InvalidInput),
        (lambda town: newcomers(town, 0)[0]._replace(kind=0), InvalidInput),
        (lambda town: newcomers(town, 0)[0]._replace(mcc=10_000), InvalidInput),
        (lambda town: newcomers(town, 0)[0]._replace(name=""), InvalidInput),
        (lambda town: newcomers(town, 0, account=town.ledger.open_account(2, "elsewhere"))[0], UnknownAccount),
    ],
)
def test_one_that_cannot_be_registered_stops_all_of_its_transaction(town, wrong, error):
    with pytest.raises(error):
        town.ledger.register_devices(signed_by(town), 1, [*newcomers(town, 1), wrong(town)], town.now)
    with pytest.raises(WrongSigner):
        town.ledger.register_devices(town.operators[2].key, 1, newcomers(town, 1), town.now)
    assert town.ledger.devices() == []


def test_loads_are_ordered_for_all_or_for_none(town):
    owner = town.ledger.open_account(1, "owner")
    town.ledger.issue(owner, 1_000, town.now)
    town.ledger.register_devices(signed_by(town), 1, newcomers(town, 0, 1), town.now)
    for wanted, error in (
        ([(who(0), 500), (who(1), 501)], InsufficientFunds),
        ([(who(0), 1), (who(9), 1)], UnknownDevice),
        ([(who(0), 1), (who(1), 0)], InvalidInput),
        ([(who(0), 1)] * 17, InvalidInput),
    ):
        with pytest.raises(error):
            town.ledger.order_loads(signed_by(town), wanted, town.now)
    town.ledger.revoke(signed_by(town), 1, who(1), town.now)
    with pytest.raises(DeviceRevoked):
        town.ledger.order_loads(signed_by(town), [(who(0), 1), (who(1), 1)], town.now)
    assert town.ledger.loads(who(0)) == [] and town.ledger.balance(owner) == 1_000
    made = town.ledger.order_loads(signed_by(town), [(who(0), 1_000)], town.now)
    assert [load.amount for load in made] == [1_000]


def test_syncs_that_begin_together_are_those_that_begin_one_by_one(town):
    town.ledger.register_devices(signed_by(town), 1, newcomers(town, 0, 1), town.now)
    begun = town.ledger.begin_syncs([who(1), who(0), who(1)], town.now)
    assert [first for _, first in begun] == [1, 1, 1]
    assert len({nonce for nonce, _ in begun}) == 3
    with pytest.raises(LedgerError):
        town.ledger.begin_syncs([who(0), who(5)], town.now)


def test_loads_of_unfunded_devices_are_ordered_as_one_by_one(town, other):
    """What is on its way to one counts for what its guarantee bears."""
    for place in (town, other):
        ann, ben = place.device("ann", balance=500), place.device("ben")
        pay_person(ann, ben, 200)
        sale(place.device("shop", "terminal"), ben, 150)
        place.sync(place.named("shop"))
        place.now += (CERTIFICATE_DAYS + GRACE_DAYS + 1) * DAY_S
        assert place.book_overdue().unfunded == 1
    ids = {name: town.named(name).id for name in ("ann", "ben", "shop")}
    wanted = [
        (ids[name], amount) for name, amount in (("ann", 10), ("ben", 100), ("shop", 20), ("ben", 50), ("ann", 1))
    ]
    made = town.ledger.order_loads(signed_by(town), wanted, town.now)
    loads = [other.ledger.order_load(signed_by(other), *one, other.now) for one in wanted]
    assert [load.encode() for load in made] == [load.encode() for load in loads]
    assert town.frozen(town.named("ben")) is None, "the loads fund it"
    for device in ids.values():
        assert town.ledger.device(device) == other.ledger.device(device)
    assert town.ledger.reconciliation() == other.ledger.reconciliation()
    town.check()
