"""Tables of the ledger.

Money is BIGINT in minor units, ids and hashes are binary, times are Unix seconds. Nothing here relies on one engine:
no RETURNING, no upsert, binary keys have a length (MySQL cannot index a BLOB without one). Rows of `postings`,
`journals` and `evidence` are never changed.

What devices have signed lies apart by device (`by`), so those tables have no foreign keys, which partitioned tables
cannot have on every engine; `audit` looks after them.
"""

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import SchemaItem

MAX_NAMED = 5_000  # values that one statement names: SQLite takes 32,766, and a longer list is no faster

metadata = MetaData()

PARTITIONS = 16  # of a table that lies apart by device: more than the servers that one ledger is spread over

# A text is equal to itself only: the default would take Ana for ana, and the money with her
_MYSQL: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def _table(name: str, *items: SchemaItem, by: str | None = None) -> Table:
    """`by` is the device's column, by which the table is partitioned where the engine can."""
    if by is None:
        return Table(name, metadata, *items, **_MYSQL)
    parts: dict[str, Any] = {"mysql_partition_by": f"KEY({by})", "mysql_partitions": str(PARTITIONS)}
    table = Table(name, metadata, *items, **_MYSQL, **parts, postgresql_partition_by=f"HASH ({by})")
    event.listen(table, "after_create", _create_parts)
    return table


def _create_parts(table: Table, connection: Connection, **_) -> None:
    """PostgreSQL's partitions are tables of their own."""
    if connection.dialect.name == "postgresql":
        for part in range(PARTITIONS):
            values = f"WITH (MODULUS {PARTITIONS}, REMAINDER {part})"
            connection.execute(DDL(f"CREATE TABLE {table.name}_{part} PARTITION OF {table.name} FOR VALUES {values}"))


def _binary(size: int):
    return LargeBinary(size).with_variant(mysql.VARBINARY(size), "mysql", "mariadb")


def _blob():
    return LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


def _part_of_an_index(name: str, columns: tuple[str, ...], where: str, flag: str | None = None) -> list[SchemaItem]:
    """An index of the rows where `where` holds, which a query must say in the same words.

    MySQL knows only indexes of all rows: there `flag`, the column that `where` is about, comes first.
    """
    part = Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))
    if flag is None:
        return [part]
    of_all = Index(f"{name}_flagged", flag, *columns)
    return [part.ddl_if(callable_=_knows_parts), of_all.ddl_if(callable_=_knows_no_parts)]


def _knows_parts(*_: object, dialect: Dialect, **__: object) -> bool:
    return dialect.name in ("sqlite", "postgresql")


def _knows_no_parts(*_: object, dialect: Dialect, **__: object) -> bool:
    return not _knows_parts(dialect=dialect)


def _row_id():
    # SQLite numbers rows by itself only in a column declared INTEGER
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


# One row. The version of the tables is Alembic's, in a table of its own.
info = _table(
    "ledger_info",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("root_key", _binary(32)),
)

operators = _table(
    "operators",
    Column("operator", Integer, primary_key=True, autoincrement=False),
    Column("issue", BigInteger, nullable=False),
    Column("key", _binary(32), nullable=False),
    Column("certificate", _blob(), nullable=False),
)

# Every place where money can be. `owner` tells accounts of one kind apart; `balance` is kept with the postings.
accounts = _table(
    "accounts",
    _row_id(),
    Column("kind", String(20), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("operator", Integer),
    Column("name", String(100), nullable=False),
    Column("balance", BigInteger, nullable=False),
    UniqueConstraint("kind", "owner", name="accounts_kind_owner"),
)

postings = _table(
    "postings",
    _row_id(),
    Column("at", BigInteger, nullable=False),
    Column("source", BigInteger, nullable=False),
    Column("destination", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("reason", String(40), nullable=False),
    Column("reference", _binary(32), nullable=False),
)

FOR_EVER = 1 << 62  # above every position

# `head_seq` and `head_hash`: the last record of the unbroken chain that the ledger holds. `watermark` and `load_floor`
# are those of the last Statement (kept in `statement`) whose complete chain is held; `next_load_floor` is what the next
# Acknowledgement says. `valid_until` and `base_seq` are those of the newest Certificate, `limits` a JSON object of what
# differs from the defaults. `guaranteed` is what the operator's guarantee carries for the purse; `paid_back` is NULL
# until a lost device's pay-back day has come, and from then on what its owner's account has got of the purse.
# `passed_on` is what that account has got of what no device can spend. `cleared` is up to where people have lifted a
# dispute. `unconfirmed` is what was posted to it on its own word alone (the payers' journals have not shown it as paid
# yet), `left_open` what its own journal shows, but not as paid, though the payees have it. `other_seq`: the highest
# position at which it is known to have paid under another Certificate than the newest one of then, FOR_EVER if it was
# never issued that one. Above `shown_seq` (-1 of a new one) and the head, nothing but what it paid is known of its
# journal.
devices = _table(
    "devices",
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
    Column("base_seq", BigInteger, nullable=False),
    Column("limits", Text),
    Column("guaranteed", BigInteger, nullable=False),
    Column("lost_at", BigInteger),
    Column("paid_back", BigInteger),
    Column("passed_on", BigInteger, nullable=False),
    Column("cleared", BigInteger, nullable=False),
    Column("unconfirmed", BigInteger, nullable=False),
    Column("left_open", BigInteger, nullable=False),
    Column("other_seq", BigInteger, nullable=False),
    Column("shown_seq", BigInteger, nullable=False),
    *_part_of_an_index("devices_frozen", ("frozen",), "frozen IS NOT NULL"),
    *_part_of_an_index("devices_lost", ("lost_at",), "lost_at IS NOT NULL"),
)

# `installed_seq`: the lowest position at which the device's journal is known to install it.
certificates = _table(
    "certificates",
    Column("device", _binary(16), primary_key=True),
    Column("issue", BigInteger, primary_key=True, autoincrement=False),
    Column("certificate", _blob(), nullable=False),
    Column("acknowledgement", _blob(), nullable=False),
    Column("installed_seq", BigInteger),
    by="device",
)

# The unbroken chain of each device, as it was uploaded: a run of records in a row (`history`).
journals = _table(
    "journals",
    Column("device", _binary(16), primary_key=True),
    Column("last_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("records", _blob(), nullable=False),
    by="device",
)

# What was uploaded and not taken, with the reason; the same one again is not stored again. Deleted only when the record
# lay outside the held chain and then became part of it: `journals` has it from there on. `body_hash`, of what lies
# outside, is that of its body: proofs find it by it.
dead_letters = _table(
    "dead_letters",
    Column("device", _binary(16), primary_key=True),
    Column("record_hash", _binary(32), primary_key=True),
    Column("reason", String(200), primary_key=True),
    Column("record", _blob(), nullable=False),
    Column("body_hash", _binary(32)),
    Column("at", BigInteger, nullable=False),
    Index("dead_letters_body", "device", "body_hash"),
    by="device",
)

# Which record each device committed to at a position, by an object it signed (`proof`), where neither `journals` nor
# `transfers` shows it: heads of Statements, records outside the held chain, objects that others replaced. Two hashes at
# one position, wherever they stand, are a fraud proof.
positions = _table(
    "positions",
    Column("device", _binary(16), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", _binary(32), primary_key=True),
    Column("proof", _blob(), nullable=False),
    by="device",
)

# Two objects of one device that cannot both be honest. `kind` as in `evidence.py`; `digest` is of the device and both,
# so that the same are kept once.
evidence = _table(
    "evidence",
    _row_id(),
    Column("digest", _binary(32), nullable=False, unique=True),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("what", String(200), nullable=False),
    Column("position", BigInteger),  # of two histories: where they part
    Column("first", _blob(), nullable=False),
    Column("second", _blob(), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("evidence_device", "device"),
)

# Fraud proofs that others brought, as JSON, of kinds that the ledger had no proof of: one for each device and kind.
# Those made from `positions` and `evidence` are not kept.
submitted_proofs = _table(
    "submitted_proofs",
    Column("device", ForeignKey("devices.id"), primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("proof", Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    Column("at", BigInteger, nullable=False),
)

# What is known of each Transfer, which account holds its money now (`held_by`), and whether it is counted in its
# payee's `unconfirmed` and its payer's `left_open`. Its hash covers payer and seq and is unique by itself; they come
# first in the key so that a payer's Transfers lie together.
UNSETTLED = "state NOT IN ('known', 'posted')"  # the few that somebody may still have to look for
UNCREDITED = "credited = FALSE"
DEBITED = "debited = TRUE"
transfers = _table(
    "transfers",
    Column("payer", _binary(16), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", _binary(32), primary_key=True),
    Column("payee", _binary(16), nullable=False),
    Column("payee_key", _binary(32)),
    Column("payer_issue", BigInteger, nullable=False),
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
    Column("held_by", BigInteger, nullable=False),
    Column("unconfirmed", Boolean, nullable=False),
    Column("left_open", Boolean, nullable=False),
    Index("transfers_receipt", "payee", "receipt_seq"),
    # Most Transfers arrive with their credit and need no other key; the others' are left out where the engine can.
    *_part_of_an_index("transfers_debit", ("payer", "hash"), DEBITED),
    *_part_of_an_index("transfers_open", ("payer", "closed_seq"), DEBITED),
    *_part_of_an_index("transfers_uncredited", ("payee", "number"), UNCREDITED, flag="credited"),
    *_part_of_an_index("transfers_unsettled", ("state", "payee"), UNSETTLED),
    by="payer",
)

# What was posted to a payee of one payer's money while that payer was frozen for fraud.
from_frozen = _table(
    "from_frozen",
    Column("payee", ForeignKey("devices.id"), primary_key=True),
    Column("payer", ForeignKey("devices.id"), primary_key=True),
    Column("amount", BigInteger, nullable=False),
)

# What people have decided in the operator's name: to whom money in suspense goes (`transfer` is its hash, `device` who
# gets it), or that a device's dispute is lifted (`what` is "clear", `amount` up to where).
decisions = _table(
    "decisions",
    _row_id(),
    Column("at", BigInteger, nullable=False),
    Column("operator", ForeignKey("operators.operator"), nullable=False),
    Column("what", String(10), nullable=False),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("transfer", _binary(32), unique=True),
    Column("amount", BigInteger, nullable=False),
    Column("reason", String(200), nullable=False),
)

resolutions = _table(
    "resolutions",
    Column("transfer", _binary(32), primary_key=True),
    Column("resolution", _blob(), nullable=False),
)

loads = _table(
    "loads",
    Column("device", ForeignKey("devices.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", _binary(32), nullable=False, unique=True),
    Column("amount", BigInteger, nullable=False),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("load", _blob(), nullable=False),
    Column("state", String(20), nullable=False),
)

# Orders to devices, numbered per device.
orders = _table(
    "orders",
    Column("device", ForeignKey("devices.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("order", _blob(), nullable=False),
    Column("at", BigInteger, nullable=False),
)

# `seen_seq`: the highest position the ledger knew of the device when it gave the nonce out. `answer`: the Settlement.
UNANSWERED = "answer IS NULL"
syncs = _table(
    "syncs",
    _row_id(),
    Column("nonce", _binary(16), nullable=False, unique=True),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("seen_seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("statement", _blob()),
    Column("answer", Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")),
    Index("syncs_device", "device"),
    *_part_of_an_index("syncs_open", ("device",), UNANSWERED),
)

# Every list that an issuer (an operator's number, 0 the root) published, complete ones and deltas.
revocations = _table(
    "revocations",
    Column("issuer", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("complete", Boolean, nullable=False),
    Column("revocations", _blob(), nullable=False),
)

# What those lists say: from `epoch` on `minimum` is the lowest good issue of `who`, 0 once it is off the list.
revoked = _table(
    "revoked",
    Column("issuer", Integer, primary_key=True, autoincrement=False),
    Column("who", _binary(16), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("minimum", BigInteger, nullable=False),
    Index("revoked_who", "who"),
)

# Who is to stand on an operator's next list: whatever was frozen for fraud, and its own that were lost, until the list
# has taken them up or their Certificates are over. `theirs`: a device of another operator, which has to wait longer.
unlisted = _table(
    "unlisted",
    Column("issuer", Integer, primary_key=True, autoincrement=False),
    Column("theirs", Boolean, primary_key=True),
    Column("who", _binary(16), primary_key=True),
)

# Requests of the operators' own payees, through which devices redeem.
redemptions = _table(
    "redemptions",
    Column("payee", ForeignKey("devices.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("request_hash", _binary(32), nullable=False),
    Column("state", String(10), nullable=False),
    Column("transfer", _binary(32)),
    Column("receipt", _blob()),
)


# Who may use the service's operator endpoints: SHA-256 of a bearer token, never the token. `operator` is NULL for the
# central bank's own; `scopes` are words with blanks between.
tokens = _table(
    "tokens",
    Column("digest", _binary(32), primary_key=True),
    Column("operator", Integer),
    Column("scopes", String(200), nullable=False),
    Column("name", String(100), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

# Uploads on their way in: what has arrived of the one whose Statement has this hash. Deleted once it is settled.
upload_chunks = _table(
    "upload_chunks",
    Column("statement", _binary(32), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("chunk", _blob(), nullable=False),
    Column("at", BigInteger, nullable=False),
)
