"""The two processes that are measured: one settles, the other only checks the same signatures. Neither makes anything.

Each does one file after the other as it is told, and is idle while the other works.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from host_tools.ledger import Ledger, LedgerError, Settlement, Upload
from host_tools.ledger.settlement import BATCH
from host_tools.ledger.verify import Check, Verdicts, Verifier
from tests.benchmarks.memory import own_peak_bytes, peak_bytes
from tests.benchmarks.uploads import NOW, OPERATOR_KEY, read

STOP_S = 60


class Wrong(Exception):
    """What was measured was not what is to be measured."""


class Work(Protocol):
    def do(self, path: Path) -> dict[str, Any]: ...
    def close(self) -> dict[str, Any]: ...


class Child:
    """A process with one `Work`, made there by `make(*args)`."""

    def __init__(self, make: Callable[..., Work], *args: Any):
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, make, args))
        self._process.start()
        theirs.close()

    def begin(self, path: Path | None) -> None:
        """A file, or None: the end."""
        with _alive():
            self._pipe.send(path)

    def result(self) -> dict[str, Any]:
        """What became of the file that was begun. Raises `Wrong`."""
        with _alive():
            return self._pipe.recv()

    def do(self, path: Path) -> dict[str, Any]:
        self.begin(path)
        return self.result()

    def finish(self) -> dict[str, Any]:
        """What it has to say in the end."""
        self.begin(None)
        return self.result()

    def close(self) -> None:
        self._pipe.close()
        self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError):
        raise Wrong("a measured process has died; its last words are above") from None


def _serve(pipe: Connection, make: Callable[..., Work], args: tuple) -> None:
    work = make(*args)
    try:
        for path in iter(pipe.recv, None):
            pipe.send(work.do(path))
    except EOFError:  # whoever measures has given up
        work.close()
        return
    pipe.send(work.close())


class _Counting(Verifier):
    checks = 0

    def begin(self, checks) -> Verdicts:
        self.checks += len(checks)
        return super().begin(checks)


class Settling:
    """Settles with the ledger at `url`, all of a file in one call; nothing may be wrong with it unless `anything`."""

    def __init__(self, url: str, anything: bool = False):
        self._anything = anything
        self._ledger = Ledger.open(url)
        self._settings = _settings(self._ledger)
        self._verifier = self._ledger._settler._verifier = _Counting()

    def do(self, path: Path) -> dict[str, Any]:
        brought = list(read(path))
        uploads = [Upload(OPERATOR_KEY, one.statement, one.records) for one in brought]
        signatures = sum(1 for one in brought for _ in one.checks())
        records = [len(one.records) for one in brought]
        del brought
        before = self._verifier.checks
        began, used = time.perf_counter(), time.process_time()
        answers = self._ledger.settle_many(uploads, NOW)
        seconds, own_seconds = time.perf_counter() - began, time.process_time() - used
        checked = self._verifier.checks - before
        if not self._anything:
            _check_settled(answers, records)
            if checked != signatures:
                raise Wrong(f"{checked} signatures were checked, and {signatures} must be")
        settled = [answer for answer in answers if isinstance(answer, Settlement)]
        return {
            "seconds": seconds,
            "own_seconds": own_seconds,
            "settled": len(settled),
            "accepted": sum(answer.accepted for answer in settled),
            "refused": sum(len(answer.dead_letters) for answer in settled),
        }

    def close(self) -> dict[str, Any]:
        peak = peak_bytes(os.getpid())  # of settling: what adds the books up is no part of it
        processes = self._verifier.processes
        self._ledger.check()
        self._ledger.close()
        return {"peak_memory_bytes": peak or own_peak_bytes(processes), "settings": self._settings}


class Verifying:
    """Checks the signatures of a file, and does nothing else: as `Settling` would if all the rest took no time."""

    def __init__(self) -> None:
        self._verifier = Verifier()

    def do(self, path: Path) -> dict[str, Any]:
        checks = [check for brought in read(path) for check in brought.checks()]
        batches = [checks[start : start + 2 * BATCH] for start in range(0, len(checks), 2 * BATCH)]
        began = time.perf_counter()
        wrong = self._verify(batches)
        seconds = time.perf_counter() - began
        if wrong:
            raise Wrong(f"{wrong} signatures are wrong")
        return {"seconds": seconds, "signatures": len(checks)}

    def _verify(self, batches: list[list[Check]]) -> int:
        """One batch is begun before the last is waited for, so that no core is ever idle."""
        wrong = 0
        waiting: Verdicts | None = None
        for batch in batches:
            begun = self._verifier.begin(batch)
            wrong += len(waiting.wrong()) if waiting is not None else 0
            waiting = begun
        return wrong + (len(waiting.wrong()) if waiting is not None else 0)

    def close(self) -> dict[str, Any]:
        self._verifier.close()
        return {}


def _check_settled(answers: list[Settlement | LedgerError], records: list[int]) -> None:
    for answer, count in zip(answers, records, strict=True):
        if isinstance(answer, LedgerError):
            raise Wrong(f"an upload was not settled: {answer}") from answer
        if not answer.certified or answer.dead_letters or answer.accepted != count:
            reason = answer.note or answer.dead_letters[:1] or f"{answer.accepted} of {count} records were taken"
            raise Wrong(f"an upload was not settled in full: {reason}")


# What makes a commit durable, which no measurement may do without
_DURABLE = {
    "sqlite": {"PRAGMA journal_mode": "wal", "PRAGMA synchronous": 2, "PRAGMA fullfsync": None},
    "postgresql": {"SHOW fsync": "on", "SHOW synchronous_commit": "on", "SHOW full_page_writes": "on"},
    "mysql": {"SELECT VERSION()": None},
}


def _settings(ledger: Ledger) -> dict[str, Any]:
    """What the ledger's own connections say of their commits. Raises `Wrong`."""
    wanted = _DURABLE[ledger._engine.dialect.name]

    def ask(connection) -> dict[str, Any]:
        return {question: connection.exec_driver_sql(question).scalar_one() for question in wanted}

    found = ledger._run(ask)
    for question, answer in wanted.items():
        if answer is not None and found[question] != answer:
            raise Wrong(f"{question} says {found[question]!r}, and must say {answer!r}")
    return {question.split()[-1]: answer for question, answer in found.items()}
