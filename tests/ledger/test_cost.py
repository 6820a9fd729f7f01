"""What a settlement costs the database: no more statements for more sales, none that reads a whole table, and for a
device's sync nothing that depends on how much else the ledger holds."""

from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pymysql
import pytest
from sqlalchemy import Engine, event, select

from host_tools.city.population import payee_uploads, population
from host_tools.ledger import Ledger, Settlement, Upload, bulk, engines, evidence, revocation
from host_tools.ledger.schema import MAX_NAMED, devices
from tests.ledger.world import Town, clone, sale

# Read on purpose: the one row of ledger_info, the few operators, and what is given with the statement itself.
WHOLE = {"ledger_info", "operators", "(subquery-1)", "c"}


@pytest.fixture
def statements(town):
    """Every SQL statement of the ledger from here on, with its parameters."""
    seen: list[tuple[str, tuple]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    for engine in engines_of(town.ledger):
        event.listen(engine, "before_cursor_execute", note)
    return seen


def engines_of(ledger: Ledger) -> list[Engine]:
    """Those with connections of their own: listeners of the writers' hear the readers too where they share them."""
    readers, writers = ledger._reader, ledger._engine
    return [writers] if readers.pool is writers.pool else [writers, readers]


def whole_tables_read(town, statements) -> set[str]:
    asked = {text: how for text, how in statements if text.startswith(("SELECT", "UPDATE", "DELETE"))}
    planned = {"sqlite": _scanned_by_sqlite, "mysql": _scanned_by_seekdb}[town.ledger._engine.dialect.name]
    return planned(town.ledger._engine, asked) - WHOLE


def _scanned_by_sqlite(engine, asked) -> set[str]:
    found = set()
    with engines.reading(engine).connect() as connection:
        for text, parameters in asked.items():
            lines = [row[-1].split() for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters)]
            found |= {words[1] for words in lines if words[0] == "SCAN" and words[1:] != ["CONSTANT", "ROW"]}
    return found


def _scanned_by_seekdb(engine, asked) -> set[str]:
    """By a connection of its own: plans repeat the parameters, and binary ones are no text."""
    found = set()
    url = engine.url
    whom = {"host": url.host, "port": url.port, "user": url.username, "database": url.database}
    with closing(pymysql.connect(**whom, use_unicode=False, binary_prefix=True)) as connection:
        cursor = connection.cursor()
        for text, parameters in asked.items():
            one = parameters[0] if isinstance(parameters, list) else parameters
            cursor.execute(f"EXPLAIN BASIC {text}", one)
            cells = [line.decode(errors="replace").split("|") for (line,) in cursor.fetchall()]  # |ID|OPERATOR|NAME|
            steps = [(one[2], one[3].split("(")[0].strip()) for one in cells if len(one) > 4]
            found |= {table for step, table in steps if "TABLE FULL SCAN" in step}
    return found - {"unlisted"}  # the few who wait, among whom it looks for whoever is frozen


@pytest.mark.parametrize("engine", ["seekdb"], indirect=True)
@pytest.mark.parametrize("lookup", [bulk.rows, bulk.fetch])
def test_a_long_list_of_devices_does_not_read_them_all(town, statements, lookup):
    """As many as a batch may name: seekdb has its own idea of what to do with a thousand and more."""
    ids = [number.to_bytes(16, "big") for number in range(MAX_NAMED)]
    town.ledger._run(lambda connection: list(lookup(connection, select(devices.c.id), devices.c.id, ids)))
    assert whole_tables_read(town, statements) == set()
    statements[:] = [("SELECT id FROM devices", ())]
    assert whole_tables_read(town, statements) == {"devices"}


def settled(town, device, statements) -> int:
    """How many statements one settlement took."""
    nonce_and_records = town.statement(device)
    statements.clear()
    town.ledger.settle(town.signer_of(device), *nonce_and_records, town.now)
    return len(statements)


@pytest.mark.parametrize("engine", ["sqlite", "seekdb"], indirect=True)
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
    asked = list(statements)
    assert town.frozen(wallet)
    assert len(asked) > 100
    assert whole_tables_read(town, asked) == set()


def test_settlement_of_sales_takes_as_many_statements_however_many_there_are_and_were(town, statements):
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
    assert len(set(counts[1:])) == 1


# A device's sync costs what the device brings


@dataclass
class Cost:
    """What a call asks of SQLite: `steps` are the instructions of its virtual machine, by statement."""

    statements: int = 0
    rows: int = 0
    fetched_bytes: int = 0
    steps: Counter[str] = field(default_factory=Counter)

    def row(self, _cursor, row: tuple) -> tuple:
        self.rows += 1
        self.fetched_bytes += sum(len(value) if isinstance(value, bytes | str) else 8 for value in row)
        return row


@contextmanager
def counted(ledger: Ledger):
    """The cost of all that the ledger does meanwhile."""
    cost, running = Cost(), [""]

    def statement(_connection, _cursor, text, _parameters, _context, _many):
        cost.statements += 1
        running[0] = text

    def step() -> int:
        cost.steps[running[0]] += 1
        return 0

    def checkout(connection, _record, _proxy):
        connection.row_factory = cost.row
        connection.set_progress_handler(step, 1)

    def checkin(connection, _record):
        connection.row_factory = None
        connection.set_progress_handler(None, 0)

    listened = [("before_cursor_execute", statement), ("checkout", checkout), ("checkin", checkin)]
    listeners = [(engine, name, listener) for engine in engines_of(ledger) for name, listener in listened]
    for engine, name, listener in listeners:
        event.listen(engine, name, listener)
    yield cost
    for engine, name, listener in listeners:
        event.remove(engine, name, listener)


# Statements, rows, bytes and steps of one sync
Counts = tuple[int, int, int, int]


def cost_of_syncs(town: Town, shop, wallet) -> list[Counts]:
    """Of twenty sales at a time: the shop's and the wallet's, twice."""
    found = []
    for _ in range(2):
        for _ in range(20):
            sale(shop, wallet, 1)
        for device in (shop, wallet):
            with counted(town.ledger) as cost:
                statement, records = town.statement(device)
                settled = town.ledger.settle(town.signer_of(device), statement, records, town.now)
            town.install(device, settled)
            assert settled.certified and settled.accepted == len(records)
            found.append((cost.statements, cost.rows, cost.fetched_bytes, sum(cost.steps.values())))
    return found


def cost_beside(folder, others: int) -> list[Counts]:
    """In a ledger with so many other wallets, and ten times as many payments of theirs."""
    folder.mkdir()
    town = Town(folder)
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    ledger, signer = town.ledger, town.operators[1].key
    people = population(ledger, signer, 1, others, others // 4, 1, town.now)
    uploads = list(payee_uploads(people, 10 * others, 1, largest=50))
    nonces = ledger.begin_syncs([one.device for one in uploads], town.now)
    brought = [
        Upload(signer, one.statement(nonce), one.records) for one, (nonce, _) in zip(uploads, nonces, strict=True)
    ]
    for settled in ledger.settle_many(brought, town.now):
        assert isinstance(settled, Settlement) and settled.certified and not settled.dead_letters
    found = cost_of_syncs(town, shop, wallet)
    ledger.close()
    return found


def cost_beside_frozen(folder, others: int) -> list[Counts]:
    """In a ledger in which so many others are frozen, once shop and wallet know the lists."""
    folder.mkdir()
    town = Town(folder)
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=900)
    cheats = population(town.ledger, town.operators[1].key, 1, others, 1, 1, town.now).wallets

    def freeze(connection) -> None:
        for number, cheat in enumerate(cheats):
            what, signed = evidence.ROLLED_BACK, b"%d" % number
            evidence.freeze(connection, cheat.id, what, what, signed, signed, town.now)

    town.ledger._run(freeze)
    cost_of_syncs(town, shop, wallet)
    found = cost_of_syncs(town, shop, wallet)
    assert town.ledger._read(revocation.current_epoch, 1) > 0
    town.ledger.close()
    return found


def test_sync_of_a_device_costs_the_same_in_a_ledger_that_holds_twenty_times_as_much(tmp_path):
    small, large = cost_beside(tmp_path / "small", 8), cost_beside(tmp_path / "large", 160)
    for one, other in zip(small, large, strict=True):
        assert one[:3] == other[:3]
        assert abs(one[3] - other[3]) < 0.01 * one[3], "a step of an index more or less, as the ids lie"
    assert all(part > 0 for cost in small for part in cost)


@pytest.mark.parametrize(("few", "many"), [(5, 100), (250, 600)], ids=["on the list", "more than a list holds"])
def test_sync_of_a_device_costs_the_same_however_many_others_are_frozen(tmp_path, few, many):
    some, all_ = (cost_beside_frozen(tmp_path / str(others), others) for others in (few, many))
    for one, other in zip(some, all_, strict=True):
        assert one[:3] == other[:3]
        assert abs(one[3] - other[3]) < 0.01 * one[3]
