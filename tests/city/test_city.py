"""Small cities, lived to the end: what must come out of them, whatever the speed."""

import json

import pytest
from typer.testing import CliRunner

from host_tools.city import result
from host_tools.city.city import City, CityIsIdle
from host_tools.city.clones import Clone, Watch
from host_tools.city.device import Device
from host_tools.city.lists import Lists
from host_tools.city.plan import Plan
from host_tools.city.result import spread_of
from host_tools.cli import main
from host_tools.ledger import Ledger


def live(folder, plan: Plan) -> dict:
    ledger = Ledger.create(f"sqlite:///{folder / f'{plan.payments}-{plan.seed}.db'}")
    try:
        city = City(ledger, plan)
        city.run()
        return result.of(city, ledger, 1.0)
    finally:
        ledger.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_clones_that_surfaced_are_frozen_honest_devices_are_not_and_the_loss_keeps_its_bound(tmp_path):
    facts = live(tmp_path, Plan.of(2_000, seed=7, wallets=60, clones=4))
    assert facts["wrong"] == []
    assert facts["payments"] == 2_000
    assert facts["clones"]["surfaced"] >= 3, "else it shows nothing"
    assert facts["clones"]["frozen"] >= facts["clones"]["surfaced"]
    assert facts["double_spends"]["known_later"] > 5
    assert 0 < facts["loss"] <= facts["loss_bound"]
    each = [spend for clone in facts["clones"]["each"] for spend in clone["double_spends"]]
    assert len(each) == facts["double_spends"]["made"]
    hours = [spend["hours_to_detection"] for spend in each if spend["hours_to_detection"] is not None]
    assert spread_of(hours) == facts["hours_to_detection"]
    assert sum(spend["payee_unaware"] for spend in each) == facts["double_spends"]["after_the_wallet_was_known"]
    assert sum(clone["loss"] for clone in facts["clones"]["each"]) == facts["loss"]
    assert 0 < facts["hours_to_detection"]["median"] <= facts["hours_to_detection"]["max"]
    assert facts["outcomes"]["in_doubt"] and facts["outcomes"]["voided"], "torn taps, and copies that a payee knew"
    assert facts["pending"] == facts["suspense"] == facts["difference"] == 0


def test_the_same_seed_makes_the_same_uploads_and_another_one_others(tmp_path):
    plans = [Plan.of(120, seed, wallets=20, clones=1) for seed in (1, 1, 2)]
    lives = []
    for i, plan in enumerate(plans):
        (tmp_path / str(i)).mkdir()
        lives.append(live(tmp_path / str(i), plan))
    first, again, other = lives
    for name in ("seconds", "made_per_second", "settled_per_second"):
        del first[name], again[name]
    assert first == again
    assert first["digest"] != other["digest"]


def test_a_city_that_lives_longer_holds_no_more(tmp_path):
    short = live(tmp_path, Plan.of(150, seed=1, wallets=6, clones=0))
    long = live(tmp_path, Plan.of(450, seed=1, wallets=6, clones=0))
    assert long["records"] > 2.5 * short["records"]
    assert long["records_held_at_most"] < 1.5 * short["records_held_at_most"]


def test_nobody_who_can_pay_is_said_and_not_waited_for(tmp_path, monkeypatch):
    ledger = Ledger.create(f"sqlite:///{tmp_path / 'idle.db'}")
    city = City(ledger, Plan.of(5_000, seed=1, wallets=2, clones=0))
    for wallet in city.people.wallets:
        wallet.balance = 0
    monkeypatch.setattr(city._settler, "sync", lambda *_: None)
    with pytest.raises(CityIsIdle, match="more wallets"):
        city.run()
    ledger.close()


# What the figures are made of


def test_hours_by_nearest_rank():
    assert spread_of([]) == {"median": None, "percentile_95": None, "max": None}
    assert spread_of([3.0]) == {"median": 3.0, "percentile_95": 3.0, "max": 3.0}
    assert spread_of(range(100, 0, -1)) == {"median": 50, "percentile_95": 95, "max": 100}


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"honest_frozen": 1}, "honest"),
        ({"clones": {"surfaced_and_not_frozen": 2, "over_their_bound": 0}}, "not frozen"),
        ({"clones": {"surfaced_and_not_frozen": 0, "over_their_bound": 1}}, "more than the threat model"),
        ({"loss": 11}, "over its bound"),
        ({"difference": 1}, "missing"),
        ({"suspense": 1}, "suspense"),
        ({"withheld": {"too much": 1}}, "too much"),
        ({"dead_letters": {"unread": 1}}, "unread"),
    ],
)
def test_what_must_not_be_is_said(wrong, word):
    good: dict = dict(
        honest_frozen=0, clones={"surfaced_and_not_frozen": 0, "over_their_bound": 0}, loss=10, loss_bound=10
    )
    good |= dict(difference=0, suspense=0, withheld={}, dead_letters={})
    assert result.wrong(good) == []
    assert [word in text for text in result.wrong(good | wrong)] == [True]


def a_clone() -> Clone:
    copies = [Device(bytes(32), Lists()), Device(bytes(32), Lists())]
    for copy in copies:
        copy.head_seq = 5
    return Clone(copies, fork_seq=5, bound=10, careless=False)


def test_a_payment_is_a_double_spend_only_at_a_position_that_another_copy_has_used():
    clone = a_clone()
    assert not clone.is_double(0, 6)
    clone.copies[0].head_seq = 7
    assert [clone.is_double(1, seq) for seq in (6, 7, 8)] == [True, True, False]
    assert not clone.is_double(0, 8)


def test_two_histories_surface_at_one_position_above_the_fork():
    clone = a_clone()
    clone.show(0, 5, 6)
    clone.show(1, 7, 8)
    assert not clone.surfaced, "no position in common"
    clone.show(1, 4, 5)
    assert not clone.surfaced, "up to the fork they are one history"
    clone.show(0, 7, 7)
    assert clone.surfaced


def test_a_clone_that_surfaced_and_is_not_frozen_is_kept_as_missed():
    watch, clone = Watch(), a_clone()
    payee = Device(bytes(31) + b"\1", Lists())
    who = clone.copies[0].id
    watch.clones[who] = clone
    for copy in (0, 1):
        clone.copies[copy].head_seq = 6
        payee.head_seq += 1
        watch.paid(clone, copy, 6, 50, payee, now=3_600)
    (spend,) = watch.double_spends
    assert (spend.amount, spend.hours) == (50, None), "the first to use a position spends it once"
    assert watch.uploaded(payee) == {who}
    watch.judged(who, frozen=False, now=7_200)
    assert watch.missed == {who}
    watch.judged(who, frozen=True, now=10_800)
    assert spend.hours == 2.0
    watch.paid(clone, 0, 6, 50, None, now=11_000)
    assert [(one.unaware, one.hours) for one in watch.double_spends] == [(False, 2.0), (True, None)]


# The command


def test_the_command_tells_people_and_programs_and_keeps_a_ledger_that_was_named(tmp_path):
    url = f"sqlite:///{tmp_path / 'city.db'}"
    words = ["city", "--payments", "60", "--wallets", "20", "--clones", "1"]
    told = CliRunner().invoke(main.app, [*words, "--ledger", url, "--json"])
    assert told.exit_code == 0, told.output
    facts = json.loads(told.output)
    assert facts["payments"] == 60 and facts["wrong"] == []
    kept = Ledger.open(url)
    kept.check()
    assert len(kept.devices()) == 20 + facts["terminals"]
    kept.close()
    shown = CliRunner().invoke(main.app, words)
    assert shown.exit_code == 0
    assert "honest frozen" in shown.output and "known after" in shown.output
    assert f"{facts['records']:,} records" in shown.output


@pytest.mark.parametrize("words", [["--payments", "0"], ["--wallets", "1"], ["--clones", "300"]])
def test_numbers_that_make_no_city_are_refused(words):
    assert main.run(["city", *words]) == 2


def test_more_clones_than_wallets_are_refused(capsys):
    assert main.run(["city", "--payments", "10", "--wallets", "20", "--clones", "30"]) == 2
    assert "clones" in capsys.readouterr().err
