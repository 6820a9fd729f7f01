"""Long runs and replays of the stateful tests.

python -m tests.stateful --steps 1000000 --seed 7        one JSON line; exit 1 if a promise was broken
python -m tests.stateful --replay 7/1234                 an episode again, every step on a line
python -m tests.stateful --replay 7/1234:88              the same up to step 88

With `--hypothesis` Hypothesis chooses instead of a seeded generator, in whole batches of examples, and `--replay 7/12`
is batch 12 again.
"""

import argparse
import json
import sys
import traceback

from tests.stateful import by_hypothesis
from tests.stateful.country import Country
from tests.stateful.long_run import Broken, long_run
from tests.stateful.machine import STEPS_IN_EPISODE, Episode, run_episode


def run(steps: int, seed: int) -> dict:
    """Episodes until there were so many steps. What breaks is named by the episode's seed and step."""
    country = Country()

    def play(name: str, left: int) -> tuple[Episode, Broken | None]:
        episode = run_episode(country, name, min(STEPS_IN_EPISODE, left))
        if episode.error is None:
            return episode, None
        return episode, Broken(f"{name}:{episode.steps}", episode.trace[-1])

    return long_run(steps, seed, play, "--replay")


def replay(where: str) -> int:
    seed, _, step = where.partition(":")
    whole = int(step) + 1 if step else STEPS_IN_EPISODE
    episode = run_episode(Country(), seed, min(whole, STEPS_IN_EPISODE), home=whole >= STEPS_IN_EPISODE)
    for number, line in enumerate(episode.trace):
        print(number, line)
    if episode.error is None:
        return 0
    traceback.print_exception(episode.error)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stateful", description="Long runs of the stateful tests.")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hypothesis", action="store_true", help="Hypothesis chooses, and shrinks what it finds")
    parser.add_argument("--replay", metavar="SEED/EPISODE[:STEP]")
    arguments = parser.parse_args()
    if arguments.replay:
        return by_hypothesis.replay(arguments.replay) if arguments.hypothesis else replay(arguments.replay)
    result = (by_hypothesis.run if arguments.hypothesis else run)(arguments.steps, arguments.seed)
    print(json.dumps(result))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
