"""Who is how far in time, and what the time was spent on: logical clocks of two devices that wait for each other.

A clock is a sum of named parts. Whoever waits for a message takes over its sender's parts if that one is later: so the
parts of the last clock are those of the critical path and add up to its time, and what was done meanwhile by the one
that waited is not in them. Milliseconds.
"""


class Clock:
    """Of one device."""

    def __init__(self, parts: dict[str, float] | None = None) -> None:
        self.parts: dict[str, float] = dict(parts or {})
        self.work: dict[str, float] = {}  # all that this device did, on the critical path or not

    @property
    def now_ms(self) -> float:
        return sum(self.parts.values())

    def spend(self, part: str, ms: float) -> None:
        self.parts[part] = self.parts.get(part, 0.0) + ms
        self.work[part] = self.work.get(part, 0.0) + ms

    def wait_for(self, parts: dict[str, float]) -> None:
        """Nothing goes on before what `parts` stand for."""
        if sum(parts.values()) > self.now_ms:
            self.parts = dict(parts)
