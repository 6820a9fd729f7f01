"""The audit: nothing to say of an honest ledger, however busy; and every change of what is kept, by its name.

Each test changes one thing by SQL, as somebody with the database's password could, and the audit must name it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, create_engine, exists, func, select, update

from host_tools.ledger import Ledger, books, loads
from host_tools.ledger.audit import findings
from host_tools.ledger.evidence import ROLLED_BACK
from host_tools.ledger.schema import (
    accounts,
    certificates,
    devices,
    evidence,
    from_frozen,
    info,
    journals,
    operators,
    orders,
    positions,
    postings,
    redemptions,
    resolutions,
    revocations,
    revoked,
    syncs,
    transfers,
    unlisted,
)
from host_tools.ledger.schema import loads as loads_table
from host_tools.ledger.transfers import FOR_PAYEE, OUTDATED, PENDING, POSTED, VOID
from protocol import apdu
from protocol.objects import UNBLOCK_PIN, Statement
from tests.engines.fixtures import every_engine
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, Town, clone, pay_person, sale
from tests.unit.world import KINDS, LinkLost, signer

PAYEE = "payee of operator 1"


def torn(terminal, wallet, amount: int, cut_at: int) -> None:
    with pytest.raises(LinkLost):
        sale(terminal, wallet, amount, link=Link(cut_at=cut_at))


def redeem(town: Town, device, amount: int) -> None:
    payee = signer(PAYEE)
    certificate, request = town.ledger.open_redemption(town.signer_of(device), payee, device.id, amount, town.now)
    transfer = device.send(apdu.PAY, certificate.encode() + request.encode())
    device.send(apdu.CONFIRM, town.ledger.take_redemption(payee, transfer, town.now))


def live(town: Town) -> None:
    """Two operators and all that can become of a payment: posted, pending, void, redeemed, paid twice, booked late."""
    bank = town.operators[1].key
    account = town.ledger.open_account(1, "redemptions")
    key = signer(PAYEE).public
    town.ledger.register_device(bank, 1, key, KINDS["operator payee"], 0, account, "payee", town.now)
    shop, kiosk = town.device("shop", "terminal"), town.device("kiosk", "terminal", operator=2)
    ann, ben = town.device("ann", balance=1_000), town.device("ben", balance=500, operator=2)
    cat = town.device("cat", balance=400)
    for amount in (100, 40, 7):
        sale(shop, ann, amount)
    sale(kiosk, ann, 250)
    pay_person(ben, ann, 70)
    torn(shop, cat, 60, LOST_TRANSFER)
    torn(kiosk, ann, 20, LOST_CONFIRM)
    for device in (ann, cat, shop):
        town.sync(device)
    twin = clone(ben)
    sale(shop, ben, 400)
    sale(kiosk, twin, 380)
    for device in (kiosk, shop, ben, ann, cat, cat):
        town.sync(device)
    redeem(town, ann, 90)
    town.sync(ann)
    town.ledger.order_load(bank, ann.id, 33, town.now)
    town.ledger.order(bank, ann.id, UNBLOCK_PIN, 0, town.now)
    town.ledger.revoke(bank, 1, cat.id, town.now)
    torn(shop, ann, 5, LOST_CONFIRM)
    sale(kiosk, ann, 3)  # which does not sync any more
    town.sync(ann)
    town.check()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a ledger that has lived."""
    folder = tmp_path_factory.mktemp("lived")
    town = Town(folder)
    live(town)
    town.ledger.close()
    return folder / "ledger.sqlite"


@pytest.fixture
def ledger(lived: Path, tmp_path: Path) -> Iterator[Ledger]:
    """A copy of it."""
    shutil.copy(lived, tmp_path / "ledger.sqlite")
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield ledger
    ledger.close()


def tamper(ledger: Ledger, change: "Change") -> None:
    """Past the ledger, whose connections would hold to foreign keys."""
    engine = create_engine(ledger._engine.url)
    with engine.begin() as connection:
        change(connection)
    engine.dispose()


# Honest ledgers


@every_engine
def test_a_busy_ledger_is_what_its_signatures_say(town):
    live(town)
    found = town.ledger.audit()
    assert (found.differences, found.total) == ([], 0)
    for what in (
        *("accounts", "postings", "operators", "revocation lists", "devices", "records", "certificates", "loads"),
        *("orders", "statements", "positions", "payments", "evidence", "resolutions", "redemptions", "signatures"),
    ):
        assert found.checked[what] > 0, what
    assert found.checked["signatures"] > 2 * found.checked["payments"] + found.checked["certificates"]


def test_an_empty_ledger_is_good(tmp_path: Path):
    ledger = Ledger.create(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert ledger.audit().total == 0
    ledger.close()


def test_it_says_how_far_it_is_and_changes_nothing(ledger: Ledger, tmp_path: Path):
    seen: list[tuple[int, int]] = []
    before = (tmp_path / "ledger.sqlite").read_bytes()
    found = ledger.audit(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (seen[-1][1], found.checked["devices"] + found.checked["payments"])
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    ledger.close()
    assert (tmp_path / "ledger.sqlite").read_bytes() == before


def test_pages_of_any_size_find_the_same(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    whole = ledger.audit()
    for size in (1, 2, 3):
        for module in ("journals", "payments"):
            monkeypatch.setattr(f"host_tools.ledger.audit.{module}.PAGE", size)
        monkeypatch.setattr("host_tools.ledger.audit.journals._DEVICES", size)
        monkeypatch.setattr("host_tools.ledger.audit.sums._SLICE", 7 * size)
        found = ledger.audit()
        assert (found.differences, found.checked) == ([], whole.checked)


# Changes of one thing

Change = Callable[[Connection], Any]


def one(table: Table, *where) -> Callable[[Connection], Any]:
    """The first row that is so."""
    key = list(table.primary_key)
    return lambda connection: connection.execute(select(table).where(*where).order_by(*key).limit(1)).one()


def is_it(table: Table, row) -> list:
    return [column == getattr(row, column.key) for column in table.primary_key]


def changed(table: Table, column: str, to: Callable[[Any], Any], *where) -> Change:
    """One value of one row."""

    def change(connection: Connection) -> None:
        row = one(table, *where)(connection)
        value = to(getattr(row, column))
        assert value != getattr(row, column)
        assert connection.execute(update(table).where(*is_it(table, row)).values({column: value})).rowcount == 1

    return change


def deleted(table: Table, *where) -> Change:
    def change(connection: Connection) -> None:
        row = one(table, *where)(connection)
        assert connection.execute(table.delete().where(*is_it(table, row))).rowcount == 1

    return change


def copied(table: Table, column: str, to: Callable[[Any], Any], *where) -> Change:
    """The same row again, but for one value."""

    def change(connection: Connection) -> None:
        row = one(table, *where)(connection)._asdict()
        connection.execute(table.insert().values(row | {column: to(row[column])}))

    return change


def flipped(at: int) -> Callable[[bytes], bytes]:
    """One bit of one byte."""

    def flip(data: bytes) -> bytes:
        place = at if at >= 0 else len(data) + at
        return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]

    return flip


def more(by: int = 1) -> Callable[[int], int]:
    return lambda value: (value or 0) + by


def to(value: Any) -> Callable[[Any], Any]:
    return lambda _value: value


def together(*changes: Change) -> Change:
    def change(connection: Connection) -> None:
        for each in changes:
            each(connection)

    return change


def emptied(table: Table) -> Change:
    return lambda connection: connection.execute(table.delete())


def let_go(connection: Connection) -> None:
    """Whoever is frozen, and all that says so in few words."""
    for table in (evidence, from_frozen):
        connection.execute(table.delete())
    assert connection.execute(update(devices).where(devices.c.frozen.is_not(None)).values(frozen=None)).rowcount


def answered(change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    """Other objects in an answer, which are in hexadecimal digits."""

    def answer(kept: str) -> str:
        values = json.loads(kept)
        return json.dumps(values | {"objects": change(values["objects"])})

    return answer


def enlisted(connection: Connection) -> None:
    """A device in good standing is to stand on its operator's next list."""
    row = one(devices, devices.c.frozen.is_(None), devices.c.lost_at.is_(None))(connection)
    connection.execute(unlisted.insert().values(issuer=row.operator, theirs=False, who=row.id))


posted = transfers.c.state == POSTED
of_statement = func.substr(positions.c.proof, 1, 1) == bytes((Statement.TYPE,))
settled = syncs.c.answer.is_not(None)
at_head = (devices.c.id == positions.c.device) & (devices.c.head_seq == positions.c.seq)

CHANGES: dict[str, tuple[Change, set[str]]] = {
    # the books
    "a balance": (changed(accounts, "balance", more(), accounts.c.kind == books.PURSE), {"its balance"}),
    "a balance that is a text": (
        changed(accounts, "balance", to("lots"), accounts.c.kind == books.ACCOUNT),
        {"its balance"},
    ),
    "a posting's amount": (
        changed(postings, "amount", more(), postings.c.reason == "transfer posted"),
        {"its balance", "its postings"},
    ),
    "a load's posting": (changed(postings, "amount", more(), postings.c.reason == "loaded"), {"its postings"}),
    "a posting's source": (
        changed(postings, "source", more(), postings.c.reason == "transfer posted"),
        {"its balance", "its postings"},
    ),
    "a posting's reason": (
        changed(postings, "reason", to("gift"), postings.c.reason == "issue"),
        {"what it is between"},
    ),
    "a posting below 0": (
        changed(postings, "amount", to(-5), postings.c.reason == "issue"),
        {"their amounts", "its balance"},
    ),
    "a deleted posting": (deleted(postings, postings.c.reason == "transfer posted"), {"its balance", "its postings"}),
    "a posting of another payment": (
        changed(postings, "reference", flipped(3), postings.c.reason == "transfer posted"),
        {"its postings"},
    ),
    "what a guarantee bears": (
        changed(devices, "guaranteed", more(), devices.c.guaranteed > 0),
        {"what was guaranteed"},
    ),
    "what owners have got": (changed(devices, "passed_on", more(5)), {"what was paid to its owner"}),
    "what is unconfirmed": (changed(devices, "unconfirmed", more(5)), {"what is unconfirmed"}),
    "what is left open": (changed(devices, "left_open", more(5)), {"what is left open"}),
    "how far a journal is shown": (
        changed(devices, "shown_seq", to(0), devices.c.shown_seq > devices.c.head_seq),
        {"up to where others have shown its device's journal"},
    ),
    # payments
    "a payment's amount": (changed(transfers, "amount", more(), posted), {"its amount", "its postings"}),
    "a payment's number": (changed(transfers, "number", more(), posted), {"its number"}),
    "a payment's position": (changed(transfers, "seq", more(100), posted), {"its seq"}),
    "a payment's hash": (changed(transfers, "hash", flipped(3), posted), {"its hash"}),
    "a payment's payee": (changed(transfers, "payee", flipped(3), posted), {"its payee"}),
    "a payment's payer": (changed(transfers, "payer", flipped(3), posted), {"the device of a row", "the Transfer"}),
    "a payment's issue": (changed(transfers, "payer_issue", more(), posted), {"its payer issue"}),
    "a byte of a Transfer": (changed(transfers, "transfer", flipped(60), posted), {"its hash"}),
    "a byte of its signature": (changed(transfers, "transfer", flipped(-1), posted), {"the Transfer's signature"}),
    "a Transfer cut off": (changed(transfers, "transfer", lambda data: data[:-1], posted), {"the Transfer's bytes"}),
    "a byte of a Receipt": (changed(transfers, "receipt", flipped(10), posted), {"the Receipt's bytes"}),
    "a byte of its Receipt's signature": (
        changed(transfers, "receipt", flipped(-1), transfers.c.credited.is_(False), transfers.c.receipt.is_not(None)),
        {"the Receipt's signature"},
    ),
    "a Receipt's position": (changed(transfers, "receipt_seq", more(50), posted), {"what its Receipt says"}),
    "no Receipt": (changed(transfers, "receipt", to(None), posted), {"which of its facts are there", "its state"}),
    "a state": (changed(transfers, "state", to(PENDING), posted), {"its state"}),
    "a place": (changed(transfers, "held_by", more(), posted), {"whose its money is", "its postings"}),
    "a debit unmade": (changed(transfers, "debited", to(False), transfers.c.debited), {"the Transfer"}),
    "a debit made up": (changed(transfers, "debited", to(True), ~transfers.c.debited), {"that it is debited"}),
    "a credit unmade": (changed(transfers, "credited", to(False), transfers.c.credited), {"the Transfer"}),
    "a credit made up": (
        changed(transfers, "credited", to(True), ~transfers.c.credited, transfers.c.receipt.is_not(None)),
        {"that it is credited"},
    ),
    "a closing moved": (changed(transfers, "closed_seq", more(), transfers.c.closed_seq > 0), {"that it is closed"}),
    "how it was closed": (changed(transfers, "closed_as", to(2), transfers.c.closed_as == 1), {"how it was closed"}),
    "a closing unmade": (
        changed(transfers, "closed_seq", to(None), transfers.c.closed_seq > 0),
        {"where it was closed", "which of its facts are there"},
    ),
    "a payee's key": (changed(transfers, "payee_key", flipped(0), transfers.c.debited), {"its payee's key"}),
    "a refusal": (
        changed(transfers, "refusal", to("lots are not settled"), posted),
        {"why it is refused", "whose its money is"},
    ),
    "an outdated one": (changed(transfers, "refusal", to(OUTDATED), posted), {"why it is refused"}),
    "a decision": (changed(transfers, "decided", to(FOR_PAYEE), posted), {"what people decided"}),
    "a void made up": (changed(transfers, "void", to(b"\x07\x01"), posted), {"the Void's bytes"}),
    "a void unmade": (
        changed(transfers, "void", to(None), transfers.c.state == VOID),
        {"whether it is void", "its state"},
    ),
    "a deadline": (changed(transfers, "defaulted", to(True), posted), {"whether it was booked at the deadline"}),
    "whether it is confirmed": (
        changed(transfers, "unconfirmed", lambda value: not value, posted),
        {"whether it is confirmed", "what is unconfirmed"},
    ),
    "a payment kept twice": (
        copied(transfers, "seq", more(1000), transfers.c.closed_seq > 0),
        {"its seq", "its postings"},
    ),
    "a deleted payment": (deleted(transfers, posted), {"the Transfer", "its postings"}),
    "a deleted payment that is known": (
        deleted(transfers, transfers.c.state == PENDING),
        {"the Transfer", "its postings"},
    ),
    # journals
    "a byte of a record": (changed(journals, "records", flipped(30), journals.c.first_seq == 2), {"the chain"}),
    "the last byte of records": (changed(journals, "records", flipped(-1), journals.c.first_seq == 2), set()),
    "records cut off": (changed(journals, "records", lambda data: data[:-5]), {"a record's bytes"}),
    "a deleted run": (deleted(journals, journals.c.first_seq == 2), {"the chain", "the runs of its journal"}),
    "a deleted first run": (
        deleted(journals, journals.c.first_seq == 1),
        {"the head of its journal", "the runs of its journal"},
    ),
    "a run's number": (changed(journals, "first_seq", more(), journals.c.first_seq == 2), {"the runs of its journal"}),
    "a head's position": (changed(devices, "head_seq", more(), devices.c.head_seq > 3), {"the head of its journal"}),
    "a head's hash": (changed(devices, "head_hash", flipped(0)), {"the head of its journal"}),
    "another device's run": (
        changed(journals, "device", flipped(0), journals.c.first_seq == 2),
        {"the device of a row", "the chain"},
    ),
    # devices
    "a device's key": (changed(devices, "key", flipped(0)), {"its id", "the chain"}),
    "a device's purse": (changed(devices, "purse", more()), {"its purse"}),
    "a device's account": (
        changed(devices, "account", to(1), devices.c.account != 1, devices.c.operator == 2),
        {"its account"},
    ),
    "a watermark": (changed(devices, "watermark", more(), devices.c.watermark > 0), {"its watermark"}),
    "a load floor": (changed(devices, "load_floor", more(50)), {"its load floor"}),
    "a Statement": (
        changed(devices, "statement", flipped(-1), devices.c.statement.is_not(None)),
        {"the Statement's signature"},
    ),
    "a sync's Statement": (
        changed(syncs, "statement", flipped(-1), syncs.c.statement.is_not(None)),
        {"the Statement's signature"},
    ),
    "a device that is thawed": (
        changed(devices, "frozen", to(None), devices.c.frozen.is_not(None)),
        {"whether the device is frozen"},
    ),
    "a device that is frozen": (
        changed(devices, "frozen", to("two histories"), devices.c.frozen.is_(None)),
        {"why it is frozen"},
    ),
    "a double spender let go": (let_go, {"whether the device is frozen"}),
    "a revoked device that may go on": (
        changed(devices, "revoked", to(False), devices.c.revoked),
        {"whether it is revoked"},
    ),
    "a device that is revoked": (
        changed(devices, "revoked", to(True), ~devices.c.revoked, devices.c.frozen.is_(None)),
        {"whether it is revoked"},
    ),
    "a lost device that may go on": (
        changed(devices, "lost_at", to(5), ~devices.c.revoked, devices.c.frozen.is_(None)),
        {"whether it is revoked"},
    ),
    "a journal that is shown higher": (changed(devices, "shown_seq", more(1_000)), {findings.SHOWN}),
    "other Certificates higher": (
        changed(devices, "other_seq", more(1_000)),
        {"up to where it paid under other Certificates"},
    ),
    "a next load floor": (changed(devices, "next_load_floor", more(50)), {"its next load floor"}),
    "a deleted sync": (deleted(syncs, settled), {"the sync of its Statement"}),
    "deleted syncs": (emptied(syncs), {"the sync of its Statement"}),
    "deleted syncs with their heads": (
        together(emptied(syncs), emptied(positions)),
        {"the sync that it was issued in"},
    ),
    "no answer": (changed(syncs, "answer", to(None), settled), {"its answer"}),
    "another answer": (changed(syncs, "answer", to("[]"), settled), {"its answer"}),
    "another object in an answer": (
        changed(
            syncs,
            "answer",
            answered(lambda objects: [*objects[:-1], objects[-1][::-1]]),
            syncs.c.answer.contains('"certified": true'),
        ),
        {"what it was answered"},
    ),
    "an answer without its objects": (
        changed(syncs, "answer", answered(lambda _: []), syncs.c.answer.contains('"certified": true')),
        {"the sync that it was issued in"},
    ),
    "a dispute lifted": (changed(devices, "cleared", more(9)), {"up to where its dispute is lifted"}),
    # what operators sign
    "a certificate": (changed(certificates, "certificate", flipped(50)), {"the Certificate's signature"}),
    "a certificate's signature": (changed(certificates, "certificate", flipped(-1)), {"the Certificate's signature"}),
    "an acknowledgement": (changed(certificates, "acknowledgement", flipped(-1)), {"the Acknowledgement's signature"}),
    "a deleted certificate": (
        deleted(certificates, certificates.c.issue == 1, certificates.c.installed_seq > 0),
        {"its number", "a Certificate"},
    ),
    "the newest certificate": (changed(devices, "issue", more()), {"its newest Certificate"}),
    "where one was installed": (
        changed(certificates, "installed_seq", more(), certificates.c.installed_seq > 0),
        {"where it was installed"},
    ),
    "a load": (changed(loads_table, "load", flipped(-1)), {"the Load's signature"}),
    "a load's amount": (changed(loads_table, "amount", more()), {"its columns", "its postings"}),
    "a load's state": (
        changed(loads_table, "state", to(loads.OUTSTANDING), loads_table.c.state == loads.LOADED),
        {"its state", "its postings"},
    ),
    "a load that has not arrived": (
        changed(loads_table, "state", to(loads.LOADED), loads_table.c.state == loads.OUTSTANDING),
        {"its state", "its postings"},
    ),
    "a deleted load": (
        deleted(loads_table, loads_table.c.state == loads.LOADED),
        {"a load", "its postings"},
    ),
    "an order": (changed(orders, "order", flipped(-1)), {"the Order's signature"}),
    "a resolution": (changed(resolutions, "resolution", flipped(-1)), {"the Resolution's signature"}),
    "a redemption's Receipt": (
        changed(redemptions, "receipt", flipped(-1), redemptions.c.receipt.is_not(None)),
        {"the Receipt's signature", "the payment"},
    ),
    "a redemption's amount": (
        changed(redemptions, "amount", more(), redemptions.c.receipt.is_not(None)),
        {"the payment"},
    ),
    "an operator's certificate": (
        changed(operators, "certificate", flipped(-1)),
        {"the OperatorCertificate's signature"},
    ),
    "an operator's key": (changed(operators, "key", flipped(0)), {"its certificate"}),
    "a deleted resolution": (deleted(resolutions), {"a Resolution"}),
    "no root": (emptied(info), {"how many rows it has", "the OperatorCertificate's signature"}),
    "the root's key": (changed(info, "root_key", flipped(0)), {"the OperatorCertificate's signature"}),
    "a revocation list": (changed(revocations, "revocations", flipped(-1)), {"the Revocations's signature"}),
    "a deleted list": (deleted(revocations), {"its number"}),
    "an entry of a list": (changed(revoked, "minimum", to(1)), {"the lowest good issue"}),
    "a deleted entry": (deleted(revoked), {"the lowest good issue"}),
    "who waits for a list": (enlisted, {"whether it waits for a list"}),
    # what proves
    "evidence": (changed(evidence, "second", flipped(-1)), {"its digest"}),
    "deleted evidence": (deleted(evidence), {"why it is frozen"}),
    "another kind of evidence": (changed(evidence, "kind", to(ROLLED_BACK)), {"what it proves"}),
    "where two histories part": (changed(evidence, "position", more()), {"what it proves"}),
    "where they part, twice": (
        together(changed(evidence, "position", to(8)), changed(evidence, "what", to("two histories at record 8"))),
        {"what it proves", "why it is frozen"},
    ),
    "why evidence froze it": (changed(evidence, "what", to("rolled back")), {"what it proves", "why it is frozen"}),
    "a head's commitment": (
        changed(positions, "hash", flipped(0), of_statement),
        {"what its proof commits to", "a Statement's head"},
    ),
    "a head's commitment elsewhere": (
        changed(positions, "seq", more(1_000), of_statement),
        {"what its proof commits to", "a Statement's head"},
    ),
    "a deleted commitment": (deleted(positions, of_statement), {"a Statement's head"}),
    "a commitment": (
        changed(positions, "proof", flipped(-1)),
        {"the Statement's signature"},
    ),
    "a commitment to another head": (
        changed(positions, "hash", flipped(0), exists().where(at_head, devices.c.shown_seq < devices.c.head_seq)),
        {"up to where others have shown its device's journal"},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_change_is_named(ledger: Ledger, name: str):
    change, expected = CHANGES[name]
    tamper(ledger, change)
    found = ledger.audit()
    assert found.total > 0
    assert expected <= {difference.what for difference in found.differences}, found.differences


def test_a_second_history_that_was_uploaded_is_found_beside_the_first(tmp_path: Path):
    town = Town(tmp_path)
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=500)
    twin = clone(wallet)
    sale(shop, wallet, 400)
    sale(shop, twin, 380)
    upload = town.statement(twin)
    town.sync(wallet)
    town.settle(twin, *upload)
    assert town.ledger.audit().differences == []
    tamper(town.ledger, together(let_go, changed(positions, "hash", flipped(0), ~of_statement)))
    found = {difference.what for difference in town.ledger.audit().differences}
    assert {"what its proof commits to", "whether the device is frozen"} <= found
    town.ledger.close()


def test_a_receipt_and_a_void_of_one_payment_are_found(tmp_path: Path):
    town = Town(tmp_path)
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=500)
    sale(shop, wallet, 400)
    town.sync(shop)
    town.void(shop, bytes.fromhex(town.ledger.transfers(shop.id)[0]["hash"]))
    assert town.ledger.audit().differences == []
    tamper(town.ledger, let_go)
    assert "whether the device is frozen" in {difference.what for difference in town.ledger.audit().differences}
    town.ledger.close()


def test_a_difference_says_what_where_and_both(ledger: Ledger):
    with ledger._engine.connect() as connection:
        row = one(transfers, posted)(connection)
    tamper(ledger, changed(transfers, "amount", more(5), posted))
    (named,) = [difference for difference in ledger.audit().differences if difference.what == "its amount"]
    assert named.where == f"payment {row.hash.hex()} of device {row.payer.hex()}"
    assert (named.kept, named.recomputed) == (str(row.amount + 5), str(row.amount))


def test_a_consistent_lie_is_found_by_what_was_signed(ledger: Ledger):
    """Amount, postings and balances all say 5 more: they agree with each other, and not with the signature."""

    def lie(connection: Connection) -> None:
        once = select(postings.c.reference).group_by(postings.c.reference).having(func.count() == 1)
        row = one(transfers, posted, transfers.c.hash.in_(once), ~transfers.c.unconfirmed)(connection)
        connection.execute(update(transfers).where(*is_it(transfers, row)).values(amount=row.amount + 5))
        moved = connection.execute(select(postings).where(postings.c.reference == row.hash)).one()
        connection.execute(update(postings).where(postings.c.id == moved.id).values(amount=moved.amount + 5))
        for account, change in ((moved.source, -5), (moved.destination, 5)):
            connection.execute(
                update(accounts).where(accounts.c.id == account).values(balance=accounts.c.balance + change)
            )

    tamper(ledger, lie)
    ledger.check()
    assert "its amount" in {difference.what for difference in ledger.audit().differences}


def test_money_taken_by_a_posting_of_nobodys_payment_is_found(ledger: Ledger):
    def steal(connection: Connection) -> None:
        purse = one(accounts, accounts.c.kind == books.PURSE, accounts.c.balance > 10)(connection)
        mine = one(accounts, accounts.c.kind == books.ACCOUNT)(connection)
        values = {"at": 1, "source": purse.id, "destination": mine.id, "amount": 10, "reference": b"x" * 32}
        connection.execute(postings.insert().values(reason="transfer posted", **values))
        connection.execute(update(accounts).where(accounts.c.id == purse.id).values(balance=purse.balance - 10))
        connection.execute(update(accounts).where(accounts.c.id == mine.id).values(balance=mine.balance + 10))

    tamper(ledger, steal)
    ledger.check()
    assert {difference.what for difference in ledger.audit().differences} == {"its postings"}


def test_it_goes_on_to_the_end_and_names_no_more_than_it_may(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(findings, "MAX_DIFFERENCES", 3)
    tamper(ledger, lambda connection: connection.execute(update(transfers).values(number=transfers.c.number + 1)))
    found = ledger.audit()
    with ledger._engine.connect() as connection:
        count = connection.execute(select(func.count()).select_from(transfers)).scalar_one()
    assert len(found.differences) == 3 and found.total >= count == found.checked["payments"]
