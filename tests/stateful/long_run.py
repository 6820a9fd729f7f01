"""Episode after episode, until there were so many steps or enough is broken."""

import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import NamedTuple, Protocol

from tests.stateful.machine import Machine

ENOUGH = 5  # violations after which a run ends


class Played(Protocol):
    """What was done: the steps by their rules, and what became of them."""

    steps: int
    rules: Counter[str]
    facts: Counter[str]


class Broken(NamedTuple):
    """What broke a promise, and the name that plays it again."""

    replay: str
    what: str


def long_run(steps: int, seed: int, play: Callable[[str, int], tuple[Played, Broken | None]], replay: str) -> dict:
    """`play` does the episode of a name, at most so many steps of it where it can; the same name does the same.

    `replay` are the options of the command that come before such a name.
    """
    begun = time.monotonic()
    done = 0
    rules: Counter[str] = Counter(dict.fromkeys(Machine.RULES, 0))
    facts: Counter[str] = Counter()
    found: list[Broken] = []
    for number in count():
        if done >= steps or len(found) == ENOUGH:
            break
        episode, broken = play(f"{seed}/{number}", steps - done)
        done += max(episode.steps, 1)
        rules.update(episode.rules)
        facts.update(episode.facts)
        if broken is not None:
            found.append(broken)
            print(f"Broken: {broken.what}\nReplay: python -m tests.stateful {replay} {broken.replay}", file=sys.stderr)
    return {
        "steps": done,
        "violations": len(found),
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
        "rules": dict(rules),
        "facts": dict(facts),
        "found": [broken._asdict() for broken in found],
    }
