"""What has arrived of uploads that are not whole yet: pieces in the table `upload_chunks`, one behind the other.

An upload is named by the SHA-256 of its Statement, and begins with that. `position` is the number of a piece's first
byte.
"""

from sqlalchemy import Connection, delete, func, select

from host_tools.ledger.schema import upload_chunks

# One row: large enough to be few (MySQL's default packet holds it), small enough that many uploads fit into memory.
CHUNK_BYTES = 1 << 16
KEEP_S = 86_400  # an upload that has not gone on for a day begins anew


def arrived(connection: Connection, statement: bytes) -> int:
    """How many bytes are here: the offset at which the upload goes on."""
    length = func.length(upload_chunks.c.chunk)
    last = (
        select(upload_chunks.c.position + length)
        .where(upload_chunks.c.statement == statement)
        .order_by(upload_chunks.c.position.desc())
        .limit(1)
    )
    return connection.execute(last).scalar_one_or_none() or 0


def add(connection: Connection, statement: bytes, position: int, chunk: bytes, now: int) -> bool:
    """False if the upload does not go on at `position`: another request has brought this piece."""
    if arrived(connection, statement) != position:
        return False
    connection.execute(upload_chunks.insert().values(statement=statement, position=position, chunk=chunk, at=now))
    return True


def first(connection: Connection, statement: bytes) -> bytes:
    """The piece that the upload begins with; empty if nothing is here."""
    begin = (upload_chunks.c.statement == statement, upload_chunks.c.position == 0)
    return connection.execute(select(upload_chunks.c.chunk).where(*begin)).scalar_one_or_none() or b""


def whole(connection: Connection, statement: bytes) -> bytes:
    """All that is here, in order."""
    query = select(upload_chunks.c.chunk).where(upload_chunks.c.statement == statement)
    return b"".join(connection.execute(query.order_by(upload_chunks.c.position)).scalars())


def drop(connection: Connection, statement: bytes) -> None:
    connection.execute(delete(upload_chunks).where(upload_chunks.c.statement == statement))


def drop_old(connection: Connection, now: int) -> int:
    """Forget uploads of which nothing has come for `KEEP_S`. Returns how many went."""
    stale = (
        select(upload_chunks.c.statement)
        .group_by(upload_chunks.c.statement)
        .having(func.max(upload_chunks.c.at) < now - KEEP_S)
    )
    names = connection.execute(stale).scalars().all()
    for name in names:
        drop(connection, name)
    return len(names)
