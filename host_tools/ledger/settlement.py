"""Settlement: devices' Statements and records in, signed objects for them out. The way through the stages.

    parse     bytes into records                              pure
    verify    every signature, on all cores                   outside any transaction
    post      into the books, about BATCH records at a time   one transaction
    answer    what is signed for each device                  in the same one

While one batch is posted, the next ones are parsed whenever the database is at work, and their signatures are checked.
A batch is run again when its database asks for that, and upload by upload when one of them cannot be settled, so that
none stops the others.
"""

import gc
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, text

from host_tools.crypto import Signer
from host_tools.ledger import bulk, parties, registry
from host_tools.ledger.answer import Answers, Settlement
from host_tools.ledger.errors import BadSignature, InvalidInput, LedgerError, UnknownNonce
from host_tools.ledger.evidence import seen_seqs
from host_tools.ledger.plain.standing import Issued
from host_tools.ledger.post import post
from host_tools.ledger.posting import Posting
from host_tools.ledger.reading import Keys, Reader, Reading
from host_tools.ledger.schema import UNANSWERED, syncs
from host_tools.ledger.verify import Verdicts, Verifier
from protocol.errors import DecodeError
from protocol.objects import ID_BYTES, NONCE_BYTES, Statement
from protocol.records import INSTALLATION_MAX_BYTES

# A terminal may make 5,000 payments on one base and close as many; whoever sends more sends junk.
MAX_RECORDS = 20_000
MAX_OPEN_SYNCS = 16  # nonces of one device that nobody has come back with; the oldest are forgotten
_DEVICE = slice(2, 2 + ID_BYTES)  # in a Statement
AHEAD = 2  # batches that are parsed and checked while one is posted, so that no core waits for the database
BATCH = 5_000  # records: a commit costs little beside them, and nobody waits long for their locks


class Upload(NamedTuple):
    """What a host brings: a device's Statement and the records that it asked for. `signer` is its operator's."""

    signer: Signer
    statement: bytes
    records: list[bytes]


def begin(connection: Connection, wanted: Sequence[tuple[bytes, bytes]], now: int) -> list[tuple[bytes, int]]:
    """Remember a nonce for each device's next Statement. Returns them with the first seqs whose records are wanted.

    Several hosts may each hold one of a device. What the ledger knew of it by now is kept with the nonce: a Statement
    over it that lies behind proves that the device went back. Raises `UnknownDevice`.
    """
    if any(len(nonce) != NONCE_BYTES for _, nonce in wanted):
        raise InvalidInput(f"A nonce has {NONCE_BYTES} bytes", "Call begin_sync again")
    ids = {device for device, _ in wanted}
    rows = registry.devices_of(connection, ids)
    for device in ids - rows.keys():
        raise registry.unknown(device)
    _forget_oldest(connection, Counter(device for device, _ in wanted))
    seen = seen_seqs(connection, ids)
    begun = [(nonce, device, seen[device]) for device, nonce in wanted]
    bulk.insert(connection, syncs, ("nonce", "device", "seen_seq"), begun, {"at": now})
    return [(nonce, rows[device].head_seq + 1) for device, nonce in wanted]


_OPEN = select(syncs.c.id, syncs.c.device).where(text(UNANSWERED)).order_by(syncs.c.id)


def _forget_oldest(connection: Connection, begun: Mapping[bytes, int]) -> None:
    """Of the nonces that nobody has come back with, to make room for so many of each device."""
    waiting: dict[bytes, list[int]] = {}
    for number, device in bulk.rows(connection, _OPEN, syncs.c.device, begun):
        waiting.setdefault(device, []).append(number)
    for device, numbers in waiting.items():
        for old in numbers[: max(0, len(numbers) + begun[device] - MAX_OPEN_SYNCS)]:
            connection.execute(syncs.delete().where(syncs.c.id == old))


class _Prepared(NamedTuple):
    """An upload that is read; the first of its reading's checks is that of the Statement itself."""

    upload: Upload
    statement: Statement
    reading: Reading


class _Batch(NamedTuple):
    """`prepared` by their places in `results`, where the others have theirs already."""

    prepared: dict[int, _Prepared]
    results: list[Any]
    verdicts: Verdicts


class Settler:
    """Runs uploads through the stages. `run` and `read` do a function of a connection in a transaction."""

    def __init__(self, run: Callable[..., Any], read: Callable[..., Any]):
        self._run = run
        self._read = read
        self._verifier = Verifier()
        self._keys = Keys()
        self._issued = Issued()

    def close(self) -> None:
        self._verifier.close()

    def settle_many(self, uploads: Iterable[Upload], now: int) -> list[Settlement | LedgerError]:
        """What became of each: an error says why nothing of it was taken."""
        results: list[Settlement | LedgerError] = []
        waiting: deque[Future[_Batch]] = deque()
        preparing = ThreadPoolExecutor(1)
        try:
            with _no_collection():
                groups = _grouped(uploads)
                batch = self._prepare(next(groups, []), now)
                for group in groups:
                    waiting.append(preparing.submit(self._prepare, group, now))
                    if len(waiting) == AHEAD:
                        results += self._finish(batch, now)
                        batch = waiting.popleft().result()
                results += self._finish(batch, now)
                while waiting:
                    results += self._finish(waiting.popleft().result(), now)
        finally:
            preparing.shutdown(cancel_futures=True)
        return results

    def _prepare(self, uploads: list[Upload], now: int) -> _Batch:
        """Parse, look up keys, and let the signatures be checked."""
        found = self._read(self._look_up, uploads, now)
        prepared = {at: one for at, one in enumerate(found) if isinstance(one, _Prepared)}
        results = [None if isinstance(one, _Prepared) else one for one in found]
        checks = [check for one in prepared.values() for check in one.reading.checks]
        return _Batch(prepared, results, self._verifier.begin(checks))

    def _look_up(self, connection: Connection, uploads: list[Upload], now: int) -> list:
        """Of each what it reads as, or what became of it."""
        opened = [_attempt(_opened, upload) for upload in uploads]
        statements = [one for one in opened if isinstance(one, Statement)]
        begun = _Begun(connection, statements)
        reader = Reader(connection, self._keys, [one.device for one in statements], now)

        def read(upload: Upload, statement: Statement) -> _Prepared | Settlement:
            device = reader.device(statement.device, upload.signer)
            known = begun.of(statement, upload.statement)
            if known.answer is not None:
                return Settlement.from_json(known.answer)
            reading = reader.parse(device, upload.records)
            reading.checks.append((statement.signature + statement.body(), device.key))
            return _Prepared(upload, statement, reading)

        found = [
            _attempt(read, upload, one) if isinstance(one, Statement) else one
            for upload, one in zip(uploads, opened, strict=True)
        ]
        reader.read([one.reading for one in found if isinstance(one, _Prepared)])
        return found

    def _finish(self, batch: _Batch, now: int) -> list[Settlement | LedgerError]:
        wrong = batch.verdicts.wrong()
        start = 0
        for at, one in list(batch.prepared.items()):
            count = len(one.reading.checks)
            mine = [index - start for index in wrong if start <= index < start + count]
            start += count
            if 0 in mine:
                batch.results[at] = _not_signed()
                del batch.prepared[at]
            elif mine:
                one.reading.judge(mine)
        for at, result in zip(batch.prepared, self._post(list(batch.prepared.values()), now), strict=True):
            batch.results[at] = result
        return batch.results

    def _post(self, prepared: list[_Prepared], now: int) -> list[Settlement | LedgerError]:
        if not prepared:
            return []
        try:
            return self._run(_post_all, self._issued, prepared, now)
        except LedgerError as error:
            if len(prepared) == 1:
                return [error]
        return [result for one in prepared for result in self._post([one], now)]


@contextmanager
def _no_collection() -> Iterator[None]:
    """A batch makes a great many objects, and no cycles: looking for some among them takes a fifth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _grouped(uploads: Iterable[Upload]) -> Iterator[list[Upload]]:
    """At most BATCH records together, unless one upload has more, and no device twice: each goes on from the last."""
    group: list[Upload] = []
    devices: set[bytes] = set()
    size = 0
    for upload in uploads:
        device = upload.statement[_DEVICE]
        if group and (size + len(upload.records) > BATCH or device in devices):
            yield group
            group, devices, size = [], set(), 0
        group.append(upload)
        devices.add(device)
        size += len(upload.records)
    if group:
        yield group


def _attempt(work: Callable[..., Any], *args: Any) -> Any:
    """What it returns, or the `LedgerError` that it raises."""
    try:
        return work(*args)
    except LedgerError as error:
        return error


def _opened(upload: Upload) -> Statement:
    """Its Statement, not checked yet. Raises `InvalidInput`, `BadSignature`."""
    if len(upload.records) > MAX_RECORDS or any(len(raw) > INSTALLATION_MAX_BYTES for raw in upload.records):
        raise InvalidInput(
            f"An upload has at most {MAX_RECORDS} records of {INSTALLATION_MAX_BYTES} bytes",
            "Send the device's records from the seq that was asked for",
        )
    try:
        return Statement.decode(upload.statement)
    except DecodeError as error:
        raise BadSignature(f"This is no Statement ({error})", "Ask the device for a new one") from error


def _not_signed() -> BadSignature:
    return BadSignature("The Statement is not signed by this device", "Ask the device for a new one")


_SYNCS = select(syncs)


class _Begun:
    """What the ledger remembers of Statements' nonces."""

    def __init__(self, connection: Connection, statements: Iterable[Statement]):
        nonces = [statement.nonce for statement in statements]
        self._rows = {row.nonce: row for row in bulk.rows(connection, _SYNCS, syncs.c.nonce, nonces)}

    def of(self, statement: Statement, signed: bytes) -> Row:
        """Raises `UnknownNonce`."""
        known = self._rows.get(statement.nonce)
        if known is None or known.device != statement.device or known.statement not in (None, signed):
            raise UnknownNonce("The Statement's nonce is not fresh", "Begin the sync again")
        return known


def _post_all(
    connection: Connection, issued: Issued, prepared: list[_Prepared], now: int
) -> list[Settlement | LedgerError]:
    """One batch, in one transaction."""
    parties.lock(connection, [(one.statement, one.reading) for one in prepared])
    begun = _Begun(connection, [one.statement for one in prepared])
    rows = registry.devices_of(connection, [one.statement.device for one in prepared])
    postings: dict[int, Posting] = {}
    results: dict[int, Settlement | LedgerError] = {}
    for at, (upload, statement, reading) in enumerate(prepared):
        sync = begun.of(statement, upload.statement)
        if sync.answer is not None:  # somebody else brought it meanwhile
            results[at] = Settlement.from_json(sync.answer)
        else:
            device = rows[statement.device]
            postings[at] = Posting(connection, device, statement, reading, sync.seen_seq, now)
    post(connection, issued, list(postings.values()), now)
    answers = Answers(connection, list(postings.values()), now)
    for at, posting in postings.items():
        results[at] = answers.to(prepared[at].upload.signer, posting)
    answers.keep()
    return [results[at] for at in range(len(prepared))]
