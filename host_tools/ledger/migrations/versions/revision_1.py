"""The tables of the first version that is migrated."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "1"
down_revision = None

_PARTITIONS = 16
_MYSQL: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def _by(column: str) -> dict[str, Any]:
    """A table in partitions by a device's column."""
    parts = {"mysql_partition_by": f"KEY({column})", "mysql_partitions": str(_PARTITIONS)}
    return _MYSQL | parts | {"postgresql_partition_by": f"HASH ({column})"}


def _create_parts(table: str) -> None:
    """PostgreSQL's partitions are tables of their own."""
    if op.get_context().dialect.name == "postgresql":
        for part in range(_PARTITIONS):
            values = f"WITH (MODULUS {_PARTITIONS}, REMAINDER {part})"
            op.execute(f"CREATE TABLE {table}_{part} PARTITION OF {table} FOR VALUES {values}")


def _create_part_of_an_index(name: str, table: str, columns: list[str], where: str, flag: str | None = None) -> None:
    """Of the rows where `where` holds. MySQL knows only indexes of all rows: there the column `flag` comes first."""
    part = sa.text(where)
    if flag is None or op.get_context().dialect.name in ("sqlite", "postgresql"):
        op.create_index(name, table, columns, sqlite_where=part, postgresql_where=part)
    else:
        op.create_index(f"{name}_flagged", table, [flag, *columns])


def _binary(size: int) -> sa.types.TypeEngine:
    return sa.LargeBinary(size).with_variant(mysql.VARBINARY(size), "mysql", "mariadb")


def _blob() -> sa.types.TypeEngine:
    return sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


def _long_text() -> sa.types.TypeEngine:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def _row_id() -> sa.types.TypeEngine:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", _row_id(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("operator", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "owner", name="accounts_kind_owner"),
        **_MYSQL,
    )
    op.create_table(
        "certificates",
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("issue", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("certificate", _blob(), nullable=False),
        sa.Column("acknowledgement", _blob(), nullable=False),
        sa.Column("installed_seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("device", "issue"),
        **_by("device"),
    )
    _create_parts("certificates")
    op.create_table(
        "dead_letters",
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("record_hash", _binary(32), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("record", _blob(), nullable=False),
        sa.Column("body_hash", _binary(32), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", "record_hash", "reason"),
        **_by("device"),
    )
    _create_parts("dead_letters")
    op.create_index("dead_letters_body", "dead_letters", ["device", "body_hash"], unique=False)
    op.create_table(
        "journals",
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("records", _blob(), nullable=False),
        sa.PrimaryKeyConstraint("device", "last_seq"),
        **_by("device"),
    )
    _create_parts("journals")
    op.create_table(
        "ledger_info",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("root_key", _binary(32), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        **_MYSQL,
    )
    op.create_table(
        "operators",
        sa.Column("operator", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("issue", sa.BigInteger(), nullable=False),
        sa.Column("key", _binary(32), nullable=False),
        sa.Column("certificate", _blob(), nullable=False),
        sa.PrimaryKeyConstraint("operator"),
        **_MYSQL,
    )
    op.create_table(
        "positions",
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", _binary(32), nullable=False),
        sa.Column("proof", _blob(), nullable=False),
        sa.PrimaryKeyConstraint("device", "seq", "hash"),
        **_by("device"),
    )
    _create_parts("positions")
    op.create_table(
        "postings",
        sa.Column("id", _row_id(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("destination", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("reference", _binary(32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **_MYSQL,
    )
    op.create_table(
        "resolutions",
        sa.Column("transfer", _binary(32), nullable=False),
        sa.Column("resolution", _blob(), nullable=False),
        sa.PrimaryKeyConstraint("transfer"),
        **_MYSQL,
    )
    op.create_table(
        "revocations",
        sa.Column("issuer", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("revocations", _blob(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "epoch"),
        **_MYSQL,
    )
    op.create_table(
        "revoked",
        sa.Column("issuer", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("who", _binary(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("minimum", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "who", "epoch"),
        **_MYSQL,
    )
    op.create_index("revoked_who", "revoked", ["who"], unique=False)
    op.create_table(
        "unlisted",
        sa.Column("issuer", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("theirs", sa.Boolean(), nullable=False),
        sa.Column("who", _binary(16), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "theirs", "who"),
        **_MYSQL,
    )
    op.create_table(
        "tokens",
        sa.Column("digest", _binary(32), nullable=False),
        sa.Column("operator", sa.Integer(), nullable=True),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("digest"),
        **_MYSQL,
    )
    op.create_table(
        "transfers",
        sa.Column("payer", _binary(16), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", _binary(32), nullable=False),
        sa.Column("payee", _binary(16), nullable=False),
        sa.Column("payee_key", _binary(32), nullable=True),
        sa.Column("payer_issue", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("transfer", _blob(), nullable=False),
        sa.Column("debited", sa.Boolean(), nullable=False),
        sa.Column("closed_seq", sa.BigInteger(), nullable=True),
        sa.Column("closed_as", sa.Integer(), nullable=True),
        sa.Column("credited", sa.Boolean(), nullable=False),
        sa.Column("receipt", _blob(), nullable=True),
        sa.Column("receipt_seq", sa.BigInteger(), nullable=True),
        sa.Column("void", _blob(), nullable=True),
        sa.Column("refusal", sa.String(length=200), nullable=True),
        sa.Column("decided", sa.String(length=10), nullable=True),
        sa.Column("defaulted", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("held_by", sa.BigInteger(), nullable=False),
        sa.Column("unconfirmed", sa.Boolean(), nullable=False),
        sa.Column("left_open", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("payer", "seq", "hash"),
        **_by("payer"),
    )
    _create_parts("transfers")
    _create_part_of_an_index("transfers_debit", "transfers", ["payer", "hash"], "debited = TRUE")
    _create_part_of_an_index("transfers_open", "transfers", ["payer", "closed_seq"], "debited = TRUE")
    op.create_index("transfers_receipt", "transfers", ["payee", "receipt_seq"], unique=False)
    _create_part_of_an_index(
        "transfers_uncredited", "transfers", ["payee", "number"], "credited = FALSE", flag="credited"
    )
    _create_part_of_an_index("transfers_unsettled", "transfers", ["state", "payee"], "state NOT IN ('known', 'posted')")
    op.create_table(
        "upload_chunks",
        sa.Column("statement", _binary(32), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chunk", _blob(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("statement", "position"),
        **_MYSQL,
    )
    op.create_table(
        "devices",
        sa.Column("id", _binary(16), nullable=False),
        sa.Column("operator", sa.Integer(), nullable=False),
        sa.Column("key", _binary(32), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("mcc", sa.Integer(), nullable=False),
        sa.Column("account", _row_id(), nullable=False),
        sa.Column("purse", _row_id(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("issue", sa.BigInteger(), nullable=False),
        sa.Column("head_seq", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", _binary(32), nullable=False),
        sa.Column("watermark", sa.BigInteger(), nullable=False),
        sa.Column("load_floor", sa.BigInteger(), nullable=False),
        sa.Column("next_load_floor", sa.BigInteger(), nullable=False),
        sa.Column("statement", _blob(), nullable=True),
        sa.Column("frozen", sa.String(length=200), nullable=True),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.Column("valid_until", sa.Integer(), nullable=False),
        sa.Column("base_seq", sa.BigInteger(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=True),
        sa.Column("guaranteed", sa.BigInteger(), nullable=False),
        sa.Column("lost_at", sa.BigInteger(), nullable=True),
        sa.Column("paid_back", sa.BigInteger(), nullable=True),
        sa.Column("passed_on", sa.BigInteger(), nullable=False),
        sa.Column("cleared", sa.BigInteger(), nullable=False),
        sa.Column("unconfirmed", sa.BigInteger(), nullable=False),
        sa.Column("left_open", sa.BigInteger(), nullable=False),
        sa.Column("other_seq", sa.BigInteger(), nullable=False),
        sa.Column("shown_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"],
            ["accounts.id"],
        ),
        sa.ForeignKeyConstraint(
            ["operator"],
            ["operators.operator"],
        ),
        sa.ForeignKeyConstraint(
            ["purse"],
            ["accounts.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
        **_MYSQL,
    )
    _create_part_of_an_index("devices_frozen", "devices", ["frozen"], "frozen IS NOT NULL")
    _create_part_of_an_index("devices_lost", "devices", ["lost_at"], "lost_at IS NOT NULL")
    op.create_table(
        "decisions",
        sa.Column("id", _row_id(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("operator", sa.Integer(), nullable=False),
        sa.Column("what", sa.String(length=10), nullable=False),
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("transfer", _binary(32), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.ForeignKeyConstraint(
            ["operator"],
            ["operators.operator"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("transfer"),
        **_MYSQL,
    )
    op.create_table(
        "evidence",
        sa.Column("id", _row_id(), autoincrement=True, nullable=False),
        sa.Column("digest", _binary(32), nullable=False),
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("what", sa.String(length=200), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("first", _blob(), nullable=False),
        sa.Column("second", _blob(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        **_MYSQL,
    )
    op.create_index("evidence_device", "evidence", ["device"], unique=False)
    op.create_table(
        "from_frozen",
        sa.Column("payee", _binary(16), nullable=False),
        sa.Column("payer", _binary(16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["payee"],
            ["devices.id"],
        ),
        sa.ForeignKeyConstraint(
            ["payer"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("payee", "payer"),
        **_MYSQL,
    )
    op.create_table(
        "loads",
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", _binary(32), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("account", _row_id(), nullable=False),
        sa.Column("load", _blob(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"],
            ["accounts.id"],
        ),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("device", "number"),
        sa.UniqueConstraint("hash"),
        **_MYSQL,
    )
    op.create_table(
        "orders",
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("order", _blob(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("device", "number"),
        **_MYSQL,
    )
    op.create_table(
        "redemptions",
        sa.Column("payee", _binary(16), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("request_hash", _binary(32), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("transfer", _binary(32), nullable=True),
        sa.Column("receipt", _blob(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.ForeignKeyConstraint(
            ["payee"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("payee", "number"),
        **_MYSQL,
    )
    op.create_table(
        "submitted_proofs",
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("proof", _long_text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("device", "kind"),
        **_MYSQL,
    )
    op.create_table(
        "syncs",
        sa.Column("id", _row_id(), autoincrement=True, nullable=False),
        sa.Column("nonce", _binary(16), nullable=False),
        sa.Column("device", _binary(16), nullable=False),
        sa.Column("seen_seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("statement", _blob(), nullable=True),
        sa.Column("answer", _long_text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("nonce"),
        **_MYSQL,
    )
    op.create_index("syncs_device", "syncs", ["device"], unique=False)
    _create_part_of_an_index("syncs_open", "syncs", ["device"], "answer IS NULL")
