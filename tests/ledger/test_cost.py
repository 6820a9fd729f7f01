"""What a settlement costs the database: as many statements as it brings records, and none that reads a whole table."""

import pytest
from sqlalchemy import event

from host_tools.ledger import schema
from tests.ledger.world import clone, sale

# Small, and read on purpose: the balance of the books before every commit, the one row of ledger_info.
WHOLE = {"accounts", "ledger_info"}


@pytest.fixture
def statements(town):
    """Every SQL statement of the ledger from here on, with its parameters."""
    seen: list[tuple[str, tuple]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    event.listen(town.ledger._engine, "before_cursor_execute", note)
    return seen


def whole_tables_read(town, statements) -> set[str]:
    found = set()
    with schema.reader(town.ledger._engine).connect() as connection:
        for text, parameters in dict(statements).items():
            if not text.startswith(("SELECT", "UPDATE", "DELETE")):
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters).all()
            lines = [row[-1].split() for row in plan]
            found |= {words[1] for words in lines if words[0] == "SCAN" and words[1] not in WHOLE}
    return found


def settled(town, device, statements) -> int:
    """How many statements one settlement took."""
    nonce_and_records = town.statement(device)
    statements.clear()
    town.ledger.settle(town.signer_of(device), *nonce_and_records, town.now)
    return len(statements)


def test_no_settlement_reads_a_whole_table(town, statements):
    shop, kiosk = town.device("shop", "terminal"), town.device("kiosk", "terminal")
    wallet = town.device("wallet", balance=900)
    twin = clone(wallet)
    sale(shop, wallet, 100)
    sale(kiosk, twin, 50)
    sale(kiosk, twin, 850)
    town.ledger.order_load(town.signer_of(shop), shop.id, 5, town.now)
    town.ledger.report_lost(town.signer_of(kiosk), kiosk.id, town.now)
    statements.clear()
    for device in (shop, kiosk, twin, wallet, shop):
        town.ledger.settle(town.signer_of(device), *town.statement(device), town.now)
    assert town.frozen(wallet)
    assert len(statements) > 100
    assert whole_tables_read(town, statements) == set()


def test_settlement_takes_statements_by_its_records_and_not_by_what_was_there_before(town, statements):
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    counts = []
    for payments in (5, 5, 10, 5):
        for _ in range(payments):
            sale(shop, wallet, 1)
        counts.append(settled(town, shop, statements))
        town.sync(wallet)
        town.sync(shop)
    for _ in range(5):
        sale(shop, wallet, 1)
    counts.append(settled(town, shop, statements))
    assert counts[1] == counts[3] == counts[4]
    assert counts[2] - counts[1] <= 36 * 5
