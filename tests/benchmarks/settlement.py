"""How many Transfers a second the ledger settles, beside how many it could if it only checked their signatures.

    python -m tests.benchmarks.settlement [--transfers N] [--engines sqlite,postgresql,oceanbase] [--fill N] ...

prints a JSON list with one object for each engine; docs/benchmarks.md says what is in it. Exit status 0 only if every
engine that was asked for was there.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine, text

from host_tools.ledger.settlement import BATCH
from tests.benchmarks.memory import peak_bytes
from tests.benchmarks.processes import Child, Settling, Verifying, Wrong
from tests.benchmarks.uploads import Source
from tests.engines.postgresql import PostgreSQL
from tests.engines.seekdb import SeekDB
from tests.engines.server import NotHere, Server


class RoomySeekDB(SeekDB):
    memory = "16G"  # it reads past the kernel's cache, so it has its share of the machine's memory for its own
    log = "8G"
    settings = {"major_compact_trigger": 100}  # memory that is full goes to disk; all tables are merged at night only

    def merge(self) -> None:
        """What it does by itself every night: changes become part of its base."""
        engine = create_engine(self.admin_url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            merged = text("SELECT last_scn, status FROM oceanbase.DBA_OB_MAJOR_COMPACTION")
            before = connection.execute(merged).one()
            connection.execute(text("ALTER SYSTEM MAJOR FREEZE"))
            deadline = time.monotonic() + MERGE_S
            while (now := connection.execute(merged).one()).last_scn == before.last_scn or now.status != "IDLE":
                if time.monotonic() > deadline:
                    raise Wrong("seekdb does not end its merge")
                time.sleep(1)
        engine.dispose()


ENGINES: dict[str, type[Server] | None] = {"sqlite": None, "postgresql": PostgreSQL, "oceanbase": RoomySeekDB}
MUST_REACH = {"sqlite": 0.75, "postgresql": 0.60, "oceanbase": 0.40}
MUST_STAY = 0.8  # of the rate, once the ledger is filled
MERGE_S = 1_800
WARM_UP = 1_000  # Transfers that start the processes and fill the caches


class Bench:
    """One engine's empty ledger, who makes uploads for it, and the two processes that are measured."""

    def __init__(self, server: Server | None, url: str, folder: Path, options: argparse.Namespace, seed: int):
        self._server = server
        self._options = options
        self._source = Source(url, folder, seed)
        self._settling = Child(Settling, url)
        self._verifying = Child(Verifying)

    def close(self) -> None:
        for part in (self._settling, self._verifying, self._source):
            part.close()

    def warm_up(self) -> None:
        path = self._make(WARM_UP)
        self._verifying.do(path)
        self._settling.do(path)
        path.unlink()

    def round(self) -> dict[str, Any]:
        """A file's signatures are checked by themselves, and then it is settled. Rates are in Transfers."""
        transfers = self._options.transfers
        path = self._make(transfers)
        verified, settled = self._verifying.do(path), self._settling.do(path)
        path.unlink()
        return {
            "settled_per_second": round(transfers / settled["seconds"]),
            "verified_per_second": round(transfers / verified["seconds"]),
            "signatures_per_second": round(verified["signatures"] / verified["seconds"]),
            "settling_process_us": round(1_000_000 * settled["own_seconds"] / transfers),
        }

    def fill(self, transfers: int) -> None:
        """Settle so many. Nothing is measured: the next file is made meanwhile."""
        begun: Path | None = None
        for start in range(0, transfers, self._options.transfers):
            path = self._make(min(self._options.transfers, transfers - start))
            if begun is not None:
                self._settling.result()
                begun.unlink()
            self._settling.begin(path)
            begun = path
            tell(f"{start:,} of {transfers:,} are settled")
        if begun is not None:
            self._settling.result()
        if isinstance(self._server, RoomySeekDB):
            tell("the server merges what has changed")
            self._server.merge()
            told("and has its files in no cache: not counted", self.round())

    def finish(self) -> dict[str, Any]:
        """What there is to say in the end. Raises `Wrong` if the books do not add up."""
        self._verifying.finish()
        server = peak_bytes(self._server.pid) if self._server is not None else None
        begun = {"begun": self._source.begun, "begun_s": self._source.begun_s}
        return self._settling.finish() | {"server_peak_memory_bytes": server} | begun

    def _make(self, transfers: int) -> Path:
        return self._source.make(transfers, self._options.statement_max, self._options.wallets)


def measure(engine: str, options: argparse.Namespace) -> dict[str, Any]:
    """The object of one engine. Raises `NotHere`, `Wrong`."""
    ended: list[dict[str, Any]] = []
    empty: list[dict[str, Any]] = []
    for number in range(options.rounds):
        with opened(engine, options, options.seed + number) as bench:
            empty.append(told(f"{engine}, round {number + 1}", bench.round()))
            ended.append(bench.finish())
    facts = {"engine": engine, "transfers": options.transfers, **rates(empty)}
    if options.fill:
        with opened(engine, options, options.seed + options.rounds) as bench:
            bench.fill(options.fill)
            after = f"{engine} after {options.fill:,}, round"
            filled = [told(f"{after} {number + 1}", bench.round()) for number in range(options.rounds)]
            ended.append(bench.finish())
        filled_rates = facts["filled"] = {"transfers_before": options.fill, **rates(filled)}
        facts["flatness"] = round(filled_rates["settled_per_second"] / facts["settled_per_second"], 3)
        facts["flatness_must_reach"] = MUST_STAY
        facts["flatness_of_ratio"] = round(filled_rates["ratio"] / facts["ratio"], 3)
    return facts | {
        "peak_memory_bytes": max(one["peak_memory_bytes"] for one in ended),
        "server_peak_memory_bytes": max(one["server_peak_memory_bytes"] or 0 for one in ended) or None,
        "ratio_must_reach": MUST_REACH[engine],
        "batch": BATCH,
        "statement_max": options.statement_max,
        "syncs_begun_per_second": round(sum(one["begun"] for one in ended) / sum(one["begun_s"] for one in ended)),
        "settings": ended[0]["settings"],
    }


def rates(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The middle ones of some rounds, and all of them."""
    middle = {name: round(median(one[name] for one in rounds)) for name in rounds[0]}
    ratio = round(middle["settled_per_second"] / middle["verified_per_second"], 3)
    return {
        "settled_per_second": middle["settled_per_second"],
        "verified_per_second": middle["verified_per_second"],
        "ratio": ratio,
        "signatures_per_second": middle["signatures_per_second"],
        "settling_process_us": middle["settling_process_us"],
        "rounds": rounds,
    }


@contextmanager
def opened(engine: str, options: argparse.Namespace, seed: int) -> Iterator[Bench]:
    """An empty ledger on this engine, warmed up. Raises `NotHere`."""
    with running(engine) as (server, url, folder), closing(Bench(server, url, folder, options, seed)) as bench:
        bench.warm_up()
        yield bench


@contextmanager
def running(engine: str) -> Iterator[tuple[Server | None, str, Path]]:
    """An empty database of this engine on a server of its own, by its URL, and a folder beside it. Raises `NotHere`."""
    kind = ENGINES[engine]
    with tempfile.TemporaryDirectory(prefix="bench-settlement-") as scratch:
        folder = Path(scratch)
        if kind is None:
            yield None, f"sqlite:///{folder / 'ledger.db'}", folder
            return
        with closing(kind()) as server:
            server.start()
            yield server, server.database(), folder


def told(what: str, found: dict[str, Any]) -> dict[str, Any]:
    tell(f"{what}: {found}")
    return found


def tell(what: str) -> None:
    """How it goes, beside the result."""
    print(what, file=sys.stderr, flush=True)


def parsed(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfers", type=_positive, default=100_000, help="of one round (%(default)s)")
    parser.add_argument(
        "--rounds", type=_positive, default=3, help="in empty ledgers, of which the middle one counts (%(default)s)"
    )
    parser.add_argument("--wallets", type=_positive, help="that pay in one round (one for 50 Transfers)")
    parser.add_argument("--statement-max", type=_positive, default=500, help="Transfers of an upload (%(default)s)")
    parser.add_argument("--engines", type=_engines, default=list(ENGINES), help=f"some of {','.join(ENGINES)}")
    parser.add_argument("--seed", type=int, default=1, help="the same number makes the same people and payments")
    parser.add_argument("--fill", type=_positive, default=0, help="settle so many more, then measure again")
    return parser.parse_args(words)


def _positive(word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 1 on")
    return int(word)


def _engines(words: str) -> list[str]:
    chosen = words.split(",")
    unknown = [word for word in chosen if word not in ENGINES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(ENGINES)}")
    return chosen


def main(words: list[str] | None = None) -> int:
    options = parsed(words)
    found: list[dict[str, Any]] = []
    for engine in options.engines:
        try:
            found.append(measure(engine, options))
        except NotHere as reason:
            tell(f"{engine} is left out: {reason}")
    print(json.dumps(found, indent=2))
    return 0 if len(found) == len(options.engines) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers and folders go with it
    sys.exit(main())
