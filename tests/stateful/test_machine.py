"""The stateful tests at a size that fits CI, and that they find what they are for: each rule taken out is found."""

import json

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from host_tools.ledger import evidence, guarantee, plain, post, transfers
from protocol import fraud
from protocol.objects import Void
from protocol.payee import Payee
from protocol.states import CLOSED, OPEN
from tests.stateful import __main__ as command
from tests.stateful.country import Citizen, Country, WatchedJournal
from tests.stateful.machine import Machine, hypothesis_machine, run_episode
from tests.stateful.shadow import Violation

CI_EPISODES = 6
ENOUGH_EPISODES = 40  # in which what is broken on purpose is found
PLENTY = 8  # times that each rule came to something


@pytest.fixture(scope="module")
def country():
    return Country()


def test_random_episodes_keep_every_promise(country):
    facts: dict[str, int] = {}
    rules: set[str] = set()
    for number in range(CI_EPISODES):
        episode = run_episode(country, f"ci/{number}")
        assert episode.error is None, "\n".join(episode.trace[-20:])
        rules |= set(episode.rules)
        for fact, count in episode.facts.items():
            facts[fact] = facts.get(fact, 0) + count
    assert rules == set(Machine.RULES)
    assert min(facts[fact] for fact in ("debits", "credits", "paid", "voided", "loads", "installations")) > PLENTY
    assert facts["caught"] == facts["proven"] > 0


def test_hypothesis_finds_nothing(country):
    quiet = settings(
        max_examples=20,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
    run_state_machine_as_test(hypothesis_machine(country), settings=quiet)


def test_same_seed_does_the_same(country):
    first, second = (run_episode(country, "twice", steps=120) for _ in range(2))
    assert first.trace == second.trace
    assert run_episode(country, "other", steps=120).trace != first.trace


def test_command_reports_one_line_and_replays_what_it_found(monkeypatch, capsys):
    monkeypatch.setattr(Payee, "_credited", nothing)
    monkeypatch.setattr("sys.argv", ["stateful", "--steps", "8000", "--seed", "5"])
    assert command.main() == 1
    result = json.loads(capsys.readouterr().out)
    assert result["violations"] == len(result["found"]) > 0
    assert result["steps"] <= 8_000 and result["seed"] == 5 and sum(result["rules"].values()) >= result["steps"]
    found = result["found"][0]
    assert command.replay(found["replay"]) == 1
    assert found["what"] in capsys.readouterr().out
    monkeypatch.undo()
    assert command.replay(found["replay"]) == 0


# What is broken on purpose


def nothing(*arguments) -> None:
    """Stands for a rule that is taken out."""


def payee_credits_what_was_cancelled(monkeypatch):
    receive = Payee.receive

    def forgiving(payee, transfer, payer):
        payee.state = OPEN if payee.state == CLOSED else payee.state
        return receive(payee, transfer, payer)

    monkeypatch.setattr(Payee, "receive", forgiving)


def payee_credits_one_request_for_two_payers(monkeypatch):
    monkeypatch.setattr(Payee, "_credited", nothing)


def payer_believes_any_void(monkeypatch):
    monkeypatch.setattr(Void, "verified_by", lambda *_: True)


def request_numbers_die_with_power(monkeypatch):
    monkeypatch.setattr(Citizen, "_save_request_limit", nothing)


def statement_voids_what_is_still_to_come(monkeypatch):
    next_number = Payee.watermark.fget
    assert next_number is not None
    monkeypatch.setattr(Payee, "watermark", property(lambda payee: next_number(payee) + 1))


def journal_forgets_a_record_that_it_took(monkeypatch):
    append = WatchedJournal.append

    def forgetful(journal, record):
        if journal.fail == "before":
            journal.fail = ""
        else:
            append(journal, record)

    monkeypatch.setattr(WatchedJournal, "append", forgetful)


def ledger_posts_twice(monkeypatch):
    move = transfers.books.move

    def twice(connection, source, destination, amount, reason, reference, now):
        for _ in range(2 if reason == "transfer posted" else 1):
            move(connection, source, destination, amount, reason, reference, now)

    monkeypatch.setattr(transfers.books, "move", twice)
    monkeypatch.setattr(plain, "STAGES", ())


def ledger_forgets_what_is_on_its_way(monkeypatch):
    monkeypatch.setattr(guarantee, "in_transit", lambda *_: 0)


def ledger_lets_clones_go_on(monkeypatch):
    monkeypatch.setattr(evidence, "freeze", nothing)


def ledger_freezes_who_is_only_late(monkeypatch):
    """What the ledger saw by now is held against a Statement that a host has kept for long."""
    begin = post.Posting.__init__

    def hasty(posting, connection, device, statement, reading, _seen_before, now):
        seen = evidence.seen_seqs(connection, [device.id])[device.id]
        begin(posting, connection, device, statement, reading, seen, now)

    monkeypatch.setattr(post.Posting, "__init__", hasty)


def fraud_check_forgets_that_a_base_moves(monkeypatch):
    falls = fraud._falls

    def all_on_one_base(spent):
        for transfer in spent.values():
            transfer.payer_issue = 1
        return falls(spent)

    monkeypatch.setattr(fraud, "_falls", all_on_one_base)


BROKEN = {
    payee_credits_what_was_cancelled: "credits a Request that was closed",
    payee_credits_one_request_for_two_payers: "one Request credited twice|shows paid and has no money",
    payer_believes_any_void: "took back what its payee has received|credits what went back|missing or unreadable",
    request_numbers_die_with_power: "credited twice|voided|frozen|guilty|refuses its Certificate|legal",
    statement_voids_what_is_still_to_come: "voided|frozen|guilty|refuses its Certificate|the ledger|took back",
    journal_forgets_a_record_that_it_took: "not durable|its records|breaks the chain|after",
    ledger_posts_twice: "the ledger|guarantee|difference",
    ledger_forgets_what_is_on_its_way: "honest .* is frozen for .*: all but 0 is known",
    ledger_lets_clones_go_on: "is not frozen, though the ledger has seen",
    ledger_freezes_who_is_only_late: "honest .* is frozen: rolled back",
    fraud_check_forgets_that_a_base_moves: "is proven guilty: cumulative falls",
}

# The episode that finds it, for what most do not; only to be quick
SEEN_AT = {payee_credits_what_was_cancelled: 18, payer_believes_any_void: 11}


@pytest.mark.parametrize(("broken", "found"), BROKEN.items(), ids=[broken.__name__ for broken in BROKEN])
def test_rule_that_is_taken_out_is_found(country, monkeypatch, broken, found):
    broken(monkeypatch)
    begin = SEEN_AT.get(broken, 0)
    episodes = (run_episode(country, f"broken/{begin + number}") for number in range(ENOUGH_EPISODES))
    error = next((episode.error for episode in episodes if episode.error is not None), None)
    with pytest.raises(Violation, match=found):
        raise error or LookupError("not found")
