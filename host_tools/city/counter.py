"""What a city counts while it lives. Only sums are kept."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from host_tools.city.taps import Outcome
from protocol.errors import name_of


@dataclass
class Counts:
    """Sums over the whole life of a city."""

    made: int = 0  # Transfers committed, whatever became of them
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)  # by cause
    syncs: int = 0
    records: int = 0  # uploaded
    dead_letters: Counter[str] = field(default_factory=Counter)
    withheld: Counter[str] = field(default_factory=Counter)  # why an honest device got no Certificate
    most_held: int = 0  # journal records in the devices at one time
    settling_s: float = 0.0

    def __post_init__(self):
        self._digest = hashlib.sha256()

    def uploaded(self, records: list[bytes]) -> None:
        self.syncs += 1
        self.records += len(records)
        for record in records:
            self._digest.update(record)

    def facts(self) -> dict:
        """As in the JSON object. Two cities with one `digest` have brought the same records in the same order."""
        return {
            "payments": self.made,
            "outcomes": {outcome.name.lower(): self.outcomes[outcome] for outcome in Outcome},
            "refused": {name_of(cause): count for cause, count in sorted(self.refused.items())},
            "syncs": self.syncs,
            "records": self.records,
            "records_held_at_most": self.most_held,
            "dead_letters": dict(sorted(self.dead_letters.items())),
            "withheld": dict(sorted(self.withheld.items())),
            "digest": self._digest.hexdigest(),
        }
