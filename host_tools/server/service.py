"""What the endpoints have at hand, and what one request brings them."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from host_tools.crypto import Signer
from host_tools.ledger import Ledger
from host_tools.ledger.errors import UnknownAccount, UnknownDevice
from host_tools.server import limits
from host_tools.server.errors import Busy
from host_tools.server.keyring import Keyring
from host_tools.server.metrics import Metrics
from host_tools.server.poster import Poster
from host_tools.server.store import Store
from host_tools.server.tokens import Token

T = TypeVar("T")


class Workers:
    """The threads that wait for the database, so that the event loop never does."""

    def __init__(self, threads: int = limits.WORKERS, waiting_max: int = limits.WAITING_MAX):
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ledger")
        self._waiting_max = waiting_max
        self._waiting = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Raises `Busy` when as many wait as may."""
        if self._waiting >= self._waiting_max:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Returns when all that runs has ended."""
        self._threads.shutdown(wait=True)


class Service:
    """One running service. `clock` is Unix seconds."""

    def __init__(self, ledger: Ledger, store: Store, keys: Keyring, clock: Callable[[], float] = time.time):
        self.ledger, self.store, self.keys = ledger, store, keys
        self._clock = clock
        self.metrics = Metrics()
        self.workers = Workers()
        self.document: dict[str, Any] = {}  # OpenAPI's, once the endpoints are known
        self.poster = Poster(ledger, store, keys, self.metrics, self.now)

    def now(self) -> int:
        return int(self._clock())

    def close(self) -> None:
        """Returns when what is under way is committed."""
        self.poster.close()
        self.workers.close()
        self.ledger.close()


@dataclass(frozen=True)
class Call:
    """One request, its parts checked (`endpoint`). `trail` goes to the log."""

    service: Service
    token: Token | None
    path: dict[str, Any]
    query: dict[str, Any]
    body: dict[str, Any]
    trail: dict[str, Any]

    @property
    def ledger(self) -> Ledger:
        return self.service.ledger

    @property
    def store(self) -> Store:
        return self.service.store

    @property
    def now(self) -> int:
        return self.service.now()

    @property
    def operator(self) -> int:
        """Whom the token speaks for."""
        assert self.token is not None and self.token.operator is not None, "its scope was checked"
        return self.token.operator

    @property
    def signer(self) -> Signer:
        return self.service.keys.of(self.operator).operator

    @property
    def payee_signer(self) -> Signer:
        return self.service.keys.of(self.operator).payee

    def own_device(self) -> bytes:
        """The device of the path. Another operator's is as unknown as one that there is not. Raises `UnknownDevice`."""
        device = self.path["device"]
        party = self.store.party(device)
        if party is None or party.operator != self.operator:
            self.trail["foreign"] = party is not None
            raise UnknownDevice("You have no device of this id", "List yours with GET /v1/devices")
        return device

    def own_account(self) -> dict:
        """The account of the path, likewise. Raises `UnknownAccount`."""
        return self.checked_account(self.path["account"])

    def checked_account(self, number: int) -> dict:
        account = self.store.account(number)
        if account is None or account["operator"] != self.operator:
            self.trail["foreign"] = account is not None
            raise UnknownAccount("You have no account of this number", "List yours with GET /v1/accounts")
        return account
