"""Losses and pay-backs end the same in whatever order the devices come, and whenever the deadline is booked."""

import itertools
import random

import pytest

from protocol import apdu
from protocol.objects import DAY_S, Void
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, Town, clone, pay_person, sale
from tests.unit.world import LinkLost

NAMES = ("shop", "kiosk", "cheat", "lost", "ben", "ann", "bad shop", "payer")
PAST_EVERY_DEADLINE = 122 * DAY_S


def torn(payee, payer, amount, cut_at):
    with pytest.raises(LinkLost):
        sale(payee, payer, amount, link=Link(cut_at=cut_at))


def load(town, device, amount):
    """The device takes it without a sync."""
    ordered = town.ledger.order_load(town.signer_of(device), device.id, amount, town.now)
    device.send(apdu.PUT, ordered.encode())


@pytest.fixture
def troubled_town(town):
    """A wallet that was copied and overspent, one that was lost and is found, one that waits for its funding, and a
    terminal that claims and voids. Of each wallet a load is still on its way for the ledger."""
    shop, kiosk, bad_shop = (town.device(name, "terminal") for name in ("shop", "kiosk", "bad shop"))
    ann, ben = town.device("ann", balance=500), town.device("ben")
    cheat, lost, payer = (town.device(name, balance=900) for name in ("cheat", "lost", "payer"))
    pay_person(ann, cheat, 50)
    load(town, cheat, 20)
    twin = clone(cheat)
    sale(shop, cheat, 700)
    sale(kiosk, twin, 600)
    pay_person(ann, ben, 200)
    load(town, ben, 40)
    sale(kiosk, ben, 150)
    load(town, lost, 70)
    town.ledger.order_load(town.signer_of(lost), lost.id, 30, town.now)  # never taken
    sale(shop, lost, 400)
    pay_person(ann, lost, 25)
    torn(kiosk, lost, 60, LOST_CONFIRM)
    torn(shop, lost, 35, LOST_TRANSFER)
    torn(bad_shop, payer, 300, LOST_CONFIRM)
    void = Void(transfer=payer.purse.in_doubt[0].hash).sign(bad_shop.party.sign)
    payer.perform(payer.payer.close(void))
    town.ledger.report_lost(town.signer_of(lost), lost.id, town.now)
    town.now += PAST_EVERY_DEADLINE
    return town


def outcome(town: Town) -> tuple:
    """The end: everybody has come, twice, and all deadlines are booked."""
    for _ in range(2):
        for device in town.devices:
            town.sync(device)
    town.book_overdue()
    rows = [
        (row["name"], row["purse"], row["guaranteed"], row["revoked"], row["frozen"] is not None)
        for row in town.ledger.devices()
    ]
    return town.ledger.reconciliation(), rows, town.ledger.loads(town.named("lost").id)


def test_losses_pay_backs_and_frozen_devices_are_the_same_in_every_order(troubled_town, tmp_path):
    orders = random.Random(4).sample(list(itertools.permutations((*NAMES, "deadline"))), 12)
    outcomes = []
    for number, order in enumerate(orders):
        town = troubled_town.fork(tmp_path / str(number))
        for name in order:
            if name == "deadline":
                town.book_overdue()
            else:
                town.sync(town.named(name))
        outcomes.append(outcome(town))
        town.ledger.close()
    report, rows, loads = outcomes[0]
    assert all(other == outcomes[0] for other in outcomes)
    assert {name: (purse, lost) for name, purse, lost, *_ in rows} == {
        "shop": (1_100, 0),
        "kiosk": (810, 0),
        "bad shop": (0, 0),
        "ann": (225, 0),
        "ben": (90, 0),
        "cheat": (0, 330),
        "lost": (0, 0),
        "payer": (900, 0),
    }
    assert sorted(name for name, *_, frozen in rows if frozen) == ["bad shop", "cheat"]
    assert report["accounts"]["1:lost"] == 900 + 1_000 + 25 - 400 - 60  # 100 of its account had left for loads
    assert report["guarantee"] == {"1": -330}
    assert [load["state"] for load in loads] == ["loaded", "loaded", "paid back"]
