"""Settles uploads in groups: what has come while one group was settled makes up the next one.

Nobody waits for others to come, and under load one commit serves many. Whoever asks for an upload that waits already
gets the same answer.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from host_tools.ledger import Ledger, LedgerError
from host_tools.ledger.answer import Settlement
from host_tools.ledger.settlement import Upload
from host_tools.server import framing, limits, logs
from host_tools.server.errors import Busy, WrongOffset
from host_tools.server.keyring import Keyring
from host_tools.server.metrics import Metrics
from host_tools.server.store import Store

GROUP_MAX_UPLOADS = 500
GROUP_MAX_BYTES = 2 << 20  # about 5,000 records; one upload may be larger, and is then a group of its own


@dataclass
class Waiting:
    """A whole upload of `size` bytes; `upload` is None if it lies in the store."""

    name: bytes
    operator: int
    size: int
    upload: bytes | None
    answer: asyncio.Future[Settlement]


class Poster:
    """Of one service. `run` it as a task, and `close` it when no request is under way any more."""

    def __init__(self, ledger: Ledger, store: Store, keys: Keyring, metrics: Metrics, now: Callable[[], int]):
        self._ledger, self._store, self._keys = ledger, store, keys
        self._metrics = metrics
        self._now = now
        self._waiting: dict[bytes, Waiting] = {}
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue(limits.UPLOADS_WAITING_MAX)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="poster")

    async def settle(self, name: bytes, operator: int, size: int, upload: bytes | None) -> Settlement:
        """Raises what `Ledger.settle` does, and `Busy`."""
        waiting = self._waiting.get(name)
        if waiting is None:
            if self._queue.full():
                raise Busy
            waiting = Waiting(name, operator, size, upload, asyncio.get_running_loop().create_future())
            self._waiting[name] = waiting
            self._queue.put_nowait(waiting)
            self._metrics.waiting.inc()
        return await asyncio.shield(waiting.answer)

    async def run(self) -> None:
        left: Waiting | None = None
        while True:
            group = [left or await self._queue.get()]
            left = self._fill(group)
            results = await self._settled(group)
            for waiting, result in zip(group, results, strict=True):
                del self._waiting[waiting.name]
                self._metrics.waiting.dec()
                if isinstance(result, Settlement):
                    waiting.answer.set_result(result)
                else:
                    waiting.answer.set_exception(result)
                    waiting.answer.exception()  # its client may have gone: nobody need look at it

    def _fill(self, group: list[Waiting]) -> Waiting | None:
        """Add what waits, as far as it fits. Returns what was taken and did not."""
        size = group[0].size
        while len(group) < GROUP_MAX_UPLOADS and not self._queue.empty():
            waiting = self._queue.get_nowait()
            size += waiting.size
            if size > GROUP_MAX_BYTES:
                return waiting
            group.append(waiting)
        return None

    async def _settled(self, group: list[Waiting]) -> list[Settlement | Exception]:
        """What became of each; one that brings a group down, which would be a defect, does so alone."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._settle, group)
        except Exception as error:  # noqa: BLE001 - whatever it is, their clients are told
            if len(group) == 1 or isinstance(error, LedgerError):
                return [error] * len(group)
            return [result for waiting in group for result in await self._settled([waiting])]

    def _settle(self, group: list[Waiting]) -> list[Settlement | Exception]:
        """In the poster's thread: everything that waits for the database."""
        results: dict[bytes, Settlement | Exception] = {}
        uploads: dict[bytes, Upload] = {}
        for waiting in group:
            data = self._store.upload(waiting.name) if waiting.upload is None else waiting.upload
            if len(data) != waiting.size:
                results[waiting.name] = WrongOffset(len(data))  # it was forgotten, or settled and dropped, meanwhile
                continue
            signer = self._keys.of(waiting.operator).operator
            uploads[waiting.name] = Upload(signer, *framing.split(data))
        answers = self._ledger.settle_many(list(uploads.values()), self._now())
        results |= zip(uploads, answers, strict=True)
        for waiting in group:
            if waiting.upload is None and isinstance(results[waiting.name], Settlement):
                self._store.drop_upload(waiting.name)
        self._count(results)
        return [results[waiting.name] for waiting in group]

    def _count(self, results: dict[bytes, Settlement | Exception]) -> None:
        metrics = self._metrics
        settled = [result for result in results.values() if isinstance(result, Settlement)]
        accepted = sum(settlement.accepted for settlement in settled)
        aside = sum(len(settlement.dead_letters) for settlement in settled)
        metrics.group.observe(len(results))
        metrics.uploads.labels("settled").inc(len(settled))
        metrics.uploads.labels("refused").inc(len(results) - len(settled))
        metrics.records.labels("accepted").inc(accepted)
        metrics.records.labels("aside").inc(aside)
        line = {"uploads": len(results), "records": accepted, "dead_letters": aside}
        logs.logger.info("settled", extra=line | {"failed": len(results) - len(settled)})

    def close(self) -> None:
        """Returns when the group under way is committed."""
        self._thread.shutdown(wait=True)
