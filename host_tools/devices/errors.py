"""Why a device did not answer. None of these says that the device refused: a refusal is a response APDU with a status
word.

Every message says what happened and what to do next. After `CardRemoved`, `LinkGone` and `LinkTimeout` it is not
known whether the device still executed the last command; every command of the protocol may be repeated, and money
moves once at most.
"""

# What a person must be told whenever the link broke in the middle.
NOT_KNOWN = "Whether it did what was asked last is not known; repeating is safe."


class DeviceError(Exception):
    """Root of this layer."""


class LinkGone(DeviceError):
    """The port cannot be opened, or was unplugged."""


class LinkTimeout(DeviceError):
    """The port is there, but nothing that speaks the protocol answers in time."""


class NoReader(DeviceError):
    """There is no NFC reader, it is in use, or it was unplugged."""


class NoCard(DeviceError):
    """Nobody presented a card or wallet in time, or what was presented cannot be spoken to."""


class CardRemoved(DeviceError):
    """The card left the field before it answered."""
