"""Tables of the ledger, and how a database is opened.

Money is BIGINT in minor units, ids and hashes are binary, times are Unix seconds. Nothing here relies on one engine:
no RETURNING, no upsert, binary keys have a length (MySQL cannot index a BLOB without one). Rows of `postings`,
`records` and `evidence` are never changed.
"""

import sqlite3
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    make_url,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DatabaseError, OperationalError

from host_tools.ledger.errors import LedgerExists, LedgerMissing, LedgerUnavailable, NotALedger

SCHEMA_VERSION = 5
LOCK_TIMEOUT_S = 30  # how long a second writer waits for the first
_READS_ONLY = "reads_only"  # an execution option

metadata = MetaData()


def _binary(size: int):
    return LargeBinary(size).with_variant(mysql.VARBINARY(size), "mysql", "mariadb")


def _blob():
    return LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


def _row_id():
    # SQLite numbers rows by itself only in a column declared INTEGER
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


info = Table(
    "ledger_info",
    metadata,
    Column("schema_version", Integer, primary_key=True, autoincrement=False),
    Column("root_key", _binary(32)),
)

operators = Table(
    "operators",
    metadata,
    Column("operator", Integer, primary_key=True, autoincrement=False),
    Column("issue", BigInteger, nullable=False),
    Column("key", _binary(32), nullable=False),
    Column("certificate", _blob(), nullable=False),
)

# Every place where money can be. `owner` tells accounts of one kind apart; `balance` is kept with the postings.
accounts = Table(
    "accounts",
    metadata,
    _row_id(),
    Column("kind", String(20), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("operator", Integer),
    Column("name", String(100), nullable=False),
    Column("balance", BigInteger, nullable=False),
    UniqueConstraint("kind", "owner", name="accounts_kind_owner"),
)

postings = Table(
    "postings",
    metadata,
    _row_id(),
    Column("at", BigInteger, nullable=False),
    Column("source", ForeignKey("accounts.id"), nullable=False),
    Column("destination", ForeignKey("accounts.id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("reason", String(40), nullable=False),
    Column("reference", _binary(32), nullable=False),
)

# `head_seq` and `head_hash`: the last record of the unbroken chain that the ledger holds. `watermark` and `load_floor`
# are those of the last Statement (kept in `statement`) whose complete chain is held; `next_load_floor` is what the next
# Acknowledgement says. `valid_until` is the last day of the newest Certificate, `limits` a JSON object of what differs
# from the defaults. `guaranteed` is what the operator's guarantee carries for the purse; `paid_back` is NULL until a
# lost device's pay-back day has come, and from then on what its owner's account has got of the purse. `passed_on` is
# what that account has got of what no device can spend. `cleared` is up to where people have lifted a dispute.
devices = Table(
    "devices",
    metadata,
    Column("id", _binary(16), primary_key=True),
    Column("operator", ForeignKey("operators.operator"), nullable=False),
    Column("key", _binary(32), nullable=False, unique=True),
    Column("kind", Integer, nullable=False),
    Column("mcc", Integer, nullable=False),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("purse", ForeignKey("accounts.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("issue", BigInteger, nullable=False),
    Column("head_seq", BigInteger, nullable=False),
    Column("head_hash", _binary(32), nullable=False),
    Column("watermark", BigInteger, nullable=False),
    Column("load_floor", BigInteger, nullable=False),
    Column("next_load_floor", BigInteger, nullable=False),
    Column("statement", _blob()),
    Column("frozen", String(200)),
    Column("revoked", Boolean, nullable=False),  # by its own operator, for good
    Column("valid_until", Integer, nullable=False),
    Column("limits", Text),
    Column("guaranteed", BigInteger, nullable=False),
    Column("lost_at", BigInteger),
    Column("paid_back", BigInteger),
    Column("passed_on", BigInteger, nullable=False),
    Column("cleared", BigInteger, nullable=False),
    Index("devices_frozen", "frozen"),
    Index("devices_revoked", "revoked"),
    Index("devices_lost", "lost_at"),
)

# `installed_seq`: the lowest position at which the device's journal is known to install it.
certificates = Table(
    "certificates",
    metadata,
    Column("device", ForeignKey("devices.id"), primary_key=True),
    Column("issue", BigInteger, primary_key=True, autoincrement=False),
    Column("certificate", _blob(), nullable=False),
    Column("acknowledgement", _blob(), nullable=False),
    Column("installed_seq", BigInteger),
)

# The unbroken chain of each device, as it was uploaded.
records = Table(
    "records",
    metadata,
    Column("device", ForeignKey("devices.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", _binary(32), nullable=False),
    Column("record", _blob(), nullable=False),
)

# What was uploaded and not taken, with the reason; the same one again is not stored again. Deleted only when the record
# lay outside the held chain and then became part of it: `records` has it from there on. `body_hash`, of what lies
# outside, is that of its body: proofs find it by it.
dead_letters = Table(
    "dead_letters",
    metadata,
    _row_id(),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("record_hash", _binary(32), nullable=False),
    Column("record", _blob(), nullable=False),
    Column("body_hash", _binary(32)),
    Column("reason", String(200), nullable=False),
    Column("at", BigInteger, nullable=False),
    UniqueConstraint("device", "record_hash", "reason", name="dead_letters_once"),
    Index("dead_letters_body", "device", "body_hash"),
)

# Which record each device committed to at each position, by any object it signed (`proof`). Two hashes at one position
# are a fraud proof.
positions = Table(
    "positions",
    metadata,
    Column("device", ForeignKey("devices.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", _binary(32), primary_key=True),
    Column("proof", _blob(), nullable=False),
)

# Two objects of one device that cannot both be honest. `kind` as in `evidence.py`; `digest` is of the device and both,
# so that the same are kept once.
evidence = Table(
    "evidence",
    metadata,
    _row_id(),
    Column("digest", _binary(32), nullable=False, unique=True),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("what", String(200), nullable=False),
    Column("first", _blob(), nullable=False),
    Column("second", _blob(), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("evidence_device", "device"),
)

# Fraud proofs that others brought, as JSON, of kinds that the ledger had no proof of: one for each device and kind.
# Those made from `positions` and `evidence` are not kept.
submitted_proofs = Table(
    "submitted_proofs",
    metadata,
    Column("device", ForeignKey("devices.id"), primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("proof", Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    Column("at", BigInteger, nullable=False),
)

# What is known of each Transfer, and which account holds its money now (`held_by`).
transfers = Table(
    "transfers",
    metadata,
    Column("hash", _binary(32), primary_key=True),
    Column("payer", ForeignKey("devices.id"), nullable=False),
    Column("payee", _binary(16), nullable=False),
    Column("payee_key", _binary(32)),
    Column("payer_issue", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("transfer", _blob(), nullable=False),
    Column("debited", Boolean, nullable=False),  # the payer's journal has it
    Column("closed_seq", BigInteger),  # where the payer's journal says how it ended
    Column("closed_as", Integer),  # and how: PAID or VOID
    Column("credited", Boolean, nullable=False),  # the payee's journal has it
    Column("receipt", _blob()),
    Column("receipt_seq", BigInteger),  # where the payee's journal has or had its credit
    Column("void", _blob()),
    Column("refusal", String(200)),
    Column("decided", String(10)),  # for whom people have decided a refused claim
    Column("defaulted", Boolean, nullable=False),  # nobody said how it ended in time
    Column("state", String(10), nullable=False),
    Column("held_by", ForeignKey("accounts.id"), nullable=False),
    Index("transfers_payer", "payer", "payer_issue", "seq"),
    Index("transfers_payer_seq", "payer", "seq"),
    Index("transfers_open", "payer", "closed_seq"),
    Index("transfers_payee", "payee", "number"),
    Index("transfers_receipt", "payee", "receipt_seq"),
    Index("transfers_state", "state", "payee"),
)

# What was posted to a payee of one payer's money while that payer was frozen for fraud.
from_frozen = Table(
    "from_frozen",
    metadata,
    Column("payee", ForeignKey("devices.id"), primary_key=True),
    Column("payer", ForeignKey("devices.id"), primary_key=True),
    Column("amount", BigInteger, nullable=False),
)

# What people have decided in the operator's name: to whom money in suspense goes (`transfer` is its hash, `device` who
# gets it), or that a device's dispute is lifted (`what` is "clear", `amount` up to where).
decisions = Table(
    "decisions",
    metadata,
    _row_id(),
    Column("at", BigInteger, nullable=False),
    Column("operator", ForeignKey("operators.operator"), nullable=False),
    Column("what", String(10), nullable=False),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("transfer", _binary(32), unique=True),
    Column("amount", BigInteger, nullable=False),
    Column("reason", String(200), nullable=False),
)

resolutions = Table(
    "resolutions",
    metadata,
    Column("transfer", ForeignKey("transfers.hash"), primary_key=True),
    Column("resolution", _blob(), nullable=False),
)

loads = Table(
    "loads",
    metadata,
    Column("device", ForeignKey("devices.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", _binary(32), nullable=False, unique=True),
    Column("amount", BigInteger, nullable=False),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("load", _blob(), nullable=False),
    Column("state", String(10), nullable=False),
)

# Orders to devices, numbered per device.
orders = Table(
    "orders",
    metadata,
    Column("device", ForeignKey("devices.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("order", _blob(), nullable=False),
    Column("at", BigInteger, nullable=False),
)

# `seen_seq`: the highest position the ledger knew of the device when it gave the nonce out. `answer`: the Settlement.
syncs = Table(
    "syncs",
    metadata,
    _row_id(),
    Column("nonce", _binary(16), nullable=False, unique=True),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("seen_seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("statement", _blob()),
    Column("answer", Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")),
    Index("syncs_device", "device"),
)

# Every list that an issuer (an operator's number, 0 the root) published, complete ones and deltas.
revocations = Table(
    "revocations",
    metadata,
    Column("issuer", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("complete", Boolean, nullable=False),
    Column("revocations", _blob(), nullable=False),
)

# What those lists say: from `epoch` on `minimum` is the lowest good issue of `who`, 0 once it is off the list.
revoked = Table(
    "revoked",
    metadata,
    Column("issuer", Integer, primary_key=True, autoincrement=False),
    Column("who", _binary(16), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("minimum", BigInteger, nullable=False),
)

# Requests of the operators' own payees, through which devices redeem.
redemptions = Table(
    "redemptions",
    metadata,
    Column("payee", ForeignKey("devices.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("request_hash", _binary(32), nullable=False),
    Column("state", String(10), nullable=False),
    Column("transfer", _binary(32)),
    Column("receipt", _blob()),
)


def create(url: str) -> Engine:
    """Make an empty ledger at a SQLAlchemy URL. Raises `LedgerExists`, `LedgerUnavailable`."""
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            if inspect(connection).get_table_names():
                raise LedgerExists(f"There is a database at {_shown(url)} already", "Open it, or choose another place")
            metadata.create_all(connection)
            connection.execute(info.insert().values(schema_version=SCHEMA_VERSION))
    except DatabaseError as error:
        raise LedgerUnavailable(f"No ledger can be made at {_shown(url)}", "Check the path and its folder") from error
    return engine


def open_existing(url: str) -> Engine:
    """Open a ledger made by `create`. Raises `LedgerMissing`, `LedgerUnavailable` or `NotALedger`."""
    path = _sqlite_path(url)
    if path is not None and not path.exists():
        raise LedgerMissing(f"There is no ledger at {path}", "Check the path, or create a ledger there")
    engine = _engine(url)
    try:
        with reader(engine).begin() as connection:
            _check_version(connection, url)
    except DatabaseError as error:
        if isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorname", "") != "SQLITE_ERROR":
            raise LedgerUnavailable(
                f"{_shown(url)} did not answer, or another program holds it", "Close other programs and run it again"
            ) from error
        # SQLITE_ERROR is SQL that does not fit: other tables than ours
        raise NotALedger(f"{_shown(url)} cannot be read as a ledger", "Check the URL") from error
    return engine


def reader(engine: Engine) -> Engine:
    """The same database for transactions that only read: they do not wait for a writer that has not committed yet."""
    return engine.execution_options(**{_READS_ONLY: True})


def _check_version(connection: Connection, url: str) -> None:
    if not inspect(connection).has_table(info.name):
        raise NotALedger(f"The database at {_shown(url)} is not a ledger", "Check the URL")
    version = connection.execute(select(info.c.schema_version)).scalar_one_or_none()
    if version != SCHEMA_VERSION:
        raise NotALedger(
            f"The ledger at {_shown(url)} has schema version {version}, this program needs {SCHEMA_VERSION}",
            "Use the program that made it",
        )


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)


def _sqlite_path(url: str) -> Path | None:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


def _engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, isolation_level="SERIALIZABLE")
    engine = create_engine(url, connect_args={"timeout": LOCK_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late, and not before a SELECT
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get(_READS_ONLY)
    # One writer at a time: what was read stays true until the commit
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
