"""Long runs of Hypothesis's own machine: it chooses rules and data, and shrinks what it finds.

In batches of examples, each with a seed of its own, so that a batch can be run again and its memory is bounded.
"""

import sys
import traceback
from collections import Counter

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.choices import Choices
from tests.stateful.country import Country
from tests.stateful.long_run import Broken, long_run
from tests.stateful.machine import STEPS_IN_EPISODE, Machine, hypothesis_machine

EXAMPLES = 50  # of a batch
STEPS = STEPS_IN_EPISODE  # of an example
PHASES = (Phase.generate, Phase.shrink)


class Batch:
    """What the examples of one batch did: `error` is what broke a promise, in Hypothesis's shortest example of it."""

    def __init__(self) -> None:
        self.steps = 0
        self.rules: Counter[str] = Counter()
        self.facts: Counter[str] = Counter()
        self.error: BaseException | None = None


def run_batch(name: str, make: type[Machine] = Machine) -> Batch:
    """The same name does the same."""
    batch = Batch()

    class Counted(make):
        is_broken = False

        def step(self, name: str, choices: Choices) -> str:
            batch.steps += 1
            batch.rules[name] += 1
            self.is_broken = True
            said = super().step(name, choices)
            self.is_broken = False
            return said

        def finish(self, choices: Choices) -> None:
            if not self.is_broken:  # else nobody comes home: what that says would hide what broke
                batch.facts.update(self.facts())
                super().finish(choices)

    machine = seed(name)(hypothesis_machine(Country(), Counted))
    quiet = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=PHASES,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example),
        report_multiple_bugs=False,
        print_blob=False,
    )
    try:
        run_state_machine_as_test(machine, settings=quiet)
    except Exception as error:  # noqa: BLE001 - whatever a rule raises is what we look for
        batch.error = error
    return batch


def run(steps: int, seed: int, make: type[Machine] = Machine) -> dict:
    """Whole batches until there were so many steps. What breaks is named by its batch."""

    def play(name: str, _left: int) -> tuple[Batch, Broken | None]:
        batch = run_batch(name, make)
        if batch.error is None:
            return batch, None
        show(batch.error)
        return batch, Broken(name, f"{type(batch.error).__name__}: {batch.error}")

    return long_run(steps, seed, play, "--hypothesis --replay")


def replay(name: str, make: type[Machine] = Machine) -> int:
    """A batch again."""
    batch = run_batch(name, make)
    if batch.error is None:
        return 0
    show(batch.error)
    return 1


def show(error: BaseException) -> None:
    """The shortest example, which Hypothesis notes on the exception, and where it broke."""
    traceback.print_exception(error, file=sys.stderr)
