"""The tables that the migrations make are those that the program knows, on every engine."""

import shutil
import sqlite3

import pytest
from sqlalchemy import inspect, select, text

from host_tools.ledger import Ledger, engines, opening
from host_tools.ledger.errors import NotALedger
from host_tools.ledger.schema import info, metadata
from tests.engines.fixtures import every_engine

# What each engine says of its tables. The names of foreign keys are left out where the engine makes them up.
_CATALOGS = {
    "sqlite": (
        'SELECT t.name, c.cid, c.name, c.type, c."notnull", c.pk FROM sqlite_schema t, pragma_table_info(t.name) c'
        " WHERE t.type = 'table'",
        "SELECT t.name, i.name LIKE 'sqlite_autoindex%' OR i.name, i.\"unique\", i.partial, c.seqno, c.name, s.sql"
        " FROM sqlite_schema t, pragma_index_list(t.name) i, pragma_index_info(i.name) c"
        " LEFT JOIN sqlite_schema s ON s.name = i.name WHERE t.type = 'table'",
        'SELECT t.name, f."table", f."from", f."to" FROM sqlite_schema t, pragma_foreign_key_list(t.name) f'
        " WHERE t.type = 'table'",
    ),
    "postgresql": (
        "SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length, is_nullable,"
        " column_default FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype <> 'n'",
        "SELECT c.relname, pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid) FROM pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND (c.relkind = 'p' OR c.relispartition)",
    ),
    "mysql": (
        "SELECT table_name, ordinal_position, column_name, column_type, is_nullable, extra, collation_name"
        " FROM information_schema.columns WHERE table_schema = DATABASE()",
        "SELECT table_name, index_name, non_unique, seq_in_index, column_name FROM information_schema.statistics"
        " WHERE table_schema = DATABASE()",
        "SELECT table_name, IF(referenced_table_name IS NULL, constraint_name, ''), column_name,"
        " referenced_table_name, referenced_column_name FROM information_schema.key_column_usage"
        " WHERE table_schema = DATABASE()",
        "SELECT table_name, partition_method, partition_expression, COUNT(*) FROM information_schema.partitions"
        " WHERE table_schema = DATABASE() GROUP BY table_name, partition_method, partition_expression",
    ),
}


def catalog(url: str) -> list[list[tuple]]:
    """Everything that the database says of its tables, but of Alembic's own."""
    engine = engines.connect(url)
    with engine.connect() as connection:
        found = [connection.execute(text(question)).all() for question in _CATALOGS[engine.dialect.name]]
    engine.dispose()
    return [sorted(tuple(map(str, row)) for row in rows if row[0] != "alembic_version") for rows in found]


@every_engine
def test_migrated_database_has_the_tables_of_the_schema(engine, servers, tmp_path):
    def place(name: str) -> str:
        return f"sqlite:///{tmp_path}/{name}" if engine == "sqlite" else servers.server(engine).database()

    migrated, made = place("migrated"), place("made")
    Ledger.create(migrated).close()
    directly = engines.connect(made)
    with directly.begin() as connection:
        metadata.create_all(connection)
    directly.dispose()
    tables = catalog(migrated)
    assert len({row[0] for row in tables[0]}) >= len(metadata.tables)
    assert tables == catalog(made)
    if engine != "sqlite":
        parted = {row[0] for row in tables[-1] if row[1].startswith(("HASH", "KEY"))}
        assert parted == {"certificates", "dead_letters", "journals", "positions", "transfers"}


def test_ledger_of_an_older_version_says_so_and_is_migrated(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/ledger.db"
    with_root(url)
    newer = tmp_path / "migrations"
    shutil.copytree(opening._MIGRATIONS, newer)
    (newer / "versions" / "revision_next.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        f"revision, down_revision = 'next', {newest()!r}\n"
        "def upgrade(): op.create_table('novelty', sa.Column('id', sa.Integer, primary_key=True))\n"
    )
    old = newest()
    monkeypatch.setattr(opening, "_MIGRATIONS", newer)
    with pytest.raises(NotALedger, match=f"has version {old} .* needs next.* jiaozi ledger migrate"):
        Ledger.open(url)
    assert opening.migrate(url) == (old, "next")
    assert opening.migrate(url) == ("next", "next")
    ledger = Ledger.open(url)
    assert ledger.root_key() == bytes(32)
    ledger.close()
    engine = engines.connect(url)
    assert "novelty" in inspect(engine).get_table_names()
    engine.dispose()
    monkeypatch.undo()
    with pytest.raises(NotALedger, match="does not know"):
        opening.migrate(url)


def test_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/ledger.db"
    with_root(url)
    newer = tmp_path / "migrations"
    shutil.copytree(opening._MIGRATIONS, newer)
    (newer / "versions" / "revision_next.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        f"revision, down_revision = 'next', {newest()!r}\n"
        "def upgrade():\n"
        "    op.create_table('novelty', sa.Column('id', sa.Integer, primary_key=True))\n"
        "    op.execute('DELETE FROM ledger_info')\n"
        "    raise RuntimeError('in the middle')\n"
    )
    before = catalog(url)
    with monkeypatch.context() as patched:
        patched.setattr(opening, "_MIGRATIONS", newer)
        with pytest.raises(RuntimeError, match="in the middle"):
            opening.migrate(url)
    assert catalog(url) == before
    ledger = Ledger.open(url)
    assert ledger.root_key() == bytes(32)
    ledger.close()


def test_ledger_from_before_there_were_migrations_is_told_apart(tmp_path):
    path = tmp_path / "ledger.db"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE ledger_info (schema_version INTEGER PRIMARY KEY, root_key BLOB);"
        "INSERT INTO ledger_info VALUES (5, x'00');"
    )
    old.close()
    for call in (Ledger.open, opening.migrate):
        with pytest.raises(NotALedger, match="before all that can be migrated"):
            call(f"sqlite:///{path}")


def newest() -> str:
    versions = opening._MIGRATIONS / "versions"
    return str(max(int(path.stem.removeprefix("revision_")) for path in versions.glob("revision_*.py")))


def with_root(url: str) -> None:
    ledger = Ledger.create(url)
    ledger.set_root(bytes(32))
    assert ledger._read(lambda connection: connection.execute(select(info.c.root_key)).scalar_one()) == bytes(32)
    ledger.close()
