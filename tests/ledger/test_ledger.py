"""Opening a ledger, who may take part, and the books themselves."""

import sqlite3
from typing import Any

import pytest
from sqlalchemy import event

from host_tools.ledger import Ledger
from host_tools.ledger.books import MAX_AMOUNT
from host_tools.ledger.errors import (
    AlreadyRegistered,
    BadSignature,
    BooksBroken,
    InsufficientFunds,
    InvalidInput,
    LedgerExists,
    LedgerMissing,
    LedgerUnavailable,
    NotALedger,
    UnknownAccount,
    UnknownDevice,
    UnknownLoad,
    UnknownOperator,
    WrongSigner,
)
from tests.ledger.world import Town
from tests.unit.world import CURRENCY, KINDS, NOW, Operator, signer

WALLET = KINDS["wallet"]


def register(town: Town, key: bytes, operator: int = 1, account: int | None = None, **changes):
    values: dict[str, Any] = {"kind": WALLET, "mcc": 0, "name": "device", "now": town.now} | changes
    bank = town.operators[operator]
    if account is None:
        account = town.ledger.open_account(operator, "owner")
    return town.ledger.register_device(bank.key, operator, key, account=account, **values)


def test_missing_ledger_is_not_made_by_opening_it(tmp_path):
    path = tmp_path / "none.sqlite"
    with pytest.raises(LedgerMissing, match="create a ledger"):
        Ledger.open(f"sqlite:///{path}")
    assert not path.exists()


def test_ledger_that_cannot_be_made_or_is_held_by_another_program_says_so(town, tmp_path, monkeypatch):
    with pytest.raises(LedgerUnavailable, match="Check the path"):
        Ledger.create(f"sqlite:///{tmp_path}/no folder/ledger.sqlite")
    monkeypatch.setattr("host_tools.ledger.engines.LOCK_TIMEOUT_S", 0.1)
    town.ledger = Ledger.open(town.url)
    other = sqlite3.connect(town.url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="run it again"):
        town.ledger.open_account(1, "new")
    other.close()
    assert town.ledger.open_account(1, "new") > 0


def test_ledger_that_another_program_holds_is_not_called_damaged(town, monkeypatch):
    monkeypatch.setattr("host_tools.ledger.engines.LOCK_TIMEOUT_S", 0.1)
    town.ledger.close()
    other = sqlite3.connect(town.url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerUnavailable, match="another program holds it"):
        Ledger.open(town.url)
    other.close()


def test_ledger_can_be_read_while_another_program_writes(town, monkeypatch):
    town.device("wallet", balance=300)
    monkeypatch.setattr("host_tools.ledger.engines.LOCK_TIMEOUT_S", 0.1)
    other = sqlite3.connect(town.url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    reading = Ledger.open(town.url)
    assert reading.reconciliation()["issued"] == 1_300
    assert reading.operator_certificate(1).operator == 1
    reading.check()
    reading.close()
    other.close()


def test_what_reads_a_file_leaves_the_writers_connection_alone_and_closes_with_the_ledger(town):
    """One connection settles for as long as it can, with what it knows of the file in memory."""
    writers: list[object] = []
    event.listen(town.ledger._engine, "checkout", lambda connection, *_: writers.append(connection))
    town.ledger.reconciliation()
    assert writers == []
    for connection in [town.ledger._engine.raw_connection(), town.ledger._engine.raw_connection()]:
        connection.close()  # two that wrote at a time, as far as the file lets them
    writers.clear()
    for name in ("one", "another"):
        town.ledger.open_account(1, name)
        town.ledger.reconciliation()
    assert len(writers) == 2 and len(set(map(id, writers))) == 1
    assert town.ledger._reader.pool.checkedin() == 1
    town.ledger.close()
    assert town.ledger._reader.pool.checkedin() == 0


def test_ledger_is_not_made_over_another(town):
    with pytest.raises(LedgerExists):
        Ledger.create(town.url)


@pytest.mark.parametrize("what", ["text", "other tables", "other columns", "other version"])
def test_what_is_no_ledger_is_refused(town, tmp_path, what):
    path = tmp_path / "other.sqlite"
    if what == "text":
        path.write_text("not a database, but longer than the hundred bytes of a SQLite header" * 4)
    elif what == "other tables":
        sqlite3.connect(path).executescript("CREATE TABLE a (b); INSERT INTO a VALUES (1);").connection.close()
    elif what == "other columns":
        sqlite3.connect(path).executescript("CREATE TABLE ledger_info (b); INSERT INTO ledger_info VALUES (1);").close()
    else:
        town.ledger.close()
        path = tmp_path / "ledger.sqlite"
        changed = sqlite3.connect(path)
        changed.execute("UPDATE alembic_version SET version_num = 99")
        changed.commit()
        changed.close()
    with pytest.raises(NotALedger, match="No money moved"):
        Ledger.open(f"sqlite:///{path}")


def test_first_certificate_is_over_an_empty_journal_and_repeating_returns_the_same_bytes(town):
    key = signer("device").public
    first = register(town, key)
    town.now += 86_400
    again = register(town, key)
    assert [signed.encode() for signed in again] == [signed.encode() for signed in first]
    certificate, acknowledgement = first
    assert (certificate.issue, certificate.base_seq, certificate.epoch) == (1, 0, 0)
    assert (acknowledgement.base_seq, acknowledgement.request_floor, acknowledgement.load_floor) == (0, 0, 0)


def test_key_is_registered_once(town):
    key = signer("device").public
    register(town, key)
    with pytest.raises(AlreadyRegistered):
        register(town, key, operator=2)
    with pytest.raises(AlreadyRegistered):
        register(town, key, account=town.ledger.open_account(1, "somebody else"))


def test_registration_checks_its_input(town):
    key = signer("device").public
    with pytest.raises(WrongSigner):
        town.ledger.register_device(
            town.operators[2].key, 1, key, WALLET, 0, town.ledger.open_account(1, "owner"), "device", town.now
        )
    with pytest.raises(UnknownAccount):
        register(town, key, account=town.ledger.open_account(2, "owner"))
    wrong: list[dict[str, Any]] = [{"kind": 0x77}, {"mcc": 10_000}, {"name": ""}, {"name": "x" * 101}]
    for bad in wrong:
        with pytest.raises(InvalidInput):
            register(town, key, **bad)
    with pytest.raises(InvalidInput):
        register(town, key[:-1])
    with pytest.raises(UnknownOperator, match="not valid today"):
        register(town, key, now=NOW + 2_000 * 86_400)


def test_operators_are_the_roots(town):
    town.ledger.set_root(town.root.public)
    with pytest.raises(AlreadyRegistered):
        town.ledger.set_root(signer("another root").public)
    with pytest.raises(BadSignature):
        town.ledger.add_operator(Operator(3, signer("another root")).certificate)
    town.ledger.add_operator(town.operators[1].certificate)
    town.ledger.add_operator(Operator(1, town.root, issue=2).certificate)
    assert town.ledger.operator_certificate(1).issue == 2
    changed = (
        Operator(1, town.root, name="another key", issue=3),
        Operator(1, town.root, currency=CURRENCY + 1, issue=3),
        Operator(1, town.root, issue=1),
    )
    for operator in changed:
        with pytest.raises(AlreadyRegistered):
            town.ledger.add_operator(operator.certificate)
    with pytest.raises(UnknownOperator):
        town.ledger.open_account(9, "nobody")


def test_only_what_an_account_holds_can_be_loaded(town):
    wallet = town.device("wallet")
    key = town.signer_of(wallet)
    with pytest.raises(InsufficientFunds):
        town.ledger.order_load(key, wallet.id, 1_001, town.now)
    for amount in (0, -5, 1 << 32):
        with pytest.raises(InvalidInput):
            town.ledger.order_load(key, wallet.id, amount, town.now)
    assert town.account(wallet) == 1_000
    with pytest.raises(UnknownDevice):
        town.ledger.order_load(key, bytes(16), 1, town.now)
    with pytest.raises(UnknownLoad):
        town.ledger.cancel_load(wallet.id, 1)


def test_issued_money_is_the_negative_of_all_the_rest(town):
    town.device("wallet", balance=300)
    report = town.ledger.reconciliation()
    assert (report["issued"], report["difference"]) == (1_300, 0)
    assert sum(report["accounts"].values()) == 1_000
    assert sum(report["purses"].values()) == 300
    account = town.accounts["wallet"]
    lines = town.ledger.postings(account)
    assert [(line["amount"], line["balance"], line["reason"]) for line in lines] == [
        (1_300, 1_300, "issue"),
        (-300, 1_000, "load ordered"),
    ]
    with pytest.raises(InvalidInput):
        town.ledger.issue(account, -1, town.now)
    with pytest.raises(UnknownAccount):
        town.ledger.issue(10_000, 1, town.now)


def test_no_more_is_issued_than_an_account_can_count(town):
    account = town.ledger.open_account(1, "A")
    town.ledger.issue(account, MAX_AMOUNT - 5, town.now)
    other = town.ledger.open_account(1, "B")
    with pytest.raises(InvalidInput, match="exceed"):
        town.ledger.issue(other, 6, town.now)
    town.ledger.issue(other, 5, town.now)
    town.ledger.check()
    assert town.ledger.reconciliation()["issued"] == MAX_AMOUNT


def altered(town: Town, change: str) -> None:
    """Somebody edits the database."""
    town.ledger.close()
    database = sqlite3.connect(town.url.removeprefix("sqlite:///"))
    database.executescript(change).connection.close()


def test_no_two_purses_share_a_name_in_the_reconciliation(town):
    town.device("one", balance=300)
    town.device("two", balance=400)
    altered(town, "UPDATE accounts SET name = 'X', owner = '01234567' || substr(owner, 9) WHERE kind = 'purse'")
    report = town.ledger.reconciliation()
    assert (sorted(report["purses"].values()), report["difference"]) == ([300, 400], 0)


def test_damaged_object_in_the_database_is_the_ledgers_own_fault(town):
    wallet = town.device("wallet", balance=300)
    statement, records = town.statement(wallet)
    altered(town, "UPDATE certificates SET certificate = x'00'")
    with pytest.raises(BooksBroken, match="never wrote"):
        town.settle(wallet, statement, records)


@pytest.mark.parametrize(
    ("change", "found_by"),
    [
        ("UPDATE accounts SET balance = balance + 1 WHERE kind = 'purse'", "check"),
        ("UPDATE postings SET amount = amount + 1 WHERE id = 1", "check"),
        ("DELETE FROM postings WHERE id = 1", "check"),
        ("UPDATE postings SET destination = 99 WHERE id = 1", "check"),
        ("UPDATE accounts SET balance = 'much' WHERE kind = 'loads in transit'", "reconciliation"),
        ("UPDATE accounts SET balance = 'much' WHERE kind = 'loads in transit'", "check"),
    ],
)
def test_changed_books_are_noticed(town, change, found_by):
    town.device("wallet", balance=300)
    altered(town, change)
    calls = {
        "check": town.ledger.check,
        "reconciliation": town.ledger.reconciliation,
    }
    with pytest.raises(BooksBroken):
        calls[found_by]()
