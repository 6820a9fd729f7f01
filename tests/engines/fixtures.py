"""Fixtures: the databases that a test's ledger can live in. A folder's conftest imports what it uses.

A test runs on SQLite; marked with `every_engine`, on all three. A server is started once for each worker, when its
first test needs it, and has one ledger, which is emptied for every test.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from sqlalchemy import create_engine

from host_tools.ledger import Ledger
from host_tools.ledger.schema import info, metadata
from tests.engines.postgresql import PostgreSQL
from tests.engines.seekdb import SeekDB
from tests.engines.server import NotHere, Server

KINDS: dict[str, type[Server]] = {kind.name: kind for kind in (PostgreSQL, SeekDB)}

every_engine = pytest.mark.parametrize("engine", ["sqlite", *KINDS], indirect=True)


class _Running:
    """The servers of one worker, and on each the URL of the one ledger that tests empty and use."""

    def __init__(self, stack: ExitStack):
        self._stack = stack
        self._found: dict[str, Server | NotHere] = {}
        self._urls: dict[str, str] = {}

    def server(self, name: str) -> Server:
        if name not in self._found:
            try:
                server = self._stack.enter_context(closing(KINDS[name]()))
                server.start()
                self._found[name] = server
            except NotHere as reason:
                self._found[name] = reason
        found = self._found[name]
        if isinstance(found, NotHere):
            pytest.skip(str(found))
        return found

    def empty_ledger(self, name: str) -> str:
        if name not in self._urls:
            url = self.server(name).database()
            Ledger.create(url).close()
            self._urls[name] = url
        else:
            _empty(self._urls[name])
        return self._urls[name]


@pytest.fixture(scope="session")
def servers() -> Iterator[_Running]:
    with ExitStack() as stack:
        yield _Running(stack)


@pytest.fixture
def engine(request) -> str:
    return getattr(request, "param", "sqlite")


@pytest.fixture
def empty_ledger(engine, servers) -> str | None:
    """The URL of an empty ledger; None on SQLite, where a new file is made faster."""
    return None if engine == "sqlite" else servers.empty_ledger(engine)


def _empty(url: str) -> None:
    database = create_engine(url)
    with database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        connection.execute(info.insert().values(id=1))
    database.dispose()
