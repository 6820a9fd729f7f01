"""Errors that a port raises, the same on every port."""


class PortError(Exception):
    """Root of this layer."""


class UartClosed(PortError):
    """The other end of a serial line is gone; nothing more can be sent or received on it."""


class FlashError(PortError):
    """The flash refused: outside the partition, a bit would have to go from 0 to 1, or the chip reports failure.

    After it the state of the touched bytes is unknown.
    """


class NotOnThisPort(PortError):
    """This port has no such hardware; the board's description asks for something that does not exist here."""
