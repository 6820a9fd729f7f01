"""What the service asks of the database beside `Ledger`: tokens, pieces of uploads, and reads that need no report.

Each method is one database transaction. Raises `LedgerUnavailable` where the database does not answer.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, Row, Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from host_tools.ledger import books, engines, lost, pending, schema
from host_tools.ledger.retries import transact
from host_tools.ledger.schema import accounts, devices, syncs
from host_tools.server import chunks, tokens
from host_tools.server.tokens import Token

T = TypeVar("T")

PAGE = 200  # rows of one answer to a listing
_PARTIES_MAX = 100_000  # 10 MB


class Party(NamedTuple):
    """Whose a device is; neither ever changes."""

    operator: int
    key: bytes


class Store:
    """One database. What it writes may be written twice, so that every transaction is simply run again (`retries`)."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._reader = engines.reader(engine)
        self._parties: dict[bytes, Party] = {}

    def _read(self, work: Callable[[Connection], T]) -> T:
        return transact(self._reader, work, None)

    def _write(self, work: Callable[[Connection], T]) -> T:
        return transact(self._engine, work, None)

    def answers(self) -> bool:
        """Whether the database does, now."""
        try:
            with self._reader.connect() as connection:
                connection.execute(select(schema.info.c.id)).scalar_one()
        except SQLAlchemyError:
            return False
        return True

    # Tokens

    def token(self, digest: bytes) -> Token | None:
        return self._read(lambda connection: tokens.find(connection, digest))

    def tokens(self) -> list[Token]:
        return self._read(tokens.listed)

    def create_token(
        self, operator: int | None, scopes: frozenset[str], name: str, expires_at: int, now: int
    ) -> tuple[str, Token]:
        """The text of a new token, which nothing else has, and what is kept of it."""
        text = tokens.random_text()
        token = Token(tokens.id_of(text), operator, scopes, name, now, expires_at, None)
        self._write(lambda connection: tokens.add(connection, text, token))
        return text, token

    def revoke_token(self, token_id: str, now: int) -> bool:
        """False if there is none of this id."""
        return self._write(lambda connection: tokens.revoke(connection, token_id, now))

    # Uploads

    def party(self, device: bytes) -> Party | None:
        """None for a device that is not registered."""
        known = self._parties.get(device)
        if known is not None:
            return known
        query = select(devices.c.operator, devices.c.key).where(devices.c.id == device)
        row = self._read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return None
        if len(self._parties) >= _PARTIES_MAX:
            self._parties.clear()
        self._parties[device] = known = Party(row.operator, row.key)
        return known

    def sync(self, nonce: bytes) -> Row | None:
        """What the ledger knows of a nonce: `device`, and `statement` and `answer` once it is settled."""
        query = select(syncs.c.device, syncs.c.statement, syncs.c.answer).where(syncs.c.nonce == nonce)
        return self._read(lambda connection: connection.execute(query).one_or_none())

    def standing(self, device: bytes) -> dict:
        """Whether a registered device is blocked, for whoever brings its upload (`endpoints.STANDING`)."""
        (row,) = self._rows(select(devices).where(devices.c.id == device))
        day = None if row.lost_at is None else lost.pay_back_day(row)
        return {"frozen": row.frozen, "revoked": row.revoked, "lost_at": row.lost_at, "pay_back_day": day}

    def arrived(self, statement: bytes) -> int:
        return self._read(lambda connection: chunks.arrived(connection, statement))

    def add_chunk(self, statement: bytes, position: int, chunk: bytes, now: int) -> bool:
        """False if the upload goes on elsewhere: another request has brought this piece."""
        return self._write(lambda connection: chunks.add(connection, statement, position, chunk, now))

    def upload_begin(self, statement: bytes) -> bytes:
        """The first piece, with the Statement in it; empty if nothing is here."""
        return self._read(lambda connection: chunks.first(connection, statement))

    def upload(self, statement: bytes) -> bytes:
        return self._read(lambda connection: chunks.whole(connection, statement))

    def drop_upload(self, statement: bytes) -> None:
        self._write(lambda connection: chunks.drop(connection, statement))

    def drop_old_uploads(self, now: int) -> int:
        return self._write(lambda connection: chunks.drop_old(connection, now))

    def pending(self, device: bytes) -> dict[str, int]:
        """What waits for a device (`pending.counts`). Raises `UnknownDevice`."""
        return self._read(lambda connection: pending.counts(connection, device))

    # What an operator has. Lists are in the order of numbers or ids, from behind `after`.

    def accounts(self, operator: int, after: int) -> list[dict]:
        mine = (accounts.c.operator == operator, accounts.c.kind == books.ACCOUNT)
        query = select(accounts).where(*mine, accounts.c.id > after).order_by(accounts.c.id).limit(PAGE)
        return [_account(row) for row in self._rows(query)]

    def account(self, number: int) -> dict | None:
        """None if it is no customer's."""
        rows = self._rows(select(accounts).where(accounts.c.id == number, accounts.c.kind == books.ACCOUNT))
        return _account(rows[0]) if rows else None

    def account_called(self, operator: int, name: str) -> dict | None:
        owner = f"{operator}:{name}"
        rows = self._rows(select(accounts).where(accounts.c.kind == books.ACCOUNT, accounts.c.owner == owner))
        return _account(rows[0]) if rows else None

    def devices(self, operator: int, after: bytes) -> list[dict]:
        query = (
            select(devices, accounts.c.balance)
            .join(accounts, devices.c.purse == accounts.c.id)
            .where(devices.c.operator == operator, devices.c.id > after)
            .order_by(devices.c.id)
            .limit(PAGE)
        )
        return [_device(row) for row in self._rows(query)]

    def sums(self, operator: int | None) -> dict[str, int]:
        """Minor units by where they are (`books`), of one operator's customers and devices, or of all."""
        query = select(accounts.c.kind, func.sum(accounts.c.balance).label("total")).group_by(accounts.c.kind)
        if operator is not None:
            query = query.where(accounts.c.operator == operator)
        return {row.kind: int(row.total) for row in self._rows(query)}

    def _rows(self, query: Select) -> Sequence[Row]:
        return self._read(lambda connection: connection.execute(query).all())


def _account(row: Row) -> dict:
    return {"account": row.id, "operator": row.operator, "name": row.name, "balance": books.whole(row.balance)}


def _device(row: Row) -> dict:
    return {
        "device": row.id.hex(),
        "name": row.name,
        "kind": row.kind,
        "mcc": row.mcc,
        "account": row.account,
        "purse": books.whole(row.balance),
        "issue": row.issue,
        "frozen": row.frozen,
        "revoked": row.revoked,
        "lost_at": row.lost_at,
    }
