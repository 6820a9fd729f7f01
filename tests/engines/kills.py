"""`kill -9` at random moments of settlement: of the database server, of the process that settles with SQLite, and of
`jiaozi serve` on every engine.

    python -m tests.engines.kills [KILLS] [SEED]     # of each engine; the last line is JSON

A shop takes payments and syncs, or its customer does, or both at once. While the upload is at the ledger everything
that can be killed is, and comes back. What the ledger has acknowledged must be there, once, and the books must balance;
what it has not must still be taken when the same upload comes again. A run whose kills hardly ever meet a settlement
has shown nothing, and fails.
"""

import json
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from host_tools.ledger import Ledger
from host_tools.ledger.errors import LedgerUnavailable, OutcomeUnknown
from host_tools.ledger.settlement import Settlement
from host_tools.server.client import RemoteLedger
from protocol import apdu
from protocol.objects import Statement
from tests.engines.fixtures import KINDS
from tests.engines.server import NotHere, Server, free_port
from tests.ledger.world import Town, sale
from tests.server.bank import Bank
from tests.unit.world import Device

KILLS = 200
_KILLS_A_HIT = 5  # at most: about every second one meets a settlement
_PAYMENTS = 4  # in each upload, of 1 minor unit each
_LOADED = 1_000  # what the customer has

_Upload = tuple[bytes, list[bytes]]
_Settle = Callable[[Device, bytes, list[bytes]], Settlement]
_Carry = Callable[[Device], tuple[_Upload, Settlement]]  # a whole sync, but for what the device takes in the end


class Market:
    """A town with one shop and one customer, and what the shop must have by now."""

    def __init__(self, town: Town, choices: random.Random):
        self.town = town
        self._choices = choices
        self._shop, self._customer = town.device("shop", "terminal"), town.device("customer", balance=_LOADED)
        self._taken = 0
        before = time.monotonic()
        self.trade(self._shop, town.settle)
        self._settled_s = time.monotonic() - before

    def trade(self, who: Device, settle: _Settle) -> None:
        """Some payments, then one sync; and the ledger must say what is true."""
        self._sell()
        upload = self.town.statement(who)
        self._synced(who, upload, settle(who, *upload))

    def trade_and_meet(self, carry: _Carry, meanwhile: Callable[[list[Future]], None]) -> None:
        """Some payments, then both sync at once."""
        self._sell()
        devices = (self._shop, self._customer)
        with ThreadPoolExecutor(len(devices)) as carriers:
            synced = [carriers.submit(carry, device) for device in devices]
            meanwhile(synced)
        for device, done in zip(devices, synced, strict=True):
            self._synced(device, *done.result())

    def _sell(self) -> None:
        for _ in range(_PAYMENTS):
            sale(self._shop, self._customer, 1)
        self._taken += _PAYMENTS

    def _synced(self, who: Device, upload: _Upload, settlement: Settlement) -> None:
        ledger = self.town.ledger
        assert ledger.settle(self.town.signer_of(who), *upload, self.town.now) == settlement
        self.town.install(who, settlement)
        self.check(ledger)

    def anybody(self) -> Device:
        return self._choices.choice((self._shop, self._customer))

    def moment(self) -> float:
        """When to kill, in seconds from the start of a settlement: anywhere in it, or shortly after."""
        return self._choices.uniform(0, 1.2 * self._settled_s)

    def check(self, ledger: Ledger) -> None:
        """Nothing is lost and nothing is there twice."""
        ledger.check()
        assert ledger.reconciliation()["difference"] == 0
        posted = [row["hash"] for row in ledger.transfers(self._shop.id) if row["state"] == "posted"]
        assert len(posted) == len(set(posted)) == self._taken
        assert ledger.device(self._shop.id)["purse"] == self._taken
        assert ledger.device(self._customer.id)["purse"] == _LOADED - self._taken


@contextmanager
def market(choices: random.Random, url: str | None = None) -> Iterator[Market]:
    """In a new ledger at `url`, or in a new file."""
    folder = Path(tempfile.mkdtemp())
    if url:
        Ledger.create(url).close()
    town = Town(folder, url)
    try:
        yield Market(town, choices)
    finally:
        town.ledger.close()
        shutil.rmtree(folder)


def kill_server(server: Server, kills: int, choices: random.Random) -> int:
    """Kill it and start it again in the middle of settlements. Returns how many were on their way when it went."""
    hits = 0
    with market(choices, server.database()) as place:

        def settle(who: Device, statement: bytes, records: list[bytes]) -> Settlement:
            nonlocal hits
            town = place.town
            with ThreadPoolExecutor(1) as other:
                answer = other.submit(town.ledger.settle, town.signer_of(who), statement, records, town.now)
                time.sleep(place.moment())
                hits += not answer.done()
                server.kill()
                server.start()
                return answer.result()

        for _ in range(kills):
            place.trade(place.anybody(), settle)
    return _enough(hits, kills)


def kill_settling(kills: int, choices: random.Random) -> int:
    """The same on SQLite, where the process that settles is the server. Returns how many had not answered by then."""
    hits = 0
    context = multiprocessing.get_context("fork")
    with market(choices) as place:
        town = place.town

        def settle(who: Device, statement: bytes, records: list[bytes]) -> Settlement:
            nonlocal hits
            town.ledger.close()  # a connection does not survive a fork
            told, tell = context.Pipe(duplex=False)
            child = context.Process(target=_settle_and_tell, args=(town, who, statement, records, tell))
            child.start()
            told.recv()
            time.sleep(place.moment())
            child.kill()
            child.join()
            tell.close()
            settlement = town.ledger.settle(town.signer_of(who), statement, records, town.now)
            try:
                assert Settlement.from_json(told.recv()) == settlement
            except EOFError:
                hits += 1
            return settlement

        for _ in range(kills):
            place.trade(place.anybody(), settle)
    return _enough(hits, kills)


def _settle_and_tell(town: Town, who: Device, statement: bytes, records: list[bytes], tell) -> None:
    ledger = Ledger.open(town.url)
    tell.send("now")
    tell.send(ledger.settle(town.signer_of(who), statement, records, town.now).to_json())


def kill_service(kills: int, choices: random.Random, url: str | None = None) -> int:
    """`jiaozi serve` on a database, or on SQLite; carriers go on with the next one at the same address.

    Returns how many of their syncs were on their way when it went.
    """
    hits = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bank = stack.enter_context(Bank(folder, url))
        place = Market(bank, choices)
        listen = ("--listen", f"127.0.0.1:{free_port()}")
        bank.start(*listen)
        before = time.monotonic()
        place.trade_and_meet(lambda who: _carried(bank.service, who), lambda _: None)
        took_s = time.monotonic() - before

        def kill(synced: list[Future]) -> None:
            nonlocal hits
            time.sleep(choices.uniform(0, took_s))
            hits += sum(not one.done() for one in synced)
            bank.stop(signal.SIGKILL)
            bank.start(*listen)

        for _ in range(kills):
            place.trade_and_meet(lambda who: _carried(bank.service, who), kill)
        assert bank.stop() == 0
    return _enough(hits, kills)


def _enough(hits: int, kills: int) -> int:
    assert hits * _KILLS_A_HIT >= kills, f"only {hits} of {kills} kills met a settlement"
    return hits


def _carried(service: str, who: Device) -> tuple[_Upload, Settlement]:
    """As a host does it: what breaks is tried again, and in the end a person runs the command again."""
    while True:
        with closing(RemoteLedger(service)) as ledger:
            try:
                nonce, first = ledger.begin_sync(who.id, 0)
                statement = who.send(apdu.STATEMENT, nonce)
                wanted = range(first, Statement.decode(statement).seq + 1)
                records = [who.send(apdu.JOURNAL, seq.to_bytes(4, "big")) for seq in wanted]
                return (statement, records), ledger.settle(None, statement, records, 0)
            except (LedgerUnavailable, OutcomeUnknown):
                continue


def main(arguments: list[str]) -> None:
    kills = int(arguments[0]) if arguments else KILLS
    seed = int(arguments[1]) if arguments[1:] else random.randrange(1 << 32)
    print(f"{kills} kills of each engine, seed {seed}", flush=True)
    results: dict[str, object] = {"seed": seed}
    settling = kill_settling(kills, random.Random(seed))
    results["sqlite"] = _found(kills, settling, kill_service(kills, random.Random(seed)))
    print(f"sqlite: {results['sqlite']}", flush=True)
    for name, kind in KINDS.items():
        try:
            with closing(kind()) as server:
                server.start()
                served = kill_service(kills, random.Random(seed), _empty_ledger(server))
                results[name] = _found(kills, kill_server(server, kills, random.Random(seed)), served)
        except NotHere as reason:
            results[name] = {"skipped": str(reason)}
        print(f"{name}: {results[name]}", flush=True)
    print(json.dumps(results))


def _found(kills: int, during: int, served: int) -> dict[str, int]:
    """How many times each was killed, and what was on its way then: settlements, and syncs over the service."""
    return {"kills": kills, "during": during, "service_kills": kills, "service_during": served}


def _empty_ledger(server: Server) -> str:
    url = server.database()
    Ledger.create(url).close()
    return url


if __name__ == "__main__":
    main(sys.argv[1:])
