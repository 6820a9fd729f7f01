"""Why a board was not flashed. Every message says what is wrong, whether the device is still usable, what to do.

Unless it is a `Stopped` or `NotStarted`, nothing on the chip was changed.
"""


class FlashError(Exception):
    """Root of this layer."""


class NoPort(FlashError):
    """Nobody can tell which port is meant."""


class NoBootLoader(FlashError):
    """Nothing at the port answers as a chip in download mode does."""


class WrongChip(FlashError):
    """The chip, its flash or how it is protected does not fit the board."""


class ImageNeeded(FlashError):
    """The chip has no MicroPython that fits, and no image of one was given."""


class MoneyThere(FlashError):
    """What is worth money may be on the chip, where it would be lost."""


class NotConfirmed(MoneyThere):
    """Nobody said that it may be lost."""


class NotStarted(FlashError):
    """All is written and checked, and then the device did not answer."""


class ChipGone(Exception):
    """The chip stopped answering, or could not do what it was told; says so in esptool's words. Only `chip_link` knows
    this one; whoever asked for the work knows what it means for the device.
    """


class Stopped(FlashError):
    """It ended half way. The chip's own boot loader can always be reached, and repeating goes on where it was."""


class NotVerified(Stopped):
    """What was written reads back otherwise."""
