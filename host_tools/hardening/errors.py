"""Why hardening stops. Every message says what is wrong, what that means for the device, and what to do."""


class HardeningError(Exception):
    """Hardening cannot begin or go on."""


class ChipNotFit(HardeningError):
    """This chip cannot be hardened: too old, or its eFuses are not as a new chip's or as we left them."""


class ImageNotFit(HardeningError):
    """The MicroPython image was not built for secure boot and flash encryption, or is signed by another key."""


class KeyNotFit(HardeningError):
    """A key file is missing, damaged, readable by others, or not the one that was burnt."""


class InUse(HardeningError):
    """The device holds settings or a journal: encrypted flash would destroy them."""


class DoesNotStart(HardeningError):
    """Everything but the last step is burnt, and the device does not answer."""


class ToolFailed(HardeningError):
    """espefuse, espsecure or esptool said no."""
