"""The rules: everything that may happen in a country, and what must hold after it.

One set of rules and invariants, driven by a seeded generator (`run_episode`: CI, long runs, replays) and by Hypothesis
(`hypothesis_machine`: it shrinks what it finds). A rule returns a few words about what it did; whatever it raises is a
violation, but for the exceptions that it names itself.
"""

from collections import Counter
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from protocol.objects import DAY_S
from protocol.objects import PAID as PAID_OUTCOME
from tests.stateful.choices import Choices, Drawn
from tests.stateful.country import Citizen, Country
from tests.stateful.people import PAST_DEADLINES
from tests.stateful.shadow import demand
from tests.stateful.strangers import Strangers

STEPS_IN_EPISODE = 400


class Machine(Strangers):
    """One episode from its first step to its end."""

    def step(self, name: str, choices: Choices) -> str:
        """One rule and everything that must hold after it."""
        said = getattr(self, name)(choices)
        self._note_requests()
        self.shadow.check(self.honest)
        if self.asked_ledger:
            self.asked_ledger = False
            self._check_ledger()
        self.outcomes[f"{name}: {said}"] += 1
        return said

    def finish(self, choices: Choices) -> None:
        """Everybody comes home, but for one that may be lost: nothing is stuck, devices and books say the same."""
        lost = self._lose(choices.pick(self.honest[3:])) if choices.chance(15) else None
        for device in self.honest:
            device.journal.fail = device.save_fails = ""
        for device in choices.several(self.honest):
            self._sync_now(device)
        for device in choices.several([device for device in self.honest if device.purse.in_doubt]):
            self._sync_now(device)
        at_home = {device.id for device in self.honest}
        self._nothing_stuck(lambda payee: payee in at_home)
        if lost is not None or choices.chance(20):
            self.country.now += PAST_DEADLINES * DAY_S
            self.country.ledger.book_overdue(self.country.now)
            for device in choices.several(self.honest):
                self._sync_now(device)
            self._nothing_stuck(lambda payee: True)
        self.shadow.check(self.honest)
        if lost is not None:
            self._check_paid_back(*lost)

    def facts(self) -> dict[str, int]:
        """What honest devices went through, and how many cheats were caught."""
        return self.shadow.facts | {"caught": len(self.reached.guilty), "proven": len(self.proven)}

    def _nothing_stuck(self, counts: Callable[[bytes], bool]) -> None:
        for device in self.honest:
            account = self.shadow.accounts[device.id]
            for digest in account.in_doubt:
                payee = self.shadow.movements[digest].transfer.payee
                demand(not counts(payee), f"{account.name}: still in doubt after everybody has synced")

    def _lose(self, device: Citizen) -> tuple[Citizen, int] | None:
        """A device is gone for good. Returns it with what its owner's account will have, if no cheat's word matters."""
        self.honest.remove(device)
        ledger, account = self.country.ledger, self.shadow.accounts[device.id]
        worth = self.shadow.worth(account)
        self.shadow.total -= worth
        has = ledger.balance(self.country.accounts[device.name])
        watermark = ledger.device(device.id)["watermark"]
        ledger.report_lost(self.country.signer_of(device), device.id, self.country.now)
        for amount, number in self._rows(
            "select amount, number from loads where device = ? and state = 'outstanding'", device.id
        ):
            has += 0 if number in account.loads else amount
        ((passed_on,),) = self._rows("select passed_on from devices where id = ?", device.id)
        for digest, movement in self.shadow.movements.items():
            transfer = movement.transfer
            mine = device.id in (transfer.payer, transfer.payee)
            unheard = movement.debited and not movement.credited and not movement.outcome
            if transfer.payee == device.id and unheard and transfer.number >= watermark:
                # Nobody can say any more that it did not arrive; an earlier deadline may have brought it already
                brought = min(passed_on, transfer.amount) if self._defaulted(digest) else 0
                passed_on -= brought
                has += transfer.amount - brought
            if mine and not (self.shadow.is_honest(transfer.payer) and self.shadow.is_honest(transfer.payee)):
                return None
            if mine and movement.outcome == PAID_OUTCOME and not movement.credited:
                return None  # booked at a deadline: a later word may still move it
        return device, has + worth

    def _check_paid_back(self, device: Citizen, expected: int) -> None:
        has = self.country.ledger.balance(self.country.accounts[device.name])
        demand(has == expected, f"the owner of lost {device.name} has {has}, not {expected}")

    RULES = {
        "ask_and_tap": 300,
        "pay": 190,
        "tear_and_try_again": 80,
        "lie": 40,
        "cancel": 30,
        "confirm": 50,
        "power_off": 40,
        "arm": 25,
        "days_pass": 12,
        "forget_in_a_drawer": 3,
        "sync": 16,
        "take_upload": 24,
        "bring_upload": 24,
        "bring_answer": 24,
        "order_load": 16,
        "cancel_load": 3,
        "redeem": 18,
        "book_overdue": 3,
        "revoke": 4,
        "clone": 15,
        "keep_backup": 10,
        "restore_backup": 10,
        "collude": 25,
        "credit_closed": 15,
        "lying_upload": 6,
        "forge": 40,
        "replay": 50,
        "accuse": 60,
        "tidy": 15,
        "set_limits": 4,
        "report_lost": 3,
    }


_WHEEL = [name for name, weight in Machine.RULES.items() for _ in range(weight)]


class Episode:
    """What `run_episode` did: how far it came, and what broke it."""

    def __init__(self):
        self.steps = 0
        self.rules: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.facts: Counter[str] = Counter()
        self.trace: list[str] = []
        self.error: Exception | None = None


def run_episode(country: Country, seed: str, steps: int = STEPS_IN_EPISODE, home: bool = True, make=Machine) -> Episode:
    """`steps` rules and the way home. The same seed does the same; what breaks ends it and is kept in `error`."""
    episode = Episode()
    choices = Choices(seed)
    name = "start"
    try:
        machine = make(country)
        for _ in range(steps):
            name = choices.pick(_WHEEL)
            episode.rules[name] += 1
            said = machine.step(name, choices)
            episode.steps += 1
            episode.trace.append(f"{name}: {said}")
        episode.outcomes, episode.facts = machine.outcomes, Counter(machine.facts())
        if home:
            name = "finish"
            machine.finish(choices)
    except Exception as error:  # noqa: BLE001 - whatever a rule raises is what we look for
        episode.error = error
        episode.trace.append(f"{name}: {type(error).__name__}: {error}")
    return episode


def hypothesis_machine(country: Country, make=Machine) -> type[RuleBasedStateMachine]:
    """The same rules for Hypothesis, one of its rules for each of ours."""

    def begin(self) -> None:
        RuleBasedStateMachine.__init__(self)
        self.machine = make(country)

    def of(name: str):
        def one(self, data) -> None:
            self.machine.step(name, Drawn(data))

        one.__name__ = name  # before it becomes a rule: Hypothesis shows it
        return rule(data=st.data())(one)

    body: dict = {name: of(name) for name in Machine.RULES}
    body["__init__"] = begin
    body["teardown"] = lambda self: self.machine.finish(Choices(0))
    return type("Stateful", (RuleBasedStateMachine,), body)
