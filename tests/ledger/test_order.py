"""The order of syncs, their number and where they are cut change nothing: one set of device states, one of balances."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from protocol.errors import Refused
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, Town, pay_person, sale
from tests.unit.world import LinkLost

NAMES = ("shop", "kiosk", "ann", "ben")


def settled(town: Town) -> dict:
    """Sync everybody until nothing is in doubt, and return what the books and the devices say."""
    for _ in range(3):
        for device in town.devices:
            town.sync(device)
    report = town.ledger.reconciliation()
    assert report["pending"] == {}
    for device in town.devices:
        assert town.frozen(device) is None
        assert (device.name, town.purse(device)) == (device.name, device.purse.balance)
        assert device.purse.in_doubt == []
    return report


def torn(function, *args, cut_at: int) -> None:
    with pytest.raises(LinkLost):
        function(*args, link=Link(cut_at=cut_at))


@pytest.fixture
def busy_town(town):
    """Two shops and two people of two operators after a busy day: paid, torn either way, received and spent again."""
    shop, kiosk = town.device("shop", "terminal"), town.device("kiosk", "terminal", operator=2)
    ann, ben = town.device("ann", balance=1_000), town.device("ben", operator=2)
    sale(shop, ann, 100)
    pay_person(ann, ben, 250)
    sale(kiosk, ben, 40)
    torn(sale, shop, ben, 33, cut_at=LOST_TRANSFER)
    torn(sale, kiosk, ann, 21, cut_at=LOST_CONFIRM)
    torn(pay_person, ben, ann, 10, cut_at=5)  # ann has credited, ben does not know
    sale(shop, ann, 7)
    return town


def test_every_order_of_syncs_ends_in_the_same_balances(busy_town, tmp_path):
    reports = []
    for number, order in enumerate(itertools.permutations(NAMES)):
        town = busy_town.fork(tmp_path / str(number))
        for name in order:
            town.sync(town.named(name))
        reports.append(settled(town))
        town.ledger.close()
    assert len(reports) == 24
    assert all(report == reports[0] for report in reports)
    assert sum(reports[0]["purses"].values()) == 1_000


def test_one_round_in_any_order_posts_the_same_without_any_answer_reaching_a_device(busy_town, tmp_path):
    """Uploads only: the answers are all lost."""
    uploads = {device.name: (device, *busy_town.statement(device)) for device in busy_town.devices}
    reports = []
    for number, order in enumerate(itertools.permutations(NAMES)):
        town = busy_town.fork(tmp_path / str(number))
        for name in (*order, *order):  # and each of them twice
            town.settle(*uploads[name])
        reports.append(town.ledger.reconciliation())
        town.ledger.close()
    assert all(report == reports[0] for report in reports)
    assert reports[0]["pending"] == {}


def test_an_upload_cut_anywhere_and_run_again_gives_the_same_result(busy_town, tmp_path):
    whole = busy_town.fork(tmp_path / "whole")
    expected = settled(whole)
    longest = max(len(busy_town.statement(device)[1]) for device in busy_town.devices)
    for kept in range(longest):
        town = busy_town.fork(tmp_path / f"cut {kept}")
        for device in town.devices:
            statement, records = town.statement(device)
            town.settle(device, statement, records[:kept])
        assert settled(town) == expected
        town.ledger.close()


def test_a_ledger_that_dies_inside_a_settlement_has_done_nothing(busy_town, monkeypatch):
    """The last thing before the commit is the signature: if that fails, not even a record may be left."""
    shop = busy_town.named("shop")
    statement, records = busy_town.statement(shop)
    before = busy_town.ledger.reconciliation()
    head = busy_town.ledger.device(shop.id)["head_seq"]

    class Dying:
        public = busy_town.signer_of(shop).public

        def sign(self, message):
            raise OSError("power")

    with pytest.raises(OSError, match="power"):
        busy_town.ledger.settle(Dying(), statement, records, busy_town.now)
    assert busy_town.ledger.reconciliation() == before
    assert busy_town.ledger.device(shop.id)["head_seq"] == head
    assert busy_town.settle(shop, statement, records).certified


def test_hosts_that_settle_at_the_same_moment_take_turns(busy_town):
    """Eight threads, every upload twice: one answer for each Statement, and each payment posted once."""
    uploads = [(device, *busy_town.statement(device)) for device in busy_town.devices]
    with ThreadPoolExecutor(8) as hosts:
        answers = list(hosts.map(lambda upload: busy_town.settle(*upload), uploads * 2))
    assert answers[: len(uploads)] == answers[len(uploads) :]
    for (device, *_), answer in zip(uploads, answers, strict=False):
        busy_town.install(device, answer)
    settled(busy_town)


@pytest.mark.parametrize("seed", range(12))
def test_random_days(town, seed):
    """Random payments, tears, power cuts, syncs, half syncs and old uploads that a host brings again, out of turn.

    Money is conserved, books and devices agree at the end, and nobody is accused.
    """
    chance = random.Random(seed)
    shop = town.device("shop", "terminal", balance=500)
    people = [town.device(name, balance=1_000, operator=1 + at % 2) for at, name in enumerate(("ann", "ben", "cid"))]
    loaded = 3_500
    uploads = []
    for _ in range(50):
        link = Link(cut_at=chance.choice((-1, -1, *range(8))), repeat=chance.random() < 0.2)
        amount = chance.randrange(1, 60)
        payer, payee = chance.sample(people, 2)
        try:
            match chance.randrange(8):
                case 0 | 1:
                    shop.payee.close()
                    sale(shop, payer, amount, link=link)
                case 2 | 3:
                    pay_person(payer, payee, amount, link=link)
                case 4:
                    town.sync(chance.choice(town.devices))
                case 5:
                    device = chance.choice(town.devices)
                    uploads.append((device, *town.statement(device)))
                    town.settle(*uploads[-1])
                case 6:
                    device = chance.choice(town.devices)
                    uploads.append((device, *town.statement(device)))  # some host keeps it for later
                    chance.choice(town.devices).restart()
                case 7 if uploads:
                    device, statement, records = chance.choice(uploads)
                    town.settle(device, statement, records[: chance.randrange(len(records) + 1)])
        except (LinkLost, Refused):
            pass
        for device in town.devices:
            device.card.reset()
    settled(town)
    assert town.ledger.dead_letters() == []
    assert sum(town.purse(device) for device in town.devices) == loaded
