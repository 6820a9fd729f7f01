"""Two ledgers on one database that meet: the first has done its work and not committed yet when the second begins.

What the second then does without a lock, it does on what it has read before the first committed. Nothing here is
staged but the moment: transactions, locks and retries are the engines' own.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from sqlalchemy import Connection, event

from host_tools.ledger import Ledger, LedgerError

_WRITES = ("INSERT", "UPDATE", "DELETE")
_QUIET_S = 0.3  # a statement that takes so long waits for somebody
_PATIENCE_S = 60.0

Work = Callable[[Ledger], Any]


class Outcome(NamedTuple):
    """What both returned or raised; `waited`: the second had not ended when the first went on to its commit."""

    first: Any
    second: Any
    waited: bool


def race(url: str, first: Work, second: Work) -> Outcome:
    """`first` is held before the commit of what it writes until `second` waits for a lock, or has ended."""
    with (
        closing(Ledger.open(url)) as one,
        closing(Ledger.open(url)) as other,
        ThreadPoolExecutor(2) as threads,
    ):
        held, go_on = threading.Event(), threading.Event()
        _hold_commit(one, held, go_on)
        waits = _Waits(other)
        try:
            begun = threads.submit(_outcome, first, one)
            while not held.wait(0.01):
                assert not begun.done(), f"the first wrote nothing: {begun.result()!r}"
            follows = threads.submit(_outcome, second, other)
            waits.until_it_does(follows)
            waited = not follows.done()
        finally:
            go_on.set()
        return Outcome(begun.result(_PATIENCE_S), follows.result(_PATIENCE_S), waited)


def _outcome(work: Work, ledger: Ledger) -> Any:
    try:
        return work(ledger)
    except LedgerError as error:
        return error


def _hold_commit(ledger: Ledger, held: threading.Event, go_on: threading.Event) -> None:
    """Only of the first transaction that has written anything."""
    engine = ledger._engine

    def note(connection: Connection, _cursor, statement: str, *_) -> None:
        if statement.lstrip().upper().startswith(_WRITES):
            connection.info["wrote"] = True

    def hold(connection: Connection) -> None:
        if connection.info.pop("wrote", False) and not held.is_set():
            held.set()
            assert go_on.wait(_PATIENCE_S)

    event.listen(engine, "before_cursor_execute", note)
    event.listen(engine, "commit", hold)


class _Waits:
    """Whether a ledger's statement is on its way for so long that it must be waiting for somebody."""

    def __init__(self, ledger: Ledger):
        self._changed = threading.Condition()
        self._under_way = False
        event.listen(ledger._engine, "before_cursor_execute", lambda *_: self._note(True))
        event.listen(ledger._engine, "after_cursor_execute", lambda *_: self._note(False))

    def _note(self, under_way: bool) -> None:
        with self._changed:
            self._under_way = under_way
            self._changed.notify()

    def until_it_does(self, follows: Future) -> None:
        """Returns when it waits, or when `follows` has ended."""
        follows.add_done_callback(lambda _: self._note(False))
        with self._changed:
            while not follows.done():
                if not self._changed.wait(_QUIET_S) and self._under_way:
                    return
