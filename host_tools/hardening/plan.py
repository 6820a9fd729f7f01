"""What a plan of hardening is: steps in order, each with the commands that do it and the eFuses it leaves behind.

A step is never remembered as done: what the chip's eFuses say decides. So whatever cut the last run, the next one reads
them and goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from host_tools.hardening.efuses import Fuses


class Kind(Enum):
    """Who does a step."""

    HOST = "on this computer"
    BURN = "burns eFuses"
    FLASH = "writes flash"
    START = "starts the device"


@dataclass(frozen=True)
class Expected:
    """What an eFuse is in the end. None: no matter."""

    name: str
    value: int | None = None
    readable: bool | None = None
    writeable: bool | None = None
    text: str | None = None  # what to call a value that says nothing as a number

    def holds(self, fuses: Fuses) -> bool:
        fuse = fuses[self.name]
        return (
            (self.value is None or fuse.value == self.value)
            and (self.readable is None or fuse.readable == self.readable)
            and (self.writeable is None or fuse.writeable == self.writeable)
        )

    def __str__(self) -> str:
        words = [self.name]
        if self.text is not None or self.value is not None:
            words.append(f"= {self.text or self.value}")
        limits = [name for name, kept in (("read", self.readable), ("write", self.writeable)) if kept is False]
        if limits:
            words.append(f"({' and '.join(limits)} protected)")
        return " ".join(words)


@dataclass(frozen=True)
class Step:
    """One thing that is done or left alone as a whole."""

    kind: Kind
    title: str
    does: str  # and why
    if_cut: str  # what the device is when power goes in it or behind it
    commands: tuple[tuple[str, ...], ...] = ()  # a tool and all its arguments
    expected: tuple[Expected, ...] = ()
    # What finishes a key's step whose block can no longer be read: burning it again would be refused.
    finish: tuple[str, ...] = ()
    last: bool = False  # behind it the chip's eFuses can be neither read nor burnt by cable

    def reached(self, fuses: Fuses) -> bool:
        """Whether the eFuses are as this step leaves them; a step without eFuses never is."""
        return bool(self.expected) and all(expected.holds(fuses) for expected in self.expected)

    def command(self, fuses: Fuses) -> tuple[str, ...]:
        """What burns it, from where the eFuses are."""
        blocks = [item.name for item in self.expected if item.readable is False]
        if self.finish and not all(fuses[name].readable for name in blocks):
            return self.finish
        return self.commands[0]


@dataclass(frozen=True)
class Plan:
    """All steps for one chip, in their order."""

    chip: str
    steps: tuple[Step, ...]

    def burns(self) -> Iterator[Step]:
        return (step for step in self.steps if step.kind is Kind.BURN)

    def expected(self) -> Iterator[Expected]:
        """The end state."""
        for step in self.burns():
            yield from step.expected

    def step(self, kind: Kind) -> Step:
        """The first of its kind."""
        return next(step for step in self.steps if step.kind is kind)
