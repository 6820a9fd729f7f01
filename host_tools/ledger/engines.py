"""Database engines by URL: SQLite, PostgreSQL, and OceanBase or MariaDB Galera in MySQL's dialect.

What is set here makes the three alike. A transaction sees what others have committed, and locks what it reads before
it writes (SQLite: one writer at a time); one that only reads sees one state of everything. Numbers and texts that do
not fit are refused, never cut. Nothing waits for ever.

A URL may name several nodes of one cluster, each as a parameter: `mysql+pymysql://user@/db?host=a:3306&host=b:3306`.
They are tried in this order, by every program in the same one: so all write on one node while it lives.
"""

import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from host_tools.ledger.errors import InvalidInput
from host_tools.ledger.retries import LOST, kind_of

LOCK_TIMEOUT_S = 30  # how long a writer waits for another; no batch takes as long
CONNECT_TIMEOUT_S = 10  # a node that does not answer by then is taken for dead
ANSWER_TIMEOUT_S = 120  # of one statement; then the server is taken for dead
AUDIT_TIMEOUT_S = 6 * 3_600  # of an audit, which reads everything on one state of it
IDLE_TIMEOUT_S = 300  # of an open transaction: a program that hangs must not hold its locks for ever
SQLITE_PAGE_BYTES = 16_384  # of a new file: a batch changes keys all over an index, and fewer pages the larger they are
SQLITE_CACHE_KIB = 65_536  # the pages that a batch changes, and the way to them; the default is 2,000
SQLITE_READER_CACHE_KIB = 8_192  # the way to what one transaction reads: the next one finds it outdated
SQLITE_LOG_PAGES = 16_000  # 256 MB of log before it goes into the file: pages that batches change again go once
RECYCLE_S = 1_800  # connections are renewed before servers and balancers between drop them for being idle

DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql+psycopg", "mysql+pymysql")

_READS_ONLY = "reads_only"  # an execution option

_MYSQL_PORT = 3306


def connect(url: str | URL, answer_timeout_s: int = ANSWER_TIMEOUT_S) -> Engine:
    """An engine for the database at a SQLAlchemy URL; nothing is opened yet. Raises `InvalidInput`."""
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if parsed.drivername not in DRIVERS:
        raise InvalidInput(f"The ledger does not run on {parsed.drivername}", f"Choose among {', '.join(DRIVERS)}")
    if backend == "sqlite":
        return _sqlite(parsed, SQLITE_CACHE_KIB)
    # One round trip before each use finds out what died meanwhile, before it leaves an issue unknown
    pool = {"pool_pre_ping": True, "pool_recycle": RECYCLE_S}
    if backend == "postgresql":
        arguments = _postgresql_arguments(parsed, answer_timeout_s)
        engine = create_engine(parsed, isolation_level="READ COMMITTED", connect_args=arguments, **pool)
        event.listen(engine, "connect", _prepare_postgresql)
    else:
        parsed, nodes = _mysql_nodes(parsed)
        arguments = {
            "charset": "utf8mb4",
            "binary_prefix": True,  # else bytes are taken for text
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": answer_timeout_s,
            "write_timeout": answer_timeout_s,
        }
        engine = create_engine(parsed, isolation_level="READ COMMITTED", connect_args=arguments, **pool)
        event.listen(engine, "do_connect", _Nodes(nodes))
        event.listen(engine, "connect", _prepare_mysql(answer_timeout_s))
    event.listen(engine, "handle_error", _drop_lost)
    return engine


def reader(engine: Engine) -> Engine:
    """The same database for transactions that only read (`reading`), beside those that write; disposed of with it.

    SQLite's have connections of their own: what a connection keeps in memory is void once another one has written, so
    the writers' must not go around among readers.
    """
    if not _is_file(engine.url):
        return reading(engine)
    readers = _sqlite(engine.url, SQLITE_READER_CACHE_KIB)
    event.listen(engine, "engine_disposed", lambda _engine: readers.dispose())
    return reading(readers)


def auditor(engine: Engine) -> Engine:
    """The same database for a reader that takes long, on connections of its own; to be disposed of."""
    return reading(connect(engine.url, AUDIT_TIMEOUT_S))


def reading(engine: Engine) -> Engine:
    """The same connections for transactions that only read: they see one state of it and do not wait for writers."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_READS_ONLY: True})
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def keep_log_ahead(engine: Engine) -> None:
    """Of a new SQLite file, which remembers it: a commit is one write and one fsync, and readers do not wait for it."""
    if _is_file(engine.url):
        connection = engine.raw_connection()
        connection.cursor().execute("PRAGMA journal_mode = WAL")
        connection.close()


def shown(url: str) -> str:
    """Without its password."""
    return make_url(url).render_as_string(hide_password=True)


def _drop_lost(context: ExceptionContext) -> None:
    """A node that refuses to go on is no better than one that is gone: its connection is not used again."""
    error = context.sqlalchemy_exception
    if isinstance(error, DBAPIError) and kind_of(error, context.dialect.name) == LOST:
        context.is_disconnect = True


# SQLite


sqlite3.register_adapter(bytes, bytes)  # the driver asks of each value other than a number or a text how to write it


def _is_file(url: URL) -> bool:
    """A database in memory is gone with its only connection."""
    return url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")


def _sqlite(url: URL, cache_kib: int) -> Engine:
    pool = {"pool_use_lifo": True} if _is_file(url) else {}  # who wrote last knows the file best
    engine = create_engine(url, connect_args={"timeout": LOCK_TIMEOUT_S}, **pool)
    event.listen(engine, "connect", lambda connection, _record: _prepare_sqlite(connection, cache_kib))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, cache_kib: int) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late, and not before a SELECT
    connection.execute(f"PRAGMA page_size = {SQLITE_PAGE_BYTES}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {SQLITE_LOG_PAGES}")


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get(_READS_ONLY)
    # One writer at a time: what was read stays true until the commit
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


# PostgreSQL


def _postgresql_arguments(url: URL, answer_timeout_s: int) -> dict[str, Any]:
    settings = {
        "lock_timeout": LOCK_TIMEOUT_S,
        "statement_timeout": answer_timeout_s,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_S,
    }
    # A statement that names thousands of rows looks dear enough to be compiled, which takes longer than to run it
    options = [url.query.get("options", ""), "-c jit=off"]
    options += [f"-c {name}={seconds}s" for name, seconds in settings.items()]
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": " ".join(map(str, options)).strip(),
        "tcp_user_timeout": 1_000 * LOCK_TIMEOUT_S,  # a peer that acknowledges nothing for so long has gone
    }


def _prepare_postgresql(connection: psycopg.Connection, _record) -> None:
    connection.adapters.register_dumper(list, ListBinaryDumper)  # each of thousands of ids would be escaped as a text


# MySQL's dialect


def _mysql_nodes(url: URL) -> tuple[URL, list[tuple[str, int]]]:
    """The URL without the nodes' parameters, and all nodes in order. Raises `InvalidInput`."""
    given = url.query.get("host", ())
    named = (given,) if isinstance(given, str) else given
    nodes = [(url.host, url.port or _MYSQL_PORT)] if url.host else []
    for node in named:
        host, _, port = node.rpartition(":") if ":" in node else (node, "", "")
        if not host or not (port or "0").isdecimal():
            raise InvalidInput(f"{node!r} is no node of a cluster", "Type each as host=NAME:PORT")
        nodes.append((host.strip("[]"), int(port or _MYSQL_PORT)))
    return url.difference_update_query(["host"]), nodes or [("localhost", _MYSQL_PORT)]


class _Nodes:
    """Connects to the first node that takes part. (A SQLAlchemy `do_connect` listener.)"""

    def __init__(self, nodes: list[tuple[str, int]]):
        self._nodes = nodes

    def __call__(self, dialect: Any, _record: Any, positional: list, named: dict[str, Any]) -> Any:
        if "unix_socket" in named:
            return None
        failed: Exception | None = None
        for host, port in self._nodes:
            try:
                connection = dialect.connect(*positional, **named | {"host": host, "port": port})
            except dialect.dbapi.OperationalError as error:
                failed = error
                continue
            if len(self._nodes) == 1 or _takes_part(dialect, connection):
                return connection
            connection.close()
        raise failed or dialect.dbapi.OperationalError(1047, "No node of the cluster takes part in it")


def _takes_part(dialect: Any, connection: Any) -> bool:
    """Whether a node answers questions; one that was cut off from its cluster does not."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM information_schema.schemata")
        return True
    except dialect.dbapi.Error:
        return False


def _prepare_mysql(answer_timeout_s: int) -> Callable[[Any, Any], None]:
    return lambda connection, _record: _set_up_mysql(connection, answer_timeout_s)


def _set_up_mysql(connection: Any, answer_timeout_s: int) -> None:
    settings: dict[str, str | int] = {
        "sql_mode": "'STRICT_ALL_TABLES,NO_ZERO_IN_DATE'",
        "innodb_lock_wait_timeout": LOCK_TIMEOUT_S,
    }
    with connection.cursor() as cursor:
        if "OceanBase" in _server_version(cursor):
            settings |= {  # in microseconds
                "ob_query_timeout": 1_000_000 * answer_timeout_s,
                "ob_trx_lock_timeout": 1_000_000 * LOCK_TIMEOUT_S,
                "ob_trx_timeout": 1_000_000 * answer_timeout_s,  # a client that has gone holds its locks no longer
                "ob_trx_idle_timeout": 1_000_000 * IDLE_TIMEOUT_S,
            }
        else:
            cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
            if ("wsrep_on", "ON") in cursor.fetchall():
                # A node that takes over has all that was committed on the one before, but may not have applied it yet
                settings["wsrep_sync_wait"] = 15
        cursor.execute("SET SESSION " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
    connection.commit()


def _server_version(cursor: Any) -> str:
    cursor.execute("SELECT VERSION()")
    return cursor.fetchone()[0]
