"""Bearer tokens of operators (RFC 6750): 32 random bytes that only their holder has; the table has their SHA-256.

A token speaks for one operator, or for the central bank (`operator` None), and may do what its scopes say. Good until
it expires or is revoked, which takes effect with the next request.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, Row, select, update

from host_tools.crypto import sha256
from host_tools.ledger.schema import tokens

_PREFIX = "jiaozi_"  # so that people, and programs that look for leaked secrets, know one
_RANDOM_BYTES = 32
TEXT_MAX = 100  # characters; nothing longer is looked at
DAYS_MAX = 366
NAME_MAX = 100
_ID_DIGITS = 12

# What a token may do. `issue` is the central bank's.
OPERATOR_SCOPES = {
    "read": "see the operator's accounts, devices and what they hold",
    "accounts": "open accounts",
    "devices": "register devices, change their limits, sign orders to them",
    "load": "order and cancel loads",
    "redeem": "redeem from devices",
    "reports": "see what moved over some days, and what other operators owe",
    "revoke": "revoke devices and report them lost, for good",
}
ROOT_SCOPES = {
    "issue": "issue new money into any account",
    "books": "see the sums of the whole ledger",
}


@dataclass(frozen=True)
class Token:
    """Whom a request speaks for. `id` names the token in lists and logs and is no secret."""

    id: str
    operator: int | None
    scopes: frozenset[str]
    name: str
    created_at: int
    expires_at: int
    revoked_at: int | None

    def good(self, now: int) -> bool:
        return self.revoked_at is None and now < self.expires_at


def random_text() -> str:
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def digest_of(text: str) -> bytes:
    return sha256(text.encode())


def id_of(text: str) -> str:
    return _id_of(digest_of(text))


def _id_of(digest: bytes) -> str:
    return digest.hex()[:_ID_DIGITS]


def add(connection: Connection, text: str, token: Token) -> None:
    """Again changes nothing."""
    if find(connection, digest_of(text)) is None:
        connection.execute(
            tokens.insert().values(
                digest=digest_of(text),
                operator=token.operator,
                scopes=" ".join(sorted(token.scopes)),
                name=token.name,
                created_at=token.created_at,
                expires_at=token.expires_at,
            )
        )


def find(connection: Connection, digest: bytes) -> Token | None:
    row = connection.execute(select(tokens).where(tokens.c.digest == digest)).one_or_none()
    return None if row is None else _token(row)


def listed(connection: Connection) -> list[Token]:
    """All of them, the newest first."""
    return [_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.created_at.desc()))]


def revoke(connection: Connection, token_id: str, now: int) -> bool:
    """Whether there is one of this id; again changes nothing."""
    for row in connection.execute(select(tokens)).all():
        if _id_of(row.digest) == token_id:
            known = tokens.c.digest == row.digest
            connection.execute(update(tokens).where(known, tokens.c.revoked_at.is_(None)).values(revoked_at=now))
            return True
    return False


def _token(row: Row) -> Token:
    scopes = frozenset(row.scopes.split())
    return Token(_id_of(row.digest), row.operator, scopes, row.name, row.created_at, row.expires_at, row.revoked_at)
