"""Makes, opens and migrates a ledger's database. The tables are those of the newest migration, whatever made them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, make_url
from sqlalchemy.exc import DatabaseError, OperationalError

from host_tools.ledger import engines
from host_tools.ledger.engines import shown
from host_tools.ledger.errors import LedgerExists, LedgerMissing, LedgerUnavailable, NotALedger
from host_tools.ledger.schema import info

_MIGRATIONS = Path(__file__).parent / "migrations"


def create(url: str) -> Engine:
    """Make an empty ledger where there is no table yet. Raises `LedgerExists` or `LedgerUnavailable`."""
    engine = engines.connect(url)
    try:
        with engine.begin() as connection:
            if inspect(connection).get_table_names():
                raise LedgerExists(f"There is a database at {shown(url)} already", "Open it, or choose another place")
            command.upgrade(_alembic(connection), "head")
            connection.execute(info.insert().values(id=1))
        engines.keep_log_ahead(engine)
    except DatabaseError as error:
        raise LedgerUnavailable(f"No ledger can be made at {shown(url)}", "Check the path and its folder") from error
    return engine


def open_existing(url: str) -> Engine:
    """Open a ledger made by `create`. Raises `LedgerMissing`, `LedgerUnavailable` or `NotALedger`."""
    engine = _existing(url)
    with _answering(url), engines.reading(engine).begin() as connection:
        revision = _revision(connection, url)
        newest = _scripts(connection).get_current_head()
    if revision != newest:
        raise NotALedger(
            f"The ledger at {shown(url)} has version {revision} of the tables, this program needs {newest}",
            "Keep a copy of the database, end all programs that use it, then run: jiaozi ledger migrate",
        )
    return engine


def migrate(url: str) -> tuple[str, str]:
    """Bring a ledger of an older version to this program's. Returns the versions before and after.

    All of it is done or nothing; but with MySQL's dialect, which commits each table by itself, the versions between two
    files of `migrations` are what is done or not. Raises `LedgerMissing`, `LedgerUnavailable` or `NotALedger`.
    """
    engine = _existing(url)
    try:
        with _answering(url), engine.begin() as connection:
            before = _revision(connection, url)
            command.upgrade(_alembic(connection), "head")
            return before, _revision(connection, url)
    finally:
        engine.dispose()


def draft(what: str) -> None:
    """Write a draft of the migration that leads from the newest one to `schema.py`, for whoever has changed that."""
    engine = create("sqlite://")
    with engine.begin() as connection:
        number = len(list(_scripts(connection).walk_revisions())) + 1
        command.revision(_alembic(connection), what, autogenerate=True, rev_id=str(number))


def _existing(url: str) -> Engine:
    path = _sqlite_path(url)
    if path is not None and not path.exists():
        raise LedgerMissing(f"There is no ledger at {path}", "Check the path, or create a ledger there")
    return engines.connect(url)


@contextmanager
def _answering(url: str) -> Iterator[None]:
    """What the database says while it is opened, in the ledger's words."""
    try:
        yield
    except DatabaseError as error:
        if isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorname", "") != "SQLITE_ERROR":
            raise LedgerUnavailable(
                f"{shown(url)} did not answer, or another program holds it", "Close other programs and run it again"
            ) from error
        # SQLITE_ERROR is SQL that does not fit: other tables than ours
        raise NotALedger(f"{shown(url)} cannot be read as a ledger", "Check the URL") from error


def _revision(connection: Connection, url: str) -> str:
    """The version of the tables. Raises `NotALedger` if it is none that this program knows."""
    tables = inspect(connection).get_table_names()
    if info.name not in tables:
        raise NotALedger(f"The database at {shown(url)} is not a ledger", "Check the URL")
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        raise NotALedger(
            f"The ledger at {shown(url)} is of a version before all that can be migrated, or was never made to its end",
            "Use the program that made it; a new one begins with: jiaozi ledger init",
        )
    known = [script.revision for script in _scripts(connection).walk_revisions()]
    if revision not in known:
        raise NotALedger(
            f"The ledger at {shown(url)} has version {revision} of the tables, which this program does not know",
            "Use the program that made it, or a newer one",
        )
    return revision


def _alembic(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "revision_%%(rev)s")
    return config


def _scripts(connection: Connection) -> ScriptDirectory:
    return ScriptDirectory.from_config(_alembic(connection))


def _sqlite_path(url: str) -> Path | None:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)
