"""What can go wrong below the applications: two different things with two different remedies."""


class DriverError(Exception):
    """Root of everything the drivers raise."""


class CardGone(DriverError):
    """The radio link is lost: card removed, or the reader's field is off. Remedy: tap again."""


class ChipError(DriverError):
    """The chip does not answer, or answers nonsense. Remedy: check wiring, power and the chip's jumpers."""
