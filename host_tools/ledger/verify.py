"""The second stage of settlement: signatures. Stateless, outside any database transaction, on all cores.

libsodium runs while the interpreter's lock is free, but each call needs the lock before and after, and the thread that
posts meanwhile hardly ever lets go of it: threads that check would wait for it most of the time. So they stand in
processes of their own, one for each core, which hold no keys but public ones. Each signature is checked by itself: a
batch that is checked by linear combination accepts what a device's own check refuses.
"""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from host_tools.crypto import wrong_ones

NICENESS = 10  # beside a process that does not give way, one that does gets a tenth of a core
SHARE = 500  # signatures that a process checks at a time: 20 ms, much longer than it takes to hand them over


# A signature before the body that it signs, and the public key that should have made it
Check = tuple[bytes, bytes]


class Verifier:
    """Checks signatures: a few here, many on all cores, by processes that run from their first use to `close`."""

    def __init__(self, processes: int | None = None):
        self.processes = processes or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def begin(self, checks: Sequence[Check]) -> "Verdicts":
        """Begin to check all of them; what comes out is asked for later."""
        shares = [checks[start : start + SHARE] for start in range(0, len(checks), SHARE)]
        if len(shares) < 2 or self.processes < 2:
            return Verdicts([(share, None) for share in shares])
        try:
            return Verdicts([(share, self._workers().submit(wrong_ones, share)) for share in shares])
        except BrokenProcessPool:  # somebody has killed one of them: the next call starts others
            self.close()
            return Verdicts([(share, None) for share in shares])

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            start = multiprocessing.get_context("spawn")  # a copy of this process would have its connections and keys
            self._pool = ProcessPoolExecutor(self.processes, start, initializer=_give_way)
        return self._pool


def _give_way() -> None:
    """Interrupts are left to the process that posts, and so are the cores: all wait for it and for its database."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)


class Verdicts:
    """What became of the checks that `Verifier.begin` was given."""

    def __init__(self, shares: list[tuple[Sequence[Check], Future[list[int]] | None]]):
        self._shares = shares

    def wrong(self) -> list[int]:
        """Which of the checks failed, by their places; waits for all of them."""
        found: list[int] = []
        start = 0
        for share, answer in self._shares:
            try:
                failed = answer.result() if answer is not None else wrong_ones(share)
            except BrokenProcessPool:
                failed = wrong_ones(share)
            found += [start + index for index in failed]
            start += len(share)
        return found
