"""What is posted in sets is what the rules would post: the same uploads settled with and without the short way."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from host_tools.ledger import LedgerError, Upload, plain, schema
from host_tools.ledger.posting import Posting
from protocol.errors import Refused, RefusedByPeer
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, Town, clone, pay_person, sale
from tests.unit.world import Device, LinkLost

STEPS = 10
LEFT_OUT = {"ledger_info", "syncs", "postings"}  # nothing of a device's
# Which of two moves comes first is nobody's business, nor who was first to show what both have; the audit knows how low
# `shown_seq` may be.
UNORDERED = ("id", "at", "shown_seq")


@pytest.fixture(params=range(5))
def random(request: pytest.FixtureRequest) -> Random:
    return Random(f"plain {request.param}")


def contents(town: Town) -> dict[str, Counter]:
    """All rows of all tables, without what numbers them; of the postings what they move in all, for what reference.

    By the rules a debit makes a halt at the pending account, which is opened for it; an empty one is no difference.
    """
    found: dict[str, Counter] = {}
    with town.ledger._reader.begin() as connection:
        moved: Counter = Counter()
        for row in connection.execute(select(schema.postings)):
            moved[row.reference, row.source] -= row.amount
            moved[row.reference, row.destination] += row.amount
        found["moved"] = Counter({key: amount for key, amount in moved.items() if amount})
        for table in schema.metadata.sorted_tables:
            if table.name not in LEFT_OUT:
                columns = [column for column in table.c if column.name not in UNORDERED]
                rows = connection.execute(select(*columns)).all()
                found[table.name] = Counter(tuple(row) for row in rows if row[:1] != ("pending",) or row.balance)
    return found


def pay_around(random: Random, terminals: list[Device], wallets: list[Device]) -> None:
    """Sales and payments between persons, some of them torn or refused."""
    for _ in range(random.randint(1, 8)):
        link = Link(cut_at=random.choice((LOST_TRANSFER, LOST_CONFIRM))) if random.random() < 0.25 else None
        wallet = random.choice(wallets)
        amount = random.randint(1, 40)
        try:
            if random.random() < 0.7:
                sale(random.choice(terminals), wallet, amount, link=link)
            else:
                friend = random.choice([one for one in wallets if one.id != wallet.id])
                pay_person(wallet, friend, amount, link=link)
        except (LinkLost, Refused, RefusedByPeer):
            continue


def both_ways(town: Town, folder: Path, uploads: list[Upload], monkeypatch: pytest.MonkeyPatch) -> tuple[list, Town]:
    """What becomes of the uploads, here and in another town, where every record is settled by the rules."""
    other = town.fork(folder)
    settled = town.ledger.settle_many(uploads, town.now)
    with monkeypatch.context() as patch:
        patch.setattr(plain, "STAGES", ())
        by_rules = other.ledger.settle_many(uploads, town.now)
    assert [type(one) for one in settled] == [type(one) for one in by_rules]
    town.check()
    other.check()
    return settled, other


def play(town: Town, folder: Path, random: Random, monkeypatch: pytest.MonkeyPatch, twin_of: int | None) -> int:
    """A story in which several devices sync at a time. Returns how many records took the short way."""
    terminals = [town.device(f"shop {i}", "terminal") for i in range(3)]
    wallets = [town.device(f"wallet {i}", balance=800) for i in range(4)]
    if twin_of is not None:
        wallets.append(clone(wallets[twin_of]))
    count = 0

    def counted(post: Callable[..., set]) -> Callable[..., set]:
        def counting(*args) -> set:
            nonlocal count
            posted = post(*args)
            count += len(posted)
            return posted

        return counting

    monkeypatch.setattr(plain, "STAGES", tuple(map(counted, plain.STAGES)))
    for step in range(STEPS):
        pay_around(random, terminals, wallets)
        town.now += random.randint(0, 86_400)
        several = random.sample(terminals + wallets, random.randint(1, 4))
        uploads = [Upload(town.signer_of(device), *town.statement(device)) for device in several]
        settled, other = both_ways(town, folder / str(step), uploads, monkeypatch)
        here, there = contents(town), contents(other)
        if twin_of is None:
            assert differences(here, there) == {}
        else:
            assert [row[:2] for row in guilt(town)] == [row[:2] for row in guilt(other)]
            for table in ("accounts", "transfers", "journals", "loads", "resolutions"):
                assert here[table] == there[table], table
        for device, settlement in zip(several, settled, strict=True):
            if not isinstance(settlement, LedgerError):
                try:
                    town.install(device, settlement)
                except RefusedByPeer:  # the clone whose twin has gone on is not the one the Certificate is for
                    assert twin_of is not None
    return count


def differences(here: dict[str, Counter], there: dict[str, Counter]) -> dict:
    return {name: (here[name] - there[name], there[name] - here[name]) for name in here if here[name] != there[name]}


def guilt(town: Town) -> list[tuple[str, bool, str]]:
    return [(row["id"], row["frozen"] is not None, row["frozen"]) for row in town.ledger.devices()]


def test_short_way_leaves_the_same_books(
    town: Town, tmp_path: Path, random: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert play(town, tmp_path, random, monkeypatch, None) > 10


def test_short_way_hides_no_clone(town: Town, tmp_path: Path, random: Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of two conflicting payments is seen first may differ, and with it why the device is said to be frozen."""
    assert play(town, tmp_path, random, monkeypatch, 0) > 3
    assert any(frozen for _, frozen, _ in guilt(town))


@pytest.fixture
def short(town: Town, monkeypatch: pytest.MonkeyPatch) -> Callable[[Device], None]:
    """A sync of which every record but a Load's takes the short way."""

    def sync(device: Device) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Posting, "_post", lambda _self, entry, *_: pytest.fail(f"by the rules: {entry.record}"))
            town.sync(device)

    return sync


def test_credits_that_the_payer_showed_before_a_certificate_was(town: Town, short) -> None:
    """As at every terminal whose customers sync before it: its newest Certificate is news, what it sold is not."""
    shop, wallet = town.device("shop", "terminal"), town.device("wallet", balance=800)
    town.sync(shop)
    town.sync(wallet)
    sale(shop, wallet, 300)
    short(wallet)
    short(shop)
    assert town.purse(shop) == 300


def test_payments_of_a_wallet_of_whose_income_the_payer_told(town: Town, short) -> None:
    """What it paid next to what it was paid, which its own journal has not shown yet."""
    shop = town.device("shop", "terminal")
    friend, wallet = town.device("friend", balance=800), town.device("wallet", balance=800)
    for device in (shop, friend, wallet):
        town.sync(device)
    sale(shop, wallet, 100)
    pay_person(friend, wallet, 50)
    sale(shop, wallet, 200)
    pay_person(friend, wallet, 60)
    for device in (friend, shop, wallet):
        short(device)
    assert town.purse(shop) == 300
