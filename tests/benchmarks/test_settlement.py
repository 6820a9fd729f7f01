"""`make bench-settlement`, on little: that it says what it is to say, and measures what it says."""

import json
from collections import Counter
from contextlib import closing

import pytest

from host_tools.ledger import Ledger, Upload, engines
from protocol.objects import Receipt, Transfer
from tests.benchmarks import settlement
from tests.benchmarks.processes import Child, Settling, Verifying, Wrong
from tests.benchmarks.uploads import NOW, OPERATOR_KEY, Source, read, write
from tests.engines.server import NotHere

LITTLE = ["--transfers", "60", "--statement-max", "20", "--rounds", "1"]


@pytest.fixture(autouse=True)
def _little_warm_up(monkeypatch):
    monkeypatch.setattr(settlement, "WARM_UP", 20)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def source(url, tmp_path):
    with closing(Source(url, tmp_path, seed=1)) as source:
        yield source


class Absent(settlement.RoomySeekDB):
    def prepare(self):
        raise NotHere("no wheels for this machine")


def test_engine_has_its_object_and_one_that_is_not_here_is_named_and_left_out(capsys, monkeypatch):
    monkeypatch.setitem(settlement.ENGINES, "oceanbase", Absent)
    assert settlement.main([*LITTLE, "--engines", "sqlite,oceanbase", "--fill", "40"]) == 1
    told = capsys.readouterr()
    assert "oceanbase is left out: no wheels for this machine" in told.err
    (facts,) = json.loads(told.out)
    names = ["engine", "transfers", "settled_per_second", "verified_per_second", "ratio", "peak_memory_bytes"]
    assert [name for name in facts if name in names] == names
    assert (facts["engine"], facts["transfers"], facts["batch"]) == ("sqlite", 60, 5_000)
    assert facts["ratio"] == round(facts["settled_per_second"] / facts["verified_per_second"], 3)
    assert 0 < facts["settling_process_us"] < 1_000_000
    assert facts["settings"]["synchronous"] == 2 and facts["settings"]["journal_mode"] == "wal"
    assert 20_000_000 < facts["peak_memory_bytes"] < 500_000_000
    filled = facts["filled"]
    assert filled["transfers_before"] == 40
    assert facts["flatness"] == round(filled["settled_per_second"] / facts["settled_per_second"], 3)


def test_engines_that_nobody_asked_for_are_not_missed(capsys, monkeypatch):
    monkeypatch.setitem(settlement.ENGINES, "oceanbase", Absent)
    assert settlement.main([*LITTLE, "--engines", "sqlite"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


@pytest.mark.parametrize("words", [["--engines", "oracle"], ["--transfers", "0"], ["--rounds", "-1"]])
def test_what_cannot_be_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        settlement.main(words)
    assert words[1] in capsys.readouterr().err


def test_file_holds_every_transfer_once_in_statements_of_one_to_the_largest(source):
    brought = list(read(source.make(150, 20)))
    transfers = [raw[-Transfer.size() :] for one in brought for raw in one.records if raw[4] == Receipt.TYPE]
    assert len(transfers) == len(set(transfers)) == 150
    assert all(1 <= sum(raw[4] == Receipt.TYPE for raw in one.records) <= 20 for one in brought)
    payers = Counter(Transfer.decode(transfer).payer for transfer in transfers)
    assert len(payers) == 3 and max(payers.values()) > 30, "fifty of each wallet, about"


def test_bound_checks_the_very_signatures_that_settlement_checks(source, url):
    brought = list(read(source.make(60, 20)))
    seen = []
    with closing(Ledger.open(url)) as ledger:
        begin = ledger._settler._verifier.begin
        ledger._settler._verifier.begin = lambda checks: seen.extend(checks) or begin(checks)
        ledger.settle_many([Upload(OPERATOR_KEY, one.statement, one.records) for one in brought], NOW)
    bound = Counter(check for one in brought for check in one.checks())
    assert Counter(seen) == bound
    assert sum(bound.values()) == 2 * 60 + len(brought)


def test_wrong_signature_is_not_measured(source, url):
    path = source.make(20, 20)
    brought = list(read(path))
    raw = brought[0].records[-1]
    brought[0].records[-1] = raw[:-1] + bytes((raw[-1] ^ 1,))
    write(path, brought)
    for work in (Verifying(), Settling(url)):
        with pytest.raises(Wrong):
            work.do(path)
        work.close()


def test_what_dies_is_told(url, tmp_path):
    child = Child(Settling, url)  # there is no ledger
    with closing(child), pytest.raises(Wrong, match="died"):
        child.do(tmp_path / "nothing")


def test_unsafe_commits_are_not_measured(source, url, monkeypatch):
    def careless(connection, _record):
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous = OFF")

    monkeypatch.setattr(engines, "_prepare_sqlite", careless)
    with pytest.raises(Wrong, match="synchronous says 0, and must say 2"):
        Settling(url)
